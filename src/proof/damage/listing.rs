//! What opening refuses `verify` reports as damage; and for what opening examines (the list of
//! segments, their lengths, the fronts of digests, marks) the reverse holds too.
//!
//! Knows nothing about the rules themselves (`recovery/rules.rs`): it damages directories in every
//! combination of a segment, a digest and a mark, and compares the two answers.

use std::path::{Path, PathBuf};

use super::subjects::{DIR, open, read_all};
use crate::clock::Clock;
use crate::disk::sim::Sim;
use crate::doctor::{Beside, ProblemKind, Severity, VerifyReport, repair_alone, verify_alone};
use crate::error::Error;
use crate::format::{BatchHeader, Digest, FileKind, FileName, MarkKey, file_name, log_hash};
use crate::recovery::OpenMode;
use crate::types::LogConfig;
use crate::types::{Offset, Record, TopicId, WriteMode};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Nothing,
    Removed,
    CutBetweenBatches,
    CutInsideABatch,
    Emptied,
    ZerosBehind,
    GarbageBehind,
}

const CHANGES: [Change; 7] = [
    Change::Nothing,
    Change::Removed,
    Change::CutBetweenBatches,
    Change::CutInsideABatch,
    Change::Emptied,
    Change::ZerosBehind,
    Change::GarbageBehind,
];

/// What becomes of the digest of the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    AsIs,
    Removed,
    Older,
    OtherLog,
}

const DIGESTS: [Told; 4] = [Told::AsIs, Told::Removed, Told::Older, Told::OtherLog];

/// Which marks the directory has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marks {
    AsIs,
    Older,
    Removed,
}

const MARKS: [Marks; 3] = [Marks::AsIs, Marks::Older, Marks::Removed];

/// A log, the same at an earlier time, and the bases of its segments.
struct Subject {
    name: &'static str,
    sim: Sim,
    earlier: Sim,
    bases: Vec<Offset>,
}

fn config() -> LogConfig {
    LogConfig::default()
        .segment_bytes(1024)
        .write_mode(WriteMode::Pwrite)
}

fn subjects() -> [Subject; 2] {
    let sim = Sim::new();
    sim.disk().create_dir(Path::new(DIR)).unwrap();
    let append = |log: &crate::log::Log, count: u64| {
        for _ in 0..count {
            let number = log.end_offset();
            let value = format!("value {number} {}", "x".repeat(80));
            log.append(Record::new(&value)).unwrap();
        }
    };
    let log = open(&sim, &config(), OpenMode::Write).unwrap();
    append(&log, 9);
    log.close().unwrap();
    let earlier = sim.process_crash();
    let log = open(&sim, &config(), OpenMode::Write).unwrap();
    append(&log, 13);
    log.flush().unwrap();
    let bases = |log: &crate::log::Log| {
        let segments = log.segments().into_iter();
        segments.map(|segment| segment.base_offset).collect()
    };
    let at_close = bases(&log);
    log.close().unwrap();
    let closed = sim.process_crash();
    let log = open(&sim, &config(), OpenMode::Write).unwrap();
    append(&log, 11);
    let at_kill = bases(&log);
    let killed = sim.process_crash();
    log.abandon();
    [
        Subject {
            name: "closed",
            sim: closed.process_crash(),
            earlier,
            bases: at_close,
        },
        Subject {
            name: "killed",
            sim: killed,
            earlier: closed,
            bases: at_kill,
        },
    ]
}

fn path(base: Offset, kind: FileKind) -> PathBuf {
    Path::new(DIR).join(FileName::segment(base, kind).to_string())
}

fn change(sim: &Sim, base: Offset, change: Change) {
    let path = path(base, FileKind::Log);
    let mut bytes = sim.read(&path).unwrap();
    let first = BatchHeader::parse(&bytes).map_or(0, |header| header.size);
    match change {
        Change::Nothing => return,
        Change::Removed => return sim.disk().remove_file(&path).unwrap(),
        Change::CutBetweenBatches => bytes.truncate(first),
        Change::CutInsideABatch => bytes.truncate(first + first / 2),
        Change::Emptied => bytes.clear(),
        Change::ZerosBehind => bytes.extend([0; 300]),
        Change::GarbageBehind => bytes.extend([0xA5; 300]),
    }
    sim.write_raw(&path, &bytes).unwrap();
}

fn change_digest(sim: &Sim, earlier: &Sim, base: Offset, told: Told) {
    let path = path(base, FileKind::Digest);
    let bytes = match told {
        Told::AsIs => return,
        Told::Removed => return drop(sim.disk().remove_file(&path)),
        Told::Older => earlier.read(&path).ok(),
        Told::OtherLog => sim.read(&path).ok().map(|bytes| {
            let mut digest = Digest::decode(&bytes).unwrap();
            digest.summary.home = log_hash(MarkKey {
                topic: TopicId([9; 16]),
                partition: 9,
            });
            digest.encode()
        }),
    };
    if let Some(bytes) = bytes {
        sim.write_raw(&path, &bytes).unwrap();
    }
}

fn change_marks(sim: &Sim, earlier: &Sim, marks: Marks) {
    let path = Path::new(DIR).join(file_name::MARKS);
    match marks {
        Marks::AsIs => {}
        Marks::Older => sim.write_raw(&path, &earlier.read(&path).unwrap()).unwrap(),
        Marks::Removed => sim.disk().remove_file(&path).unwrap(),
    }
}

/// Damage of the kinds that opening looks for.
fn examined(report: &VerifyReport) -> bool {
    report.problems.iter().any(|problem| {
        let examined = matches!(
            problem.kind,
            ProblemKind::Missing
                | ProblemKind::Short { .. }
                | ProblemKind::FlushedEnd { .. }
                | ProblemKind::OtherLog
        );
        examined && problem.severity == Severity::Damage
    })
}

#[test]
fn what_opening_refuses_verify_reports_as_damage_and_the_reverse_for_what_it_examines() {
    let (mut cells, mut refusals) = (0_u64, 0_u64);
    for subject in subjects() {
        for base in subject.bases.iter().copied() {
            for wound in CHANGES {
                for told in DIGESTS {
                    for marks in MARKS {
                        let cell = format!("{} {base} {wound:?} {told:?} {marks:?}", subject.name);
                        let sim = subject.sim.process_crash();
                        change(&sim, base, wound);
                        change_digest(&sim, &subject.earlier, base, told);
                        change_marks(&sim, &subject.earlier, marks);
                        // Without marks an index that has lost its batches may be what a power cut
                        // left of a log that was never synced.
                        let orphan = marks == Marks::Removed && wound == Change::Removed;
                        refusals += u64::from(compare(&cell, &sim, orphan));
                        cells += 1;
                    }
                }
            }
        }
    }
    println!("listings: {cells} directories, {refusals} refused");
    assert!(cells >= 800 && refusals >= 200, "{cells} {refusals}");
}

/// Compares the two answers for one directory, and repairs it; true when opening refuses.
fn compare(cell: &str, sim: &Sim, orphan: bool) -> bool {
    let dir = Path::new(DIR);
    let report = verify_alone(&sim.disk(), dir, Beside::Anybody).unwrap();
    let refused = match open(&sim.process_crash(), &config(), OpenMode::Write) {
        Ok(log) => {
            log.abandon();
            false
        }
        Err(Error::Corrupt { .. }) => true,
        Err(error) => panic!("{cell}: {error:?}"),
    };
    if refused {
        assert!(!report.is_sound(), "{cell}: refused, and sound\n{report}");
    } else {
        let excused = orphan || !examined(&report);
        assert!(excused, "{cell}: opens, and is called damaged\n{report}");
    }
    let repaired = repair_alone(&sim.disk(), &Clock::System, dir).unwrap();
    assert!(repaired.is_sound(), "{cell}: {repaired}");
    let log = open(sim, &config(), OpenMode::Write).unwrap();
    read_all(&log).1.unwrap();
    log.close().unwrap();
    refused
}
