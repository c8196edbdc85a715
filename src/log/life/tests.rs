//! Tests of `life.rs`.

use std::path::Path;

use super::*;
use crate::clock::Clock;
use crate::disk::sim::{At, Failure, Fault, Kind, Operation, Repeat, Sim};
use crate::format::file_name;
use crate::log::{Log, open_alone_on};
use crate::types::LogConfig;

/// A log on a simulated disk whose chores run only when the test runs them.
fn log_on(sim: &Sim) -> Log {
    let (dir, config) = (Path::new("/log"), LogConfig::default().segment_bytes(1024));
    let (clock, mode) = (Clock::default(), OpenMode::Write);
    open_alone_on(&sim.disk(), &clock, dir, config, mode, true).unwrap()
}

fn fail_from(sim: &Sim, operation: u64) {
    sim.fail(Fault {
        at: At::Operation(operation),
        error: Failure::Eio,
        repeat: Repeat::Forever,
    });
}

/// The calls that changed something, beginning with a given operation.
fn changes_since(sim: &Sim, operation: u64) -> Vec<Operation> {
    let mut made = sim.trace();
    made.retain(|made| made.number >= operation && made.kind.changes());
    made
}

#[test]
fn after_a_close_that_failed_no_thread_writes_or_syncs_any_more() {
    let mut failed = 0;
    for after in 0..200 {
        let sim = Sim::new();
        sim.record();
        let log = log_on(&sim);
        for number in 0..20 {
            log.append(&format!("record number {number}")).unwrap();
        }
        fail_from(&sim, sim.operations() + after);
        let closed = log.close();
        sim.heal();
        let (shared, over) = (&log.shared, sim.operations());
        // What threads do that were waiting for the turn when the close ended.
        let synced = shared.flush_to(log.end_offset());
        log.run_flusher();
        shared.digest_in_line();
        shared.make_next();
        drop(shared.park_if_idle());
        drop(shared.take_turn().map(|turn| shared.sync_all(&turn)));
        assert_eq!(changes_since(&sim, over), [], "{closed:?} after {after}");
        if closed.is_ok() {
            synced.unwrap();
            break;
        }
        failed += 1;
        let in_doubt = matches!(synced, Err(Error::Poisoned { .. }));
        let flushed = log.flushed_offset() == log.end_offset();
        assert!(in_doubt || flushed, "{synced:?} after {after}");
        assert!(matches!(log.append("more"), Err(Error::Closed)));
        assert!(matches!(log.flush(), Err(Error::Closed)));
        log.close().unwrap();
        // The lock is released, and the next opening succeeds.
        assert_eq!(log_on(&sim).end_offset(), 20);
    }
    assert!(failed > 10, "{failed} closes failed");
}

#[test]
fn a_closed_log_makes_no_segment_ahead() {
    let sim = Sim::new();
    let log = log_on(&sim);
    log.append("a record").unwrap();
    log.close().unwrap();
    log.shared.make_next();
    assert!(!has_next(&sim));
}

#[test]
fn a_close_removes_a_segment_made_ahead_that_a_roll_could_not_use() {
    for kind in [Kind::Open, Kind::Rename, Kind::Create] {
        let sim = Sim::new();
        let log = log_on(&sim);
        log.append(&[7; 700]).unwrap();
        log.shared.make_next();
        assert!(has_next(&sim));
        fail_next(&sim, kind);
        drop(log.append(&[7; 700]));
        sim.heal();
        log.append(&[7; 700]).unwrap();
        log.shared.make_next();
        log.close().unwrap();
        assert!(!has_next(&sim), "{kind:?}: {:?}", sim.files());
    }
}

fn has_next(sim: &Sim) -> bool {
    let next = Path::new("/log").join(file_name::NEXT_SEGMENT);
    sim.files().iter().any(|(path, _)| *path == next)
}

/// Makes the next call of a given kind fail.
fn fail_next(sim: &Sim, kind: Kind) {
    for nth in 0..100 {
        sim.fail(Fault {
            at: At::Nth(kind, nth),
            error: Failure::Eio,
            repeat: Repeat::Once,
        });
    }
}

fn failure() -> std::io::Error {
    std::io::Error::other("a sync failed")
}

/// The answers of a life to the three questions, one letter each.
fn answers(life: &LifeCell) -> String {
    let letter = |answer: Result<()>| match answer {
        Ok(()) => 'y',
        Err(Error::ReadOnly) => 'r',
        Err(Error::Poisoned { .. }) => 'p',
        Err(Error::Closed) => 'c',
        Err(other) => panic!("{other:?}"),
    };
    let asked = [life.can_read(), life.can_append(), life.can_confirm()];
    asked.into_iter().map(letter).collect()
}

#[test]
fn every_stage_of_a_log_answers_the_three_questions() {
    let life = LifeCell::new(OpenMode::Write);
    assert_eq!(answers(&life), "yyy");
    life.begin_closing();
    assert_eq!(answers(&life), "ccy", "what was appended is still synced");
    life.end();
    assert_eq!(answers(&life), "ccc");

    let life = LifeCell::new(OpenMode::Write);
    life.fail("x".into(), failure());
    assert_eq!(answers(&life), "ypp");
    life.begin_closing();
    assert_eq!(answers(&life), "ccp", "a failed sync is not forgotten");
    life.end();
    assert_eq!(answers(&life), "ccc");

    let life = LifeCell::new(OpenMode::Read);
    assert_eq!(answers(&life), "yrr");
    life.begin_closing();
    life.end();
    assert_eq!(answers(&life), "ccc");
}

#[test]
fn a_life_never_goes_back_and_keeps_the_first_failure() {
    let life = LifeCell::new(OpenMode::Write);
    life.end();
    life.begin_closing();
    life.fail("first".into(), failure());
    life.fail("second".into(), failure());
    assert_eq!(answers(&life), "ccc");
    let kept = life.poison();
    assert!(
        matches!(&kept, Some(Error::Poisoned { path, .. }) if path.ends_with("first")),
        "{kept:?}"
    );
}
