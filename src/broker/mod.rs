//! Floor 7: the broker. One directory, its lock, its topics and groups.
//!
//! Knows nothing about records. Every file of this floor is one thing:
//!
//! | file | what |
//! | --- | --- |
//! | `core.rs` | what all handles share; how it ends |
//! | `root.rs` | the directory: its catalog, its topics by name |
//! | `open.rs` | from a directory to a broker, whatever the last use left |
//! | `topics.rs` | topics come, change and go |
//! | `catalog.rs`, `state.rs` | `ottla.catalog` on disk, and what it adds up to |
//! | `offsets.rs` | the topic of the groups' commits |
//! | `upkeep.rs` `upkeeper.rs` | one round of upkeep, and the thread that does it |
//! | `rest.rs` | what tells a root at rest from one in use |
//! | `metrics.rs` | what was done since the opening, in figures |
//! | `temporary.rs` | brokers for tests |
//! | `asynchronous.rs` | flushing and closing as a task |
//! | `verify.rs`, `repair/` | a directory examined, and put right |

#[cfg(feature = "async")]
mod asynchronous;
mod backup;
#[cfg(test)]
mod budget_tests;
mod catalog;
mod config;
mod core;
mod ensure;
#[cfg(feature = "metrics")]
mod facade;
#[cfg(test)]
mod keyless_tests;
#[cfg(test)]
mod listing_tests;
mod metrics;
mod offsets;
mod open;
#[cfg(test)]
mod producer_tests;
mod repair;
mod rest;
mod root;
mod state;
mod surroundings;
mod temporary;
#[cfg(test)]
mod tests;
mod topics;
#[cfg(feature = "tracing")]
#[cfg(test)]
mod trace_tests;
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
use crate::error::{Error, Result};
use crate::group::{ConsumerGroup, GroupInfo};
use crate::log::OpenReport;
use crate::log::trace::Span;
use crate::topic::{Topic, TopicConfig, TopicInfo, TopicShared};

use self::core::Core;
use self::offsets::is_reserved;

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
    pub fn open_with(dir: impl AsRef<Path>, config: BrokerConfig) -> Result<Self> {
        Self::open_on(Disk::os(), Clock::System, dir.as_ref(), config)
    }

    /// Opens the broker of a directory for reading: takes no lock, changes no byte, and may look at
    /// a directory that somebody else is writing. It sees what was there when it (or the log that
    /// is read) was opened, and looks again where the writer has removed or replaced something; see
    /// [`Log::open_read_only`](crate::Log::open_read_only). A topic that the writer deletes answers
    /// [`Error::UnknownTopic`], or [`Error::Closed`] from a log that was open already.
    ///
    /// # Errors
    ///
    /// As [`Broker::open_with`], but for [`Error::Locked`]. Every method that writes answers
    /// [`Error::ReadOnly`].
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

    /// Makes a topic. When this returns it is there after any crash; an error leaves nothing of it.
    /// Costs two syncs, however many partitions it has and however many topics there are.
    ///
    /// # Errors
    ///
    /// - [`Error::TopicExists`].
    /// - [`Error::InvalidName`]: a name is 1 to 249 characters of `a-z A-Z 0-9 . _ -`, does not
    ///   belong to Kafka itself, and differs from all others in more than `.` and `_` or capitals.
    /// - [`Error::InvalidConfig`]: a setting is out of its bounds, 0 partitions for example.
    /// - [`Error::Poisoned`]: a sync of the catalog failed, now or earlier. Whether the topic is
    ///   there shows when the broker is opened again.
    /// - [`Error::NoSpace`], [`Error::Io`], [`Error::ReadOnly`], [`Error::Closed`].
    pub fn create_topic(&self, name: &str, config: TopicConfig) -> Result<Topic> {
        self.core
            .create(name, config)
            .map(|topic| self.topic_of(topic))
    }

    /// The topic of a name, made when it is not there. One that is there is given as it is,
    /// whatever its settings.
    ///
    /// # Errors
    ///
    /// As [`Broker::create_topic`], but for [`Error::TopicExists`].
    pub fn create_topic_if_absent(&self, name: &str, config: TopicConfig) -> Result<Topic> {
        match self.topic(name) {
            Err(Error::UnknownTopic { .. }) => {}
            found => return found,
        }
        match self.create_topic(name, config) {
            // Somebody was faster.
            Err(Error::TopicExists { .. }) => self.topic(name),
            made => made,
        }
    }

    /// Sees to it that a topic is there with these settings: makes it, or alters it where it is
    /// there with others, and says which. What a program calls when it starts. Settings that
    /// `config` leaves at their defaults are set back to them; partitions can only be added.
    ///
    /// # Errors
    ///
    /// As [`Broker::create_topic`] and [`Broker::alter_topic`]; [`Error::InvalidConfig`] when the
    /// topic has more partitions than `config` says.
    ///
    /// # Examples
    ///
    /// ```
    /// use ottla::{Broker, Ensured, TopicConfig};
    ///
    /// # let scratch = tempfile::tempdir()?;
    /// let broker = Broker::open(scratch.path().join("data"))?;
    /// let config = TopicConfig::default().partitions(4);
    /// assert_eq!(broker.ensure_topic("flights", config.clone())?, Ensured::Made);
    /// assert_eq!(broker.ensure_topic("flights", config.clone())?, Ensured::AsItWas);
    ///
    /// let more = broker.ensure_topic("flights", config.partitions(8))?;
    /// let Ensured::Altered(changes) = more else { panic!("{more:?}") };
    /// assert_eq!((changes[0].name.as_str(), changes[0].to.as_str()), ("partitions", "8"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[expect(
        clippy::needless_pass_by_value,
        reason = "taken as `create_topic` takes it"
    )]
    pub fn ensure_topic(&self, name: &str, config: TopicConfig) -> Result<Ensured> {
        self.core.ensure(name, &config)
    }

    /// A topic that is there. Kafka's own topics (`__consumer_offsets`, `__transaction_state`,
    /// `__share_group_state`) can be read through their handle; whatever would change them is
    /// [`Error::InternalTopic`].
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTopic`], [`Error::Closed`].
    pub fn topic(&self, name: &str) -> Result<Topic> {
        self.core.root.check_open()?;
        let unknown = || Error::UnknownTopic {
            name: name.to_owned(),
        };
        let topic = self.core.root.directory.find(name).ok_or_else(unknown)?;
        Ok(self.topic_of(Arc::clone(topic.shared())))
    }

    fn topic_of(&self, topic: Arc<TopicShared>) -> Topic {
        self.core.start_upkeep();
        let keeper: Arc<Core> = Arc::clone(&self.core);
        let internal = is_reserved(topic.name().as_str());
        let topic = Topic::new(topic).kept_by(keeper);
        if internal { topic.for_reading() } else { topic }
    }

    /// All topics with their partitions and settings, by name; none after [`Broker::close`].
    ///
    /// Reads what is known: the logs that are open are asked, and of the others it takes what was
    /// noted when they were closed, and the lengths of their files. No log is opened for it, except
    /// where that is not to be had (a log that was damaged, or a broker that only reads): so damage
    /// that nobody has come across yet is not in [`PartitionInfo::problem`](crate::PartitionInfo),
    /// and [`Topic::describe`](crate::Topic::describe), which opens them all, is for that.
    /// [`Broker::topic_names`] costs less.
    #[must_use]
    pub fn topics(&self) -> Vec<TopicInfo> {
        if self.core.root.check_open().is_err() {
            return Vec::new();
        }
        self.core
            .topics()
            .iter()
            .map(|topic| topic.known_info())
            .collect()
    }

    /// The names of all topics, sorted; none after [`Broker::close`].
    #[must_use]
    pub fn topic_names(&self) -> Vec<String> {
        if self.core.root.check_open().is_err() {
            return Vec::new();
        }
        self.core
            .topics()
            .iter()
            .map(|topic| topic.name().to_string())
            .collect()
    }

    /// Deletes a topic with all its records, and what groups have committed for it. When this
    /// returns it is gone after any crash. Its handles answer [`Error::UnknownTopic`] from now on,
    /// and readers of its logs [`Error::Closed`].
    ///
    /// # Errors
    ///
    /// - [`Error::UnknownTopic`], [`Error::InvalidName`], [`Error::ReadOnly`], [`Error::Closed`].
    /// - [`Error::Poisoned`]: a sync of the catalog failed, now or earlier. Whether the topic is
    ///   there shows when the broker is opened again.
    /// - [`Error::Io`], [`Error::NoSpace`]: when the catalog could not be written, nothing
    ///   changed. When [`Broker::topic`] no longer finds the topic, it is gone, and what could not
    ///   be removed of it is removed by the next opening.
    pub fn delete_topic(&self, name: &str) -> Result<()> {
        self.core.delete(name)
    }

    /// Changes the settings of a topic, or adds partitions: `change` is given what they are and
    /// says what they shall be. It is durable when this returns, and applies to the running logs
    /// from now on. Records stay where they are: with more partitions a key may get another one.
    ///
    /// Settings that somebody else changes at the same time are kept, unless `change` changes the
    /// same ones.
    ///
    /// A topic that becomes [`Durability::Always`](crate::Durability::Always) is flushed first, so
    /// the high watermarks of its partitions do not go back.
    ///
    /// # Errors
    ///
    /// - [`Error::InvalidConfig`]: a setting is out of its bounds, or there would be fewer
    ///   partitions; or the topic is to be compacted and holds records without keys, which
    ///   compaction drops ([`Broker::alter_topic_with`] can ask for that).
    /// - [`Error::UnknownTopic`], [`Error::InvalidName`], [`Error::ReadOnly`], [`Error::Closed`].
    /// - [`Error::Poisoned`]: a sync of the catalog failed, now or earlier; or one of a log that
    ///   was to be flushed, and the settings are changed all the same.
    /// - [`Error::Io`], [`Error::NoSpace`]: nothing changed.
    pub fn alter_topic(
        &self,
        name: &str,
        change: impl FnOnce(TopicConfig) -> TopicConfig,
    ) -> Result<()> {
        self.alter_topic_with(name, AlterOptions::default(), change)
    }

    /// The same with options: [`AlterOptions::drop_keyless`] allows a topic that holds records
    /// without keys to become one that is compacted, which drops them.
    ///
    /// # Errors
    ///
    /// As [`Broker::alter_topic`].
    ///
    /// # Examples
    ///
    /// ```
    /// use ottla::{AlterOptions, Broker, CleanupPolicy, TopicConfig};
    ///
    /// # let scratch = tempfile::tempdir()?;
    /// let broker = Broker::open(scratch.path().join("data"))?;
    /// broker.create_topic("prices", TopicConfig::default())?.append("a value without a key")?;
    ///
    /// let compacted = |config: TopicConfig| config.cleanup_policy(CleanupPolicy::Compact);
    /// assert!(broker.alter_topic("prices", compacted).is_err());
    ///
    /// let options = AlterOptions::default().drop_keyless(true);
    /// broker.alter_topic_with("prices", options, compacted)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn alter_topic_with(
        &self,
        name: &str,
        options: AlterOptions,
        change: impl FnOnce(TopicConfig) -> TopicConfig,
    ) -> Result<()> {
        self.core.alter(name, options, change)
    }

    /// A consumer group: its members share the partitions of their topics. It is there as soon as
    /// somebody asks for it, and remembered once it has committed something.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidName`]: an id is 1 to 32,767 bytes. [`Error::Closed`].
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

    /// Forgets a group and everything that it has committed.
    ///
    /// # Errors
    ///
    /// - [`Error::GroupNotEmpty`] while it has members, [`Error::UnknownGroup`].
    /// - [`Error::ReadOnly`], [`Error::Closed`], and what writing the log of the commits answers.
    pub fn delete_group(&self, id: &str) -> Result<()> {
        self.core.delete_group(id)
    }

    /// One round of what otherwise a thread does in the background, every
    /// [`upkeep_interval_ms`](crate::BrokerConfig::upkeep_interval_ms): retention, compaction of
    /// the logs in which enough was not compacted yet, syncs of logs with
    /// [`Durability::Interval`](crate::Durability::Interval) that are behind, and closing the files
    /// of logs that nothing was appended to since the last round. No append waits for it.
    ///
    /// # Errors
    ///
    /// [`Error::ReadOnly`], [`Error::Closed`]. What goes wrong with a log stands in the report, and
    /// does not affect the others.
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
    pub fn close(&self) -> Result<()> {
        self.core.close()
    }
}
