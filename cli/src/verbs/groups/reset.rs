//! `groups --reset-offsets`: where a group is to go on, and the commit of it.
//!
//! Knows nothing about members: a group is moved while nobody has the directory open. Invariant:
//! what `--execute` commits is what `--dry-run` prints.

use std::path::Path;

use ottla::{Broker, Log, Offset, PartitionId, Timestamp};
use serde_json::json;

use crate::failure::{Failure, Result, file_failure, note};
use crate::out::Out;
use crate::place::Place;
use crate::table::Table;
use crate::time;

use super::{Groups, select};

/// A place to commit.
#[derive(Debug)]
struct Move {
    group: String,
    topic: String,
    partition: PartitionId,
    to: Offset,
}

/// Where to.
#[derive(Debug)]
enum Target {
    Earliest,
    Latest,
    Current,
    Offset(Offset),
    Time(Timestamp),
    Shift(i64),
    Listed(Vec<(String, PartitionId, Offset)>),
}

/// Prints the plan, and commits it where that is wanted.
pub(super) fn run(flags: &Groups, place: &Place, out: &mut Out) -> Result<()> {
    let target = target(flags)?;
    let broker = if flags.execute {
        place.write()?
    } else {
        place.read()?
    };
    let mut moves = Vec::new();
    for group in flags.chosen(&broker)? {
        plan(flags, &broker, &group, &target, &mut moves)?;
    }
    if flags.execute {
        for one in &moves {
            let group = broker.group(&one.group)?;
            group.commit_to(&one.topic, one.partition, one.to, "")?;
        }
    } else if !flags.dry_run && !flags.export {
        note("note: nothing was committed: say --execute to commit, or --dry-run to be told only");
    }
    broker.close()?;
    print(flags, &moves, out)
}

fn print(flags: &Groups, moves: &[Move], out: &mut Out) -> Result<()> {
    if out.is_json() {
        let shown = moves.iter().map(|one| {
            json!({
                "group": one.group, "topic": one.topic, "partition": one.partition,
                "newOffset": one.to, "executed": flags.execute,
            })
        });
        return out.json(&shown.collect());
    }
    if flags.export {
        return moves
            .iter()
            .try_for_each(|one| out.line(format!("{},{},{}", one.topic, one.partition, one.to)));
    }
    let columns = [
        ("GROUP", 30),
        ("TOPIC", 30),
        ("PARTITION", 10),
        ("NEW-OFFSET", 15),
    ];
    let mut table = Table::with_widths(&columns);
    for one in moves {
        table.row(vec![
            one.group.clone(),
            one.topic.clone(),
            one.partition.to_string(),
            one.to.to_string(),
        ]);
    }
    out.line("")?;
    out.table(&table)
}

fn target(flags: &Groups) -> Result<Target> {
    let now = Timestamp::now();
    Ok(if flags.to_earliest {
        Target::Earliest
    } else if flags.to_latest {
        Target::Latest
    } else if let Some(offset) = flags.to_offset {
        Target::Offset(offset)
    } else if let Some(text) = &flags.to_datetime {
        Target::Time(time::time(text, now)?)
    } else if let Some(count) = flags.shift_by {
        Target::Shift(count)
    } else if let Some(text) = &flags.by_duration {
        let span = i64::try_from(time::span(text)?.as_millis()).unwrap_or(i64::MAX);
        Target::Time(Timestamp::from_millis(now.as_millis().saturating_sub(span)))
    } else if let Some(path) = &flags.from_file {
        Target::Listed(listed(path)?)
    } else {
        Target::Current
    })
}

/// The lines of a file: topic,partition,offset.
fn listed(path: &Path) -> Result<Vec<(String, PartitionId, Offset)>> {
    let text = std::fs::read_to_string(path).map_err(|error| file_failure("read", path, &error))?;
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    let entry = |(number, line): (usize, &str)| {
        let parts: Vec<_> = line.split(',').map(str::trim).collect();
        let parsed = match parts.as_slice() {
            [topic, partition, offset] => {
                partition
                    .parse()
                    .ok()
                    .zip(offset.parse().ok())
                    .map(|(partition, offset)| {
                        ((*topic).trim_matches('"').to_owned(), partition, offset)
                    })
            }
            _ => None,
        };
        parsed.ok_or_else(|| {
            Failure::usage(format!(
                "{}: line {} is not topic,partition,offset",
                path.display(),
                number + 1
            ))
        })
    };
    lines.map(entry).collect()
}

fn plan(
    flags: &Groups,
    broker: &Broker,
    group: &str,
    target: &Target,
    moves: &mut Vec<Move>,
) -> Result<()> {
    let known = broker.group(group)?.describe()?.partitions;
    for (topic, partition) in scope(flags, broker, target, &known)? {
        let log = broker.topic(&topic)?.partition(partition)?;
        let at = known
            .iter()
            .find(|at| at.topic == topic && at.partition == partition);
        let to = place(
            target,
            &log,
            (&topic, partition),
            at.and_then(|at| at.committed),
        )?;
        moves.push(Move {
            group: group.to_owned(),
            topic,
            partition,
            to,
        });
    }
    Ok(())
}

/// The partitions that move.
fn scope(
    flags: &Groups,
    broker: &Broker,
    target: &Target,
    known: &[ottla::GroupPartition],
) -> Result<Vec<(String, PartitionId)>> {
    if let Target::Listed(list) = target {
        return Ok(list
            .iter()
            .map(|(topic, partition, _)| (topic.clone(), *partition))
            .collect());
    }
    if flags.all_topics {
        let committed = known.iter().filter(|at| at.committed.is_some());
        return Ok(committed
            .map(|at| (at.topic.clone(), at.partition))
            .collect());
    }
    if flags.topic.is_empty() {
        return Err(Failure::usage(
            "say which topics: --topic TOPIC or --all-topics",
        ));
    }
    let mut chosen = Vec::new();
    for text in &flags.topic {
        let (list, partitions) = select::topic_and_partitions(text)?;
        for name in select::topics(broker, &list)? {
            let count = broker.topic(&name)?.partition_count();
            let some = partitions.clone().unwrap_or_else(|| (0..count).collect());
            if let Some(wrong) = some.iter().find(|partition| **partition >= count) {
                return Err(Failure::new(format!(
                    "topic {name} has no partition {wrong}"
                )));
            }
            chosen.extend(some.into_iter().map(|partition| (name.clone(), partition)));
        }
    }
    chosen.sort();
    chosen.dedup();
    Ok(chosen)
}

fn place(
    target: &Target,
    log: &Log,
    (topic, partition): (&str, PartitionId),
    committed: Option<Offset>,
) -> Result<Offset> {
    let end = log.high_watermark();
    let wanted = match target {
        Target::Earliest => log.start_offset(),
        Target::Latest => end,
        Target::Current => committed.unwrap_or(end),
        Target::Offset(offset) => *offset,
        Target::Time(at) => log.offset_for_time(*at)?.unwrap_or(end),
        Target::Shift(count) => {
            let from = committed.ok_or_else(|| {
                Failure::new(format!(
                    "{topic}-{partition} cannot be shifted: the group has committed nothing there"
                ))
            })?;
            from.saturating_add_signed(*count)
        }
        Target::Listed(list) => {
            let here =
                |(name, id, _): &&(String, PartitionId, Offset)| name == topic && *id == partition;
            list.iter()
                .rfind(here)
                .map_or(end, |(_, _, offset)| *offset)
        }
    };
    let place = wanted.clamp(log.start_offset(), end.max(log.start_offset()));
    if place != wanted {
        let (which, side) = if place < wanted {
            ("higher", "latest")
        } else {
            ("lower", "earliest")
        };
        note(&format!(
            "note: offset {wanted} is {which} than the {side} of {topic}-{partition}: {place} is \
             taken"
        ));
    }
    Ok(place)
}
