//! Topics and brokers through the public API: made, found again, changed, deleted, closed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ottla::{
    Broker, BrokerConfig, Compression, Durability, Error, Log, LogConfig, OpenEvent, PartitionId,
    Partitioner, ProducerConfig, Record, Result, Topic, TopicConfig,
};
use tempfile::TempDir;

fn scratch() -> (TempDir, PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("data");
    (scratch, dir)
}

fn values(topic: &Topic) -> Vec<(PartitionId, u64, String)> {
    let mut all = Vec::new();
    for partition in 0..topic.partition_count() {
        for record in topic.partition(partition).unwrap().reader(0).unwrap() {
            let record = record.unwrap();
            let value = String::from_utf8(record.value().unwrap().to_vec()).unwrap();
            all.push((partition, record.offset, value));
        }
    }
    all
}

fn names_in(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// As a killed process leaves it: no file is closed, and nobody holds the lock.
fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn everything_is_found_again_as_it_was() {
    let (_scratch, dir) = scratch();
    let config = TopicConfig::default().partitions(3).segment_bytes(4096);
    let (before, info) = {
        let broker = Broker::open(&dir).unwrap();
        let topic = broker.create_topic("flights", config.clone()).unwrap();
        for number in 0..300 {
            let key = format!("N{}", number % 17);
            topic
                .append(Record::keyed(&key, &number.to_string()))
                .unwrap();
        }
        let before = (values(&topic), broker.topics());
        broker.close().unwrap();
        before
    };
    assert_eq!(before.len(), 300);
    let broker = Broker::open(&dir).unwrap();
    assert!(broker.open_report().clean, "{:?}", broker.open_report());
    let topic = broker.topic("flights").unwrap();
    assert_eq!(topic.config(), config);
    assert_eq!(values(&topic), before);
    let mut again = broker.topics();
    for (old, new) in info[0].partitions.iter().zip(&mut again[0].partitions) {
        // Closing has flushed everything.
        assert_eq!(new.flushed_offset, new.end_offset);
        new.flushed_offset = old.flushed_offset;
    }
    assert_eq!(again, info);
}

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

#[test]
fn names_follow_kafkas_rules() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    let long = "x".repeat(250);
    for name in [
        "",
        ".",
        "..",
        "a/b",
        "a\0b",
        "\u{e9}",
        "a b",
        &long,
        "__consumer_offsets",
    ] {
        let error = broker
            .create_topic(name, TopicConfig::default())
            .unwrap_err();
        assert!(
            matches!(error, Error::InvalidName { .. }),
            "{name:?}: {error}"
        );
    }
    broker
        .create_topic(&long[..249], TopicConfig::default())
        .unwrap();
    broker
        .create_topic("New.York", TopicConfig::default())
        .unwrap();
    for name in ["New_York", "new.york", "NUL.txt"] {
        let error = broker
            .create_topic(name, TopicConfig::default())
            .unwrap_err();
        assert!(
            matches!(error, Error::InvalidName { .. }),
            "{name:?}: {error}"
        );
    }
    let error = broker
        .create_topic("New.York", TopicConfig::default())
        .unwrap_err();
    assert!(matches!(error, Error::TopicExists { .. }), "{error}");
    let found = broker.create_topic_if_absent("New.York", TopicConfig::default().partitions(9));
    assert_eq!(found.unwrap().partition_count(), 1);
    let error = broker
        .create_topic("none", TopicConfig::default().partitions(0))
        .unwrap_err();
    assert!(matches!(error, Error::InvalidConfig { .. }), "{error}");
    assert_eq!(
        broker.topic_names(),
        ["New.York".to_owned(), long[..249].to_owned()]
    );
    assert!(matches!(
        broker.topic("none"),
        Err(Error::UnknownTopic { .. })
    ));
    assert!(matches!(
        broker.delete_topic("none"),
        Err(Error::UnknownTopic { .. })
    ));
}

#[test]
fn a_deleted_topic_is_gone_for_everybody_and_a_new_one_starts_empty() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    let topic = broker
        .create_topic("t", TopicConfig::default().partitions(2))
        .unwrap();
    let id = broker.topics()[0].id.clone();
    let producer = topic.producer(ProducerConfig::default()).unwrap();
    topic.append("x").unwrap();
    let mut reader = topic.partition(0).unwrap().reader(0).unwrap();
    fs::write(dir.join("t-1").join("notes.txt"), "mine").unwrap();
    broker.delete_topic("t").unwrap();

    assert!(matches!(topic.append("x"), Err(Error::UnknownTopic { .. })));
    assert!(matches!(
        topic.append_to(1, "x"),
        Err(Error::UnknownTopic { .. })
    ));
    assert!(matches!(
        topic.append_batch(["x"]),
        Err(Error::UnknownTopic { .. })
    ));
    assert!(matches!(
        topic.partition(0),
        Err(Error::UnknownTopic { .. })
    ));
    assert!(matches!(topic.describe(), Err(Error::UnknownTopic { .. })));
    assert!(matches!(
        producer.send("x"),
        Err(Error::UnknownTopic { .. })
    ));
    // Its data or a clear error, never a crash.
    assert!(matches!(
        reader.next(),
        Some(Ok(_) | Err(Error::Closed)) | None
    ));
    assert!(broker.topics().is_empty());
    assert!(!dir.join("t-0").exists());
    assert_eq!(
        names_in(&dir.join("t-1")),
        ["notes.txt"],
        "what is not ours stays"
    );

    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    assert_eq!(topic.append("y").unwrap().offset, 0);
    assert_ne!(broker.topics()[0].id, id);
    broker.close().unwrap();
    let broker = Broker::open(&dir).unwrap();
    assert_eq!(
        values(&broker.topic("t").unwrap()),
        [(0, 0, "y".to_owned())]
    );
}

#[test]
fn a_topic_gets_more_partitions_and_other_settings_while_it_runs() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    topic.append("x").unwrap();
    broker
        .alter_topic("t", |config| config.partitions(3).max_message_bytes(200))
        .unwrap();
    assert_eq!(topic.partition_count(), 3);
    assert_eq!(topic.append_to(2, "x").unwrap(), 0);
    let large = "x".repeat(300);
    assert!(matches!(
        topic.append_to(0, &large),
        Err(Error::RecordTooLarge { .. })
    ));
    let error = broker
        .alter_topic("t", |config| config.partitions(2))
        .unwrap_err();
    assert!(matches!(error, Error::InvalidConfig { .. }), "{error}");
    let error = broker
        .alter_topic("t", |config| config.segment_bytes(1))
        .unwrap_err();
    assert!(matches!(error, Error::InvalidConfig { .. }), "{error}");
    // User code may use the broker: no lock is held meanwhile.
    let other = broker.clone();
    broker
        .alter_topic("t", |config| {
            other
                .alter_topic("t", |config| config.partitions(4))
                .unwrap();
            config.max_message_bytes(400)
        })
        .unwrap();
    topic.append_to(0, &large).unwrap();
    broker.close().unwrap();
    let broker = Broker::open(&dir).unwrap();
    let config = broker.topic("t").unwrap().config();
    assert_eq!(
        config,
        TopicConfig::default().partitions(4).max_message_bytes(400)
    );
}

#[test]
fn a_closed_broker_says_so_and_a_dropped_one_is_closed() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    let log = topic.partition(0).unwrap();
    assert!(matches!(Broker::open(&dir), Err(Error::Locked { .. })));
    assert!(matches!(
        Log::open(dir.join("t-0"), LogConfig::default()),
        Err(Error::Locked { .. })
    ));
    topic.append("x").unwrap();
    broker.close().unwrap();
    broker.close().unwrap();
    assert!(matches!(topic.append("x"), Err(Error::Closed)));
    assert!(matches!(topic.partition(0), Err(Error::Closed)));
    assert!(matches!(log.append("x"), Err(Error::Closed)));
    assert!(matches!(broker.topic("t"), Err(Error::Closed)));
    assert!(matches!(
        broker.create_topic("u", TopicConfig::default()),
        Err(Error::Closed)
    ));
    assert!(matches!(broker.delete_topic("t"), Err(Error::Closed)));
    assert!(matches!(broker.flush(), Err(Error::Closed)));
    assert!(broker.topics().is_empty());

    let broker = Broker::open(&dir).unwrap();
    let topic = broker.topic("t").unwrap();
    drop(broker);
    topic.append("kept alive by its topic").unwrap();
    assert!(matches!(Broker::open(&dir), Err(Error::Locked { .. })));
    drop(topic);
    let broker = Broker::open(&dir).unwrap();
    assert!(broker.open_report().clean);
    assert_eq!(values(&broker.topic("t").unwrap()).len(), 2);
}

#[test]
fn after_a_kill_all_logs_are_recovered_at_once() {
    let (scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    let topic = broker
        .create_topic("t", TopicConfig::default().partitions(2))
        .unwrap();
    for number in 0..10 {
        topic.append_to(number % 2, &number.to_string()).unwrap();
    }
    let killed = scratch.path().join("killed");
    copy_tree(&dir, &killed);
    let broker = Broker::open(&killed).unwrap();
    assert!(!broker.open_report().clean);
    assert_eq!(values(&broker.topic("t").unwrap()), values(&topic));
}

#[test]
fn a_directory_without_an_owner_is_settled_or_reported() {
    let (scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    topic.append("x").unwrap();
    broker.close().unwrap();
    // An unfinished creation, an orphan with records, and something else altogether.
    fs::create_dir(dir.join("u-0")).unwrap();
    fs::write(dir.join("u-0").join("partition.metadata"), "version: 0\n").unwrap();
    copy_tree(&dir.join("t-0"), &dir.join("orphan-0"));
    fs::create_dir(dir.join("photos")).unwrap();
    fs::write(dir.join("photos").join("a.png"), "x").unwrap();
    let broker = Broker::open(&dir).unwrap();
    assert!(!dir.join("u-0").exists());
    assert!(
        dir.join("orphan-0")
            .join("00000000000000000000.log")
            .exists()
    );
    let odd: Vec<_> = broker
        .open_report()
        .events
        .iter()
        .filter_map(|event| match event {
            OpenEvent::LeftAlone { path, .. } => Some(path.file_name().unwrap().to_owned()),
            _ => None,
        })
        .collect();
    assert_eq!(odd.len(), 2, "{:?}", broker.open_report());
    // The orphan's records are not taken for those of a new topic.
    let error = broker
        .create_topic("orphan", TopicConfig::default())
        .unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    assert_eq!(values(&broker.topic("t").unwrap()).len(), 1);
    drop((broker, scratch));
}

#[test]
fn one_damaged_partition_keeps_nobody_from_the_others() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    let topic = broker
        .create_topic("t", TopicConfig::default().partitions(2))
        .unwrap();
    topic.append_to(0, "x").unwrap();
    topic.append_to(1, "y").unwrap();
    broker.close().unwrap();
    // Two partitions that changed places: each says that it belongs to the topic, but this one.
    fs::write(
        dir.join("t-0").join("partition.metadata"),
        "version: 0\ntopic_id: rvvf-yNvRcyXKPzGuhhMXA\n",
    )
    .unwrap();
    fs::remove_file(dir.join(".kafka_cleanshutdown")).unwrap();
    let broker = Broker::open(&dir).unwrap();
    let unusable = |event: &OpenEvent| matches!(event, OpenEvent::LogUnusable { .. });
    assert!(
        broker.open_report().events.iter().any(unusable),
        "{:?}",
        broker.open_report()
    );
    let topic = broker.topic("t").unwrap();
    assert!(matches!(
        topic.append_to(0, "x"),
        Err(Error::Corrupt { .. })
    ));
    assert!(matches!(topic.partition(0), Err(Error::Corrupt { .. })));
    assert_eq!(topic.append_to(1, "y").unwrap(), 1);
    let info = topic.describe().unwrap();
    assert!(info.partitions[0].problem.is_some() && info.partitions[1].problem.is_none());
}

#[test]
fn reading_takes_no_lock_and_changes_nothing() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    topic.append("x").unwrap();
    let before = names_in(&dir);
    let reading = Broker::open_read_only(&dir).unwrap();
    let seen = reading.topic("t").unwrap();
    assert_eq!(values(&seen), values(&topic));
    assert!(matches!(seen.append("y"), Err(Error::ReadOnly)));
    let config = TopicConfig::default;
    assert!(matches!(
        reading.create_topic("u", config()),
        Err(Error::ReadOnly)
    ));
    assert!(matches!(reading.delete_topic("t"), Err(Error::ReadOnly)));
    assert!(matches!(
        reading.alter_topic("t", |c| c.partitions(2)),
        Err(Error::ReadOnly)
    ));
    assert!(matches!(reading.upkeep(), Err(Error::ReadOnly)));
    reading.close().unwrap();
    assert_eq!(names_in(&dir), before);
    assert!(Broker::open_read_only(dir.join("missing")).is_err());
}

#[test]
fn a_directory_that_is_something_else_is_refused() {
    let (scratch, dir) = scratch();
    drop(Log::open(&dir, LogConfig::default()).unwrap());
    assert!(matches!(Broker::open(&dir), Err(Error::Unsupported { .. })));
    let kafka = scratch.path().join("kafka");
    fs::create_dir(&kafka).unwrap();
    fs::write(kafka.join("meta.properties"), "version=1\n").unwrap();
    assert!(matches!(
        Broker::open(&kafka),
        Err(Error::Unsupported { .. })
    ));
    let file = scratch.path().join("file");
    fs::write(&file, "x").unwrap();
    assert!(matches!(Broker::open(&file), Err(Error::Io { .. })));
    let orphan = scratch.path().join("no").join("parent");
    assert!(matches!(Broker::open(orphan), Err(Error::Io { .. })));
}

#[test]
fn a_damaged_catalog_is_refused_with_its_place_and_nothing_is_touched() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    for name in ["a", "b", "c"] {
        broker
            .create_topic(name, TopicConfig::default())
            .unwrap()
            .append("x")
            .unwrap();
    }
    broker.close().unwrap();
    let path = dir.join("ottla.catalog");
    let good = fs::read(&path).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        fs::write(&path, &bad).unwrap();
        let error = Broker::open(&dir).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "byte {at}: {error}");
    }
    for len in [0, 10, good.len() - 1] {
        fs::write(&path, &good[..len]).unwrap();
        assert!(
            matches!(Broker::open(&dir), Err(Error::Corrupt { .. })),
            "{len} bytes"
        );
    }
    fs::write(&path, &good).unwrap();
    let broker = Broker::open(&dir).unwrap();
    assert_eq!(
        broker
            .topics()
            .iter()
            .map(|topic| topic.partitions[0].end_offset)
            .sum::<u64>(),
        3
    );
}

#[test]
fn the_end_of_a_change_that_nobody_was_told_of_is_set_aside() {
    let (scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    broker.create_topic("a", TopicConfig::default()).unwrap();
    let killed = scratch.path().join("killed");
    copy_tree(&dir, &killed);
    broker.create_topic("b", TopicConfig::default()).unwrap();
    let longer = fs::read(dir.join("ottla.catalog")).unwrap();
    let len = fs::metadata(killed.join("ottla.catalog")).unwrap().len();
    fs::write(killed.join("ottla.catalog"), &longer[..longer.len() - 5]).unwrap();
    let broker = Broker::open(&killed).unwrap();
    assert_eq!(broker.topic_names(), ["a"]);
    let set_aside = broker
        .open_report()
        .events
        .iter()
        .find_map(|event| match event {
            OpenEvent::TailSetAside {
                position,
                quarantine,
                ..
            } => Some((*position, quarantine)),
            _ => None,
        });
    let (position, quarantine) = set_aside.unwrap();
    assert_eq!(position, len);
    assert_eq!(
        fs::read(quarantine).unwrap(),
        &longer[usize::try_from(len).unwrap()..]
            [..longer.len() - 5 - usize::try_from(len).unwrap()]
    );
    broker.create_topic("b", TopicConfig::default()).unwrap();
    drop(broker);
    assert_eq!(Broker::open(&killed).unwrap().topic_names(), ["a", "b"]);
}

#[test]
fn a_producer_collects_batches_and_tells_where_each_record_went() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    let topic = broker
        .create_topic("t", TopicConfig::default().partitions(3))
        .unwrap();
    let config = ProducerConfig::default()
        .compression_type(Compression::None)
        .batch_size(2000);
    let producer = topic.producer(config).unwrap();
    let mut deliveries = Vec::new();
    for number in 0..1000 {
        let key = format!("k{}", number % 7);
        deliveries.push(
            producer
                .send(Record::keyed(&key, &number.to_string()))
                .unwrap(),
        );
    }
    producer.flush().unwrap();
    let all = values(&topic);
    assert_eq!(all.len(), 1000);
    for (number, delivery) in deliveries.iter().enumerate() {
        assert!(delivery.is_settled());
        let at = delivery.wait().unwrap();
        assert!(all.contains(&(at.partition, at.offset, number.to_string())));
    }
    // Batches, not single records.
    let mut reader = topic
        .partition(deliveries[0].wait().unwrap().partition)
        .unwrap()
        .reader(0)
        .unwrap();
    assert!(reader.next_batch().unwrap().unwrap().len() > 10);
}

#[test]
fn a_record_that_nobody_waits_for_is_appended_when_its_time_is_over() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    let producer = topic.producer(ProducerConfig::default()).unwrap();
    drop(producer.send("x").unwrap());
    assert!(
        topic
            .partition(0)
            .unwrap()
            .wait_for(0, Duration::from_secs(20))
            .unwrap()
    );
    drop(producer.send("y").unwrap());
    drop(producer);
    assert_eq!(
        topic.partition(0).unwrap().end_offset(),
        2,
        "dropping appends what waits"
    );
}

#[test]
fn waiting_is_enough_without_any_thread() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open_with(&dir, BrokerConfig::default().manual_upkeep(true)).unwrap();
    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    let producer = topic.producer(ProducerConfig::default()).unwrap();
    let first = producer.send("x").unwrap();
    let second = producer.send("y").unwrap();
    assert_eq!(second.wait().unwrap().offset, 1);
    assert_eq!(first.wait().unwrap().offset, 0);
    let at_once = topic
        .producer(ProducerConfig::default().linger_ms(Duration::ZERO))
        .unwrap();
    assert!(at_once.send("z").unwrap().is_settled());
}

#[test]
fn an_error_reaches_every_delivery_of_its_batch_and_no_other() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    let config = TopicConfig::default().max_message_bytes(300);
    let topic = broker.create_topic("t", config).unwrap();
    let linger = ProducerConfig::default().linger_ms(Duration::from_secs(600));
    let producer = topic.producer(linger).unwrap();
    let large = "x".repeat(400);
    let small = producer.send("x").unwrap();
    let refused = producer.send(&large).unwrap();
    let after = producer.send("y").unwrap();
    assert!(matches!(refused.wait(), Err(Error::RecordTooLarge { .. })));
    assert!(
        matches!(refused.wait(), Err(Error::RecordTooLarge { .. })),
        "and again"
    );
    producer.flush().unwrap();
    assert_eq!(small.wait().unwrap().offset, 0);
    assert_eq!(after.wait().unwrap().offset, 1);
    let lost = producer.send("z").unwrap();
    broker.delete_topic("t").unwrap();
    assert!(matches!(producer.flush(), Err(Error::UnknownTopic { .. })));
    assert!(matches!(lost.wait(), Err(Error::UnknownTopic { .. })));
}

#[test]
fn the_brokers_durability_is_the_topics_unless_it_has_its_own() {
    let (_scratch, dir) = scratch();
    let config = BrokerConfig::default().durability(Durability::Always);
    let broker = Broker::open_with(&dir, config).unwrap();
    let follows = broker.create_topic("a", TopicConfig::default()).unwrap();
    let own = broker
        .create_topic("b", TopicConfig::default().durability(Durability::Os))
        .unwrap();
    follows.append("x").unwrap();
    own.append("x").unwrap();
    assert_eq!(follows.partition(0).unwrap().flushed_offset(), 1);
    assert_eq!(own.partition(0).unwrap().flushed_offset(), 0);
    broker.flush().unwrap();
    assert_eq!(own.partition(0).unwrap().flushed_offset(), 1);
}

#[test]
fn upkeep_by_hand_does_what_the_flusher_would() -> Result<()> {
    let (_scratch, dir) = scratch();
    let broker = Broker::open_with(&dir, BrokerConfig::default().manual_upkeep(true))?;
    let every = Durability::Interval(Duration::from_millis(1));
    let topic = broker.create_topic("t", TopicConfig::default().durability(every))?;
    topic.append("x")?;
    assert_eq!(broker.upkeep()?.flushed, 1);
    assert_eq!(topic.partition(0)?.flushed_offset(), 1);
    assert_eq!(broker.upkeep()?.flushed, 0);
    Ok(())
}

#[test]
fn threads_that_make_and_delete_topics_do_not_disturb_each_other() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let broker = broker.clone();
            scope.spawn(move || {
                for round in 0..8 {
                    let shared = broker.create_topic_if_absent("shared", TopicConfig::default());
                    // It may be deleted by another thread at any moment.
                    drop(shared.and_then(|topic| topic.append("x")));
                    let own = format!("own-{thread}");
                    let topic = broker.create_topic(&own, TopicConfig::default()).unwrap();
                    assert_eq!(topic.append("x").unwrap().offset, 0, "round {round}");
                    drop(broker.delete_topic("shared"));
                    broker.delete_topic(&own).unwrap();
                }
            });
        }
    });
    drop(broker.delete_topic("shared"));
    broker.close().unwrap();
    let left: Vec<_> = names_in(&dir)
        .into_iter()
        .filter(|name| name.contains('-'))
        .collect();
    assert!(left.iter().all(|name| !dir.join(name).is_dir()), "{left:?}");
    assert!(Broker::open(&dir).unwrap().topics().is_empty());
}
