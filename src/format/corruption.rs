//! What can be wrong with bytes.
//!
//! Knows nothing about where they came from: the floors above add paths and positions.

use crate::types::{Compression, Offset, to_u64};

/// What is wrong with bytes that were read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Corruption {
    /// The bytes end before the value does.
    #[error("{needed} bytes are needed and {available} are there")]
    #[non_exhaustive]
    Truncated {
        /// Bytes of the value.
        needed: u64,
        /// Bytes found.
        available: u64,
    },

    /// The length field of a batch is impossible.
    #[error("a batch cannot have the length {found}")]
    #[non_exhaustive]
    BatchLength {
        /// The field.
        found: i32,
    },

    /// The batch is of another format than version 2. Versions 0 and 1 are from before Kafka 0.11.
    #[error("the batch is of format version {found} instead of 2")]
    #[non_exhaustive]
    Magic {
        /// The batch's version.
        found: i8,
    },

    /// The checksum does not fit the bytes.
    #[error("the checksum is {stored:08x} and the bytes give {computed:08x}")]
    #[non_exhaustive]
    CrcMismatch {
        /// The checksum beside the bytes.
        stored: u32,
        /// The checksum of the bytes.
        computed: u32,
    },

    /// An offset does not follow the one before it.
    #[error("offset {found} stands where {expected} or a later one belongs")]
    #[non_exhaustive]
    Offset {
        /// The lowest possible offset.
        expected: Offset,
        /// The offset found.
        found: Offset,
    },

    /// A batch has fewer offsets than records.
    #[error("a batch of {offsets} offsets cannot hold {found} records")]
    #[non_exhaustive]
    RecordCount {
        /// The count field.
        found: i32,
        /// The batch's offsets.
        offsets: u64,
    },

    /// A record inside a batch whose checksum is right.
    #[error("record {index} of the batch: {what}")]
    #[non_exhaustive]
    Record {
        /// Its number, from 0.
        index: u32,
        /// What is wrong.
        what: &'static str,
    },

    /// The codec bits name no codec.
    #[error("there is no codec {found}")]
    #[non_exhaustive]
    Codec {
        /// The bits.
        found: u8,
    },

    /// The packed records unpack to more than they may.
    #[error("the records unpack to more than {limit} bytes")]
    #[non_exhaustive]
    TooLarge {
        /// The most allowed, in bytes.
        limit: u64,
    },

    /// The packed records do not unpack.
    #[error("the records are not {codec:?} data")]
    #[non_exhaustive]
    Decompression {
        /// The codec of the batch.
        codec: Compression,
    },

    /// Any other broken rule of the format.
    #[error("{what}")]
    #[non_exhaustive]
    Malformed {
        /// What is wrong, as a sentence.
        what: &'static str,
    },
}

/// In words, for reports.
#[cfg(feature = "serde")]
impl serde::Serialize for Corruption {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Corruption {
    pub(crate) fn truncated(needed: usize, available: usize) -> Self {
        Self::Truncated {
            needed: to_u64(needed),
            available: to_u64(available),
        }
    }

    pub(crate) const fn offset(expected: Offset, found: Offset) -> Self {
        Self::Offset { expected, found }
    }

    pub(crate) const fn malformed(what: &'static str) -> Self {
        Self::Malformed { what }
    }
}

/// Why bytes could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DecodeError {
    Corrupt(Corruption),
    /// What this build lacks; the bytes may be right.
    Unsupported(&'static str),
}

impl From<Corruption> for DecodeError {
    fn from(reason: Corruption) -> Self {
        Self::Corrupt(reason)
    }
}

/// Why records could not be encoded; what was written of them is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EncodeError {
    /// What is wrong with the record.
    Invalid(&'static str),
    /// The batch would take this many bytes or more, which the format cannot hold.
    TooLarge {
        /// Bytes that the batch would take.
        size: u64,
    },
    /// What this build lacks.
    Unsupported(&'static str),
}
