//! The records of the `__consumer_offsets` topic.
//!
//! Knows nothing about running groups. A key is an i16 type and plain fields, a value an i16
//! version and fields (see `wire.rs`), null for a tombstone. Big-endian:
//!
//! | key | fields |
//! | --- | --- |
//! | 0, 1: offset commit | group, topic, i32 partition |
//! | 2: group metadata | group |
//! | others | kept as they are: newer kinds of groups, which only brokers write |
//!
//! | offset commit value | versions |
//! | --- | --- |
//! | i64 offset: the next one to read | all |
//! | i32 leader epoch, -1 when unknown | from 3 |
//! | string metadata | all |
//! | i64 commit timestamp | all |
//! | i64 expire timestamp, -1 for none | 1 |
//!
//! | group metadata value | versions |
//! | --- | --- |
//! | string protocol type, i32 generation, nullable strings protocol and leader | all |
//! | i64 timestamp of the current state | from 2 |
//! | array of members | all |
//! | member: string id | all |
//! | nullable string group instance id | from 3 |
//! | strings client id and host | all |
//! | i32 rebalance timeout | from 1 |
//! | i32 session timeout, bytes subscription, bytes assignment | all |
//!
//! Versions 0 to 4 are read, 3 is written; 4 is 3 with flexible fields.

use crate::types::{Offset, PartitionId, Timestamp};

use super::cursor::{Cursor, PutBytes};
use super::wire::{Family, PutWire};
use super::{Corruption, DecodeError, EncodeError};

const OFFSET_KEY: i16 = 1;
const GROUP_KEY: i16 = 2;
const VERSION_WRITTEN: i16 = 3;
const VERSION_FLEXIBLE: i16 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GroupKey<'a> {
    Offset {
        group: &'a str,
        topic: &'a str,
        partition: PartitionId,
    },
    Group {
        group: &'a str,
    },
    /// A kind that only newer brokers know.
    Unknown {
        kind: i16,
        raw: &'a [u8],
    },
}

impl<'a> GroupKey<'a> {
    pub(crate) fn decode(key: &'a [u8]) -> Result<Self, Corruption> {
        let mut fields = Cursor::new(key);
        let kind = fields.i16()?;
        let key = match kind {
            0 | OFFSET_KEY => Self::Offset {
                group: fields.string(Family::Plain)?,
                topic: fields.string(Family::Plain)?,
                partition: PartitionId::try_from(fields.i32()?)
                    .map_err(|_| Corruption::malformed("the number of a partition is negative"))?,
            },
            GROUP_KEY => Self::Group {
                group: fields.string(Family::Plain)?,
            },
            _ => {
                return Ok(Self::Unknown {
                    kind,
                    raw: fields.rest(),
                });
            }
        };
        fields.finish()?;
        Ok(key)
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match *self {
            Self::Offset {
                group,
                topic,
                partition,
            } => {
                out.put_i16(OFFSET_KEY);
                out.put_string16(group)?;
                out.put_string16(topic)?;
                out.put_u32(partition);
            }
            Self::Group { group } => {
                out.put_i16(GROUP_KEY);
                out.put_string16(group)?;
            }
            Self::Unknown { kind, raw } => {
                out.put_i16(kind);
                out.put(raw);
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OffsetCommit<'a> {
    /// The next offset to read.
    pub(crate) offset: Offset,
    /// The epoch of the record before `offset`, -1 when unknown.
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: &'a str,
    pub(crate) committed_at: Timestamp,
    pub(crate) expires_at: Option<Timestamp>,
}

impl<'a> OffsetCommit<'a> {
    pub(crate) fn decode(value: &'a [u8]) -> Result<Self, DecodeError> {
        let (mut fields, version, family) = versioned(value)?;
        let offset = Offset::try_from(fields.i64()?)
            .map_err(|_| Corruption::malformed("a committed offset is negative"))?;
        let leader_epoch = if version >= 3 { fields.i32()? } else { -1 };
        let metadata = fields.nullable_string(family)?.unwrap_or_default();
        let committed_at = Timestamp::from_millis(fields.i64()?);
        let expires_at = if version == 1 { fields.i64()? } else { -1 };
        fields.tags(family)?;
        fields.finish()?;
        Ok(Self {
            offset,
            leader_epoch,
            metadata,
            committed_at,
            expires_at: Some(Timestamp::from_millis(expires_at)).filter(|at| *at > Timestamp::NONE),
        })
    }

    /// Changes the commit timestamp and no other byte, whatever the version; `None` for a value
    /// that cannot be read.
    pub(crate) fn with_time(value: &[u8], committed_at: Timestamp) -> Option<Vec<u8>> {
        let commit = OffsetCommit::decode(value).ok()?;
        let (mut fields, version, family) = versioned(value).ok()?;
        fields.i64().ok()?;
        if version >= 3 {
            fields.i32().ok()?;
        }
        fields.nullable_string(family).ok()?;
        let at = value.len().checked_sub(fields.rest().len())?;
        let mut changed = value.to_vec();
        let time = changed.get_mut(at..)?.first_chunk_mut()?;
        debug_assert_eq!(*time, commit.committed_at.as_millis().to_be_bytes());
        *time = committed_at.as_millis().to_be_bytes();
        Some(changed)
    }

    /// Writes version 3, which has no expiry.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.put_i16(VERSION_WRITTEN);
        out.put_u64(self.offset);
        out.put_i32(self.leader_epoch);
        out.put_string16(self.metadata)?;
        out.put_i64(self.committed_at.as_millis());
        Ok(())
    }
}

/// A group at the last change of its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupMetadata<'a> {
    /// `consumer`, or empty.
    pub(crate) protocol_type: &'a str,
    pub(crate) generation: i32,
    /// The assignor that was chosen.
    pub(crate) protocol: Option<&'a str>,
    pub(crate) leader: Option<&'a str>,
    /// -1 when unknown.
    pub(crate) state_since: Timestamp,
    /// Empty when the group is.
    pub(crate) members: Vec<GroupMember<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupMember<'a> {
    pub(crate) id: &'a str,
    pub(crate) instance_id: Option<&'a str>,
    pub(crate) client_id: &'a str,
    pub(crate) client_host: &'a str,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) session_timeout_ms: i32,
    /// In the protocol's own encoding.
    pub(crate) subscription: &'a [u8],
    /// In the protocol's own encoding.
    pub(crate) assignment: &'a [u8],
}

impl<'a> GroupMetadata<'a> {
    pub(crate) fn decode(value: &'a [u8]) -> Result<Self, DecodeError> {
        let (mut fields, version, family) = versioned(value)?;
        let metadata = Self {
            protocol_type: fields.string(family)?,
            generation: fields.i32()?,
            protocol: fields.nullable_string(family)?,
            leader: fields.nullable_string(family)?,
            state_since: Timestamp::from_millis(if version >= 2 { fields.i64()? } else { -1 }),
            members: fields.list(family, |member| {
                GroupMember::decode(member, version, family)
            })?,
        };
        fields.tags(family)?;
        fields.finish()?;
        Ok(metadata)
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.put_i16(VERSION_WRITTEN);
        out.put_string16(self.protocol_type)?;
        out.put_i32(self.generation);
        out.put_nullable_string16(self.protocol)?;
        out.put_nullable_string16(self.leader)?;
        out.put_i64(self.state_since.as_millis());
        out.put_i32(
            i32::try_from(self.members.len())
                .map_err(|_| EncodeError::Invalid("a group has too many members"))?,
        );
        for member in &self.members {
            out.put_string16(member.id)?;
            out.put_nullable_string16(member.instance_id)?;
            out.put_string16(member.client_id)?;
            out.put_string16(member.client_host)?;
            out.put_i32(member.rebalance_timeout_ms);
            out.put_i32(member.session_timeout_ms);
            out.put_blob32(member.subscription)?;
            out.put_blob32(member.assignment)?;
        }
        Ok(())
    }
}

impl<'a> GroupMember<'a> {
    fn decode(fields: &mut Cursor<'a>, version: i16, family: Family) -> Result<Self, Corruption> {
        let id = fields.string(family)?;
        let instance_id = if version >= 3 {
            fields.nullable_string(family)?
        } else {
            None
        };
        let client_id = fields.string(family)?;
        let client_host = fields.string(family)?;
        let rebalance = if version >= 1 {
            Some(fields.i32()?)
        } else {
            None
        };
        let session_timeout_ms = fields.i32()?;
        let member = Self {
            id,
            instance_id,
            client_id,
            client_host,
            // Before version 1 there was one timeout for both.
            rebalance_timeout_ms: rebalance.unwrap_or(session_timeout_ms),
            session_timeout_ms,
            subscription: fields.blob(family)?,
            assignment: fields.blob(family)?,
        };
        fields.tags(family)?;
        Ok(member)
    }
}

/// Reads the version of a value; returns the fields behind it, the version and its family.
fn versioned(value: &[u8]) -> Result<(Cursor<'_>, i16, Family), DecodeError> {
    let mut fields = Cursor::new(value);
    let version = fields.i16()?;
    let family = match version {
        0..VERSION_FLEXIBLE => Family::Plain,
        VERSION_FLEXIBLE => Family::Flexible,
        i16::MIN..0 => {
            return Err(Corruption::malformed("the version of a value is negative").into());
        }
        _ => {
            return Err(DecodeError::Unsupported(
                "a record of a consumer group in a version above 4",
            ));
        }
    };
    Ok((fields, version, family))
}

/// The partition of `__consumer_offsets` that keeps a group: Java's string hash over UTF-16,
/// without its sign. 0 when there are no partitions.
pub(crate) fn group_partition(group: &str, partitions: u32) -> PartitionId {
    let hash = java_hash(group);
    // As Kafka: the number without a positive twin counts as 0.
    let positive = if hash == i32::MIN {
        0
    } else {
        hash.unsigned_abs()
    };
    positive.checked_rem(partitions).unwrap_or(0)
}

fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0_i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    })
}

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
