//! A disk that is full, under a broker: topics, their records, and the commits of a group.
//!
//! Knows nothing about what takes how much space: the disk is filled at random sizes, so that any
//! call may be the one that finds no room. What is owed:
//!
//! 1. The call answers `NoSpace`, and did nothing.
//! 2. Everything acknowledged can be read, and dropping the oldest records works.
//! 3. With space everything goes on, without opening anything again.
//! 4. After a kill, or after a close on the full disk, everything acknowledged is there.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::{Rng, Scale, Whereabouts};
use crate::broker::{Broker, BrokerConfig};
use crate::clock::Clock;
use crate::disk::Access;
use crate::disk::sim::{Choice, Sim};
use crate::error::{Error, Result};
use crate::group::Consumer;
use crate::recovery::OpenEvent;
use crate::topic::{Topic, TopicConfig};
use crate::types::{Durability, Offset, PartitionId, Start, WriteMode};

const PARTITIONS: u32 = 2;

/// A broker on a disk, and what it acknowledged.
struct Life {
    sim: Sim,
    durability: Durability,
    broker: Broker,
    topic: Topic,
    consumer: Consumer,
    /// The values of each partition from offset 0 on.
    values: BTreeMap<PartitionId, Vec<Vec<u8>>>,
    /// Where each partition was read to, and committed.
    read: BTreeMap<PartitionId, Offset>,
    committed: BTreeMap<PartitionId, Offset>,
    rng: Rng,
}

fn open(sim: &Sim, durability: Durability) -> Result<Broker> {
    let config = BrokerConfig::default()
        .manual_upkeep(true)
        .durability(durability);
    Broker::open_on(sim.disk(), Clock::System, Path::new("/data"), config)
}

fn is_full<T: std::fmt::Debug>(result: &Result<T>) -> bool {
    match result {
        Ok(_) => false,
        Err(Error::NoSpace { .. }) => true,
        Err(error) => panic!("a full disk is told as {error:?}"),
    }
}

impl Life {
    fn new(mode: WriteMode, durability: Durability, seed: u64) -> Self {
        let sim = Sim::new();
        let broker = open(&sim, durability).unwrap();
        let config = TopicConfig::default()
            .partitions(PARTITIONS)
            .segment_bytes(2048)
            .write_mode(mode);
        let topic = broker.create_topic("t", config).unwrap();
        let consumer = broker.group("g").unwrap().join(["t"]).unwrap();
        Self {
            sim,
            durability,
            broker,
            topic,
            consumer,
            values: BTreeMap::new(),
            read: BTreeMap::new(),
            committed: BTreeMap::new(),
            rng: Rng(seed),
        }
    }

    fn append(&mut self, bytes: u64) -> Result<()> {
        let partition = self.rng.below(PARTITIONS.into()) as u32;
        let values = self.values.entry(partition).or_default();
        let mut value = format!("{partition}@{};", values.len()).into_bytes();
        value.resize(value.len() + bytes as usize, b'.');
        let appended = self.topic.append_to(partition, &value)?;
        assert_eq!(appended, values.len() as u64);
        values.push(value);
        Ok(())
    }

    fn consume(&mut self) -> Result<()> {
        let records = self.consumer.poll(Duration::ZERO).unwrap();
        for record in &records {
            let next = self.read.entry(record.partition).or_default();
            assert_eq!(*next, record.offset);
            *next += 1;
        }
        self.consumer.commit()?;
        self.committed.clone_from(&self.read);
        Ok(())
    }

    /// Fills the disk; gives how often a call was refused.
    fn fill(&mut self) -> u64 {
        let mut refused = 0;
        for turn in 0.. {
            let outcome = match turn % 7 {
                3 => self.consume(),
                5 => {
                    let broker = &self.broker;
                    let made = broker.create_topic_if_absent("more", TopicConfig::default());
                    match made {
                        Ok(_) => self.broker.delete_topic("more"),
                        Err(error) => Err(error),
                    }
                }
                _ => {
                    let bytes = self.rng.below(300);
                    self.append(bytes)
                }
            };
            refused += u64::from(is_full(&outcome));
            if refused == 4 {
                break;
            }
        }
        refused
    }

    /// Rule 2.
    fn hold(&self) {
        for (partition, values) in &self.values {
            let log = self.topic.partition(*partition).unwrap();
            assert_eq!(log.end_offset(), values.len() as u64);
            let from = log.start_offset();
            let read = log.reader(Start::Earliest).unwrap();
            let read: Vec<_> = read.map(|r| r.unwrap().value().unwrap().to_vec()).collect();
            assert_eq!(read, values[from as usize..], "partition {partition}");
        }
        let group = self.broker.group("g").unwrap();
        for (partition, committed) in &self.committed {
            let there = group.committed("t", *partition).unwrap();
            assert_eq!(there, Some(*committed), "partition {partition}");
        }
    }

    /// The broker after the end of its process, on a disk with space.
    fn restart(&mut self) {
        let sim = self.sim.process_crash();
        sim.set_capacity(None);
        self.broker = open(&sim, self.durability).unwrap();
        self.sim = sim;
        self.topic = self.broker.topic("t").unwrap();
        self.consumer = self.broker.group("g").unwrap().join(["t"]).unwrap();
        self.read.clone_from(&self.committed);
    }
}

fn check(mode: WriteMode, durability: Durability, room: u64) {
    let _told = Whereabouts(|| format!("{mode:?}, {durability:?}, {room} bytes of room"));
    let mut life = Life::new(mode, durability, room);
    for _ in 0..6 {
        life.append(100).unwrap();
    }
    life.consume().unwrap();
    life.sim.set_capacity(Some(life.sim.used() + room));
    life.fill();
    life.hold();
    let log = life.topic.partition(0).unwrap();
    log.truncate_prefix(log.high_watermark() / 2).unwrap();
    life.hold();
    if room.is_multiple_of(3) {
        life.sim.set_capacity(Some(0));
        is_full(&life.broker.close());
        life.restart();
    } else {
        life.sim.set_capacity(None);
    }
    for _ in 0..3 {
        life.append(200).unwrap();
        life.consume().unwrap();
    }
    life.hold();
    life.restart();
    life.hold();
    life.append(10).unwrap();
    life.consume().unwrap();
    life.broker.close().unwrap();
}

#[test]
fn a_broker_on_a_full_disk_refuses_loses_nothing_and_goes_on_with_space() {
    let fills = Scale::asked().of(50, 500, 5_000);
    let mut done = 0;
    for round in 0.. {
        for mode in [WriteMode::Pwrite, WriteMode::Auto, WriteMode::Mapped] {
            for durability in [Durability::Os, Durability::Always] {
                check(mode, durability, round * 97);
                done += 1;
            }
        }
        if done >= fills {
            break;
        }
    }
    println!("full disks under a broker: {done}, 0 lost, all went on");
}

/// A topic with small segments and one to be deleted, on a disk that copies on every write.
fn on_copy_on_write(sim: &Sim) -> (Broker, Topic) {
    let broker = open(sim, Durability::Os).unwrap();
    let config = TopicConfig::default().segment_bytes(2048);
    let topic = broker.create_topic_if_absent("t", config).unwrap();
    let deleted = broker.create_topic_if_absent("d", TopicConfig::default());
    deleted.unwrap().append("a record").unwrap();
    for _ in 0..100 {
        topic
            .append("a record of a topic that fills the disk")
            .unwrap();
    }
    broker.flush().unwrap();
    (broker, topic)
}

/// Lets no call have any space that is not free already.
fn fill_up(sim: &Sim) {
    sim.set_capacity(Some(sim.used()));
}

#[test]
fn on_a_full_copy_on_write_disk_what_frees_space_works_and_so_do_closing_and_opening() {
    let sim = Sim::new();
    sim.set_copies_on_write(true);
    let (broker, topic) = on_copy_on_write(&sim);
    fill_up(&sim);
    while !is_full(&topic.append("one more record")) {}
    let log = topic.partition(0).unwrap();
    log.truncate_prefix(log.end_offset() / 2).unwrap();
    while !is_full(&topic.append("one more record")) {}
    let limit = |config: TopicConfig| config.retention_bytes(Some(1));
    broker.alter_topic("t", limit).unwrap();
    let report = broker.upkeep().unwrap();
    assert!(
        report.segments_deleted > 0 && report.problems.is_empty(),
        "{report:?}"
    );
    while !is_full(&topic.append("one more record")) {}
    broker.delete_topic("d").unwrap();
    while !is_full(&topic.append("one more record")) {}
    let end = log.end_offset();
    broker.close().unwrap();
    drop((log, topic, broker));
    fill_up(&sim);
    let broker = open(&sim, Durability::Os).unwrap();
    assert!(broker.open_report().clean, "{:?}", broker.open_report());
    let topic = broker.topic("t").unwrap();
    assert_eq!(topic.partition(0).unwrap().end_offset(), end);
    assert_eq!(broker.topic_names(), ["t"]);
}

/// What happens to a root between the opening on a full disk and the first append.
#[derive(Clone, Copy, Debug)]
enum Before {
    Nothing,
    /// It is closed, now that there is space, and opened again.
    AClose,
    /// It is closed and opened again before there is space.
    ACloseWithoutSpace,
}

/// A power cut took records that a group had read and committed, and there is no space to set the
/// commit back: what is appended from then on must not come under it.
fn append_after_a_commit_that_could_not_be_set_back(before: Before, capacity: u64) -> bool {
    let sim = Sim::new();
    let broker = open(&sim, Durability::Os).unwrap();
    let config = TopicConfig::default().write_mode(WriteMode::Pwrite);
    let topic = broker.create_topic("t", config).unwrap();
    topic.append("before the cut").unwrap();
    broker.flush().unwrap();
    let records = Path::new("/data/t-0/00000000000000000000.log");
    let kept = sim.disk().file_len(records).unwrap();
    for _ in 0..5 {
        topic.append("lost in the cut").unwrap();
    }
    let mut consumer = broker.group("g").unwrap().join(["t"]).unwrap();
    let mut read = 0;
    while read < 6 {
        read += consumer.poll(Duration::ZERO).unwrap().len();
    }
    consumer.commit().unwrap();
    std::mem::forget((consumer, topic, broker));
    // The system had written the commit back, and not the records.
    let sim = sim.crash(Choice::All);
    let file = sim.disk().open(records, Access::Write).unwrap();
    file.set_len(kept).unwrap();
    drop(file);
    sim.set_capacity(Some(capacity));
    let Ok(mut broker) = open(&sim, Durability::Os) else {
        return false;
    };
    let report = broker.open_report().clone();
    let mut topic = broker.topic("t").unwrap();
    assert_eq!(topic.partition(0).unwrap().end_offset(), 1, "{report:?}");
    let told = |event: &OpenEvent| format!("{event:?}").contains("could be set back");
    let is_left = report.events.iter().any(told);
    match before {
        Before::Nothing => sim.set_capacity(None),
        Before::AClose => {
            sim.set_capacity(None);
            broker.close().unwrap();
            drop(topic);
            broker = open(&sim, Durability::Os).unwrap();
            topic = broker.topic("t").unwrap();
        }
        Before::ACloseWithoutSpace => {
            drop(broker.close());
            drop(topic);
            broker = open(&sim, Durability::Os).unwrap();
            topic = broker.topic("t").unwrap();
            sim.set_capacity(None);
        }
    }
    for _ in 0..8 {
        topic.append("after the cut").unwrap();
    }
    let mut consumer = broker.group("g").unwrap().join(["t"]).unwrap();
    let mut read = Vec::new();
    while !read.contains(&8) {
        let records = consumer.poll(Duration::ZERO).unwrap();
        read.extend(records.iter().map(|record| record.offset));
    }
    assert_eq!(read, (1..9).collect::<Vec<_>>(), "{before:?} {capacity}");
    is_left
}

#[test]
fn nothing_is_appended_under_a_commit_that_could_not_be_set_back() {
    let ways = [Before::Nothing, Before::AClose, Before::ACloseWithoutSpace];
    for before in ways {
        let leaves =
            |capacity: u64| append_after_a_commit_that_could_not_be_set_back(before, capacity);
        let (mut some, mut none) = (0, 1 << 30);
        assert!(leaves(some) && !leaves(none), "{before:?}");
        while none - some > 1 {
            let between = some.midpoint(none);
            if leaves(between) {
                some = between;
            } else {
                none = between;
            }
        }
        // With so little space, other steps of the opening find some each time.
        for less in (0..3_000).step_by(50) {
            leaves(some.saturating_sub(less));
        }
    }
}

/// As it is when another program took what was given up.
#[test]
fn without_any_space_a_root_opens_with_marks_that_it_does_not_trust_and_loses_nothing() {
    let sim = Sim::new();
    sim.set_copies_on_write(true);
    let (broker, topic) = on_copy_on_write(&sim);
    let end = topic.partition(0).unwrap().end_offset();
    drop((topic, broker));
    let ballast = Path::new("/data/ottla.ballast");
    for killed in [false, true] {
        let sim = if killed {
            sim.process_crash()
        } else {
            sim.clone()
        };
        sim.set_capacity(None);
        if killed {
            let (broker, topic) = on_copy_on_write(&sim);
            std::mem::forget((topic, broker));
        }
        let sim = sim.process_crash();
        sim.disk().remove_file(ballast).unwrap();
        fill_up(&sim);
        // What must be rewritten at an opening is refused, and is there at the next one.
        drop(open(&sim, Durability::Os));
        let marks = crate::dir::Marks::open(&sim.disk(), Path::new("/data/ottla.marks"));
        let marks = marks.unwrap();
        assert!(
            is_full(&marks.sync(Clock::System.instant())),
            "they are not durable"
        );
        drop(marks);
        sim.set_capacity(None);
        let broker = open(&sim, Durability::Os).unwrap();
        let log = broker.topic("t").unwrap().partition(0).unwrap();
        let wanted = if killed { 2 * end } else { end };
        assert_eq!(log.end_offset(), wanted);
        assert_eq!(
            log.reader(0).unwrap().map(Result::unwrap).count() as u64,
            wanted
        );
        drop(log);
        broker.close().unwrap();
        assert!(sim.disk().exists(ballast).unwrap(), "it is set aside again");
    }
}
