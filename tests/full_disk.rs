//! A real disk that is full: what frees space works, closing and opening work, and nothing that was
//! acknowledged is lost.
//!
//! The first test runs on the file system that `OTTLA_FULL_DISK` names, which it fills:
//! `tests/real_disks.sh` makes one of 300 MB for it, a copy-on-write one, on which even overwriting
//! needs space. The second mounts a small one in memory, where it may.
//!
//! Knows nothing about the crate's inside.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

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

/// A file system in memory, which goes with the value.
struct Mounted(PathBuf);

impl Mounted {
    fn run(command: &str, arguments: &[&str], dir: &Path) -> bool {
        let run = Command::new(command).args(arguments).arg(dir).output();
        run.is_ok_and(|output| output.status.success())
    }

    /// `None` where this process may not mount.
    fn new(dir: PathBuf, size: &str) -> Option<Self> {
        fs::create_dir(&dir).unwrap();
        let size = format!("size={size}");
        let arguments = ["-t", "tmpfs", "-o", &size, "tmpfs"];
        Self::run("mount", &arguments, &dir).then_some(Self(dir))
    }

    fn grow(&self, size: &str) {
        let size = format!("remount,size={size}");
        assert!(Self::run("mount", &["-o", &size], &self.0));
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        Self::run("umount", &[], &self.0);
    }
}

#[test]
fn a_backup_onto_a_full_disk_is_not_taken_for_whole_and_the_next_one_finishes_it() {
    let scratch = tempfile::tempdir().unwrap();
    let Some(disk) = Mounted::new(scratch.path().join("small"), "1m") else {
        println!("full disks: SKIPPED: a backup onto one: nothing may be mounted here");
        return;
    };
    let broker = open(&scratch.path().join("root")).unwrap();
    let config = TopicConfig::default().segment_bytes(256 << 10);
    let topic = broker.create_topic("t", config).unwrap();
    for number in 0..3000_u32 {
        let value = [&number.to_be_bytes()[..], &[7; 1000]].concat();
        topic.append(&value).unwrap();
    }
    let dest = disk.0.join("backup");
    // Twice, for the second finds what the first has left; the third has no room for anything.
    for _ in 0..2 {
        assert!(is_full(&broker.backup(&dest)));
        let opened = open(&dest);
        assert!(
            matches!(opened, Err(Error::Unsupported { .. })),
            "{opened:?}"
        );
    }
    stuff(&disk.0);
    assert!(is_full(&broker.backup(&dest)));
    assert!(open(&dest).is_err());
    let empty = disk.0.join("empty");
    assert!(is_full(&broker.backup(&empty)));
    assert!(!empty.join("ottla.backup").exists());

    unstuff(&disk.0);
    disk.grow("16m");
    let report = broker.backup(&dest).unwrap();
    assert!(report.bytes_copied < report.bytes, "{report:?}");
    broker.backup(&empty).unwrap();
    for dir in [&dest, &empty] {
        assert!(verify(dir).unwrap().is_spotless());
        let copy = open(dir).unwrap();
        let all = copy.topic("t").unwrap().reader(ottla::Start::Earliest);
        let values = all.unwrap().map(|record| {
            let record = record.unwrap();
            u32::from_be_bytes(record.value().unwrap()[..4].try_into().unwrap())
        });
        assert!(values.eq(0..3000));
    }
    // The root is as it was.
    topic.append("and on").unwrap();
    broker.close().unwrap();
}
