//! The topic of the groups' commits, Kafka's `__consumer_offsets`: made when the first commit needs
//! it, each partition when its first group does.
//!
//! Knows nothing about what a commit is.
//!
//! A partition whose directory is gone, though something was committed in it, is *lost*: made
//! again, it would let its groups begin at the start of everything, in silence. So the user must
//! ask for that.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::{Corruption, MarkKey, file_name};
use crate::group::OffsetLogs;
use crate::host::Host;
use crate::log::Log;
use crate::recovery::OpenMode;
use crate::topic::{PartitionDir, Topic, TopicConfig, TopicShared};
#[cfg(feature = "serde")]
use crate::types::serialized;
use crate::types::{CleanupPolicy, OFFSETS_TOPIC, Offset, PartitionId, TopicName};

use super::root::{Root, invalid_name};
use super::state::CatalogState;

/// Kafka's default, by which the hash of a group's id is taken.
const OFFSETS_PARTITIONS: u32 = 50;

/// Kafka's default (`offsets.topic.segment.bytes`).
const OFFSETS_SEGMENT_BYTES: u64 = 100 << 20;

pub(super) fn offsets_config() -> TopicConfig {
    TopicConfig::default()
        .partitions(OFFSETS_PARTITIONS)
        .segment_bytes(OFFSETS_SEGMENT_BYTES)
        .cleanup_policy(CleanupPolicy::Compact)
}

/// A partition that [`Broker::damaged_commits`](crate::Broker::damaged_commits) reports.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct DamagedCommits {
    /// Its number.
    pub partition: PartitionId,
    /// Most often [`Error::Corrupt`].
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::text"))]
    pub error: Error,
}

pub(super) struct Offsets {
    root: Arc<Root>,
    /// The partitions that opening found lost.
    lost: BTreeSet<PartitionId>,
}

impl Offsets {
    pub(super) fn new(root: Arc<Root>, lost: BTreeSet<PartitionId>) -> Self {
        Self { root, lost }
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
            // Another call was faster.
            (Err(Error::TopicExists { .. }), Some(topic)) => Ok(Arc::clone(topic.shared())),
            (made, _) => made,
        }
    }
}

/// The partitions that are lost. `committed` says how far each went, from what was noted outside of
/// its own files.
pub(super) fn lost_partitions(
    host: &Host,
    root: &Path,
    state: &CatalogState,
    committed: impl Fn(PartitionId) -> Offset,
) -> Result<BTreeSet<PartitionId>> {
    let name = TopicName::new(OFFSETS_TOPIC).ok();
    let Some(entry) = name.and_then(|name| state.find(&name)) else {
        return Ok(BTreeSet::new());
    };
    let mut lost = BTreeSet::new();
    for partition in 0..entry.partitions {
        let key = MarkKey {
            topic: entry.id,
            partition,
        };
        let mark = host.marks.find(key).map_or(0, |mark| mark.flushed_offset);
        if mark.max(committed(partition)) == 0 {
            continue;
        }
        let dir = PartitionDir::new(root, &entry.name, entry.id, partition);
        if !dir.exists(&host.disk)? {
            lost.insert(partition);
        }
    }
    Ok(lost)
}

impl OffsetLogs for Offsets {
    fn lost(&self, partition: PartitionId) -> Option<Error> {
        let name = file_name::partition_dir(OFFSETS_TOPIC, partition);
        let path = self.root.path.join(name);
        // The process that writes the root may have repaired it.
        let is_back = || {
            self.root.mode == OpenMode::Read && self.root.host.disk.exists(&path).unwrap_or(false)
        };
        let is_lost = self.lost.contains(&partition) && !is_back();
        is_lost.then(|| {
            let reason = Corruption::malformed(
                "the directory is missing, and what its groups have committed: close the broker \
                 and put the directory back from a copy, or run ottla::repair, which makes an \
                 empty one; or reset the group",
            );
            Error::corrupt(&path, 0, reason)
        })
    }

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
        let topic = self.make_topic()?;
        let dir = topic.dir(partition);
        if self.lost.contains(&partition) && !dir.exists(&self.root.host.disk)? {
            // The user has said to continue without it, and what the mark describes is gone.
            self.root.host.marks.forget(MarkKey {
                topic: topic.id(),
                partition,
            })?;
        }
        topic.log(partition).cloned()
    }
}
