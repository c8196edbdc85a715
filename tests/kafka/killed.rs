//! (k) A broker with many partitions is killed: opening and closing its root takes less time than
//! its own start takes on a copy, and reads the batches once.
//!
//! Knows nothing about the bytes. The times are printed and not checked: they depend on what else
//! the machine does. What is checked is how much is read, which is what decides them.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use ottla::{Broker, BrokerConfig};

use crate::broker::{KafkaBroker, Plan, write_properties};
use crate::driver::Driver;
use crate::jars::{Kafka, tell, with_each_kafka_if_all};

const TOPIC: &str = "killed";
const PARTITIONS: u32 = 1050;
/// Batches of 64 KiB of each partition: 2.4 GB in all.
const BATCHES: u64 = 36;
const RECORDS: u64 = 16 * BATCHES;
/// How often both are measured, in turn.
const ROUNDS: usize = 2;

#[test]
fn a_killed_brokers_root_opens_and_closes_in_less_time_than_the_broker_starts_in() {
    with_each_kafka_if_all("a_killed_brokers_root", |kafka| {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("data");
        let bytes = fill(kafka, &root);
        for _ in 0..ROUNDS {
            let by_kafka = start_of_the_broker(kafka, &root, scratch.path());
            let [open, close] = ours(&root, scratch.path(), bytes);
            let ratio = (open + close).as_secs_f64() / by_kafka.as_secs_f64();
            tell(&format!(
                "kafka: (k) killed {}: {PARTITIONS} partitions, {} MB: the broker starts in \
                 {by_kafka:.1?}; Ottla opens in {open:.1?} and closes in {close:.1?}: {ratio:.2}",
                kafka.version,
                bytes / 1_000_000,
            ));
        }
    });
}

fn plan() -> Plan {
    Plan {
        heap_mib: 1024,
        ..Plan::default()
    }
}

/// Makes the root of a broker that was killed; the length of all its segments.
fn fill(kafka: &Kafka, root: &Path) -> u64 {
    let mut driver = Driver::start(kafka);
    let (properties, _) = write_properties(root, &plan());
    let format = ["tool", "kafka.tools.StorageTool", "format", "-t"];
    let id = ["MkU3OEVBNTcwNTJENDM2Qg", "-c", properties.to_str().unwrap()];
    driver.ask(&[&format[..], &id[..]].concat());
    let broker = KafkaBroker::start(kafka, root, &plan());
    let partitions = PARTITIONS.to_string();
    let address = broker.address.as_str();
    driver.ask(&[
        "create",
        address,
        TOPIC,
        &partitions,
        "cleanup.policy=delete",
    ]);
    // Not all at once: the driver answers within two minutes.
    for _ in 0..6 {
        driver.ask(&[
            "fill",
            address,
            TOPIC,
            &partitions,
            &(BATCHES / 6).to_string(),
        ]);
    }
    broker.kill();
    let logs = (0..PARTITIONS).map(|partition| {
        let log = root.join(format!("{TOPIC}-{partition}/00000000000000000000.log"));
        fs::metadata(log).unwrap().len()
    });
    logs.sum()
}

/// A copy of a root, of which the disk has everything.
fn copy(root: &Path, to: &Path) {
    let mut copy = Command::new("cp");
    let copied = copy.arg("-a").args([root, to]).status().unwrap();
    assert!(copied.success());
    assert!(Command::new("sync").status().unwrap().success());
}

fn start_of_the_broker(kafka: &Kafka, root: &Path, scratch: &Path) -> Duration {
    let own = scratch.join("kafka");
    copy(root, &own);
    let began = Instant::now();
    let broker = KafkaBroker::start(kafka, &own, &plan());
    let started = began.elapsed();
    broker.kill();
    fs::remove_dir_all(own).unwrap();
    started
}

/// How long opening and closing takes.
fn ours(root: &Path, scratch: &Path, bytes: u64) -> [Duration; 2] {
    let own = scratch.join("ottla");
    copy(root, &own);
    let before = bytes_read();
    let began = Instant::now();
    let config = || BrokerConfig::default().manual_upkeep(true);
    let broker = Broker::open_with(&own, config()).unwrap();
    let opened = began.elapsed();
    let began = Instant::now();
    assert!(!broker.open_report().clean, "the broker was killed");
    broker.close().unwrap();
    let closed = began.elapsed();
    let read = bytes_read() - before;
    assert!(
        read < bytes + bytes / 4,
        "{read} bytes were read of {bytes}"
    );
    let broker = Broker::open_with(&own, config()).unwrap();
    assert!(broker.open_report().clean, "{:?}", broker.open_report());
    let topic = broker.topic(TOPIC).unwrap();
    for partition in 0..PARTITIONS {
        assert_eq!(topic.partition(partition).unwrap().end_offset(), RECORDS);
    }
    broker.close().unwrap();
    fs::remove_dir_all(own).unwrap();
    [opened, closed]
}

/// What this process has read so far, from files and pipes, in bytes.
fn bytes_read() -> u64 {
    let text = fs::read_to_string("/proc/self/io").unwrap();
    let line = text.lines().find(|line| line.starts_with("rchar:"));
    line.unwrap()[6..].trim().parse().unwrap()
}
