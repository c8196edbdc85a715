//! Floor 10: the broker. One directory, its lock, its topics and groups.
//!
//! Knows nothing about records.
//!
//! | file | what |
//! | --- | --- |
//! | `core.rs` | what all handles share; how it ends |
//! | `root.rs` | the directory: its catalog, its topics by name |
//! | `open.rs` | from a directory to a broker, whatever the last use left |
//! | `administration.rs`, `topics.rs` | topics come, change and go: the calls, and their order |
//! | `catalog.rs`, `state.rs` | `ottla.catalog` on disk, and what it adds up to |
//! | `upkeep.rs` `upkeeper.rs` | one round of upkeep, and its thread |
//! | `follow.rs`, `signs.rs` | a root that another process writes |
//! | `backup.rs`, `undecided.rs` | a copy of a root |
//! | `rest/` | from a root in use to one at rest, and back |
//! | `verify.rs`, `repair/` | a directory examined, and repaired |

mod administration;
#[cfg(feature = "async")]
mod asynchronous;
mod backup;
#[cfg(test)]
#[cfg(ottla_repository)]
mod budget_tests;
mod catalog;
mod config;
mod core;
#[cfg(test)]
#[cfg(ottla_repository)]
mod deleting_tests;
mod ensure;
#[cfg(feature = "metrics")]
mod facade;
mod follow;
#[cfg(test)]
#[cfg(ottla_repository)]
mod keyless_tests;
#[cfg(test)]
#[cfg(ottla_repository)]
mod listing_tests;
mod metrics;
mod offsets;
mod open;
#[cfg(test)]
#[cfg(ottla_repository)]
mod producer_tests;
mod repair;
mod rest;
mod root;
mod signs;
mod state;
mod surroundings;
mod temporary;
#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
mod topics;
#[cfg(feature = "tracing")]
#[cfg(test)]
#[cfg(ottla_repository)]
mod trace_tests;
mod undecided;
mod upkeep;
mod upkeeper;
mod usage;
mod verify;

use std::path::Path;
use std::sync::Arc;

pub use config::BrokerConfig;
pub use ensure::{Ensured, SettingChange};
pub use metrics::BrokerMetrics;
pub use offsets::DamagedCommits;
pub use repair::repair;
pub use topics::AlterOptions;
pub use upkeep::{UpkeepProblem, UpkeepReport};
pub use usage::{DiskUsage, TopicUsage};
pub use verify::verify;

use crate::clock::Clock;
use crate::disk::Disk;
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::group::{ConsumerGroup, GroupInfo};
use crate::host::Span;
use crate::recovery::OpenReport;

use self::core::Core;

/// One directory with its topics and consumer groups.
///
/// Cloning this handle is cheap, and any number of threads may use it. It holds the directory's
/// lock, so one process writes at a time. [`Broker::close`] closes it, or the drop of the last
/// handle on it, its topics and its groups. A process that just ends is the same as a crash, from
/// which the next opening recovers.
///
/// In a fork of the process that opened it, every call on the broker, its topics, groups, consumers
/// and producers returns [`Error::Forked`], and dropping them only closes descriptors: no lock is
/// released, no group is left.
///
/// # Examples
///
/// ```
/// use ottla::{Broker, Record, TopicConfig};
///
/// # let scratch = tempfile::tempdir()?;
/// # let dir = scratch.path().join("data");
/// let broker = Broker::open(&dir)?;
/// let flights = broker.create_topic_if_absent("flights", TopicConfig::default().partitions(4))?;
/// flights.append(Record::keyed("N14228", "departed EWR"))?;
/// broker.close()?;
///
/// let broker = Broker::open(&dir)?;
/// assert_eq!(broker.topics()[0].partitions.len(), 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Broker {
    core: Arc<Core>,
}

impl Broker {
    /// [`Broker::open_with`] with the default settings.
    ///
    /// # Errors
    ///
    /// As [`Broker::open_with`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use ottla::Broker;
    /// # let scratch = tempfile::tempdir()?;
    /// # let dir = scratch.path().join("data");
    /// let broker = Broker::open(&dir)?;
    /// assert!(broker.topics().is_empty());
    /// broker.close()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(dir, BrokerConfig::default())
    }

    /// Opens the broker of a directory and recovers after a crash. Missing directories are created.
    ///
    /// After a clean close the time depends on the number of topics, and each log is opened at its
    /// first use. After a crash all logs are opened now, and [`Broker::open_report`] says what was
    /// found. A damaged log does not affect the others: it is reported, and its own calls return
    /// the error.
    ///
    /// # Errors
    ///
    /// - [`Error::Locked`]: another handle, here or in another process, has it open.
    /// - [`Error::InvalidConfig`]: a setting is out of its bounds.
    /// - [`Error::Unsupported`]: the directory holds something else, such as a single log, or other
    ///   things and nothing of a broker, and
    ///   [`among_other_files`](crate::BrokerConfig::among_other_files) is not set.
    /// - [`Error::Corrupt`]: the catalog of topics is damaged; nothing was changed.
    /// - [`Error::Io`], [`Error::NoSpace`]: the directory cannot be read or made.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ottla::{Broker, BrokerConfig, TopicConfig};
    /// # let scratch = tempfile::tempdir()?;
    /// # let dir = scratch.path().join("data");
    /// let config = BrokerConfig::default().max_total_bytes(10 << 30);
    /// let broker = Broker::open_with(&dir, config)?;
    /// broker.create_topic("flights", TopicConfig::default())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open_with(dir: impl AsRef<Path>, config: BrokerConfig) -> Result<Self> {
        Self::open_on(Disk::os(), Clock::System, dir.as_ref(), config)
    }

    /// Opens the broker of a directory for reading: takes no lock, changes no byte, and needs only
    /// permission to read files and to search directories. It follows any writer, a Kafka broker
    /// too: it sees the topics, commits and lag of the moment, and follows logs as
    /// [`Log::open_read_only`](crate::Log::open_read_only) does.
    ///
    /// A topic that the writer deletes returns [`Error::UnknownTopic`], and its logs
    /// [`Error::Closed`], even when its name is used again. The members of groups are in the
    /// writer's memory, and are not seen. [`Broker::is_live`] says whether there is a writer.
    ///
    /// # Errors
    ///
    /// As [`Broker::open_with`], without [`Error::Locked`]. Every method that writes returns
    /// [`Error::ReadOnly`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use ottla::{Broker, TopicConfig};
    /// # let scratch = tempfile::tempdir()?;
    /// # let dir = scratch.path().join("data");
    /// # let broker = Broker::open(&dir)?;
    /// broker.create_topic("flights", TopicConfig::default())?.append("EWR")?;
    ///
    /// // In any process, beside the writer:
    /// let looking = Broker::open_read_only(&dir)?;
    /// let record = looking.topic("flights")?.partition(0)?.read(0)?;
    /// assert_eq!(record.unwrap().value(), Some(&b"EWR"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open_read_only(dir: impl AsRef<Path>) -> Result<Self> {
        let core = open::open_read_only(&Disk::os(), &Clock::System, dir.as_ref())?;
        Ok(Self { core })
    }

    pub(crate) fn open_on(
        disk: Disk,
        clock: Clock,
        dir: &Path,
        config: BrokerConfig,
    ) -> Result<Self> {
        let _span = Span::open(dir);
        let core = open::open(disk, clock, dir, config)?;
        core.pass_on_opening();
        Ok(Self { core })
    }

    /// A consumer group, whose members share the partitions of their topics. It exists as soon as
    /// it is asked for, and is remembered once it has committed something.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidName`]: an id is 1 to 32,767 bytes. [`Error::Closed`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ottla::{Broker, TopicConfig};
    /// # let broker = Broker::temporary()?;
    /// # let topic = broker.create_topic("flights", TopicConfig::default().partitions(4))?;
    /// let mut consumer = broker.group("board")?.join(["flights"])?;
    /// assert!(consumer.poll(Duration::ZERO)?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn group(&self, id: &str) -> Result<ConsumerGroup> {
        self.core.group(id)
    }

    /// Every group with members or commits, by id. The first call reads all commits. Groups whose
    /// commits are damaged, or of a later version, are left out: see
    /// [`damaged_commits`](Self::damaged_commits).
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], and the errors of reading the log of the commits.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ottla::{Broker, TopicConfig};
    /// # let broker = Broker::temporary()?;
    /// # let topic = broker.create_topic("flights", TopicConfig::default().partitions(4))?;
    /// let mut consumer = broker.group("board")?.join(["flights"])?;
    /// for group in broker.groups()? {
    ///     println!("{}: {:?}, {} members", group.id, group.state, group.members.len());
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn groups(&self) -> Result<Vec<GroupInfo>> {
        self.core.list_groups()
    }

    /// The unreadable partitions of `__consumer_offsets`; reads those that were not read yet. The
    /// hash of a group's id says which of the 50 has its commits. Groups of a damaged partition
    /// return its error, and all others continue. [`repair`](crate::repair) quarantines what is
    /// damaged and keeps the rest; until then no Kafka broker starts on the directory, for it would
    /// lose the commits.
    ///
    /// # Errors
    ///
    /// As [`groups`](Self::groups), except damage.
    ///
    /// # Examples
    ///
    /// ```
    /// # let scratch = tempfile::tempdir()?;
    /// let broker = ottla::Broker::open(scratch.path().join("data"))?;
    /// assert!(broker.damaged_commits()?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn damaged_commits(&self) -> Result<Vec<DamagedCommits>> {
        self.core.damaged_commits()
    }

    /// Deletes a group and all its commits, as durably as the broker's `durability` makes a commit.
    ///
    /// # Errors
    ///
    /// - [`Error::GroupNotEmpty`] while it has members, [`Error::UnknownGroup`].
    /// - [`Error::ReadOnly`], [`Error::Closed`], and the errors of writing the log of the commits.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ottla::{Broker, TopicConfig};
    /// # let broker = Broker::temporary()?;
    /// # let topic = broker.create_topic("flights", TopicConfig::default().partitions(4))?;
    /// # topic.append("departed EWR")?;
    /// # let mut consumer = broker.group("board")?.join(["flights"])?;
    /// # consumer.poll(Duration::from_secs(1))?;
    /// consumer.commit()?;
    /// consumer.leave()?;
    /// broker.delete_group("board")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn delete_group(&self, id: &str) -> Result<()> {
        self.core.delete_group(id)
    }

    /// One round of what a thread otherwise does every
    /// [`upkeep_interval`](crate::BrokerConfig::upkeep_interval): retention, compaction of logs
    /// with enough that was not compacted yet, overdue syncs of logs with
    /// [`Durability::Interval`](crate::Durability::Interval), and closing the files of logs without
    /// appends since the last round. No append waits for it.
    ///
    /// # Errors
    ///
    /// [`Error::ReadOnly`], [`Error::Closed`]. A log's problems are in the report, and do not
    /// affect others.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ottla::{Broker, BrokerConfig};
    /// # let scratch = tempfile::tempdir()?;
    /// # let dir = scratch.path().join("data");
    /// let broker = Broker::open_with(&dir, BrokerConfig::default().manual_upkeep(true))?;
    /// let report = broker.upkeep()?;
    /// assert!(report.problems.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn upkeep(&self) -> Result<UpkeepReport> {
        let report = self.core.root.upkeep();
        self.core.root.show();
        report
    }

    /// What the files of the directory take up, by topic and kind, also in quarantine. Reads the
    /// length of every file.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]: the directory cannot be listed. [`Error::Closed`].
    ///
    /// # Examples
    ///
    /// ```
    /// use ottla::{Broker, TopicConfig};
    ///
    /// # let scratch = tempfile::tempdir()?;
    /// let broker = Broker::open(scratch.path().join("data"))?;
    /// broker.create_topic("flights", TopicConfig::default())?.append("departed EWR")?;
    /// let usage = broker.disk_usage()?;
    /// assert!(usage.topics["flights"].records > 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn disk_usage(&self) -> Result<DiskUsage> {
        self.core.root.disk_usage()
    }

    /// What the last round of the upkeep thread did; `None` before the first one, and always with
    /// [`manual_upkeep`](crate::BrokerConfig::manual_upkeep).
    #[must_use]
    pub fn last_upkeep(&self) -> Option<UpkeepReport> {
        self.core.root.host.check_owner().ok()?;
        self.core.upkeeper.last()
    }

    /// What opening the directory found and did.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ottla::Broker;
    /// # let broker = Broker::temporary()?;
    /// let report = broker.open_report();
    /// if !report.clean {
    ///     eprintln!("{report:?}");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn open_report(&self) -> &OpenReport {
        &self.core.report
    }

    /// Makes everything appended before the call survive power loss, after appending what a
    /// [`Producer`](crate::Producer) holds.
    ///
    /// # Errors
    ///
    /// The first error, after all producers and logs were tried: see
    /// [`Producer::flush`](crate::Producer::flush), which still returns it as well, and
    /// [`Log::flush`](crate::Log::flush).
    ///
    /// # Examples
    ///
    /// ```
    /// # use ottla::{Broker, TopicConfig};
    /// # let broker = Broker::temporary()?;
    /// # let topic = broker.create_topic("flights", TopicConfig::default().partitions(4))?;
    /// topic.append("departed EWR")?;
    /// broker.flush()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn flush(&self) -> Result<()> {
        self.core.flush()
    }

    /// Appends what a [`Producer`](crate::Producer) holds, refuses later sends, syncs everything,
    /// leaves every file exactly at its last entry, and releases the lock. All handles on the
    /// broker, its topics and its groups return [`Error::Closed`] from now on. Closing a closed
    /// broker is `Ok`, and waits while another thread closes it.
    ///
    /// # Errors
    ///
    /// The first error, after all producers and logs were tried; also one that a producer met
    /// earlier and whose [`flush`](crate::Producer::flush) has not returned it. The lock is
    /// released all the same, and the next opening recovers.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ottla::{Broker, TopicConfig};
    /// # let broker = Broker::temporary()?;
    /// # let topic = broker.create_topic("flights", TopicConfig::default().partitions(4))?;
    /// topic.append("departed EWR")?;
    /// broker.close()?; // reports what a drop would hide
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn close(&self) -> Result<()> {
        self.core.close()
    }
}
