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
//! 4. Of the sets that were put off, the smaller ones are woken first: an executor runs its tasks
//!    in the order in which they were woken, and the one that waits for its own append should not
//!    run behind thousands that follow the log.
//!
//! 5. Of a crowd that is woken in turns a few are under way at a time, and each that comes back to
//!    wait again or to leave passes the wake on. Woken at once, thousands of tasks would stand in
//!    an executor's queue in front of everything else. A task may be slow to come back, or stuck:
//!    where tasks are left, somebody [hastens](Signal::hasten) them now and then.
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
    static LATER: Cell<Vec<Woken>> = const { Cell::new(Vec::new()) };
}

/// The wakers of tasks that wait for one thing. Somebody else's lock guards it.
#[derive(Debug, Default)]
pub(crate) struct Wakers {
    last: u64,
    waiting: BTreeMap<u64, Waker>,
}

/// How many tasks of a crowd are under way at a time: enough for the threads of an executor, and
/// few in the queue in front of what else becomes ready, such as the answer to an append.
const UNDER_WAY_MAX: usize = if cfg!(ottla_shuttle) { 1 } else { 16 };

/// The tasks that wait on a signal.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    wakers: Wakers,
    /// A task whose key is not above this one is due: it was raised for, and waits for its turn.
    due_to: u64,
    /// How many are due.
    due: usize,
    /// How many were woken and have not come back, as far as is known.
    under_way: usize,
    /// How many came back, ever; and at the last look whether they do.
    came_back: u64,
    came_back_before: u64,
    /// How many such looks in a row found that none did.
    stuck: u32,
    /// Somebody looks now and then.
    hastened: bool,
}

/// The place of a task among those that wait; none before it has waited.
#[derive(Debug, Default)]
pub(crate) struct WakerKey(Option<NonZeroU64>);

/// Wakers that were taken out, to be woken once the lock is given back.
#[derive(Debug, Default)]
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

impl Crowd {
    /// How many wait for a raise or for their turn.
    pub(super) fn len(&self) -> usize {
        self.wakers.len()
    }

    /// Enters a task: the waker that it had before, and those that it passes its own wake on to.
    fn enter(&mut self, key: &mut WakerKey, waker: Waker) -> (Option<Waker>, Woken) {
        // One that is due stays so, and looks again after every raise before its turn.
        let woken = self.was_woken(key);
        let replaced = self.wakers.enter(key, waker);
        (replaced, self.come_back(woken))
    }

    /// Takes a task out, with the same answer.
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

    /// Takes so many out that are due.
    fn wake_due(&mut self, count: usize) -> Woken {
        let count = count.min(self.due);
        let first = |_| self.wakers.waiting.pop_first();
        let woken = Woken((0..count).map_while(first).collect());
        self.due = self.due.saturating_sub(count);
        self.under_way = self.under_way.saturating_add(woken.len());
        woken
    }

    /// Takes all of them out.
    pub(super) fn take(&mut self) -> Woken {
        let woken = self.wakers.take();
        self.due = 0;
        self.under_way = self.under_way.saturating_add(woken.len());
        woken
    }

    /// Takes out as many as may be under way, and makes the others due; a few are all taken out.
    /// True when somebody is to hasten them who does not yet.
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

    /// See [`Signal::hasten`].
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

    /// Takes out all that are due, since nobody hastens them.
    fn take_due(&mut self) -> Woken {
        self.hastened = false;
        self.wake_due(self.due)
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
            let mut due = LATER.try_with(Cell::take).unwrap_or_default();
            due.sort_by_key(Woken::len);
            due.into_iter().for_each(Woken::wake_now);
        }
    }
}

impl Signal {
    /// Enters a task among those that wait. Enter it first, look for something to do, then return
    /// `Pending`: a raise between the two wakes it.
    pub(crate) fn enter(&self, key: &mut WakerKey, waker: &Waker) {
        let waker = waker.clone();
        let (replaced, next) = self.among_crowd(|crowd| crowd.enter(key, waker));
        drop(replaced);
        next.wake();
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
        if key.is_entered() {
            let (left, next) = self.among_crowd(|crowd| crowd.leave(key));
            drop(left);
            next.wake();
        }
    }

    /// Looks whether the tasks that a raise in turns has woken come back. Where none did since the
    /// last look, more of those that are due are woken. True when there are some left: it is to be
    /// called again after a while.
    pub(crate) fn hasten(&self) -> bool {
        let (woken, again) = self.among_crowd(Crowd::hasten);
        woken.wake();
        again
    }

    /// Wakes all tasks that are due, where nobody can hasten them.
    pub(crate) fn wake_due(&self) {
        self.among_crowd(Crowd::take_due).wake();
    }

    /// Changes the crowd, and counts it.
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

    /// As many tasks as say, of which each counts its wakes.
    fn crowd(signal: &Signal, count: usize) -> Vec<(Arc<Count>, Waker, WakerKey)> {
        let task = |_| {
            let ((count, waker), mut key) = (Count::new(), WakerKey::default());
            signal.enter(&mut key, &waker);
            (count, waker, key)
        };
        (0..count).map(task).collect()
    }

    fn woken(tasks: &[(Arc<Count>, Waker, WakerKey)]) -> usize {
        tasks.iter().filter(|(count, ..)| count.get() > 0).count()
    }

    #[test]
    fn a_crowd_is_woken_in_turns_in_which_each_that_comes_back_wakes_the_next() {
        let signal = Signal::default();
        let mut tasks = crowd(&signal, 1_000);
        assert!(signal.raise_in_turns(), "somebody is to hasten them");
        let left = 1_000 - UNDER_WAY_MAX;
        assert_eq!((woken(&tasks), waiting(&signal)), (UNDER_WAY_MAX, left));
        assert!(
            !signal.raise_in_turns(),
            "all are under way or due, and hastened"
        );
        assert_eq!(woken(&tasks), UNDER_WAY_MAX);
        for at in 0..1_000 {
            let (count, waker, key) = &mut tasks[at];
            assert_eq!(count.get(), 1, "it is its turn");
            // Some leave, some wait again.
            match at % 2 {
                0 => signal.leave(key),
                _ => signal.enter(key, waker),
            }
            assert_eq!(woken(&tasks), (UNDER_WAY_MAX + at + 1).min(1_000));
        }
        assert!(!signal.hasten());
        assert_eq!(waiting(&signal), 500);
        // Those that wait again are woken by the next raise alone.
        assert!(signal.raise_in_turns());
        let again = tasks.iter().filter(|(count, ..)| count.get() == 2).count();
        assert_eq!(again, UNDER_WAY_MAX);
    }

    #[test]
    fn tasks_that_were_woken_and_do_not_come_back_keep_a_crowd_waiting_for_a_few_looks_alone() {
        let signal = Signal::default();
        let tasks = crowd(&signal, 1_000);
        assert!(signal.raise_in_turns());
        let mut looks = 0;
        while signal.hasten() {
            looks += 1;
        }
        assert_eq!(
            (woken(&tasks), looks),
            (1_000, 6),
            "16 + 16 + 32 + 64 + 128 + 256 + 512"
        );
        assert!(tasks.iter().all(|(count, ..)| count.get() == 1));
    }

    #[test]
    fn while_tasks_come_back_nobody_is_hastened() {
        let signal = Signal::default();
        let mut tasks = crowd(&signal, 1_000);
        assert!(signal.raise_in_turns());
        for at in 0..100 {
            signal.leave(&mut tasks[at].2);
            assert!(signal.hasten());
            assert_eq!(woken(&tasks), UNDER_WAY_MAX + at + 1);
        }
        signal.wake_due();
        assert_eq!(woken(&tasks), 1_000);
    }

    #[test]
    fn a_plain_raise_wakes_those_that_are_due_as_well() {
        let signal = Signal::default();
        let mut tasks = crowd(&signal, 1_000);
        assert!(signal.raise_in_turns());
        // One of those that are due leaves; a new one comes.
        signal.leave(&mut tasks[999].2);
        tasks.extend(crowd(&signal, 1));
        signal.raise();
        assert_eq!((woken(&tasks), waiting(&signal)), (1_000, 0));
        assert!(!signal.hasten());
    }

    #[test]
    fn a_few_tasks_are_woken_at_once_also_beside_many_that_are_stuck() {
        let signal = Signal::default();
        let stuck = crowd(&signal, UNDER_WAY_MAX);
        assert!(!signal.raise_in_turns());
        let few = crowd(&signal, UNDER_WAY_MAX);
        assert!(!signal.raise_in_turns());
        assert_eq!((woken(&stuck), woken(&few)), (UNDER_WAY_MAX, UNDER_WAY_MAX));
    }

    #[test]
    fn where_wakes_are_put_off_the_task_that_waits_alone_is_woken_before_the_many() {
        /// Notes who is woken.
        struct Note(&'static str, Arc<crate::sync::Mutex<Vec<&'static str>>>);

        impl Wake for Note {
            fn wake(self: Arc<Self>) {
                self.1.lock().push(self.0);
            }
        }

        let woken = Arc::default();
        let waker = |name| Waker::from(Arc::new(Note(name, Arc::clone(&woken))));
        let (many, alone) = (Signal::default(), Signal::default());
        for _ in 0..3 {
            many.enter(&mut WakerKey::default(), &waker("one of many"));
        }
        alone.enter(&mut WakerKey::default(), &waker("alone"));
        let later = WakeLater::begin();
        many.raise();
        alone.raise();
        drop(later);
        assert_eq!(woken.lock()[..2], ["alone", "one of many"]);
        assert_eq!(woken.lock().len(), 4);
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
