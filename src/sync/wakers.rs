//! The wakers of tasks that wait, beside the condition variables of threads.
//!
//! Knows nothing about what is waited for, nor about who runs the tasks.
//!
//! 1. A raise takes every waker out. A task enters its own before each look, so a raise that the
//!    look does not see finds it.
//! 2. No lock of this crate is held while a waker is cloned, woken or dropped: that runs user code,
//!    which may even close a log. [`WakeLater`] puts that off where locks are held.
//! 3. A task that is dropped takes its waker out.
//! 4. Of the sets that were put off, the smaller ones are woken first: an executor runs tasks in
//!    the order in which they were woken, and a task that waits for its own append should not run
//!    behind thousands that follow the log.
//! 5. Of a crowd that is woken in turns only a few tasks are under way at a time. Each that comes
//!    back, to wait again or to leave, wakes the next: thousands at once would fill an executor's
//!    queue. A task may be slow to come back, or stuck, so while tasks are left,
//!    [`Signal::hasten`] is called from time to time.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

use super::{Ordering, Signal, fence};

thread_local! {
    /// How many [`WakeLater`] there are on this thread (all threads of a model checker share it).
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    /// What they have put off.
    static LATER: Cell<Vec<Woken>> = const { Cell::new(Vec::new()) };
}

/// The wakers of tasks that wait for one thing; the caller's lock guards them.
#[derive(Debug, Default)]
pub(crate) struct Wakers {
    last: u64,
    waiting: BTreeMap<u64, Waker>,
}

/// How many tasks of a crowd are under way at a time: enough for the threads of an executor, and
/// few enough that other tasks in its queue soon run.
const UNDER_WAY_MAX: usize = if cfg!(ottla_shuttle) { 1 } else { 16 };

/// The tasks that wait on a signal.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    wakers: Wakers,
    /// Waiting tasks with keys up to this one are due: a raise was for them, and they wait for
    /// their turn.
    due_to: u64,
    /// The number of due tasks.
    due: usize,
    /// How many were woken and have not come back, as far as is known.
    under_way: usize,
    /// How many have come back so far.
    came_back: u64,
    /// `came_back` at the last call of `hasten`.
    came_back_before: u64,
    /// How many calls of `hasten` in a row found that none came back.
    stuck: u32,
    /// `hasten` is called from time to time.
    hastened: bool,
}

/// The key of a waiting task; `None` before it has waited.
#[derive(Debug, Default)]
pub(crate) struct WakerKey(Option<NonZeroU64>);

/// Wakers that were taken out, to be woken after unlocking.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct Woken(BTreeMap<u64, Waker>);

/// While one exists, this thread wakes no task; when the last one is dropped, it wakes those that
/// were put off. It must begin before locks are taken, and be dropped after they are released.
#[derive(Debug)]
pub(crate) struct WakeLater(PhantomData<*const ()>);

impl Wakers {
    /// Enters a task; returns its former waker, to be dropped after unlocking.
    pub(crate) fn enter(&mut self, key: &mut WakerKey, waker: Waker) -> Option<Waker> {
        if let Some(entered) = key.0.and_then(|key| self.waiting.get_mut(&key.get())) {
            return Some(std::mem::replace(entered, waker));
        }
        self.last = self.last.wrapping_add(1).max(1);
        key.0 = NonZeroU64::new(self.last);
        self.waiting.insert(self.last, waker)
    }

    pub(crate) fn leave(&mut self, key: &mut WakerKey) -> Option<Waker> {
        let key = key.0.take()?;
        self.waiting.remove(&key.get())
    }

    pub(crate) fn take(&mut self) -> Woken {
        Woken(std::mem::take(&mut self.waiting))
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }
}

impl Crowd {
    pub(super) fn len(&self) -> usize {
        self.wakers.len()
    }

    /// Enters a task; returns its former waker, and the wakers that its coming back wakes.
    fn enter(&mut self, key: &mut WakerKey, waker: Waker) -> (Option<Waker>, Woken) {
        // A task that is due stays so, even if it has looked again since the raise.
        let woken = self.was_woken(key);
        let replaced = self.wakers.enter(key, waker);
        (replaced, self.come_back(woken))
    }

    /// Takes a task out; returns the same as [`enter`](Self::enter).
    fn leave(&mut self, key: &mut WakerKey) -> (Option<Waker>, Woken) {
        let woken = self.was_woken(key);
        let was_due = key.0.is_some_and(|key| key.get() <= self.due_to);
        let left = self.wakers.leave(key);
        if left.is_some() && was_due {
            self.due = self.due.saturating_sub(1);
        }
        (left, self.come_back(woken))
    }

    fn was_woken(&self, key: &WakerKey) -> bool {
        key.0
            .is_some_and(|key| !self.wakers.waiting.contains_key(&key.get()))
    }

    fn come_back(&mut self, woken: bool) -> Woken {
        if !woken {
            return Woken::default();
        }
        self.came_back = self.came_back.wrapping_add(1);
        self.under_way = self.under_way.saturating_sub(1);
        self.wake_due(1)
    }

    fn wake_due(&mut self, count: usize) -> Woken {
        let count = count.min(self.due);
        let first = |_| self.wakers.waiting.pop_first();
        let woken = Woken((0..count).map_while(first).collect());
        self.due = self.due.saturating_sub(count);
        self.under_way = self.under_way.saturating_add(woken.len());
        woken
    }

    pub(super) fn take(&mut self) -> Woken {
        let woken = self.wakers.take();
        self.due = 0;
        self.under_way = self.under_way.saturating_add(woken.len());
        woken
    }

    /// Takes out as many tasks as may be under way, all if they are few, and makes the others due.
    /// True when calls of [`hasten`](Self::hasten) must begin.
    pub(super) fn take_in_turns(&mut self) -> (Woken, bool) {
        self.due_to = self.wakers.last;
        self.due = self.wakers.len();
        let woken = if self.due <= UNDER_WAY_MAX {
            self.take()
        } else {
            self.wake_due(UNDER_WAY_MAX.saturating_sub(self.under_way))
        };
        let calls = self.due > 0 && !self.hastened;
        self.hastened |= calls;
        (woken, calls)
    }

    fn hasten(&mut self) -> (Woken, bool) {
        if self.due == 0 {
            (self.hastened, self.stuck) = (false, 0);
            return (Woken::default(), false);
        }
        if self.came_back != self.came_back_before {
            (self.came_back_before, self.stuck) = (self.came_back, 0);
            return (Woken::default(), true);
        }
        // Those under way may never come back. Each time more of the others are woken, so that a
        // crowd of any size is woken soon.
        let count = UNDER_WAY_MAX.checked_shl(self.stuck).unwrap_or(usize::MAX);
        self.stuck = self.stuck.saturating_add(1);
        self.under_way = 0;
        (self.wake_due(count), true)
    }

    fn take_due(&mut self) -> Woken {
        self.hastened = false;
        self.wake_due(self.due)
    }
}

impl WakerKey {
    pub(crate) fn is_entered(&self) -> bool {
        self.0.is_some()
    }
}

impl Woken {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Wakes the tasks, now or when the thread's last [`WakeLater`] is dropped.
    pub(crate) fn wake(self) {
        if self.0.is_empty() {
            return;
        }
        let put_off = DEPTH.try_with(Cell::get).unwrap_or(0) > 0;
        // At the end of a thread its local variables are gone.
        if put_off && LATER.try_with(|_| ()).is_ok() {
            LATER.with(|later| {
                let mut sets = later.take();
                sets.push(self);
                later.set(sets);
            });
        } else {
            self.wake_now();
        }
    }

    fn wake_now(self) {
        self.0.into_values().for_each(wake);
    }
}

/// A panic is the task's own, and the panic hook has reported it; the others are woken all the
/// same.
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
            let mut due = LATER.try_with(Cell::take).unwrap_or_default();
            due.sort_by_key(Woken::len);
            due.into_iter().for_each(Woken::wake_now);
        }
    }
}

impl Signal {
    /// Enters a task, which then looks for something to do before it returns `Pending`.
    pub(crate) fn enter(&self, key: &mut WakerKey, waker: &Waker) {
        let waker = waker.clone();
        let (replaced, next) = self.among_crowd(|crowd| crowd.enter(key, waker));
        drop(replaced);
        next.wake();
        // The task must not look before its entry is visible.
        fence(Ordering::SeqCst);
    }

    #[cfg(test)]
    pub(crate) fn waiting_count(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    pub(crate) fn leave(&self, key: &mut WakerKey) {
        if key.is_entered() {
            let (left, next) = self.among_crowd(|crowd| crowd.leave(key));
            drop(left);
            next.wake();
        }
    }

    /// Checks whether the tasks that a raise in turns has woken come back. If none did since the
    /// last call, wakes more of those that are due. True when some are left: call it again after a
    /// while.
    pub(crate) fn hasten(&self) -> bool {
        let (woken, again) = self.among_crowd(Crowd::hasten);
        woken.wake();
        again
    }

    /// Wakes all tasks that are due.
    pub(crate) fn wake_due(&self) {
        self.among_crowd(Crowd::take_due).wake();
    }

    fn among_crowd<T>(&self, change: impl FnOnce(&mut Crowd) -> T) -> T {
        let mut raised = self.raised.lock();
        let before = raised.crowd.len();
        let changed = change(&mut raised.crowd);
        let after = raised.crowd.len();
        if after > before {
            self.waiting.fetch_add(after - before, Ordering::SeqCst);
        } else if after < before {
            self.waiting.fetch_sub(before - after, Ordering::SeqCst);
        }
        changed
    }
}

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
