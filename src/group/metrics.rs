//! What the groups of a root have done, in figures.
//!
//! Knows nothing about single groups. A poll takes the lock once; appends never do.

use std::time::Duration;

use crate::sync::Mutex;
use crate::types::Histogram;

/// What the groups of a broker have done since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct GroupMetrics {
    /// Polls that returned.
    pub polls: u64,
    /// Records that polls returned.
    pub records: u64,
    /// The time between the end of a poll and the next poll of the same member, in microseconds; a
    /// member that exceeds its `max_poll_interval` is removed.
    pub poll_lag_micros: Histogram,
    /// Records that were gone when a member came to read them.
    pub records_forgotten_unread: u64,
    /// How often partitions were shared out again.
    pub rebalances: u64,
    /// Members that were removed because they did not poll in time.
    pub evictions: u64,
    /// Calls that were refused with [`Error::Fenced`].
    ///
    /// [`Error::Fenced`]: crate::Error::Fenced
    pub fenced: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<GroupMetrics>);

impl Tally {
    pub(crate) fn so_far(&self) -> GroupMetrics {
        self.0.lock().clone()
    }

    pub(super) fn polled(&self, lag: Option<Duration>, records: u64, unread: u64) {
        let mut all = self.0.lock();
        all.polls = all.polls.saturating_add(1);
        all.records = all.records.saturating_add(records);
        all.records_forgotten_unread = all.records_forgotten_unread.saturating_add(unread);
        if let Some(lag) = lag {
            all.poll_lag_micros.record_micros(lag);
        }
    }

    /// Adds what changed between two turnovers: generations, and evicted members.
    pub(super) fn moved(&self, before: (u64, u64), now: (u64, u64)) {
        let rebalances = now.0.saturating_sub(before.0);
        let evictions = now.1.saturating_sub(before.1);
        let mut all = self.0.lock();
        all.rebalances = all.rebalances.saturating_add(rebalances);
        all.evictions = all.evictions.saturating_add(evictions);
    }

    pub(super) fn fenced(&self) {
        let mut all = self.0.lock();
        all.fenced = all.fenced.saturating_add(1);
    }
}
