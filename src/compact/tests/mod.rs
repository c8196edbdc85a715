//! Compaction from inside: logs as Kafka leaves them, put down batch by batch on a simulated disk,
//! with a clock that the test moves.
//!
//! Knows nothing about how the passes work: what is checked is what the files hold afterwards.

#![expect(
    clippy::as_conversions,
    reason = "small numbers of a test, all of which fit"
)]

mod gaps;
mod horizons;
mod interleaved;
mod leftovers;
mod times;
mod transactions;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, ManualClock};
use crate::disk::sim::Sim;
use crate::format::{
    Attributes, BatchBuilder, BatchHeader, BatchKind, BatchOptions, ControlKind, ProducerStamp,
    check_crc, control::EndTransaction, file_name, stamp,
};
use crate::log::{Log, open_alone_on};
use crate::recovery::OpenMode;
use crate::types::LogConfig;
use crate::types::{CleanupPolicy, Offset, Record, Timestamp};

const DIR: &str = "/log";
/// The wall clock when a test begins.
const NOW_MS: i64 = 1_700_000_000_000;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A disk, a clock, and the log on it while it is open.
struct Bench {
    sim: Sim,
    clock: Arc<ManualClock>,
    config: LogConfig,
    log: Option<Log>,
}

/// Who writes a batch.
#[derive(Clone, Copy)]
struct By {
    producer: i64,
    epoch: i16,
    transactional: bool,
}

/// Nobody in particular.
const ANYBODY: By = By {
    producer: -1,
    epoch: -1,
    transactional: false,
};

/// A producer in a transaction.
const fn txn(producer: i64) -> By {
    By {
        producer,
        epoch: 0,
        transactional: true,
    }
}

/// A producer that numbers its records.
const fn idempotent(producer: i64) -> By {
    By {
        producer,
        epoch: 0,
        transactional: false,
    }
}

impl Bench {
    fn new() -> Self {
        let sim = Sim::new();
        sim.disk().create_dir(Path::new(DIR)).unwrap();
        sim.set_now(Timestamp::from_millis(NOW_MS));
        Self {
            sim,
            clock: ManualClock::at(Timestamp::from_millis(NOW_MS)),
            config: LogConfig::default()
                .cleanup_policy(CleanupPolicy::Compact)
                .segment_bytes(4096),
            log: None,
        }
    }

    /// Puts a segment on the disk as Kafka would have written it.
    fn put(&self, base: Offset, batches: &[Vec<u8>]) {
        let path = Path::new(DIR).join(file_name::log(base));
        self.sim.write_raw(path, &batches.concat()).unwrap();
    }

    fn open(&mut self) -> &Log {
        let clock = Clock::Manual(Arc::clone(&self.clock));
        let config = self.config.clone();
        let mode = OpenMode::Write;
        let log = open_alone_on(&self.sim.disk(), &clock, Path::new(DIR), config, mode, true);
        self.log.insert(log.unwrap())
    }

    fn log(&self) -> &Log {
        self.log.as_ref().unwrap()
    }

    /// Closes and opens again.
    fn reopen(&mut self) {
        self.log.take().unwrap().close().unwrap();
        let report = self.open().open_report().clone();
        assert!(report.clean, "{report:?}");
    }

    fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    /// The names of the files that end so.
    fn files(&self, suffix: &str) -> Vec<PathBuf> {
        let files = self.sim.files().into_iter().map(|(path, _)| path);
        files
            .filter(|path| path.to_str().unwrap().ends_with(suffix))
            .collect()
    }

    /// Every batch in the segments, checked.
    fn batches(&self) -> Vec<BatchHeader> {
        let mut found = Vec::new();
        for path in self.files(".log") {
            let bytes = self.sim.read(&path).unwrap();
            let mut rest = bytes.as_slice();
            while rest.iter().any(|byte| *byte != 0) {
                let header = BatchHeader::parse(rest).unwrap();
                check_crc(rest, &header).unwrap();
                rest = &rest[header.size..];
                found.push(header);
            }
        }
        assert!(found.is_sorted_by(|a, b| a.next_offset() <= b.base_offset));
        found
    }

    /// The batches in short: `0..2 #1` holds one record of the offsets 0 and 1; `c` is a control
    /// batch, `h` has a delete horizon.
    fn told(&self) -> Vec<String> {
        let tell = |header: &BatchHeader| {
            let flag = |on: bool, letter: &str| if on { letter.to_owned() } else { String::new() };
            format!(
                "{}..{} #{}{}{}",
                header.base_offset,
                header.next_offset(),
                header.record_count,
                flag(header.is_control(), "c"),
                flag(header.delete_horizon().is_some(), "h"),
            )
        };
        self.batches().iter().map(tell).collect()
    }

    /// What a reader finds: offset, key and value.
    fn content(&self) -> Vec<(Offset, String, Option<String>)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let log = self.log();
        let reader = log.reader(log.start_offset()).unwrap();
        reader
            .map(|record| {
                let record = record.unwrap();
                (
                    record.offset,
                    text(record.key().unwrap()),
                    record.value().map(text),
                )
            })
            .collect()
    }

    fn offsets(&self) -> Vec<Offset> {
        self.content().into_iter().map(|(at, ..)| at).collect()
    }
}

/// Records of one batch, a millisecond apart.
fn data(base: Offset, by: By, records: &[(&str, Option<&str>)]) -> Vec<u8> {
    let mut out = Vec::new();
    let options = BatchOptions {
        producer: producer(by, i32::try_from(base).unwrap()),
        kind: if by.transactional {
            BatchKind::TransactionalData
        } else {
            BatchKind::Data
        },
        ..BatchOptions::default()
    };
    let mut builder = BatchBuilder::new(&mut out, options);
    for (at, (key, value)) in records.iter().enumerate() {
        let time =
            Timestamp::from_millis(NOW_MS - 1000 + base.cast_signed() + at.cast_signed() as i64);
        let record = Record::from_parts(Some(key.as_bytes()), value.map(str::as_bytes));
        builder.push(&record.with_timestamp(time)).unwrap();
    }
    builder.finish().unwrap();
    stamp(&mut out, base, 0);
    out
}

fn producer(by: By, base_sequence: i32) -> Option<ProducerStamp> {
    (by.producer >= 0).then_some(ProducerStamp {
        id: by.producer,
        epoch: by.epoch,
        base_sequence,
    })
}

/// A control batch.
fn control(base: Offset, by: By, kind: ControlKind) -> Vec<u8> {
    let mut out = Vec::new();
    let options = BatchOptions {
        producer: producer(by, -1),
        kind: if by.transactional {
            BatchKind::TransactionMarker
        } else {
            BatchKind::Control
        },
        ..BatchOptions::default()
    };
    let mut builder = BatchBuilder::new(&mut out, options);
    let value = EndTransaction {
        coordinator_epoch: 0,
    }
    .encode();
    let key = kind.encode();
    let time = Timestamp::from_millis(NOW_MS - 1000 + base.cast_signed());
    let record = Record::from_parts(Some(&key), Some(&value)).with_timestamp(time);
    builder.push(&record).unwrap();
    builder.finish().unwrap();
    stamp(&mut out, base, 0);
    out
}

/// The attribute bits that a batch should have.
fn attributes(by: By) -> Attributes {
    let plain = Attributes::default();
    if by.transactional {
        plain.with_transactional()
    } else {
        plain
    }
}
