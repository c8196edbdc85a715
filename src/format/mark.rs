//! The flushed mark of one log: up to where everything is safely on disk.
//!
//! Knows nothing about files. Our own, big-endian, in a slot of 128 bytes:
//!
//! | at | bytes | field |
//! | ---: | ---: | --- |
//! | 0 | 4 | CRC-32 of the rest of the slot |
//! | 4 | 4 | partition |
//! | 8 | 8 | sequence: the larger of a log's two slots is the newer, never 0 |
//! | 16 | 16 | topic id, zeros for a log alone |
//! | 32 | 8 | flushed offset |
//! | 40 | 8 | position of its first byte in the segment |
//! | 48 | 8 | base offset of the segment |
//! | 56 | 8 | log start offset |
//! | 64 | 8 | compacted up to this offset |
//! | 72 | 4 | `OTm1` |
//! | 76 | 1 | 1 when the batches of the segment are known to follow each other without a gap |
//! | 77 | 51 | zeros |
//!
//! Valid if and only if the CRC and the four letters fit and the sequence is not 0. A slot of zeros
//! is an empty one.

use crate::types::{Offset, PartitionId, Position, TopicId};

use super::cursor::{Cursor, PutBytes as _};

/// Bytes of a slot: sectors hold a whole number of them, so that no torn sector harms a neighbour.
pub(crate) const SLOT_LEN: usize = 128;

const CRC_LEN: usize = 4;
const LETTERS: [u8; 4] = *b"OTm1";

/// Which log a mark is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MarkKey {
    /// The life of the topic; zeros for a log alone.
    pub(crate) topic: TopicId,
    /// The partition.
    pub(crate) partition: PartitionId,
}

/// What is safely on disk of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The log.
    pub(crate) key: MarkKey,
    /// Rises with every write.
    pub(crate) sequence: u64,
    /// Every record below it is synced.
    pub(crate) flushed_offset: Offset,
    /// One past the last byte of those records in their segment.
    pub(crate) position: Position,
    /// That segment.
    pub(crate) segment_base: Offset,
    /// The first offset that can be read.
    pub(crate) log_start_offset: Offset,
    /// Compaction has been over everything below it.
    pub(crate) cleaned_offset: Offset,
    /// The batches of that segment follow each other without a gap, the first at its base.
    pub(crate) dense: bool,
}

impl Mark {
    /// The mark as a slot.
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
        body.put_u8(u8::from(self.dense));
        body.resize(SLOT_LEN.saturating_sub(CRC_LEN), 0);
        let mut slot = [0; SLOT_LEN];
        let (crc, rest) = slot.split_at_mut(CRC_LEN);
        crc.copy_from_slice(&crc32fast::hash(&body).to_be_bytes());
        rest.copy_from_slice(&body);
        slot
    }

    /// What a slot says; `None` when it is empty or torn.
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
        };
        let letters = cursor.array::<4>().ok()?;
        mark.dense = cursor.u8().ok()? == 1;
        (letters == LETTERS).then_some(mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark() -> Mark {
        Mark {
            key: MarkKey {
                topic: TopicId([7; 16]),
                partition: 3,
            },
            sequence: 9,
            flushed_offset: 1000,
            position: Position(4096),
            segment_base: 900,
            log_start_offset: 12,
            cleaned_offset: 500,
            dense: true,
        }
    }

    #[test]
    fn a_mark_comes_back() {
        assert_eq!(Mark::decode(&mark().encode()), Some(mark()));
    }

    #[test]
    fn every_flipped_bit_is_seen_and_zeros_are_empty() {
        assert_eq!(Mark::decode(&[0; SLOT_LEN]), None);
        for bit in 0..SLOT_LEN * 8 {
            let mut slot = mark().encode();
            slot[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Mark::decode(&slot), None, "bit {bit}");
        }
    }
}
