//! What Kafka keeps about producers: the aborted transactions of a segment, and their states at an
//! offset.
//!
//! Knows nothing about how either comes about. `.txnindex`, 34 bytes an entry, big-endian:
//!
//! | at | bytes | field |
//! | ---: | ---: | --- |
//! | 0 | 2 | version, 0 |
//! | 2 | 8 | producer id |
//! | 10 | 8 | first offset of the transaction |
//! | 18 | 8 | last offset: that of the abort marker; rises strictly |
//! | 26 | 8 | last stable offset when the marker was appended |
//!
//! `.snapshot`:
//!
//! | at | bytes | field |
//! | ---: | ---: | --- |
//! | 0 | 2 | version, 1 |
//! | 2 | 4 | CRC-32C of everything from byte 6 on |
//! | 6 | 4 | number of entries |
//! | 10 | 46 each | i64 producer id, i16 epoch, i32 last sequence, i64 last offset, |
//! | | | i32 offset delta, i64 timestamp, i32 coordinator epoch, |
//! | | | i64 first offset of the open transaction or -1 |
//!
//! A snapshot is valid if and only if version and CRC are right and the entries fill it exactly.

use crate::types::{Offset, Timestamp, to_usize};

use super::cursor::{Cursor, PutBytes};
use super::{BatchHeader, Corruption, crc::crc32c};

#[cfg(test)]
pub(crate) const ABORTED_LEN: usize = 34;
const ABORTED_VERSION: i16 = 0;
const SNAPSHOT_VERSION: i16 = 1;
const PRODUCER_LEN: usize = 46;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AbortedTxn {
    pub(crate) producer_id: i64,
    pub(crate) first_offset: Offset,
    pub(crate) last_offset: Offset,
    pub(crate) last_stable_offset: Offset,
}

impl AbortedTxn {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_i16(ABORTED_VERSION);
        out.put_i64(self.producer_id);
        out.put_u64(self.first_offset);
        out.put_u64(self.last_offset);
        out.put_u64(self.last_stable_offset);
    }

    pub(crate) fn decode_all(bytes: &[u8]) -> Result<Vec<Self>, Corruption> {
        let mut fields = Cursor::new(bytes);
        let mut entries: Vec<Self> = Vec::new();
        while !fields.is_empty() {
            let entry = Self::decode(&mut fields)?;
            if entries
                .last()
                .is_some_and(|before| before.last_offset >= entry.last_offset)
            {
                return Err(Corruption::Offset {
                    expected: entries
                        .last()
                        .map_or(0, |before| before.last_offset.saturating_add(1)),
                    found: entry.last_offset,
                });
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    fn decode(fields: &mut Cursor<'_>) -> Result<Self, Corruption> {
        if fields.i16()? != ABORTED_VERSION {
            return Err(Corruption::malformed(
                "an aborted transaction is not of version 0",
            ));
        }
        Ok(Self {
            producer_id: fields.i64()?,
            first_offset: offset(fields)?,
            last_offset: offset(fields)?,
            last_stable_offset: offset(fields)?,
        })
    }
}

/// The state of a producer, as Kafka's snapshots have it: only its last batch is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProducerState {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
    /// -1 when it has written no record.
    pub(crate) last_sequence: i32,
    /// -1 when it has written no record.
    pub(crate) last_offset: i64,
    /// Last offset less first offset of the last batch.
    pub(crate) offset_delta: i32,
    pub(crate) timestamp: Timestamp,
    /// The coordinator's epoch in its last transaction marker, -1 for none.
    pub(crate) coordinator_epoch: i32,
    /// The first offset of its open transaction.
    pub(crate) transaction_start: Option<Offset>,
}

impl ProducerState {
    pub(crate) const fn new(producer_id: i64) -> Self {
        Self {
            producer_id,
            epoch: -1,
            last_sequence: -1,
            last_offset: -1,
            offset_delta: 0,
            timestamp: Timestamp::NONE,
            coordinator_epoch: -1,
            transaction_start: None,
        }
    }

    /// Applies a batch of data as Kafka does when it loads a log: neither epochs nor sequence
    /// numbers are checked.
    pub(crate) fn take_data(&mut self, header: &BatchHeader) {
        let last = header.next_offset().saturating_sub(1);
        self.epoch = header.producer_epoch;
        self.last_sequence = last_sequence(header.base_sequence, header.last_offset_delta);
        self.last_offset = i64::try_from(last).unwrap_or(i64::MAX);
        self.offset_delta = i32::try_from(header.last_offset_delta).unwrap_or(i32::MAX);
        self.timestamp = header.max_timestamp;
        if header.is_transactional() && self.transaction_start.is_none() {
            self.transaction_start = Some(header.base_offset);
        }
    }

    /// Applies a transaction marker. One with another epoch resets the sequence numbers.
    pub(crate) fn take_marker(&mut self, header: &BatchHeader, coordinator_epoch: i32) {
        if self.epoch != header.producer_epoch {
            self.epoch = header.producer_epoch;
            self.last_sequence = -1;
            self.last_offset = -1;
            self.offset_delta = 0;
        }
        self.timestamp = header.max_timestamp;
        self.coordinator_epoch = coordinator_epoch;
        self.transaction_start = None;
    }
}

/// The sequence number of the last record of a batch; 0 follows the largest one.
fn last_sequence(first: i32, delta: u32) -> i32 {
    if first < 0 {
        return first;
    }
    let last = i64::from(first).saturating_add(i64::from(delta));
    let wrapped = last & i64::from(i32::MAX);
    i32::try_from(wrapped).unwrap_or(i32::MAX)
}

pub(crate) fn encode_snapshot(producers: &[ProducerState]) -> Vec<u8> {
    let mut body = Vec::with_capacity(producers.len().saturating_mul(PRODUCER_LEN));
    body.put_u32(u32::try_from(producers.len()).unwrap_or(u32::MAX));
    for producer in producers {
        body.put_i64(producer.producer_id);
        body.put_i16(producer.epoch);
        body.put_i32(producer.last_sequence);
        body.put_i64(producer.last_offset);
        body.put_i32(producer.offset_delta);
        body.put_i64(producer.timestamp.as_millis());
        body.put_i32(producer.coordinator_epoch);
        let start = producer.transaction_start.map(i64::try_from);
        body.put_i64(start.and_then(Result::ok).unwrap_or(-1));
    }
    let mut out = Vec::with_capacity(body.len().saturating_add(6));
    out.put_i16(SNAPSHOT_VERSION);
    out.put_u32(crc32c(&body));
    out.put(&body);
    out
}

pub(crate) fn decode_snapshot(bytes: &[u8]) -> Result<Vec<ProducerState>, Corruption> {
    let mut fields = Cursor::new(bytes);
    if fields.i16()? != SNAPSHOT_VERSION {
        return Err(Corruption::malformed(
            "the producer snapshot is not of version 1",
        ));
    }
    let stored = fields.u32()?;
    let computed = crc32c(fields.rest());
    if stored != computed {
        return Err(Corruption::CrcMismatch { stored, computed });
    }
    let count = to_usize(u64::from(fields.u32()?));
    if count.checked_mul(PRODUCER_LEN) != Some(fields.rest().len()) {
        return Err(Corruption::malformed(
            "the producer snapshot has more or fewer entries than it says",
        ));
    }
    let mut producers = Vec::with_capacity(count);
    for _ in 0..count {
        producers.push(ProducerState {
            producer_id: fields.i64()?,
            epoch: fields.i16()?,
            last_sequence: fields.i32()?,
            last_offset: fields.i64()?,
            offset_delta: fields.i32()?,
            timestamp: Timestamp::from_millis(fields.i64()?),
            coordinator_epoch: fields.i32()?,
            transaction_start: Offset::try_from(fields.i64()?).ok(),
        });
    }
    Ok(producers)
}

fn offset(fields: &mut Cursor<'_>) -> Result<Offset, Corruption> {
    Offset::try_from(fields.i64()?)
        .map_err(|_| Corruption::malformed("an offset of an aborted transaction is negative"))
}

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
