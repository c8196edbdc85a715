//! What is done by the way, for all logs of a broker.
//!
//! Knows nothing about threads: somebody calls it.

use crate::error::Result;
use crate::types::Durability;

use super::core::Core;

/// What one round of [`Broker::upkeep`](crate::Broker::upkeep) did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpkeepReport {
    /// Logs that were synced.
    pub flushed: usize,
    /// What went wrong, log by log.
    pub problems: Vec<String>,
}

impl Core {
    /// One round over all logs that are open.
    pub(super) fn upkeep(&self) -> Result<UpkeepReport> {
        self.root.check_writable()?;
        let mut report = UpkeepReport::default();
        for log in self.root.open_logs() {
            let behind = log.flushed_offset() < log.end_offset();
            if !behind || !matches!(log.config().durability, Durability::Interval(_)) {
                continue;
            }
            match log.flush() {
                Ok(_) => report.flushed = report.flushed.saturating_add(1),
                Err(error) => report.problems.push(error.to_string()),
            }
        }
        Ok(report)
    }
}
