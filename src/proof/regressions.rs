//! What the suites found, each with its story: a test of its own, so that it stays found.
//!
//! Knows nothing that the suites do not know. Most stories are a few steps after which every kind
//! of power cut is met at once.

use std::sync::Arc;

use super::crash::{append, config};
use super::history::After;
use super::rig::{Rig, Step, open};
use crate::disk::sim::{At, Choice, Failure, Fault, Kind, Repeat, Sim, Violation};
use crate::error::Error;
use crate::sync::Mutex;
use crate::types::{Durability, WriteMode};

const ONE: Step = append(1, 40);
const FEW: Step = append(3, 100);

/// A log after some steps.
fn after(durability: Durability, steps: &[Step]) -> Rig {
    let mut rig = Rig::new(Sim::new(), config(WriteMode::Pwrite, durability), 1);
    rig.open(After::Kill).unwrap();
    for step in steps {
        rig.step(*step).unwrap();
    }
    rig
}

/// Holds every state of a power cut now against the history, and what is asked of it too.
fn meet_every_cut(rig: &Rig) {
    let history = rig.history.lock().clone();
    let random = rig.sim.crash_states_random(1, 200);
    for state in rig.sim.crash_states_canonical().chain(random) {
        let told = state.born_of();
        let log = open(&state, rig.clock(), &rig.config).unwrap();
        let held = history.check(&log, After::Power);
        held.unwrap_or_else(|breach| panic!("{told:?}: {breach}"));
        for offset in log.start_offset()..log.end_offset() {
            let time = history.record(offset).unwrap().time();
            let found = log.offset_for_time(time).unwrap();
            assert_eq!(found, history.first_at(&log, time), "{told:?}: by time");
        }
        log.close().unwrap();
        super::kafka_rules::check(&state).unwrap_or_else(|breach| panic!("{told:?}: {breach}"));
    }
}

/// The tail of a sealed segment was lost at the very end of a batch, so that nothing looked cut,
/// and the next segment had arrived: the log went on behind a gap.
#[test]
fn a_segment_behind_a_gap_does_not_count() {
    meet_every_cut(&after(Durability::Os, &[FEW, FEW, FEW, FEW]));
}

/// Two marks were written without a sync in between, in turn to both slots: a power cut tore both,
/// and the log began at 0 again.
#[test]
pub(super) fn marks_never_overwrite_the_slot_that_is_durable() {
    let steps = [FEW, Step::Forget(2), FEW, Step::Flush, ONE, Step::Flush];
    meet_every_cut(&after(Durability::Os, &steps));
}

/// The start went above the flushed end; a power cut took the records, and the log began below its
/// start, with offsets that had been given out.
#[test]
fn a_start_is_never_above_what_is_flushed() {
    meet_every_cut(&after(Durability::Os, &[FEW, Step::Forget(2)]));
}

/// The offset index had arrived and the end of the time index had not: the newest timestamp of the
/// segment was too old, and a search by time passed it over. Torn entries were gone by, too.
#[test]
pub(super) fn an_index_that_is_not_what_was_written_is_rebuilt() {
    let few = append(2, 20);
    let steps = [
        few,
        few,
        few,
        few,
        Step::Flush,
        few,
        few,
        few,
        Step::Flush,
        few,
        Step::Flush,
    ];
    let config = config(WriteMode::Pwrite, Durability::Os);
    let config = config.segment_bytes(8192).index_interval_bytes(1);
    let mut rig = Rig::new(Sim::new(), config, 3);
    rig.open(After::Kill).unwrap();
    for step in steps {
        rig.step(step).unwrap();
    }
    meet_every_cut(&rig);
}

/// Index files of segments above the mark were believed although nothing had synced them, and those
/// of sealed ones stayed as a power cut had torn them, for a broker to go by.
#[test]
fn a_sealed_segment_has_its_index_whatever_the_crash() {
    let steps = [FEW, FEW, Step::Tick, FEW, FEW, FEW, FEW];
    meet_every_cut(&after(Durability::Os, &steps));
}

/// A truncation left an empty segment with the time index of what it had held.
#[test]
fn an_empty_segment_has_an_empty_index() {
    let steps = [FEW, FEW, Step::Flush, Step::Truncate(1000), Step::Flush];
    meet_every_cut(&after(Durability::Os, &steps));
}

/// Opening finished a truncation and removed its intent without syncing the directory: after more
/// appends, flushed, a power cut brought the intent back, and the next opening truncated again.
#[test]
pub(super) fn a_truncation_that_an_opening_finished_does_not_come_back() {
    let mut rig = after(Durability::Os, &[FEW, FEW, Step::Flush]);
    let under_way = Arc::new(Mutex::new(None));
    let found = Arc::clone(&under_way);
    rig.sim.on_change(move |sim| {
        if sim.durable("/log/ottla.truncate").is_some() {
            found.lock().get_or_insert(sim.crash(Choice::None));
        }
    });
    rig.step(Step::Truncate(2)).unwrap();
    let state = under_way.lock().take().unwrap();
    rig.abandon();
    rig.sim = state;
    rig.open(After::Kill).unwrap();
    // No more than that: the next segment's name would be synced, and the removal with it.
    for step in [ONE, Step::Flush] {
        rig.step(step).unwrap();
    }
    meet_every_cut(&rig);
}

/// Fails the next call of a kind, once.
fn fail_next(rig: &Rig, kind: Kind, failure: Failure) {
    let made = rig
        .sim
        .trace()
        .iter()
        .filter(|made| made.kind == kind)
        .count();
    rig.sim.fail(Fault {
        at: At::Nth(kind, made as u64),
        error: failure,
        repeat: Repeat::Once,
    });
}

/// A rig whose calls are counted from the first one on.
fn counted(durability: Durability, steps: &[Step]) -> Rig {
    let sim = Sim::new();
    sim.record();
    let mut rig = Rig::new(sim, config(WriteMode::Pwrite, durability), 1);
    rig.unreliable = true;
    rig.open(After::Kill).unwrap();
    for step in steps {
        rig.step(*step).unwrap();
    }
    rig
}

/// The intent of a truncation stood under its name when the sync of the directory failed. The call
/// answered an error, the log went on, and the next opening truncated what was appended since.
#[test]
fn a_truncation_whose_intent_may_stand_latches_the_log() {
    let mut rig = counted(Durability::Os, &[FEW, FEW, Step::Flush, Step::Flush]);
    fail_next(&rig, Kind::SyncDir, Failure::Eio);
    let refused = rig.step(Step::Truncate(2)).unwrap_err();
    assert!(matches!(refused, Error::Poisoned { .. }), "{refused:?}");
    rig.sim.heal();
    rig.step(Step::Kill).unwrap();
    rig.step(FEW).unwrap();
    rig.step(Step::Flush).unwrap();
    rig.step(Step::Cut(Choice::None)).unwrap();
}

/// The file of the next segment had its name when opening it failed. A smaller record then went
/// into the old segment, and the empty file hid all records behind it after the next opening.
#[test]
fn a_roll_that_fails_leaves_no_file_under_the_name_of_a_segment() {
    let mut rig = counted(Durability::Os, &[FEW, append(1, 300), Step::Tick]);
    fail_next(&rig, Kind::Open, Failure::Emfile);
    rig.step(append(1, 900)).ok();
    for step in [
        append(1, 10),
        FEW,
        FEW,
        FEW,
        Step::Flush,
        Step::Kill,
        Step::Read,
    ] {
        rig.step(step).unwrap();
    }
}

/// The record was synced, and only the mark could not be written: the append answered an error and
/// left its record behind.
#[test]
fn an_append_whose_mark_lags_behind_is_acknowledged() {
    let mut rig = counted(Durability::Always, &[ONE]);
    let marks = |made: &&crate::disk::sim::Operation| made.path.ends_with("ottla.marks");
    let write = rig
        .sim
        .trace()
        .iter()
        .filter(|made| made.kind == Kind::Write)
        .count() as u64;
    assert!(rig.sim.trace().iter().filter(marks).count() > 0);
    // The first write is the batch, the second the mark.
    rig.sim.fail(Fault {
        at: At::Nth(Kind::Write, write + 1),
        error: Failure::Eio,
        repeat: Repeat::Once,
    });
    rig.step(ONE).unwrap();
    rig.step(ONE).unwrap();
    rig.step(Step::Cut(Choice::None)).unwrap();
}

/// The first opening made the directory and could not sync its name. The next one found it there
/// and did not try again: a power cut took the directory with all that had been flushed in it.
#[test]
fn a_directory_whose_name_may_be_lost_is_synced_by_the_next_opening() {
    let sim = Sim::new();
    sim.fail(Fault {
        at: At::Nth(Kind::SyncDir, 0),
        error: Failure::Eio,
        repeat: Repeat::Once,
    });
    let mut rig = Rig::new(sim, config(WriteMode::Pwrite, Durability::Os), 1);
    rig.open(After::Kill).unwrap_err();
    rig.open(After::Kill).unwrap();
    for step in [FEW, Step::Flush, Step::Cut(Choice::None)] {
        rig.step(step).unwrap();
    }
}

/// Two segments below the start could not be deleted. The next deletion went past them, and opening
/// took the gap between them and the rest for damage.
#[test]
fn segments_below_the_start_may_be_gone_in_part() {
    let steps = [FEW, FEW, FEW, FEW, FEW, FEW, FEW, Step::Flush];
    let mut rig = counted(Durability::Os, &steps);
    rig.sim.fail(Fault {
        at: At::Nth(Kind::RemoveFile, removals(&rig)),
        error: Failure::Eio,
        repeat: Repeat::Forever,
    });
    rig.step(Step::Forget(13)).unwrap_err();
    rig.sim.heal();
    for step in [
        FEW,
        Step::Forget(99),
        FEW,
        Step::Flush,
        Step::Kill,
        Step::Reopen,
    ] {
        rig.step(step).unwrap();
    }
}

fn removals(rig: &Rig) -> u64 {
    let trace = rig.sim.trace();
    let removed = trace.iter().filter(|made| made.kind == Kind::RemoveFile);
    removed.count() as u64
}

/// Whatever is renamed into place is synced first, so that its name never stands for less: the note
/// of a truncation, a segment that was prepared ahead.
#[test]
pub(super) fn every_file_is_synced_before_it_is_renamed() {
    let sim = Sim::new();
    sim.watch_order();
    let mut rig = Rig::new(sim, config(WriteMode::Pwrite, Durability::Os), 1);
    rig.open(After::Kill).unwrap();
    for step in [
        FEW,
        FEW,
        Step::Tick,
        FEW,
        FEW,
        Step::Truncate(4),
        FEW,
        Step::Forget(3),
    ] {
        rig.step(step).unwrap();
    }
    let early: Vec<_> = rig.sim.violations().into_iter().filter(is_rename).collect();
    assert_eq!(early, []);
}

fn is_rename(violation: &Violation) -> bool {
    matches!(violation, Violation::RenamedUnsynced(_))
}
