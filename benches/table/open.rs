//! Opening: after a clean close and after a crash; and what partitions cost that nobody uses.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use ottla::{Broker, BrokerConfig, Log, LogConfig, Record, Topic, TopicConfig};

use crate::rows::{Figure, Rows};
use crate::tools::{VALUE_BYTES, Values, scratch, width_of};

/// Set for the process that is to die with a tail that was never synced.
pub(crate) const CRASH: &str = "OTTLA_BENCH_CRASH";

/// Set for the process that is to open partitions and say what they cost.
pub(crate) const IDLE: &str = "OTTLA_BENCH_IDLE";

/// Bytes that are appended before the crash: below what the flusher syncs by itself.
const CRASH_BYTES: u64 = 30 << 20;

pub(crate) fn rows(rows: &Rows) {
    segments(rows);
    topics(rows);
    after_a_crash(rows);
}

fn millis(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}

/// Waits until the system has written back what was made for a row: on two cores, what it does
/// meanwhile costs a fifth of the row.
fn settle_disk() {
    assert!(Command::new("sync").status().unwrap().success());
}

fn segments(rows: &Rows) {
    let count: u64 = rows.effort.pick(1_000, 10_000);
    let dir = scratch();
    let config = LogConfig::default().segment_bytes(1024);
    let log = Log::open(dir.path(), config.clone()).unwrap();
    let mut values = Values::new(5, 900);
    while width_of(log.segments().len()) < count {
        log.append(values.next()).unwrap();
    }
    log.close().unwrap();
    settle_disk();
    let mut figures = (Vec::new(), Vec::new());
    for _ in 0..rows.effort.pick(5, 9) {
        let began = Instant::now();
        let log = Log::open(dir.path(), config.clone()).unwrap();
        figures.0.push(millis(began.elapsed()));
        assert!(log.open_report().clean);
        log.close().unwrap();
        let began = Instant::now();
        assert!(std::fs::read_dir(dir.path()).unwrap().count() > 0);
        figures.1.push(millis(began.elapsed()));
    }
    Rows::line(
        &format!("clean open of {count} segments, ms | floor: listing them"),
        if count == 10_000 {
            "<= 60 ms"
        } else {
            "<= 6 ms"
        },
        Figure::of(figures.0),
        Some(Figure::of(figures.1)),
    );
}

/// A closed root with so many topics of ten partitions, each filled by a closure.
fn fill(dir: &Path, topics: u32, fill: impl Fn(&Topic)) {
    let broker = Broker::open(dir).unwrap();
    for number in 0..topics {
        let config = TopicConfig::default().partitions(10);
        let name = format!("topic-{number}");
        fill(&broker.create_topic(&name, config).unwrap());
    }
    broker.close().unwrap();
}

fn topics(rows: &Rows) {
    let topics = rows.effort.pick(100, 1_000);
    let dir = scratch();
    fill(dir.path(), topics, |topic| {
        topic.append(Record::keyed("key", "value")).unwrap();
    });
    let mut figures = Vec::new();
    let mut closes = Vec::new();
    for _ in 0..rows.effort.pick(3, 5) {
        let began = Instant::now();
        let broker = Broker::open(dir.path()).unwrap();
        figures.push(millis(began.elapsed()));
        assert!(broker.open_report().clean);
        let began = Instant::now();
        broker.close().unwrap();
        closes.push(millis(began.elapsed()));
    }
    Rows::line(
        &format!("clean open of {topics} topics x 10 partitions, ms"),
        if topics == 1_000 {
            "<= 400 ms"
        } else {
            "<= 40 ms"
        },
        Figure::of(figures),
        None,
    );
    Rows::line(
        &format!("closing {topics} topics x 10 partitions, ms"),
        "",
        Figure::of(closes),
        None,
    );
}

/// What the other process does: appends, and is gone without closing.
pub(crate) fn append_and_die(dir: &Path) -> ! {
    let log = Log::open(dir, LogConfig::default()).unwrap();
    let mut values = Values::new(6, VALUE_BYTES);
    let mut bytes = 0;
    while bytes < CRASH_BYTES {
        let batch = values.many(100);
        log.append_batch(&batch).unwrap();
        bytes += width_of(100 * (VALUE_BYTES + 10));
    }
    std::process::abort();
}

fn after_a_crash(rows: &Rows) {
    let mut speeds = Vec::new();
    let mut with_rewrite = Vec::new();
    let mut floors = Vec::new();
    let mut written = Vec::new();
    for _ in 0..rows.effort.pick(2, 7) {
        let dir = scratch();
        let program = std::env::current_exe().unwrap();
        let died = Command::new(program)
            .env(CRASH, dir.path())
            .status()
            .unwrap();
        assert!(!died.success());
        // Warm: what a process that died had written is still in the page cache.
        let began = Instant::now();
        let log = Log::open_read_only(dir.path()).unwrap();
        let took = began.elapsed();
        let scanned = log.open_report().scanned_bytes;
        assert!(scanned >= CRASH_BYTES / 2, "{:?}", log.open_report());
        speeds.push(scanned as f64 / took.as_secs_f64() / 1e9);
        drop(log);
        let began = Instant::now();
        let log = Log::open(dir.path(), LogConfig::default()).unwrap();
        with_rewrite.push(scanned as f64 / began.elapsed().as_secs_f64() / 1e9);
        drop(log);
        let bytes = std::fs::read(dir.path().join(format!("{:020}.log", 0))).unwrap();
        let began = Instant::now();
        std::hint::black_box(crc_fast::crc32_iscsi(&bytes));
        floors.push(bytes.len() as f64 / began.elapsed().as_secs_f64() / 1e9);
        let again = File::create_new(dir.path().join("raw")).unwrap();
        let bytes = bytes.get(..usize::try_from(scanned).unwrap()).unwrap();
        let began = Instant::now();
        again.write_all_at(bytes, 0).unwrap();
        again.sync_data().unwrap();
        written.push(scanned as f64 / began.elapsed().as_secs_f64() / 1e9);
    }
    Rows::line(
        "open after a crash, scan alone, GB/s | floor: CRC in memory",
        ">= 5",
        Figure::of(speeds),
        Some(Figure::of(floors)),
    );
    Rows::line(
        "open after a crash, scan, rewrite, syncs, GB/s | floor: one write and a sync",
        "rewrite >= 2",
        Figure::of(with_rewrite),
        Some(Figure::of(written)),
    );
}

/// Bytes of this process that are in memory, and its open descriptors.
fn usage() -> (f64, usize) {
    let status = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let anonymous = status
        .lines()
        .find_map(|line| line.strip_prefix("Anonymous:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .and_then(|kilobytes| kilobytes.trim().parse::<f64>().ok());
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
    (anonymous.unwrap(), descriptors)
}

/// What the other process does: opens a broker, and says what that cost in KiB and descriptors.
pub(crate) fn open_and_tell(dir: &Path) {
    let before = usage();
    let config = BrokerConfig::default().manual_upkeep(true);
    let broker = Broker::open_with(dir, config).unwrap();
    let after = usage();
    println!("{} {}", after.0 - before.0, after.1 - before.1);
    drop(broker);
}

/// Partitions that were opened and are left alone.
pub(crate) fn idle_rows(rows: &Rows) {
    let topics = rows.effort.pick(100, 1_000);
    let dir = scratch();
    fill(dir.path(), topics, |topic| {
        for partition in 0..10 {
            topic.append_to(partition, "a record").unwrap();
        }
    });
    // In a process of its own, whose heap nothing was freed in before.
    let program = std::env::current_exe().unwrap();
    let told = Command::new(program)
        .env(IDLE, dir.path())
        .output()
        .unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    let (bytes, descriptors) = told.trim().split_once(' ').unwrap();
    Rows::line(
        &format!("{} idle partitions, KiB each", topics * 10),
        "<= 3",
        Figure::once(bytes.parse::<f64>().unwrap() / f64::from(topics) / 10.0),
        None,
    );
    Rows::line(
        &format!("{} idle partitions, descriptors in all", topics * 10),
        "<= 64",
        Figure::once(descriptors.parse().unwrap()),
        None,
    );
    let before = usage();
    let config = BrokerConfig::default().manual_upkeep(true);
    let broker = Broker::open_with(dir.path(), config).unwrap();
    // Used once and then left alone: what an append opened is given back by upkeep.
    for number in 0..topics {
        let topic = broker.topic(&format!("topic-{number}")).unwrap();
        topic.append_to(0, "another").unwrap();
    }
    broker.upkeep().unwrap();
    broker.upkeep().unwrap();
    Rows::line(
        &format!("{topics} of them used once and left, descriptors in all"),
        "<= 64",
        Figure::once((usage().1 - before.1) as f64),
        None,
    );
}
