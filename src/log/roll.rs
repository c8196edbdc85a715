//! Beginning the next segment: when, and how.
//!
//! Knows nothing about what is appended to it. What can fail comes first: on an error the old
//! segment stays active.

use std::sync::Arc;

use crate::disk::Access;
use crate::error::{Error, IoContext, Result};
use crate::format::index::{Entry as _, OffsetEntry, TimeEntry};
use crate::format::{BatchHeader, BatchSummary, HEADER_LEN, IndexWritten, file_name};
use crate::segment::{IndexProgress, Known, Segment, relative};
use crate::sync::Ordering;
use crate::types::{Position, Timestamp, to_u64, to_usize};

use super::shared::Shared;
use super::state::{AppendState, NextFile, Sealing};

impl Shared {
    /// Rolls unless the active segment is empty.
    pub(crate) fn seal_active(&self) -> Result<()> {
        // The next segment is opened for appends, which may exceed the bound on open files.
        self.host.files.make_room();
        let active = Arc::clone(self.segments.read().active());
        if active.next_offset() > active.base_offset() {
            self.make_next();
        }
        loop {
            let mut state = self.append.lock();
            self.life.can_append()?;
            let is_empty = state.active.next_offset() <= state.active.base_offset();
            if is_empty || self.roll_within_budget(&mut state)? {
                return Ok(());
            }
            // Not under the append lock: making room removes segments, and may wait for a sync.
            drop(state);
            self.make_room()?;
        }
    }

    /// Kafka's rules (`LogSegment.shouldRoll`).
    #[inline]
    pub(super) fn must_roll(
        &self,
        state: &mut AppendState,
        summary: &BatchSummary,
    ) -> Result<bool> {
        let size = state.active.end().0;
        if size == 0 {
            // Only an offset that no longer fits makes an empty segment roll.
            let last = state
                .end
                .saturating_add(u64::from(summary.count))
                .saturating_sub(1);
            return Ok(relative(state.active.base_offset(), last).is_none());
        }
        let added = to_u64(summary.size);
        if size.saturating_add(added) > self.hot.segment_bytes() {
            return Ok(true);
        }
        let last = state
            .end
            .saturating_add(u64::from(summary.count))
            .saturating_sub(1);
        if relative(state.active.base_offset(), last).is_none() {
            return Ok(true);
        }
        Ok(state.indexes_full || self.too_old(state, summary.max_timestamp)?)
    }

    /// Whether the first batch is more than `segment.ms` older than this one, by their largest
    /// timestamps, or by the clock if either has none.
    fn too_old(&self, state: &mut AppendState, newest: Timestamp) -> Result<bool> {
        let limit_ms = self.hot.segment_age_ms.load(Ordering::Relaxed);
        let first = match state.first_timestamp {
            Some(first) => first,
            None => self.load_first_timestamp(state)?,
        };
        let age_ms = if first > Timestamp::NONE && newest > Timestamp::NONE {
            newest.as_millis().saturating_sub(first.as_millis())
        } else {
            let now = self.host.clock.now();
            now.as_millis().saturating_sub(state.made_at.as_millis())
        };
        Ok(u64::try_from(age_ms).is_ok_and(|age_ms| age_ms > limit_ms))
    }

    #[cold]
    fn load_first_timestamp(&self, state: &mut AppendState) -> Result<Timestamp> {
        let file = state.active.file(&self.host.disk, &self.host.files)?;
        let path = state.active.log_path();
        let mut bytes = [0; HEADER_LEN];
        file.read_at(0, &mut bytes).at(&path, "read")?;
        let header =
            BatchHeader::parse(&bytes).map_err(|reason| Error::corrupt(&path, 0, reason))?;
        state.first_timestamp = Some(header.max_timestamp);
        Ok(header.max_timestamp)
    }

    /// Whether an index has no room for another entry. The time index keeps room for the one that
    /// the segment is sealed with.
    pub(super) fn indexes_full(&self, active: &Segment) -> bool {
        let bytes = self.hot.segment_index_bytes.load(Ordering::Relaxed);
        let (offsets, times) = active.index_lens();
        let full = |entries: usize, len: usize| entries.saturating_add(1).saturating_mul(len);
        full(offsets, OffsetEntry::LEN) > to_usize(bytes)
            || full(times.saturating_add(1), TimeEntry::LEN) > to_usize(bytes)
    }

    pub(super) fn roll(&self, state: &mut AppendState) -> Result<()> {
        self.open_writer(state)?;
        let next = Arc::new(Segment::sealed(
            Arc::clone(&self.dir),
            state.end,
            Position::ZERO,
            state.end,
        ));
        let file = Arc::new(self.next_file(state, &next)?);
        next.keep_file(&file);
        next.set_index(crate::segment::SparseIndex::default(), None);
        next.set_known(Known::Contiguous);
        next.set_grows(true);
        let writer = self.appender(file, Position::ZERO);
        let sealed = std::mem::replace(&mut state.active, Arc::clone(&next));
        sealed.add_final_entry(&state.progress);
        if let Some(mut writer) = state.writer.replace(writer) {
            // Nothing is charged for reserved space.
            if self.host.budget.is_limited() && writer.trim().is_err() {
                let most = self.hot.segment_bytes();
                self.charge_reserved(most.saturating_sub(writer.end()));
            }
            state.sealing.push(Sealing {
                segment: sealed,
                writer,
            });
        }
        state.progress = IndexProgress::default();
        state.index_written = IndexWritten::default();
        state.indexes_full = false;
        state.first_timestamp = None;
        state.made_at = self.host.clock.now();
        state.names_unsynced = true;
        state.appends.roll();
        self.note_roll(state.end);
        self.segments.write().roll(next);
        Ok(())
    }

    fn next_file(&self, state: &mut AppendState, next: &Segment) -> Result<crate::disk::File> {
        let path = next.log_path();
        let prepared = self.dir.join(file_name::NEXT_SEGMENT);
        if state.next == NextFile::Ready {
            // If it cannot be used it still exists, and a close must remove it.
            state.next = NextFile::Doubtful;
            // Opened before it is renamed: an unused file under a segment's name would make the
            // next opening fail.
            if let Ok(file) = self.host.disk.open(&prepared, Access::Write)
                && self.host.disk.rename(&prepared, &path).is_ok()
            {
                state.next = NextFile::Absent;
                return Ok(file);
            }
        }
        match self.host.disk.create(&path) {
            Ok(file) => Ok(file),
            // No segment has this name, as opening made sure: an earlier roll failed after it
            // created the file.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                self.host.disk.remove_file(&path).at(&path, "remove")?;
                self.host.disk.create(&path).at(&path, "create")
            }
            Err(error) => Err(Error::io(&path, "create", error)),
        }
    }
}

#[cfg(test)]
impl super::shared::Log {
    pub(crate) fn seal_active(&self) -> Result<()> {
        self.shared.seal_active()
    }
}
