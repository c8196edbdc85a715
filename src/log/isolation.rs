//! Reading only what is decided: records of aborted and of open transactions are left out.
//!
//! Knows nothing about groups. Transactions are what Kafka's producers write; nobody here does. So
//! what one walk over the log found holds for as long as nothing is truncated.
//!
//! The walk reads every batch's header, once a log, when the first reader asks: Kafka's
//! `.txnindex` would save it, but a copied directory may lack them, and what they leave out would
//! be handed out.

use std::sync::Arc;

use crate::error::Result;
use crate::format::{BatchHeader, RecordBatch};
use crate::types::{Offset, ReadIsolation};

use super::compact::Survey;
use super::{Log, Shared};

/// Which batches a reader steps over, and where it stops.
#[derive(Clone, Debug, Default)]
pub(super) enum Filter {
    /// Everything is given out.
    #[default]
    Uncommitted,
    /// Nothing is given out from the first open transaction on, and nothing that was aborted.
    Committed(Arc<Survey>),
    /// Neither aborted nor open transactions are given out, but what follows them is: for state
    /// that is made of records, where a later one counts whatever becomes of an open one.
    Decided(Arc<Survey>),
}

impl Filter {
    /// The offset that reading stops at, whatever the high watermark.
    #[inline]
    pub(super) fn end(&self) -> Offset {
        match self {
            Self::Committed(survey) => survey.first_open().unwrap_or(Offset::MAX),
            Self::Uncommitted | Self::Decided(_) => Offset::MAX,
        }
    }

    /// Whether a batch is stepped over.
    #[inline]
    pub(super) fn hides(&self, header: &BatchHeader) -> bool {
        match self {
            Self::Uncommitted => false,
            Self::Committed(survey) => survey.is_aborted(header),
            Self::Decided(survey) => survey.is_aborted(header) || survey.is_open(header),
        }
    }
}

impl Log {
    /// The offset below which a reader of this isolation is given records.
    pub(crate) fn readable_end(&self, isolation: ReadIsolation) -> Result<Offset> {
        let filter = self.shared.filter(isolation)?;
        Ok(self.high_watermark().min(filter.end()))
    }
}

impl Shared {
    /// What a reader of this isolation leaves out.
    pub(super) fn filter(&self, isolation: ReadIsolation) -> Result<Filter> {
        match isolation {
            ReadIsolation::ReadUncommitted => Ok(Filter::Uncommitted),
            ReadIsolation::ReadCommitted => self.transactions().map(Filter::Committed),
        }
    }

    /// What there is of transactions in the log.
    pub(super) fn transactions(&self) -> Result<Arc<Survey>> {
        let truncations = self.truncation_count();
        let mut known = self.survey.lock();
        if let Some((at, survey)) = &*known
            && *at == truncations
        {
            return Ok(Arc::clone(survey));
        }
        let (at, survey) = self.look(|view| {
            let survey = self.survey(&view.segments)?;
            Ok((view.truncations, Arc::new(survey)))
        })?;
        *known = Some((at, Arc::clone(&survey)));
        Ok(survey)
    }
}

impl Log {
    /// Looks at every control batch from an offset on, in their order: no reader shows them. For a
    /// log that nobody truncates meanwhile.
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
