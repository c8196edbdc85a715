//! What all handles of a broker have in common, and the order of its end.
//!
//! Knows nothing about how topics come and go (`topics.rs`) or how a root is opened (`open.rs`).
//!
//! Locks, in the order in which they may be taken together: `deletions`, then those of the groups,
//! then the root's `catalog`, then those of the topics and logs. So nobody who holds the catalog
//! calls into the groups.

use std::fmt;
use std::sync::{Arc, Weak};

use crate::disk::Lock;
use crate::error::Result;
use crate::group::{ConsumerGroup, Coordinator, GroupInfo};
use crate::log::{OpenMode, OpenReport};
use crate::sync::Mutex;
use crate::topic::{Keep, TopicShared};

use super::offsets::is_reserved;
use super::rest;
use super::root::Root;
use super::upkeeper::Upkeeper;

/// What all handles of a broker have in common.
pub(super) struct Core {
    pub(super) root: Arc<Root>,
    pub(super) groups: Coordinator,
    /// One topic is deleted at a time.
    pub(super) deletions: Mutex<()>,
    pub(super) report: OpenReport,
    pub(super) upkeeper: Upkeeper,
    lock: Mutex<Option<Lock>>,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker")
            .field("root", &self.root.path)
            .finish_non_exhaustive()
    }
}

impl Keep for Core {
    fn describe(&self) -> String {
        format!("Broker({})", self.root.path.display())
    }
}

/// The last handle went: on this broker, on a topic, or on a group.
impl Drop for Core {
    fn drop(&mut self) {
        // Whoever wants to know how closing went calls `close`. In a forked process it does nothing.
        drop(self.close());
    }
}

impl Core {
    pub(super) fn new(
        root: Arc<Root>,
        groups: Coordinator,
        report: OpenReport,
        lock: Option<Lock>,
    ) -> Arc<Self> {
        let core = Arc::new(Self {
            root,
            groups,
            deletions: Mutex::new(()),
            report,
            upkeeper: Upkeeper::default(),
            lock: Mutex::new(lock),
        });
        let keeper: Weak<Self> = Arc::downgrade(&core);
        core.root.directory.set_keeper(keeper);
        core
    }

    /// All topics that users see, by name.
    pub(super) fn topics(&self) -> Vec<Arc<TopicShared>> {
        let mut topics = self.root.directory.all();
        topics.retain(|topic| !is_reserved(topic.name().as_str()));
        topics
    }

    pub(super) fn group(&self, id: &str) -> Result<ConsumerGroup> {
        self.root.check_open()?;
        self.start_upkeep();
        self.groups.group(id)
    }

    /// Has a thread look after the logs from now on.
    pub(super) fn start_upkeep(&self) {
        if self.root.mode == OpenMode::Write {
            self.upkeeper.start(&self.root);
        }
    }

    pub(super) fn list_groups(&self) -> Result<Vec<GroupInfo>> {
        self.root.check_open()?;
        self.groups.list()
    }

    pub(super) fn delete_group(&self, id: &str) -> Result<()> {
        self.root.check_writable()?;
        self.groups.delete(id)
    }

    /// Makes everything that was appended before the call survive power loss.
    pub(super) fn flush(&self) -> Result<()> {
        self.root.check_open()?;
        let flushed = self
            .root
            .open_logs()
            .into_iter()
            .map(|log| log.flush().map(drop));
        flushed.fold(Ok(()), Result::and)
    }

    /// Closes everything, once. The groups come first: they leave something in their logs.
    pub(super) fn close(&self) -> Result<()> {
        self.root.host.check_owner()?;
        let mut closed = self.groups.close();
        if !self.root.end() {
            return Ok(());
        }
        // Before the wait for upkeep, so that it gives up what takes long.
        for topic in self.root.directory.all() {
            topic.begin_closing();
        }
        self.upkeeper.stop();
        // Waits for a change that is under way; the next one sees that it is over.
        let catalog = self.root.catalog.lock();
        for topic in self.root.directory.all() {
            closed = closed.and(topic.close());
        }
        let host = &self.root.host;
        host.flusher.stop();
        if self.root.mode == OpenMode::Write {
            closed = closed
                .and_then(|()| host.marks.sync(host.clock.instant()))
                .and_then(|()| rest::come_to_rest(&self.root, catalog.state()));
        }
        drop(catalog);
        *self.lock.lock() = None;
        closed
    }
}
