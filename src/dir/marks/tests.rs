//! What becomes of marks on a disk that fails, fills up or loses its power.

use super::*;
use crate::clock::Clock;
use crate::disk::sim::{At, Choice, Failure, Fault, Kind, Repeat, Sim, SyncFailure};
use crate::types::TopicId;

const PATH: &str = "/ottla.marks";

fn mark(topic: u8, sequence: u64) -> Mark {
    let topic = TopicId([topic; 16]);
    let partition = 0;
    Mark {
        key: MarkKey { topic, partition },
        sequence,
        log_start_offset: sequence,
        ..Mark::default()
    }
}

fn open(sim: &Sim) -> Marks {
    let marks = Marks::open(&sim.disk(), Path::new(PATH)).unwrap();
    sim.disk().sync_dir(Path::new("/")).unwrap();
    marks
}

fn write(marks: &Marks, mark: Mark) -> Result<()> {
    marks.write(marks.place(mark.key), &mark)
}

fn sync(marks: &Marks) -> Result<()> {
    marks.sync(Clock::System.instant())
}

fn fail_next(sim: &Sim, kind: Kind, error: Failure) {
    sim.record();
    let number = sim.operations();
    let at = At::Operation(number);
    let repeat = Repeat::Once;
    assert!(kind.changes(), "the next operation is one");
    sim.fail(Fault { at, error, repeat });
}

#[test]
fn what_a_failed_sync_lost_is_written_again_before_the_next_sync_is_believed() {
    for lost in [
        SyncFailure::LostKept,
        SyncFailure::LostReverted,
        SyncFailure::KeptDirty,
    ] {
        let sim = Sim::new();
        sim.set_sync_failure(lost);
        let marks = open(&sim);
        write(&marks, mark(1, 1)).unwrap();
        write(&marks, mark(2, 1)).unwrap();
        sync(&marks).unwrap();
        write(&marks, mark(1, 2)).unwrap();
        fail_next(&sim, Kind::SyncData, Failure::Eio);
        sync(&marks).unwrap_err();
        // Another log's mark is written and synced, and that of the first counts on it.
        write(&marks, mark(2, 2)).unwrap();
        sync(&marks).unwrap();
        sync(&marks).unwrap();
        let found = open(&sim.crash(Choice::None));
        for topic in [1, 2] {
            let found = found.find(mark(topic, 0).key);
            assert_eq!(found, Some(mark(topic, 2)), "{lost:?}");
        }
        write(&marks, mark(1, 3)).unwrap();
        sync(&marks).unwrap();
    }
}

#[test]
fn a_slot_whose_write_failed_half_way_never_becomes_the_durable_one() {
    let sim = Sim::new();
    let marks = open(&sim);
    write(&marks, mark(1, 1)).unwrap();
    sync(&marks).unwrap();
    fail_next(&sim, Kind::Write, Failure::ShortWrite);
    write(&marks, mark(1, 2)).unwrap_err();
    write(&marks, mark(2, 1)).unwrap();
    sync(&marks).unwrap();
    // The simulated disk panics if this goes over the only whole slot.
    write(&marks, mark(1, 3)).unwrap();
    let found = open(&sim.crash(Choice::None));
    assert_eq!(found.find(mark(1, 0).key), Some(mark(1, 1)));
    sync(&marks).unwrap();
    let found = open(&sim.crash(Choice::None));
    assert_eq!(found.find(mark(1, 0).key), Some(mark(1, 3)));
}

#[test]
fn a_disk_that_fills_up_later_takes_both_slots_of_every_log() {
    let sim = Sim::new();
    let marks = open(&sim);
    for topic in 0..20 {
        marks.place(mark(topic, 0).key);
    }
    sim.set_capacity(Some(sim.used()));
    for sequence in 1..=2 {
        for topic in 0..20 {
            write(&marks, mark(topic, sequence)).unwrap();
        }
        sync(&marks).unwrap();
    }
    let found = open(&sim.crash(Choice::None));
    assert_eq!(found.find(mark(19, 0).key), Some(mark(19, 2)));
}

#[test]
fn a_slot_that_a_power_cut_left_without_its_last_zeros_is_whole() {
    let sim = Sim::new();
    let marks = open(&sim);
    write(&marks, mark(1, 1)).unwrap();
    sync(&marks).unwrap();
    write(&marks, mark(1, 2)).unwrap();
    sync(&marks).unwrap();
    let bytes = sim.read(Path::new(PATH)).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    assert!(end < bytes.len(), "a mark ends with zeros");
    sim.write_raw(PATH, bytes.get(..end).unwrap()).unwrap();
    let marks = open(&sim.crash(Choice::None));
    assert_eq!(marks.find(mark(1, 0).key), Some(mark(1, 2)));
    // The simulated disk panics if this goes over the newest slot.
    write(&marks, mark(1, 3)).unwrap();
}

#[test]
fn a_forgotten_log_does_not_win_over_the_one_that_takes_its_place() {
    let sim = Sim::new();
    let marks = open(&sim);
    for sequence in 1..=5 {
        write(&marks, mark(1, sequence)).unwrap();
        sync(&marks).unwrap();
    }
    fail_next(&sim, Kind::Write, Failure::Eio);
    marks.forget(mark(1, 0).key).unwrap_err();
    write(&marks, mark(2, 1)).unwrap();
    sync(&marks).unwrap();
    let found = open(&sim.crash(Choice::None));
    assert_eq!(found.find(mark(1, 0).key), None);
    assert_eq!(found.find(mark(2, 0).key), Some(mark(2, 1)));
}
