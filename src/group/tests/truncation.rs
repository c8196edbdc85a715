//! A log that is truncated under its groups.

use super::*;
use crate::disk::sim::Choice;

/// A root where a group has committed 10 of 10 records, durably, and has no members.
fn committed() -> (Root, Topic) {
    committed_of("t")
}

fn committed_of(name: &str) -> (Root, Topic) {
    let root = Root::new();
    let topic = root.topic(name, 1);
    fill(&topic, 10);
    let mut consumer = root.group("g").join([name]).unwrap();
    assert_eq!(consumer.poll(NOW).unwrap().len(), 10);
    consumer.commit().unwrap();
    consumer.leave().unwrap();
    flush(&root);
    (root, topic)
}

fn flush(root: &Root) {
    for topic in root.topics.lock().iter() {
        for partition in 0..topic.partition_count() {
            if topic.dir(partition).exists(&root.host.disk).unwrap() {
                topic.log(partition).unwrap().flush().unwrap();
            }
        }
    }
}

fn lag(root: &Root) -> u64 {
    let info = root.group("g").describe().unwrap();
    info.partitions.iter().map(|partition| partition.lag).sum()
}

const NEW: [(PartitionId, Offset); 3] = [(0, 3), (0, 4), (0, 5)];

#[test]
fn what_is_appended_behind_a_truncation_is_delivered_and_counts_as_lag() {
    // Kafka's own topics begin with `__`, and a user's topic may.
    for name in ["t", "__t"] {
        let (root, topic) = committed_of(name);
        topic.partition(0).unwrap().truncate(3).unwrap();
        assert_eq!(root.group("g").committed(name, 0).unwrap(), Some(3));
        fill(&topic, 3);
        assert_eq!(lag(&root), 3);
        let root = Root::open(root.close(), Durability::Os);
        root.topic(name, 1);
        assert_eq!(lag(&root), 3);
        let mut consumer = root.group("g").join([name]).unwrap();
        assert_eq!(places(consumer.poll(NOW).unwrap()), NEW);
        assert_eq!(lag(&root), 3);
        consumer.commit().unwrap();
        assert_eq!(lag(&root), 0);
    }
}

#[test]
fn a_member_goes_on_where_its_log_was_cut_off_however_much_was_appended_since() {
    for appended in [0, 3, 7, 9] {
        let root = Root::new();
        let topic = root.topic("t", 1);
        fill(&topic, 10);
        let mut consumer = root.group("g").join(["t"]).unwrap();
        assert_eq!(consumer.poll(NOW).unwrap().len(), 10);
        consumer.commit().unwrap();
        topic.partition(0).unwrap().truncate(3).unwrap();
        assert_eq!(consumer.position("t", 0).unwrap(), 3);
        assert_eq!(consumer.lag().unwrap(), 0);
        fill(&topic, appended);
        assert_eq!(consumer.lag().unwrap(), appended);
        let polled = places(consumer.poll(NOW).unwrap());
        let expected: Vec<_> = (3..3 + appended).map(|offset| (0, offset)).collect();
        assert_eq!(polled, expected);
        // Also where the new position is the one that was committed before the truncation.
        consumer.commit().unwrap();
        let committed = root.group("g").committed("t", 0).unwrap();
        assert_eq!(committed, Some(3 + appended), "{appended}");
    }
}

#[test]
fn what_was_polled_before_a_truncation_is_committed_as_far_as_it_is_still_there() {
    let root = Root::new();
    let topic = root.topic("t", 1);
    fill(&topic, 10);
    let mut consumer = root.group("g").join(["t"]).unwrap();
    assert_eq!(consumer.poll(NOW).unwrap().len(), 10);
    topic.partition(0).unwrap().truncate(3).unwrap();
    fill(&topic, 12);
    let named = consumer.commit_to("t", 0, 9);
    assert!(
        matches!(
            named,
            Err(Error::Truncated {
                requested: 9,
                end: 3,
                ..
            })
        ),
        "{named:?}"
    );
    consumer.commit().unwrap();
    assert_eq!(root.group("g").committed("t", 0).unwrap(), Some(3));
    assert_eq!(consumer.poll(NOW).unwrap().len(), 12);
    consumer.commit_to("t", 0, 9).unwrap();
    assert_eq!(root.group("g").committed("t", 0).unwrap(), Some(9));
}

/// A seek to before the cut, so that the member notices nothing of it.
#[test]
fn a_commit_of_the_offset_that_a_truncation_set_back_is_written_again() {
    let root = Root::new();
    let topic = root.topic("t", 1);
    fill(&topic, 10);
    let mut consumer = root.group("g").join(["t"]).unwrap();
    assert_eq!(consumer.poll(NOW).unwrap().len(), 10);
    consumer.commit().unwrap();
    consumer.seek("t", 0, 2).unwrap();
    topic.partition(0).unwrap().truncate(3).unwrap();
    fill(&topic, 7);
    assert_eq!(consumer.poll(NOW).unwrap().len(), 8);
    consumer.commit().unwrap();
    assert_eq!(root.group("g").committed("t", 0).unwrap(), Some(10));
}

#[test]
fn no_power_cut_during_a_truncation_makes_a_group_pass_over_new_records() {
    let (mut cut_at, mut set_back) = (0, 0);
    loop {
        let (root, topic) = committed();
        root.sim.cut_power_at(root.sim.operations() + cut_at);
        let truncated = topic.partition(0).unwrap().truncate(3);
        let done = truncated.is_ok() && !root.sim.is_off();
        for choice in [Choice::None, Choice::All, Choice::Random(cut_at)] {
            let root = Root::open(root.sim.crash(choice), Durability::Os);
            let topic = root.topic("t", 1);
            // As a broker does after an opening that was not clean.
            set_back += recovered(&root.coordinator).len();
            let end = topic.partition(0).unwrap().end_offset();
            assert!(end == 3 || end == 10 && !done, "{end} after {cut_at}");
            fill(&topic, 8);
            let mut consumer = root.group("g").join(["t"]).unwrap();
            let polled = consumer.poll(NOW).unwrap().len();
            assert!(polled >= 8, "{polled} of 8 from {end} after {cut_at}");
        }
        if done {
            break;
        }
        cut_at += 1;
    }
    assert!(
        cut_at > 8 && set_back > 0,
        "{cut_at} cuts, {set_back} set back"
    );
}
