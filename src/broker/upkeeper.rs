//! The thread of a broker's rounds of upkeep.
//!
//! Knows nothing about what a round does.
//!
//! 1. It starts when the first topic or group is used, is named `ottla-upkeep`, and ends with the
//!    broker. With manual upkeep it never starts.
//! 2. After a round that fails, or panics, the next one comes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::clock::{Clock, Moved};
use crate::host::Worker;
use crate::sync::{AtomicBool, Mutex, Ordering, Signal};

use super::root::Root;
use super::upkeep::UpkeepReport;

#[derive(Debug, Default)]
pub(super) struct Upkeeper {
    started: AtomicBool,
    shared: Arc<UpkeeperState>,
    thread: Mutex<Option<Worker>>,
}

#[derive(Debug, Default)]
struct UpkeeperState {
    stopped: AtomicBool,
    wake: Signal,
    last: Mutex<Option<UpkeepReport>>,
}

impl Upkeeper {
    pub(super) fn start(&self, root: &Arc<Root>) {
        let interval = root.config.upkeep_interval;
        if root.config.manual_upkeep || self.started.swap(true, Ordering::AcqRel) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let clock = root.host.clock.clone();
        let follower: Weak<UpkeeperState> = Arc::downgrade(&self.shared);
        clock.follow(follower);
        // Keeps nothing between rounds: a forked process has no such thread, and would never
        // drop the root.
        let root = Arc::downgrade(root);
        // Before the thread runs: a test may move the clock meanwhile.
        let first = clock.instant().checked_add(interval);
        let run = move || shared.run(&root, &clock, (first, interval));
        match Worker::start("ottla-upkeep", run) {
            Some(thread) => *self.thread.lock() = Some(thread),
            // The process is at its limit of threads: the next use tries again.
            None => self.started.store(false, Ordering::Release),
        }
    }

    pub(super) fn last(&self) -> Option<UpkeepReport> {
        self.shared.last.lock().clone()
    }

    pub(super) fn stop(&self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.shared.wake.raise();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            thread.join();
        }
    }
}

impl UpkeeperState {
    fn run(
        &self,
        root: &Weak<Root>,
        clock: &Clock,
        (mut next, interval): (Option<Instant>, Duration),
    ) {
        let mut ticket = self.wake.ticket();
        while !self.stopped.load(Ordering::SeqCst) {
            if next.is_none_or(|next| clock.instant() < next) {
                ticket.wait_until(next.and_then(|next| clock.deadline(next)));
                continue;
            }
            let Some(root) = root.upgrade() else {
                return;
            };
            let round = catch_unwind(AssertUnwindSafe(|| root.upkeep()));
            if let Ok(Ok(report)) = round {
                *self.last.lock() = Some(report);
            }
            root.show();
            next = clock.instant().checked_add(interval);
        }
    }
}

impl Moved for UpkeeperState {
    fn moved(&self) {
        self.wake.raise();
    }
}
