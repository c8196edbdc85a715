//! What happens in a root, as spans and events of the `tracing` crate. Without the feature
//! `tracing` nothing of it is compiled.
//!
//! Knows nothing about who listens.
//!
//! 1. A subscriber is user code, which may call us back, so it never runs while a lock or a turn is
//!    held: an event is noted where it happens, and passed on without locks by the call that caused
//!    it, by the flusher, or by the next call.
//! 2. Appends note and pass on nothing, unless they begin a segment or fail.
//! 3. The logs of a broker are opened and closed without an event, unless something was recovered:
//!    the root has one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::Result;
use crate::types::Offset;

use crate::recovery::OpenReport;

use super::Host;

#[derive(Debug)]
#[cfg_attr(
    not(feature = "tracing"),
    expect(dead_code, reason = "events are passed on by the feature alone")
)]
pub(crate) enum Event {
    /// A log or a root was opened.
    Opened { dir: PathBuf, clean: bool },
    /// Opening had to read something again, or to recover it.
    Recovered {
        dir: PathBuf,
        scanned_bytes: u64,
        quarantined_bytes: u64,
        remarks: usize,
    },
    /// Bytes were quarantined.
    Quarantined {
        path: PathBuf,
        position: u64,
        bytes: u64,
        quarantine: PathBuf,
    },
    /// A segment was begun after another one.
    Rolled { dir: PathBuf, base_offset: Offset },
    /// A sync took longer than [`SLOW_SYNC`].
    SlowSync {
        dir: PathBuf,
        micros: u64,
        batches: u64,
    },
    /// Retention deleted segments.
    Retained {
        dir: PathBuf,
        segments: u64,
        bytes: u64,
        start_offset: Offset,
    },
    /// A compaction ended.
    Compacted {
        dir: PathBuf,
        read_bytes: u64,
        written_bytes: u64,
        records_dropped: u64,
    },
    /// Partitions were assigned again.
    Rebalanced {
        group: String,
        generation: u64,
        evicted: u64,
    },
    /// A member was refused.
    Fenced {
        group: String,
        member: String,
        reason: String,
    },
    /// A log takes no appends any more.
    Poisoned { dir: PathBuf, error: String },
    /// A log or a root was closed.
    Closed { dir: PathBuf, went_well: bool },
}

pub(crate) const SLOW_SYNC: Duration = Duration::from_millis(500);

pub(crate) use with_or_without::{Events, Span};

#[cfg(feature = "tracing")]
mod with_or_without {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::Path;

    use tracing::level_filters::LevelFilter;
    use tracing::{debug, error, info, info_span, warn};

    use crate::sync::{AtomicBool, Mutex, Ordering};

    use super::Event;

    /// No lock may be held where it begins and ends (I1).
    #[derive(Debug)]
    pub(crate) struct Span(#[expect(dead_code, reason = "its end is its drop")] Entered);

    type Entered = tracing::span::EnteredSpan;

    impl Span {
        pub(crate) fn open(dir: &Path) -> Self {
            Self(info_span!(target: "ottla", "open", dir = %dir.display()).entered())
        }

        pub(crate) fn retention(dir: &Path) -> Self {
            Self(info_span!(target: "ottla", "retention", dir = %dir.display()).entered())
        }

        pub(crate) fn compaction(dir: &Path) -> Self {
            Self(info_span!(target: "ottla", "compaction", dir = %dir.display()).entered())
        }

        pub(crate) fn close(dir: &Path) -> Self {
            Self(info_span!(target: "ottla", "close", dir = %dir.display()).entered())
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct Events {
        noted: Mutex<Vec<Event>>,
        any: AtomicBool,
    }

    impl Events {
        /// May be called under any lock.
        pub(crate) fn note(&self, event: impl FnOnce() -> Event) {
            // No subscriber listens, so the event is not even built.
            if LevelFilter::current() == LevelFilter::OFF {
                return;
            }
            let mut noted = self.noted.lock();
            noted.push(event());
            // With the lock held: a `pass_on` that clears it afterwards has taken this event too.
            self.any.store(true, Ordering::Relaxed);
        }

        /// No lock may be held (I1).
        pub(crate) fn pass_on(&self) {
            if !self.any.load(Ordering::Relaxed) {
                return;
            }
            // Taken out first: a subscriber may call us back, which notes and passes on events
            // again.
            let noted = {
                let mut noted = self.noted.lock();
                self.any.store(false, Ordering::Relaxed);
                std::mem::take(&mut *noted)
            };
            for event in noted {
                // A subscriber that panics must not end the flusher, nor the process in a drop.
                drop(catch_unwind(AssertUnwindSafe(|| pass_on(event))));
            }
        }
    }

    fn pass_on(event: Event) {
        match event {
            Event::Opened { dir, clean } => {
                info!(target: "ottla", dir = %dir.display(), clean, "open");
            }
            Event::Recovered {
                dir,
                scanned_bytes,
                quarantined_bytes,
                remarks,
            } => {
                let dir = dir.display();
                warn!(target: "ottla", %dir, scanned_bytes, quarantined_bytes, remarks, "recovery");
            }
            Event::Quarantined {
                path,
                position,
                bytes,
                quarantine,
            } => {
                let (path, quarantine) = (path.display(), quarantine.display());
                warn!(target: "ottla", %path, position, bytes, %quarantine, "quarantine");
            }
            Event::Rolled { dir, base_offset } => {
                debug!(target: "ottla", dir = %dir.display(), base_offset, "roll");
            }
            Event::SlowSync {
                dir,
                micros,
                batches,
            } => {
                warn!(target: "ottla", dir = %dir.display(), micros, batches, "slow sync");
            }
            Event::Poisoned { dir, error } => {
                error!(target: "ottla", dir = %dir.display(), error, "poison");
            }
            Event::Closed { dir, went_well } => {
                info!(target: "ottla", dir = %dir.display(), went_well, "close");
            }
            of_work => pass_on_work(of_work),
        }
    }

    fn pass_on_work(event: Event) {
        match event {
            Event::Retained {
                dir,
                segments,
                bytes,
                start_offset,
            } => {
                let dir = dir.display();
                info!(target: "ottla", %dir, segments, bytes, start_offset, "retention");
            }
            Event::Compacted {
                dir,
                read_bytes,
                written_bytes,
                records_dropped,
            } => {
                let dir = dir.display();
                info!(
                    target: "ottla",
                    %dir, read_bytes, written_bytes, records_dropped,
                    "compaction"
                );
            }
            Event::Rebalanced {
                group,
                generation,
                evicted,
            } => {
                info!(target: "ottla", group, generation, evicted, "rebalance");
            }
            Event::Fenced {
                group,
                member,
                reason,
            } => {
                warn!(target: "ottla", group, member, reason, "fence");
            }
            _ => debug_assert!(false, "an event of the other function"),
        }
    }
}

#[cfg(not(feature = "tracing"))]
mod with_or_without {
    use std::path::Path;

    use super::Event;

    #[derive(Debug)]
    pub(crate) struct Span;

    impl Span {
        #[inline]
        pub(crate) fn open(_: &Path) -> Self {
            Self
        }

        #[inline]
        pub(crate) fn retention(_: &Path) -> Self {
            Self
        }

        #[inline]
        pub(crate) fn compaction(_: &Path) -> Self {
            Self
        }

        #[inline]
        pub(crate) fn close(_: &Path) -> Self {
            Self
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct Events {}

    #[expect(clippy::unused_self, reason = "the other one has something in it")]
    impl Events {
        #[inline]
        pub(crate) fn note(&self, _: impl FnOnce() -> Event) {}

        #[inline]
        pub(crate) fn pass_on(&self) {}
    }
}

impl Host {
    pub(crate) fn note_opening(&self, dir: &Path, report: &OpenReport) {
        if !report.clean {
            self.note_recovery(dir, report);
        }
        self.events.note(|| Event::Opened {
            dir: dir.to_path_buf(),
            clean: report.clean,
        });
    }

    pub(crate) fn note_recovery(&self, dir: &Path, report: &OpenReport) {
        self.events.note(|| Event::Recovered {
            dir: dir.to_path_buf(),
            scanned_bytes: report.scanned_bytes,
            quarantined_bytes: report.quarantined_bytes,
            remarks: report.events.len(),
        });
    }

    pub(crate) fn note_close(&self, dir: &Path, closed: &Result<()>) {
        self.events.note(|| Event::Closed {
            dir: dir.to_path_buf(),
            went_well: closed.is_ok(),
        });
    }
}

/// A subscriber that records what it hears, for tests.
#[cfg(feature = "tracing")]
#[cfg(test)]
pub(crate) mod listener {
    use std::fmt::{Debug, Write as _};
    use std::sync::Arc;

    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    use crate::sync::Mutex;

    /// What was heard, one line each: `open dir=/log clean=true`, and `[open dir=/log]` for a span.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Listener(Arc<Mutex<Vec<String>>>);

    impl Listener {
        /// Runs something while this listens, and returns what was heard.
        pub(crate) fn hear(run: impl FnOnce()) -> Vec<String> {
            let listener = Self::default();
            tracing::subscriber::with_default(listener.clone(), run);
            std::mem::take(&mut *listener.0.lock())
        }
    }

    impl Subscriber for Listener {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target() == "ottla"
        }

        fn new_span(&self, span: &Attributes<'_>) -> Id {
            let mut fields = Fields::default();
            span.record(&mut fields);
            let line = format!("[{}{}]", span.metadata().name(), fields.others);
            self.0.lock().push(line);
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, event: &Event<'_>) {
            let mut fields = Fields::default();
            event.record(&mut fields);
            let line = format!("{}{}", fields.message, fields.others);
            self.0.lock().push(line);
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    #[derive(Default)]
    struct Fields {
        message: String,
        others: String,
    }

    impl Visit for Fields {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            if field.name() == "message" {
                self.message = format!("{value:?}");
            } else {
                write!(self.others, " {}={value:?}", field.name()).unwrap();
            }
        }
    }
}
