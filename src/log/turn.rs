//! The turn: a thread that syncs, or changes what a sync would cover, is alone.
//!
//! Knows nothing about what is done in a turn.
//!
//! 1. The turn is taken before the append lock, never while holding it.
//! 2. After a failed sync, and after the end of a close, no thread gets it.
//! 3. Threads that wait for a sync come back together when it ends, each with its next record. The
//!    next sync waits for them, for a fraction of the last one's time: one sync for all replaces
//!    two for half of them each.

use std::time::{Duration, Instant};

use crate::error::Result;
use crate::format::MarkKey;
use crate::sync::{MutexGuard, WakeLater};

use super::shared::Shared;
use super::state::TurnState;

/// A sync waits for company (I3) for this part of the last sync's time, and at most for the
/// maximum.
const COMPANY_PART: u32 = 8;
const COMPANY_MAX: Duration = Duration::from_millis(2);

pub(crate) struct Turn<'a> {
    log: &'a Shared,
    pub(super) rested: bool,
    next_waits_until: Option<Instant>,
    /// Dropped after the turn is released: what woken tasks run may take it.
    _later: WakeLater,
}

impl Turn<'_> {
    /// Notes that a sync that began at `began` is over, for the company of the next one.
    pub(crate) fn synced_since(&mut self, began: Instant) {
        let now = self.log.host.clock.instant();
        let took = now.saturating_duration_since(began);
        self.next_waits_until = now.checked_add((took / COMPANY_PART).min(COMPANY_MAX));
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.log.turn.lock();
        state.busy = false;
        let company = &mut state.company;
        if self.next_waits_until.is_some() {
            company.expected = company.waiting.saturating_add(1);
            company.until = self.next_waits_until;
        }
        company.waiting = 0;
        drop(state);
        // With the lock released, so that the threads that wake can take it at once.
        self.log.turn_over.notify_all();
    }
}

impl Shared {
    pub(crate) fn mark_key(&self) -> MarkKey {
        self.turn.lock().mark.key
    }

    /// Waits for the turn. On an error (I2) the caller must change nothing.
    pub(crate) fn take_turn(&self) -> Result<Turn<'_>> {
        let mut state = self.turn.lock();
        while state.busy {
            self.turn_over.wait(&mut state);
        }
        self.take_free_turn(state)
    }

    pub(super) fn try_turn(&self) -> Result<Option<Turn<'_>>> {
        let state = self.turn.lock();
        if state.busy {
            return Ok(None);
        }
        self.take_free_turn(state).map(Some)
    }

    pub(super) fn take_free_turn<'a>(
        &'a self,
        mut state: MutexGuard<'_, TurnState>,
    ) -> Result<Turn<'a>> {
        // With the turn free and its lock held: a close ends the log's life before it releases the
        // turn.
        self.life.can_confirm()?;
        state.busy = true;
        let rested = std::mem::take(&mut state.rested);
        Ok(Turn {
            log: self,
            rested,
            next_waits_until: None,
            _later: WakeLater::begin(),
        })
    }

    pub(crate) fn take_turn_to_change(&self) -> Result<Turn<'_>> {
        // Before the wait, to fail at once; and after it, because the log may have been closed or
        // poisoned meanwhile.
        self.life.can_append()?;
        let turn = self.take_turn()?;
        self.life.can_append()?;
        Ok(turn)
    }

    /// Waits until the turn is released, and counts as company (I3).
    pub(super) fn wait_for_turn(&self, state: &mut MutexGuard<'_, TurnState>) {
        state.company.waiting = state.company.waiting.saturating_add(1);
        if state.company.is_complete() {
            self.company_came.notify_one();
        }
        self.turn_over.wait(state);
    }

    /// Waits for a fraction of the last sync's time (I3).
    pub(super) fn wait_for_company(&self, _turn: &Turn<'_>) {
        let mut state = self.turn.lock();
        let Some(until) = state.company.until else {
            return;
        };
        while !state.company.is_complete() {
            let now = self.host.clock.instant();
            // By this machine's time, whatever a test's clock says.
            let left = until.saturating_duration_since(now).min(COMPANY_MAX);
            if left.is_zero() || self.company_came.wait_for(&mut state, left).timed_out() {
                return;
            }
        }
    }
}
