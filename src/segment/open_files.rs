//! Decides which files of a root's logs stay open: a bounded number, of which the least recently
//! used are closed first. Segments that are appended to or read share the bound.
//!
//! Knows nothing about what is read or written. A caller holds a file for one call only, so closing
//! it here really closes it.
//!
//! 1. A root has at most `max` files open, and all roots of a process at most half of its
//!    descriptors. Calls in progress, or files in use at that very moment, may exceed this.
//! 2. Closing a file that was appended to may need a sync. So [`OpenFiles::make_room`] is called
//!    while no log's lock is held, and waits for none: a busy log is skipped.
//! 3. Segments that were opened for reading are closed without a sync, by any thread.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use crate::disk::{Disk, Owner, open_files_max};
use crate::sync::{Mutex, OnceLock, for_each_on};

use super::Segment;

/// How many files of a root stay open only for reading. A steady reader opens a file at most once
/// per 256 KiB, so more would not make it faster.
const READING_MAX: usize = 32;

/// Files closed at once, at most: their syncs run in parallel.
const BATCH_MAX: usize = 32;

/// Logs that no longer exist are removed from a queue when it has grown to this, or doubled.
const PRUNE_MIN: usize = 64;

pub(crate) trait Writes: Send + Sync {
    /// Whether it was appended to since the last call.
    fn take_used(&self) -> bool;

    /// Whether closing its files most likely needs a sync.
    fn needs_sync(&self) -> bool;

    /// Closes files after a sync where needed, without waiting for other threads. False if
    /// something stays open: the log is busy, or a call failed.
    fn close_synced(&self) -> bool;
}

/// The bound on the open files (and loaded indexes) of all logs of one root.
#[derive(Debug)]
pub(crate) struct OpenFiles {
    disk: Disk,
    owner: Owner,
    max: usize,
    reading: Mutex<VecDeque<Weak<Segment>>>,
    writing: Mutex<Writing>,
}

#[derive(Default)]
struct Writing {
    logs: VecDeque<Weak<dyn Writes>>,
    prune_at: usize,
}

impl std::fmt::Debug for Writing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writing")
            .field("logs", &self.logs.len())
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Roots {
    all: Vec<Weak<OpenFiles>>,
    next: usize,
}

/// Only for the operating system's disk: a simulated one uses no descriptors.
static ROOTS: OnceLock<Mutex<Roots>> = OnceLock::new();

impl OpenFiles {
    pub(crate) fn new(disk: &Disk, max: Option<u64>) -> Arc<Self> {
        let most = open_files_max();
        let max = max.and_then(|max| usize::try_from(max).ok());
        let files = Arc::new(Self {
            disk: disk.clone(),
            owner: Owner::here(),
            max: max.map_or(most, |max| max.clamp(1, most)),
            reading: Mutex::default(),
            writing: Mutex::default(),
        });
        // Only then do its files count against the limit of the process.
        if disk.open_files_of_process().is_some() {
            let mut roots = ROOTS.get_or_init(Mutex::default).lock();
            roots.all.retain(|root| root.strong_count() > 0);
            roots.all.push(Arc::downgrade(&files));
        }
        files
    }

    pub(crate) fn is_full(&self) -> bool {
        self.is_root_full() || self.is_process_full()
    }

    fn is_root_full(&self) -> bool {
        self.disk.open_files() >= self.max
    }

    fn is_process_full(&self) -> bool {
        let all = self.disk.open_files_of_process();
        all.is_some_and(|all| all >= open_files_max())
    }

    /// Closes files until one more may be opened (I1), if possible. The caller holds no log's lock
    /// (I2).
    pub(crate) fn make_room(&self) {
        // Files that were not used since their last turn first, and any file if there is no such
        // one.
        while self.is_root_full() && (self.close_some(false) || self.close_some(true)) {}
        if self.is_process_full() {
            self.take_from_others();
        }
    }

    /// Has the roots of the process close files in turn, unused ones first.
    #[cold]
    fn take_from_others(&self) {
        for forced in [false, true] {
            let roots = Roots::in_turn();
            for root in &roots {
                while self.is_process_full() && root.close_some(forced) {}
                if !self.is_process_full() {
                    return;
                }
            }
        }
    }

    /// Closes an eighth of the bound, so that syncs run in parallel and not one for every file that
    /// is opened. A file used since it was last considered is skipped, unless `forced`. False if
    /// nothing was closed.
    fn close_some(&self, forced: bool) -> bool {
        let batch = self.next_to_close(forced);
        let waiting = batch.iter().filter(|log| log.needs_sync()).count();
        // Only syncs gain from running in parallel.
        let threads = if waiting > 1 {
            self.disk.calls_at_once()
        } else {
            1
        };
        let closed = for_each_on(threads, &batch, |log| log.close_synced());
        let mut any = false;
        for (log, closed) in batch.iter().zip(closed) {
            any |= closed;
            if !closed {
                // It still has a file open, and must be found again: only a log that closed
                // everything leaves the queue.
                self.writing.lock().logs.push_back(Arc::downgrade(log));
            }
        }
        any || self.close_one_reading(forced)
    }

    fn next_to_close(&self, forced: bool) -> Vec<Arc<dyn Writes>> {
        let most = (self.max / 8).clamp(1, BATCH_MAX);
        let turns = self.writing.lock().logs.len();
        let mut batch = Vec::new();
        for _ in 0..turns {
            let Some(oldest) = self.writing.lock().logs.pop_front() else {
                break;
            };
            // Without the queue's lock: a log takes that while it holds its own, so the other order
            // could deadlock.
            match oldest.upgrade() {
                None => {}
                Some(log) if forced || !log.take_used() => batch.push(log),
                Some(_) => self.writing.lock().logs.push_back(oldest),
            }
            if batch.len() >= most {
                break;
            }
        }
        batch
    }

    fn close_one_reading(&self, forced: bool) -> bool {
        let turns = self.reading.lock().len();
        for _ in 0..turns {
            let Some(oldest) = self.reading.lock().pop_front() else {
                break;
            };
            let Some(segment) = oldest.upgrade() else {
                continue;
            };
            if forced || !segment.take_used() {
                segment.close_if_read();
                return true;
            }
            // It was read since its last turn, and gets another one.
            self.reading.lock().push_back(oldest);
        }
        false
    }

    /// Adds a log that is in no queue. It is removed once [`Writes::close_synced`] returns true.
    pub(crate) fn opened_to_write(&self, log: Weak<dyn Writes>) {
        let mut writing = self.writing.lock();
        if writing.logs.len() >= writing.prune_at.max(PRUNE_MIN) {
            writing.logs.retain(|log| log.strong_count() > 0);
            writing.prune_at = writing.logs.len().saturating_mul(2);
        }
        writing.logs.push_back(log);
    }

    /// Adds a segment that was opened for reading; closes others above the bound, unused first.
    pub(crate) fn opened(&self, segment: &Arc<Segment>) {
        let most = READING_MAX.min(self.max / 4).max(1);
        let mut closing = Vec::new();
        let mut reading = self.reading.lock();
        reading.push_back(Arc::downgrade(segment));
        let mut turns = reading.len();
        while reading.len() > most && turns > 0 {
            turns -= 1;
            let Some(oldest) = reading.pop_front() else {
                break;
            };
            let Some(oldest) = oldest.upgrade() else {
                continue;
            };
            if oldest.take_used() && turns > 0 {
                reading.push_back(Arc::downgrade(&oldest));
            } else {
                closing.push(oldest);
            }
        }
        drop(reading);
        // With the queue unlocked: closing a file is a system call, and every reader that opens one
        // waits for the queue.
        for segment in closing {
            segment.close_if_read();
        }
    }
}

impl Roots {
    fn in_turn() -> Vec<Arc<OpenFiles>> {
        let mut roots = ROOTS.get_or_init(Mutex::default).lock();
        let open = roots.all.iter().filter_map(Weak::upgrade);
        // After a fork, the roots of the parent process do not concern this one.
        let mut open: Vec<_> = open.filter(|root| root.owner.is_here()).collect();
        roots.next = roots.next.wrapping_add(1);
        let first = roots.next.checked_rem(open.len()).unwrap_or_default();
        open.rotate_left(first);
        open
    }
}
