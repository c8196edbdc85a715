//! The broker on the simulated disk: power cuts and failures in the life of topics.
//!
//! Whatever the moment and whatever arrived of what was not synced, a topic is wholly there or
//! wholly gone, and so is every change of one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use crate::clock::{Clock, ManualClock};
use crate::disk::sim::{At, Choice, Failure, Fault, Kind, Repeat, Sim};
use crate::disk::{Disk, EntryKind};
use crate::error::{Error, Result};
use crate::format::properties;
use crate::sync::{AtomicU64, Mutex, Ordering};
use crate::topic::TopicConfig;
use crate::types::{Start, Timestamp};

use super::{Broker, BrokerConfig};

pub(super) const ROOT: &str = "/data";

pub(super) fn open(disk: Disk) -> Result<Broker> {
    let config = BrokerConfig::default().manual_upkeep(true);
    Broker::open_on(disk, Clock::System, Path::new(ROOT), config)
}

/// What is promised of a topic: partitions, one setting, and the records that were flushed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shape {
    partitions: u32,
    segment_bytes: u64,
    ends: Vec<u64>,
}

type Shapes = BTreeMap<String, Shape>;

fn shapes(broker: &Broker) -> Shapes {
    let topics = broker.topics().into_iter().map(|topic| {
        assert!(
            topic
                .partitions
                .iter()
                .all(|partition| partition.problem.is_none()),
            "{topic:?}"
        );
        let shape = Shape {
            partitions: topic.config.partitions,
            segment_bytes: topic.config.segment_bytes,
            ends: topic
                .partitions
                .iter()
                .map(|partition| partition.end_offset)
                .collect(),
        };
        (topic.name, shape)
    });
    topics.collect()
}

/// The steps of the life that is cut: each changes the topics in one way.
#[derive(Clone, Copy, Debug)]
enum Step {
    Create(&'static str, u32),
    /// Appends a record to every partition, and flushes.
    Fill(&'static str),
    Commit(&'static str),
    Extend(&'static str, u32),
    Set(&'static str, u64),
    Delete(&'static str),
    Reopen,
}

const LIFE: [Step; 14] = [
    Step::Create("a", 2),
    Step::Fill("a"),
    Step::Commit("a"),
    Step::Create("b", 1),
    Step::Set("b", 4096),
    Step::Extend("a", 3),
    Step::Fill("a"),
    Step::Delete("a"),
    Step::Reopen,
    Step::Create("a", 1),
    Step::Fill("b"),
    Step::Delete("b"),
    Step::Create("b", 2),
    Step::Reopen,
];

impl Step {
    fn run(self, broker: &mut Option<Broker>, disk: &Disk) -> Result<()> {
        if matches!(self, Self::Reopen) {
            if let Some(open) = broker.take() {
                open.close()?;
            }
            *broker = Some(open(disk.clone())?);
            return Ok(());
        }
        let Some(broker) = broker else {
            return Err(Error::Closed);
        };
        match self {
            Self::Create(name, partitions) => {
                let config = TopicConfig::default().partitions(partitions);
                broker.create_topic(name, config).map(drop)
            }
            Self::Fill(name) => {
                let topic = broker.topic(name)?;
                for partition in 0..topic.partition_count() {
                    topic.append_to(partition, name)?;
                }
                broker.flush()
            }
            Self::Commit(name) => {
                let mut member = broker.group("g")?.join([name])?;
                drop(member.poll(std::time::Duration::ZERO)?);
                member.commit()
            }
            Self::Extend(name, partitions) => {
                broker.alter_topic(name, |config| config.partitions(partitions))
            }
            Self::Set(name, bytes) => {
                broker.alter_topic(name, |config| config.segment_bytes(bytes))
            }
            Self::Delete(name) => broker.delete_topic(name),
            Self::Reopen => Ok(()),
        }
    }

    /// What the step makes of the topics.
    fn expect(self, shapes: &mut Shapes) {
        match self {
            Self::Create(name, partitions) => {
                let segment_bytes = TopicConfig::default().segment_bytes;
                let ends = (0..partitions).map(|_| 0).collect();
                shapes.insert(
                    name.to_owned(),
                    Shape {
                        partitions,
                        segment_bytes,
                        ends,
                    },
                );
            }
            Self::Fill(name) => {
                shapes
                    .get_mut(name)
                    .unwrap()
                    .ends
                    .iter_mut()
                    .for_each(|end| *end += 1);
            }
            Self::Extend(name, partitions) => {
                let shape = shapes.get_mut(name).unwrap();
                shape.partitions = partitions;
                shape.ends.resize(usize::try_from(partitions).unwrap(), 0);
            }
            Self::Set(name, bytes) => shapes.get_mut(name).unwrap().segment_bytes = bytes,
            Self::Delete(name) => drop(shapes.remove(name)),
            Self::Commit(_) | Self::Reopen => {}
        }
    }
}

/// What may be found: everything before the step, or everything after it. A fill is many appends,
/// of which any number may have arrived.
#[derive(Clone, Debug)]
struct Allowed {
    before: Shapes,
    after: Shapes,
    filling: bool,
}

impl Allowed {
    fn check(&self, found: &Shapes) {
        if self.filling {
            for (name, after) in &self.after {
                let (before, found) = (&self.before[name], &found[name]);
                let ends = before.ends.iter().zip(&after.ends).zip(&found.ends);
                assert!({ ends }.all(|((before, after), end)| (before..=after).contains(&end)));
            }
            assert!(found.keys().eq(self.after.keys()));
            return;
        }
        assert!(
            *found == self.before || *found == self.after,
            "{found:?}\nis not among {self:?}"
        );
    }
}

/// The directories of a root are those of its topics, each with its owner, and nothing else.
fn check_directories(sim: &Sim, broker: &Broker) {
    let disk = sim.disk();
    let mut expected = BTreeSet::new();
    for topic in broker.topics() {
        for partition in &topic.partitions {
            let name = format!("{}-{}", topic.name, partition.id);
            let path = format!("{ROOT}/{name}/partition.metadata");
            let owner = properties::decode_partition(&sim.read(path).unwrap()).unwrap();
            assert_eq!(crate::format::uuid::encode(owner.0), topic.id, "{name}");
            expected.insert(name);
        }
    }
    let entries = disk.list(Path::new(ROOT)).unwrap().into_iter();
    let dirs = entries
        .filter(|entry| entry.kind == EntryKind::Dir)
        .map(|entry| entry.name);
    let found: BTreeSet<_> = dirs.filter(|name| !name.starts_with("__")).collect();
    assert_eq!(found, expected);
}

/// A disk that a crash left opens, has what is allowed, and is good for more.
fn check_after_crash(sim: &Sim, allowed: &Allowed) {
    let broker =
        open(sim.disk()).unwrap_or_else(|error| panic!("{error:?} after {:?}", sim.born_of()));
    let found = shapes(&broker);
    allowed.check(&found);
    check_directories(sim, &broker);
    let group = broker.group("g").unwrap();
    for name in ["a", "b"] {
        let there = found.contains_key(name);
        if !there {
            let config = TopicConfig::default().partitions(2);
            broker.create_topic(name, config).unwrap();
            let committed = group.committed(name, 0).unwrap();
            assert_eq!(
                committed, None,
                "a new topic {name} has the commits of an old one"
            );
        }
        let topic = broker.topic(name).unwrap();
        let log = topic.partition(0).unwrap();
        let offset = topic.append_to(0, "more").unwrap();
        assert_eq!(offset, if there { found[name].ends[0] } else { 0 });
        let count = log.reader(Start::Earliest).unwrap().count();
        assert_eq!(u64::try_from(count).unwrap(), offset + 1);
    }
    let before = shapes(&broker);
    broker.close().unwrap();
    let broker = open(sim.disk()).unwrap();
    assert!(broker.open_report().clean, "{:?}", broker.open_report());
    assert_eq!(shapes(&broker), before);
}

#[test]
fn a_power_cut_at_any_operation_leaves_every_topic_wholly_there_or_wholly_gone() {
    let (_, states) = cut_everywhere(LIFE);
    println!("{states} crash states in the life of topics");
    assert!(states >= 2_000, "{states}");
}

/// One topic that is altered over and over: what the catalog has to say stays as small as it was.
#[test]
fn a_power_cut_at_any_operation_meets_the_old_catalog_or_the_smaller_one() {
    let alterations = (0..60).map(|number| Step::Set("a", 4096 + number % 2));
    let life = [Step::Create("a", 1), Step::Fill("a")].into_iter();
    let (sim, states) = cut_everywhere(life.chain(alterations));
    println!("{states} crash states while the catalog shrinks");
    assert!(states >= 200, "{states}");
    let size = sim.read("/data/ottla.catalog").unwrap().len();
    assert!(size < 40 * 120, "{size} bytes for one topic");
}

/// Lives a life, and cuts the power at every operation of it; returns how many states that left.
fn cut_everywhere(life: impl IntoIterator<Item = Step>) -> (Sim, u64) {
    let sim = Sim::new();
    let states = Arc::new(AtomicU64::new(0));
    let mut broker = None;
    Step::Reopen.run(&mut broker, &sim.disk()).unwrap();
    let start = Allowed {
        before: Shapes::new(),
        after: Shapes::new(),
        filling: false,
    };
    let allowed = Arc::new(Mutex::new(start));
    {
        let (states, allowed) = (Arc::clone(&states), Arc::clone(&allowed));
        sim.on_change(move |sim| {
            let allowed = allowed.lock().clone();
            for crashed in sim.crash_states_canonical() {
                check_after_crash(&crashed, &allowed);
                states.fetch_add(1, Ordering::Relaxed);
            }
            check_after_crash(&sim.process_crash(), &allowed);
        });
    }
    for step in life {
        {
            let mut allowed = allowed.lock();
            allowed.before = allowed.after.clone();
            step.expect(&mut allowed.after);
            allowed.filling = matches!(step, Step::Fill(_));
        }
        step.run(&mut broker, &sim.disk()).unwrap();
        let done = {
            let mut allowed = allowed.lock();
            allowed.before = allowed.after.clone();
            allowed.after.clone()
        };
        assert_eq!(shapes(broker.as_ref().unwrap()), done, "{step:?}");
    }
    sim.stop_watching();
    (sim, states.load(Ordering::Relaxed))
}

/// Runs the life until something fails; returns what was promised when it did, and the failure.
fn live(sim: &Sim) -> (Allowed, Option<(Step, Error)>) {
    let mut broker = None;
    let mut allowed = Allowed {
        before: Shapes::new(),
        after: Shapes::new(),
        filling: false,
    };
    for step in std::iter::once(Step::Reopen).chain(LIFE) {
        allowed.before = allowed.after.clone();
        step.expect(&mut allowed.after);
        allowed.filling = matches!(step, Step::Fill(_));
        if let Err(error) = step.run(&mut broker, &sim.disk()) {
            sim.heal();
            if let Some(broker) = &broker {
                check_after_failure(broker, &allowed, step, &error);
            }
            return (allowed, Some((step, error)));
        }
    }
    (allowed, None)
}

/// A broker whose call failed continues: the topics are as before or as after.
fn check_after_failure(broker: &Broker, allowed: &Allowed, step: Step, error: &Error) {
    if matches!(step, Step::Reopen) || matches!(error, Error::Closed) {
        return;
    }
    let found = shapes(broker);
    allowed.check(&found);
    if matches!(error, Error::Poisoned { .. }) {
        return;
    }
    match step {
        Step::Create(name, _) => {
            assert_eq!(
                found, allowed.before,
                "an error leaves nothing of it: {error}"
            );
            // And it can be tried again.
            broker.create_topic(name, TopicConfig::default()).unwrap();
            broker.delete_topic(name).unwrap();
        }
        Step::Set(..) | Step::Extend(..) => {
            assert_eq!(
                found, allowed.before,
                "an error leaves nothing of it: {error}"
            );
        }
        _ => {}
    }
}

#[test]
fn whatever_call_fails_the_topics_are_as_before_or_as_after() {
    let sim = Sim::new();
    assert!(live(&sim).1.is_none());
    let operations = sim.operations();
    let mut failures = 0;
    for at in 0..operations {
        for error in [
            Failure::Eio,
            Failure::Enospc,
            Failure::ShortWrite,
            Failure::Emfile,
        ] {
            let sim = Sim::new();
            sim.fail(Fault {
                at: At::Operation(at),
                error,
                repeat: Repeat::Once,
            });
            let (allowed, failed) = live(&sim);
            sim.heal();
            let Some((step, error)) = failed else {
                continue;
            };
            failures += 1;
            let context = format!("operation {at}, {step:?}: {error}");
            // Neither the running process nor a later one loses a topic over it.
            for after in [sim.process_crash(), sim.crash(Choice::None)] {
                let broker =
                    open(after.disk()).unwrap_or_else(|error| panic!("{error} after {context}"));
                allowed.check(&shapes(&broker));
                check_directories(&after, &broker);
            }
        }
    }
    println!("{failures} failures in {operations} operations of the life of topics");
    assert!(failures >= 500, "{failures}");
}

#[test]
fn the_last_topic_costs_what_the_first_did() {
    let sim = Sim::new();
    let broker = open(sim.disk()).unwrap();
    let mut costs = BTreeSet::new();
    let count = 10_000;
    for number in 0..count {
        let before = sim.operations();
        broker
            .create_topic(&format!("t{number}"), TopicConfig::default())
            .unwrap();
        costs.insert(sim.operations() - before);
    }
    println!("{costs:?} disk operations a topic");
    assert_eq!(costs.len(), 1, "{costs:?}");
    broker.close().unwrap();
    let before = sim.operations();
    let broker = open(sim.disk()).unwrap();
    println!(
        "{} disk operations to open {count} topics",
        sim.operations() - before
    );
    assert!(sim.operations() - before < 100, "names alone");
    assert_eq!(broker.topic_names().len(), count);
}

/// The catalog is left as earlier versions left it, which shrank it only when they opened it.
fn let_it_grow(broker: &Broker) {
    broker.core.root.catalog.lock().dead_allowed = u64::MAX;
}

#[test]
fn a_catalog_that_is_mostly_dead_is_rewritten_when_it_is_opened() {
    let sim = Sim::new();
    let broker = open(sim.disk()).unwrap();
    let_it_grow(&broker);
    broker
        .create_topic("stays", TopicConfig::default().segment_bytes(4096))
        .unwrap();
    for _ in 0..600 {
        broker.create_topic("goes", TopicConfig::default()).unwrap();
        broker.delete_topic("goes").unwrap();
    }
    let before = shapes(&broker);
    broker.close().unwrap();
    let catalog = format!("{ROOT}/ottla.catalog");
    let long = sim.read(&catalog).unwrap().len();
    let broker = open(sim.disk()).unwrap();
    let short = sim.read(&catalog).unwrap().len();
    assert!(short * 10 < long, "{long} bytes became {short}");
    assert_eq!(shapes(&broker), before);
    broker
        .create_topic("comes", TopicConfig::default())
        .unwrap();
    drop(broker);
    assert_eq!(open(sim.disk()).unwrap().topic_names(), ["comes", "stays"]);
}

#[test]
fn a_catalog_is_rewritten_or_not_when_the_power_goes_meanwhile() {
    let sim = Sim::new();
    let broker = open(sim.disk()).unwrap();
    let_it_grow(&broker);
    broker
        .create_topic("stays", TopicConfig::default())
        .unwrap();
    for _ in 0..600 {
        broker.create_topic("goes", TopicConfig::default()).unwrap();
        broker.delete_topic("goes").unwrap();
    }
    broker.close().unwrap();
    // A disk where all of that arrived long ago.
    let sim = sim.crash(Choice::All);
    let states = Arc::new(AtomicU64::new(0));
    {
        let states = Arc::clone(&states);
        sim.on_change(move |sim| {
            for crashed in sim.crash_states_canonical() {
                let broker = open(crashed.disk()).unwrap();
                assert_eq!(broker.topic_names(), ["stays"]);
                states.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    drop(open(sim.disk()).unwrap());
    sim.stop_watching();
    assert!(states.load(Ordering::Relaxed) >= 50, "{states:?}");
}

#[test]
fn a_failed_sync_of_the_catalog_is_never_tried_again() {
    let sim = Sim::new();
    let broker = open(sim.disk()).unwrap();
    broker.create_topic("a", TopicConfig::default()).unwrap();
    let syncs = {
        sim.record();
        broker.create_topic("b", TopicConfig::default()).unwrap();
        let trace = sim.trace();
        trace
            .iter()
            .filter(|operation| operation.kind == Kind::SyncData)
            .count()
    };
    assert_eq!(syncs, 1, "creating a topic syncs one file");
    sim.fail(Fault {
        at: At::Nth(Kind::SyncData, u64::MAX),
        error: Failure::Eio,
        repeat: Repeat::Once,
    });
    let next = sim.operations();
    // The sync is the last but one operation of a creation, before the mark.
    let cost = {
        let probe = sim.process_crash();
        let broker = open(probe.disk()).unwrap();
        let before = probe.operations();
        broker.create_topic("c", TopicConfig::default()).unwrap();
        probe.operations() - before
    };
    sim.fail(Fault {
        at: At::Operation(next + cost - 2),
        error: Failure::Eio,
        repeat: Repeat::Once,
    });
    let error = broker
        .create_topic("c", TopicConfig::default())
        .unwrap_err();
    assert!(matches!(error, Error::Poisoned { .. }), "{error}");
    for _ in 0..2 {
        let error = broker
            .create_topic("d", TopicConfig::default())
            .unwrap_err();
        assert!(matches!(error, Error::Poisoned { .. }), "{error}");
        let error = broker.delete_topic("a").unwrap_err();
        assert!(matches!(error, Error::Poisoned { .. }), "{error}");
    }
    // What is there goes on.
    broker.topic("a").unwrap().append("x").unwrap();
    drop(broker);
    let names = open(sim.disk()).unwrap().topic_names();
    assert!(names == ["a", "b"] || names == ["a", "b", "c"], "{names:?}");
}

/// A clock that was never set, or set wrong, is no reason to refuse what needs a time.
#[test]
fn with_a_clock_before_1970_records_are_sent_and_positions_committed() {
    for millis in [-1, -2, -86_400_000, i64::MIN] {
        let clock = ManualClock::at(Timestamp::from_millis(millis));
        let config = BrokerConfig::default().manual_upkeep(true);
        let disk = Sim::new().disk();
        let clock = Clock::Manual(clock);
        let broker = Broker::open_on(disk, clock, Path::new(ROOT), config).unwrap();
        let config = TopicConfig::default().retention(Some(std::time::Duration::from_secs(1)));
        let topic = broker.create_topic("t", config).unwrap();
        topic.append("alone").unwrap();
        topic.append_batch(["in", "a batch"]).unwrap();
        let producer = topic
            .producer(crate::topic::ProducerConfig::default())
            .unwrap();
        let delivery = producer.send("sent").unwrap();
        producer.flush().unwrap();
        assert_eq!(delivery.wait().unwrap().offset, 3);
        let log = topic.partition(0).unwrap();
        for record in log.reader(0).unwrap() {
            assert_eq!(record.unwrap().timestamp, Timestamp::EPOCH, "{millis}");
        }
        let group = broker.group("g").unwrap();
        let mut consumer = group.join(["t"]).unwrap();
        assert_eq!(consumer.poll(std::time::Duration::ZERO).unwrap().len(), 4);
        consumer.commit().unwrap();
        assert_eq!(group.committed("t", 0).unwrap(), Some(4));
        drop(consumer);
        assert!(broker.upkeep().unwrap().problems.is_empty());
        broker.close().unwrap();
    }
}
