//! Reading without a lock, and going on when another process has appended.
//!
//! Knows nothing about how records are printed. Invariants:
//!
//! 1. A handle that only reads follows its writer, and so does a reader. At the end of everything
//!    the topics are looked up again: there may be more partitions, or another topic of the same
//!    name, which is read from its start.
//! 2. Looking again takes at most a small share of the time, whatever it costs here: the pause
//!    before it grows with what the last look took.
//! 3. Records that are gone before they were read, and a log that was cut, are told.

use std::time::{Duration, Instant};

use ottla::{Broker, Error, Offset, PartitionId, Reader, RecordView, Start, TimestampType, Topic};

use crate::failure::{Failure, Result, note};
use crate::interrupt;
use crate::out::Out;
use crate::place::Place;

use super::format::{Format, Shown};
use super::{Reading, select};

/// The pauses between two looks at a directory in which nothing happens.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// How many times as long as the last look the next pause is at least.
const SHARE: u32 = 8;

/// A partition that is read.
#[derive(Debug)]
struct Part {
    topic: String,
    id: PartitionId,
    append_time: bool,
    reader: Reader,
    /// Its topic was deleted.
    is_gone: bool,
}

/// Prints records until it is over.
pub(super) fn run(
    place: &Place,
    reading: &mut Reading,
    format: &Format,
    out: &mut Out,
) -> Result<()> {
    let broker = place.read()?;
    let mut parts = begin(&broker, reading)?;
    let mut pause = PAUSE_MIN;
    let mut cost = Duration::ZERO;
    loop {
        let mut came = false;
        for part in &mut parts {
            came |= read_on(part, reading, format, out)?;
            if reading.end.is_full() || interrupt::asked() {
                return Ok(());
            }
        }
        if came {
            reading.end.touch();
            pause = PAUSE_MIN;
            continue;
        }
        out.flush()?;
        let Some(patience) = reading.end.patience() else {
            return Ok(());
        };
        if !interrupt::sleep(pause.max(cost.saturating_mul(SHARE)).min(patience)) {
            return Ok(());
        }
        pause = pause.saturating_mul(2).min(PAUSE_MAX);
        let began = Instant::now();
        look_again(&broker, &mut parts, reading)?;
        cost = began.elapsed();
    }
}

/// Prints the next batch of a partition; false at the end.
fn read_on(part: &mut Part, reading: &mut Reading, format: &Format, out: &mut Out) -> Result<bool> {
    let from = part.reader.position();
    let batch = match part.reader.next_batch() {
        Ok(Some(batch)) => batch,
        Ok(None) => return Ok(false),
        // There may be another topic of the name by now.
        Err(Error::Closed | Error::UnknownTopic { .. }) => {
            lose(part);
            return Ok(false);
        }
        Err(Error::Truncated { end, .. }) => return skip(part, from, end),
        Err(Error::OffsetOutOfRange { start, .. }) if start > from => {
            return skip(part, from, start);
        }
        Err(error) => return Err(error.into()),
    };
    for record in batch.records() {
        if record.offset < from {
            continue;
        }
        format.print(&shown(part, &record), out.buffer());
        out.written()?;
        reading.end.count();
        if reading.end.is_full() {
            break;
        }
    }
    Ok(true)
}

/// Goes on at another offset, and says so; false when nothing is left.
fn skip(part: &mut Part, position: Offset, next: Offset) -> Result<bool> {
    match select::if_there(select::seek_on(&mut part.reader, next))? {
        Some(next) => tell(part, position, next),
        None => lose(part),
    }
    Ok(!part.is_gone)
}

/// Notes, once, that the topic of a partition was deleted.
fn lose(part: &mut Part) {
    if !part.is_gone {
        note(&format!(
            "note: {}-{}: the topic was deleted",
            part.topic, part.id
        ));
    }
    part.is_gone = true;
}

fn shown<'a>(part: &'a Part, record: &RecordView<'a>) -> Shown<'a> {
    Shown {
        topic: &part.topic,
        partition: part.id,
        offset: record.offset,
        timestamp: record.timestamp,
        append_time: part.append_time,
        key: record.key(),
        value: record.value(),
        headers: record.headers(),
    }
}

/// The partitions to read, each at its start.
fn begin(broker: &Broker, reading: &Reading) -> Result<Vec<Part>> {
    let committed = match &reading.group {
        None => Vec::new(),
        Some(group) => broker.group(group)?.describe()?.partitions,
    };
    let mut parts = Vec::new();
    for name in select::topics(broker, &reading.topics)? {
        let Some(topic) = select::if_there(broker.topic(&name))? else {
            continue;
        };
        for id in chosen(&topic, reading)? {
            let known = committed
                .iter()
                .find(|at| at.topic == name && at.partition == id);
            let opened = match known.and_then(|at| at.committed) {
                Some(offset) => part_from(&topic, id, offset, reading),
                None => part(&topic, id, reading.start, reading),
            };
            parts.extend(select::if_there(opened)?);
        }
    }
    Ok(parts)
}

fn chosen(topic: &Topic, reading: &Reading) -> Result<Vec<PartitionId>> {
    match reading.partition {
        None => Ok((0..topic.partition_count()).collect()),
        Some(id) if id < topic.partition_count() => Ok(vec![id]),
        Some(id) => Err(Failure::new(format!(
            "topic {} has no partition {id}: it has {}",
            topic.name(),
            topic.partition_count()
        ))),
    }
}

fn part(topic: &Topic, id: PartitionId, start: Start, reading: &Reading) -> ottla::Result<Part> {
    let log = topic.partition(id)?;
    Ok(Part {
        topic: topic.name().to_owned(),
        id,
        append_time: has_append_time(topic),
        reader: log.reader_with(start, reading.isolation)?,
        is_gone: false,
    })
}

/// Goes on in the directory as it is now (1): new partitions, other topics.
fn look_again(broker: &Broker, parts: &mut Vec<Part>, reading: &Reading) -> Result<()> {
    for name in select::topics_so_far(broker, &reading.topics)? {
        let Some(topic) = select::if_there(broker.topic(&name))? else {
            continue;
        };
        for id in chosen(&topic, reading)? {
            let known = parts
                .iter_mut()
                .find(|part| part.topic == name && part.id == id);
            match known {
                Some(known) if known.is_gone => {
                    if let Some(part) = begin_at_start(&topic, id, reading)? {
                        note(&format!(
                            "note: {name}-{id}: the topic was deleted and made again, reading the \
                             new one"
                        ));
                        *known = part;
                    }
                }
                Some(known) => known.append_time = has_append_time(&topic),
                None => parts.extend(begin_at_start(&topic, id, reading)?),
            }
        }
    }
    Ok(())
}

fn begin_at_start(topic: &Topic, id: PartitionId, reading: &Reading) -> Result<Option<Part>> {
    select::if_there(part(topic, id, Start::Earliest, reading))
}

/// Goes on where a group is, or at what is left nearest to it, and says so.
fn part_from(topic: &Topic, id: PartitionId, at: Offset, reading: &Reading) -> ottla::Result<Part> {
    let mut part = part(topic, id, Start::Earliest, reading)?;
    let next = select::seek_on(&mut part.reader, at)?;
    if next != at {
        tell(&part, at, next);
    }
    Ok(part)
}

fn has_append_time(topic: &Topic) -> bool {
    topic.config().message_timestamp_type == TimestampType::LogAppendTime
}

/// Says what cannot be read (3).
fn tell(part: &Part, position: Offset, next: Offset) {
    let place = format!("{}-{}", part.topic, part.id);
    note(&if next > position {
        format!(
            "note: {place}: records {position} to {} were deleted unread",
            next - 1
        )
    } else {
        format!("note: {place}: the log was cut to offset {next}, going on from there")
    });
}
