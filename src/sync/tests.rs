//! Tests of `sync.rs`.

use super::*;
use crate::clock::Clock;

/// How long a test waits for a raise that should be there already.
const MISSED: Duration = Duration::from_secs(600);

/// Waits until `number` is at least `wanted`, on tickets alone.
fn await_number(signal: &Signal, number: &AtomicU64, wanted: u64) {
    let end = deadline(Clock::System.instant(), MISSED);
    let mut ticket = signal.ticket();
    while number.load(Ordering::Acquire) < wanted {
        assert!(ticket.wait_until(end), "a raise was missed at {wanted}");
    }
}

#[test]
fn no_raise_is_missed_between_two_threads_that_answer_each_other() {
    let (asking, answering) = (Signal::default(), Signal::default());
    let (asked, answered) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=50_000 {
                await_number(&asking, &asked, round);
                answered.store(round, Ordering::Release);
                answering.raise();
            }
        });
        for round in 1..=50_000 {
            asked.store(round, Ordering::Release);
            asking.raise();
            await_number(&answering, &answered, round);
        }
    });
}

#[test]
fn no_raise_without_a_fence_is_missed_by_those_who_held_the_lock() {
    let (asking, answering) = (Signal::default(), Signal::default());
    let (asked, answered) = (Mutex::new(0_u64), Mutex::new(0_u64));
    let put = |number: &Mutex<u64>, signal: &Signal, round| {
        *number.lock() = round;
        signal.raise_after_lock();
    };
    let take = |number: &Mutex<u64>, signal: &Signal, round| {
        let end = deadline(Clock::System.instant(), MISSED);
        let mut ticket = signal.ticket();
        while *number.lock() < round {
            assert!(ticket.wait_until(end), "a raise was missed at {round}");
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=50_000 {
                take(&asked, &asking, round);
                put(&answered, &answering, round);
            }
        });
        for round in 1..=50_000 {
            put(&asked, &asking, round);
            take(&answered, &answering, round);
        }
    });
}

#[test]
fn one_raise_wakes_every_waiter() {
    let (signal, number) = (Signal::default(), AtomicU64::new(0));
    let (waiters, seen) = (4, AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..waiters {
            scope.spawn(|| {
                for wanted in 1..=2000 {
                    await_number(&signal, &number, wanted);
                    seen.fetch_add(1, Ordering::AcqRel);
                    signal.raise();
                }
            });
        }
        for round in 1..=2000 {
            number.store(round, Ordering::Release);
            signal.raise();
            await_number(&signal, &seen, round * waiters);
        }
    });
}

#[test]
fn a_wait_ends_with_its_time() {
    let signal = Signal::default();
    let now = Clock::System.instant();
    let mut ticket = signal.ticket();
    assert!(!ticket.wait_until(Some(now)));
    signal.raise();
    assert!(ticket.wait_until(Some(now)), "a raise counts, however late");
    assert!(!ticket.wait_until(Some(now)), "once");
    drop(ticket);
    assert_eq!(signal.waiting.load(Ordering::SeqCst), 0);
    assert_eq!(deadline(now, Duration::MAX), None);
}
