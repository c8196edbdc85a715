//! Syncing: one thread at a time has the *turn* (`turn.rs`), and what it syncs counts for every
//! thread that waits. That is group commit: appends under `Always` share one sync.
//!
//! Knows nothing about encoding or reading.
//!
//! 1. The flushed end moves only after everything below it was synced: sealed segments first, then
//!    names, then the active segment.
//! 2. A failed sync latches the log: the flushed end no longer moves, and waiting and later appends
//!    and flushes get `Poisoned`. A sync is never retried and believed.
//! 3. No lock that an append takes is held during a sync, except in a truncation; an append that is
//!    held back also waits for the layout.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::dir::remove_if_present;
use crate::disk::{Dir, File};
use crate::error::{Error, IoContext, Result};
use crate::format::{IndexWritten, Mark, file_name};
use crate::host::Chore;
use crate::segment::Segment;
use crate::sync::{Ordering, WakeLater};
use crate::types::{Offset, Position, Sabotage};

use super::shared::Shared;
use super::state::{AppendState, NextFile, Sealing};
use super::turn::Turn;

/// Fewer new index entries than these are left for later between durable appends.
const INDEX_ENTRIES_MIN: usize = 64;

/// Bits of [`Shared::flush_asked`], with one chore for each.
const FLUSH_LATER: u32 = 1;
const FLUSH_NOW: u32 = 2;

struct SyncWork {
    sealing: Vec<Sealing>,
    names: bool,
    active: Arc<Segment>,
    file: Option<Arc<File>>,
    end: Offset,
    position: Position,
    index_written: IndexWritten,
    /// Batches that no earlier sync covers.
    batches: u64,
}

impl Shared {
    /// Latches the log (I2).
    #[cold]
    pub(crate) fn poisoned(&self, path: PathBuf, cause: std::io::Error) -> Error {
        let error = self.latch(path, cause);
        self.raise();
        error
    }

    /// As [`Self::poisoned`], for a caller that holds the append lock, and calls [`Self::raise`]
    /// after releasing it.
    #[cold]
    pub(super) fn latch(&self, path: PathBuf, cause: std::io::Error) -> Error {
        let first = self.life.poison().is_none();
        let error = self.life.fail(path, cause);
        if first {
            self.note_poison(&error);
        }
        // Under the lock of the waiters, or one that has checked but does not wait yet would miss
        // the notification.
        drop(self.turn.lock());
        self.turn_over.notify_all();
        error
    }

    /// As [`Self::poisoned`], after an operation that left files neither as before nor as after:
    /// only the next opening can complete them.
    #[cold]
    pub(crate) fn halted(&self, path: PathBuf, error: &Error) -> Error {
        self.poisoned(path, std::io::Error::other(error.to_string()))
    }

    pub(crate) fn flush(&self) -> Result<Offset> {
        self.life.can_confirm()?;
        self.flush_to(self.end_offset())
    }

    /// Makes everything below `target` durable, in a turn of its own or by another thread's that
    /// began late enough. Returns the flushed end.
    pub(super) fn flush_to(&self, target: Offset) -> Result<Offset> {
        let mut state = self.turn.lock();
        loop {
            if let Some(error) = self.life.poison() {
                return Err(error);
            }
            // Before whether the log is closed, because the close may have synced it.
            if self.flushed_offset() >= target {
                return Ok(self.flushed_offset());
            }
            if state.is_free() {
                break;
            }
            self.wait_for_turn(&mut state);
        }
        let mut turn = self.take_free_turn(state)?;
        self.wait_for_company(&turn);
        let began = self.host.clock.instant();
        let synced = self.sync_all(&turn);
        turn.synced_since(began);
        drop(turn);
        // Without the turn, which other threads wait for: hashing takes long.
        self.digest_unserved();
        match synced {
            // Everything is synced, and only the mark lags behind: it is a lower bound.
            Err(_) if self.flushed_offset() >= target => Ok(self.flushed_offset()),
            synced => synced,
        }
    }

    /// Syncs in the order of (I1). An error other than `Poisoned` is about the mark alone, or says
    /// that the directory could not be opened: then nothing was changed.
    pub(crate) fn sync_all(&self, turn: &Turn<'_>) -> Result<Offset> {
        let (work, dir) = self.take_work()?;
        self.sync_work(turn, work, dir.as_ref())
    }

    /// As [`Self::sync_all`], with the directory open: it cannot fail for lack of a descriptor.
    pub(super) fn sync_all_in(&self, turn: &Turn<'_>, dir: &Dir) -> Result<Offset> {
        let work = gather(&mut self.append.lock());
        self.sync_work(turn, work, Some(dir))
    }

    /// Opens the directory first: failing to do so is not a failed sync.
    fn take_work(&self) -> Result<(SyncWork, Option<Dir>)> {
        let mut dir = None;
        loop {
            let mut state = self.append.lock();
            let needs_dir = state.names_unsynced || !state.sealing.is_empty();
            if !needs_dir || dir.is_some() {
                return Ok((gather(&mut state), dir));
            }
            drop(state);
            dir = Some(self.host.disk.open_dir(&self.dir).at(&self.dir, "open")?);
        }
    }

    fn sync_work(&self, turn: &Turn<'_>, mut work: SyncWork, dir: Option<&Dir>) -> Result<Offset> {
        let began = self.host.clock.instant();
        // Sealed segments first: a mark in the active segment says that all below it is on disk
        // (I1).
        self.seal(&mut work)?;
        debug_assert!(
            !work.names || dir.is_some(),
            "names are synced by the directory"
        );
        // A file whose name is lost in a power cut is lost with all its records, so names come
        // before the mark, too.
        if let Some(dir) = dir.filter(|_| work.names && !Sabotage::NamesNotSynced.is_on()) {
            let synced = dir.sync();
            synced.map_err(|cause| self.poisoned(self.dir.to_path_buf(), cause))?;
        }
        if let Some(file) = work
            .file
            .as_ref()
            .filter(|_| !Sabotage::MarkAheadOfSync.is_on())
        {
            file.sync_data()
                .map_err(|cause| self.poisoned(work.active.log_path(), cause))?;
        }
        if work.batches > 0 {
            let took = self.host.clock.instant().saturating_duration_since(began);
            self.tally.synced(work.batches, took);
            self.note_sync(work.batches, took);
        }
        // Before the mark, which says how much of the index files can be trusted.
        work.index_written = self.extend_index(&work);
        // After every sync above: a mark that came first would call lost what a power cut merely
        // left unwritten.
        let marked = self.move_mark(turn, &work);
        // Also if the mark could not be written: the records themselves are safe.
        self.flushed.store(work.end, Ordering::Release);
        self.raise_in_turns();
        marked.map(|()| work.end)
    }

    /// Trims, syncs and indexes sealed segments. One that cannot be trimmed latches the log, too:
    /// nothing after it may be called flushed.
    fn seal(&self, work: &mut SyncWork) -> Result<()> {
        for mut sealing in std::mem::take(&mut work.sealing) {
            let path = sealing.segment.log_path();
            // Trimmed before the sync, which then makes the length durable as well: zeros left in a
            // sealed segment would count as lost batches.
            let trimmed = sealing.writer.trim();
            let synced = if Sabotage::SealedNotSynced.is_on() {
                trimmed
            } else {
                trimmed.and_then(|()| sealing.writer.file().sync_data())
            };
            synced.map_err(|cause| self.poisoned(path, cause))?;
            sealing.segment.seal_index_files(&self.host.disk);
            let index_crcs = sealing.segment.index_crcs_known();
            // Its index files are complete now; until then its indexes had to stay in memory.
            sealing.segment.set_grows(false);
            sealing.segment.release_file(&self.host.files);
            // Last: the flusher may begin at once, and a digest is made only of synced bytes.
            self.digest_later(sealing.segment, index_crcs);
            work.names = true;
        }
        Ok(())
    }

    /// Appends new entries to the index files. They are hints: a failure only costs a rebuild.
    fn extend_index(&self, work: &SyncWork) -> IndexWritten {
        let (disk, before) = (&self.host.disk, work.index_written);
        // Every group of appends under `Always` waits for this, so a few entries are left for
        // later. A crash then has 256 KiB more to scan.
        if self.is_always() {
            let (entries, _) = work.active.index_lens();
            if entries < before.entries().saturating_add(INDEX_ENTRIES_MIN) {
                return before;
            }
        }
        let Ok(written) = work.active.extend_index_files(disk, before) else {
            return before;
        };
        let mut state = self.append.lock();
        if written != before && Arc::ptr_eq(&state.active, &work.active) {
            state.names_unsynced |= before == IndexWritten::default();
            state.index_written = written;
        }
        written
    }

    fn move_mark(&self, turn: &Turn<'_>, work: &SyncWork) -> Result<()> {
        let rolled = self.turn.lock().mark.segment_base != work.active.base_offset();
        self.write_mark(turn, |mark| {
            mark.flushed_offset = work.end;
            mark.position = work.position;
            mark.segment_base = work.active.base_offset();
            mark.dense = work.active.is_dense();
            mark.index = work.index_written;
            mark.by_broker = false;
        })?;
        let now = self.host.clock.instant();
        if rolled {
            self.host.marks.sync(now)
        } else {
            self.host.marks.sync_if_due(now)
        }
    }

    /// Writes the mark into both its slots and syncs it, before anything is removed that the older
    /// mark refers to.
    pub(super) fn write_both_marks(&self, turn: &Turn<'_>) -> Result<()> {
        self.write_mark(turn, |_| {})?;
        // The sync makes this slot the durable one, and opens the other one.
        self.host.marks.sync(self.host.clock.instant())?;
        self.write_mark(turn, |_| {})
    }

    /// Makes sure that no slot refers to a segment at or below `last`, which will be replaced.
    pub(crate) fn write_both_marks_above(&self, turn: &Turn<'_>, last: Offset) -> Result<()> {
        if self.turn.lock().mark_before > last {
            return Ok(());
        }
        self.write_both_marks(turn)
    }

    /// Writes a changed mark into the page cache. If that fails, the mark stays as it was.
    pub(crate) fn write_mark(
        &self,
        _turn: &Turn<'_>,
        change: impl FnOnce(&mut Mark),
    ) -> Result<()> {
        let mut mark = self.turn.lock().mark;
        mark.closed = false;
        mark.always = Some(self.is_always());
        change(&mut mark);
        mark.sequence = mark.sequence.saturating_add(1);
        self.host.marks.write(self.mark_place, &mark)?;
        // Only a mark that was written is remembered: the next one builds on it.
        let mut state = self.turn.lock();
        state.mark_before = state.mark.segment_base;
        state.mark = mark;
        Ok(())
    }

    pub(super) fn rest(&self, _turn: &Turn<'_>) {
        self.turn.lock().rested = true;
    }

    /// Whether the files are as a close leaves them.
    fn rests(&self, turn: &Turn<'_>) -> bool {
        let mark = self.turn.lock().mark;
        let state = self.append.lock();
        turn.rested
            && self.digests.lock().are_made()
            && state.writer.is_none()
            && state.sealing.is_empty()
            && state.next == NextFile::Absent
            && (state.end, state.active.base_offset(), state.active.end())
                == (mark.flushed_offset, mark.segment_base, mark.position)
    }

    #[inline]
    pub(super) fn schedule_flush(&self, after: Duration) {
        if self.flush_asked.load(Ordering::Relaxed) & FLUSH_LATER == 0 {
            self.ask_for_interval(after);
        }
    }

    #[cold]
    fn ask_for_interval(&self, after: Duration) {
        // With manual upkeep the bit stays set: `Broker::upkeep` flushes what is due.
        if self.ask_for_flush(FLUSH_LATER, after) || self.host.flusher.is_manual() {
            *self.flush_due.lock() = None;
            return;
        }
        // The system cannot start a thread at the moment. The next append asks again, and flushes
        // what is due by then, or the interval would never be kept.
        self.flush_asked.fetch_and(!FLUSH_LATER, Ordering::AcqRel);
        let now = self.host.clock.instant();
        let is_due = {
            let mut due = self.flush_due.lock();
            let at = *due.get_or_insert_with(|| now.checked_add(after).unwrap_or(now));
            if now >= at {
                *due = None;
            }
            now >= at
        };
        if is_due {
            // As in the flusher: a failure is latched, or the next append reports it.
            drop(self.flush_to(self.end_offset()));
        }
    }

    /// Makes the flusher flush at once; false if there is no thread to do it.
    pub(crate) fn flush_soon(&self) -> bool {
        if self.host.flusher.is_manual() {
            return false;
        }
        let asked = self.flush_asked.load(Ordering::Relaxed) & FLUSH_NOW != 0;
        let runs = asked || self.ask_for_flush(FLUSH_NOW, Duration::ZERO);
        if !runs {
            // The next caller asks again.
            self.flush_asked.fetch_and(!FLUSH_NOW, Ordering::AcqRel);
        }
        runs
    }

    #[cold]
    fn ask_for_flush(&self, kind: u32, after: Duration) -> bool {
        if self.flush_asked.fetch_or(kind, Ordering::AcqRel) & kind != 0 {
            return true;
        }
        let now = self.host.clock.instant();
        let at = now.checked_add(after).unwrap_or(now);
        self.host.flusher.schedule(at, self.me.clone())
    }

    /// Refuses appends from now on, and makes compaction and retention give up.
    pub(crate) fn begin_closing(&self) {
        // With the lock held, no append is half-way.
        let _nobody_appends = self.append.lock();
        self.life.begin_closing();
    }

    /// If two threads close at the same time, the later one waits for the first.
    pub(super) fn close(&self) -> Result<()> {
        let _later = WakeLater::begin();
        self.begin_closing();
        // Compaction and retention first finish what they have begun: the end of the log's life
        // must not cut off a swap that is half done.
        let _no_compaction = self.cleaning.lock();
        let _nothing_half_done = self.layout.lock();
        if self.life.is_over() {
            return Ok(());
        }
        let result = if self.life.is_read_only() {
            self.life.end();
            Ok(())
        } else {
            self.finish_and_end()
        };
        self.close_files();
        // After the end of the log's life: a waiter that wakes must find it closed.
        self.raise();
        self.wake_from_bell();
        self.turn_over.notify_all();
        if !self.managed {
            self.host.note_close(&self.dir, &result);
        }
        if !self.managed && !self.life.is_read_only() {
            self.host.end_publishing();
        }
        // Only now may another process open the directory: no thread writes to it any more.
        *self.lock.lock() = None;
        result
    }

    fn finish_and_end(&self) -> Result<()> {
        // It fails only after a failed sync, when no other thread gets the turn either.
        let turn = self.take_turn();
        let result = match &turn {
            Ok(turn) => self.finish_for_close(turn),
            Err(_) => Ok(()),
        };
        if let Err(error) = &result {
            // An append that waits for its sync is not confirmed: its record may or may not be
            // there.
            self.halted(self.dir.to_path_buf(), error);
            let mut state = self.append.lock();
            state.writer = None;
            state.sealing.clear();
            state.active.close_file();
        }
        // Before the turn is released: a thread that waits for it must not sync, move the mark or
        // create a file in a directory that will soon belong to another process.
        self.life.end();
        turn.map(drop).and(result)
    }

    /// Brings the files to the state of a closed log.
    fn finish_for_close(&self, turn: &Turn<'_>) -> Result<()> {
        // First, so that the flusher writes no digest or index to files that are finished below.
        self.take_over_digests(turn);
        self.save_epochs(turn)?;
        if !self.rests(turn) {
            self.finish_files(turn)?;
        } else if self.turn.lock().mark.closed {
            return Ok(());
        }
        // Last: the next opening believes a closed mark, and reads nothing but the tail.
        self.write_mark(turn, |mark| mark.closed = true)?;
        // A broker syncs the marks once, after all its logs are closed.
        if !self.managed && !Sabotage::CloseNotSynced.is_on() {
            self.host.marks.sync(self.host.clock.instant())?;
        }
        Ok(())
    }

    fn finish_files(&self, turn: &Turn<'_>) -> Result<()> {
        {
            let mut state = self.append.lock();
            let path = state.active.log_path();
            if let Some(writer) = &mut state.writer {
                writer.trim().at(&path, "truncate")?;
            }
            if state.next != NextFile::Absent {
                let prepared = self.dir.join(file_name::NEXT_SEGMENT);
                remove_if_present(&self.host.disk, &prepared)?;
                state.next = NextFile::Absent;
            }
            state.active.add_final_entry(&state.progress);
        }
        // After the cut above, which it makes durable together with the records.
        self.sync_all(turn)?;
        let active = Arc::clone(&self.append.lock().active);
        active.write_index_files(&self.host.disk)?;
        active.sync_index_files(&self.host.disk)?;
        // After the index files, whose checksums it has.
        self.digest_for_close(turn);
        self.host.disk.sync_dir(&self.dir).at(&self.dir, "sync")
    }

    fn flush_if_due(&self) {
        {
            // In one step, or the appends between the two would each ask for a sync again.
            let mut state = self.append.lock();
            state.unsynced_bytes = 0;
            // One chore does one of the two, whichever comes first.
            let asked = self.flush_asked.load(Ordering::Acquire);
            let begun = if asked & FLUSH_NOW == 0 {
                FLUSH_LATER
            } else {
                FLUSH_NOW
            };
            self.flush_asked.fetch_and(!begun, Ordering::AcqRel);
        }
        if self.life.can_confirm().is_err() {
            return;
        }
        // A failure is latched, or the next append reports it.
        drop(self.flush_to(self.end_offset()));
        // After the flush, which other threads may be waiting for.
        self.prepare_next();
        self.retain_after_roll();
        self.show();
    }

    /// Creates the file of the next segment early: a roll then only has to rename it.
    fn prepare_next(&self) {
        let state = self.append.lock();
        let due = state.active.end().0 >= self.hot.segment_bytes() / 2;
        if !due || state.next == NextFile::Ready || state.writer.is_none() {
            return;
        }
        drop(state);
        self.make_next();
    }

    pub(super) fn make_next(&self) {
        if self.append.lock().next == NextFile::Ready {
            return;
        }
        // With the turn, so that a close either comes later and finds the file, or has ended and
        // nothing is created in a directory that by then may belong to another process, or be
        // removed.
        let Ok(_turn) = self.take_turn_to_change() else {
            return;
        };
        let before = {
            let mut state = self.append.lock();
            if state.next == NextFile::Ready {
                return;
            }
            // Doubtful until the file is known to exist: if creating it fails, no roll may use it.
            std::mem::replace(&mut state.next, NextFile::Doubtful)
        };
        let path = self.dir.join(file_name::NEXT_SEGMENT);
        // A file of an earlier attempt, which `create` would refuse to replace.
        if before == NextFile::Doubtful && remove_if_present(&self.host.disk, &path).is_err() {
            return;
        }
        // A roll that finds no file creates one itself.
        if self.host.disk.create(&path).is_ok() {
            self.append.lock().next = NextFile::Ready;
        }
    }
}

fn gather(state: &mut AppendState) -> SyncWork {
    if let Some(writer) = &mut state.writer {
        writer.synced();
    }
    // In one step, under the append lock: what is appended from here on belongs to the next sync.
    let work = SyncWork {
        sealing: std::mem::take(&mut state.sealing),
        names: std::mem::take(&mut state.names_unsynced),
        active: Arc::clone(&state.active),
        file: state
            .writer
            .as_ref()
            .map(|writer| Arc::clone(writer.file())),
        end: state.end,
        position: state.active.end(),
        index_written: state.index_written,
        batches: state.appends.take_unsynced(),
    };
    state.unsynced_bytes = 0;
    work
}

impl Chore for Shared {
    fn run(&self) {
        self.flush_if_due();
    }
}
