//! `groups`: look at consumer groups, move them, delete them, with the flags of
//! `kafka-consumer-groups.sh`.
//!
//! Knows nothing about records. What is printed stands in `describe.rs`, how groups are moved in
//! `reset.rs`.

mod describe;
mod reset;

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use ottla::{Broker, GroupState, PartitionId};
use serde_json::json;

use crate::failure::{Failure, Result};
use crate::out::Out;
use crate::place::Place;
use crate::table::Table;

use super::select;

/// The flags of `groups`.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("action").required(true))]
#[command(group = ArgGroup::new("target").args([
    "to_earliest", "to_latest", "to_current", "to_offset", "to_datetime", "shift_by",
    "by_duration", "from_file",
]))]
#[expect(
    clippy::struct_excessive_bools,
    clippy::struct_field_names,
    reason = "Kafka's script has so many switches, under these names"
)]
pub(crate) struct Groups {
    /// List the groups
    #[arg(long, group = "action")]
    list: bool,
    /// Show where groups are: committed and last offsets, lag
    #[arg(long, group = "action")]
    describe: bool,
    /// Delete groups with all that they have committed
    #[arg(long, group = "action")]
    delete: bool,
    /// Move a group to other offsets
    #[arg(long, group = "action", requires = "target")]
    reset_offsets: bool,
    /// Forget what a group has committed on topics or partitions
    #[arg(long, group = "action", requires = "topic")]
    delete_offsets: bool,

    /// The group; may be given several times
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,
    /// All groups
    #[arg(long, conflicts_with = "group")]
    all_groups: bool,
    /// A topic, or some of its partitions as topic:0,1; may be given several times
    #[arg(long, value_name = "TOPIC")]
    topic: Vec<String>,
    /// All topics on which the group has committed
    #[arg(long, conflicts_with = "topic")]
    all_topics: bool,

    /// With --describe: the offsets, which is the default
    #[arg(long, conflicts_with_all = ["members", "state"])]
    offsets: bool,
    /// With --describe: the members
    #[arg(long, conflicts_with = "state")]
    members: bool,
    /// With --describe and --list: the state
    #[arg(long, num_args = 0..=1, default_missing_value = "", value_name = "STATES")]
    state: Option<String>,
    /// With --describe: more columns
    #[arg(long)]
    verbose: bool,
    /// Say whether a regular expression is one
    #[arg(long, group = "action", value_name = "PATTERN")]
    validate_regex: Option<String>,

    /// Say what would be committed; the default
    #[arg(long, conflicts_with = "execute")]
    dry_run: bool,
    /// Commit it
    #[arg(long)]
    execute: bool,
    /// Print the plan as lines of topic,partition,offset
    #[arg(long)]
    export: bool,
    /// To the first record
    #[arg(long)]
    to_earliest: bool,
    /// To the end
    #[arg(long)]
    to_latest: bool,
    /// To where the group is
    #[arg(long)]
    to_current: bool,
    /// To an offset
    #[arg(long, value_name = "OFFSET")]
    to_offset: Option<u64>,
    /// To the first record of a time: 2013-06-01T12:00:00.000
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to_datetime: Option<String>,
    /// By so many records, back when negative
    #[arg(long, value_name = "COUNT", allow_hyphen_values = true)]
    shift_by: Option<i64>,
    /// To the first record of a time so long ago: PT1H30M, 90min
    #[arg(long, value_name = "SPAN")]
    by_duration: Option<String>,
    /// To what a file of topic,partition,offset says
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
    /// With --list: the type too, or only groups of these types
    #[arg(long, num_args = 0..=1, default_missing_value = "", value_name = "TYPES")]
    r#type: Option<String>,
}

impl Groups {
    /// Does what the flags say.
    pub(crate) fn run(&self, place: &Place, out: &mut Out) -> Result<u8> {
        if let Some(pattern) = &self.validate_regex {
            select::pattern(pattern)?;
            out.say(format!("The regular expression `{pattern}` is valid."))?;
        } else if self.list {
            self.list(place, out)?;
        } else if self.describe {
            describe::run(self, place, out)?;
        } else if self.reset_offsets {
            reset::run(self, place, out)?;
        } else if self.delete {
            self.delete(place, out)?;
        } else {
            self.delete_offsets(place, out)?;
        }
        Ok(0)
    }

    /// The groups that the flags name.
    fn chosen(&self, broker: &Broker) -> Result<Vec<String>> {
        let all: Vec<String> = broker.groups()?.into_iter().map(|group| group.id).collect();
        if self.all_groups {
            return Ok(all);
        }
        if self.group.is_empty() {
            return Err(Failure::usage(
                "say which group: --group GROUP or --all-groups",
            ));
        }
        for name in &self.group {
            if name.is_empty() {
                return Err(Failure::usage("an empty name is no group"));
            }
            if !all.contains(name) && !self.reset_offsets {
                return Err(Failure::new(format!("there is no group {name}")));
            }
        }
        Ok(self.group.clone())
    }

    fn list(&self, place: &Place, out: &mut Out) -> Result<()> {
        let mut groups = place.read()?.groups()?;
        // Members make the state, and those of another process cannot be seen.
        let writer = place.is_written();
        let state_name = |state: GroupState| {
            if writer {
                describe::UNSEEN
            } else {
                state_name(state)
            }
        };
        if let Some(states) = self.state.as_deref().filter(|states| !states.is_empty()) {
            let wanted = |state: GroupState| {
                let name = state_name(state);
                states
                    .split(',')
                    .any(|text| text.trim().eq_ignore_ascii_case(name))
            };
            groups.retain(|group| wanted(group.state));
        }
        if let Some(types) = self.r#type.as_deref().filter(|types| !types.is_empty()) {
            let classic = |text: &str| text.trim().eq_ignore_ascii_case("classic");
            if !types.split(',').any(classic) {
                groups.clear();
            }
        }
        if out.is_json() {
            let group = |group: &ottla::GroupInfo| {
                let state = state_name(group.state);
                json!({ "group": group.id, "state": state })
            };
            return out.json(&json!(groups.iter().map(group).collect::<Vec<_>>()));
        }
        if self.state.is_none() && self.r#type.is_none() {
            return groups.iter().try_for_each(|group| out.line(&group.id));
        }
        let mut columns = vec![("GROUP", 15)];
        columns.extend(self.r#type.is_some().then_some(("TYPE", 15)));
        columns.extend(self.state.is_some().then_some(("STATE", 0)));
        let mut table = Table::with_widths(&columns);
        for group in groups {
            let mut row = vec![group.id];
            row.extend(self.r#type.is_some().then(|| "Classic".to_owned()));
            row.extend(
                self.state
                    .is_some()
                    .then(|| state_name(group.state).to_owned()),
            );
            table.row(row);
        }
        out.table(&table)
    }

    fn delete(&self, place: &Place, out: &mut Out) -> Result<()> {
        let broker = place.write()?;
        let groups = self.chosen(&broker)?;
        for group in &groups {
            broker.delete_group(group)?;
        }
        broker.close()?;
        if out.is_json() {
            return out.json(&json!({ "deleted": groups }));
        }
        let names: Vec<_> = groups.iter().map(|group| format!("'{group}'")).collect();
        out.line(format!(
            "Deletion of requested consumer groups ({}) was successful.",
            names.join(", ")
        ))
    }

    fn delete_offsets(&self, place: &Place, out: &mut Out) -> Result<()> {
        let broker = place.write()?;
        let [group] = self.group.as_slice() else {
            return Err(Failure::usage("say which group: --group GROUP, once"));
        };
        self.chosen(&broker)?;
        let known = broker.group(group)?;
        let mut deleted = Vec::new();
        for text in &self.topic {
            let (topic, partitions) = select::topic_and_partitions(text)?;
            match partitions {
                None => known.delete_commits(&topic)?,
                Some(_) => partitions
                    .iter()
                    .flatten()
                    .try_for_each(|one| known.delete_partition_commit(&topic, *one))?,
            }
            deleted.push((topic, partitions));
        }
        broker.close()?;
        if out.is_json() {
            let shown = deleted
                .iter()
                .map(|(topic, partitions)| json!({ "topic": topic, "partitions": partitions }));
            let shown: Vec<_> = shown.collect();
            return out.json(&json!({ "group": group, "deleted": shown }));
        }
        out.line(format!(
            "Request succeed for deleting offsets from group {group}."
        ))?;
        let mut table = Table::with_widths(&[("TOPIC", 30), ("PARTITION", 15), ("STATUS", 0)]);
        for (topic, partitions) in deleted {
            let partitions = partitions.map_or_else(
                || vec!["Not Provided".to_owned()],
                |some| some.iter().map(PartitionId::to_string).collect(),
            );
            for partition in partitions {
                table.row(vec![topic.clone(), partition, "Successful".to_owned()]);
            }
        }
        out.table(&table)
    }
}

/// The state in Kafka's words.
fn state_name(state: GroupState) -> &'static str {
    match state {
        GroupState::Rebalancing => "PreparingRebalance",
        GroupState::Stable => "Stable",
        _ => "Empty",
    }
}
