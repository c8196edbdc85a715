//! Appending without durability: one by one, in batches, by one thread and by four.

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;

use ottla::{Log, LogConfig, Record, WriteMode};

use crate::rows::{Rows, timed};
use crate::tools::{MappedFile, VALUE_BYTES, Values, batch_bytes, scratch, width_of};

/// Bytes of one round: more than a last-level cache, less than a disk minds.
const ROUND_BYTES: u64 = 96 << 20;

pub(crate) fn rows(rows: &Rows) {
    one_by_one(rows, VALUE_BYTES, "<= 120 ns; floor x 1.5");
    for (value, name) in [(20, ""), (1 << 10, ""), (100 << 10, "")] {
        one_by_one(rows, value, name);
    }
    in_batches(rows, 100, "<= 1.0 (63 ns)");
    in_batches(rows, 1_000, "<= 1.0 (60 ns)");
    conditional(rows);
    four_threads(rows);
}

/// The same append with the end that it expects, beside the plain one.
fn conditional(rows: &Rows) {
    let records = records_of(rows, batch_bytes(1, VALUE_BYTES), 1);
    let at_end = || {
        let dir = scratch();
        let log = Log::open(dir.path(), LogConfig::default()).unwrap();
        let mut values = Values::new(1, VALUE_BYTES);
        timed(records, || {
            for number in 0..records {
                log.append_at(number, values.next()).unwrap();
            }
        })
    };
    Rows::compare(
        "append_at, 100 B, ns/record | beside: append",
        "<= 1.03",
        rows.effort.pick(5, 15),
        [
            Box::new(at_end),
            Box::new(|| ours(records, VALUE_BYTES, WriteMode::Auto)),
        ],
    );
}

fn records_of(rows: &Rows, batch: usize, per_batch: usize) -> u64 {
    let bytes = rows.effort.pick(ROUND_BYTES / 3, ROUND_BYTES);
    bytes / width_of(batch) * width_of(per_batch)
}

fn ours(records: u64, value: usize, mode: WriteMode) -> f64 {
    let dir = scratch();
    let log = Log::open(dir.path(), LogConfig::default().write_mode(mode)).unwrap();
    let mut values = Values::new(1, value);
    timed(records, || {
        for _ in 0..records {
            log.append(values.next()).unwrap();
        }
    })
}

fn one_by_one(rows: &Rows, value: usize, goal: &str) {
    let bytes = batch_bytes(1, value);
    let records = records_of(rows, bytes, 1);
    let name =
        |how: &str, floor: &str| format!("append, {value} B, {how}, ns/record | floor: {floor}");
    let rounds = rows.effort.pick(3, 9);
    Rows::compare(
        &name("Auto", "mapped copy+CRC"),
        goal,
        rounds,
        [
            Box::new(|| ours(records, value, WriteMode::Auto)),
            Box::new(|| mapped(records, bytes)),
        ],
    );
    Rows::compare(
        &name("Pwrite", "one pwrite"),
        "",
        rounds,
        [
            Box::new(|| ours(records, value, WriteMode::Pwrite)),
            Box::new(|| written(records, 1, bytes)),
        ],
    );
}

fn mapped(records: u64, bytes: usize) -> f64 {
    let dir = scratch();
    let mut file = MappedFile::new(dir.path());
    let mut batches = Values::new(2, bytes);
    timed(records, || {
        for _ in 0..records {
            black_box(crc_fast::crc32_iscsi(file.append(batches.next())));
        }
    })
}

fn written(records: u64, per_batch: u64, bytes: usize) -> f64 {
    let dir = scratch();
    let file = File::create_new(dir.path().join("raw")).unwrap();
    let mut batches = Values::new(2, bytes);
    timed(records, || {
        for number in 0..records / per_batch {
            let batch = batches.next();
            file.write_all_at(batch, number * width_of(bytes)).unwrap();
        }
    })
}

fn in_batches(rows: &Rows, per_batch: usize, goal: &str) {
    let bytes = batch_bytes(per_batch, VALUE_BYTES);
    let records = records_of(rows, bytes, per_batch);
    let ours = |mode: WriteMode| {
        let dir = scratch();
        let log = Log::open(dir.path(), LogConfig::default().write_mode(mode)).unwrap();
        let values = Values::new(1, VALUE_BYTES).many(per_batch);
        timed(records, || {
            for _ in 0..records / width_of(per_batch) {
                log.append_batch(values.iter().map(Record::new)).unwrap();
            }
        })
    };
    for (how, mode) in [("Auto", WriteMode::Auto), ("Pwrite", WriteMode::Pwrite)] {
        Rows::compare(
            &format!("append_batch of {per_batch}, {how}, ns/record | floor: one pwrite"),
            if mode == WriteMode::Auto { goal } else { "" },
            rows.effort.pick(3, 9),
            [
                Box::new(|| ours(mode)),
                Box::new(|| written(records, width_of(per_batch), bytes)),
            ],
        );
    }
}

/// Four threads on one log, beside one: the lock is what they share.
fn four_threads(rows: &Rows) {
    const THREADS: u64 = 4;
    let records = records_of(rows, batch_bytes(1, VALUE_BYTES), 1);
    let four = || {
        let dir = scratch();
        let log = Log::open(dir.path(), LogConfig::default()).unwrap();
        timed(records, || {
            std::thread::scope(|scope| {
                for seed in 1..=THREADS {
                    let log = &log;
                    scope.spawn(move || {
                        let mut values = Values::new(seed, VALUE_BYTES);
                        for _ in 0..records / THREADS {
                            log.append(values.next()).unwrap();
                        }
                    });
                }
            });
        })
    };
    Rows::compare(
        "append, 100 B, four threads, ns/record | beside: one thread",
        "",
        rows.effort.pick(3, 9),
        [
            Box::new(four),
            Box::new(|| ours(records, VALUE_BYTES, WriteMode::Auto)),
        ],
    );
}
