//! The topic that the groups keep their commits in: Kafka's `__consumer_offsets`, made when the
//! first commit needs it, each partition when its first group does.
//!
//! Knows nothing about what a commit is.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::group::OffsetLogs;
use crate::log::Log;
use crate::topic::{Topic, TopicConfig, TopicShared};
use crate::types::{CleanupPolicy, PartitionId, TopicName};

use super::root::{Root, invalid_name};

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

/// Kafka's default for it (`offsets.topic.segment.bytes`).
const OFFSETS_SEGMENT_BYTES: u64 = 100 << 20;

/// Whether users may not make, change or delete a topic of this name.
pub(super) fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

/// The settings of `__consumer_offsets`.
pub(super) fn offsets_config() -> TopicConfig {
    TopicConfig::default()
        .partitions(OFFSETS_PARTITIONS)
        .segment_bytes(OFFSETS_SEGMENT_BYTES)
        .cleanup_policy(CleanupPolicy::Compact)
}

/// The logs of `__consumer_offsets`.
pub(super) struct Offsets {
    root: Arc<Root>,
}

impl Offsets {
    pub(super) fn new(root: Arc<Root>) -> Self {
        Self { root }
    }

    fn there(&self) -> Option<Topic> {
        self.root.directory.find(OFFSETS_TOPIC)
    }

    fn make_topic(&self) -> Result<Arc<TopicShared>> {
        if let Some(topic) = self.there() {
            return Ok(Arc::clone(topic.shared()));
        }
        let name =
            TopicName::new(OFFSETS_TOPIC).map_err(|reason| invalid_name(OFFSETS_TOPIC, reason))?;
        match (self.root.create(name, offsets_config()), self.there()) {
            // Somebody was faster.
            (Err(Error::TopicExists { .. }), Some(topic)) => Ok(Arc::clone(topic.shared())),
            (made, _) => made,
        }
    }
}

impl OffsetLogs for Offsets {
    fn count(&self) -> u32 {
        self.there()
            .map_or(OFFSETS_PARTITIONS, |topic| topic.partition_count())
    }

    fn find(&self, partition: PartitionId) -> Result<Option<Log>> {
        let Some(topic) = self.there() else {
            return Ok(None);
        };
        if !topic.shared().dir(partition).exists(&self.root.host.disk)? {
            return Ok(None);
        }
        topic.partition(partition).map(Some)
    }

    fn make(&self, partition: PartitionId) -> Result<Log> {
        self.root.check_writable()?;
        self.make_topic()?.log(partition).cloned()
    }
}
