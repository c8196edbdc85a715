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

/// What stands for a member that cannot be seen, and what follows from members.
pub(super) const UNSEEN: &str = "in-writer";

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
            members(&group, writer, flags.verbose, out)?;
        } else if flags.state.is_some() {
            state(&group, writer, flags.verbose, out)?;
        } else {
            offsets(&group, writer, flags.verbose, out)?;
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

fn offsets(group: &GroupInfo, writer: bool, verbose: bool, out: &mut Out) -> Result<()> {
    tell_members(group, writer);
    let mut columns = vec![("GROUP", 15), ("TOPIC", 15), ("PARTITION", 10)];
    columns.extend(verbose.then_some(("LEADER-EPOCH", 15)));
    columns.extend([
        ("CURRENT-OFFSET", 15),
        ("LOG-END-OFFSET", 15),
        ("LAG", 15),
        ("CONSUMER-ID", 15),
        ("HOST", 15),
        ("CLIENT-ID", 0),
    ]);
    let mut table = Table::with_widths(&columns);
    let member = if writer { UNSEEN } else { "-" };
    for partition in &group.partitions {
        let committed = partition
            .committed
            .map_or("-".to_owned(), |offset| offset.to_string());
        let is_known = partition.problem.is_none();
        if let Some(problem) = &partition.problem {
            let place = format!("{}-{}", partition.topic, partition.partition);
            note(&format!("note: {place}: {problem}"));
        }
        let or_unknown = |known: bool, number: u64| {
            if known {
                number.to_string()
            } else {
                "-".to_owned()
            }
        };
        let lag = or_unknown(is_known && partition.committed.is_some(), partition.lag);
        let end = or_unknown(is_known, partition.end);
        let mut row = vec![
            group.id.clone(),
            partition.topic.clone(),
            partition.partition.to_string(),
        ];
        row.extend(verbose.then(|| "-".to_owned()));
        row.extend([committed, end, lag]);
        row.extend([member; 3].map(str::to_owned));
        table.row(row);
    }
    out.line("")?;
    out.table(&table)
}

/// Nobody is a member while nobody has the directory open, and then Kafka's script prints no table.
fn members(group: &GroupInfo, writer: bool, verbose: bool, out: &mut Out) -> Result<()> {
    tell_members(group, writer);
    if !writer {
        return Ok(());
    }
    let mut columns = vec![
        ("GROUP", 15),
        ("CONSUMER-ID", 15),
        ("HOST", 15),
        ("CLIENT-ID", 15),
    ];
    columns.push(("#PARTITIONS", 15));
    columns.extend(verbose.then_some(("ASSIGNMENT", 0)));
    let mut row = vec![UNSEEN.to_owned(); columns.len()];
    if let Some(first) = row.first_mut() {
        first.clone_from(&group.id);
    }
    let mut table = Table::with_widths(&columns);
    table.row(row);
    out.line("")?;
    out.table(&table)
}

/// The state is what the members make it, so it is as unseen as they are.
fn state(group: &GroupInfo, writer: bool, verbose: bool, out: &mut Out) -> Result<()> {
    let mut columns = vec![
        ("GROUP", 15),
        ("COORDINATOR (ID)", 25),
        ("ASSIGNMENT-STRATEGY", 20),
        ("STATE", 20),
    ];
    if verbose {
        columns.extend([("GROUP-EPOCH", 15), ("TARGET-ASSIGNMENT-EPOCH", 25)]);
    }
    columns.push(("#MEMBERS", 0));
    let mut table = Table::with_widths(&columns);
    let or_unseen = |text: String| if writer { UNSEEN.to_owned() } else { text };
    let mut row = vec![
        group.id.clone(),
        "-".to_owned(),
        or_unseen("-".to_owned()),
        or_unseen(state_name(group.state).to_owned()),
    ];
    if verbose {
        row.extend([or_unseen("-".to_owned()), or_unseen("-".to_owned())]);
    }
    row.push(or_unseen(group.members.len().to_string()));
    tell_members(group, writer);
    table.row(row);
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
        "state": if writer { UNSEEN } else { state_name(group.state) },
        "membersAreSeen": !writer,
        "partitions": group.partitions.iter().map(partition).collect::<Vec<_>>(),
        "lag": group.lag(),
    })
}
