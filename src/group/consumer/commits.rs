//! A consumer's commits, and the note of where its group begins a partition.
//!
//! Knows nothing about reading. Everything is committed through [`Group::commit`], which refuses a
//! member that was removed.
//!
//! [`Group::commit`]: super::super::group::Group::commit

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::types::{Epoch, Offset, PartitionId, Start, TopicPartition};

use super::super::fetch::{Assigned, Claim, not_assigned};
use super::super::offset_store::{Commit, OffsetStore, Pending};
use super::super::partition::PartitionKey;
use super::Consumer;

/// What was written, with the epoch of the log at that time.
pub(super) type Done<'c> = BTreeMap<&'c PartitionKey, (Offset, Epoch)>;

impl Consumer {
    /// Commits everything that polls have returned: after a restart, or when another member takes
    /// over, the group continues after it.
    ///
    /// The commits of one call are one batch: all of them or none, after a crash too. It survives
    /// what the broker's `durability` says; with [`Durability::Always`](crate::Durability::Always)
    /// the records are flushed first, so that it never outlives them. Partitions without news cost
    /// nothing.
    ///
    /// Of a partition that the last poll gave up, what was returned is committed too, unless its
    /// new owner has already committed a later offset.
    ///
    /// # Errors
    ///
    /// - [`Error::Fenced`]: the member was removed. Nothing was committed, others may have its
    ///   partitions, and the next poll joins again.
    /// - [`Error::NoSpace`], [`Error::Io`], [`Error::Poisoned`], [`Error::Closed`]: it is not
    ///   certain that anything was committed; the records are not touched.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ottla::{Broker, Record, TopicConfig};
    /// # let scratch = tempfile::tempdir()?;
    /// # let dir = scratch.path().join("data");
    /// # let broker = Broker::open(&dir)?;
    /// # let topic = broker.create_topic("flights", TopicConfig::default().partitions(4))?;
    /// # topic.append(Record::keyed("N14228", "departed EWR"))?;
    /// # let group = broker.group("board")?;
    /// # let mut consumer = group.join(["flights"])?;
    /// loop {
    ///     let records = consumer.poll(Duration::ZERO)?;
    ///     if records.is_empty() {
    ///         break;
    ///     }
    ///     // ... handle them ...
    ///     consumer.commit()?; // what was polled is not delivered again
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn commit(&mut self) -> Result<()> {
        self.group.shared.check_owner()?;
        let (claims, owned) = self.all_claims();
        let committed = self.commit_claims(&claims, owned);
        self.end_commit(committed)
    }

    /// What can be committed. The claims on owned partitions come first; returns how many these
    /// are.
    pub(super) fn all_claims(&self) -> (Vec<Claim>, usize) {
        let mut claims: Vec<_> = self.fetcher.iter().filter_map(Assigned::claim).collect();
        let owned = claims.len();
        claims.extend(self.let_go.iter().cloned());
        (claims, owned)
    }

    pub(super) fn end_commit(&mut self, committed: Result<()>) -> Result<()> {
        self.group.shared.host.events.pass_on();
        committed?;
        self.let_go.clear();
        self.committed_at = self.group.shared.now();
        Ok(())
    }

    /// Commits one partition: everything below `next`, the offset of the next record to read, is
    /// done.
    ///
    /// It may be below the committed offset, and does not change where this member reads.
    ///
    /// # Errors
    ///
    /// - [`Error::UnknownPartition`]: the member does not have this partition.
    /// - [`Error::OffsetOutOfRange`]: the offset is past the end of the partition.
    /// - [`Error::Truncated`]: the partition was truncated below the offset since this member
    ///   polled it; the next poll continues at the new end.
    /// - [`Error::Fenced`]: another member has taken the partition since this member's last poll,
    ///   which had returned nothing from it.
    /// - As [`commit`](Self::commit).
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ottla::{Broker, Record, TopicConfig};
    /// # let scratch = tempfile::tempdir()?;
    /// # let dir = scratch.path().join("data");
    /// # let broker = Broker::open(&dir)?;
    /// # let topic = broker.create_topic("flights", TopicConfig::default().partitions(4))?;
    /// # topic.append(Record::keyed("N14228", "departed EWR"))?;
    /// # let group = broker.group("board")?;
    /// # let mut consumer = group.join(["flights"])?;
    /// for record in &consumer.poll(Duration::from_secs(1))? {
    ///     // ... handle one ...
    ///     consumer.commit_to(&record.topic, record.partition, record.offset + 1)?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn commit_to(&mut self, topic: &str, partition: PartitionId, next: Offset) -> Result<()> {
        self.commit_to_with(topic, partition, next, "")
    }

    /// As [`commit_to`](Self::commit_to), with Kafka's commit metadata: a text of at most 32,767
    /// bytes.
    ///
    /// # Errors
    ///
    /// As [`commit_to`](Self::commit_to); [`Error::InvalidRecord`] when the text is too long.
    pub fn commit_to_with(
        &mut self,
        topic: &str,
        partition: PartitionId,
        next: Offset,
        metadata: &str,
    ) -> Result<()> {
        self.group.shared.check_owner()?;
        let names =
            |key: &PartitionKey| key.partition == partition && key.topic.name.as_ref() == topic;
        let mut owned = self.fetcher.iter();
        let owned = owned.find(|assigned| names(&assigned.partition));
        let claim = match owned {
            Some(assigned) => {
                let log = self.group.shared.topics.log(&assigned.partition)?;
                let mut claim = Claim::at(assigned.partition.clone(), next, log);
                claim.epoch = assigned.epoch().unwrap_or(claim.epoch);
                claim
            }
            None => match self.let_go.iter().find(|claim| names(&claim.partition)) {
                Some(claim) => claim.clone(),
                None => return Err(not_assigned(topic, partition)),
            },
        };
        if owned.is_some() && !self.group.owns(self.seat.id, &claim.partition) {
            return Err(self.group.fenced(&self.seat));
        }
        let end = claim.log.end_offset();
        if next > end {
            return Err(claim.log.out_of_range(next));
        }
        let owned = usize::from(owned.is_some());
        let claim = Claim {
            offset: next,
            named: true,
            metadata: (!metadata.is_empty()).then(|| Arc::from(metadata)),
            ..claim
        };
        self.commit_claims(&[claim], owned)
    }

    /// The first `owned` claims are for partitions that the member has.
    fn commit_claims(&mut self, claims: &[Claim], owned: usize) -> Result<()> {
        let group = &self.group;
        if claims.is_empty() {
            return group.check_member(&self.seat);
        }
        self.flush_claims(claims)?;
        let (done, pending) = self.write_claims(claims, owned)?;
        pending.confirm()?;
        self.note_committed(&done);
        Ok(())
    }

    /// Writes the commits; the caller confirms and notes them.
    pub(super) fn write_claims<'c>(
        &self,
        claims: &'c [Claim],
        owned: usize,
    ) -> Result<(Done<'c>, Pending)> {
        let group = &self.group;
        let topics = &group.shared.topics;
        let mut done = BTreeMap::new();
        let pending = group.write_commit(&self.seat, |store| {
            let mut commits = Vec::with_capacity(claims.len());
            for (at, claim) in claims.iter().enumerate() {
                let PartitionKey { topic, partition } = &claim.partition;
                let commit = claim.commit()?;
                let epoch = claim.log.epoch();
                done.insert(&claim.partition, (commit.offset, epoch));
                let may = if at < owned {
                    // A partition that another member has taken has nothing to commit: see
                    // `membership` (I3).
                    group.owns(self.seat.id, &claim.partition)
                } else {
                    store.place(group.id.as_str(), &topic.name, *partition)? < Some(commit.offset)
                };
                if may && topics.lives(topic) {
                    commits.push(commit);
                }
            }
            Ok(commits)
        })?;
        Ok((done, pending))
    }

    pub(super) fn note_committed(&mut self, done: &Done<'_>) {
        for assigned in self.fetcher.iter_mut() {
            if let Some((offset, epoch)) = done.get(&assigned.partition) {
                assigned.set_committed(*offset, *epoch);
            }
        }
        self.group.hold(self.seat.id, &self.fetcher.changed_holds());
    }

    /// A commit that must survive a power cut must not outlive the records below it.
    fn flush_claims(&self, claims: &[Claim]) -> Result<()> {
        let shared = &self.group.shared;
        if shared.store.outlives_power(self.group.id.as_str())? {
            for claim in claims
                .iter()
                .filter(|claim| claim.log.flushed_offset() < claim.offset)
            {
                let flushed = claim.log.flush();
                if shared.topics.lives(&claim.partition.topic) {
                    flushed?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn commit_unless_fenced(&mut self) -> Result<()> {
        match self.commit() {
            Err(Error::Fenced { .. }) => Ok(()),
            other => other,
        }
    }

    pub(super) fn auto_commit_is_due(&self, now: Instant) -> bool {
        let next = self
            .committed_at
            .checked_add(self.config.auto_commit_interval);
        next.is_some_and(|next| next <= now)
    }

    /// Records durably where the group begins the partitions without a position, so that what is
    /// appended from now on is read whatever becomes of this member. The error of a partition that
    /// begins at its start anyway is ignored.
    pub(super) fn note_beginnings(&mut self) -> Result<()> {
        let Some(start) = self.config.start else {
            return Ok(());
        };
        let (group, mut missing) = (&self.group, Vec::new());
        for partition in self.fetcher.unbegun() {
            let PartitionKey {
                topic,
                partition: number,
            } = &partition;
            let place = group
                .shared
                .store
                .place(group.id.as_str(), &topic.name, *number);
            // A partition of `__consumer_offsets` that cannot be read is reported by the fetch.
            if matches!(place, Ok(None)) {
                missing.push(partition);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let claims = self.beginnings(start, &missing)?;
        let noted = self.flush_claims(&claims).and_then(|()| {
            group.commit(&self.seat, |store| {
                let mut notes = Vec::with_capacity(claims.len());
                for claim in &claims {
                    let PartitionKey { topic, partition } = &claim.partition;
                    let place = store.place(group.id.as_str(), &topic.name, *partition)?;
                    if place.is_none() && group.shared.topics.lives(topic) {
                        notes.push(claim.commit()?.into_note());
                    }
                }
                Ok(notes)
            })
        });
        match noted {
            Err(error) if start != Start::Earliest => Err(error),
            _ => Ok(()),
        }
    }

    /// Where the group begins. It decides this for all partitions of a topic at once: another
    /// member may read the others later.
    fn beginnings(&self, start: Start, missing: &[PartitionKey]) -> Result<Vec<Claim>> {
        let (group, topics) = (&self.group, &self.group.shared.topics);
        let mut claims = Vec::new();
        let mut begun = BTreeSet::new();
        for partition in missing {
            let topic = &partition.topic;
            let added = group.was_born_here(topic) || self.has_begun(&group.shared.store, topic)?;
            if start == Start::Earliest || added {
                // A log that cannot be opened is reported by the fetch.
                if let Ok(log) = topics.log(partition) {
                    claims.push(Claim::at(partition.clone(), log.start_offset(), log));
                }
            } else if begun.insert(topic.clone()) {
                for partition in topics.partitions_of(topic) {
                    let Ok(log) = topics.log(&partition) else {
                        continue;
                    };
                    let (first, end) = (log.start_offset(), log.end_offset());
                    let start = match start {
                        Start::Offset(offset) if offset > end => Start::Latest,
                        Start::Offset(offset) => Start::Offset(offset.max(first)),
                        other => other,
                    };
                    let Ok(reader) = log.reader_with(start, self.config.isolation_level) else {
                        continue;
                    };
                    let mut claim = Claim::at(partition, reader.position(), log);
                    claim.epoch = reader.epoch();
                    claims.push(claim);
                }
            }
        }
        Ok(claims)
    }

    fn has_begun(
        &self,
        store: &OffsetStore,
        topic: &super::super::partition::TopicKey,
    ) -> Result<bool> {
        store.has_begun(self.group.id.as_str(), &topic.name)
    }

    /// The offset that the group has committed for a partition.
    ///
    /// # Errors
    ///
    /// As [`ConsumerGroup::committed`](crate::ConsumerGroup::committed).
    pub fn committed(&self, topic: &str, partition: PartitionId) -> Result<Option<Offset>> {
        self.group.committed(topic, partition)
    }

    /// What the group has committed for the partitions that this member has, sorted; those without
    /// a commit are left out.
    ///
    /// # Errors
    ///
    /// The errors of reading the group's commits; [`Error::Closed`].
    pub fn committed_all(&self) -> Result<Vec<(TopicPartition, Offset)>> {
        self.group.shared.check_owner()?;
        let mut committed = Vec::new();
        for assigned in self.fetcher.iter() {
            let PartitionKey { topic, partition } = &assigned.partition;
            if let Some(offset) = self.group.committed(&topic.name, *partition)? {
                committed.push((assigned.partition.public(), offset));
            }
        }
        Ok(committed)
    }
}

impl Claim {
    fn at(partition: PartitionKey, offset: Offset, log: crate::log::Log) -> Self {
        Self {
            partition,
            offset,
            epoch: log.epoch(),
            named: false,
            log,
            metadata: None,
        }
    }

    /// The commit; if the log was cut off below the offset, it is at the cut. Must be called while
    /// no other commit is written, so that a later truncation finds this one.
    fn commit(&self) -> Result<Commit> {
        if self.named {
            self.log.check_epoch(self.offset, self.epoch)?;
        }
        Ok(Commit {
            topic: Arc::clone(&self.partition.topic.name),
            partition: self.partition.partition,
            offset: self.offset.min(self.log.shared_end(self.epoch)),
            metadata: self.metadata.clone(),
        })
    }
}
