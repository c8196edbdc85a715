//! `groups --describe`: Kafka's columns.
//!
//! Knows nothing about how groups change. Members live in the memory of the program that reads, so
//! that from outside they cannot be seen: the columns for them say so while somebody has the
//! directory open.

use ottla::{GroupInfo, GroupPartition};
use serde_json::{Value, json};

use crate::failure::{Result, note};
use crate::out::Out;
use crate::place::Place;
use crate::table::Table;

use super::{Groups, state_name};

/// What stands for a member that cannot be seen.
const UNSEEN: &str = "in-writer";

/// Prints the groups that the flags name.
pub(super) fn run(flags: &Groups, place: &Place, out: &mut Out) -> Result<()> {
    let broker = place.read()?;
    let mut shown = Vec::new();
    let writer = place.is_written();
    for name in flags.chosen(&broker)? {
        let group = broker.group(&name)?.describe()?;
        if out.is_json() {
            shown.push(as_json(&group, writer));
        } else if flags.members {
            members(&group, writer, out)?;
        } else if flags.state.is_some() {
            state(&group, out)?;
        } else {
            offsets(&group, writer, out)?;
        }
    }
    if out.is_json() {
        out.json(&Value::Array(shown))?;
    }
    Ok(())
}

/// Says on standard error what Kafka's script says there.
fn tell_members(group: &GroupInfo, writer: bool) {
    note(&if writer {
        format!(
            "Members of consumer group '{}', if any, live in the memory of the process that has \
             the directory open.",
            group.id
        )
    } else {
        format!("Consumer group '{}' has no active members.", group.id)
    });
}

fn offsets(group: &GroupInfo, writer: bool, out: &mut Out) -> Result<()> {
    tell_members(group, writer);
    let mut table = Table::with_widths(&[
        ("GROUP", 15),
        ("TOPIC", 15),
        ("PARTITION", 10),
        ("CURRENT-OFFSET", 15),
        ("LOG-END-OFFSET", 15),
        ("LAG", 15),
        ("CONSUMER-ID", 15),
        ("HOST", 15),
        ("CLIENT-ID", 0),
    ]);
    let member = if writer { UNSEEN } else { "-" };
    for partition in &group.partitions {
        let committed = partition
            .committed
            .map_or("-".to_owned(), |offset| offset.to_string());
        let lag = partition
            .committed
            .map_or("-".to_owned(), |_| partition.lag.to_string());
        table.row(vec![
            group.id.clone(),
            partition.topic.clone(),
            partition.partition.to_string(),
            committed,
            partition.end.to_string(),
            lag,
            member.to_owned(),
            member.to_owned(),
            member.to_owned(),
        ]);
    }
    out.line("")?;
    out.table(&table)
}

fn members(group: &GroupInfo, writer: bool, out: &mut Out) -> Result<()> {
    tell_members(group, writer);
    let mut table = Table::with_widths(&[
        ("GROUP", 15),
        ("CONSUMER-ID", 15),
        ("HOST", 15),
        ("CLIENT-ID", 15),
        ("#PARTITIONS", 0),
    ]);
    if writer {
        let cell = || UNSEEN.to_owned();
        table.row(vec![group.id.clone(), cell(), cell(), cell(), cell()]);
    }
    out.line("")?;
    out.table(&table)
}

fn state(group: &GroupInfo, out: &mut Out) -> Result<()> {
    let mut table = Table::with_widths(&[
        ("GROUP", 15),
        ("COORDINATOR (ID)", 25),
        ("ASSIGNMENT-STRATEGY", 20),
        ("STATE", 15),
        ("#MEMBERS", 0),
    ]);
    table.row(vec![
        group.id.clone(),
        "-".to_owned(),
        String::new(),
        state_name(group.state).to_owned(),
        group.members.len().to_string(),
    ]);
    out.line("")?;
    out.table(&table)
}

fn as_json(group: &GroupInfo, writer: bool) -> Value {
    let partition = |at: &GroupPartition| {
        json!({
            "topic": at.topic,
            "partition": at.partition,
            "currentOffset": at.committed,
            "logStartOffset": at.start,
            "logEndOffset": at.end,
            "lag": at.lag,
            "unread": at.unread,
            "metadata": at.metadata,
            "problem": at.problem,
        })
    };
    json!({
        "group": group.id,
        "state": state_name(group.state),
        "membersAreSeen": !writer,
        "partitions": group.partitions.iter().map(partition).collect::<Vec<_>>(),
        "lag": group.lag(),
    })
}
