//! A follower and its writer on one simulated disk, step by step.

use std::path::Path;
use std::time::Duration;

use crate::clock::Clock;
use crate::disk::sim::Sim;
use crate::disk::{Access, Disk};
use crate::error::{Error, Result};
use crate::format::file_name;
use crate::log::LATER;
use crate::log::{Log, open_alone_on};
use crate::recovery::OpenMode;
use crate::types::LogConfig;
use crate::types::{CleanupPolicy, Durability, Offset, Record, Start, to_u64};

const DIR: &str = "/log";
const HOUR: Duration = Duration::from_secs(3600);

fn config() -> LogConfig {
    LogConfig::default().segment_bytes(1024)
}

fn open_as(sim: &Sim, config: LogConfig, mode: OpenMode) -> Result<Log> {
    open_alone_on(
        &sim.disk(),
        &Clock::System,
        Path::new(DIR),
        config,
        mode,
        true,
    )
}

fn writer(sim: &Sim) -> Log {
    open_as(sim, config(), OpenMode::Write).unwrap()
}

fn follower(sim: &Sim) -> Log {
    open_as(sim, LogConfig::default(), OpenMode::Read).unwrap()
}

fn fill(log: &Log, records: std::ops::Range<u64>) {
    for number in records {
        log.append(&format!("record number {number}")).unwrap();
    }
}

/// Appends and leaves the sync for later.
fn append_unsynced(log: &Log, value: &str) {
    log.shared.append_one(&value.into(), LATER).unwrap();
}

/// What a reader has to give out, as far as it comes.
fn rest(reader: &mut crate::reader::Reader) -> Vec<(Offset, String)> {
    let records = reader.map(|record| {
        let record = record.unwrap();
        let value = String::from_utf8(record.value().unwrap().to_vec()).unwrap();
        (record.offset, value)
    });
    records.collect()
}

fn numbered(records: std::ops::Range<u64>) -> Vec<(Offset, String)> {
    records
        .map(|number| (number, format!("record number {number}")))
        .collect()
}

#[test]
fn a_reader_goes_on_past_the_end_that_it_was_opened_at_and_over_rolls() {
    let sim = Sim::new();
    let writer = writer(&sim);
    let follower = follower(&sim);
    let mut reader = follower.reader(0).unwrap();
    let mut late = follower.reader(Start::Latest).unwrap();
    for end in [1, 2, 30, 31, 100] {
        let before = follower.shared.end_offset();
        fill(&writer, before..end);
        assert_eq!(rest(&mut reader), numbered(before..end));
        assert_eq!(
            (follower.end_offset(), follower.high_watermark()),
            (end, end)
        );
    }
    assert!(writer.segments().len() > 3);
    assert_eq!(follower.segments().len(), writer.segments().len());
    assert_eq!(rest(&mut late), numbered(0..100));
    assert!(follower.read(99).unwrap().is_some());
    assert!(matches!(
        follower.read(100),
        Err(Error::OffsetOutOfRange { .. })
    ));
}

#[test]
fn a_follower_opened_before_the_first_segment_sees_it_come() {
    let sim = Sim::new();
    let disk = sim.disk();
    writer(&sim).close().unwrap();
    disk.remove_file(&Path::new(DIR).join(file_name::log(0)))
        .unwrap();
    let follower = follower(&sim);
    assert_eq!(follower.end_offset(), 0);
    let writer = writer(&sim);
    fill(&writer, 0..3);
    assert_eq!(rest(&mut follower.reader(0).unwrap()), numbered(0..3));
}

#[test]
fn what_its_writer_forgets_compacts_and_truncates_is_followed() {
    let sim = Sim::new();
    let compacts = config().cleanup_policy(CleanupPolicy::Compact);
    let writer = open_as(&sim, compacts, OpenMode::Write).unwrap();
    let follower = follower(&sim);
    for number in 0..60_u64 {
        let key = (number % 7).to_string();
        writer
            .append(Record::keyed(&key, &number.to_string()))
            .unwrap();
    }
    let mut begun = follower.reader(0).unwrap();
    assert_eq!(begun.next().unwrap().unwrap().offset, 0);
    writer.compact().unwrap();
    let left: Vec<_> = follower
        .reader(0)
        .unwrap()
        .map(|it| it.unwrap().offset)
        .collect();
    assert_eq!(
        left,
        writer
            .reader(0)
            .unwrap()
            .map(|it| it.unwrap().offset)
            .collect::<Vec<_>>()
    );
    let rest: Vec<_> = begun.map(|record| record.unwrap().offset).collect();
    assert_eq!(rest.last(), Some(&59));
    writer.truncate_prefix(56).unwrap();
    assert_eq!(follower.start_offset(), 56);
    assert!(matches!(
        follower.read(3),
        Err(Error::OffsetOutOfRange { .. })
    ));
    assert_eq!(follower.segments().len(), writer.segments().len());
}

#[test]
fn a_truncation_is_reported_whatever_is_appended_since() {
    for appended in [0, 5, 60, 200] {
        let sim = Sim::new();
        let writer = writer(&sim);
        fill(&writer, 0..50);
        let follower = follower(&sim);
        let mut ended = follower.reader(Start::Latest).unwrap();
        let mut begun = follower.reader(0).unwrap();
        for _ in 0..35 {
            begun.next().unwrap().unwrap();
        }
        let mut below = follower.reader(10).unwrap();
        writer.truncate(20).unwrap();
        for number in 0..appended {
            writer.append(&format!("another {number}")).unwrap();
        }
        let told = ended.next_batch();
        assert!(
            matches!(
                told,
                Err(Error::Truncated {
                    requested: 50,
                    end: 20,
                    ..
                })
            ),
            "{appended}: {told:?}"
        );
        // What it has read of the file is given out, or not; nothing else.
        let mut before = 0;
        let told = begun.find_map(|record| match record {
            Ok(record) => {
                before += 1;
                let value = String::from_utf8(record.value().unwrap().to_vec()).unwrap();
                assert_eq!(value, format!("record number {}", record.offset));
                None
            }
            Err(error) => Some(error),
        });
        assert!(
            matches!(told, Some(Error::Truncated { end: 20, .. })),
            "{appended}: {told:?}"
        );
        assert!(before <= 15);
        let read = rest(&mut below);
        assert_eq!(to_u64(read.len()), 10 + appended);
        assert_eq!(follower.end_offset(), 20 + appended);
        assert_eq!(follower.epoch(), writer.epoch());
        ended.seek(20).unwrap();
        assert_eq!(to_u64(rest(&mut ended).len()), appended);
    }
}

#[test]
fn a_batch_that_is_not_whole_is_not_there_yet() {
    let sim = Sim::new();
    let writer = writer(&sim);
    fill(&writer, 0..3);
    let follower = follower(&sim);
    let mut reader = follower.reader(Start::Latest).unwrap();
    let path = Path::new(DIR).join(file_name::log(0));
    let disk: Disk = sim.disk();
    let whole = |disk: &Disk| {
        let file = disk.open(&path, Access::Read).unwrap();
        let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        file.read_at(0, &mut bytes).unwrap();
        bytes
    };
    let before = usize::try_from(writer.segments()[0].size_bytes).unwrap();
    fill(&writer, 3..4);
    let bytes = whole(&disk);
    let after = usize::try_from(writer.segments()[0].size_bytes).unwrap();
    let file = disk.open(&path, Access::Write).unwrap();
    // Its bytes come in whatever order the writer's processor makes them visible.
    for hole in before..after {
        let mut torn = bytes.clone();
        for byte in &mut torn[hole..(hole + 9).min(after)] {
            *byte = 0;
        }
        let same = torn == bytes;
        file.write_at(0, &torn).unwrap();
        let seen = reader.next_batch().unwrap();
        assert_eq!(seen.is_some(), same, "{hole}");
        if same {
            reader.seek(3).unwrap();
            return;
        }
    }
    file.write_at(0, &bytes).unwrap();
    assert_eq!(rest(&mut reader), numbered(3..4));
}

#[test]
fn under_always_nothing_is_seen_above_the_mark() {
    let sim = Sim::new();
    let writer = open_as(
        &sim,
        config().durability(Durability::Always),
        OpenMode::Write,
    )
    .unwrap();
    fill(&writer, 0..3);
    let follower = follower(&sim);
    let mut reader = follower.reader(0).unwrap();
    assert_eq!(rest(&mut reader), numbered(0..3));
    // Appended, and not synced yet.
    let record = "record number 3";
    append_unsynced(&writer, record);
    assert_eq!(writer.high_watermark(), 3);
    assert_eq!((follower.high_watermark(), rest(&mut reader).len()), (3, 0));
    assert!(matches!(
        follower.read(3),
        Err(Error::OffsetOutOfRange { .. })
    ));
    // Nor by one that is opened now.
    assert_eq!(self::follower(&sim).high_watermark(), 3);
    writer.flush().unwrap();
    assert_eq!(rest(&mut reader), numbered(3..4));
}

#[test]
fn a_log_that_becomes_always_or_ceases_to_be_is_followed_so() {
    let sim = Sim::new();
    let writer = writer(&sim);
    fill(&writer, 0..2);
    let follower = follower(&sim);
    assert_eq!(follower.high_watermark(), 2);
    writer
        .reconfigure(config().durability(Durability::Always))
        .unwrap();
    append_unsynced(&writer, "record number 2");
    assert_eq!(follower.high_watermark(), 2);
    writer.reconfigure(config()).unwrap();
    assert_eq!(follower.high_watermark(), 3);
    // Also where a closed log is opened with another durability.
    writer.close().unwrap();
    let writer = open_as(
        &sim,
        config().durability(Durability::Always),
        OpenMode::Write,
    )
    .unwrap();
    append_unsynced(&writer, "record number 3");
    assert_eq!(follower.high_watermark(), 3);
    writer.flush().unwrap();
    assert_eq!(follower.high_watermark(), 4);
}

#[test]
fn waiters_wake_when_the_writer_appends_and_never_hear_that_the_log_is_read_only() {
    let sim = Sim::new();
    let writer = writer(&sim);
    let follower = follower(&sim);
    assert!(!follower.wait_for(0, Duration::from_millis(1)).unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(follower.wait_for(4, HOUR).unwrap()));
        scope.spawn(|| {
            let mut reader = follower.reader(0).unwrap();
            while reader.position() < 5 {
                assert!(reader.wait(HOUR).unwrap());
                rest(&mut reader);
            }
        });
        for number in 0..5 {
            fill(&writer, number..number + 1);
        }
    });
    // Nobody waits any more, and nobody looks.
    follower.close().unwrap();
    assert!(matches!(follower.wait_for(9, HOUR), Err(Error::Closed)));
}

#[test]
fn the_next_writer_is_followed_after_the_first_one_and_after_one_that_was_killed() {
    let sim = Sim::new();
    let first = writer(&sim);
    let follower = follower(&sim);
    assert!(follower.is_live());
    let mut reader = follower.reader(0).unwrap();
    fill(&first, 0..30);
    assert_eq!(rest(&mut reader), numbered(0..30));
    first.close().unwrap();
    assert!(!follower.is_live());
    let killed = writer(&sim);
    fill(&killed, 30..45);
    killed.abandon();
    assert_eq!(rest(&mut reader), numbered(30..45));
    let third = writer(&sim);
    assert!(third.epoch() > 0);
    fill(&third, 45..50);
    assert_eq!(rest(&mut reader), numbered(45..50));
    assert_eq!(
        (reader.epoch(), follower.epoch()),
        (third.epoch(), third.epoch())
    );
}
