//! The contents of one partition of `__consumer_offsets`, in memory.
//!
//! Knows nothing about logs: records come in with their offsets.
//!
//! 1. Of two records with one key the one with the larger offset counts, whatever their order.
//! 2. A record that is not understood is left alone, but it is known that its group has one. If it
//!    is a commit, of a later version or an unknown shape, its group returns an error, because an
//!    older commit would replace it; all others continue.
//! 3. A record with an unknown kind of key belongs to no group.
//! 4. A tombstone is remembered only until no older record can come in (I1), as the shard says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::format::DecodeError;
use crate::format::group_record::{GroupKey, GroupMetadata, OffsetCommit};
use crate::types::{Offset, PartitionId, Timestamp};

use super::{BEGAN_BEFORE, Commit, NEVER_EXPIRES, encoded, is_note, protocol};

#[derive(Clone, Copy, Debug)]
pub(super) struct StoredRecord<'a> {
    pub(super) at: Offset,
    pub(super) key: &'a [u8],
    /// `None` is a tombstone.
    pub(super) value: Option<&'a [u8]>,
}

#[derive(Debug, Default)]
pub(super) struct Groups {
    groups: BTreeMap<Arc<str>, Group>,
    /// Groups with tombstones that are remembered (I4).
    thinned: BTreeSet<Arc<str>>,
}

#[derive(Debug, Default)]
struct Group {
    topics: BTreeMap<Arc<str>, BTreeMap<PartitionId, Entry>>,
    /// The group has a record of its own.
    described: bool,
    /// That record says that it is empty, and for good: no broker forgets the commits.
    rests: bool,
    /// Whole keys of other kinds, or of an unknown shape: a broker's newer protocols keep such
    /// records.
    foreign: BTreeSet<Vec<u8>>,
    /// The keys of commits that are not understood, and why (I2).
    later: BTreeMap<Vec<u8>, &'static str>,
}

/// A commit, or its absence, and the record that says so.
#[derive(Clone, Debug)]
struct Entry {
    at: Offset,
    place: Option<Offset>,
    metadata: Option<Arc<str>>,
    committed_at: Timestamp,
}

/// A group whose commits a broker would not keep for good.
#[derive(Debug)]
pub(super) struct Resting {
    pub(super) id: Arc<str>,
    pub(super) kept_by: KeptBy,
}

/// What a group has on a topic that is deleted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Leaving {
    pub(super) group: Arc<str>,
    pub(super) keys: Vec<Vec<u8>>,
    /// The group had a place in the topic.
    pub(super) has_begun: bool,
}

/// What makes a broker keep the commits of a group.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum KeptBy {
    /// A record that the group is empty, after these tombstones.
    EmptyGroup(Vec<Vec<u8>>),
    /// The times of the commits: these commits must be written again.
    CommitTimes(Vec<Offset>),
}

impl Groups {
    /// Takes in a record, unless a newer one has come (I1).
    pub(super) fn take(&mut self, found: &StoredRecord<'_>) {
        if found.value.is_none()
            && let Some(id) = found.key.get(2..).and_then(owner_of)
        {
            self.thinned.insert(Arc::from(id));
        }
        let Ok(key) = GroupKey::decode(found.key) else {
            return self.leave_alone(found);
        };
        match key {
            GroupKey::Offset {
                group,
                topic,
                partition,
            } => {
                let mut later = None;
                let commit = match found.value.map(OffsetCommit::decode) {
                    None => None,
                    Some(Ok(commit)) => Some(commit),
                    Some(Err(error)) => {
                        later = Some(match error {
                            DecodeError::Unsupported(what) => what,
                            DecodeError::Corrupt(_) => "a commit is of an unknown shape",
                        });
                        None
                    }
                };
                let metadata = commit.map(|commit| commit.metadata);
                let entry = Entry {
                    at: found.at,
                    place: commit.map(|commit| commit.offset),
                    metadata: metadata.filter(|text| !text.is_empty()).map(Arc::from),
                    committed_at: commit.map_or(Timestamp::NONE, |commit| commit.committed_at),
                };
                let group = self.group(group);
                let partitions = slot(&mut group.topics, topic);
                match partitions.get_mut(&partition) {
                    Some(newest) if newest.at >= entry.at => return,
                    Some(newest) => *newest = entry,
                    None => drop(partitions.insert(partition, entry)),
                }
                match later {
                    Some(what) => drop(group.later.insert(found.key.to_vec(), what)),
                    None => drop(group.later.remove(found.key)),
                }
            }
            GroupKey::Group { group } => {
                let metadata = found.value.map(GroupMetadata::decode);
                let later = matches!(metadata, Some(Err(_)));
                let group = self.group(group);
                group.described = found.value.is_some() && !later;
                group.rests = matches!(&metadata, Some(Ok(metadata)) if is_at_rest(metadata));
                group.foreign.remove(found.key);
                if later {
                    group.foreign.insert(found.key.to_vec());
                }
            }
            GroupKey::Unknown { kind, .. } if protocol::knows(kind) => self.leave_alone(found),
            // It belongs to no group (I3).
            GroupKey::Unknown { .. } => {}
        }
    }

    /// Forgets the tombstones; called when no older record can come in (I4).
    pub(super) fn drop_gone(&mut self) {
        for id in std::mem::take(&mut self.thinned) {
            // What is not understood needs the entries of its keys.
            let Some(group) = self
                .groups
                .get_mut(&id)
                .filter(|group| group.later.is_empty())
            else {
                continue;
            };
            group.topics.retain(|_, partitions| {
                partitions.retain(|_, entry| entry.place.is_some());
                !partitions.is_empty()
            });
            if group.topics.is_empty() && !group.described && group.foreign.is_empty() {
                self.groups.remove(&id);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn in_memory(&self) -> usize {
        let topics = || self.groups.values().flat_map(|group| group.topics.values());
        self.groups.len() + topics().count() + topics().map(BTreeMap::len).sum::<usize>()
    }

    /// Notes a record of another kind, or one whose key is not understood (I2).
    fn leave_alone(&mut self, found: &StoredRecord<'_>) {
        let owner = found.key.get(2..).and_then(owner_of);
        let Some(group) = owner else {
            return;
        };
        let foreign = &mut self.group(group).foreign;
        if found.value.is_some() {
            foreign.insert(found.key.to_vec());
        } else {
            foreign.remove(found.key);
        }
    }

    fn group(&mut self, id: &str) -> &mut Group {
        slot(&mut self.groups, id)
    }

    /// The committed offset; notes do not count.
    pub(super) fn committed(
        &self,
        group: &str,
        topic: &str,
        partition: PartitionId,
    ) -> Option<Offset> {
        let entry = self.entry(group, topic, partition)?;
        entry.place.filter(|_| !is_note(entry.metadata.as_deref()))
    }

    /// A commit, or else where the group began.
    pub(super) fn place(&self, group: &str, topic: &str, partition: PartitionId) -> Option<Offset> {
        let entry = self.entry(group, topic, partition)?;
        entry.place.filter(|_| !entry.began_before())
    }

    fn entry(&self, group: &str, topic: &str, partition: PartitionId) -> Option<&Entry> {
        let topics = &self.groups.get(group)?.topics;
        topics.get(topic)?.get(&partition)
    }

    /// Whether a group has a place in a topic, or had one in an earlier topic of this name.
    pub(super) fn has_begun(&self, group: &str, topic: &str) -> bool {
        let topics = self.groups.get(group).map(|group| &group.topics);
        let mut entries = topics
            .and_then(|topics| topics.get(topic))
            .into_iter()
            .flatten();
        entries.any(|(_, entry)| entry.place.is_some())
    }

    /// Why a commit of the group is not understood (I2).
    pub(super) fn later(&self, group: &str) -> Option<&'static str> {
        self.groups.get(group)?.later.values().next().copied()
    }

    pub(super) fn commits_of(&self, group: &str) -> Vec<Commit> {
        self.groups
            .get(group)
            .map(Group::commits)
            .unwrap_or_default()
    }

    /// Groups with commits, and none in a later version.
    pub(super) fn ids(&self) -> Vec<Arc<str>> {
        let understood = self
            .with_commits()
            .filter(|(_, group)| group.later.is_empty());
        understood.map(|(id, _)| Arc::clone(id)).collect()
    }

    /// Those of [`ids`](Self::ids) whose newest place is older than a time.
    pub(super) fn unused_since(&self, time: Timestamp) -> Vec<Arc<str>> {
        let is_unused = |id: &Arc<str>| {
            let topics = self.groups.get(id).map(|group| group.topics.values());
            let mut entries = topics.into_iter().flatten().flat_map(BTreeMap::values);
            entries.all(|entry| entry.place.is_none() || entry.committed_at < time)
        };
        let mut ids = self.ids();
        ids.retain(is_unused);
        ids
    }

    /// What is still to be written so that commits are kept.
    ///
    /// A group of the consumer protocol expires by the age of its commits, so it becomes an empty
    /// one of the old protocol, which the next client of either protocol takes over. What other
    /// protocols keep of a group cannot be restored, so it stays.
    pub(super) fn resting(&self) -> Vec<Resting> {
        let resting = self.with_commits().filter_map(|(id, group)| {
            // What is of a later version stays as it is, with the record of the group.
            let is_known = group.later.is_empty() && protocol::is_consumer(&group.foreign);
            let kept_by = if is_known {
                let gone = protocol::burial(&group.foreign);
                if group.rests && gone.is_empty() {
                    return None;
                }
                KeptBy::EmptyGroup(gone)
            } else {
                KeptBy::CommitTimes(group.passing())
            };
            let id = Arc::clone(id);
            Some(Resting { id, kept_by })
        });
        resting.collect()
    }

    pub(super) fn key_count(&self) -> usize {
        let groups = self.groups.values();
        groups.map(Group::key_count).sum()
    }

    fn with_commits(&self) -> impl Iterator<Item = (&Arc<str>, &Group)> {
        self.groups
            .iter()
            .filter(|(_, group)| group.entries().next().is_some())
    }

    /// The keys of the tombstones that delete a group, in Kafka's order: commits, what newer
    /// protocols keep, and last the group itself.
    pub(super) fn keys_of(&self, id: &str) -> Vec<Vec<u8>> {
        let Some(group) = self.groups.get(id) else {
            return Vec::new();
        };
        let commits = group.commits().into_iter();
        let mut keys: Vec<_> = commits
            .filter_map(|commit| offset_key(id, &commit.topic, commit.partition))
            .chain(group.later.keys().cloned())
            .chain(protocol::burial(&group.foreign))
            .collect();
        if group.described {
            keys.extend(encoded(GroupKey::Group { group: id }));
        }
        keys
    }

    /// What the groups have on a topic, without groups of which only the note is left that they had
    /// begun it.
    pub(super) fn places_on_topic(&self, topic: &str) -> Vec<Leaving> {
        let ids = self.groups.iter();
        let leaving = ids.filter_map(|(id, group)| {
            let mut entries = group.topics.get(topic).into_iter().flatten();
            let is_decided =
                entries.all(|(_, entry)| entry.place.is_none() || entry.began_before());
            let keys = self.keys_on_topic(id, topic, None);
            let has_begun = self.has_begun(id, topic);
            let nothing_to_do = keys.is_empty() || has_begun && is_decided && keys.len() == 1;
            (!nothing_to_do).then(|| Leaving {
                group: Arc::clone(id),
                keys,
                has_begun,
            })
        });
        leaving.collect()
    }

    pub(super) fn keys_on_topic(
        &self,
        id: &str,
        topic: &str,
        one: Option<PartitionId>,
    ) -> Vec<Vec<u8>> {
        let Some(group) = self.groups.get(id) else {
            return Vec::new();
        };
        let entries = group.topics.get(topic).into_iter().flatten();
        entries
            .filter(|(partition, _)| one.is_none_or(|one| **partition == one))
            .filter_map(|(partition, entry)| Some((offset_key(id, topic, *partition)?, entry)))
            .filter(|(key, entry)| entry.place.is_some() || group.later.contains_key(key))
            .map(|(key, _)| key)
            .collect()
    }
}

impl Entry {
    /// Whether it says only that the group had begun an earlier topic of this name.
    fn began_before(&self) -> bool {
        self.metadata.as_deref() == Some(BEGAN_BEFORE)
    }
}

impl Group {
    fn key_count(&self) -> usize {
        let commits: usize = self.topics.values().map(BTreeMap::len).sum();
        // And the record of the group itself.
        commits.saturating_add(self.foreign.len()).saturating_add(1)
    }

    /// The commits that a broker may consider too old.
    fn passing(&self) -> Vec<Offset> {
        let entries = self.topics.values().flat_map(BTreeMap::values);
        let passing =
            entries.filter(|entry| entry.place.is_some() && entry.committed_at < NEVER_EXPIRES);
        passing.map(|entry| entry.at).collect()
    }

    fn commits(&self) -> Vec<Commit> {
        self.entries().collect()
    }

    fn entries(&self) -> impl Iterator<Item = Commit> {
        self.topics.iter().flat_map(|(topic, partitions)| {
            partitions.iter().filter_map(move |(partition, entry)| {
                Some(Commit {
                    topic: Arc::clone(topic),
                    partition: *partition,
                    offset: entry.place?,
                    metadata: entry.metadata.clone(),
                })
            })
        })
    }
}

/// Whether a broker that reads this keeps the commits of the group for good.
fn is_at_rest(metadata: &GroupMetadata<'_>) -> bool {
    let is_consumer = metadata.protocol_type == "consumer";
    is_consumer && metadata.members.is_empty() && metadata.state_since >= NEVER_EXPIRES
}

fn offset_key(group: &str, topic: &str, partition: PartitionId) -> Option<Vec<u8>> {
    encoded(GroupKey::Offset {
        group,
        topic,
        partition,
    })
    .ok()
}

/// The group of a key without its kind: every key of Kafka's begins with it.
fn owner_of(raw: &[u8]) -> Option<&str> {
    let (length, rest) = raw.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_be_bytes(*length));
    std::str::from_utf8(rest.get(..length)?).ok()
}

fn slot<'a, T: Default>(map: &'a mut BTreeMap<Arc<str>, T>, name: &str) -> &'a mut T {
    map.entry(Arc::from(name)).or_default()
}
