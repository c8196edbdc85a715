//! What the logs of one root share: the disk, the clock, the pool of open files, the marks, and
//! the flusher.
//!
//! Knows nothing about single logs: the flusher runs [`Chore`]s when they are due.
//!
//! 1. The flusher's thread starts when the first chore is scheduled and is named `ottla-flusher`.
//! 2. With manual upkeep there is no thread: chores are dropped, and whoever scheduled one does
//!    the work in line.
//! 3. No lock is held while a chore runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::clock::Clock;
use crate::disk::{Disk, Owner};
use crate::error::{Error, Result};
use crate::segment::OpenFiles;
use crate::sync::{Condvar, Mutex};

use super::marks::Marks;
use super::syncers::Syncers;

/// What the logs of one root share.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) disk: Disk,
    pub(crate) clock: Clock,
    pub(crate) files: OpenFiles,
    pub(crate) marks: Marks,
    pub(crate) flusher: Flusher,
    /// Runs the chores of producers, which write and never sync: none of them waits for a disk.
    pub(crate) lingers: Flusher,
    pub(crate) syncers: Syncers,
    owner: Owner,
}

/// How many sealed segments of a root stay open.
pub(crate) const OPEN_FILES_MAX: usize = 32;

impl Host {
    /// A host whose chores are run by a thread, or not at all with `manual` upkeep.
    pub(crate) fn new(disk: Disk, clock: Clock, marks: Marks, manual: bool) -> Arc<Self> {
        let flusher = Flusher::new("ottla-flusher", clock.clone(), manual);
        let lingers = Flusher::new("ottla-linger", clock.clone(), manual);
        let syncers = Syncers::new(clock.clone(), manual);
        Arc::new(Self {
            disk,
            clock,
            files: OpenFiles::new(OPEN_FILES_MAX),
            marks,
            flusher,
            lingers,
            syncers,
            owner: Owner::here(),
        })
    }

    /// An error in a process that was forked from the one that opened the root. Every call of a
    /// handle asks this before it takes a lock or touches a file, and every drop before it does
    /// anything but closing descriptors.
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

    /// Ends the threads. What they were asked for is done or dropped.
    pub(crate) fn stop_threads(&self) {
        self.lingers.stop();
        self.flusher.stop();
        self.syncers.stop();
    }

    /// The process that opened the root, for whoever asks very often.
    pub(crate) fn owner(&self) -> Owner {
        self.owner
    }
}

/// A thread of this process. One that was forked off does not have it: what is left of it there is
/// left alone, for it can neither be waited for nor let go.
#[derive(Debug)]
pub(crate) struct Worker {
    owner: Owner,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts a thread; `None` when the process is at its limit.
    pub(crate) fn start(name: &str, run: impl FnOnce() + Send + 'static) -> Option<Self> {
        let owner = Owner::here();
        let named = std::thread::Builder::new().name(name.to_owned());
        let thread = named.spawn(run).ok();
        thread.is_some().then_some(Self { owner, thread })
    }

    /// Whether it has ended.
    pub(super) fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for the thread's end, unless it is the one that asks.
    pub(crate) fn join(mut self) {
        if !self.owner.is_here() {
            return;
        }
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            // A panic has been reported by the panic hook.
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

/// Work that is done by the flusher.
pub(crate) trait Chore: Send + Sync {
    /// Does it. Errors have no caller to go to: they show up in the state of the log.
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
        }
    }

    /// Whether nobody runs chores.
    pub(crate) fn is_manual(&self) -> bool {
        self.manual
    }

    /// How many chores wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.shared.chores.lock().due.len()
    }

    /// Has a chore run at a time, or soon after; false when there is no thread to run it.
    pub(crate) fn schedule(&self, at: Instant, chore: Weak<dyn Chore>) -> bool {
        if self.manual {
            return false;
        }
        {
            let mut chores = self.shared.chores.lock();
            if chores.stopped {
                return false;
            }
            chores.number = chores.number.wrapping_add(1);
            let key = (at, chores.number);
            chores.due.insert(key, chore);
        }
        self.shared.wake.notify_one();
        self.ensure_thread()
    }

    /// Starts the thread if there is none: the process may have been at its limit when that was
    /// tried last. Whether there is one.
    fn ensure_thread(&self) -> bool {
        let mut thread = self.thread.lock();
        if thread.is_none() && !self.shared.chores.lock().stopped {
            let shared = Arc::clone(&self.shared);
            let clock = self.clock.clone();
            let name = self.name;
            *thread = Worker::start(name, move || shared.run(&clock));
        }
        thread.is_some()
    }

    /// Ends the thread after the chore that it runs; later chores are dropped.
    pub(crate) fn stop(&self) {
        self.shared.chores.lock().stopped = true;
        self.shared.wake.notify_all();
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
                self.wake.wait_until(&mut chores, at);
                continue;
            }
            let chore = chores
                .due
                .remove(&(at, number))
                .and_then(|chore| chore.upgrade());
            drop(chores);
            if let Some(chore) = chore {
                chore.run();
            }
            chores = self.chores.lock();
        }
    }
}
