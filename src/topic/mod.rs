//! Floor 8: topics. A [`Topic`] chooses the partition of every record, and that partition's log
//! takes it.
//!
//! Knows nothing about how topics are created, listed or deleted (the broker does that), nor about
//! who reads them.
//!
//! 1. An append takes no lock of this floor: partitions are only ever added.
//! 2. A topic's life ends once: the state is set before the logs are closed, and their later errors
//!    become those of the topic.

#[cfg(feature = "async")]
mod asynchronous;
mod batches;
mod codec;
mod config;
mod consumer_record;
mod directory;
mod info;
mod partition_dir;
mod partitioner;
mod partitions;
mod producer;
mod random;
mod reader;
mod scatter;
mod shared;
mod shares;
mod typed;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

pub(crate) use codec::Typing;
pub use codec::{Codec, CodecError, Keyed};
#[cfg(feature = "json")]
pub use codec::{Json, NamedJson};
pub(crate) use config::PARTITIONS_MAX;
pub use config::TopicConfig;
pub use consumer_record::ConsumerRecord;
pub(crate) use directory::{BrokerHandle, TopicDirectory};
pub use info::{PartitionInfo, TopicInfo};
pub(crate) use partition_dir::{PartitionDir, owner_of};
pub use partitioner::Partitioner;
pub use producer::{Producer, ProducerConfig};
pub(crate) use random::random_topic_id;
pub use reader::TopicReader;
#[cfg(feature = "async")]
pub use reader::TopicStream;
pub(crate) use shared::{TopicShared, TopicSource};
pub(crate) use typed::decode;
pub use typed::{KeysBy, OwnKeys, TypedReader, TypedTopic};

use crate::error::{Error, Result};
use crate::log::Log;
use crate::types::{Appended, AppendedBatch, Offset, PartitionId, Record, Settings as _};

use partitioner::{STICKY_BYTES, Sticky, partition_of_key};
use producer::ErrorHook;
use scatter::Scattered;
use shares::Shares;

/// A topic: partitions under one name, from a [`Broker`](crate::Broker).
///
/// Records with the same key go to the same partition, in order; Kafka's own producer would choose
/// the same one. Records without a key go to one partition for 16 KiB, then to another. A handle is
/// cheap to clone, keeps its broker open, and any number of threads may append at the same time.
///
/// # Examples
///
/// ```
/// use ottla::{Broker, Record, TopicConfig};
///
/// # let scratch = tempfile::tempdir()?;
/// let broker = Broker::open(scratch.path().join("data"))?;
/// let flights = broker.create_topic("flights", TopicConfig::default().partitions(4))?;
///
/// let first = flights.append(Record::keyed("N14228", "departed EWR"))?;
/// let second = flights.append(Record::keyed("N14228", "landed IAH"))?;
/// assert_eq!(first.partition, second.partition);
/// assert_eq!((first.offset, second.offset), (0, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Topic {
    shared: Arc<TopicShared>,
    partitioner: Option<Arc<dyn Partitioner>>,
    sticky: Sticky,
    /// Keeps the broker open, in a user's handle.
    broker: Option<Arc<dyn BrokerHandle>>,
    /// Only the broker itself may change this topic, and this handle is a user's.
    only_reads: bool,
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topic")
            .field("name", &self.name())
            .field("partitions", &self.shared.partition_count())
            .finish_non_exhaustive()
    }
}

impl Topic {
    /// For the broker itself: keeps nothing open.
    pub(crate) fn new(shared: Arc<TopicShared>) -> Self {
        Self {
            shared,
            partitioner: None,
            sticky: Sticky::new(STICKY_BYTES),
            broker: None,
            only_reads: false,
        }
    }

    /// A handle that refuses to append.
    pub(crate) fn for_reading(mut self) -> Self {
        self.only_reads = true;
        self
    }

    #[inline]
    fn may_append(&self) -> Result<()> {
        if self.only_reads {
            return Err(Error::InternalTopic {
                topic: self.name().to_owned(),
            });
        }
        Ok(())
    }

    pub(crate) fn keeping_open(mut self, broker: Arc<dyn BrokerHandle>) -> Self {
        self.broker = Some(broker);
        self
    }

    pub(crate) fn shared(&self) -> &Arc<TopicShared> {
        &self.shared
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.shared.name().as_str()
    }

    /// The number of partitions; [`Broker::alter_topic`](crate::Broker::alter_topic) may add some.
    #[must_use]
    pub fn partition_count(&self) -> u32 {
        self.shared.follow();
        self.shared.partition_count()
    }

    /// The partition of a key by the rule of Kafka's own producer. It may change when partitions
    /// are added; a [`Partitioner`] is not consulted.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ottla::{Broker, Record, TopicConfig};
    /// # let scratch = tempfile::tempdir()?;
    /// # let broker = Broker::open(scratch.path().join("data"))?;
    /// let topic = broker.create_topic("t", TopicConfig::default().partitions(12))?;
    /// let partition = topic.partition_for_key(b"N14228");
    /// assert_eq!(topic.append(Record::keyed("N14228", "v"))?.partition, partition);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn partition_for_key(&self, key: &[u8]) -> PartitionId {
        partition_of_key(key, self.partition_count())
    }

    /// The current settings; the defaults in a process that was forked from the one that opened the
    /// topic.
    #[must_use]
    pub fn config(&self) -> TopicConfig {
        if self.shared.host().check_owner().is_err() {
            return TopicConfig::default();
        }
        self.shared.follow();
        self.shared.config().as_ref().clone()
    }

    /// The settings and the state of every partition. Opens all logs; if one cannot be opened,
    /// [`PartitionInfo::problem`] says why.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTopic`] after the topic was deleted, [`Error::Closed`] after its broker was
    /// closed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ottla::{Broker, TopicConfig};
    /// # let scratch = tempfile::tempdir()?;
    /// # let dir = scratch.path().join("data");
    /// # let broker = Broker::open(&dir)?;
    /// # let topic = broker.create_topic("flights", TopicConfig::default().partitions(4))?;
    /// for partition in topic.describe()?.partitions {
    ///     println!("{}: up to {}", partition.id, partition.end_offset);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn describe(&self) -> Result<TopicInfo> {
        self.shared.follow();
        self.shared.check_alive()?;
        let info = self.shared.info();
        // A topic that was deleted meanwhile has no partitions to describe.
        self.shared.check_alive()?;
        Ok(info)
    }

    /// Appends a record to the partition of its key. Records without a key go to one partition for
    /// 16 KiB, then to another.
    ///
    /// [`Log::append`] says what is guaranteed when it returns.
    ///
    /// # Errors
    ///
    /// - [`Error::UnknownTopic`]: the topic was deleted. [`Error::Closed`]: its broker was closed.
    /// - [`Error::UnknownPartition`]: a [`Partitioner`] chose a number that is too large.
    /// - [`Error::InternalTopic`]: the topic is one of Kafka's own.
    /// - The errors of [`Log::append`]: the record was not appended, except perhaps after
    ///   [`Error::Poisoned`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use ottla::{Broker, Record, TopicConfig};
    /// # let scratch = tempfile::tempdir()?;
    /// # let dir = scratch.path().join("data");
    /// # let broker = Broker::open(&dir)?;
    /// # let topic = broker.create_topic("flights", TopicConfig::default().partitions(4))?;
    /// let first = topic.append(Record::keyed("N14228", "departed EWR"))?;
    /// let second = topic.append(Record::keyed("N14228", "landed IAH"))?;
    /// assert_eq!((second.partition, second.offset), (first.partition, first.offset + 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn append<'a>(&self, record: impl Into<Record<'a>>) -> Result<Appended> {
        self.may_append()?;
        let record = record.into();
        let partition = self.place(&record);
        let offset = self.shared.append(partition, record)?;
        Ok(Appended::new(partition, offset))
    }

    /// Appends a record to a partition of the caller's choice.
    ///
    /// # Errors
    ///
    /// As [`Topic::append`]; [`Error::UnknownPartition`]: there is no such partition.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ottla::{Broker, TopicConfig};
    /// # let scratch = tempfile::tempdir()?;
    /// # let dir = scratch.path().join("data");
    /// # let broker = Broker::open(&dir)?;
    /// # let topic = broker.create_topic("flights", TopicConfig::default().partitions(4))?;
    /// assert_eq!(topic.append_to(3, "departed EWR")?, 0);
    /// assert_eq!(topic.partition(3)?.end_offset(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn append_to<'a>(
        &self,
        partition: PartitionId,
        record: impl Into<Record<'a>>,
    ) -> Result<Offset> {
        self.may_append()?;
        self.shared.append(partition, record.into())
    }

    /// Appends a record to a partition if it ends at `expected_end`; see [`Log::append_at`].
    ///
    /// # Errors
    ///
    /// As [`Topic::append_to`]; [`Error::EndMoved`] if another append came first: nothing was
    /// written.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ottla::{Broker, Record, TopicConfig};
    /// # let scratch = tempfile::tempdir()?;
    /// # let broker = Broker::open(scratch.path().join("data"))?;
    /// let seats = broker.create_topic("seats", TopicConfig::default().partitions(4))?;
    /// let partition = seats.partition_for_key(b"UA1545");
    /// let end = seats.partition(partition)?.end_offset();
    /// // Look at what was sold, and decide.
    /// seats.append_to_at(partition, end, Record::keyed("UA1545", "12A is sold"))?;
    /// assert!(seats.append_to_at(partition, end, Record::keyed("UA1545", "12A")).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn append_to_at<'a>(
        &self,
        partition: PartitionId,
        expected_end: Offset,
        record: impl Into<Record<'a>>,
    ) -> Result<Offset> {
        self.may_append()?;
        let record = record.into();
        let log = self.shared.log_to_append(partition);
        let appended = log.and_then(|log| log.append_at(expected_end, record));
        appended.map_err(|error| self.shared.explain(error))
    }

    /// Appends records to a partition as one batch, whatever their keys, if it ends at
    /// `expected_end`; see [`Log::append_batch_at`].
    ///
    /// # Errors
    ///
    /// As [`Topic::append_to_at`]; the batch as a whole must fit `max_message_bytes`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ottla::{Broker, TopicConfig};
    /// # let scratch = tempfile::tempdir()?;
    /// # let broker = Broker::open(scratch.path().join("data"))?;
    /// let seats = broker.create_topic("seats", TopicConfig::default())?;
    /// assert_eq!(seats.append_batch_to_at(0, 0, ["12A is sold", "12B is sold"])?, 0..2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn append_batch_to_at<'a, R: Into<Record<'a>>>(
        &self,
        partition: PartitionId,
        expected_end: Offset,
        records: impl IntoIterator<Item = R>,
    ) -> Result<Range<Offset>> {
        self.may_append()?;
        let log = self.shared.log_to_append(partition);
        let appended = log.and_then(|log| log.append_batch_at(expected_end, records));
        appended.map_err(|error| self.shared.explain(error))
    }

    /// Appends records and returns where they went, by partition number, without the partitions
    /// that got no record.
    ///
    /// The records of a partition stay in order, and form one batch if they fit into one (see
    /// [`max_message_bytes`](crate::LogConfig::max_message_bytes)): readers see all of them or
    /// none. Otherwise they are split into several batches, as by every Kafka client, each with its
    /// own entry. None of this holds across partitions.
    ///
    /// All records without a key go to one partition, those of the next call to another. Collects
    /// the records; allocates per call, not per record.
    ///
    /// # Errors
    ///
    /// Nothing was appended, except after [`Error::PartlyAppended`]:
    ///
    /// - [`Error::PartlyAppended`]: some batches were appended and others were not; it says which.
    /// - [`Error::UnknownTopic`]: the topic was deleted. [`Error::Closed`]: its broker was closed.
    /// - [`Error::UnknownPartition`]: a [`Partitioner`] chose a number that is too large.
    /// - The errors of [`Log::append`], the first partition's if several failed.
    ///   [`Error::RecordTooLarge`] is about a single record.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ottla::{Broker, Record, TopicConfig};
    /// # let scratch = tempfile::tempdir()?;
    /// # let broker = Broker::open(scratch.path().join("data"))?;
    /// let topic = broker.create_topic("t", TopicConfig::default())?;
    /// let batches = topic.append_batch([Record::new("a"), Record::new("b")])?;
    /// assert_eq!(batches[0].offsets, 0..2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn append_batch<'a, R: Into<Record<'a>>>(
        &self,
        records: impl IntoIterator<Item = R>,
    ) -> Result<Vec<AppendedBatch>> {
        self.may_append()?;
        self.shared.check_alive()?;
        let partitions = self.partition_count();
        let mut shares = Shares::new(&self.shared);
        if partitions == 1 && self.partitioner.is_none() {
            shares.append(0, records.into_iter().map(Into::into));
        } else {
            let scattered = self.scatter(records.into_iter().map(Into::into), partitions)?;
            for (partition, records) in scattered.batches() {
                shares.append(partition, records);
            }
        }
        shares.finish()
    }

    /// A handle on the same topic with a [`Partitioner`].
    #[must_use]
    pub fn with_partitioner(&self, partitioner: Arc<dyn Partitioner>) -> Self {
        Self {
            partitioner: Some(partitioner),
            ..self.clone()
        }
    }

    /// A handle on the log of a partition. It does not keep the broker open. The broker closes the
    /// log; [`Log::close`] only flushes it. For an internal topic, everything that would change the
    /// log returns [`Error::InternalTopic`].
    ///
    /// # Errors
    ///
    /// - [`Error::UnknownPartition`]: there is no such partition.
    /// - [`Error::UnknownTopic`]: the topic was deleted. [`Error::Closed`]: its broker was closed.
    /// - The errors of [`Log::open`], if it was not used before.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ottla::{Broker, TopicConfig};
    /// # let scratch = tempfile::tempdir()?;
    /// # let dir = scratch.path().join("data");
    /// # let broker = Broker::open(&dir)?;
    /// # let topic = broker.create_topic("flights", TopicConfig::default().partitions(4))?;
    /// let log = topic.partition(0)?;
    /// log.append("straight into partition 0")?;
    /// assert_eq!(log.end_offset(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn partition(&self, id: PartitionId) -> Result<Log> {
        self.shared.follow();
        self.shared.check_alive()?;
        let log = self.shared.log(id)?;
        Ok(if self.only_reads {
            log.for_reading()
        } else {
            log.clone()
        })
    }

    /// A producer, which collects records into batches before they are appended.
    ///
    /// # Errors
    ///
    /// - [`Error::InvalidConfig`]: a setting is out of its bounds.
    /// - [`Error::Unsupported`]: the compression is not part of this build.
    /// - [`Error::UnknownTopic`]: the topic was deleted. [`Error::Closed`]: its broker was closed.
    pub fn producer(&self, config: ProducerConfig) -> Result<Producer> {
        self.producer_for(config, None)
    }

    /// As [`Topic::producer`], with a hook for every batch that could not be appended. The thread
    /// that appended the batch (one of the broker's own if its linger was over) calls the hook
    /// once, after its deliveries were settled and with no lock held. It must not wait for the
    /// producer or the broker.
    ///
    /// # Errors
    ///
    /// As [`Topic::producer`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use ottla::{Broker, ProducerConfig, TopicConfig};
    /// # let scratch = tempfile::tempdir()?;
    /// # let broker = Broker::open(scratch.path().join("data"))?;
    /// let topic = broker.create_topic("t", TopicConfig::default())?;
    /// let producer = topic.producer_with_hook(ProducerConfig::default(), |partition, error| {
    ///     eprintln!("a batch for partition {partition} is lost: {error}");
    /// })?;
    /// drop(producer.send("departed EWR")?);
    /// producer.flush()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn producer_with_hook(
        &self,
        config: ProducerConfig,
        on_error: impl Fn(PartitionId, &Error) + Send + Sync + 'static,
    ) -> Result<Producer> {
        self.producer_for(config, Some(Box::new(on_error)))
    }

    fn producer_for(&self, config: ProducerConfig, hook: Option<ErrorHook>) -> Result<Producer> {
        self.may_append()?;
        config.check().map_err(Error::from)?;
        self.shared.check_alive()?;
        Ok(Producer::new(self.clone(), config, hook))
    }

    /// The partition of a record. A [`Partitioner`] may return one that the topic does not have.
    #[inline]
    fn place(&self, record: &Record<'_>) -> PartitionId {
        let partitions = self.partition_count();
        if let Some(partitioner) = &self.partitioner {
            return partitioner.partition(self.name(), record, partitions);
        }
        match record.key() {
            _ if partitions == 1 => 0,
            Some(key) => partition_of_key(key, partitions),
            None => self
                .sticky
                .place(record.value().map_or(0, <[u8]>::len), partitions),
        }
    }

    /// Sorts records by partition. All records without a key get the same one.
    fn scatter<'a>(
        &self,
        records: impl Iterator<Item = Record<'a>>,
        partitions: u32,
    ) -> Result<Scattered<'a>> {
        let mut scattered = Scattered::with_capacity(records.size_hint().0);
        let mut keyless = None;
        for record in records {
            let partition = match (&self.partitioner, record.key()) {
                (Some(partitioner), _) => partitioner.partition(self.name(), &record, partitions),
                (None, Some(key)) => partition_of_key(key, partitions),
                (None, None) => *keyless.get_or_insert_with(|| self.sticky.place(0, partitions)),
            };
            if partition >= partitions {
                return Err(self.shared.unknown_partition(partition));
            }
            scattered.add(partition, record);
        }
        if keyless.is_some() {
            self.sticky.move_on();
        }
        scattered.sort();
        Ok(scattered)
    }
}
