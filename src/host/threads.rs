//! Threads of our own, and the flusher, which runs [`Chore`]s when they are due.
//!
//! Knows nothing about what a chore does.
//!
//! 1. A flusher's thread starts when the first chore is scheduled; its name says what it is for.
//! 2. With manual upkeep there is no thread: chores are dropped, and their callers do the work.
//! 3. No lock is held while a chore runs.
//! 4. A chore is accepted only if a thread will run it; otherwise the caller runs it or offers it
//!    again.
//! 5. Chores of logs that no longer exist are dropped before the queue has doubled.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Instant;

use crate::clock::{self, Clock, Moved};
use crate::disk::Owner;
use crate::sync::thread::{Builder, JoinHandle, current};
use crate::sync::{Condvar, Mutex};

/// A thread of this process. A forked process neither joins nor detaches it, because it is not
/// there.
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

    pub(crate) fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// As [`join`](Self::join), waking the thread again and again: it may have been about to wait
    /// when it was woken first, and what it waits for does not change.
    pub(crate) fn wake_and_join(self, wake: impl Fn()) {
        let is_here = |thread: &JoinHandle<()>| thread.thread().id() == current().id();
        if self.owner.is_here() && !self.thread.as_ref().is_some_and(is_here) {
            clock::repeat_until(|| self.is_finished(), wake);
        }
        self.join();
    }

    /// Waits for the end of the thread, unless it is the calling one.
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

pub(crate) trait Chore: Send + Sync {
    /// Errors have no caller to go to: they show in the state of the log.
    fn run(&self);
}

#[derive(Debug)]
pub(crate) struct Flusher {
    name: &'static str,
    manual: bool,
    pub(crate) clock: Clock,
    shared: Arc<Queue>,
    owner: Owner,
    thread: Mutex<Option<Worker>>,
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
    /// With this many chores those that are no longer needed are looked for (I5).
    crowded: usize,
}

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
    pub(crate) fn new(name: &'static str, clock: Clock, manual: bool) -> Self {
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

    pub(crate) fn is_manual(&self) -> bool {
        self.manual
    }

    pub(crate) fn waiting(&self) -> usize {
        self.shared.chores.lock().due.len()
    }

    #[cfg(test)]
    pub(crate) fn refuse_threads(&self, count: u32) {
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

    /// Has a chore run at a time, or soon after; false without a thread for it (I4).
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

    /// Returns whether there is a thread. Tries again each time: the process may have been at its
    /// limit.
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
