//! Kafka's own topics: read by everybody, written by the broker alone; and records in them that
//! nobody here understands.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ottla::{Broker, CleanupPolicy, Error, Log, LogConfig, ProducerConfig, Record, TopicConfig};

use super::scratch;

const OFFSETS: &str = "__consumer_offsets";

/// A broker with a topic and a group that has read it.
fn with_a_group(dir: &Path) -> Broker {
    let broker = Broker::open(dir).unwrap();
    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    topic.append_batch(["a", "b"]).unwrap();
    let mut member = broker.group("g").unwrap().join(["t"]).unwrap();
    assert_eq!(member.poll(Duration::ZERO).unwrap().len(), 2);
    member.commit().unwrap();
    member.leave().unwrap();
    broker
}

fn is_internal<T: std::fmt::Debug>(answer: Result<T, Error>) {
    let error = answer.unwrap_err();
    assert!(matches!(error, Error::InternalTopic { .. }), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains(OFFSETS) && text.contains("read-only"),
        "{text}"
    );
}

#[test]
fn an_internal_topic_can_be_read_and_nothing_else() {
    let (_scratch, dir) = scratch();
    let broker = with_a_group(&dir);
    let topic = broker.topic(OFFSETS).unwrap();
    assert_eq!(topic.describe().unwrap().partitions.len(), 50);
    let logs = (0..50).map(|partition| topic.partition(partition).unwrap());
    let log = logs.into_iter().find(|log| log.end_offset() > 0).unwrap();
    let before = log.reader(0).unwrap().count();
    assert!(before > 0);
    is_internal(topic.append("x"));
    is_internal(topic.append_to(0, "x"));
    is_internal(topic.append_to_at(0, 0, "x"));
    is_internal(topic.append_batch(["x"]));
    is_internal(topic.append_batch_to_at(0, 0, ["x"]));
    is_internal(topic.producer(ProducerConfig::default()));
    is_internal(log.append("x"));
    is_internal(log.append_at(log.end_offset(), "x"));
    is_internal(log.append_batch(["x"]));
    is_internal(log.append_batch_at(log.end_offset(), ["x"]));
    is_internal(log.truncate(0));
    is_internal(log.truncate_prefix(1));
    is_internal(log.compact());
    is_internal(log.apply_retention());
    is_internal(log.clone().append("x"));
    for answer in [
        broker.alter_topic(OFFSETS, |config| config.partitions(60)),
        broker.delete_topic(OFFSETS),
        broker
            .ensure_topic(OFFSETS, TopicConfig::default())
            .map(drop),
        broker
            .create_topic(OFFSETS, TopicConfig::default())
            .map(drop),
    ] {
        let text = answer.unwrap_err().to_string();
        assert!(text.contains("internal"), "{text}");
    }
    let found = broker.create_topic_if_absent(OFFSETS, TopicConfig::default());
    is_internal(found.unwrap().append("x"));
    assert_eq!(log.reader(0).unwrap().count(), before);
    // The groups go on.
    let group = broker.group("g").unwrap();
    group.reset("t", ottla::Start::Earliest).unwrap();
    assert_eq!(group.committed("t", 0).unwrap(), Some(0));
    broker.close().unwrap();
}

/// A key of a kind and a group, and what follows.
fn key(kind: u8, group: &str, rest: &[u8]) -> Vec<u8> {
    let mut key = vec![0, kind, 0, u8::try_from(group.len()).unwrap()];
    key.extend(group.as_bytes());
    key.extend(rest);
    key
}

/// Keys and values that no version of this crate writes.
fn odd_records() -> Vec<(Vec<u8>, Vec<u8>)> {
    let place = [0, 1, b't', 0, 0, 0, 0];
    vec![
        // Kinds that nobody knows, with and without something like a group.
        (key(99, "g", b""), vec![1, 2, 3]),
        (vec![0x7f, 0x7f], vec![9]),
        (vec![0, 99, 0xff, 0xff], vec![9]),
        (vec![7], vec![9]),
        // A commit of a later version, and one that is too short, each of a group of its own.
        (key(1, "later", &place), vec![0, 9, 1]),
        (key(1, "short", &place), vec![0, 3, 1]),
        // A commit whose key goes on, and one that breaks off.
        (key(1, "long-key", b"\0\x01t\0\0\0\0more"), vec![0, 3]),
        (key(1, "cut-key", b"\0\x09t"), vec![0, 3]),
        // What a group says of itself, later and too short.
        (key(2, "g", b""), vec![0, 9, 7]),
        (key(2, "short", b""), vec![0, 3]),
        // A group without a name, which Kafka allows.
        (key(1, "", &place), commit_of(1)),
        // A newer protocol's.
        (key(3, "newer", b""), vec![0, 0, 0, 0]),
    ]
}

/// A commit as Kafka writes it.
fn commit_of(offset: u64) -> Vec<u8> {
    let mut value = vec![0, 3];
    value.extend(offset.to_be_bytes());
    value.extend((-1_i32).to_be_bytes());
    value.extend([0, 0]);
    value.extend(1_600_000_000_000_i64.to_be_bytes());
    value
}

/// Appends the odd records to every partition of a root at rest that is there, and what a broker
/// that takes the root over must find: nothing of what we know of the log.
fn write_odd_records(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let partitions: Vec<_> = entries
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with(OFFSETS)
        })
        .collect();
    assert!(!partitions.is_empty());
    for partition in &partitions {
        let kept = fs::read(partition.join("partition.metadata")).unwrap();
        let log = Log::open(partition, LogConfig::default()).unwrap();
        for (key, value) in odd_records() {
            log.append(Record::keyed(&key, &value)).unwrap();
        }
        log.close().unwrap();
        drop(log);
        fs::write(partition.join("partition.metadata"), kept).unwrap();
    }
    partitions
}

/// Every odd record, as it was written.
fn check_kept(partition: &Path) {
    let log = Log::open_read_only(partition).unwrap();
    let records: Vec<_> = log.reader(0).unwrap().map(Result::unwrap).collect();
    for (key, value) in odd_records() {
        let mut found = records
            .iter()
            .filter(|record| record.key() == Some(&key[..]));
        let newest = found
            .next_back()
            .unwrap_or_else(|| panic!("{key:?} is gone"));
        // A broker may be told when a commit was made; everything else is as it was.
        let same = newest.value() == Some(&value[..]);
        let is_commit = value == commit_of(1);
        assert!(same || is_commit, "{key:?}: {:?}", newest.value());
    }
}

#[test]
fn odd_records_concern_their_group_alone_and_are_kept() {
    let (_scratch, dir) = scratch();
    with_a_group(&dir).close().unwrap();
    let partitions = write_odd_records(&dir);
    for round in 0..2 {
        let broker = Broker::open(&dir).unwrap();
        let groups = broker.groups().unwrap();
        let ids: Vec<_> = groups.iter().map(|group| group.id.as_str()).collect();
        assert_eq!(ids, ["g"], "round {round}");
        let group = broker.group("g").unwrap();
        assert_eq!(group.committed("t", 0).unwrap(), Some(2));
        drop(group.join(["t"]).unwrap());
        assert!(broker.damaged_commits().unwrap().is_empty());
        broker.close().unwrap();
        for partition in &partitions {
            check_kept(partition);
        }
    }
    let report = ottla::verify(&dir).unwrap();
    assert!(report.is_sound(), "{report}");
    // Compaction keeps them, too.
    for partition in &partitions {
        let config = LogConfig::default().cleanup_policy(CleanupPolicy::Compact);
        let kept = fs::read(partition.join("partition.metadata")).unwrap();
        let log = Log::open(partition, config).unwrap();
        log.compact().unwrap();
        log.close().unwrap();
        drop(log);
        fs::write(partition.join("partition.metadata"), kept).unwrap();
        check_kept(partition);
    }
    let broker = Broker::open(&dir).unwrap();
    assert_eq!(broker.groups().unwrap().len(), 1);
    broker.delete_topic("t").unwrap();
    broker.delete_group("g").unwrap();
    broker.close().unwrap();
    let meta = fs::read_to_string(dir.join("meta.properties")).unwrap();
    assert!(meta.contains("cluster.id"), "{meta}");
}
