//! Logs and brokers that are only looked at, while somebody writes them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use ottla::{
    Broker, CleanupPolicy, Error, Log, LogConfig, Record, Severity, Start, Timestamp, TopicConfig,
};

use crate::helpers::{files_with, numbers, scratch, values};

/// A log of many segments, and a handle on it that only looks.
fn written_and_looked_at(dir: &Path, config: LogConfig) -> (Log, Log) {
    let writer = Log::open(dir, config.segment_bytes(1024)).unwrap();
    for number in numbers(200) {
        let key = number.len().to_string();
        writer.append(Record::keyed(&key, &number)).unwrap();
    }
    writer.flush().unwrap();
    let looking = Log::open_read_only(dir).unwrap();
    assert_eq!(looking.end_offset(), 200);
    (writer, looking)
}

#[test]
fn a_log_that_is_compacted_by_its_writer_is_read_on() {
    let dir = scratch();
    let config = LogConfig::default().cleanup_policy(CleanupPolicy::Compact);
    let (writer, looking) = written_and_looked_at(dir.path(), config);
    let mut begun = looking.reader(0).unwrap();
    assert_eq!(begun.next().unwrap().unwrap().offset, 0);
    writer.compact().unwrap();
    // Files that are open are read to their ends; from then on there is what compaction has left.
    assert!(values(&looking).ends_with(&["99".to_owned(), "199".to_owned()]));
    let rest: Vec<_> = begun.map(|record| record.unwrap().offset).collect();
    assert!(rest.ends_with(&[99, 199]), "{rest:?}");
    assert_eq!(looking.read(199).unwrap().unwrap().offset, 199);
    assert!(looking.offset_for_time(Timestamp::from_millis(0)).is_ok());
}

#[test]
fn a_log_whose_segments_were_compacted_before_any_was_read_is_found_by_time() {
    let dir = scratch();
    let config = LogConfig::default().cleanup_policy(CleanupPolicy::Compact);
    let (writer, looking) = written_and_looked_at(dir.path(), config);
    writer.compact().unwrap();
    let first = looking.offset_for_time(Timestamp::from_millis(0)).unwrap();
    assert_eq!(first, Some(9));
}

#[test]
fn a_log_whose_front_its_writer_deletes_begins_later() {
    let dir = scratch();
    let (writer, looking) = written_and_looked_at(dir.path(), LogConfig::default());
    writer.truncate_prefix(150).unwrap();
    let mut reader = looking.reader(Start::Earliest).unwrap();
    let first = reader.next().unwrap();
    // What was there when it was opened may be gone; what is there is not called damaged.
    assert!(
        matches!(first, Ok(_) | Err(Error::OffsetOutOfRange { .. })),
        "{first:?}"
    );
    let offsets: Vec<_> = looking
        .reader(Start::Earliest)
        .unwrap()
        .map(|record| record.unwrap().offset)
        .collect();
    assert_eq!(offsets, (150..200).collect::<Vec<_>>());
}

#[test]
fn a_log_whose_end_its_writer_truncates_is_not_damaged() {
    for new_end in [0, 7, 100, 199] {
        let dir = scratch();
        let (writer, looking) = written_and_looked_at(dir.path(), LogConfig::default());
        let mut begun = looking.reader(0).unwrap();
        begun.next().unwrap().unwrap();
        writer.truncate(new_end).unwrap();
        for _ in 0..5 {
            writer.append("another").unwrap();
        }
        for record in begun {
            if let Err(error) = record {
                assert!(
                    matches!(
                        error,
                        Error::OffsetOutOfRange { .. } | Error::Truncated { .. }
                    ),
                    "{error:?}"
                );
            }
        }
        let fresh = Log::open_read_only(dir.path()).unwrap();
        assert_eq!(fresh.end_offset(), new_end + 5);
    }
}

#[test]
fn damage_is_reported_beside_a_writer_too() {
    let dir = scratch();
    let (writer, looking) = written_and_looked_at(dir.path(), LogConfig::default());
    let victim = &files_with(dir.path(), ".log")[1];
    let mut bytes = fs::read(victim).unwrap();
    bytes[100] ^= 1;
    fs::write(victim, bytes).unwrap();
    let read: Result<Vec<_>, _> = looking.reader(0).unwrap().collect();
    assert!(matches!(read, Err(Error::Corrupt { .. })), "{read:?}");
    let report = ottla::verify(dir.path()).unwrap();
    assert!(report.live && report.worst() == Some(Severity::Damage));
    writer.close().unwrap();
    let report = ottla::verify(dir.path()).unwrap();
    assert!(!report.live && report.worst() == Some(Severity::Damage));
}

#[test]
fn verify_says_that_another_process_is_writing() {
    let dir = scratch();
    let (writer, _looking) = written_and_looked_at(dir.path(), LogConfig::default());
    let report = ottla::verify(dir.path()).unwrap();
    assert!(report.live && report.is_sound(), "{report}");
    assert!(report.to_string().contains("somebody is writing it"));
    writer.close().unwrap();
    let report = ottla::verify(dir.path()).unwrap();
    assert!(!report.live && report.is_spotless(), "{report}");
    let root = dir.path().join("root");
    let broker = Broker::open(&root).unwrap();
    assert!(ottla::verify(&root).unwrap().live);
    broker.close().unwrap();
    assert!(!ottla::verify(&root).unwrap().live);
}

#[test]
fn a_topic_that_its_writer_deletes_is_unknown_and_not_missing() {
    let dir = scratch();
    let root = dir.path().join("root");
    let broker = Broker::open(&root).unwrap();
    let config = || TopicConfig::default().partitions(2).segment_bytes(1024);
    let topic = broker.create_topic("flights", config()).unwrap();
    for number in numbers(200) {
        topic.append_to(0, Record::new(&number)).unwrap();
    }
    broker.flush().unwrap();
    let looking = Broker::open_read_only(&root).unwrap();
    let flights = looking.topic("flights").unwrap();
    // One partition is open, nobody has looked at the other.
    let log = flights.partition(0).unwrap();
    broker.delete_topic("flights").unwrap();
    let read: Result<Vec<_>, _> = log.reader(0).and_then(Iterator::collect);
    assert!(matches!(read, Ok(_) | Err(Error::Closed)), "{read:?}");
    let other = flights.partition(1);
    assert!(
        matches!(other, Err(Error::UnknownTopic { .. })),
        "{other:?}"
    );
    // One of the same name is another topic.
    broker.create_topic("flights", config()).unwrap();
    let other = flights.partition(1);
    assert!(
        matches!(other, Err(Error::UnknownTopic { .. })),
        "{other:?}"
    );
}

#[test]
fn a_log_without_a_segment_is_empty_for_whoever_looks() {
    let dir = scratch();
    let root = dir.path().join("root");
    let broker = Broker::open(&root).unwrap();
    broker
        .create_topic("flights", TopicConfig::default())
        .unwrap();
    let looking = Broker::open_read_only(&root).unwrap();
    let log = looking.topic("flights").unwrap().partition(0).unwrap();
    assert_eq!(values(&log), [""; 0]);
    assert!(matches!(log.read(0), Err(Error::OffsetOutOfRange { .. })));
}

#[test]
fn what_its_writer_appends_is_waited_for() {
    let dir = scratch();
    let (writer, looking) = written_and_looked_at(dir.path(), LogConfig::default());
    let hour = Duration::from_secs(3600);
    assert!(looking.wait_for(199, hour).unwrap());
    assert!(!looking.wait_for(200, Duration::from_millis(5)).unwrap());
    let mut reader = looking.reader(Start::Latest).unwrap();
    assert!(!reader.wait(Duration::ZERO).unwrap());
    let appending = std::thread::spawn(move || writer.append("more").map(drop));
    assert!(reader.wait(hour).unwrap());
    assert!(looking.wait_for(200, hour).unwrap());
    appending.join().unwrap().unwrap();
    assert_eq!(reader.next().unwrap().unwrap().value(), Some(&b"more"[..]));
    // The handle may be closed by another one while it waits.
    let closing = looking.clone();
    let waiting = std::thread::spawn(move || looking.wait_for(1000, hour));
    closing.close().unwrap();
    assert!(matches!(waiting.join().unwrap(), Err(Error::Closed)));
}

#[test]
fn topics_and_partitions_come_change_and_go_as_their_writer_says() {
    let dir = scratch();
    let root = dir.path().join("root");
    let broker = Broker::open(&root).unwrap();
    let looking = Broker::open_read_only(&root).unwrap();
    assert!(looking.is_live());
    assert_eq!(looking.topic_names(), [""; 0]);
    let topic = broker
        .create_topic("flights", TopicConfig::default())
        .unwrap();
    topic.append("departed EWR").unwrap();
    let flights = looking.topic("flights").unwrap();
    let mut all = flights.reader(Start::Earliest).unwrap();
    assert_eq!(all.by_ref().count(), 1);
    assert_eq!(looking.topics()[0].partitions[0].end_offset, 1);
    // More partitions, while a reader waits for all of them.
    let hour = Duration::from_secs(3600);
    let waiting = std::thread::spawn(move || {
        let came = all.wait(hour);
        (came, all.next().unwrap().unwrap().partition, all)
    });
    broker
        .alter_topic("flights", |config| config.partitions(3).segment_bytes(4096))
        .unwrap();
    topic.append_to(2, "landed LAX").unwrap();
    let (came, partition, mut all) = waiting.join().unwrap();
    assert!(came.unwrap());
    assert_eq!((partition, flights.partition_count()), (2, 3));
    assert_eq!(flights.config().segment_bytes, 4096);
    // The same name, and another topic.
    let before = flights.partition(0).unwrap();
    broker.delete_topic("flights").unwrap();
    let topic = broker
        .create_topic("flights", TopicConfig::default())
        .unwrap();
    topic.append("another topic").unwrap();
    assert!(matches!(before.read(0), Err(Error::Closed)));
    let gone = flights.partition(0);
    assert!(matches!(gone, Err(Error::UnknownTopic { .. })), "{gone:?}");
    assert!(matches!(all.wait(hour), Err(Error::UnknownTopic { .. })));
    let now = looking.topic("flights").unwrap().partition(0).unwrap();
    assert_eq!(values(&now), ["another topic"]);
    broker.delete_topic("flights").unwrap();
    assert_eq!(looking.topic_names(), [""; 0]);
    broker.close().unwrap();
    assert!(!looking.is_live());
    assert!(matches!(
        looking.create_topic("t", TopicConfig::default()),
        Err(Error::ReadOnly)
    ));
}

#[test]
fn what_groups_have_committed_and_their_lag_are_those_of_the_moment() {
    let dir = scratch();
    let root = dir.path().join("root");
    let broker = Broker::open(&root).unwrap();
    let looking = Broker::open_read_only(&root).unwrap();
    let topic = broker
        .create_topic("flights", TopicConfig::default())
        .unwrap();
    for number in numbers(10) {
        topic.append(&number).unwrap();
    }
    let seen = looking.group("billing").unwrap();
    assert_eq!(seen.committed("flights", 0).unwrap(), None);
    assert_eq!(looking.groups().unwrap().len(), 0);
    let mut consumer = broker.group("billing").unwrap().join(["flights"]).unwrap();
    for (committed, more) in [(10, 3), (13, 5), (18, 0)] {
        while !consumer.poll(Duration::ZERO).unwrap().is_empty() {}
        consumer.commit().unwrap();
        for number in numbers(usize::try_from(more).unwrap()) {
            topic.append(&number).unwrap();
        }
        assert_eq!(seen.committed("flights", 0).unwrap(), Some(committed));
        assert_eq!(seen.describe().unwrap().lag(), more);
        assert_eq!(looking.groups().unwrap()[0].lag(), more);
    }
    drop(consumer);
    broker.delete_group("billing").unwrap();
    assert_eq!(looking.groups().unwrap().len(), 0);
    assert_eq!(seen.committed("flights", 0).unwrap(), None);
}

#[test]
fn a_group_handle_knows_the_topics_and_commits_that_came_after_it() {
    let dir = scratch();
    let broker = Broker::open(dir.path()).unwrap();
    let looking = Broker::open_read_only(dir.path()).unwrap();
    let seen = looking.group("board").unwrap();
    let topic = broker
        .create_topic("flights", TopicConfig::default())
        .unwrap();
    topic.append("OT 17").unwrap();
    let mut consumer = broker.group("board").unwrap().join(["flights"]).unwrap();
    drop(consumer.poll(Duration::ZERO).unwrap());
    consumer.commit().unwrap();
    assert_eq!(seen.committed("flights", 0).unwrap(), Some(1));
    assert_eq!(seen.describe().unwrap().partitions.len(), 1);
    broker.delete_topic("flights").unwrap();
    let gone = seen.committed("flights", 0).unwrap_err();
    assert!(matches!(gone, Error::UnknownTopic { .. }), "{gone}");
    assert_eq!(seen.describe().unwrap().partitions.len(), 0);
}

#[test]
fn after_an_error_a_reader_answers_it_again_until_a_seek() {
    let dir = scratch();
    let (writer, _looking) = written_and_looked_at(dir.path(), LogConfig::default());
    let victim = &files_with(dir.path(), ".log")[1];
    let base: u64 = victim
        .file_stem()
        .unwrap()
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    let mut bytes = fs::read(victim).unwrap();
    bytes[100] ^= 1;
    fs::write(victim, bytes).unwrap();
    let mut reader = writer.reader(0).unwrap();
    let error = reader.find_map(Result::err).unwrap().to_string();
    for _ in 0..3 {
        assert!(reader.next().is_none());
        assert_eq!(reader.wait(Duration::ZERO).unwrap_err().to_string(), error);
        assert_eq!(reader.next_batch().unwrap_err().to_string(), error);
    }
    reader.seek(base - 1).unwrap();
    assert!(reader.wait(Duration::ZERO).unwrap());
    assert_eq!(reader.next().unwrap().unwrap().offset, base - 1);
}

#[test]
fn a_directory_that_is_gone_or_is_another_logs_is_closed() {
    for emptied in [false, true] {
        let dir = scratch();
        let path = dir.path().join("log");
        let writer = Log::open(&path, LogConfig::default()).unwrap();
        for number in 0..5 {
            writer.append(&format!("record {number}")).unwrap();
        }
        let follower = Log::open_read_only(&path).unwrap();
        let mut reader = follower.reader(2).unwrap();
        assert_eq!(reader.next().unwrap().unwrap().offset, 2);
        writer.close().unwrap();
        if emptied {
            for entry in fs::read_dir(&path).unwrap() {
                fs::remove_file(entry.unwrap().path()).unwrap();
            }
        } else {
            fs::rename(&path, dir.path().join("elsewhere")).unwrap();
        }
        let another = Log::open(&path, LogConfig::default()).unwrap();
        for _ in 0..20 {
            another.append("another log's").unwrap();
        }
        let answers: Vec<_> = reader.by_ref().collect();
        let (last, read) = answers.split_last().unwrap();
        assert!(matches!(last, Err(Error::Closed)), "{last:?}");
        for record in read {
            assert!(
                record
                    .as_ref()
                    .unwrap()
                    .value()
                    .unwrap()
                    .starts_with(b"record")
            );
        }
        assert!(matches!(
            reader.wait(Duration::from_secs(3600)),
            Err(Error::Closed)
        ));
    }
}
