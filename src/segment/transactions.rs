//! What compaction, readers and a closing root know about transactions and producers, which only
//! Kafka writes.
//!
//! Knows nothing about keys. Kafka's rules (`LogCleaner`, `CleanedTransactionMetadata`):
//!
//! 1. Records of aborted transactions are dropped.
//! 2. A marker is kept while a batch of its transaction exists, and then dropped like a tombstone.
//! 3. Nothing from the first open transaction on is touched.
//! 4. The last batch of an active producer is kept, empty if need be, for its sequence numbers; if
//!    a marker raised the producer's epoch, the marker is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use crate::format::txn::{AbortedTxn, ProducerState};
use crate::format::{BatchHeader, ControlKind, EndTransaction};
use crate::types::{Offset, Timestamp};

/// Kafka's `producer.id.expiration.ms`.
const PRODUCER_EXPIRES: Duration = Duration::from_secs(24 * 60 * 60);

/// The transactions and producers of a log, from a scan of its batches. Maps are by producer id.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transactions {
    /// Where the open transaction begins.
    open: BTreeMap<i64, Offset>,
    /// In the order of their markers.
    aborted: BTreeMap<i64, Vec<AbortedTxn>>,
    producers: BTreeMap<i64, Producer>,
    /// As in a snapshot at the end of the scan.
    states: BTreeMap<i64, ProducerState>,
    aborts: Vec<AbortMarker>,
    /// The end of the newest marker.
    decided: BTreeMap<i64, Offset>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) kind: ControlKind,
    /// -1 if the record does not say.
    pub(crate) coordinator_epoch: i32,
}

impl Marker {
    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        let end = EndTransaction::decode(value).ok();
        Some(Self {
            kind: ControlKind::decode(key).ok()?,
            coordinator_epoch: end.map_or(-1, |end| end.coordinator_epoch),
        })
    }
}

#[derive(Clone, Copy, Debug)]
struct AbortMarker {
    producer_id: i64,
    offset: Offset,
    /// The end of the previous marker: what it aborts begins here or later.
    after: Offset,
}

#[derive(Clone, Copy, Debug)]
struct Producer {
    last: Last,
    epoch: i16,
    seen: Timestamp,
}

#[derive(Clone, Copy, Debug)]
enum Last {
    Data { next_offset: Offset },
    Marker,
}

impl Transactions {
    pub(crate) fn data(&mut self, header: &BatchHeader) {
        // A batch without a producer is in no transaction.
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
        self.state(header.producer_id).take_data(header);
        if header.is_transactional() {
            // The first batch says where the transaction begins; later ones do not move that.
            self.open
                .entry(header.producer_id)
                .or_insert(header.base_offset);
        }
    }

    /// Notes a control batch. Only markers that end a transaction count, also emptied ones.
    pub(crate) fn control(&mut self, header: &BatchHeader, record: Option<Marker>) {
        let ending = record.filter(|record| ends_transaction(record.kind));
        // A marker that was emptied has no record, and has ended its transaction all the same.
        if header.record_count > 0 && ending.is_none() {
            return;
        }
        let aborts = ending.is_some_and(|record| record.kind == ControlKind::Abort);
        if let Some(record) = ending {
            let state = self.state(header.producer_id);
            state.take_marker(header, record.coordinator_epoch);
            self.note_marker(header, aborts);
        }
        let marker = Producer {
            last: Last::Marker,
            epoch: header.producer_epoch,
            seen: header.max_timestamp,
        };
        let known = self.producers.entry(header.producer_id).or_insert(marker);
        // With a new epoch sequence numbers begin again: now this marker, and not the last batch,
        // says where the producer is (I4).
        if header.producer_epoch > known.epoch {
            *known = marker;
        }
        known.seen = known.seen.max(header.max_timestamp);
        let first = self.open.remove(&header.producer_id);
        if let Some(first_offset) = first.filter(|_| aborts) {
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

    fn state(&mut self, producer_id: i64) -> &mut ProducerState {
        let new = || ProducerState::new(producer_id);
        self.states.entry(producer_id).or_insert_with(new)
    }

    fn note_marker(&mut self, header: &BatchHeader, aborts: bool) {
        let before = self
            .decided
            .insert(header.producer_id, header.next_offset());
        if aborts {
            self.aborts.push(AbortMarker {
                producer_id: header.producer_id,
                offset: header.base_offset,
                after: before.unwrap_or(0),
            });
        }
    }

    /// The states at the end of the log, which starts at `start`. Producers without a batch left
    /// are known only from an older snapshot.
    pub(crate) fn states(&self, older: &[ProducerState], start: Offset) -> Vec<ProducerState> {
        let is_below = |offset: Offset| offset < start;
        let mut states = self.states.clone();
        for state in older {
            // If it refers to batches that should be in the log but are not, it is wrong.
            let last = Offset::try_from(state.last_offset).ok();
            if last.is_none_or(is_below) && state.transaction_start.is_none_or(is_below) {
                states.entry(state.producer_id).or_insert(*state);
            }
        }
        states.into_values().collect()
    }

    /// What the `.txnindex` of a segment must hold, by its markers. If the first batches of a
    /// transaction are gone, only the present content, `known`, says where it began.
    pub(crate) fn index_of(
        &self,
        segment: &Range<Offset>,
        known: &[AbortedTxn],
    ) -> Vec<AbortedTxn> {
        let seen = self.aborted_in(segment);
        let markers = self.aborts.iter();
        let inside = markers.filter(|marker| segment.contains(&marker.offset));
        let entry = |marker: &AbortMarker| {
            let of_marker = |txn: &&AbortedTxn| {
                txn.last_offset == marker.offset && txn.producer_id == marker.producer_id
            };
            let begins =
                |txn: &&AbortedTxn| (marker.after..marker.offset).contains(&txn.first_offset);
            let seen = seen.iter().find(of_marker);
            let known = known.iter().filter(of_marker).find(begins);
            // If compaction dropped the first batches, only the present entry still says where it
            // began.
            let earlier = known
                .filter(|known| seen.is_none_or(|seen| known.first_offset < seen.first_offset));
            earlier.or(seen).copied()
        };
        inside.filter_map(entry).collect()
    }

    pub(crate) fn open_transactions(&self) -> Vec<ProducerState> {
        let open = self.open.keys();
        open.filter_map(|producer| self.states.get(producer).copied())
            .collect()
    }

    pub(crate) fn first_open(&self) -> Option<Offset> {
        self.open.values().copied().min()
    }

    pub(crate) fn is_aborted(&self, header: &BatchHeader) -> bool {
        let Some(aborted) = self.aborted.get(&header.producer_id) else {
            return false;
        };
        let ended = aborted.partition_point(|txn| txn.last_offset <= header.base_offset);
        header.is_transactional()
            && aborted
                .get(ended)
                .is_some_and(|txn| txn.first_offset <= header.base_offset)
    }

    pub(crate) fn is_open(&self, header: &BatchHeader) -> bool {
        header.is_transactional()
            && self
                .open
                .get(&header.producer_id)
                .is_some_and(|first| *first <= header.base_offset)
    }

    /// The aborted transactions whose markers are in a range, as a `.txnindex` lists them.
    pub(crate) fn aborted_in(&self, range: &Range<Offset>) -> Vec<AbortedTxn> {
        let all = self.aborted.values().flatten();
        let mut found: Vec<_> = all
            .filter(|txn| range.contains(&txn.last_offset))
            .copied()
            .collect();
        found.sort_unstable_by_key(|txn| txn.last_offset);
        found
    }

    pub(crate) fn judge(&self, now: Timestamp) -> Judge<'_> {
        Judge {
            transactions: self,
            now,
            seen: BTreeSet::new(),
        }
    }
}

pub(crate) fn ends_transaction(kind: ControlKind) -> bool {
    matches!(kind, ControlKind::Abort | ControlKind::Commit)
}

/// Decides for compaction about batches, in the order of the log.
#[derive(Debug)]
pub(crate) struct Judge<'a> {
    transactions: &'a Transactions,
    now: Timestamp,
    /// Producers whose present transaction still has a batch in the log.
    seen: BTreeSet<i64>,
}

impl Judge<'_> {
    /// Whether the records of a data batch were aborted (I1).
    pub(crate) fn is_aborted(&mut self, header: &BatchHeader) -> bool {
        if header.is_transactional() {
            self.seen.insert(header.producer_id);
        }
        self.transactions.is_aborted(header)
    }

    /// Whether a marker has nothing left to mark (I2).
    pub(crate) fn is_spent(&mut self, header: &BatchHeader) -> bool {
        !self.seen.remove(&header.producer_id)
    }

    /// Whether a batch without records must be kept anyway (I4).
    pub(crate) fn is_last_of_active(&self, header: &BatchHeader) -> bool {
        let Some(producer) = self.transactions.producers.get(&header.producer_id) else {
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
