//! What compaction must know about transactions and producers, which only Kafka writes here.
//!
//! Knows nothing about keys. Kafka's rules (`LogCleaner`, `CleanedTransactionMetadata`):
//!
//! 1. Records of aborted transactions go.
//! 2. A marker stays while a batch of its transaction is still there; after that it goes as a
//!    tombstone does.
//! 3. Nothing from the first open transaction on is touched.
//! 4. The last batch of a producer that is still active stays, empty if need be, so that its
//!    sequence numbers are not forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::format::{BatchHeader, ControlKind};
use crate::types::{Offset, Timestamp};

/// How long Kafka remembers a producer (`producer.id.expiration.ms`).
const PRODUCER_EXPIRES: Duration = Duration::from_secs(24 * 60 * 60);

/// What a walk over the whole log found out.
#[derive(Debug, Default)]
pub(in crate::log) struct Survey {
    /// Producers with an open transaction, and where it began.
    open: BTreeMap<i64, Offset>,
    aborted: Vec<Aborted>,
    /// The last offset of the last data batch of each producer, and its time.
    last_batches: BTreeMap<i64, (Offset, Timestamp)>,
}

#[derive(Clone, Copy, Debug)]
struct Aborted {
    producer: i64,
    first: Offset,
    marker: Offset,
}

impl Survey {
    /// Takes note of a data batch.
    pub(super) fn data(&mut self, header: &BatchHeader) {
        if header.producer_id < 0 {
            return;
        }
        let last = header.next_offset().saturating_sub(1);
        self.last_batches
            .insert(header.producer_id, (last, header.max_timestamp));
        if header.is_transactional() {
            self.open
                .entry(header.producer_id)
                .or_insert(header.base_offset);
        }
    }

    /// Takes note of a marker.
    pub(super) fn marker(&mut self, header: &BatchHeader, control: ControlKind) {
        let Some(first) = self.open.remove(&header.producer_id) else {
            return;
        };
        if control == ControlKind::Abort {
            self.aborted.push(Aborted {
                producer: header.producer_id,
                first,
                marker: header.base_offset,
            });
        }
    }

    /// The first offset of the first open transaction.
    pub(in crate::log) fn first_open(&self) -> Option<Offset> {
        self.open.values().copied().min()
    }

    /// Whether a data batch belongs to an aborted transaction.
    pub(in crate::log) fn is_aborted(&self, header: &BatchHeader) -> bool {
        header.is_transactional()
            && self.aborted.iter().any(|aborted| {
                aborted.producer == header.producer_id
                    && (aborted.first..aborted.marker).contains(&header.base_offset)
            })
    }

    /// Whether a data batch belongs to a transaction that is neither committed nor aborted.
    pub(in crate::log) fn is_open(&self, header: &BatchHeader) -> bool {
        header.is_transactional()
            && self
                .open
                .get(&header.producer_id)
                .is_some_and(|first| *first <= header.base_offset)
    }

    fn is_last_of_active(&self, header: &BatchHeader, now: Timestamp) -> bool {
        self.last_batches
            .get(&header.producer_id)
            .is_some_and(|(last, time)| {
                last.saturating_add(1) == header.next_offset()
                    && *time > now.minus(PRODUCER_EXPIRES)
            })
    }

    /// A walk that judges the batches of the log from its start on.
    pub(super) fn judge(&self, now: Timestamp) -> Judge<'_> {
        Judge {
            survey: self,
            now,
            seen: BTreeSet::new(),
        }
    }
}

/// Judges batches in the order of the log.
#[derive(Debug)]
pub(super) struct Judge<'a> {
    survey: &'a Survey,
    now: Timestamp,
    /// Producers whose present transaction still has a batch in the log.
    seen: BTreeSet<i64>,
}

impl Judge<'_> {
    /// Whether the records of a data batch were taken back (I1).
    pub(super) fn is_aborted(&mut self, header: &BatchHeader) -> bool {
        if header.is_transactional() {
            self.seen.insert(header.producer_id);
        }
        self.survey.is_aborted(header)
    }

    /// Whether a marker has nothing left to mark (I2).
    pub(super) fn is_spent(&mut self, header: &BatchHeader) -> bool {
        !self.seen.remove(&header.producer_id)
    }

    /// Whether a batch without records must stay all the same (I4).
    pub(super) fn must_stay(&self, header: &BatchHeader) -> bool {
        header.producer_id >= 0 && self.survey.is_last_of_active(header, self.now)
    }
}
