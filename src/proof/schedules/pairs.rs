//! What a log does at the same time, two and two: appends, flushes, rolls, truncations at both
//! ends, the exchange of a compaction, the flusher, other settings, readers, a close.
//!
//! Knows nothing about the log's inside. In every order each call does what it says or answers
//! that the log is closed, and what was acknowledged is there when the log is opened again.

use shuttle::thread;

use super::super::crash::config;
use super::{check, check_long, marks, new_log, open, read_all, still_clock, value};
use crate::disk::sim::{At, Choice, Failure, Fault, Kind, Repeat, Sim};
use crate::error::{Error, Result};
use crate::log::Log;
use crate::types::LogConfig;
use crate::types::{CleanupPolicy, Durability, Offset, Record, Start, WriteMode};

fn spawn<T: Send + 'static>(
    log: &Log,
    run: impl FnOnce(&Log) -> T + Send + 'static,
) -> thread::JoinHandle<T> {
    let log = log.clone();
    thread::spawn(move || run(&log))
}

/// What a call answers that a close may come before.
fn or_closed<T>(answer: Result<T>) -> Option<T> {
    match answer {
        Ok(value) => Some(value),
        Err(Error::Closed) => None,
        Err(error) => panic!("{error:?}"),
    }
}

pub(super) fn compacted(durability: Durability) -> LogConfig {
    config(WriteMode::Pwrite, durability).cleanup_policy(CleanupPolicy::Compact)
}

/// A value under one of two keys.
pub(super) fn append_keyed(log: &Log, number: u64) -> Result<Offset> {
    let key = if number.is_multiple_of(2) {
        "even"
    } else {
        "odd"
    };
    log.append(Record::keyed(key, &value(1, number)))
}

/// A compacted log of a few segments, with something to drop in each.
fn log_to_compact() -> (Sim, Log) {
    let sim = Sim::new();
    let log = open(&sim, &still_clock(), &compacted(Durability::Os)).unwrap();
    for number in 0..5 {
        append_keyed(&log, number).unwrap();
    }
    (sim, log)
}

/// Reads everything, which nobody truncates: offsets rise, and what was there at the end is.
pub(super) fn read_compacted(log: &Log) -> Option<()> {
    let mut before = None;
    for record in or_closed(log.reader(Start::Earliest))? {
        let offset = or_closed(record)?.offset;
        assert!(before < Some(offset), "{before:?}, then {offset}");
        before = Some(offset);
    }
    assert!(before >= Some(4), "the newest record of a key stays");
    Some(())
}

/// Nothing of an operation that ended is left in the directory.
fn assert_tidy(sim: &Sim) {
    for (path, _) in sim.files() {
        let name = path.to_string_lossy();
        let left = [".cleaned", ".swap", "ottla.next", "ottla.truncate"];
        assert!(
            left.iter().all(|left| !name.ends_with(left)),
            "{name} is left"
        );
    }
}

/// Opens a log that was closed: it ends there, and every record can be read.
fn reopen(sim: &Sim, config: &LogConfig, end: Offset) -> Log {
    assert_tidy(sim);
    let log = open(sim, &still_clock(), config).unwrap();
    assert!(log.open_report().clean, "{:?}", log.open_report());
    assert_eq!(log.end_offset(), end);
    read_all(&log);
    log
}

#[test]
fn a_compaction_among_appends_rolls_flushes_and_reads_in_any_order() {
    check_long(|| {
        let (sim, log) = log_to_compact();
        let compactor = spawn(&log, |log| log.compact().unwrap());
        let writer = spawn(&log, |log| {
            for number in 5..7 {
                append_keyed(log, number).unwrap();
            }
            log.flush().unwrap();
        });
        let reader = spawn(&log, read_compacted);
        compactor.join().unwrap();
        writer.join().unwrap();
        reader.join().unwrap();
        log.compact().unwrap();
        let offsets: Vec<_> = read_all(&log).into_iter().map(|(at, _)| at).collect();
        assert_eq!(offsets, [5, 6]);
        log.close().unwrap();
        reopen(&sim, &compacted(Durability::Os), 7);
    });
}

#[test]
fn a_compaction_and_truncations_at_both_ends_in_any_order() {
    check_long(|| {
        let (sim, log) = log_to_compact();
        let compactor = spawn(&log, |log| log.compact().unwrap());
        let truncater = spawn(&log, |log| {
            log.truncate(4).unwrap();
            append_keyed(log, 4).unwrap();
        });
        let forgetter = spawn(&log, |log| log.truncate_prefix(1).unwrap());
        compactor.join().unwrap();
        truncater.join().unwrap();
        forgetter.join().unwrap();
        assert_eq!((log.start_offset(), log.end_offset()), (1, 5));
        log.close().unwrap();
        let log = reopen(&sim, &compacted(Durability::Os), 5);
        assert_eq!(log.start_offset(), 1);
        assert_eq!(
            log.read(4).unwrap().unwrap().value(),
            Some(&value(1, 4)[..])
        );
    });
}

#[test]
fn truncations_among_flushes_rolls_and_the_flusher_in_any_order() {
    check_long(|| {
        let (sim, log) = new_log(Durability::Os);
        for number in 0..3 {
            log.append(&value(1, number)).unwrap();
        }
        let truncater = spawn(&log, |log| log.truncate(2).unwrap());
        let forgetter = spawn(&log, |log| log.truncate_prefix(1).unwrap());
        let flusher = spawn(&log, Log::run_flusher);
        let writer = spawn(&log, |log| {
            for number in 3..5 {
                log.append(&value(1, number)).unwrap();
                log.flush().unwrap();
            }
        });
        for thread in [truncater, forgetter, flusher, writer] {
            thread.join().unwrap();
        }
        let end = log.end_offset();
        log.close().unwrap();
        let log = reopen(&sim, &config(WriteMode::Pwrite, Durability::Os), end);
        assert_eq!(log.start_offset(), 1);
    });
}

#[test]
fn a_close_among_a_compaction_a_flush_the_flusher_and_a_reader_in_any_order() {
    check_long(|| {
        let (sim, log) = log_to_compact();
        sim.record();
        let compactor = spawn(&log, |log| {
            or_closed(log.compact());
        });
        let flusher = spawn(&log, Log::run_flusher);
        let syncer = spawn(&log, |log| {
            or_closed(log.flush());
        });
        let reader = spawn(&log, |log| {
            read_compacted(log);
        });
        let closer = spawn(&log, |log| log.close().unwrap());
        log.close().unwrap();
        let over = sim.operations();
        for thread in [compactor, flusher, syncer, reader, closer] {
            thread.join().unwrap();
        }
        // Readers may still find out; a thread that wanted the turn did nothing.
        let mut wrote = sim.trace().into_iter();
        let wrote = wrote.find(|made| made.number >= over && made.kind.changes());
        assert_eq!(wrote, None, "after the close");
        reopen(&sim, &compacted(Durability::Os), 5);
    });
}

#[test]
fn a_close_among_truncations_and_appends_in_any_order() {
    check(|| {
        let (sim, log) = new_log(Durability::Always);
        for number in 0..3 {
            log.append(&value(1, number)).unwrap();
        }
        let truncater = spawn(&log, |log| or_closed(log.truncate(2)).is_some());
        let forgetter = spawn(&log, |log| or_closed(log.truncate_prefix(1)).is_some());
        let writer = spawn(&log, |log| {
            or_closed(log.append(&value(2, 3))).map_or(0, |offset| offset + 1)
        });
        log.close().unwrap();
        let acknowledged = writer.join().unwrap();
        let (cut, forgot) = (truncater.join().unwrap(), forgetter.join().unwrap());
        let config = config(WriteMode::Pwrite, Durability::Always);
        let log = reopen(&sim, &config, log.end_offset());
        // An append that came before the truncation went with it.
        assert!(log.end_offset() >= acknowledged || cut, "{acknowledged}");
        assert_eq!(log.start_offset(), u64::from(forgot));
    });
}

#[test]
fn a_log_becomes_always_among_appends_and_its_watermark_never_goes_back() {
    check(|| {
        let (_, log) = new_log(Durability::Os);
        log.append(&value(1, 0)).unwrap();
        let writer = spawn(&log, |log| {
            for number in 1..3 {
                let offset = log.append(&value(1, number)).unwrap();
                assert!(log.high_watermark() > offset);
            }
        });
        let switch = spawn(&log, |log| {
            let always = log.config().durability(Durability::Always);
            log.reconfigure(always).unwrap();
            assert!(log.flushed_offset() > 0, "flushed before it is switched");
        });
        let mut before = 1;
        for _ in 0..6 {
            let now = log.high_watermark();
            assert!(now >= before, "{before}, then {now}");
            before = now;
        }
        writer.join().unwrap();
        switch.join().unwrap();
        assert_eq!((log.high_watermark(), log.flushed_offset()), (3, 3));
    });
}

#[test]
fn a_close_that_fails_among_appends_confirms_nothing_later_in_any_order() {
    check(|| {
        let (sim, log) = new_log(Durability::Always);
        log.append(&value(1, 0)).unwrap();
        sim.record();
        // The close cannot note that the directory is complete.
        sim.fail(Fault {
            at: At::Operation(sim.operations() + 4),
            error: Failure::Eio,
            repeat: Repeat::Forever,
        });
        let sim_of_writer = sim.clone();
        let writer = spawn(&log, move |log| {
            let appended = log.append(&value(1, 1));
            // Whatever it is told, the record is flushed if it is acknowledged.
            appended.is_ok().then(|| sim_of_writer.operations())
        });
        let closed = log.close();
        let over = sim.operations();
        let acknowledged = writer.join().unwrap();
        let mut late = sim.trace().into_iter();
        let late = late.find(|made| made.number >= over && made.kind == Kind::SyncData);
        assert_eq!(
            late, None,
            "a sync after the close, which answered {closed:?}"
        );
        assert!(acknowledged.is_none() || log.flushed_offset() == 2);
    });
}

/// One log is compacted, truncated and closed while another one syncs the marks of both.
#[test]
fn two_logs_of_one_root_in_any_order() {
    check_long(|| {
        let sim = Sim::new();
        let host = marks::host(&sim);
        let [first, second] = [0, 1].map(|partition| marks::log_of(&host, partition));
        for log in [&first, &second] {
            for number in 0..3 {
                log.append(&value(1, number)).unwrap();
            }
        }
        let closer = spawn(&first, |log| {
            log.truncate(2).unwrap();
            log.close_managed().unwrap();
        });
        let reader = spawn(&second, |log| {
            for record in or_closed(log.reader(Start::Latest)).into_iter().flatten() {
                or_closed(record);
            }
            for offset in [2, 1] {
                assert!(or_closed(log.read(offset)).is_none_or(|found| found.is_some()));
            }
        });
        let syncer = spawn(&second, |log| {
            log.flush().unwrap();
            log.truncate_prefix(1).unwrap();
            log.close_managed().unwrap();
        });
        closer.join().unwrap();
        reader.join().unwrap();
        syncer.join().unwrap();
        assert_tidy(&sim);
        // As a broker does once all its logs are closed.
        host.marks.sync(host.clock.instant()).unwrap();
        let after = sim.crash(Choice::None);
        let host = marks::host(&after);
        for (partition, range) in [(0, 0..2), (1, 1..3)] {
            let log = marks::log_of(&host, partition);
            assert_eq!(log.start_offset()..log.end_offset(), range);
            assert!(log.open_report().clean, "{:?}", log.open_report());
            log.close_managed().unwrap();
        }
    });
}
