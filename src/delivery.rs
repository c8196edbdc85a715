//! The outcome of an append that was not waited for, known once its batch is settled.
//!
//! Knows nothing about how batches are filled, appended and synced.
//!
//! 1. A batch is settled once. From then on its outcome takes no lock.
//! 2. A batch that was promised to be settled always is: see [`Promise`].

use std::fmt;
#[cfg(feature = "async")]
use std::future::Future;
use std::ops::Range;
#[cfg(feature = "async")]
use std::pin::Pin;
use std::sync::{Arc, Weak};
#[cfg(feature = "async")]
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::clock::{Clock, Until};
use crate::disk::Owner;
use crate::error::{Error, Result};
#[cfg(feature = "async")]
use crate::sync::WakerKey;
use crate::sync::{Condvar, Mutex, OnceLock, Wakers};
use crate::types::{Appended, Offset, PartitionId};

/// A record in flight, from [`Producer::send`](crate::Producer::send) and, with the feature
/// `async`, from `Topic::append_async`, `Log::append_async` and `Log::flushed`.
///
/// A thread can [wait](Self::wait) for it; with `async` it is also a future for any runtime. Both
/// work more than once, with the same result. A drop changes nothing about the record, and leaves
/// no waker behind. The task that polled last is woken. If no thread ends the lingers of producers
/// (as with [`manual_upkeep`](crate::BrokerConfig::manual_upkeep)), the first poll appends the
/// record, inline.
#[must_use = "only the delivery tells whether the record was appended"]
pub struct Delivery<T = Appended> {
    source: Source,
    /// Makes what the caller gets of where the record is.
    make: fn(PartitionId, Offset) -> T,
    #[cfg(feature = "async")]
    key: WakerKey,
}

#[derive(Debug)]
enum Source {
    #[cfg(feature = "async")]
    Known(PartitionId, Offset),
    /// The record has this index in the batch.
    Batch(Arc<Batch>, u32),
}

pub(crate) trait Lingering: Send + Sync {
    /// Whether no thread of the producer appends batches that are due.
    #[cfg(feature = "async")]
    fn in_line(&self) -> bool;

    /// Appends a batch; does nothing the second time.
    fn append_now(&self, batch: &Arc<Batch>);
}

/// Records of one partition that are appended together.
pub(crate) struct Batch {
    producer: Weak<dyn Lingering>,
    owner: Owner,
    partition: PartitionId,
    /// When the batch is due, by the clock.
    until: Instant,
    clock: Clock,
    /// When the batch is due; a waiting caller then appends it.
    over: Until,
    /// The first offset.
    outcome: OnceLock<Result<Offset>>,
    /// Threads that found no outcome under this lock wait on it; tasks leave their wakers.
    waiting: Mutex<Wakers>,
    settled: Condvar,
}

/// A batch that its producer no longer fills. Dropping the promise settles it, with
/// [`Error::Closed`] if it was not appended, so that no caller waits forever.
#[derive(Debug)]
pub(crate) struct Promise {
    batch: Arc<Batch>,
}

impl<T> fmt::Debug for Delivery<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl Delivery {
    pub(crate) fn new(batch: Arc<Batch>, place: u32) -> Self {
        Self::of(Source::Batch(batch, place), Appended::new)
    }
}

impl<T> Delivery<T> {
    fn of(source: Source, make: fn(PartitionId, Offset) -> T) -> Self {
        Self {
            source,
            make,
            #[cfg(feature = "async")]
            key: WakerKey::default(),
        }
    }

    /// Waits until the record is appended, at most the producer's `linger` and the append, and
    /// returns where.
    ///
    /// # Errors
    ///
    /// The error of the batch's append (see [`Topic::append`](crate::Topic::append)): all its
    /// records get it, and none was appended, except perhaps after [`Error::Poisoned`].
    pub fn wait(&self) -> Result<T> {
        let (batch, place) = match &self.source {
            #[cfg(feature = "async")]
            Source::Known(partition, offset) => return Ok((self.make)(*partition, *offset)),
            Source::Batch(batch, place) => (batch, *place),
        };
        batch.check_owner()?;
        // This needs no other thread: once the batch is due, the waiter appends it.
        if !batch.wait_until(batch.over) {
            batch.append_now();
        }
        // A producer that was dropped has appended everything before.
        batch.answer(batch.wait(), place, self.make)
    }

    /// Waits at most `timeout`: `None` if the record, which is appended all the same, is not
    /// settled by then.
    ///
    /// # Errors
    ///
    /// As [`Delivery::wait`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ottla::{Broker, ProducerConfig, TopicConfig};
    /// # let scratch = tempfile::tempdir()?;
    /// # let broker = Broker::open(scratch.path().join("data"))?;
    /// # let topic = broker.create_topic("flights", TopicConfig::default())?;
    /// let slow = ProducerConfig::default().linger(Duration::from_secs(60));
    /// let producer = topic.producer(slow)?;
    /// let delivery = producer.send("departed EWR")?;
    /// assert!(delivery.wait_timeout(Duration::from_millis(1))?.is_none());
    /// producer.flush()?;
    /// assert!(delivery.wait_timeout(Duration::ZERO)?.is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Option<T>> {
        let batch = match &self.source {
            #[cfg(feature = "async")]
            Source::Known(..) => return self.wait().map(Some),
            Source::Batch(batch, _) => batch,
        };
        batch.check_owner()?;
        let until = batch.clock.until(timeout);
        // The batch may become due within the timeout; then this thread appends it.
        if !batch.wait_until(until.earlier(batch.over)) && batch.is_due() {
            batch.append_now();
        }
        if batch.wait_until(until) {
            return self.wait().map(Some);
        }
        Ok(None)
    }

    /// Whether [`Delivery::wait`] would return at once.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        match &self.source {
            #[cfg(feature = "async")]
            Source::Known(..) => true,
            // In a forked process it returns an error at once.
            Source::Batch(batch, _) => !batch.owner.is_here() || batch.is_settled(),
        }
    }
}

#[cfg(feature = "async")]
impl<T> Delivery<T> {
    pub(crate) fn known(
        partition: PartitionId,
        offset: Offset,
        make: fn(PartitionId, Offset) -> T,
    ) -> Self {
        Self::of(Source::Known(partition, offset), make)
    }

    pub(crate) fn promised(
        clock: &Clock,
        partition: PartitionId,
        make: fn(PartitionId, Offset) -> T,
    ) -> (Self, Promise) {
        let nobody: Weak<Nobody> = Weak::new();
        let batch = Arc::new(Batch::new(nobody, partition, clock, Duration::ZERO));
        let promise = Promise::new(Arc::clone(&batch));
        (Self::of(Source::Batch(batch, 0), make), promise)
    }
}

#[cfg(feature = "async")]
struct Nobody;

#[cfg(feature = "async")]
impl Lingering for Nobody {
    fn in_line(&self) -> bool {
        false
    }

    fn append_now(&self, _: &Arc<Batch>) {}
}

#[cfg(feature = "async")]
impl<T> Future for Delivery<T> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Source::Batch(batch, _) = &this.source
            && batch.owner.is_here()
            && !batch.is_settled()
        {
            // Without threads this appends the batch, and no wake is needed.
            batch.hurry();
            if !batch.enter(&mut this.key, cx.waker()) {
                return Poll::Pending;
            }
        }
        Poll::Ready(this.wait())
    }
}

#[cfg(feature = "async")]
impl<T> Drop for Delivery<T> {
    fn drop(&mut self) {
        if let Source::Batch(batch, _) = &self.source {
            batch.leave(&mut self.key);
        }
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("partition", &self.partition)
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}

impl Batch {
    pub(crate) fn new(
        producer: Weak<dyn Lingering>,
        partition: PartitionId,
        clock: &Clock,
        linger: Duration,
    ) -> Self {
        // A time that cannot be represented would never come.
        let over = clock.until(linger);
        let over = match over.shown() {
            Some(_) => over,
            None => clock.until(Duration::ZERO),
        };
        Self {
            producer,
            owner: Owner::here(),
            partition,
            until: over.shown().unwrap_or_else(|| clock.instant()),
            clock: clock.clone(),
            over,
            outcome: OnceLock::new(),
            waiting: Mutex::default(),
            settled: Condvar::new(),
        }
    }

    pub(crate) fn partition(&self) -> PartitionId {
        self.partition
    }

    pub(crate) fn until(&self) -> Instant {
        self.until
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.outcome.get().is_some()
    }

    fn check_owner(&self) -> Result<()> {
        if self.owner.is_here() {
            Ok(())
        } else {
            Err(Error::Forked)
        }
    }

    fn is_due(&self) -> bool {
        self.clock.is_over(self.over)
    }

    /// Has the producer append the batch, if there still is one.
    fn append_now(self: &Arc<Self>) {
        if let Some(producer) = self.producer.upgrade() {
            producer.append_now(self);
        }
    }

    fn answer<T>(
        &self,
        first: Result<Offset>,
        place: u32,
        make: fn(PartitionId, Offset) -> T,
    ) -> Result<T> {
        let offset = first?.saturating_add(u64::from(place));
        Ok(make(self.partition, offset))
    }

    /// Appends the batch if no thread will.
    #[cfg(feature = "async")]
    fn hurry(self: &Arc<Self>) {
        if let Some(producer) = self.producer.upgrade()
            && producer.in_line()
        {
            producer.append_now(self);
        }
    }

    /// Enters a task; true if the batch is settled, so that no wake will come.
    #[cfg(feature = "async")]
    fn enter(&self, key: &mut WakerKey, waker: &Waker) -> bool {
        let waker = waker.clone();
        let mut waiting = self.waiting.lock();
        if self.is_settled() {
            // The user's waker is dropped without the lock.
            drop(waiting);
            return true;
        }
        let replaced = waiting.enter(key, waker);
        drop(waiting);
        drop(replaced);
        false
    }

    #[cfg(feature = "async")]
    fn leave(&self, key: &mut WakerKey) {
        // No task waits in a forked process.
        if key.is_entered() && self.owner.is_here() && !self.is_settled() {
            let left = self.waiting.lock().leave(key);
            drop(left);
        }
    }

    /// Waits until the batch is settled; false when the time is over.
    fn wait_until(&self, until: Until) -> bool {
        if self.is_settled() {
            return true;
        }
        let mut waiting = self.waiting.lock();
        while !self.is_settled() {
            let clock = &self.clock;
            if !clock.wait_on(&self.settled, &mut waiting, until) {
                return self.is_settled();
            }
        }
        true
    }

    /// Waits for the first offset of a batch that has a [`Promise`].
    pub(crate) fn wait(&self) -> Result<Offset> {
        if let Some(outcome) = self.outcome.get() {
            return outcome.clone();
        }
        let mut waiting = self.waiting.lock();
        loop {
            if let Some(outcome) = self.outcome.get() {
                return outcome.clone();
            }
            self.settled.wait(&mut waiting);
        }
    }
}

impl Promise {
    pub(crate) fn new(batch: Arc<Batch>) -> Self {
        Self { batch }
    }

    pub(crate) fn batch(&self) -> &Arc<Batch> {
        &self.batch
    }

    /// Settles the batch; the drop that follows wakes every waiter.
    pub(crate) fn keep(self, appended: Result<Range<Offset>>) {
        let outcome = &self.batch.outcome;
        outcome.get_or_init(|| appended.map(|offsets| offsets.start));
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        // Without an outcome here, the append panicked.
        self.batch.outcome.get_or_init(|| Err(Error::Closed));
        // A thread that found no outcome waits by now, and is woken.
        let woken = self.batch.waiting.lock().take();
        self.batch.settled.notify_all();
        // Without the lock: a wake runs code of the task's runtime.
        woken.wake();
    }
}

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
