//! What a poll returns: records with their partitions, and what was gained and lost.
//!
//! Knows nothing about how they were read.

use crate::topic::ConsumerRecord;
use crate::types::{Offset, PartitionId, TopicPartition};

/// What a [`poll`](crate::Consumer::poll) returns.
///
/// The records of one partition are together, in the order of their offsets. Iterate over it, or
/// over a reference to keep it.
#[derive(Debug, Default)]
#[must_use = "commit says that these records are done"]
pub struct ConsumerRecords {
    pub(super) records: Vec<ConsumerRecord>,
    pub(super) gained: Vec<(String, PartitionId)>,
    pub(super) lost: Vec<(String, PartitionId)>,
    pub(super) skipped: Vec<Skipped>,
}

/// Records that were gone before a group read them: retention or
/// [`truncate_prefix`](crate::Log::truncate_prefix) was faster.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Skipped {
    /// The partition.
    pub partition: TopicPartition,
    /// The offset that would have been read next.
    pub from: Offset,
    /// The offset that is read instead.
    pub to: Offset,
}

impl ConsumerRecords {
    /// The number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is no record; partitions may have been gained or lost all the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The records.
    pub fn iter(&self) -> std::slice::Iter<'_, ConsumerRecord> {
        self.records.iter()
    }

    /// The partitions that this poll took over. Reading begins where the group has committed, or
    /// where [`ConsumerConfig::start`](crate::ConsumerConfig::start) says.
    #[must_use]
    pub fn gained(&self) -> &[(String, PartitionId)] {
        &self.gained
    }

    /// The partitions that this poll gave up (or that were taken while the member was removed):
    /// another member has them, or will. One that came back is in [`gained`](Self::gained) too.
    #[must_use]
    pub fn lost(&self) -> &[(String, PartitionId)] {
        &self.lost
    }

    /// Where this poll jumped over records that were gone.
    #[must_use]
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }
}

impl IntoIterator for ConsumerRecords {
    type Item = ConsumerRecord;
    type IntoIter = std::vec::IntoIter<ConsumerRecord>;

    fn into_iter(self) -> Self::IntoIter {
        self.records.into_iter()
    }
}

impl<'a> IntoIterator for &'a ConsumerRecords {
    type Item = &'a ConsumerRecord;
    type IntoIter = std::slice::Iter<'a, ConsumerRecord>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
