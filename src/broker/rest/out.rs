//! What a broker finds in a root at rest: how far each log goes, and which topics there are.
//!
//! Knows nothing about what is in the logs: it reads the catalog and the marks.
//!
//! 1. Before any broker has run, `bootstrap.checkpoint` holds all topics, with partitions and
//!    settings, for a broker with an empty metadata log. The checkpoint in `__cluster_metadata-0`
//!    makes the node the only voter of a quorum that can grow.
//! 2. Afterwards the broker's metadata log stays as it is, and differences to the catalog are
//!    appended as a controller would have. So nothing that Kafka holds is lost.
//! 3. Producer ids start above every id that a broker has handed out: records of a new producer
//!    with an old number would be taken for duplicates and dropped.

use std::path::Path;

use crate::dir::{metadata_files, replace_if_other};
use crate::disk::Disk;
use crate::error::{Error, IoContext, Result};
use crate::format::metadata::{
    MetadataRecord, PartitionRecord, TOPIC_RESOURCE, Voter, encode_quorum, encode_snapshot,
};
use crate::format::properties::RootIdentity;
use crate::format::{ENCODED_BYTES_MAX, checkpoint};
use crate::format::{Mark, MarkKey, file_name};
use crate::types::{Durability, OFFSETS_TOPIC, Offset, PartitionId, Timestamp};

use super::super::root::Root;
use super::super::state::{CatalogState, TopicEntry};
use super::back::lost_recovery_points;
use super::kafka::{self, KafkaState};
use super::settings::{changes, to_kafka};

/// Its level says which metadata records a broker may meet.
const METADATA_VERSION: &str = "metadata.version";

/// What clients of newer protocols need, by the metadata version from which on Kafka's own format
/// tool writes it: 4.0 brought the new group protocol and fenced transactions, 4.2 share groups. A
/// broker does not start with a level that it does not know, so none is ahead of the metadata
/// version. What is left out (`eligible.leader.replicas.version`, `streams.version`) can be raised
/// on the running broker.
const FEATURES: [(u32, &str, i16); 3] = [
    (22, "group.version", 1),
    (24, "transaction.version", 2),
    (28, "share.version", 1),
];

/// So the same topics make the same files.
const NO_TIME: Timestamp = Timestamp::from_millis(0);

/// Where the controller listens; a broker corrects what differs.
const LISTENER: (&str, &str, u16) = ("CONTROLLER", "localhost", 9093);

pub(super) fn write(root: &Root, catalog: &CatalogState, identity: &RootIdentity) -> Result<()> {
    write_checkpoints(root, catalog)?;
    let (disk, path) = (&root.host.disk, &root.path);
    let out = Outgoing {
        disk,
        root: path,
        catalog,
        identity,
        broker: root.config.durability,
    };
    let files = metadata_files(disk, path)?;
    if let Some(kafka) = KafkaState::read(&root.host, path, &files, false)? {
        let records = out.differences(&kafka)?;
        if records.is_empty() {
            return Ok(());
        }
        return kafka::append(&root.host, path, &records);
    }
    let dir = path.join(file_name::CLUSTER_METADATA);
    disk.create_dir(&dir).at(&dir, "create the directory")?;
    let quorum = dir.join(file_name::QUORUM_CHECKPOINT);
    let bytes = encode_quorum(&[out.voter()], NO_TIME)
        .map_err(|error| Error::refused(error, ENCODED_BYTES_MAX))?;
    replace_if_other(disk, &quorum, &bytes)?;
    let records = out.bootstrap(root.config.metadata_version)?;
    let bootstrap = path.join(file_name::BOOTSTRAP);
    let bytes = encode_snapshot(&records, NO_TIME)
        .map_err(|error| Error::refused(error, ENCODED_BYTES_MAX))?;
    replace_if_other(disk, &bootstrap, &bytes)
}

struct Outgoing<'a> {
    disk: &'a Disk,
    root: &'a Path,
    catalog: &'a CatalogState,
    identity: &'a RootIdentity,
    broker: Durability,
}

impl Outgoing<'_> {
    fn voter(&self) -> Voter {
        let (listener, host, port) = LISTENER;
        Voter {
            node_id: self.identity.node_id,
            directory_id: self.identity.directory_id.unwrap_or_default(),
            listener: listener.to_owned(),
            host: host.to_owned(),
            port,
        }
    }

    /// The records of `bootstrap.checkpoint` (I1).
    fn bootstrap(&self, level: u32) -> Result<Vec<MetadataRecord>> {
        let mut records = features(level);
        // Above every id that was handed out (I3).
        records.push(MetadataRecord::ProducerIds {
            broker_id: self.identity.node_id,
            broker_epoch: 0,
            next_producer_id: self.catalog.next_producer_id(),
        });
        for entry in self.catalog.topics() {
            self.create(entry, &mut records)?;
        }
        Ok(records)
    }

    /// The records to append to the broker's metadata log (I2).
    fn differences(&self, kafka: &KafkaState) -> Result<Vec<MetadataRecord>> {
        let mut records = Vec::new();
        let gone = kafka.topics.iter();
        for (id, topic) in gone.filter(|(id, _)| !self.catalog.has(**id)) {
            // Without these, a broker that reads of the removal and of a new topic of this name at
            // once would give the new one the settings of the old one.
            let keys = topic.settings.keys();
            records.extend(keys.map(|key| setting(&topic.name, key, None)));
            records.push(MetadataRecord::RemoveTopic { id: *id });
        }
        for entry in self.catalog.topics() {
            let Some(theirs) = kafka.topics.get(&entry.id) else {
                self.create(entry, &mut records)?;
                continue;
            };
            let changes = changes(&theirs.settings, entry, self.broker).into_iter();
            records.extend(
                changes.map(|(key, value)| setting(entry.name.as_str(), &key, value.as_ref())),
            );
            let there = u32::try_from(theirs.partitions.len()).unwrap_or(u32::MAX);
            for partition in there..entry.partitions {
                records.push(self.partition(entry, partition)?);
            }
        }
        // A controller would drop these with a transaction that was left open.
        if !records.is_empty() && kafka.is_in_transaction() {
            records.insert(0, kafka::abort_transaction());
        }
        Ok(records)
    }

    fn create(&self, entry: &TopicEntry, records: &mut Vec<MetadataRecord>) -> Result<()> {
        records.push(MetadataRecord::Topic {
            name: entry.name.to_string(),
            id: entry.id,
        });
        let settings = to_kafka(entry, self.broker);
        records.extend(
            settings
                .iter()
                .map(|(key, value)| setting(entry.name.as_str(), key, Some(value))),
        );
        for partition in 0..entry.partitions {
            records.push(self.partition(entry, partition)?);
        }
        Ok(())
    }

    fn partition(&self, entry: &TopicEntry, partition: PartitionId) -> Result<MetadataRecord> {
        let node = self.identity.node_id;
        Ok(MetadataRecord::Partition(PartitionRecord {
            partition,
            topic: entry.id,
            replicas: vec![node],
            in_sync: vec![node],
            removing: Vec::new(),
            adding: Vec::new(),
            leader: node,
            leader_epoch: self.latest_epoch(entry, partition)?,
            partition_epoch: 0,
            directories: vec![self.identity.directory_id.unwrap_or_default()],
        }))
    }

    /// The newest leader epoch: a broker that reads of a smaller one forgets the newest.
    fn latest_epoch(&self, entry: &TopicEntry, partition: PartitionId) -> Result<i32> {
        let dir = file_name::partition_dir(entry.name.as_str(), partition);
        let path = self.root.join(dir).join(file_name::LEADER_EPOCHS);
        let bytes = self
            .disk
            .read_small(&path, checkpoint::SIZE_MAX)
            .at(&path, "read")?;
        let epochs = checkpoint::decode_epochs(&bytes.unwrap_or_default()).unwrap_or_default();
        Ok(epochs.last().map_or(0, |latest| latest.epoch))
    }
}

/// The metadata version comes first.
fn features(level: u32) -> Vec<MetadataRecord> {
    let version = i16::try_from(level).unwrap_or(i16::MAX);
    let all = FEATURES.iter().filter(|(from, ..)| level >= *from);
    let all = all.map(|(_, name, level)| (*name, *level));
    std::iter::once((METADATA_VERSION, version))
        .chain(all)
        .map(|(name, level)| MetadataRecord::FeatureLevel {
            name: name.to_owned(),
            level,
        })
        .collect()
}

fn setting(topic: &str, key: &str, value: Option<&String>) -> MetadataRecord {
    MetadataRecord::Config {
        resource_type: TOPIC_RESOURCE,
        resource: topic.to_owned(),
        key: key.to_owned(),
        value: value.cloned(),
    }
}

/// The marks, in Kafka's files.
fn write_checkpoints(root: &Root, catalog: &CatalogState) -> Result<()> {
    let mut marks: Vec<(&str, PartitionId, Mark)> = Vec::new();
    for entry in catalog.topics() {
        for partition in 0..entry.partitions {
            let key = MarkKey {
                topic: entry.id,
                partition,
            };
            if let Some(mark) = root.host.marks.find(key) {
                marks.push((entry.name.as_str(), partition, mark));
            }
        }
    }
    marks.sort_unstable_by_key(|(topic, partition, _)| (*topic, *partition));
    let lost = lost_recovery_points(&root.host, &root.path, catalog)?;
    let write = |name: &str, offset: fn(&Mark) -> Option<Offset>| {
        let mut lines: Vec<_> = marks
            .iter()
            .filter_map(|(topic, partition, mark)| Some((*topic, *partition, offset(mark)?)))
            .collect();
        if name == file_name::RECOVERY_POINTS {
            let marked = |partition: &PartitionId| {
                let mut lines = lines.iter();
                lines.any(|(topic, of, _)| *topic == OFFSETS_TOPIC && of == partition)
            };
            let lost: Vec<_> = lost.iter().filter(|(of, _)| !marked(of)).collect();
            let lost = lost.into_iter();
            lines.extend(lost.map(|(partition, at)| (OFFSETS_TOPIC, *partition, *at)));
        }
        let path = root.path.join(name);
        let text = checkpoint::encode_offsets(lines.into_iter());
        replace_if_other(&root.host.disk, &path, text.as_bytes())
    };
    write(file_name::RECOVERY_POINTS, |mark| Some(mark.flushed_offset))?;
    write(file_name::HIGH_WATERMARKS, |mark| Some(mark.flushed_offset))?;
    write(file_name::LOG_STARTS, |mark| {
        Some(mark.log_start_offset).filter(|start| *start > 0)
    })?;
    write(file_name::CLEANED, |mark| {
        Some(mark.cleaned_offset).filter(|cleaned| *cleaned > 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metadata_version_comes_with_the_feature_levels_of_its_release() {
        // As `kafka-storage version-mapping` of 4.3.1 prints them.
        for (version, group, transaction, share) in [
            (21, 0, 0, 0),
            (22, 1, 0, 0),
            (23, 1, 0, 0),
            (25, 1, 2, 0),
            (27, 1, 2, 0),
            (29, 1, 2, 1),
            (30, 1, 2, 1),
        ] {
            let levels = [
                (METADATA_VERSION, version),
                ("group.version", group),
                ("transaction.version", transaction),
                ("share.version", share),
            ];
            let expected = levels.into_iter().filter(|(_, level)| *level > 0);
            let expected: Vec<_> = expected
                .map(|(name, level)| MetadataRecord::FeatureLevel {
                    name: name.to_owned(),
                    level,
                })
                .collect();
            let level = u32::try_from(version).unwrap();
            assert_eq!(features(level), expected);
        }
    }
}
