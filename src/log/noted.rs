//! What a log notes for subscribers: the feature `tracing`.
//!
//! Knows nothing about when it is passed on (`host/events.rs`).

use std::time::Duration;

use crate::error::Error;
use crate::host::{CompactionReport, Event, RetentionReport, SLOW_SYNC};
use crate::recovery::OpenEvent;
use crate::types::Offset;

use super::shared::{Log, Shared};

impl Shared {
    pub(super) fn note_opening(&self) {
        for event in &self.report.events {
            if let OpenEvent::TailSetAside {
                path,
                position,
                bytes,
                quarantine,
                ..
            } = event
            {
                self.host.events.note(|| Event::Quarantined {
                    path: path.clone(),
                    position: *position,
                    bytes: *bytes,
                    quarantine: quarantine.clone(),
                });
            }
        }
        if !self.managed {
            self.host.note_opening(&self.dir, &self.report);
        } else if !self.report.clean {
            self.host.note_recovery(&self.dir, &self.report);
        }
    }

    pub(super) fn note_roll(&self, base_offset: Offset) {
        self.host.events.note(|| Event::Rolled {
            dir: self.dir.to_path_buf(),
            base_offset,
        });
    }

    pub(super) fn note_sync(&self, batches: u64, took: Duration) {
        if took > SLOW_SYNC {
            self.host.events.note(|| Event::SlowSync {
                dir: self.dir.to_path_buf(),
                micros: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
                batches,
            });
        }
    }

    pub(super) fn note_retention(&self, report: &RetentionReport) {
        self.host.events.note(|| Event::Retained {
            dir: self.dir.to_path_buf(),
            segments: report.segments_deleted,
            bytes: report.bytes_deleted,
            start_offset: report.start_offset,
        });
    }

    pub(crate) fn note_compaction(&self, report: &CompactionReport) {
        self.host.events.note(|| Event::Compacted {
            dir: self.dir.to_path_buf(),
            read_bytes: report.read_bytes,
            written_bytes: report.written_bytes,
            records_dropped: report.records_dropped,
        });
    }

    pub(super) fn note_poison(&self, error: &Error) {
        self.host.events.note(|| Event::Poisoned {
            dir: self.dir.to_path_buf(),
            error: error.to_string(),
        });
    }
}

impl Log {
    /// Shows what a call has noted. A broker, which calls this under locks of its own, does that
    /// itself.
    pub(crate) fn show_events_of<T>(&self, done: T) -> T {
        if !self.shared.managed {
            self.shared.show();
        }
        done
    }
}

#[cfg(feature = "tracing")]
#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
