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
    /// Shows what a call has noted and counted. For a log of a broker the broker does that, because
    /// it calls this under locks of its own.
    pub(crate) fn told<T>(&self, done: T) -> T {
        if !self.shared.managed {
            self.shared.show();
        }
        done
    }
}

#[cfg(feature = "tracing")]
#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::clock::Clock;
    use crate::disk::Access;
    use crate::disk::sim::Sim;
    use crate::format::file_name;
    use crate::host::subscriber::Listener;
    use crate::log::open_alone_on;
    use crate::recovery::OpenMode;
    use crate::types::LogConfig;

    fn open(sim: &Sim) -> Log {
        let (dir, config) = (Path::new("/log"), LogConfig::default());
        let (clock, mode) = (Clock::default(), OpenMode::Write);
        open_alone_on(&sim.disk(), &clock, dir, config, mode, true).unwrap()
    }

    #[test]
    fn a_recovery_is_traced_with_what_was_set_aside() {
        let sim = Sim::new();
        let log = open(&sim);
        log.append("a record").unwrap();
        let end = log.segments()[0].size_bytes;
        log.abandon();
        let path = Path::new("/log").join(file_name::log(0));
        let file = sim.disk().open(&path, Access::Write).unwrap();
        file.write_at(end, &[7; 100]).unwrap();
        drop(file);
        let heard = Listener::hear(|| drop(open(&sim)));
        let quarantine = format!("quarantine path={} position={end} bytes=", path.display());
        let all = [
            "[open dir=/log]",
            quarantine.as_str(),
            "recovery dir=/log scanned_bytes=",
            "open dir=/log clean=false",
            "close dir=/log went_well=true",
        ];
        assert_eq!(heard.len(), all.len(), "{heard:#?}");
        for (line, expected) in heard.iter().zip(all) {
            assert!(line.starts_with(expected), "{line}, not {expected}");
        }
    }

    #[test]
    fn a_sync_that_takes_long_is_traced() {
        let log = open(&Sim::new());
        let heard = Listener::hear(|| {
            log.shared.note_sync(3, SLOW_SYNC);
            log.shared.note_sync(3, SLOW_SYNC * 2);
            log.flush().unwrap();
        });
        assert_eq!(heard, ["slow sync dir=/log micros=1000000 batches=3"]);
    }

    #[test]
    fn a_closing_log_is_traced_within_its_span() {
        let log = open(&Sim::new());
        let heard = Listener::hear(|| log.close().unwrap());
        assert_eq!(heard, ["[close dir=/log]", "close dir=/log went_well=true"]);
    }
}
