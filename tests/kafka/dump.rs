//! What Kafka's DumpLogSegments says about files.
//!
//! Knows nothing about who wrote them. The tool ends well whatever it finds, so its words are
//! read: anything that is not a sound batch, a sound record or a known heading is a complaint.

use std::path::{Path, PathBuf};

use crate::driver::{Driver, unhex};

/// Everything the tool showed of one run.
#[derive(Debug, Default)]
pub(crate) struct Dump {
    pub(crate) batches: u64,
    pub(crate) index_entries: u64,
    pub(crate) records: Vec<Dumped>,
    pub(crate) complaints: Vec<String>,
}

/// A record as the tool shows it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Dumped {
    /// The file it is in.
    pub(crate) file: PathBuf,
    pub(crate) offset: u64,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    /// The names of the headers, joined by commas.
    pub(crate) header_names: String,
}

/// Runs the tool over files, deeply.
pub(crate) fn dump(driver: &mut Driver, files: &[PathBuf]) -> Dump {
    let names: Vec<_> = files.iter().map(|file| file.to_str().unwrap()).collect();
    let lines = driver.ask(&[
        "tool",
        "kafka.tools.DumpLogSegments,org.apache.kafka.tools.DumpLogSegments",
        "--deep-iteration",
        "--print-data-log",
        "--key-decoder-class",
        "Driver$HexDecoder",
        "--value-decoder-class",
        "Driver$HexDecoder",
        "--files",
        &names.join(","),
    ]);
    let mut dump = Dump::default();
    let mut file = PathBuf::new();
    for line in lines {
        if let Some(name) = line.strip_prefix("Dumping ") {
            file = PathBuf::from(name);
        } else if let Some(record) = line.strip_prefix("| offset: ") {
            match Dumped::parse(&file, record) {
                Some(record) => dump.records.push(record),
                None => dump.complaints.push(line),
            }
        } else if line.starts_with("baseOffset: ") && line.ends_with("isvalid: true") {
            dump.batches += 1;
        } else if line.starts_with("offset: ") || line.starts_with("timestamp: ") {
            dump.index_entries += 1;
        } else if !is_heading(&line) {
            dump.complaints.push(line);
        }
    }
    forgive_first_offsets(&mut dump.complaints);
    dump
}

/// 4.3 takes -1 for the offset before a segment, whatever its base, and finds a gap after it.
fn forgive_first_offsets(complaints: &mut Vec<String>) {
    complaints.retain(|line| !line.trim_start().starts_with("-1 is followed by "));
    let is_gap = |line: &String| line.contains(" is followed by ");
    if !complaints.iter().any(is_gap) {
        complaints.retain(|line| !line.starts_with("Non-consecutive offsets in "));
    }
}

fn is_heading(line: &str) -> bool {
    let base = line.strip_prefix("Log starting offset: ");
    base.is_some_and(|base| base.bytes().all(|byte| byte.is_ascii_digit()))
        || line.ends_with(".index is empty.")
        || line.ends_with(".timeindex is empty.")
        || line.is_empty()
}

impl Dumped {
    fn parse(file: &Path, line: &str) -> Option<Self> {
        let (offset, rest) = line.split_once(' ')?;
        let (_type, rest) = rest.split_once(": ")?;
        let (timestamp, rest) = rest.split_once(' ')?;
        let (_sizes, rest) = rest.split_once(" headerKeys: [")?;
        // The names come before the key and may hold anything but what follows them.
        let (header_names, rest) = rest.rsplit_once(']')?;
        let (key, payload) = match rest.split_once(" payload: ") {
            Some((key, payload)) => (key, Some(payload)),
            None => (rest, None),
        };
        Some(Self {
            file: file.to_path_buf(),
            offset: offset.parse().ok()?,
            timestamp: timestamp.parse().ok()?,
            key: key.strip_prefix(" key: ").and_then(unhex),
            value: payload.and_then(unhex),
            header_names: header_names.to_owned(),
        })
    }
}
