//! Consumer groups through the public API: threads that join, read, commit, hang, panic and leave.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use ottla::{
    Assignor, Broker, BrokerConfig, Consumer, ConsumerConfig, ConsumerGroup, ConsumerRecord,
    Durability, Error, GroupState, Offset, PartitionId, Record, Start, Topic, TopicConfig,
};

const NOW: Duration = Duration::ZERO;
/// Long enough that only a failure waits for it.
const LONG: Duration = Duration::from_secs(60);
const PARTITIONS: u32 = 4;

/// A broker in a directory of its own, and a topic.
struct Setup {
    broker: Broker,
    topic: Topic,
    dir: tempfile::TempDir,
}

impl Setup {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let broker = Broker::open(dir.path().join("data")).unwrap();
        let config = TopicConfig::default().partitions(PARTITIONS);
        let topic = broker.create_topic("t", config).unwrap();
        Self { broker, topic, dir }
    }

    /// Closes everything and opens it again.
    fn reopen(self) -> Self {
        let Self { broker, topic, dir } = self;
        broker.close().unwrap();
        drop((broker, topic));
        let broker = Broker::open(dir.path().join("data")).unwrap();
        let topic = broker.topic("t").unwrap();
        Self { broker, topic, dir }
    }

    fn group(&self, id: &str) -> ConsumerGroup {
        self.broker.group(id).unwrap()
    }
}

/// Appends `count` records to every partition.
fn fill(topic: &Topic, count: u64) {
    for partition in 0..topic.partition_count() {
        let log = topic.partition(partition).unwrap();
        for _ in 0..count {
            let value = format!("{partition}@{}", log.end_offset());
            log.append(&value).unwrap();
        }
    }
}

fn place(record: &ConsumerRecord) -> (PartitionId, Offset) {
    let says = std::str::from_utf8(record.value().unwrap()).unwrap();
    assert_eq!(says, format!("{}@{}", record.partition, record.offset));
    (record.partition, record.offset)
}

fn places(consumer: &mut Consumer) -> Vec<(PartitionId, Offset)> {
    consumer.poll(NOW).unwrap().iter().map(place).collect()
}

fn numbers(partitions: &[(String, PartitionId)]) -> Vec<PartitionId> {
    partitions.iter().map(|(_, partition)| *partition).collect()
}

#[test]
fn every_group_sees_everything_and_goes_on_after_a_restart() {
    let setup = Setup::new();
    fill(&setup.topic, 10);
    for id in ["one", "two"] {
        let mut consumer = setup.group(id).join(["t"]).unwrap();
        assert_eq!(places(&mut consumer).len(), 40);
        consumer.commit().unwrap();
    }
    let mut undecided = setup.group("three").join(["t"]).unwrap();
    assert_eq!(places(&mut undecided).len(), 40);
    drop(undecided);

    let setup = setup.reopen();
    fill(&setup.topic, 1);
    for id in ["one", "two"] {
        let mut consumer = setup.group(id).join(["t"]).unwrap();
        assert_eq!(places(&mut consumer), [(0, 10), (1, 10), (2, 10), (3, 10)]);
    }
    let mut undecided = setup.group("three").join(["t"]).unwrap();
    assert_eq!(places(&mut undecided).len(), 44);
}

/// What members of one group do at the same time, and what nobody may see.
struct Crowd {
    /// Somebody works on records of the partition.
    busy: Vec<AtomicBool>,
    /// Below which every record of the partition was committed by somebody.
    done: Vec<AtomicU64>,
    members: AtomicU64,
    records: AtomicU64,
}

impl Crowd {
    /// One stay in the group: some polls, each followed by a commit but for the last, after which
    /// the member is gone in one of three ways.
    fn stay(&self, group: &ConsumerGroup, seed: u64) {
        let assignor = [Assignor::Range, Assignor::RoundRobin, Assignor::Sticky];
        let config = ConsumerConfig::default()
            .max_poll_records(20 + u32::try_from(seed % 7).unwrap())
            .assignor(assignor[usize::try_from(seed % 3).unwrap()]);
        let mut consumer = group.join_with(["t"], config).unwrap();
        self.members.fetch_add(1, Ordering::Relaxed);
        for _ in 0..seed % 23 {
            let records = consumer.poll(Duration::from_millis(1)).unwrap();
            // What nothing was polled from may pass to another member at any time.
            let mut mine: Vec<_> = records.iter().map(|record| record.partition).collect();
            mine.dedup();
            for partition in &mine {
                let busy = &self.busy[usize::try_from(*partition).unwrap()];
                assert!(
                    !busy.swap(true, Ordering::SeqCst),
                    "{partition} has two owners"
                );
            }
            let mut next = BTreeMap::new();
            for record in &records {
                let (partition, offset) = place(record);
                let committed =
                    self.done[usize::try_from(partition).unwrap()].load(Ordering::SeqCst);
                assert!(offset >= committed, "what was committed came again");
                next.insert(partition, offset + 1);
                self.records.fetch_add(1, Ordering::Relaxed);
            }
            // From the commit on another member may read on.
            for partition in &mine {
                self.busy[usize::try_from(*partition).unwrap()].store(false, Ordering::SeqCst);
            }
            consumer.commit().unwrap();
            for (partition, next) in next {
                let done = &self.done[usize::try_from(partition).unwrap()];
                done.fetch_max(next, Ordering::SeqCst);
            }
        }
        match seed % 4 {
            0 => consumer.leave().unwrap(),
            1 => drop(consumer),
            _ => {
                // Uncommitted records, and a panic in the middle of them.
                let died = catch_unwind(AssertUnwindSafe(move || {
                    let records = consumer.poll(NOW).unwrap();
                    std::panic::resume_unwind(Box::new(records.len()));
                }));
                assert!(died.is_err());
            }
        }
    }
}

#[test]
fn a_crowd_that_comes_and_goes_never_shares_a_partition_and_misses_nothing() {
    const EACH: u64 = 30_000;
    let setup = Setup::new();
    let group = setup.group("crowd");
    let crowd = Crowd {
        busy: (0..PARTITIONS).map(|_| AtomicBool::new(false)).collect(),
        done: (0..PARTITIONS).map(|_| AtomicU64::new(0)).collect(),
        members: AtomicU64::new(0),
        records: AtomicU64::new(0),
    };
    let all_done = || {
        crowd
            .done
            .iter()
            .all(|done| done.load(Ordering::SeqCst) == EACH)
    };
    thread::scope(|scope| {
        scope.spawn(|| (0..EACH / 100).for_each(|_| fill(&setup.topic, 100)));
        for thread in 0..4_u64 {
            let (crowd, group, all_done) = (&crowd, &group, &all_done);
            scope.spawn(move || {
                let mut seed = thread;
                while !all_done() {
                    seed = seed
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695);
                    crowd.stay(group, seed >> 33);
                }
            });
        }
    });
    let (members, records) = (crowd.members.into_inner(), crowd.records.into_inner());
    println!(
        "{members} stays, {records} records for {}",
        EACH * u64::from(PARTITIONS)
    );
    assert!(records >= EACH * u64::from(PARTITIONS));
    for partition in 0..PARTITIONS {
        assert_eq!(group.committed("t", partition).unwrap(), Some(EACH));
    }
    assert_eq!(group.describe().unwrap().state, GroupState::Empty);
}

#[test]
fn who_hangs_is_thrown_out_and_a_waiting_member_takes_over() {
    let setup = Setup::new();
    fill(&setup.topic, 2);
    let group = setup.group("g");
    let hasty = ConsumerConfig::default().max_poll_interval(Duration::from_millis(50));
    let mut hangs = group.join_with(["t"], hasty).unwrap();
    assert_eq!(places(&mut hangs).len(), 8);
    let mut waits = group.join(["t"]).unwrap();
    let records = waits.poll(LONG).unwrap();
    assert_eq!(numbers(records.gained()), [0, 1, 2, 3]);
    assert_eq!(
        records.len(),
        8,
        "nothing was committed, so everything comes again"
    );
    let fenced = hangs.commit();
    assert!(matches!(fenced, Err(Error::Fenced { .. })), "{fenced:?}");
    assert!(hangs.assignment().is_empty());
    waits.commit().unwrap();
    let records = hangs.poll(NOW).unwrap();
    assert_eq!(
        (numbers(records.lost()), records.len()),
        (vec![0, 1, 2, 3], 0)
    );
    assert_eq!(group.committed("t", 0).unwrap(), Some(2));
}

#[test]
fn a_waiting_poll_wakes_for_an_append() {
    let setup = Setup::new();
    let mut consumer = setup.group("g").join(["t"]).unwrap();
    for partition in 0..PARTITIONS {
        let records = thread::scope(|scope| {
            let waiting = scope.spawn(|| consumer.poll(LONG).unwrap());
            let log = setup.topic.partition(partition).unwrap();
            log.append(&format!("{partition}@0")).unwrap();
            waiting.join().unwrap()
        });
        assert_eq!(
            records.iter().map(place).collect::<Vec<_>>(),
            [(partition, 0)]
        );
    }
}

#[test]
fn retention_under_a_group_is_answered_by_its_policy() {
    let setup = Setup::new();
    fill(&setup.topic, 10);
    let group = setup.group("g");
    group.reset("t", Start::Offset(2)).unwrap();
    for partition in 0..PARTITIONS {
        setup
            .topic
            .partition(partition)
            .unwrap()
            .truncate_prefix(7)
            .unwrap();
    }
    let join = |start: Option<Start>| {
        group
            .join_with(["t"], ConsumerConfig::default().start(start))
            .unwrap()
    };
    let asked = join(None).poll(NOW).map(|records| records.len());
    assert!(
        matches!(asked, Err(Error::NoOffset { partition: 0, .. })),
        "{asked:?}"
    );
    assert_eq!(places(&mut join(Some(Start::Latest))), []);
    assert_eq!(
        places(&mut join(Some(Start::Earliest)))[..3],
        [(0, 7), (0, 8), (0, 9)]
    );
}

#[test]
fn a_deleted_topic_is_lost_and_its_commits_with_it() {
    let setup = Setup::new();
    fill(&setup.topic, 3);
    let group = setup.group("g");
    let mut consumer = group.join(["t"]).unwrap();
    assert_eq!(places(&mut consumer).len(), 12);
    consumer.commit().unwrap();
    setup.broker.delete_topic("t").unwrap();
    let records = consumer.poll(NOW).unwrap();
    assert_eq!(
        (numbers(records.lost()), records.len()),
        (vec![0, 1, 2, 3], 0)
    );
    consumer.commit().unwrap();
    let topic = setup
        .broker
        .create_topic("t", TopicConfig::default())
        .unwrap();
    fill(&topic, 2);
    let records = consumer.poll(LONG).unwrap();
    assert_eq!(numbers(records.gained()), [0]);
    assert_eq!(
        records.iter().map(place).collect::<Vec<_>>(),
        [(0, 0), (0, 1)]
    );
    assert_eq!(group.committed("t", 0).unwrap(), None);
}

#[test]
fn new_partitions_are_shared_out() {
    let setup = Setup::new();
    let mut consumer = setup.group("g").join(["t"]).unwrap();
    assert_eq!(numbers(consumer.poll(NOW).unwrap().gained()), [0, 1, 2, 3]);
    setup
        .broker
        .alter_topic("t", |config| config.partitions(6))
        .unwrap();
    setup.topic.append_to(5, Record::new("5@0")).unwrap();
    let records = consumer.poll(LONG).unwrap();
    assert_eq!((numbers(records.gained()), records.len()), (vec![4, 5], 1));
}

#[test]
fn a_member_knows_the_name_that_its_group_lists_and_has_another_when_it_joins_again() {
    let setup = Setup::new();
    let group = setup.group("g");
    let first = group.join(["t"]).unwrap();
    let second = group.join(["t"]).unwrap();
    let members = group.describe().unwrap().members;
    let listed: Vec<_> = members.iter().map(|member| member.id.as_str()).collect();
    assert_eq!(listed, [first.member_id(), second.member_id()]);
    assert_ne!(first.member_id(), second.member_id());
    let before = first.member_id().to_owned();
    drop(first);
    let again = group.join(["t"]).unwrap();
    assert!(again.member_id() != before && again.member_id() != second.member_id());
}

#[test]
fn groups_are_listed_described_and_deleted() {
    let setup = Setup::new();
    fill(&setup.topic, 5);
    let group = setup.group("board");
    let unknown = setup.broker.delete_group("board");
    assert!(
        matches!(unknown, Err(Error::UnknownGroup { .. })),
        "{unknown:?}"
    );
    let mut consumer = group
        .join_with(
            ["t"],
            ConsumerConfig::default()
                .static_member_id("gate")
                .max_poll_records(8),
        )
        .unwrap();
    assert_eq!(places(&mut consumer).len(), 8);
    consumer.commit().unwrap();
    let infos = setup.broker.groups().unwrap();
    assert_eq!(infos.len(), 1);
    let info = &infos[0];
    assert_eq!(
        (info.id.as_str(), info.state, info.lag()),
        ("board", GroupState::Stable, 12)
    );
    assert_eq!(info.members[0].static_id.as_deref(), Some("gate"));
    assert_eq!(numbers(&info.members[0].partitions), [0, 1, 2, 3]);
    let held = setup.broker.delete_group("board");
    assert!(matches!(held, Err(Error::GroupNotEmpty { .. })), "{held:?}");
    drop(consumer);
    setup.broker.delete_group("board").unwrap();
    assert!(setup.broker.groups().unwrap().is_empty());
    let setup = setup.reopen();
    assert!(setup.broker.groups().unwrap().is_empty());
}

#[test]
fn closing_ends_a_waiting_poll_and_every_handle() {
    let setup = Setup::new();
    let group = setup.group("g");
    let mut consumer = group.join(["t"]).unwrap();
    assert!(consumer.poll(NOW).unwrap().is_empty());
    let ended = thread::scope(|scope| {
        let waiting = scope.spawn(|| consumer.poll(LONG).map(|records| records.len()));
        setup.broker.close().unwrap();
        waiting.join().unwrap()
    });
    assert!(matches!(ended, Err(Error::Closed)), "{ended:?}");
    assert!(matches!(consumer.commit(), Err(Error::Closed)));
    assert!(matches!(group.join(["t"]), Err(Error::Closed)));
    assert!(matches!(group.committed("t", 0), Err(Error::Closed)));
    assert!(matches!(group.describe(), Err(Error::Closed)));
}

#[test]
fn a_consumer_keeps_its_broker_open() {
    let setup = Setup::new();
    fill(&setup.topic, 1);
    let Setup { broker, topic, dir } = setup;
    let mut consumer = broker.group("g").unwrap().join(["t"]).unwrap();
    drop((broker, topic));
    assert_eq!(places(&mut consumer).len(), 4);
    consumer.commit().unwrap();
    let second = Broker::open(dir.path().join("data"));
    assert!(matches!(second, Err(Error::Locked { .. })));
    drop(consumer);
    Broker::open(dir.path().join("data")).expect("the last handle closed it");
}

#[test]
fn under_always_what_is_committed_is_flushed() {
    let dir = tempfile::tempdir().unwrap();
    let config = BrokerConfig::default().durability(Durability::Always);
    let broker = Broker::open_with(dir.path().join("data"), config).unwrap();
    let lax = TopicConfig::default().durability(Durability::Os);
    let topic = broker.create_topic("t", lax).unwrap();
    fill(&topic, 3);
    let mut consumer = broker.group("g").unwrap().join(["t"]).unwrap();
    assert_eq!(places(&mut consumer).len(), 3);
    consumer.commit().unwrap();
    assert_eq!(topic.partition(0).unwrap().flushed_offset(), 3);
}

#[test]
fn a_read_only_broker_shows_groups_and_takes_no_member() {
    let setup = Setup::new();
    fill(&setup.topic, 1);
    let mut consumer = setup.group("g").join(["t"]).unwrap();
    assert_eq!(places(&mut consumer).len(), 4);
    consumer.commit().unwrap();
    drop(consumer);
    setup.broker.close().unwrap();
    let broker = Broker::open_read_only(setup.dir.path().join("data")).unwrap();
    let group = broker.group("g").unwrap();
    assert_eq!(group.committed("t", 0).unwrap(), Some(1));
    assert_eq!(group.describe().unwrap().lag(), 0);
    assert!(matches!(group.join(["t"]), Err(Error::ReadOnly)));
    assert!(matches!(
        group.reset("t", Start::Earliest),
        Err(Error::ReadOnly)
    ));
    assert!(matches!(broker.delete_group("g"), Err(Error::ReadOnly)));
}
