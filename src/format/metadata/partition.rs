//! Partitions in Kafka's metadata, and how they change.
//!
//! Knows nothing about what a move means for files. Fields as in `mod.rs`; those of a change are
//! tagged, and one that is missing or null says that nothing changed:
//!
//! | tag | field of a change |
//! | ---: | --- |
//! | 0 | in-sync replicas, array of i32 |
//! | 1 | leader, i32: -1 for none, -2 for "as it was" |
//! | 2, 3, 4 | replicas, those to be removed, those to be added: arrays of i32 |
//! | 5, 6, 7 | how the leader came to lead, who else may: not needed here |
//! | 8 | the log directory on each of the replicas, array of ids |

use crate::types::{PartitionId, TopicId};

use super::super::Corruption;
use super::super::cursor::{Cursor, PutBytes};
use super::super::uuid::Uuid;
use super::super::wire::{Family, PutWire};

const IN_SYNC: u32 = 0;
const LEADER: u32 = 1;
const REPLICAS: u32 = 2;
const REMOVING: u32 = 3;
const ADDING: u32 = 4;
const DIRECTORIES: u32 = 8;

const SAME_LEADER: i32 = -2;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartitionRecord {
    pub(crate) partition: PartitionId,
    pub(crate) topic: TopicId,
    pub(crate) replicas: Vec<i32>,
    /// The replicas that have every record.
    pub(crate) in_sync: Vec<i32>,
    pub(crate) removing: Vec<i32>,
    pub(crate) adding: Vec<i32>,
    /// -1 for none.
    pub(crate) leader: i32,
    pub(crate) leader_epoch: i32,
    pub(crate) partition_epoch: i32,
    /// The log directory on each of the replicas.
    pub(crate) directories: Vec<Uuid>,
}

/// `None` where nothing changed; the fields are those of `PartitionRecord`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PartitionChange {
    pub(crate) partition: PartitionId,
    pub(crate) topic: TopicId,
    pub(crate) replicas: Option<Vec<i32>>,
    pub(crate) in_sync: Option<Vec<i32>>,
    pub(crate) removing: Option<Vec<i32>>,
    pub(crate) adding: Option<Vec<i32>>,
    pub(crate) leader: Option<i32>,
    pub(crate) directories: Option<Vec<Uuid>>,
}

impl PartitionRecord {
    /// Applies a change, as Kafka's controller does.
    pub(crate) fn change(&mut self, change: PartitionChange) {
        fn replace<T>(old: &mut T, new: Option<T>) {
            if let Some(new) = new {
                *old = new;
            }
        }
        // Directories belong to the replicas that they were named with.
        if change.replicas.is_some() && change.directories.is_none() {
            self.directories.clear();
        }
        replace(&mut self.replicas, change.replicas);
        replace(&mut self.in_sync, change.in_sync);
        replace(&mut self.removing, change.removing);
        replace(&mut self.adding, change.adding);
        replace(&mut self.directories, change.directories);
        if let Some(leader) = change.leader {
            self.leader = leader;
            self.leader_epoch = self.leader_epoch.saturating_add(1);
        }
        self.partition_epoch = self.partition_epoch.saturating_add(1);
    }

    pub(super) fn decode(fields: &mut Cursor<'_>, version: u32) -> Result<Self, Corruption> {
        Ok(Self {
            partition: number(fields)?,
            topic: TopicId(fields.array()?),
            replicas: fields.list(Family::Flexible, Cursor::i32)?,
            in_sync: fields.list(Family::Flexible, Cursor::i32)?,
            removing: fields.list(Family::Flexible, Cursor::i32)?,
            adding: fields.list(Family::Flexible, Cursor::i32)?,
            leader: fields.i32()?,
            leader_epoch: fields.i32()?,
            partition_epoch: fields.i32()?,
            directories: if version == 0 {
                Vec::new()
            } else {
                fields.list(Family::Flexible, Cursor::array)?
            },
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.partition);
        out.put(&self.topic.0);
        for brokers in [&self.replicas, &self.in_sync, &self.removing, &self.adding] {
            put_brokers(out, brokers);
        }
        out.put_i32(self.leader);
        out.put_i32(self.leader_epoch);
        out.put_i32(self.partition_epoch);
        put_directories(out, &self.directories);
    }
}

impl PartitionChange {
    pub(super) fn decode(fields: &mut Cursor<'_>) -> Result<Self, Corruption> {
        let mut change = Self {
            partition: number(fields)?,
            topic: TopicId(fields.array()?),
            ..Self::default()
        };
        fields.each_tag(|tag, field| change.take(tag, field))?;
        Ok(change)
    }

    fn take(&mut self, tag: u32, field: &mut Cursor<'_>) -> Result<(), Corruption> {
        let brokers = |field: &mut Cursor<'_>| field.nullable_list(Cursor::i32);
        match tag {
            IN_SYNC => self.in_sync = brokers(field)?,
            LEADER => self.leader = Some(field.i32()?).filter(|leader| *leader != SAME_LEADER),
            REPLICAS => self.replicas = brokers(field)?,
            REMOVING => self.removing = brokers(field)?,
            ADDING => self.adding = brokers(field)?,
            DIRECTORIES => self.directories = field.nullable_list(Cursor::array)?,
            _ => return Ok(()),
        }
        field.finish()
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.partition);
        out.put(&self.topic.0);
        let mut tags = Vec::new();
        let mut brokers = |tag, brokers: &Option<Vec<i32>>| {
            if let Some(brokers) = brokers {
                let mut field = Vec::new();
                put_brokers(&mut field, brokers);
                tags.push((tag, field));
            }
        };
        brokers(IN_SYNC, &self.in_sync);
        brokers(REPLICAS, &self.replicas);
        brokers(REMOVING, &self.removing);
        brokers(ADDING, &self.adding);
        if let Some(leader) = self.leader {
            tags.push((LEADER, leader.to_be_bytes().to_vec()));
        }
        if let Some(directories) = &self.directories {
            let mut field = Vec::new();
            put_directories(&mut field, directories);
            tags.push((DIRECTORIES, field));
        }
        tags.sort_unstable();
        out.put_tags(&tags);
    }
}

fn number(fields: &mut Cursor<'_>) -> Result<PartitionId, Corruption> {
    PartitionId::try_from(fields.i32()?)
        .map_err(|_| Corruption::malformed("the number of a partition is negative"))
}

fn put_brokers(out: &mut Vec<u8>, brokers: &[i32]) {
    out.put_compact_count(brokers.len());
    for broker in brokers {
        out.put_i32(*broker);
    }
}

fn put_directories(out: &mut Vec<u8>, directories: &[Uuid]) {
    out.put_compact_count(directories.len());
    for directory in directories {
        out.put(directory);
    }
}
