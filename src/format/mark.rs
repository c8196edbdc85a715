//! The flushed mark of one log: how much of it is surely on the disk.
//!
//! Knows nothing about when it is written. Our own format, one slot of 64 bytes, so that a slot
//! never lies across two sectors; big-endian:
//!
//! | at | bytes | field |
//! | ---: | ---: | --- |
//! | 0 | 4 | CRC-32 (IEEE) of the bytes from 4 to 64 |
//! | 4 | 4 | magic and version, `4d 4b 00 01` |
//! | 8 | 8 | sequence: the slot with the larger one holds |
//! | 16 | 16 | topic id, zeros for a log alone |
//! | 32 | 4 | partition |
//! | 36 | 4 | position of the flushed offset in its segment's `.log` |
//! | 40 | 8 | base offset of that segment |
//! | 48 | 8 | flushed offset |
//! | 56 | 8 | log start offset |
//!
//! Valid if and only if the CRC and the magic are right. A slot of zeros was never written; any
//! other is torn. Neither is an error: the other slot of the log holds then.

use crate::types::{Offset, PartitionId, Position, TopicId};

use super::Corruption;
use super::cursor::{Cursor, PutBytes};

/// Bytes of a slot.
pub(crate) const SLOT_LEN: usize = 64;
const CRC_LEN: usize = 4;
const MAGIC: u32 = 0x4d4b_0001;

/// What a slot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Which of two slots is newer.
    pub(crate) sequence: u64,
    /// The topic of the log, zero for a log alone.
    pub(crate) topic: TopicId,
    /// The partition of the log, 0 for a log alone.
    pub(crate) partition: PartitionId,
    /// The segment that the mark lies in.
    pub(crate) segment_base: Offset,
    /// Where in its `.log`: everything before is on the disk.
    pub(crate) position: Position,
    /// Every record below this offset is on the disk.
    pub(crate) flushed_offset: Offset,
    /// The first offset that can be read.
    pub(crate) log_start_offset: Offset,
}

impl Mark {
    /// The mark as a slot. A position that a segment cannot have is written as the largest that
    /// fits, which is a lower bound as well.
    pub(crate) fn encode(&self) -> [u8; SLOT_LEN] {
        let mut body = Vec::with_capacity(SLOT_LEN);
        body.put_u32(MAGIC);
        body.put_u64(self.sequence);
        body.put(&self.topic.0);
        body.put_u32(self.partition);
        body.put_u32(u32::try_from(self.position.0).unwrap_or(u32::MAX));
        body.put_u64(self.segment_base);
        body.put_u64(self.flushed_offset);
        body.put_u64(self.log_start_offset);
        let mut slot = [0; SLOT_LEN];
        let (crc, rest) = slot.split_at_mut(CRC_LEN);
        crc.copy_from_slice(&crc32fast::hash(&body).to_be_bytes());
        rest.copy_from_slice(&body);
        slot
    }

    /// The mark in a slot; `None` where it was never written, or is torn or damaged.
    pub(crate) fn decode(slot: &[u8]) -> Option<Self> {
        Self::checked(slot).ok()
    }

    fn checked(slot: &[u8]) -> Result<Self, Corruption> {
        let mut fields = Cursor::new(slot);
        let stored = fields.u32()?;
        let body = fields.rest();
        if body.len() != SLOT_LEN.saturating_sub(CRC_LEN) {
            return Err(Corruption::malformed("a slot has another size"));
        }
        let computed = crc32fast::hash(body);
        if stored != computed {
            return Err(Corruption::CrcMismatch { stored, computed });
        }
        if fields.u32()? != MAGIC {
            return Err(Corruption::malformed("a slot is of another version"));
        }
        let sequence = fields.u64()?;
        let topic = TopicId(fields.array()?);
        let partition = fields.u32()?;
        let position = Position(u64::from(fields.u32()?));
        Ok(Self {
            sequence,
            topic,
            partition,
            position,
            segment_base: fields.u64()?,
            flushed_offset: fields.u64()?,
            log_start_offset: fields.u64()?,
        })
    }

    /// The mark that holds, of the two slots of a log.
    pub(crate) fn newer(first: Option<Self>, second: Option<Self>) -> Option<Self> {
        match (first, second) {
            (Some(first), Some(second)) if second.sequence > first.sequence => Some(second),
            (first, second) => first.or(second),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark() -> Mark {
        Mark {
            sequence: 7,
            topic: TopicId([3; 16]),
            partition: 2,
            segment_base: 1000,
            position: Position(8192),
            flushed_offset: 1064,
            log_start_offset: 12,
        }
    }

    #[test]
    fn a_mark_comes_back() {
        let slot = mark().encode();
        assert_eq!(slot[4..16], [0x4d, 0x4b, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7]);
        assert_eq!(Mark::decode(&slot), Some(mark()));
    }

    #[test]
    fn zeros_and_every_flipped_bit_give_no_mark() {
        assert_eq!(Mark::decode(&[0; SLOT_LEN]), None);
        assert_eq!(Mark::decode(&[]), None);
        let slot = mark().encode();
        assert_eq!(Mark::decode(&slot[..SLOT_LEN - 1]), None);
        for bit in 0..SLOT_LEN * 8 {
            let mut slot = slot;
            slot[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Mark::decode(&slot), None);
        }
    }

    #[test]
    fn the_larger_sequence_holds() {
        let newer = Mark {
            sequence: 8,
            ..mark()
        };
        assert_eq!(Mark::newer(Some(mark()), Some(newer)), Some(newer));
        assert_eq!(Mark::newer(Some(newer), Some(mark())), Some(newer));
        assert_eq!(Mark::newer(None, Some(mark())), Some(mark()));
        assert_eq!(Mark::newer(Some(mark()), None), Some(mark()));
        assert_eq!(Mark::newer(None, None), None);
    }
}
