//! What Kafka keeps about producers beside a log, derived from the log: the state of each producer
//! at its end, and the aborted transactions of each segment.
//!
//! Knows nothing about files: a closing root writes them (`broker/rest/producers.rs`).

use std::ops::Range;

use crate::error::Result;
use crate::format::txn::{AbortedTxn, ProducerState};
use crate::format::{
    BatchKind, BatchOptions, ControlKind, EndTransaction, ProducerStamp, encode_one,
};
use crate::segment::Transactions;
use crate::types::{Offset, Record};

use super::append::How;
use super::shared::{Log, Shared};

#[derive(Debug)]
pub(crate) struct Producers {
    transactions: Transactions,
    /// The offsets of each segment, up to the next one.
    segments: Vec<Range<Offset>>,
    start: Offset,
}

impl Log {
    pub(crate) fn producers(&self) -> Result<Producers> {
        self.shared.producers()
    }
}

impl Shared {
    fn producers(&self) -> Result<Producers> {
        let segments: Vec<_> = self.segments.read().iter().cloned().collect();
        let mut transactions = Transactions::default();
        // Not by `scan_transactions`, which gives up while the root closes: that is when this is
        // called.
        for segment in &segments {
            self.find_in(segment, segment.base_offset(), |shared, raw| {
                shared.note(raw, segment, &mut transactions)?;
                Ok(None::<()>)
            })?;
        }
        let bases = segments.iter().map(|segment| segment.base_offset());
        let nexts = bases.clone().skip(1).chain([Offset::MAX]);
        Ok(Producers {
            transactions,
            segments: bases.zip(nexts).map(|(base, next)| base..next).collect(),
            start: self.start_offset(),
        })
    }
}

impl Producers {
    /// The state of every producer at the end; `older` is an earlier snapshot.
    pub(crate) fn states(&self, older: &[ProducerState]) -> Vec<ProducerState> {
        self.transactions.states(older, self.start)
    }

    pub(crate) fn segments(&self) -> impl Iterator<Item = Offset> {
        self.segments.iter().map(|segment| segment.start)
    }

    /// What a `.txnindex` that holds `known` must hold.
    pub(crate) fn index_of(&self, base: Offset, known: &[AbortedTxn]) -> Vec<AbortedTxn> {
        let segment = self.segments.iter().find(|segment| segment.start == base);
        segment.map_or_else(Vec::new, |segment| {
            self.transactions.index_of(segment, known)
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) producer_id: i64,
    /// The producer's epoch from then on; at least that of its batches.
    pub(crate) epoch: i16,
    /// The coordinator's epoch, at least 0. A broker takes no marker of an older one.
    pub(crate) coordinator_epoch: i32,
    pub(crate) commits: bool,
}

impl Ending {
    pub(crate) fn abort(open: &ProducerState) -> Self {
        Self {
            producer_id: open.producer_id,
            epoch: open.epoch,
            coordinator_epoch: open.coordinator_epoch.max(0),
            commits: false,
        }
    }
}

impl Log {
    /// Appends the marker, as a broker's coordinator does.
    pub(crate) fn end_transaction(&self, ending: Ending) -> Result<()> {
        let shared = &self.shared;
        let options = BatchOptions {
            now: shared.host.clock.now(),
            kind: BatchKind::TransactionMarker,
            producer: Some(ProducerStamp {
                id: ending.producer_id,
                epoch: ending.epoch,
                base_sequence: -1,
            }),
            ..BatchOptions::default()
        };
        let kind = if ending.commits {
            ControlKind::Commit
        } else {
            ControlKind::Abort
        };
        let coordinator_epoch = ending.coordinator_epoch;
        let value = EndTransaction { coordinator_epoch }.encode();
        let mut batch = Vec::new();
        let encoded = encode_one(&mut batch, &Record::keyed(&kind.encode(), &value), &options);
        let summary = encoded.map_err(|error| shared.refused(error))?;
        shared.append_encoded(&mut batch, &summary, How::default())?;
        // What a scan found holds only as long as no marker is appended.
        *shared.transactions.lock() = None;
        Ok(())
    }
}
