//! Reading as a member of a group, in a directory that nobody else has open.
//!
//! Knows nothing about how records are printed. Invariant: a place is committed after its records
//! were written out, and never before.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla::{Broker, Consumer, ConsumerConfig, ConsumerRecord, Offset, PartitionId, TimestampType};

use crate::failure::Result;
use crate::interrupt;
use crate::out::Out;

use super::format::{Format, Shown};
use super::{Reading, select};

/// Records of one poll.
const POLL_RECORDS: u32 = 10_000;

type Next = BTreeMap<(String, PartitionId), Offset>;

/// Prints records until it is over, commits them, and closes the directory.
pub(super) fn run(
    broker: &Broker,
    group: &str,
    reading: &mut Reading,
    format: &Format,
    out: &mut Out,
) -> Result<()> {
    let topics = select::topics(broker, &reading.topics)?;
    let mut append_time = BTreeMap::new();
    for name in &topics {
        let kind = broker.topic(name)?.config().message_timestamp_type;
        append_time.insert(name.clone(), kind == TimestampType::LogAppendTime);
    }
    let config = ConsumerConfig::default()
        .start(reading.start)
        .isolation_level(reading.isolation)
        .max_poll_records(POLL_RECORDS);
    let mut consumer = broker.group(group)?.join_with(&topics, config)?;
    let read = read(&mut consumer, &append_time, reading, format, out);
    let left = consumer.leave();
    let closed = broker.close();
    read?;
    left?;
    Ok(closed?)
}

fn read(
    consumer: &mut Consumer,
    append_time: &BTreeMap<String, bool>,
    reading: &mut Reading,
    format: &Format,
    out: &mut Out,
) -> Result<()> {
    let mut first = true;
    loop {
        let Some(patience) = patience(reading, first) else {
            return Ok(());
        };
        let records = consumer.poll(patience.min(interrupt::LOOK_EVERY))?;
        let mut next = Next::new();
        if first || !records.gained().is_empty() {
            // Where the group begins is a place too: what comes later is read next time.
            for (topic, partition) in consumer.assignment() {
                let position = consumer.position(&topic, partition)?;
                next.insert((topic, partition), position);
            }
            for record in &records {
                let place = next.entry((record.topic.to_string(), record.partition));
                place.and_modify(|next| *next = (*next).min(record.offset));
            }
        }
        first = false;
        if records.is_empty() && reading.end.at_end {
            commit(consumer, &next)?;
            return Ok(());
        }
        for record in &records {
            if reading.end.is_full() || interrupt::asked() {
                break;
            }
            let known = append_time.get(&*record.topic).copied();
            format.print(&shown(record, known.unwrap_or(false)), out.buffer());
            out.written()?;
            reading.end.count();
            next.insert(
                (record.topic.to_string(), record.partition),
                record.offset + 1,
            );
        }
        out.flush()?;
        commit(consumer, &next)?;
        if !records.is_empty() {
            reading.end.touch();
        }
        if reading.end.is_full() {
            return Ok(());
        }
    }
}

/// How long the next poll may wait; the first one is always made.
fn patience(reading: &Reading, first: bool) -> Option<Duration> {
    if reading.end.is_full() || interrupt::asked() {
        return None;
    }
    if first || reading.end.at_end {
        return Some(Duration::ZERO);
    }
    reading.end.patience()
}

fn commit(consumer: &mut Consumer, next: &Next) -> Result<()> {
    for ((topic, partition), offset) in next {
        consumer.commit_to(topic, *partition, *offset)?;
    }
    Ok(())
}

fn shown(record: &ConsumerRecord, append_time: bool) -> Shown<'_> {
    Shown {
        topic: &record.topic,
        partition: record.partition,
        offset: record.offset,
        timestamp: record.timestamp,
        append_time,
        key: record.key(),
        value: record.value(),
        headers: record.headers(),
    }
}
