//! Compaction, and what a thread that appends feels of it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ottla::{CleanupPolicy, Log, LogConfig, Record};

use crate::rows::{Figure, Rows};
use crate::tools::{Random, VALUE_BYTES, Values, scratch};

pub(crate) fn rows(rows: &Rows) {
    let keys: u64 = rows.effort.pick(200_000, 1_000_000);
    let mut speeds = Vec::new();
    for _ in 0..rows.effort.pick(1, 3) {
        let dir = scratch();
        let log = keyed_log(dir.path(), keys, keys * 3);
        let began = Instant::now();
        let report = log.compact().unwrap();
        speeds.push(report.read_bytes as f64 / began.elapsed().as_secs_f64() / 1e6);
    }
    Rows::line(
        &format!("compaction, {keys} keys, each three times, MB/s read"),
        ">= 300",
        Figure::of(speeds),
        None,
    );
}

/// A log with this many records of keys in random order, in batches of a hundred.
fn keyed_log(dir: &Path, keys: u64, records: u64) -> Log {
    let config = LogConfig::default()
        .cleanup_policy(CleanupPolicy::Compact)
        .segment_bytes(64 << 20);
    let log = Log::open(dir, config).unwrap();
    let mut random = Random(9);
    let mut values = Values::new(9, VALUE_BYTES);
    for _ in 0..records / 100 {
        let batch: Vec<_> = (0..100)
            .map(|_| (random.below(keys).to_be_bytes(), values.next().to_vec()))
            .collect();
        let records = batch.iter().map(|(key, value)| Record::keyed(key, value));
        log.append_batch(records).unwrap();
    }
    log
}

/// How long each of so many appends took while a log rolls every 64 MiB, longest last.
fn stalls(appends: u64, busy: bool) -> Vec<f64> {
    let (dir, beside) = (scratch(), scratch());
    let config = LogConfig::default()
        .segment_bytes(64 << 20)
        .retention_bytes(busy.then_some(256 << 20));
    let log = Log::open(dir.path(), config).unwrap();
    let compacted = busy.then(|| keyed_log(beside.path(), 200_000, 600_000));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        if let Some(compacted) = &compacted {
            scope.spawn(|| {
                while !over.load(Ordering::Acquire) {
                    log.apply_retention().unwrap();
                    compacted.compact().unwrap();
                    std::thread::park_timeout(Duration::from_millis(50));
                }
            });
        }
        let mut values = Values::new(8, VALUE_BYTES);
        let mut took: Vec<f64> = (0..appends)
            .map(|_| {
                let value = values.next();
                let began = Instant::now();
                log.append(value).unwrap();
                began.elapsed().as_secs_f64() * 1e6
            })
            .collect();
        over.store(true, Ordering::Release);
        took.sort_by(f64::total_cmp);
        took
    })
}

pub(crate) fn stall_rows(rows: &Rows) {
    // Eleven segments, or three.
    let appends: u64 = rows.effort.pick(1_200_000, 4_500_000);
    let (alone, busy) = (stalls(appends, false), stalls(appends, true));
    let lines = [
        ("p99", 0.99, ""),
        ("p99.99", 0.9999, "<= 1000 us more"),
        ("worst", 1.0, ""),
    ];
    for (name, share, goal) in lines {
        let at = |took: &[f64]| {
            let at = (took.len() as f64 * share) as usize;
            Figure::once(took.get(at.min(took.len() - 1)).copied().unwrap())
        };
        Rows::line(
            &format!("append while rolling, retention+compaction, {name}, us | without"),
            goal,
            at(&busy),
            Some(at(&alone)),
        );
    }
}
