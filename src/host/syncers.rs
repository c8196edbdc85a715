//! Threads that sync several logs in parallel: a file system writes its journal once for all syncs
//! that wait for it, so many of them take little longer than one.
//!
//! Knows nothing about what was appended: a [`SyncJob`] names a log, an end and a callback.
//!
//! 1. At most one thread works on a log; what is requested for it meanwhile is done together next.
//! 2. Every job's callback gets the outcome: if no thread can be started, the requesting thread
//!    works.
//! 3. No lock is held during a sync or a callback.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::disk::Owner;
use crate::error::Result;
use crate::sync::{AtomicU64, Condvar, Mutex, Ordering, WakeLater};
use crate::types::Offset;

use super::threads::Worker;

const THREADS_MAX: usize = 32;
/// How long a thread without work waits before it ends.
const IDLE: Duration = Duration::from_secs(10);
/// A sync that takes less is not worth another thread: it goes to memory, or to a disk that only
/// promises.
const CHEAP: Duration = Duration::from_micros(100);

pub(crate) trait Syncs: Send {
    /// The same for every handle of a log, and for no other log as long as one exists.
    fn key(&self) -> usize;

    /// Syncs up to an offset, whatever the log's durability.
    fn sync(&self, end: Offset) -> Result<()>;

    /// Syncs if the log's durability requires it.
    fn confirm(&self, end: Offset) -> Result<()>;

    /// Everything below it is synced.
    fn synced(&self) -> Offset;
}

pub(crate) struct SyncJob {
    pub(crate) log: Box<dyn Syncs>,
    /// Everything below this must be synced.
    pub(crate) end: Offset,
    /// Even if the log's durability does not require it.
    pub(crate) in_any_case: bool,
    /// Called with the outcome; dropped uncalled only by a panic.
    pub(crate) done: Box<dyn FnOnce(Result<()>) + Send>,
}

#[derive(Debug)]
pub(crate) struct Syncers {
    owner: Owner,
    manual: bool,
    clock: Clock,
    /// How long the last sync took, in nanoseconds.
    cost: Arc<AtomicU64>,
    queue: Arc<Queue>,
    threads: Mutex<Vec<Worker>>,
}

#[derive(Default)]
struct Queue {
    work: Mutex<Work>,
    wake: Condvar,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

/// A log, by its address.
type Key = usize;

#[derive(Default)]
struct Work {
    /// Logs that no thread works on, in the order in which they were requested.
    ready: VecDeque<Key>,
    /// Waiting jobs by log. A log that a thread works on has an entry, which may be empty.
    jobs: BTreeMap<Key, Vec<SyncJob>>,
    threads: usize,
    idle: usize,
    stopped: bool,
}

impl Syncers {
    /// With manual upkeep there are no threads.
    pub(crate) fn new(clock: Clock, manual: bool) -> Self {
        Self {
            owner: Owner::here(),
            manual,
            clock,
            cost: Arc::new(AtomicU64::new(u64::MAX)),
            queue: Arc::default(),
            threads: Mutex::new(Vec::new()),
        }
    }

    /// Has other threads do jobs, as far as there are any. A caller that waits for the end does its
    /// part.
    pub(crate) fn run(&self, mut jobs: Vec<SyncJob>, waits: bool) {
        if waits && (self.manual || jobs.len() == 1) {
            return self.run_here(jobs);
        }
        if waits && self.is_cheap() {
            // Inline, as long as syncs stay this cheap.
            while let Some(job) = jobs.pop() {
                self.run_here(vec![job]);
                if !self.is_cheap() {
                    break;
                }
            }
        }
        // The caller waits anyway, so it makes one of the syncs itself.
        let own = if waits { jobs.pop() } else { None };
        for job in jobs {
            if let Err(job) = self.hand_over(job) {
                self.run_here(vec![job]);
            }
        }
        self.run_here(own.into_iter().collect());
    }

    fn is_cheap(&self) -> bool {
        Duration::from_nanos(self.cost.load(Ordering::Relaxed)) < CHEAP
    }

    fn run_here(&self, jobs: Vec<SyncJob>) {
        for job in jobs {
            sync(&self.clock, &self.cost, vec![job]);
        }
    }

    fn hand_over(&self, job: SyncJob) -> std::result::Result<(), SyncJob> {
        let key = job.log.key();
        let mut work = self.queue.work.lock();
        if self.manual || work.stopped {
            return Err(job);
        }
        let known = work.jobs.contains_key(&key);
        if !known && work.idle <= work.ready.len() && work.threads < THREADS_MAX {
            // Counted before the lock is released, so that callers in between do not start a thread
            // too many.
            work.threads = work.threads.saturating_add(1);
            drop(work);
            let started = self.start_thread();
            work = self.queue.work.lock();
            if !started {
                work.threads = work.threads.saturating_sub(1);
            }
            // Without a thread the job would stay in the queue.
            if work.stopped || work.threads == 0 {
                return Err(job);
            }
        }
        // Checked again, because the lock was released meanwhile.
        let known = work.jobs.contains_key(&key);
        work.jobs.entry(key).or_default().push(job);
        if !known {
            work.ready.push_back(key);
            drop(work);
            self.queue.wake.notify_one();
        }
        Ok(())
    }

    fn start_thread(&self) -> bool {
        let (queue, clock) = (Arc::clone(&self.queue), self.clock.clone());
        let cost = Arc::clone(&self.cost);
        let started = Worker::start("ottla-sync", move || queue.run(&clock, &cost));
        let runs = started.is_some();
        let mut threads = self.threads.lock();
        threads.retain(|thread| !thread.is_finished());
        threads.extend(started);
        runs
    }

    pub(crate) fn stop(&self) {
        self.queue.work.lock().stopped = true;
        self.queue.wake.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            // Panics are caught there.
            thread.join();
        }
    }
}

impl Drop for Syncers {
    fn drop(&mut self) {
        if self.owner.is_here() {
            self.stop();
        }
    }
}

impl Queue {
    fn run(&self, clock: &Clock, cost: &AtomicU64) {
        let mut work = self.work.lock();
        loop {
            if let Some(key) = work.ready.pop_front() {
                let jobs = work.jobs.get_mut(&key).map(std::mem::take);
                drop(work);
                // A panic in one callback does not affect the others; the other syncs continue.
                drop(catch_unwind(AssertUnwindSafe(|| {
                    sync(clock, cost, jobs.unwrap_or_default());
                })));
                work = self.work.lock();
                // Jobs that came for this log meanwhile are done together, by one more sync (I1).
                match work.jobs.get(&key) {
                    Some(more) if !more.is_empty() => work.ready.push_back(key),
                    _ => drop(work.jobs.remove(&key)),
                }
                continue;
            }
            // Only once the queue is empty: every job that was accepted is done.
            if work.stopped {
                break;
            }
            work.idle = work.idle.saturating_add(1);
            let until = Clock::System.instant().checked_add(IDLE);
            let timed_out = match until {
                Some(until) => self.wake.wait_until(&mut work, until).timed_out(),
                None => true,
            };
            work.idle = work.idle.saturating_sub(1);
            if timed_out && work.ready.is_empty() {
                break;
            }
        }
        work.threads = work.threads.saturating_sub(1);
    }
}

fn sync(clock: &Clock, cost: &AtomicU64, jobs: Vec<SyncJob>) {
    let Some((log, end)) = jobs
        .iter()
        .max_by_key(|job| job.end)
        .map(|job| (&job.log, job.end))
    else {
        return;
    };
    // The sync wakes every reader that follows the log. That is postponed until the callbacks have
    // run, whose waiters are woken first: see `WakeLater`.
    let _later = WakeLater::begin();
    let began = clock.instant();
    let synced = if jobs.iter().any(|job| job.in_any_case) {
        log.sync(end)
    } else {
        log.confirm(end)
    };
    let took = clock.instant().saturating_duration_since(began);
    let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    cost.store(nanos, Ordering::Relaxed);
    for job in jobs {
        // Even if this sync failed, an earlier one may have covered some of the jobs.
        let covered = job.log.synced() >= job.end;
        let told = if covered { Ok(()) } else { synced.clone() };
        (job.done)(told);
    }
}
