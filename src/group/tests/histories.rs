//! Random histories of members over real logs, against what they were told and what they read.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::disk::sim::Choice;

const PARTITIONS: u32 = 3;
const SLOTS: usize = 3;

#[derive(Clone, Debug)]
enum Op {
    Append {
        partition: PartitionId,
        count: u64,
    },
    Join {
        slot: usize,
        assignor: Assignor,
        limit: u32,
    },
    Drop(usize),
    /// The consumer is not dropped, it hangs and comes back as it was.
    Poll(usize),
    Commit(usize),
    Seek {
        slot: usize,
        back: u64,
    },
    Pass(u64),
    /// The process is killed, or the power goes and leaves what a seed says; it starts again.
    Restart {
        power_cut: Option<u64>,
    },
}

fn ops() -> impl Strategy<Value = Op> {
    let slot = || 0..SLOTS;
    let assignor = prop::sample::select(vec![
        Assignor::Range,
        Assignor::RoundRobin,
        Assignor::Sticky,
    ]);
    prop_oneof![
        6 => (0..PARTITIONS, 1_u64..5)
            .prop_map(|(partition, count)| Op::Append { partition, count }),
        3 => (slot(), assignor, 1_u32..6)
            .prop_map(|(slot, assignor, limit)| Op::Join { slot, assignor, limit }),
        1 => slot().prop_map(Op::Drop),
        12 => slot().prop_map(Op::Poll),
        6 => slot().prop_map(Op::Commit),
        1 => (slot(), 1_u64..4).prop_map(|(slot, back)| Op::Seek { slot, back }),
        2 => (0_u64..120).prop_map(Op::Pass),
        1 => prop::option::of(any::<u64>())
            .prop_map(|power_cut| Op::Restart { power_cut }),
    ]
}

/// A consumer, and what it was told.
struct Member {
    consumer: Consumer,
    has: BTreeSet<PartitionId>,
    /// Where each of its partitions must continue, and what it has returned so far.
    next: BTreeMap<PartitionId, Offset>,
}

struct History {
    root: Option<Root>,
    topic: Option<Topic>,
    members: [Option<Member>; SLOTS],
    /// Every record that the group was given, by partition, in this life of the log.
    given: BTreeMap<PartitionId, BTreeSet<Offset>>,
}

impl History {
    fn new(durability: Durability) -> Self {
        let root = Root::open(Sim::new(), durability);
        let topic = root.topic("t", PARTITIONS);
        Self {
            root: Some(root),
            topic: Some(topic),
            members: Default::default(),
            given: BTreeMap::new(),
        }
    }

    fn root(&self) -> &Root {
        self.root.as_ref().unwrap()
    }

    fn run(&mut self, op: &Op) {
        match op {
            Op::Append { partition, count } => {
                let log = self.topic.as_ref().unwrap().partition(*partition).unwrap();
                for _ in 0..*count {
                    let value = format!("{partition}@{}", log.end_offset());
                    log.append(Record::new(&value)).unwrap();
                }
            }
            Op::Join {
                slot,
                assignor,
                limit,
            } => {
                let config = ConsumerConfig::default()
                    .assignor(*assignor)
                    .max_poll_records(*limit);
                let consumer = self.root().group("g").join_with(["t"], config).unwrap();
                let member = Member {
                    consumer,
                    has: BTreeSet::new(),
                    next: BTreeMap::new(),
                };
                self.members[*slot] = Some(member);
            }
            Op::Drop(slot) => self.members[*slot] = None,
            Op::Poll(slot) => self.poll(*slot),
            Op::Commit(slot) => {
                if let Some(member) = &mut self.members[*slot] {
                    match member.consumer.commit() {
                        Ok(()) | Err(Error::Fenced { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            Op::Seek { slot, back } => {
                if let Some(member) = &mut self.members[*slot] {
                    for partition in member.has.clone() {
                        let to = member.next[&partition].saturating_sub(*back);
                        member.consumer.seek("t", partition, to).unwrap();
                        member.next.insert(partition, to);
                    }
                }
            }
            Op::Pass(seconds) => self.root().pass(Duration::from_secs(*seconds)),
            Op::Restart { power_cut } => self.restart(*power_cut),
        }
    }

    fn poll(&mut self, slot: usize) {
        let Some(member) = &mut self.members[slot] else {
            return;
        };
        let records = member.consumer.poll(NOW).unwrap();
        for (_, partition) in records.lost() {
            assert!(member.has.remove(partition), "it did not have {partition}");
            member.next.remove(partition);
        }
        for (_, partition) in records.gained() {
            assert!(member.has.insert(*partition), "it had {partition}");
            let next = self
                .root
                .as_ref()
                .unwrap()
                .group("g")
                .committed("t", *partition);
            member.next.insert(*partition, next.unwrap().unwrap_or(0));
        }
        for (partition, offset) in places(records) {
            let next = member
                .next
                .get_mut(&partition)
                .expect("it has what it reads");
            assert_eq!(*next, offset, "no record is passed over or comes twice");
            *next += 1;
            self.given.entry(partition).or_default().insert(offset);
        }
    }

    /// One partition has one owner that may commit, and no commit is of what was never given.
    fn check(&self) {
        let group = self.root().group("g");
        let mut owners = BTreeSet::new();
        for member in self.members.iter().flatten() {
            let assigned = member.consumer.assignment();
            if !assigned.is_empty() {
                // Others may have taken what it holds nothing of.
                let has = numbers(&assigned)
                    .iter()
                    .all(|number| member.has.contains(number));
                assert!(has, "{assigned:?} of {:?}", member.has);
            }
            for partition in assigned {
                assert!(
                    owners.insert(partition.clone()),
                    "{partition:?} has two owners"
                );
            }
        }
        for partition in 0..PARTITIONS {
            let committed = group.committed("t", partition).unwrap().unwrap_or(0);
            let given = self.given.get(&partition).map_or(0, BTreeSet::len);
            assert!(
                committed <= u64::try_from(given).unwrap(),
                "{committed} of {partition} were committed, and {given} given"
            );
        }
    }

    fn restart(&mut self, power_cut: Option<u64>) {
        let group = self.root().group("g");
        let commits: Vec<_> = (0..PARTITIONS)
            .map(|partition| group.committed("t", partition).unwrap())
            .collect();
        drop(group);
        self.members = Default::default();
        self.topic = None;
        let root = self.root.take().unwrap();
        let durability = root.durability;
        let sim = match power_cut {
            Some(seed) => root.sim.crash(Choice::Random(seed)),
            None => root.sim.process_crash(),
        };
        drop(root);
        let root = Root::open(sim, durability);
        let topic = root.topic("t", PARTITIONS);
        let back = recovered(&root.coordinator).len();
        for (partition, before) in (0..PARTITIONS).zip(commits) {
            let end = topic.partition(partition).unwrap().end_offset();
            let committed = root.group("g").committed("t", partition).unwrap();
            if power_cut.is_none() || durability == Durability::Always {
                assert_eq!(committed, before, "what was acknowledged is there");
                assert_eq!(back, 0);
            } else {
                let given = self.given.entry(partition).or_default();
                given.retain(|offset| *offset < end);
                assert!(committed.is_none_or(|committed| committed <= end));
            }
        }
        self.root = Some(root);
        self.topic = Some(topic);
    }

    /// Whatever happened, one more member that reads and commits sees the rest.
    fn finish(&mut self) {
        self.members = Default::default();
        let mut last = self.root().group("g").join(["t"]).unwrap();
        let records = last.poll(NOW).unwrap();
        for (partition, offset) in places(records) {
            self.given.entry(partition).or_default().insert(offset);
        }
        for partition in 0..PARTITIONS {
            let end = self
                .topic
                .as_ref()
                .unwrap()
                .partition(partition)
                .unwrap()
                .end_offset();
            let given = self.given.remove(&partition).unwrap_or_default();
            assert_eq!(
                given,
                (0..end).collect(),
                "every record of {partition} was given"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_record_is_given_and_no_partition_has_two_owners(
        ops in prop::collection::vec(ops(), 1..60),
        always in any::<bool>(),
    ) {
        let durability = if always { Durability::Always } else { Durability::Os };
        let mut history = History::new(durability);
        for op in &ops {
            history.run(op);
            history.check();
        }
        history.finish();
    }
}
