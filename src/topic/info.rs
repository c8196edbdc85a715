//! A topic as seen from outside: plain values.
//!
//! Knows nothing about how they are found out.

use crate::types::{Offset, PartitionId};

use super::TopicConfig;

/// A topic and its partitions at one moment.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct TopicInfo {
    /// The name.
    pub name: String,
    /// Kafka's id: a topic that is deleted and created again gets another one.
    pub id: String,
    /// The partitions, ordered by number.
    pub partitions: Vec<PartitionInfo>,
    /// The settings.
    pub config: TopicConfig,
}

/// A partition at one moment. Its offsets are 0 if its log cannot be opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PartitionInfo {
    /// The number.
    pub id: PartitionId,
    /// The first offset that can be read.
    pub start_offset: Offset,
    /// Records below this offset survive power loss.
    pub flushed_offset: Offset,
    /// Readers see the records below this offset.
    pub high_watermark: Offset,
    /// The offset of the next record.
    pub end_offset: Offset,
    /// The number of segments.
    pub segments: usize,
    /// The size of the batches in bytes.
    pub size_bytes: u64,
    /// Why the log cannot be used, if so.
    pub problem: Option<String>,
}
