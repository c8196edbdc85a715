//! One record down the floors and up again, with its bytes on disk explained one field at a time.
//!
//! Down: the topic chooses a partition, the log an offset, the batch becomes bytes in a segment
//! file. The file is then read with nothing but `std::fs` and taken apart by hand. Up: the log and
//! a consumer give the same record back.

#![expect(clippy::print_stdout, reason = "a program for a terminal")]

mod walk;

use std::time::Duration;

use ottla::{Appended, Broker, Header, Record, Timestamp, TopicConfig};

use walk::Walk;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let broker = Broker::open(dir.path())?;
    let topic = broker.create_topic("flights", TopicConfig::default().partitions(4))?;

    println!("DOWN\n");
    let headers = [Header::new("carrier", "UA")];
    let record = Record::keyed("N14228", "departed EWR")
        .with_timestamp(Timestamp::from_millis(1_357_035_300_000))
        .with_headers(&headers);
    println!(
        "record     key N14228, value \"departed EWR\", header carrier=UA, 1 January 2013 10:15"
    );
    let Appended {
        partition, offset, ..
    } = topic.append(record)?;
    println!("topic      murmur2 of the key, modulo 4: partition {partition}");
    println!("log        the next free offset: {offset}");

    let log = topic.partition(partition)?;
    log.flush()?;
    let path = dir
        .path()
        .join(format!("flights-{partition}/{offset:020}.log"));
    println!("segment    flights-{partition}/{offset:020}.log: the first offset names the file");
    println!("disk       these bytes:\n");
    let file = std::fs::read(&path)?;
    let end = explain(&mut Walk::new(&file)).ok_or("the file ends inside the batch")?;
    println!("\nThe batch has {end} bytes. What follows in the file is space reserved ahead.\n");

    println!("UP\n");
    let read = log.read(offset)?.ok_or("the record is gone")?;
    println!(
        "log        offset {}, time {}",
        read.offset,
        read.timestamp.as_millis()
    );
    let mut consumer = broker.group("follower")?.join(["flights"])?;
    for record in consumer.poll(Duration::from_secs(5))? {
        let text =
            |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        println!(
            "consumer   key {}, value {:?}",
            text(record.key()),
            text(record.value())
        );
        for header in record.headers() {
            println!("           header {}={}", header.key(), text(header.value));
        }
    }
    consumer.commit()?;
    broker.close()?;
    Ok(())
}

/// The 61 bytes of a batch header and the record after it; gives the bytes walked over.
fn explain(walk: &mut Walk<'_>) -> Option<usize> {
    println!("  at  bytes                     field               value");
    walk.number(
        8,
        "base offset",
        "of the first record; outside the checksum",
    )?;
    walk.number(4, "length", "bytes that follow this field")?;
    walk.number(
        4,
        "leader epoch",
        "0 in a log of our own; outside the checksum",
    )?;
    walk.number(1, "magic", "the format's version")?;
    walk.bytes(4, "checksum", "CRC-32C of everything below")?;
    walk.bytes(2, "attributes", "no compression, time given by the caller")?;
    walk.number(
        4,
        "last offset delta",
        "the last record is this far from the first",
    )?;
    walk.number(
        8,
        "base timestamp",
        "milliseconds since 1970, of the first record",
    )?;
    walk.number(8, "max timestamp", "the largest of the batch")?;
    walk.number(8, "producer id", "-1: not an idempotent producer")?;
    walk.number(2, "producer epoch", "-1: likewise")?;
    walk.number(4, "base sequence", "-1: likewise")?;
    walk.number(4, "record count", "")?;
    println!("      the record: numbers are zigzag varints from here on");
    walk.varint("length", "bytes of the record that follow")?;
    walk.number(1, "attributes", "unused")?;
    walk.varint("timestamp delta", "from the base timestamp")?;
    walk.varint("offset delta", "from the base offset")?;
    let length = walk.varint("key length", "-1 would be no key")?;
    walk.text(length, "key")?;
    let length = walk.varint("value length", "-1 would be a tombstone")?;
    walk.text(length, "value")?;
    let headers = walk.varint("header count", "")?;
    for _ in 0..headers {
        let length = walk.varint("header key length", "")?;
        walk.text(length, "header key")?;
        let length = walk.varint("header value length", "-1 would be null")?;
        walk.text(length, "header value")?;
    }
    Some(walk.at())
}
