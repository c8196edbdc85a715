//! Where records went.
//!
//! Knows nothing about who put them there.

use std::ops::Range;

use super::{Offset, PartitionId};

/// Where a record was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Appended {
    /// The partition that was chosen.
    pub partition: PartitionId,
    /// The offset in it.
    pub offset: Offset,
}

/// Records of a call that one partition took as one batch: readers see all of them or none, also
/// after a crash.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct AppendedBatch {
    /// The partition.
    pub partition: PartitionId,
    /// In the order of the records.
    pub offsets: Range<Offset>,
}

impl Appended {
    pub(crate) const fn new(partition: PartitionId, offset: Offset) -> Self {
        Self { partition, offset }
    }
}

impl AppendedBatch {
    pub(crate) const fn new(partition: PartitionId, offsets: Range<Offset>) -> Self {
        Self { partition, offsets }
    }
}
