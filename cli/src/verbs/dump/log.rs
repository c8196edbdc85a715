//! A `.log` in the words of Kafka's `DumpLogSegments`, field by field.
//!
//! Knows nothing about other files. Beyond Kafka's tool it goes on where a batch cannot be
//! unpacked, and says so.

use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::Path;

use serde_json::{Value, json};

use crate::bytes;
use crate::failure::{Failure, Result, file_failure};
use crate::out::Out;

use super::batch::{Batch, HEADER_BYTES, Shown};
use super::schema::{self, Decoder};

/// The longest batch that is read.
const BATCH_BYTES_MAX: usize = 1 << 31;

/// What of a log is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct What {
    /// A line for every record.
    pub(super) records: bool,
    /// Keys and values.
    pub(super) contents: bool,
    /// What they are, where they are not text.
    pub(super) decoder: Option<Decoder>,
    /// Leave out everything but keys and values.
    pub(super) bare: bool,
    /// Batches that end behind so many bytes are left out.
    pub(super) bytes_max: u64,
}

/// Batches of a file, one after the other.
pub(super) struct Batches {
    file: BufReader<File>,
    left: u64,
    position: u64,
    buffer: Vec<u8>,
}

impl Batches {
    /// Opens a log; batches that end behind `bytes_max` are left out.
    pub(super) fn open(path: &Path, bytes_max: u64) -> Result<Self> {
        let file = File::open(path).map_err(|error| file_failure("open", path, &error))?;
        let found = file
            .metadata()
            .map_err(|error| file_failure("look at", path, &error))?;
        Ok(Self {
            file: BufReader::with_capacity(1 << 18, file),
            left: found.len().min(bytes_max),
            position: 0,
            buffer: Vec::new(),
        })
    }

    /// The next batch and where it begins; `None` at the end, and before bytes that are no batch.
    pub(super) fn next(&mut self, path: &Path) -> Result<Option<(u64, Batch<'_>)>> {
        if !self.advance(path)? {
            return Ok(None);
        }
        let Some(batch) = Batch::read(&self.buffer) else {
            return Ok(None);
        };
        let (at, size) = (self.position, u64::try_from(batch.size).unwrap_or(u64::MAX));
        self.position += size;
        self.left = self.left.saturating_sub(size);
        Ok(Some((at, batch)))
    }

    /// Reads the bytes of the next batch; false at the end.
    fn advance(&mut self, path: &Path) -> Result<bool> {
        self.buffer.clear();
        if self.left < u64::try_from(HEADER_BYTES).unwrap_or(u64::MAX) {
            return Ok(false);
        }
        self.fill(path, HEADER_BYTES)?;
        let length = self
            .buffer
            .get(8..12)
            .and_then(|bytes| bytes.try_into().ok());
        let size = length.map_or(0, |bytes| i64::from(i32::from_be_bytes(bytes)) + 12);
        let size = usize::try_from(size).unwrap_or(0);
        let fits = u64::try_from(size).is_ok_and(|size| size <= self.left);
        if !(HEADER_BYTES..=BATCH_BYTES_MAX).contains(&size) || !fits {
            return Ok(false);
        }
        self.fill(path, size)?;
        Ok(true)
    }

    fn fill(&mut self, path: &Path, size: usize) -> Result<()> {
        let before = self.buffer.len();
        self.buffer.resize(size, 0);
        let room = self.buffer.get_mut(before..).unwrap_or_default();
        self.file
            .read_exact(room)
            .map_err(|error| file_failure("read", path, &error))
    }
}

/// Prints the batches of a file. Returns the offsets that do not follow the one before them, where
/// records are looked at: Kafka's tool tells them at its end.
pub(super) fn dump(path: &Path, what: What, out: &mut Out) -> Result<Vec<(i64, i64)>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if let Some(head) = head(&name) {
        out.say(head)?;
    }
    let mut gaps = Gaps::default();
    let mut batches = Batches::open(path, what.bytes_max)?;
    while let Some((position, batch)) = batches.next(path)? {
        if out.is_json() {
            out.json(&as_json(path, &batch, position, what))?;
        } else {
            print_batch(&batch, position, what, &mut gaps, out)?;
        }
    }
    if batches.left > 0 && what.bytes_max == u64::MAX {
        let invalid = batches.left;
        if out.is_json() {
            let file = path.display().to_string();
            out.json(&json!({ "file": file, "invalidBytesAtTheEnd": invalid }))?;
        } else {
            out.line(format!(
                "Found {invalid} invalid bytes at the end of {name}"
            ))?;
        }
    }
    Ok(gaps.found)
}

/// What Kafka's tool says about a file before its batches.
fn head(name: &str) -> Option<String> {
    let (stem, suffix) = name.rsplit_once('.')?;
    match (stem, suffix) {
        (_, "log") => Some(format!(
            "Log starting offset: {}",
            stem.parse::<u64>().ok()?
        )),
        ("bootstrap", "checkpoint") => Some("KRaft bootstrap snapshot".to_owned()),
        (_, "checkpoint") => {
            let (offset, epoch) = stem.split_once('-')?;
            Some(format!(
                "Snapshot end offset: {}, epoch: {}",
                offset.parse::<u64>().ok()?,
                epoch.parse::<u32>().ok()?
            ))
        }
        _ => None,
    }
}

/// Offsets that do not follow each other.
#[derive(Debug)]
struct Gaps {
    last: i64,
    found: Vec<(i64, i64)>,
}

impl Default for Gaps {
    fn default() -> Self {
        Self {
            last: -1,
            found: Vec::new(),
        }
    }
}

impl Gaps {
    fn see(&mut self, offset: i64) {
        if offset != self.last.wrapping_add(1) {
            self.found.push((self.last, offset));
        }
        self.last = offset;
    }
}

fn print_batch(
    batch: &Batch<'_>,
    position: u64,
    what: What,
    gaps: &mut Gaps,
    out: &mut Out,
) -> Result<()> {
    out.line(format!(
        "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {} \
         producerId: {} producerEpoch: {} partitionLeaderEpoch: {} isTransactional: {} \
         isControl: {} deleteHorizonMs: {} position: {position} {}: {} size: {} magic: {} \
         compresscodec: {} crc: {} isvalid: {}",
        batch.base_offset,
        batch.last_offset(),
        batch.count,
        batch.base_sequence,
        batch.last_sequence(),
        batch.producer_id,
        batch.producer_epoch,
        batch.leader_epoch,
        batch.is_transactional(),
        batch.is_control(),
        batch
            .delete_horizon()
            .map_or("OptionalLong.empty".to_owned(), |at| format!(
                "OptionalLong[{at}]"
            )),
        batch.time_kind(),
        batch.max_timestamp,
        batch.size,
        batch.magic,
        batch.codec(),
        batch.crc,
        batch.valid,
    ))?;
    if !what.records {
        return Ok(());
    }
    let unpacked = match batch.unpacked() {
        Ok(unpacked) => unpacked,
        Err(reason) => return out.line(format!("| the records cannot be unpacked: {reason}")),
    };
    for record in batch.records(&unpacked) {
        match record {
            Some(record) => {
                gaps.see(record.offset);
                print_record(batch, &record, what, out)?;
            }
            None => out.line("| the rest of the records is damaged")?,
        }
    }
    Ok(())
}

fn print_record(batch: &Batch<'_>, record: &Shown<'_>, what: What, out: &mut Out) -> Result<()> {
    let mut line = String::new();
    if !what.bare {
        let size =
            |bytes: Option<&[u8]>| bytes.map_or("-1".to_owned(), |bytes| bytes.len().to_string());
        let names: Vec<_> = record
            .headers
            .iter()
            .map(|(name, _)| String::from_utf8_lossy(name))
            .collect();
        line.push_str(&format!(
            "| offset: {} {}: {} keySize: {} valueSize: {} sequence: {} headerKeys: [{}]",
            record.offset,
            batch.time_kind(),
            record.timestamp,
            size(record.key),
            size(record.value),
            record.sequence,
            names.join(",")
        ));
        if batch.is_control() {
            line.push_str(&control(record));
        }
    }
    if what.contents && !batch.is_control() {
        let (key, value) = contents(record, what);
        for (name, part) in [("key", key), ("payload", value)] {
            if let Some(part) = part {
                line.push_str(if line.is_empty() { "| " } else { " " });
                line.push_str(&format!("{name}: {part}"));
            }
        }
    }
    // Without its metadata a control record is an empty line, in Kafka's tool too.
    out.line(line)
}

/// Key and value, decoded.
fn contents(record: &Shown<'_>, what: What) -> (Option<String>, Option<String>) {
    match what.decoder {
        Some(decoder) => decoder.decoded(record.offset, record.key, record.value),
        None => (record.key.map(text), record.value.map(text)),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a control record says: the end of a transaction, mostly.
fn control(record: &Shown<'_>) -> String {
    let number = |bytes: Option<&[u8]>, at: usize| {
        let bytes = bytes?.get(at..at + 2)?;
        Some(i16::from_be_bytes(bytes.try_into().ok()?))
    };
    let epoch = record
        .value
        .and_then(|value| value.get(2..6))
        .and_then(|bytes| Some(i32::from_be_bytes(bytes.try_into().ok()?)))
        .unwrap_or(-1);
    let Some(kind) = number(record.key, 2) else {
        return " controlType: unknown".to_owned();
    };
    let shown = || schema::control(kind.into(), record.value?);
    match (kind, shown()) {
        (0, _) => format!(" endTxnMarker: ABORT coordinatorEpoch: {epoch}"),
        (1, _) => format!(" endTxnMarker: COMMIT coordinatorEpoch: {epoch}"),
        (2, Some(shown)) => format!(" LeaderChange: {shown}"),
        (3, Some(shown)) => format!(" SnapshotHeader {shown}"),
        (4, Some(shown)) => format!(" SnapshotFooter {shown}"),
        (5, Some(shown)) => format!(" KRaftVersion {shown}"),
        (6, Some(shown)) => format!(" KRaftVoters {shown}"),
        _ => format!(" controlType: UNKNOWN({kind})"),
    }
}

fn as_json(path: &Path, batch: &Batch<'_>, position: u64, what: What) -> Value {
    let mut shown = json!({
        "file": path.display().to_string(),
        "baseOffset": batch.base_offset,
        "lastOffset": batch.last_offset(),
        "count": batch.count,
        "baseSequence": batch.base_sequence,
        "lastSequence": batch.last_sequence(),
        "producerId": batch.producer_id,
        "producerEpoch": batch.producer_epoch,
        "partitionLeaderEpoch": batch.leader_epoch,
        "isTransactional": batch.is_transactional(),
        "isControl": batch.is_control(),
        "deleteHorizonMs": batch.delete_horizon(),
        "position": position,
        "timestampType": batch.time_kind(),
        "maxTimestamp": batch.max_timestamp,
        "size": batch.size,
        "magic": batch.magic,
        "compresscodec": batch.codec(),
        "crc": batch.crc,
        "isvalid": batch.valid,
    });
    if !what.records {
        return shown;
    }
    let records = match batch.unpacked() {
        Err(reason) => json!({ "problem": reason }),
        Ok(unpacked) => {
            let records = batch.records(&unpacked).into_iter();
            Value::Array(
                records
                    .map(|record| record_json(record.as_ref(), what))
                    .collect(),
            )
        }
    };
    if let Some(fields) = shown.as_object_mut() {
        fields.insert("records".to_owned(), records);
    }
    shown
}

fn record_json(record: Option<&Shown<'_>>, what: What) -> Value {
    let Some(record) = record else {
        return json!({ "problem": "the rest of the records is damaged" });
    };
    let names = record
        .headers
        .iter()
        .map(|(name, _)| bytes::to_json(Some(name)));
    let mut shown = json!({
        "offset": record.offset,
        "timestamp": record.timestamp,
        "keySize": record.key.map(<[u8]>::len),
        "valueSize": record.value.map(<[u8]>::len),
        "sequence": record.sequence,
        "headerKeys": names.collect::<Vec<_>>(),
    });
    if let Some(fields) = shown.as_object_mut().filter(|_| what.contents) {
        let (key, payload) = if what.decoder.is_some() {
            let (key, value) = contents(record, what);
            (as_value(key), as_value(value))
        } else {
            (bytes::to_json(record.key), bytes::to_json(record.value))
        };
        fields.insert("key".to_owned(), key);
        fields.insert("payload".to_owned(), payload);
    }
    shown
}

/// What was decoded, as JSON again.
fn as_value(text: Option<String>) -> Value {
    text.map_or(Value::Null, |text| {
        serde_json::from_str(&text).unwrap_or(Value::String(text))
    })
}

/// How long a log may be shown at most.
pub(super) fn bytes_max(text: Option<&str>) -> Result<u64> {
    text.map_or(Ok(u64::MAX), |text| {
        text.parse().map_err(|_| {
            Failure::usage(format!(
                "--max-bytes cannot be {text}: expected a number of bytes"
            ))
        })
    })
}
