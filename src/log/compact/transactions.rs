//! What compaction must know about transactions and producers, which only Kafka writes here.
//!
//! Knows nothing about keys. Kafka's rules (`LogCleaner`, `CleanedTransactionMetadata`):
//!
//! 1. Records of aborted transactions go.
//! 2. A marker stays while a batch of its transaction is still there; after that it goes as a
//!    tombstone does.
//! 3. Nothing from the first open transaction on is touched.
//! 4. The last batch of a producer that is still active stays, empty if need be, so that its
//!    sequence numbers are not forgotten; of a producer whose epoch a marker raised, the marker.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use crate::format::txn::AbortedTxn;
use crate::format::{BatchHeader, ControlKind};
use crate::types::{Offset, Timestamp};

/// How long Kafka remembers a producer (`producer.id.expiration.ms`).
const PRODUCER_EXPIRES: Duration = Duration::from_secs(24 * 60 * 60);

/// What a walk over the whole log found out.
#[derive(Debug, Default)]
pub(in crate::log) struct Survey {
    /// Producers with an open transaction, and where it began.
    open: BTreeMap<i64, Offset>,
    /// Of each producer the aborted transactions, in order.
    aborted: BTreeMap<i64, Vec<AbortedTxn>>,
    producers: BTreeMap<i64, Producer>,
}

/// What is known of a producer.
#[derive(Clone, Copy, Debug)]
struct Producer {
    last: Last,
    epoch: i16,
    seen: Timestamp,
}

/// What says where a producer is.
#[derive(Clone, Copy, Debug)]
enum Last {
    /// The batch that ends before this offset.
    Data { next_offset: Offset },
    /// The marker with its epoch.
    Marker,
}

impl Survey {
    /// Takes note of a data batch.
    pub(super) fn data(&mut self, header: &BatchHeader) {
        if header.producer_id < 0 {
            return;
        }
        let producer = Producer {
            last: Last::Data {
                next_offset: header.next_offset(),
            },
            epoch: header.producer_epoch,
            seen: header.max_timestamp,
        };
        self.producers.insert(header.producer_id, producer);
        if header.is_transactional() {
            self.open
                .entry(header.producer_id)
                .or_insert(header.base_offset);
        }
    }

    /// Takes note of a control batch; only what ends a transaction counts, and what is left of such
    /// a marker when it was emptied.
    pub(super) fn control(&mut self, header: &BatchHeader, kind: Option<ControlKind>) {
        if header.record_count > 0 && !kind.is_some_and(ends_transaction) {
            return;
        }
        let marker = Producer {
            last: Last::Marker,
            epoch: header.producer_epoch,
            seen: header.max_timestamp,
        };
        let known = self.producers.entry(header.producer_id).or_insert(marker);
        if header.producer_epoch > known.epoch {
            *known = marker;
        }
        known.seen = known.seen.max(header.max_timestamp);
        let first = self.open.remove(&header.producer_id);
        if let Some(first_offset) = first.filter(|_| kind == Some(ControlKind::Abort)) {
            let aborted = AbortedTxn {
                producer_id: header.producer_id,
                first_offset,
                last_offset: header.base_offset,
                last_stable_offset: self.first_open().unwrap_or(header.next_offset()),
            };
            self.aborted
                .entry(header.producer_id)
                .or_default()
                .push(aborted);
        }
    }

    /// The first offset of the first open transaction (I3).
    pub(in crate::log) fn first_open(&self) -> Option<Offset> {
        self.open.values().copied().min()
    }

    /// Whether a data batch belongs to an aborted transaction.
    pub(in crate::log) fn is_aborted(&self, header: &BatchHeader) -> bool {
        let Some(aborted) = self.aborted.get(&header.producer_id) else {
            return false;
        };
        let ended = aborted.partition_point(|txn| txn.last_offset <= header.base_offset);
        header.is_transactional()
            && aborted
                .get(ended)
                .is_some_and(|txn| txn.first_offset <= header.base_offset)
    }

    /// Whether a data batch belongs to a transaction that is neither committed nor aborted.
    pub(in crate::log) fn is_open(&self, header: &BatchHeader) -> bool {
        header.is_transactional()
            && self
                .open
                .get(&header.producer_id)
                .is_some_and(|first| *first <= header.base_offset)
    }

    /// The aborted transactions whose markers lie in a range, as a `.txnindex` lists them.
    pub(super) fn aborted_in(&self, range: &Range<Offset>) -> Vec<AbortedTxn> {
        let all = self.aborted.values().flatten();
        let mut found: Vec<_> = all
            .filter(|txn| range.contains(&txn.last_offset))
            .copied()
            .collect();
        found.sort_unstable_by_key(|txn| txn.last_offset);
        found
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

/// Whether a control record is a marker of a transaction.
pub(super) fn ends_transaction(kind: ControlKind) -> bool {
    matches!(kind, ControlKind::Abort | ControlKind::Commit)
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
    pub(super) fn is_last_of_active(&self, header: &BatchHeader) -> bool {
        let Some(producer) = self.survey.producers.get(&header.producer_id) else {
            return false;
        };
        let last = match producer.last {
            Last::Data { next_offset } => {
                !header.is_control() && header.next_offset() == next_offset
            }
            Last::Marker => header.is_control() && header.producer_epoch == producer.epoch,
        };
        last && producer.seen > self.now.minus(PRODUCER_EXPIRES)
    }
}
