//! Kafka's metadata: the records that say which topics, partitions and settings there are.
//!
//! Knows nothing about what they mean for a broker. A record is the value of one record of a batch,
//! key null: unsigned varints for frame version (1), api key and version, and the fields of a
//! flexible version (see `wire.rs`):
//!
//! | record | api key, versions | fields |
//! | --- | --- | --- |
//! | TOPIC | 2, 0 | name, topic id |
//! | PARTITION | 3, 0-2, written as 1 | i32 partition, topic id, four arrays of i32 |
//! | | | (replicas, isr, removing, adding), i32 leader, i32 leader epoch, |
//! | | | i32 partition epoch, from version 1: directories (array of ids) |
//! | PARTITION CHANGE | 5, 0-2, written as 1 | i32 partition, topic id; what changed is tagged |
//! | CONFIG | 4, 0 | i8 resource type, resource, key, nullable value |
//! | REMOVE TOPIC | 9, 0 | topic id |
//! | FEATURE LEVEL | 12, 0 | name, i16 level |
//! | PRODUCER IDS | 15, 0 | i32 broker, i64 broker epoch, i64 next producer id |
//!
//! Other tagged fields of these are skipped. Other records, and other versions of these, are kept
//! as their bytes.

mod kinds;
mod partition;
mod quorum;
mod snapshot;
#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;

use crate::types::TopicId;

use super::Corruption;
use super::cursor::{Cursor, PutBytes};
use super::wire::{Family, PutWire};

pub(crate) use kinds::{Treatment, treatment};
pub(crate) use partition::{PartitionChange, PartitionRecord};
pub(crate) use quorum::{Voter, decode_quorum_state};
pub(crate) use snapshot::{Snapshot, decode_snapshot, encode_quorum, encode_snapshot, voters_in};

const FRAME_VERSION: u32 = 1;
const TOPIC: u32 = 2;
const PARTITION: u32 = 3;
const CONFIG: u32 = 4;
const PARTITION_CHANGE: u32 = 5;
const REMOVE_TOPIC: u32 = 9;
const FEATURE_LEVEL: u32 = 12;
const PRODUCER_IDS: u32 = 15;

const PARTITION_VERSION: u32 = 1;
/// What version 2 adds is tagged.
const PARTITION_VERSION_MAX: u32 = 2;

pub(crate) const TOPIC_RESOURCE: i8 = 2;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MetadataRecord {
    Topic {
        name: String,
        id: TopicId,
    },
    Partition(PartitionRecord),
    /// A partition is now on other brokers, or led by another one.
    PartitionChange(PartitionChange),
    Config {
        /// [`TOPIC_RESOURCE`] for a topic.
        resource_type: i8,
        /// The name of the topic.
        resource: String,
        key: String,
        /// `None` restores the default.
        value: Option<String>,
    },
    /// A topic is deleted, with its partitions and settings.
    RemoveTopic {
        id: TopicId,
    },
    /// The level of a feature of the cluster, above all `metadata.version`.
    FeatureLevel {
        name: String,
        level: i16,
    },
    /// Every producer id below `next_producer_id` has been assigned.
    ProducerIds {
        /// The broker that asked last.
        broker_id: i32,
        broker_epoch: i64,
        next_producer_id: i64,
    },
    Unknown {
        api_key: u32,
        version: u32,
        raw: Vec<u8>,
    },
}

impl MetadataRecord {
    pub(crate) fn decode(value: &[u8]) -> Result<Self, Corruption> {
        let mut fields = Cursor::new(value);
        if fields.uvarint()? != FRAME_VERSION {
            return Err(Corruption::malformed(
                "the frame of a metadata record is not of version 1",
            ));
        }
        let api_key = fields.uvarint()?;
        let version = fields.uvarint()?;
        let record = match (api_key, version) {
            (TOPIC, 0) => Self::Topic {
                name: string(&mut fields)?,
                id: TopicId(fields.array()?),
            },
            (PARTITION, 0..=PARTITION_VERSION_MAX) => {
                Self::Partition(PartitionRecord::decode(&mut fields, version)?)
            }
            (PARTITION_CHANGE, 0..=PARTITION_VERSION_MAX) => {
                let change = PartitionChange::decode(&mut fields)?;
                fields.finish()?;
                return Ok(Self::PartitionChange(change));
            }
            (CONFIG, 0) => Self::Config {
                resource_type: fields.i8()?,
                resource: string(&mut fields)?,
                key: string(&mut fields)?,
                value: fields
                    .nullable_string(Family::Flexible)?
                    .map(ToOwned::to_owned),
            },
            (REMOVE_TOPIC, 0) => Self::RemoveTopic {
                id: TopicId(fields.array()?),
            },
            (FEATURE_LEVEL, 0) => Self::FeatureLevel {
                name: string(&mut fields)?,
                level: fields.i16()?,
            },
            (PRODUCER_IDS, 0) => Self::ProducerIds {
                broker_id: fields.i32()?,
                broker_epoch: fields.i64()?,
                next_producer_id: fields.i64()?,
            },
            _ => {
                return Ok(Self::Unknown {
                    api_key,
                    version,
                    raw: fields.rest().to_vec(),
                });
            }
        };
        fields.tags(Family::Flexible)?;
        fields.finish()?;
        Ok(record)
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_uvarint(FRAME_VERSION);
        match self {
            Self::Topic { name, id } => {
                put_kind(out, TOPIC, 0);
                out.put_compact_string(name);
                out.put(&id.0);
            }
            Self::Partition(partition) => {
                put_kind(out, PARTITION, PARTITION_VERSION);
                partition.encode(out);
            }
            Self::PartitionChange(change) => {
                put_kind(out, PARTITION_CHANGE, PARTITION_VERSION);
                change.encode(out);
                return;
            }
            Self::Config {
                resource_type,
                resource,
                key,
                value,
            } => {
                put_kind(out, CONFIG, 0);
                out.put_i8(*resource_type);
                out.put_compact_string(resource);
                out.put_compact_string(key);
                out.put_nullable_compact_string(value.as_deref());
            }
            Self::RemoveTopic { id } => {
                put_kind(out, REMOVE_TOPIC, 0);
                out.put(&id.0);
            }
            Self::FeatureLevel { name, level } => {
                put_kind(out, FEATURE_LEVEL, 0);
                out.put_compact_string(name);
                out.put_i16(*level);
            }
            Self::ProducerIds {
                broker_id,
                broker_epoch,
                next_producer_id,
            } => {
                put_kind(out, PRODUCER_IDS, 0);
                out.put_i32(*broker_id);
                out.put_i64(*broker_epoch);
                out.put_i64(*next_producer_id);
            }
            Self::Unknown {
                api_key,
                version,
                raw,
            } => {
                put_kind(out, *api_key, *version);
                out.put(raw);
                return;
            }
        }
        out.put_no_tags();
    }
}

fn put_kind(out: &mut Vec<u8>, api_key: u32, version: u32) {
    out.put_uvarint(api_key);
    out.put_uvarint(version);
}

fn string(fields: &mut Cursor<'_>) -> Result<String, Corruption> {
    fields.string(Family::Flexible).map(ToOwned::to_owned)
}
