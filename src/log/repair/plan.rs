//! What is kept of a damaged log, and where: pure decisions over what was found.
//!
//! Knows nothing about files.
//!
//! 1. Every batch below the flushed mark that is good (or can be put right) is kept, at its own
//!    offset. Above the mark the rules of a crash hold: what stands behind the first hole goes.
//! 2. A segment file that holds the batches of another segment gets that one's place.
//! 3. No offset is kept twice: where two files claim one, the file in its own place wins.

use std::ops::Range;

use crate::format::{Corruption, Mark, PREFIX_LEN};
use crate::types::{Offset, Position};

use super::super::survey::{Condition, Survey};

/// A segment as the plan sees it.
#[derive(Debug)]
pub(super) struct Found<'a> {
    pub(super) base_offset: Offset,
    pub(super) survey: &'a Survey,
}

/// What becomes of a log.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The segments that there are to be, by base offset.
    pub(super) outputs: Vec<Output>,
    /// What is set aside, in the order of the files.
    pub(super) aside: Vec<Aside>,
}

/// A segment that there is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Output {
    pub(super) base_offset: Offset,
    /// The file that its batches come from, and what that is called.
    pub(super) source: usize,
    pub(super) source_base: Offset,
    pub(super) pieces: Vec<Piece>,
    pub(super) offsets: Range<Offset>,
    /// It is its source as it stands.
    pub(super) untouched: bool,
}

impl Output {
    /// Whether its batches stand in the file of another segment.
    pub(super) fn moved(&self) -> bool {
        self.base_offset != self.source_base
    }
}

/// Bytes that are copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) bytes: Range<Position>,
    /// What the first of them are to be instead.
    pub(super) prefix: Option<[u8; PREFIX_LEN]>,
}

/// Bytes that are set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Aside {
    pub(super) source: usize,
    pub(super) bytes: Range<Position>,
    /// The records that are lost with them, as far as that is known.
    pub(super) offsets: Range<Offset>,
    pub(super) reason: Corruption,
}

/// Decides.
pub(super) fn plan(found: &[Found<'_>], mark: Option<&Mark>) -> Plan {
    let mut plan = Plan::default();
    let mut cut = None;
    for (source, segment) in found.iter().enumerate() {
        let output = plan.segment(source, segment, mark, &mut cut);
        plan.outputs.extend(output);
    }
    plan.find_places(found);
    plan.part(found);
    plan
}

impl Plan {
    /// What is kept of one file, as if it were alone.
    fn segment(
        &mut self,
        source: usize,
        found: &Found<'_>,
        mark: Option<&Mark>,
        cut: &mut Option<Corruption>,
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
        for stretch in found.survey.stretches.iter() {
            let unflushed = mark.is_some_and(|mark| {
                (base_offset, stretch.bytes.start) >= (mark.segment_base, mark.position)
            });
            let prefix = match &stretch.condition {
                Condition::Damaged(reason) => {
                    self.set_aside(
                        source,
                        stretch.bytes.clone(),
                        stretch.offsets.clone(),
                        reason,
                    );
                    output.untouched = false;
                    if unflushed {
                        cut.get_or_insert_with(|| reason.clone());
                    }
                    continue;
                }
                // Behind a hole above the mark (1).
                _ if unflushed && cut.is_some() => {
                    let reason = cut
                        .clone()
                        .unwrap_or(Corruption::malformed("behind a hole"));
                    self.set_aside(
                        source,
                        stretch.bytes.clone(),
                        stretch.offsets.clone(),
                        &reason,
                    );
                    output.untouched = false;
                    continue;
                }
                Condition::Patched(prefix, reason) => {
                    let front = stretch.bytes.start..stretch.bytes.start.plus(PREFIX_LEN);
                    let none = stretch.offsets.start..stretch.offsets.start;
                    self.set_aside(source, front, none, reason);
                    output.untouched = false;
                    Some(*prefix)
                }
                Condition::Good => None,
            };
            if output.pieces.is_empty() {
                output.offsets = stretch.offsets.clone();
            }
            output.offsets.end = stretch.offsets.end;
            output.pieces.push(Piece {
                bytes: stretch.bytes.clone(),
                prefix,
            });
        }
        output.untouched &= found.survey.reserved == 0;
        let nothing_was = found.survey.stretches.iter().next().is_none();
        (!output.pieces.is_empty() || nothing_was).then_some(output)
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

    /// Gives files that hold the batches of other segments their place (2).
    fn find_places(&mut self, found: &[Found<'_>]) {
        let is_misplaced = |output: &Output| {
            let found = found.get(output.source);
            found.is_some_and(|found| found.survey.misplaced)
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

    /// Sets aside what claims offsets that another file has (3).
    fn part(&mut self, found: &[Found<'_>]) {
        let mut kept: Vec<Output> = Vec::new();
        for output in std::mem::take(&mut self.outputs) {
            let misplaced = |output: &Output| {
                let found = found.get(output.source);
                found.is_some_and(|found| found.survey.misplaced)
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
                let reason = Corruption::malformed("the offsets are those of another segment");
                let offsets = loser.offsets.start..loser.offsets.start;
                self.set_aside(loser.source, piece.bytes.clone(), offsets, &reason);
            }
        }
        self.outputs = kept;
    }

    /// Whether a file is to have this name.
    pub(super) fn has(&self, base_offset: Offset) -> bool {
        let mut outputs = self.outputs.iter();
        outputs.any(|output| output.base_offset == base_offset)
    }

    /// Whether nothing of a file is kept, and nothing takes its name.
    pub(super) fn goes_whole(&self, source: usize, base_offset: Offset) -> bool {
        let used = self.outputs.iter().any(|output| output.source == source);
        !used && !self.has(base_offset)
    }
}

/// Whether two outputs, the second of which begins at or above the first, cannot both be.
fn clash(first: &Output, second: &Output) -> bool {
    first.base_offset == second.base_offset
        || first.offsets.end > second.base_offset && !first.offsets.is_empty()
}
