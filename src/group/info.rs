//! A group as seen from outside: plain values.
//!
//! Knows nothing about how they came about.

use crate::types::{Offset, PartitionId};

use super::GroupState;

/// What [`ConsumerGroup::describe`](crate::ConsumerGroup::describe) and
/// [`Broker::groups`](crate::Broker::groups) return.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct GroupInfo {
    /// The group.
    pub id: String,
    /// Its state.
    pub state: GroupState,
    /// Rises whenever the shares of the members change. Starts again with every opening of the
    /// broker.
    pub generation: u64,
    /// The members, oldest first.
    pub members: Vec<MemberInfo>,
    /// Every partition that a member subscribed to or that was committed, by topic and number.
    pub partitions: Vec<GroupPartition>,
}

impl GroupInfo {
    /// Records that the group has not committed, over all partitions.
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
    /// The name for this stay in the group.
    pub id: String,
    /// The name of a static member.
    pub static_id: Option<String>,
    /// The topics of its subscription, sorted.
    pub topics: Vec<String>,
    /// Its partitions, sorted.
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
    /// The next offset to read, if one was committed.
    pub committed: Option<Offset>,
    /// The text that was committed with it.
    pub metadata: Option<String>,
    /// The first offset that can be read.
    pub start: Offset,
    /// The offset below which readers see the records.
    pub end: Offset,
    /// Records that are there and not committed; without a commit, those from where the group began
    /// the partition, or all. If its member reads committed records only, records of open
    /// transactions do not count.
    pub lag: u64,
    /// Records that were gone before they were committed: retention was faster.
    pub unread: u64,
    /// Its member.
    pub member: Option<String>,
    /// Why the partition's log cannot be read; its numbers are 0 then.
    pub problem: Option<String>,
}
