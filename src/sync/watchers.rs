//! The signals that a change raises, for waiters that wait for many things.
//!
//! Knows nothing about what changes. An entry lives only while its owner waits: without waiters a
//! change costs one load.
//!
//! 1. A raise takes every entry out, so the next change meets only waiters that have looked and
//!    wait again.
//! 2. So a waiter enters its signal before each look: a change that the look does not see finds the
//!    entry.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use super::{AtomicBool, Mutex, Ordering, Signal, fence};

#[derive(Debug, Default)]
pub(crate) struct Watchers {
    watched: AtomicBool,
    /// By the address of the signal, which is not reused while there is an entry.
    waiting: Mutex<BTreeMap<usize, Weak<Signal>>>,
}

impl Watchers {
    /// Raises every entered signal. This thread must have stored before what the waiters look for.
    #[inline]
    pub(crate) fn raise(&self) {
        fence(Ordering::SeqCst);
        self.raise_after_lock();
    }

    /// [`raise`](Self::raise) without a fence, for what was published under a lock which every
    /// waiter holds between [`Watchers::add`] and looking.
    #[inline]
    pub(crate) fn raise_after_lock(&self) {
        if self.watched.load(Ordering::Relaxed) {
            self.raise_each();
        }
    }

    #[cold]
    fn raise_each(&self) {
        let woken = {
            let mut waiting = self.waiting.lock();
            self.watched.store(false, Ordering::SeqCst);
            std::mem::take(&mut *waiting)
        };
        // After unlocking, or the woken threads would have to wait for the lock.
        for signal in woken.values().filter_map(Weak::upgrade) {
            signal.raise();
        }
    }

    /// Whether there are entries, ordered as [`Signal::is_waited_for`].
    pub(crate) fn is_watched(&self) -> bool {
        fence(Ordering::SeqCst);
        self.watched.load(Ordering::SeqCst)
    }

    /// Enters a signal, which the next change raises once.
    pub(crate) fn add(&self, signal: &Arc<Signal>) {
        {
            let mut waiting = self.waiting.lock();
            waiting.insert(key(signal), Arc::downgrade(signal));
            self.watched.store(true, Ordering::SeqCst);
        }
        // The caller must not look for changes before the entry is visible.
        fence(Ordering::SeqCst);
    }

    pub(crate) fn remove(&self, signal: &Arc<Signal>) {
        let mut waiting = self.waiting.lock();
        waiting.remove(&key(signal));
        self.watched.store(!waiting.is_empty(), Ordering::SeqCst);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.waiting.lock().len()
    }
}

fn key(signal: &Arc<Signal>) -> usize {
    Arc::as_ptr(signal).addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_raises_every_entry_once_and_takes_it_out() {
        let watchers = Watchers::default();
        let signals: Vec<_> = (0..3).map(|_| Arc::new(Signal::default())).collect();
        let mut tickets: Vec<_> = signals.iter().map(|signal| signal.ticket()).collect();
        for signal in &signals {
            watchers.add(signal);
            watchers.add(signal);
        }
        watchers.remove(&signals[2]);
        assert_eq!(watchers.len(), 2);
        watchers.raise();
        assert_eq!(watchers.len(), 0);
        watchers.raise();
        let now = crate::clock::Clock::System.instant();
        let raised: Vec<_> = tickets
            .iter_mut()
            .map(|ticket| (ticket.wait_until(Some(now)), ticket.wait_until(Some(now))))
            .collect();
        assert_eq!(raised, [(true, false), (true, false), (false, false)]);
    }

    #[test]
    fn an_entry_of_a_signal_that_is_gone_is_passed_over() {
        let watchers = Watchers::default();
        watchers.add(&Arc::new(Signal::default()));
        assert_eq!(watchers.len(), 1);
        watchers.raise();
        assert_eq!(watchers.len(), 0);
    }
}
