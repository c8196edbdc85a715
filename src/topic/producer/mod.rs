//! A producer: records wait a moment for others, and go down as one batch.
//!
//! Knows nothing about partitioning, which its topic does, nor about the bytes of a batch.
//!
//! 1. Records of one partition are appended in the order in which they were sent: whoever appends
//!    a batch holds the lane's lock, so a full lane holds up those who send to it, and no one else.
//! 2. No thread is needed for a record to get through: whoever waits for a delivery appends the
//!    batch himself when its time is over. The flusher does it for records that nobody waits for.

mod delivery;
mod pending;

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

pub use delivery::Delivery;

use crate::error::{Error, Result};
use crate::log::Chore;
use crate::sync::{AtomicBool, Mutex, Ordering, RwLock};
use crate::types::{Compression, PartitionId, Record, config, to_usize};

use super::Topic;
use super::partitioner::Sticky;

use delivery::Batch;
use pending::Pending;

config! {
    /// The settings of a [`Producer`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use ottla::{Compression, ProducerConfig};
    ///
    /// let config = ProducerConfig::default()
    ///     .linger_ms(Duration::from_millis(20))
    ///     .compression_type(Compression::Zstd);
    /// assert_eq!(config.batch_size, 16_384);
    /// ```
    pub struct ProducerConfig("producer") {
        /// How long a record waits for others to share its batch. Default 5 ms, as Kafka's since
        /// 4.0; zero appends every record at once.
        linger_ms: Duration [Duration] = "linger.ms", Duration::from_millis(5),
        |v| *v <= Duration::from_secs(3600), "0 to 3600000";

        /// Bytes of records, before they are packed, that a batch holds at most; a larger record
        /// is a batch of its own. Default 16,384.
        batch_size: u64 [u64] = "batch.size", 16_384,
        |v| (1..=(1 << 30)).contains(v), "1 to 1073741824";

        /// How batches are packed where the topic's own `compression_type` leaves it open. Default
        /// [`Compression::None`].
        compression_type: Compression [Compression] = "compression.type", Compression::None,
        |_v| true, "none, gzip, snappy, lz4 or zstd";
    }
}

/// Collects records into batches and appends those to a topic. Got from [`Topic::producer`].
///
/// A batch costs little more than a record, so a producer that may wait a few milliseconds does
/// several times as many records a second as [`Topic::append`], and packs them better. Any number
/// of threads may send. Dropping it appends what still waits.
///
/// # Examples
///
/// ```
/// use ottla::{Broker, ProducerConfig, Record, TopicConfig};
///
/// # let scratch = tempfile::tempdir()?;
/// let broker = Broker::open(scratch.path().join("data"))?;
/// let topic = broker.create_topic("flights", TopicConfig::default())?;
/// let producer = topic.producer(ProducerConfig::default())?;
///
/// let delivery = producer.send(Record::keyed("N14228", "departed EWR"))?;
/// producer.send(Record::keyed("N14228", "landed IAH"))?;
/// assert_eq!(delivery.wait()?.offset, 0);
/// producer.flush()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Producer {
    shared: Arc<Shared>,
}

/// What a producer and its deliveries share.
#[derive(Debug)]
struct Shared {
    me: Weak<Self>,
    topic: Topic,
    config: ProducerConfig,
    lanes: RwLock<Vec<Arc<Lane>>>,
    /// The flusher has been asked to look by.
    scheduled: AtomicBool,
}

/// The records that wait for one partition.
#[derive(Debug, Default)]
struct Lane {
    pending: Mutex<Pending>,
}

impl Producer {
    pub(super) fn new(topic: Topic, config: ProducerConfig) -> Self {
        let topic = Topic {
            sticky: Sticky::new(config.batch_size),
            ..topic
        };
        let shared = Arc::new_cyclic(|me| Shared {
            me: Weak::clone(me),
            topic,
            config,
            lanes: RwLock::default(),
            scheduled: AtomicBool::new(false),
        });
        Self { shared }
    }

    /// Hands a record over, which goes to the partition that [`Topic::append`] would choose. It is
    /// copied, and appended when its batch is full or its time over; then [`Delivery::wait`] tells
    /// where. Without a timestamp it gets the time of this call.
    ///
    /// This thread appends a batch that gets full, and waits while another appends one to the same
    /// partition.
    ///
    /// # Errors
    ///
    /// - [`Error::UnknownTopic`]: the topic was deleted. [`Error::Closed`]: its broker was closed.
    /// - [`Error::UnknownPartition`]: a [`Partitioner`](crate::Partitioner) chose a number that is
    ///   too large.
    /// - [`Error::InvalidRecord`]: a record without a key for a compacted topic.
    ///
    /// The record was not taken then. What goes wrong later, [`Delivery::wait`] tells.
    pub fn send<'a>(&self, record: impl Into<Record<'a>>) -> Result<Delivery> {
        self.shared.send(&record.into())
    }

    /// Appends everything that waits. What that means for each record is what [`Topic::append`]
    /// says.
    ///
    /// # Errors
    ///
    /// The first error that a batch met, after all were tried. Those records are not appended, and
    /// their deliveries say so.
    pub fn flush(&self) -> Result<()> {
        self.shared.check_owner()?;
        self.shared.flush()
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        // In a forked process, what waits is appended by the process that it was sent in.
        if self.shared.check_owner().is_ok() {
            // The deliveries tell what went wrong.
            drop(self.shared.flush());
        }
    }
}

impl Shared {
    /// An error in a process that was forked from the producer's.
    fn check_owner(&self) -> Result<()> {
        self.topic.shared().host().check_owner()
    }

    fn send(self: &Arc<Self>, record: &Record<'_>) -> Result<Delivery> {
        let topic = self.topic.shared();
        topic.check_alive()?;
        let partition = self.topic.place(record);
        if partition >= topic.partition_count() {
            return Err(topic.unknown_partition(partition));
        }
        let settings = topic.config();
        if settings.cleanup_policy.compacts() && record.key().is_none() {
            let reason = "a compacted log takes only records with a key";
            return Err(Error::InvalidRecord { reason });
        }
        let limit = self.config.batch_size.min(settings.max_message_bytes);
        let lane = self.lane(partition);
        let now = topic.host().clock.now();
        let mut pending = lane.pending.lock();
        if pending.size_with(record) > to_usize(limit) {
            self.append(partition, &mut pending);
        }
        let ticket = pending.push(record, now, || Batch::new(partition, self.begin_batch()));
        let delivery = Delivery::new(Arc::clone(self), ticket);
        if self.config.linger_ms.is_zero() || pending.size() >= to_usize(limit) {
            self.append(partition, &mut pending);
        }
        Ok(delivery)
    }

    /// When a batch that begins now is to be appended; the flusher will see to it.
    fn begin_batch(&self) -> Instant {
        let now = self.topic.shared().host().clock.instant();
        let until = now.checked_add(self.config.linger_ms).unwrap_or(now);
        if until > now {
            self.schedule(until);
        }
        until
    }

    fn schedule(&self, at: Instant) {
        if !self.scheduled.swap(true, Ordering::AcqRel) {
            let me: Weak<Self> = Weak::clone(&self.me);
            self.topic.shared().host().flusher.schedule(at, me);
        }
    }

    fn lane(&self, partition: PartitionId) -> Arc<Lane> {
        let at = to_usize(u64::from(partition));
        if let Some(lane) = self.lanes.read().get(at) {
            return Arc::clone(lane);
        }
        let mut lanes = self.lanes.write();
        let count = to_usize(u64::from(self.topic.partition_count()));
        if lanes.len() < count {
            lanes.resize_with(count, Arc::default);
        }
        lanes.get(at).map(Arc::clone).unwrap_or_default()
    }

    /// Appends what waits in a lane and tells the deliveries (1).
    fn append(&self, partition: PartitionId, pending: &mut Pending) -> Option<Error> {
        let batch = pending.end()?;
        let topic = self.topic.shared();
        let compression = self.config.compression_type;
        let offsets = topic.append_packed(partition, compression, pending.records());
        pending.clear();
        batch.settle(offsets)
    }

    fn flush(&self) -> Result<()> {
        let lanes = self.lanes.read().clone();
        let mut first = None;
        for (partition, lane) in (0..).zip(lanes) {
            let error = self.append(partition, &mut lane.pending.lock());
            first = first.or(error);
        }
        first.map_or(Ok(()), Err)
    }

    /// Appends one batch, unless somebody has.
    fn append_now(&self, batch: &Arc<Batch>) {
        let lane = self.lane(batch.partition());
        let mut pending = lane.pending.lock();
        if pending.is_of(batch) {
            self.append(batch.partition(), &mut pending);
        }
    }
}

/// Appends the batches whose time is over.
impl Chore for Shared {
    fn run(&self) {
        // First, so that a batch that begins while the lanes are gone through asks anew.
        self.scheduled.store(false, Ordering::Release);
        let now = self.topic.shared().host().clock.instant();
        let lanes = self.lanes.read().clone();
        let mut next: Option<Instant> = None;
        for (partition, lane) in (0..).zip(lanes) {
            let mut pending = lane.pending.lock();
            match pending.until() {
                Some(until) if until <= now => drop(self.append(partition, &mut pending)),
                Some(until) => next = Some(next.map_or(until, |next| next.min(until))),
                None => {}
            }
        }
        if let Some(next) = next {
            self.schedule(next);
        }
    }
}
