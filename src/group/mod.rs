//! Floor 6: consumer groups. Members share the partitions of their topics; what a group has read is
//! kept in the log `__consumer_offsets`.
//!
//! Knows nothing about brokers: it gets the topics and the logs of `__consumer_offsets` handed in.
//!
//! | file | what |
//! | --- | --- |
//! | `assignor/` | who is to read what: pure |
//! | `membership/` | who is a member and has what: a state machine, pure |
//! | `offset_store/` | commits: records in logs, the newest of them in memory |
//! | `group.rs` | one group: the locks around these |
//! | `fetch.rs`, `consumer.rs` | a member that reads |
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
mod offset_store;
mod partition;
mod records;
#[cfg(test)]
mod tests;
mod topics;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

pub use assignor::Assignor;
pub use config::ConsumerConfig;
pub use consumer::Consumer;
pub(crate) use coordinator::{Coordinator, CoordinatorSource};
pub use info::{GroupInfo, GroupPartition, MemberInfo};
pub use membership::GroupState;
pub(crate) use offset_store::OffsetLogs;
pub use records::{ConsumerRecord, ConsumerRecords};

use crate::error::{Error, Result};
use crate::topic::Keep;
use crate::types::{Offset, PartitionId, Settings as _, Start};

use fetch::unknown_partition;
use group::Group;
use membership::Joining;
use offset_store::Commit;
use topics::unknown_topic;

/// A group of consumers: its members share the partitions of their topics, so that each record goes
/// to one of them, and other groups see every record again. Got from a
/// [`Broker`](crate::Broker::group).
///
/// Members may be threads of one process or tasks of one thread. When one joins, leaves, panics or
/// hangs, only the partitions that change hands pause; everybody else goes on reading. One
/// partition never has two live owners.
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
    keeper: Option<Arc<dyn Keep>>,
}

impl fmt::Debug for ConsumerGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerGroup")
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

impl ConsumerGroup {
    fn new(group: Arc<Group>, keeper: Option<Arc<dyn Keep>>) -> Self {
        Self { group, keeper }
    }

    /// The name of the group.
    #[must_use]
    pub fn id(&self) -> &str {
        self.group.id.as_str()
    }

    /// Joins the group as a reader of some topics, with the default [`ConsumerConfig`]. It never
    /// waits for other members: what this one is to have comes with its polls, as others let it
    /// go.
    ///
    /// Partitions that are added to a topic later are shared out too, and so is a topic that is
    /// deleted and made again.
    ///
    /// # Errors
    ///
    /// - [`Error::UnknownTopic`]: there is no such topic (yet).
    /// - [`Error::InvalidConfig`]: there is no topic in the list.
    /// - [`Error::Corrupt`]: the directory that holds what the group has committed is missing. Put it
    ///   back, or let [`repair`](crate::repair) make an empty one, or say with [`reset`](Self::reset)
    ///   where the group goes on.
    /// - [`Error::ReadOnly`], [`Error::Closed`].
    pub fn join<S: AsRef<str>>(&self, topics: impl IntoIterator<Item = S>) -> Result<Consumer> {
        self.join_with(topics, ConsumerConfig::default())
    }

    /// Joins the group with settings: how much a poll gives, how long it may take to the next one,
    /// where reading begins without a commit, how partitions are shared out, a static id.
    ///
    /// # Errors
    ///
    /// As [`join`](Self::join); [`Error::InvalidConfig`] for a setting out of its bounds.
    pub fn join_with<S: AsRef<str>>(
        &self,
        topics: impl IntoIterator<Item = S>,
        config: ConsumerConfig,
    ) -> Result<Consumer> {
        config.check()?;
        let topics: BTreeSet<Arc<str>> = topics
            .into_iter()
            .map(|topic| Arc::from(topic.as_ref()))
            .collect();
        if topics.is_empty() {
            return Err(Error::InvalidConfig {
                name: "topics".to_owned(),
                value: "an empty list".to_owned(),
                expected: "at least one topic".to_owned(),
            });
        }
        let static_id = config.static_member_id.as_str();
        let joining = Joining {
            topics,
            static_id: (!static_id.is_empty()).then(|| Arc::from(static_id)),
            assignor: config.assignor,
            max_poll_interval: config.max_poll_interval,
        };
        Consumer::join(&self.group, joining, config, self.keeper.clone())
    }

    /// The state of the group, its members and what they have, and how far it is in every
    /// partition.
    ///
    /// The members are seen at one moment, the logs one after the other after it.
    ///
    /// # Errors
    ///
    /// What reading the group's commits answers; [`Error::Closed`]. A partition whose own log
    /// cannot be looked at says so in [`GroupPartition::problem`].
    pub fn describe(&self) -> Result<GroupInfo> {
        coordinator::describe(&self.group)
    }

    /// The offset that the group has committed for a partition: the next one to read.
    ///
    /// # Errors
    ///
    /// - [`Error::UnknownTopic`], [`Error::UnknownPartition`].
    /// - What reading the group's commits answers; [`Error::Closed`].
    pub fn committed(&self, topic: &str, partition: PartitionId) -> Result<Option<Offset>> {
        let shared = &self.group.shared;
        shared.check_open()?;
        let shape = shared
            .topics
            .shape(topic)
            .ok_or_else(|| unknown_topic(topic))?;
        if partition >= shape.partitions {
            return Err(unknown_partition(topic, partition));
        }
        shared.store.committed(self.id(), topic, partition)
    }

    /// Commits a place for every partition of a topic, as one batch: the group goes on there.
    ///
    /// # Errors
    ///
    /// Nothing was committed after any of these:
    ///
    /// - [`Error::GroupNotEmpty`]: the group has members.
    /// - [`Error::UnknownTopic`].
    /// - [`Error::OffsetOutOfRange`]: a partition has no such offset.
    /// - What reading the topic and writing the commits answers; [`Error::ReadOnly`],
    ///   [`Error::Closed`].
    pub fn reset(&self, topic: &str, to: Start) -> Result<()> {
        let shared = &self.group.shared;
        shared.check_writable()?;
        shared.store.prepare(self.id())?;
        self.group.while_empty(|| {
            let shape = shared
                .topics
                .shape(topic)
                .ok_or_else(|| unknown_topic(topic))?;
            let name = &shape.key.name;
            let commits = (0..shape.partitions).map(|partition| {
                let log = shared.topics.log(&shape.key.partition(partition))?;
                let offset = log.reader(to)?.position();
                Ok(Commit {
                    topic: Arc::clone(name),
                    partition,
                    offset,
                })
            });
            let commits = commits.collect::<Result<Vec<_>>>()?;
            shared.store.commit(self.id(), &commits)
        })
    }
}
