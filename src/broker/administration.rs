//! The calls that make, list, alter and delete topics.
//!
//! Knows nothing about how that is made safe (`topics.rs`, `catalog.rs`).

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::topic::{Topic, TopicConfig, TopicInfo, TopicShared};
use crate::types::is_internal_topic;

use super::core::Core;
use super::{AlterOptions, Broker, Ensured};

impl Broker {
    /// Creates a topic. Once this returns it exists after any crash; an error leaves nothing of it.
    /// Costs two syncs, whatever the number of partitions and topics.
    ///
    /// # Errors
    ///
    /// - [`Error::TopicExists`].
    /// - [`Error::InvalidName`]: a name is 1 to 249 characters of `a-z A-Z 0-9 . _ -`, does not
    ///   belong to Kafka itself, and differs from all others in more than `.` and `_` or capitals.
    /// - [`Error::InvalidConfig`]: a setting is out of its bounds, such as 0 partitions.
    /// - [`Error::Poisoned`]: a sync of the catalog failed, now or earlier. The next opening shows
    ///   whether the topic is there.
    /// - [`Error::NoSpace`], [`Error::Io`], [`Error::ReadOnly`], [`Error::Closed`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ottla::{Broker, TopicConfig};
    /// # let broker = Broker::temporary()?;
    /// let config = TopicConfig::default()
    ///     .partitions(4)
    ///     .retention(Duration::from_secs(7 * 24 * 60 * 60));
    /// let flights = broker.create_topic("flights", config)?;
    /// assert_eq!(flights.partition_count(), 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn create_topic(&self, name: &str, config: TopicConfig) -> Result<Topic> {
        self.core
            .create(name, config)
            .map(|topic| self.topic_of(topic))
    }

    /// Returns an existing topic, whatever its settings, or creates it.
    ///
    /// # Errors
    ///
    /// As [`Broker::create_topic`], without [`Error::TopicExists`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use ottla::{Broker, TopicConfig};
    /// # let broker = Broker::temporary()?;
    /// for _ in 0..2 {
    ///     let flights = broker.create_topic_if_absent("flights", TopicConfig::default())?;
    ///     assert_eq!(flights.name(), "flights");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn create_topic_if_absent(&self, name: &str, config: TopicConfig) -> Result<Topic> {
        match self.topic(name) {
            Err(Error::UnknownTopic { .. }) => {}
            found => return found,
        }
        match self.create_topic(name, config) {
            // Another call was faster.
            Err(Error::TopicExists { .. }) => self.topic(name),
            made => made,
        }
    }

    /// Creates a topic with these settings, or alters it, and says which: a call for the start of a
    /// program. Settings that `config` leaves at their defaults are set back to them; partitions
    /// can only be added.
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

    /// An existing topic. Kafka's own topics (`__consumer_offsets`, `__transaction_state`,
    /// `__share_group_state`) can be read; everything that would change them returns
    /// [`Error::InternalTopic`].
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTopic`], [`Error::Closed`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use ottla::{Broker, TopicConfig};
    /// # let broker = Broker::temporary()?;
    /// # let topic = broker.create_topic("flights", TopicConfig::default().partitions(4))?;
    /// let flights = broker.topic("flights")?;
    /// flights.append("departed EWR")?;
    /// assert!(broker.topic("trains").is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn topic(&self, name: &str) -> Result<Topic> {
        self.core.root.check_open()?;
        self.core.root.follow()?;
        let unknown = || Error::UnknownTopic {
            name: name.to_owned(),
        };
        let topic = self.core.root.directory.find(name).ok_or_else(unknown)?;
        Ok(self.topic_of(Arc::clone(topic.shared())))
    }

    fn topic_of(&self, topic: Arc<TopicShared>) -> Topic {
        self.core.start_upkeep();
        let core: Arc<Core> = Arc::clone(&self.core);
        let internal = is_internal_topic(topic.name().as_str());
        let topic = Topic::new(topic).keeping_open(core);
        if internal { topic.for_reading() } else { topic }
    }

    /// All topics with their partitions and settings, by name; none after [`Broker::close`].
    ///
    /// Reads the state of open logs, and for the others what was noted when they were closed, and
    /// the lengths of their files. It opens a log only where that is not known (after damage, or
    /// when the broker only reads). So damage that was not found yet is not in
    /// [`PartitionInfo::problem`](crate::PartitionInfo);
    /// [`Topic::describe`](crate::Topic::describe) opens all logs, and finds it.
    /// [`Broker::topic_names`] costs less.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ottla::{Broker, TopicConfig};
    /// # let broker = Broker::temporary()?;
    /// # let topic = broker.create_topic("flights", TopicConfig::default().partitions(4))?;
    /// for topic in broker.topics() {
    ///     println!("{} has {} partitions", topic.name, topic.partitions.len());
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn topics(&self) -> Vec<TopicInfo> {
        if self.core.root.check_open().is_err() {
            return Vec::new();
        }
        // After a failure, what was seen before is returned.
        self.core.root.follow().ok();
        self.core
            .topics()
            .iter()
            .filter_map(|topic| {
                let info = topic.known_info();
                // A topic deleted meanwhile is not known.
                topic.check_alive().is_ok().then_some(info)
            })
            .collect()
    }

    /// The sorted names of all topics; none after [`Broker::close`].
    #[must_use]
    pub fn topic_names(&self) -> Vec<String> {
        if self.core.root.check_open().is_err() {
            return Vec::new();
        }
        // After a failure, what was seen before is returned.
        self.core.root.follow().ok();
        self.core
            .topics()
            .iter()
            .map(|topic| topic.name().to_string())
            .collect()
    }

    /// Deletes a topic with all its records and commits; once this returns it is gone after any
    /// crash. Its handles return [`Error::UnknownTopic`] from now on, and readers of its logs
    /// [`Error::Closed`].
    ///
    /// # Errors
    ///
    /// - [`Error::UnknownTopic`], [`Error::InvalidName`], [`Error::ReadOnly`], [`Error::Closed`].
    /// - [`Error::Poisoned`]: as for [`Broker::create_topic`].
    /// - [`Error::Io`], [`Error::NoSpace`]: when the catalog could not be written, nothing changed.
    ///   When [`Broker::topic`] no longer finds the topic, it is gone, and the next opening removes
    ///   what is left of it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ottla::{Broker, TopicConfig};
    /// # let broker = Broker::temporary()?;
    /// # let topic = broker.create_topic("flights", TopicConfig::default().partitions(4))?;
    /// broker.delete_topic("flights")?;
    /// assert!(broker.topic("flights").is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn delete_topic(&self, name: &str) -> Result<()> {
        self.core.delete(name)
    }

    /// Changes settings of a topic, or adds partitions: `change` is given the present settings and
    /// returns the new ones. They are durable when this returns, and apply to the running logs.
    /// Records stay where they are: with more partitions a key may get another one. Settings that
    /// another call changes at the same time are kept, unless `change` changes them too.
    ///
    /// A topic that becomes [`Durability::Always`](crate::Durability::Always) is flushed first, so
    /// that the high watermarks of its partitions do not go back.
    ///
    /// # Errors
    ///
    /// - [`Error::InvalidConfig`]: a setting is out of its bounds, there would be fewer partitions,
    ///   or the topic is to be compacted and holds records without keys, which compaction drops
    ///   (see [`Broker::alter_topic_with`]).
    /// - [`Error::UnknownTopic`], [`Error::InvalidName`], [`Error::ReadOnly`], [`Error::Closed`].
    /// - [`Error::Poisoned`]: a sync of the catalog failed, now or earlier; or that of a log to be
    ///   flushed, and the settings are changed all the same.
    /// - [`Error::Io`], [`Error::NoSpace`]: nothing changed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ottla::{Broker, TopicConfig};
    /// # let broker = Broker::temporary()?;
    /// # let topic = broker.create_topic("flights", TopicConfig::default().partitions(4))?;
    /// broker.alter_topic("flights", |config| config.partitions(8).retention_bytes(1 << 30))?;
    /// assert_eq!(topic.partition_count(), 8);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn alter_topic(
        &self,
        name: &str,
        change: impl FnOnce(TopicConfig) -> TopicConfig,
    ) -> Result<()> {
        self.alter_topic_with(name, AlterOptions::default(), change)
    }

    /// [`Broker::alter_topic`] with options: [`AlterOptions::drop_keyless`] allows compaction of a
    /// topic with records without keys, which it drops.
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
    /// broker.create_topic("flights", TopicConfig::default())?.append("a value without a key")?;
    ///
    /// let compacted = |config: TopicConfig| config.cleanup_policy(CleanupPolicy::Compact);
    /// assert!(broker.alter_topic("flights", compacted).is_err());
    ///
    /// let options = AlterOptions::default().drop_keyless(true);
    /// broker.alter_topic_with("flights", options, compacted)?;
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
}
