//! Opening the next segment.
//!
//! Knows nothing about what is appended to it.

use std::sync::Arc;

use crate::error::Result;

use super::Shared;

impl Shared {
    /// Rolls the active segment if it holds something. The file of the next one is created before
    /// appends have to wait.
    pub(crate) fn seal_active(&self) -> Result<()> {
        // The next segment is opened for appends, which may exceed the bound on open files.
        self.host.files.make_room();
        let active = Arc::clone(self.segments.read().active());
        if active.next_offset() > active.base_offset() {
            self.make_next();
        }
        loop {
            let mut state = self.append.lock();
            self.life.can_append()?;
            let is_empty = state.active.next_offset() <= state.active.base_offset();
            if is_empty || self.roll_within_budget(&mut state)? {
                return Ok(());
            }
            // Not under the append lock: making room removes segments, and may wait for a sync.
            drop(state);
            self.make_room()?;
        }
    }
}

#[cfg(test)]
impl super::Log {
    /// Rolls now, for tests that need a segment to end there.
    pub(crate) fn seal_active(&self) -> Result<()> {
        self.shared.seal_active()
    }
}
