//! Closes the files of a log that stays open: when it is idle, and when other logs need
//! descriptors.
//!
//! Knows nothing about which log must close files (`segment/open_files.rs`).
//!
//! 1. A file with unsynced bytes is synced before its descriptor is closed: afterwards the system
//!    may report a failed write to no one.
//! 2. A failed sync latches the log, as anywhere else.
//! 3. A parked log has no descriptor, no map, and no space that it does not use. Its next append
//!    opens the file again.
//! 4. The turn is held meanwhile, so that no truncation or close is in progress. It is never waited
//!    for: its holder may be waiting for the thread that needs a descriptor.

use std::sync::Arc;

use crate::error::{IoContext, Result};
use crate::segment::Writes;
use crate::sync::MutexGuard;

use super::shared::Shared;
use super::state::AppendState;
use super::turn::Turn;

impl Shared {
    /// Locks the log for an append. One that must open the file closes others first, without the
    /// lock, because that may mean a sync.
    #[inline]
    pub(super) fn lock_to_append(&self) -> Result<MutexGuard<'_, AppendState>> {
        let state = self.append.lock();
        // With the lock held: a close that begins after this syncs what is written here.
        self.life.can_append()?;
        if state.writer.is_some() && !state.held_back {
            return Ok(state);
        }
        drop(state);
        self.lock_with_room()
    }

    #[cold]
    fn lock_with_room(&self) -> Result<MutexGuard<'_, AppendState>> {
        self.host.files.make_room();
        loop {
            self.finish_before_append()?;
            let state = self.append.lock();
            self.life.can_append()?;
            if !state.held_back {
                return Ok(state);
            }
            drop(state);
            // Held by the truncation in progress, or until the opening is finished.
            drop(self.layout.lock());
        }
    }

    /// Closes the files of a log to which nothing was appended since the last call.
    pub(crate) fn park_if_idle(&self) -> Result<()> {
        {
            let mut state = self.append.lock();
            let idle = !std::mem::take(&mut state.in_use) && self.life.can_append().is_ok();
            if !idle || state.writer.is_none() {
                return Ok(());
            }
        }
        let turn = self.take_turn_to_change()?;
        self.sync_all(&turn)?;
        // An append came during the sync: the log is not idle after all.
        if self.append.lock().in_use {
            return Ok(());
        }
        self.park(&turn).map(drop)
    }

    /// Closes what is open for writing; false if something was appended meanwhile.
    fn park(&self, turn: &Turn<'_>) -> Result<bool> {
        let mut state = self.append.lock();
        if !state.sealing.is_empty() {
            drop(state);
            self.sync_all(turn)?;
            state = self.append.lock();
        }
        let path = state.active.log_path();
        let end = state.end;
        let Some(writer) = &mut state.writer else {
            return Ok(state.sealing.is_empty());
        };
        // Before the sync, so that the length is synced too.
        writer.trim().at(&path, "truncate")?;
        let file = Arc::clone(writer.file());
        drop(state);
        if self.flushed_offset() < end {
            // Everything below the flushed end was synced; the mark, a lower bound, stays.
            let synced = file.sync_data();
            synced.map_err(|cause| self.poisoned(path, cause))?;
        }
        let mut state = self.append.lock();
        // Appends continued during the sync: the file has unsynced bytes again (I1).
        if state.end != end || !state.sealing.is_empty() {
            return Ok(false);
        }
        state.writer = None;
        state.active.close_file();
        Ok(true)
    }

    /// Closes every file of the log, synced or not.
    pub(super) fn close_files(&self) {
        let mut state = self.append.lock();
        state.writer = None;
        state.sealing.clear();
        drop(state);
        for segment in self.segments.read().iter() {
            segment.close_file();
        }
    }
}

impl Writes for Shared {
    fn take_used(&self) -> bool {
        std::mem::take(&mut self.append.lock().used)
    }

    fn needs_sync(&self) -> bool {
        self.flushed_offset() < self.end_offset()
    }

    fn close_synced(&self) -> bool {
        let parked = match self.try_turn() {
            Ok(Some(turn)) => self.park(&turn).unwrap_or(false),
            Ok(None) => false,
            // A sync failed: nothing is confirmed any more, and there is no reason to sync.
            Err(_) => {
                self.close_files();
                true
            }
        };
        let mut state = self.append.lock();
        // If it was opened again meanwhile, it stays in the queue.
        let closed = parked && state.writer.is_none() && state.sealing.is_empty();
        if closed {
            state.listed = false;
        }
        closed
    }
}
