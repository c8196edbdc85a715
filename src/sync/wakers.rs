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
//!    the order in which they were woken, and the one that waits for its own append should not run
//!    behind thousands that follow the log.
//!
//! 5. Of a crowd that is woken in turns a few are under way at a time, and each that comes back to
//!    wait again or to leave passes the wake on: thousands at once would fill an executor's queue.
//!    A task may be slow to come back, or stuck: where tasks are left, somebody
//!    [hastens](Signal::hasten) them now and then.

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
    static LATER: Cell<Vec<Woken>> = const { Cell::new(Vec::new()) };
}

#[derive(Debug, Default)]
pub(crate) struct Wakers {
    last: u64,
    waiting: BTreeMap<u64, Waker>,
}

/// How many tasks of a crowd are under way at a time: enough for the threads of an executor, and
/// few in the queue in front of what else becomes ready, such as the answer to an append.
const UNDER_WAY_MAX: usize = if cfg!(ottla_shuttle) { 1 } else { 16 };

#[derive(Debug, Default)]
pub(crate) struct Crowd {
    wakers: Wakers,
    /// A task whose key is not above this one was raised for, and waits for its turn.
    due_to: u64,
    due: usize,
    /// Woken and not come back, as far as is known.
    under_way: usize,
    /// How many came back, ever; and at the last look.
    came_back: u64,
    came_back_before: u64,
    /// How many looks in a row found that none did.
    stuck: u32,
    hastened: bool,
}

/// The place of a waiting task; none before it has waited.
#[derive(Debug, Default)]
pub(crate) struct WakerKey(Option<NonZeroU64>);

/// To be woken once the lock is given back.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct Woken(BTreeMap<u64, Waker>);

/// While it lives, this thread wakes no task; when the last one goes, it wakes those that were due.
/// It begins before the locks are taken, and goes after they are given back.
#[derive(Debug)]
pub(crate) struct WakeLater(PhantomData<*const ()>);

impl Wakers {
    /// Returns what was entered under the key before, to be dropped once the lock is given back.
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

    /// Returns the waker that the task had before, and those that it passes its own wake on to.
    fn enter(&mut self, key: &mut WakerKey, waker: Waker) -> (Option<Waker>, Woken) {
        // One that is due stays so, and looks again after every raise before its turn.
        let woken = self.was_woken(key);
        let replaced = self.wakers.enter(key, waker);
        (replaced, self.come_back(woken))
    }

    /// With the same answer.
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

    /// Takes out as many as may be under way, and makes the others due; a few are all taken out.
    /// True when somebody who does not yet is to hasten them.
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

    /// Wakes them, now or when the thread's last [`WakeLater`] goes.
    pub(crate) fn wake(self) {
        if self.0.is_empty() {
            return;
        }
        let put_off = DEPTH.try_with(Cell::get).unwrap_or(0) > 0;
        // At the end of a thread there is no memory of its own any more.
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
    /// Enter a task first, look for something to do, then return `Pending`.
    pub(crate) fn enter(&self, key: &mut WakerKey, waker: &Waker) {
        let waker = waker.clone();
        let (replaced, next) = self.among_crowd(|crowd| crowd.enter(key, waker));
        drop(replaced);
        next.wake();
        // The look must not be done before the entry is seen.
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

    /// Looks whether the tasks that a raise in turns has woken come back. If none did since the
    /// last look, more of those that are due are woken. True when some are left: it is to be called
    /// again after a while.
    pub(crate) fn hasten(&self) -> bool {
        let (woken, again) = self.among_crowd(Crowd::hasten);
        woken.wake();
        again
    }

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
