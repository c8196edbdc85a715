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
use super::offsets;

/// The longest batch that is read.
const BATCH_BYTES_MAX: usize = 1 << 31;

/// What of a log is shown.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "Kafka's tool has so many switches"
)]
pub(super) struct What {
    /// A line for every record.
    pub(super) records: bool,
    /// Keys and values.
    pub(super) contents: bool,
    /// They are the commits of groups.
    pub(super) commits: bool,
    /// Leave out everything but keys and values.
    pub(super) bare: bool,
    /// Stop behind so many bytes.
    pub(super) bytes_max: u64,
}

/// Batches of a file, one after the other.
struct Batches {
    file: BufReader<File>,
    left: u64,
    position: u64,
    buffer: Vec<u8>,
}

impl Batches {
    fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| file_failure("open", path, &error))?;
        let found = file
            .metadata()
            .map_err(|error| file_failure("look at", path, &error))?;
        Ok(Self {
            file: BufReader::with_capacity(1 << 18, file),
            left: found.len(),
            position: 0,
            buffer: Vec::new(),
        })
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

/// Prints the batches of a file.
pub(super) fn dump(path: &Path, what: What, out: &mut Out) -> Result<()> {
    let name = path
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    if let Ok(base) = name.parse::<u64>() {
        out.say(format!("Log starting offset: {base}"))?;
    }
    let mut batches = Batches::open(path)?;
    while batches.position < what.bytes_max && batches.advance(path)? {
        let Some(batch) = Batch::read(&batches.buffer) else {
            break;
        };
        if out.is_json() {
            out.json(&as_json(path, &batch, batches.position, what))?;
        } else {
            print_batch(&batch, batches.position, what, out)?;
        }
        let size = u64::try_from(batch.size).unwrap_or(u64::MAX);
        batches.position += size;
        batches.left = batches.left.saturating_sub(size);
    }
    let invalid = if batches.position < what.bytes_max {
        batches.left
    } else {
        0
    };
    if invalid > 0 {
        let sentence = format!("Found {invalid} invalid bytes at the end of {name}.log");
        if out.is_json() {
            let file = path.display().to_string();
            return out.json(&json!({ "file": file, "invalidBytesAtTheEnd": invalid }));
        }
        return out.line(sentence);
    }
    Ok(())
}

fn print_batch(batch: &Batch<'_>, position: u64, what: What, out: &mut Out) -> Result<()> {
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
    if !what.records || (what.bare && batch.is_control()) {
        return Ok(());
    }
    let unpacked = match batch.unpacked() {
        Ok(unpacked) => unpacked,
        Err(reason) => return out.line(format!("| the records cannot be unpacked: {reason}")),
    };
    for record in batch.records(&unpacked) {
        match record {
            Some(record) => print_record(batch, &record, what, out)?,
            None => out.line("| the rest of the records is damaged")?,
        }
    }
    Ok(())
}

fn print_record(batch: &Batch<'_>, record: &Shown<'_>, what: What, out: &mut Out) -> Result<()> {
    let mut line = String::from("|");
    if !what.bare {
        let size =
            |bytes: Option<&[u8]>| bytes.map_or("-1".to_owned(), |bytes| bytes.len().to_string());
        let names: Vec<_> = record
            .headers
            .iter()
            .map(|(name, _)| String::from_utf8_lossy(name))
            .collect();
        line.push_str(&format!(
            " offset: {} {}: {} keySize: {} valueSize: {} sequence: {} headerKeys: [{}]",
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
        let (key, value) = match offsets::decoded(record.key, record.value) {
            Some((key, value)) if what.commits => (Some(key), value),
            _ => (record.key.map(text), record.value.map(text)),
        };
        for (name, part) in [("key", key), ("payload", value)] {
            if let Some(part) = part {
                line.push_str(&format!(" {name}: {part}"));
            }
        }
    }
    out.line(line)
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
    match number(record.key, 2) {
        Some(0) => format!(" endTxnMarker: ABORT coordinatorEpoch: {epoch}"),
        Some(1) => format!(" endTxnMarker: COMMIT coordinatorEpoch: {epoch}"),
        Some(2) => " LeaderChange".to_owned(),
        Some(3) => " SnapshotHeader".to_owned(),
        Some(4) => " SnapshotFooter".to_owned(),
        Some(kind) => format!(" controlType: {kind}"),
        None => " controlType: unknown".to_owned(),
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
        fields.insert("key".to_owned(), bytes::to_json(record.key));
        fields.insert("payload".to_owned(), bytes::to_json(record.value));
    }
    shown
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
