//! A real disk that is full: what frees space works, closing and opening work, and nothing that was
//! acknowledged is lost.
//!
//! Runs on the file system that `OTTLA_FULL_DISK` names, which it fills: `tests/real_disks.sh`
//! makes one of 300 MB for it, a copy-on-write one, on which even overwriting needs space.
//!
//! Knows nothing about the crate's inside.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::env;
use std::fs;
use std::path::Path;

use ottla::{Broker, BrokerConfig, Error, Result, Topic, TopicConfig, verify};

fn is_full<T: std::fmt::Debug>(answer: &Result<T>) -> bool {
    match answer {
        Ok(_) => false,
        Err(Error::NoSpace { .. }) => true,
        Err(error) => panic!("a full disk is told as {error:?}"),
    }
}

fn open(dir: &Path) -> Result<Broker> {
    Broker::open_with(dir, BrokerConfig::default().manual_upkeep(true))
}

/// Appends until nothing fits any more, not even a small record.
fn fill(topic: &Topic, ends: &mut [u64; 2]) {
    for size in [1 << 16, 1 << 10, 10] {
        let value = vec![7; size];
        let mut refused = 0;
        for turn in 0.. {
            let partition = turn % 2;
            let appended = topic.append_to(partition, &value);
            if is_full(&appended) {
                refused += 1;
            } else {
                ends[usize::try_from(partition).unwrap()] = appended.unwrap() + 1;
            }
            if refused == 20 {
                break;
            }
        }
    }
}

/// Fills what is left of the disk with another program's file.
fn stuff(dir: &Path) {
    for size in [1 << 20, 1 << 12, 100] {
        for number in 0.. {
            let path = dir.join(format!("stuffing-{size}-{number}"));
            if fs::write(&path, vec![9; size]).is_err() {
                break;
            }
        }
    }
}

/// Frees the space of every file that [`stuff`] made.
fn unstuff(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn a_full_disk_stops_neither_retention_nor_deleting_nor_closing_nor_opening() {
    let Some(disk) = env::var_os("OTTLA_FULL_DISK") else {
        println!("full disks: SKIPPED: OTTLA_FULL_DISK names no file system to fill");
        return;
    };
    let disk = Path::new(&disk);
    let dir = disk.join("root");
    let broker = open(&dir).unwrap();
    let config = TopicConfig::default().partitions(2).segment_bytes(4 << 20);
    let topic = broker.create_topic("t", config).unwrap();
    let other = broker
        .create_topic("other", TopicConfig::default())
        .unwrap();
    other.append("a record").unwrap();
    broker.flush().unwrap();
    let mut ends = [0; 2];
    fill(&topic, &mut ends);
    stuff(disk);
    broker.close().unwrap();
    drop((topic, other, broker));

    stuff(disk);
    let broker = open(&dir).unwrap();
    let topic = broker.topic("t").unwrap();
    let log = topic.partition(1).unwrap();
    log.truncate_prefix(log.end_offset() / 2).unwrap();
    stuff(disk);
    let limit = |config: TopicConfig| config.retention_bytes(Some(1 << 20));
    broker.alter_topic("t", limit).unwrap();
    let report = broker.upkeep().unwrap();
    assert!(
        report.segments_deleted > 0 && report.problems.is_empty(),
        "{report:?}"
    );
    stuff(disk);
    broker.delete_topic("other").unwrap();
    stuff(disk);
    broker.close().unwrap();
    drop((log, topic, broker));

    let broker = open(&dir).unwrap();
    let topic = broker.topic("t").unwrap();
    for (partition, end) in (0..).zip(ends) {
        let log = topic.partition(partition).unwrap();
        assert_eq!(log.end_offset(), end);
        let read = log.reader(log.start_offset()).unwrap().map(Result::unwrap);
        assert_eq!(
            read.count(),
            usize::try_from(end - log.start_offset()).unwrap()
        );
    }
    unstuff(disk);
    topic.append("and on").unwrap();
    broker.close().unwrap();
    let report = verify(&dir).unwrap();
    assert!(report.is_spotless(), "{report}");
    println!(
        "full disks: closed, opened, forgot and deleted on a full {}",
        disk.display()
    );
}
