//! The topics of one root by name, for all look-ups.
//!
//! Knows nothing about why topics are added and removed, but reports that they were: see
//! [`TopicDirectory::watch`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Weak};

use crate::error::{Error, Result};
use crate::sync::{AtomicU64, OnceLock, Ordering, RwLock, Signal};

use super::{Topic, TopicShared};

/// What lives as long as any handle on a part of it exists: a broker.
pub(crate) trait Keep: Send + Sync {
    /// The files that belong to it.
    fn describe(&self) -> String;
}

impl fmt::Debug for dyn Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

/// The topics of one root.
#[derive(Debug, Default)]
pub(crate) struct TopicDirectory {
    topics: RwLock<BTreeMap<Arc<str>, Arc<TopicShared>>>,
    version: AtomicU64,
    watchers: RwLock<Vec<Weak<Signal>>>,
    keeper: OnceLock<Weak<dyn Keep>>,
}

impl TopicDirectory {
    /// An empty directory.
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Sets, once, what the public handles on these topics keep alive.
    pub(crate) fn set_keeper(&self, keeper: Weak<dyn Keep>) {
        self.keeper.get_or_init(|| keeper);
    }

    /// What public handles keep alive; `None` while it is being dropped.
    pub(crate) fn keeper(&self) -> Option<Arc<dyn Keep>> {
        self.keeper.get().and_then(Weak::upgrade)
    }

    /// A topic, including internal ones. The handle keeps nothing alive: for the broker itself.
    pub(crate) fn find(&self, name: &str) -> Option<Topic> {
        self.topics
            .read()
            .get(name)
            .map(|topic| Topic::new(Arc::clone(topic)))
    }

    /// The shared part of a topic, including internal ones.
    pub(crate) fn find_shared(&self, name: &str) -> Option<Arc<TopicShared>> {
        self.topics.read().get(name).cloned()
    }

    /// A topic, for a user.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTopic`].
    pub(crate) fn get(&self, name: &str) -> Result<Topic> {
        let unknown = || Error::UnknownTopic {
            name: name.to_owned(),
        };
        let topic = self.find(name).ok_or_else(unknown)?;
        let keeper = self.keeper().ok_or(Error::Closed)?;
        Ok(topic.kept_by(keeper))
    }

    /// All topics by name, internal ones included.
    pub(crate) fn all(&self) -> Vec<Arc<TopicShared>> {
        self.topics.read().values().cloned().collect()
    }

    /// Rises whenever a topic or a partition is added or removed.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Makes every rise of [`TopicDirectory::version`] raise a signal.
    pub(crate) fn watch(&self, signal: &Arc<Signal>) {
        let mut watchers = self.watchers.write();
        watchers.retain(|watcher| watcher.strong_count() > 0);
        watchers.push(Arc::downgrade(signal));
    }

    /// Adds a topic.
    pub(crate) fn insert(&self, topic: Arc<TopicShared>) {
        let name = Arc::from(topic.name().as_str());
        self.topics.write().insert(name, topic);
        self.tell();
    }

    /// Removes and returns a topic.
    pub(crate) fn remove(&self, name: &str) -> Option<Arc<TopicShared>> {
        let gone = self.topics.write().remove(name);
        self.tell();
        gone
    }

    /// Reports that something about the topics changed.
    pub(crate) fn tell(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
        let watchers = self.watchers.read();
        let watchers: Vec<_> = watchers.iter().filter_map(Weak::upgrade).collect();
        for watcher in watchers {
            watcher.raise();
        }
    }
}
