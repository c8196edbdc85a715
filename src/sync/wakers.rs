//! Tasks that wait: their wakers, beside the condition variables of the threads that wait.
//!
//! Knows nothing about what is waited for, nor about who runs the tasks.
//!
//! 1. A raise takes every waker out. A task enters its own before each look, so a raise that the
//!    look does not see finds it.
//! 2. No lock of this crate is held while a waker is cloned, woken or dropped: that runs code of
//!    the user, which may poll a task, drop it, and close a log with it. [`WakeLater`] puts that
//!    off where locks are held.
//! 3. A task that is dropped takes its waker out.
//!
//! A model checker's threads share one [`WakeLater`], which then ends with the last of them.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

use super::{Ordering, Signal, fence};

thread_local! {
    /// How many [`WakeLater`] there are on this thread.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    /// What they have put off.
    static LATER: Cell<Vec<Waker>> = const { Cell::new(Vec::new()) };
}

/// The wakers of tasks that wait for one thing. Somebody else's lock guards it.
#[derive(Debug, Default)]
pub(crate) struct Wakers {
    last: u64,
    waiting: BTreeMap<u64, Waker>,
}

/// The place of a task among those that wait; none before it has waited.
#[derive(Debug, Default)]
pub(crate) struct WakerKey(Option<NonZeroU64>);

/// Wakers that were taken out, to be woken once the lock is given back.
#[derive(Debug)]
#[must_use]
pub(crate) struct Woken(BTreeMap<u64, Waker>);

/// While it lives, this thread wakes no task; when the last one goes, it wakes those that were due.
/// It begins before the locks are taken, and goes after they are given back.
#[derive(Debug)]
pub(crate) struct WakeLater(PhantomData<*const ()>);

impl Wakers {
    /// Enters a task. What was entered under its key before is returned, to be dropped once the
    /// lock is given back.
    pub(crate) fn enter(&mut self, key: &mut WakerKey, waker: Waker) -> Option<Waker> {
        if let Some(entered) = key.0.and_then(|key| self.waiting.get_mut(&key.get())) {
            return Some(std::mem::replace(entered, waker));
        }
        self.last = self.last.wrapping_add(1).max(1);
        key.0 = NonZeroU64::new(self.last);
        self.waiting.insert(self.last, waker)
    }

    /// Takes a task out, if it is still in.
    pub(crate) fn leave(&mut self, key: &mut WakerKey) -> Option<Waker> {
        let key = key.0.take()?;
        self.waiting.remove(&key.get())
    }

    /// Takes all of them out.
    pub(crate) fn take(&mut self) -> Woken {
        Woken(std::mem::take(&mut self.waiting))
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }
}

impl WakerKey {
    /// Whether there may be a waker under it.
    pub(crate) fn is_entered(&self) -> bool {
        self.0.is_some()
    }
}

impl Woken {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Wakes them, now or when the thread's last [`WakeLater`] goes.
    pub(crate) fn wake(self) {
        if self.0.is_empty() {
            return;
        }
        let put_off = DEPTH.try_with(Cell::get).unwrap_or(0) > 0;
        // At the end of a thread there is no memory of its own any more.
        if put_off && LATER.try_with(|_| ()).is_ok() {
            LATER.with(|later| {
                let mut wakers = later.take();
                wakers.extend(self.0.into_values());
                later.set(wakers);
            });
        } else {
            self.0.into_values().for_each(wake);
        }
    }
}

/// Wakes one task. A panic is its own, and has been reported by the panic hook; the others are
/// woken all the same.
fn wake(waker: Waker) {
    drop(catch_unwind(AssertUnwindSafe(|| waker.wake())));
}

impl WakeLater {
    pub(crate) fn begin() -> Self {
        // Where it fails the thread is at its end, and wakes at once.
        let begun = DEPTH.try_with(|depth| depth.set(depth.get().saturating_add(1)));
        debug_assert!(begun.is_ok() || std::thread::panicking() || cfg!(not(test)));
        Self(PhantomData)
    }
}

impl Drop for WakeLater {
    fn drop(&mut self) {
        let left = DEPTH.try_with(|depth| {
            depth.set(depth.get().saturating_sub(1));
            depth.get()
        });
        if left == Ok(0) {
            let due = LATER.try_with(Cell::take).unwrap_or_default();
            due.into_iter().for_each(wake);
        }
    }
}

impl Signal {
    /// Enters a task among those that wait. Enter it first, look for something to do, then return
    /// `Pending`: a raise between the two wakes it.
    pub(crate) fn enter(&self, key: &mut WakerKey, waker: &Waker) {
        let waker = waker.clone();
        let replaced = {
            let mut raised = self.raised.lock();
            let before = raised.wakers.len();
            let replaced = raised.wakers.enter(key, waker);
            if raised.wakers.len() > before {
                self.waiting.fetch_add(1, Ordering::SeqCst);
            }
            replaced
        };
        drop(replaced);
        // The look must not be done before the entry is seen.
        fence(Ordering::SeqCst);
    }

    /// How many threads and tasks wait.
    #[cfg(test)]
    pub(crate) fn waiting_count(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Takes a task out again.
    pub(crate) fn leave(&self, key: &mut WakerKey) {
        if !key.is_entered() {
            return;
        }
        let left = {
            let mut raised = self.raised.lock();
            let left = raised.wakers.leave(key);
            if left.is_some() {
                self.waiting.fetch_sub(1, Ordering::SeqCst);
            }
            left
        };
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Wake;

    use super::*;
    use crate::sync::AtomicUsize;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Count {
        fn new() -> (Arc<Self>, Waker) {
            let count = Arc::new(Self::default());
            (Arc::clone(&count), Waker::from(count))
        }

        fn get(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }
    }

    fn waiting(signal: &Signal) -> usize {
        signal.waiting_count()
    }

    #[test]
    fn a_raise_wakes_every_task_once_and_takes_its_waker_out() {
        let signal = Signal::default();
        let ((first, one), (second, two)) = (Count::new(), Count::new());
        let mut keys = [WakerKey::default(), WakerKey::default()];
        signal.enter(&mut keys[0], &one);
        signal.enter(&mut keys[1], &two);
        assert_eq!(waiting(&signal), 2);
        signal.raise();
        signal.raise();
        assert_eq!((first.get(), second.get(), waiting(&signal)), (1, 1, 0));
        drop((one, two));
        assert_eq!(
            (Arc::strong_count(&first), Arc::strong_count(&second)),
            (1, 1)
        );
        for key in &mut keys {
            signal.leave(key);
        }
        assert_eq!(waiting(&signal), 0);
    }

    #[test]
    fn a_task_that_leaves_takes_its_waker_along_and_no_other() {
        let signal = Signal::default();
        let ((first, one), (second, two)) = (Count::new(), Count::new());
        let mut keys = [WakerKey::default(), WakerKey::default()];
        signal.enter(&mut keys[0], &one);
        signal.enter(&mut keys[1], &two);
        drop((one, two));
        signal.leave(&mut keys[0]);
        signal.leave(&mut keys[0]);
        assert_eq!((Arc::strong_count(&first), waiting(&signal)), (1, 1));
        signal.raise();
        assert_eq!((first.get(), second.get(), waiting(&signal)), (0, 1, 0));
    }

    #[test]
    fn a_task_that_enters_with_another_waker_replaces_its_own() {
        let signal = Signal::default();
        let ((first, one), (second, two)) = (Count::new(), Count::new());
        let mut key = WakerKey::default();
        signal.enter(&mut key, &one);
        signal.enter(&mut key, &two);
        drop((one, two));
        assert_eq!((Arc::strong_count(&first), waiting(&signal)), (1, 1));
        signal.raise();
        assert_eq!((first.get(), second.get()), (0, 1));
    }

    #[test]
    fn a_thread_and_a_task_are_woken_by_the_same_raise() {
        let signal = Signal::default();
        let (count, waker) = Count::new();
        let mut ticket = signal.ticket();
        signal.enter(&mut WakerKey::default(), &waker);
        signal.raise();
        let now = crate::clock::Clock::System.instant();
        assert!(ticket.wait_until(Some(now)));
        drop(ticket);
        assert_eq!((count.get(), waiting(&signal)), (1, 0));
    }

    #[test]
    fn where_locks_are_held_tasks_are_woken_when_the_last_is_given_back() {
        let signal = Signal::default();
        let (count, waker) = Count::new();
        let outer = WakeLater::begin();
        {
            let _inner = WakeLater::begin();
            signal.enter(&mut WakerKey::default(), &waker);
            signal.raise();
        }
        assert_eq!((count.get(), waiting(&signal)), (0, 0));
        drop(outer);
        assert_eq!(count.get(), 1);
    }

    #[test]
    fn a_waker_that_panics_keeps_no_other_from_being_woken() {
        struct Panics;

        impl Wake for Panics {
            fn wake(self: Arc<Self>) {
                panic!("of a task");
            }
        }

        let signal = Signal::default();
        let (count, waker) = Count::new();
        signal.enter(&mut WakerKey::default(), &Waker::from(Arc::new(Panics)));
        signal.enter(&mut WakerKey::default(), &waker);
        signal.raise();
        assert_eq!(count.get(), 1);
    }
}
