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
use crate::disk::Disk;
use crate::segment::OpenFiles;
use crate::sync::{Condvar, Mutex};

use super::marks::Marks;

/// What the logs of one root share.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) disk: Disk,
    pub(crate) clock: Clock,
    pub(crate) files: OpenFiles,
    pub(crate) marks: Marks,
    pub(crate) flusher: Flusher,
}

/// How many sealed segments of a root stay open.
pub(crate) const OPEN_FILES_MAX: usize = 32;

impl Host {
    /// A host whose chores are run by a thread, or not at all with `manual` upkeep.
    pub(crate) fn new(disk: Disk, clock: Clock, marks: Marks, manual: bool) -> Arc<Self> {
        let flusher = Flusher::new(clock.clone(), manual);
        Arc::new(Self {
            disk,
            clock,
            files: OpenFiles::new(OPEN_FILES_MAX),
            marks,
            flusher,
        })
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
    manual: bool,
    clock: Clock,
    shared: Arc<Queue>,
    thread: Mutex<Option<JoinHandle<()>>>,
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
    fn new(clock: Clock, manual: bool) -> Self {
        Self {
            manual,
            clock,
            shared: Arc::default(),
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
            let named = std::thread::Builder::new().name("ottla-flusher".to_owned());
            *thread = named.spawn(move || shared.run(&clock)).ok();
        }
        thread.is_some()
    }

    /// Ends the thread after the chore that it runs; later chores are dropped.
    pub(crate) fn stop(&self) {
        self.shared.chores.lock().stopped = true;
        self.shared.wake.notify_all();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
        {
            // A panic of the flusher has been reported by the panic hook.
            drop(thread.join());
        }
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.stop();
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
