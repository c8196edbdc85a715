//! Batches back to records.
//!
//! Knows nothing about files. Every record is checked once, when its batch is decoded, so that
//! iterating cannot fail:
//!
//! 1. Each record is valid by itself (see `record.rs`).
//! 2. Offset deltas rise strictly within `0..=last offset delta`; compaction leaves legal gaps.
//! 3. After `record count` records no byte is left.

use bytes::Bytes;

use crate::types::{
    Compression, EncodedHeaders, HeaderIter, Offset, Record, RecordTime, Timestamp, TimestampType,
    to_usize,
};

use super::super::{Corruption, DecodeError, compression};
use super::header::{BatchHeader, HEADER_LEN};
use super::record::{RawRecord, check_headers, read_record};

/// A checked batch of records as one append (or compaction) left it.
///
/// It owns the bytes it came in, a slice of the chunk that was read (up to 256 KiB), and for packed
/// batches the unpacked records. [`records`](Self::records) borrows from it: the fastest way to
/// read.
#[derive(Clone, Debug)]
pub struct RecordBatch {
    header: BatchHeader,
    bytes: Bytes,
    unpacked: Option<Bytes>,
}

impl RecordBatch {
    /// Decodes a batch whose header was parsed from the front of `bytes` and whose CRC was checked.
    /// Checks its records, and unpacks at most `budget` bytes of them.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "as a call, the batch goes through memory"
    )]
    pub(crate) fn decode(
        bytes: Bytes,
        header: BatchHeader,
        budget: usize,
    ) -> Result<Self, DecodeError> {
        let Some(packed) = bytes.get(HEADER_LEN..header.size) else {
            return Err(Corruption::truncated(header.size, bytes.len()).into());
        };
        // Kafka writes no codec into a batch that compaction emptied; nothing packs to nothing.
        let codec = header.compression();
        let unpacked = if codec == Compression::None || packed.is_empty() {
            check_records(packed, &header)?;
            None
        } else {
            Some(unpack(packed, &header, budget)?)
        };
        Ok(Self {
            header,
            bytes,
            unpacked,
        })
    }

    /// The offset of the first record when the batch was written; compaction may have removed it.
    #[must_use]
    pub fn base_offset(&self) -> Offset {
        self.header.base_offset
    }

    /// The first offset after the batch, where reading goes on.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.header.next_offset()
    }

    /// The number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        to_usize(u64::from(self.header.record_count))
    }

    /// Whether compaction has removed every record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.header.record_count == 0
    }

    /// The largest timestamp.
    #[must_use]
    pub fn max_timestamp(&self) -> Timestamp {
        self.header.max_timestamp
    }

    /// How the records were packed.
    #[must_use]
    pub fn compression(&self) -> Compression {
        self.header.compression()
    }

    /// The records, in order.
    #[must_use]
    pub fn records(&self) -> Records<'_> {
        Records {
            rest: self.payload(),
            left: self.len(),
            clock: Clockwork::new(&self.header),
        }
    }

    pub(crate) const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The records, unpacked.
    pub(crate) fn payload(&self) -> &[u8] {
        let (bytes, start) = self.source();
        bytes.get(start..).unwrap_or_default()
    }

    /// The bytes that hold the records, and where the first record begins in them.
    pub(super) fn source(&self) -> (&Bytes, usize) {
        self.unpacked
            .as_ref()
            .map_or((&self.bytes, HEADER_LEN), |unpacked| (unpacked, 0))
    }
}

fn unpack(packed: &[u8], header: &BatchHeader, budget: usize) -> Result<Bytes, DecodeError> {
    let unpacked = compression::decompress(header.compression(), packed, budget)?;
    check_records(&unpacked, header)?;
    Ok(Bytes::from(unpacked))
}

fn check_records(payload: &[u8], header: &BatchHeader) -> Result<(), Corruption> {
    let mut rest = payload;
    let mut next_delta = 0_u32;
    for index in 0..header.record_count {
        let checked = read_record(rest).and_then(|(record, after)| {
            check_headers(record.headers)?;
            Ok((record.offset_delta, after))
        });
        let (delta, after) = checked.map_err(|what| Corruption::Record { index, what })?;
        match u32::try_from(delta) {
            Ok(delta) if delta >= next_delta && delta <= header.last_offset_delta => {
                next_delta = delta.saturating_add(1);
            }
            _ => {
                return Err(Corruption::Record {
                    index,
                    what: "its offset is not after the one before it and within its batch",
                });
            }
        }
        rest = after;
    }
    if rest.is_empty() {
        Ok(())
    } else {
        Err(Corruption::malformed(
            "bytes follow the last record of the batch",
        ))
    }
}

/// Turns the deltas of a record into its offset and timestamp.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clockwork {
    base_offset: Offset,
    base_timestamp: Timestamp,
    /// The timestamp of all records under `LogAppendTime`.
    fixed: Option<Timestamp>,
}

impl Clockwork {
    pub(super) fn new(header: &BatchHeader) -> Self {
        let fixed = match header.timestamp_type() {
            TimestampType::CreateTime => None,
            TimestampType::LogAppendTime => Some(header.max_timestamp),
        };
        Self {
            base_offset: header.base_offset,
            base_timestamp: header.base_timestamp,
            fixed,
        }
    }

    #[inline]
    pub(super) fn offset(&self, delta: i32) -> Offset {
        self.base_offset
            .wrapping_add(u64::from(delta.cast_unsigned()))
    }

    /// Adds the delta as Kafka does, without a check for overflow.
    #[inline]
    pub(super) fn timestamp(&self, record: &RawRecord<'_>) -> Timestamp {
        self.fixed.unwrap_or_else(|| {
            Timestamp::from_millis(
                self.base_timestamp
                    .as_millis()
                    .wrapping_add(record.timestamp_delta),
            )
        })
    }
}

/// A record borrowed from a [`RecordBatch`].
#[derive(Clone, Copy, Debug)]
pub struct RecordView<'a> {
    /// Its number in the partition.
    pub offset: Offset,
    /// The record's own time, or that of its append, as the batch says.
    pub timestamp: Timestamp,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    headers: EncodedHeaders<'a>,
}

impl<'a> RecordView<'a> {
    /// The key; `None` is Kafka's null.
    #[must_use]
    pub const fn key(&self) -> Option<&'a [u8]> {
        self.key
    }

    /// The value; `None` is Kafka's null, with a key a tombstone.
    #[must_use]
    pub const fn value(&self) -> Option<&'a [u8]> {
        self.value
    }

    /// The headers in order.
    #[must_use]
    pub const fn headers(&self) -> HeaderIter<'a> {
        self.headers.iter()
    }
}

impl<'a> From<RecordView<'a>> for Record<'a> {
    /// The same record to append elsewhere: timestamp and headers go along, the offset does not.
    fn from(view: RecordView<'a>) -> Self {
        Self::from_parts(view.key, view.value)
            .with_time(RecordTime::Read(view.timestamp))
            .with_encoded_headers(view.headers)
    }
}

/// The records of a [`RecordBatch`], in order.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
    left: usize,
    clock: Clockwork,
}

impl<'a> Iterator for Records<'a> {
    type Item = RecordView<'a>;

    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "as a call, every field of every record goes through memory"
    )]
    fn next(&mut self) -> Option<RecordView<'a>> {
        self.left = self.left.checked_sub(1)?;
        let (record, rest) = read_record(self.rest).ok()?;
        self.rest = rest;
        Some(RecordView {
            offset: self.clock.offset(record.offset_delta),
            timestamp: self.clock.timestamp(&record),
            key: record.key,
            value: record.value,
            headers: record.headers,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Records<'_> {}
impl std::iter::FusedIterator for Records<'_> {}
