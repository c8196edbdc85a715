//! `topics`: make, list, describe, alter and delete topics, with the flags of `kafka-topics.sh`.
//!
//! Knows nothing about records.

use clap::{ArgGroup, Args};
use ottla::{Broker, TopicConfig, TopicInfo};
use serde_json::{Value, json};

use crate::failure::{Failure, Result, note};
use crate::out::Out;
use crate::place::Place;
use crate::props;

use super::select;

/// The flags of `topics`.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("action").required(true))]
#[expect(
    clippy::struct_excessive_bools,
    clippy::struct_field_names,
    reason = "Kafka's script has so many switches, under these names"
)]
pub(crate) struct Topics {
    /// Make a topic
    #[arg(long, group = "action", requires = "topic")]
    create: bool,
    /// List the names of all topics
    #[arg(long, group = "action")]
    list: bool,
    /// Show topics with their partitions and settings
    #[arg(long, group = "action")]
    describe: bool,
    /// Add partitions, or change settings
    #[arg(long, group = "action", requires = "topic")]
    alter: bool,
    /// Delete topics with all their records
    #[arg(long, group = "action", requires = "topic")]
    delete: bool,

    /// The topic; for all actions but --create also a pattern, or a list with commas
    #[arg(long, value_name = "NAME")]
    topic: Option<String>,
    /// How many partitions there are to be
    #[arg(long, value_name = "COUNT")]
    partitions: Option<u32>,
    /// A setting of the topic; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    config: Vec<String>,
    /// A setting to set back to its default; with --alter
    #[arg(long, value_name = "NAME")]
    delete_config: Vec<String>,
    /// With --create: a topic that is there is no failure
    #[arg(long)]
    if_not_exists: bool,
    /// With --alter, --delete and --describe: a topic that is not there is no failure
    #[arg(long)]
    if_exists: bool,
    /// Only 1: a directory has one copy of every record
    #[arg(long, value_name = "1", allow_hyphen_values = true)]
    replication_factor: Option<i32>,
    /// With --describe: only topics that have settings of their own
    #[arg(long)]
    topics_with_overrides: bool,
    // The topics that Kafka keeps for itself are never among them.
    #[arg(long, hide = true)]
    exclude_internal: bool,
    /// With --describe: the topic of this id
    #[arg(long, value_name = "ID", conflicts_with = "topic")]
    topic_id: Option<String>,
    /// With --describe: only partitions that cannot be read
    #[arg(long)]
    unavailable_partitions: bool,
    /// With --describe: none, as there is one copy of every record
    #[arg(long)]
    under_replicated_partitions: bool,
    /// With --describe: none, as there is one copy of every record
    #[arg(long)]
    under_min_isr_partitions: bool,
    /// With --describe: all, as the least there may be is one copy of every record
    #[arg(long)]
    at_min_isr_partitions: bool,
}

impl Topics {
    /// Does what the flags say.
    pub(crate) fn run(&self, place: &Place, out: &mut Out) -> Result<u8> {
        self.check_replication()?;
        if self.create {
            self.create(place, out)?;
        } else if self.list {
            self.list(place, out)?;
        } else if self.describe {
            self.describe(place, out)?;
        } else if self.alter {
            self.alter(place, out)?;
        } else {
            self.delete(place, out)?;
        }
        Ok(0)
    }

    fn check_replication(&self) -> Result<()> {
        match self.replication_factor {
            None | Some(1 | -1) => Ok(()),
            Some(more) => Err(Failure::usage(format!(
                "--replication-factor cannot be {more}: a directory holds one copy of every \
                 record, so say 1, and keep a second copy with a mirrored disk or a backup"
            ))),
        }
    }

    fn name(&self) -> &str {
        self.topic.as_deref().unwrap_or_default()
    }

    fn changes(&self) -> Result<Vec<(String, Option<String>)>> {
        let mut changes = Vec::new();
        for text in &self.config {
            let (name, value) = props::pair(text)?;
            changes.push((name, Some(value)));
        }
        changes.extend(self.delete_config.iter().map(|name| (name.clone(), None)));
        Ok(changes)
    }

    fn create(&self, place: &Place, out: &mut Out) -> Result<()> {
        let mut config = props::changed(&TopicConfig::default(), &self.changes()?)?;
        config.partitions = self.partitions.unwrap_or(1);
        let name = self.name();
        let broker = place.make()?;
        let created = match broker.create_topic(name, config) {
            Ok(_) => true,
            Err(ottla::Error::TopicExists { .. }) if self.if_not_exists => false,
            Err(error) => return Err(error.into()),
        };
        broker.close()?;
        if name.contains(['.', '_']) && created {
            note(
                "note: Kafka's metrics take . and _ for the same character, so no other topic may \
                 have a name that differs in them alone",
            );
        }
        if out.is_json() {
            return out.json(&json!({ "topic": name, "created": created }));
        }
        out.line(if created {
            format!("Created topic {name}.")
        } else {
            format!("Topic {name} exists already.")
        })
    }

    fn list(&self, place: &Place, out: &mut Out) -> Result<()> {
        let broker = place.read()?;
        let names = self.named(&broker)?;
        if out.is_json() {
            return out.json(&json!(names));
        }
        names.iter().try_for_each(|name| out.line(name))
    }

    /// The topics of a list; with `--if-exists` maybe none.
    fn chosen(&self, broker: &Broker, list: &str) -> Result<Vec<String>> {
        match select::topics(broker, list) {
            Err(_) if self.if_exists => Ok(Vec::new()),
            chosen => chosen,
        }
    }

    /// The topics that a verb without `--topic` is about, or those that it names.
    fn named(&self, broker: &Broker) -> Result<Vec<String>> {
        match &self.topic {
            Some(list) => self.chosen(broker, list),
            None => Ok(broker.topic_names()),
        }
    }

    /// Only partitions of a kind are wanted, and without the line of their topic.
    fn wants_some_partitions(&self) -> bool {
        self.unavailable_partitions
            || self.under_replicated_partitions
            || self.under_min_isr_partitions
            || self.at_min_isr_partitions
    }

    fn wants(&self, partition: &ottla::PartitionInfo) -> bool {
        !self.wants_some_partitions()
            || self.at_min_isr_partitions
            || (self.unavailable_partitions && partition.problem.is_some())
    }

    fn describe(&self, place: &Place, out: &mut Out) -> Result<()> {
        let broker = place.read()?;
        let mut found = false;
        let mut shown = Vec::new();
        for name in self.named(&broker)? {
            let Some(mut info) = select::described(&broker, &name)? else {
                continue;
            };
            if self.topic_id.as_ref().is_some_and(|id| *id != info.id) {
                continue;
            }
            found = true;
            if self.topics_with_overrides && props::deviations(&info.config).is_empty() {
                continue;
            }
            info.partitions.retain(|partition| self.wants(partition));
            if out.is_json() {
                shown.push(as_json(&info));
                continue;
            }
            if !self.wants_some_partitions() {
                describe_topic(&info, out)?;
            }
            if !self.topics_with_overrides {
                describe_partitions(&info, out)?;
            }
        }
        if let Some(id) = self.topic_id.as_ref().filter(|_| !found && !self.if_exists) {
            return Err(Failure::new(format!("there is no topic with the id {id}")));
        }
        if out.is_json() {
            out.json(&Value::Array(shown))?;
        }
        Ok(())
    }

    fn alter(&self, place: &Place, out: &mut Out) -> Result<()> {
        let changes = self.changes()?;
        if changes.is_empty() && self.partitions.is_none() {
            return Err(Failure::usage(
                "say what to alter: --partitions, --config or --delete-config",
            ));
        }
        let broker = place.write()?;
        let names = self.chosen(&broker, self.name())?;
        for name in &names {
            let mut wanted = props::changed(&broker.topic(name)?.config(), &changes)?;
            wanted.partitions = self.partitions.unwrap_or(wanted.partitions);
            broker.alter_topic(name, |_| wanted)?;
        }
        broker.close()?;
        if out.is_json() {
            return out.json(&json!({ "altered": names }));
        }
        names
            .iter()
            .try_for_each(|name| out.line(format!("Altered topic {name}.")))
    }

    fn delete(&self, place: &Place, out: &mut Out) -> Result<()> {
        let broker = place.write()?;
        let names = self.chosen(&broker, self.name())?;
        for name in &names {
            broker.delete_topic(name)?;
        }
        broker.close()?;
        if out.is_json() {
            return out.json(&json!({ "deleted": names }));
        }
        names
            .iter()
            .try_for_each(|name| out.line(format!("Deleted topic {name}.")))
    }
}

/// The line of a topic in `kafka-topics.sh --describe`.
fn describe_topic(info: &TopicInfo, out: &mut Out) -> Result<()> {
    let configs = props::deviations(&info.config);
    let configs: Vec<_> = configs
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    out.line(format!(
        "Topic: {}\tTopicId: {}\tPartitionCount: {}\tReplicationFactor: 1\tConfigs: {}",
        info.name,
        info.id,
        info.partitions.len(),
        configs.join(",")
    ))
}

/// The lines of its partitions; what Kafka's says about brokers is what is on disk here.
fn describe_partitions(info: &TopicInfo, out: &mut Out) -> Result<()> {
    for partition in &info.partitions {
        let mut line = format!(
            "\tTopic: {}\tPartition: {}\tStart: {}\tEnd: {}\tSegments: {}\tBytes: {}",
            info.name,
            partition.id,
            partition.start_offset,
            partition.end_offset,
            partition.segments,
            partition.size_bytes
        );
        if let Some(problem) = &partition.problem {
            line.push_str("\tProblem: ");
            line.push_str(problem);
        }
        out.line(line)?;
    }
    Ok(())
}

fn as_json(info: &TopicInfo) -> Value {
    let partition = |partition: &ottla::PartitionInfo| {
        json!({
            "partition": partition.id,
            "startOffset": partition.start_offset,
            "flushedOffset": partition.flushed_offset,
            "highWatermark": partition.high_watermark,
            "endOffset": partition.end_offset,
            "segments": partition.segments,
            "bytes": partition.size_bytes,
            "problem": partition.problem,
        })
    };
    json!({
        "topic": info.name,
        "topicId": info.id,
        "configs": props::settings(&info.config),
        "partitions": info.partitions.iter().map(partition).collect::<Vec<_>>(),
    })
}
