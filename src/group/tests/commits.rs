//! What is committed, where it is, and what a crash leaves of it.

use super::*;
use crate::disk::sim::Choice;
use crate::format::group_record::{GroupKey, GroupMetadata, OffsetCommit, group_partition};

/// The partition of `__consumer_offsets` that keeps the group `my-group`.
pub(super) const MY_PARTITION: PartitionId = 12;

pub(super) fn offsets_log(root: &Root, partition: PartitionId) -> Log {
    root.topics.lock()[0].log(partition).unwrap().clone()
}

#[test]
fn a_commit_is_a_record_as_kafka_writes_it_and_all_of_one_call_are_one_batch() {
    let root = Root::new();
    let topic = root.topic("t", 2);
    fill(&topic, 3);
    let mut consumer = root.group("my-group").join(["t"]).unwrap();
    assert_eq!(consumer.poll(NOW).unwrap().len(), 6);
    consumer.commit().unwrap();
    let log = offsets_log(&root, MY_PARTITION);
    let mut reader = log.reader(Start::Earliest).unwrap();
    let noted = reader.next_batch().unwrap().unwrap();
    for record in noted.records() {
        let note = OffsetCommit::decode(record.value().unwrap()).unwrap();
        assert_eq!((note.offset, note.metadata), (0, "ottla:began"));
    }
    let batch = reader.next_batch().unwrap().unwrap();
    let mut seen = Vec::new();
    for record in batch.records() {
        let Ok(GroupKey::Offset {
            group,
            topic,
            partition,
        }) = GroupKey::decode(record.key().unwrap())
        else {
            panic!("{record:?}");
        };
        let value = OffsetCommit::decode(record.value().unwrap()).unwrap();
        assert_eq!(value.committed_at, Timestamp::from_millis(1_000_000));
        assert_eq!(
            (value.leader_epoch, value.metadata, value.expires_at),
            (-1, "", None)
        );
        assert_eq!((group, topic), ("my-group", "t"));
        seen.push((partition, value.offset));
    }
    assert_eq!(seen, [(0, 3), (1, 3)]);
    assert!(reader.next_batch().unwrap().is_none());
    // Nothing new, nothing written.
    consumer.commit().unwrap();
    assert!(consumer.poll(NOW).unwrap().is_empty());
    consumer.commit().unwrap();
    assert_eq!(log.end_offset(), 4);
}

/// The root of these tests keeps them for a week, as Kafka does.
#[test]
fn commits_expire_when_a_group_has_had_no_members_and_no_commits_for_long() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let expire = |root: &Root| root.host.followers().unwrap().upkeep().unwrap();
    let root = Root::new();
    let topic = root.topic("t", 1);
    fill(&topic, 3);
    for id in ["rests", "goes", "stays"] {
        let mut consumer = root.group(id).join(["t"]).unwrap();
        assert_eq!(consumer.poll(NOW).unwrap().len(), 3);
        consumer.commit().unwrap();
        consumer.leave().unwrap();
    }
    let idle = ConsumerConfig::default().max_poll_interval(20 * DAY);
    let mut stays = root.group("stays").join_with(["t"], idle.clone()).unwrap();
    let mut goes = root.group("goes").join_with(["t"], idle).unwrap();
    assert!(stays.poll(NOW).unwrap().is_empty() && goes.poll(NOW).unwrap().is_empty());
    root.pass(6 * DAY);
    goes.leave().unwrap();
    assert_eq!(expire(&root), 0);
    root.pass(2 * DAY);
    let committed = |root: &Root, id: &str| root.group(id).committed("t", 0).unwrap();
    assert_eq!(expire(&root), 1, "the one that nobody has used");
    assert_eq!(committed(&root, "rests"), None);
    assert_eq!(
        committed(&root, "goes"),
        Some(3),
        "its member left two days ago"
    );
    root.pass(6 * DAY);
    assert_eq!(expire(&root), 1);
    assert_eq!(committed(&root, "goes"), None);
    assert_eq!(committed(&root, "stays"), Some(3), "it has a member");
    drop(stays);
    let root = Root::open(root.close(), Durability::Os);
    root.topic("t", 1);
    let left: Vec<_> = root.coordinator.list().unwrap();
    let left: Vec<_> = left.iter().map(|group| group.id.as_str()).collect();
    assert_eq!(left, ["stays"]);
}

#[test]
fn a_restart_goes_on_behind_the_commits() {
    let root = Root::new();
    let topic = root.topic("t", 2);
    fill(&topic, 3);
    let group = root.group("g");
    let mut consumer = group.join(["t"]).unwrap();
    assert_eq!(consumer.poll(NOW).unwrap().len(), 6);
    consumer.commit_to("t", 0, 1).unwrap();
    consumer.commit_to("t", 1, 3).unwrap();
    drop(consumer);
    let sim = root.close();

    let root = Root::open(sim, Durability::Os);
    root.topic("t", 2);
    let group = root.group("g");
    assert_eq!(group.committed("t", 0).unwrap(), Some(1));
    assert_eq!(group.committed("t", 1).unwrap(), Some(3));
    let mut consumer = group.join(["t"]).unwrap();
    assert_eq!(places(consumer.poll(NOW).unwrap()), [(0, 1), (0, 2)]);
    assert!(recovered(&root.coordinator).is_empty());
}

#[test]
fn closing_says_of_every_group_that_it_is_empty() {
    let root = Root::new();
    let topic = root.topic("t", 1);
    fill(&topic, 1);
    let mut consumer = root.group("my-group").join(["t"]).unwrap();
    assert_eq!(consumer.poll(NOW).unwrap().len(), 1);
    consumer.commit().unwrap();
    let sim = root.close();
    let root = Root::open(sim, Durability::Os);
    let record = offsets_log(&root, MY_PARTITION).read(2).unwrap().unwrap();
    let key = GroupKey::decode(record.key().unwrap()).unwrap();
    assert_eq!(key, GroupKey::Group { group: "my-group" });
    let value = GroupMetadata::decode(record.value().unwrap()).unwrap();
    assert_eq!(value.protocol_type, "consumer");
    // A broker that finds it years later still keeps the commits.
    let years_later = Timestamp::from_millis(4_000_000_000_000);
    assert!(value.state_since > years_later);
    assert!(value.members.is_empty());
}

#[test]
fn a_commit_of_what_is_not_there_is_refused() {
    let root = Root::new();
    let topic = root.topic("t", 1);
    fill(&topic, 2);
    let group = root.group("g");
    let mut consumer = group.join(["t"]).unwrap();
    let early = consumer.commit_to("t", 0, 0);
    assert!(
        matches!(early, Err(Error::UnknownPartition { .. })),
        "{early:?}"
    );
    assert_eq!(consumer.poll(NOW).unwrap().len(), 2);
    let past = consumer.commit_to("t", 0, 3);
    assert!(
        matches!(
            past,
            Err(Error::OffsetOutOfRange {
                requested: 3,
                start: 0,
                end: 2,
                ..
            })
        ),
        "{past:?}"
    );
    assert!(matches!(
        consumer.commit_to("t", 1, 0),
        Err(Error::UnknownPartition { .. })
    ));
    assert!(matches!(
        consumer.commit_to("u", 0, 0),
        Err(Error::UnknownPartition { .. })
    ));
    assert_eq!(group.committed("t", 0).unwrap(), None);
    assert!(matches!(
        group.committed("t", 1),
        Err(Error::UnknownPartition { .. })
    ));
    assert!(matches!(
        group.committed("u", 0),
        Err(Error::UnknownTopic { .. })
    ));
}

#[test]
fn auto_commit_commits_with_the_next_poll_and_with_leaving_but_not_with_a_drop() {
    let root = Root::new();
    let topic = root.topic("t", 1);
    fill(&topic, 6);
    let group = root.group("g");
    let config = ConsumerConfig::default()
        .auto_commit(true)
        .auto_commit_interval(Duration::ZERO)
        .max_poll_records(2);
    let join = || group.join_with(["t"], config.clone()).unwrap();
    let mut consumer = join();
    assert_eq!(consumer.poll(NOW).unwrap().len(), 2);
    assert_eq!(group.committed("t", 0).unwrap(), None);
    assert_eq!(consumer.poll(NOW).unwrap().len(), 2);
    assert_eq!(group.committed("t", 0).unwrap(), Some(2));
    consumer.leave().unwrap();
    assert_eq!(group.committed("t", 0).unwrap(), Some(4));
    let mut consumer = join();
    assert_eq!(places(consumer.poll(NOW).unwrap()), [(0, 4), (0, 5)]);
    drop(consumer);
    assert_eq!(group.committed("t", 0).unwrap(), Some(4));
    let mut consumer = join();
    assert_eq!(places(consumer.poll(NOW).unwrap()), [(0, 4), (0, 5)]);
    // Too late: there is nothing to commit, and the poll is as any other.
    root.pass(6 * MINUTE);
    assert_eq!(places(consumer.poll(NOW).unwrap()), [(0, 4), (0, 5)]);
}

#[test]
fn under_always_a_commit_never_outlives_its_records() {
    let root = Root::open(Sim::new(), Durability::Always);
    let topic = root.topic_with("t", TopicConfig::default().durability(Durability::Os));
    fill(&topic, 5);
    let group = root.group("g");
    let mut consumer = group.join(["t"]).unwrap();
    assert_eq!(consumer.poll(NOW).unwrap().len(), 5);
    assert_eq!(topic.partition(0).unwrap().flushed_offset(), 0);
    consumer.commit().unwrap();
    assert_eq!(topic.partition(0).unwrap().flushed_offset(), 5);
    drop(consumer);
    let sim = root.sim.crash(Choice::None);
    let root = Root::open(sim, Durability::Always);
    root.topic("t", 1);
    assert!(recovered(&root.coordinator).is_empty());
    assert_eq!(root.group("g").committed("t", 0).unwrap(), Some(5));
}

#[test]
fn a_commit_whose_records_a_power_cut_took_is_set_back_and_reported() {
    let root = Root::new();
    let topic = root.topic("t", 2);
    fill(&topic, 2);
    let flushed = topic.partition(0).unwrap();
    flushed.flush().unwrap();
    fill(&topic, 3);
    let mut consumer = root.group("my-group").join(["t"]).unwrap();
    assert_eq!(consumer.poll(NOW).unwrap().len(), 10);
    consumer.commit().unwrap();
    offsets_log(&root, MY_PARTITION).flush().unwrap();
    drop(consumer);
    let sim = root.sim.crash(Choice::None);

    let root = Root::open(sim, Durability::Os);
    let topic = root.topic("t", 2);
    let events = recovered(&root.coordinator);
    let mut back = Vec::new();
    for event in &events {
        let OpenEvent::CommitSetBack {
            group,
            topic,
            partition,
            committed,
            end,
        } = event
        else {
            panic!("{event:?}");
        };
        assert_eq!((group.as_str(), topic.as_str()), ("my-group", "t"));
        back.push((*partition, *committed, *end));
    }
    assert_eq!(back, [(0, 5, 2), (1, 5, 0)]);
    assert!(recovered(&root.coordinator).is_empty());
    // Records that get the lost offsets again are not passed over.
    fill(&topic, 3);
    let mut consumer = root.group("my-group").join(["t"]).unwrap();
    let again = [(0, 2), (0, 3), (0, 4), (1, 0), (1, 1), (1, 2)];
    assert_eq!(places(consumer.poll(NOW).unwrap()), again);
}

/// Found by the random histories: the commit that was set back was lost by the second power cut,
/// the first one came back, and passed over the records that had got its offsets.
#[test]
fn what_recovery_sets_back_survives_the_next_power_cut() {
    let root = Root::new();
    let topic = root.topic("t", 1);
    fill(&topic, 3);
    let mut consumer = root.group("my-group").join(["t"]).unwrap();
    assert_eq!(consumer.poll(NOW).unwrap().len(), 3);
    consumer.commit().unwrap();
    offsets_log(&root, MY_PARTITION).flush().unwrap();
    drop(consumer);
    let sim = root.sim.crash(Choice::None);

    let root = Root::open(sim, Durability::Os);
    let topic = root.topic("t", 1);
    assert_eq!(recovered(&root.coordinator).len(), 1);
    fill(&topic, 3);
    topic.partition(0).unwrap().flush().unwrap();
    let sim = root.sim.crash(Choice::None);

    let root = Root::open(sim, Durability::Os);
    root.topic("t", 1);
    assert!(recovered(&root.coordinator).is_empty());
    let mut consumer = root.group("my-group").join(["t"]).unwrap();
    assert_eq!(
        places(consumer.poll(NOW).unwrap()),
        [(0, 0), (0, 1), (0, 2)]
    );
}

#[test]
fn a_topic_made_again_does_not_get_the_commits_of_the_old_one_by_a_power_cut() {
    let root = Root::new();
    let topic = root.topic("t", 1);
    fill(&topic, 3);
    let mut consumer = root.group("my-group").join(["t"]).unwrap();
    assert_eq!(consumer.poll(NOW).unwrap().len(), 3);
    consumer.commit().unwrap();
    offsets_log(&root, MY_PARTITION).flush().unwrap();
    drop(consumer);
    drop(topic);
    root.delete_topic("t");
    let topic = root.topic("t", 1);
    fill(&topic, 3);
    topic.partition(0).unwrap().flush().unwrap();
    let sim = root.sim.crash(Choice::None);

    let root = Root::open(sim, Durability::Os);
    root.topic("t", 1);
    assert!(recovered(&root.coordinator).is_empty());
    assert_eq!(root.group("my-group").committed("t", 0).unwrap(), None);
}

#[test]
fn commits_of_a_topic_that_a_crash_kept_half_deleted_are_forgotten() {
    let root = Root::new();
    let topic = root.topic("t", 1);
    fill(&topic, 2);
    let mut consumer = root.group("g").join(["t"]).unwrap();
    assert_eq!(consumer.poll(NOW).unwrap().len(), 2);
    consumer.commit().unwrap();
    drop(consumer);
    let sim = root.close();
    let root = Root::open(sim, Durability::Os);
    assert!(recovered(&root.coordinator).is_empty());
    root.topic("t", 1);
    assert_eq!(root.group("g").committed("t", 0).unwrap(), None);
}

#[test]
fn a_group_without_members_can_be_reset_and_deleted() {
    let root = Root::new();
    let topic = root.topic("t", 2);
    root.clock.set_wall(Timestamp::from_millis(5000));
    fill(&topic, 2);
    root.clock.set_wall(Timestamp::from_millis(6000));
    fill(&topic, 2);
    let group = root.group("g");
    let consumer = group.join(["t"]).unwrap();
    assert!(matches!(
        group.reset("t", Start::Latest),
        Err(Error::GroupNotEmpty { .. })
    ));
    assert!(matches!(
        root.coordinator.delete("g"),
        Err(Error::GroupNotEmpty { .. })
    ));
    drop(consumer);
    assert!(matches!(
        root.coordinator.delete("g"),
        Err(Error::UnknownGroup { .. })
    ));
    for (to, offset) in [
        (Start::Latest, 4),
        (Start::Earliest, 0),
        (Start::Offset(3), 3),
        (Start::Time(Timestamp::from_millis(5500)), 2),
    ] {
        group.reset("t", to).unwrap();
        assert_eq!(group.committed("t", 0).unwrap(), Some(offset), "{to:?}");
        assert_eq!(group.committed("t", 1).unwrap(), Some(offset), "{to:?}");
    }
    let past = group.reset("t", Start::Offset(5));
    assert!(
        matches!(past, Err(Error::OffsetOutOfRange { requested: 5, .. })),
        "{past:?}"
    );
    assert!(matches!(
        group.reset("u", Start::Latest),
        Err(Error::UnknownTopic { .. })
    ));
    assert_eq!(group.committed("t", 0).unwrap(), Some(2));
    root.coordinator.delete("g").unwrap();
    assert_eq!(group.committed("t", 0).unwrap(), None);
    assert!(matches!(
        root.coordinator.delete("g"),
        Err(Error::UnknownGroup { .. })
    ));
    let sim = root.close();
    let root = Root::open(sim, Durability::Os);
    root.topic("t", 2);
    assert_eq!(root.group("g").committed("t", 0).unwrap(), None);
    assert!(root.coordinator.list().unwrap().is_empty());
}

#[test]
fn groups_are_listed_with_members_and_places() {
    let root = Root::new();
    let topic = root.topic("t", 2);
    fill(&topic, 3);
    let mut done = root.group("done").join(["t"]).unwrap();
    assert_eq!(done.poll(NOW).unwrap().len(), 6);
    done.commit().unwrap();
    drop(done);
    let group = root.group("busy");
    let mut a = group
        .join_with(["t"], ConsumerConfig::default().max_poll_records(2))
        .unwrap();
    assert_eq!(a.poll(NOW).unwrap().len(), 2);
    a.commit().unwrap();
    let _b = group.join(["t"]).unwrap();
    let infos = root.coordinator.list().unwrap();
    let names: Vec<_> = infos
        .iter()
        .map(|info| (info.id.as_str(), info.state))
        .collect();
    assert_eq!(
        names,
        [
            ("busy", GroupState::Rebalancing),
            ("done", GroupState::Empty)
        ]
    );
    assert_eq!((infos[0].lag(), infos[1].lag()), (4, 0));
    assert_eq!(infos[0], group.describe().unwrap());
    assert_eq!(infos[0].generation, 1);
    let members: Vec<_> = infos[0]
        .members
        .iter()
        .map(|member| (member.id.as_str(), numbers(&member.partitions)))
        .collect();
    assert_eq!(members, [("member-1", vec![0, 1]), ("member-2", vec![])]);
    let partition = &infos[0].partitions[0];
    assert_eq!(
        (partition.committed, partition.start, partition.end),
        (Some(2), 0, 3)
    );
    assert_eq!(
        (partition.lag, partition.member.as_deref()),
        (1, Some("member-1"))
    );
    assert_eq!(infos[1].partitions[1].member, None);
}

#[test]
fn commits_too_many_for_one_batch_are_written_all_the_same() {
    let root = Root::new();
    let config = TopicConfig::default().partitions(50).max_message_bytes(400);
    root.topics.lock()[0].reconfigure(config).unwrap();
    let topic = root.topic("t", 20);
    fill(&topic, 1);
    let mut consumer = root.group("g").join(["t"]).unwrap();
    assert_eq!(consumer.poll(NOW).unwrap().len(), 20);
    consumer.commit().unwrap();
    for partition in 0..20 {
        assert_eq!(root.group("g").committed("t", partition).unwrap(), Some(1));
    }
}

#[test]
fn records_that_no_one_understands_are_left_alone_and_a_commit_is_not_passed_over() {
    let root = Root::new();
    root.topic("t", 1);
    let log = offsets_log(&root, MY_PARTITION);
    log.append(Record::keyed(&[0, 5, 0, 1, b'g'], "x")).unwrap();
    log.append(Record::keyed(&[7], "x")).unwrap();
    let mut key = Vec::new();
    GroupKey::Offset {
        group: "my-group",
        topic: "t",
        partition: 0,
    }
    .encode(&mut key)
    .unwrap();
    assert_eq!(root.group("my-group").committed("t", 0).unwrap(), None);
    let mut sim = root.close();
    // A value that is too short, and one of a later version.
    for value in [&[0, 3, 1][..], &[0, 9, 0, 0]] {
        let root = Root::open(sim, Durability::Os);
        root.topic("t", 1);
        offsets_log(&root, MY_PARTITION)
            .append(Record::keyed(&key, value))
            .unwrap();
        let committed = root.group("my-group").committed("t", 0);
        assert!(
            matches!(committed, Err(Error::Unsupported { .. })),
            "{committed:?}"
        );
        sim = root.close();
    }
}

#[test]
fn a_full_disk_refuses_a_commit_and_the_next_one_goes_through() {
    let root = Root::new();
    let topic = root.topic("t", 1);
    fill(&topic, 2);
    let group = root.group("g");
    let mut consumer = group
        .join_with(["t"], ConsumerConfig::default().max_poll_records(1))
        .unwrap();
    assert_eq!(consumer.poll(NOW).unwrap().len(), 1);
    root.sim.set_capacity(Some(root.sim.used()));
    // A little room may be reserved already: this uses it up.
    let large = "x".repeat(30_000);
    let refused = (0..10).find_map(|_| consumer.commit_to_with("t", 0, 1, &large).err());
    assert!(
        matches!(refused, Some(Error::NoSpace { .. })),
        "{refused:?}"
    );
    root.sim.set_capacity(None);
    consumer.commit().unwrap();
    assert_eq!(group.committed("t", 0).unwrap(), Some(1));
}

#[test]
fn the_members_of_a_group_wait_for_a_sync_together() {
    let root = Root::open(Sim::new(), Durability::Always);
    let topic = root.topic("t", 1);
    fill(&topic, 3);
    let group = root.group("g");
    let mut consumer = group.join(["t"]).unwrap();
    assert_eq!(consumer.poll(NOW).unwrap().len(), 3);
    consumer.commit_to("t", 0, 1).unwrap();
    // While one commit waits for its sync, the next one is appended: the group's lock is free.
    let store = &root.coordinator.shared.store;
    let log = offsets_log(&root, group_partition("g", 50));
    let commit = |offset| Commit {
        topic: Arc::from("t"),
        partition: 0,
        offset,
        metadata: None,
    };
    let before = log.flushed_offset();
    let first = store.commit("g", &[commit(2)]).unwrap();
    let second = store.commit("g", &[commit(3)]).unwrap();
    assert_eq!(
        (log.flushed_offset(), log.end_offset()),
        (before, before + 2)
    );
    first.confirm().unwrap();
    assert_eq!(log.flushed_offset(), before + 2, "one sync for both");
    second.confirm().unwrap();
    assert_eq!(group.committed("t", 0).unwrap(), Some(3));
}
