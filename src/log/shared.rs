//! What a log is made of: the handle, and the state behind all handles of one log.
//!
//! Knows nothing about what is done with it: each file beside it adds the methods of its subject.
//! `mod.rs` says which lock guards what.

use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Instant;

use crate::dir::MarkPlace;
use crate::disk::Lock;
use crate::error::Result;
use crate::host::{Chore, Host, Tally};
use crate::recovery::{Epochs, OpenReport};
use crate::sync::{
    AtomicBool, AtomicU32, AtomicU64, Condvar, Mutex, OnceLock, RwLock, Signal, Watchers,
};
use crate::types::LogConfig;

use super::life::LifeCell;
use super::segments::Segments;
use super::state::{
    AppendState, Charge, Digests, HotSettings, Outside, ScannedTransactions, TurnState,
};

/// One partition: an append-only sequence of records in one directory, in Kafka's own files.
///
/// A `Log` is a handle: cloning it is cheap, every method takes `&self`, and any number of threads
/// may append and read at the same time. It works alone on any directory, without topics. Dropping
/// the last handle (and [`Reader`](crate::Reader)) closes the log as [`Log::close`] does.
///
/// In a process that is forked from the one that opened it, every call returns
/// [`Error::Forked`](crate::Error::Forked), and dropping a handle only closes descriptors.
///
/// # Examples
///
/// ```
/// use ottla::{Log, LogConfig};
///
/// # let scratch = tempfile::tempdir()?;
/// # let dir = scratch.path().join("events");
/// let log = Log::open(dir, LogConfig::default())?;
/// log.append("hello")?;
/// log.append_batch(["a", "b"])?;
/// assert_eq!(log.end_offset(), 3);
///
/// let values: Vec<_> = log.reader(1)?.collect::<Result<_, _>>()?;
/// assert_eq!(values[0].value(), Some(&b"a"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Log {
    pub(crate) shared: Arc<Shared>,
    /// `None` for a broker's logs.
    pub(super) _close_on_drop: Option<Arc<CloseOnDrop>>,
    /// Set where only the broker itself may change the log.
    pub(super) only_reads: bool,
}

pub(crate) struct Shared {
    pub(super) me: Weak<Shared>,
    pub(crate) host: Arc<Host>,
    pub(crate) dir: Arc<Path>,
    pub(super) mark_place: MarkPlace,
    pub(crate) life: LifeCell,
    /// A broker closes this log, and not its handles.
    pub(crate) managed: bool,
    pub(super) config: RwLock<Arc<LogConfig>>,
    pub(super) hot: HotSettings,
    pub(crate) append: Mutex<AppendState>,
    pub(crate) segments: RwLock<Segments>,
    pub(super) start: AtomicU64,
    pub(super) end: AtomicU64,
    pub(super) flushed: AtomicU64,
    /// The end that readers saw before the log became `Always`.
    pub(super) shown: AtomicU64,
    /// Raised twice by each truncation (`view.rs`).
    pub(super) truncations: AtomicU64,
    pub(crate) epochs: RwLock<Epochs>,
    pub(crate) turn: Mutex<TurnState>,
    pub(super) turn_over: Condvar,
    /// Notified when enough threads wait for the next sync (`turn.rs`).
    pub(super) company_came: Condvar,
    /// What the flusher was asked for and has not begun, as bits (`flush.rs`).
    pub(super) flush_asked: AtomicU32,
    /// When a flush is due for which no thread could be started.
    pub(super) flush_due: Mutex<Option<Instant>>,
    pub(crate) digests: Mutex<Digests>,
    pub(super) digester: Arc<dyn Chore>,
    pub(crate) signal: Signal,
    pub(super) usher: Arc<dyn Chore>,
    pub(super) transactions: Mutex<Option<ScannedTransactions>>,
    pub(super) watchers: Watchers,
    pub(super) charge: Charge,
    /// Kept apart from what appends read, because readers write it.
    pub(crate) tally: Box<Tally>,
    /// Allows one compaction at a time, which no append waits for.
    pub(crate) cleaning: Mutex<()>,
    /// Taken after `cleaning`, before the turn.
    pub(crate) layout: Mutex<()>,
    pub(super) lock: Mutex<Option<Lock>>,
    /// Something must be on the disk before the first append.
    pub(super) unfinished: AtomicBool,
    /// Set in a log that is opened for reading.
    pub(crate) outside: OnceLock<Outside>,
    pub(super) report: OpenReport,
}

/// Closes the log when its last handle is dropped.
#[derive(Debug)]
pub(super) struct CloseOnDrop(Arc<Shared>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        if self.0.host.check_owner().is_err() {
            // The flusher may have held the log at the fork, and cannot release it here.
            if let Some(mut lock) = self.0.lock.try_lock() {
                *lock = None;
            }
            return;
        }
        // A caller that wants to know how closing went calls `close`.
        drop(self.0.close());
        self.0.host.stop_threads();
        self.0.show();
    }
}

impl Log {
    pub(super) fn not_closing(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            _close_on_drop: None,
            only_reads: false,
        }
    }

    pub(super) fn closing_on_drop(shared: Arc<Shared>) -> Self {
        let close_on_drop = Arc::new(CloseOnDrop(Arc::clone(&shared)));
        Self {
            shared,
            _close_on_drop: Some(close_on_drop),
            only_reads: false,
        }
    }

    /// Fails in a forked process.
    #[inline]
    pub(crate) fn here(&self) -> Result<&Shared> {
        self.shared.host.check_owner()?;
        Ok(&self.shared)
    }
}
