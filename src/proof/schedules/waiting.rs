//! Waiters of several logs at once, who are woken by one change and enter themselves again: in
//! every order none of them misses an append.
//!
//! Knows nothing about consumers and readers of topics, which wait this way.

use std::sync::Arc;

use shuttle::thread;

use super::{append_some, check, new_log};
use crate::log::{Log, LogWatch};
use crate::sync::Signal;
use crate::types::Durability;

/// Waits until the log shows so many records. The checker finds it waiting for ever when an append
/// is missed.
fn await_records(log: &Log, wanted: u64) {
    let signal = Arc::new(Signal::default());
    let mut ticket = signal.ticket();
    let watch = LogWatch::new(log, &signal);
    while log.high_watermark() < wanted {
        ticket.wait_until(None);
        watch.renew();
    }
}

fn appends_and_waits(durability: Durability) {
    let (_, log) = new_log(durability);
    let waiters = [1, 3, 3].map(|wanted| {
        let log = log.clone();
        thread::spawn(move || await_records(&log, wanted))
    });
    append_some(&log, 1);
    for waiter in waiters {
        waiter.join().unwrap();
    }
    assert_eq!(log.watcher_count(), 0, "nobody waits");
}

#[test]
fn a_waiter_that_enters_itself_for_each_look_misses_no_append_in_any_order() {
    check(|| appends_and_waits(Durability::Os));
}

#[test]
fn a_waiter_that_enters_itself_for_each_look_misses_no_sync_in_any_order() {
    check(|| appends_and_waits(Durability::Always));
}
