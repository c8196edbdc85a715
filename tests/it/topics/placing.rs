//! Where a record goes: by key as Kafka places it, by batch, by the caller's choice.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla::{
    Broker, Compression, Error, PartitionId, Partitioner, ProducerConfig, Record, Topic,
    TopicConfig,
};

use crate::codecs::is_built;

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
            let offsets = &batch.offsets;
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

/// One key for each partition of a topic.
fn key_of_each(topic: &Topic) -> Vec<String> {
    let keys: Vec<_> = (0..1000).map(|number| format!("k{number}")).collect();
    let of = |wanted| {
        let own = |key: &&String| topic.partition_for_key(key.as_bytes()) == wanted;
        keys.iter().find(own).unwrap().clone()
    };
    (0..topic.partition_count()).map(of).collect()
}

#[test]
fn a_batch_that_some_partitions_refuse_is_an_error_that_says_what_became_of_each() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    let config = TopicConfig::default().partitions(3).max_message_bytes(300);
    let topic = broker.create_topic("t", config).unwrap();
    let keys = key_of_each(&topic);
    let large = "x".repeat(400);
    let records = [
        Record::keyed(&keys[0], "a"),
        Record::keyed(&keys[1], &large),
        Record::keyed(&keys[2], "c"),
        Record::keyed(&keys[2], "d"),
    ];
    let error = topic.append_batch(records).unwrap_err();
    let text = error.to_string();
    let Error::PartlyAppended {
        appended, failed, ..
    } = error
    else {
        panic!("{text}");
    };
    let went: Vec<_> = appended
        .into_iter()
        .map(|batch| (batch.partition, batch.offsets))
        .collect();
    assert_eq!(went, [(0, 0..1), (2, 0..2)]);
    let [(1, Error::RecordTooLarge { limit: 300, .. })] = failed.as_slice() else {
        panic!("{failed:?}");
    };
    assert!(text.contains("partition 1"), "{text}");
    assert_eq!(values(&topic).len(), 3);

    // Nothing went in: the error itself.
    let nothing = topic.append_batch([Record::keyed(&keys[1], &large)]);
    assert!(matches!(nothing, Err(Error::RecordTooLarge { .. })));
    let single = broker
        .create_topic("s", TopicConfig::default().max_message_bytes(300))
        .unwrap();
    let nothing = single.append_batch(["a", large.as_str()]);
    assert!(matches!(nothing, Err(Error::RecordTooLarge { .. })));
    assert_eq!(values(&single), []);
    assert!(matches!(
        broker.topic("t").and_then(|gone| broker
            .delete_topic("t")
            .and_then(|()| gone.append_batch(["x"]))),
        Err(Error::UnknownTopic { .. })
    ));
}

#[test]
fn what_does_not_fit_one_batch_is_split_in_order_packed_or_not() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
        if !is_built(compression) {
            continue;
        }
        for partitions in [1, 3] {
            let name = format!("{compression:?}-{partitions}");
            let config = TopicConfig::default()
                .partitions(partitions)
                .compression_type(compression)
                .max_decompressed_batch_bytes(4096)
                .max_message_bytes(1000);
            let topic = broker.create_topic(&name, config).unwrap();
            // What does not pack well, and what does, beside each other.
            let value = |number: u32| match number % 50 {
                0..25 => format!(
                    "{:x}",
                    u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15)
                ),
                _ => "y".repeat(60),
            };
            let values_in: Vec<_> = (0..500).map(|number| (number, value(number))).collect();
            let keyed = values_in
                .iter()
                .map(|(number, value)| (format!("{number:04}"), value));
            let keyed: Vec<_> = keyed.collect();
            let records = keyed.iter().map(|(key, value)| Record::keyed(key, value));
            let batches = topic.append_batch(records).unwrap();
            let count: u64 = batches
                .iter()
                .map(|batch| batch.offsets.end - batch.offsets.start)
                .sum();
            assert_eq!(count, 500, "{name}");
            assert!(
                batches.len() > usize::try_from(partitions).unwrap(),
                "{name}: it was split"
            );
            for partition in 0..partitions {
                let own = batches.iter().filter(|batch| batch.partition == partition);
                let own: Vec<_> = own.map(|batch| batch.offsets.clone()).collect();
                assert!(
                    own.windows(2).all(|pair| pair[0].end == pair[1].start),
                    "{name}"
                );
                let log = topic.partition(partition).unwrap();
                let mut reader = log.reader(0).unwrap();
                let mut sizes = Vec::new();
                while let Some(batch) = reader.next_batch().unwrap() {
                    sizes.push(u64::try_from(batch.len()).unwrap());
                }
                let named: Vec<_> = own
                    .iter()
                    .map(|offsets| offsets.end - offsets.start)
                    .collect();
                assert_eq!(sizes, named, "{name}: one entry for each batch");
                let keys = log
                    .reader(0)
                    .unwrap()
                    .map(|record| record.unwrap().key().unwrap().to_vec());
                assert!(keys.is_sorted(), "{name}");
            }
        }
    }
}

struct Last;

impl Partitioner for Last {
    fn partition(&self, _topic: &str, _record: &Record<'_>, partitions: u32) -> PartitionId {
        partitions - 1
    }
}

struct Beyond;

impl Partitioner for Beyond {
    fn partition(&self, _topic: &str, _record: &Record<'_>, partitions: u32) -> PartitionId {
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
