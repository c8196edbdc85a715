//! How many bytes the logs of one root may take up, and what each of them is charged for.
//!
//! Knows nothing about topics: whose records may be forgotten is for the [`Evict`] of the root to
//! say. Without a limit nothing is counted.
//!
//! 1. Sealed segments are charged, active ones are not: so the limit is kept but for one segment a
//!    partition, at the price of a few instructions a roll and of none an append.
//! 2. A roll takes its charge before it happens, with the append lock held. What is charged is
//!    never below what the sealed segments hold.
//! 3. Room is made with no lock of the log held that rolls: it takes those of others.

use std::sync::{Arc, Weak};

use crate::error::{Error, Result};
use crate::segment::Segment;
use crate::sync::{AtomicBool, AtomicU64, Mutex, OnceLock, Ordering};
use crate::types::{ReadIsolation, Timestamp};

use super::append::AppendState;
use super::{Log, Shared};

/// What the small files of a segment may hold beside an entry for every interval.
const SMALL_FILES_BYTES: u64 = 512;

/// The bytes of an entry in both indexes.
const ENTRY_BYTES: u64 = 20;

/// Makes room.
pub(crate) trait Evict: Send + Sync {
    /// Forgets the oldest sealed segment of all that may be forgotten. False when there is none.
    fn forget_oldest(&self) -> bool;
}

/// The bytes of one root.
#[derive(Default)]
pub(crate) struct Budget {
    limit: OnceLock<(u64, Weak<dyn Evict>)>,
    /// Of the sealed segments of open logs.
    charged: AtomicU64,
    /// Of everything else that is not an active segment, when it was last looked at.
    beside: AtomicU64,
    making_room: Mutex<()>,
}

impl std::fmt::Debug for Budget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Budget").finish_non_exhaustive()
    }
}

/// What one log has to do with the budget.
#[derive(Debug, Default)]
pub(super) struct Charge {
    bytes: Mutex<u64>,
    /// A segment was rolled, and retention has not looked at the log since.
    rolled: AtomicBool,
}

impl Budget {
    /// Sets the limit, once. A sixteenth of it is kept free, for what is not charged: the indexes
    /// of active segments, small files, and segments that are being removed while others roll.
    pub(crate) fn limit_to(&self, bytes: u64, evict: Weak<dyn Evict>) {
        let charged = bytes.saturating_sub(bytes / 16);
        self.limit.get_or_init(|| (charged, evict));
    }

    fn is_limited(&self) -> bool {
        self.limit.get().is_some()
    }

    /// Says what the files hold that no open log is charged for.
    pub(crate) fn set_beside(&self, bytes: u64) {
        self.beside.store(bytes, Ordering::Release);
    }

    /// How many bytes there still are.
    fn room(&self) -> u64 {
        let limit = self.limit.get().map_or(u64::MAX, |(limit, _)| *limit);
        let used = self.charged.load(Ordering::Acquire);
        limit.saturating_sub(used.saturating_add(self.beside.load(Ordering::Acquire)))
    }

    fn is_over(&self) -> bool {
        let Some((limit, _)) = self.limit.get() else {
            return false;
        };
        let used = self.charged.load(Ordering::Acquire);
        used.saturating_add(self.beside.load(Ordering::Acquire)) > *limit
    }

    /// Charges so many bytes if they are there.
    fn take(&self, bytes: u64) -> bool {
        let before = self.charged.fetch_add(bytes, Ordering::AcqRel);
        let used = before.saturating_add(self.beside.load(Ordering::Acquire));
        let limit = self.limit.get().map_or(u64::MAX, |(limit, _)| *limit);
        let fits = used.saturating_add(bytes) <= limit;
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

    /// Forgets until there is room for so many bytes; false when nothing more can be forgotten.
    fn make_room(&self, bytes: u64) -> bool {
        let Some((_, evict)) = self.limit.get() else {
            return true;
        };
        // One at a time, or each would forget a segment for the same bytes.
        let _one = self.making_room.lock();
        while self.room() < bytes {
            if !evict.upgrade().is_some_and(|evict| evict.forget_oldest()) {
                return false;
            }
        }
        true
    }

    /// Forgets what is over the limit, where it can: after the limit was lowered, or something else
    /// has grown.
    pub(crate) fn keep(&self) {
        let Some((_, evict)) = self.limit.get() else {
            return;
        };
        let _one = self.making_room.lock();
        while self.is_over() && evict.upgrade().is_some_and(|evict| evict.forget_oldest()) {}
    }
}

impl Shared {
    /// What a sealed segment of so many bytes is charged, its small files included.
    fn cost(&self, bytes: u64) -> u64 {
        let interval = self.hot.index_interval_bytes.load(Ordering::Relaxed);
        let most = self.hot.segment_index_bytes.load(Ordering::Relaxed);
        let entries = bytes.checked_div(interval).unwrap_or(bytes);
        let indexes = entries.saturating_mul(ENTRY_BYTES);
        bytes
            .saturating_add(indexes.min(most.saturating_mul(2)))
            .saturating_add(bytes / 1024)
            .saturating_add(SMALL_FILES_BYTES)
    }

    /// Counts again what the sealed segments of this log are charged, after any change of them.
    pub(super) fn recharge(&self) {
        if !self.host.budget.is_limited() {
            return;
        }
        let mut charged = self.charge.bytes.lock();
        let now = if self.life.can_read().is_ok() {
            let segments = self.segments.read();
            let costs = segments.sealed().iter().map(|s| self.cost(s.end().0));
            costs.fold(0, u64::saturating_add)
        } else {
            0
        };
        self.host.budget.change(*charged, now);
        *charged = now;
    }

    /// Rolls if the budget has room for the segment that is sealed by it (I2); false, and nothing
    /// done, when room must be made first. The logs of groups and of transactions always roll:
    /// nothing of the root's own state is refused.
    #[cold]
    pub(super) fn roll_within_budget(&self, state: &mut AppendState) -> Result<bool> {
        if self.host.budget.is_limited() && !self.is_internal() {
            let mut charged = self.charge.bytes.lock();
            let cost = self.cost(state.active.end().0);
            if !self.host.budget.take(cost) {
                return Ok(false);
            }
            *charged = charged.saturating_add(cost);
        }
        let rolled = self.roll(state);
        self.recharge();
        self.charge.rolled.store(true, Ordering::Release);
        rolled.map(|()| true)
    }

    /// Makes room for a roll of this log, with none of its locks held (I3).
    ///
    /// # Errors
    ///
    /// [`Error::NoSpace`].
    #[cold]
    pub(super) fn make_room(&self) -> Result<()> {
        let active = Arc::clone(self.segments.read().active());
        if self.host.budget.make_room(self.cost(active.end().0)) {
            return Ok(());
        }
        Err(Error::NoSpace {
            path: active.log_path(),
        })
    }

    fn is_internal(&self) -> bool {
        let name = self.dir.file_name().and_then(|name| name.to_str());
        self.managed && name.is_some_and(|name| name.starts_with("__"))
    }

    /// Forgets what is too much by `retention.bytes`, once after a roll. For the flusher: what is
    /// too old is for upkeep, which may have to read it.
    pub(super) fn retain_after_roll(&self) {
        if self.managed && self.charge.rolled.swap(false, Ordering::AcqRel) {
            // What cannot be forgotten now is tried again by upkeep, which reports the error.
            drop(self.apply_retention_by_size());
        }
    }

    fn forget_oldest(&self) -> Result<bool> {
        // Nothing that a reader might still be held back from is forgotten.
        let decided = self.filter(ReadIsolation::ReadCommitted)?.end();
        let stable = self.high_watermark().min(decided);
        let layout = self.lock_layout()?;
        let (before, new_start) = {
            let segments = self.segments.read();
            let Some(first) = segments.sealed().first() else {
                return Ok(false);
            };
            let Some(next) = segments.after(first.base_offset()) else {
                return Ok(false);
            };
            (segments.sealed().len(), next.base_offset())
        };
        if new_start > stable {
            return Ok(false);
        }
        self.raise_start(&layout, new_start.max(self.start_offset()))?;
        Ok(self.segments.read().sealed().len() < before)
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

    /// Counts again what the log is charged: it may have been opened before the limit was set.
    pub(crate) fn recharge(&self) {
        self.shared.recharge();
    }

    /// Forgets the oldest sealed segment, unless it reaches above the last stable offset; whether
    /// it is gone.
    pub(crate) fn forget_oldest(&self) -> Result<bool> {
        self.here()?.forget_oldest()
    }
}
