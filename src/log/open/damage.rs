//! Damage below the flushed mark: found when a log is opened, and refused before anything is
//! changed.
//!
//! Knows nothing about what is done about it.
//!
//! The mark says that everything below it was synced. So it is damage, and no result of a crash,
//!
//! 1. when the segment that the mark speaks of is missing (unless it was empty) or shorter than the
//!    mark says,
//! 2. when, from the last index entry below the mark on, the bytes below it are not whole batches
//!    that end exactly there, with the offset that was flushed,
//! 3. when the log begins above where its start is,
//! 4. when an earlier segment is shorter than its digest says, or does not end where the next one
//!    begins,
//! 5. when the digest of a segment says that it is of another log: two directories changed places.
//!
//! Nothing more is read, so that opening takes no longer for a larger log: what is wrong inside
//! earlier batches is found by whoever reads them.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::{Corruption, DigestSummary, Mark, file_name};
use crate::segment::{Guard, Search, Segment, TailScan, count_batches};
use crate::types::{Offset, Position, to_usize};

use super::parallel::ask_each;
use super::{OpenMode, Opening};

/// Whether the segment that a mark speaks of may be missing among these.
pub(in crate::log) fn may_be_missing(segments: &[Arc<Segment>], mark: &Mark) -> bool {
    let above = segments
        .iter()
        .any(|segment| segment.base_offset() > mark.segment_base);
    let was_empty = mark.position == Position::ZERO && !above;
    let below_there = !segments.is_empty() || mark.segment_base <= mark.log_start_offset;
    // Everything that was flushed lies below the start: its files may go at any time.
    let gone_by_right = mark.flushed_offset <= mark.log_start_offset;
    was_empty && below_there || gone_by_right
}

impl Opening<'_> {
    /// Refuses damage. Changes nothing.
    pub(super) fn judge(&mut self, segments: &[Arc<Segment>]) -> Result<()> {
        let Some(mark) = self.mark else {
            return Ok(());
        };
        self.judge_start(segments, &mark)?;
        let holds = |segment: &&Arc<Segment>| segment.base_offset() == mark.segment_base;
        let Some(holder) = segments.iter().find(holds) else {
            return self.judge_missing(segments, &mark);
        };
        if holder.end() < mark.position {
            let missing = truncated(mark.position, holder.end());
            return Err(damage(holder, holder.end(), missing));
        }
        if let Some(digest) = holder.digest_summary(&self.host.disk) {
            self.judge_home(holder, &digest)?;
        }
        let sealed = segments.iter().zip(segments.iter().skip(1));
        let sealed: Vec<_> = sealed
            .filter(|(segment, _)| segment.base_offset() < mark.segment_base)
            .collect();
        let disk = &self.host.disk;
        let digests = ask_each(&sealed, |(segment, _)| segment.digest_summary(disk));
        for ((segment, next), digest) in sealed.into_iter().zip(digests) {
            self.judge_sealed(segment, digest, next.base_offset(), mark.log_start_offset)?;
        }
        self.report.clean &= mark.closed
            && holder.end() == mark.position
            && segments
                .last()
                .is_some_and(|last| Arc::ptr_eq(last, holder));
        let (scanned, written) = self.check_segment(holder, true)?;
        judge_mark(holder, &scanned, &mark)?;
        self.judged = Some((scanned, written));
        Ok(())
    }

    /// Rule 3. Whoever only reads may look at a log whose oldest segments are just being deleted.
    fn judge_start(&self, segments: &[Arc<Segment>], mark: &Mark) -> Result<()> {
        let Some(first) = segments.first().filter(|_| self.mode == OpenMode::Write) else {
            return Ok(());
        };
        let start = mark.log_start_offset;
        if first.base_offset() <= start {
            return Ok(());
        }
        let path = self.dir.join(file_name::log(start));
        let missing = Corruption::offset(start, first.base_offset());
        Err(Error::corrupt(&path, 0, missing))
    }

    /// Rule 1, for a segment that is not there.
    fn judge_missing(&self, segments: &[Arc<Segment>], mark: &Mark) -> Result<()> {
        if may_be_missing(segments, mark) {
            return Ok(());
        }
        let path = self.dir.join(file_name::log(mark.segment_base));
        let reason = truncated(mark.position, Position::ZERO);
        Err(Error::corrupt(&path, 0, reason))
    }

    /// Rule 4.
    fn judge_sealed(
        &mut self,
        segment: &Arc<Segment>,
        digest: Option<DigestSummary>,
        next_base: Offset,
        start: Offset,
    ) -> Result<()> {
        let Some(digest) = digest else {
            self.undigested.push(Arc::clone(segment));
            return Ok(());
        };
        self.judge_home(segment, &digest)?;
        if segment.end() < digest.length {
            let missing = truncated(digest.length, segment.end());
            return Err(damage(segment, segment.end(), missing));
        }
        if segment.end() > digest.length {
            // Of an earlier state: the segment was appended to after it was made.
            self.undigested.push(Arc::clone(segment));
            return Ok(());
        }
        // Of what lies below the start some files may be gone already, and others not yet.
        if digest.next_offset == next_base || digest.next_offset <= start {
            return Ok(());
        }
        let path = self.dir.join(file_name::log(digest.next_offset));
        let reason = Corruption::offset(digest.next_offset, next_base);
        Err(Error::corrupt(&path, 0, reason))
    }

    /// Rule 5.
    fn judge_home(&self, segment: &Segment, digest: &DigestSummary) -> Result<()> {
        if digest.is_anothers(self.key) {
            let reason = Corruption::malformed("the segment is one of another log");
            return Err(damage(segment, Position::ZERO, reason));
        }
        Ok(())
    }

    /// Counts the valid batches behind the end of what is kept; a log that is to be strict refuses
    /// them, before anything is cut.
    pub(super) fn count_behind<'a>(
        &mut self,
        behind: impl Iterator<Item = (&'a Arc<Segment>, Position)>,
        floor: Offset,
        reason: &Corruption,
    ) -> Result<()> {
        for (segment, from) in behind {
            let count = self.count_in(segment, from, floor)?;
            if count > 0 && self.strict {
                return Err(damage(segment, from, reason.clone()));
            }
            let total = &mut self.report.valid_batches_after_cut;
            *total = total.saturating_add(count);
        }
        Ok(())
    }

    fn count_in(&self, segment: &Arc<Segment>, from: Position, floor: Offset) -> Result<u64> {
        let path = segment.log_path();
        let file = segment.file(&self.host.disk, &self.host.files)?;
        let search = Search {
            bytes: from..segment.end(),
            offsets: floor..i64::MAX.cast_unsigned(),
        };
        let counted = count_batches(&file, &search, u64::MAX);
        counted.map_err(|error| Error::io(&path, "read", error))
    }

    /// Notes what is known of a segment that was just checked. Without a mark nobody knows whose
    /// state a digest is of.
    pub(super) fn learn(&mut self, segment: &Arc<Segment>, scanned: &TailScan) {
        // A log that was cut inside a gap ends in one, and goes on behind it.
        let ends_in_gap = scanned.next_offset < segment.next_offset();
        if scanned.dense && !ends_in_gap {
            segment.set_guard(Guard::Dense);
        } else if self.mark.is_none() {
            segment.set_guard(Guard::Rising);
        }
        let above = |mark: &Mark| segment.base_offset() >= mark.segment_base;
        if self.mark.as_ref().is_none_or(above) {
            self.undigested.push(Arc::clone(segment));
        }
    }
}

/// Rule 2.
fn judge_mark(segment: &Segment, scanned: &TailScan, mark: &Mark) -> Result<()> {
    if scanned.end < mark.position {
        let reason = scanned.stopped.clone();
        let reason = reason.unwrap_or_else(|| truncated(mark.position, scanned.end));
        return Err(damage(segment, scanned.end, reason));
    }
    let Some(next) = scanned.at_mark else {
        let reason = Corruption::malformed("a batch reaches over the end of what was flushed");
        return Err(damage(segment, mark.position, reason));
    };
    // A log that was truncated inside a gap ends behind its last batch.
    let fits = next == mark.flushed_offset || !mark.dense && next < mark.flushed_offset;
    if fits {
        return Ok(());
    }
    let reason = Corruption::offset(mark.flushed_offset, next);
    Err(damage(segment, mark.position, reason))
}

fn damage(segment: &Segment, at: Position, reason: Corruption) -> Error {
    Error::corrupt(&segment.log_path(), at.0, reason)
}

fn truncated(needed: Position, there: Position) -> Corruption {
    Corruption::truncated(to_usize(needed.0), to_usize(there.0))
}
