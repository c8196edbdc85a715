//! (h) A root of 1,000 topics and of 1 GB: a broker starts on it, and what it leaves is opened
//! without reading it.
//!
//! Knows nothing about the bytes.

use std::fs;
use std::path::Path;
use std::time::Instant;

use ottla::{Broker, BrokerConfig, Record, Start, Topic, TopicConfig};

use crate::broker::{KafkaBroker, Plan};
use crate::driver::Driver;
use crate::jars::{tell, with_newest_kafka};
use crate::random::Random;

const TOPICS: u64 = 1000;
const PARTITIONS: u32 = 4;
const LARGE: &str = "large";
const LARGE_BYTES: u64 = 1 << 30;
const VALUE_BYTES: usize = 64 << 10;
const BATCH: usize = 12;

/// What opening may read of it all: a segment of the large topic is 64 MiB.
const READ_MAX: u64 = 16 << 20;

#[test]
fn a_large_root_starts_under_a_broker_and_is_opened_without_reading_it() {
    with_newest_kafka("a_large_root", |kafka| {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("data");
        let records = fill(&root);
        let began = Instant::now();
        let plan = Plan {
            heap_mib: 1024,
            ..Plan::default()
        };
        let broker = KafkaBroker::start(kafka, &root, &plan);
        let started = began.elapsed();
        let mut driver = Driver::start(kafka);
        let topics = driver.ask(&["topics", &broker.address]);
        let small = topics.iter().filter(|line| line.starts_with("topic-"));
        let whole = format!("\t{PARTITIONS}\t");
        assert_eq!(small.filter(|line| line.contains(&whole)).count(), 1000);
        let seen = driver.ask(&["read", &broker.address, "topic-617", "read_uncommitted"]);
        assert!(
            seen.iter().any(|line| line.contains("x746f7069632d363137")),
            "{seen:?}"
        );
        broker.stop();

        let before = bytes_read();
        let began = Instant::now();
        let broker = Broker::open_with(&root, config()).unwrap();
        let opened = began.elapsed();
        assert!(broker.open_report().clean, "{:?}", broker.open_report());
        assert_eq!(broker.topic_names().len(), 1001);
        let large = broker.topic(LARGE).unwrap();
        assert_eq!(append(&large, 1), records / u64::from(PARTITIONS));
        let read = bytes_read() - before;
        assert!(read <= READ_MAX, "{read} bytes were read");
        let last = broker.topic("topic-617").unwrap();
        let records = last.partition(3).unwrap().reader(Start::Earliest).unwrap();
        assert_eq!(records.count(), 1);
        broker.close().unwrap();
        tell(&format!(
            "kafka: (h) large {}: 1000 topics of 4 partitions and 1 GB: a broker starts in \
             {started:.0?}; what it leaves opens in {opened:.0?}, of which {} KiB are read",
            kafka.version,
            read >> 10,
        ));
    });
}

fn config() -> BrokerConfig {
    BrokerConfig::default().manual_upkeep(true)
}

/// Makes the root; gives how many records the large topic has.
fn fill(root: &Path) -> u64 {
    let broker = Broker::open_with(root, config()).unwrap();
    for number in 0..TOPICS {
        let name = format!("topic-{number}");
        let topic = broker
            .create_topic(&name, TopicConfig::default().partitions(PARTITIONS))
            .unwrap();
        topic.append_to(3, Record::new(&name)).unwrap();
    }
    let settings = TopicConfig::default()
        .partitions(PARTITIONS)
        .segment_bytes(64 << 20);
    let large = broker.create_topic(LARGE, settings).unwrap();
    let batches = LARGE_BYTES / (VALUE_BYTES * BATCH) as u64 / u64::from(PARTITIONS) + 1;
    append(&large, batches);
    drop(large);
    broker.close().unwrap();
    batches * BATCH as u64 * u64::from(PARTITIONS)
}

/// Appends so many batches to each partition; gives the offset of the first in partition 0.
fn append(topic: &Topic, batches: u64) -> u64 {
    let mut random = Random::new(1);
    let mut value = vec![0; VALUE_BYTES];
    let mut first = None;
    for _ in 0..batches {
        for partition in 0..PARTITIONS {
            for word in value.chunks_exact_mut(8) {
                word.copy_from_slice(&random.next().to_le_bytes());
            }
            let log = topic.partition(partition).unwrap();
            let offsets = log
                .append_batch((0..BATCH).map(|_| Record::new(&value)))
                .unwrap();
            if partition == 0 {
                first.get_or_insert(offsets.start);
            }
        }
    }
    first.unwrap()
}

/// What this process has read so far, from files and pipes, in bytes.
fn bytes_read() -> u64 {
    let text = fs::read_to_string("/proc/self/io").unwrap();
    let line = text.lines().find(|line| line.starts_with("rchar:"));
    line.unwrap()[6..].trim().parse().unwrap()
}
