//! What became of a record that was sent: known when its batch is.
//!
//! Knows nothing about how batches are filled or appended.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::sync::{Condvar, Mutex};
use crate::types::{Offset, PartitionId, to_u64};

use super::super::Appended;
use super::Shared;

/// A record on its way; got from [`Producer::send`](super::Producer::send). Dropping it changes
/// nothing about the record.
#[derive(Debug)]
#[must_use = "only the delivery tells whether the record was appended"]
pub struct Delivery {
    producer: Arc<Shared>,
    ticket: Ticket,
}

/// A place in a batch.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) batch: Arc<Batch>,
    pub(super) place: usize,
}

/// A batch and what became of it.
#[derive(Debug)]
pub(super) struct Batch {
    partition: PartitionId,
    until: Instant,
    outcome: Mutex<Option<Outcome>>,
    settled: Condvar,
}

/// The first offset, or the error of the whole batch.
type Outcome = std::result::Result<Offset, Error>;

impl Delivery {
    pub(super) fn new(producer: Arc<Shared>, ticket: Ticket) -> Self {
        Self { producer, ticket }
    }

    /// Waits until the record is appended, and tells where. It takes no longer than the producer's
    /// `linger_ms` and the append itself.
    ///
    /// # Errors
    ///
    /// What the append of the batch answered (see [`Topic::append`](crate::Topic::append)): every
    /// record of the batch gets the same error, and none of them was appended.
    pub fn wait(&self) -> Result<Appended> {
        let batch = &self.ticket.batch;
        if !batch.wait() {
            self.producer.append_now(batch);
        }
        // Appended now, by this thread or by one that was about to.
        batch.outcome(self.ticket.place)
    }

    /// Whether [`Delivery::wait`] would answer at once.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.ticket.batch.outcome.lock().is_some()
    }
}

impl Batch {
    /// A batch that is to be appended at a time.
    pub(super) fn new(partition: PartitionId, until: Instant) -> Self {
        Self {
            partition,
            until,
            outcome: Mutex::new(None),
            settled: Condvar::new(),
        }
    }

    pub(super) fn partition(&self) -> PartitionId {
        self.partition
    }

    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// Tells everybody who waits; gives the error, if it is one.
    pub(super) fn settle(&self, offsets: Result<Range<Offset>>) -> Option<Error> {
        let error = offsets.as_ref().err().cloned();
        *self.outcome.lock() = Some(offsets.map(|offsets| offsets.start));
        self.settled.notify_all();
        error
    }

    /// Waits until the batch is settled (true) or its time is over (false).
    fn wait(&self) -> bool {
        let mut outcome = self.outcome.lock();
        while outcome.is_none() {
            if self
                .settled
                .wait_until(&mut outcome, self.until)
                .timed_out()
            {
                return outcome.is_some();
            }
        }
        true
    }

    /// What became of the record at a place.
    fn outcome(&self, place: usize) -> Result<Appended> {
        match &*self.outcome.lock() {
            Some(Ok(first)) => Ok(Appended {
                partition: self.partition,
                offset: first.saturating_add(to_u64(place)),
            }),
            Some(Err(error)) => Err(error.clone()),
            // Its append panicked.
            None => Err(Error::Closed),
        }
    }
}
