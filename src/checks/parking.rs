//! Which files of a log are closed when others need to be open.

use std::path::Path;
use std::sync::Arc;

use crate::clock::Clock;
use crate::dir::Marks;
use crate::disk::Disk;
use crate::disk::sim::{At, Failure, Fault, Kind, Operation, Repeat, Sim};
use crate::error::Error;
use crate::format::MarkKey;
use crate::host::Host;
use crate::log::{Log, open_alone_on};
use crate::recovery::{LogSource, OpenMode};
use crate::types::LogConfig;
use crate::types::{CleanupPolicy, Record, TopicId, to_u64};

/// Logs of one host that may have only one file open, that of its marks.
fn crowded_logs(sim: &Sim, count: u32) -> Vec<Log> {
    let disk = sim.disk();
    let marks = Marks::open(&disk, Path::new("/ottla.marks")).unwrap();
    let host = Host::with_open_files(disk, Clock::default(), marks, true, Some(1));
    (0..count).map(|number| open_in(&host, number)).collect()
}

fn open_in(host: &Arc<Host>, number: u32) -> Log {
    let dir = Path::new("/").join(number.to_string());
    host.disk.create_dir(&dir).unwrap();
    let mark_key = MarkKey {
        topic: TopicId([1; 16]),
        partition: number,
    };
    let source = LogSource {
        dir,
        mark_key,
        lock: None,
        managed: true,
    };
    Log::open_in(host, source, LogConfig::default(), OpenMode::Write).unwrap()
}

#[test]
fn a_file_with_unsynced_bytes_is_synced_before_it_is_closed() {
    let sim = Sim::new();
    let logs = crowded_logs(&sim, 3);
    sim.record();
    for log in &logs {
        log.append("a record").unwrap();
    }
    let trace = sim.trace();
    for (number, log) in logs.iter().enumerate() {
        let path = log.shared.segments.read().active().log_path();
        let synced = |call: &&Operation| call.kind == Kind::SyncData && call.path == path;
        let syncs = trace.iter().filter(synced).count();
        let open = log.shared.append.lock().writer.is_some();
        // All but the last had to close their files.
        assert_eq!(
            (syncs, open),
            if number < 2 { (1, false) } else { (0, true) }
        );
    }
    for log in &logs {
        log.append("another").unwrap();
        assert_eq!(log.flush().unwrap(), 2);
        assert_eq!(log.reader(0).unwrap().count(), 2);
    }
}

#[test]
fn a_sync_that_fails_before_a_file_is_closed_latches_its_own_log_alone() {
    let sim = Sim::new();
    sim.record();
    let logs = crowded_logs(&sim, 2);
    logs[0].append("a record").unwrap();
    let trace = sim.trace();
    let synced = trace.iter().filter(|call| call.kind == Kind::SyncData);
    sim.fail(Fault {
        at: At::Nth(Kind::SyncData, to_u64(synced.count())),
        error: Failure::Eio,
        repeat: Repeat::Once,
    });
    logs[1].append("a record").unwrap();
    let refused = logs[0].append("another").unwrap_err();
    assert!(matches!(refused, Error::Poisoned { .. }), "{refused:?}");
    logs[1].append("and on").unwrap();
    assert_eq!(logs[1].flush().unwrap(), 2);
    assert_eq!(logs[0].reader(0).unwrap().count(), 1);
}

/// Closes the files of a log's segments, as a lack of descriptors would.
fn close_read_files(log: &Log) {
    for segment in log.shared.segments.read().iter() {
        segment.close_file();
    }
}

fn filled(config: LogConfig) -> (tempfile::TempDir, Log) {
    let dir = tempfile::tempdir().unwrap();
    let (disk, clock) = (Disk::os(), Clock::System);
    let config = config.segment_bytes(16 << 10);
    // Without a flusher, which would open files by itself.
    let log = open_alone_on(&disk, &clock, dir.path(), config, OpenMode::Write, true).unwrap();
    for number in 0..300_u32 {
        let key = number.to_string();
        log.append(Record::keyed(&key, &[7; 200])).unwrap();
    }
    (dir, log)
}

#[test]
fn a_reader_whose_segment_was_dropped_finishes_it_or_learns_that_it_is_behind() {
    for closed in [false, true] {
        let (_dir, log) = filled(LogConfig::default());
        let mut reader = log.reader(0).unwrap();
        assert_eq!(reader.next().unwrap().unwrap().offset, 0);
        let second = log.segments()[1].base_offset;
        if closed {
            close_read_files(&log);
        }
        log.truncate_prefix(250).unwrap();
        let ended = reader.by_ref().find_map(Result::err);
        let last = reader.position();
        match ended {
            Some(Error::OffsetOutOfRange { start: 250, .. }) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(
            last == second,
            !closed,
            "closed: {closed}, read up to {last}"
        );
    }
}

#[test]
fn a_reader_whose_file_was_closed_and_compacted_away_goes_on() {
    let config = LogConfig::default().cleanup_policy(CleanupPolicy::Compact);
    let (_dir, log) = filled(config);
    let mut reader = log.reader(0).unwrap();
    assert_eq!(reader.next().unwrap().unwrap().offset, 0);
    log.append(Record::keyed("0", "x")).unwrap();
    log.compact().unwrap();
    close_read_files(&log);
    let offsets: Vec<_> = reader.map(|record| record.unwrap().offset).collect();
    assert!(offsets.iter().copied().eq(1..301), "{offsets:?}");
}
