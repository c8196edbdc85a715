//! The 61 bytes in front of a record batch, format version 2.
//!
//! Knows nothing about records. Kafka's layout (KIP-98), big-endian:
//!
//! | at | bytes | field | in the CRC |
//! | ---: | ---: | --- | --- |
//! | 0 | 8 | base offset | no |
//! | 8 | 4 | length: bytes of the batch after this field, at least 49 | no |
//! | 12 | 4 | partition leader epoch, -1 when unknown | no |
//! | 16 | 1 | magic, 2 | no |
//! | 17 | 4 | CRC-32C of everything from byte 21 on | - |
//! | 21 | 2 | attributes | yes |
//! | 23 | 4 | last offset delta | yes |
//! | 27 | 8 | base timestamp, or the delete horizon | yes |
//! | 35 | 8 | max timestamp | yes |
//! | 43 | 8 | producer id, -1 for none | yes |
//! | 51 | 2 | producer epoch, -1 for none | yes |
//! | 53 | 4 | base sequence, -1 for none | yes |
//! | 57 | 4 | record count, 0 in a batch that compaction emptied | yes |
//! | 61 | | records, plain or packed as one | yes |
//!
//! Attributes: bits 0-2 codec, 3 timestamp type, 4 transactional, 5 control, 6 the base timestamp
//! is a delete horizon; the rest is written as 0 and ignored when read.
//!
//! A header is valid if and only if the length is at least 49, the magic 2, the codec known, the
//! base offset not negative, 0 <= last offset delta, every offset of the batch and the next one fit
//! in 63 bits, and 0 <= record count <= last offset delta + 1. The CRC is a check of its own.
//!
//! The first 17 bytes are outside the CRC, so that offset and epoch can be stamped late. A flip
//! there is found by the magic and the length (with the CRC), but one in base offset or epoch only
//! by the batches before and after.

use crate::types::{Compression, Offset, Timestamp, TimestampType, to_usize};

use super::super::{Corruption, crc::crc32c, cursor::Cursor};

const BASE_OFFSET_AT: usize = 0;
const BASE_OFFSET_LEN: usize = 8;
const LENGTH_AT: usize = BASE_OFFSET_AT + BASE_OFFSET_LEN;
const LENGTH_LEN: usize = 4;
const LEADER_EPOCH_AT: usize = LENGTH_AT + LENGTH_LEN;
const LEADER_EPOCH_LEN: usize = 4;
const MAGIC_AT: usize = LEADER_EPOCH_AT + LEADER_EPOCH_LEN;
const MAGIC_LEN: usize = 1;
const CRC_AT: usize = MAGIC_AT + MAGIC_LEN;
const CRC_LEN: usize = 4;
const ATTRIBUTES_AT: usize = CRC_AT + CRC_LEN;
const ATTRIBUTES_LEN: usize = 2;
const LAST_OFFSET_DELTA_AT: usize = ATTRIBUTES_AT + ATTRIBUTES_LEN;
const LAST_OFFSET_DELTA_LEN: usize = 4;
const BASE_TIMESTAMP_AT: usize = LAST_OFFSET_DELTA_AT + LAST_OFFSET_DELTA_LEN;
const BASE_TIMESTAMP_LEN: usize = 8;
const MAX_TIMESTAMP_AT: usize = BASE_TIMESTAMP_AT + BASE_TIMESTAMP_LEN;
const MAX_TIMESTAMP_LEN: usize = 8;
const PRODUCER_ID_AT: usize = MAX_TIMESTAMP_AT + MAX_TIMESTAMP_LEN;
const PRODUCER_ID_LEN: usize = 8;
const PRODUCER_EPOCH_AT: usize = PRODUCER_ID_AT + PRODUCER_ID_LEN;
const PRODUCER_EPOCH_LEN: usize = 2;
const BASE_SEQUENCE_AT: usize = PRODUCER_EPOCH_AT + PRODUCER_EPOCH_LEN;
const BASE_SEQUENCE_LEN: usize = 4;
const RECORD_COUNT_AT: usize = BASE_SEQUENCE_AT + BASE_SEQUENCE_LEN;
const RECORD_COUNT_LEN: usize = 4;

pub(crate) const HEADER_LEN: usize = RECORD_COUNT_AT + RECORD_COUNT_LEN;
pub(crate) const LOG_OVERHEAD: usize = LENGTH_AT + LENGTH_LEN;
/// The length field of the shortest batch before version 2.
const LEGACY_LENGTH_MIN: i32 = 14;
const MAGIC: i8 = 2;

const _: () = assert!(HEADER_LEN == 61 && LOG_OVERHEAD == 12 && ATTRIBUTES_AT == 21);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes(i16);

impl Attributes {
    const CODEC: i16 = 0b111;
    const LOG_APPEND_TIME: i16 = 1 << 3;
    const TRANSACTIONAL: i16 = 1 << 4;
    const CONTROL: i16 = 1 << 5;
    const DELETE_HORIZON: i16 = 1 << 6;

    pub(crate) const fn new(compression: Compression, timestamp_type: TimestampType) -> Self {
        let codec = match compression {
            Compression::None => 0,
            Compression::Gzip => 1,
            Compression::Snappy => 2,
            Compression::Lz4 => 3,
            Compression::Zstd => 4,
        };
        match timestamp_type {
            TimestampType::CreateTime => Self(codec),
            TimestampType::LogAppendTime => Self(codec | Self::LOG_APPEND_TIME),
        }
    }

    pub(crate) const fn with_control(self) -> Self {
        Self(self.0 | Self::CONTROL)
    }

    pub(crate) const fn with_transactional(self) -> Self {
        Self(self.0 | Self::TRANSACTIONAL)
    }

    pub(crate) const fn with_delete_horizon(self) -> Self {
        Self(self.0 | Self::DELETE_HORIZON)
    }

    pub(crate) const fn without_codec(self) -> Self {
        Self(self.0 & !Self::CODEC)
    }

    pub(crate) const fn without_delete_horizon(self) -> Self {
        Self(self.0 & !Self::DELETE_HORIZON)
    }

    const fn codec(self) -> Option<Compression> {
        Some(match self.0 & Self::CODEC {
            0 => Compression::None,
            1 => Compression::Gzip,
            2 => Compression::Snappy,
            3 => Compression::Lz4,
            4 => Compression::Zstd,
            _ => return None,
        })
    }

    const fn has(self, bit: i16) -> bool {
        self.0 & bit != 0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    /// The offset of the first record when the batch was first written.
    pub(crate) base_offset: Offset,
    /// Bytes of the batch, header included.
    pub(crate) size: usize,
    /// -1 when unknown.
    pub(crate) leader_epoch: i32,
    pub(crate) crc: u32,
    pub(crate) attributes: Attributes,
    /// Counted from the base offset.
    pub(crate) last_offset_delta: u32,
    /// What the records' timestamps are counted from, or the delete horizon.
    pub(crate) base_timestamp: Timestamp,
    pub(crate) max_timestamp: Timestamp,
    /// -1 for none, as `producer_epoch` and `base_sequence`.
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    /// After compaction fewer than offsets.
    pub(crate) record_count: u32,
}

impl BatchHeader {
    /// Reads and checks the header at the front of `bytes`, but not the CRC: see [`check_crc`].
    #[inline]
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Corruption> {
        let Some(bytes) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(Corruption::truncated(HEADER_LEN, bytes.len()));
        };
        let mut fields = Cursor::new(bytes);
        let base_offset = fields.i64()?;
        let length = fields.i32()?;
        let leader_epoch = fields.i32()?;
        let magic = fields.i8()?;
        if length < LEGACY_LENGTH_MIN {
            return Err(Corruption::BatchLength { found: length });
        }
        if magic != MAGIC {
            return Err(Corruption::Magic { found: magic });
        }
        let size = u32::try_from(length)
            .map(|length| to_usize(u64::from(length)).saturating_add(LOG_OVERHEAD))
            .ok()
            .filter(|size| *size >= HEADER_LEN)
            .ok_or(Corruption::BatchLength { found: length })?;
        let crc = fields.u32()?;
        let attributes = Attributes(fields.i16()?);
        if attributes.codec().is_none() {
            let [_, low] = (attributes.0 & Attributes::CODEC).to_be_bytes();
            return Err(Corruption::Codec { found: low });
        }
        let base_offset = u64::try_from(base_offset)
            .map_err(|_| Corruption::malformed("the base offset of a batch is negative"))?;
        let last_offset_delta = u32::try_from(fields.i32()?).map_err(|_| {
            Corruption::malformed("the last offset of a batch is below its base offset")
        })?;
        Ok(Self {
            base_offset,
            size,
            leader_epoch,
            crc,
            attributes,
            last_offset_delta,
            base_timestamp: Timestamp::from_millis(fields.i64()?),
            max_timestamp: Timestamp::from_millis(fields.i64()?),
            producer_id: fields.i64()?,
            producer_epoch: fields.i16()?,
            base_sequence: fields.i32()?,
            record_count: checked_count(fields.i32()?, base_offset, last_offset_delta)?,
        })
    }

    /// Overwrites the first 61 bytes of `batch`. A length of more than 31 bits, which the encoders
    /// rule out before, is written as the largest one.
    #[inline]
    pub(crate) fn write(&self, batch: &mut [u8]) {
        let Some(bytes) = batch.first_chunk_mut::<HEADER_LEN>() else {
            debug_assert!(false, "a batch is at least its header");
            return;
        };
        let length = i32::try_from(self.size.saturating_sub(LOG_OVERHEAD)).unwrap_or(i32::MAX);
        let base_timestamp = self.base_timestamp.as_millis();
        let max_timestamp = self.max_timestamp.as_millis();
        patch(bytes, BASE_OFFSET_AT, self.base_offset.to_be_bytes());
        patch(bytes, LENGTH_AT, length.to_be_bytes());
        patch(bytes, LEADER_EPOCH_AT, self.leader_epoch.to_be_bytes());
        patch(bytes, MAGIC_AT, MAGIC.to_be_bytes());
        patch(bytes, CRC_AT, self.crc.to_be_bytes());
        patch(bytes, ATTRIBUTES_AT, self.attributes.0.to_be_bytes());
        patch(
            bytes,
            LAST_OFFSET_DELTA_AT,
            self.last_offset_delta.to_be_bytes(),
        );
        patch(bytes, BASE_TIMESTAMP_AT, base_timestamp.to_be_bytes());
        patch(bytes, MAX_TIMESTAMP_AT, max_timestamp.to_be_bytes());
        patch(bytes, PRODUCER_ID_AT, self.producer_id.to_be_bytes());
        patch(bytes, PRODUCER_EPOCH_AT, self.producer_epoch.to_be_bytes());
        patch(bytes, BASE_SEQUENCE_AT, self.base_sequence.to_be_bytes());
        patch(bytes, RECORD_COUNT_AT, self.record_count.to_be_bytes());
    }

    /// The first offset after the batch, whether or not compaction removed its last records.
    #[inline]
    pub(crate) fn next_offset(&self) -> Offset {
        self.base_offset
            .saturating_add(u64::from(self.last_offset_delta))
            .saturating_add(1)
    }

    pub(crate) fn compression(&self) -> Compression {
        self.attributes.codec().unwrap_or_default()
    }

    pub(crate) fn timestamp_type(&self) -> TimestampType {
        if self.attributes.has(Attributes::LOG_APPEND_TIME) {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        }
    }

    pub(crate) fn is_control(&self) -> bool {
        self.attributes.has(Attributes::CONTROL)
    }

    /// Whether it belongs to a transaction; a control batch ends it.
    pub(crate) fn is_transactional(&self) -> bool {
        self.attributes.has(Attributes::TRANSACTIONAL)
    }

    /// When compaction may begin to drop the tombstones and markers of this batch.
    pub(crate) fn delete_horizon(&self) -> Option<Timestamp> {
        self.attributes
            .has(Attributes::DELETE_HORIZON)
            .then_some(self.base_timestamp)
    }

    /// Wraps from 2147483647 to 0; `None` without an idempotent producer. Compaction does not
    /// change it.
    #[cfg(test)]
    pub(crate) fn last_sequence(&self) -> Option<i32> {
        let base = u32::try_from(self.base_sequence).ok()?;
        let wrapped = base.wrapping_add(self.last_offset_delta) & i32::MAX.cast_unsigned();
        Some(wrapped.cast_signed())
    }
}

/// The record count, if it and the offsets of the batch are valid.
#[inline]
fn checked_count(found: i32, base: Offset, last_delta: u32) -> Result<u32, Corruption> {
    let offsets = u64::from(last_delta).saturating_add(1);
    if i64::try_from(base.saturating_add(offsets)).is_err() {
        return Err(Corruption::malformed(
            "the offsets of a batch do not fit in 63 bits",
        ));
    }
    u32::try_from(found)
        .ok()
        .filter(|count| u64::from(*count) <= offsets)
        .ok_or(Corruption::RecordCount { found, offsets })
}

#[inline]
fn patch<const N: usize>(batch: &mut [u8], at: usize, field: [u8; N]) {
    let place = batch.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<N>);
    debug_assert!(place.is_some(), "a batch is at least its header");
    if let Some(place) = place {
        *place = field;
    }
}

/// Checks the CRC of a batch whose header was read from its front. Bytes after the batch are
/// ignored.
#[inline]
pub(crate) fn check_crc(batch: &[u8], header: &BatchHeader) -> Result<(), Corruption> {
    let Some(covered) = batch.get(ATTRIBUTES_AT..header.size) else {
        return Err(Corruption::truncated(header.size, batch.len()));
    };
    let computed = crc32c(covered);
    if computed == header.crc {
        Ok(())
    } else {
        Err(Corruption::CrcMismatch {
            stored: header.crc,
            computed,
        })
    }
}

/// Writes the CRC of a complete batch into its header.
#[inline]
pub(super) fn seal(batch: &mut [u8]) {
    let crc = crc32c(batch.get(ATTRIBUTES_AT..).unwrap_or_default());
    patch(batch, CRC_AT, crc.to_be_bytes());
}

/// Writes the place of an encoded batch in the log. Both fields are outside the CRC, so that this
/// is short under the append lock.
#[inline]
pub(crate) fn stamp(batch: &mut [u8], base_offset: Offset, leader_epoch: i32) {
    patch(batch, BASE_OFFSET_AT, base_offset.to_be_bytes());
    patch(batch, LEADER_EPOCH_AT, leader_epoch.to_be_bytes());
}
