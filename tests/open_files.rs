//! Many partitions in use with few descriptors: the bound on open files, in processes whose
//! `RLIMIT_NOFILE` is 256.
//!
//! A test binary of its own: each test starts this program again through a shell that lowers the
//! limit first, since the crate reads it once. Plain `cargo test` uses 1,500 partitions,
//! `OTTLA_PROOF=ci` also 10,000.
//!
//! Knows nothing about which files are closed when.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ottla::{
    Broker, BrokerConfig, CleanupPolicy, Durability, Log, LogConfig, Record, Start, TopicConfig,
};

/// What `ulimit -n` says in the child.
const LIMIT: usize = 256;

/// Half of it, and some for calls that are under way and for what the test's own process has.
const OPEN_MAX: usize = LIMIT / 2 + 32;

/// Names the part that a child runs.
const PART: &str = "OTTLA_OPEN_FILES_PART";

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn check_open_files(when: &str) {
    let open = open_files();
    assert!(open <= OPEN_MAX, "{open} files are open {when}");
}

/// Runs a part in a process that may have few descriptors; in that process, runs it here.
fn with_few_descriptors(test: &str, part: impl FnOnce(&Path)) {
    if std::env::var_os(PART).is_some() {
        let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        return part(scratch.path());
    }
    let program = std::env::current_exe().unwrap();
    let script = format!("ulimit -n {LIMIT} && exec \"$0\" --exact \"$1\" --nocapture");
    let child = Command::new("sh")
        .args(["-c", &script])
        .arg(program)
        .arg(test)
        .env(PART, test)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&child.stdout);
    let error = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{told}\n{error}");
}

/// Appends to every partition, twice around, with a roll in between for the first ones.
fn append_to_all(broker: &Broker, partitions: u32) {
    let topic = broker.topic("t").unwrap();
    for round in 0..2_u32 {
        for partition in 0..partitions {
            let payload = [u8::try_from(round).unwrap(); 600];
            topic.append_to(partition, Record::new(&payload)).unwrap();
            if partition % 500 == 0 {
                check_open_files("while appending");
            }
        }
    }
}

/// Polls until every record was there once, and commits.
fn consume_all(broker: &Broker, partitions: u32) {
    let mut consumer = broker.group("g").unwrap().join(["t"]).unwrap();
    let mut seen = BTreeMap::new();
    let mut count = 0;
    while count < 2 * partitions {
        let records = consumer.poll(Duration::from_secs(60)).unwrap();
        assert!(!records.is_empty(), "{count} of {}", 2 * partitions);
        for record in records {
            let next = seen.entry(record.partition).or_insert(0);
            assert_eq!(record.offset, *next);
            *next += 1;
            count += 1;
        }
        check_open_files("while polling");
    }
    assert_eq!(seen.len(), usize::try_from(partitions).unwrap());
    consumer.commit().unwrap();
    drop(consumer);
}

fn use_many(dir: &Path, partitions: u32, durability: Durability) {
    let before = open_files();
    let config = BrokerConfig::default().durability(durability);
    let broker = Broker::open_with(dir, config.clone()).unwrap();
    let config_of_topic = TopicConfig::default()
        .partitions(partitions)
        .segment_bytes(1024);
    broker.create_topic("t", config_of_topic).unwrap();
    append_to_all(&broker, partitions);
    consume_all(&broker, partitions);
    broker.flush().unwrap();
    broker.upkeep().unwrap();
    check_open_files("before the close");
    broker.close().unwrap();
    drop(broker);
    assert_eq!(open_files(), before, "a close gives everything back");

    let broker = Broker::open_with(dir, config).unwrap();
    assert!(broker.open_report().clean, "{:?}", broker.open_report());
    let topic = broker.topic("t").unwrap();
    for partition in 0..partitions {
        let log = topic.partition(partition).unwrap();
        assert!(log.open_report().clean, "{:?}", log.open_report());
        assert_eq!(log.reader(Start::Earliest).unwrap().count(), 2);
    }
    let mut consumer = broker.group("g").unwrap().join(["t"]).unwrap();
    let again = consumer.poll(Duration::ZERO).unwrap();
    assert!(again.is_empty(), "{} records came twice", again.len());
    check_open_files("after reading all again");
    broker.close().unwrap();
}

#[test]
fn fifteen_hundred_partitions_are_used_with_256_descriptors() {
    with_few_descriptors(
        "fifteen_hundred_partitions_are_used_with_256_descriptors",
        |dir| {
            use_many(&dir.join("os"), 1_500, Durability::Os);
            use_many(&dir.join("always"), 200, Durability::Always);
        },
    );
}

#[test]
fn ten_thousand_partitions_are_used_with_256_descriptors() {
    if std::env::var_os("OTTLA_PROOF").is_none() {
        println!("skipped: OTTLA_PROOF=ci runs it");
        return;
    }
    with_few_descriptors(
        "ten_thousand_partitions_are_used_with_256_descriptors",
        |dir| use_many(dir, 10_000, Durability::Os),
    );
}

#[test]
fn a_broker_keeps_to_the_bound_that_it_is_given_and_readers_go_on() {
    let part = |dir: &Path| {
        let before = open_files();
        let config = BrokerConfig::default()
            .max_open_files(8)
            .manual_upkeep(true);
        let broker = Broker::open_with(dir, config).unwrap();
        let config = TopicConfig::default().partitions(40).segment_bytes(1024);
        let topic = broker.create_topic("t", config).unwrap();
        let mut readers: Vec<_> = (0..40)
            .map(|at| topic.partition(at).unwrap().reader(0).unwrap())
            .collect();
        for round in 0..20_u64 {
            for partition in 0..40 {
                topic.append_to(partition, Record::new(&[7; 300])).unwrap();
            }
            for reader in &mut readers {
                assert_eq!(reader.next().unwrap().unwrap().offset, round);
            }
            let open = open_files() - before;
            // The lock takes two, and one is listing them.
            assert!(open <= 8 + 4, "{open} files are open in round {round}");
        }
        broker.close().unwrap();
    };
    with_few_descriptors(
        "a_broker_keeps_to_the_bound_that_it_is_given_and_readers_go_on",
        part,
    );
}

#[test]
fn readers_of_handles_that_only_look_keep_to_the_bound_and_go_on() {
    const PARTITIONS: u32 = 200;
    let part = |dir: &Path| {
        let broker = Broker::open_with(dir, BrokerConfig::default().manual_upkeep(true)).unwrap();
        let config = TopicConfig::default()
            .partitions(PARTITIONS)
            .segment_bytes(1024)
            .cleanup_policy(CleanupPolicy::Compact);
        let topic = broker.create_topic("t", config).unwrap();
        for partition in 0..PARTITIONS {
            for number in 0..10_u8 {
                let (key, value) = ([number % 2], [number; 300]);
                topic
                    .append_to(partition, Record::keyed(&key, &value))
                    .unwrap();
            }
        }
        let unused = TopicConfig::default().partitions(PARTITIONS);
        broker.create_topic("unused", unused).unwrap();
        let looking = Broker::open_read_only(dir).unwrap();
        let seen = looking.topic("t").unwrap();
        let logs = (0..PARTITIONS).map(|at| seen.partition(at).unwrap());
        let mut readers: Vec<_> = logs.map(|log| log.reader(0).unwrap()).collect();
        for reader in &mut readers {
            assert_eq!(reader.next().unwrap().unwrap().offset, 0);
        }
        check_open_files("with a reader in every first segment");
        // Partitions that nobody has written to have no file at all.
        let unused = looking.topic("unused").unwrap();
        let logs = (0..PARTITIONS).map(|at| unused.partition(at).unwrap());
        let mut idle: Vec<_> = logs.map(|log| log.reader(0).unwrap()).collect();
        assert!(idle.iter_mut().all(|reader| reader.next().is_none()));
        check_open_files("with a reader in every unused partition");
        for partition in (0..PARTITIONS).step_by(2) {
            topic.partition(partition).unwrap().compact().unwrap();
            check_open_files("while all is compacted");
        }
        for (reader, partition) in readers.iter_mut().zip(0..PARTITIONS) {
            let offsets: Vec<_> = reader.map(|record| record.unwrap().offset).collect();
            assert!(
                offsets.is_sorted() && offsets.ends_with(&[8, 9]),
                "{offsets:?}"
            );
            let all = (1..10).collect::<Vec<_>>();
            assert!(partition % 2 == 0 || offsets == all, "{offsets:?}");
        }
        check_open_files("when all is read");
        broker.close().unwrap();
    };
    with_few_descriptors(
        "readers_of_handles_that_only_look_keep_to_the_bound_and_go_on",
        part,
    );
}

#[test]
fn logs_that_stand_alone_share_the_bound_of_the_process() {
    let part = |dir: &Path| {
        // Each holds its lock (two descriptors) and its marks for as long as it is open.
        let config = LogConfig::default().segment_bytes(1024);
        let logs: Vec<_> = (0..30)
            .map(|at| Log::open(dir.join(at.to_string()), config.clone()).unwrap())
            .collect();
        let held = open_files();
        let mut readers: Vec<_> = logs.iter().map(|log| log.reader(0).unwrap()).collect();
        for round in 0..20 {
            for log in &logs {
                log.append(&[7; 300]).unwrap();
            }
            for reader in &mut readers {
                assert_eq!(reader.next().unwrap().unwrap().offset, round);
            }
            // Each log has a thread of its own that seals, with some files open for one call.
            let open = open_files();
            assert!(
                open <= held.max(LIMIT / 2) + 2 * logs.len(),
                "{open} are open"
            );
        }
        for log in logs {
            log.close().unwrap();
        }
        drop(readers);
    };
    with_few_descriptors("logs_that_stand_alone_share_the_bound_of_the_process", part);
}
