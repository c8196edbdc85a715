//! What a record of the tests says of itself.
//!
//! Knows nothing about logs: its offset, the first offset and the size of its batch, and bytes that
//! follow from its offset and from nothing else.

use crate::child::Rng;

/// What a record says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) offset: u64,
    pub(crate) batch: u64,
    pub(crate) of: u64,
}

impl Said {
    /// The value of the record, of this many bytes at least.
    pub(crate) fn encode(self, bytes: usize) -> Vec<u8> {
        let mut value = Vec::with_capacity(bytes + 32);
        for field in [self.offset, self.batch, self.of] {
            value.extend_from_slice(&field.to_le_bytes());
        }
        let mut filling = Rng(self.offset);
        while value.len() < bytes {
            value.extend_from_slice(&filling.next().to_le_bytes());
        }
        value
    }

    /// What a value says; panics when it is not exactly what was written.
    pub(crate) fn decode(value: &[u8]) -> Self {
        let field = |at: usize| u64::from_le_bytes(value[at * 8..at * 8 + 8].try_into().unwrap());
        let said = Self {
            offset: field(0),
            batch: field(1),
            of: field(2),
        };
        let mut filling = Rng(said.offset);
        for bytes in value[24..].chunks(8) {
            assert_eq!(bytes, filling.next().to_le_bytes(), "{said:?} is torn");
        }
        said
    }
}

/// Checks a log's records one by one: dense, each what was written there, batches whole.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    next: u64,
    /// Where the batch that was begun ends.
    batch_end: u64,
}

impl Reading {
    pub(crate) fn take(&mut self, offset: u64, value: &[u8]) {
        let said = Said::decode(value);
        assert_eq!((offset, said.offset), (self.next, self.next), "{said:?}");
        if said.batch == offset {
            assert_eq!(offset, self.batch_end, "a batch in the middle of another");
            self.batch_end = offset + said.of;
        }
        assert!(offset < self.batch_end, "{said:?} without its batch");
        self.next += 1;
    }

    /// The end of everything: no batch may be cut.
    pub(crate) fn end(&self) -> u64 {
        assert_eq!(self.next, self.batch_end, "a batch that is cut");
        self.next
    }
}
