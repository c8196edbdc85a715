//! Damage: what opening refuses before anything is changed.
//!
//! Knows nothing about what is done about it, and none of the rules: those stand in `rules.rs`,
//! for `verify` and `repair` too.
//!
//! Besides names, lengths and the fronts of digests only the segment of the flushed mark is read,
//! from the last index entry below the mark on, so that opening takes no longer for a larger log.
//! What is wrong inside earlier batches is found when they are read.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::{Corruption, FileKind, FileName, Mark, Stage, file_name};
use crate::segment::{Guard, Search, Segment, TailScan, count_batches};
use crate::types::{Offset, Position};

use super::leftovers::Found;
use super::parallel::ask_each;
use super::rules::{
    Landed, SegmentFacts, Violation, applicable, at_mark, lost_between, truncated, violations,
};
use super::{OpenMode, Opening};

impl Opening<'_> {
    /// Refuses damage. Changes nothing.
    pub(super) fn judge(&mut self, segments: &[Arc<Segment>]) -> Result<()> {
        let facts = self.facts(segments);
        self.mark = applicable(self.mark, segments.len());
        let mark = self.mark;
        let mut found = violations(self.key, mark.as_ref(), &facts).into_iter();
        // The oldest segments may just be going while this only looks.
        let excused = |found: &Violation| {
            self.mode == OpenMode::Read && matches!(found, Violation::StartsLate { .. })
        };
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
        let (scanned, written) = self.check_segment(holder, true)?;
        let landed = Landed {
            end: scanned.end,
            at_mark: scanned.at_mark,
        };
        if let Some(violation) = at_mark(&mark, landed) {
            return Err(self.refusal(&violation, scanned.stopped));
        }
        self.judged = Some((scanned, written));
        Ok(())
    }

    /// Refuses a log of a broker that has lost a segment between others: what is left of it would
    /// be removed as a leftover.
    pub(super) fn judge_names(&self, found: &Found) -> Result<()> {
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

    /// What the rules need to know of the segments: their digests are all that is read.
    pub(crate) fn facts(&self, segments: &[Arc<Segment>]) -> Vec<SegmentFacts> {
        let (disk, swapped) = (&self.host.disk, &self.swapped);
        let believed = !self.host.marks.are_distrusted();
        ask_each(segments, |segment| {
            let base = segment.base_offset();
            // Under the names of an output that has another one stand the files of its source.
            let believed = believed && !swapped.contains_key(&base);
            SegmentFacts {
                base,
                length: segment.end(),
                digest: believed.then(|| segment.digest_summary(disk)).flatten(),
            }
        })
    }

    /// Notes the sealed segments that are to have a digest, or one of their present state.
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

    /// The error for a violation; `stopped` is why the walk over the batches ended.
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

fn damage(segment: &Segment, at: Position, reason: Corruption) -> Error {
    Error::corrupt(&segment.log_path(), at.0, reason)
}
