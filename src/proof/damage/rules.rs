//! The rules of the flushed mark, one test each: what is damage when a log is opened, and what is
//! not.
//!
//! Knows nothing about the inside of batches.

use std::path::{Path, PathBuf};

use super::subjects::{DIR, contents, open, read_all};
use crate::disk::sim::Sim;
use crate::error::Error;
use crate::format::{BatchHeader, Mark, SLOT_LEN, file_name};
use crate::log::Log;
use crate::recovery::{OpenEvent, OpenMode};
use crate::types::LogConfig;
use crate::types::{CleanupPolicy, Offset, Record, WriteMode};

fn small() -> LogConfig {
    LogConfig::default()
        .segment_bytes(1024)
        .write_mode(WriteMode::Pwrite)
}

fn begin(config: &LogConfig) -> (Sim, Log) {
    let sim = Sim::new();
    sim.disk().create_dir(Path::new(DIR)).unwrap();
    let log = open(&sim, config, OpenMode::Write).unwrap();
    (sim, log)
}

fn append(log: &Log, count: u64) {
    for _ in 0..count {
        let number = log.end_offset();
        let key = format!("key {}", number % 3);
        let value = format!("value {number} {}", "x".repeat(80));
        log.append(Record::keyed(&key, &value)).unwrap();
    }
}

fn log_file(base: Offset) -> PathBuf {
    Path::new(DIR).join(file_name::log(base))
}

/// The disk as a kill of the process leaves it.
fn kill(sim: &Sim, log: Log) -> Sim {
    let found = sim.process_crash();
    log.abandon();
    found
}

fn change(sim: &Sim, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = sim.read(path).unwrap();
    change(&mut bytes);
    sim.write_raw(path, &bytes).unwrap();
}

/// Opening refuses, says where, and changes nothing.
fn refused(sim: &Sim, config: &LogConfig, path: &Path) -> u64 {
    let before = contents(sim);
    let (found, position) = match open(sim, config, OpenMode::Write) {
        Err(Error::Corrupt { path, position, .. }) => (path, position),
        other => panic!("not refused: {other:?}"),
    };
    let mut after = contents(sim);
    // The lock is taken before anything is looked at.
    after.retain(|path, _| before.contains_key(path) || !path.ends_with(".lock"));
    assert!(after == before, "refused, and changed");
    assert_eq!(found, path);
    position
}

/// It opens, and everything up to here is there.
fn opens(sim: &Sim, config: &LogConfig, end: Offset) -> Log {
    let log = open(sim, config, OpenMode::Write).unwrap();
    assert_eq!(log.end_offset(), end);
    let (records, read) = read_all(&log);
    read.unwrap();
    let last = records
        .last_key_value()
        .map_or(log.start_offset(), |(offset, _)| offset + 1);
    assert_eq!(last, end);
    log
}

#[test]
fn a_batch_below_the_mark_that_is_damaged_is_refused() {
    let config = small();
    let (sim, log) = begin(&config);
    append(&log, 4);
    log.flush().unwrap();
    append(&log, 2);
    let found = kill(&sim, log);
    change(&found, &log_file(0), |bytes| bytes[200] ^= 1);
    refused(&found, &config, &log_file(0));
}

#[test]
fn the_same_above_the_mark_is_what_a_crash_leaves_and_is_set_aside() {
    let config = small();
    let (sim, log) = begin(&config);
    append(&log, 2);
    log.flush().unwrap();
    let flushed = usize::try_from(log.segments()[0].size_bytes).unwrap();
    append(&log, 3);
    let found = kill(&sim, log);
    change(&found, &log_file(0), |bytes| bytes[flushed + 70] ^= 1);
    let log = opens(&found, &config, 2);
    assert_eq!(log.open_report().valid_batches_after_cut, 2);
    let aside = |event: &OpenEvent| matches!(event, OpenEvent::TailSetAside { .. });
    assert!(log.open_report().events.iter().any(aside));
}

#[test]
fn a_strict_log_refuses_valid_batches_behind_a_hole_and_changes_nothing() {
    let config = small().strict_recovery(true);
    let (sim, log) = begin(&config);
    append(&log, 2);
    log.flush().unwrap();
    let flushed = usize::try_from(log.segments()[0].size_bytes).unwrap();
    append(&log, 3);
    let found = kill(&sim, log);
    let torn = found.process_crash();
    change(&found, &log_file(0), |bytes| bytes[flushed + 70] ^= 1);
    refused(&found, &config, &log_file(0));
    // A torn end without anything behind it is no hole.
    let length = torn.read(log_file(0)).unwrap().len();
    change(&torn, &log_file(0), |bytes| bytes.truncate(length - 10));
    opens(&torn, &config, 4);
}

#[test]
fn a_segment_shorter_than_the_mark_or_missing_is_refused() {
    let config = small();
    let (sim, log) = begin(&config);
    append(&log, 5);
    log.close().unwrap();
    let shorter = sim.process_crash();
    change(&shorter, &log_file(0), |bytes| bytes.truncate(300));
    assert_eq!(refused(&shorter, &config, &log_file(0)), 300);
    let missing = sim.process_crash();
    missing.disk().remove_file(&log_file(0)).unwrap();
    assert_eq!(refused(&missing, &config, &log_file(0)), 0);
}

#[test]
fn a_mark_that_no_batch_ends_at_is_refused() {
    let config = small();
    let (sim, log) = begin(&config);
    append(&log, 3);
    log.close().unwrap();
    let marks = Path::new(DIR).join(file_name::MARKS);
    for (position, offset) in [(-1_i64, 0_u64), (0, 1)] {
        let found = sim.process_crash();
        change(&found, &marks, |bytes| {
            for slot in bytes.chunks_mut(SLOT_LEN) {
                if let Some(mut mark) = Mark::decode(slot) {
                    mark.position.0 = mark.position.0.saturating_add_signed(position);
                    mark.flushed_offset += offset;
                    slot.copy_from_slice(&mark.encode());
                }
            }
        });
        refused(&found, &config, &log_file(0));
    }
}

#[test]
fn after_a_roll_the_mark_is_in_the_new_segment_and_the_old_ones_are_below_it() {
    let config = small();
    let (sim, log) = begin(&config);
    append(&log, 20);
    log.flush().unwrap();
    let bases: Vec<_> = log
        .segments()
        .iter()
        .map(|segment| segment.base_offset)
        .collect();
    assert!(bases.len() > 2);
    log.close().unwrap();
    // Segments below the mark are compared with their digests.
    let gone = sim.process_crash();
    gone.disk().remove_file(&log_file(bases[1])).unwrap();
    refused(&gone, &config, &log_file(bases[1]));
    let first = sim.process_crash();
    first.disk().remove_file(&log_file(0)).unwrap();
    refused(&first, &config, &log_file(0));
    let cut = sim.process_crash();
    let one = BatchHeader::parse(&cut.read(log_file(bases[1])).unwrap())
        .unwrap()
        .size;
    change(&cut, &log_file(bases[1]), |bytes| bytes.truncate(one));
    refused(&cut, &config, &log_file(bases[1]));
    drop(opens(&sim, &config, 20));
}

#[test]
fn an_empty_active_segment_that_is_lost_is_made_again() {
    let config = small();
    let (sim, log) = begin(&config);
    append(&log, 8);
    log.apply_retention().unwrap();
    log.truncate_prefix(8).unwrap();
    log.truncate(8).unwrap();
    log.close().unwrap();
    let config = small().cleanup_policy(CleanupPolicy::Compact);
    let log = open(&sim, &config, OpenMode::Write).unwrap();
    append(&log, 3);
    // Seals the active segment, so that the new one is empty.
    log.compact().unwrap();
    let base = log.segments().last().unwrap().base_offset;
    assert_eq!(base, 11);
    log.close().unwrap();
    sim.disk().remove_file(&log_file(base)).unwrap();
    sim.disk().sync_dir(Path::new(DIR)).unwrap();
    drop(opens(&sim, &config, 11));
}

#[test]
fn a_truncation_below_the_mark_lowers_it_first() {
    let config = small();
    let (sim, log) = begin(&config);
    append(&log, 20);
    log.flush().unwrap();
    log.truncate(5).unwrap();
    let found = kill(&sim, log);
    let log = opens(&found, &config, 5);
    append(&log, 2);
    let found = kill(&found, log);
    drop(opens(&found, &config, 7));
}

#[test]
fn retention_moves_the_start_of_the_mark_before_a_segment_goes() {
    let config = small();
    let (sim, log) = begin(&config);
    append(&log, 20);
    log.flush().unwrap();
    let second = log.segments()[1].base_offset;
    log.truncate_prefix(second + 1).unwrap();
    assert!(sim.read(log_file(0)).is_err());
    let found = kill(&sim, log);
    let log = opens(&found, &config, 20);
    assert_eq!(log.start_offset(), second + 1);
    log.close().unwrap();
    // The first one that is left is missed, though.
    found.disk().remove_file(&log_file(second)).unwrap();
    let start = Path::new(DIR).join(file_name::log(second + 1));
    refused(&found, &config, &start);
}

#[test]
fn either_slot_of_the_mark_may_be_lost_after_segments_went() {
    let config = small().cleanup_policy(CleanupPolicy::Compact);
    let (sim, log) = begin(&config);
    append(&log, 40);
    log.compact().unwrap();
    append(&log, 10);
    log.flush().unwrap();
    let (records, _) = read_all(&log);
    let marks = Path::new(DIR).join(file_name::MARKS);
    let found = kill(&sim, log);
    for slot in 0..2 {
        let torn = found.process_crash();
        change(&torn, &marks, |bytes| bytes[slot * SLOT_LEN + 40] ^= 1);
        let log = open(&torn, &config, OpenMode::Write).unwrap();
        assert_eq!(read_all(&log).0, records, "slot {slot}");
    }
}

#[test]
fn a_compacted_log_is_below_its_mark_with_all_its_gaps() {
    let config = small().cleanup_policy(CleanupPolicy::Compact);
    let (sim, log) = begin(&config);
    append(&log, 60);
    log.compact().unwrap();
    let (before, _) = read_all(&log);
    assert!(before.len() < 60);
    let found = kill(&sim, log);
    let log = open(&found, &config, OpenMode::Write).unwrap();
    assert_eq!(read_all(&log).0, before);
    append(&log, 1);
    log.close().unwrap();
    // A flipped offset inside a gap contradicts no other batch; the digest knows it.
    let damaged = found.process_crash();
    let compacted = log_file(0);
    change(&damaged, &compacted, |bytes| {
        let header = BatchHeader::parse(bytes).unwrap();
        assert!(header.base_offset > 0);
        bytes[7] ^= 1;
    });
    let log = open(&damaged, &config, OpenMode::Write).unwrap();
    let (records, read) = read_all(&log);
    assert!(
        records.is_empty() && matches!(read, Err(Error::Corrupt { .. })),
        "{read:?}"
    );
}

#[test]
fn without_marks_everything_is_checked_and_nothing_is_refused() {
    let config = small();
    let (sim, log) = begin(&config);
    append(&log, 20);
    log.close().unwrap();
    let marks = Path::new(DIR).join(file_name::MARKS);
    sim.disk().remove_file(&marks).unwrap();
    sim.disk().sync_dir(Path::new(DIR)).unwrap();
    let whole = sim.process_crash();
    let log = opens(&whole, &config, 20);
    assert!(log.open_report().scanned_bytes > 2000);
    log.close().unwrap();
    change(&sim, &log_file(0), |bytes| bytes[300] ^= 1);
    let log = open(&sim, &config, OpenMode::Write).unwrap();
    assert!(log.end_offset() < 20);
    assert!(log.open_report().quarantined_bytes > 0);
}

#[test]
fn a_read_only_opening_refuses_damage_too() {
    let config = small();
    let (sim, log) = begin(&config);
    append(&log, 5);
    log.close().unwrap();
    change(&sim, &log_file(0), |bytes| bytes.truncate(300));
    let refused = open(&sim, &config, OpenMode::Read);
    assert!(
        matches!(refused, Err(Error::Corrupt { position: 300, .. })),
        "{refused:?}"
    );
}
