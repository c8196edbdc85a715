//! Tasks that wait on a signal in the place of threads: in every order none of them misses a raise,
//! and those that are dropped leave nothing behind.
//!
//! Knows nothing about logs: streams and deliveries wait this way.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use shuttle::{future, thread};

use super::check;
use crate::sync::{AtomicU64, Mutex, Ordering, Signal, WakerKey};

/// Waits as a task until a look finds what it waits for. The checker finds it waiting for ever
/// when a raise is missed.
fn await_look(signal: &Signal, found: impl Fn() -> bool) {
    let mut key = WakerKey::default();
    future::block_on(poll_fn(|cx| {
        signal.enter(&mut key, cx.waker());
        if found() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }));
    signal.leave(&mut key);
}

/// A thread that waits as a task for a number.
fn await_number(shared: &Arc<(Signal, AtomicU64)>, wanted: u64) -> thread::JoinHandle<()> {
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        let (signal, number) = &*shared;
        await_look(signal, || number.load(Ordering::Acquire) >= wanted);
    })
}

#[test]
fn a_task_that_enters_before_each_look_misses_no_raise_in_any_order() {
    check(|| {
        let shared = Arc::new((Signal::default(), AtomicU64::new(0)));
        let waiters = [1, 2, 2].map(|wanted| await_number(&shared, wanted));
        let (signal, number) = &*shared;
        for next in [1, 2] {
            number.store(next, Ordering::Release);
            signal.raise();
        }
        for waiter in waiters {
            waiter.join().unwrap();
        }
        assert_eq!(signal.waiting_count(), 0, "nobody waits");
    });
}

#[test]
fn a_task_that_held_the_lock_misses_no_raise_without_a_fence_in_any_order() {
    check(|| {
        let shared = Arc::new((Signal::default(), Mutex::new(0)));
        let waiters = [1, 2].map(|wanted| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (signal, number) = &*shared;
                await_look(signal, || *number.lock() >= wanted);
            })
        });
        let (signal, number) = &*shared;
        for next in [1, 2] {
            *number.lock() = next;
            signal.raise_after_lock();
        }
        for waiter in waiters {
            waiter.join().unwrap();
        }
        assert_eq!(signal.waiting_count(), 0, "nobody waits");
    });
}

#[test]
fn a_task_that_is_dropped_beside_a_raise_leaves_nothing_in_any_order() {
    check(|| {
        let signal = Arc::new(Signal::default());
        let dropped = [(); 2].map(|()| {
            let signal = Arc::clone(&signal);
            thread::spawn(move || {
                let mut key = WakerKey::default();
                for _ in 0..2 {
                    signal.enter(&mut key, std::task::Waker::noop());
                }
                signal.leave(&mut key);
            })
        });
        signal.raise();
        signal.raise();
        for dropped in dropped {
            dropped.join().unwrap();
        }
        assert_eq!(signal.waiting_count(), 0, "nobody waits");
    });
}

#[test]
fn a_crowd_that_is_woken_in_turns_misses_no_raise_in_any_order() {
    check(|| {
        let shared = Arc::new((Signal::default(), AtomicU64::new(0)));
        let waiters = [1, 2, 2].map(|wanted| await_number(&shared, wanted));
        // It does not come back.
        let (signal, number) = &*shared;
        signal.enter(&mut WakerKey::default(), std::task::Waker::noop());
        for next in [1, 2] {
            number.store(next, Ordering::Release);
            let mut left = signal.raise_in_turns();
            while left {
                thread::yield_now();
                left = signal.hasten();
            }
        }
        for waiter in waiters {
            waiter.join().unwrap();
        }
        assert_eq!(signal.waiting_count(), 0, "nobody waits");
    });
}
