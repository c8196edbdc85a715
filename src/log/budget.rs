//! What a log is charged for in a root with a limit on its bytes, and how it makes room.
//!
//! Knows nothing about the limit and the other logs: (I1) to (I5) are those of `host/budget.rs`.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::host::{cost, overhang};
use crate::segment::Segment;
use crate::sync::Ordering;
use crate::types::{Offset, ReadIsolation, Timestamp, is_internal_topic};

use super::shared::{Log, Shared};
use super::state::{AppendState, Held};

/// A charge for segments that come or go, released when dropped.
pub(crate) struct Passing<'a> {
    log: &'a Shared,
    bytes: u64,
}

impl Passing<'_> {
    /// The files may still exist, so they stay charged as long as the log is open.
    pub(super) fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Passing<'_> {
    fn drop(&mut self) {
        // A log that was halted half-way has the new files and those to be removed.
        if self.bytes == 0 || self.log.life.poison().is_some() {
            return;
        }
        let mut held = self.log.charge.held.lock();
        held.passing = held.passing.saturating_sub(self.bytes);
        self.log.host.budget.change(self.bytes, 0);
    }
}

impl Shared {
    /// Recalculates the charge; a closed log keeps it, as it keeps its files.
    pub(crate) fn recharge(&self) {
        if !self.host.budget.is_limited() || self.life.can_read().is_err() {
            return;
        }
        let config = self.config();
        let mut held = self.charge.held.lock();
        let now = {
            let segments = self.segments.read();
            let costs = segments.sealed().iter().map(|s| cost(s.end().0, &config));
            costs.fold(overhang(&config), u64::saturating_add)
        };
        self.host.budget.change(held.sealed, now);
        held.sealed = now;
    }

    fn uncharge(&self) {
        let mut held = self.charge.held.lock();
        let all = held.sealed.saturating_add(held.passing);
        self.host.budget.change(all, 0);
        *held = Held::default();
    }

    /// Charges for reserved space that could not be released.
    pub(super) fn charge_reserved(&self, bytes: u64) {
        let mut held = self.charge.held.lock();
        held.passing = held.passing.saturating_add(bytes);
        self.host.budget.change(0, bytes);
    }

    /// Removes the segments below an offset, which stay charged until their files are gone (I3).
    /// Called with the append lock held.
    pub(super) fn remove_below(&self, offset: Offset) -> (Vec<Arc<Segment>>, Passing<'_>) {
        let config = self.config();
        // Held from here on, or a thread that recharges meanwhile would release them.
        let mut held = self.charge.held.lock();
        let gone = self.segments.write().remove_below(offset);
        let mut bytes = 0;
        if self.host.budget.is_limited() {
            let costs = gone.iter().map(|s| cost(s.end().0, &config));
            bytes = costs.fold(0, u64::saturating_add);
            held.sealed = held.sealed.saturating_sub(bytes);
            held.passing = held.passing.saturating_add(bytes);
        }
        drop(held);
        (gone, Passing { log: self, bytes })
    }

    /// Charges for what compaction writes in place of `sources` (I3); no lock is held but that of
    /// compaction.
    pub(crate) fn room_to_compact(&self, sources: &[Arc<Segment>]) -> Result<Passing<'_>> {
        let budget = &self.host.budget;
        let mut bytes = 0;
        if budget.is_limited() {
            let config = self.config();
            let costs = sources.iter().map(|s| cost(s.end().0, &config));
            bytes = costs.fold(0, u64::saturating_add);
            // The root's own logs are never refused.
            if self.is_internal() {
                budget.change(0, bytes);
            } else {
                while !budget.take(bytes) {
                    self.make_room_for(bytes)?;
                }
            }
            let mut held = self.charge.held.lock();
            held.passing = held.passing.saturating_add(bytes);
        }
        Ok(Passing { log: self, bytes })
    }

    /// Rolls, or returns false, with nothing done, if there is no room for the segment that this
    /// seals (I2). The logs of groups and of transactions always roll: the root's own state is
    /// never refused.
    #[cold]
    pub(super) fn roll_within_budget(&self, state: &mut AppendState) -> Result<bool> {
        if self.host.budget.is_limited() && !self.is_internal() {
            let mut held = self.charge.held.lock();
            let cost = cost(state.active.end().0, &self.config());
            if !self.host.budget.take(cost) {
                return Ok(false);
            }
            held.sealed = held.sealed.saturating_add(cost);
        }
        // Charged before the roll and counted exactly after it, so that the charge is never too
        // low.
        let rolled = self.roll(state);
        self.recharge();
        self.charge.rolled.store(true, Ordering::Release);
        rolled.map(|()| true)
    }

    /// Makes room for a roll, with no lock of this log held (I5).
    #[cold]
    pub(super) fn make_room(&self) -> Result<()> {
        let active = Arc::clone(self.segments.read().active());
        self.make_room_for(cost(active.end().0, &self.config()))
    }

    fn make_room_for(&self, bytes: u64) -> Result<()> {
        if self.host.budget.make_room(bytes) {
            return Ok(());
        }
        Err(Error::NoSpace {
            path: self.dir.to_path_buf(),
        })
    }

    fn is_internal(&self) -> bool {
        let of = self.topic_partition();
        of.is_some_and(|of| is_internal_topic(&of.topic))
    }

    /// Deletes what exceeds `retention.bytes`, once after a roll. Records that are too old are left
    /// to upkeep, which may have to read them.
    pub(super) fn retain_after_roll(&self) {
        if self.managed && self.charge.rolled.swap(false, Ordering::AcqRel) {
            // Upkeep tries again, and reports the error.
            drop(self.apply_retention_by_size());
        }
    }

    fn forget_oldest(&self) -> Result<bool> {
        // A reader may still be waiting to see them decided.
        let decided = self.filter(ReadIsolation::ReadCommitted)?.end();
        let stable = self.high_watermark().min(decided);
        // Held before the look at the oldest segment, or two threads could delete it twice.
        let layout = self.lock_layout()?;
        let (oldest, new_start) = {
            let segments = self.segments.read();
            let Some(first) = segments.sealed().first() else {
                return Ok(false);
            };
            let Some(next) = segments.after(first.base_offset()) else {
                return Ok(false);
            };
            (first.base_offset(), next.base_offset())
        };
        if new_start > stable {
            return Ok(false);
        }
        self.raise_start(&layout, new_start.max(self.start_offset()))?;
        // By offset, not by number: an append may have sealed one meanwhile.
        let segments = self.segments.read();
        let first = segments.sealed().first();
        Ok(first.is_none_or(|first| first.base_offset() > oldest))
    }
}

impl Log {
    /// The time of the newest record in the oldest sealed segment.
    pub(crate) fn oldest_sealed(&self) -> Option<Timestamp> {
        let shared = &self.shared;
        let oldest: Arc<Segment> = shared.segments.read().sealed().first().cloned()?;
        let newest = oldest.newest_known().filter(|at| *at != Timestamp::NONE);
        Some(newest.unwrap_or_else(|| {
            let modified = oldest.modified(&shared.host.disk);
            modified.unwrap_or(Timestamp::NONE)
        }))
    }

    pub(crate) fn uncharge(&self) {
        self.shared.uncharge();
    }

    /// Deletes the oldest sealed segment unless it reaches above the last stable offset; returns
    /// whether it is gone. Waits for a thread that is already deleting segments of this log.
    pub(crate) fn forget_oldest(&self) -> Result<bool> {
        self.here()?.forget_oldest()
    }
}
