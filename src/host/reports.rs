//! What upkeep did to a log.
//!
//! Knows nothing about how it is done.

use crate::types::Offset;

/// What retention did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RetentionReport {
    /// The number of segments that were deleted.
    pub segments_deleted: u64,
    /// The size of their batches, in bytes.
    pub bytes_deleted: u64,
    /// The first offset that can be read now.
    pub start_offset: Offset,
}

/// What a compaction did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct CompactionReport {
    /// Below this offset every key has only its newest record (except tombstones, which stay for
    /// `delete.retention.ms`).
    pub cleaned_to: Offset,
    /// The number of passes over the log.
    pub rounds: u64,
    /// The size of the segments that were read, in bytes.
    pub read_bytes: u64,
    /// The size of the segments that replaced them, in bytes.
    pub written_bytes: u64,
    /// The number of records that were dropped.
    pub records_dropped: u64,
    /// The number of segments that were replaced.
    pub segments_before: u64,
    /// The number of segments that replaced them.
    pub segments_after: u64,
}
