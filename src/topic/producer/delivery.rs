//! What became of a record that was sent: known when its batch is.
//!
//! Knows nothing about how batches are filled or appended.

use std::io;
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
        self.producer.check_owner()?;
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
        // In a process that was forked from the producer's, it answers an error at once.
        self.producer.check_owner().is_err() || self.ticket.batch.outcome.lock().is_some()
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
        let error = offsets.as_ref().err().map(copy_of);
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
            Some(Err(error)) => Err(copy_of(error)),
            // Its append panicked.
            None => Err(Error::Closed),
        }
    }
}

/// The same error again, for another of those who wait for one batch.
fn copy_of(error: &Error) -> Error {
    let copy_of_io = |source: &io::Error| match source.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(source.kind(), source.to_string()),
    };
    match error {
        Error::Io {
            path,
            operation,
            source,
        } => Error::Io {
            path: path.clone(),
            operation,
            source: copy_of_io(source),
        },
        Error::NoSpace { path } => Error::NoSpace { path: path.clone() },
        Error::Corrupt {
            path,
            position,
            reason,
        } => Error::corrupt(path, *position, reason.clone()),
        Error::Poisoned { path, cause } => Error::Poisoned {
            path: path.clone(),
            cause: Arc::clone(cause),
        },
        Error::RecordTooLarge { size, limit } => Error::RecordTooLarge {
            size: *size,
            limit: *limit,
        },
        Error::InvalidRecord { reason } => Error::InvalidRecord { reason },
        Error::UnknownTopic { name } => Error::UnknownTopic { name: name.clone() },
        Error::UnknownPartition { topic, partition } => Error::UnknownPartition {
            topic: topic.clone(),
            partition: *partition,
        },
        Error::Unsupported { what } => Error::Unsupported { what: what.clone() },
        Error::ReadOnly => Error::ReadOnly,
        Error::Forked => Error::Forked,
        // The rest no append answers, but for the end of the topic's life.
        _ => Error::Closed,
    }
}
