//! Floor 9: consumer groups. Members share the partitions of their topics; what a group has read is
//! in the log `__consumer_offsets`.
//!
//! Knows nothing about brokers: it is given the topics and the logs of `__consumer_offsets`.
//!
//! | file | what |
//! | --- | --- |
//! | `assignor/` | who is to read what: pure |
//! | `membership/` | who is a member and has what: a state machine, pure |
//! | `offset_store/` | commits: records in logs, the newest of them in memory |
//! | `group.rs` | one group: the locks around these |
//! | `fetch.rs`, `consumer/` | a member that reads |
//! | `coordinator.rs` | all groups of a root |

mod assignor;
mod config;
mod consumer;
mod coordinator;
mod fetch;
#[expect(clippy::module_inception, reason = "a group is what this file holds")]
mod group;
mod info;
mod membership;
mod metrics;
mod offset_store;
mod partition;
mod records;
mod roster;
#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
mod topics;
mod typed;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

pub use assignor::Assignor;
pub use config::ConsumerConfig;
pub use consumer::{Consumer, RebalanceListener, WakeupHandle};
pub(crate) use coordinator::{Coordinator, CoordinatorSource};
pub use info::{GroupInfo, GroupPartition, MemberInfo};
pub use membership::GroupState;
pub use metrics::GroupMetrics;
pub(crate) use metrics::Tally;
pub(crate) use offset_store::OffsetLogs;
pub use records::{ConsumerRecords, Skipped};
pub use typed::TypedConsumer;

use crate::error::{Error, Result};
use crate::log::Log;
use crate::topic::BrokerHandle;
use crate::types::{Offset, PartitionId, Settings as _, Start, TopicName};

use group::Group;
use membership::Joining;
use offset_store::Commit;
use partition::PartitionKey;
use topics::unknown_topic;

/// A group of consumers, from a [`Broker`](crate::Broker::group): its members share the partitions
/// of their topics, so that each record goes to one of them, and other groups see every record
/// again.
///
/// Members are threads or tasks of one process. When one joins, leaves, panics or hangs, only the
/// partitions that change hands pause. A partition never has two live owners.
///
/// A handle is cheap to clone and keeps its broker open.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ottla::{Broker, Start, TopicConfig};
///
/// # let scratch = tempfile::tempdir()?;
/// let broker = Broker::open(scratch.path().join("data"))?;
/// let topic = broker.create_topic("flights", TopicConfig::default())?;
/// topic.append_batch(["departed", "landed"])?;
///
/// let group = broker.group("departure-board")?;
/// let mut consumer = group.join(["flights"])?;
/// assert_eq!(consumer.poll(Duration::ZERO)?.len(), 2);
/// consumer.commit()?;
/// consumer.leave()?;
/// assert_eq!(group.committed("flights", 0)?, Some(2));
///
/// group.reset("flights", Start::Earliest)?;
/// assert_eq!(group.describe()?.lag(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ConsumerGroup {
    group: Arc<Group>,
    broker: Option<Arc<dyn BrokerHandle>>,
}

impl fmt::Debug for ConsumerGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerGroup")
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

impl ConsumerGroup {
    fn new(group: Arc<Group>, broker: Option<Arc<dyn BrokerHandle>>) -> Self {
        Self { group, broker }
    }

    /// The name of the group.
    #[must_use]
    pub fn id(&self) -> &str {
        self.group.id.as_str()
    }

    /// Joins the group as a reader of some topics, with the default [`ConsumerConfig`]. It never
    /// waits for other members: this member's share comes with its polls.
    ///
    /// A topic need not exist yet: partitions are shared out when they are made, also later or
    /// again.
    ///
    /// # Errors
    ///
    /// - [`Error::InvalidConfig`]: the list has no topic.
    /// - [`Error::Corrupt`]: the directory of the group's commits is missing. Put it back, or let
    ///   [`repair`](crate::repair) make an empty one, or [`reset`](Self::reset) the group.
    /// - [`Error::InvalidName`]: no topic can have such a name.
    /// - [`Error::ReadOnly`], [`Error::Closed`].
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
    /// let mut consumer = group.join(["flights"])?;
    /// for record in &consumer.poll(Duration::from_secs(1))? {
    ///     println!("{}-{} at {}", record.topic, record.partition, record.offset);
    /// }
    /// consumer.commit()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn join<S: AsRef<str>>(&self, topics: impl IntoIterator<Item = S>) -> Result<Consumer> {
        self.join_with(topics, ConsumerConfig::default())
    }

    /// Joins the group with settings.
    ///
    /// # Errors
    ///
    /// As [`join`](Self::join); [`Error::InvalidConfig`] for a setting out of its bounds.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ottla::{Broker, ConsumerConfig, Record, Start, TopicConfig};
    /// # let scratch = tempfile::tempdir()?;
    /// # let dir = scratch.path().join("data");
    /// # let broker = Broker::open(&dir)?;
    /// # let topic = broker.create_topic("flights", TopicConfig::default().partitions(4))?;
    /// # topic.append(Record::keyed("N14228", "departed EWR"))?;
    /// # let group = broker.group("board")?;
    /// let config = ConsumerConfig::default().start(Start::Latest).max_poll_records(100);
    /// let mut consumer = group.join_with(["flights"], config)?;
    /// assert!(consumer.poll(Duration::ZERO)?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn join_with<S: AsRef<str>>(
        &self,
        topics: impl IntoIterator<Item = S>,
        config: ConsumerConfig,
    ) -> Result<Consumer> {
        self.join_as(subscribed(topics)?, config, None)
    }

    /// Joins the group with a listener that is called before partitions go to other members, so
    /// that it can commit: Kafka's `onPartitionsRevoked`.
    ///
    /// # Errors
    ///
    /// As [`join_with`](Self::join_with).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use ottla::{Broker, Consumer, ConsumerConfig, RebalanceListener, TopicConfig,
    /// TopicPartition};
    ///
    /// struct CommitFirst;
    ///
    /// impl RebalanceListener for CommitFirst {
    ///     fn on_revoke(&mut self, consumer: &mut Consumer, _partitions: &[TopicPartition]) {
    ///         if let Err(error) = consumer.commit() {
    ///             eprintln!("what was polled comes again: {error}");
    ///         }
    ///     }
    /// }
    ///
    /// # let scratch = tempfile::tempdir()?;
    /// # let broker = Broker::open(scratch.path().join("data"))?;
    /// let topic = broker.create_topic("jobs", TopicConfig::default())?;
    /// topic.append("one")?;
    /// let group = broker.group("workers")?;
    /// let mut consumer = group.join_listening(["jobs"], ConsumerConfig::default(), CommitFirst)?;
    /// assert_eq!(consumer.poll(Duration::ZERO)?.len(), 1);
    /// consumer.leave()?;
    /// assert_eq!(group.committed("jobs", 0)?, Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn join_listening<S: AsRef<str>>(
        &self,
        topics: impl IntoIterator<Item = S>,
        config: ConsumerConfig,
        listener: impl RebalanceListener + 'static,
    ) -> Result<Consumer> {
        self.join_as(subscribed(topics)?, config, Some(Box::new(listener)))
    }

    fn join_as(
        &self,
        topics: BTreeSet<Arc<str>>,
        config: ConsumerConfig,
        listener: Option<Box<dyn RebalanceListener>>,
    ) -> Result<Consumer> {
        config.check()?;
        let static_id = config.static_member_id.as_str();
        let joining = Joining {
            topics,
            static_id: (!static_id.is_empty()).then(|| Arc::from(static_id)),
            assignor: config.assignor,
            max_poll_interval: config.max_poll_interval,
            session_timeout: config.session_timeout,
            isolation: config.isolation_level,
            asked_first: listener.is_some(),
        };
        Consumer::join(&self.group, joining, config, listener, self.broker.clone())
    }

    /// The group, its members and their partitions, and how far it is in every partition.
    ///
    /// The members are those of one moment; the logs are read after it, one after the other.
    ///
    /// # Errors
    ///
    /// The errors of reading the group's commits; [`Error::Closed`]. For a log that cannot be read
    /// see [`GroupPartition::problem`].
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
    /// let info = group.describe()?;
    /// assert_eq!(info.members.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn describe(&self) -> Result<GroupInfo> {
        coordinator::describe(&self.group)
    }

    /// The offset that the group has committed for a partition: the next one to read.
    ///
    /// # Errors
    ///
    /// - [`Error::UnknownTopic`], [`Error::UnknownPartition`].
    /// - The errors of reading the group's commits; [`Error::Closed`].
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
    /// let partition = topic.partition_for_key(b"N14228");
    /// assert_eq!(group.committed("flights", partition)?, Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn committed(&self, topic: &str, partition: PartitionId) -> Result<Option<Offset>> {
        self.group.committed(topic, partition)
    }

    /// Makes the group continue at a position in every partition of a topic, by commits in one
    /// batch. It survives what the broker's `durability` says.
    ///
    /// # Errors
    ///
    /// Nothing was committed, except perhaps after [`Error::Poisoned`]:
    ///
    /// - [`Error::GroupNotEmpty`]: the group has members.
    /// - [`Error::UnknownTopic`].
    /// - [`Error::OffsetOutOfRange`]: a partition has no such offset.
    /// - The errors of reading the topic and writing the commits; [`Error::ReadOnly`],
    ///   [`Error::Closed`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ottla::{Broker, Record, Start, TopicConfig};
    /// # let scratch = tempfile::tempdir()?;
    /// # let dir = scratch.path().join("data");
    /// # let broker = Broker::open(&dir)?;
    /// # let topic = broker.create_topic("flights", TopicConfig::default().partitions(4))?;
    /// # topic.append(Record::keyed("N14228", "departed EWR"))?;
    /// # let group = broker.group("board")?;
    /// # let mut consumer = group.join(["flights"])?;
    /// consumer.poll(Duration::from_secs(1))?;
    /// consumer.commit()?;
    /// consumer.leave()?;
    /// // Read everything once more.
    /// group.reset("flights", Start::Earliest)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reset(&self, topic: &str, to: Start) -> Result<()> {
        self.commit_while_empty(|| {
            let shape = self.group.shared.topics.shape(topic);
            let shape = shape.ok_or_else(|| unknown_topic(topic))?;
            let partitions = (0..shape.partitions).map(|number| shape.key.partition(number));
            partitions.map(|key| self.place(&key, to)).collect()
        })
    }

    /// As [`reset`](Self::reset), for one partition.
    ///
    /// # Errors
    ///
    /// As [`reset`](Self::reset), and [`Error::UnknownPartition`].
    ///
    /// # Examples
    ///
    /// ```
    /// use ottla::{Broker, Start, TopicConfig};
    ///
    /// # let scratch = tempfile::tempdir()?;
    /// # let broker = Broker::open(scratch.path().join("data"))?;
    /// broker.create_topic("jobs", TopicConfig::default())?.append_batch(["one", "two"])?;
    /// let group = broker.group("workers")?;
    /// group.reset_partition("jobs", 0, Start::Latest)?;
    /// assert_eq!(group.committed("jobs", 0)?, Some(2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reset_partition(&self, topic: &str, partition: PartitionId, to: Start) -> Result<()> {
        self.commit_while_empty(|| {
            let key = self.group.check_partition(topic, partition)?;
            Ok(vec![self.place(&key, to)?])
        })
    }

    /// Commits one partition for a group without members: the offset of the next record to read,
    /// and a text (`""` for none).
    ///
    /// # Errors
    ///
    /// As [`reset_partition`](Self::reset_partition); [`Error::OffsetOutOfRange`] when the offset
    /// is past the end.
    pub fn commit_to(
        &self,
        topic: &str,
        partition: PartitionId,
        next: Offset,
        metadata: &str,
    ) -> Result<()> {
        self.commit_while_empty(|| {
            let key = self.group.check_partition(topic, partition)?;
            let log = self.group.shared.topics.log(&key)?;
            if next > log.end_offset() {
                return Err(log.out_of_range(next));
            }
            self.flush_below(&log, next)?;
            Ok(vec![Commit {
                topic: Arc::clone(&key.topic.name),
                partition,
                offset: next,
                metadata: (!metadata.is_empty()).then(|| Arc::from(metadata)),
            }])
        })
    }

    /// Deletes the group's commits on a topic, if any: its next member begins the topic where its
    /// [`start`](ConsumerConfig::start) says. The deletion survives what the broker's `durability`
    /// says.
    ///
    /// # Errors
    ///
    /// - [`Error::GroupNotEmpty`]: the group has members.
    /// - The errors of reading and writing the commits; [`Error::ReadOnly`], [`Error::Closed`].
    pub fn delete_commits(&self, topic: &str) -> Result<()> {
        let shared = &self.group.shared;
        shared.check_writable()?;
        shared.store.prepare(self.id())?;
        self.group
            .while_empty(|| shared.store.forget_commits(self.id(), topic, None))
    }

    /// Deletes the group's commit on one partition, if any; the others of the topic stay.
    ///
    /// # Errors
    ///
    /// As [`delete_commits`](Self::delete_commits).
    ///
    /// # Examples
    ///
    /// ```
    /// use ottla::{Broker, Start, TopicConfig};
    ///
    /// # let scratch = tempfile::tempdir()?;
    /// let broker = Broker::open(scratch.path().join("data"))?;
    /// broker.create_topic("flights", TopicConfig::default().partitions(2))?;
    /// let group = broker.group("departure-board")?;
    /// group.reset_partition("flights", 0, Start::Earliest)?;
    /// group.reset_partition("flights", 1, Start::Earliest)?;
    ///
    /// group.delete_partition_commit("flights", 0)?;
    /// assert_eq!(group.committed("flights", 0)?, None);
    /// assert_eq!(group.committed("flights", 1)?, Some(0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn delete_partition_commit(&self, topic: &str, partition: PartitionId) -> Result<()> {
        let shared = &self.group.shared;
        shared.check_writable()?;
        shared.store.prepare(self.id())?;
        self.group.while_empty(|| {
            let one = Some(partition);
            shared.store.forget_commits(self.id(), topic, one)
        })
    }

    /// Commits what `choose` returns, if the group has no members.
    fn commit_while_empty(&self, choose: impl FnOnce() -> Result<Vec<Commit>>) -> Result<()> {
        let shared = &self.group.shared;
        shared.check_writable()?;
        shared.store.prepare(self.id())?;
        let commit = || shared.store.commit(self.id(), &choose()?);
        self.group.while_empty(commit)?.confirm()
    }

    /// The commit that moves a partition to a position.
    fn place(&self, key: &PartitionKey, to: Start) -> Result<Commit> {
        let log = self.group.shared.topics.log(key)?;
        let offset = log.reader(to)?.position();
        self.flush_below(&log, offset)?;
        Ok(Commit {
            topic: Arc::clone(&key.topic.name),
            partition: key.partition,
            offset,
            metadata: None,
        })
    }

    /// A commit that is to survive a power cut must not outlive the records below it.
    fn flush_below(&self, log: &Log, offset: Offset) -> Result<()> {
        if self.group.shared.store.outlives_power(self.id())? && log.flushed_offset() < offset {
            log.flush()?;
        }
        Ok(())
    }
}

fn subscribed<S: AsRef<str>>(topics: impl IntoIterator<Item = S>) -> Result<BTreeSet<Arc<str>>> {
    let mut names = BTreeSet::new();
    for topic in topics {
        let name = topic.as_ref();
        TopicName::new(name).map_err(|reason| Error::InvalidName {
            name: name.to_owned(),
            reason,
        })?;
        names.insert(Arc::from(name));
    }
    if names.is_empty() {
        return Err(Error::InvalidConfig {
            name: "topics".to_owned(),
            value: "an empty list".to_owned(),
            expected: "at least one topic".to_owned(),
        });
    }
    Ok(names)
}
