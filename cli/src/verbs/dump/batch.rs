//! A record batch (format 2) taken apart: every field of its header, and its records.
//!
//! Knows nothing about files. It is the look of somebody who doubts: the library's own decoder
//! refuses what is damaged, while this one shows what is there.

use super::cursor::Cursor;
use super::unpack::unpacked;

/// Bytes of the header.
pub(super) const HEADER_BYTES: usize = 61;
/// Bytes before those that the length counts.
const BEFORE_LENGTH: usize = 12;
/// Where the bytes begin that the checksum covers.
const COVERED_FROM: usize = 21;

/// The header of a batch, with the bytes behind it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch<'a> {
    pub(super) base_offset: i64,
    /// Of the whole batch.
    pub(super) size: usize,
    pub(super) leader_epoch: i32,
    pub(super) magic: i8,
    pub(super) crc: u32,
    pub(super) attributes: i16,
    last_offset_delta: i32,
    pub(super) base_timestamp: i64,
    pub(super) max_timestamp: i64,
    pub(super) producer_id: i64,
    pub(super) producer_epoch: i16,
    pub(super) base_sequence: i32,
    pub(super) count: i32,
    pub(super) valid: bool,
    payload: &'a [u8],
}

/// A record.
#[derive(Clone, Debug)]
pub(super) struct Shown<'a> {
    pub(super) offset: i64,
    pub(super) timestamp: i64,
    pub(super) sequence: i32,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: Vec<(&'a [u8], Option<&'a [u8]>)>,
}

impl<'a> Batch<'a> {
    /// The batch at the start of some bytes; `None` when there is no whole one.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor(bytes);
        let base_offset = cursor.i64()?;
        let length = usize::try_from(cursor.i32()?).ok()?;
        let size = length.checked_add(BEFORE_LENGTH)?;
        let whole = bytes
            .get(..size)
            .filter(|whole| whole.len() >= HEADER_BYTES)?;
        let leader_epoch = cursor.i32()?;
        let magic = cursor.i8().filter(|magic| *magic == 2)?;
        let crc = cursor.u32()?;
        Some(Self {
            base_offset,
            size,
            leader_epoch,
            magic,
            crc,
            attributes: cursor.i16()?,
            last_offset_delta: cursor.i32()?,
            base_timestamp: cursor.i64()?,
            max_timestamp: cursor.i64()?,
            producer_id: cursor.i64()?,
            producer_epoch: cursor.i16()?,
            base_sequence: cursor.i32()?,
            count: cursor.i32()?,
            valid: crc32c::crc32c(whole.get(COVERED_FROM..)?) == crc,
            payload: whole.get(HEADER_BYTES..)?,
        })
    }

    pub(super) fn last_offset(&self) -> i64 {
        self.base_offset
            .wrapping_add(i64::from(self.last_offset_delta))
    }

    pub(super) fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return -1;
        }
        self.sequence(self.last_offset_delta)
    }

    /// Sequences go on at 0 behind the largest number.
    fn sequence(&self, delta: i32) -> i32 {
        if self.base_sequence < 0 {
            return -1;
        }
        self.base_sequence.wrapping_add(delta) & i32::MAX
    }

    pub(super) fn is_append_time(&self) -> bool {
        self.attributes & 8 != 0
    }

    pub(super) fn is_transactional(&self) -> bool {
        self.attributes & 16 != 0
    }

    pub(super) fn is_control(&self) -> bool {
        self.attributes & 32 != 0
    }

    pub(super) fn delete_horizon(&self) -> Option<i64> {
        (self.attributes & 64 != 0).then_some(self.base_timestamp)
    }

    pub(super) fn codec(&self) -> &'static str {
        match self.attributes & 7 {
            0 => "none",
            1 => "gzip",
            2 => "snappy",
            3 => "lz4",
            4 => "zstd",
            _ => "unknown",
        }
    }

    pub(super) fn time_kind(&self) -> &'static str {
        if self.is_append_time() {
            "LogAppendTime"
        } else {
            "CreateTime"
        }
    }

    /// The bytes of the records, unpacked.
    pub(super) fn unpacked(&self) -> Result<Vec<u8>, String> {
        unpacked(self.codec(), self.payload)
    }

    /// The records in bytes that [`Self::unpacked`] gave; `None` behind the last one that is whole,
    /// when some are missing.
    pub(super) fn records<'b>(&self, unpacked: &'b [u8]) -> Vec<Option<Shown<'b>>> {
        let mut cursor = Cursor(unpacked);
        let mut records = Vec::new();
        for _ in 0..self.count.max(0) {
            let record = self.record(&mut cursor);
            let whole = record.is_some();
            records.push(record);
            if !whole {
                break;
            }
        }
        records
    }

    fn record<'b>(&self, from: &mut Cursor<'b>) -> Option<Shown<'b>> {
        let length = usize::try_from(from.varint()?).ok()?;
        let mut cursor = Cursor(from.take(length)?);
        cursor.skip(1)?;
        let timestamp_delta = cursor.varint()?;
        let offset_delta = cursor.varint()?;
        let key = cursor.bytes()?;
        let value = cursor.bytes()?;
        let count = cursor.varint()?;
        let mut headers = Vec::new();
        for _ in 0..count {
            headers.push((cursor.bytes()?.unwrap_or_default(), cursor.bytes()?));
        }
        let timestamp = if self.is_append_time() {
            self.max_timestamp
        } else {
            self.base_timestamp.wrapping_add(timestamp_delta)
        };
        Some(Shown {
            offset: self.base_offset.wrapping_add(offset_delta),
            timestamp,
            sequence: self.sequence(i32::try_from(offset_delta).ok()?),
            key,
            value,
            headers,
        })
    }
}
