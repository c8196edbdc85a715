//! Decides what is kept of a damaged log, and where.
//!
//! Knows nothing about files.
//!
//! 1. Every good (or corrected) batch below the flushed mark is kept, at its own offset. Above it
//!    the rules for a crash apply: everything behind the first hole is dropped.
//! 2. A file with the batches of another segment gets that segment's place.
//! 3. If two files claim an offset, the one in its own place wins.
//! 4. Zeros below the mark, or between segments, are lost bytes; at the end of the log they are
//!    reserved space, which opening releases.

use std::ops::Range;

use crate::format::{Corruption, Mark, PREFIX_LEN};
use crate::types::{Offset, Position};

use crate::doctor::scan::{Condition, SegmentScan, Stretch};
use crate::recovery::is_flushed;

#[derive(Debug)]
pub(super) struct ScannedSegment<'a> {
    pub(super) base_offset: Offset,
    pub(super) scan: &'a SegmentScan,
}

#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Sorted by base offset.
    pub(super) outputs: Vec<Output>,
    pub(super) aside: Vec<Aside>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Output {
    pub(super) base_offset: Offset,
    /// The file that its batches come from.
    pub(super) source: usize,
    pub(super) source_base: Offset,
    pub(super) pieces: Vec<Piece>,
    pub(super) offsets: Range<Offset>,
    pub(super) untouched: bool,
}

impl Output {
    pub(super) fn moved(&self) -> bool {
        self.base_offset != self.source_base
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) bytes: Range<Position>,
    /// Written over the first of them.
    pub(super) prefix: Option<[u8; PREFIX_LEN]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Aside {
    pub(super) source: usize,
    pub(super) bytes: Range<Position>,
    /// The offsets that are lost, as far as known.
    pub(super) offsets: Range<Offset>,
    pub(super) reason: Corruption,
}

pub(super) fn plan(found: &[ScannedSegment<'_>], mark: Option<&Mark>) -> Plan {
    let mut plan = Plan::default();
    let mut above = Above {
        mark,
        cut: None,
        // Where files are in each other's places, the order of the files says nothing about gaps.
        expected: mark
            .map(|mark| mark.flushed_offset)
            .filter(|_| !found.iter().any(|found| found.scan.misplaced)),
    };
    for (source, segment) in found.iter().enumerate() {
        let output = plan.segment(source, segment, &mut above);
        plan.outputs.extend(output);
        let next_base = found.get(source.saturating_add(1));
        plan.zeros(
            source,
            segment,
            &mut above,
            next_base.map(|next| next.base_offset),
        );
    }
    // Places first: claims to the same offsets can be seen only once each file has its place.
    plan.find_places(found);
    plan.part(found);
    plan
}

/// What is above the mark: only what continues without a gap is kept (I1).
struct Above<'a> {
    mark: Option<&'a Mark>,
    cut: Option<Corruption>,
    /// The offset of the next batch above the mark, where known.
    expected: Option<Offset>,
}

impl Above<'_> {
    /// Whether a position is above the mark.
    fn holds(&self, base_offset: Offset, at: Position) -> bool {
        !is_flushed(self.mark, base_offset, at)
    }

    fn refuses(&mut self, base_offset: Offset, stretch: &Stretch) -> Option<Corruption> {
        let unflushed = self.holds(base_offset, stretch.bytes.start);
        if let Condition::Damaged(reason) = &stretch.condition {
            if unflushed {
                self.cut.get_or_insert_with(|| reason.clone());
            }
            return Some(reason.clone());
        }
        let first = stretch.offsets.start;
        let expected = self
            .expected
            .filter(|expected| unflushed && *expected != first);
        if let Some(expected) = expected {
            let gap = Corruption::offset(expected, first);
            self.cut.get_or_insert(gap);
        }
        if unflushed && self.cut.is_some() {
            return self.cut.clone();
        }
        // Below the mark, too: an interrupted repair may have left a shorter file.
        if let Some(expected) = &mut self.expected {
            *expected = (*expected).max(stretch.offsets.end);
        }
        None
    }
}

impl Plan {
    fn segment(
        &mut self,
        source: usize,
        found: &ScannedSegment<'_>,
        above: &mut Above<'_>,
    ) -> Option<Output> {
        let base_offset = found.base_offset;
        let mut output = Output {
            base_offset,
            source,
            source_base: base_offset,
            pieces: Vec::new(),
            offsets: base_offset..base_offset,
            untouched: true,
        };
        for stretch in found.scan.stretches.iter() {
            if let Some(reason) = above.refuses(base_offset, stretch) {
                let (bytes, offsets) = (stretch.bytes.clone(), stretch.offsets.clone());
                self.set_aside(source, bytes, offsets, &reason);
                output.untouched = false;
                continue;
            }
            let mut prefix = None;
            if let Condition::Patched(right, reason) = &stretch.condition {
                let front = stretch.bytes.start..stretch.bytes.start.plus(PREFIX_LEN);
                let none = stretch.offsets.start..stretch.offsets.start;
                self.set_aside(source, front, none, reason);
                output.untouched = false;
                prefix = Some(*right);
            }
            if output.pieces.is_empty() {
                output.offsets = stretch.offsets.clone();
            }
            output.offsets.end = stretch.offsets.end;
            output.pieces.push(Piece {
                bytes: stretch.bytes.clone(),
                prefix,
            });
        }
        let nothing_was = found.scan.stretches.iter().next().is_none();
        let kept = !output.pieces.is_empty() || nothing_was;
        kept.then_some(output)
    }

    /// Decides about the zeros at the end of a file (I4).
    fn zeros(
        &mut self,
        source: usize,
        found: &ScannedSegment<'_>,
        above: &mut Above<'_>,
        next_base: Option<Offset>,
    ) {
        let scan = found.scan;
        let at = scan.stretches.iter().last().map(|last| last.bytes.end);
        let at = at.unwrap_or_default();
        let unflushed = above.holds(found.base_offset, at);
        let last = next_base.is_none();
        let reserved = last && (unflushed || above.mark.is_none());
        if scan.reserved == 0 || reserved {
            return;
        }
        let reason = Corruption::malformed("zeros where batches were");
        // A segment that was sealed but not yet cut to its length is followed directly by the next
        // one.
        if unflushed && next_base != Some(scan.next_offset) {
            above.cut.get_or_insert_with(|| reason.clone());
        }
        let from = scan.next_offset;
        let flushed = above.mark.map_or(from, |mark| mark.flushed_offset);
        let to = next_base.unwrap_or(flushed).max(from);
        let end = Position(at.0.saturating_add(scan.reserved));
        self.set_aside(source, at..end, from..to, &reason);
        let of_this = |output: &Output| output.source == source;
        if let Some(output) = self.outputs.last_mut().filter(|output| of_this(output)) {
            output.untouched = false;
            if output.pieces.is_empty() {
                self.outputs.pop();
            }
        }
    }

    fn set_aside(
        &mut self,
        source: usize,
        bytes: Range<Position>,
        offsets: Range<Offset>,
        reason: &Corruption,
    ) {
        self.aside.push(Aside {
            source,
            bytes,
            offsets,
            reason: reason.clone(),
        });
    }

    /// Moves files with the batches of other segments to their places (I2).
    fn find_places(&mut self, found: &[ScannedSegment<'_>]) {
        let is_misplaced = |output: &Output| {
            let found = found.get(output.source);
            found.is_some_and(|found| found.scan.misplaced)
        };
        let mut taken: Vec<Offset> = self
            .outputs
            .iter()
            .filter(|output| !is_misplaced(output))
            .map(|output| output.base_offset)
            .collect();
        for output in self
            .outputs
            .iter_mut()
            .filter(|output| is_misplaced(output))
        {
            let first = output.offsets.start;
            let named = found.iter().map(|found| found.base_offset);
            let floor = named.filter(|base| *base <= first).max();
            let base = floor.filter(|base| !taken.contains(base)).unwrap_or(first);
            output.untouched &= output.base_offset == base;
            output.base_offset = base;
            taken.push(base);
        }
        self.outputs
            .sort_by_key(|output| (output.base_offset, output.offsets.start));
    }

    /// Quarantines what claims offsets that another file has (I3).
    fn part(&mut self, found: &[ScannedSegment<'_>]) {
        let mut kept: Vec<Output> = Vec::new();
        for output in std::mem::take(&mut self.outputs) {
            let misplaced = |output: &Output| {
                let found = found.get(output.source);
                found.is_some_and(|found| found.scan.misplaced)
            };
            let loser = match kept.last() {
                Some(last) if clash(last, &output) => {
                    if misplaced(last) && !misplaced(&output) {
                        kept.pop()
                    } else {
                        None
                    }
                }
                _ => {
                    kept.push(output);
                    continue;
                }
            };
            let loser = match loser {
                Some(loser) => {
                    kept.push(output);
                    loser
                }
                None => output,
            };
            for piece in &loser.pieces {
                let reason = Corruption::malformed("the offsets belong to another segment");
                let offsets = loser.offsets.start..loser.offsets.start;
                self.set_aside(loser.source, piece.bytes.clone(), offsets, &reason);
            }
        }
        self.outputs = kept;
    }

    pub(super) fn has(&self, base_offset: Offset) -> bool {
        let mut outputs = self.outputs.iter();
        outputs.any(|output| output.base_offset == base_offset)
    }

    /// Whether nothing of a file is kept, and no other one takes its name.
    pub(super) fn goes_whole(&self, source: usize, base_offset: Offset) -> bool {
        let used = self.outputs.iter().any(|output| output.source == source);
        !used && !self.has(base_offset)
    }
}

/// Whether two outputs conflict. The second begins at or above the first.
fn clash(first: &Output, second: &Output) -> bool {
    first.base_offset == second.base_offset
        || first.offsets.end > second.base_offset && !first.offsets.is_empty()
}
