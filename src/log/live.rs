//! What a log publishes for followers in other processes, and when.
//!
//! Knows nothing about how they are woken (`host/bell.rs`).

use std::sync::Arc;

use crate::format::{LiveFigures, MarkKey};
use crate::host::{Audible, Published};
use crate::sync::Ordering;

use super::shared::Shared;

impl Audible for Shared {
    fn me(&self) -> Option<Arc<dyn Audible>> {
        let log: Arc<dyn Audible> = self.me.upgrade()?;
        Some(log)
    }

    fn mark_key(&self) -> MarkKey {
        Shared::mark_key(self)
    }

    fn published(&self) -> &Published {
        &self.tally.published
    }

    fn figures(&self) -> LiveFigures {
        let truncations = self.truncations.load(Ordering::Acquire);
        let low = |number: u64| u32::try_from(number & u64::from(u32::MAX)).unwrap_or(0);
        LiveFigures {
            start: self.start_offset(),
            high_watermark: self.high_watermark(),
            last_stable: self.last_stable_known(),
            end: self.end_offset(),
            generation: self.tally.published.generation(),
            epoch: low(truncations.div_ceil(2)),
        }
    }

    fn is_between_appends(&self) -> bool {
        self.append.try_lock().is_some()
    }
}

impl Shared {
    pub(super) fn join_bell(&self) {
        if let Some(log) = Audible::me(self) {
            self.host.bell.add(&log);
        }
    }

    /// Announces that segments are removed or replaced: followers then read the whole directory.
    pub(super) fn begin_exchange(&self) {
        self.turn_generation();
    }

    pub(super) fn end_exchange(&self) {
        self.turn_generation();
        self.tell_followers();
    }

    fn turn_generation(&self) {
        self.tally.published.turn_generation();
        self.host.bell.publish(self);
    }

    #[inline]
    pub(super) fn tell_followers(&self) {
        if self.host.bell.needs_appends() {
            self.host.bell.tell(&self.host, self);
        }
    }
}

#[cfg(all(test, ottla_repository, target_os = "linux", not(ottla_shuttle)))]
mod tests;
