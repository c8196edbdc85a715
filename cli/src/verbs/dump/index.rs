//! The two sparse indexes of a segment in the words of Kafka's `DumpLogSegments`, compared with the
//! log that they lead into.
//!
//! Knows nothing about records. Invariant: what is printed is what the file has; whether it is
//! right is told on standard error.

use std::path::Path;

use serde_json::json;

use crate::failure::{DAMAGED, Failure, Result, file_failure, note};
use crate::out::Out;

use super::cursor::Cursor;
use super::log::Batches;
use super::small::Kind;

/// What is done with an index.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wish {
    /// Its entries are printed, and compared with the log.
    Print,
    /// They are compared alone.
    Verify,
    /// It is checked as a broker checks it when it starts.
    Sanity,
}

/// A batch, as far as indexes know it.
#[derive(Clone, Copy, Debug)]
struct Place {
    position: u64,
    last: i64,
    newest: i64,
}

/// Prints or checks an index; false when it does not match its log.
pub(super) fn dump(path: &Path, kind: Kind, wish: Wish, out: &mut Out) -> Result<bool> {
    let bytes = std::fs::read(path).map_err(|error| file_failure("read", path, &error))?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let base = stem.parse::<i64>().unwrap_or(0);
    let of_time = matches!(kind, Kind::TimeIndex);
    let width = if of_time { 12 } else { 8 };
    let entries = entries(&bytes, base, of_time);
    let shown = path.display();
    if entries.is_empty() && !of_time {
        // Kafka's tool says nothing of a time index without entries.
        out.say(format!("{shown} is empty."))?;
        return Ok(true);
    }
    if let Wish::Sanity = wish {
        if let Some(problem) = insane(&bytes, base, width) {
            let sentence = format!("{shown} did not pass the sanity check: {problem}");
            return Err(Failure::with_code(DAMAGED, sentence));
        }
        out.say(format!("{shown} passed sanity check."))?;
        return Ok(true);
    }
    let lines: Vec<_> = entries.iter().map(|entry| entry.line(of_time)).collect();
    if let Wish::Print = wish {
        if out.is_json() {
            out.json(&json!({ "file": shown.to_string(), "lines": lines }))?;
        } else {
            lines.iter().try_for_each(|line| out.line(line))?;
        }
    }
    let log = path.with_extension("log");
    if !log.exists() {
        note(&format!(
            "note: {shown} is not compared with its log: there is no {}",
            log.display()
        ));
        return Ok(true);
    }
    let problems = if of_time {
        wrong_times(path, &entries, &places(&log)?)
    } else {
        wrong_places(path, &entries, &places(&log)?)
    };
    for line in &problems {
        note(line);
    }
    Ok(problems.is_empty())
}

/// An entry: the last offset of a batch, and its place or its newest time.
#[derive(Clone, Copy, Debug)]
struct Entry {
    offset: i64,
    /// A place in the log, or a time.
    value: i64,
}

impl Entry {
    fn line(&self, of_time: bool) -> String {
        let Self { offset, value } = self;
        if of_time {
            format!("timestamp: {value} offset: {offset}")
        } else {
            format!("offset: {offset} position: {value}")
        }
    }
}

/// The entries, up to zeros that were written ahead.
fn entries(bytes: &[u8], base: i64, of_time: bool) -> Vec<Entry> {
    let width = if of_time { 12 } else { 8 };
    let chunks = bytes.chunks_exact(width).enumerate();
    let entries = chunks.map_while(|(number, chunk)| {
        let mut cursor = Cursor(chunk);
        let (offset, value) = if of_time {
            let time = cursor.i64()?;
            (cursor.i32()?, time)
        } else {
            (cursor.i32()?, i64::from(cursor.i32()?))
        };
        let offset = base.wrapping_add(offset.into());
        (number == 0 || offset != base).then_some(Entry { offset, value })
    });
    entries.collect()
}

/// What makes a broker build an index again.
fn insane(bytes: &[u8], base: i64, width: usize) -> Option<String> {
    if !bytes.len().is_multiple_of(width) {
        let length = bytes.len();
        return Some(format!("its {length} bytes are no multiple of {width}"));
    }
    let mut chunks = bytes.chunks_exact(width);
    let (first, last) = (chunks.next()?, chunks.next_back());
    let read = |chunk: &[u8]| {
        let mut cursor = Cursor(chunk);
        let time = if width == 12 { cursor.i64()? } else { 0 };
        Some((time, base.wrapping_add(cursor.i32()?.into())))
    };
    let (first, last) = (read(first)?, read(last.unwrap_or(first))?);
    if last.1 < base {
        return Some(format!(
            "its last offset {} is below the first one, {base}",
            last.1
        ));
    }
    (last.0 < first.0).then(|| format!("its last time {} is before its first, {}", last.0, first.0))
}

/// The batches of a log.
fn places(log: &Path) -> Result<Vec<Place>> {
    let mut places = Vec::new();
    let mut batches = Batches::open(log, u64::MAX)?;
    while let Some((position, batch)) = batches.next(log)? {
        places.push(Place {
            position,
            last: batch.last_offset(),
            newest: batch.max_timestamp,
        });
    }
    Ok(places)
}

fn wrong_places(path: &Path, entries: &[Entry], places: &[Place]) -> Vec<String> {
    let mut wrong = Vec::new();
    for entry in entries {
        let found = places
            .binary_search_by(|place| i64::try_from(place.position).unwrap_or(0).cmp(&entry.value));
        let found = found.ok().and_then(|at| places.get(at));
        let last = found.map_or(-1, |place| place.last);
        if last != entry.offset {
            wrong.push(format!(
                "  Index offset: {}, log offset: {last}",
                entry.offset
            ));
        }
    }
    headed("Mismatches in :", path, wrong)
}

fn wrong_times(path: &Path, entries: &[Entry], places: &[Place]) -> Vec<String> {
    let (mut times, mut order, mut lost) = (Vec::new(), Vec::new(), Vec::new());
    let mut before = -1;
    for entry in entries {
        let at = places.partition_point(|place| place.last < entry.offset);
        let found = places.get(at);
        match found.filter(|place| place.last == entry.offset) {
            None => lost.push(format!(
                "Indexed offset: {}, found log offset: {}",
                entry.offset,
                found.map_or(-1, |place| place.last)
            )),
            Some(place) => {
                if place.newest != entry.value {
                    times.push(format!(
                        "  Index timestamp: {}, log timestamp: {}",
                        entry.value, place.newest
                    ));
                }
                if before >= entry.value {
                    order.push(format!(
                        "  Index timestamp: {}, Previously indexed timestamp: {before}",
                        entry.value
                    ));
                }
            }
        }
        before = entry.value;
    }
    let mut lines = headed("Found timestamp mismatch in :", path, times);
    lines.extend(headed("Found out of order timestamp in :", path, order));
    if !lost.is_empty() {
        lines.push("The following indexed offsets are not found in the log.".to_owned());
        lines.extend(lost);
    }
    lines
}

/// Lines with a head that names the file, where there are any.
fn headed(head: &str, path: &Path, mut lines: Vec<String>) -> Vec<String> {
    if !lines.is_empty() {
        let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        lines.insert(0, format!("{head}{}", whole.display()));
    }
    lines
}
