//! Whether everything that Kafka's metadata names is in this directory, and no other node has a
//! say.
//!
//! Knows nothing about files but whether a partition's directory is there.
//!
//! 1. A root that is not alone must not be written. Appended records would never reach the other
//!    replicas, and a quorum of several voters would remove the records appended to its metadata,
//!    or never agree again.
//! 2. The newest state counts: a topic made on another node and moved here is here, and a cluster
//!    that shrank to one node is one node.

use std::path::Path;

use crate::disk::Disk;
use crate::error::{Error, IoContext, Result};
use crate::format::file_name;
use crate::format::metadata::PartitionRecord;
use crate::format::properties::RootIdentity;
use crate::format::uuid::Uuid;

use super::kafka::{KafkaState, KafkaTopic};

/// Older records of such topics are elsewhere.
const TIERED: &str = "remote.storage.enable";

/// In Kafka, all bytes of an unknown log directory but the last are 0. With this last byte the node
/// had one directory, or its metadata did not tell directories apart.
const ONE_OF_ONE: u8 = 0;

pub(super) struct LoneRoot<'a> {
    pub(super) disk: &'a Disk,
    pub(super) root: &'a Path,
    pub(super) identity: &'a RootIdentity,
}

/// Refuses a root that is not alone (I1). [`Error::Unsupported`] names the first obstacle, and what
/// to do.
pub(super) fn check(kafka: &KafkaState, place: &LoneRoot<'_>) -> Result<()> {
    place.check_quorum(kafka)?;
    if let Some((api_key, version)) = kafka.unknown {
        return Err(place.refused(&format!(
            "there is a record of kind {api_key} in version {version}, from a newer Kafka than \
             this crate knows: it may say where a partition is; use a newer version of the crate",
        )));
    }
    for topic in kafka.topics.values() {
        place.check_topic(topic)?;
    }
    Ok(())
}

impl LoneRoot<'_> {
    fn refused(&self, what: &str) -> Error {
        let metadata = self.root.join(file_name::CLUSTER_METADATA);
        Error::Unsupported {
            what: format!(
                "{what}, or open the directory read-only (says {})",
                metadata.display()
            ),
        }
    }

    fn check_quorum(&self, kafka: &KafkaState) -> Result<()> {
        if kafka.is_migrating {
            let what =
                "topics are still kept in ZooKeeper, too: finish the migration to KRaft first";
            return Err(self.refused(what));
        }
        let own = self.identity.node_id;
        match &kafka.voters {
            Some(voters) if voters.iter().any(|voter| *voter != own) => {
                let voters: Vec<_> = voters.iter().map(ToString::to_string).collect();
                Err(self.refused(&format!(
                    "node {own} is not alone: the nodes {} vote on the cluster's metadata; remove \
                     the other controllers first",
                    voters.join(", "),
                )))
            }
            _ => Ok(()),
        }
    }

    fn check_topic(&self, topic: &KafkaTopic) -> Result<()> {
        if topic.settings.get(TIERED).is_some_and(|is| is == "true") {
            return Err(self.refused(&format!(
                "topic {} is tiered ({TIERED}): a part of it is not in this directory; turn that \
                 off under the broker first",
                topic.name,
            )));
        }
        let count = u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX);
        for (number, partition) in (0..).zip(topic.partitions.values()) {
            if partition.partition != number || number >= count {
                return Err(self.not_here(topic, number, "is missing"));
            }
            if !is_alone(partition, self.identity.node_id) {
                let how = "is not on this node alone";
                return Err(self.not_here(topic, number, how));
            }
            if self.is_in_another_directory(topic, partition)? {
                let how = "is in another log directory";
                return Err(self.not_here(topic, number, how));
            }
        }
        Ok(())
    }

    fn not_here(&self, topic: &KafkaTopic, partition: u32, how: &str) -> Error {
        self.refused(&format!(
            "partition {partition} of topic {} {how}: only a node that holds every partition, in \
             one log directory, can be taken over; move the partition here first",
            topic.name,
        ))
    }

    fn is_in_another_directory(
        &self,
        topic: &KafkaTopic,
        partition: &PartitionRecord,
    ) -> Result<bool> {
        for id in &partition.directories {
            if is_another(id, self.identity) {
                return Ok(true);
            }
            if !is_known(id) && id.last().copied().unwrap_or(ONE_OF_ONE) != ONE_OF_ONE {
                // The node has several, and had not said yet which one it took.
                let name = file_name::partition_dir(&topic.name, partition.partition);
                let path = self.root.join(name);
                if !self.disk.exists(&path).at(&path, "access")? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

/// No other node holds the partition or is about to.
pub(super) fn is_alone(partition: &PartitionRecord, node: i32) -> bool {
    let others = partition.in_sync.iter().chain(&partition.adding);
    partition.replicas == [node] && others.into_iter().all(|broker| *broker == node)
}

/// No replica is on this node, or it is in another log directory.
pub(super) fn is_elsewhere(partition: &PartitionRecord, identity: &RootIdentity) -> bool {
    let replicas = partition.replicas.iter();
    let own = replicas
        .zip(0..)
        .find(|(node, _)| **node == identity.node_id);
    own.is_none_or(|(_, at): (_, usize)| {
        let directory = partition.directories.get(at);
        directory.is_some_and(|id| is_another(id, identity))
    })
}

fn is_another(id: &Uuid, identity: &RootIdentity) -> bool {
    is_known(id) && Some(*id) != identity.directory_id
}

fn is_known(id: &Uuid) -> bool {
    id.iter().take(15).any(|byte| *byte != 0)
}
