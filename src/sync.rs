//! Beside floor 2: the only locks, condition variables and atomics, so that a model checker
//! replaces them in one file.
//!
//! Knows nothing about what is guarded. [`Signal`] is the one wake-up of the crate: a raise without
//! waiters costs one load.

use std::time::{Duration, Instant};

#[cfg(not(all(test, ottla_shuttle)))]
mod real {
    pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
    pub(crate) use std::sync::atomic::{
        AtomicBool, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, fence,
    };

    pub(crate) mod thread {
        pub(crate) use std::thread::{Builder, JoinHandle, current, yield_now};
    }
}

#[cfg(all(test, ottla_shuttle))]
#[path = "sync/model.rs"]
mod real;

mod threads;
#[cfg(not(any(test, feature = "async")))]
#[path = "sync/no_wakers.rs"]
mod wakers;
#[cfg(any(test, feature = "async"))]
mod wakers;
mod watchers;

pub(crate) use threads::for_each_on;
#[cfg(any(feature = "async", all(test, ottla_shuttle)))]
pub(crate) use wakers::WakerKey;
use wakers::{Crowd, Woken};
pub(crate) use wakers::{WakeLater, Wakers};
pub(crate) use watchers::Watchers;

pub(crate) use real::{
    AtomicBool, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Condvar, Mutex, MutexGuard, RwLock,
    fence, thread,
};
pub(crate) use std::sync::OnceLock;
/// For a `static` of the whole process, which the threads of a model do not change.
pub(crate) use std::sync::atomic::AtomicU64 as ProcessAtomicU64;
pub(crate) use std::sync::atomic::Ordering;

#[cfg(test)]
#[cfg(ottla_repository)]
pub(crate) use std::sync::Barrier;

/// A wake-up that cannot be missed: take a ticket (a task enters its waker instead), look for
/// something to do, and wait on the ticket. A raise after the ticket was taken ends the wait at
/// once.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    /// The number of tickets and entered tasks.
    waiting: AtomicUsize,
    raised: Mutex<Raised>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Raised {
    count: u64,
    crowd: Crowd,
}

#[derive(Debug)]
pub(crate) struct Ticket<'a> {
    signal: &'a Signal,
    seen: u64,
}

impl Signal {
    /// Wakes every holder of a ticket and every entered task. This thread must have stored before
    /// what they look for.
    #[inline]
    pub(crate) fn raise(&self) {
        fence(Ordering::SeqCst);
        self.raise_after_lock();
    }

    /// [`raise`](Self::raise) without a fence, for a thread that published under a lock which every
    /// waiter holds between taking its ticket and looking.
    ///
    /// A waiter that held the lock before this thread was counted before; one that holds it after
    /// sees what was published.
    #[inline]
    pub(crate) fn raise_after_lock(&self) {
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.raise_slowly(|crowd| (crowd.take(), false));
        }
    }

    /// As [`Signal::raise`]; of very many tasks it wakes some, and each wakes the next. True when
    /// the caller must have [`hasten`](Signal::hasten) called for the others.
    #[must_use]
    pub(crate) fn raise_in_turns(&self) -> bool {
        fence(Ordering::SeqCst);
        self.waiting.load(Ordering::Relaxed) > 0 && self.raise_slowly(Crowd::take_in_turns)
    }

    #[cold]
    fn raise_slowly(&self, take: impl FnOnce(&mut Crowd) -> (Woken, bool)) -> bool {
        let (woken, rest) = {
            let mut raised = self.raised.lock();
            raised.count = raised.count.wrapping_add(1);
            let (woken, rest) = take(&mut raised.crowd);
            if woken.len() > 0 {
                self.waiting.fetch_sub(woken.len(), Ordering::SeqCst);
            }
            (woken, rest)
        };
        // After unlocking, or the woken threads would have to wait for the lock.
        self.wake.notify_all();
        woken.wake();
        rest
    }

    /// Whether there are waiters. A ticket that this does not see sees what the caller stored
    /// before.
    pub(crate) fn is_waited_for(&self) -> bool {
        fence(Ordering::SeqCst);
        self.waiting.load(Ordering::SeqCst) > 0
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    pub(crate) fn ticket(&self) -> Ticket<'_> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        Ticket {
            signal: self,
            seen: self.raised.lock().count,
        }
    }
}

impl Ticket<'_> {
    /// Waits for a raise; false when the time is over.
    pub(crate) fn wait_until(&mut self, deadline: Option<Instant>) -> bool {
        let mut raised = self.signal.raised.lock();
        while raised.count == self.seen {
            match deadline {
                None => self.signal.wake.wait(&mut raised),
                Some(deadline) => {
                    if self
                        .signal
                        .wake
                        .wait_until(&mut raised, deadline)
                        .timed_out()
                    {
                        return raised.count != self.seen;
                    }
                }
            }
        }
        self.seen = raised.count;
        true
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.signal.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// When a timeout ends; `None` if an [`Instant`] cannot represent that.
pub(crate) fn deadline(now: Instant, timeout: Duration) -> Option<Instant> {
    now.checked_add(timeout)
}

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
