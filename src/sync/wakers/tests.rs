//! Tests of `wakers.rs`.

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
fn while_tasks_come_back_no_one_is_hastened() {
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
