//! `get-offsets`: `topic:partition:offset`, as `kafka-get-offsets.sh` prints it.
//!
//! Knows nothing about groups.

use clap::Args;
use ottla::{Log, Offset, PartitionId, Start, Timestamp};
use serde_json::{Value, json};

use crate::failure::{Failure, Result};
use crate::out::Out;
use crate::place::Place;
use crate::time;

use super::select;

/// The flags of `get-offsets`.
#[derive(Args, Debug)]
pub(crate) struct GetOffsets {
    /// Topics or patterns, with commas between them; all when none are named
    #[arg(long, value_name = "NAMES")]
    topic: Option<String>,
    /// Partitions of those topics: 0,2-4
    #[arg(long, value_name = "LIST", conflicts_with = "topic_partitions")]
    partitions: Option<String>,
    /// Topics with partitions: `t1:0,t2:1-3,t3`
    #[arg(long, value_name = "LIST", conflicts_with = "topic")]
    topic_partitions: Option<String>,
    /// latest (-1), earliest (-2), max-timestamp (-3), or a time
    #[arg(
        long,
        value_name = "TIME",
        default_value = "latest",
        allow_hyphen_values = true
    )]
    time: String,
    #[arg(long, hide = true)]
    exclude_internal_topics: bool,
}

/// Which offset of a partition.
#[derive(Clone, Copy, Debug)]
enum Which {
    Latest,
    Earliest,
    MaxTimestamp,
    At(Timestamp),
}

impl GetOffsets {
    /// Prints the offsets.
    pub(crate) fn run(&self, place: &Place, out: &mut Out) -> Result<u8> {
        let which = self.which()?;
        let broker = place.read()?;
        let mut shown = Vec::new();
        for (name, partition) in self.chosen(&broker)? {
            let log = broker
                .topic(&name)
                .and_then(|topic| topic.partition(partition));
            let found = log.and_then(|log| offset_of(&log, which));
            let Some(offset) = select::if_there(found)?.flatten() else {
                continue;
            };
            if out.is_json() {
                shown.push(json!({ "topic": name, "partition": partition, "offset": offset }));
            } else {
                out.line(format!("{name}:{partition}:{offset}"))?;
            }
        }
        if out.is_json() {
            out.json(&Value::Array(shown))?;
        }
        Ok(0)
    }

    fn which(&self) -> Result<Which> {
        match self.time.as_str() {
            "latest" | "-1" => Ok(Which::Latest),
            "earliest" | "-2" | "earliest-local" | "-4" => Ok(Which::Earliest),
            "max-timestamp" | "-3" => Ok(Which::MaxTimestamp),
            "latest-tiered" | "-5" => Err(Failure::usage("there is no tiered storage here")),
            other => Ok(Which::At(time::time(other, Timestamp::now())?)),
        }
    }

    fn chosen(&self, broker: &ottla::Broker) -> Result<Vec<(String, PartitionId)>> {
        let mut chosen = Vec::new();
        let mut add = |name: String, wanted: Option<&[PartitionId]>| -> Result<()> {
            let Some(topic) = select::if_there(broker.topic(&name))? else {
                return Ok(());
            };
            let count = topic.partition_count();
            match wanted {
                None => chosen.extend((0..count).map(|id| (name.clone(), id))),
                Some(list) => {
                    chosen.extend(
                        list.iter()
                            .filter(|id| **id < count)
                            .map(|id| (name.clone(), *id)),
                    );
                }
            }
            Ok(())
        };
        if let Some(list) = &self.topic_partitions {
            for text in list.split(',') {
                let (topic, partitions) = select::topic_and_partitions(text)?;
                for name in select::topics(broker, &topic)? {
                    add(name, partitions.as_deref())?;
                }
            }
        } else {
            let names = match &self.topic {
                Some(list) => select::topics(broker, list)?,
                None => broker.topic_names(),
            };
            let partitions = self
                .partitions
                .as_deref()
                .map(select::partitions)
                .transpose()?;
            for name in names {
                add(name, partitions.as_deref())?;
            }
        }
        if chosen.is_empty() && (self.partitions.is_some() || self.topic_partitions.is_some()) {
            return Err(Failure::new("no partition matches"));
        }
        chosen.sort();
        chosen.dedup();
        Ok(chosen)
    }
}

fn offset_of(log: &Log, which: Which) -> ottla::Result<Option<Offset>> {
    Ok(match which {
        Which::Latest => Some(log.high_watermark()),
        Which::Earliest => Some(log.start_offset()),
        Which::At(at) => log.offset_for_time(at)?,
        Which::MaxTimestamp => newest(log)?,
    })
}

/// The first record with the largest timestamp.
fn newest(log: &Log) -> ottla::Result<Option<Offset>> {
    let mut newest: Option<(Timestamp, Offset)> = None;
    let mut reader = log.reader(Start::Earliest)?;
    while let Some(batch) = select::next_left(&mut reader)? {
        if newest.is_some_and(|(at, _)| batch.max_timestamp() <= at) {
            continue;
        }
        for record in batch.records() {
            if newest.is_none_or(|(at, _)| record.timestamp > at) {
                newest = Some((record.timestamp, record.offset));
            }
        }
    }
    Ok(newest.map(|(_, offset)| offset))
}
