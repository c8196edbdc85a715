//! Appending now and syncing later, so that many logs are written before the first sync is waited
//! for.
//!
//! Knows nothing about who waits.

use std::sync::Arc;

use crate::error::Result;
use crate::host::Syncs;
use crate::types::Offset;

use super::append::How;
use super::shared::Log;

pub(crate) const LATER: How = How {
    expected_end: None,
    sync_later: true,
};

impl Syncs for Log {
    fn key(&self) -> usize {
        Arc::as_ptr(&self.shared).addr()
    }

    fn sync(&self, end: Offset) -> Result<()> {
        self.shared.flush_to(end).map(drop)
    }

    fn confirm(&self, end: Offset) -> Result<()> {
        Log::confirm(self, end)
    }

    fn synced(&self) -> Offset {
        self.flushed_offset()
    }
}

impl Log {
    /// Whether an append must be [confirmed](Log::confirm) before it is acknowledged.
    pub(crate) fn must_confirm(&self) -> bool {
        self.shared.is_always()
    }

    /// Makes everything below `end` as safe as the durability says.
    pub(crate) fn confirm(&self, end: Offset) -> Result<()> {
        if self.must_confirm() {
            self.shared.flush_to(end)?;
        }
        Ok(())
    }
}
