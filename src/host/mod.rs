//! Floor 5: what the logs of one root share: the disk, the clock, the pool of open files, the
//! marks, the threads, the budget, the bell for followers in other processes, and the events for
//! subscribers.
//!
//! Knows nothing about single logs: what it needs of one is a trait ([`Chore`], [`Audible`],
//! [`Listening`], [`Syncs`]).

mod bell;
mod budget;
mod events;
mod listener;
mod metrics;
mod reports;
mod syncers;
mod threads;

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::dir::Marks;
use crate::disk::{Disk, Owner};
use crate::error::{Error, Result};
use crate::format::MarkKey;
use crate::recovery::Tools;
use crate::segment::{OpenFiles, Segment, SegmentFile};
use crate::sync::{AtomicBool, Mutex, OnceLock, Ordering};
use crate::types::{Offset, TopicId, TopicPartition};

pub(crate) use bell::{Audible, Bell, Published, SLOTS_ALONE, SLOTS_OF_ROOT};
#[cfg(all(test, ottla_repository, target_os = "linux", not(ottla_shuttle)))]
pub(crate) use bell::{IDLE as BELL_IDLE, OFF as BELL_OFF};
pub(crate) use budget::{Evict, cost, full_at, overhang};
#[cfg(test)]
#[cfg(ottla_repository)]
#[cfg(feature = "tracing")]
pub(crate) use events::listener as subscriber;
pub(crate) use events::{Event, Events, SLOW_SYNC, Span};
pub(crate) use listener::{Ear, Heard, Listening, Rung, Standing};
pub use metrics::LogMetrics;
#[cfg(feature = "metrics")]
pub(crate) use metrics::facade;
pub(crate) use metrics::{Appends, CountedReads, Tally};
pub use reports::{CompactionReport, RetentionReport};
pub(crate) use syncers::{SyncJob, Syncs};
pub(crate) use threads::{Chore, Flusher, Worker};

use budget::Budget;
use listener::Listener;
use syncers::Syncers;

#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) disk: Disk,
    pub(crate) clock: Clock,
    pub(crate) files: Arc<OpenFiles>,
    pub(crate) marks: Marks,
    pub(crate) flusher: Flusher,
    /// Runs the chores of producers, which write and never sync: none of them waits for a disk.
    pub(crate) lingers: Flusher,
    pub(crate) syncers: Syncers,
    /// Polls logs that another process writes, while callers here wait for them.
    pub(crate) looker: Flusher,
    pub(crate) listener: Listener,
    pub(crate) bell: Bell,
    me: Weak<Self>,
    pub(crate) budget: Budget,
    pub(crate) events: Events,
    owner: Owner,
    listing: OnceLock<Listing>,
    topics: OnceLock<CheckTopics>,
    topics_checked_at: Mutex<Option<Instant>>,
    followers: OnceLock<Weak<dyn Followers>>,
    left_by_broker: AtomicBool,
    plain: Mutex<BTreeSet<MarkKey>>,
    copy: AtomicBool,
}

impl Host {
    pub(crate) fn new(disk: Disk, clock: Clock, marks: Marks, manual: bool) -> Arc<Self> {
        Self::with_open_files(disk, clock, marks, manual, None)
    }

    pub(crate) fn with_open_files(
        disk: Disk,
        clock: Clock,
        marks: Marks,
        manual: bool,
        max_open_files: Option<u64>,
    ) -> Arc<Self> {
        let flusher = Flusher::new("ottla-flusher", clock.clone(), manual);
        let lingers = Flusher::new("ottla-linger", clock.clone(), manual);
        let syncers = Syncers::new(clock.clone(), manual);
        // Not upkeep, so never manual: without this thread appends of other processes go unnoticed.
        // A model looks when it wants to: looks by the clock would hide that nobody was woken.
        let by_hand = cfg!(all(test, ottla_shuttle));
        let looker = Flusher::new("ottla-follower", clock.clone(), by_hand);
        Arc::new_cyclic(|me| Self {
            files: OpenFiles::new(&disk, max_open_files),
            disk,
            clock,
            marks,
            flusher,
            lingers,
            syncers,
            looker,
            listener: Listener::new(),
            bell: Bell::default(),
            me: Weak::clone(me),
            budget: Budget::default(),
            events: Events::default(),
            owner: Owner::here(),
            listing: OnceLock::new(),
            topics: OnceLock::new(),
            topics_checked_at: Mutex::new(None),
            followers: OnceLock::new(),
            left_by_broker: AtomicBool::new(false),
            plain: Mutex::default(),
            copy: AtomicBool::new(false),
        })
    }

    /// What is opened is a backup's copy: what is done to it is no figure of the logs that it is
    /// named after.
    pub(crate) fn note_copy(&self) {
        self.copy.store(true, Ordering::Release);
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn is_copy(&self) -> bool {
        self.copy.load(Ordering::Acquire)
    }

    /// Notes that opening read a whole log and found no batch of a producer, so that it need not be
    /// read again for that. Only logs that a broker left may have some.
    pub(crate) fn note_plain(&self, log: MarkKey) {
        if self.is_left_by_broker() {
            self.plain.lock().insert(log);
        }
    }

    pub(crate) fn is_plain(&self, log: MarkKey) -> bool {
        self.plain.lock().contains(&log)
    }

    /// Set while the logs are opened for the first time since a broker was killed: the broker wrote
    /// what they hold, and no program has tried to sync it.
    pub(crate) fn note_left_by_broker(&self, left: bool) {
        self.left_by_broker.store(left, Ordering::Release);
    }

    pub(crate) fn is_left_by_broker(&self) -> bool {
        self.left_by_broker.load(Ordering::Acquire)
    }

    /// Fails in a forked process. Every call of a handle checks this before it takes a lock or
    /// touches a file, and every drop before it does more than close descriptors.
    #[inline]
    pub(crate) fn check_owner(&self) -> Result<()> {
        if self.owner.is_here() {
            Ok(())
        } else {
            Err(Error::Forked)
        }
    }

    pub(crate) fn segment_file<'a>(&'a self, segment: &'a Arc<Segment>) -> SegmentFile<'a> {
        SegmentFile {
            segment,
            disk: &self.disk,
            files: &self.files,
        }
    }

    pub(crate) fn tools(&self) -> Tools<'_> {
        Tools {
            disk: &self.disk,
            clock: &self.clock,
            files: &self.files,
            marks: &self.marks,
            left_by_broker: self.is_left_by_broker(),
        }
    }

    pub(crate) fn stop_threads(&self) {
        self.lingers.stop();
        self.flusher.stop();
        self.looker.stop();
        self.listener.stop();
        self.syncers.stop();
    }

    pub(crate) fn me(&self) -> Option<Arc<Self>> {
        self.me.upgrade()
    }

    /// Wakes followers in other processes from now on. The caller holds the lock of the directory.
    pub(crate) fn publish(&self, slots: u32) {
        if !self.flusher.is_manual() {
            self.bell.open(&self.disk, self.marks.home(), slots);
        }
    }

    pub(crate) fn end_publishing(&self) {
        self.bell.close(&self.disk);
    }

    /// The process that opened the root, for callers that ask very often.
    pub(crate) fn owner(&self) -> Owner {
        self.owner
    }

    /// Sets how [`Self::is_listed`] finds out.
    pub(crate) fn set_listing(&self, ask: impl Fn(TopicId) -> bool + Send + Sync + 'static) {
        self.listing.get_or_init(|| Listing(Box::new(ask)));
    }

    /// Sets how the topics are checked.
    pub(crate) fn set_topic_check(&self, look: impl Fn() + Send + Sync + 'static) {
        self.topics.get_or_init(|| CheckTopics(Box::new(look)));
    }

    /// Checks the topics, in a root that another process writes. Closes logs of deleted topics, so
    /// no lock of a log may be held.
    pub(crate) fn check_topics(&self) {
        if let Some(CheckTopics(look)) = self.topics.get() {
            look();
        }
    }

    /// The same, at most once per `time`.
    pub(crate) fn check_topics_every(&self, time: Duration) {
        let now = self.clock.instant();
        {
            let mut at = self.topics_checked_at.lock();
            if at.is_some_and(|at| now.saturating_duration_since(at) < time) {
                return;
            }
            *at = Some(now);
        }
        self.check_topics();
    }

    /// Sets what sets committed offsets back when the end of a log moves back.
    pub(crate) fn follow(&self, followers: Weak<dyn Followers>) {
        self.followers.get_or_init(|| followers);
    }

    pub(crate) fn followers(&self) -> Option<Arc<dyn Followers>> {
        self.followers.get().and_then(Weak::upgrade)
    }

    pub(crate) fn is_listed(&self, topic: TopicId) -> bool {
        self.listing.get().is_none_or(|Listing(ask)| ask(topic))
    }
}

struct Listing(Box<dyn Fn(TopicId) -> bool + Send + Sync>);

impl std::fmt::Debug for Listing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Listing")
    }
}

struct CheckTopics(Box<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for CheckTopics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CheckTopics")
    }
}

/// Keeps offsets of logs elsewhere, and sets them back when the end of a log moves back.
pub(crate) trait Followers: Send + Sync {
    /// Whether [`set_back`](Self::set_back) would find all of them; fails if they cannot be read.
    fn check(&self) -> Result<()>;

    /// Sets back, durably, every offset above the end of a log that was cut. Nothing is appended to
    /// the log meanwhile.
    fn set_back(&self, of: &TopicPartition, end: Offset) -> Result<()>;

    /// Deletes what is too old, and returns how many entries that was.
    fn upkeep(&self) -> Result<u64>;
}
