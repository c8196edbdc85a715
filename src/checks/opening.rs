//! Opening as a whole: what it reads, and what a crash in the middle of it leaves.

use std::path::Path;
use std::sync::Arc;

use crate::clock::Clock;
use crate::disk::sim::Sim;
use crate::disk::{Access, Disk};
use crate::format::{FileKind, FileName, file_name};
use crate::log::{Log, open_alone_on};
use crate::recovery::OpenMode;
use crate::segment::BatchCursor;
use crate::types::LogConfig;
use crate::types::{Position, WriteMode};

const DIR: &str = "/log";

fn open(sim: &Sim) -> Log {
    let config = LogConfig::default().segment_bytes(1 << 14);
    let (clock, dir) = (Clock::default(), Path::new(DIR));
    open_alone_on(&sim.disk(), &clock, dir, config, OpenMode::Write, true).unwrap()
}

/// A log of many segments without a mark, damaged in the second one.
fn damaged() -> Sim {
    let sim = Sim::new();
    let log = open(&sim);
    for _ in 0..60 {
        log.append(vec![b'v'; 1000].as_slice()).unwrap();
    }
    let bases: Vec<_> = log.segments().iter().map(|info| info.base_offset).collect();
    assert!(bases.len() > 3, "{bases:?}");
    log.close().unwrap();
    let (disk, dir) = (sim.disk(), Path::new(DIR));
    disk.remove_file(&dir.join(file_name::MARKS)).unwrap();
    for entry in disk.list(dir).unwrap() {
        if !matches!(
            FileName::parse(&entry.name),
            FileName::Segment {
                kind: FileKind::Log,
                ..
            }
        ) {
            disk.remove_file(&dir.join(&entry.name)).unwrap();
        }
    }
    disk.sync_dir(dir).unwrap();
    let second = dir.join(file_name::log(bases[1]));
    sim.flip(&second, 8 * 3000).unwrap();
    sim
}

#[test]
fn a_crash_while_what_follows_a_hole_is_quarantined_brings_none_of_it_back() {
    let whole = damaged();
    let end = open(&whole.process_crash()).end_offset();
    assert!((1..59).contains(&end), "{end}");
    let sim = damaged();
    let states = Arc::new(crate::sync::AtomicU64::new(0));
    let counted = Arc::clone(&states);
    sim.on_change(move |sim| {
        for crashed in sim.crash_states_canonical() {
            counted.fetch_add(1, crate::sync::Ordering::Relaxed);
            assert_eq!(open(&crashed).end_offset(), end);
        }
    });
    let log = open(&sim);
    sim.stop_watching();
    assert_eq!(log.end_offset(), end);
    assert!(states.load(crate::sync::Ordering::Relaxed) > 50);
}

/// Otherwise the system would make its pages, which takes longer than reading all the rest. It
/// may read ahead for reasons of its own, for example under memory pressure: one try of five is
/// enough.
#[test]
fn space_that_was_reserved_and_never_written_is_not_read() {
    assert!((0..5).any(|_| leaves_reserved_space_alone()));
}

/// Opens a log as after a crash: nothing was synced or cut.
fn leaves_reserved_space_alone() -> bool {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig::default().write_mode(WriteMode::Mapped);
    let log = Log::open(dir.path(), config).unwrap();
    let record = vec![7; 100];
    for _ in 0..20_000 {
        log.append(&record).unwrap();
    }
    let path = dir.path().join(file_name::log(0));
    let file = Disk::os().open(&path, Access::Read).unwrap();
    let (data, all) = (file.data_end(0).unwrap(), file.len().unwrap());
    // If the system cannot say where the data ends, there is nothing to check.
    let told = data + (256 << 10) < all || !cfg!(target_os = "linux");
    assert!(data >= 2_000_000 && told, "{data} of {all}");
    let crashed = Log::open_read_only(dir.path()).unwrap();
    assert!(crashed.open_report().scanned_bytes > 2_000_000);
    assert_eq!(crashed.end_offset(), 20_000);
    file.data_end(0).unwrap() == data
}

#[test]
fn what_is_read_ahead_changes_nothing_of_what_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), LogConfig::default()).unwrap();
    for length in [1, 300, 5, 2_000, 40] {
        log.append(&vec![7; length]).unwrap();
    }
    log.close().unwrap();
    let path = dir.path().join(file_name::log(0));
    let file = Disk::os().open(&path, Access::Read).unwrap();
    let end = file.len().unwrap();
    for ahead_to in (0..=end).chain([u64::MAX]) {
        let cursor = BatchCursor::new(Position::ZERO, 0).sequential();
        let mut cursor = cursor.ahead_to(Position(ahead_to));
        for offset in 0..5 {
            let batch = cursor.next(&file, Position(end)).unwrap().unwrap();
            assert_eq!(batch.header.base_offset, offset, "{ahead_to}");
        }
        assert!(cursor.next(&file, Position(end)).unwrap().is_none());
    }
}
