//! Where a consumer reads: assignment, positions, seeking, pausing, lag.
//!
//! Knows nothing about commits and members.

use crate::error::Result;
use crate::types::{Offset, PartitionId, Start, TopicPartition};

use super::super::fetch::not_assigned;
use super::super::partition::PartitionKey;
use super::{Consumer, Failed, named};

impl Consumer {
    /// The partitions of this member's last poll that no other member has taken since, by topic and
    /// number; none if it was removed.
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
    /// consumer.poll(Duration::ZERO)?;
    /// assert_eq!(consumer.assignment().len(), 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn assignment(&self) -> Vec<(String, PartitionId)> {
        self.owned().iter().map(PartitionKey::named).collect()
    }

    fn owned(&self) -> Vec<PartitionKey> {
        if self.group.shared.check_owner().is_err() || !self.group.knows(self.seat.id) {
            return Vec::new();
        }
        let mut owned: Vec<_> = self.fetcher.iter().map(|a| a.partition.clone()).collect();
        owned.retain(|partition| self.group.owns(self.seat.id, partition));
        owned
    }

    pub(super) fn owned_names(&self) -> Vec<TopicPartition> {
        named(&self.owned())
    }

    /// The name of this member. It changes when the member is removed and joins again.
    #[must_use]
    pub fn member_id(&self) -> &str {
        &self.seat.name
    }

    /// The offset of the next record that a poll will return from a partition.
    ///
    /// # Errors
    ///
    /// - [`Error::UnknownPartition`](crate::Error::UnknownPartition): the member does not have this
    ///   partition.
    /// - [`Error::NoOffset`](crate::Error::NoOffset): as for [`poll`](Self::poll).
    /// - The errors of reading the partition's log, or the group's commits.
    pub fn position(&self, topic: &str, partition: PartitionId) -> Result<Offset> {
        self.group.shared.check_owner()?;
        let mut assigned = self.fetcher.iter();
        assigned
            .find(|assigned| assigned.is(topic, partition))
            .ok_or_else(|| not_assigned(topic, partition))?
            .position(&self.context())
    }

    /// Moves to another position in a partition, for this member's next poll. Nothing is committed.
    /// Before the first poll the position is remembered, and applies if that poll gains the
    /// partition.
    ///
    /// # Errors
    ///
    /// - [`Error::UnknownPartition`](crate::Error::UnknownPartition): the member does not have this
    ///   partition or, before its first poll, there is no such partition.
    /// - [`Error::OffsetOutOfRange`](crate::Error::OffsetOutOfRange): there is no such offset. The
    ///   member stays where it was.
    /// - The errors of reading the partition's log.
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
    /// let partition = topic.partition_for_key(b"N14228");
    /// assert_eq!(consumer.poll(Duration::from_secs(1))?.len(), 1);
    /// consumer.seek("flights", partition, 0)?;
    /// assert_eq!(consumer.poll(Duration::from_secs(1))?.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn seek(
        &mut self,
        topic: &str,
        partition: PartitionId,
        to: impl Into<Start>,
    ) -> Result<()> {
        self.group.shared.check_owner()?;
        let to = to.into();
        if !self.has_polled {
            self.group.check_partition(topic, partition)?;
            self.seeks.insert(TopicPartition::new(topic, partition), to);
            return Ok(());
        }
        let (context, fetcher) = self.reading();
        let assigned = fetcher.find(topic, partition)?;
        assigned.seek(&context, to)?;
        let key = assigned.partition.clone();
        if self
            .failed
            .as_ref()
            .is_some_and(|failed| failed.partition == key)
        {
            // It belonged to the position that the member has left.
            self.failed = None;
        }
        self.group.hold(self.seat.id, &self.fetcher.changed_holds());
        Ok(())
    }

    /// Applies the seeks that were made before the first poll.
    pub(super) fn apply_seeks(&mut self) -> Result<()> {
        for (place, to) in std::mem::take(&mut self.seeks) {
            let (context, fetcher) = self.reading();
            let Ok(assigned) = fetcher.find(&place.topic, place.partition) else {
                continue;
            };
            let key = assigned.partition.clone();
            if let Err(error) = assigned.seek(&context, to) {
                self.failed = Some(Failed {
                    partition: key,
                    error,
                });
                return self.take_failure();
            }
        }
        Ok(())
    }

    /// Moves every partition back to the last commit (or, without one, to where the group began
    /// it): what was polled and not committed is returned again.
    ///
    /// # Errors
    ///
    /// The errors of reading the partitions and the group's commits. Partitions before the one that
    /// failed were moved, the next call moves the others.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use ottla::{Broker, TopicConfig};
    ///
    /// # let scratch = tempfile::tempdir()?;
    /// # let broker = Broker::open(scratch.path().join("data"))?;
    /// broker.create_topic("jobs", TopicConfig::default())?.append("one")?;
    /// let mut consumer = broker.group("workers")?.join(["jobs"])?;
    /// assert_eq!(consumer.poll(Duration::ZERO)?.len(), 1);
    /// consumer.rewind()?;
    /// assert_eq!(consumer.poll(Duration::ZERO)?.len(), 1, "the same record");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rewind(&mut self) -> Result<()> {
        self.group.shared.check_owner()?;
        self.failed = None;
        let (context, fetcher) = self.reading();
        let mut assigned = fetcher.iter_mut();
        let moved = assigned.try_for_each(|assigned| assigned.rewind(&context));
        self.group.hold(self.seat.id, &self.fetcher.changed_holds());
        moved
    }

    /// Makes polls skip a partition, until [`resume`](Self::resume) or until it is lost. Its
    /// position stays.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownPartition`](crate::Error::UnknownPartition): the member does not have this
    /// partition.
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
    /// let partition = topic.partition_for_key(b"N14228");
    /// consumer.poll(Duration::ZERO)?;
    /// consumer.pause("flights", partition)?;
    /// topic.append(Record::keyed("N14228", "landed IAH"))?;
    /// assert!(consumer.poll(Duration::ZERO)?.is_empty());
    /// consumer.resume("flights", partition)?;
    /// assert_eq!(consumer.poll(Duration::from_secs(1))?.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pause(&mut self, topic: &str, partition: PartitionId) -> Result<()> {
        self.group.shared.check_owner()?;
        self.fetcher.find(topic, partition)?.pause(true);
        Ok(())
    }

    /// Makes polls read a [paused](Self::pause) partition again.
    ///
    /// # Errors
    ///
    /// As [`pause`](Self::pause).
    pub fn resume(&mut self, topic: &str, partition: PartitionId) -> Result<()> {
        self.group.shared.check_owner()?;
        self.fetcher.find(topic, partition)?.pause(false);
        Ok(())
    }

    /// The partitions that are [paused](Self::pause), sorted.
    #[must_use]
    pub fn paused(&self) -> Vec<TopicPartition> {
        let paused = self.fetcher.iter().filter(|assigned| assigned.is_paused());
        paused.map(|assigned| assigned.partition.public()).collect()
    }

    /// How many records of this member's partitions the group has not committed, polled ones too:
    /// the sum of [`GroupPartition::lag`](crate::GroupPartition::lag) over them.
    ///
    /// # Errors
    ///
    /// As [`position`](Self::position).
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
    /// consumer.poll(Duration::from_secs(1))?;
    /// consumer.commit()?;
    /// assert_eq!(consumer.lag()?, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lag(&self) -> Result<u64> {
        self.group.shared.check_owner()?;
        let context = self.context();
        let mut assigned = self.fetcher.iter();
        assigned.try_fold(0_u64, |sum, assigned| {
            Ok(sum.saturating_add(assigned.lag(&context)?))
        })
    }
}
