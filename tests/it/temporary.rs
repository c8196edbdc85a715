//! Brokers for users' tests: a directory that goes with its handles, and a clock that a test moves.

use std::path::Path;
use std::time::{Duration, Instant};

use ottla::{
    Broker, BrokerConfig, CleanupPolicy, Consumer, ConsumerConfig, Durability, Error,
    ProducerConfig, Record, TestClock, Timestamp, TopicConfig,
};

use crate::helpers::{PATIENCE, scratch};

const NOW: Duration = Duration::ZERO;
const HOUR: Duration = Duration::from_secs(3600);

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "still not so: {what}");
        std::thread::yield_now();
    }
}

fn by_hand(clock: &TestClock) -> Broker {
    let config = BrokerConfig::default().manual_upkeep(true);
    Broker::temporary_with(config, Some(clock.clone())).unwrap()
}

/// Appends, reads in a group, compacts, deletes.
fn use_everything(broker: &Broker) {
    let config = TopicConfig::default()
        .partitions(2)
        .durability(Durability::Always);
    let topic = broker.create_topic("flights", config).unwrap();
    for number in 0..10 {
        topic
            .append(Record::keyed("key", &number.to_string()))
            .unwrap();
    }
    let mut consumer = broker.group("board").unwrap().join(["flights"]).unwrap();
    assert_eq!(consumer.poll(NOW).unwrap().len(), 10);
    consumer.commit().unwrap();
    drop(consumer);
    let partition = topic.partition_for_key(b"key");
    let committed = broker
        .group("board")
        .unwrap()
        .committed("flights", partition);
    assert_eq!(committed.unwrap(), Some(10));
    let log = topic.partition(partition).unwrap();
    assert_eq!(log.flushed_offset(), 10, "nobody waits for a sync in vain");
    let compacted = TopicConfig::default()
        .cleanup_policy(CleanupPolicy::Compact)
        .segment_bytes(1024);
    let table = broker.create_topic("table", compacted).unwrap();
    for number in 0..100 {
        table
            .append(Record::keyed("one", &format!("value {number}")))
            .unwrap();
    }
    let report = table.partition(0).unwrap().compact().unwrap();
    assert!(report.records_dropped > 0);
    broker.delete_topic("table").unwrap();
    broker.flush().unwrap();
}

#[test]
fn a_temporary_broker_does_everything_and_leaves_nothing() {
    let scratch = scratch();
    let broker = Broker::temporary_in(scratch.path()).unwrap();
    use_everything(&broker);
    assert_eq!(names(scratch.path()).len(), 1);
    drop(broker);
    assert_eq!(names(scratch.path()), [""; 0]);

    let closed = Broker::temporary_in(scratch.path()).unwrap();
    use_everything(&closed);
    closed.close().unwrap();
    assert!(matches!(closed.topic("flights"), Err(Error::Closed)));
    let dir = scratch.path().join(&names(scratch.path())[0]).join("data");
    let again = Broker::open(&dir).unwrap();
    assert_eq!(again.topic("flights").unwrap().partition_count(), 2);
    drop(again);
    drop(closed);
    assert_eq!(names(scratch.path()), [""; 0]);
}

#[test]
fn the_directory_stays_until_the_last_handle_goes() {
    let scratch = scratch();
    let broker = Broker::temporary_in(scratch.path()).unwrap();
    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    let clone = broker.clone();
    drop((broker, clone));
    topic.append("still there").unwrap();
    assert_eq!(names(scratch.path()).len(), 1);
    drop(topic);
    assert_eq!(names(scratch.path()), [""; 0]);
}

#[test]
fn many_temporary_brokers_know_nothing_of_each_other() {
    let brokers: Vec<_> = (0..64).map(|_| Broker::temporary().unwrap()).collect();
    for broker in &brokers {
        let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
        assert_eq!(topic.append("x").unwrap().offset, 0);
        let mut consumer = broker.group("g").unwrap().join(["t"]).unwrap();
        assert_eq!(consumer.poll(NOW).unwrap().len(), 1);
        consumer.commit().unwrap();
    }
}

#[test]
fn a_producer_of_a_temporary_broker_appends_what_it_holds_when_it_goes() {
    let scratch = scratch();
    let broker = Broker::temporary_in(scratch.path()).unwrap();
    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    let lingers = ProducerConfig::default().linger(HOUR);
    let producer = topic.producer(lingers).unwrap();
    let delivery = producer.send("x").unwrap();
    drop((broker, topic, producer));
    assert_eq!(delivery.wait().unwrap().offset, 0);
    assert_eq!(names(scratch.path()), [""; 0]);
}

#[test]
fn retention_goes_by_the_test_clock() {
    let clock = TestClock::at(Timestamp::from_millis(1_700_000_000_000));
    let broker = by_hand(&clock);
    let config = TopicConfig::default().retention(HOUR).segment_age(HOUR / 2);
    let log = broker
        .create_topic("t", config)
        .unwrap()
        .partition(0)
        .unwrap();
    log.append("old").unwrap();
    clock.advance(HOUR / 2 + Duration::from_millis(1));
    log.append("newer").unwrap();
    broker.upkeep().unwrap();
    assert_eq!(log.start_offset(), 0);
    clock.advance(HOUR / 2 + Duration::from_secs(1));
    broker.upkeep().unwrap();
    assert_eq!((log.start_offset(), log.end_offset()), (1, 2));
}

/// Two members of a group, of which the first has polled the only record.
fn one_that_holds_a_record_and_another(broker: &Broker) -> (Consumer, Consumer) {
    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    let config = ConsumerConfig::default().max_poll_interval(HOUR);
    let group = broker.group("g").unwrap();
    let mut first = group.join_with(["t"], config.clone()).unwrap();
    topic.append("x").unwrap();
    assert_eq!(first.poll(NOW).unwrap().len(), 1);
    (first, group.join_with(["t"], config).unwrap())
}

#[test]
fn a_member_that_does_not_poll_is_removed_when_the_test_clock_says_so() {
    let clock = TestClock::new();
    let broker = by_hand(&clock);
    let (mut slow, mut other) = one_that_holds_a_record_and_another(&broker);
    assert!(other.poll(NOW).unwrap().is_empty());
    clock.advance(Duration::from_millis(3_599_999));
    assert!(other.poll(NOW).unwrap().is_empty());
    clock.advance(Duration::from_millis(1));
    assert_eq!(
        other.poll(NOW).unwrap().len(),
        1,
        "read again from the last commit"
    );
    assert!(slow.commit().is_err());
}

#[test]
fn a_waiting_poll_goes_on_when_the_clock_is_moved_and_ends_with_its_own_time() {
    let clock = TestClock::new();
    let broker = by_hand(&clock);
    let (_slow, mut other) = one_that_holds_a_record_and_another(&broker);
    let waiting = std::thread::spawn(move || other.poll(Duration::MAX).map(|got| got.len()));
    clock.advance(HOUR);
    assert_eq!(waiting.join().unwrap().unwrap(), 1);
    let mut last = broker.group("h").unwrap().join(["t"]).unwrap();
    assert_eq!(last.poll(NOW).unwrap().len(), 1);
    last.commit().unwrap();
    let waiting = std::thread::spawn(move || last.poll(2 * HOUR).map(|got| got.len()));
    let mut moved = 0;
    while !waiting.is_finished() {
        clock.advance(HOUR);
        moved += 1;
        std::thread::yield_now();
    }
    assert_eq!(waiting.join().unwrap().unwrap(), 0);
    assert!(moved >= 1);
    // In one thread nobody moves the clock: the wait ends all the same.
    let log = broker.topic("t").unwrap().partition(0).unwrap();
    assert!(!log.wait_for(5, Duration::from_millis(2)).unwrap());
}

#[test]
fn auto_commits_and_lingers_go_by_the_test_clock() {
    let clock = TestClock::new();
    let broker = by_hand(&clock);
    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    let log = topic.partition(0).unwrap();
    let lingers = ProducerConfig::default().linger(HOUR);
    let producer = topic.producer(lingers).unwrap();
    let delivery = producer.send("x").unwrap();
    broker.upkeep().unwrap();
    assert_eq!((log.end_offset(), delivery.is_settled()), (0, false));
    clock.advance(HOUR);
    broker.upkeep().unwrap();
    assert_eq!((log.end_offset(), delivery.is_settled()), (1, true));

    let config = ConsumerConfig::default()
        .auto_commit(true)
        .auto_commit_interval(HOUR)
        .max_poll_interval(24 * HOUR);
    let group = broker.group("g").unwrap();
    let mut consumer = group.join_with(["t"], config).unwrap();
    assert_eq!(consumer.poll(NOW).unwrap().len(), 1);
    assert!(consumer.poll(NOW).unwrap().is_empty());
    assert_eq!(group.committed("t", 0).unwrap(), None);
    clock.advance(HOUR);
    assert!(consumer.poll(NOW).unwrap().is_empty());
    assert_eq!(group.committed("t", 0).unwrap(), Some(1));
}

#[test]
fn threads_of_a_broker_go_by_the_test_clock() {
    let clock = TestClock::new();
    let config = BrokerConfig::default().upkeep_interval(HOUR);
    let broker = Broker::temporary_with(config, Some(clock.clone())).unwrap();
    let config = TopicConfig::default().durability(Durability::Interval(HOUR));
    let topic = broker.create_topic("t", config).unwrap();
    let log = topic.partition(0).unwrap();
    log.append("x").unwrap();
    let lingers = ProducerConfig::default().linger(HOUR);
    let producer = topic.producer(lingers).unwrap();
    let delivery = producer.send("y").unwrap();
    // However long this takes, none of them runs by itself.
    assert_eq!((log.flushed_offset(), delivery.is_settled()), (0, false));
    assert!(broker.last_upkeep().is_none());
    clock.advance(HOUR);
    eventually("the linger is over", || delivery.is_settled());
    eventually("upkeep has run", || broker.last_upkeep().is_some());
    eventually("it is synced", || {
        clock.advance(HOUR);
        log.flushed_offset() == 2
    });
}

#[test]
fn a_test_clock_that_goes_back_stamps_older_records_and_stops_nothing() {
    let start = Timestamp::from_millis(1_700_000_000_000);
    let clock = TestClock::at(start);
    let dir = scratch();
    let config = BrokerConfig::default().manual_upkeep(true);
    let broker = Broker::open_with_clock(dir.path(), config.clone(), clock.clone()).unwrap();
    let topic = broker
        .create_topic("t", TopicConfig::default().retention(HOUR))
        .unwrap();
    let log = topic.partition(0).unwrap();
    log.append("first").unwrap();
    clock.set(Timestamp::from_millis(1_600_000_000_000));
    assert_eq!(clock.now(), Timestamp::from_millis(1_600_000_000_000));
    log.append("second").unwrap();
    clock.set(Timestamp::from_millis(-5));
    log.append("third").unwrap();
    let stamps: Vec<_> = (0..3)
        .map(|offset| log.read(offset).unwrap().unwrap().timestamp.as_millis())
        .collect();
    assert_eq!(stamps, [1_700_000_000_000, 1_600_000_000_000, 0]);
    let mut consumer = broker.group("g").unwrap().join(["t"]).unwrap();
    assert_eq!(consumer.poll(NOW).unwrap().len(), 3);
    consumer.commit().unwrap();
    broker.upkeep().unwrap();
    assert_eq!(
        log.start_offset(),
        0,
        "the newest record of the segment is not old"
    );
    drop(consumer);
    broker.close().unwrap();
    let broker = Broker::open_with_clock(dir.path(), config, clock).unwrap();
    assert!(broker.open_report().events.is_empty());
    assert_eq!(
        broker.group("g").unwrap().committed("t", 0).unwrap(),
        Some(3)
    );
}
