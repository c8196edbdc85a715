//! Reading a whole topic without a group.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ottla::{Broker, Error, Record, Start, Timestamp, Topic, TopicConfig, TopicReader};

use super::scratch;

/// How long a test waits for what should be there at once.
const LONG: Duration = Duration::from_secs(600);

fn read(reader: &mut TopicReader) -> Vec<(u32, u64)> {
    let read = reader.map(|record| record.map(|record| (record.partition, record.offset)));
    let mut read: Vec<_> = read.collect::<Result<_, _>>().unwrap();
    read.sort_unstable();
    read
}

fn fill(topic: &Topic, partition: u32, count: usize) {
    topic
        .partition(partition)
        .unwrap()
        .append_batch(vec!["v"; count])
        .unwrap();
}

fn new_topic(broker: &Broker, partitions: u32) -> Topic {
    let config = TopicConfig::default().partitions(partitions);
    broker.create_topic("t", config).unwrap()
}

#[test]
fn a_topic_reader_reads_every_partition_and_goes_on_from_its_positions() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    let topic = new_topic(&broker, 3);
    fill(&topic, 0, 2);
    fill(&topic, 2, 1);
    let mut reader = topic.reader(Start::Earliest).unwrap();
    assert_eq!(reader.positions(), BTreeMap::from([(0, 0), (1, 0), (2, 0)]));
    let first = reader.next().unwrap().unwrap();
    assert_eq!(&*first.topic, "t");
    assert_eq!(first.value(), Some(&b"v"[..]));
    assert_eq!(read(&mut reader).len(), 2);
    assert!(reader.next().is_none());
    let stored = reader.positions();
    assert_eq!(stored, BTreeMap::from([(0, 2), (1, 0), (2, 1)]));

    fill(&topic, 1, 1);
    fill(&topic, 2, 1);
    assert_eq!(read(&mut reader), [(1, 0), (2, 1)], "it goes on at the end");
    let mut again = topic.reader_at(&stored).unwrap();
    assert_eq!(read(&mut again), [(1, 0), (2, 1)]);
    let mut lacks_one = topic.reader_at(&BTreeMap::from([(0, 1), (2, 2)])).unwrap();
    assert_eq!(read(&mut lacks_one), [(0, 1), (1, 0)]);
    assert!(read(&mut topic.reader(Start::Latest).unwrap()).is_empty());
    let past = topic.reader_at(&BTreeMap::from([(0, 9)]));
    assert!(matches!(
        past,
        Err(Error::OffsetOutOfRange { requested: 9, .. })
    ));
    let unknown = topic.reader_at(&BTreeMap::from([(3, 0)]));
    assert!(matches!(
        unknown,
        Err(Error::UnknownPartition { partition: 3, .. })
    ));
}

#[test]
fn an_offset_is_a_start_for_a_topic_of_one_partition_alone_and_a_time_for_each() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    let topic = new_topic(&broker, 1);
    for millis in [10, 20, 30] {
        let at = Timestamp::from_millis(millis);
        topic.append(Record::new("v").with_timestamp(at)).unwrap();
    }
    assert_eq!(read(&mut topic.reader(1).unwrap()), [(0, 1), (0, 2)]);
    let mut late = topic.reader(Timestamp::from_millis(25)).unwrap();
    assert_eq!(read(&mut late), [(0, 2)]);
    assert!(matches!(
        topic.reader(4),
        Err(Error::OffsetOutOfRange { .. })
    ));
    broker
        .alter_topic("t", |config| config.partitions(2))
        .unwrap();
    assert!(matches!(topic.reader(1), Err(Error::InvalidConfig { .. })));
    assert!(matches!(topic.reader(0), Err(Error::InvalidConfig { .. })));
}

#[test]
fn partitions_that_are_added_are_read_from_their_first_record_whatever_the_start() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    let topic = new_topic(&broker, 1);
    fill(&topic, 0, 5);
    let mut reader = topic.reader(Start::Latest).unwrap();
    broker
        .alter_topic("t", |config| config.partitions(3))
        .unwrap();
    fill(&topic, 2, 2);
    assert!(reader.wait(Duration::ZERO).unwrap());
    assert_eq!(read(&mut reader), [(2, 0), (2, 1)]);
    assert_eq!(reader.positions(), BTreeMap::from([(0, 5), (1, 0), (2, 2)]));
    broker
        .alter_topic("t", |config| config.partitions(4))
        .unwrap();
    reader.seek(3, Start::Latest).unwrap();
    assert!(matches!(
        reader.seek(4, 0),
        Err(Error::UnknownPartition { partition: 4, .. })
    ));
}

#[test]
fn one_wait_wakes_for_every_partition_for_an_added_one_and_for_the_end_of_the_topic() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    let topic = new_topic(&broker, 8);
    let mut reader = topic.reader(Start::Earliest).unwrap();
    assert!(!reader.wait(Duration::from_millis(1)).unwrap());
    let (asking, asked) = std::sync::mpsc::channel();
    let waiting = std::thread::spawn(move || {
        loop {
            asking.send(()).unwrap();
            match reader.wait(LONG) {
                Ok(true) => assert_eq!(read(&mut reader).len(), 1),
                Ok(false) => panic!("a wake-up was missed"),
                Err(error) => return (error, reader),
            }
        }
    });
    for round in 0..200 {
        asked.recv().unwrap();
        fill(&topic, round % 8, 1);
    }
    asked.recv().unwrap();
    broker
        .alter_topic("t", |config| config.partitions(9))
        .unwrap();
    fill(&topic, 8, 1);
    asked.recv().unwrap();
    broker.delete_topic("t").unwrap();
    let (error, mut reader) = waiting.join().unwrap();
    assert!(matches!(error, Error::UnknownTopic { .. }), "{error:?}");
    assert!(matches!(
        reader.next(),
        Some(Err(Error::UnknownTopic { .. }))
    ));
    assert!(reader.next().is_none(), "told once");
    assert!(matches!(reader.wait(LONG), Err(Error::UnknownTopic { .. })));
    assert!(matches!(reader.seek(0, 0), Err(Error::UnknownTopic { .. })));
}

#[test]
fn a_long_partition_does_not_hold_the_others_up() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    let topic = new_topic(&broker, 3);
    fill(&topic, 0, 5_000);
    fill(&topic, 1, 10);
    fill(&topic, 2, 10);
    let reader = topic.reader(Start::Earliest).unwrap();
    let first: BTreeSet<_> = reader
        .take(200)
        .map(|record| record.unwrap().partition)
        .collect();
    assert_eq!(first, BTreeSet::from([0, 1, 2]));
    let mut reader = topic.reader(Start::Earliest).unwrap();
    assert_eq!(read(&mut reader).len(), 5_020, "each once");
}

#[test]
fn a_busy_partition_does_not_hide_one_that_is_added() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    let topic = new_topic(&broker, 1);
    fill(&topic, 0, 5_000);
    let mut reader = topic.reader(Start::Earliest).unwrap();
    reader.next().unwrap().unwrap();
    broker
        .alter_topic("t", |config| config.partitions(2))
        .unwrap();
    fill(&topic, 1, 1);
    let added = reader
        .take(1_000)
        .any(|record| record.unwrap().partition == 1);
    assert!(added);
}

#[test]
fn records_that_are_gone_beneath_a_topic_reader_are_an_error_of_their_partition_alone() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    let config = TopicConfig::default().partitions(3).segment_bytes(1024);
    let topic = broker.create_topic("t", config).unwrap();
    let value = [b'v'; 700];
    for partition in 0..3 {
        for _ in 0..4 {
            topic.append_to(partition, &value).unwrap();
        }
    }
    let mut reader = topic.reader(Start::Earliest).unwrap();
    topic.partition(0).unwrap().truncate_prefix(2).unwrap();
    let mut done = topic.reader(Start::Latest).unwrap();
    topic.partition(1).unwrap().truncate(1).unwrap();
    let (read, failed): (Vec<_>, Vec<_>) = reader.by_ref().partition(Result::is_ok);
    let read = read.into_iter().map(Result::unwrap);
    let others = read.filter(|record| record.partition > 0).count();
    assert_eq!(others, 1 + 4, "the others are read");
    assert_eq!(failed.len(), 1, "{failed:?}");
    let Err(Error::OffsetOutOfRange {
        partition, start, ..
    }) = &failed[0]
    else {
        panic!("{failed:?}");
    };
    assert_eq!(*start, 2);
    assert_eq!(partition.as_ref().map(|place| place.partition), Some(0));
    let again = reader.wait(LONG);
    assert!(
        matches!(again, Err(Error::OffsetOutOfRange { .. })),
        "reported again"
    );
    fill(&topic, 2, 1);
    assert!(reader.wait(Duration::ZERO).unwrap(), "others go on");
    reader.next().unwrap().unwrap();
    reader.seek(0, Start::Earliest).unwrap();
    assert_eq!(self::read(&mut reader), [(0, 2), (0, 3)]);
    assert!(!reader.wait(Duration::ZERO).unwrap());

    assert!(
        done.wait(Duration::ZERO).unwrap(),
        "there is something to say"
    );
    let failed: Vec<_> = done.by_ref().filter(Result::is_err).collect();
    assert!(
        matches!(&failed[..], [Err(Error::Truncated { .. })]),
        "{failed:?}"
    );
    done.seek(1, Start::Latest).unwrap();
    assert!(!done.wait(Duration::ZERO).unwrap());
}

#[test]
fn an_added_partition_whose_first_records_are_gone_already_is_not_begun_in_silence() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    let topic = new_topic(&broker, 1);
    let mut reader = topic.reader(Start::Earliest).unwrap();
    broker
        .alter_topic("t", |config| config.partitions(2))
        .unwrap();
    fill(&topic, 1, 3);
    topic.partition(1).unwrap().truncate_prefix(2).unwrap();
    assert!(reader.wait(Duration::ZERO).unwrap());
    let gone = reader.next();
    assert!(matches!(
        gone,
        Some(Err(Error::OffsetOutOfRange {
            requested: 0,
            start: 2,
            ..
        }))
    ));
    assert!(reader.next().is_none());
    assert_eq!(reader.positions(), BTreeMap::from([(0, 0), (1, 0)]));
    reader.seek(1, Start::Earliest).unwrap();
    assert_eq!(read(&mut reader), [(1, 2)]);
}

#[test]
fn a_topic_reader_keeps_its_broker_open_and_ends_with_its_close() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    let topic = new_topic(&broker, 2);
    let mut reader = topic.reader(Start::Earliest).unwrap();
    drop(topic);
    let kept = broker.topic("t").unwrap();
    drop(broker);
    fill(&kept, 1, 1);
    drop(kept);
    assert_eq!(read(&mut reader), [(1, 0)]);
    drop(reader);
    let broker = Broker::open(&dir).unwrap();
    let mut reader = broker.topic("t").unwrap().reader(Start::Latest).unwrap();
    broker.close().unwrap();
    assert!(matches!(reader.wait(LONG), Err(Error::Closed)));
    assert!(matches!(reader.next(), Some(Err(Error::Closed))));
    assert!(reader.next().is_none());
}
