//! The flushed mark of a log: up to where everything is safely on disk.
//!
//! Knows nothing about files. Our own, big-endian, in a slot of 128 bytes:
//!
//! | at | bytes | field |
//! | ---: | ---: | --- |
//! | 0 | 4 | CRC-32 of the rest of the slot |
//! | 4 | 4 | partition |
//! | 8 | 8 | sequence, never 0: of a log's two slots the one with the larger is newer |
//! | 16 | 16 | topic id, zeros for a log alone |
//! | 32 | 8 | flushed offset |
//! | 40 | 8 | position of its first byte in the segment |
//! | 48 | 8 | base offset of the segment |
//! | 56 | 8 | log start offset |
//! | 64 | 8 | compacted up to this offset |
//! | 72 | 4 | `OTm1` |
//! | 76 | 4 | 1 if the log was closed, and nothing done to it since; else 0 |
//! | 80 | 4 | bytes of the segment's `.index` that were written |
//! | 84 | 4 | bytes of its `.timeindex` |
//! | 88 | 4 | CRC-32 of those bytes of the `.index` |
//! | 92 | 4 | CRC-32 of those bytes of the `.timeindex` |
//! | 96 | 4 | 1 when the batches of the segment are known to follow each other without a gap |
//! | 100 | 4 | 1 when a Kafka broker's checkpoint is all that is known: see [`Mark::by_broker`] |
//! | 104 | 4 | 1 when the log was `Always`, 2 when it was not, 0 when unknown |
//! | 108 | 20 | zeros |
//!
//! Valid if and only if the CRC and the four letters fit and the sequence is not 0; a slot of zeros
//! is empty.

use crate::types::{Offset, PartitionId, Position, Sabotage, TopicId, to_usize};

use super::cursor::{Cursor, PutBytes as _};
use super::index::{Entry as _, OffsetEntry};

/// Sectors hold a whole number of slots, so no torn sector harms a neighbour.
pub(crate) const SLOT_LEN: usize = 128;

const CRC_LEN: usize = 4;
const LETTERS: [u8; 4] = *b"OTm1";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MarkKey {
    /// Zeros for a log alone.
    pub(crate) topic: TopicId,
    pub(crate) partition: PartitionId,
}

impl MarkKey {
    /// Of `ottla.catalog`; no log has this key.
    pub(crate) const CATALOG: Self = Self {
        topic: TopicId([0; 16]),
        partition: PartitionId::MAX,
    };

    /// Of Kafka's metadata log, while it is open: its mark is never kept.
    pub(crate) const METADATA_LOG: Self = Self {
        topic: TopicId([0xff; 16]),
        partition: PartitionId::MAX,
    };
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) key: MarkKey,
    pub(crate) sequence: u64,
    /// Every record below it is synced.
    pub(crate) flushed_offset: Offset,
    /// One past the last byte of those records.
    pub(crate) position: Position,
    /// The segment of that byte.
    pub(crate) segment_base: Offset,
    pub(crate) log_start_offset: Offset,
    pub(crate) cleaned_offset: Offset,
    /// The written indexes of that segment. They need not be synced: this says whether they reached
    /// the disk.
    pub(crate) index: IndexWritten,
    /// The log was closed: its indexes too are synced and exact.
    pub(crate) closed: bool,
    /// The batches of that segment follow each other without a gap, from its base on.
    pub(crate) dense: bool,
    /// The mark was made from the checkpoints of a Kafka broker that ended cleanly. The position is
    /// then the length that the file was found with. That batches end there proves nothing: they
    /// must reach the flushed offset.
    pub(crate) by_broker: bool,
    /// Whether the log was [`Always`](crate::types::Durability::Always): then its own readers see
    /// nothing above the flushed offset, so those in other processes must not either. `None` in
    /// marks of older versions.
    pub(crate) always: Option<bool>,
}

/// How much of the indexes is in their files, and its CRC-32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct IndexWritten {
    offset_bytes: u32,
    time_bytes: u32,
    offsets_crc: u32,
    times_crc: u32,
}

impl IndexWritten {
    /// Adds bytes at the end of both files.
    pub(crate) fn and(self, offsets: &[u8], times: &[u8]) -> Self {
        let (offset_bytes, offsets_crc) = longer(self.offset_bytes, self.offsets_crc, offsets);
        let (time_bytes, times_crc) = longer(self.time_bytes, self.times_crc, times);
        Self {
            offset_bytes,
            time_bytes,
            offsets_crc,
            times_crc,
        }
    }

    /// The bytes of the `.index` and of the `.timeindex`.
    pub(crate) fn lens(self) -> (u32, u32) {
        (self.offset_bytes, self.time_bytes)
    }

    /// The number of entries of the `.index`.
    pub(crate) fn entries(self) -> usize {
        let bytes = to_usize(u64::from(self.offset_bytes));
        bytes.checked_div(OffsetEntry::LEN).unwrap_or(0)
    }

    /// The bytes that were written, if both files begin with them.
    pub(crate) fn find<'a>(
        self,
        offsets: &'a [u8],
        times: &'a [u8],
    ) -> Option<(&'a [u8], &'a [u8])> {
        let (offset_bytes, time_bytes) = (self.offset_bytes.into(), self.time_bytes.into());
        let offsets = offsets.get(..to_usize(offset_bytes))?;
        let times = times.get(..to_usize(time_bytes))?;
        let right = Self::default().and(offsets, times) == self;
        (right || Sabotage::IndexTrusted.is_on()).then_some((offsets, times))
    }
}

/// Length and CRC-32 of a file once `more` bytes are appended.
fn longer(len: u32, crc: u32, more: &[u8]) -> (u32, u32) {
    let mut hasher = crc32fast::Hasher::new_with_initial_len(crc, len.into());
    hasher.update(more);
    let more = u32::try_from(more.len()).unwrap_or(u32::MAX);
    (len.saturating_add(more), hasher.finalize())
}

impl Mark {
    /// The position if a broker had flushed records, but no segment was found.
    pub(crate) const NOTHING_FOUND: Position = Position(u64::MAX);

    pub(crate) fn encode(&self) -> [u8; SLOT_LEN] {
        let mut body = Vec::with_capacity(SLOT_LEN);
        body.put_u32(self.key.partition);
        body.put_u64(self.sequence);
        body.put(&self.key.topic.0);
        for number in [
            self.flushed_offset,
            self.position.0,
            self.segment_base,
            self.log_start_offset,
            self.cleaned_offset,
        ] {
            body.put_u64(number);
        }
        body.put(&LETTERS);
        body.put_u32(u32::from(self.closed));
        let index = &self.index;
        for number in [
            index.offset_bytes,
            index.time_bytes,
            index.offsets_crc,
            index.times_crc,
        ] {
            body.put_u32(number);
        }
        body.put_u32(u32::from(self.dense));
        body.put_u32(u32::from(self.by_broker));
        body.put_u32(match self.always {
            None => 0,
            Some(true) => 1,
            Some(false) => 2,
        });
        body.resize(SLOT_LEN.saturating_sub(CRC_LEN), 0);
        let mut slot = [0; SLOT_LEN];
        let (crc, rest) = slot.split_at_mut(CRC_LEN);
        crc.copy_from_slice(&crc32fast::hash(&body).to_be_bytes());
        rest.copy_from_slice(&body);
        slot
    }

    /// `None` when the slot is empty or torn.
    pub(crate) fn decode(slot: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(slot.get(..SLOT_LEN)?);
        let crc = cursor.u32().ok()?;
        if crc != crc32fast::hash(cursor.rest()) {
            return None;
        }
        let partition = cursor.u32().ok()?;
        let sequence = cursor.u64().ok().filter(|sequence| *sequence > 0)?;
        let topic = TopicId(cursor.array().ok()?);
        let mut mark = Self {
            key: MarkKey { topic, partition },
            sequence,
            dense: false,
            flushed_offset: cursor.u64().ok()?,
            position: Position(cursor.u64().ok()?),
            segment_base: cursor.u64().ok()?,
            log_start_offset: cursor.u64().ok()?,
            cleaned_offset: cursor.u64().ok()?,
            index: IndexWritten::default(),
            closed: false,
            by_broker: false,
            always: None,
        };
        let letters = cursor.array::<4>().ok()?;
        mark.closed = cursor.u32().ok()? == 1;
        mark.index = IndexWritten {
            offset_bytes: cursor.u32().ok()?,
            time_bytes: cursor.u32().ok()?,
            offsets_crc: cursor.u32().ok()?,
            times_crc: cursor.u32().ok()?,
        };
        mark.dense = cursor.u32().ok()? == 1;
        mark.by_broker = cursor.u32().ok()? == 1;
        mark.always = match cursor.u32().ok()? {
            1 => Some(true),
            2 => Some(false),
            _ => None,
        };
        (letters == LETTERS).then_some(mark)
    }
}

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
