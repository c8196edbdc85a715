//! What the logs of one root share: the disk, the clock, the pool of open files, the marks, and the
//! flusher.
//!
//! Knows nothing about single logs: the flusher runs [`Chore`]s when they are due.
//!
//! 1. The flusher's thread starts when the first chore is scheduled and is named `ottla-flusher`.
//! 2. With manual upkeep there is no thread: chores are dropped, and the caller that scheduled one
//!    does the work itself.
//! 3. No lock is held while a chore runs.
//! 4. A chore is accepted only if a thread will run it: a chore that is refused is left to the
//!    caller, to run or to offer again.
//! 5. Chores of logs that no longer exist are dropped before the queue has doubled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::clock::{self, Clock, Moved};
use crate::dir::Marks;
use crate::disk::{Disk, Owner};
use crate::error::{Error, Result};
use crate::format::MarkKey;
use crate::segment::{OpenFiles, Segment, SegmentFile};
use crate::sync::thread::{Builder, JoinHandle, current};
use crate::sync::{AtomicBool, Condvar, Mutex, OnceLock, Ordering};
use crate::types::TopicId;

use super::bell::Bell;
use super::budget::Budget;
use super::epochs::Followers;
use super::listener::Listener;
use super::syncers::Syncers;
use super::trace::Events;

/// What the logs of one root share.
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
    /// Watches logs that another process writes, while a caller here waits for them.
    pub(super) looker: Flusher,
    pub(super) listener: Listener,
    /// Wakes those who look at these logs from other processes.
    pub(crate) bell: Bell,
    me: Weak<Self>,
    pub(crate) budget: Budget,
    pub(crate) events: Events,
    owner: Owner,
    /// For a root that is opened for reading.
    listing: OnceLock<Listing>,
    topics: OnceLock<LookAtTopics>,
    topics_looked_at: Mutex<Option<Instant>>,
    followers: OnceLock<Weak<dyn Followers>>,
    /// The files of the logs are as a Kafka broker left them.
    left_by_broker: AtomicBool,
    /// Among those logs, the ones in which opening found no batch of a producer.
    plain: Mutex<BTreeSet<MarkKey>>,
    /// What is opened is the copy that a backup has just made.
    copy: AtomicBool,
}

impl Host {
    /// A host whose chores are run by a thread, or not at all with `manual` upkeep.
    pub(crate) fn new(disk: Disk, clock: Clock, marks: Marks, manual: bool) -> Arc<Self> {
        Self::with_open_files(disk, clock, marks, manual, None)
    }

    /// The same, with a bound on the number of open files.
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
            topics_looked_at: Mutex::new(None),
            followers: OnceLock::new(),
            left_by_broker: AtomicBool::new(false),
            plain: Mutex::default(),
            copy: AtomicBool::new(false),
        })
    }

    /// Notes that what is opened is the copy of a backup: what is done to it is no figure of the
    /// logs that it is named after.
    pub(crate) fn note_copy(&self) {
        self.copy.store(true, Ordering::Release);
    }

    /// Whether what is opened is the copy of a backup.
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

    /// Whether a log is known to hold no batch of a producer.
    pub(crate) fn is_plain(&self, log: MarkKey) -> bool {
        self.plain.lock().contains(&log)
    }

    /// Sets whether the logs are being opened for the first time since a broker was killed: the
    /// broker wrote what they hold, and no program has tried to sync it.
    pub(crate) fn note_left_by_broker(&self, left: bool) {
        self.left_by_broker.store(left, Ordering::Release);
    }

    /// Whether a broker wrote the logs, and they are being opened for the first time since.
    pub(crate) fn is_left_by_broker(&self) -> bool {
        self.left_by_broker.load(Ordering::Acquire)
    }

    /// Fails in a process that was forked from the one that opened the root. Every call of a handle
    /// checks this before it takes a lock or touches a file, and every drop before it does more
    /// than close descriptors.
    ///
    /// # Errors
    ///
    /// [`Error::Forked`].
    #[inline]
    pub(crate) fn check_owner(&self) -> Result<()> {
        if self.owner.is_here() {
            Ok(())
        } else {
            Err(Error::Forked)
        }
    }

    /// The file of a segment, to be read piece by piece.
    pub(super) fn segment_file<'a>(&'a self, segment: &'a Arc<Segment>) -> SegmentFile<'a> {
        SegmentFile {
            segment,
            disk: &self.disk,
            files: &self.files,
        }
    }

    /// Ends the threads. Their chores are done or dropped.
    pub(crate) fn stop_threads(&self) {
        self.lingers.stop();
        self.flusher.stop();
        self.looker.stop();
        self.listener.stop();
        self.syncers.stop();
    }

    pub(super) fn me(&self) -> Option<Arc<Self>> {
        self.me.upgrade()
    }

    /// Has followers in other processes woken from now on. The caller holds the lock of the
    /// directory, in which this process wants to have it open for a while.
    pub(crate) fn publish(&self, slots: u32) {
        if !self.flusher.is_manual() {
            self.bell.open(&self.disk, self.marks.home(), slots);
        }
    }

    /// Says that this process is about to give the directory back.
    pub(crate) fn end_publishing(&self) {
        self.bell.close(&self.disk);
    }

    /// The process that opened the root, for callers that ask very often.
    pub(crate) fn owner(&self) -> Owner {
        self.owner
    }

    /// Sets how to ask whether a topic still exists, in place of what was known when the root was
    /// opened.
    pub(crate) fn ask_for_topics(&self, ask: impl Fn(TopicId) -> bool + Send + Sync + 'static) {
        self.listing.get_or_init(|| Listing(Box::new(ask)));
    }

    /// Sets how the topics are checked, whenever they may have changed.
    pub(crate) fn look_at_topics_by(&self, look: impl Fn() + Send + Sync + 'static) {
        self.topics.get_or_init(|| LookAtTopics(Box::new(look)));
    }

    /// Checks the topics, in a root that another process writes. Must not be called with a log's
    /// lock held: logs of deleted topics are closed.
    pub(crate) fn look_at_topics(&self) {
        if let Some(LookAtTopics(look)) = self.topics.get() {
            look();
        }
    }

    /// The same for callers that check repeatedly: at most once per `time`.
    pub(super) fn look_at_topics_every(&self, time: Duration) {
        let now = self.clock.instant();
        {
            let mut at = self.topics_looked_at.lock();
            if at.is_some_and(|at| now.saturating_duration_since(at) < time) {
                return;
            }
            *at = Some(now);
        }
        self.look_at_topics();
    }

    /// Sets who moves committed offsets back when the end of a log moves back.
    pub(crate) fn follow(&self, followers: Weak<dyn Followers>) {
        self.followers.get_or_init(|| followers);
    }

    /// What [`Self::follow`] set, if it still exists.
    pub(crate) fn followers(&self) -> Option<Arc<dyn Followers>> {
        self.followers.get().and_then(Weak::upgrade)
    }

    /// Whether a topic still exists, as far as is known.
    pub(crate) fn is_listed(&self, topic: TopicId) -> bool {
        self.listing.get().is_none_or(|Listing(ask)| ask(topic))
    }
}

/// Asks whether a topic exists.
struct Listing(Box<dyn Fn(TopicId) -> bool + Send + Sync>);

impl std::fmt::Debug for Listing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Listing")
    }
}

/// Applies what became of the topics of a root.
struct LookAtTopics(Box<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for LookAtTopics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LookAtTopics")
    }
}

/// A thread of this process. A forked process does not have it: what is left of it there is not
/// touched, because it can be neither joined nor detached.
#[derive(Debug)]
pub(crate) struct Worker {
    owner: Owner,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts a thread; `None` when the process is at its limit.
    pub(crate) fn start(name: &str, run: impl FnOnce() + Send + 'static) -> Option<Self> {
        let owner = Owner::here();
        let named = Builder::new().name(name.to_owned());
        let thread = named.spawn(run).ok();
        thread.is_some().then_some(Self { owner, thread })
    }

    /// Whether the thread has ended.
    pub(super) fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// The same as [`join`](Self::join), waking the thread again and again: it may have been about
    /// to wait when it was woken first, and what it waits for does not change.
    pub(super) fn wake_and_join(self, wake: impl Fn()) {
        let is_here = |thread: &JoinHandle<()>| thread.thread().id() == current().id();
        if self.owner.is_here() && !self.thread.as_ref().is_some_and(is_here) {
            clock::repeat_until(|| self.is_finished(), wake);
        }
        self.join();
    }

    /// Waits for the thread's end, unless it is the calling thread.
    pub(crate) fn join(mut self) {
        if !self.owner.is_here() {
            return;
        }
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != current().id()
        {
            // The panic hook has already reported a panic.
            drop(thread.join());
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if !self.owner.is_here() {
            std::mem::forget(self.thread.take());
        }
    }
}

/// Work that the flusher does.
pub(crate) trait Chore: Send + Sync {
    /// Runs it. There is no caller to return errors to: they show in the state of the log.
    fn run(&self);
}

/// A thread that runs chores when they are due.
#[derive(Debug)]
pub(crate) struct Flusher {
    name: &'static str,
    manual: bool,
    clock: Clock,
    shared: Arc<Queue>,
    owner: Owner,
    thread: Mutex<Option<Worker>>,
    /// How many threads the system refuses to start.
    #[cfg(test)]
    refused: crate::sync::AtomicU32,
}

#[derive(Default)]
struct Queue {
    chores: Mutex<Chores>,
    wake: Condvar,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Chores {
    due: BTreeMap<(Instant, u64), Weak<dyn Chore>>,
    number: u64,
    stopped: bool,
    /// With this many chores it is time to look for those that are no longer needed (I5).
    crowded: usize,
}

/// A queue of fewer chores than this is never searched.
const CROWDED_MIN: usize = 64;

impl Chores {
    fn add(&mut self, at: Instant, chore: Weak<dyn Chore>) {
        if self.due.len() >= self.crowded.max(CROWDED_MIN) {
            // A weak reference keeps the memory of the whole log, and may not be due for a day.
            self.due.retain(|_, chore| chore.strong_count() > 0);
            self.crowded = self.due.len().saturating_mul(2);
        }
        self.number = self.number.wrapping_add(1);
        self.due.insert((at, self.number), chore);
    }
}

impl Flusher {
    fn new(name: &'static str, clock: Clock, manual: bool) -> Self {
        Self {
            name,
            manual,
            clock,
            shared: Arc::default(),
            owner: Owner::here(),
            thread: Mutex::new(None),
            #[cfg(test)]
            refused: crate::sync::AtomicU32::new(0),
        }
    }

    /// Whether no thread runs chores.
    pub(crate) fn is_manual(&self) -> bool {
        self.manual
    }

    /// How many chores are waiting.
    pub(super) fn waiting(&self) -> usize {
        self.shared.chores.lock().due.len()
    }

    /// Makes the system refuse to start this many threads.
    #[cfg(test)]
    pub(super) fn refuse_threads(&self, count: u32) {
        let refused = &self.refused;
        refused.store(count, crate::sync::Ordering::SeqCst);
    }

    #[cfg(test)]
    fn is_refused(&self) -> bool {
        let refused = &self.refused;
        let left = refused.load(crate::sync::Ordering::SeqCst);
        refused.store(left.saturating_sub(1), crate::sync::Ordering::SeqCst);
        left > 0
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "the one of the tests looks at it")]
    const fn is_refused(&self) -> bool {
        false
    }

    /// Schedules a chore for a time, or soon after; false if there is no thread to run it (I4).
    pub(crate) fn schedule(&self, at: Instant, chore: Weak<dyn Chore>) -> bool {
        if self.manual || !self.ensure_thread() {
            return false;
        }
        {
            let mut chores = self.shared.chores.lock();
            if chores.stopped {
                return false;
            }
            chores.add(at, chore);
        }
        self.shared.wake.notify_one();
        true
    }

    /// Starts the thread if it is not running: the process may have been at its limit when that was
    /// last tried. Returns whether there is one.
    fn ensure_thread(&self) -> bool {
        let mut thread = self.thread.lock();
        if thread.is_none() && !self.shared.chores.lock().stopped && !self.is_refused() {
            let shared = Arc::clone(&self.shared);
            let clock = self.clock.clone();
            let name = self.name;
            let follower: Weak<Queue> = Arc::downgrade(&shared);
            // When a test moves its clock, that wakes the thread.
            clock.follow(follower);
            *thread = Worker::start(name, move || shared.run(&clock));
        }
        thread.is_some()
    }

    /// Ends the thread after its present chore; later chores are dropped.
    pub(crate) fn stop(&self) {
        self.shared.chores.lock().stopped = true;
        self.shared.wake.notify_all();
        // Taken out and joined without the lock: the chore that is running may schedule another
        // one, which takes the lock.
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            thread.join();
        }
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        if self.owner.is_here() {
            self.stop();
        }
    }
}

impl Queue {
    fn run(&self, clock: &Clock) {
        let mut chores = self.chores.lock();
        while !chores.stopped {
            let Some((&(at, number), _)) = chores.due.first_key_value() else {
                self.wake.wait(&mut chores);
                continue;
            };
            if at > clock.instant() {
                match clock.deadline(at) {
                    #[cfg(all(test, ottla_shuttle))]
                    None => {
                        drop(chores);
                        clock.pass_to(at);
                        // It was a wait: others go on meanwhile.
                        crate::sync::thread::yield_now();
                        chores = self.chores.lock();
                    }
                    Some(at) => drop(self.wake.wait_until(&mut chores, at)),
                    #[cfg(not(all(test, ottla_shuttle)))]
                    None => self.wake.wait(&mut chores),
                }
                continue;
            }
            let chore = chores
                .due
                .remove(&(at, number))
                .and_then(|chore| chore.upgrade());
            // Without the lock (I3): a chore may take long, and may schedule another one.
            drop(chores);
            if let Some(chore) = chore {
                chore.run();
            }
            chores = self.chores.lock();
        }
    }
}

impl Moved for Queue {
    fn moved(&self) {
        // A thread that has read the clock before is waiting by the time the lock is free.
        drop(self.chores.lock());
        self.wake.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::clock::ManualClock;
    use crate::disk::sim::{At, Failure, Fault, Repeat, Sim};
    use crate::error::Error;
    use crate::log::{Log, LogConfig, OpenMode, open_alone_on};
    use crate::types::{Durability, Timestamp};

    const HOUR: Duration = Duration::from_secs(3600);

    fn log_on(sim: &Sim, clock: &Arc<ManualClock>, durability: Durability, manual: bool) -> Log {
        let (dir, clock) = (Path::new("/log"), Clock::Manual(Arc::clone(clock)));
        let config = LogConfig::default().durability(durability);
        let config = config.segment_bytes(1024);
        open_alone_on(&sim.disk(), &clock, dir, config, OpenMode::Write, manual).unwrap()
    }

    fn clock() -> Arc<ManualClock> {
        ManualClock::at(Timestamp::from_millis(1_700_000_000_000))
    }

    #[test]
    fn an_interval_asks_for_the_flusher_again_when_its_thread_could_not_be_started() {
        let log = log_on(&Sim::new(), &clock(), Durability::Interval(HOUR), false);
        let flusher = &log.shared.host.flusher;
        flusher.refuse_threads(2);
        for waiting in [0, 0, 1, 1] {
            log.append("a record").unwrap();
            assert_eq!(flusher.waiting(), waiting);
        }
    }

    #[test]
    fn an_interval_that_is_over_is_flushed_in_line_while_no_thread_can_be_started() {
        let clock = clock();
        let log = log_on(&Sim::new(), &clock, Durability::Interval(HOUR), false);
        log.shared.host.flusher.refuse_threads(u32::MAX);
        for round in 0..3 {
            log.append("a record").unwrap();
            log.append("another").unwrap();
            assert_eq!(log.flushed_offset(), 3 * round, "it is not due yet");
            clock.advance(HOUR);
            log.append("the third").unwrap();
            assert_eq!(log.flushed_offset(), 3 * round + 3);
        }
    }

    #[test]
    fn sealed_segments_have_their_digests_also_when_no_thread_can_be_started() {
        for durability in [
            Durability::Os,
            Durability::Always,
            Durability::Interval(HOUR),
        ] {
            let log = log_on(&Sim::new(), &clock(), durability, false);
            log.shared.host.flusher.refuse_threads(u32::MAX);
            for number in 0..40 {
                log.append(&format!("record number {number}")).unwrap();
            }
            log.flush().unwrap();
            let segments: Vec<_> = log.shared.segments.read().sealed().to_vec();
            assert!(segments.len() > 2);
            for segment in segments {
                let digest = segment.digest_summary(&log.shared.host.disk);
                assert!(digest.is_some(), "{durability:?}");
            }
        }
    }

    /// A chore that does nothing, and is not due for a day.
    struct Idle;

    impl Chore for Idle {
        fn run(&self) {}
    }

    #[test]
    fn chores_of_logs_that_are_gone_are_not_kept_until_they_are_due() {
        let flusher = Flusher::new("ottla-test", Clock::default(), false);
        let at = flusher.clock.instant().checked_add(24 * HOUR).unwrap();
        let idle = |_| -> Arc<dyn Chore> { Arc::new(Idle) };
        let living: Vec<_> = (0..100).map(idle).collect();
        for round in 0..10_000 {
            if let Some(chore) = living.get(round) {
                assert!(flusher.schedule(at, Arc::downgrade(chore)));
            }
            let gone: Arc<dyn Chore> = Arc::new(Idle);
            flusher.schedule(at, Arc::downgrade(&gone));
        }
        assert!(flusher.waiting() <= 300, "{} wait", flusher.waiting());
        assert!(living.iter().all(|chore| Arc::weak_count(chore) == 1));
    }

    #[test]
    fn a_log_that_becomes_always_is_flushed_first_and_its_watermark_never_goes_back() {
        for before in [Durability::Os, Durability::Interval(HOUR)] {
            for manual in [true, false] {
                let log = log_on(&Sim::new(), &clock(), before, manual);
                for number in 0..10 {
                    log.append(&format!("record number {number}")).unwrap();
                }
                let always = log.config().durability(Durability::Always);
                log.reconfigure(always).unwrap();
                assert_eq!((log.high_watermark(), log.flushed_offset()), (10, 10));
                log.truncate(4).unwrap();
                assert_eq!(log.high_watermark(), 4, "a truncation takes it back");
                assert_eq!(log.append("more").unwrap(), 4);
                assert_eq!(log.high_watermark(), 5);
            }
        }
    }

    #[test]
    fn a_watermark_stays_also_when_the_flush_before_the_switch_fails() {
        let sim = Sim::new();
        let log = log_on(&sim, &clock(), Durability::Os, true);
        log.append("a record").unwrap();
        sim.fail(Fault {
            at: At::Operation(sim.operations()),
            error: Failure::Eio,
            repeat: Repeat::Forever,
        });
        let always = log.config().durability(Durability::Always);
        let answer = log.reconfigure(always);
        assert!(matches!(answer, Err(Error::Poisoned { .. })), "{answer:?}");
        assert_eq!((log.high_watermark(), log.flushed_offset()), (1, 0));
    }
}
