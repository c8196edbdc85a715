//! Conditional appends: who appends at the end that it has seen, and who is told that it moved.

use std::time::Duration;

use ottla::{Broker, Durability, Error, Log, LogConfig, Record, TopicConfig};

use crate::helpers::{PATIENCE, scratch, values};

#[test]
fn an_append_at_another_end_writes_nothing_and_says_where_the_end_is() {
    let scratch = scratch();
    let log = Log::open(scratch.path().join("log"), LogConfig::default()).unwrap();
    assert_eq!(log.append_at(0, "a").unwrap(), 0);
    for expected in [0, 2, u64::MAX] {
        let moved = log.append_at(expected, "x").unwrap_err();
        let Error::EndMoved {
            expected: asked,
            end,
            ..
        } = moved
        else {
            panic!("{moved}");
        };
        assert_eq!((asked, end), (expected, 1));
        assert!(matches!(
            log.append_batch_at(expected, ["x", "y"]),
            Err(Error::EndMoved { end: 1, .. })
        ));
        assert!(matches!(
            log.append_batch_at(expected, Vec::<&str>::new()),
            Err(Error::EndMoved { end: 1, .. })
        ));
    }
    assert_eq!(log.append_batch_at(1, Vec::<&str>::new()).unwrap(), 1..1);
    assert_eq!(log.append_batch_at(1, ["b", "c"]).unwrap(), 1..3);
    assert_eq!(values(&log), ["a", "b", "c"]);
    log.truncate(1).unwrap();
    assert!(matches!(
        log.append_at(3, "d"),
        Err(Error::EndMoved { end: 1, .. })
    ));
    log.append_at(1, "d").unwrap();
    log.close().unwrap();
    assert!(matches!(log.append_at(7, "e"), Err(Error::Closed)));
}

#[test]
fn a_topic_compares_the_end_of_the_partition_that_is_named() {
    let scratch = scratch();
    let broker = Broker::open(scratch.path().join("data")).unwrap();
    let topic = broker
        .create_topic("t", TopicConfig::default().partitions(2))
        .unwrap();
    topic.append_to(0, "a").unwrap();
    assert!(matches!(
        topic.append_to_at(0, 0, "b"),
        Err(Error::EndMoved {
            expected: 0,
            end: 1,
            ..
        })
    ));
    assert_eq!(topic.append_to_at(1, 0, "b").unwrap(), 0);
    assert_eq!(topic.append_batch_to_at(1, 1, ["c", "d"]).unwrap(), 1..3);
    assert!(matches!(
        topic.append_to_at(2, 0, "x"),
        Err(Error::UnknownPartition { partition: 2, .. })
    ));
    broker.delete_topic("t").unwrap();
    assert!(matches!(
        topic.append_to_at(0, 1, "x"),
        Err(Error::UnknownTopic { .. })
    ));
}

/// A counter that many threads raise: each looks at the newest value and says one more, at the
/// end that it saw. No value is lost or comes twice.
#[test]
fn of_many_threads_that_decide_on_the_same_end_one_appends() {
    let scratch = scratch();
    for durability in [Durability::Os, Durability::Always] {
        let dir = scratch.path().join(format!("{durability:?}"));
        let log = Log::open(dir, LogConfig::default().durability(durability)).unwrap();
        let (threads, each) = (4, 50);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    for _ in 0..each {
                        raise(&log);
                    }
                });
            }
        });
        let expected: Vec<_> = (1..=threads * each)
            .map(|number: u64| number.to_string())
            .collect();
        assert_eq!(values(&log), expected);
    }
}

fn raise(log: &Log) {
    let mut end = log.end_offset();
    loop {
        let last = end.checked_sub(1).map_or(0, |last| {
            assert!(log.wait_for(last, PATIENCE).unwrap());
            let record = log.read(last).unwrap().unwrap();
            let text = std::str::from_utf8(record.value().unwrap()).unwrap();
            text.parse::<u64>().unwrap()
        });
        match log.append_at(end, Record::new(&(last + 1).to_string())) {
            Ok(offset) => {
                assert_eq!(offset, end);
                return;
            }
            Err(Error::EndMoved { end: moved, .. }) => {
                assert!(moved > end);
                end = moved;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn an_append_that_is_refused_waits_for_no_sync() {
    let scratch = scratch();
    let config = LogConfig::default().durability(Durability::Interval(Duration::from_secs(3600)));
    let log = Log::open(scratch.path().join("log"), config).unwrap();
    log.append("a").unwrap();
    let flushed = log.flushed_offset();
    assert!(log.append_at(0, "b").is_err());
    assert_eq!(log.flushed_offset(), flushed);
}
