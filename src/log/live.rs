//! What followers in other processes are told of a log, and when.
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
    /// Has the bell ring for the log from now on.
    pub(super) fn join_bell(&self) {
        if let Some(log) = Audible::me(self) {
            self.host.bell.add(&log);
        }
    }

    /// Has followers in other processes look at the whole directory while segments come and go.
    pub(super) fn begin_exchange(&self) {
        self.turn_generation();
    }

    /// Segments have come and gone.
    pub(super) fn end_exchange(&self) {
        self.turn_generation();
        self.tell_followers();
    }

    fn turn_generation(&self) {
        self.tally.published.turn_generation();
        self.host.bell.publish(self);
    }

    /// Has those woken who wait in other processes.
    #[inline]
    pub(super) fn tell_followers(&self) {
        if self.host.bell.is_to_be_told() {
            self.host.bell.tell(&self.host, self);
        }
    }
}

#[cfg(all(test, target_os = "linux", not(ottla_shuttle)))]
mod tests {
    use super::super::open_alone_on;
    use super::*;
    use crate::clock::Clock;
    use crate::disk::Disk;
    use crate::host::Bell;
    use crate::recovery::OpenMode;
    use crate::types::LogConfig;

    #[test]
    fn a_log_whose_first_appends_come_at_once_gets_one_slot() {
        let scratch = tempfile::tempdir().unwrap();
        let (disk, home) = (Disk::os(), scratch.path().join("log"));
        // Nobody publishes under manual upkeep, so the log has no slot yet.
        let config = LogConfig::default();
        let log =
            open_alone_on(&disk, &Clock::System, &home, config, OpenMode::Write, true).unwrap();
        let bell = Bell::default();
        bell.open(&disk, &home, 4);
        // Both threads have found that it has no slot.
        let shared = Audible::me(&*log.shared).unwrap();
        bell.add(&shared);
        bell.add(&shared);
        assert_eq!(bell.slot_count(), Some(1));
        assert_eq!(shared.published().slot(), Some(0));
        bell.close(&disk);
    }
}
