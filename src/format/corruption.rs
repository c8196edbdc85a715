//! What can be wrong with bytes, without any word about where they came from.
//!
//! Knows nothing about paths and positions: the floors above add them.

use crate::types::{Compression, Offset, to_u64};

/// What is wrong with bytes that were read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Corruption {
    /// The bytes end before the value does.
    #[error("{needed} bytes are needed and {available} are there")]
    #[non_exhaustive]
    Truncated {
        /// Bytes that the value takes.
        needed: u64,
        /// Bytes that are there.
        available: u64,
    },

    /// The length field of a batch says something that no batch can be.
    #[error("a batch cannot have the length {found}")]
    #[non_exhaustive]
    BatchLength {
        /// What the field says.
        found: i32,
    },

    /// The batch is of another format than version 2. Versions 0 and 1 are those of Kafka before
    /// 0.11.
    #[error("the batch is of format version {found} instead of 2")]
    #[non_exhaustive]
    Magic {
        /// The version that the batch names.
        found: i8,
    },

    /// The checksum does not fit the bytes.
    #[error("the checksum is {stored:08x} and the bytes give {computed:08x}")]
    #[non_exhaustive]
    CrcMismatch {
        /// The checksum that stands beside the bytes.
        stored: u32,
        /// The checksum that they give.
        computed: u32,
    },

    /// An offset does not follow from what stands before it.
    #[error("offset {found} stands where {expected} or a later one belongs")]
    #[non_exhaustive]
    Offset {
        /// The first offset that may stand there.
        expected: Offset,
        /// The offset that does.
        found: Offset,
    },

    /// A batch claims more records than it has offsets for.
    #[error("a batch of {offsets} offsets cannot hold {found} records")]
    #[non_exhaustive]
    RecordCount {
        /// What the count field says.
        found: i32,
        /// How many offsets the batch takes.
        offsets: u64,
    },

    /// A record inside a batch whose checksum is right.
    #[error("record {index} of the batch: {what}")]
    #[non_exhaustive]
    Record {
        /// Which record, counted from 0.
        index: u32,
        /// What is wrong with it.
        what: &'static str,
    },

    /// The codec bits name no codec.
    #[error("there is no codec {found}")]
    #[non_exhaustive]
    Codec {
        /// What the bits say.
        found: u8,
    },

    /// The packed records unpack to more than they may.
    #[error("the records unpack to more than {limit} bytes")]
    #[non_exhaustive]
    TooLarge {
        /// The most that was allowed, in bytes.
        limit: u64,
    },

    /// The packed records do not unpack.
    #[error("the records are not {codec:?} data")]
    #[non_exhaustive]
    Decompression {
        /// The codec that the batch names.
        codec: Compression,
    },

    /// Any other rule of the format that the bytes break.
    #[error("{what}")]
    #[non_exhaustive]
    Malformed {
        /// What is wrong, as a sentence.
        what: &'static str,
    },
}

/// Reports have it in words.
#[cfg(feature = "serde")]
impl serde::Serialize for Corruption {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Corruption {
    /// `needed` bytes were to be read and `available` are there.
    pub(crate) fn truncated(needed: usize, available: usize) -> Self {
        Self::Truncated {
            needed: to_u64(needed),
            available: to_u64(available),
        }
    }

    /// An offset that does not follow.
    pub(crate) const fn offset(expected: Offset, found: Offset) -> Self {
        Self::Offset { expected, found }
    }

    /// A broken rule.
    pub(crate) const fn malformed(what: &'static str) -> Self {
        Self::Malformed { what }
    }
}

/// Why bytes could not be decoded: they are wrong, or this build lacks what they need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DecodeError {
    /// The bytes are wrong.
    Corrupt(Corruption),
    /// The bytes may be right; what is missing in this build.
    Unsupported(&'static str),
}

impl From<Corruption> for DecodeError {
    fn from(reason: Corruption) -> Self {
        Self::Corrupt(reason)
    }
}

/// Why records could not be encoded. Nothing that counts was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EncodeError {
    /// What is wrong with the record.
    Invalid(&'static str),
    /// The batch would take this many bytes (or more) and the format cannot hold them.
    TooLarge {
        /// Bytes that the batch would take.
        size: u64,
    },
    /// What is missing in this build.
    Unsupported(&'static str),
}
