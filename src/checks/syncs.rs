//! Which syncs are made in the background, and which are not.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::disk::sim::Sim;
use crate::host::Chore;
use crate::log::UNSYNCED_BYTES_SOFT;
use crate::log::{Log, open_alone_on};
use crate::recovery::OpenMode;
use crate::sync::Mutex;
use crate::types::LogConfig;
use crate::types::{Durability, Offset};

/// Keeps the flusher busy while the test holds the lock.
struct Busy(Mutex<()>);

impl Chore for Busy {
    fn run(&self) {
        drop(self.0.lock());
    }
}

#[test]
fn however_many_appends_ask_meanwhile_one_flush_follows() {
    let (disk, clock) = (Sim::new().disk(), Clock::default());
    let (dir, config) = (Path::new("/log"), LogConfig::default());
    let log = open_alone_on(&disk, &clock, dir, config, OpenMode::Write, false).unwrap();
    let flusher = &log.shared.host.flusher;
    let busy = Arc::new(Busy(Mutex::new(())));
    let kept_busy = busy.0.lock();
    let chore: Arc<dyn Chore> = Arc::<Busy>::clone(&busy);
    flusher.schedule(clock.instant(), Arc::downgrade(&chore));
    let record = vec![7; 256 << 10];
    for _ in 0..UNSYNCED_BYTES_SOFT / (256 << 10) + 32 {
        log.append(&record).unwrap();
    }
    assert!(flusher.waiting() <= 2, "{} wait", flusher.waiting());
    let end = log.end_offset();
    drop(kept_busy);
    await_flush(&log, end);
}

#[test]
fn an_interval_has_one_flush_waiting_however_often_another_came_first() {
    let (disk, clock) = (Sim::new().disk(), Clock::default());
    let hour = Durability::Interval(Duration::from_secs(3600));
    let (dir, config) = (Path::new("/log"), LogConfig::default().durability(hour));
    let log = open_alone_on(&disk, &clock, dir, config, OpenMode::Write, false).unwrap();
    for _ in 0..4 {
        log.append("a record").unwrap();
        assert!(log.shared.flush_soon());
        await_flush(&log, log.end_offset());
        log.append("another").unwrap();
        let waiting = log.shared.host.flusher.waiting();
        assert!(waiting <= 1, "{waiting} wait");
    }
}

fn await_flush(log: &Log, end: Offset) {
    let arrives = (0..60_000).any(|_| {
        // Nothing will come: this is a pause.
        log.wait_for(end, Duration::from_millis(1)).unwrap();
        log.flushed_offset() == end
    });
    assert!(arrives, "the flush never came");
}
