//! A producer: records wait a moment for others, and are appended together as one batch.
//!
//! Knows nothing about partitioning, which its topic does, nor about the bytes of a batch.
//!
//! 1. Records of one partition are appended in the order in which they were sent, under the lock of
//!    the partition's lane. No sync is waited for under it.
//! 2. A wait for a delivery appends the batch itself once its time is over. If no caller waits, a
//!    thread of the broker does it, or else `upkeep` and the next send or append to the partition.
//! 3. All batches that are due are written, and then synced in parallel: a lane whose topic needs
//!    no sync never waits for one.
//! 4. A batch that left its lane is always settled: see [`Promise`].

mod registry;

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

pub(super) use registry::Producers;

use crate::delivery::{Batch, Delivery, Lingering, Promise};
use crate::error::{Error, Result};
use crate::host::{Chore, SyncJob};
use crate::log::Log;
use crate::sync::{AtomicBool, Mutex, Ordering};
use crate::topic::batches::{Filling, Wish};
use crate::types::{Compression, Offset, PartitionId, Record, config};

use super::Topic;
use super::partitioner::Sticky;
use super::partitions::Partitions;

use std::ops::Range;

pub(super) type ErrorHook = Box<dyn Fn(PartitionId, &Error) + Send + Sync>;

/// From this length on, `in_flight` drops settled batches.
const IN_FLIGHT_MIN: usize = 64;

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
    ///     .linger(Duration::from_millis(20))
    ///     .compression_type(Compression::Zstd);
    /// assert_eq!(config.batch_size, 16_384);
    /// ```
    pub struct ProducerConfig("producer") {
        /// How long a record waits for others to share its batch; zero appends it at once. Default
        /// 5 ms, as Kafka's since 4.0.
        linger: Duration [Duration] = "linger.ms", Duration::from_millis(5),
        |v| *v <= Duration::from_secs(3600), "0 to 3600000";

        /// The largest size of a batch's records before compression, in bytes; a larger record gets
        /// a batch of its own. Default 16,384.
        batch_size: u64 [u64] = "batch.size", 16_384,
        |v| (1..=(1 << 30)).contains(v), "1 to 1073741824";

        /// The compression of batches, if the topic's own `compression_type` leaves it open.
        /// Default [`Compression::None`].
        compression_type: Compression [Compression] = "compression.type", Compression::None,
        |_v| true, "none, gzip, snappy, lz4 or zstd";
    }
}

/// Collects records into batches and appends those to a topic; from [`Topic::producer`].
///
/// It is for durable records of many threads ([`Durability::Always`](crate::Durability::Always))
/// without a sync each, for batches that compress well, and for smaller files: every batch has 61
/// bytes of its own. It saves little CPU time: a `send`, with its [`Delivery`], costs about two
/// thirds of a [`Topic::append`]. [`Topic::append_batch`] costs a third of that.
///
/// Any number of threads may send. Dropping it appends what still waits; so do
/// [`Broker::flush`](crate::Broker::flush) and [`Broker::close`](crate::Broker::close).
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
/// let departed = producer.send(Record::keyed("N14228", "departed EWR"))?;
/// let landed = producer.send(Record::keyed("N14228", "landed IAH"))?;
/// assert_eq!(departed.wait()?.offset, 0);
/// assert_eq!(landed.wait()?.offset, 1);
///
/// // One flush for many records needs no deliveries.
/// drop(producer.send(Record::keyed("N24211", "departed LGA"))?);
/// producer.flush()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Producer {
    shared: Arc<ProducerCore>,
}

struct ProducerCore {
    me: Weak<Self>,
    topic: Topic,
    config: ProducerConfig,
    lanes: Partitions<Lane>,
    /// Lanes are added by one thread at a time.
    adding: Mutex<()>,
    /// A thread of the broker will append what becomes due.
    scheduled: AtomicBool,
    /// Batches that left their lanes; some are settled.
    in_flight: Mutex<Vec<Arc<Batch>>>,
    /// The first since the last [`Producer::flush`].
    first_error: Mutex<Option<Error>>,
    hook: Option<ErrorHook>,
}

impl fmt::Debug for ProducerCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("topic", &self.topic)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// What waits for one partition.
#[derive(Debug, Default)]
struct Lane {
    pending: Mutex<Pending>,
}

#[derive(Debug, Default)]
struct Pending {
    /// Set as long as `filling` has records.
    batch: Option<Arc<Batch>>,
    filling: Filling,
}

impl Pending {
    fn is_due(&self, now: Instant) -> bool {
        self.batch
            .as_ref()
            .is_some_and(|batch| batch.until() <= now)
    }
}

/// A batch that left its lane: appended, or failed, and not settled yet.
struct Written {
    promise: Promise,
    log: Log,
    appended: Result<Range<Offset>>,
}

impl Producer {
    pub(super) fn new(topic: Topic, config: ProducerConfig, hook: Option<ErrorHook>) -> Self {
        let topic = Topic {
            sticky: Sticky::new(config.batch_size),
            ..topic
        };
        let shared = Arc::new_cyclic(|me| ProducerCore {
            me: Weak::clone(me),
            lanes: Partitions::new(topic.partition_count()),
            topic,
            config,
            adding: Mutex::new(()),
            scheduled: AtomicBool::new(false),
            in_flight: Mutex::new(Vec::new()),
            first_error: Mutex::new(None),
            hook,
        });
        shared.topic.shared().producers().add(&shared);
        Self { shared }
    }

    /// Sends a record to the partition that [`Topic::append`] would choose. It is copied, and
    /// appended when its batch is full or its time is over; then [`Delivery::wait`] returns its
    /// place. The default timestamp is the time of this call.
    ///
    /// It appends a batch that becomes full, and waits while another thread appends one to the
    /// partition. It waits for a sync only if `linger` is zero.
    ///
    /// # Errors
    ///
    /// - [`Error::UnknownTopic`]: the topic was deleted. [`Error::Closed`]: its broker was closed.
    /// - [`Error::UnknownPartition`]: a [`Partitioner`](crate::Partitioner) chose a number that is
    ///   too large.
    /// - [`Error::RecordTooLarge`]: the record fits no batch of this topic.
    /// - [`Error::InvalidRecord`]: the topic does not take it, such as one without a key in a
    ///   compacted topic.
    /// - [`Error::Poisoned`], [`Error::ReadOnly`], and the errors of opening the log.
    ///
    /// The record was not taken. Later errors are returned by [`Delivery::wait`] and
    /// [`Producer::flush`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use ottla::{Broker, Record, TopicConfig};
    /// # let scratch = tempfile::tempdir()?;
    /// # let dir = scratch.path().join("data");
    /// # let broker = Broker::open(&dir)?;
    /// # let topic = broker.create_topic("flights", TopicConfig::default().partitions(4))?;
    /// let producer = topic.producer(ottla::ProducerConfig::default())?;
    /// let delivery = producer.send(Record::keyed("N14228", "departed EWR"))?;
    /// let appended = delivery.wait()?;
    /// assert_eq!(appended.offset, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send<'a>(&self, record: impl Into<Record<'a>>) -> Result<Delivery> {
        self.shared.send(&record.into())
    }

    /// Appends everything that waits, and returns once every record that was sent before is
    /// settled: see [`Topic::append`] for what that guarantees.
    ///
    /// # Errors
    ///
    /// The first error of a batch since the last flush, also if a `send` or a thread of the broker
    /// appended it. Each error is returned once; the records of a failed batch are not appended,
    /// and their deliveries return the error, too.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ottla::{Broker, TopicConfig};
    /// # let scratch = tempfile::tempdir()?;
    /// # let dir = scratch.path().join("data");
    /// # let broker = Broker::open(&dir)?;
    /// # let topic = broker.create_topic("flights", TopicConfig::default().partitions(4))?;
    /// let producer = topic.producer(ottla::ProducerConfig::default())?;
    /// for number in 0..1_000 {
    ///     drop(producer.send(format!("event {number}").as_bytes())?);
    /// }
    /// producer.flush()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn flush(&self) -> Result<()> {
        self.shared.check_owner()?;
        self.shared.flush();
        match self.shared.first_error.lock().take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        // The process that sent the records appends them, and not a fork of it.
        if self.shared.check_owner().is_ok() {
            // The deliveries and the hook report any error.
            self.shared.flush();
        }
    }
}

impl ProducerCore {
    fn check_owner(&self) -> Result<()> {
        self.topic.shared().host().check_owner()
    }

    fn send(&self, record: &Record<'_>) -> Result<Delivery> {
        self.check_owner()?;
        let topic = self.topic.shared();
        let partition = self.topic.place(record);
        // Opened now, so that a close that ends the topic's life can still append what it finds.
        let log = topic.log(partition).map_err(|error| topic.explain(error))?;
        let lane = self.lane(partition)?;
        // A vector without elements allocates nothing.
        let mut written = Vec::new();
        let taken = {
            let mut pending = lane.pending.lock();
            self.take(log, &mut pending, partition, record, &mut written)
        };
        if !written.is_empty() {
            self.settle(written, self.config.linger.is_zero());
        }
        taken.map_err(|error| topic.explain(error))
    }

    /// Adds a record to the batch of its lane. Batches that are full or due go to `written`.
    #[inline]
    fn take(
        &self,
        log: &Log,
        pending: &mut Pending,
        partition: PartitionId,
        record: &Record<'_>,
        written: &mut Vec<Written>,
    ) -> Result<Delivery> {
        let topic = self.topic.shared();
        // Under the lane's lock: a close first ends the topic's life and then takes this lock to
        // append what is here, so nothing is added after it looked.
        topic.check_alive()?;
        let in_line = topic.producers().in_line();
        let due = in_line && pending.is_due(topic.host().clock.instant());
        let wish = Wish {
            size: self.config.batch_size,
            compression: self.config.compression_type,
        };
        let place = loop {
            match log.fill(&mut pending.filling, record, wish)? {
                Some(place) => break place,
                None => written.extend(self.write(log, pending)),
            }
        };
        let batch = pending
            .batch
            .get_or_insert_with(|| self.begin_batch(partition));
        let delivery = Delivery::new(Arc::clone(batch), place);
        if due || self.config.linger.is_zero() || pending.filling.is_full() {
            written.extend(self.write(log, pending));
        }
        Ok(delivery)
    }

    #[cold]
    fn begin_batch(&self, partition: PartitionId) -> Arc<Batch> {
        let clock = &self.topic.shared().host().clock;
        let linger = self.config.linger;
        let me: Weak<Self> = Weak::clone(&self.me);
        let batch = Batch::new(me, partition, clock, linger);
        if !linger.is_zero() {
            self.schedule(batch.until());
        }
        Arc::new(batch)
    }

    fn queued(&self) -> u64 {
        let lanes = self.lanes.iter();
        let queued = lanes.map(|(_, lane)| u64::from(lane.pending.lock().filling.records()));
        queued.fold(0, u64::saturating_add)
    }

    /// Has a thread of the broker append what is due `at` that time. Without one, sends and appends
    /// do it.
    fn schedule(&self, at: Instant) {
        if !self.scheduled.swap(true, Ordering::AcqRel) {
            let topic = self.topic.shared();
            let me: Weak<Self> = Weak::clone(&self.me);
            if !topic.host().lingers.schedule(at, me) {
                topic.producers().set_in_line();
                self.scheduled.store(false, Ordering::Release);
            }
        }
    }

    #[inline]
    fn lane(&self, partition: PartitionId) -> Result<&Lane> {
        match self.lanes.get(partition) {
            Some(lane) => Ok(lane),
            None => self.add_lanes(partition),
        }
    }

    #[cold]
    fn add_lanes(&self, partition: PartitionId) -> Result<&Lane> {
        let _adding = self.adding.lock();
        let topic = self.topic.shared();
        self.lanes.grow(topic.partition_count());
        let lane = self.lanes.get(partition);
        lane.ok_or_else(|| topic.unknown_partition(partition))
    }

    /// Appends the batches that are `due` by a time, or all, of one partition or all. Sets `next`
    /// to the time when the next one is due.
    fn write_due(
        &self,
        only: Option<PartitionId>,
        due: Option<Instant>,
        next: &mut Option<Instant>,
    ) -> Vec<Written> {
        let topic = self.topic.shared();
        let mut written = Vec::new();
        let lanes = self.lanes.iter();
        for (partition, lane) in lanes.filter(|(id, _)| only.is_none_or(|only| only == *id)) {
            let mut pending = lane.pending.lock();
            let Some(until) = pending.batch.as_ref().map(|batch| batch.until()) else {
                continue;
            };
            if due.is_some_and(|now| until > now) {
                *next = Some(next.map_or(until, |next| next.min(until)));
                continue;
            }
            // It is open, because records were taken for it.
            if let Ok(log) = topic.log(partition) {
                written.extend(self.write(log, &mut pending));
            }
        }
        written
    }

    /// Appends the batch of a lane. The caller holds the lane's lock (I1).
    fn write(&self, log: &Log, pending: &mut Pending) -> Option<Written> {
        let batch = pending.batch.take()?;
        debug_assert!(!pending.filling.is_empty(), "a batch holds records");
        {
            // Under the lane's lock: a flush inspects the lane first and this list afterwards, so
            // it finds a batch that another thread has taken out and not settled yet.
            let mut in_flight = self.in_flight.lock();
            if in_flight.len() >= IN_FLIGHT_MIN {
                in_flight.retain(|batch| !batch.is_settled());
            }
            in_flight.push(Arc::clone(&batch));
        }
        Some(Written {
            promise: Promise::new(batch),
            appended: log.append_filled(&mut pending.filling),
            log: log.clone(),
        })
    }

    /// Syncs and settles what was written, and `waits` for it or leaves it to the broker's threads.
    fn settle(&self, written: Vec<Written>, waits: bool) {
        let mut jobs = Vec::new();
        for Written {
            promise,
            log,
            appended,
        } in written
        {
            match appended {
                Ok(offsets) if log.must_confirm() => {
                    jobs.extend(self.sync_job(promise, log, offsets));
                }
                appended => self.done(promise, appended),
            }
        }
        if !jobs.is_empty() {
            self.topic.shared().host().syncers.run(jobs, waits);
        }
    }

    fn sync_job(&self, promise: Promise, log: Log, offsets: Range<Offset>) -> Option<SyncJob> {
        let me = self.me.upgrade()?;
        let end = offsets.end;
        let done = Box::new(move |synced: Result<()>| me.done(promise, synced.map(|()| offsets)));
        Some(SyncJob {
            log: Box::new(log),
            end,
            in_any_case: false,
            done,
        })
    }

    /// Settles a batch, and reports its error.
    fn done(&self, promise: Promise, appended: Result<Range<Offset>>) {
        let topic = self.topic.shared();
        let appended = appended.map_err(|error| topic.explain(error));
        let error = appended.as_ref().err().cloned();
        if let Some(error) = &error {
            self.first_error.lock().get_or_insert_with(|| error.clone());
        }
        let partition = promise.batch().partition();
        promise.keep(appended);
        if let (Some(error), Some(hook)) = (&error, &self.hook) {
            hook(partition, error);
        }
    }

    /// Waits until everything that was sent is settled.
    fn flush(&self) {
        let written = self.write_due(None, None, &mut None);
        self.settle(written, true);
        let in_flight = self.in_flight.lock().clone();
        for batch in &in_flight {
            // Its error is kept in `first_error`.
            drop(batch.wait());
        }
    }
}

impl Lingering for ProducerCore {
    #[cfg(feature = "async")]
    fn in_line(&self) -> bool {
        self.topic.shared().producers().in_line()
    }

    fn append_now(&self, batch: &Arc<Batch>) {
        let partition = batch.partition();
        let (Ok(log), Ok(lane)) = (self.topic.shared().log(partition), self.lane(partition)) else {
            return;
        };
        let written = {
            let mut pending = lane.pending.lock();
            let own = pending.batch.as_ref();
            if own.is_none_or(|own| !Arc::ptr_eq(own, batch)) {
                return;
            }
            self.write(log, &mut pending)
        };
        self.settle(written.into_iter().collect(), true);
    }
}

impl Chore for ProducerCore {
    fn run(&self) {
        // First, so that a batch that is begun meanwhile schedules again.
        self.scheduled.store(false, Ordering::Release);
        let now = self.topic.shared().host().clock.instant();
        let mut next = None;
        let written = self.write_due(None, Some(now), &mut next);
        // No caller waits here, and the batches of other producers are due, too.
        self.settle(written, false);
        if let Some(next) = next {
            self.schedule(next);
        }
    }
}
