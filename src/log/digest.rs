//! Makes the digests of sealed segments in the background: the flusher does it, in slices, from
//! bytes that were just synced and so are in the page cache.
//!
//! Knows nothing about the contents of a digest.
//!
//! 1. A digest is made only of synced bytes.
//! 2. It is written with the turn held, and only if the segment is still the one that was read: it
//!    never covers bytes that a truncation or a compaction removed.
//! 3. It is a hint: nothing waits for it, and a failure is ignored.
//! 4. It never vouches for damage: what is known about a segment is enforced while it is made.

use std::sync::{Arc, Weak};

use crate::disk::File;
use crate::error::Result;
use crate::format::{Digest, DigestBuilder, log_hash};
use crate::host::Chore;
use crate::segment::{BatchCursor, Known, ReadStart, Segment};
use crate::sync::Ordering;
use crate::types::Offset;

use super::shared::{Log, Shared};
use super::state::{DigestJob, Waiting};
use super::turn::Turn;

/// How many bytes are hashed at a time: about 2 ms of work, so that a sync does not wait longer.
const SLICE_BYTES: u64 = 8 << 20;

/// The most that a close hashes of waiting segments.
const AT_CLOSE_BYTES: u64 = 64 << 20;

#[derive(Debug)]
pub(super) struct Digester {
    log: Weak<Shared>,
}

impl Digester {
    pub(super) fn of(log: Weak<Shared>) -> Arc<dyn Chore> {
        Arc::new(Self { log })
    }
}

impl Chore for Digester {
    fn run(&self) {
        let Some(log) = self.log.upgrade() else {
            return;
        };
        log.digests.lock().scheduled = false;
        if log.life.can_confirm().is_ok() && log.digest_slice(SLICE_BYTES) {
            log.schedule_digests();
        }
    }
}

impl Shared {
    pub(crate) fn digest_later(&self, segment: Arc<Segment>, index_crcs: Option<(u32, u32)>) {
        let truncations = self.truncations.load(Ordering::Acquire);
        self.digests.lock().waiting.push_back(Waiting {
            segment,
            index_crcs,
            truncations,
        });
        self.schedule_digests();
    }

    fn schedule_digests(&self) {
        // One chore at a time: it schedules itself again.
        if std::mem::replace(&mut self.digests.lock().scheduled, true) {
            return;
        }
        let now = self.host.clock.instant();
        let flusher = &self.host.flusher;
        let taken = flusher.schedule(now, Arc::downgrade(&self.digester));
        if !taken && !flusher.is_manual() {
            let mut state = self.digests.lock();
            state.scheduled = false;
            state.unserved = true;
        }
    }

    /// Makes the digests for which no thread could be started. Called without the turn.
    pub(super) fn digest_unserved(&self) {
        if !std::mem::take(&mut self.digests.lock().unserved) {
            return;
        }
        self.schedule_digests();
        if self.digests.lock().unserved {
            while self.digest_slice(SLICE_BYTES) {}
            self.digests.lock().unserved = false;
        }
    }

    /// Makes the waiting digests on hosts without a flusher.
    pub(super) fn digest_in_line(&self) {
        if self.host.flusher.is_manual() {
            while self.digest_slice(SLICE_BYTES) {}
        }
    }

    /// Hashes up to `bytes` of the first waiting segment; true if there is more to do. No lock is
    /// held: the thread that seals a segment must not wait.
    pub(crate) fn digest_slice(&self, bytes: u64) -> bool {
        let (current, first) = {
            let mut state = self.digests.lock();
            (state.current.take(), state.first().cloned())
        };
        let Some(first) = first else {
            return false;
        };
        let segment = Arc::clone(&first.segment);
        let job = current.or_else(|| self.begin_digest(first));
        // Held for this slice only: many logs may be doing the same.
        let file = segment.file(&self.host.disk, &self.host.files).ok();
        let advanced = job.zip(file).map(|(job, file)| job.advance(&file, bytes));
        let unfinished = match advanced {
            Some(Progress::More(job)) => Some(job),
            Some(Progress::Done(job)) => {
                self.finish_digest(job);
                None
            }
            Some(Progress::Damaged) | None => None,
        };
        let mut state = self.digests.lock();
        // A close may have emptied the queue meanwhile.
        if state.is_first(&segment) {
            state.current = unfinished;
            if state.current.is_none() {
                state.waiting.pop_front();
            }
        }
        state.first().is_some()
    }

    fn begin_digest(&self, of: Waiting) -> Option<DigestJob> {
        if !self.is_as_it_was(&of) {
            return None;
        }
        let start = of.segment.start(&self.host.disk);
        let builder = DigestBuilder::new(of.segment.base_offset());
        Some(DigestJob {
            dense: matches!(start.known, Known::Contiguous),
            cursor: BatchCursor::at(start).sequential(),
            builder,
            of,
        })
    }

    fn is_as_it_was(&self, of: &Waiting) -> bool {
        let segment = &of.segment;
        let goes = segment.is_gone() || segment.is_retired();
        !goes && of.truncations == self.truncations.load(Ordering::Acquire)
    }

    pub(crate) fn finish_digest(&self, job: DigestJob) {
        let segment = Arc::clone(&job.of.segment);
        // An index that was not checked is rebuilt before the turn is taken: that reads the whole
        // segment, and syncs would wait for it.
        let rebuilt = match job.of.index_crcs {
            Some(_) => Ok(None),
            None => segment
                .scan_whole(&self.host.disk, &self.host.files)
                .map(Some),
        };
        let (Ok(rebuilt), Ok(turn)) = (rebuilt, self.take_turn()) else {
            return;
        };
        // Otherwise a close has taken over the log's files.
        let waits = self.digests.lock().is_first(&segment);
        // With the turn, under which truncations and swaps change segments: what is the same now
        // stays so until the digest is written (I2).
        if !waits || !self.is_as_it_was(&job.of) {
            return;
        }
        let rebuilt = rebuilt.map(|scanned| {
            let index_crcs = Segment::index_crcs(&scanned.index);
            segment.set_index(scanned.index, scanned.newest);
            let written = segment.write_index_files(&self.host.disk);
            written.is_ok().then_some(index_crcs)
        });
        if let Some(index_crcs) = rebuilt.unwrap_or(job.of.index_crcs) {
            self.write_digest(&turn, job, index_crcs);
        }
    }

    fn write_digest(&self, _turn: &Turn<'_>, job: DigestJob, index_crcs: (u32, u32)) {
        if !self.is_as_it_was(&job.of) {
            return;
        }
        let segment = &job.of.segment;
        let mut digest = job.builder.finish(self.end_of(segment), index_crcs);
        digest.summary.home = log_hash(self.mark_key());
        if segment.write_digest(&self.host.disk, &digest).is_ok() {
            segment.learn_from(&digest.summary);
        }
    }

    /// Where the next segment begins, or the log ends: the "next offset" of a digest. The last
    /// batch may end lower, before a gap.
    pub(crate) fn end_of(&self, segment: &Segment) -> Offset {
        let segments = self.segments.read();
        let next = segments.after(segment.base_offset());
        next.map_or(segment.next_offset(), |next| next.base_offset())
    }

    fn rebuild_hints(&self) -> Result<()> {
        let segments: Vec<_> = self.segments.read().iter().cloned().collect();
        for segment in segments {
            segment.with_index(&self.host.disk, &self.host.files, |_| ())?;
        }
        while self.digest_slice(SLICE_BYTES) {}
        Ok(())
    }

    /// The flusher makes no digest and writes no index from here on.
    pub(crate) fn take_over_digests(&self, _turn: &Turn<'_>) {
        self.digests.lock().closing = true;
    }

    /// Makes digests for the active segment and for small waiting ones, with everything synced and
    /// the index files written.
    pub(crate) fn digest_for_close(&self, turn: &Turn<'_>) {
        let active = Arc::clone(&self.append.lock().active);
        self.digest_active(turn, &active);
        let mut state = self.digests.lock();
        let waiting = std::mem::take(&mut state.waiting);
        state.current = None;
        // Unlocked, because the rest reads whole segments.
        drop(state);
        let mut left = AT_CLOSE_BYTES;
        for of in waiting {
            let bytes = of.segment.end().0;
            let (Some(index_crcs), true) = (of.index_crcs, bytes <= left) else {
                continue;
            };
            left = left.saturating_sub(bytes);
            let file = of.segment.file(&self.host.disk, &self.host.files);
            if let (Some(job), Ok(file)) = (self.begin_digest(of), file)
                && let Progress::Done(job) = job.advance(&file, u64::MAX)
            {
                self.write_digest(turn, job, index_crcs);
            }
        }
    }

    /// Continues from the digest of the last close.
    fn digest_active(&self, turn: &Turn<'_>, active: &Arc<Segment>) {
        let disk = &self.host.disk;
        let known = active.digest_summary(disk);
        let index_crcs = active.with_index(disk, &self.host.files, Segment::index_crcs);
        let (Ok(index_crcs), Ok(file)) = (index_crcs, active.file(disk, &self.host.files)) else {
            return;
        };
        let end = active.end();
        // Nothing was appended since it was made.
        if known.is_some_and(|known| {
            known.length == end
                && known.index_crcs == index_crcs
                && known.next_offset == self.end_of(active)
        }) {
            return;
        }
        let of = Waiting {
            segment: Arc::clone(active),
            index_crcs: Some(index_crcs),
            truncations: self.truncations.load(Ordering::Acquire),
        };
        let known = known.filter(|known| known.length <= end);
        let job = match known.and_then(|_| active.digest(disk)) {
            Some(known) => Some(DigestJob::after(known, of)),
            None => self.begin_digest(of),
        };
        if let Some(Progress::Done(job)) = job.map(|job| job.advance(&file, u64::MAX)) {
            self.write_digest(turn, job, index_crcs);
        }
    }
}

enum Progress {
    More(DigestJob),
    Done(DigestJob),
    Damaged,
}

impl DigestJob {
    /// Checks a few batches against the earlier digest first (I4).
    fn after(known: Digest, of: Waiting) -> Self {
        let builder = DigestBuilder::after(&known);
        let read_start = ReadStart {
            position: builder.position(),
            floor: of.segment.base_offset(),
            first_next: None,
            known: Known::by_digest(known),
        };
        Self {
            dense: of.segment.is_dense(),
            cursor: BatchCursor::at(read_start).sequential(),
            builder,
            of,
        }
    }

    fn advance(mut self, file: &File, bytes: u64) -> Progress {
        let from = self.cursor.position();
        let end = self.of.segment.end();
        while self.cursor.position().since(from) < bytes {
            match self.cursor.next(file, end) {
                Ok(Some(raw)) => self.builder.push(&raw.header, &raw.bytes),
                // The segment is known to have no gap: this one is a damaged offset (I4).
                Ok(None) if self.dense && !self.builder.is_dense() => return Progress::Damaged,
                Ok(None) => return Progress::Done(self),
                Err(_) => return Progress::Damaged,
            }
        }
        Progress::More(self)
    }
}

impl Log {
    pub(crate) fn rebuild_hints(&self) -> Result<()> {
        self.shared.rebuild_hints()
    }
}
