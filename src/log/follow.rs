//! Following a log that another handle writes, mostly one of another process.
//!
//! Knows nothing about what an error about its files means (`outside.rs`). Writes nothing.
//!
//! 1. A batch is taken in by its checksum, where the last one ended. A torn one is not there yet,
//!    and never damage.
//! 2. A batch of an unknown epoch is taken in only after the epochs were read again: another batch
//!    may have had its offsets. Their file is durable before a new one's first append.
//! 3. A segment is followed by the one that is named after its end: that name is made after the
//!    last batch before it was written.
//! 4. One thread at a time looks, holding `known`. The append lock is held for the exchange alone.
//! 5. Readers see no more than the writer's own: where the mark says that the log is `Always`, the
//!    high watermark is what the mark says, and goes back only for a truncation. Only the look that
//!    opens a log sees more: what a crash left, beside no writer.
//! 6. Where the writer says that no segments were removed, exchanged or cut since the last look, a
//!    look that the bell caused takes in batches alone. Looks by the clock never believe that.

use std::sync::Arc;

use crate::disk::is_unusable_file;
use crate::error::{Error, IoContext, Result};
use crate::format::{Corruption, Mark, file_name};
use crate::host::Standing;
use crate::segment::{BatchCursor, IndexProgress, RawBatch, Segment, SparseIndex, Stop, indexed};
use crate::sync::{Ordering, WakeLater};
use crate::types::{Durability, LogConfig, Position, Sabotage};

use super::seen::Seen;
use super::segments::Segments;
use super::shared::{Log, Shared};
use super::signs::is_live;
use super::state::{ALWAYS, HotSettings, Inspected, Outside};

/// How often a call looks at a directory that its writer changes all the time.
const LOOKS_MAX: u32 = 3;

/// The index interval here: Kafka's default, whatever the writer's setting.
const INTERVAL_BYTES: u64 = 4096;

impl HotSettings {
    fn set_always(&self, always: bool) {
        let durability = if always { ALWAYS } else { 0 };
        self.durability.store(durability, Ordering::Release);
    }
}

/// The rest of the page in which the log ends is read without asking where the data ends: most
/// looks find one small batch there, and each question delays the reader.
const PAGE: u64 = 4096;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Walk {
    ToEnd,
    /// To the end of a segment with something new: its reader looks again before it waits.
    ToNews,
}

impl Log {
    /// Whether a writer has the log open: this handle, or, for one that was opened for reading, any
    /// other, in whatever process. For a partition, whether a writer has its root open, such as a
    /// running Kafka broker.
    ///
    /// The system releases a writer's lock when its process ends, however that happens. So this is
    /// about this moment, not the next one. Where the system cannot tell (some network file
    /// systems), it is false.
    ///
    /// ```
    /// use ottla::{Log, LogConfig};
    ///
    /// # let scratch = tempfile::tempdir()?;
    /// # let dir = scratch.path().join("events");
    /// let writer = Log::open(&dir, LogConfig::default())?;
    /// let follower = Log::open_read_only(&dir)?;
    /// assert!(writer.is_live() && follower.is_live());
    /// writer.close()?;
    /// assert!(!writer.is_live() && !follower.is_live());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_live(&self) -> bool {
        let Ok(shared) = self.here() else {
            return false;
        };
        match shared.outside.get() {
            Some(outside) => is_live(&shared.host.disk, &outside.home),
            None => shared.life.can_read().is_ok(),
        }
    }

    /// The log, after taking in what another process has written.
    pub(crate) fn here_now(&self) -> Result<&Shared> {
        self.here()?;
        Ok(self.current())
    }

    /// The same, without an error.
    #[inline]
    pub(super) fn current(&self) -> &Shared {
        if self.shared.outside.get().is_some() {
            // The next read reports an error.
            self.shared.follow().ok();
        }
        &self.shared
    }
}

impl Shared {
    /// Takes in what another process has written. Returns true when readers see a change, and
    /// [`Error::Closed`] when the directory is gone or is another log's.
    #[inline]
    pub(crate) fn follow(&self) -> Result<bool> {
        self.follow_from(None)
    }

    #[inline]
    pub(super) fn follow_from(&self, standing: Option<Standing>) -> Result<bool> {
        match self.outside.get() {
            None => Ok(false),
            Some(outside) => self.follow_outside(outside, standing),
        }
    }

    #[cold]
    fn follow_outside(&self, outside: &Outside, standing: Option<Standing>) -> Result<bool> {
        self.host.check_owner()?;
        self.life.can_read()?;
        let asked = self.shows();
        let looked = {
            let mut inspected = outside.inspected.lock();
            let before = self.shows();
            if before != asked {
                // Another thread has looked meanwhile.
                return Ok(true);
            }
            let unseen = Sabotage::ExchangeUnseen.is_on();
            let spared = standing.is_some() && (inspected.standing == standing || unseen);
            let looked = if spared && self.take_in_appended(&inspected) {
                Ok(())
            } else {
                let looked = self.take_in(outside, &mut inspected);
                if standing.is_some() || looked.is_err() {
                    inspected.standing = standing.filter(|_| looked.is_ok());
                }
                looked
            };
            looked.map(|()| self.shows() != before)
        };
        match looked {
            Ok(true) => self.raise(),
            // The topic may be gone: then its logs are closed.
            Err(Error::Closed) => self.host.check_topics(),
            _ => {}
        }
        looked
    }

    fn shows(&self) -> [u64; 4] {
        let truncations = self.truncations.load(Ordering::Acquire);
        let (start, end) = (self.start_offset(), self.end_offset());
        [start, end, self.high_watermark(), truncations]
    }

    /// Takes in what was appended, if nothing else was changed (I6).
    fn take_in_appended(&self, inspected: &Inspected) -> bool {
        let marked = self.host.marks.look_soon(&self.host.disk, self.mark_key());
        let cleaned = marked.map(|mark| mark.map_or(0, |mark| mark.cleaned_offset));
        cleaned.is_ok_and(|cleaned| inspected.seen.is_cleaned_to(cleaned))
            && self.walk(Walk::ToNews).unwrap_or(false)
    }

    fn take_in(&self, outside: &Outside, inspected: &mut Inspected) -> Result<()> {
        for _ in 0..LOOKS_MAX {
            let now = Seen::of(&self.host, &outside.home, &self.dir, self.mark_key())?;
            if !now.is_same_log(&inspected.seen) {
                return Err(Error::Closed);
            }
            if now.cuts {
                // The log counts as before until the note is gone.
                return Ok(());
            }
            if now == inspected.seen && self.is_as_found() && self.walk(Walk::ToEnd)? {
                return Ok(());
            }
            self.look_again(outside, inspected)?;
        }
        Ok(())
    }

    fn is_as_found(&self) -> bool {
        let (first, active) = {
            let segments = self.segments.read();
            let first = segments.iter().next().map(Arc::clone);
            (first, Arc::clone(segments.active()))
        };
        let disk = &self.host.disk;
        active.is_as_found(disk) && first.is_none_or(|first| first.is_as_found(disk))
    }

    /// Takes in new batches and segments; false when the whole directory must be read.
    fn walk(&self, how: Walk) -> Result<bool> {
        // Before the batches: they reach at least as far as it says.
        let mark = self.host.marks.find(self.mark_key());
        if mark.is_some_and(|mark| self.is_always_by(Some(&mark))) {
            self.show_as(true);
        }
        let before = self.end_offset();
        loop {
            let active = Arc::clone(self.segments.read().active());
            match self.walk_over(&active) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                // The writer has just removed it, or another descriptor is needed.
                Err(_) if !active.is_as_found(&self.host.disk) => return Ok(false),
                Err(error) => return Err(error),
            }
            let is_enough = how == Walk::ToNews && self.end_offset() > before;
            if is_enough || !self.roll_behind(&active)? {
                break;
            }
        }
        if let Some(mark) = mark {
            self.take_mark(&mark);
        }
        Ok(true)
    }

    /// Takes in new batches of the last segment (I1); false at one of an unknown epoch (I2).
    fn walk_over(&self, active: &Arc<Segment>) -> Result<bool> {
        let file = active.file(&self.host.disk, &self.host.files)?;
        let length = Position(file.len().at(&active.log_path(), "access")?);
        let epoch = self.epochs.read().newest();
        let mut cursor = BatchCursor::new(active.end(), self.end_offset());
        let near = Position(active.end().0.next_multiple_of(PAGE)).min(length);
        let mut to = near;
        loop {
            match cursor.next(&*file, to) {
                Ok(Some(raw)) if raw.header.leader_epoch > epoch => return Ok(false),
                Ok(Some(raw)) if self.take_batch(active, &raw) => {}
                Ok(None) | Err(Stop::Corrupt(Corruption::Truncated { .. })) if to == near => {
                    // What is reserved behind the end is not read: the system would make its pages.
                    let data_end = file.data_end(cursor.position().0).unwrap_or(length.0);
                    to = Position(data_end).min(length);
                    if to <= near {
                        return Ok(true);
                    }
                }
                Ok(_) | Err(Stop::Corrupt(_)) => return Ok(true),
                // Cut meanwhile.
                Err(Stop::Io(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                    return Ok(true);
                }
                Err(Stop::Io(error)) => return Err(Error::io(&active.log_path(), "read", error)),
            }
        }
    }

    fn take_batch(&self, active: &Segment, raw: &RawBatch) -> bool {
        let end = self.end_offset();
        // Only a replica of a compacted log is appended to with gaps; there are no marks of one.
        let follows = raw.header.base_offset == end
            || raw.header.base_offset > end && self.host.marks.are_distrusted();
        let Some(batch) = indexed(active, &raw.header, raw.position).filter(|_| follows) else {
            return false;
        };
        let next = raw.header.next_offset();
        let mut state = self.append.lock();
        if state.progress.note(batch, INTERVAL_BYTES) {
            active.add_entries(&state.progress, batch);
        }
        active.raise_newest(batch.max_timestamp);
        active.publish(raw.end(), next);
        state.end = next;
        self.end.store(next, Ordering::Release);
        true
    }

    /// Continues with the next segment, if there is one (I3).
    fn roll_behind(&self, active: &Segment) -> Result<bool> {
        let end = self.end_offset();
        if end == active.base_offset() {
            return Ok(false);
        }
        let path = self.dir.join(file_name::log(end));
        let id = match self.host.disk.file_id(&path) {
            Err(error) if is_unusable_file(&error) => return Ok(false),
            id => id.at(&path, "access")?,
        };
        let next = Segment::sealed(Arc::clone(&self.dir), end, Position::ZERO, end);
        let next = Arc::new(next.of_file(Some(id)));
        next.set_index(SparseIndex::default(), None);
        next.set_grows(true);
        if self.host.marks.are_distrusted() {
            next.distrust_digest();
        }
        let mut state = self.append.lock();
        active.add_final_entry(&state.progress);
        active.set_grows(false);
        state.progress = IndexProgress::default();
        state.active = Arc::clone(&next);
        self.segments.write().roll(next);
        Ok(true)
    }

    /// Takes in what the mark says (I5).
    fn take_mark(&self, mark: &Mark) {
        let end = self.end_offset();
        let start = mark.log_start_offset.min(end);
        self.start.fetch_max(start, Ordering::AcqRel);
        self.flushed
            .fetch_max(mark.flushed_offset.min(end), Ordering::AcqRel);
        self.show_as(self.is_always_by(Some(mark)));
    }

    /// Shows only what is flushed if `always`. What readers have seen stays visible.
    fn show_as(&self, always: bool) {
        if always && !self.is_always() {
            self.shown.fetch_max(self.end_offset(), Ordering::AcqRel);
        }
        self.hot.set_always(always);
    }

    /// Applies settings. The mark decides what readers see: the writer may not have these settings
    /// yet, or have others.
    pub(super) fn reconfigure_outside(&self, config: LogConfig) {
        let _later = WakeLater::begin();
        {
            let _state = self.append.lock();
            *self.config.write() = Arc::new(config);
            let mark = self.host.marks.find(self.mark_key());
            self.show_as(self.is_always_by(mark.as_ref()));
        }
        self.raise();
    }

    /// Whether the writer has the log as `Always`. The settings decide if there is no mark, or one
    /// of an older version.
    fn is_always_by(&self, mark: Option<&Mark>) -> bool {
        if !self.host.marks.are_anothers() || Sabotage::UnflushedFollowed.is_on() {
            // The marks are this process's own, or not to be trusted.
            return false;
        }
        let marked = mark.and_then(|mark| mark.always);
        marked.unwrap_or_else(|| self.config.read().durability == Durability::Always)
    }

    pub(super) fn begin_to_follow(&self, mark: Option<Mark>, live: bool) {
        let always = self.is_always_by(mark.as_ref());
        self.hot.set_always(always);
        if always && live {
            let flushed = mark.map_or(0, |mark| mark.flushed_offset);
            let flushed = flushed.clamp(self.start_offset(), self.end_offset());
            self.flushed.store(flushed, Ordering::Release);
        }
    }

    /// Continues as the log that a look has found. Keeps unchanged segments with what is known of
    /// them; readers finish other files that they have open, unless something was cut.
    pub(super) fn go_on_as(&self, found: &Self) {
        let mark = self.host.marks.find(self.mark_key());
        let mut state = self.append.lock();
        let mut theirs = found.append.lock();
        let before = state.end;
        let cut = {
            let epochs = found.epochs.read();
            let shared = epochs.end_of(self.epochs.read().newest(), theirs.end);
            // Nothing is left of an epoch that the log has not had.
            let shared = shared.unwrap_or(found.start_offset()).min(theirs.end);
            let same = epochs.is_same(&self.epochs.read());
            (!same || shared < before).then_some(shared)
        };
        // The epochs change only with the count, and what was cut is not read on.
        let cutting = cut.map(|_| self.begin_cutting());
        if let Some(shared) = cut {
            std::mem::swap(&mut *self.epochs.write(), &mut *found.epochs.write());
            state.leader_epoch = theirs.leader_epoch;
            self.shown.fetch_min(shared, Ordering::AcqRel);
            self.flushed.fetch_min(shared, Ordering::AcqRel);
        }
        let keeps = cut.is_none_or(|shared| shared >= before);
        let active = self.exchange_segments(&found.segments.read(), keeps);
        if Arc::ptr_eq(&active, &theirs.active) {
            std::mem::swap(&mut state.progress, &mut theirs.progress);
        }
        state.active = active;
        state.end = theirs.end;
        self.end.store(state.end, Ordering::Release);
        let start = found.start_offset();
        match cut {
            None => drop(self.start.fetch_max(start, Ordering::AcqRel)),
            Some(_) => self.start.store(start, Ordering::Release),
        }
        if !self.is_always_by(mark.as_ref()) {
            self.flushed.store(state.end, Ordering::Release);
        }
        drop(cutting);
    }

    /// Replaces the segments that have changed, or all unless `keeps`.
    fn exchange_segments(&self, found: &Segments, keeps: bool) -> Arc<Segment> {
        let mut segments = self.segments.write();
        let stays = |new: &Arc<Segment>| {
            let old = Some(segments.floor(new.base_offset()));
            let old = old.filter(|old| keeps && is_same(old, new));
            Arc::clone(old.unwrap_or(new))
        };
        let mut sealed: Vec<_> = found.iter().map(stays).collect();
        let active = sealed.pop().unwrap_or_else(|| stays(found.active()));
        let now = Segments::new(sealed, active);
        for old in segments.iter() {
            let stays = Arc::ptr_eq(old, now.floor(old.base_offset()));
            if !stays {
                old.mark_gone();
            } else if !Arc::ptr_eq(old, now.active()) {
                old.set_grows(false);
            }
        }
        *segments = now;
        Arc::clone(segments.active())
    }
}

fn is_same(old: &Segment, new: &Segment) -> bool {
    if Sabotage::SegmentsBelieved.is_on() {
        return old.base_offset() == new.base_offset();
    }
    old.file_id().is_some()
        && old.file_id() == new.file_id()
        && old.base_offset() == new.base_offset()
        && (old.end(), old.next_offset()) == (new.end(), new.next_offset())
        && !old.is_gone()
}
