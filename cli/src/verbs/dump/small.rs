//! Everything beside logs and their indexes: Kafka's snapshots in the words of `DumpLogSegments`,
//! our own files in words of our own.
//!
//! Knows nothing about batches. `docs/file_format.md` has the layouts.

use std::path::Path;

use serde_json::json;

use crate::failure::{Result, file_failure};
use crate::out::Out;

use super::cursor::Cursor;
use super::schema;

/// What one of these files is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    OffsetIndex,
    TimeIndex,
    Snapshot,
    TransactionIndex,
    Digest,
    Marks,
    Text,
    /// Batches of records.
    Batches,
    /// Nothing that is known.
    Unknown,
}

/// Prints a file.
pub(super) fn dump(path: &Path, kind: Kind, out: &mut Out) -> Result<()> {
    let bytes = std::fs::read(path).map_err(|error| file_failure("read", path, &error))?;
    let lines = match kind {
        Kind::Snapshot => snapshot(&bytes),
        Kind::TransactionIndex => transactions(&bytes),
        Kind::Digest => digest(&bytes),
        Kind::Marks => bytes.chunks(128).filter_map(mark).collect(),
        Kind::Text | Kind::Batches | Kind::OffsetIndex | Kind::TimeIndex | Kind::Unknown => {
            let text = String::from_utf8_lossy(&bytes);
            text.lines().map(str::to_owned).collect()
        }
    };
    if out.is_json() {
        return out.json(&json!({ "file": path.display().to_string(), "lines": lines }));
    }
    lines.iter().try_for_each(|line| out.line(line))
}

/// What a broker remembers of the producers of a partition.
fn snapshot(bytes: &[u8]) -> Vec<String> {
    let read = || -> Option<Vec<String>> {
        let mut cursor = Cursor(bytes);
        cursor.skip(6)?;
        let count = cursor.i32()?;
        let mut lines = Vec::new();
        for _ in 0..count {
            let (id, epoch, last_sequence) = (cursor.i64()?, cursor.i16()?, cursor.i32()?);
            let (last_offset, delta) = (cursor.i64()?, cursor.i32()?);
            let (timestamp, coordinator) = (cursor.i64()?, cursor.i32()?);
            let first = match cursor.i64()? {
                -1 => "OptionalLong.empty".to_owned(),
                offset => format!("OptionalLong[{offset}]"),
            };
            let mut line = format!(
                "producerId: {id} producerEpoch: {epoch} coordinatorEpoch: {coordinator} \
                 currentTxnFirstOffset: {first} lastTimestamp: {timestamp}"
            );
            if last_offset >= 0 {
                let first_sequence = last_sequence.wrapping_sub(delta) & i32::MAX;
                line.push_str(&format!(
                    " firstSequence: {first_sequence} lastSequence: {last_sequence} lastOffset: \
                     {last_offset} offsetDelta: {delta} timestamp: {timestamp}"
                ));
            }
            lines.push(line);
        }
        Some(lines)
    };
    read().unwrap_or_else(|| vec!["the snapshot is cut short".to_owned()])
}

fn transactions(bytes: &[u8]) -> Vec<String> {
    let entries = bytes.chunks_exact(34).filter_map(|entry| {
        let mut cursor = Cursor(entry);
        let version = cursor.i16()?;
        let (id, first, last, stable) =
            (cursor.i64()?, cursor.i64()?, cursor.i64()?, cursor.i64()?);
        Some(format!(
            "version: {version} producerId: {id} firstOffset: {first} lastOffset: {last} \
             lastStableOffset: {stable}"
        ))
    });
    entries.collect()
}

/// Our checksums of a sealed segment.
fn digest(bytes: &[u8]) -> Vec<String> {
    let read = || -> Option<Vec<String>> {
        let mut cursor = Cursor(bytes);
        let crc = cursor.u32()?;
        let letters = String::from_utf8_lossy(cursor.take(4)?).into_owned();
        let (base, next, length, newest) =
            (cursor.u64()?, cursor.u64()?, cursor.u64()?, cursor.i64()?);
        let (lowest, highest, gapless) = (cursor.i32()?, cursor.i32()?, cursor.u32()?);
        let (index, times, intervals) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
        cursor.skip(4)?;
        let owner = cursor.u32()?;
        Some(vec![
            format!("version: {letters} crc: {crc}"),
            format!(
                "baseOffset: {base} nextOffset: {next} size: {length} newestTimestamp: {newest}"
            ),
            format!(
                "lowestLeaderEpoch: {lowest} highestLeaderEpoch: {highest} withoutGaps: {}",
                gapless == 1
            ),
            format!(
                "indexCrc: {index} timeIndexCrc: {times} intervals: {intervals} logCrc: {owner}"
            ),
        ])
    };
    read().unwrap_or_else(|| vec!["the digest is cut short".to_owned()])
}

/// A slot of `ottla.marks`: up to where a log is safely on the disk.
fn mark(slot: &[u8]) -> Option<String> {
    let mut cursor = Cursor(slot);
    cursor.skip(4)?;
    let (partition, sequence) = (cursor.u32()?, cursor.u64()?);
    if sequence == 0 {
        return None;
    }
    let topic = schema::uuid(cursor.take(16)?);
    let (flushed, position, segment) = (cursor.u64()?, cursor.u64()?, cursor.u64()?);
    let (start, compacted) = (cursor.u64()?, cursor.u64()?);
    cursor.skip(4)?;
    let closed = cursor.u32()? == 1;
    Some(format!(
        "topicId: {topic} partition: {partition} sequence: {sequence} flushedOffset: {flushed} \
         segment: {segment} position: {position} logStartOffset: {start} compactedUpTo: \
         {compacted} closed: {closed}"
    ))
}
