//! Too many open files: an error, after which everything goes on; and how many files a log of many
//! segments keeps open.
//!
//! A test binary of its own with one test, for it takes every descriptor that the process may have.
//!
//! Knows nothing about which calls open files. Plain `cargo test` tries every fifth number,
//! `OTTLA_PROOF=ci` all.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and takes descriptors by opening files"
)]

use std::cell::Cell;
use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use ottla::{Broker, Error, Log, LogConfig, Record, Result, Start, Topic, TopicConfig};

/// Descriptors that are left, in turn: up to this many.
const LEFT_MAX: usize = 40;

const FILES_MAX: usize = 64;
const PARTITIONS: u32 = 3;

/// Takes every descriptor but so many.
fn leave(left: usize) -> Vec<File> {
    let mut held = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        held.push(file);
    }
    held.truncate(held.len().saturating_sub(left));
    held
}

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// A little of everything; `acknowledged` counts what was appended, whatever comes then. Both ends
/// of a partition are cut, which opens files that must not be missing half-way.
fn use_broker(broker: &Broker, acknowledged: &Cell<u64>) -> Result<()> {
    let config = TopicConfig::default()
        .partitions(PARTITIONS)
        .segment_bytes(1024);
    let topic = broker.create_topic_if_absent("t", config)?;
    for at in 0..60 {
        topic.append_to(at % PARTITIONS, Record::new(&[7; 50]))?;
        acknowledged.set(acknowledged.get() + 1);
    }
    broker.flush()?;
    count(&topic)?;
    let mut consumer = broker.group("g")?.join(["t"])?;
    drop(consumer.poll(Duration::ZERO)?);
    consumer.commit()?;
    broker.upkeep()?;
    let log = topic.partition(0)?;
    let end = log.end_offset();
    log.append(&[7; 50])?;
    log.truncate(end)?;
    Ok(())
}

fn count(topic: &Topic) -> Result<u64> {
    let mut count = 0;
    for partition in 0..topic.partition_count() {
        for record in topic.partition(partition)?.reader(Start::Earliest)? {
            record?;
            count += 1;
        }
    }
    Ok(count)
}

/// The error that a lack of descriptors is. What cannot be opened for a sync is no failed sync.
fn is_io(error: &Error) -> bool {
    matches!(error, Error::Io { .. })
}

/// With so few descriptors each call is answered; with all of them again, nothing is missing.
fn check_starved(dir: &Path, left: usize) -> [bool; 2] {
    let acknowledged = Cell::new(0);
    let held = leave(left);
    let opened = Broker::open(dir);
    let used = opened.and_then(|broker| use_broker(&broker, &acknowledged));
    drop(held);
    if let Err(error) = &used {
        assert!(is_io(error), "{left} left: {error:?}");
    }
    let broker = Broker::open(dir).unwrap();
    if acknowledged.get() > 0 {
        let found = count(&broker.topic("t").unwrap()).unwrap();
        assert!(found >= acknowledged.get(), "{left} left: {found}");
    }
    use_broker(&broker, &Cell::new(0)).unwrap();

    // The same while it is open: the calls fail, and succeed again, unless a sync failed.
    let before = count(&broker.topic("t").unwrap()).unwrap();
    let more = Cell::new(0);
    let held = leave(left);
    let starved = use_broker(&broker, &more);
    drop(held);
    let goes_on = use_broker(&broker, &more);
    if let Err(error) = &starved {
        assert!(is_io(error), "{left} left: {error:?}");
    }
    assert!(
        goes_on.is_ok(),
        "{left} left: {starved:?}, then {goes_on:?}"
    );
    broker.close().unwrap();
    drop(broker);
    let broker = Broker::open(dir).unwrap();
    assert!(broker.open_report().clean, "{left} left");
    let found = count(&broker.topic("t").unwrap()).unwrap();
    assert!(found >= before + more.get(), "{left} left: {found}");
    broker.close().unwrap();
    [used.is_ok(), starved.is_ok()]
}

#[test]
fn too_few_descriptors_are_an_error_and_many_segments_need_few() {
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (step, segments) = match std::env::var("OTTLA_PROOF") {
        Ok(_) => (1, 1_000),
        Err(_) => (5, 200),
    };
    let numbers: Vec<_> = (0..=LEFT_MAX).step_by(step).collect();
    let mut worked = [0; 2];
    for left in numbers.iter().copied() {
        let dir = scratch.path().join(left.to_string());
        let [fresh, open] = check_starved(&dir, left);
        worked[0] += usize::from(fresh);
        worked[1] += usize::from(open);
        fs::remove_dir_all(&dir).unwrap();
    }
    let tried = numbers.len();
    println!("descriptors: of {tried} numbers left, {worked:?} were enough to open, to go on");
    assert!(
        worked.iter().all(|count| (1..tried).contains(count)),
        "{worked:?}"
    );

    let dir = scratch.path().join("many");
    let before = open_files();
    let config = LogConfig::default().segment_bytes(1024);
    let log = Log::open(dir, config).unwrap();
    while log.segments().len() < segments {
        log.append(&[7; 900]).unwrap();
    }
    let written = open_files() - before;
    let mut readers: Vec<_> = (0..8)
        .map(|part| {
            let from = u64::try_from(part * segments / 8).unwrap();
            log.reader(from).unwrap()
        })
        .collect();
    let mut most = 0;
    for _ in 0..segments {
        for reader in &mut readers {
            drop(reader.next().transpose().unwrap());
        }
        most = most.max(open_files() - before);
    }
    println!("descriptors: {written} after writing {segments} segments, {most} while 8 read them");
    assert!(
        written <= FILES_MAX && most <= FILES_MAX,
        "{written} {most}"
    );
}
