//! A group as it looks from outside: plain values.
//!
//! Knows nothing about how any of it came about.

use crate::types::{Offset, PartitionId};

use super::GroupState;

/// What [`ConsumerGroup::describe`](crate::ConsumerGroup::describe) and
/// [`Broker::groups`](crate::Broker::groups) give.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct GroupInfo {
    /// The group.
    pub id: String,
    /// Where it is in its life.
    pub state: GroupState,
    /// Rises whenever it changes who is to have what. It starts again with every opening of the
    /// broker.
    pub generation: u64,
    /// Its members, oldest first.
    pub members: Vec<MemberInfo>,
    /// Every partition that a member subscribed to or that was committed, by topic and number.
    pub partitions: Vec<GroupPartition>,
}

impl GroupInfo {
    /// How many records the group has not committed yet, over all its partitions.
    #[must_use]
    pub fn lag(&self) -> u64 {
        let lags = self.partitions.iter().map(|partition| partition.lag);
        lags.fold(0, u64::saturating_add)
    }
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct MemberInfo {
    /// The name that it has for this stay in the group.
    pub id: String,
    /// The name that it has across its stays, when it is a static member.
    pub static_id: Option<String>,
    /// The topics that it subscribed to, sorted.
    pub topics: Vec<String>,
    /// The partitions that it has, sorted.
    pub partitions: Vec<(String, PartitionId)>,
}

/// How far a group is in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct GroupPartition {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: PartitionId,
    /// The next offset to read, where the group has committed one.
    pub committed: Option<Offset>,
    /// The text that was committed beside it.
    pub metadata: Option<String>,
    /// The first offset that can be read.
    pub start: Offset,
    /// The offset below which readers see the records.
    pub end: Offset,
    /// Records that are there and not committed; without a commit, those from where the group
    /// began the partition, and all where it has not begun. While a member has the partition that
    /// reads committed records only, records of open transactions are not counted.
    pub lag: u64,
    /// Records that were gone before the group committed them: retention was faster.
    pub unread: u64,
    /// The member that has the partition.
    pub member: Option<String>,
    /// Why the partition's log cannot be looked at; its numbers are 0 then.
    pub problem: Option<String>,
}
