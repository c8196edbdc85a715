//! Where a record goes: by key as Kafka places it, by batch, by the caller's choice.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla::{Broker, Error, PartitionId, Partitioner, ProducerConfig, Record, TopicConfig};

use super::{scratch, values};

#[test]
fn records_of_one_key_stay_together_in_order_where_kafka_puts_them() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    let topic = broker
        .create_topic("t", TopicConfig::default().partitions(12))
        .unwrap();
    for (key, partition) in [("21", 0), ("foobar", 6), ("abc", 3), ("", 9), ("hello", 9)] {
        assert_eq!(
            topic.append(Record::keyed(key, "x")).unwrap().partition,
            partition
        );
        let batches = topic.append_batch([Record::keyed(key, "y")]).unwrap();
        assert_eq!(batches[0].partition, partition);
    }
}

#[test]
fn a_batch_is_split_by_partition_and_says_where_it_went() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    let topic = broker
        .create_topic("t", TopicConfig::default().partitions(4))
        .unwrap();
    let keys: Vec<_> = (0..100).map(|number| format!("k{}", number % 10)).collect();
    let records = keys
        .iter()
        .enumerate()
        .map(|(at, key)| (key, at.to_string()));
    let records: Vec<_> = records.collect();
    let batches = topic
        .append_batch(
            records
                .iter()
                .map(|(key, value)| Record::keyed(*key, value)),
        )
        .unwrap();
    let counted: u64 = batches
        .iter()
        .map(|batch| {
            let offsets = batch.offsets.as_ref().unwrap();
            assert_eq!(offsets.start, 0);
            offsets.end - offsets.start
        })
        .sum();
    assert_eq!(counted, 100);
    assert!(
        batches
            .windows(2)
            .all(|pair| pair[0].partition < pair[1].partition)
    );
    let mut per_key: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (_, _, value) in values(&topic) {
        let at: usize = value.parse().unwrap();
        per_key.entry(&keys[at]).or_default().push(at);
    }
    assert_eq!(per_key.len(), 10);
    assert!(
        per_key
            .values()
            .all(|places| places.is_sorted() && places.len() == 10)
    );
    assert!(
        topic
            .append_batch(Vec::<Record<'_>>::new())
            .unwrap()
            .is_empty()
    );

    let together = topic.append_batch(["a", "b", "c"]).unwrap();
    assert_eq!(together.len(), 1, "without keys a batch stays together");
}

struct Last;

impl Partitioner for Last {
    fn partition(&self, _record: &Record<'_>, partitions: u32) -> PartitionId {
        partitions - 1
    }
}

struct Beyond;

impl Partitioner for Beyond {
    fn partition(&self, _record: &Record<'_>, partitions: u32) -> PartitionId {
        partitions
    }
}

#[test]
fn a_partition_of_the_callers_choice_wins() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    let topic = broker
        .create_topic("t", TopicConfig::default().partitions(3))
        .unwrap();
    assert_eq!(topic.append_to(1, "x").unwrap(), 0);
    assert!(matches!(
        topic.append_to(3, "x"),
        Err(Error::UnknownPartition { partition: 3, .. })
    ));
    let last = topic.with_partitioner(Arc::new(Last));
    assert_eq!(last.append(Record::keyed("k", "x")).unwrap().partition, 2);
    assert_eq!(last.append_batch(["x"]).unwrap()[0].partition, 2);
    let beyond = topic.with_partitioner(Arc::new(Beyond));
    assert!(matches!(
        beyond.append("x"),
        Err(Error::UnknownPartition { .. })
    ));
    assert!(matches!(
        beyond.append_batch(["x"]),
        Err(Error::UnknownPartition { .. })
    ));
    let producer = beyond.producer(ProducerConfig::default()).unwrap();
    assert!(matches!(
        producer.send("x"),
        Err(Error::UnknownPartition { .. })
    ));
}
