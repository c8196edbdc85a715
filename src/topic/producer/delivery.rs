//! What became of a record that was sent: known when its batch is.
//!
//! Knows nothing about how batches are filled or appended.

use std::ops::Range;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::clock::{Clock, Until};
use crate::disk::Owner;
use crate::error::{Error, Result};
use crate::sync::{Condvar, Mutex, OnceLock};
use crate::types::{Appended, Offset, PartitionId};

use super::Shared;

/// A record on its way; got from [`Producer::send`](super::Producer::send). Dropping it changes
/// nothing about the record.
#[derive(Debug)]
#[must_use = "only the delivery tells whether the record was appended"]
pub struct Delivery {
    batch: Arc<Batch>,
    place: u32,
}

/// A batch and what became of it.
#[derive(Debug)]
pub(super) struct Batch {
    producer: Weak<Shared>,
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
pub(super) struct Promise {
    batch: Arc<Batch>,
}

impl Delivery {
    pub(super) fn new(batch: Arc<Batch>, place: u32) -> Self {
        Self { batch, place }
    }

    /// Waits until the record is appended, and tells where. It takes no longer than the producer's
    /// `linger_ms` and the append itself.
    ///
    /// # Errors
    ///
    /// What the append of the batch answered (see [`Topic::append`](crate::Topic::append)): every
    /// record of the batch gets the same error, and none of them was appended.
    pub fn wait(&self) -> Result<Appended> {
        let batch = &self.batch;
        if !batch.owner.is_here() {
            return Err(Error::Forked);
        }
        if !batch.wait_until_due()
            && let Some(producer) = batch.producer.upgrade()
        {
            producer.append_now(batch);
        }
        // Its producer, if it is gone, has appended everything before it went.
        let first = batch.wait()?;
        let offset = first.saturating_add(u64::from(self.place));
        Ok(Appended::new(batch.partition, offset))
    }

    /// Whether [`Delivery::wait`] would answer at once.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        // In a process that was forked from the producer's, it answers an error at once.
        !self.batch.owner.is_here() || self.batch.is_settled()
    }
}

impl Batch {
    /// A batch that is to be appended after a time.
    pub(super) fn new(
        producer: Weak<Shared>,
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

    pub(super) fn partition(&self) -> PartitionId {
        self.partition
    }

    pub(super) fn until(&self) -> Instant {
        self.until
    }

    pub(super) fn is_settled(&self) -> bool {
        self.outcome.get().is_some()
    }

    /// Waits until the batch is settled (true) or its time is over (false).
    fn wait_until_due(&self) -> bool {
        if self.is_settled() {
            return true;
        }
        let mut waiting = self.waiting.lock();
        while !self.is_settled() {
            let clock = &self.clock;
            if !clock.wait_on(&self.settled, &mut waiting, self.over) {
                return self.is_settled();
            }
        }
        true
    }

    /// Waits for the outcome of a batch that left its lane: its first offset.
    pub(super) fn wait(&self) -> Result<Offset> {
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
    pub(super) fn new(batch: Arc<Batch>) -> Self {
        Self { batch }
    }

    pub(super) fn batch(&self) -> &Arc<Batch> {
        &self.batch
    }

    /// Tells everybody who waits.
    pub(super) fn keep(self, appended: Result<Range<Offset>>) {
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

    #[test]
    fn a_settled_delivery_takes_no_lock() {
        let batch = Arc::new(Batch::new(Weak::new(), 3, &Clock::System, Duration::ZERO));
        let delivery = Delivery::new(Arc::clone(&batch), 2);
        assert!(!delivery.is_settled());
        Promise::new(Arc::clone(&batch)).keep(Ok(40..50));
        let _held = batch.waiting.lock();
        assert!(delivery.is_settled());
        assert_eq!(delivery.wait().unwrap(), Appended::new(3, 42));
        assert!(batch.wait_until_due());
    }
}
