//! How fast a log is compacted, and what appends notice of it.
//!
//! ```text
//! cargo bench --bench compaction                    a million keys, about half a minute
//! cargo bench --bench compaction -- --keys 100000
//! ```
//!
//! Everything fits in memory: these are the costs of the code and of the page cache. MB/s count the
//! bytes of the segments that were read. Latencies are of single appends in a loop without a pause,
//! the slowest of all first what they are about: an append never waits for a compaction, but it
//! shares the machine with it.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "a bench times by the real clock, fails by panicking and prints a table"
)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ottla::{CleanupPolicy, CompactionReport, Compression, Log, LogConfig, Record};
use tempfile::TempDir;

const VALUE_BYTES: usize = 100;
const PER_BATCH: u64 = 100;
/// How long appends are timed at least.
const WATCHED: Duration = Duration::from_secs(3);

fn scratch() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn config() -> LogConfig {
    LogConfig::default()
        .segment_bytes(64 << 20)
        .cleanup_policy(CleanupPolicy::Compact)
}

/// Appends `count` records over `keys` keys, in an order that looks like none.
fn fill(log: &Log, keys: u64, count: u64, per_batch: u64) {
    let value = [b'v'; VALUE_BYTES];
    for batch in 0..count / per_batch {
        let numbers = batch * per_batch..(batch + 1) * per_batch;
        let keys: Vec<_> = numbers
            .map(|number| (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20) % keys)
            .map(u64::to_be_bytes)
            .collect();
        log.append_batch(keys.iter().map(|key| Record::keyed(key, &value)))
            .unwrap();
    }
}

fn tell(name: &str, report: &CompactionReport, took: Duration) {
    let megabytes = report.read_bytes as f64 / 1e6;
    println!(
        "{name:<34} {:>8.0} {:>8.0} {:>9.2} {:>9.0} {:>7}",
        megabytes,
        report.written_bytes as f64 / 1e6,
        took.as_secs_f64(),
        megabytes / took.as_secs_f64(),
        report.rounds,
    );
}

struct Case {
    name: &'static str,
    config: LogConfig,
    per_batch: u64,
    /// Records a key.
    times: u64,
}

fn throughput(keys: u64) {
    println!(
        "{:<34} {:>8} {:>8} {:>9} {:>9} {:>7}",
        "", "MB read", "MB out", "seconds", "MB/s", "rounds"
    );
    let cases = [
        Case {
            name: "4 records a key, batches of 100",
            config: config(),
            per_batch: PER_BATCH,
            times: 4,
        },
        Case {
            name: "4 records a key, batches of one",
            config: config(),
            per_batch: 1,
            times: 4,
        },
        Case {
            name: "the same with lz4, batches of 100",
            config: config().compression_type(Compression::Lz4),
            per_batch: PER_BATCH,
            times: 4,
        },
        Case {
            name: "memory for a quarter of the keys",
            config: config().dedupe_buffer_bytes((keys * 24 / 4).max(1024)),
            per_batch: PER_BATCH,
            times: 4,
        },
    ];
    for case in cases {
        let dir = scratch();
        let log = Log::open(dir.path(), case.config).unwrap();
        fill(&log, keys, keys * case.times, case.per_batch);
        log.flush().unwrap();
        let began = Instant::now();
        let report = log.compact().unwrap();
        tell(case.name, &report, began.elapsed());
        let began = Instant::now();
        let again = log.compact().unwrap();
        if case.per_batch == PER_BATCH && again.written_bytes == 0 {
            tell(
                "  and again, when nothing is to do",
                &again,
                began.elapsed(),
            );
        }
    }
}

/// Times appends for as long as something else goes on.
fn watch(log: &Log, over: &AtomicBool) -> Vec<u64> {
    let value = [b'w'; VALUE_BYTES];
    let mut nanos = Vec::with_capacity(20_000_000);
    let mut number = 0_u64;
    while !over.load(Ordering::Relaxed) && nanos.len() < nanos.capacity() {
        let key = (number % 1000).to_be_bytes();
        let began = Instant::now();
        log.append(Record::keyed(&key, &value)).unwrap();
        nanos.push(u64::try_from(began.elapsed().as_nanos()).unwrap());
        number += 1;
    }
    nanos
}

fn latencies(keys: u64) {
    println!();
    println!(
        "{:<34} {:>9} {:>8} {:>8} {:>8} {:>8} {:>9}",
        "nanoseconds of an append", "appends", "50%", "99%", "99.9%", "99.99%", "slowest"
    );
    for compacts in [false, true] {
        let dir = scratch();
        let log = Log::open(dir.path(), config()).unwrap();
        fill(&log, keys, keys * 2, PER_BATCH);
        log.flush().unwrap();
        let over = AtomicBool::new(false);
        let mut rounds = 0;
        let mut nanos = thread::scope(|scope| {
            let watched = scope.spawn(|| watch(&log, &over));
            let began = Instant::now();
            while began.elapsed() < WATCHED {
                if compacts {
                    log.compact().unwrap();
                    rounds += 1;
                } else {
                    thread::park_timeout(WATCHED.saturating_sub(began.elapsed()));
                }
            }
            over.store(true, Ordering::Relaxed);
            watched.join().unwrap()
        });
        nanos.sort_unstable();
        // In ten thousandths.
        let at = |share: usize| {
            let place = nanos.len().saturating_mul(share) / 10_000;
            nanos.get(place).copied().unwrap_or(0)
        };
        let name = if compacts {
            format!("while {rounds} compactions run")
        } else {
            "nothing else runs".to_owned()
        };
        println!(
            "{name:<34} {:>9} {:>8} {:>8} {:>8} {:>8} {:>9}",
            nanos.len(),
            at(5000),
            at(9900),
            at(9990),
            at(9999),
            nanos.last().copied().unwrap_or(0),
        );
    }
}

fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--keys");
    let keys = arguments.nth(1).and_then(|keys| keys.parse().ok());
    let keys = keys.unwrap_or(1_000_000);
    throughput(keys);
    latencies(keys);
}
