//! Makes sure that a crowd of tasks that is woken in turns makes progress.
//!
//! Knows nothing about what they wait for. Each task wakes the next when it comes back
//! (`Signal::raise_in_turns`); one with a busy executor or a slow client must not keep the others
//! waiting.
//!
//! 1. While tasks are due, `ottla-linger` checks on them, because it never waits for a disk.
//!    Without that thread all of them are woken at once.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::clock::Clock;
use crate::host::Chore;

use super::shared::Shared;

/// How long due tasks wait for one that does not come back.
const PATIENCE: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(super) struct Usher {
    log: Weak<Shared>,
}

impl Usher {
    pub(super) fn of(log: Weak<Shared>) -> Arc<dyn Chore> {
        Arc::new(Self { log })
    }
}

impl Chore for Usher {
    fn run(&self) {
        if let Some(log) = self.log.upgrade()
            && log.signal.hasten()
        {
            log.usher_later();
        }
    }
}

impl Shared {
    /// Wakes everything that waits for this log after a sync, a crowd in turns.
    pub(super) fn raise_in_turns(&self) {
        if self.signal.raise_in_turns() {
            self.usher_later();
        }
        // The fence of the first raise covers both.
        self.watchers.raise_after_lock();
        self.tell_followers();
    }

    fn usher_later(&self) {
        let host = &self.host;
        let at = host.clock.instant().checked_add(PATIENCE);
        // A clock that a test moves may never get there.
        let is_real = matches!(host.clock, Clock::System);
        let looks = |at| is_real && host.lingers.schedule(at, Arc::downgrade(&self.usher));
        if !at.is_some_and(looks) {
            self.signal.wake_due();
        }
    }
}
