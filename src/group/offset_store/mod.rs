//! Committed offsets: records in the partitions of `__consumer_offsets`, and the newest of them in
//! memory.
//!
//! Knows nothing about members; who may commit is decided before.
//!
//! 1. Memory holds what the records of the log say, in the order of their offsets.
//! 2. Kafka's hash of its id gives a group one partition, so the commits of one call are one batch:
//!    all of them or none, also after a crash.
//! 3. A partition is read when the first of its groups is used.
//! 4. A partition that is damaged, or packed in a way that this build cannot read, concerns its
//!    groups alone: what is done for all groups skips it, and says so. It stays damaged until the
//!    next opening of the root, which first does what was left undone.
//! 5. The cost of opening and closing does not grow with every commit: see `shard.rs`. Closing
//!    processes the partitions that were read, unless the last use of the root may have left others
//!    without the records that a broker needs.
//!
//! Source of the schema and the hash: `OffsetCommitKey`, `OffsetCommitValue` and
//! `GroupMetadataManager.partitionFor` of Kafka (`format/group_record.rs`).

mod commit;
mod memory;
mod protocol;
mod shard;
#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::group_record::{GroupKey, GroupMetadata, OffsetCommit, group_partition};
use crate::format::{ENCODED_BYTES_MAX, EncodeError};
use crate::host::Host;
use crate::log::Log;
use crate::sync::Mutex;
use crate::types::{Durability, Offset, PartitionId, Record, Timestamp};

use commit::{BEGAN_BEFORE, Written, is_note};
pub(crate) use commit::{Commit, Pending};
use memory::{Groups, KeptBy, Leaving, Resting, StoredRecord};
use shard::Shard;

/// Kafka's "unknown".
const NO_EPOCH: i32 = -1;

/// No clock of a broker reaches it: the end of the year 9999.
const NEVER_EXPIRES: Timestamp = Timestamp::from_millis(253_402_300_799_999);

/// The partitions of `__consumer_offsets`.
pub(crate) trait OffsetLogs: Send + Sync {
    /// The number of partitions, including those that are not made yet.
    fn count(&self) -> u32;
    /// The error for a partition that was lost with its groups' commits.
    fn lost(&self, partition: PartitionId) -> Option<Error>;
    /// `None` if the log was not made yet.
    fn find(&self, partition: PartitionId) -> Result<Option<Log>>;
    /// Makes the log if it is missing; [`Error::ReadOnly`] for a broker that writes nothing.
    fn make(&self, partition: PartitionId) -> Result<Log>;
}

pub(crate) struct OffsetStore {
    logs: Box<dyn OffsetLogs>,
    host: Arc<Host>,
    shards: Mutex<BTreeMap<PartitionId, Arc<Mutex<Shard>>>>,
    /// Partitions that were found damaged (I4).
    damage: Mutex<BTreeMap<PartitionId, Error>>,
    /// Another process writes the root: what is damaged now may be whole when it is read again.
    read_only: bool,
    /// Partitions that were not read are as a broker needs them (I5).
    tidied: bool,
}

/// A key and its value; without one, a tombstone.
type Write = (Vec<u8>, Option<Vec<u8>>);

impl std::fmt::Debug for OffsetStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OffsetStore")
            .field("shards", &self.shards.lock())
            .finish_non_exhaustive()
    }
}

impl OffsetStore {
    /// `tidied`: the last use of the root ended with [`tidy_all`](Self::tidy_all), and no
    /// other program has written since.
    pub(crate) fn new(
        logs: Box<dyn OffsetLogs>,
        host: Arc<Host>,
        read_only: bool,
        tidied: bool,
    ) -> Self {
        Self {
            logs,
            host,
            shards: Mutex::default(),
            damage: Mutex::default(),
            read_only,
            tidied,
        }
    }

    pub(crate) fn damage(&self) -> Vec<(PartitionId, Error)> {
        let damage = self.damage.lock();
        let damage = damage.iter();
        damage
            .map(|(partition, error)| (*partition, error.clone()))
            .collect()
    }

    /// Reads every partition that was not read yet.
    pub(crate) fn look_for_damage(&self) -> Result<Vec<(PartitionId, Error)>> {
        self.in_each(0..self.logs.count(), |partition| {
            self.with_groups(partition, |_| ())
        })?;
        Ok(self.damage())
    }

    /// Acts on each partition. Returns those that are damaged (I4).
    fn in_each(
        &self,
        partitions: impl IntoIterator<Item = PartitionId>,
        mut act: impl FnMut(PartitionId) -> Result<()>,
    ) -> Result<BTreeSet<PartitionId>> {
        let mut damaged = BTreeSet::new();
        for partition in partitions {
            match act(partition) {
                Err(error)
                    if cannot_be_read(&error) && self.damage.lock().contains_key(&partition) =>
                {
                    damaged.insert(partition);
                }
                acted => acted?,
            }
        }
        Ok(damaged)
    }

    /// Fails when it is not known what a group has committed: it was lost, and the group's place
    /// was not set since, or it is in records of a later version, which stay as they are.
    pub(crate) fn check(&self, group: &str) -> Result<()> {
        self.check_not_lost(group)?;
        let later = self.with_groups(self.partition_of(group), |groups| groups.later(group))?;
        later.map_or(Ok(()), |what| {
            let what = format!("group {group}: {what}: a newer version of the crate reads it");
            Err(Error::Unsupported { what })
        })
    }

    fn check_not_lost(&self, group: &str) -> Result<()> {
        let partition = self.partition_of(group);
        let Some(lost) = self.logs.lost(partition) else {
            return Ok(());
        };
        let placed = |groups: &Groups| !groups.commits_of(group).is_empty();
        if self.with_groups(partition, placed)? {
            Ok(())
        } else {
            Err(lost)
        }
    }

    /// The committed offset; notes of where the group began do not count.
    pub(crate) fn committed(
        &self,
        group: &str,
        topic: &str,
        partition: PartitionId,
    ) -> Result<Option<Offset>> {
        self.check(group)?;
        self.with_groups(self.partition_of(group), |groups| {
            groups.committed(group, topic, partition)
        })
    }

    /// A commit, or else where the group began the partition.
    pub(crate) fn place(
        &self,
        group: &str,
        topic: &str,
        partition: PartitionId,
    ) -> Result<Option<Offset>> {
        self.with_groups(self.partition_of(group), |groups| {
            groups.place(group, topic, partition)
        })
    }

    /// See [`Groups::has_begun`].
    pub(crate) fn has_begun(&self, group: &str, topic: &str) -> Result<bool> {
        self.with_groups(self.partition_of(group), |groups| {
            groups.has_begun(group, topic)
        })
    }

    #[cfg(test)]
    pub(crate) fn in_memory(&self) -> usize {
        let shards: Vec<_> = self.shards.lock().values().cloned().collect();
        let sizes = shards.iter().map(|shard| {
            let shard = shard.lock();
            shard.groups.as_ref().map_or(0, Groups::in_memory)
        });
        sizes.sum()
    }

    /// Commits and notes of where the group began, by topic and partition.
    pub(crate) fn all_committed(&self, group: &str) -> Result<Vec<Commit>> {
        self.check(group)?;
        self.with_groups(self.partition_of(group), |groups| groups.commits_of(group))
    }

    /// Groups with commits, as far as the partitions can be read (I4).
    pub(crate) fn groups(&self) -> Result<Vec<Arc<str>>> {
        let mut ids = Vec::new();
        self.in_each(0..self.logs.count(), |partition| {
            ids.extend(self.with_groups(partition, Groups::ids)?);
            Ok(())
        })?;
        ids.sort();
        Ok(ids)
    }

    /// See [`Groups::unused_since`].
    pub(crate) fn unused_since(&self, time: Timestamp) -> Result<Vec<Arc<str>>> {
        let mut ids = Vec::new();
        for partition in 0..self.logs.count() {
            ids.extend(self.with_groups(partition, |groups| groups.unused_since(time))?);
        }
        Ok(ids)
    }

    /// Makes the partition of a group, if it is missing.
    pub(crate) fn prepare(&self, group: &str) -> Result<()> {
        self.make(self.partition_of(group)).map(drop)
    }

    /// Whether a commit is to survive a power cut when it returns: the records below it must be
    /// flushed before, or it could outlive them.
    pub(crate) fn outlives_power(&self, group: &str) -> Result<bool> {
        let log = self.make(self.partition_of(group))?;
        Ok(log.config().durability == Durability::Always)
    }

    /// Appends commits as one batch (I2). Once confirmed, it survives what the broker's
    /// `durability` says.
    pub(crate) fn commit(&self, group: &str, commits: &[Commit]) -> Result<Pending> {
        let writes: Result<Vec<_>> = commits
            .iter()
            .map(|commit| self.record_of(group, commit))
            .collect();
        self.append(self.partition_of(group), &writes?)
    }

    fn record_of(&self, group: &str, commit: &Commit) -> Result<Write> {
        let value = OffsetCommit {
            offset: commit.offset,
            leader_epoch: NO_EPOCH,
            metadata: commit.metadata.as_deref().unwrap_or_default(),
            committed_at: self.host.clock.now(),
            expires_at: None,
        };
        let mut bytes = Vec::with_capacity(24);
        value.encode(&mut bytes).map_err(refused)?;
        let key = GroupKey::Offset {
            group,
            topic: &commit.topic,
            partition: commit.partition,
        };
        Ok((encoded(key)?, Some(bytes)))
    }

    /// Commits, and makes that durable whatever the broker's durability: if the larger offset
    /// returned after a power cut, it would skip records that are appended from now on.
    pub(crate) fn set_back(&self, group: &str, commits: &[Commit]) -> Result<()> {
        if commits.is_empty() {
            return Ok(());
        }
        self.commit(group, commits)?.confirm()?;
        self.flush(group)
    }

    pub(crate) fn flush(&self, group: &str) -> Result<()> {
        self.make(self.partition_of(group))?.flush().map(drop)
    }

    /// Deletes all records of a group; false when there were none.
    pub(crate) fn forget_group(&self, group: &str) -> Result<bool> {
        self.check_not_lost(group)?;
        let partition = self.partition_of(group);
        let keys = self.with_groups(partition, |groups| groups.keys_of(group))?;
        self.bury(partition, &keys)?;
        Ok(!keys.is_empty())
    }

    /// Deletes commits in all partitions of the topic, or in `one`.
    pub(crate) fn forget_commits(
        &self,
        group: &str,
        topic: &str,
        one: Option<PartitionId>,
    ) -> Result<()> {
        let partition = self.partition_of(group);
        let keys = self.with_groups(partition, |groups| groups.keys_on_topic(group, topic, one))?;
        self.bury(partition, &keys)
    }

    /// Forgets all commits on a topic for good: the next topic of this name may be made at once,
    /// and a power cut must not give it the commits of this one. The same batch notes that a group
    /// had begun the topic, so that it begins the next one at its start, also if that is made while
    /// the group has no members. Tries all partitions or `only` these; returns those in which it
    /// could not be done (I4).
    pub(crate) fn forget_topic(
        &self,
        topic: &str,
        only: Option<&BTreeSet<PartitionId>>,
    ) -> Result<BTreeSet<PartitionId>> {
        let all = 0..self.logs.count();
        let asked = all.filter(|partition| only.is_none_or(|only| only.contains(partition)));
        self.in_each(asked, |partition| {
            let leaving = self.with_groups(partition, |groups| groups.places_on_topic(topic))?;
            if leaving.is_empty() {
                return Ok(());
            }
            let mut writes = Vec::new();
            for Leaving {
                group,
                keys,
                has_begun,
            } in leaving
            {
                let note = has_begun.then(|| self.began_before(&group, topic));
                let note = note.transpose()?;
                let replaced = note.as_ref().map(|(key, _)| key.clone());
                let gone = keys
                    .into_iter()
                    .filter(|key| Some(key) != replaced.as_ref());
                writes.extend(gone.map(|key| (key, None)));
                writes.extend(note);
            }
            self.write(partition, &writes)?;
            self.make(partition)?.flush().map(drop)
        })
    }

    /// The note that a group had begun a deleted topic.
    fn began_before(&self, group: &str, topic: &str) -> Result<Write> {
        self.record_of(
            group,
            &Commit {
                topic: Arc::from(topic),
                partition: 0,
                offset: 0,
                metadata: Some(Arc::from(BEGAN_BEFORE)),
            },
        )
    }

    /// Leaves every partition as a broker needs it, and small enough for the next opening (I5).
    pub(crate) fn tidy_all(&self) -> Result<()> {
        let noted = self.note_empty_groups();
        let shards: Vec<_> = self.shards.lock().values().cloned().collect();
        for shard in shards {
            shard::tidy(&shard);
        }
        noted
    }

    /// Writes in Kafka's format that every group with commits is empty, unless a record says so; in
    /// groups of a broker's newer protocols, commits get a time that never expires instead.
    ///
    /// A broker deletes the commits of a group that has been empty for a week, and those without
    /// such a record when they are a week old. A directory at rest may be older, so the week is not
    /// counted from now: it begins when a member has come and gone under the broker.
    fn note_empty_groups(&self) -> Result<()> {
        let metadata = GroupMetadata {
            protocol_type: "consumer",
            generation: 0,
            protocol: None,
            leader: None,
            state_since: NEVER_EXPIRES,
            members: Vec::new(),
        };
        let mut value = Vec::new();
        metadata.encode(&mut value).map_err(refused)?;
        let partitions = if self.tidied {
            self.partitions_read()
        } else {
            (0..self.logs.count()).collect()
        };
        self.in_each(partitions, |partition| {
            let mut writes = Vec::new();
            for Resting { id, kept_by } in self.with_groups(partition, Groups::resting)? {
                match kept_by {
                    KeptBy::EmptyGroup(gone) => {
                        // The group of the newer protocol must be gone when the other one comes.
                        writes.extend(gone.into_iter().map(|key| (key, None)));
                        let key = encoded(GroupKey::Group { group: &id })?;
                        writes.push((key, Some(value.clone())));
                    }
                    KeptBy::CommitTimes(places) => {
                        for at in places {
                            writes.extend(self.postponed(partition, at)?);
                        }
                    }
                }
            }
            self.write(partition, &writes)
        })
        .map(drop)
    }

    /// The partitions that were read: nothing was written to any other.
    fn partitions_read(&self) -> Vec<PartitionId> {
        let shards: Vec<_> = {
            let shards = self.shards.lock();
            let shards = shards.iter();
            shards
                .map(|(partition, shard)| (*partition, Arc::clone(shard)))
                .collect()
        };
        let read = shards
            .into_iter()
            .filter(|(_, shard)| shard.lock().groups.is_some());
        read.map(|(partition, _)| partition).collect()
    }

    /// The same commit with a time that no broker considers too old.
    fn postponed(&self, partition: PartitionId, at: Offset) -> Result<Option<Write>> {
        let record = self.make(partition)?.read(at)?;
        Ok(record.and_then(|record| {
            let value = OffsetCommit::with_time(record.value()?, NEVER_EXPIRES)?;
            Some((record.key()?.to_vec(), Some(value)))
        }))
    }

    fn partition_of(&self, group: &str) -> PartitionId {
        group_partition(group, self.logs.count())
    }

    fn shard(&self, partition: PartitionId) -> Arc<Mutex<Shard>> {
        Arc::clone(self.shards.lock().entry(partition).or_default())
    }

    /// Calls `look` with the groups of a partition, which is read first if needed (I3).
    fn with_groups<T>(&self, partition: PartitionId, look: impl FnOnce(&Groups) -> T) -> Result<T> {
        let shard = self.shard(partition);
        let mut shard = shard.lock();
        if let Some(groups) = shard.groups.as_ref().filter(|_| !self.read_only) {
            return Ok(look(groups));
        }
        self.check_damage(partition)?;
        let found = self.logs.find(partition);
        if let Ok(Some(log)) = &found
            && let Some(groups) = shard.current(log)
        {
            return Ok(look(groups));
        }
        match found {
            // Not remembered: the log may be made by another call.
            Ok(None) => Ok(look(&Groups::default())),
            Ok(Some(log)) => self.noting(partition, shard.load(log)).map(look),
            Err(error) => self.noting(partition, Err(error)),
        }
    }

    fn check_damage(&self, partition: PartitionId) -> Result<()> {
        match self.damage.lock().get(&partition) {
            Some(error) if !self.read_only => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Notes whether reading a partition has found damage (I4).
    fn noting<T>(&self, partition: PartitionId, read: Result<T>) -> Result<T> {
        let mut damage = self.damage.lock();
        match &read {
            Err(error) if cannot_be_read(error) => {
                damage.insert(partition, error.clone());
            }
            _ => drop(damage.remove(&partition)),
        }
        read
    }

    /// The log of a partition, made if it is missing, and read.
    fn make(&self, partition: PartitionId) -> Result<Log> {
        let shard = self.shard(partition);
        let mut shard = shard.lock();
        if let (Some(log), Some(_)) = (&shard.log, &shard.groups) {
            return Ok(log.clone());
        }
        self.check_damage(partition)?;
        let log = self.logs.make(partition);
        let log = self.noting(partition, log)?;
        self.noting(partition, shard.load(log.clone()).map(drop))?;
        Ok(log)
    }

    fn bury(&self, partition: PartitionId, keys: &[Vec<u8>]) -> Result<()> {
        let writes: Vec<_> = keys.iter().map(|key| (key.clone(), None)).collect();
        self.write(partition, &writes)
    }

    fn write(&self, partition: PartitionId, writes: &[Write]) -> Result<()> {
        self.append(partition, writes)?.confirm()
    }

    /// Appends records, and takes them into memory in the order of the log (I1). They are one
    /// batch, unless the log takes no batch of this size.
    fn append(&self, partition: PartitionId, writes: &[Write]) -> Result<Pending> {
        if writes.is_empty() {
            return Ok(Pending::default());
        }
        let log = self.make(partition)?;
        let now = self.host.clock.now();
        let records = writes.iter().map(|(key, value)| {
            Record::from_parts(Some(key), value.as_deref()).with_timestamp(now)
        });
        let mut batches = Vec::with_capacity(1);
        let of = self.shard(partition);
        of.lock().begin_append();
        let appended = log.append_split(records, &mut |offsets| batches.push(offsets));
        let end = batches.last().map(|offsets| offsets.end);
        let mut shard = of.lock();
        let found = batches.into_iter().flatten().zip(writes);
        shard.end_append(found.map(|(at, (key, value))| StoredRecord {
            at,
            key,
            value: value.as_deref(),
        }));
        let untidy = shard.asks_to_be_tidied();
        drop(shard);
        appended?;
        let untidy = untidy.then(|| (Arc::clone(&self.host), of));
        Ok(Pending(end.map(|end| Written { log, end, untidy })))
    }
}

/// Whether the error is about what the log of a partition holds, and would come again (I4).
pub(super) fn cannot_be_read(error: &Error) -> bool {
    matches!(error, Error::Corrupt { .. } | Error::Unsupported { .. })
}

fn encoded(key: GroupKey<'_>) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(48);
    key.encode(&mut bytes).map_err(refused)?;
    Ok(bytes)
}

fn refused(error: EncodeError) -> Error {
    match error {
        EncodeError::TooLarge { .. } => Error::InvalidRecord {
            reason: "a commit is too large",
        },
        error => Error::refused(error, ENCODED_BYTES_MAX),
    }
}
