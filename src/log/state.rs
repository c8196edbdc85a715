//! The state of an open log, one struct per subject.
//!
//! Knows nothing about what is done with it.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::disk::Appender;
use crate::format::{DigestBuilder, IndexWritten, LiveFigures, Mark};
use crate::host::{Appends, Chore, Ear, Listening, Standing, full_at};
use crate::segment::{BatchCursor, IndexProgress, Segment, Transactions};
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Mutex, Ordering};
use crate::types::{Compression, Durability, Epoch, LogConfig, Offset, Timestamp, TimestampType};

use super::seen::Seen;
use super::signs::{Doubts, LogSigns};

/// What every append reads without a lock.
#[derive(Debug, Default)]
pub(super) struct HotSettings {
    pub(super) max_message_bytes: AtomicU64,
    /// 0 is `Os`, [`ALWAYS`] is `Always`, everything else an interval in milliseconds.
    pub(super) durability: AtomicU64,
    pub(super) segment_bytes: AtomicU64,
    pub(super) segment_age_ms: AtomicU64,
    pub(super) segment_index_bytes: AtomicU64,
    pub(super) index_interval_bytes: AtomicU64,
    pub(super) max_decompressed_batch_bytes: AtomicU64,
    /// 0 unless a rarer setting requires the slow path.
    pub(super) special: AtomicU64,
}

pub(super) const ALWAYS: u64 = u64::MAX;

impl HotSettings {
    pub(super) fn of(config: &LogConfig, limited: bool) -> Self {
        let settings = Self::default();
        settings.set(config, limited);
        settings
    }

    /// `limited`: the log belongs to a root with a limit on its size.
    pub(super) fn set(&self, config: &LogConfig, limited: bool) {
        let durability = match config.durability {
            Durability::Os => 0,
            Durability::Always => ALWAYS,
            Durability::Interval(every) => u64::try_from(every.as_millis())
                .unwrap_or(ALWAYS - 1)
                .clamp(1, ALWAYS - 1),
        };
        let special = config.compression_type != Compression::None
            || config.message_timestamp_type != TimestampType::CreateTime
            || has_rules(config);
        self.max_message_bytes
            .store(config.max_message_bytes, Ordering::Relaxed);
        // After what the high watermark depends on under `Always` (`Shared::reconfigure`).
        self.durability.store(durability, Ordering::Release);
        self.special.store(u64::from(special), Ordering::Relaxed);
        let segment_bytes = if limited {
            full_at(config)
        } else {
            config.segment_bytes
        };
        self.segment_bytes.store(segment_bytes, Ordering::Relaxed);
        self.segment_age_ms
            .store(config.roll_ms(), Ordering::Relaxed);
        self.segment_index_bytes
            .store(config.segment_index_bytes, Ordering::Relaxed);
        self.index_interval_bytes
            .store(config.index_interval_bytes, Ordering::Relaxed);
        let budget = config.max_decompressed_batch_bytes;
        self.max_decompressed_batch_bytes
            .store(budget, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn segment_bytes(&self) -> u64 {
        self.segment_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn max_decompressed_batch_bytes(&self) -> u64 {
        self.max_decompressed_batch_bytes.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn durability(&self) -> Durability {
        match self.durability.load(Ordering::Acquire) {
            0 => Durability::Os,
            ALWAYS => Durability::Always,
            millis => Durability::Interval(Duration::from_millis(millis)),
        }
    }
}

/// Whether the settings restrict which records may be appended.
pub(crate) fn has_rules(config: &LogConfig) -> bool {
    config.cleanup_policy.compacts()
        || config.timestamp_before_max.is_some()
        || config.timestamp_after_max.is_some()
}

/// The file that is created ahead, to become the next segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NextFile {
    Absent,
    Ready,
    /// It may exist: creating or using it was begun, or failed.
    Doubtful,
}

/// What the append lock guards: the end of the log.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "six facts that are true or not, and not each other's business"
)]
pub(crate) struct AppendState {
    pub(super) active: Arc<Segment>,
    /// Writes the active segment; opened by the first append.
    pub(crate) writer: Option<Appender>,
    pub(super) progress: IndexProgress,
    /// How much of the active segment's index files is written.
    pub(super) index_written: IndexWritten,
    /// One of its indexes has no room for another entry.
    pub(super) indexes_full: bool,
    pub(super) end: Offset,
    /// The largest timestamp of its first batch, once it was looked up.
    pub(super) first_timestamp: Option<Timestamp>,
    /// When the active segment was created, for records without timestamps.
    pub(super) made_at: Timestamp,
    pub(super) leader_epoch: Epoch,
    /// Appends wait: a truncation is not finished, or something must be on the disk before the
    /// first append.
    pub(super) held_back: bool,
    /// Segments that were rolled and not yet trimmed, indexed and synced; oldest first.
    pub(super) sealing: Vec<Sealing>,
    pub(super) names_unsynced: bool,
    pub(super) unsynced_bytes: u64,
    /// Something was appended since upkeep last checked.
    pub(super) in_use: bool,
    /// Something was appended since the pool last looked for a file to close.
    pub(super) used: bool,
    /// The log is known to have a file open for writing.
    pub(super) listed: bool,
    pub(super) next: NextFile,
    pub(super) appends: Appends,
}

impl AppendState {
    /// A log that ends in `active`, of which nothing else is known.
    pub(super) fn at_end(active: Arc<Segment>, end: Offset) -> Self {
        Self {
            active,
            writer: None,
            progress: IndexProgress::default(),
            index_written: IndexWritten::default(),
            indexes_full: false,
            end,
            first_timestamp: None,
            made_at: Timestamp::NONE,
            leader_epoch: 0,
            held_back: false,
            sealing: Vec::new(),
            names_unsynced: false,
            unsynced_bytes: 0,
            in_use: false,
            used: false,
            listed: false,
            next: NextFile::Absent,
            appends: Appends::default(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Sealing {
    pub(super) segment: Arc<Segment>,
    pub(super) writer: Appender,
}

#[derive(Debug)]
pub(crate) struct TurnState {
    /// A thread has the turn.
    pub(super) busy: bool,
    pub(crate) company: Company,
    /// The newest mark that was written.
    pub(crate) mark: Mark,
    /// The segment of the previous mark, which is in the other slot.
    pub(super) mark_before: Offset,
    /// The files are as a close leaves them. Taking the turn clears this; an append does not, but
    /// moves the end of the log.
    pub(super) rested: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Company {
    /// Threads that came to wait since the turn was last released.
    pub(crate) waiting: usize,
    /// Threads at the end of the last sync, with the one that synced.
    pub(crate) expected: usize,
    /// How long the next sync may wait for that many.
    pub(super) until: Option<Instant>,
}

impl TurnState {
    /// After a clean close the files are as the close left them, if the index files were read as
    /// the mark says.
    pub(super) fn opened(mark: Mark, clean: bool, index: IndexWritten) -> Self {
        Self {
            busy: false,
            company: Company::default(),
            mark,
            mark_before: 0,
            rested: clean && mark.closed && index == mark.index,
        }
    }

    pub(super) fn is_free(&self) -> bool {
        !self.busy
    }
}

impl Company {
    pub(super) fn is_complete(&self) -> bool {
        self.waiting.saturating_add(1) >= self.expected
    }
}

/// What the log is charged for in its root's budget (`budget.rs`), in bytes.
#[derive(Debug, Default)]
pub(super) struct Charge {
    pub(super) held: Mutex<Held>,
    /// A segment was rolled since retention examined the log.
    pub(super) rolled: AtomicBool,
}

#[derive(Debug, Default)]
pub(super) struct Held {
    /// For sealed segments.
    pub(super) sealed: u64,
    /// For segments that are removed, or written by compaction.
    pub(super) passing: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Digests {
    /// Each segment stays here until it has its digest.
    pub(super) waiting: VecDeque<Waiting>,
    pub(crate) current: Option<DigestJob>,
    pub(super) scheduled: bool,
    /// No thread could be started for them: a flush asks again, or makes them.
    pub(super) unserved: bool,
    /// A close has taken over.
    pub(super) closing: bool,
}

impl Digests {
    pub(super) fn first(&self) -> Option<&Waiting> {
        self.waiting.front().filter(|_| !self.closing)
    }

    pub(super) fn is_first(&self, segment: &Arc<Segment>) -> bool {
        let first = self.first();
        first.is_some_and(|first| Arc::ptr_eq(&first.segment, segment))
    }

    pub(super) fn are_made(&self) -> bool {
        self.waiting.is_empty() && self.current.is_none()
    }
}

#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) segment: Arc<Segment>,
    /// The checksums of the index files that were just written; `None` if the files must be checked
    /// first.
    pub(super) index_crcs: Option<(u32, u32)>,
    pub(super) truncations: u64,
}

#[derive(Debug)]
pub(crate) struct DigestJob {
    pub(super) of: Waiting,
    pub(super) cursor: BatchCursor,
    pub(super) builder: DigestBuilder,
    pub(super) dense: bool,
}

/// How far, and for which state of the log, a filter is right.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KnownTo {
    pub(super) to: Offset,
    pub(super) truncations: u64,
}

#[derive(Debug)]
pub(super) struct ScannedTransactions {
    pub(super) truncations: u64,
    pub(super) to: Offset,
    pub(super) transactions: Arc<Transactions>,
}

impl ScannedTransactions {
    pub(super) fn known(&self) -> KnownTo {
        KnownTo {
            to: self.to,
            truncations: self.truncations,
        }
    }
}

/// What a log that is opened for reading knows of its directory.
pub(crate) struct Outside {
    /// The directory with the lock and the marks.
    pub(super) home: PathBuf,
    pub(super) inspected: Mutex<Inspected>,
    pub(crate) looks: Looks,
    /// Looks after a pause; `by_bell` looks when the writer rings.
    pub(super) by_clock: Arc<dyn Chore>,
    pub(super) by_bell: Arc<dyn Listening>,
}

#[derive(Debug)]
pub(super) struct Inspected {
    pub(super) signs: LogSigns,
    pub(super) doubts: Doubts,
    pub(super) seen: Seen,
    /// What the writer had published before the last look.
    pub(super) standing: Option<Standing>,
}

#[derive(Debug, Default)]
pub(crate) struct Looks {
    pub(super) asked: AtomicBool,
    /// How many looks in a row have found nothing new.
    pub(super) idle: AtomicU32,
    /// Whether a bell rings for the log, as far as is known.
    pub(crate) heard: AtomicBool,
    pub(super) heard_by: Mutex<HeardBy>,
    /// Threads that wait for the bell themselves.
    pub(super) direct: AtomicUsize,
}

/// The live file that is listened to, and what it said of the log at the last look.
#[derive(Debug, Default)]
pub(super) struct HeardBy {
    pub(super) ear: Weak<Ear>,
    pub(super) slot: Option<u32>,
    pub(super) figures: Option<LiveFigures>,
}
