//! Removes records from either end of a log.
//!
//! Knows nothing about retention policies, which also use it.
//!
//! 1. A new start is durable before a file is removed: a crash in between neither brings back what
//!    was dropped nor loses what was not.
//! 2. A truncation is recorded before the first byte is removed, and finished by the next opening
//!    if it is interrupted: the log is as before or as after.
//! 3. A batch that is cut in two is replaced by one with the records that stay, at their offsets
//!    and timestamps.
//! 4. Offsets behind a truncation are assigned again only after the new epoch is durable, and every
//!    commit above the new end was set back durably.

use std::sync::Arc;

use crate::disk::{Access, Dir, File};
use crate::error::{Error, IoContext, Result};
use crate::format::{RecordBatch, Rewrite, TruncateIntent, file_name};
use crate::host::Followers;
use crate::recovery::{remove_segment_files, remove_snapshots_above};
use crate::segment::{IndexProgress, Known, Segment};
use crate::sync::{MutexGuard, Ordering, WakeLater};
use crate::types::{Offset, Position, Sabotage, is_internal_topic};

use super::shared::{Log, Shared};
use super::state::AppendState;
use super::turn::Turn;

/// Held while segments are removed or replaced.
pub(crate) struct Layout<'a> {
    log: &'a Shared,
    _held: MutexGuard<'a, ()>,
    /// The last field, dropped after the lock is released: what woken tasks run may take it.
    _later: WakeLater,
}

impl Drop for Layout<'_> {
    fn drop(&mut self) {
        self.log.end_exchange();
    }
}

impl Log {
    /// Drops the records below an offset: Kafka's `DeleteRecords`. The new start is durable before
    /// this returns; a file is removed once all its records are below it. A start at or below the
    /// present one changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::OffsetOutOfRange`] above the high watermark; [`Error::ReadOnly`],
    /// [`Error::Closed`], [`Error::Poisoned`], [`Error::Io`], [`Error::NoSpace`].
    pub fn truncate_prefix(&self, new_start: Offset) -> Result<()> {
        self.may_change()?;
        self.here()?.truncate_prefix(new_start)
    }

    /// Drops the newest records, from an offset on; their offsets are assigned again, in a higher
    /// [`epoch`](Self::epoch). The truncation is durable when this returns; a crash in between
    /// leaves the log as before or as after.
    ///
    /// In a broker, committed offsets above the new end are set back to it, durably, before
    /// anything is appended there, and members continue at it. A reader whose position is above it
    /// gets [`Error::Truncated`].
    ///
    /// # Errors
    ///
    /// [`Error::OffsetOutOfRange`] below the start or above the end; the others of
    /// [`Log::truncate_prefix`]; and those of reading the commits of a broker's groups, with
    /// nothing changed.
    pub fn truncate(&self, new_end: Offset) -> Result<()> {
        self.may_change()?;
        self.here()?.truncate(new_end)
    }
}

impl Shared {
    pub(super) fn truncate_prefix(&self, new_start: Offset) -> Result<()> {
        let layout = self.lock_layout()?;
        if new_start > self.high_watermark() {
            return Err(self.out_of_range(new_start));
        }
        if new_start <= self.start_offset() {
            return Ok(());
        }
        self.raise_start(&layout, new_start)
    }

    /// Raises the start durably (I1), and then deletes what is wholly below it. A flush waits only
    /// for the first part.
    pub(super) fn raise_start(&self, _layout: &Layout<'_>, new_start: Offset) -> Result<()> {
        let turn = self.take_turn_to_change()?;
        let behind = self.marked_base() < self.segments.read().active().base_offset();
        // A start above what is flushed would be above the end after a power cut.
        if behind || new_start > self.flushed_offset() {
            self.sync_all(&turn)?;
        }
        self.write_mark(&turn, |mark| mark.log_start_offset = new_start)?;
        // Both slots, before any file is removed: an older mark would report the segments as lost.
        if !Sabotage::DeletedBeforeStart.is_on() {
            self.write_both_marks(&turn)?;
        }
        // After the mark is durable: a start that callers have seen does not move back at a power
        // cut.
        self.start.store(new_start, Ordering::Release);
        // The mark must not refer to a removed segment: one that was only just rolled stays until
        // the next time.
        let below = new_start.min(self.marked_base());
        let (gone, passing) = {
            let _end_stands_still = self.append.lock();
            self.remove_below(below)
        };
        // With the turn: the next thread that has it could write a digest for one of them.
        for segment in &gone {
            segment.mark_gone();
        }
        drop(turn);
        // If one cannot be deleted, the others still are.
        let deleted = gone.iter().map(|segment| self.delete_segment(segment));
        let mut deleted = deleted.fold(Ok(()), Result::and);
        if self.host.budget.is_limited() && !gone.is_empty() {
            let synced = self.host.disk.sync_dir(&self.dir).at(&self.dir, "sync");
            deleted = deleted.and(synced);
        }
        // Their bytes count as room only now, and only if they are gone.
        if deleted.is_err() {
            passing.keep();
        } else {
            drop(passing);
        }
        self.host.marks.keep_ballast();
        deleted
    }

    /// The base of the mark's segment: everything below it is sealed and synced.
    pub(crate) fn marked_base(&self) -> Offset {
        self.turn.lock().mark.segment_base
    }

    pub(crate) fn lock_layout(&self) -> Result<Layout<'_>> {
        self.life.can_append()?;
        let layout = Layout {
            _later: WakeLater::begin(),
            log: self,
            _held: self.layout.lock(),
        };
        self.begin_exchange();
        self.life.can_append()?;
        Ok(layout)
    }

    pub(crate) fn replace_segments(&self, sources: &[Arc<Segment>], by: Vec<Arc<Segment>>) {
        let (Some(first), Some(last)) = (sources.first(), sources.last()) else {
            return;
        };
        let _end_stands_still = self.append.lock();
        let mut segments = self.segments.write();
        segments.replace(first.base_offset(), last.base_offset(), by);
        // Together with the exchange: a reader that still holds a source looks the offset up again.
        for source in sources {
            source.mark_gone();
        }
    }

    pub(super) fn delete_segment(&self, segment: &Arc<Segment>) -> Result<()> {
        // Its file is closed with the last of its readers, or when the descriptor is needed.
        segment.mark_gone();
        remove_segment_files(&self.host.disk, segment)
    }

    pub(super) fn truncate(&self, new_end: Offset) -> Result<()> {
        let _layout = self.lock_layout()?;
        let followers = self.host.followers().filter(|_| self.is_followed());
        if let Some(followers) = followers.as_ref().filter(|_| new_end < self.end_offset()) {
            // Obstacles are found while the truncation can still be refused.
            followers.check()?;
        }
        let turn = self.take_turn_to_change()?;
        // Before the point of no return: later there might be no descriptor left.
        let dir = self.host.disk.open_dir(&self.dir).at(&self.dir, "open")?;
        let spare = self.reserve_descriptors()?;
        if !self.cut_off(&turn, new_end)? {
            return Ok(());
        }
        // Without the turn: a commit may be waiting for it.
        drop(turn);
        drop(spare);
        if let Err(error) = self.conclude(new_end, followers.as_deref(), &dir) {
            // The next opening finishes what is on disk, and would remove what was appended
            // meanwhile.
            let path = self.dir.join(file_name::TRUNCATE);
            return Err(self.halted(path, &error));
        }
        // The epochs are saved and commits set back, so nothing is left of the opening.
        self.let_appends_begin();
        self.raise();
        Ok(())
    }

    /// Holds descriptors for what is opened after the intent is written: the log of commits and its
    /// directory, the epochs, and the directory in which these are renamed.
    fn reserve_descriptors(&self) -> Result<[Dir; 4]> {
        let open = || self.host.disk.open_dir(&self.dir).at(&self.dir, "open");
        Ok([open()?, open()?, open()?, open()?])
    }

    pub(super) fn is_followed(&self) -> bool {
        let of = self.topic_partition();
        of.is_some_and(|of| !is_internal_topic(&of.topic))
    }

    /// Cuts off everything from `new_end` on, and makes appends wait (I4); false if there is
    /// nothing.
    fn cut_off(&self, turn: &Turn<'_>, new_end: Offset) -> Result<bool> {
        let mut state = self.lock_sealed(turn)?;
        if new_end < self.start_offset() || new_end > state.end {
            return Err(self.out_of_range(new_end));
        }
        if new_end == state.end {
            return Ok(false);
        }
        let intent = self.plan(&state, new_end)?;
        // After the intent, a failure to open it would leave the log half-way.
        let file = self.file_to_cut(&state, &intent)?;
        // Before the intent, which makes the removal durable: after the cut, a digest of the longer
        // file would call it damaged.
        self.forget_digest(&intent)?;
        self.write_intent(&intent)?;
        // From here on a crash means: truncated. The flushed end moves before the end, or a waiter
        // could take records for safe that are being cut off.
        self.flushed.fetch_min(new_end, Ordering::AcqRel);
        self.shown.fetch_min(new_end, Ordering::AcqRel);
        let cut = {
            // Counted before the first byte is removed, or a reader would take the shortened file
            // for a damaged one; and again after the last, when there is something to read.
            let _cutting = self.begin_cutting();
            // Appends wait from here on (I4).
            state.held_back = true;
            let mut epochs = self.epochs.write();
            epochs.raise(new_end, self.start_offset());
            state.leader_epoch = epochs.newest();
            drop(epochs);
            self.cut_to(&mut state, &intent, file)
        };
        drop(state);
        cut.map_err(|error| self.halted(self.dir.join(file_name::TRUNCATE), &error))?;
        self.recharge();
        Ok(true)
    }

    /// Locks the log with everything synced, and no sealed segment left that a sync would write to.
    fn lock_sealed(&self, turn: &Turn<'_>) -> Result<MutexGuard<'_, AppendState>> {
        loop {
            self.sync_all(turn)?;
            let state = self.append.lock();
            if state.sealing.is_empty() {
                return Ok(state);
            }
        }
    }

    /// Removes the digest of the segment that will be cut. The intent makes that durable.
    fn forget_digest(&self, intent: &TruncateIntent) -> Result<()> {
        let segment = Arc::clone(self.segments.read().floor(intent.segment_base));
        // What it says about gaps remains true.
        segment.known(&self.host.disk);
        segment.remove_digest(&self.host.disk)
    }

    /// Records the intent (I2).
    fn write_intent(&self, intent: &TruncateIntent) -> Result<()> {
        if Sabotage::TruncateWithoutIntent.is_on() {
            return Ok(());
        }
        let path = self.dir.join(file_name::TRUNCATE);
        let Err(cause) = self.host.disk.replace(&path, &intent.encode()) else {
            return Ok(());
        };
        if self.host.disk.exists(&path).is_ok_and(|exists| !exists) {
            return Err(Error::io(&path, "write", cause));
        }
        // The file exists, durably or not: the next opening may act on it.
        Err(self.poisoned(path, cause))
    }

    /// Makes the truncation and its consequences durable (I4).
    fn conclude(
        &self,
        new_end: Offset,
        followers: Option<&dyn Followers>,
        dir: &Dir,
    ) -> Result<()> {
        // First, while the next opening would still finish the truncation: afterwards a commit
        // above the end could point at records that were appended since.
        if let Some((followers, of)) = followers.zip(self.topic_partition()) {
            followers.set_back(&of, self.end_offset())?;
        }
        let turn = &self.take_turn()?;
        // Before the mark, and before the intent is gone: only the epoch tells readers and
        // followers that these offsets were assigned twice.
        self.save_epochs(turn)?;
        // What is appended from here on was never compacted.
        self.write_mark(turn, |mark| {
            mark.cleaned_offset = mark.cleaned_offset.min(new_end);
        })?;
        let path = self.dir.join(file_name::TRUNCATE);
        // The cut itself is durable before the mark says where the log ends now.
        self.sync_all_in(turn, dir)?;
        // Both slots, before the intent is removed: an older mark would report the truncated
        // records as lost.
        self.write_both_marks(turn)?;
        if Sabotage::TruncateWithoutIntent.is_on() {
            return Ok(());
        }
        self.host.disk.remove_file(&path).at(&path, "remove")?;
        // Durably: an intent that came back would remove what is appended from now on.
        dir.sync().at(&self.dir, "sync")
    }

    /// Opens the file to cut; `None` if it is the one that is appended to.
    fn file_to_cut(
        &self,
        state: &AppendState,
        intent: &TruncateIntent,
    ) -> Result<Option<Arc<File>>> {
        if state.writer.is_some() && state.active.base_offset() == intent.segment_base {
            return Ok(None);
        }
        let path = self.dir.join(file_name::log(intent.segment_base));
        let file = self.host.disk.open(&path, Access::Write);
        Ok(Some(Arc::new(file.at(&path, "open")?)))
    }

    /// Where to cut, and what is left of a batch that the cut divides.
    fn plan(&self, state: &AppendState, new_end: Offset) -> Result<TruncateIntent> {
        let segment = Arc::clone(self.segments.read().floor(new_end));
        let range = new_end..state.end;
        let found = self.find_below(&segment, range, |shared, raw| {
            if raw.header.next_offset() <= new_end {
                return Ok(None);
            }
            let position = raw.position;
            if raw.header.base_offset >= new_end || raw.header.is_control() {
                return Ok(Some((position, Vec::new())));
            }
            let batch = shared.decode(raw, &segment)?;
            Ok(Some((position, head_of(&batch, new_end)?)))
        })?;
        let end = if Arc::ptr_eq(&segment, &state.active) {
            state.active.end()
        } else {
            segment.end()
        };
        // Without a batch there the new end is in a gap behind the last one, and no byte has to be
        // cut.
        let (position, head) = found.unwrap_or((end, Vec::new()));
        Ok(TruncateIntent {
            new_end,
            segment_base: segment.base_offset(),
            position,
            head,
        })
    }

    fn cut_to(
        &self,
        state: &mut AppendState,
        intent: &TruncateIntent,
        file: Option<Arc<File>>,
    ) -> Result<()> {
        // Readers first: a segment whose file is removed must not be found any more.
        let gone = self.segments.write().remove_above(intent.segment_base);
        if !gone.is_empty() {
            state.writer = None;
            state.active = Arc::clone(self.segments.read().active());
            state.active.set_grows(true);
        }
        for segment in &gone {
            self.delete_segment(segment)?;
        }
        remove_snapshots_above(&self.host.disk, &self.dir, intent.new_end)?;
        let active = Arc::clone(&state.active);
        let next_offset = intent.new_end;
        // Before the file: a reader must not read up to an end that is no longer there.
        active.publish(intent.position, next_offset);
        state.end = intent.new_end;
        self.end.store(intent.new_end, Ordering::Release);
        if let Some(file) = file {
            self.write_to(state, file);
        }
        debug_assert!(state.writer.is_some(), "the file to cut is open");
        let path = active.log_path();
        if let Some(writer) = &mut state.writer {
            writer.cut(intent.position.0).at(&path, "truncate")?;
            if !intent.head.is_empty() {
                writer.append(&intent.head).at(&path, "write")?;
            }
        }
        let end = intent.position.plus(intent.head.len());
        active.publish(end, next_offset);
        state.first_timestamp = None;
        self.reindex(state, &active)
    }

    fn reindex(&self, state: &mut AppendState, active: &Arc<Segment>) -> Result<()> {
        // No thread appends, and a reader that is rebuilding the index comes too late to set it.
        let scanned = active.scan_whole(&self.host.disk, &self.host.files)?;
        active.set_index(scanned.index, scanned.newest);
        state.progress = scanned.progress;
        state.indexes_full = self.indexes_full(active);
        state.index_written = active.save_index_files(&self.host.disk);
        if active.end() == Position::ZERO {
            state.progress = IndexProgress::default();
        }
        if scanned.next_offset != state.end {
            // Cut inside a gap: the next batch begins behind it.
            active.set_known(Known::Increasing);
        }
        Ok(())
    }
}

/// The records below an offset, as a batch (I3).
fn head_of(batch: &RecordBatch, new_end: Offset) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let change = Rewrite {
        next_offset: Some(new_end),
        ..Rewrite::default()
    };
    let cut = batch.rewrite(&mut out, change, |record| record.offset < new_end);
    cut.map_err(|_| Error::InvalidRecord {
        reason: "its batch cannot be cut in two",
    })?;
    Ok(out)
}
