//! A truncation that is under way: the file is synced before the first byte is cut and removed at
//! the end, so that after a crash the next opening finishes the truncation.
//!
//! Knows nothing about files. Our own, big-endian:
//!
//! | at | bytes | field |
//! | ---: | ---: | --- |
//! | 0 | 4 | CRC-32 of everything after it |
//! | 4 | 4 | `OTi1` |
//! | 8 | 8 | new end offset |
//! | 16 | 8 | base offset of the segment that becomes the active one |
//! | 24 | 8 | position in it where the log is cut |
//! | 32 | | a batch to put there: what is left of one that was cut in two; may be empty |
//!
//! Valid if and only if the CRC and the four letters fit, and nothing is missing.

use crate::types::{Offset, Position};

use super::cursor::Cursor;

const LETTERS: [u8; 4] = *b"OTi1";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TruncateIntent {
    pub(crate) new_end: Offset,
    pub(crate) segment_base: Offset,
    pub(crate) position: Position,
    /// A batch to write at `position`; may be empty.
    pub(crate) head: Vec<u8>,
}

impl TruncateIntent {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = LETTERS.to_vec();
        for number in [self.new_end, self.segment_base, self.position.0] {
            body.extend_from_slice(&number.to_be_bytes());
        }
        body.extend_from_slice(&self.head);
        let mut bytes = crc32fast::hash(&body).to_be_bytes().to_vec();
        bytes.append(&mut body);
        bytes
    }

    /// `None` when the bytes were torn: then the truncation had not begun.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        let crc = cursor.u32().ok()?;
        if crc != crc32fast::hash(cursor.rest()) || cursor.array::<4>().ok()? != LETTERS {
            return None;
        }
        Some(Self {
            new_end: cursor.u64().ok()?,
            segment_base: cursor.u64().ok()?,
            position: Position(cursor.u64().ok()?),
            head: cursor.rest().to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intent_comes_back_and_a_torn_one_does_not() {
        let intent = TruncateIntent {
            new_end: 7,
            segment_base: 3,
            position: Position(99),
            head: vec![1, 2, 3],
        };
        let bytes = intent.encode();
        assert_eq!(TruncateIntent::decode(&bytes), Some(intent));
        for cut in 0..bytes.len() {
            assert_eq!(TruncateIntent::decode(&bytes[..cut]), None);
        }
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            assert_eq!(TruncateIntent::decode(&bytes), None);
        }
    }
}
