//! How many bytes the logs of one root may use, and what each of them is charged for.
//!
//! Knows nothing about topics: the [`Evict`] of the root decides whose records may be deleted.
//! Without a limit nothing is counted.
//!
//! At every moment the files take at most the limit, plus `segment.bytes` for each partition. That
//! is derived, not left to a margin:
//!
//! 1. An active segment is not charged. With a limit it rolls early enough ([`full_at`]) that its
//!    `.log` (including reserved space), its indexes, its digest and the other small files of a
//!    partition fit into `segment.bytes` together, and a roll releases what was reserved. If
//!    `segment.bytes` is too small for that, the log is charged for the rest. So a roll costs a few
//!    instructions more, and an append none.
//! 2. A roll takes its charge before it happens, with the append lock held: the most that the
//!    sealed segment and its small files can take ([`cost`]), before they are created.
//! 3. What is removed stays charged until its names are durably gone: a power cut brings back
//!    nothing whose room is in use again. What compaction writes is charged before its first byte,
//!    until the sources are gone.
//! 4. Everything else is charged by its length when it was last measured; the files of the root
//!    itself twice, because each may be replaced by another one.
//! 5. Room is made while no lock of the log that rolls is held, because that takes the locks of
//!    others.
//!
//! What may exceed the limit: a batch that alone is larger than a segment; the logs of the root
//! itself, which always roll (they are charged, and others make room); the batch that a truncation
//! puts back; and what an opening quarantines before the limit is checked.

use std::sync::{Arc, Weak};

use crate::error::{Error, Result};
use crate::format::index::{Entry as _, OffsetEntry, TimeEntry};
use crate::format::{Digest, HEADER_LEN};
use crate::segment::Segment;
use crate::sync::{AtomicBool, AtomicU64, Mutex, OnceLock, Ordering};
use crate::types::{Offset, ReadIsolation, Timestamp, to_u64};

use super::append::AppendState;
use super::{Log, LogConfig, Shared};

/// What a partition has beside its segments: its metadata and epochs, its marks, and its lines in
/// the files that a close writes, each of which may briefly exist twice.
const PARTITION_BYTES: u64 = 2048;

/// The recovery scan builds an index with this interval, whatever the setting.
const SCAN_INTERVAL_BYTES: u64 = 4096;

/// The most that the indexes and the digest of a segment of `bytes` bytes can take.
fn small_files(bytes: u64, config: &LogConfig) -> u64 {
    let batch = to_u64(HEADER_LEN);
    let interval = config
        .index_interval_bytes
        .clamp(batch, SCAN_INTERVAL_BYTES);
    // One at the beginning, and in the time index one at the end.
    let entries = bytes
        .checked_div(interval)
        .unwrap_or(bytes)
        .saturating_add(2);
    let file = |entry: usize| {
        let bytes = entries.saturating_mul(to_u64(entry));
        bytes.min(config.segment_index_bytes.max(to_u64(entry)))
    };
    let indexes = file(OffsetEntry::LEN).saturating_add(file(TimeEntry::LEN));
    indexes.saturating_add(Digest::len_at_most(bytes))
}

/// The charge for a sealed segment of `bytes` bytes (I2).
fn cost(bytes: u64, config: &LogConfig) -> u64 {
    bytes.saturating_add(small_files(bytes, config))
}

/// What the files of a partition take beside its sealed segments and the `.log` of the active one.
fn beside_active(config: &LogConfig) -> u64 {
    small_files(config.segment_bytes, config).saturating_add(PARTITION_BYTES)
}

/// The largest size of an active segment in a root with a limit (I1).
pub(super) fn full_at(config: &LogConfig) -> u64 {
    let all = config.segment_bytes;
    all.saturating_sub(beside_active(config)).max(all / 2)
}

/// The charge for an active segment that does not fit into `segment.bytes` (I1).
fn overhang(config: &LogConfig) -> u64 {
    let spared = config.segment_bytes.saturating_sub(full_at(config));
    beside_active(config).saturating_sub(spared)
}

/// Makes room.
pub(crate) trait Evict: Send + Sync {
    /// Deletes the oldest sealed segment of all that may be deleted. False if none may; by then,
    /// what other threads were deleting is gone.
    fn forget_oldest(&self) -> bool;
}

/// The bytes used by one root.
#[derive(Default)]
pub(crate) struct Budget {
    limit: OnceLock<u64>,
    evict: OnceLock<Weak<dyn Evict>>,
    /// By open logs.
    charged: AtomicU64,
    /// By everything else that is not an active segment, when it was last measured.
    beside: AtomicU64,
    making_room: Mutex<()>,
}

impl std::fmt::Debug for Budget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Budget").finish_non_exhaustive()
    }
}

/// The budget of one log.
#[derive(Debug, Default)]
pub(super) struct Charge {
    held: Mutex<Held>,
    /// A segment was rolled, and retention has not examined the log since.
    rolled: AtomicBool,
}

/// What a log is charged for.
#[derive(Debug, Default)]
struct Held {
    /// For its sealed segments.
    sealed: u64,
    /// For segments that are being removed, and for those that compaction writes (I3).
    passing: u64,
}

/// A charge for segments that are added or removed; released when dropped.
pub(crate) struct Passing<'a> {
    log: &'a Shared,
    bytes: u64,
}

impl Passing<'_> {
    /// The files may still exist: they stay charged as long as the log is open.
    pub(super) fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Passing<'_> {
    fn drop(&mut self) {
        // A log that was halted half-way has both the new files and those to be removed.
        if self.bytes == 0 || self.log.life.poison().is_some() {
            return;
        }
        let mut held = self.log.charge.held.lock();
        held.passing = held.passing.saturating_sub(self.bytes);
        self.log.host.budget.change(self.bytes, 0);
    }
}

impl Budget {
    /// Sets the limit, once, before a log is opened.
    pub(crate) fn limit_to(&self, bytes: u64) {
        self.limit.get_or_init(|| bytes);
    }

    /// Sets what makes room.
    pub(crate) fn evict_by(&self, evict: Weak<dyn Evict>) {
        self.evict.get_or_init(|| evict);
    }

    pub(super) fn is_limited(&self) -> bool {
        self.limit.get().is_some()
    }

    fn limit(&self) -> u64 {
        self.limit.get().copied().unwrap_or(u64::MAX)
    }

    /// Sets how much the files take for which no open log is charged.
    pub(crate) fn set_beside(&self, bytes: u64) {
        self.beside.store(bytes, Ordering::Release);
    }

    fn used(&self) -> u64 {
        let charged = self.charged.load(Ordering::Acquire);
        charged.saturating_add(self.beside.load(Ordering::Acquire))
    }

    /// Charges this many bytes if there is room for them.
    fn take(&self, bytes: u64) -> bool {
        // Charged first, and released again if it is too much: two threads that only compared could
        // both find the same room.
        let before = self.charged.fetch_add(bytes, Ordering::AcqRel);
        let used = before.saturating_add(self.beside.load(Ordering::Acquire));
        let fits = used.saturating_add(bytes) <= self.limit();
        if !fits {
            self.charged.fetch_sub(bytes, Ordering::AcqRel);
        }
        fits
    }

    fn change(&self, before: u64, now: u64) {
        if now >= before {
            self.charged.fetch_add(now - before, Ordering::AcqRel);
        } else {
            self.charged.fetch_sub(before - now, Ordering::AcqRel);
        }
    }

    /// Deletes segments until there is room for this many bytes; false if nothing more can be
    /// deleted.
    fn make_room(&self, bytes: u64) -> bool {
        // One thread at a time, or each would delete a segment for the same bytes.
        let _one = self.making_room.lock();
        let fits = || self.used().saturating_add(bytes) <= self.limit();
        // Checked once more after the last: another thread may have deleted it.
        while !fits() {
            if !self.forget_oldest() {
                return fits();
            }
        }
        true
    }

    fn forget_oldest(&self) -> bool {
        let evict = self.evict.get().and_then(Weak::upgrade);
        evict.is_some_and(|evict| evict.forget_oldest())
    }

    /// Deletes what exceeds the limit, where it can: after the limit was lowered, or something else
    /// has grown.
    pub(crate) fn keep(&self) {
        let _one = self.making_room.lock();
        while self.used() > self.limit() && self.forget_oldest() {}
    }
}

impl Shared {
    /// Recalculates the charge for the sealed segments of this log, after any change of them. A
    /// closed log keeps its charge, as it keeps its files.
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

    /// Releases the charge, because the files of this log are gone.
    fn uncharge(&self) {
        let mut held = self.charge.held.lock();
        let all = held.sealed.saturating_add(held.passing);
        self.host.budget.change(all, 0);
        *held = Held::default();
    }

    /// Charges for the reserved space of a sealed segment that could not be released.
    pub(super) fn charge_reserved(&self, bytes: u64) {
        let mut held = self.charge.held.lock();
        held.passing = held.passing.saturating_add(bytes);
        self.host.budget.change(0, bytes);
    }

    /// Removes the segments below an offset from the log; they stay charged until their files are
    /// gone (I3). Called with the append lock held.
    pub(super) fn remove_below(&self, offset: Offset) -> (Vec<Arc<Segment>>, Passing<'_>) {
        let config = self.config();
        // Locked from here on, or a thread that recharges meanwhile would release them.
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

    /// Charges for what compaction writes in place of these segments (I3); no lock is held but that
    /// of compaction.
    ///
    /// # Errors
    ///
    /// [`Error::NoSpace`].
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

    /// Rolls if the budget has room for the segment that this seals (I2); false, with nothing done,
    /// if room must be made first. The logs of groups and of transactions always roll: the root's
    /// own state is never refused.
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
        // Charged before the roll, and counted exactly after it: in between the charge is too high
        // and never too low.
        let rolled = self.roll(state);
        self.recharge();
        self.charge.rolled.store(true, Ordering::Release);
        rolled.map(|()| true)
    }

    /// Makes room for a roll of this log, with none of its locks held (I5).
    ///
    /// # Errors
    ///
    /// [`Error::NoSpace`].
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
        let name = self.dir.file_name().and_then(|name| name.to_str());
        self.managed && name.is_some_and(|name| name.starts_with("__"))
    }

    /// Deletes what exceeds `retention.bytes`, once after a roll. For the flusher: records that are
    /// too old are left to upkeep, which may have to read them.
    pub(super) fn retain_after_roll(&self) {
        if self.managed && self.charge.rolled.swap(false, Ordering::AcqRel) {
            // What cannot be deleted now is tried again by upkeep, which reports the error.
            drop(self.apply_retention_by_size());
        }
    }

    fn forget_oldest(&self) -> Result<bool> {
        // Nothing is deleted that a reader may still be waiting to see decided.
        let decided = self.filter(ReadIsolation::ReadCommitted)?.end();
        let stable = self.high_watermark().min(decided);
        // Held from the look at the oldest segment on, so that two threads do not delete it twice.
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
    /// When the newest record of the oldest sealed segment was written; `None` without a sealed
    /// segment.
    pub(crate) fn oldest_sealed(&self) -> Option<Timestamp> {
        let shared = &self.shared;
        let oldest: Arc<Segment> = shared.segments.read().sealed().first().cloned()?;
        let newest = oldest.newest_known().filter(|at| *at != Timestamp::NONE);
        Some(newest.unwrap_or_else(|| {
            let modified = oldest.modified(&shared.host.disk);
            modified.unwrap_or(Timestamp::NONE)
        }))
    }

    /// Releases the charge of this closed log, because its files are gone.
    pub(crate) fn uncharge(&self) {
        self.shared.uncharge();
    }

    /// Deletes the oldest sealed segment, unless it reaches above the last stable offset; returns
    /// whether it is gone. Waits for a thread that is already deleting segments of this log.
    pub(crate) fn forget_oldest(&self) -> Result<bool> {
        self.here()?.forget_oldest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_active_segment_and_what_is_beside_it_fit_the_bytes_of_a_segment() {
        for segment in [1024, 4096, 64 << 10, 1 << 20, 1 << 30, 2_147_483_647] {
            for interval in [0, 100, 4096, 1 << 20] {
                let config = LogConfig::default().segment_bytes(segment);
                let config = config.index_interval_bytes(interval);
                let all = full_at(&config) + beside_active(&config);
                assert!(all <= segment + overhang(&config), "{segment} {interval}");
                if segment >= 64 << 10 && interval >= 4096 {
                    assert_eq!(overhang(&config), 0, "{segment} {interval}");
                    assert!(full_at(&config) >= segment - segment / 16);
                }
            }
        }
    }
}
