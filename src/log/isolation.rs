//! Reading only what is decided: records of aborted and of open transactions are left out.
//!
//! Knows nothing about groups. Only Kafka's producers write transactions, so one scan of a log
//! remains valid until it is truncated. In a log that another process writes, a filter says how far
//! the scan went, nothing is returned above that, and a reader that gets there continues the scan.
//!
//! The scan reads every batch's header, once per log, when the first reader asks. Kafka's
//! `.txnindex` files would avoid it, but a copied directory may lack them, and what they leave out
//! would be returned.

use std::ops::Range;
use std::sync::Arc;

use crate::error::Result;
use crate::format::{BatchHeader, LiveFigures, RecordBatch};
use crate::segment::{Marker, RawBatch, Segment, Transactions};
use crate::types::{Offset, ReadIsolation};

use super::shared::{Log, Shared};
use super::state::{KnownTo, ScannedTransactions};

#[derive(Clone, Debug, Default)]
pub(crate) enum Filter {
    #[default]
    Uncommitted,
    /// Stops at the first open transaction, and skips what was aborted.
    Committed(Arc<Transactions>, KnownTo),
    /// Skips what is aborted or open, and goes on: for state in which a later record counts
    /// whatever becomes of an open one.
    Decided(Arc<Transactions>, KnownTo),
}

impl Filter {
    /// Where reading stops, whatever the high watermark.
    #[inline]
    pub(crate) fn end(&self) -> Offset {
        match self {
            Self::Committed(transactions, known) => transactions
                .first_open()
                .map_or(known.to, |open| open.min(known.to)),
            Self::Decided(_, known) => known.to,
            Self::Uncommitted => Offset::MAX,
        }
    }

    /// Up to where it is known which transactions are decided.
    #[inline]
    pub(crate) fn known_to(&self) -> Offset {
        match self {
            Self::Committed(_, known) | Self::Decided(_, known) => known.to,
            Self::Uncommitted => Offset::MAX,
        }
    }

    /// Whether another process has cut the log since.
    #[inline]
    pub(crate) fn is_outdated(&self, shared: &Shared) -> bool {
        match self {
            Self::Committed(_, known) | Self::Decided(_, known) => {
                known.to < Offset::MAX && shared.is_truncated_since(known.truncations)
            }
            Self::Uncommitted => false,
        }
    }

    #[inline]
    pub(crate) fn hides(&self, header: &BatchHeader) -> bool {
        match self {
            Self::Uncommitted => false,
            Self::Committed(transactions, _) => transactions.is_aborted(header),
            Self::Decided(transactions, _) => {
                transactions.is_aborted(header) || transactions.is_open(header)
            }
        }
    }
}

impl Log {
    pub(crate) fn readable_end(&self, isolation: ReadIsolation) -> Result<Offset> {
        let filter = self.here_now()?.filter(isolation)?;
        Ok(self.high_watermark().min(filter.end()))
    }
}

impl Shared {
    pub(crate) fn filter(&self, isolation: ReadIsolation) -> Result<Filter> {
        match isolation {
            ReadIsolation::ReadUncommitted => Ok(Filter::Uncommitted),
            ReadIsolation::ReadCommitted => {
                let (transactions, known) = self.known_transactions()?;
                Ok(Filter::Committed(transactions, known))
            }
        }
    }

    pub(crate) fn decided(&self) -> Result<Filter> {
        let (transactions, known) = self.known_transactions()?;
        Ok(Filter::Decided(transactions, known))
    }

    pub(crate) fn renewed(&self, filter: &Filter) -> Result<Filter> {
        match filter {
            Filter::Uncommitted => Ok(Filter::Uncommitted),
            Filter::Committed(..) => self.filter(ReadIsolation::ReadCommitted),
            Filter::Decided(..) => self.decided(),
        }
    }

    /// The last stable offset, if the transactions are known.
    pub(super) fn last_stable_known(&self) -> Offset {
        let known = self.transactions.try_lock();
        let known = known.as_ref().and_then(|known| known.as_ref());
        match known {
            Some(known) if !self.is_truncated_since(known.truncations) => {
                let open = known.transactions.first_open().unwrap_or(Offset::MAX);
                self.high_watermark().min(open)
            }
            _ => LiveFigures::UNKNOWN,
        }
    }

    fn known_transactions(&self) -> Result<(Arc<Transactions>, KnownTo)> {
        let truncations = self.truncation_count();
        let to = match self.outside.get() {
            Some(_) => self.high_watermark(),
            None => Offset::MAX,
        };
        // Held during the scan: another reader waits for it and does not scan as well.
        let mut known = self.transactions.lock();
        if let Some(known) = &*known
            && known.truncations == truncations
            && known.to >= to
        {
            return Ok((Arc::clone(&known.transactions), known.known()));
        }
        let scanned = self.look(|view| {
            // Continued, not repeated, unless a truncation may have cut what it saw.
            let earlier = known.as_ref();
            let earlier = earlier.filter(|earlier| earlier.truncations == view.truncations);
            let begun = earlier.map(|earlier| (earlier.transactions.as_ref().clone(), earlier.to));
            let (mut transactions, from) = begun.unwrap_or_default();
            self.scan_transactions_between(&view.segments, from..to, &mut transactions)?;
            Ok(ScannedTransactions {
                truncations: view.truncations,
                to,
                transactions: Arc::new(transactions),
            })
        })?;
        let found = (Arc::clone(&scanned.transactions), scanned.known());
        *known = Some(scanned);
        Ok(found)
    }
}

impl Shared {
    pub(crate) fn scan_transactions(&self, segments: &[Arc<Segment>]) -> Result<Transactions> {
        let mut transactions = Transactions::default();
        self.scan_transactions_between(segments, 0..Offset::MAX, &mut transactions)?;
        Ok(transactions)
    }

    /// The same between two offsets at which batches end.
    pub(crate) fn scan_transactions_between(
        &self,
        segments: &[Arc<Segment>],
        range: Range<Offset>,
        transactions: &mut Transactions,
    ) -> Result<()> {
        for segment in segments {
            let end = range.end.min(self.high_watermark());
            let from = range.start.max(segment.base_offset());
            if from >= end || segment.next_offset() <= from {
                continue;
            }
            self.find_below(segment, from..end, |shared, raw| {
                shared.life.can_read()?;
                if raw.header.base_offset >= from {
                    shared.note(raw, segment, transactions)?;
                }
                Ok(None::<()>)
            })?;
        }
        Ok(())
    }

    pub(crate) fn note(
        &self,
        raw: RawBatch,
        segment: &Segment,
        transactions: &mut Transactions,
    ) -> Result<()> {
        let header = raw.header;
        if header.is_control() {
            transactions.control(&header, self.marker(raw, segment)?);
        } else {
            transactions.data(&header);
        }
        Ok(())
    }

    /// `None` if the record of a control batch cannot be decoded.
    pub(crate) fn marker(&self, raw: RawBatch, segment: &Segment) -> Result<Option<Marker>> {
        let batch = self.decode(raw, segment)?;
        let first = batch.records().next();
        Ok(first
            .and_then(|record| Marker::decode(record.key()?, record.value().unwrap_or_default())))
    }
}

impl Log {
    /// Passes control batches from an offset on, which no reader returns, to a closure. The log
    /// must not be truncated meanwhile.
    pub(crate) fn each_control_batch(
        &self,
        from: Offset,
        mut look: impl FnMut(&RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let segments: Vec<_> = self.shared.segments.read().iter().cloned().collect();
        for segment in &segments {
            let base = segment.base_offset();
            self.shared.find_in(segment, base, |shared, raw| {
                if raw.header.is_control() && raw.header.next_offset() > from {
                    look(&shared.decode(raw, segment)?)?;
                }
                Ok(None::<()>)
            })?;
        }
        Ok(())
    }
}
