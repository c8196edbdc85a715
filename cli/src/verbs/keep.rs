//! `verify`, `repair`, `compact`, `retain`: what keeps a directory in order, by hand.
//!
//! Knows nothing about how any of it is done: the library reports, and this prints the report. The
//! exit code says whether damage was found or is left.

use clap::Args;
use ottla::{Log, Problem, SetAside, VerifyReport};
use serde_json::{Value, json};

use crate::failure::{DAMAGED, Result};
use crate::out::Out;
use crate::place::Place;
use crate::progress;

use super::log_dirs::on_disk;
use super::select;

/// The flags of `verify`.
#[derive(Args, Debug)]
pub(crate) struct Verify {
    /// Print damage alone, and not what can be made again
    #[arg(long, short)]
    quiet: bool,
}

impl Verify {
    /// Reads everything and prints what was found.
    pub(crate) fn run(&self, place: &Place, out: &mut Out) -> Result<u8> {
        place.check_is_there()?;
        let measure = progress::reading(on_disk(place.dir()));
        let report = progress::beside("verify", measure, || ottla::verify(place.dir()))?;
        if out.is_json() {
            out.json(&as_json(&report))?;
        } else if self.quiet {
            for problem in report.damage() {
                out.line(problem.to_string())?;
            }
        } else {
            out.line(report.to_string().trim_end())?;
            out.line(if report.is_sound() {
                "No record is damaged."
            } else {
                "There is damage."
            })?;
        }
        Ok(if report.is_sound() { 0 } else { DAMAGED })
    }
}

/// The flags of `repair`.
#[derive(Args, Debug)]
pub(crate) struct Repair {}

impl Repair {
    /// Repairs, and prints what was done.
    #[expect(clippy::unused_self, reason = "verbs are called in one way")]
    pub(crate) fn run(&self, place: &Place, out: &mut Out) -> Result<u8> {
        place.check_is_there()?;
        let measure = progress::reading(on_disk(place.dir()));
        let report = progress::beside("repair", measure, || ottla::repair(place.dir()))?;
        if out.is_json() {
            let aside = |aside: &SetAside| {
                json!({
                    "file": aside.path.display().to_string(),
                    "position": aside.position,
                    "bytes": aside.bytes,
                    "offsets": [aside.offsets.start, aside.offsets.end],
                    "quarantine": aside.quarantine.display().to_string(),
                    "reason": aside.reason.to_string(),
                })
            };
            let path = |path: &std::path::PathBuf| path.display().to_string();
            out.json(&json!({
                "setAside": report.set_aside.iter().map(aside).collect::<Vec<_>>(),
                "rebuilt": report.rebuilt.iter().map(path).collect::<Vec<_>>(),
                "putBack": report.put_back.iter().map(|(_, to)| path(to)).collect::<Vec<_>>(),
                "found": as_json(&report.found),
                "remaining": as_json(&report.remaining),
            }))?;
        } else if report.is_idle() {
            out.line("There was nothing to repair.")?;
        } else {
            out.line(report.to_string().trim_end())?;
        }
        Ok(if report.is_sound() { 0 } else { DAMAGED })
    }
}

fn as_json(report: &VerifyReport) -> Value {
    let log = |log: &ottla::LogCondition| {
        json!({
            "log": log.dir.display().to_string(),
            "startOffset": log.start_offset,
            "endOffset": log.end_offset,
            "segments": log.segments,
            "bytes": log.bytes,
            "batches": log.batches,
            "records": log.records,
            "missingOffsets": log.missing_offsets,
        })
    };
    let problem = |problem: &Problem| {
        json!({
            "severity": format!("{:?}", problem.severity),
            "file": problem.path.display().to_string(),
            "position": problem.position,
            "bytes": problem.bytes,
            "offsets": [problem.offsets.start, problem.offsets.end],
            "problem": problem.to_string(),
        })
    };
    json!({
        "sound": report.is_sound(),
        "live": report.live,
        "logs": report.logs.iter().map(log).collect::<Vec<_>>(),
        "problems": report.problems.iter().map(problem).collect::<Vec<_>>(),
    })
}

/// The flags of `compact`.
#[derive(Args, Debug)]
pub(crate) struct Compact {
    /// Topics or patterns, with commas between them; all that are compacted when none are named
    #[arg(long, value_name = "NAMES")]
    topic: Option<String>,
}

impl Compact {
    /// Compacts, and prints what came of it.
    pub(crate) fn run(&self, place: &Place, out: &mut Out) -> Result<u8> {
        for_each(place, out, self.topic.as_deref(), |log| {
            let measure = progress::reading(log.segments().iter().map(|one| one.size_bytes).sum());
            let done = progress::beside("compact", measure, || log.compact())?;
            let text = format!(
                "{} records dropped, {} bytes read, {} written, {} segments became {}",
                done.records_dropped,
                done.read_bytes,
                done.written_bytes,
                done.segments_before,
                done.segments_after
            );
            let value = json!({
                "cleanedTo": done.cleaned_to,
                "recordsDropped": done.records_dropped,
                "readBytes": done.read_bytes,
                "writtenBytes": done.written_bytes,
                "segmentsBefore": done.segments_before,
                "segmentsAfter": done.segments_after,
            });
            Ok((text, value))
        })
    }
}

/// The flags of `retain`.
#[derive(Args, Debug)]
pub(crate) struct Retain {
    /// Topics or patterns, with commas between them; all when none are named
    #[arg(long, value_name = "NAMES")]
    topic: Option<String>,
}

impl Retain {
    /// Applies the retention of the topics, and prints what went.
    pub(crate) fn run(&self, place: &Place, out: &mut Out) -> Result<u8> {
        for_each(place, out, self.topic.as_deref(), |log| {
            let done = log.apply_retention()?;
            let text = format!(
                "{} segments of {} bytes deleted, the first offset is {}",
                done.segments_deleted, done.bytes_deleted, done.start_offset
            );
            let value = json!({
                "segmentsDeleted": done.segments_deleted,
                "bytesDeleted": done.bytes_deleted,
                "startOffset": done.start_offset,
            });
            Ok((text, value))
        })
    }
}

/// Does something to every partition of some topics and prints a line for each.
fn for_each(
    place: &Place,
    out: &mut Out,
    list: Option<&str>,
    act: impl Fn(&Log) -> Result<(String, Value)>,
) -> Result<u8> {
    let broker = place.write()?;
    let names = match list {
        Some(list) => select::topics(&broker, list)?,
        None => broker.topic_names(),
    };
    let mut shown = Vec::new();
    for name in names {
        let topic = broker.topic(&name)?;
        for id in 0..topic.partition_count() {
            let place = format!("{name}-{id}");
            let (text, value) = act(&topic.partition(id)?).map_err(|failure| failure.at(&place))?;
            out.say(format!("{place}: {text}"))?;
            shown.push(json!({ "partition": place, "done": value }));
        }
    }
    broker.close()?;
    if out.is_json() {
        out.json(&Value::Array(shown))?;
    }
    Ok(0)
}
