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

/// A broker, which lives as long as any handle on a part of it.
pub(crate) trait BrokerHandle: Send + Sync {
    fn describe(&self) -> String;
}

impl fmt::Debug for dyn BrokerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

#[derive(Debug, Default)]
pub(crate) struct TopicDirectory {
    topics: RwLock<BTreeMap<Arc<str>, Arc<TopicShared>>>,
    version: AtomicU64,
    watchers: RwLock<Vec<Weak<Signal>>>,
    broker: OnceLock<Weak<dyn BrokerHandle>>,
}

impl TopicDirectory {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn set_broker(&self, broker: Weak<dyn BrokerHandle>) {
        self.broker.get_or_init(|| broker);
    }

    /// The broker; `None` while it is being dropped.
    pub(crate) fn broker(&self) -> Option<Arc<dyn BrokerHandle>> {
        self.broker.get().and_then(Weak::upgrade)
    }

    /// Finds internal topics too. The handle keeps nothing alive.
    pub(crate) fn find(&self, name: &str) -> Option<Topic> {
        self.topics
            .read()
            .get(name)
            .map(|topic| Topic::new(Arc::clone(topic)))
    }

    /// Finds internal topics too.
    pub(crate) fn find_shared(&self, name: &str) -> Option<Arc<TopicShared>> {
        self.topics.read().get(name).cloned()
    }

    /// For a user: the handle keeps the broker open.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTopic`].
    pub(crate) fn get(&self, name: &str) -> Result<Topic> {
        let unknown = || Error::UnknownTopic {
            name: name.to_owned(),
        };
        let topic = self.find(name).ok_or_else(unknown)?;
        let broker = self.broker().ok_or(Error::Closed)?;
        Ok(topic.keeping_open(broker))
    }

    pub(crate) fn all(&self) -> Vec<Arc<TopicShared>> {
        self.topics.read().values().cloned().collect()
    }

    /// Rises whenever a topic or a partition is added or removed.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Every rise of [`TopicDirectory::version`] raises the signal.
    pub(crate) fn watch(&self, signal: &Arc<Signal>) {
        let mut watchers = self.watchers.write();
        watchers.retain(|watcher| watcher.strong_count() > 0);
        watchers.push(Arc::downgrade(signal));
    }

    pub(crate) fn insert(&self, topic: Arc<TopicShared>) {
        let name = Arc::from(topic.name().as_str());
        self.topics.write().insert(name, topic);
        self.tell();
    }

    pub(crate) fn remove(&self, name: &str) -> Option<Arc<TopicShared>> {
        let gone = self.topics.write().remove(name);
        self.tell();
        gone
    }

    /// Raises the version, and the signals of those that watch it.
    pub(crate) fn tell(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
        let watchers = self.watchers.read();
        let watchers: Vec<_> = watchers.iter().filter_map(Weak::upgrade).collect();
        for watcher in watchers {
            watcher.raise();
        }
    }
}
