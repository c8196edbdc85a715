//! Upkeep: background work, by the broker's thread or by hand.

use std::time::{Duration, Instant};

use ottla::{Broker, BrokerConfig, CleanupPolicy, Durability, Record, Timestamp, TopicConfig};

use crate::helpers::{PATIENCE, scratch};

/// Waits for something that a thread does; nothing here depends on how long it takes.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "still not so: {what}");
        std::thread::yield_now();
    }
}

fn often() -> BrokerConfig {
    BrokerConfig::default().upkeep_interval(Duration::from_millis(2))
}

fn small() -> TopicConfig {
    TopicConfig::default().segment_bytes(1024)
}

#[test]
fn a_broker_forgets_and_compacts_by_itself() {
    let root = scratch();
    let broker = Broker::open_with(root.path(), often()).unwrap();
    let forgets = small().retention(Duration::from_secs(60));
    let events = broker.create_topic("events", forgets).unwrap();
    let keeps = small().cleanup_policy(CleanupPolicy::Compact);
    let table = broker.create_topic("table", keeps).unwrap();
    let old = Timestamp::from_millis(1_000_000);
    for number in 0..100 {
        let value = format!("value {number}");
        events
            .append(Record::new(&value).with_timestamp(old))
            .unwrap();
        table.append(Record::keyed("one key", &value)).unwrap();
    }
    eventually("old events are forgotten", || {
        events.partition(0).unwrap().start_offset() == 100
    });
    eventually("the table is compacted", || {
        table.partition(0).unwrap().reader(0).unwrap().count() < 50
    });
    eventually("the report is there", || broker.last_upkeep().is_some());
    assert!(broker.last_upkeep().unwrap().problems.is_empty());
    broker.close().unwrap();
}

#[test]
fn by_hand_a_round_says_what_it_did() {
    let root = scratch();
    let config = BrokerConfig::default().manual_upkeep(true);
    let broker = Broker::open_with(root.path(), config).unwrap();
    let interval = Durability::Interval(Duration::from_secs(3600));
    let config = small().retention_bytes(0).durability(interval);
    let topic = broker.create_topic("events", config).unwrap();
    for number in 0..100 {
        topic.append(&format!("value {number}")).unwrap();
    }
    let report = broker.upkeep().unwrap();
    assert_eq!(report.flushed, 1);
    assert!(
        report.segments_deleted > 3 && report.bytes_deleted > 3000,
        "{report:?}"
    );
    assert_eq!(topic.partition(0).unwrap().start_offset(), 100);
    let again = broker.upkeep().unwrap();
    assert_eq!((again.flushed, again.segments_deleted), (0, 0));
    assert!(broker.last_upkeep().is_none());
}

#[test]
fn a_log_that_cannot_be_looked_after_is_reported_and_the_others_are() {
    let root = scratch();
    let config = BrokerConfig::default().manual_upkeep(true);
    let broker = Broker::open_with(root.path(), config).unwrap();
    let bad = broker
        .create_topic("bad", small().retention_bytes(0))
        .unwrap();
    let good = broker
        .create_topic("good", small().retention_bytes(0))
        .unwrap();
    for number in 0..100 {
        let value = format!("value {number}");
        bad.append(&value).unwrap();
        good.append(&value).unwrap();
    }
    broker.flush().unwrap();
    // A directory where a file of the log would be removed: the system refuses.
    let first = root.path().join("bad-0/00000000000000000000.log");
    std::fs::remove_file(&first).unwrap();
    std::fs::create_dir(&first).unwrap();
    let report = broker.upkeep().unwrap();
    assert_eq!(report.problems.len(), 1, "{report:?}");
    assert_eq!(report.problems[0].topic, "bad");
    assert!(report.problems[0].error.is_some());
    assert_eq!(good.partition(0).unwrap().start_offset(), 100);
}

#[test]
fn closing_does_not_wait_for_the_next_round() {
    let root = scratch();
    let hourly = BrokerConfig::default().upkeep_interval(Duration::from_secs(3600));
    let broker = Broker::open_with(root.path(), hourly).unwrap();
    broker
        .create_topic("events", small())
        .unwrap()
        .append("x")
        .unwrap();
    let began = Instant::now();
    broker.close().unwrap();
    assert!(began.elapsed() < PATIENCE);
}
