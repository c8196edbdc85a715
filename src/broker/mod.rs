//! Floor 10: the broker. One directory, its lock, its topics and groups.
//!
//! Knows nothing about records. Every file of this floor is one thing:
//!
//! | file | what |
//! | --- | --- |
//! | `core.rs` | what all handles share; how it ends |
//! | `root.rs` | the directory: its catalog, its topics by name |
//! | `open.rs` | from a directory to a broker, whatever the last use left |
//! | `administration.rs`, `topics.rs` | topics come, change and go: the calls, and the order of effects |
//! | `catalog.rs`, `state.rs` | `ottla.catalog` on disk, and what it adds up to |
//! | `offsets.rs` | the topic of the groups' commits |
//! | `upkeep.rs` `upkeeper.rs` | one round of upkeep, and the thread that does it |
//! | `rest/` | what tells a root at rest from one in use |
//! | `metrics.rs` | what was done since the opening, in figures |
//! | `temporary.rs` | brokers for tests |
//! | `asynchronous.rs` | flushing and closing as a task |
//! | `verify.rs`, `repair/` | a directory examined, and put right |

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
/// A broker is a handle: cloning it is cheap, and any number of threads may use it. It holds the
/// directory's lock, so there is one writing process at a time. It is closed by [`Broker::close`],
/// or when the last handle on it, on one of its topics, or on one of its groups is dropped; a
/// process that just ends is the same as a crash, from which the next opening recovers.
///
/// A broker, its topics, groups, consumers and producers belong to the process that opened it. In
/// one that is forked from it every call answers [`Error::Forked`], and dropping them closes
/// descriptors and does nothing else: no lock is given back, no group is left.
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
    /// Opens the broker of a directory with the usual settings; see [`Broker::open_with`].
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

    /// Opens the broker of a directory, making the directory and its parents when they are not
    /// there, and recovering after a crash.
    ///
    /// After a clean close this takes time by the number of topics, and each log is opened when it
    /// is first used. After a crash all logs are opened now, and [`Broker::open_report`] tells what
    /// was found. A damaged log does not affect the others: it is reported, and its own calls
    /// answer the error.
    ///
    /// # Errors
    ///
    /// - [`Error::Locked`]: another handle, here or in another process, has it open.
    /// - [`Error::InvalidConfig`]: a setting is out of its bounds.
    /// - [`Error::Unsupported`]: the directory holds something else, a single log for example, or
    ///   other things and nothing of a broker, and
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

    /// Opens the broker of a directory for reading: takes no lock, changes no byte, and needs no
    /// more than permission to read the files and to search the directories. It follows a writer,
    /// in this process or another one, a Kafka broker too: topics and partitions come, change and
    /// go, what groups have committed and their lag are those of the moment, and each log is
    /// followed as by [`Log::open_read_only`](crate::Log::open_read_only).
    ///
    /// A topic that the writer deletes answers [`Error::UnknownTopic`], and its logs
    /// [`Error::Closed`], also when there is another one of the same name by then. The members of
    /// groups are in the memory of the writer, and are not seen. [`Broker::is_live`] says whether
    /// there is a writer.
    ///
    /// # Errors
    ///
    /// As [`Broker::open_with`], but for [`Error::Locked`]. Every method that writes answers
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
    /// // In the same process or in another one, beside the writer:
    /// let looking = Broker::open_read_only(&dir)?;
    /// let record = looking.topic("flights")?.partition(0)?.read(0)?;
    /// assert_eq!(record.unwrap().value(), Some(&b"EWR"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open_read_only(dir: impl AsRef<Path>) -> Result<Self> {
        let core = open::open_read_only(&Disk::os(), &Clock::System, dir.as_ref())?;
        Ok(Self { core })
    }

    /// The same on any disk and clock.
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

    /// A consumer group: its members share the partitions of their topics. It is there as soon as
    /// somebody asks for it, and remembered once it has committed something.
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
    /// # let scratch = tempfile::tempdir()?;
    /// # let dir = scratch.path().join("data");
    /// # let broker = Broker::open(&dir)?;
    /// # let topic = broker.create_topic("flights", TopicConfig::default().partitions(4))?;
    /// let mut consumer = broker.group("departure-board")?.join(["flights"])?;
    /// assert!(consumer.poll(Duration::ZERO)?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn group(&self, id: &str) -> Result<ConsumerGroup> {
        self.core.group(id)
    }

    /// Every group that has members or has committed something, by id. The first call reads all
    /// that groups have committed.
    ///
    /// Groups whose commits are damaged, or of a later version, are left out:
    /// [`damaged_commits`](Self::damaged_commits) says whether there are any.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], and what reading the log of the commits answers.
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
    /// for group in broker.groups()? {
    ///     println!("{}: {:?}, {} members", group.id, group.state, group.members.len());
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn groups(&self) -> Result<Vec<GroupInfo>> {
        self.core.list_groups()
    }

    /// The partitions of `__consumer_offsets` that cannot be read; reads those that were not read
    /// yet. A group keeps its commits in one of 50 partitions, by the hash of its id. Groups of a
    /// damaged partition answer its error, and all others go on. [`repair`](crate::repair) sets
    /// aside what is damaged and keeps the rest; until then no Kafka broker starts on the
    /// directory, for it would lose the commits.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], and what reading the log of the commits answers, but for damage.
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

    /// Deletes a group and everything that it has committed. Like a commit, this survives what the
    /// `durability` of the broker says.
    ///
    /// # Errors
    ///
    /// - [`Error::GroupNotEmpty`] while it has members, [`Error::UnknownGroup`].
    /// - [`Error::ReadOnly`], [`Error::Closed`], and what writing the log of the commits answers.
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
    /// # consumer.poll(Duration::from_secs(1))?;
    /// consumer.commit()?;
    /// consumer.leave()?;
    /// broker.delete_group("board")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn delete_group(&self, id: &str) -> Result<()> {
        self.core.delete_group(id)
    }

    /// One round of what otherwise a thread does in the background, every
    /// [`upkeep_interval`](crate::BrokerConfig::upkeep_interval): retention, compaction of
    /// the logs in which enough was not compacted yet, syncs of logs with
    /// [`Durability::Interval`](crate::Durability::Interval) that are behind, and closing the files
    /// of logs that nothing was appended to since the last round. No append waits for it.
    ///
    /// # Errors
    ///
    /// [`Error::ReadOnly`], [`Error::Closed`]. What goes wrong with a log stands in the report, and
    /// does not affect the others.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ottla::{Broker, BrokerConfig};
    /// # let scratch = tempfile::tempdir()?;
    /// # let dir = scratch.path().join("data");
    /// let broker = Broker::open_with(&dir, BrokerConfig::default().manual_upkeep(true))?;
    /// // Where a thread of the broker is not wanted: once in a while, by the program.
    /// let report = broker.upkeep()?;
    /// assert!(report.problems.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn upkeep(&self) -> Result<UpkeepReport> {
        let report = self.core.root.upkeep();
        self.core.root.show();
        report
    }

    /// What the files of the directory take up, by topic and kind, what is in quarantine included.
    /// Costs a look at every file's length.
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
    /// assert!(usage.total() >= usage.records + usage.internal);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn disk_usage(&self) -> Result<DiskUsage> {
        self.core.root.disk_usage()
    }

    /// What the last round of the upkeep thread did, and what went wrong in it; `None` before the
    /// first one, and always with [`manual_upkeep`](crate::BrokerConfig::manual_upkeep).
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
    /// # let scratch = tempfile::tempdir()?;
    /// # let dir = scratch.path().join("data");
    /// # let broker = Broker::open(&dir)?;
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

    /// Makes everything that was appended before the call survive power loss. What a
    /// [`Producer`](crate::Producer) holds is appended first.
    ///
    /// # Errors
    ///
    /// The first error that a producer or a log met, after all were tried: see
    /// [`Producer::flush`](crate::Producer::flush), which still returns it as well, and
    /// [`Log::flush`](crate::Log::flush).
    ///
    /// # Examples
    ///
    /// ```
    /// # use ottla::{Broker, TopicConfig};
    /// # let scratch = tempfile::tempdir()?;
    /// # let dir = scratch.path().join("data");
    /// # let broker = Broker::open(&dir)?;
    /// # let topic = broker.create_topic("flights", TopicConfig::default().partitions(4))?;
    /// topic.append("departed EWR")?;
    /// broker.flush()?; // survives a power cut from here on
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn flush(&self) -> Result<()> {
        self.core.flush()
    }

    /// Syncs everything, leaves every file exactly at its last entry, and gives up the lock. All
    /// handles on it, its topics and its groups answer [`Error::Closed`] from now on. What a
    /// [`Producer`](crate::Producer) holds is appended first, and later sends are refused. Closing
    /// a closed broker is `Ok`; while another thread closes it, that waits until the directory is
    /// free.
    ///
    /// # Errors
    ///
    /// The first error that was met, after all producers and logs were tried; also one that a
    /// producer met earlier and whose [`flush`](crate::Producer::flush) has not returned it: the
    /// lock is given up all the same, and the next opening recovers.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ottla::{Broker, TopicConfig};
    /// # let scratch = tempfile::tempdir()?;
    /// # let dir = scratch.path().join("data");
    /// # let broker = Broker::open(&dir)?;
    /// # let topic = broker.create_topic("flights", TopicConfig::default().partitions(4))?;
    /// topic.append("departed EWR")?;
    /// broker.close()?; // reports what a drop would hide
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn close(&self) -> Result<()> {
        self.core.close()
    }
}
