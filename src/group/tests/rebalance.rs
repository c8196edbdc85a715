//! Members come, go, hang and panic.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use super::*;

#[test]
fn members_share_the_partitions_and_each_group_sees_everything() {
    let root = Root::new();
    let topic = root.topic("t", 4);
    let group = root.group("g");
    let mut a = group.join(["t"]).unwrap();
    let mut b = group.join(["t"]).unwrap();
    assert_eq!(changes(&mut a), (vec![], vec![0, 1, 2, 3]));
    assert_eq!(changes(&mut b), (vec![], vec![2, 3]));
    fill(&topic, 3);
    let from_a = places(a.poll(NOW).unwrap());
    let from_b = places(b.poll(NOW).unwrap());
    assert_eq!(from_a.len() + from_b.len(), 12);
    assert_eq!(numbers(&a.assignment()), [0, 1]);
    assert_eq!(numbers(&b.assignment()), [2, 3]);
    let mut other = root.group("other").join(["t"]).unwrap();
    assert_eq!(places(other.poll(NOW).unwrap()).len(), 12);
}

#[test]
fn join_waits_for_no_one_and_a_partition_passes_on_with_its_owners_poll() {
    let root = Root::new();
    let topic = root.topic("t", 2);
    fill(&topic, 1);
    let group = root.group("g");
    let mut a = group.join(["t"]).unwrap();
    assert_eq!(places(a.poll(NOW).unwrap()), [(0, 0), (1, 0)]);
    let mut b = group.join(["t"]).unwrap();
    assert_eq!(changes(&mut b), (vec![], vec![]));
    a.commit().unwrap();
    assert_eq!(changes(&mut a), (vec![1], vec![]));
    let records = b.poll(NOW).unwrap();
    assert_eq!(numbers(records.gained()), [1]);
    assert!(records.is_empty(), "what was committed does not come again");
    assert_eq!(group.describe().unwrap().state, GroupState::Stable);
}

#[test]
fn what_was_polled_of_a_partition_that_was_let_go_has_one_last_commit() {
    let root = Root::new();
    let topic = root.topic("t", 2);
    fill(&topic, 4);
    let group = root.group("g");
    let mut a = group.join(["t"]).unwrap();
    assert_eq!(a.poll(NOW).unwrap().len(), 8);
    let mut b = group.join(["t"]).unwrap();
    assert_eq!(changes(&mut b), (vec![], vec![]));
    assert_eq!(changes(&mut a), (vec![1], vec![]));
    a.commit().unwrap();
    assert_eq!(group.committed("t", 1).unwrap(), Some(4));
    assert!(b.poll(NOW).unwrap().is_empty());
    assert!(matches!(
        a.commit_to("t", 1, 2),
        Err(Error::UnknownPartition { .. })
    ));
}

#[test]
fn a_last_commit_does_not_take_back_what_the_new_owner_has_done() {
    let root = Root::new();
    let topic = root.topic("t", 2);
    fill(&topic, 4);
    let group = root.group("g");
    let mut a = group
        .join_with(["t"], ConsumerConfig::default().max_poll_records(6))
        .unwrap();
    assert_eq!(a.poll(NOW).unwrap().len(), 6);
    let mut b = group.join(["t"]).unwrap();
    assert_eq!(changes(&mut b), (vec![], vec![]));
    assert_eq!(changes(&mut a), (vec![1], vec![]));
    assert_eq!(
        places(b.poll(NOW).unwrap()),
        [(1, 0), (1, 1), (1, 2), (1, 3)]
    );
    b.commit().unwrap();
    a.commit().unwrap();
    assert_eq!(group.committed("t", 0).unwrap(), Some(4));
    assert_eq!(group.committed("t", 1).unwrap(), Some(4));
}

#[test]
fn a_consumer_that_a_panic_drops_leaves_and_its_records_come_again() {
    let root = Root::new();
    let topic = root.topic("t", 1);
    fill(&topic, 10);
    let group = root.group("g");
    let mut consumer = group
        .join_with(["t"], ConsumerConfig::default().max_poll_records(4))
        .unwrap();
    assert_eq!(consumer.poll(NOW).unwrap().len(), 4);
    consumer.commit().unwrap();
    let died = catch_unwind(AssertUnwindSafe(move || {
        for (nth, _) in consumer.poll(NOW).unwrap().into_iter().enumerate() {
            assert!(nth < 2, "in mid-batch");
        }
    }));
    assert!(died.is_err());
    assert!(group.describe().unwrap().members.is_empty());
    let mut other = group.join(["t"]).unwrap();
    let again: Vec<_> = (4..10).map(|offset| (0, offset)).collect();
    assert_eq!(places(other.poll(NOW).unwrap()), again);
}

#[test]
fn who_polls_too_late_is_thrown_out_fenced_and_joins_again() {
    let root = Root::new();
    let topic = root.topic("t", 2);
    fill(&topic, 2);
    let group = root.group("g");
    let mut slow = group.join(["t"]).unwrap();
    assert_eq!(slow.poll(NOW).unwrap().len(), 4);
    let mut other = group.join(["t"]).unwrap();
    root.pass(5 * MINUTE);
    assert_eq!(slow.assignment(), []);
    match slow.commit() {
        Err(Error::Fenced {
            group,
            member,
            generation,
            ..
        }) => {
            assert_eq!(
                (group.as_str(), member.as_str(), generation),
                ("g", "member-1", 1)
            );
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        slow.commit_to("t", 0, 1),
        Err(Error::Fenced { .. })
    ));
    assert_eq!(group.committed("t", 0).unwrap(), None);
    // The other one was late too: it had never polled.
    assert_eq!(changes(&mut other), (vec![], vec![0, 1]));
    assert_eq!(changes(&mut slow), (vec![0, 1], vec![]));
    assert_eq!(changes(&mut other), (vec![1], vec![]));
    let records = slow.poll(NOW).unwrap();
    assert_eq!(numbers(records.gained()), [1]);
    assert_eq!(places(records), [(1, 0), (1, 1)]);
    slow.commit().unwrap();
}

#[test]
fn who_comes_back_before_anybody_took_its_partitions_has_them_again() {
    let root = Root::new();
    let topic = root.topic("t", 1);
    fill(&topic, 2);
    let group = root.group("g");
    let mut a = group.join(["t"]).unwrap();
    assert_eq!(a.poll(NOW).unwrap().len(), 2);
    root.pass(6 * MINUTE);
    let records = a.poll(NOW).unwrap();
    assert_eq!(
        (numbers(records.lost()), numbers(records.gained())),
        (vec![0], vec![0])
    );
    assert_eq!(
        places(records),
        [(0, 0), (0, 1)],
        "what was not committed comes again"
    );
    a.commit().unwrap();
}

#[test]
fn a_static_id_is_taken_over_at_once_and_its_old_member_is_fenced_for_good() {
    let root = Root::new();
    root.topic("t", 4);
    let group = root.group("g");
    let member = |id: &str| {
        group
            .join_with(["t"], ConsumerConfig::default().static_member_id(id))
            .unwrap()
    };
    let (mut left, mut right) = (member("left"), member("right"));
    assert_eq!(changes(&mut left), (vec![], vec![0, 1, 2, 3]));
    assert_eq!(changes(&mut right), (vec![], vec![2, 3]));
    assert_eq!(changes(&mut left), (vec![2, 3], vec![]));
    let mut again = member("left");
    assert!(matches!(left.commit(), Err(Error::Fenced { .. })));
    assert!(matches!(left.poll(NOW), Err(Error::Fenced { .. })));
    assert_eq!(changes(&mut again), (vec![], vec![0, 1]));
    assert_eq!(changes(&mut right), (vec![], vec![]));
    assert_eq!(changes(&mut again), (vec![], vec![]));
    let members = group.describe().unwrap().members;
    let names: Vec<_> = members
        .iter()
        .map(|member| member.static_id.as_deref())
        .collect();
    assert_eq!(names, [Some("right"), Some("left")]);
    again.leave().unwrap();
    assert!(
        matches!(left.poll(NOW), Err(Error::Fenced { .. })),
        "for good"
    );
    drop(left);
    assert_eq!(group.describe().unwrap().members.len(), 1);
}

#[test]
fn a_deleted_topic_is_lost_quietly_and_its_next_life_begins_from_the_start() {
    let root = Root::new();
    let topic = root.topic("t", 2);
    let other = root.topic("u", 1);
    fill(&topic, 3);
    let group = root.group("g");
    let mut a = group.join(["t", "u"]).unwrap();
    assert_eq!(a.poll(NOW).unwrap().len(), 6);
    a.commit().unwrap();
    root.delete_topic("t");
    assert!(matches!(
        group.committed("t", 0),
        Err(Error::UnknownTopic { .. })
    ));
    a.commit().unwrap();
    fill(&other, 1);
    let records = a.poll(NOW).unwrap();
    assert_eq!(records.lost(), [("t".to_owned(), 0), ("t".to_owned(), 1)]);
    assert_eq!(records.len(), 1);
    let next = root.topic("t", 1);
    fill(&next, 1);
    let records = a.poll(NOW).unwrap();
    assert_eq!(records.gained(), [("t".to_owned(), 0)]);
    assert_eq!(places(records), [(0, 0)]);
    assert_eq!(group.committed("t", 0).unwrap(), None);
}

#[test]
fn a_topic_that_goes_in_the_middle_of_everything_makes_no_error() {
    let root = Root::new();
    let topic = root.topic("t", 1);
    fill(&topic, 3);
    let group = root.group("g");
    let mut a = group
        .join_with(["t"], ConsumerConfig::default().max_poll_records(1))
        .unwrap();
    assert_eq!(a.poll(NOW).unwrap().len(), 1);
    // Deleted, but the directory does not say so yet: a poll meets a closed log.
    topic.shared().delete();
    let gone = root.directory.remove("t");
    assert!(gone.is_some());
    assert_eq!(changes(&mut a), (vec![0], vec![]));
    a.commit().unwrap();
    assert!(a.poll(NOW).unwrap().is_empty());
}

#[test]
fn joining_needs_names_that_topics_can_have() {
    let root = Root::new();
    root.topic("t", 1);
    let group = root.group("g");
    let bad = group.join(["t", "not a name"]);
    assert!(matches!(bad, Err(Error::InvalidName { name, .. }) if name == "not a name"));
    let none: [&str; 0] = [];
    assert!(matches!(group.join(none), Err(Error::InvalidConfig { .. })));
    let bad = group.join_with(["t"], ConsumerConfig::default().max_poll_records(0));
    assert!(matches!(bad, Err(Error::InvalidConfig { .. })));
    assert!(group.describe().unwrap().members.is_empty());
    assert!(matches!(
        root.coordinator.group(""),
        Err(Error::InvalidName { .. })
    ));
}

/// Begins a poll that waits in another thread, does something, and returns what the poll returned.
/// The poll waits as long as only a failure would: that this returns shows that it was woken.
fn while_polling<T>(consumer: &mut Consumer, act: impl FnOnce() -> T) -> Result<ConsumerRecords> {
    thread::scope(|scope| {
        let polling = scope.spawn(|| consumer.poll(LONG));
        act();
        polling.join().unwrap()
    })
}

#[test]
fn a_waiting_poll_wakes_for_an_append() {
    let root = Root::new();
    let topic = root.topic("t", 3);
    let group = root.group("g");
    let mut a = group.join(["t"]).unwrap();
    for partition in 0..3 {
        let records = while_polling(&mut a, || fill_one(&topic, partition)).unwrap();
        assert_eq!(places(records), [(partition, 0)]);
    }
}

fn fill_one(topic: &Topic, partition: PartitionId) {
    let next = topic.partition(partition).unwrap().end_offset();
    topic
        .append_to(partition, Record::new(&format!("{partition}@{next}")))
        .unwrap();
}

#[test]
fn a_waiting_poll_wakes_for_a_flush_where_nothing_counts_before() {
    let root = Root::open(Sim::new(), Durability::Always);
    let topic = root.topic("t", 1);
    let mut a = root.group("g").join(["t"]).unwrap();
    let records = while_polling(&mut a, || fill_one(&topic, 0)).unwrap();
    assert_eq!(places(records), [(0, 0)]);
}

#[test]
fn a_waiting_poll_wakes_when_another_member_leaves() {
    let root = Root::new();
    let topic = root.topic("t", 2);
    let group = root.group("g");
    let mut a = group.join(["t"]).unwrap();
    let mut b = group.join(["t"]).unwrap();
    assert!(a.poll(NOW).unwrap().is_empty() && b.poll(NOW).unwrap().is_empty());
    fill(&topic, 2);
    assert_eq!(a.poll(NOW).unwrap().len() + b.poll(NOW).unwrap().len(), 4);
    let records = while_polling(&mut a, || b.leave().unwrap()).unwrap();
    assert_eq!(numbers(records.gained()), [1]);
    assert_eq!(places(records), [(1, 0), (1, 1)]);
}

#[test]
fn a_waiting_poll_lets_go_for_who_joins_and_goes_on_waiting() {
    let root = Root::new();
    let topic = root.topic("t", 2);
    fill(&topic, 1);
    let group = root.group("g");
    let mut a = group.join(["t"]).unwrap();
    assert_eq!(a.poll(NOW).unwrap().len(), 2);
    a.commit().unwrap();
    let records = while_polling(&mut a, || {
        let mut b = group.join(["t"]).unwrap();
        // It has its share as soon as the waiting one was woken and has let go.
        while b.assignment().is_empty() {
            assert!(b.poll(NOW).unwrap().is_empty());
            thread::yield_now();
        }
        fill_one(&topic, 1);
        assert_eq!(places(b.poll(LONG).unwrap()), [(1, 1)]);
        b.commit().unwrap();
        fill_one(&topic, 0);
        // Stays until the other one has seen it.
        b
    });
    let records = records.unwrap();
    assert_eq!(numbers(records.lost()), [1]);
    assert_eq!(places(records), [(0, 1)]);
}

#[test]
fn a_waiting_poll_wakes_for_new_partitions_and_for_the_end() {
    let root = Root::new();
    let topic = root.topic("t", 1);
    let mut a = root.group("g").join(["t"]).unwrap();
    let records = while_polling(&mut a, || {
        let shared = topic.shared();
        shared.make_dirs(1..2).unwrap();
        shared.reconfigure(topic.config().partitions(2)).unwrap();
        root.directory.tell();
        fill_one(&topic, 1);
    });
    assert_eq!(places(records.unwrap()), [(1, 0)]);
    let ended = while_polling(&mut a, || root.coordinator.close().unwrap());
    assert!(matches!(ended, Err(Error::Closed)));
    assert!(matches!(a.commit(), Err(Error::Closed)));
}

#[test]
fn a_waiting_poll_is_never_too_late_and_wakes_when_another_is() {
    let root = Root::new();
    let topic = root.topic("t", 2);
    let group = root.group("g");
    let hasty = ConsumerConfig::default().max_poll_interval(Duration::from_millis(20));
    let mut a = group.join(["t"]).unwrap();
    let mut b = group.join_with(["t"], hasty).unwrap();
    assert!(a.poll(NOW).unwrap().is_empty() && b.poll(NOW).unwrap().is_empty());
    fill(&topic, 1);
    assert_eq!(a.poll(NOW).unwrap().len() + b.poll(NOW).unwrap().len(), 2);
    let records = while_polling(&mut a, || root.clock.advance(Duration::from_millis(20)));
    assert_eq!(places(records.unwrap()), [(1, 0)]);
    assert!(b.commit().is_err());
}

#[test]
fn the_time_of_a_poll_is_kept() {
    let root = Root::new();
    root.topic("t", 1);
    let mut a = root.group("g").join(["t"]).unwrap();
    assert!(a.poll(Duration::from_millis(5)).unwrap().is_empty());
    assert!(a.poll(NOW).unwrap().is_empty());
}

#[test]
fn an_append_wakes_only_members_that_wait_for_its_partition() {
    let root = Root::new();
    let topic = root.topic("t", 2);
    let counts = [0, 1].map(|id| topic.partition(id).unwrap());
    let counts = || counts.each_ref().map(Log::watcher_count);
    let group = root.group("g");
    let mut a = group.join(["t"]).unwrap();
    assert_eq!(changes(&mut a), (vec![], vec![0, 1]));
    assert_eq!(counts(), [0, 0], "it has polled and does not wait");
    assert!(a.poll(Duration::from_millis(1)).unwrap().is_empty());
    assert_eq!(counts(), [0, 0], "it has waited and does so no longer");
    a.pause("t", 0).unwrap();
    let waiting = std::thread::spawn(move || {
        let polled = places(a.poll(LONG).unwrap());
        (a, polled)
    });
    while counts() != [0, 1] {
        std::thread::yield_now();
    }
    fill(&topic, 3);
    let (mut a, polled) = waiting.join().unwrap();
    assert_eq!(polled.first(), Some(&(1, 0)));
    assert_eq!(counts(), [0, 0], "it has what it waited for");
    a.resume("t", 0).unwrap();
    drop(a);
    assert_eq!(counts(), [0, 0]);
}
