//! Beside floor 2: the only locks, condition variables and atomics, so that a model checker can
//! take their place in one file.
//!
//! Knows nothing about what is guarded. [`Signal`] is the one wake-up of the crate: whoever makes
//! progress raises it, at the price of one load when nobody waits.

use std::time::{Duration, Instant};

pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
pub(crate) use std::sync::atomic::{
    AtomicBool, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};

/// A wake-up that cannot be missed: take a ticket, look whether there is something to do, and
/// wait on the ticket; a raise between the two ends the wait at once.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    waiting: AtomicUsize,
    raised: Mutex<u64>,
    wake: Condvar,
}

/// What [`Signal::ticket`] gives: the number of raises seen so far, and a place among the waiting.
#[derive(Debug)]
pub(crate) struct Ticket<'a> {
    signal: &'a Signal,
    seen: u64,
}

impl Signal {
    /// Wakes everybody who holds a ticket. One load when nobody does.
    ///
    /// What the waiters look at must have been stored before, by this thread.
    #[inline]
    pub(crate) fn raise(&self) {
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.raise_slowly();
        }
    }

    #[cold]
    fn raise_slowly(&self) {
        let mut raised = self.raised.lock();
        *raised = raised.wrapping_add(1);
        self.wake.notify_all();
    }

    /// A place among the waiting. Take it first, look for something to do, then wait.
    pub(crate) fn ticket(&self) -> Ticket<'_> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        Ticket {
            signal: self,
            seen: *self.raised.lock(),
        }
    }
}

impl Ticket<'_> {
    /// Waits until the signal is raised (true) or the time is over (false).
    pub(crate) fn wait_until(&mut self, deadline: Option<Instant>) -> bool {
        let mut raised = self.signal.raised.lock();
        while *raised == self.seen {
            match deadline {
                None => self.signal.wake.wait(&mut raised),
                Some(deadline) => {
                    if self
                        .signal
                        .wake
                        .wait_until(&mut raised, deadline)
                        .timed_out()
                    {
                        return *raised != self.seen;
                    }
                }
            }
        }
        self.seen = *raised;
        true
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.signal.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// When a wait that begins `now` and lasts `timeout` is over; `None` when that is past all time.
pub(crate) fn deadline(now: Instant, timeout: Duration) -> Option<Instant> {
    now.checked_add(timeout)
}
