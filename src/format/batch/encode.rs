//! Records to batches, into a buffer that the caller keeps and reuses.
//!
//! Knows nothing about offsets: a batch is encoded with base offset 0, outside every lock, and
//! [`stamp`](super::stamp)ed later. Invariants of what is written:
//!
//! 1. The last offset delta is the record count less one, except in batches that compaction left.
//! 2. The max timestamp is the largest one of the records; the base timestamp is the first one.
//! 3. A batch is at most `i32::MAX` bytes: a record that would pass it is refused before a byte of
//!    it is written.

use crate::types::{Compression, Record, RecordTime, Timestamp, TimestampType, to_u64};

use super::super::{EncodeError, compression};
use super::header::{Attributes, BatchHeader, HEADER_LEN, seal};
use super::record::{Deltas, write_record};

const BATCH_MAX: usize = 0x7fff_ffff;
const PAYLOAD_MAX: usize = BATCH_MAX - HEADER_LEN;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProducerStamp {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
    /// The sequence number of the first record; -1 in control batches.
    pub(crate) base_sequence: i32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum BatchKind {
    #[default]
    Data,
    /// Data in a transaction, which only Kafka writes yet.
    #[cfg(test)]
    TransactionalData,
    TransactionMarker,
    /// Control records of Kafka's metadata files.
    Control,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BatchOptions {
    /// Overwritten by [`stamp`](super::stamp).
    pub(crate) leader_epoch: i32,
    pub(crate) timestamp_type: TimestampType,
    pub(crate) compression: Compression,
    /// `None` is the codec's default.
    pub(crate) compression_level: Option<i32>,
    /// The time of records that have none, and of all records under `LogAppendTime`.
    pub(crate) now: Timestamp,
    pub(crate) producer: Option<ProducerStamp>,
    pub(crate) kind: BatchKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchSummary {
    /// Bytes of the packed batch, header included.
    pub(crate) size: usize,
    /// The number of records, and so of offsets.
    pub(crate) count: u32,
    pub(crate) max_timestamp: Timestamp,
}

impl BatchOptions {
    #[inline]
    fn attributes(&self) -> Attributes {
        let plain = Attributes::new(self.compression, self.timestamp_type);
        match self.kind {
            BatchKind::Data => plain,
            #[cfg(test)]
            BatchKind::TransactionalData => plain.with_transactional(),
            BatchKind::TransactionMarker => plain.with_transactional().with_control(),
            BatchKind::Control => plain.with_control(),
        }
    }

    /// The timestamp of a record. Kafka's writers accept no negative time but -1, so callers cannot
    /// choose one; a record that was read keeps its own.
    #[inline]
    fn timestamp_of(&self, record: &Record<'_>) -> Result<Timestamp, EncodeError> {
        let time = match self.timestamp_type {
            TimestampType::CreateTime => record.time(),
            TimestampType::LogAppendTime => RecordTime::Clock,
        };
        match time {
            RecordTime::Clock => Ok(self.now),
            RecordTime::Chosen(timestamp) if timestamp < Timestamp::NONE => {
                Err(EncodeError::Invalid("its timestamp is before 1970"))
            }
            RecordTime::Chosen(timestamp) | RecordTime::Read(timestamp) => Ok(timestamp),
        }
    }

    /// The header of a batch, without its CRC: see [`seal`].
    #[inline]
    fn header(&self, size: usize, count: u32, times: Times) -> BatchHeader {
        let none = ProducerStamp {
            id: -1,
            epoch: -1,
            base_sequence: -1,
        };
        let producer = self.producer.unwrap_or(none);
        BatchHeader {
            base_offset: 0,
            size,
            leader_epoch: self.leader_epoch,
            crc: 0,
            attributes: self.attributes(),
            last_offset_delta: count.saturating_sub(1),
            base_timestamp: times.base,
            max_timestamp: times.max,
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            base_sequence: producer.base_sequence,
            record_count: count,
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Times {
    base: Timestamp,
    max: Timestamp,
}

/// Encodes a batch of one record at the end of `out`; after an error `out` is as it was. The length
/// is computed first and the bytes are written in one pass. Allocates only when `out` must grow.
/// With compression it uses a [`BatchBuilder`].
#[inline]
pub(crate) fn encode_one(
    out: &mut Vec<u8>,
    record: &Record<'_>,
    options: &BatchOptions,
) -> Result<BatchSummary, EncodeError> {
    if options.compression != Compression::None {
        return encode_one_packed(out, record, options);
    }
    let start = out.len();
    let timestamp = options.timestamp_of(record)?;
    let times = Times {
        base: timestamp,
        max: timestamp,
    };
    out.extend_from_slice(&[0; HEADER_LEN]);
    let written = write_record(out, record, Deltas::default(), PAYLOAD_MAX);
    if let Err(error) = written {
        out.truncate(start);
        return Err(error);
    }
    let size = out.len().saturating_sub(start);
    let batch = out.get_mut(start..).unwrap_or_default();
    options.header(size, 1, times).write(batch);
    seal(batch);
    Ok(BatchSummary {
        size,
        count: 1,
        max_timestamp: timestamp,
    })
}

#[cold]
fn encode_one_packed(
    out: &mut Vec<u8>,
    record: &Record<'_>,
    options: &BatchOptions,
) -> Result<BatchSummary, EncodeError> {
    let mut batch = BatchBuilder::new(out, *options);
    batch.push(record)?;
    batch.finish()
}

#[inline]
fn batch_size(payload: usize) -> Result<usize, EncodeError> {
    let size = payload.saturating_add(HEADER_LEN);
    if i32::try_from(size).is_ok() {
        Ok(size)
    } else {
        Err(EncodeError::TooLarge { size: to_u64(size) })
    }
}

/// A batch that grows at the end of a buffer. Each call borrows the buffer, so that the caller can
/// keep both between calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GrowingBatch {
    options: BatchOptions,
    /// Where the batch begins in the buffer.
    start: usize,
    count: u32,
    times: Times,
}

impl GrowingBatch {
    pub(crate) fn begin(out: &mut Vec<u8>, options: BatchOptions) -> Self {
        let start = out.len();
        out.extend_from_slice(&[0; HEADER_LEN]);
        Self {
            options,
            start,
            count: 0,
            times: Times::default(),
        }
    }

    /// Adds a record at the next offset. After an error the batch is as it was and can go on.
    ///
    /// # Errors
    ///
    /// `Invalid` for a chosen timestamp before 1970 (but -1), `TooLarge` above `i32::MAX` bytes or
    /// records.
    #[inline]
    pub(crate) fn push(
        &mut self,
        out: &mut Vec<u8>,
        record: &Record<'_>,
    ) -> Result<(), EncodeError> {
        let timestamp = self.options.timestamp_of(record)?;
        if self.count == 0 {
            self.times = Times {
                base: timestamp,
                max: timestamp,
            };
        }
        let size = self.size(out);
        let Ok(offset_delta) = i32::try_from(self.count) else {
            return Err(EncodeError::TooLarge { size: to_u64(size) });
        };
        let timestamp_delta = timestamp
            .as_millis()
            .wrapping_sub(self.times.base.as_millis());
        let deltas = Deltas {
            timestamp: timestamp_delta,
            offset: offset_delta,
        };
        let left = BATCH_MAX.saturating_sub(size);
        write_record(out, record, deltas, left)?;
        self.count = self.count.saturating_add(1);
        self.times.max = self.times.max.max(timestamp);
        Ok(())
    }

    /// [`GrowingBatch::push`] up to `limit` bytes: returns false, with the batch as it was, for a
    /// record that would exceed them. The first one may exceed them.
    #[inline]
    pub(crate) fn push_within(
        &mut self,
        out: &mut Vec<u8>,
        record: &Record<'_>,
        limit: usize,
    ) -> Result<bool, EncodeError> {
        let (length, before) = (out.len(), *self);
        match self.push(out, record) {
            Err(EncodeError::TooLarge { .. }) if before.count > 0 => return Ok(false),
            pushed => pushed?,
        }
        if before.count > 0 && self.size(out) > limit {
            out.truncate(length);
            *self = before;
            return Ok(false);
        }
        Ok(true)
    }

    /// Sets the time of the next records that have none.
    #[inline]
    pub(crate) fn set_now(&mut self, now: Timestamp) {
        self.options.now = now;
    }

    /// Sets the time of the append, if its records carry that.
    pub(crate) fn set_append_time(&mut self, now: Timestamp) {
        if self.options.timestamp_type == TimestampType::LogAppendTime {
            self.times.max = now;
        }
    }

    pub(crate) const fn compression(&self) -> Compression {
        self.options.compression
    }

    pub(crate) const fn count(&self) -> u32 {
        self.count
    }

    /// Bytes of the batch so far, header included and not packed.
    #[inline]
    pub(crate) fn size(&self, out: &[u8]) -> usize {
        out.len().saturating_sub(self.start)
    }

    /// Packs the records and completes the batch, with base offset 0. After an error what is in the
    /// buffer from its start on is not valid.
    ///
    /// # Errors
    ///
    /// `Invalid` without records, `Unsupported` for a codec that is not in this build, `TooLarge`
    /// when packing made it so.
    pub(crate) fn finish(self, out: &mut Vec<u8>) -> Result<BatchSummary, EncodeError> {
        if self.count == 0 {
            return Err(EncodeError::Invalid("a batch holds a record at least"));
        }
        let payload_at = self.start.saturating_add(HEADER_LEN);
        compression::compress_tail(
            out,
            payload_at,
            self.options.compression,
            self.options.compression_level,
        )?;
        let size = batch_size(out.len().saturating_sub(payload_at))?;
        let header = self.options.header(size, self.count, self.times);
        let batch = out.get_mut(self.start..).unwrap_or_default();
        header.write(batch);
        seal(batch);
        Ok(BatchSummary {
            size,
            count: self.count,
            max_timestamp: self.times.max,
        })
    }
}

/// A batch at the end of a buffer. When dropped without [`finish`](Self::finish), it removes what
/// it wrote.
#[derive(Debug)]
pub(crate) struct BatchBuilder<'a> {
    out: &'a mut Vec<u8>,
    batch: GrowingBatch,
}

impl<'a> BatchBuilder<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>, options: BatchOptions) -> Self {
        let batch = GrowingBatch::begin(out, options);
        Self { out, batch }
    }

    #[inline]
    pub(crate) fn push(&mut self, record: &Record<'_>) -> Result<(), EncodeError> {
        self.batch.push(self.out, record)
    }

    pub(crate) const fn count(&self) -> u32 {
        self.batch.count()
    }

    pub(crate) fn size(&self) -> usize {
        self.batch.size(self.out)
    }

    /// [`GrowingBatch::finish`]; after an error nothing of the batch is left in the buffer.
    pub(crate) fn finish(mut self) -> Result<BatchSummary, EncodeError> {
        let summary = self.batch.finish(self.out)?;
        // From here on the bytes are the caller's: the drop takes back nothing.
        self.batch.start = self.out.len();
        Ok(summary)
    }
}

impl Drop for BatchBuilder<'_> {
    fn drop(&mut self) {
        self.out.truncate(self.batch.start);
    }
}
