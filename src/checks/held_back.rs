//! What an opening after a crash leaves to be written before the first append.

use std::path::{Path, PathBuf};

use crate::clock::Clock;
use crate::disk::sim::{Choice, Sim};
use crate::error::Error;
use crate::format::file_name;
use crate::log::{Log, open_alone_on};
use crate::recovery::OpenMode;
use crate::types::LogConfig;

const DIR: &str = "/log";
/// The base of the last segment after [`fill`].
const LAST_BASE: u64 = 12;

/// A change made to a log, and its name.
type Change = (&'static str, fn(&Log));

fn open(sim: &Sim) -> Log {
    let config = LogConfig::default().segment_bytes(1024);
    let (disk, clock, mode) = (sim.disk(), Clock::default(), OpenMode::Write);
    open_alone_on(&disk, &clock, Path::new(DIR), config, mode, true).unwrap()
}

fn fill(log: &Log) {
    for number in 0..20 {
        log.append(&format!("record number {number}")).unwrap();
    }
}

/// The files that a close writes or syncs.
fn changed_by_close(sim: &Sim, log: &Log) -> Vec<PathBuf> {
    sim.record();
    let before = sim.operations();
    log.close().unwrap();
    let trace = sim.trace().into_iter();
    let made = trace.filter(|made| made.number >= before && made.kind.changes());
    made.map(|made| made.path).collect()
}

#[test]
fn a_log_that_was_closed_and_only_opened_is_closed_without_a_change() {
    let sim = Sim::new();
    let log = open(&sim);
    fill(&log);
    log.close().unwrap();
    let files = sim.files();
    let log = open(&sim);
    assert_eq!(changed_by_close(&sim, &log), Vec::<PathBuf>::new());
    assert_eq!(sim.files(), files);
    assert!(open(&sim).open_report().clean);
}

#[test]
fn the_close_after_a_recovery_changes_the_mark_alone() {
    let sim = Sim::new();
    let log = open(&sim);
    fill(&log);
    let sim = sim.crash(Choice::All);
    let log = open(&sim);
    assert!(!log.open_report().clean);
    let marks = Path::new(DIR).join(file_name::MARKS);
    for path in changed_by_close(&sim, &log) {
        assert_eq!(path, marks);
    }
    // Everything that the close left to the opening is durable.
    let sim = sim.crash(Choice::None);
    let log = open(&sim);
    assert!(log.open_report().clean, "{:?}", log.open_report());
    assert_eq!(log.end_offset(), 20);
}

/// Opens a log after a power cut on a full disk, rolls it if `rolled`, as retention does that
/// frees space, and appends.
fn append_after_an_opening_on_a_full_disk(rolled: bool) {
    let sim = Sim::new();
    let log = open(&sim);
    fill(&log);
    let sim = sim.crash(Choice::None);
    sim.set_capacity(Some(0));
    let log = open(&sim);
    let (end, epoch) = (log.end_offset(), log.epoch());
    assert!(epoch > 0, "it was not closed");
    let refused = log.append("a record");
    let no_space = matches!(refused, Err(Error::NoSpace { .. }));
    assert!(no_space, "{refused:?}");
    sim.set_capacity(None);
    if rolled {
        log.shared.seal_active().unwrap();
    }
    assert_eq!(log.append("a record").unwrap(), end);
    assert!(log.shared.epochs.read().are_saved(), "rolled: {rolled}");
    // Another cut takes the record, and not the epoch that it was appended in.
    let log = open(&sim.crash(Choice::None));
    assert!(log.epoch() > epoch, "{} after {epoch}", log.epoch());
}

#[test]
fn nothing_is_appended_in_an_epoch_that_a_full_disk_did_not_take() {
    append_after_an_opening_on_a_full_disk(false);
    append_after_an_opening_on_a_full_disk(true);
}

#[test]
fn a_log_that_was_changed_after_it_was_opened_is_closed_as_ever() {
    let changes: [Change; 4] = [
        ("append", fill),
        ("append and cut", |log| {
            let end = log.end_offset();
            fill(log);
            log.truncate(end).unwrap();
        }),
        ("forget", |log| log.truncate_prefix(7).unwrap()),
        ("flush", |log| {
            fill(log);
            log.flush().unwrap();
        }),
    ];
    for (name, change) in changes {
        for choice in [Choice::None, Choice::All] {
            let sim = Sim::new();
            let log = open(&sim);
            fill(&log);
            log.close().unwrap();
            let log = open(&sim);
            change(&log);
            let (start, end) = (log.start_offset(), log.end_offset());
            log.close().unwrap();
            let sim = sim.crash(choice);
            let log = open(&sim);
            assert!(log.open_report().clean, "{name}: {:?}", log.open_report());
            assert_eq!(
                (log.start_offset(), log.end_offset()),
                (start, end),
                "{name}"
            );
        }
    }
}

#[test]
fn a_close_writes_index_files_that_were_missing_at_the_opening() {
    let sim = Sim::new();
    let log = open(&sim);
    fill(&log);
    log.close().unwrap();
    let all = sim.files();
    let names = [".index", ".timeindex"].map(|kind| format!("{LAST_BASE:020}{kind}"));
    for name in names {
        let path = &Path::new(DIR).join(name);
        sim.disk().remove_file(path).unwrap();
        open(&sim).close().unwrap();
        assert_eq!(sim.files(), all, "{}", path.display());
    }
}
