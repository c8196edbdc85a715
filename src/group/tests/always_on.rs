//! Groups that always go on: members that hang, share out, ask first, are restarted or woken, and
//! the places that are noted for them.

use std::thread;

use super::*;
use crate::disk::sim::Choice;

fn join(group: &ConsumerGroup, config: ConsumerConfig) -> Consumer {
    group.join_with(["t"], config).unwrap()
}

fn latest() -> ConsumerConfig {
    ConsumerConfig::default().start(Start::Latest)
}

#[test]
fn a_member_that_hangs_is_removed_while_the_others_wait_in_one_long_poll() {
    let root = Root::new();
    let topic = root.topic("t", 2);
    let group = root.group("g");
    let hasty = ConsumerConfig::default().max_poll_interval(Duration::from_millis(50));
    let mut waits = join(&group, ConsumerConfig::default());
    let mut hangs = join(&group, hasty);
    assert_eq!(changes(&mut waits), (vec![], vec![0, 1]));
    assert_eq!(changes(&mut hangs), (vec![], vec![1]));
    // It is in a poll while the other one begins to wait, so it has no deadline that could be seen.
    let begun = crate::sync::Barrier::new(2);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            begun.wait();
            waits.poll(LONG).unwrap()
        });
        begun.wait();
        assert!(hangs.poll(Duration::from_millis(20)).unwrap().is_empty());
        fill_partition(&topic, 1);
        root.clock.advance(Duration::from_millis(50));
        let records = waiting.join().unwrap();
        assert_eq!(
            places(records),
            [(1, 0)],
            "nobody but the waiting one reads it"
        );
    });
}

fn fill_partition(topic: &Topic, partition: PartitionId) {
    let next = topic.partition(partition).unwrap().end_offset();
    let value = format!("{partition}@{next}");
    topic.append_to(partition, Record::new(&value)).unwrap();
}

#[test]
fn what_a_busy_member_has_not_polled_passes_to_a_newcomer_at_once() {
    let root = Root::new();
    let topic = root.topic("t", 40);
    fill(&topic, 1);
    let group = root.group("g");
    let one = ConsumerConfig::default().max_poll_records(1);
    let mut busy = join(&group, one.clone());
    assert_eq!(places(busy.poll(NOW).unwrap()), [(0, 0)]);
    let mut helper = join(&group, one);
    let records = helper.poll(NOW).unwrap();
    assert_eq!(numbers(records.gained()), (20..40).collect::<Vec<_>>());
    assert_eq!(records.len(), 1);
    // The busy one is told in its own time, and cannot commit what it lost.
    let taken = busy.commit_to("t", 30, 0);
    assert!(matches!(taken, Err(Error::Fenced { .. })), "{taken:?}");
    assert_eq!(busy.assignment().len(), 20);
    busy.commit().unwrap();
    let (lost, gained) = changes(&mut busy);
    assert_eq!((lost, gained), ((20..40).collect(), vec![]));
}

#[test]
fn a_member_that_never_polls_has_no_share_and_a_seek_before_the_first_poll_counts() {
    let root = Root::new();
    let topic = root.topic("t", 2);
    fill(&topic, 3);
    let group = root.group("g");
    let _idle = join(&group, ConsumerConfig::default());
    let mut reads = join(&group, ConsumerConfig::default());
    reads.seek("t", 1, 2).unwrap();
    let unknown = reads.seek("t", 2, 0);
    assert!(matches!(unknown, Err(Error::UnknownPartition { .. })));
    let records = reads.poll(NOW).unwrap();
    assert_eq!(numbers(records.gained()), [0, 1]);
    assert_eq!(places(records), [(0, 0), (0, 1), (0, 2), (1, 2)]);
}

/// Commits what was polled when partitions go, and writes down every call.
struct Listener(Arc<Mutex<Vec<Call>>>);

/// What was called, and the numbers of the partitions.
type Call = (&'static str, Vec<PartitionId>);

impl Listener {
    fn tell(&self, what: &'static str, partitions: &[crate::types::TopicPartition]) {
        let numbers = partitions.iter().map(|place| place.partition).collect();
        self.0.lock().push((what, numbers));
    }
}

impl RebalanceListener for Listener {
    fn on_revoke(&mut self, consumer: &mut Consumer, partitions: &[crate::types::TopicPartition]) {
        consumer.commit().unwrap();
        self.tell("revoke", partitions);
    }

    fn on_assign(&mut self, _consumer: &mut Consumer, partitions: &[crate::types::TopicPartition]) {
        self.tell("assign", partitions);
    }

    fn on_lost(&mut self, _consumer: &mut Consumer, partitions: &[crate::types::TopicPartition]) {
        self.tell("lost", partitions);
    }
}

#[test]
fn a_listener_is_asked_before_the_next_owner_may_read() {
    let root = Root::new();
    let topic = root.topic("t", 2);
    fill(&topic, 1);
    let group = root.group("g");
    let calls = Arc::new(Mutex::new(Vec::new()));
    let mut asked = group
        .join_listening(
            ["t"],
            ConsumerConfig::default(),
            Listener(Arc::clone(&calls)),
        )
        .unwrap();
    assert_eq!(asked.poll(NOW).unwrap().len(), 2);
    asked.commit().unwrap();
    fill(&topic, 1);
    assert_eq!(asked.poll(NOW).unwrap().len(), 2);
    let mut next = join(&group, ConsumerConfig::default());
    assert_eq!(changes(&mut next), (vec![], vec![]));
    assert_eq!(changes(&mut asked), (vec![1], vec![]));
    assert_eq!(group.committed("t", 1).unwrap(), Some(2));
    let records = next.poll(NOW).unwrap();
    assert_eq!(numbers(records.gained()), [1]);
    assert!(records.is_empty(), "the hook has committed it");
    root.pass(6 * MINUTE);
    assert_eq!(changes(&mut next), (vec![1], vec![0, 1]));
    assert_eq!(changes(&mut asked), (vec![0], vec![1]));
    asked.leave().unwrap();
    assert_eq!(
        *calls.lock(),
        [
            ("assign", vec![0, 1]),
            ("revoke", vec![1]),
            ("lost", vec![0]),
            ("assign", vec![1]),
            ("revoke", vec![1])
        ]
    );
}

#[test]
fn a_static_member_that_is_restarted_in_time_moves_nothing() {
    let root = Root::new();
    let topic = root.topic("t", 2);
    let group = root.group("g");
    let named = |id: &str| ConsumerConfig::default().static_member_id(id);
    let mut left = join(&group, named("left"));
    let mut right = join(&group, named("right"));
    assert_eq!(changes(&mut left), (vec![], vec![0, 1]));
    assert_eq!(changes(&mut right), (vec![], vec![1]));
    assert_eq!(changes(&mut left), (vec![1], vec![]));
    fill(&topic, 1);
    assert_eq!(places(left.poll(NOW).unwrap()), [(0, 0)]);
    drop(left);
    root.pass(Duration::from_secs(44));
    assert_eq!(places(right.poll(NOW).unwrap()), [(1, 0)]);
    let mut left = join(&group, named("left"));
    assert_eq!(changes(&mut right), (vec![], vec![]));
    assert_eq!(
        places(left.poll(NOW).unwrap()),
        [(0, 0)],
        "it was not committed"
    );
    drop(left);
    root.pass(Duration::from_secs(45));
    assert_eq!(changes(&mut right), (vec![], vec![0]));
}

#[test]
fn a_static_member_keeps_its_share_when_no_handle_on_its_group_is_left() {
    let root = Root::new();
    root.topic("t", 2);
    let config = ConsumerConfig::default().static_member_id("alone");
    let mut alone = join(&root.group("g"), config.clone());
    assert_eq!(changes(&mut alone), (vec![], vec![0, 1]));
    drop(alone);
    let mut other = join(&root.group("g"), ConsumerConfig::default());
    assert_eq!(changes(&mut other), (vec![], vec![1]));
    let mut alone = join(&root.group("g"), config);
    assert_eq!(changes(&mut alone), (vec![], vec![0]));
    root.coordinator.close().unwrap();
}

#[test]
fn latest_is_where_the_group_began_whichever_member_reads_on() {
    let root = Root::new();
    let topic = root.topic("t", 2);
    fill(&topic, 2);
    let group = root.group("g");
    let mut first = join(&group, latest());
    assert!(first.poll(NOW).unwrap().is_empty());
    assert_eq!(group.committed("t", 0).unwrap(), None, "nobody committed");
    fill(&topic, 1);
    assert_eq!(first.poll(NOW).unwrap().len(), 2);
    // It dies before its first commit; more comes while there is no member.
    drop(first);
    fill(&topic, 1);
    let listed = root.coordinator.list().unwrap();
    assert_eq!((listed[0].id.as_str(), listed[0].lag()), ("g", 4));
    let sim = root.close();

    let root = Root::open(sim, Durability::Os);
    let topic = root.topic("t", 2);
    let group = root.group("g");
    let mut next = join(&group, latest());
    let seen = places(next.poll(NOW).unwrap());
    assert_eq!(seen, [(0, 2), (0, 3), (1, 2), (1, 3)]);
    assert_eq!(next.lag().unwrap(), group.describe().unwrap().lag());
    // Partitions that are added are read from their start, also by a group that rests.
    next.commit().unwrap();
    drop(next);
    topic.shared().make_dirs(2..3).unwrap();
    let config = topic.config().partitions(3);
    topic.shared().reconfigure(config).unwrap();
    root.directory.tell();
    fill_partition(&topic, 2);
    let mut next = join(&group, latest());
    assert_eq!(places(next.poll(NOW).unwrap()), [(2, 0)]);
}

#[test]
fn a_topic_that_comes_while_the_group_lives_is_read_from_its_start() {
    let root = Root::new();
    let group = root.group("g");
    let mut waits = join(&group, latest());
    assert!(waits.poll(NOW).unwrap().is_empty());
    let topic = root.topic("t", 1);
    fill(&topic, 2);
    assert_eq!(places(waits.poll(NOW).unwrap()), [(0, 0), (0, 1)]);
    waits.commit().unwrap();
    root.delete_topic("t");
    let again = root.topic("t", 1);
    fill(&again, 1);
    assert_eq!(places(waits.poll(NOW).unwrap()), [(0, 0)]);
}

#[test]
fn with_latest_nothing_is_passed_over_while_a_partition_changes_hands() {
    let root = Root::new();
    let topic = root.topic("t", 2);
    fill(&topic, 2);
    let group = root.group("g");
    let mut first = join(&group, latest());
    assert_eq!(changes(&mut first), (vec![], vec![0, 1]));
    let mut second = join(&group, latest());
    assert_eq!(
        changes(&mut second),
        (vec![], vec![1]),
        "it had nothing of it"
    );
    fill(&topic, 1);
    assert_eq!(places(second.poll(NOW).unwrap()), [(1, 2)]);
    // It dies with what it polled, and more comes before the other one gets the partition.
    drop(second);
    fill_partition(&topic, 1);
    assert_eq!(changes(&mut first), (vec![1], vec![1]));
    let mut seen = Vec::new();
    first.rewind().unwrap();
    while seen.len() < 3 {
        let polled = places(first.poll(NOW).unwrap());
        assert!(!polled.is_empty(), "{seen:?}");
        seen.extend(polled);
    }
    seen.sort_unstable();
    assert_eq!(seen, [(0, 2), (1, 2), (1, 3)]);
}

#[test]
fn with_latest_a_partition_that_is_added_to_a_living_group_is_read_from_its_start() {
    let root = Root::new();
    let topic = root.topic("t", 1);
    fill(&topic, 2);
    let mut member = join(&root.group("g"), latest());
    assert!(member.poll(NOW).unwrap().is_empty());
    topic.shared().make_dirs(1..3).unwrap();
    let config = topic.config().partitions(3);
    topic.shared().reconfigure(config).unwrap();
    root.directory.tell();
    fill_partition(&topic, 1);
    fill_partition(&topic, 2);
    // It dies before it has looked, and another one comes.
    drop(member);
    let mut next = join(&root.group("g"), latest());
    assert_eq!(places(next.poll(NOW).unwrap()), [(1, 0), (2, 0)]);
}

#[test]
fn what_was_gone_before_it_was_read_is_counted_and_reported() {
    let root = Root::new();
    let topic = root.topic_with("t", TopicConfig::default().segment_bytes(1024));
    fill(&topic, 100);
    let group = root.group("g");
    let mut consumer = join(&group, ConsumerConfig::default().max_poll_records(10));
    assert_eq!(consumer.poll(NOW).unwrap().len(), 10);
    consumer.commit().unwrap();
    topic.partition(0).unwrap().truncate_prefix(60).unwrap();
    let info = group.describe().unwrap();
    assert_eq!((info.lag(), info.partitions[0].unread), (40, 50));
    assert_eq!(consumer.lag().unwrap(), 40);
    let records = consumer.poll(NOW).unwrap();
    let [skipped] = records.skipped() else {
        panic!("{:?}", records.skipped());
    };
    assert_eq!(skipped.partition.to_string(), "t-0");
    // What was read into memory before is returned all the same.
    assert!(skipped.from >= 10, "{skipped:?}");
    assert_eq!(skipped.to, 60);
    let expected: Vec<_> = (10..skipped.from).chain(60..100).take(10).collect();
    let offsets: Vec<_> = records.iter().map(|record| record.offset).collect();
    assert_eq!(offsets, expected);
}

#[test]
fn a_poll_is_bounded_in_bytes_and_returns_one_record_always() {
    let root = Root::new();
    let topic = root.topic("t", 3);
    let large = "x".repeat(1000);
    for partition in 0..3 {
        for _ in 0..10 {
            topic.append_to(partition, Record::new(&large)).unwrap();
        }
    }
    let group = root.group("bounded");
    let bounded = ConsumerConfig::default()
        .fetch_max_bytes(5500)
        .max_partition_fetch_bytes(3500);
    let mut consumer = join(&group, bounded);
    let mut counts = [0; 3];
    let mut polls = 0;
    loop {
        let records = consumer.poll(NOW).unwrap();
        if records.is_empty() {
            break;
        }
        polls += 1;
        assert!(records.len() <= 5);
        let mut of_poll = [0_u64; 3];
        for record in records {
            let partition = usize::try_from(record.partition).unwrap();
            assert_eq!(
                record.offset, counts[partition],
                "none is lost, none comes twice"
            );
            counts[partition] += 1;
            of_poll[partition] += 1;
        }
        assert!(of_poll.iter().all(|count| *count <= 3), "{of_poll:?}");
    }
    assert_eq!((counts, polls), ([10; 3], 6));
    let tiny = ConsumerConfig::default()
        .fetch_max_bytes(1)
        .max_partition_fetch_bytes(1);
    let mut consumer = join(&root.group("tiny"), tiny);
    for _ in 0..30 {
        assert_eq!(consumer.poll(NOW).unwrap().len(), 1);
    }
}

#[test]
fn a_handle_ends_the_poll_that_waits_or_the_next_one() {
    let root = Root::new();
    let topic = root.topic("t", 1);
    let mut consumer = join(&root.group("g"), ConsumerConfig::default());
    let handle = consumer.wakeup_handle();
    // Before the first poll: that one has not taken its turn yet, the next one does.
    handle.wake();
    assert!(matches!(consumer.poll(NOW), Err(Error::WokenUp)));
    assert_eq!(changes(&mut consumer), (vec![], vec![0]));
    thread::scope(|scope| {
        let waiting = scope.spawn(|| consumer.poll(LONG));
        handle.wake();
        assert!(matches!(waiting.join().unwrap(), Err(Error::WokenUp)));
    });
    fill(&topic, 1);
    handle.wake();
    handle.wake();
    assert!(matches!(consumer.poll(NOW), Err(Error::WokenUp)));
    assert_eq!(places(consumer.poll(NOW).unwrap()), [(0, 0)]);
}

#[test]
fn a_subscription_changes_while_the_member_lives() {
    let root = Root::new();
    let (t, u) = (root.topic("t", 1), root.topic("u", 1));
    fill(&t, 1);
    fill(&u, 1);
    let mut consumer = root.group("g").join(["t"]).unwrap();
    assert_eq!(consumer.poll(NOW).unwrap().len(), 1);
    consumer.subscribe(["u"]).unwrap();
    let records = consumer.poll(NOW).unwrap();
    assert_eq!(records.lost(), [("t".to_owned(), 0)]);
    assert_eq!(records.gained(), [("u".to_owned(), 0)]);
    consumer
        .subscribe_matching(|name| name.starts_with('v') || name.starts_with("__"))
        .unwrap();
    assert!(consumer.poll(NOW).unwrap().is_empty());
    let v = root.topic("v1", 1);
    fill(&v, 2);
    let records = consumer.poll(NOW).unwrap();
    assert_eq!(records.gained(), [("v1".to_owned(), 0)]);
    assert_eq!(records.len(), 2);
    let none: [&str; 0] = [];
    assert!(matches!(
        consumer.subscribe(none),
        Err(Error::InvalidConfig { .. })
    ));
}

#[test]
fn a_stale_error_is_not_reported_after_a_seek_nor_for_a_partition_that_is_gone() {
    let root = Root::new();
    let topic = root.topic("t", 2);
    fill(&topic, 1);
    let group = root.group("g");
    let mut consumer = join(&group, ConsumerConfig::default().start(None));
    assert!(consumer.poll(NOW).is_err());
    consumer.seek("t", 0, 0).unwrap();
    assert_eq!(
        consumer.poll(NOW).unwrap().len(),
        1,
        "and an error is put off"
    );
    consumer.seek("t", 1, 0).unwrap();
    assert_eq!(places(consumer.poll(NOW).unwrap()), [(1, 0)]);
}

#[test]
fn rewind_returns_what_was_not_committed_and_texts_are_kept_beside_offsets() {
    let root = Root::new();
    let topic = root.topic("t", 1);
    fill(&topic, 5);
    let group = root.group("g");
    let mut consumer = join(&group, ConsumerConfig::default().max_poll_records(2));
    assert_eq!(consumer.poll(NOW).unwrap().len(), 2);
    consumer.commit_to_with("t", 0, 1, "half").unwrap();
    let partition = &group.describe().unwrap().partitions[0];
    assert_eq!(
        (partition.committed, partition.metadata.as_deref()),
        (Some(1), Some("half"))
    );
    consumer.rewind().unwrap();
    assert_eq!(places(consumer.poll(NOW).unwrap()), [(0, 1), (0, 2)]);
    let all = consumer.committed_all().unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].0.to_string().as_str(), all[0].1), ("t-0", 1));
    let busy = group.commit_to("t", 0, 3, "");
    assert!(matches!(busy, Err(Error::GroupNotEmpty { .. })));
    consumer.pause("t", 0).unwrap();
    assert_eq!(consumer.paused().len(), 1);
    drop(consumer);
    group.commit_to("t", 0, 3, "by hand").unwrap();
    assert_eq!(group.committed("t", 0).unwrap(), Some(3));
    group.reset_partition("t", 0, Start::Earliest).unwrap();
    assert_eq!(group.committed("t", 0).unwrap(), Some(0));
    group.delete_commits("t").unwrap();
    assert_eq!(group.committed("t", 0).unwrap(), None);
    let mut consumer = join(&group, latest());
    assert!(consumer.poll(NOW).unwrap().is_empty(), "it begins again");
}

#[test]
fn deleted_groups_leave_memory() {
    let root = Root::new();
    root.topic("t", 2).append_to(1, "x").unwrap();
    let store = &root.coordinator.shared.store;
    for number in 0..50 {
        let id = format!("g{number}");
        let group = root.coordinator.group(&id).unwrap();
        let mut member = group.join(["t"]).unwrap();
        drop(member.poll(NOW).unwrap());
        member.commit().unwrap();
        drop(member);
        assert!(store.in_memory() > 0);
        root.coordinator.delete(&id).unwrap();
        assert_eq!(store.in_memory(), 0, "after {id}");
        let id = crate::types::GroupId::new(&id).unwrap();
        assert_eq!(root.coordinator.shared.emptied_at(&id), None);
    }
}

#[test]
fn a_topic_made_again_while_its_group_has_no_members_is_read_from_its_start() {
    for reopened in [false, true] {
        let root = Root::new();
        let topic = root.topic("t", 2);
        fill(&topic, 3);
        let mut member = join(&root.group("g"), latest());
        assert!(member.poll(NOW).unwrap().is_empty());
        fill_partition(&topic, 1);
        assert_eq!(member.poll(NOW).unwrap().len(), 1);
        member.commit().unwrap();
        drop((member, topic));
        root.delete_topic("t");
        assert!(root.coordinator.list().unwrap().is_empty());

        let root = if reopened {
            // Nothing but what a power cut leaves, once the directories are gone.
            root.sim.disk().sync_dir(Path::new(ROOT)).unwrap();
            let root = Root::open(root.sim.crash(Choice::None), Durability::Os);
            recovered(&root.coordinator);
            root
        } else {
            root
        };
        let topic = root.topic("t", 3);
        fill(&topic, 1);
        let group = root.group("g");
        assert_eq!(group.committed("t", 0).unwrap(), None);
        let mut member = join(&group, latest());
        let mut seen = places(member.poll(NOW).unwrap());
        seen.sort_unstable();
        assert_eq!(seen, [(0, 0), (1, 0), (2, 0)], "reopened: {reopened}");
        // Another group has not begun it.
        assert!(
            join(&root.group("other"), latest())
                .poll(NOW)
                .unwrap()
                .is_empty()
        );
        drop((member, topic));

        // A group that is deleted has begun nothing any more.
        root.delete_topic("t");
        root.coordinator.delete("g").unwrap();
        fill(&root.topic("t", 1), 1);
        let mut member = join(&root.group("g"), latest());
        assert!(member.poll(NOW).unwrap().is_empty());
    }
}
