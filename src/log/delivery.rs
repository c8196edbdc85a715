//! What became of an append that was not waited for: known when its batch is settled.
//!
//! Knows nothing about how batches are filled, appended and synced.
//!
//! 1. A batch is settled once. From then on nobody who asks takes a lock.
//! 2. A batch that was promised to be settled is, whatever happens: see [`Promise`].

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::clock::{Clock, Until};
use crate::disk::Owner;
use crate::error::{Error, Result};
use crate::sync::{Condvar, Mutex, OnceLock};
use crate::types::{Appended, Offset, PartitionId};

/// A record on its way; got from [`Producer::send`](crate::Producer::send). Dropping it changes
/// nothing about the record.
#[must_use = "only the delivery tells whether the record was appended"]
pub struct Delivery<T = Appended> {
    batch: Arc<Batch>,
    place: u32,
    make: fn(PartitionId, Offset) -> T,
}

/// Who appends a batch when its time is over.
pub(crate) trait Lingering: Send + Sync {
    /// Appends the batch, unless that was done already.
    fn append_now(&self, batch: &Arc<Batch>);
}

/// A batch and what became of it.
pub(crate) struct Batch {
    producer: Weak<dyn Lingering>,
    owner: Owner,
    partition: PartitionId,
    /// When it is due.
    until: Instant,
    clock: Clock,
    /// When the caller that waits for it appends it.
    over: Until,
    /// Set once, and read without a lock from then on.
    outcome: OnceLock<Result<Offset>>,
    /// Those wait on it who have found no outcome while they held it.
    waiting: Mutex<()>,
    settled: Condvar,
}

/// A batch that left its lane: it is settled when this goes, if need be as one that was never
/// appended, so that nobody waits for it in vain.
#[derive(Debug)]
pub(crate) struct Promise {
    batch: Arc<Batch>,
}

impl<T> fmt::Debug for Delivery<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("batch", &self.batch)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl Delivery {
    /// Of the record at a place in a batch.
    pub(crate) fn new(batch: Arc<Batch>, place: u32) -> Self {
        Self {
            batch,
            place,
            make: Appended::new,
        }
    }
}

impl<T> Delivery<T> {
    /// Waits until the record is appended, and tells where. It takes no longer than the producer's
    /// `linger_ms` and the append itself.
    ///
    /// # Errors
    ///
    /// What the append of the batch answered (see [`Topic::append`](crate::Topic::append)): every
    /// record of the batch gets the same error, and none of them was appended.
    pub fn wait(&self) -> Result<T> {
        let batch = &self.batch;
        batch.check_owner()?;
        if !batch.wait_until(batch.over) {
            batch.append_now();
        }
        // Its producer, if it is gone, has appended everything before it went.
        self.of(batch.wait())
    }

    /// The same, for at most so long: `None` when the record is not settled by then. It goes on its
    /// way all the same.
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
    /// let slow = ProducerConfig::default().linger_ms(Duration::from_secs(60));
    /// let producer = topic.producer(slow)?;
    /// let delivery = producer.send("departed EWR")?;
    /// assert!(delivery.wait_timeout(Duration::from_millis(1))?.is_none());
    /// producer.flush()?;
    /// assert!(delivery.wait_timeout(Duration::ZERO)?.is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Option<T>> {
        let batch = &self.batch;
        batch.check_owner()?;
        let until = batch.clock.until(timeout);
        if !batch.wait_until(until.earlier(batch.over)) && batch.is_due() {
            batch.append_now();
        }
        if batch.wait_until(until) {
            return self.of(batch.wait()).map(Some);
        }
        Ok(None)
    }

    /// Whether [`Delivery::wait`] would answer at once.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        // In a process that was forked from the producer's, it answers an error at once.
        !self.batch.owner.is_here() || self.batch.is_settled()
    }

    fn of(&self, first: Result<Offset>) -> Result<T> {
        let offset = first?.saturating_add(u64::from(self.place));
        Ok((self.make)(self.batch.partition, offset))
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
    /// A batch that is to be appended after a time.
    pub(crate) fn new(
        producer: Weak<dyn Lingering>,
        partition: PartitionId,
        clock: &Clock,
        linger: Duration,
    ) -> Self {
        // A time past all time is none to wait for.
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
            waiting: Mutex::new(()),
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

    /// Has it appended, unless it was or its producer is gone.
    fn append_now(self: &Arc<Self>) {
        if let Some(producer) = self.producer.upgrade() {
            producer.append_now(self);
        }
    }

    /// Waits until the batch is settled (true) or a time is over (false).
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

    /// Waits for the outcome of a batch that left its lane: its first offset.
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

    /// Tells everybody who waits.
    pub(crate) fn keep(self, appended: Result<Range<Offset>>) {
        let outcome = &self.batch.outcome;
        outcome.get_or_init(|| appended.map(|offsets| offsets.start));
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        // Without an outcome the append panicked.
        self.batch.outcome.get_or_init(|| Err(Error::Closed));
        // Whoever has found no outcome waits by now, and is woken.
        drop(self.batch.waiting.lock());
        self.batch.settled.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Gone;

    impl Lingering for Gone {
        fn append_now(&self, _: &Arc<Batch>) {}
    }

    fn batch(linger: Duration) -> Arc<Batch> {
        let producer: Weak<Gone> = Weak::new();
        Arc::new(Batch::new(producer, 3, &Clock::System, linger))
    }

    #[test]
    fn a_settled_delivery_takes_no_lock() {
        let batch = batch(Duration::ZERO);
        let delivery = Delivery::new(Arc::clone(&batch), 2);
        assert!(!delivery.is_settled());
        Promise::new(Arc::clone(&batch)).keep(Ok(40..50));
        let _held = batch.waiting.lock();
        assert!(delivery.is_settled());
        assert_eq!(delivery.wait().unwrap(), Appended::new(3, 42));
        assert!(batch.wait_until(batch.over));
    }

    #[test]
    fn a_wait_with_a_timeout_ends_with_its_time_or_with_the_outcome() {
        let batch = batch(Duration::from_secs(3600));
        let delivery = Delivery::new(Arc::clone(&batch), 2);
        for timeout in [Duration::ZERO, Duration::from_millis(1)] {
            assert_eq!(delivery.wait_timeout(timeout).unwrap(), None);
        }
        Promise::new(batch).keep(Ok(40..50));
        let settled = delivery.wait_timeout(Duration::ZERO).unwrap();
        assert_eq!(settled, Some(Appended::new(3, 42)));
    }
}
