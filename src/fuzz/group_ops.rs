//! Any bytes as the life of a consumer group: members come, poll, commit, seek and go, the process
//! is killed and the power cut, against what every member was told.
//!
//! Knows nothing about rebalancing but its promises: a partition has one owner that may commit, a
//! member sees every record of what it owns once and in order, a commit survives what the broker's
//! durability says.
//!
//! Input: a byte of settings, and then two bytes a step: what to do, and to whom.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::broker::{Broker, BrokerConfig};
use crate::clock::{Clock, ManualClock};
use crate::disk::sim::{Choice, Sim};
use crate::error::Error;
use crate::group::{Assignor, Consumer, ConsumerConfig};
use crate::topic::{Topic, TopicConfig};
use crate::types::{Durability, Offset, PartitionId, Record, Timestamp, to_u64};

use super::sure;

/// Steps of one life.
const STEPS_MAX: usize = 96;
const PARTITIONS: u32 = 3;
const TOPIC: &str = "t";
const GROUP: &str = "g";

/// Lives through what the bytes say.
pub fn group_ops(data: &[u8]) {
    let Some((settings, steps)) = data.split_first() else {
        return;
    };
    let mut life = Life::new(*settings);
    for step in steps.chunks_exact(2).take(STEPS_MAX) {
        if let [what, how] = step {
            life.step(*what, *how);
            life.check();
        }
    }
    life.finish();
}

/// A consumer, and what it was told.
struct Member {
    consumer: Consumer,
    /// Where each of its partitions goes on.
    next: BTreeMap<PartitionId, Offset>,
}

struct Life {
    sim: Sim,
    clock: Arc<ManualClock>,
    durability: Durability,
    broker: Broker,
    topic: Topic,
    members: [Option<Member>; 3],
    /// What the group was given of each partition.
    given: BTreeMap<PartitionId, BTreeSet<Offset>>,
}

fn open(sim: &Sim, clock: &Arc<ManualClock>, durability: Durability) -> Broker {
    let config = BrokerConfig::default()
        .manual_upkeep(true)
        .durability(durability);
    let clock = Clock::Manual(Arc::clone(clock));
    let opened = Broker::open_on(sim.disk(), clock, Path::new("/data"), config);
    sure("the broker opens by itself", opened)
}

fn topic_of(broker: &Broker) -> Topic {
    let config = TopicConfig::default().partitions(PARTITIONS);
    let topic = broker.create_topic_if_absent(TOPIC, config.segment_bytes(2048));
    sure("the topic", topic)
}

impl Life {
    fn new(settings: u8) -> Self {
        let sim = Sim::new();
        let clock = ManualClock::at(Timestamp::from_millis(1_700_000_000_000));
        let durability = if settings & 1 == 0 {
            Durability::Os
        } else {
            Durability::Always
        };
        let broker = open(&sim, &clock, durability);
        Self {
            topic: topic_of(&broker),
            sim,
            clock,
            durability,
            broker,
            members: Default::default(),
            given: BTreeMap::new(),
        }
    }

    fn step(&mut self, what: u8, how: u8) {
        let slot = usize::from(how % 3);
        match what % 12 {
            0 | 1 => self.append(u32::from(how) % PARTITIONS, how / 3 % 4),
            2 => self.join(slot, how / 3),
            3..=5 => self.poll(slot),
            6 | 7 => self.commit(slot),
            8 => self.seek(slot, how / 3 % 8),
            9 => self.clock.advance(Duration::from_secs(how.into())),
            10 => {
                if let Some(member) = self.members.get_mut(slot) {
                    *member = None;
                }
            }
            _ => self.restart(how),
        }
    }

    fn append(&self, partition: PartitionId, count: u8) {
        let log = sure("a partition", self.topic.partition(partition));
        for _ in 0..=count {
            let value = format!("{partition}@{}", log.end_offset());
            sure("an append", log.append(Record::new(&value)));
        }
    }

    fn join(&mut self, slot: usize, how: u8) {
        let assignor = match how % 3 {
            0 => Assignor::Range,
            1 => Assignor::RoundRobin,
            _ => Assignor::Sticky,
        };
        let config = ConsumerConfig::default()
            .assignor(assignor)
            .max_poll_records(1 + u32::from(how / 3 % 6));
        let group = sure("the group", self.broker.group(GROUP));
        let member = Member {
            consumer: sure("a join", group.join_with([TOPIC], config)),
            next: BTreeMap::new(),
        };
        if let Some(place) = self.members.get_mut(slot) {
            *place = Some(member);
        }
    }

    fn poll(&mut self, slot: usize) {
        let group = sure("the group", self.broker.group(GROUP));
        let Some(Some(member)) = self.members.get_mut(slot) else {
            return;
        };
        let records = sure("a poll", member.consumer.poll(Duration::ZERO));
        for (_, partition) in records.lost() {
            assert!(member.next.remove(partition).is_some(), "it had it not");
        }
        for (_, partition) in records.gained() {
            let from = sure("a commit", group.committed(TOPIC, *partition));
            let before = member.next.insert(*partition, from.unwrap_or(0));
            assert!(before.is_none(), "it had it");
        }
        for record in &records {
            let says = format!("{}@{}", record.partition, record.offset);
            assert_eq!(record.value(), Some(says.as_bytes()));
            let Some(next) = member.next.get_mut(&record.partition) else {
                panic!("a record of a partition that it has not: {record:?}");
            };
            assert_eq!(*next, record.offset, "passed over, or twice");
            *next += 1;
            let given = self.given.entry(record.partition).or_default();
            given.insert(record.offset);
        }
    }

    fn commit(&mut self, slot: usize) {
        if let Some(Some(member)) = self.members.get_mut(slot) {
            match member.consumer.commit() {
                Ok(()) | Err(Error::Fenced { .. }) => {}
                Err(error) => panic!("a commit: {error:?}"),
            }
        }
    }

    fn seek(&mut self, slot: usize, back: u8) {
        let Some(Some(member)) = self.members.get_mut(slot) else {
            return;
        };
        for (partition, next) in &mut member.next {
            let to = next.saturating_sub(back.into());
            sure("a seek", member.consumer.seek(TOPIC, *partition, to));
            *next = to;
        }
    }

    fn committed(&self, partition: PartitionId) -> Option<Offset> {
        let group = sure("the group", self.broker.group(GROUP));
        sure("a commit", group.committed(TOPIC, partition))
    }

    /// One partition has one owner that may commit, and no commit is of what was never given.
    fn check(&self) {
        let mut owners = BTreeSet::new();
        for member in self.members.iter().flatten() {
            for (_, partition) in member.consumer.assignment() {
                assert!(owners.insert(partition), "{partition} has two owners");
            }
        }
        for partition in 0..PARTITIONS {
            let committed = self.committed(partition).unwrap_or(0);
            let given = self.given.get(&partition).map_or(0, BTreeSet::len);
            let given = to_u64(given);
            assert!(committed <= given, "{committed} of {given} in {partition}");
        }
    }

    /// The process is killed, or the power cut; everything starts again.
    fn restart(&mut self, how: u8) {
        let commits: Vec<_> = (0..PARTITIONS).map(|at| self.committed(at)).collect();
        self.members = Default::default();
        let power_cut = how & 1 == 1;
        self.sim = if power_cut {
            self.sim.crash(Choice::Random(how.into()))
        } else {
            self.sim.process_crash()
        };
        self.broker = open(&self.sim, &self.clock, self.durability);
        self.topic = topic_of(&self.broker);
        for (partition, before) in (0..PARTITIONS).zip(commits) {
            let log = sure("a partition", self.topic.partition(partition));
            let (end, committed) = (log.end_offset(), self.committed(partition));
            if !power_cut || self.durability == Durability::Always {
                assert_eq!(committed, before, "partition {partition}");
            }
            assert!(committed.unwrap_or(0) <= end, "{committed:?} behind {end}");
            let given = self.given.entry(partition).or_default();
            given.retain(|offset| *offset < end);
        }
    }

    /// One more member sees everything that was not committed.
    fn finish(&mut self) {
        self.members = Default::default();
        self.join(0, 15);
        for _ in 0..4 * STEPS_MAX {
            self.poll(0);
        }
        for partition in 0..PARTITIONS {
            let log = sure("a partition", self.topic.partition(partition));
            let given = self.given.remove(&partition).unwrap_or_default();
            assert!(given.into_iter().eq(0..log.end_offset()), "of {partition}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_with_everything_in_it_holds() {
        for settings in 0..8_u8 {
            let steps = (0..90_u8).flat_map(|step| {
                [
                    step.wrapping_mul(5),
                    step.wrapping_mul(41).wrapping_add(settings),
                ]
            });
            let life: Vec<_> = std::iter::once(settings).chain(steps).collect();
            group_ops(&life);
        }
    }
}
