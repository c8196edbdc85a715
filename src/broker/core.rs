//! What all handles of a broker have in common, and the order of its end.
//!
//! Knows nothing about how topics come and go (`topics.rs`) or how a root is opened (`open.rs`).
//!
//! Locks may be taken together in this order: `deletions`, the groups', the root's `catalog`, those
//! of topics and logs. So no caller that holds the catalog calls into the groups.

use std::fmt;
use std::sync::{Arc, Weak};
use std::thread::ThreadId;

use crate::disk::{Lock, TemporaryDir};
use crate::error::{Error, Result};
use crate::group::{ConsumerGroup, Coordinator, GroupInfo};
use crate::host::Span;
use crate::recovery::{OpenMode, OpenReport};
use crate::sync::{Mutex, OnceLock, WakeLater, for_each_on};
use crate::topic::{BrokerHandle, TopicShared};
use crate::types::is_internal_topic;

use super::offsets::DamagedCommits;
use super::rest;
use super::root::Root;
use super::upkeeper::Upkeeper;

pub(super) struct Core {
    pub(super) root: Arc<Root>,
    pub(super) groups: Coordinator,
    /// Held while a topic is deleted.
    pub(super) deletions: Mutex<()>,
    pub(super) report: OpenReport,
    pub(super) upkeeper: Upkeeper,
    lock: Mutex<Option<Lock>>,
    /// Held by the thread that closes the broker.
    closing: Mutex<()>,
    closer: Mutex<Option<ThreadId>>,
    /// Removed with the last handle. Last, so that the files in it are closed by then.
    temporary: OnceLock<TemporaryDir>,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker")
            .field("root", &self.root.path)
            .finish_non_exhaustive()
    }
}

impl BrokerHandle for Core {
    fn describe(&self) -> String {
        format!("Broker({})", self.root.path.display())
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        if self.temporary.get().is_some() && self.root.host.check_owner().is_ok() {
            self.abandon();
            return;
        }
        // A caller that wants the outcome calls `close`. In a forked process it does nothing.
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
        root.groups.get_or_init(|| groups.tally());
        let core = Arc::new(Self {
            root,
            groups,
            deletions: Mutex::new(()),
            report,
            upkeeper: Upkeeper::default(),
            lock: Mutex::new(lock),
            closing: Mutex::new(()),
            closer: Mutex::new(None),
            temporary: OnceLock::new(),
        });
        let broker: Weak<Self> = Arc::downgrade(&core);
        core.root.directory.set_broker(broker);
        core
    }

    pub(super) fn remove_at_end(&self, dir: TemporaryDir) {
        self.temporary.get_or_init(|| dir);
    }

    pub(super) fn topics(&self) -> Vec<Arc<TopicShared>> {
        let mut topics = self.root.directory.all();
        topics.retain(|topic| !is_internal_topic(topic.name().as_str()));
        topics
    }

    pub(super) fn group(&self, id: &str) -> Result<ConsumerGroup> {
        self.root.check_open()?;
        self.root.follow()?;
        self.start_upkeep();
        self.groups.group(id)
    }

    pub(super) fn start_upkeep(&self) {
        if self.root.mode == OpenMode::Write {
            self.upkeeper.start(&self.root);
        }
    }

    pub(super) fn list_groups(&self) -> Result<Vec<GroupInfo>> {
        self.root.check_open()?;
        self.root.follow()?;
        self.groups.list()
    }

    pub(super) fn damaged_commits(&self) -> Result<Vec<DamagedCommits>> {
        self.root.check_open()?;
        self.root.follow()?;
        let mut damage = self.root.damaged_commits.lock().clone();
        damage.extend(self.groups.look_for_damage()?);
        let damage = damage.into_iter();
        let damage = damage.map(|(partition, error)| DamagedCommits { partition, error });
        Ok(damage.collect())
    }

    pub(super) fn delete_group(&self, id: &str) -> Result<()> {
        self.root.check_writable()?;
        self.groups.delete(id)
    }

    pub(super) fn flush(&self) -> Result<()> {
        self.root.check_open()?;
        let mut handed_over = Ok(());
        for topic in self.root.directory.all() {
            handed_over = handed_over.and(topic.producers().flush());
        }
        let logs = self.root.open_logs();
        let threads = self.root.host.disk.calls_at_once();
        let flushed = for_each_on(threads, &logs, |log| log.flush().map(drop));
        self.root.host.events.pass_on();
        flushed.into_iter().fold(handed_over, Result::and)
    }

    /// A second call waits for the first, unless the first makes it (user code that it calls).
    pub(super) fn close(&self) -> Result<()> {
        self.root.host.check_owner()?;
        let me = std::thread::current().id();
        if *self.closer.lock() == Some(me) {
            return Ok(());
        }
        let is_open = self.root.check_open().is_ok();
        let _span = is_open.then(|| Span::close(&self.root.path));
        let _later = WakeLater::begin();
        // Held until the directory is free.
        let one_at_a_time = self.closing.lock();
        *self.closer.lock() = Some(me);
        let closed = self.close_now();
        *self.closer.lock() = None;
        drop(one_at_a_time);
        self.root.show();
        closed
    }

    pub(super) fn pass_on_opening(&self) {
        let host = &self.root.host;
        host.note_opening(&self.root.path, &self.report);
        host.events.pass_on();
    }

    /// For a temporary directory, without a handle left: only what others can see is done.
    /// Deliveries are settled, and threads end.
    fn abandon(&self) {
        drop(self.groups.close());
        if !self.root.end() {
            return;
        }
        for topic in self.root.directory.all() {
            topic.begin_closing();
            drop(topic.producers().flush());
        }
        self.upkeeper.stop();
        self.root.host.stop_threads();
        *self.lock.lock() = None;
    }

    /// Writes what opening left to the first append of each log.
    fn finish_openings(&self) -> Result<()> {
        let topics = self.root.directory.all();
        let logs = topics.iter().flat_map(|topic| topic.open_logs());
        logs.map(|log| log.finish_opening())
            .fold(Ok(()), Result::and)
    }

    /// The groups come first, as they append to their logs.
    fn close_now(&self) -> Result<()> {
        // While all that this needs is open. The next opening, of a root at rest, would not do it.
        let finished = self.finish_openings();
        let mut closed = finished.and(self.groups.close());
        if !self.root.end() {
            return Ok(());
        }
        // Before the wait for upkeep, which then gives up long work.
        let mut handed_over = Ok(());
        for topic in self.root.directory.all() {
            topic.begin_closing();
            handed_over = handed_over.and(topic.producers().flush());
        }
        self.upkeeper.stop();
        // Waits for a change that is under way; the next one finds the root closed. In a root that
        // another process writes, the threads awaited below may be about to change it.
        let writes = self.root.mode == OpenMode::Write;
        let catalog = writes.then(|| self.root.catalog.lock());
        let host = &self.root.host;
        let topics = self.root.directory.all();
        let all = topics.iter().flat_map(|topic| {
            let partitions = 0..topic.partition_count();
            partitions.map(move |partition| (topic, partition))
        });
        let all: Vec<_> = all.collect();
        let ends = for_each_on(host.disk.calls_at_once(), &all, |(topic, partition)| {
            topic.close_partition(*partition)
        });
        closed = ends.into_iter().fold(closed, Result::and);
        host.stop_threads();
        if let Some(catalog) = &catalog {
            let damage = self.groups.damage();
            let damaged = damage.iter().any(|(_, error)| is_corrupt(error))
                || !self.root.damaged_commits.lock().is_empty();
            // Even if one log could not be closed: the marks say that the others were.
            closed = closed
                .and(host.marks.sync(host.clock.instant()))
                .and_then(|()| rest::mark_closed(&self.root, catalog.state(), damaged));
            host.marks.keep_ballast();
        }
        drop(catalog);
        host.end_publishing();
        *self.lock.lock() = None;
        // Last, as it is no reason to leave the directory as a crash would.
        closed = closed.and(handed_over);
        host.note_close(&self.root.path, &closed);
        closed
    }
}

fn is_corrupt(error: &Error) -> bool {
    matches!(error, Error::Corrupt { .. })
}
