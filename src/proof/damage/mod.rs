//! Damage: every kind of file, damaged in every way, after a close and after a crash. It must be
//! found out or be made good, and `repair` must keep every record that was not hit.
//!
//! Knows nothing about how damage is found. What is checked of each cell of the matrix:
//!
//! 1. `verify` says so, or nothing is missing; and it changes nothing.
//! 2. Opening and reading gives only records that were there; where one is missing, an error said
//!    so, or the open report did.
//! 3. After `repair` the log opens and reads to its end; of the records only those are missing
//!    whose batch was hit; repairing again finds nothing to do; the log can be appended to.
//! 4. The same after a repair that was cut off anywhere, by a kill or by the power, and made again.

pub(super) mod subjects;

mod kinds;
mod listing;
mod rules;

use std::path::Path;
use std::sync::Arc;

use crate::clock::Clock;
use crate::disk::sim::{Choice, Sim};
use crate::doctor::{Beside, repair_alone, verify_alone};
use crate::error::Error;
use crate::recovery::OpenMode;
use crate::sync::Mutex;
use crate::types::LogConfig;
use crate::types::{Durability, Offset, Record, WriteMode, to_u64, to_usize};

use super::{Scale, Whereabouts, crash};
use kinds::{Hit, Wound};
use subjects::{DIR, Records, Subject, contents, copy, open, read_all};

/// What became of a cell.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    cells: u64,
    /// Opening refused.
    refused: u64,
    /// Reading gave an error.
    read_error: u64,
    /// The open report told what was set aside.
    reported: u64,
    /// `verify` alone found it.
    verified: u64,
    /// Every record was there.
    derivable: u64,
    /// Records that `repair` could not keep.
    lost: u64,
}

/// How a damaged directory behaves when it is opened and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Refused,
    ReadError,
    Reported,
    Whole,
    /// A record is missing, and nobody said so.
    Silent,
}

/// Every cell of one seed. Two tests, so that two processors share them.
fn damage_everything(seed: u64) {
    let mut counts = Counts::default();
    for subject in subjects::all(seed, 1500, 24) {
        for wound in kinds::wounds(&subject) {
            let name = format!("{}: {wound:?}", subject.name);
            let _told = Whereabouts(|| name.clone());
            check(&subject, &wound, &mut counts);
        }
    }
    println!("damage: {counts:?}, 0 lost outside what was hit");
    assert!(counts.cells >= 150, "{counts:?}");
}

#[test]
fn whatever_is_damaged_is_found_out_and_repair_keeps_the_rest() {
    damage_everything(1);
}

#[test]
fn whatever_is_damaged_in_other_logs_is_found_out_and_repair_keeps_the_rest() {
    damage_everything(2);
}

/// Rule 4, for some of the cells.
#[test]
fn a_repair_that_was_cut_off_and_is_made_again_loses_nothing_more() {
    let (mut repairs, mut cuts) = (0, 0);
    let step = to_usize(Scale::asked().of(40, 8, 1));
    for subject in subjects::all(3, 1500, 24) {
        for wound in kinds::wounds(&subject).iter().step_by(step) {
            // Hints too are on the disk by now, or a cut would damage more than the wound did.
            let sim = copy(&subject).crash(Choice::All);
            let Some(hit) = wound.inflict(&subject, &sim) else {
                continue;
            };
            let states = Arc::new(Mutex::new(Vec::new()));
            let found = Arc::clone(&states);
            sim.on_change(move |sim| {
                let mut found = found.lock();
                let seed = to_u64(found.len());
                found.extend(sim.crash_states_random(seed, 1));
                found.push(sim.process_crash());
            });
            repair_alone(&sim.disk(), &Clock::System, Path::new(DIR)).unwrap();
            sim.stop_watching();
            repairs += 1;
            for state in states.lock().iter() {
                let name = format!("{}: {wound:?}, {:?}", subject.name, state.born_of());
                let _told = Whereabouts(|| name.clone());
                repair(&subject, state, &hit);
                cuts += 1;
            }
        }
    }
    println!("repairs cut off: {repairs} at {cuts} places");
    assert!(cuts >= Scale::asked().of(3_000, 20_000, 100_000), "{cuts}");
}

/// A kill just after a roll leaves zeros behind the segment that is sealed and not yet cut to its
/// length. The next segment goes on behind them, whatever else is damaged.
#[test]
fn what_follows_a_segment_that_was_not_yet_cut_is_kept() {
    let sim = Sim::new();
    let config = crash::config(WriteMode::Mapped, Durability::Os);
    let log = open(&sim, &config, OpenMode::Write).unwrap();
    for number in 0..8 {
        log.append(&format!("{number}: flushed")).unwrap();
    }
    log.flush().unwrap();
    let kills = Arc::new(Mutex::new(Vec::new()));
    let found = Arc::clone(&kills);
    sim.on_change(move |sim| found.lock().push(sim.process_crash()));
    for number in 8..60 {
        log.append(&format!("{number}: not flushed")).unwrap();
    }
    sim.stop_watching();
    log.abandon();
    let mut uncut = 0;
    for state in kills.lock().iter() {
        let undamaged = offsets(&state.process_crash(), &config);
        let logs = contents(state);
        let logs = logs
            .iter()
            .filter(|(path, _)| path.extension() == Some("log".as_ref()));
        let filled: Vec<_> = logs
            .filter(|(_, bytes)| bytes.iter().any(|b| *b > 0))
            .collect();
        let before_last = filled.iter().rev().nth(1);
        uncut += u64::from(before_last.is_some_and(|(_, bytes)| bytes.ends_with(&[0; 64])));
        let (path, bytes) = filled.first().unwrap();
        let mut bytes = (*bytes).clone();
        bytes[70] ^= 1;
        state.write_raw(path, &bytes).unwrap();
        repair_alone(&state.disk(), &Clock::System, Path::new(DIR)).unwrap();
        // The first record is the one that was hit.
        let kept = offsets(state, &config);
        assert!(
            kept.iter().eq(undamaged.iter().skip(1)),
            "{kept:?} of {undamaged:?}"
        );
    }
    assert!(uncut > 0, "no segment was found that was not yet cut");
}

/// The records that a log has.
fn offsets(sim: &Sim, config: &LogConfig) -> Vec<Offset> {
    let log = open(sim, config, OpenMode::Write).unwrap();
    let (records, read) = read_all(&log);
    read.unwrap();
    log.close().unwrap();
    records.into_keys().collect()
}

fn check(subject: &Subject, wound: &Wound, counts: &mut Counts) {
    let sim = copy(subject);
    let Some(hit) = wound.inflict(subject, &sim) else {
        return;
    };
    counts.cells += 1;
    let sound = verify(&sim);
    let seen = look(subject, &sim.process_crash());
    match seen {
        Seen::Refused => counts.refused += 1,
        Seen::ReadError => counts.read_error += 1,
        Seen::Reported => counts.reported += 1,
        Seen::Whole => counts.derivable += 1,
        Seen::Silent => {
            // Of what a broker wrote, nobody knows where a file ended.
            let excused = subject.foreign && wound.shortens();
            assert!(!sound || excused, "records are missing, and nobody said so");
            counts.verified += 1;
        }
    }
    if matches!(seen, Seen::Refused | Seen::ReadError) {
        assert!(!sound, "{seen:?}, and verify found nothing");
    }
    counts.lost += repair(subject, &sim, &hit);
}

/// Rule 1; gives whether there is no damage.
fn verify(sim: &Sim) -> bool {
    let before = contents(sim);
    let report = verify_alone(&sim.disk(), Path::new(DIR), Beside::Anybody).unwrap();
    assert!(contents(sim) == before, "verify has changed something");
    report.is_sound()
}

/// Rule 2.
fn look(subject: &Subject, sim: &Sim) -> Seen {
    let log = match open(sim, &subject.config, OpenMode::Write) {
        Ok(log) => log,
        Err(Error::Corrupt { .. }) => return Seen::Refused,
        Err(error) => panic!("neither open nor damaged: {error:?}"),
    };
    let (found, read) = read_all(&log);
    nothing_is_invented(subject, &found);
    let whole = below(&subject.records, log.end_offset()).all(|offset| found.contains_key(&offset))
        && log.end_offset() >= end(&subject.records);
    let reported = log.open_report().quarantined_bytes > 0;
    let seen = match read {
        Err(Error::Corrupt { .. }) => Seen::ReadError,
        Err(error) => panic!("neither read nor damaged: {error:?}"),
        Ok(()) if whole => Seen::Whole,
        Ok(()) if reported => Seen::Reported,
        Ok(()) => Seen::Silent,
    };
    if seen == Seen::Whole {
        times_are_found(subject, &log);
    }
    log.abandon();
    seen
}

fn end(records: &Records) -> Offset {
    records.last_key_value().map_or(0, |(offset, _)| offset + 1)
}

fn below(records: &Records, end: Offset) -> impl Iterator<Item = Offset> + '_ {
    records.range(..end).map(|(offset, _)| *offset)
}

fn nothing_is_invented(subject: &Subject, found: &Records) {
    for (offset, held) in found {
        let known = subject.records.get(offset) == Some(held)
            || subject.compacted_away.get(offset) == Some(held);
        assert!(known, "offset {offset}: {held:?}");
    }
}

/// A search by time finds the first record that is not before it.
fn times_are_found(subject: &Subject, log: &crate::log::Log) {
    for (_, held) in subject.records.iter().step_by(5) {
        let expected = subject
            .records
            .iter()
            .find(|(_, other)| other.time >= held.time);
        let found = log.offset_for_time(held.time).unwrap();
        assert_eq!(found, expected.map(|(offset, _)| *offset), "by time");
    }
}

/// Rule 3; gives how many records are lost.
fn repair(subject: &Subject, sim: &Sim, hit: &Hit) -> u64 {
    let report = repair_alone(&sim.disk(), &Clock::System, Path::new(DIR)).unwrap();
    assert!(
        report.is_sound(),
        "repaired, and not sound:\n{report}\n{:?}",
        sim.files()
    );
    let log = match open(sim, &subject.config, OpenMode::Write) {
        Ok(log) => log,
        Err(error) => panic!("repaired, and does not open: {error:?}\n{report}"),
    };
    let (found, read) = read_all(&log);
    read.unwrap();
    nothing_is_invented(subject, &found);
    let mut lost = 0;
    for offset in subject
        .records
        .keys()
        .filter(|offset| !found.contains_key(offset))
    {
        lost += 1;
        let by_right = hit.offsets.iter().any(|range| range.contains(offset));
        assert!(
            by_right,
            "offset {offset} was not hit and is lost: {hit:?}\n{report}"
        );
    }
    let end = log.end_offset();
    assert!(
        end >= subject.flushed || hit.forgets_the_end,
        "offsets are given out again"
    );
    assert_eq!(log.append(Record::keyed("after", "repair")).unwrap(), end);
    log.close().unwrap();
    drop(log);
    let again = repair_alone(&sim.disk(), &Clock::System, Path::new(DIR)).unwrap();
    assert!(again.set_aside.is_empty() && again.is_sound(), "{again}");
    lost
}
