//! Damage: what opening refuses before anything is changed.
//!
//! Knows nothing about what is done about it. The rules are in `rules.rs`, shared with `verify` and
//! `repair`.
//!
//! Only names, lengths, the headers of digests and the mark's segment are read, that one from the
//! last index entry below the mark on, so that opening a larger log takes no longer. Other damage
//! is found when batches are read.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::{Corruption, FileKind, FileName, Mark, Stage, file_name};
use crate::segment::{Known, Search, Segment, TailScan, count_batches};
use crate::types::{Offset, Position};

use super::leftovers::DirListing;
use super::parallel::ask_each;
use super::rules::{
    Landed, SegmentFacts, Violation, applicable, at_mark, lost_between, truncated, violations,
};
use super::{OpenMode, Opening};

impl Opening<'_> {
    /// Refuses damage. Changes no file.
    pub(super) fn judge(&mut self, segments: &[Arc<Segment>]) -> Result<()> {
        let facts = self.facts(segments);
        self.mark = applicable(self.mark, segments.len());
        let mark = self.mark;
        let mut found = violations(self.key, mark.as_ref(), &facts).into_iter();
        // While this handle only reads, the writer may be removing the oldest segments right now.
        let excused = |found: &Violation| {
            self.mode == OpenMode::Read && matches!(found, Violation::StartsLate { .. })
        };
        // Names and lengths before any batch: they cost nothing, and say which file holds the mark.
        if let Some(violation) = found.find(|violation| !excused(violation)) {
            return Err(self.refusal(&violation, None));
        }
        let Some(mark) = mark else {
            return Ok(());
        };
        self.await_digests(segments, &facts, &mark);
        let holds = |segment: &&Arc<Segment>| segment.base_offset() == mark.segment_base;
        let Some(holder) = segments.iter().find(holds) else {
            return Ok(());
        };
        self.report.clean &= mark.closed
            && holder.end() == mark.position
            && segments
                .last()
                .is_some_and(|last| Arc::ptr_eq(last, holder));
        // The only batches that are read: what was flushed ends in this segment, so a cut or a torn
        // batch shows here.
        let (scanned, written) = self.check_segment(holder, true)?;
        let landed = Landed {
            end: scanned.end,
            at_mark: scanned.at_mark,
        };
        if let Some(violation) = at_mark(&mark, landed) {
            return Err(self.refusal(&violation, scanned.stopped));
        }
        // Kept for the recovery, which continues from here without reading the segment again.
        self.judged = Some((scanned, written));
        Ok(())
    }

    /// Refuses a broker's log that has lost a segment between others: its remaining files would be
    /// removed as leftovers.
    pub(super) fn judge_names(&self, found: &DirListing) -> Result<()> {
        if !self.mark.is_some_and(|mark| mark.by_broker) {
            return Ok(());
        }
        for (_, name) in &found.others {
            if let FileName::Segment {
                base,
                kind: FileKind::Index,
                stage: Stage::Live,
            } = name
                && let Some(violation) = lost_between(*base, &found.bases)
            {
                return Err(self.refusal(&violation, None));
            }
        }
        Ok(())
    }

    pub(crate) fn facts(&self, segments: &[Arc<Segment>]) -> Vec<SegmentFacts> {
        let (disk, swapped) = (self.tools.disk, &self.swapped);
        let believed = !self.tools.marks.are_distrusted();
        ask_each(segments, |segment| {
            let base = segment.base_offset();
            // The files under the name of an output that was not renamed yet belong to its source.
            let believed = believed && !swapped.contains_key(&base);
            SegmentFacts {
                base,
                length: segment.end(),
                digest: believed.then(|| segment.digest_summary(disk)).flatten(),
            }
        })
    }

    /// Notes the sealed segments without a digest of their present state.
    fn await_digests(&mut self, segments: &[Arc<Segment>], facts: &[SegmentFacts], mark: &Mark) {
        let sealed = segments.iter().zip(facts);
        let sealed = sealed.filter(|(_, facts)| facts.base < mark.segment_base);
        for (segment, facts) in sealed {
            let length = facts.digest.map(|digest| digest.length);
            if length != Some(segment.end()) {
                self.undigested.push(Arc::clone(segment));
            }
        }
    }

    fn refusal(&self, violation: &Violation, stopped: Option<Corruption>) -> Error {
        let path = self.dir.join(file_name::log(violation.file()));
        let reason = match *violation {
            Violation::Shorter { end, expected, .. } => {
                stopped.unwrap_or_else(|| truncated(expected, end))
            }
            _ => violation.reason(),
        };
        Error::corrupt(&path, violation.position().0, reason)
    }

    /// Counts valid batches behind the end of what is kept. With `strict_recovery` they are
    /// refused, before anything is cut.
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
        let file = segment.file(self.tools.disk, self.tools.files)?;
        let search = Search {
            bytes: from..segment.end(),
            offsets: floor..i64::MAX.cast_unsigned(),
        };
        let counted = count_batches(&file, &search, u64::MAX);
        counted.map_err(|error| Error::io(&path, "read", error))
    }

    /// Notes what a scan found out about gaps, and whether a digest must be made. Without a mark it
    /// is unknown which state a digest describes.
    pub(super) fn learn(&mut self, segment: &Arc<Segment>, scanned: &TailScan) {
        // A log that was cut inside a gap ends in that gap, and continues behind it.
        let ends_in_gap = scanned.next_offset < segment.next_offset();
        if scanned.dense && !ends_in_gap {
            segment.set_known(Known::Contiguous);
        } else if self.mark.is_none() {
            segment.set_known(Known::Increasing);
        }
        let above = |mark: &Mark| segment.base_offset() >= mark.segment_base;
        if self.mark.as_ref().is_none_or(above) {
            self.undigested.push(Arc::clone(segment));
        }
    }
}

fn damage(segment: &Segment, at: Position, reason: Corruption) -> Error {
    Error::corrupt(&segment.log_path(), at.0, reason)
}
