//! `delete-records`: moves the start of partitions up, with Kafka's file or with flags.
//!
//! Knows nothing about segments: the library decides which files go.

use std::path::PathBuf;

use clap::Args;
use ottla::{Offset, PartitionId};
use serde_json::{Value, json};

use crate::failure::{Failure, Result, file_failure};
use crate::out::Out;
use crate::place::Place;

use super::select;

/// The flags of `delete-records`.
#[derive(Args, Debug)]
pub(crate) struct DeleteRecords {
    /// Kafka's file: {"partitions": [{"topic": "t", "partition": 0, "offset": 3}], "version": 1}
    #[arg(long, value_name = "FILE", required_unless_present = "topic")]
    offset_json_file: Option<PathBuf>,
    /// The topic
    #[arg(
        long,
        value_name = "NAME",
        requires = "offset",
        conflicts_with = "offset_json_file"
    )]
    topic: Option<String>,
    /// Its partition; all of them when none is named
    #[arg(long, value_name = "NUMBER", requires = "topic")]
    partition: Option<PartitionId>,
    /// The first offset that stays; -1 for none
    #[arg(
        long,
        value_name = "OFFSET",
        requires = "topic",
        allow_hyphen_values = true
    )]
    offset: Option<i64>,
}

type Cut = (String, PartitionId, i64);

impl DeleteRecords {
    /// Deletes the records below the offsets.
    pub(crate) fn run(&self, place: &Place, out: &mut Out) -> Result<u8> {
        let from_file = self.offset_json_file.as_ref().map(read).transpose()?;
        let broker = place.write()?;
        let cuts = match from_file {
            Some(cuts) => cuts,
            None => self.cuts(&broker)?,
        };
        out.say("Executing records delete operation")?;
        out.say("Records delete operation completed:")?;
        let (mut done, mut failed) = (Vec::new(), None);
        for (topic, partition, offset) in cuts {
            match cut(&broker, &topic, partition, offset) {
                Ok(start) => {
                    out.say(format!(
                        "partition: {topic}-{partition}\tlow_watermark: {start}"
                    ))?;
                    done.push(json!({
                        "topic": topic, "partition": partition, "low_watermark": start
                    }));
                }
                Err(failure) => {
                    out.say(format!("partition: {topic}-{partition}\terror: {failure}"))?;
                    let failure = failure.at(&format!("{topic}-{partition}"));
                    failed = failed.or(Some(failure));
                }
            }
        }
        broker.close()?;
        if out.is_json() {
            out.json(&Value::Array(done))?;
        }
        out.flush()?;
        failed.map_or(Ok(0), Err)
    }

    fn cuts(&self, broker: &ottla::Broker) -> Result<Vec<Cut>> {
        let name = self.topic.as_deref().unwrap_or_default();
        let Ok(topic) = broker.topic(name) else {
            return Err(select::no_topic(broker, name));
        };
        let offset = self.offset.unwrap_or_default();
        let partitions = match self.partition {
            Some(partition) => vec![partition],
            None => (0..topic.partition_count()).collect(),
        };
        let cuts = partitions
            .into_iter()
            .map(|partition| (name.to_owned(), partition, offset));
        Ok(cuts.collect())
    }
}

fn cut(broker: &ottla::Broker, topic: &str, partition: PartitionId, offset: i64) -> Result<Offset> {
    let log = broker.topic(topic)?.partition(partition)?;
    let start = match offset {
        -1 => log.high_watermark(),
        offset => Offset::try_from(offset)
            .map_err(|_| Failure::usage(format!("offset {offset} is below 0")))?,
    };
    if start > log.start_offset() {
        log.truncate_prefix(start)?;
    }
    Ok(log.start_offset())
}

fn read(path: &PathBuf) -> Result<Vec<Cut>> {
    let text = std::fs::read(path).map_err(|error| file_failure("read", path, &error))?;
    let bad = |what: &str| {
        Failure::usage(format!(
            "{} is not a list of offsets: {what}",
            path.display()
        ))
    };
    let value: Value = serde_json::from_slice(&text).map_err(|error| bad(&error.to_string()))?;
    let list = value.get("partitions").and_then(Value::as_array);
    let list = list.ok_or_else(|| bad("it has no \"partitions\""))?;
    let cut = |entry: &Value| {
        let topic = entry.get("topic")?.as_str()?.to_owned();
        let partition = PartitionId::try_from(entry.get("partition")?.as_u64()?).ok()?;
        Some((topic, partition, entry.get("offset")?.as_i64()?))
    };
    let cuts: Option<Vec<_>> = list.iter().map(cut).collect();
    cuts.ok_or_else(|| bad("every entry has a \"topic\", a \"partition\" and an \"offset\""))
}
