//! How many bytes the logs of one root may use, and what each of them is charged for.
//!
//! Knows nothing about topics: the [`Evict`] of the root decides whose records may be deleted.
//! Without a limit nothing is counted.
//!
//! At every moment the files take at most the limit, plus `segment.bytes` for each partition,
//! because:
//!
//! 1. An active segment is not charged. With a limit it rolls early enough ([`full_at`]) that its
//!    `.log` (including reserved space), its indexes, its digest and the other small files of a
//!    partition fit into `segment.bytes`, and a roll releases what was reserved. If `segment.bytes`
//!    is too small for that, the log is charged for the rest.
//! 2. A roll is charged before it happens, with the append lock held: the most that the sealed
//!    segment and its small files can take ([`cost`]).
//! 3. What is removed stays charged until its names are durably gone, because a power cut may bring
//!    it back. What compaction writes is charged from before its first byte until the sources are
//!    gone.
//! 4. Everything else is charged by its length when last measured; the files of the root itself
//!    twice, because each may be replaced.
//! 5. Room is made while no lock of the log that rolls is held, because that takes the locks of
//!    others.
//!
//! These may exceed the limit: a batch that alone is larger than a segment; the logs of the root
//! itself, which always roll (they are charged, and others make room); the batch that a truncation
//! puts back; and what an opening quarantines before the limit is checked.

use std::sync::Weak;

use crate::format::index::{Entry as _, OffsetEntry, TimeEntry};
use crate::format::{Digest, HEADER_LEN};
use crate::sync::{AtomicU64, Mutex, OnceLock, Ordering};
use crate::types::{LogConfig, to_u64};

/// The metadata, epochs and marks of a partition, and its lines in the files that a close writes,
/// each of which may briefly exist twice.
const PARTITION_BYTES: u64 = 2048;

/// The recovery scan builds an index with this interval, whatever the setting.
const SCAN_INTERVAL_BYTES: u64 = 4096;

/// The most that the indexes and the digest of a segment of `bytes` bytes take.
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
pub(crate) fn cost(bytes: u64, config: &LogConfig) -> u64 {
    bytes.saturating_add(small_files(bytes, config))
}

/// What a partition has beside its sealed segments and the active `.log`.
fn beside_active(config: &LogConfig) -> u64 {
    small_files(config.segment_bytes, config).saturating_add(PARTITION_BYTES)
}

/// The size at which an active segment rolls in a root with a limit (I1).
pub(crate) fn full_at(config: &LogConfig) -> u64 {
    let all = config.segment_bytes;
    all.saturating_sub(beside_active(config)).max(all / 2)
}

/// The charge for an active segment that does not fit into `segment.bytes` (I1).
pub(crate) fn overhang(config: &LogConfig) -> u64 {
    let spared = config.segment_bytes.saturating_sub(full_at(config));
    beside_active(config).saturating_sub(spared)
}

pub(crate) trait Evict: Send + Sync {
    /// Deletes the oldest of all sealed segments that may be deleted. False if none may; by then,
    /// what other threads were deleting is gone.
    fn forget_oldest(&self) -> bool;
}

#[derive(Default)]
pub(crate) struct Budget {
    limit: OnceLock<u64>,
    evict: OnceLock<Weak<dyn Evict>>,
    charged: AtomicU64,
    /// By everything else that is charged (I4).
    beside: AtomicU64,
    making_room: Mutex<()>,
}

impl std::fmt::Debug for Budget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Budget").finish_non_exhaustive()
    }
}

impl Budget {
    /// Called once, before a log is opened.
    pub(crate) fn limit_to(&self, bytes: u64) {
        self.limit.get_or_init(|| bytes);
    }

    pub(crate) fn evict_by(&self, evict: Weak<dyn Evict>) {
        self.evict.get_or_init(|| evict);
    }

    pub(crate) fn is_limited(&self) -> bool {
        self.limit.get().is_some()
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit.get().copied().unwrap_or(u64::MAX)
    }

    pub(crate) fn set_beside(&self, bytes: u64) {
        self.beside.store(bytes, Ordering::Release);
    }

    fn used(&self) -> u64 {
        let charged = self.charged.load(Ordering::Acquire);
        charged.saturating_add(self.beside.load(Ordering::Acquire))
    }

    pub(crate) fn take(&self, bytes: u64) -> bool {
        // Charged first, and released again if it is too much: two threads that only compared could
        // find the same room.
        let before = self.charged.fetch_add(bytes, Ordering::AcqRel);
        let used = before.saturating_add(self.beside.load(Ordering::Acquire));
        let fits = used.saturating_add(bytes) <= self.limit();
        if !fits {
            self.charged.fetch_sub(bytes, Ordering::AcqRel);
        }
        fits
    }

    pub(crate) fn change(&self, before: u64, now: u64) {
        if now >= before {
            self.charged.fetch_add(now - before, Ordering::AcqRel);
        } else {
            self.charged.fetch_sub(before - now, Ordering::AcqRel);
        }
    }

    /// Deletes segments until there is room; false if nothing more can be deleted.
    pub(crate) fn make_room(&self, bytes: u64) -> bool {
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

    /// Deletes what exceeds the limit, after it was lowered or something else has grown.
    pub(crate) fn keep(&self) {
        let _one = self.making_room.lock();
        while self.used() > self.limit() && self.forget_oldest() {}
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
