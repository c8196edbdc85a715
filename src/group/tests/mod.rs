//! Groups over real logs on a simulated disk, without a broker.

mod always_on;
mod commits;
mod histories;
mod kafkas_commits;
mod reading;
mod rebalance;
mod truncation;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::dir::Marks;
use crate::disk::sim::Sim;
use crate::host::Host;
use crate::log::Log;
use crate::recovery::{OpenEvent, OpenMode};
use crate::sync::Mutex;
use crate::topic::{
    ConsumerRecord, PartitionDir, Topic, TopicConfig, TopicDirectory, TopicShared, TopicSource,
};
use crate::types::{CleanupPolicy, Durability, Record, Timestamp, TopicId, TopicName};

const ROOT: &str = "/data";
const NOW: Duration = Duration::ZERO;
/// Long enough that only a failure waits for it.
const LONG: Duration = Duration::from_secs(600);
const MINUTE: Duration = Duration::from_secs(60);

/// A root: a disk, a clock that a test moves, topics, groups.
struct Root {
    sim: Sim,
    clock: Arc<ManualClock>,
    host: Arc<Host>,
    durability: Durability,
    directory: Arc<TopicDirectory>,
    coordinator: Coordinator,
    topics: Mutex<Vec<Arc<TopicShared>>>,
    lives: Mutex<u8>,
}

/// `__consumer_offsets` of such a root.
struct Offsets(Arc<TopicShared>);

impl OffsetLogs for Offsets {
    fn lost(&self, _partition: PartitionId) -> Option<Error> {
        None
    }

    fn count(&self) -> u32 {
        self.0.partition_count()
    }

    fn find(&self, partition: PartitionId) -> Result<Option<Log>> {
        if self.0.dir(partition).exists(&self.0.host().disk)? {
            self.make(partition).map(Some)
        } else {
            Ok(None)
        }
    }

    fn make(&self, partition: PartitionId) -> Result<Log> {
        self.0.log(partition).cloned()
    }
}

impl Root {
    fn new() -> Self {
        Self::open(Sim::new(), Durability::Os)
    }

    fn open(sim: Sim, durability: Durability) -> Self {
        let disk = sim.disk();
        if !disk.exists(Path::new(ROOT)).unwrap() {
            disk.create_dir(Path::new(ROOT)).unwrap();
            disk.sync_dir(Path::new("/")).unwrap();
        }
        let marks = Marks::open(&disk, &Path::new(ROOT).join("ottla.marks")).unwrap();
        let clock = ManualClock::at(Timestamp::from_millis(1_000_000));
        let host = Host::new(disk, Clock::Manual(Arc::clone(&clock)), marks, true);
        let directory = TopicDirectory::new();
        let source = source_of(&host, "__consumer_offsets", 0, durability);
        let config = TopicConfig::default()
            .partitions(50)
            .cleanup_policy(CleanupPolicy::Compact);
        let offsets = TopicShared::new(TopicSource {
            config,
            sparse: true,
            ..source
        });
        let coordinator = Coordinator::new(CoordinatorSource {
            host: Arc::clone(&host),
            directory: Arc::clone(&directory),
            offsets: Box::new(Offsets(Arc::clone(&offsets))),
            read_only: false,
            tidied: false,
            retention: Some(7 * 24 * 60 * MINUTE),
        });
        Self {
            sim,
            clock,
            host,
            durability,
            directory,
            coordinator,
            topics: Mutex::new(vec![offsets]),
            lives: Mutex::new(0),
        }
    }

    /// Makes a topic, or opens it as it was left: the n-th one of a root has the n-th id.
    fn topic(&self, name: &str, partitions: u32) -> Topic {
        self.topic_with(name, TopicConfig::default().partitions(partitions))
    }

    fn topic_with(&self, name: &str, config: TopicConfig) -> Topic {
        let life = {
            let mut lives = self.lives.lock();
            *lives += 1;
            *lives
        };
        let partitions = config.partitions;
        let source = source_of(&self.host, name, life, self.durability);
        let shared = TopicShared::new(TopicSource { config, ..source });
        shared.make_dirs(0..partitions).unwrap();
        self.directory.insert(Arc::clone(&shared));
        self.topics.lock().push(Arc::clone(&shared));
        Topic::new(shared)
    }

    fn delete_topic(&self, name: &str) {
        let gone = self.directory.remove(name).unwrap();
        gone.delete();
        self.coordinator.forget_topic(name, None).unwrap();
        let partitions = 0..gone.partition_count();
        partitions.for_each(|id| {
            assert!(PartitionDir::remove(&self.sim.disk(), gone.dir(id).path()).unwrap());
        });
    }

    fn group(&self, id: &str) -> ConsumerGroup {
        self.coordinator.group(id).unwrap()
    }

    fn close(self) -> Sim {
        self.coordinator.close().unwrap();
        self.topics.lock().iter().for_each(|topic| {
            topic.begin_closing();
            for partition in 0..topic.partition_count() {
                topic.close_partition(partition).unwrap();
            }
        });
        self.sim.process_crash()
    }

    /// A wait for `timeout` on the test's clock.
    fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
}

fn source_of(host: &Arc<Host>, name: &str, life: u8, durability: Durability) -> TopicSource {
    TopicSource {
        host: Arc::clone(host),
        root: Arc::from(Path::new(ROOT)),
        name: TopicName::new(name).unwrap(),
        id: TopicId([life.wrapping_add(100); 16]),
        config: TopicConfig::default(),
        durability,
        mode: OpenMode::Write,
        sparse: false,
    }
}

/// Appends `count` records to each partition, which say where they are.
/// What is put right after an opening that was not clean.
fn recovered(coordinator: &Coordinator) -> Vec<OpenEvent> {
    let mut events = Vec::new();
    coordinator.recover(&mut events, &mut Vec::new()).unwrap();
    events
}

fn fill(topic: &Topic, count: u64) {
    for partition in 0..topic.partition_count() {
        for _ in 0..count {
            let next = topic.partition(partition).unwrap().end_offset();
            let value = format!("{partition}@{next}");
            topic.append_to(partition, Record::new(&value)).unwrap();
        }
    }
}

/// What records say of themselves, which must be where they are.
fn places(records: ConsumerRecords) -> Vec<(PartitionId, Offset)> {
    let place = |record: ConsumerRecord| {
        let says = std::str::from_utf8(record.value().unwrap())
            .unwrap()
            .to_owned();
        assert_eq!(says, format!("{}@{}", record.partition, record.offset));
        (record.partition, record.offset)
    };
    records.into_iter().map(place).collect()
}

fn numbers(partitions: &[(String, PartitionId)]) -> Vec<PartitionId> {
    partitions.iter().map(|(_, partition)| *partition).collect()
}

/// Polls what is there, and returns the numbers of the partitions lost and gained.
fn changes(consumer: &mut Consumer) -> (Vec<PartitionId>, Vec<PartitionId>) {
    let records = consumer.poll(NOW).unwrap();
    (numbers(records.lost()), numbers(records.gained()))
}
