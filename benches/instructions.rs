//! The hot paths, each so many times: for a counter of instructions, not for a clock.
//!
//! `benches/instructions.sh` runs this twice under callgrind for every path, with two counts, so
//! that what opening costs cancels out, and compares the difference with what is kept in
//! `benches/instructions.txt`.
//!
//! ```text
//! instructions <path> <count>
//! ```

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench fails by panicking and prints what it knows"
)]

use std::hint::black_box;
use std::time::Duration;

use ottla::{Broker, Durability, Log, LogConfig, Record, Timestamp, TopicConfig, WriteMode};

const VALUE: [u8; 100] = [0xA7; 100];
const PER_BATCH: usize = 100;

/// The paths, and how many records each of their rounds has.
const PATHS: [(&str, u64); 7] = [
    ("append", 1),
    ("append_pwrite", 1),
    ("append_batch", 100),
    ("topic_append", 1),
    ("read_batch", 100),
    ("read_random", 1),
    ("poll", 100),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, count] = arguments.as_slice() else {
        for (path, records) in PATHS {
            println!("{path} {records}");
        }
        return;
    };
    let rounds: usize = count.parse().unwrap();
    let dir = tempfile::tempdir().unwrap();
    match path.as_str() {
        "append" => append(&log(&dir, WriteMode::Auto), rounds),
        "append_pwrite" => append(&log(&dir, WriteMode::Pwrite), rounds),
        "append_batch" => append_batch(&log(&dir, WriteMode::Auto), rounds),
        "topic_append" => topic_append(&dir, rounds),
        "read_batch" => read_batch(&dir, rounds),
        "read_random" => read_random(&dir, rounds),
        "poll" => poll(&dir, rounds),
        other => println!("there is no path {other}"),
    }
}

/// A log that no flusher's thread disturbs.
fn log(dir: &tempfile::TempDir, mode: WriteMode) -> Log {
    let config = LogConfig::default().write_mode(mode);
    let log = Log::open(dir.path(), config.durability(Durability::Os)).unwrap();
    append(&log, 64);
    log
}

fn append(log: &Log, rounds: usize) {
    for _ in 0..rounds {
        black_box(log.append(black_box(&VALUE)).unwrap());
    }
}

fn append_batch(log: &Log, rounds: usize) {
    let records = [Record::new(&VALUE).with_timestamp(Timestamp::from_millis(1)); PER_BATCH];
    for _ in 0..rounds {
        black_box(log.append_batch(black_box(records)).unwrap());
    }
}

fn topic_append(dir: &tempfile::TempDir, rounds: usize) {
    let broker = Broker::open(dir.path()).unwrap();
    let config = TopicConfig::default().partitions(8);
    let topic = broker.create_topic("flights", config).unwrap();
    let keys: Vec<String> = (0..64).map(|number| format!("N{number:05}")).collect();
    let all = keys.iter().chain(keys.iter().cycle().take(rounds));
    for key in all {
        black_box(topic.append(Record::keyed(key, &VALUE)).unwrap());
    }
    // Nothing of the closing is to be counted.
    std::process::exit(0);
}

/// As many rounds are written as are read: the writing cancels out, for every count writes the
/// same.
const ROUNDS_WRITTEN: usize = 4_000;

fn read_batch(dir: &tempfile::TempDir, rounds: usize) {
    let log = log(dir, WriteMode::Auto);
    append_batch(&log, ROUNDS_WRITTEN);
    let mut reader = log.reader(64).unwrap();
    for _ in 0..rounds {
        let batch = reader.next_batch().unwrap().unwrap();
        for record in batch.records() {
            black_box((
                record.offset,
                record.timestamp,
                record.key(),
                record.value(),
            ));
        }
    }
}

fn read_random(dir: &tempfile::TempDir, rounds: usize) {
    let log = log(dir, WriteMode::Auto);
    append(&log, ROUNDS_WRITTEN * 10);
    let mut offset = 1;
    for _ in 0..rounds {
        offset = offset * 48_271 % 39_999;
        black_box(log.read(offset).unwrap().unwrap());
    }
}

fn poll(dir: &tempfile::TempDir, rounds: usize) {
    let broker = Broker::open(dir.path()).unwrap();
    let config = TopicConfig::default().partitions(1);
    let topic = broker.create_topic("flights", config).unwrap();
    append_batch(&topic.partition(0).unwrap(), ROUNDS_WRITTEN);
    let group = broker.group("board").unwrap();
    let mut consumer = group.join(["flights"]).unwrap();
    let mut left = rounds * PER_BATCH;
    while left > 0 {
        let records = consumer.poll(Duration::ZERO).unwrap();
        left = left.saturating_sub(records.len());
        for record in records {
            black_box((record.offset, record.key(), record.value()));
        }
    }
    std::process::exit(0);
}
