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
use std::path::Path;
use std::time::Duration;

use ottla::{Broker, Durability, Log, LogConfig, Record, Start, TopicConfig, WriteMode};

const VALUE: [u8; 100] = [0xA7; 100];
const PER_BATCH: usize = 100;

/// The paths, and how many records each of their rounds has.
const PATHS: [(&str, u64); 10] = [
    ("append", 1),
    ("append_followed", 1),
    ("append_pwrite", 1),
    ("append_batch", 100),
    ("topic_append", 1),
    ("read_batch", 100),
    ("read_singles", 1),
    ("read_iterator", 1),
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
    if path == FOLLOW {
        follow(Path::new(count));
    }
    let rounds: usize = count.parse().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    match path.as_str() {
        "append" => append(log(dir, WriteMode::Auto), rounds),
        "append_followed" => append_followed(dir, rounds),
        "append_pwrite" => append(log(dir, WriteMode::Pwrite), rounds),
        "append_batch" => append_batch(log(dir, WriteMode::Auto), rounds),
        "topic_append" => topic_append(dir, rounds),
        "read_batch" => read_batch(dir, rounds),
        "read_singles" => read_singles(dir, rounds),
        "read_iterator" => read_iterator(dir, rounds),
        "read_random" => read_random(dir, rounds),
        "poll" => poll(dir, rounds),
        other => println!("there is no path {other}"),
    }
    // Logs and brokers are left as they are: nothing of a closing is to be counted.
    drop(scratch);
    std::process::exit(0);
}

/// A log that is never closed.
fn log(dir: &Path, mode: WriteMode) -> &'static Log {
    let config = LogConfig::default().write_mode(mode);
    let log = Log::open(dir, config.durability(Durability::Os)).unwrap();
    append(&log, 64);
    Box::leak(Box::new(log))
}

fn append(log: &Log, rounds: usize) {
    for _ in 0..rounds {
        black_box(log.append(black_box(&VALUE)).unwrap());
    }
}

/// The role of a follower in a process of its own, whose instructions are not counted.
const FOLLOW: &str = "follow";

/// Waits for what is appended, until the process is ended.
fn follow(dir: &Path) -> ! {
    let log = Log::open_read_only(dir).unwrap();
    let mut reader = log.reader(Start::Latest).unwrap();
    loop {
        reader.wait(Duration::from_secs(1)).unwrap();
        for record in reader.by_ref() {
            black_box(record.unwrap());
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "nothing says when the writer has looked for those who wait"
)]
fn append_followed(dir: &Path, rounds: usize) {
    let log = log(dir, WriteMode::Auto);
    let mut follower = std::process::Command::new(std::env::current_exe().unwrap())
        .arg(FOLLOW)
        .arg(dir)
        .spawn()
        .unwrap();
    // Until the writer knows that somebody waits, and wakes it.
    for _ in 0..100 {
        append(log, 1);
        std::thread::sleep(Duration::from_millis(5));
    }
    append(log, rounds);
    follower.kill().unwrap();
    follower.wait().unwrap();
}

fn append_batch(log: &Log, rounds: usize) {
    let values = [VALUE; PER_BATCH];
    for _ in 0..rounds {
        let records = black_box(&values).iter().map(Record::new);
        black_box(log.append_batch(records).unwrap());
    }
}

fn topic_append(dir: &Path, rounds: usize) {
    let broker: &Broker = Box::leak(Box::new(Broker::open(dir).unwrap()));
    let config = TopicConfig::default().partitions(8);
    let topic = broker.create_topic("flights", config).unwrap();
    let keys: Vec<String> = (0..64).map(|number| format!("N{number:05}")).collect();
    let all = keys.iter().chain(keys.iter().cycle().take(rounds));
    for key in all {
        black_box(topic.append(Record::keyed(key, &VALUE)).unwrap());
    }
}

/// What is written to be read, whatever the count, so that it cancels out: less than wakes the
/// flusher, whose thread would be counted too.
const ROUNDS_WRITTEN: usize = 2_600;

fn read_batch(dir: &Path, rounds: usize) {
    let log = log(dir, WriteMode::Auto);
    append_batch(log, ROUNDS_WRITTEN);
    read_batches(log, 64, rounds);
}

fn read_singles(dir: &Path, rounds: usize) {
    let log = log(dir, WriteMode::Auto);
    append(log, ROUNDS_WRITTEN);
    read_batches(log, 0, rounds);
}

fn read_batches(log: &Log, from: u64, rounds: usize) {
    let mut reader = log.reader(from).unwrap();
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

fn read_iterator(dir: &Path, rounds: usize) {
    let log = log(dir, WriteMode::Auto);
    append_batch(log, ROUNDS_WRITTEN);
    let mut reader = log.reader(64).unwrap();
    for _ in 0..rounds {
        black_box(reader.next().unwrap().unwrap());
    }
}

fn read_random(dir: &Path, rounds: usize) {
    let log = log(dir, WriteMode::Auto);
    append(log, ROUNDS_WRITTEN * 10);
    let mut offset = 1;
    for _ in 0..rounds {
        offset = offset * 48_271 % 25_999;
        black_box(log.read(offset).unwrap().unwrap());
    }
}

fn poll(dir: &Path, rounds: usize) {
    let broker: &Broker = Box::leak(Box::new(Broker::open(dir).unwrap()));
    let config = TopicConfig::default().partitions(1);
    let topic = broker.create_topic("flights", config).unwrap();
    append_batch(&topic.partition(0).unwrap(), ROUNDS_WRITTEN);
    let group = broker.group("board").unwrap();
    let consumer = Box::leak(Box::new(group.join(["flights"]).unwrap()));
    let mut left = rounds * PER_BATCH;
    while left > 0 {
        let records = consumer.poll(Duration::ZERO).unwrap();
        left = left.saturating_sub(records.len());
        for record in records {
            black_box((record.offset, record.key(), record.value()));
        }
    }
}
