//! The producers of one topic, for a flush or a close of the broker, its upkeep, and appends if no
//! thread ends a linger.
//!
//! Knows nothing about lanes and batches.

use std::sync::{Arc, Weak};

use crate::error::{Error, Result};
use crate::sync::{AtomicBool, Mutex, Ordering};
use crate::types::PartitionId;

use super::ProducerCore;

#[derive(Debug, Default)]
pub(crate) struct Producers {
    /// No thread ends lingers: the next send, append or upkeep does.
    in_line: AtomicBool,
    all: Mutex<Vec<Weak<ProducerCore>>>,
}

impl Producers {
    pub(super) fn add(&self, producer: &Arc<ProducerCore>) {
        let mut all = self.all.lock();
        all.retain(|producer| producer.strong_count() > 0);
        all.push(Arc::downgrade(producer));
    }

    /// Whether no thread ends lingers. A single load, because every append calls this.
    #[inline]
    pub(in super::super) fn in_line(&self) -> bool {
        self.in_line.load(Ordering::Relaxed)
    }

    pub(super) fn set_in_line(&self) {
        self.in_line.store(true, Ordering::Relaxed);
    }

    fn alive(&self) -> Vec<Arc<ProducerCore>> {
        self.all.lock().iter().filter_map(Weak::upgrade).collect()
    }

    pub(crate) fn queued(&self) -> u64 {
        let alive = self.alive().into_iter();
        alive.fold(0, |sum, producer| sum.saturating_add(producer.queued()))
    }

    /// Appends the batches that are due. The producers' own flushes return the errors.
    #[cold]
    pub(crate) fn append_due(&self, only: Option<PartitionId>) {
        for producer in self.alive() {
            let now = producer.topic.shared().host().clock.instant();
            let written = producer.write_due(only, Some(now), &mut None);
            producer.settle(written, true);
        }
    }

    /// # Errors
    ///
    /// The first error that no producer's flush has returned yet; the flush still will.
    pub(crate) fn flush(&self) -> Result<()> {
        let alive = self.alive();
        for producer in &alive {
            producer.flush();
        }
        let first = |producer: &Arc<ProducerCore>| producer.first_error.lock().clone();
        alive
            .iter()
            .find_map(first)
            .map_or(Ok(()), Err::<(), Error>)
    }
}
