//! User code that panics in the middle of a call, or with a handle in its hand: what was
//! acknowledged is there, nothing of what was not finished is, and everything goes on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ottla::{
    Broker, Compression, Log, LogConfig, PartitionId, Partitioner, Record, Start, TopicConfig,
};

use crate::codecs::is_built;
use crate::helpers::scratch;

/// Records of which the n-th is never made.
fn panics_at(n: usize) -> impl Iterator<Item = Record<'static>> {
    (0..100).map(move |at| {
        assert!(at != n, "the user's own mistake");
        Record::new("value")
    })
}

fn count(log: &Log) -> u64 {
    let reader = log.reader(Start::Earliest).unwrap();
    u64::try_from(reader.map(Result::unwrap).count()).unwrap()
}

#[test]
fn an_iterator_that_panics_leaves_nothing_of_its_batch() {
    for compression in [Compression::None, Compression::Lz4] {
        if !is_built(compression) {
            continue;
        }
        let scratch = scratch();
        let dir = scratch.path().join("data");
        let config = LogConfig::default().compression_type(compression);
        let log = Log::open(&dir, config.clone()).unwrap();
        for n in 0..50 {
            let before = log.append("before").unwrap();
            let panicked = catch_unwind(AssertUnwindSafe(|| log.append_batch(panics_at(n))));
            assert!(panicked.is_err());
            assert_eq!(log.end_offset(), before + 1, "the {n}th of the batch");
            // Another thread finds no lock that was left behind.
            let handle = log.clone();
            let next = thread::spawn(move || handle.append("after").unwrap());
            assert_eq!(next.join().unwrap(), before + 1);
        }
        assert_eq!(count(&log), 100);
        log.close().unwrap();
        drop(log);
        let log = Log::open(&dir, config).unwrap();
        assert!(log.open_report().clean);
        assert_eq!(count(&log), 100);
    }
}

#[test]
fn a_topic_goes_on_after_a_panic_in_a_batch_and_in_a_change_of_its_settings() {
    let scratch = scratch();
    let dir = scratch.path().join("data");
    let broker = Broker::open(&dir).unwrap();
    let topic = broker
        .create_topic("t", TopicConfig::default().partitions(3))
        .unwrap();
    for n in 0..50 {
        let panicked = catch_unwind(AssertUnwindSafe(|| topic.append_batch(panics_at(n))));
        assert!(panicked.is_err());
    }
    let ends = |topic: &ottla::Topic| -> u64 {
        let logs = (0..3).map(|partition| topic.partition(partition).unwrap());
        logs.map(|log| log.end_offset()).sum()
    };
    assert_eq!(ends(&topic), 0);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        broker.alter_topic("t", |_| panic!("the user's own mistake"))
    }));
    assert!(panicked.is_err());
    broker
        .alter_topic("t", |config| config.partitions(4))
        .unwrap();
    assert_eq!(topic.partition_count(), 4);
    topic
        .append_batch((0..10).map(|_| Record::new("value")))
        .unwrap();
    assert_eq!(ends(&topic) + topic.partition(3).unwrap().end_offset(), 10);
    broker.close().unwrap();
}

/// A partitioner that gives up now and then.
struct Moody;

impl Partitioner for Moody {
    fn partition(&self, _topic: &str, record: &Record<'_>, partitions: u32) -> PartitionId {
        assert!(record.key().is_some(), "the user's own mistake");
        partitions - 1
    }
}

#[test]
fn a_partitioner_that_panics_places_nothing() {
    let scratch = scratch();
    let broker = Broker::open(scratch.path().join("data")).unwrap();
    let topic = broker
        .create_topic("t", TopicConfig::default().partitions(3))
        .unwrap()
        .with_partitioner(Arc::new(Moody));
    for n in 0..50 {
        let batch = || (0..60).map(move |at| Record::from_parts((at != n).then_some(b"k"), None));
        let panicked = catch_unwind(AssertUnwindSafe(|| topic.append_batch(batch())));
        assert!(panicked.is_err());
        assert_eq!(topic.append(Record::keyed("k", "v")).unwrap().offset, n);
    }
    assert_eq!(count(&topic.partition(2).unwrap()), 50);
}

#[test]
fn a_thread_that_dies_with_every_handle_in_its_hand_takes_nothing_along() {
    let scratch = scratch();
    let dir = scratch.path().join("data");
    let broker = Broker::open(&dir).unwrap();
    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    topic.append("x").unwrap();
    let group = broker.group("g").unwrap();
    let (theirs, their_group) = (topic.clone(), broker.group("g").unwrap());
    let died = thread::spawn(move || {
        let producer = theirs.producer(ottla::ProducerConfig::default()).unwrap();
        drop(producer.send(Record::new("y")));
        let mut consumer = their_group.join(["t"]).unwrap();
        let reader = theirs
            .partition(0)
            .unwrap()
            .reader(Start::Earliest)
            .unwrap();
        let polled = consumer.poll(Duration::ZERO).unwrap();
        for record in polled {
            assert!(record.offset > 100, "the user's own mistake");
        }
        drop(reader);
    });
    assert!(died.join().is_err());
    // The records come again, to the next member, and at once.
    let mut consumer = group.join(["t"]).unwrap();
    let got = consumer.poll(Duration::from_secs(10)).unwrap();
    assert_eq!(got.into_iter().next().unwrap().offset, 0);
    topic.append("z").unwrap();
    broker.close().unwrap();
}
