//! Lines into the topic, each exactly once, however often the example is started or killed.
//!
//! Knows nothing about who reads them. Every event carries its line number as a header, so the
//! newest event of the topic says how far the input got.

use std::error::Error;
use std::time::{Duration, Instant};

use ottla::{Header, LogRecord, Record, Topic};

use crate::flight::Flight;

/// The header with the carrier's code.
pub(crate) const CARRIER: &str = "carrier";
/// The header with the line number, from 1, the line of column names not counted.
pub(crate) const LINE: &str = "line";

/// The lines that are not in the topic yet.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    input: &'a str,
    already: u64,
}

/// What was appended.
#[derive(Debug)]
pub(crate) struct Ingested {
    pub(crate) already: u64,
    pub(crate) appended: u64,
    pub(crate) took: Duration,
}

impl<'a> Lines<'a> {
    fn all(&self) -> impl Iterator<Item = (u64, &'a str)> + use<'a> {
        let lines = self.input.lines().skip(1).filter(|line| !line.is_empty());
        (1..).zip(lines)
    }

    fn left(&self) -> impl Iterator<Item = (u64, &'a str)> + use<'a> {
        let already = self.already;
        self.all().filter(move |(number, _)| *number > already)
    }

    pub(crate) fn count(&self) -> u64 {
        self.left().fold(0, |count, _| count + 1)
    }
}

/// Finds out how far the input got in an earlier run.
///
/// One thread appends the lines in order, so whatever a kill leaves is the lines up to the newest.
/// A topic that was filled from another input is refused.
pub(crate) fn lines_to_append<'a>(
    topic: &Topic,
    input: &'a str,
) -> Result<Lines<'a>, Box<dyn Error>> {
    let mut newest: Option<(u64, LogRecord)> = None;
    for partition in 0..topic.partition_count() {
        let log = topic.partition(partition)?;
        let Some(last) = log.end_offset().checked_sub(1) else {
            continue;
        };
        let Some(record) = log.read(last)? else {
            continue;
        };
        let number = line_number(&record).ok_or("the topic holds events without a line number")?;
        if newest.as_ref().is_none_or(|(newest, _)| *newest < number) {
            newest = Some((number, record));
        }
    }
    let already = newest.as_ref().map_or(0, |(number, _)| *number);
    let lines = Lines { input, already };
    if let Some((number, record)) = newest {
        let line = lines.all().find(|(line, _)| *line == number);
        if line.is_none_or(|(_, line)| record.value() != Some(line.as_bytes())) {
            return Err("the topic was filled from another input: choose another --data".into());
        }
    }
    Ok(lines)
}

/// Appends the lines that are missing, one event each.
pub(crate) fn append(topic: &Topic, lines: &Lines<'_>) -> ottla::Result<Ingested> {
    let started = Instant::now();
    let mut appended = 0;
    for (number, line) in lines.left() {
        let Some(flight) = Flight::parse(line) else {
            continue;
        };
        let number = number.to_string();
        let headers = [
            Header::new(CARRIER, flight.carrier),
            Header::new(LINE, &number),
        ];
        let record = match flight.tail {
            Some(tail) => Record::keyed(tail, line),
            None => Record::new(line),
        };
        topic.append(
            record
                .with_timestamp(flight.scheduled)
                .with_headers(&headers),
        )?;
        appended += 1;
    }
    Ok(Ingested {
        already: lines.already,
        appended,
        took: started.elapsed(),
    })
}

/// The line that an event came from.
pub(crate) fn line_number(record: &LogRecord) -> Option<u64> {
    header(record, LINE)?.parse().ok()
}

/// The text of a header.
pub(crate) fn header<'a>(record: &'a LogRecord, name: &str) -> Option<&'a str> {
    let header = record.headers().find(|header| header.key() == name)?;
    std::str::from_utf8(header.value?).ok()
}
