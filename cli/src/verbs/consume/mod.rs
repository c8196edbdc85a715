//! `consume`: records become lines, with the flags of `kafka-console-consumer.sh`.
//!
//! Knows nothing about how a record is printed (`format.rs`), how a directory is followed that
//! somebody else writes (`follow.rs`), or how a group reads (`grouped.rs`). Invariant: what a group
//! commits was printed and written out before.

mod follow;
mod format;
mod grouped;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use ottla::{Offset, PartitionId, ReadIsolation, Start, Timestamp};

use crate::failure::{Failure, Result, note};
use crate::interrupt;
use crate::out::Out;
use crate::place::Place;
use crate::props::Props;
use crate::time;

use self::format::Format;

use super::select;

/// The flags of `consume`.
#[derive(Args, Debug)]
pub(crate) struct Consume {
    /// The topic
    #[arg(long, value_name = "NAME", required_unless_present = "include")]
    topic: Option<String>,
    /// Topics by a pattern
    #[arg(
        long,
        value_name = "PATTERN",
        alias = "whitelist",
        conflicts_with = "topic"
    )]
    include: Option<String>,
    /// Begin with the first record, not with what comes from now on
    #[arg(long)]
    from_beginning: bool,
    /// Begin here: earliest, latest, or an offset of --partition
    #[arg(
        long,
        value_name = "OFFSET",
        requires = "partition",
        conflicts_with = "from_beginning"
    )]
    #[arg(allow_hyphen_values = true)]
    offset: Option<String>,
    /// One partition
    #[arg(long, value_name = "NUMBER", requires = "topic")]
    partition: Option<PartitionId>,
    /// Begin with the first record of a time: 2013-06-01, 2013-06-01T12:00:00Z, -1h
    #[arg(long, value_name = "TIME", conflicts_with_all = ["from_beginning", "offset"])]
    #[arg(allow_hyphen_values = true)]
    at: Option<String>,
    /// End after so many records; -1 for no limit
    #[arg(long, value_name = "COUNT")]
    max_messages: Option<i64>,
    /// End when so many milliseconds have passed without a record; -1 for no limit
    #[arg(long, value_name = "MS")]
    timeout_ms: Option<i64>,
    /// End at the end of what is there
    #[arg(long)]
    exit_at_end: bool,
    /// Read as a group: begin where it has committed, commit what was printed
    #[arg(long, value_name = "GROUP", conflicts_with_all = ["partition", "offset", "at"])]
    group: Option<String>,
    /// `read_uncommitted` or `read_committed`
    #[arg(long, value_name = "LEVEL")]
    isolation_level: Option<String>,
    /// print.timestamp, print.key, print.offset, print.partition, print.headers, print.value,
    /// key.separator, line.separator, headers.separator, null.literal
    #[arg(long, value_name = "NAME=VALUE", alias = "formatter-property")]
    property: Vec<String>,
    /// How records are printed: text, hex, json, none
    #[arg(long, value_name = "FORMAT", alias = "format")]
    formatter: Option<String>,
    /// group.id, auto.offset.reset, isolation.level in Kafka's words
    #[arg(long, value_name = "NAME=VALUE", alias = "command-property")]
    consumer_property: Vec<String>,
    /// A file of such properties
    #[arg(long, value_name = "FILE", aliases = ["consumer.config", "consumer-config"])]
    command_config: Option<PathBuf>,
    /// A file of properties as --property takes them
    #[arg(long, value_name = "FILE")]
    formatter_config: Option<PathBuf>,
    #[arg(long, hide = true)]
    key_deserializer: Option<String>,
    #[arg(long, hide = true)]
    value_deserializer: Option<String>,
}

/// What was asked for, checked.
#[derive(Debug)]
struct Reading {
    /// One name, or a pattern.
    topics: String,
    partition: Option<PartitionId>,
    start: Start,
    group: Option<String>,
    isolation: ReadIsolation,
    end: Limits,
}

/// When it is over.
#[derive(Debug)]
struct Limits {
    left: Option<u64>,
    timeout: Option<Duration>,
    at_end: bool,
    last: Instant,
    printed: u64,
}

impl Limits {
    /// Counts a record that was printed.
    fn count(&mut self) {
        self.printed += 1;
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(1);
        }
    }

    /// No more records are wanted.
    fn is_full(&self) -> bool {
        self.left == Some(0)
    }

    /// Something came.
    fn touch(&mut self) {
        self.last = Instant::now();
    }

    /// How long a wait for the next record may last; none when it is over.
    fn patience(&self) -> Option<Duration> {
        if self.at_end || interrupt::asked() {
            return None;
        }
        match self.timeout {
            None => Some(Duration::MAX),
            Some(timeout) => {
                let left = timeout.saturating_sub(self.last.elapsed());
                (!left.is_zero()).then_some(left)
            }
        }
    }
}

impl Consume {
    /// Prints records until it is over.
    pub(crate) fn run(&self, place: &Place, out: &mut Out) -> Result<u8> {
        let json = out.is_json().then_some("json");
        let props = Props::read_with(self.formatter_config.as_deref(), &self.property)?;
        let format = Format::read(json.or(self.formatter.as_deref()), props)?;
        format::check_class("--key-deserializer", self.key_deserializer.as_deref())?;
        format::check_class("--value-deserializer", self.value_deserializer.as_deref())?;
        let mut reading = self.reading()?;
        interrupt::watch()?;
        let done = match reading.group.clone() {
            None => follow::run(place, &mut reading, &format, out),
            Some(group) => match place.write_if_free()? {
                Ok(broker) => grouped::run(&broker, &group, &mut reading, &format, out),
                Err(locked) => {
                    note(&format!(
                        "note: {locked}: reading from where group {group} has committed, and \
                         committing nothing"
                    ));
                    follow::run(place, &mut reading, &format, out)
                }
            },
        };
        let flushed = out.flush();
        let went_away = matches!(&done, Err(failure) if failure.is_closed_pipe());
        let never_began = done.is_err() && reading.end.printed == 0;
        if !went_away && !never_began {
            note(&format!(
                "Processed a total of {} messages",
                reading.end.printed
            ));
        }
        done.and(flushed)?;
        Ok(0)
    }

    fn reading(&self) -> Result<Reading> {
        let mut props = Props::read_with(self.command_config.as_deref(), &self.consumer_property)?;
        let group = props.take("group.id").or_else(|| self.group.clone());
        let level = props
            .take("isolation.level")
            .or_else(|| self.isolation_level.clone());
        let reset = props.take("auto.offset.reset");
        props.ignore_clients();
        props.check_empty("group.id, auto.offset.reset, isolation.level")?;
        let mut start = match reset.as_deref() {
            Some("earliest") => Start::Earliest,
            None | Some("latest") => Start::Latest,
            Some(other) => {
                return Err(Failure::usage(format!(
                    "auto.offset.reset cannot be {other}: expected earliest or latest"
                )));
            }
        };
        if self.from_beginning {
            start = Start::Earliest;
        }
        if let Some(offset) = &self.offset {
            start = start_at(offset)?;
        }
        if let Some(at) = &self.at {
            start = Start::Time(time::time(at, Timestamp::now())?);
        }
        Ok(Reading {
            topics: self
                .topic
                .clone()
                .or_else(|| self.include.clone())
                .unwrap_or_default(),
            partition: self.partition,
            start,
            group,
            isolation: match level.as_deref() {
                None | Some("read_uncommitted") => ReadIsolation::ReadUncommitted,
                Some("read_committed") => ReadIsolation::ReadCommitted,
                Some(other) => {
                    return Err(Failure::usage(format!(
                        "--isolation-level cannot be {other}: expected read_uncommitted or \
                         read_committed"
                    )));
                }
            },
            end: Limits {
                left: self.max_messages.and_then(unless_negative),
                timeout: self
                    .timeout_ms
                    .and_then(unless_negative)
                    .map(Duration::from_millis),
                at_end: self.exit_at_end,
                last: Instant::now(),
                printed: 0,
            },
        })
    }
}

/// A limit, as Kafka's script takes it: a negative number means no limit.
fn unless_negative(limit: i64) -> Option<u64> {
    u64::try_from(limit).ok()
}

fn start_at(text: &str) -> Result<Start> {
    match text {
        "earliest" | "-2" => Ok(Start::Earliest),
        "latest" | "-1" => Ok(Start::Latest),
        number => match number.parse::<Offset>() {
            Ok(offset) => Ok(Start::Offset(offset)),
            Err(_) => Err(Failure::usage(format!(
                "--offset cannot be {number}: expected earliest, latest, or a number"
            ))),
        },
    }
}
