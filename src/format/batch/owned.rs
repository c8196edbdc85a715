//! Records that own their bytes without a copy: they share those of their batch.
//!
//! Knows nothing about readers; the batch has been checked, so nothing here can fail.

use std::fmt;

use bytes::Bytes;

use crate::types::{EncodedHeaders, HeaderIter, Offset, Record, RecordTime, Timestamp, to_usize};

use super::super::Corruption;
use super::header::{BatchHeader, HEADER_LEN};
use super::read::{Clockwork, RecordBatch};
use super::record::{RawRecord, check_headers, pass_record, read_record};

/// A record that was read from a log.
///
/// It owns one slice of the chunk that was read, or of its unpacked batch, and copies nothing. A
/// record that is kept therefore keeps up to 256 KiB alive (a whole unpacked batch, when that is
/// larger): [`detach`](Self::detach) copies it out.
#[derive(Clone)]
pub struct LogRecord {
    /// Its number in the partition.
    pub offset: Offset,
    /// The record's own time, or that of its append, as the topic is set.
    pub timestamp: Timestamp,
    /// From the key to the last header.
    tail: Bytes,
    /// Where the key ends in `tail`; it begins at 0.
    key_end: Option<u32>,
    value: Option<Span>,
    /// Where the first header begins in `tail`.
    headers_at: u32,
    header_count: u32,
}

#[derive(Clone, Copy)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn of(self, bytes: &[u8]) -> Option<&[u8]> {
        bytes.get(to_usize(u64::from(self.start))..to_usize(u64::from(self.end)))
    }
}

impl LogRecord {
    /// The key; `None` is Kafka's null.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        self.key_span()?.of(&self.tail)
    }

    /// The value; `None` is Kafka's null, with a key a tombstone.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        self.value?.of(&self.tail)
    }

    /// The headers in order, decoded as they are asked for.
    #[must_use]
    pub fn headers(&self) -> HeaderIter<'_> {
        self.encoded_headers().iter()
    }

    /// The bytes of key, value and headers as they are stored.
    pub(crate) fn size_bytes(&self) -> u64 {
        crate::types::to_u64(self.tail.len())
    }

    /// The key as a slice that outlives this record. Copies nothing, and pins what this record
    /// pins.
    #[must_use]
    pub fn key_bytes(&self) -> Option<Bytes> {
        self.key().map(|key| self.tail.slice_ref(key))
    }

    /// The value as a slice that outlives this record. Copies nothing, and pins what this record
    /// pins.
    #[must_use]
    pub fn value_bytes(&self) -> Option<Bytes> {
        self.value().map(|value| self.tail.slice_ref(value))
    }

    /// The same record in memory of its own: one allocation of its size.
    #[must_use]
    pub fn detach(mut self) -> Self {
        self.tail = Bytes::copy_from_slice(&self.tail);
        self
    }

    fn key_span(&self) -> Option<Span> {
        self.key_end.map(|end| Span { start: 0, end })
    }

    fn encoded_headers(&self) -> EncodedHeaders<'_> {
        EncodedHeaders {
            count: to_usize(u64::from(self.header_count)),
            bytes: self
                .tail
                .get(to_usize(u64::from(self.headers_at))..)
                .unwrap_or_default(),
        }
    }
}

#[expect(
    clippy::missing_fields_in_debug,
    reason = "the fields are shown as a caller sees them, not as they are kept"
)]
impl fmt::Debug for LogRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let readable = |field: Option<&[u8]>| field.map(Bytes::copy_from_slice);
        f.debug_struct("LogRecord")
            .field("offset", &self.offset)
            .field("timestamp", &self.timestamp)
            .field("key", &readable(self.key()))
            .field("value", &readable(self.value()))
            .field("headers", &self.headers().collect::<Vec<_>>())
            .finish()
    }
}

impl PartialEq for LogRecord {
    fn eq(&self, other: &Self) -> bool {
        self.offset == other.offset
            && self.timestamp == other.timestamp
            && self.key() == other.key()
            && self.value() == other.value()
            && self.headers().eq(other.headers())
    }
}

impl Eq for LogRecord {}

impl<'a> From<&'a LogRecord> for Record<'a> {
    /// Timestamp and headers go along, the offset does not.
    fn from(record: &'a LogRecord) -> Self {
        Self::from_parts(record.key(), record.value())
            .with_time(RecordTime::Read(record.timestamp))
            .with_encoded_headers(record.encoded_headers())
    }
}

/// The record at an offset of a batch that is not packed, if there is one. Of the records before it
/// only the front is read and checked; those behind it are not read.
pub(crate) fn record_at(
    bytes: &Bytes,
    header: &BatchHeader,
    offset: Offset,
) -> Result<Option<LogRecord>, Corruption> {
    let clock = Clockwork::new(header);
    let mut rest = bytes.get(HEADER_LEN..).unwrap_or_default();
    let Ok(wanted) = u32::try_from(offset.wrapping_sub(header.base_offset)) else {
        return Ok(None);
    };
    let mut next = 0;
    for index in 0..header.record_count {
        let wrong = |what| Corruption::Record { index, what };
        let (delta, after) = pass_record(rest).map_err(wrong)?;
        let delta = u32::try_from(delta).ok().filter(|delta| *delta >= next);
        let delta = delta.ok_or_else(|| wrong("its offset is not after the one before it"))?;
        if delta == wanted {
            let (record, _) = read_record(rest).map_err(wrong)?;
            check_headers(record.headers).map_err(wrong)?;
            let end = bytes.len().saturating_sub(after.len());
            return Ok(Some(own(&record, bytes, end, clock)));
        }
        next = delta.saturating_add(1);
        rest = after;
    }
    Ok(None)
}

/// Makes an owned record of one that ends at `end` in `bytes`.
#[inline]
fn own(record: &RawRecord<'_>, bytes: &Bytes, end: usize, clock: Clockwork) -> LogRecord {
    // A record is at most i32::MAX bytes, so every place in it fits in 32 bits.
    let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    LogRecord {
        offset: clock.offset(record.offset_delta),
        timestamp: clock.timestamp(record),
        key_end: record.key.map(|key| place(key.len())),
        value: record.value.map(|value| Span {
            start: place(record.value_at),
            end: place(record.value_at.saturating_add(value.len())),
        }),
        headers_at: place(record.tail.len().saturating_sub(record.headers.bytes.len())),
        header_count: place(record.headers.count),
        tail: bytes.slice(end.saturating_sub(record.tail.len())..end),
    }
}

#[derive(Debug)]
pub(crate) struct OwnedRecords {
    batch: RecordBatch,
    /// Where the next record begins in the batch's bytes.
    at: usize,
    left: u32,
    clock: Clockwork,
}

impl OwnedRecords {
    pub(crate) fn new(batch: RecordBatch) -> Self {
        let (_, at) = batch.source();
        Self {
            at,
            left: batch.header().record_count,
            clock: Clockwork::new(batch.header()),
            batch,
        }
    }

    pub(crate) const fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    pub(crate) fn into_batch(self) -> RecordBatch {
        self.batch
    }

    pub(crate) fn skip_to(&mut self, offset: Offset) {
        let (bytes, _) = self.batch.source();
        while self.left > 0 {
            let rest = bytes.get(self.at..).unwrap_or_default();
            match pass_record(rest) {
                Ok((delta, after)) if self.clock.offset(delta) < offset => {
                    self.at = bytes.len().saturating_sub(after.len());
                    self.left = self.left.saturating_sub(1);
                }
                _ => return,
            }
        }
    }
}

impl Iterator for OwnedRecords {
    type Item = LogRecord;

    #[inline]
    fn next(&mut self) -> Option<LogRecord> {
        self.left = self.left.checked_sub(1)?;
        let (bytes, _) = self.batch.source();
        let (record, after) = read_record(bytes.get(self.at..)?).ok()?;
        self.at = bytes.len().saturating_sub(after.len());
        Some(own(&record, bytes, self.at, self.clock))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = to_usize(u64::from(self.left));
        (left, Some(left))
    }
}

impl ExactSizeIterator for OwnedRecords {}
