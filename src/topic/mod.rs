//! Floor 5: topics. A [`Topic`] is a name for some partitions; it chooses the partition of every
//! record and hands it to that partition's log.
//!
//! Knows nothing about how topics are made, listed or deleted (the broker does that), nor about
//! who reads them.
//!
//! 1. An append takes no lock of this floor: partitions are only ever added.
//! 2. A topic's life ends once: whoever ends it first sets the state, then closes the logs; what
//!    a log answers after that is told in the topic's words.

mod config;
mod directory;
mod info;
mod partition_dir;
mod partitioner;
mod partitions;
mod producer;
mod random;
mod scatter;
mod shared;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

pub(crate) use config::PARTITIONS_MAX;
pub use config::TopicConfig;
pub(crate) use directory::{Keep, TopicDirectory};
pub use info::{PartitionInfo, TopicInfo};
pub(crate) use partition_dir::PartitionDir;
pub use partitioner::Partitioner;
pub use producer::{Delivery, Producer, ProducerConfig};
pub(crate) use random::random_topic_id;
pub(crate) use shared::{TopicShared, TopicSource};

use crate::error::{Error, Result};
use crate::log::Log;
use crate::types::{Offset, PartitionId, Record, Settings as _};

use partitioner::{STICKY_BYTES, Sticky, partition_of_key};
use scatter::Scattered;

/// A topic: partitions under one name. Got from a [`Broker`](crate::Broker).
///
/// Records with the same key go to the same partition, in order; it is the partition that Kafka's
/// own producer would choose. Records without a key stay with one partition for 16 KiB, then go to
/// another. A handle is cheap to clone, and any number of threads may append at the same time. It
/// keeps its broker open.
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
    keeper: Option<Arc<dyn Keep>>,
}

/// Where a record was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Appended {
    /// The partition that was chosen.
    pub partition: PartitionId,
    /// The record's offset in it.
    pub offset: Offset,
}

/// What became of those records of a batch that went to one partition: all of them are there, or
/// none.
#[derive(Debug)]
#[non_exhaustive]
pub struct AppendedBatch {
    /// The partition.
    pub partition: PartitionId,
    /// Their offsets, in the order in which they were given.
    pub offsets: Result<Range<Offset>>,
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topic")
            .field("name", &self.name())
            .field("partitions", &self.partition_count())
            .finish_non_exhaustive()
    }
}

impl Topic {
    /// A handle that keeps nothing open: for whoever belongs to the broker.
    pub(crate) fn new(shared: Arc<TopicShared>) -> Self {
        Self {
            shared,
            partitioner: None,
            sticky: Sticky::new(STICKY_BYTES),
            keeper: None,
        }
    }

    /// The same handle, which keeps something alive.
    pub(crate) fn kept_by(mut self, keeper: Arc<dyn Keep>) -> Self {
        self.keeper = Some(keeper);
        self
    }

    /// What the handles have in common.
    pub(crate) fn shared(&self) -> &Arc<TopicShared> {
        &self.shared
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.shared.name().as_str()
    }

    /// How many partitions there are now; [`Broker::alter_topic`](crate::Broker::alter_topic) may
    /// add some.
    #[must_use]
    pub fn partition_count(&self) -> u32 {
        self.shared.partition_count()
    }

    /// The settings, as they are now; the defaults in a process that was forked from the topic's.
    #[must_use]
    pub fn config(&self) -> TopicConfig {
        if self.shared.host().check_owner().is_err() {
            return TopicConfig::default();
        }
        self.shared.config().as_ref().clone()
    }

    /// The settings and the state of every partition. Opens the logs that were not used yet; one
    /// that cannot be opened says so in [`PartitionInfo::problem`].
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTopic`] after the topic was deleted, [`Error::Closed`] after its broker was
    /// closed.
    pub fn describe(&self) -> Result<TopicInfo> {
        self.shared.check_alive()?;
        Ok(self.shared.info())
    }

    /// Appends a record to the partition of its key (or to the one whose turn it is).
    ///
    /// What it means that this returns is what [`Log::append`] says.
    ///
    /// # Errors
    ///
    /// - [`Error::UnknownTopic`]: the topic was deleted. [`Error::Closed`]: its broker was closed.
    /// - [`Error::UnknownPartition`]: a [`Partitioner`] chose a number that is too large.
    /// - Everything that [`Log::append`] answers: nothing of the record was appended.
    #[inline]
    pub fn append<'a>(&self, record: impl Into<Record<'a>>) -> Result<Appended> {
        let record = record.into();
        let partition = self.place(&record);
        let offset = self.shared.append(partition, record)?;
        Ok(Appended { partition, offset })
    }

    /// Appends a record to a partition of the caller's choice.
    ///
    /// # Errors
    ///
    /// As [`Topic::append`]; [`Error::UnknownPartition`] when there is no such partition.
    #[inline]
    pub fn append_to<'a>(
        &self,
        partition: PartitionId,
        record: impl Into<Record<'a>>,
    ) -> Result<Offset> {
        self.shared.append(partition, record.into())
    }

    /// Appends records, those of every partition as one batch: all of them or none. Between
    /// partitions there is no such promise, so each says how it went, in the order of their
    /// numbers; a partition that got no record is not mentioned.
    ///
    /// All records without a key go to one partition, and those of the next call to another.
    /// Collects the records; allocates per call, not per record.
    ///
    /// # Errors
    ///
    /// - [`Error::UnknownTopic`]: the topic was deleted. [`Error::Closed`]: its broker was closed.
    /// - [`Error::UnknownPartition`]: a [`Partitioner`] chose a number that is too large.
    ///
    /// Nothing was appended then. What [`Log::append_batch`] answers stands with its partition.
    pub fn append_batch<'a, R: Into<Record<'a>>>(
        &self,
        records: impl IntoIterator<Item = R>,
    ) -> Result<Vec<AppendedBatch>> {
        self.shared.check_alive()?;
        let partitions = self.partition_count();
        if partitions == 1 && self.partitioner.is_none() {
            let offsets = self
                .shared
                .append_batch(0, records.into_iter().map(Into::into));
            return Ok(AppendedBatch::if_any(0, offsets).into_iter().collect());
        }
        let scattered = self.scatter(records.into_iter().map(Into::into), partitions)?;
        let batches = scattered.batches().filter_map(|(partition, records)| {
            AppendedBatch::if_any(partition, self.shared.append_batch(partition, records))
        });
        Ok(batches.collect())
    }

    /// A handle on the same topic that asks a [`Partitioner`] where every record goes.
    #[must_use]
    pub fn with_partitioner(&self, partitioner: Arc<dyn Partitioner>) -> Self {
        Self {
            partitioner: Some(partitioner),
            ..self.clone()
        }
    }

    /// A handle on the log of a partition. The broker closes it: [`Log::close`] flushes it only. It
    /// does not keep the broker open, as a topic's handle does.
    ///
    /// # Errors
    ///
    /// - [`Error::UnknownPartition`]: there is no such partition.
    /// - [`Error::UnknownTopic`]: the topic was deleted. [`Error::Closed`]: its broker was closed.
    /// - What opening a log answers ([`Log::open`]), when it was not used before.
    pub fn partition(&self, id: PartitionId) -> Result<Log> {
        self.shared.check_alive()?;
        self.shared.log(id).cloned()
    }

    /// A producer: it collects records into batches before they are appended.
    ///
    /// # Errors
    ///
    /// - [`Error::InvalidConfig`]: a setting is out of its bounds.
    /// - [`Error::Unsupported`]: the compression is not part of this build.
    /// - [`Error::UnknownTopic`]: the topic was deleted. [`Error::Closed`]: its broker was closed.
    pub fn producer(&self, config: ProducerConfig) -> Result<Producer> {
        config.check().map_err(Error::from)?;
        self.shared.check_alive()?;
        Ok(Producer::new(self.clone(), config))
    }

    /// The partition of a record, which may be none of the topic's when a [`Partitioner`] says so.
    #[inline]
    fn place(&self, record: &Record<'_>) -> PartitionId {
        let partitions = self.partition_count();
        if let Some(partitioner) = &self.partitioner {
            return partitioner.partition(record, partitions);
        }
        match record.key() {
            _ if partitions == 1 => 0,
            Some(key) => partition_of_key(key, partitions),
            None => self
                .sticky
                .place(record.value().map_or(0, <[u8]>::len), partitions),
        }
    }

    /// Finds the partition of every record of a batch.
    fn scatter<'a>(
        &self,
        records: impl Iterator<Item = Record<'a>>,
        partitions: u32,
    ) -> Result<Scattered<'a>> {
        let mut scattered = Scattered::with_capacity(records.size_hint().0);
        let mut keyless = None;
        for record in records {
            let partition = match (&self.partitioner, record.key()) {
                (Some(partitioner), _) => partitioner.partition(&record, partitions),
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

impl AppendedBatch {
    /// The outcome of a batch; none when it held nothing.
    fn if_any(partition: PartitionId, offsets: Result<Range<Offset>>) -> Option<Self> {
        let nothing = offsets.as_ref().is_ok_and(Range::is_empty);
        (!nothing).then_some(Self { partition, offsets })
    }
}
