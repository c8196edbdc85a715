//! What all handles of a broker have in common, and the order of its end.
//!
//! Knows nothing about how topics come and go (`topics.rs`) or how a root is opened (`open.rs`).
//!
//! Locks, in the order in which they may be taken together: `deletions`, then whatever the groups
//! take, then `catalog`, then those of the topics and logs. So nobody who holds the catalog calls
//! into the groups.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Weak};

use crate::disk::Lock;
use crate::error::{Error, Result};
use crate::log::{Host, Log, OpenMode, OpenReport};
use crate::sync::{AtomicBool, Mutex, Ordering};
use crate::topic::{Keep, TopicDirectory, TopicShared, TopicSource};

use super::catalog::Catalog;
use super::offsets::{OFFSETS_TOPIC, is_reserved};
use super::state::TopicEntry;
use super::{BrokerConfig, rest};

/// What all handles of a broker have in common.
pub(super) struct Core {
    pub(super) root: Arc<Path>,
    pub(super) host: Arc<Host>,
    pub(super) config: BrokerConfig,
    pub(super) mode: OpenMode,
    pub(super) directory: Arc<TopicDirectory>,
    pub(super) catalog: Mutex<Catalog>,
    /// One topic is deleted at a time.
    pub(super) deletions: Mutex<()>,
    pub(super) report: OpenReport,
    lock: Mutex<Option<Lock>>,
    closed: AtomicBool,
}

/// What a core is made of.
pub(super) struct Parts {
    pub(super) root: Arc<Path>,
    pub(super) host: Arc<Host>,
    pub(super) config: BrokerConfig,
    pub(super) mode: OpenMode,
    pub(super) directory: Arc<TopicDirectory>,
    pub(super) catalog: Catalog,
    pub(super) report: OpenReport,
    pub(super) lock: Option<Lock>,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker")
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

impl Keep for Core {
    fn describe(&self) -> String {
        format!("Broker({})", self.root.display())
    }
}

/// The last handle went: on this broker, on a topic, or on a group.
impl Drop for Core {
    fn drop(&mut self) {
        // Whoever wants to know how closing went calls `close`.
        drop(self.close());
    }
}

impl Core {
    pub(super) fn new(parts: Parts) -> Arc<Self> {
        let Parts {
            root,
            host,
            config,
            mode,
            directory,
            catalog,
            report,
            lock,
        } = parts;
        let core = Arc::new(Self {
            root,
            host,
            config,
            mode,
            directory,
            catalog: Mutex::new(catalog),
            deletions: Mutex::new(()),
            report,
            lock: Mutex::new(lock),
            closed: AtomicBool::new(false),
        });
        let keeper: Weak<Self> = Arc::downgrade(&core);
        core.directory.set_keeper(keeper);
        core
    }

    /// An error when the broker was closed.
    pub(super) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            Err(Error::Closed)
        } else {
            Ok(())
        }
    }

    /// An error when nothing may be changed.
    pub(super) fn check_writable(&self) -> Result<()> {
        self.check_open()?;
        if self.mode == OpenMode::Read {
            Err(Error::ReadOnly)
        } else {
            Ok(())
        }
    }

    /// All topics that users see, by name.
    pub(super) fn topics(&self) -> Vec<Arc<TopicShared>> {
        let mut topics = self.directory.all();
        topics.retain(|topic| !is_reserved(topic.name().as_str()));
        topics
    }

    /// The logs that are open.
    pub(super) fn open_logs(&self) -> Vec<Log> {
        let topics = self.directory.all();
        topics.iter().flat_map(|topic| topic.open_logs()).collect()
    }

    /// Makes everything that was appended before the call survive power loss.
    pub(super) fn flush(&self) -> Result<()> {
        self.check_open()?;
        let flushed = self
            .open_logs()
            .into_iter()
            .map(|log| log.flush().map(drop));
        flushed.fold(Ok(()), Result::and)
    }

    /// Closes everything, once.
    pub(super) fn close(&self) -> Result<()> {
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        // Waits for a change that is under way; the next one sees that it is over.
        let catalog = self.catalog.lock();
        let mut closed = Ok(());
        for topic in self.directory.all() {
            closed = closed.and(topic.close());
        }
        self.host.flusher.stop();
        if self.mode == OpenMode::Write {
            closed = closed
                .and_then(|()| self.host.marks.sync(self.host.clock.instant()))
                .and_then(|()| rest::come_to_rest(&self.host.disk, &self.root));
        }
        drop(catalog);
        *self.lock.lock() = None;
        closed
    }
}

/// The topic of an entry of the catalog.
pub(super) fn topic_of(
    entry: &TopicEntry,
    root: &Arc<Path>,
    host: &Arc<Host>,
    config: &BrokerConfig,
    mode: OpenMode,
) -> Arc<TopicShared> {
    TopicShared::new(TopicSource {
        host: Arc::clone(host),
        root: Arc::clone(root),
        name: entry.name.clone(),
        id: entry.id,
        config: entry.config().0,
        durability: config.durability,
        mode,
        sparse: entry.name.as_str() == OFFSETS_TOPIC,
    })
}
