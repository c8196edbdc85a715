//! A handle that only reads shows what there is now, not what there was when it was opened.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ottla::{
    Broker, BrokerConfig, Durability, Error, Log, LogConfig, ReadIsolation, Start, TopicConfig,
    repair, verify,
};

use crate::helpers::scratch;

const HOUR: Duration = Duration::from_secs(3600);

fn manual() -> BrokerConfig {
    BrokerConfig::default().manual_upkeep(true)
}

fn end_of(dir: &std::path::Path, topic: &str) -> u64 {
    let copy = Broker::open_with(dir, manual()).unwrap();
    let log = copy.topic(topic).unwrap().partition(0).unwrap();
    log.end_offset()
}

#[test]
fn each_backup_has_what_was_appended_before_it() {
    let dir = scratch();
    let (data, dest) = (dir.path().join("data"), dir.path().join("backup"));
    let broker = Broker::open_with(&data, manual()).unwrap();
    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    let looking = Broker::open_read_only(&data).unwrap();
    for number in 1..4 {
        topic.append("more").unwrap();
        looking.backup(&dest).unwrap();
        assert_eq!(end_of(&dest, "t"), number);
    }
    let (data, dest) = (dir.path().join("log"), dir.path().join("copy"));
    let log = Log::open(&data, LogConfig::default()).unwrap();
    let looking = Log::open_read_only(&data).unwrap();
    for number in 1..4 {
        log.append("more").unwrap();
        looking.backup(&dest).unwrap();
        assert!(verify(&dest).unwrap().is_sound());
        assert_eq!(Log::open_read_only(&dest).unwrap().end_offset(), number);
    }
}

#[test]
fn a_topic_that_is_no_longer_always_shows_what_is_not_flushed() {
    let dir = scratch();
    let broker = Broker::open_with(dir.path(), manual()).unwrap();
    let always = TopicConfig::default().durability(Durability::Always);
    let topic = broker.create_topic("t", always).unwrap();
    topic.append("flushed").unwrap();
    let looking = Broker::open_read_only(dir.path()).unwrap();
    let seen = looking.topic("t").unwrap().partition(0).unwrap();
    assert_eq!(seen.high_watermark(), 1);
    broker
        .alter_topic("t", |config| config.durability(Durability::Os))
        .unwrap();
    topic.append("not flushed").unwrap();
    assert_eq!(seen.high_watermark(), 2);
    assert!(seen.wait_for(1, Duration::from_millis(1)).unwrap());
    // And back: what was seen stays seen.
    broker
        .alter_topic("t", |config| config.durability(Durability::Always))
        .unwrap();
    assert_eq!(seen.high_watermark(), 2);
    topic.append("flushed, too").unwrap();
    assert_eq!(seen.high_watermark(), 3);
    assert_eq!(seen.config().durability, Durability::Always);
}

#[test]
fn settings_are_those_that_the_writer_has_now() {
    let dir = scratch();
    let broker = Broker::open_with(dir.path(), manual()).unwrap();
    broker.create_topic("t", TopicConfig::default()).unwrap();
    let looking = Broker::open_read_only(dir.path()).unwrap();
    let seen = looking.topic("t").unwrap().partition(0).unwrap();
    broker
        .alter_topic("t", |config| config.segment_bytes(4096))
        .unwrap();
    assert_eq!(seen.config().segment_bytes, 4096);
}

#[test]
fn the_time_of_a_wait_is_over_also_beside_a_writer_that_never_rests() {
    let dir = scratch();
    let log = Log::open(dir.path(), LogConfig::default()).unwrap();
    let looking = Log::open_read_only(dir.path()).unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let began = Instant::now();
            while !over.load(Ordering::Relaxed) {
                log.append_batch(["x"; 64]).unwrap();
                if began.elapsed() > Duration::from_secs(20) {
                    return false;
                }
            }
            true
        });
        let far = u64::MAX / 4;
        assert!(!looking.wait_for(far, Duration::from_millis(20)).unwrap());
        over.store(true, Ordering::Relaxed);
        assert!(writing.join().unwrap(), "it waited until the writer rested");
    });
}

#[test]
fn a_partition_that_was_repaired_is_read_again() {
    let dir = scratch();
    let write = || {
        let broker = Broker::open_with(dir.path(), manual()).unwrap();
        broker.ensure_topic("t", TopicConfig::default()).unwrap();
        broker
    };
    let broker = write();
    let topic = broker.topic("t").unwrap();
    for _ in 0..5 {
        topic.append("record").unwrap();
    }
    broker.close().unwrap();
    let segment = dir.path().join("t-0/00000000000000000000.log");
    let mut bytes = fs::read(&segment).unwrap();
    bytes[100] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let looking = Broker::open_read_only(dir.path()).unwrap();
    let topic = looking.topic("t").unwrap();
    let damaged = topic.partition(0).unwrap_err();
    assert!(matches!(damaged, Error::Corrupt { .. }), "{damaged}");
    repair(dir.path()).unwrap();
    let _writer = write();
    topic.partition(0).unwrap();
}

#[test]
fn what_was_counted_of_a_deleted_topic_stays_counted() {
    let dir = scratch();
    let broker = Broker::open_with(dir.path(), manual()).unwrap();
    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    topic.append_batch(["x"; 100]).unwrap();
    let looking = Broker::open_read_only(dir.path()).unwrap();
    let read = looking.topic("t").unwrap().reader(Start::Earliest).unwrap();
    assert_eq!(read.map(Result::unwrap).count(), 100);
    let before = looking.metrics().logs;
    broker.delete_topic("t").unwrap();
    assert!(looking.topic("t").is_err());
    let after = looking.metrics().logs;
    assert!(after.reads >= before.reads && before.reads > 0);
}

#[test]
fn a_reader_of_what_is_committed_waits_for_the_next_record_after_a_truncation() {
    let dir = scratch();
    let log = Log::open(dir.path(), LogConfig::default()).unwrap();
    for _ in 0..100 {
        log.append("x").unwrap();
    }
    let looking = Log::open_read_only(dir.path()).unwrap();
    let mut reader = looking
        .reader_with(0, ReadIsolation::ReadCommitted)
        .unwrap();
    for _ in 0..30 {
        reader.next().unwrap().unwrap();
    }
    log.truncate(60).unwrap();
    let left: Vec<_> = reader.by_ref().filter_map(Result::ok).collect();
    assert_eq!(left.len(), 30);
    log.append("new").unwrap();
    assert!(reader.wait(HOUR).unwrap());
}

#[test]
fn a_broker_closes_while_its_topics_come_and_go() {
    let dir = scratch();
    let broker = Broker::open_with(dir.path(), manual()).unwrap();
    broker.create_topic("t", TopicConfig::default()).unwrap();
    let over = AtomicBool::new(false);
    let (closed, all_closed) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                broker
                    .create_topic("passing", TopicConfig::default())
                    .unwrap();
                broker.delete_topic("passing").unwrap();
            }
        });
        let path = dir.path().to_path_buf();
        std::thread::spawn(move || {
            for _ in 0..50 {
                let looking = Broker::open_read_only(&path).unwrap();
                let mut reader = looking.topic("t").unwrap().reader(Start::Latest).unwrap();
                let waiting = std::thread::spawn(move || reader.wait(HOUR));
                std::thread::sleep(Duration::from_millis(3));
                looking.close().unwrap();
                assert!(matches!(waiting.join().unwrap(), Err(Error::Closed)));
            }
            closed.send(()).unwrap();
        });
        let is_closed = all_closed.recv_timeout(Duration::from_secs(240));
        over.store(true, Ordering::Relaxed);
        is_closed.expect("a close came back");
    });
}
