//! What must be in a topic, and what Kafka and Ottla see of it.
//!
//! Knows nothing about how it came there.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ottla::{Broker, ConsumerRecord, HeaderIter, LogRecord, ReadIsolation};

use crate::driver::{Driver, Seen, hex};
use crate::random::Made;

/// The records of a topic by place. The kind of timestamp is left out: only Kafka tells it.
pub(crate) type Contents = BTreeMap<(u32, u64), Seen>;

/// A record at its place.
pub(crate) fn seen(partition: u32, record: &LogRecord) -> Seen {
    Seen {
        partition,
        offset: record.offset,
        timestamp_type: String::new(),
        timestamp: record.timestamp.as_millis(),
        key: record.key().map(<[u8]>::to_vec),
        value: record.value().map(<[u8]>::to_vec),
        headers: owned(record.headers()),
    }
}

/// The same of a record that a group got.
pub(crate) fn seen_by_group(record: &ConsumerRecord) -> Seen {
    seen(record.partition, record)
}

fn owned(headers: HeaderIter<'_>) -> Vec<(String, Option<Vec<u8>>)> {
    headers
        .map(|header| (header.key().into_owned(), header.value.map(<[u8]>::to_vec)))
        .collect()
}

/// What our reader sees.
pub(crate) fn read_ours(broker: &Broker, topic: &str, isolation: ReadIsolation) -> Contents {
    let topic = broker.topic(topic).unwrap();
    let mut contents = Contents::new();
    for partition in 0..topic.partition_count() {
        let log = topic.partition(partition).unwrap();
        let reader = log.reader_with(log.start_offset(), isolation).unwrap();
        for record in reader {
            let record = record.unwrap();
            contents.insert((partition, record.offset), seen(partition, &record));
        }
    }
    contents
}

/// What Kafka's consumer sees.
pub(crate) fn read_kafkas(
    driver: &mut Driver,
    address: &str,
    topic: &str,
    isolation: ReadIsolation,
) -> Contents {
    let isolation = match isolation {
        ReadIsolation::ReadUncommitted => "read_uncommitted",
        ReadIsolation::ReadCommitted => "read_committed",
    };
    contents(&driver.ask(&["read", address, topic, isolation]))
}

/// The records among some lines of the driver.
pub(crate) fn contents(lines: &[String]) -> Contents {
    let records = lines.iter().filter_map(|line| Seen::parse(line));
    records
        .map(|record| {
            let plain = Seen {
                timestamp_type: String::new(),
                ..record
            };
            ((plain.partition, plain.offset), plain)
        })
        .collect()
}

/// The numbers of lines like `start`, tab, partition, tab, number.
pub(crate) fn numbers(lines: &[String], word: &str) -> BTreeMap<u32, u64> {
    let lines = lines.iter().filter_map(|line| {
        let mut fields = line.split('\t');
        let about = fields.next() == Some(word);
        about.then(|| {
            let mut number = || fields.next().unwrap().parse::<u64>().unwrap();
            (u32::try_from(number()).unwrap(), number())
        })
    });
    lines.collect()
}

/// Compares, and shows the first difference alone.
pub(crate) fn assert_same(found: &Contents, expected: &Contents, what: &str) {
    for (place, record) in expected {
        assert_eq!(found.get(place), Some(record), "{what}: at {place:?}");
    }
    let more = found.keys().find(|place| !expected.contains_key(place));
    assert_eq!(more, None, "{what}: a record that must not be there");
}

/// Writes records for the driver's producer, each for a partition of its own or for any.
pub(crate) fn write_records(file: &Path, records: &[(Option<u32>, Made)]) {
    let field = |number: Option<String>| number.unwrap_or_else(|| "-".to_owned());
    let lines = records.iter().map(|(partition, made)| {
        let headers = made.headers.iter().map(|(name, value)| {
            format!("{}={}", hex(Some(name.as_bytes())), hex(value.as_deref()))
        });
        [
            field(partition.map(|partition| partition.to_string())),
            field(made.timestamp.map(|timestamp| timestamp.to_string())),
            hex(made.key.as_deref()),
            hex(made.value.as_deref()),
            headers.collect::<Vec<_>>().join(","),
        ]
        .join("\t")
    });
    fs::write(file, lines.collect::<Vec<_>>().join("\n")).unwrap();
}

/// What Kafka's producer put where: the places that it told, with the records that it was given.
pub(crate) fn produced(places: &[String], records: &[(Option<u32>, Made)]) -> Contents {
    assert_eq!(places.len(), records.len());
    let records = places.iter().zip(records).map(|(place, (_, made))| {
        let (partition, offset) = place.split_once('\t').unwrap();
        let (partition, offset) = (partition.parse().unwrap(), offset.parse().unwrap());
        ((partition, offset), at(made, partition, offset))
    });
    records.collect()
}

/// A record with a timestamp, at its place.
pub(crate) fn at(made: &Made, partition: u32, offset: u64) -> Seen {
    Seen {
        partition,
        offset,
        timestamp_type: String::new(),
        timestamp: made.timestamp.unwrap(),
        key: made.key.clone(),
        value: made.value.clone(),
        headers: made.headers.clone(),
    }
}
