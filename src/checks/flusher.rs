//! What the flusher does for a log, and what the log does without it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, ManualClock};
use crate::disk::sim::{At, Failure, Fault, Repeat, Sim};
use crate::error::Error;
use crate::host::{Chore, Flusher};
use crate::log::{Log, open_alone_on};
use crate::recovery::OpenMode;
use crate::types::{Durability, LogConfig, Timestamp};

const HOUR: Duration = Duration::from_secs(3600);

fn log_on(sim: &Sim, clock: &Arc<ManualClock>, durability: Durability, manual: bool) -> Log {
    let (dir, clock) = (Path::new("/log"), Clock::Manual(Arc::clone(clock)));
    let config = LogConfig::default().durability(durability);
    let config = config.segment_bytes(1024);
    open_alone_on(&sim.disk(), &clock, dir, config, OpenMode::Write, manual).unwrap()
}

fn clock() -> Arc<ManualClock> {
    ManualClock::at(Timestamp::from_millis(1_700_000_000_000))
}

#[test]
fn an_interval_asks_for_the_flusher_again_when_its_thread_could_not_be_started() {
    let log = log_on(&Sim::new(), &clock(), Durability::Interval(HOUR), false);
    let flusher = &log.shared.host.flusher;
    flusher.refuse_threads(2);
    for waiting in [0, 0, 1, 1] {
        log.append("a record").unwrap();
        assert_eq!(flusher.waiting(), waiting);
    }
}

#[test]
fn an_interval_that_is_over_is_flushed_in_line_while_no_thread_can_be_started() {
    let clock = clock();
    let log = log_on(&Sim::new(), &clock, Durability::Interval(HOUR), false);
    log.shared.host.flusher.refuse_threads(u32::MAX);
    for round in 0..3 {
        log.append("a record").unwrap();
        log.append("another").unwrap();
        assert_eq!(log.flushed_offset(), 3 * round, "it is not due yet");
        clock.advance(HOUR);
        log.append("the third").unwrap();
        assert_eq!(log.flushed_offset(), 3 * round + 3);
    }
}

#[test]
fn sealed_segments_have_their_digests_also_when_no_thread_can_be_started() {
    for durability in [
        Durability::Os,
        Durability::Always,
        Durability::Interval(HOUR),
    ] {
        let log = log_on(&Sim::new(), &clock(), durability, false);
        log.shared.host.flusher.refuse_threads(u32::MAX);
        for number in 0..40 {
            log.append(&format!("record number {number}")).unwrap();
        }
        log.flush().unwrap();
        let segments: Vec<_> = log.shared.segments.read().sealed().to_vec();
        assert!(segments.len() > 2);
        for segment in segments {
            let digest = segment.digest_summary(&log.shared.host.disk);
            assert!(digest.is_some(), "{durability:?}");
        }
    }
}

/// A chore that does nothing, and is not due for a day.
struct Idle;

impl Chore for Idle {
    fn run(&self) {}
}

#[test]
fn chores_of_logs_that_are_gone_are_not_kept_until_they_are_due() {
    let flusher = Flusher::new("ottla-test", Clock::default(), false);
    let at = flusher.clock.instant().checked_add(24 * HOUR).unwrap();
    let idle = |_| -> Arc<dyn Chore> { Arc::new(Idle) };
    let living: Vec<_> = (0..100).map(idle).collect();
    for round in 0..10_000 {
        if let Some(chore) = living.get(round) {
            assert!(flusher.schedule(at, Arc::downgrade(chore)));
        }
        let gone: Arc<dyn Chore> = Arc::new(Idle);
        flusher.schedule(at, Arc::downgrade(&gone));
    }
    assert!(flusher.waiting() <= 300, "{} wait", flusher.waiting());
    assert!(living.iter().all(|chore| Arc::weak_count(chore) == 1));
}

#[test]
fn a_log_that_becomes_always_is_flushed_first_and_its_watermark_never_goes_back() {
    for before in [Durability::Os, Durability::Interval(HOUR)] {
        for manual in [true, false] {
            let log = log_on(&Sim::new(), &clock(), before, manual);
            for number in 0..10 {
                log.append(&format!("record number {number}")).unwrap();
            }
            let always = log.config().durability(Durability::Always);
            log.reconfigure(always).unwrap();
            assert_eq!((log.high_watermark(), log.flushed_offset()), (10, 10));
            log.truncate(4).unwrap();
            assert_eq!(log.high_watermark(), 4, "a truncation takes it back");
            assert_eq!(log.append("more").unwrap(), 4);
            assert_eq!(log.high_watermark(), 5);
        }
    }
}

#[test]
fn a_watermark_stays_also_when_the_flush_before_the_switch_fails() {
    let sim = Sim::new();
    let log = log_on(&sim, &clock(), Durability::Os, true);
    log.append("a record").unwrap();
    sim.fail(Fault {
        at: At::Operation(sim.operations()),
        error: Failure::Eio,
        repeat: Repeat::Forever,
    });
    let always = log.config().durability(Durability::Always);
    let answer = log.reconfigure(always);
    assert!(matches!(answer, Err(Error::Poisoned { .. })), "{answer:?}");
    assert_eq!((log.high_watermark(), log.flushed_offset()), (1, 0));
}
