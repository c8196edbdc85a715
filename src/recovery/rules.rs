//! What counts as damage in a log that is opened: one pure table for opening, `verify` and
//! `repair`.
//!
//! Knows nothing about files and batches: it compares what a listing, the flushed mark and the
//! headers of the digests say. Opening refuses at the first violation, `verify` reports all of
//! them, and `repair` keeps what none covers.
//!
//! 1. Everything below the mark was synced. So it is damage, and not the result of a crash, if the
//!    log begins above its start, if the mark's segment is missing or shorter than the mark says,
//!    or if no batch ends at the mark with the flushed offset.
//! 2. A digest is made of synced bytes. So a segment is never shorter than its digest says,
//!    wherever the mark is: whatever cuts a segment removes the digest first, durably.
//! 3. A sealed segment below the mark ends where the next one begins, if its digest is of exactly
//!    its current state. Above the mark a crash may have lost any name, so a gap proves nothing.
//! 4. A digest that names another log is damage if the mark is known: directories were exchanged.
//!    Without a mark, the directory may have been moved here, and only a digest that names this log
//!    counts. Nothing else is concluded from it.
//! 5. If the mark came from a Kafka broker's checkpoint, a batch boundary is not proof enough: its
//!    position is simply the length of the file, so the batches must reach the offset.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::format::{Corruption, DigestSummary, Mark, MarkKey, log_hash};
use crate::types::{Offset, Position, to_usize};

#[derive(Clone, Copy, Debug)]
pub(crate) struct SegmentFacts {
    pub(crate) base: Offset,
    pub(crate) length: Position,
    /// `None` also if digests are not trusted.
    pub(crate) digest: Option<DigestSummary>,
}

/// A state that no crash leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// The log begins above its start.
    StartsLate { start: Offset, first: Offset },
    /// The segment of the mark does not exist.
    Missing { base: Offset },
    /// The digest names another log.
    OtherLog { base: Offset },
    /// The segment, or its valid batches, end below what was synced.
    Shorter {
        base: Offset,
        end: Position,
        expected: Position,
    },
    /// The segment after this one does not begin where it did.
    Gap { expected: Offset, found: Offset },
    /// A batch crosses the mark.
    InsideBatch { base: Offset, position: Position },
    /// The batches below the mark end at another offset.
    WrongOffset {
        base: Offset,
        position: Position,
        expected: Offset,
        found: Offset,
    },
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Landed {
    /// The end of the valid batches in the mark's segment.
    pub(crate) end: Position,
    /// One past the last offset below the mark; `None` when no batch ends there.
    pub(crate) at_mark: Option<Offset>,
}

/// A mark made while there was no segment says nothing about segments that were put back since.
pub(crate) fn applicable(mark: Option<Mark>, segments: usize) -> Option<Mark> {
    mark.filter(|mark| segments == 0 || mark.position != Mark::NOTHING_FOUND)
}

pub(crate) fn violations(
    key: MarkKey,
    mark: Option<&Mark>,
    segments: &[SegmentFacts],
) -> Vec<Violation> {
    // If no segment is known to be this log's own, all of them were exchanged together, and their
    // records are all there is.
    let has_own = has_own(key, segments);
    let own: Vec<Offset> = segments
        .iter()
        .filter(|facts| !facts.is_left_out(key, mark, has_own))
        .map(|facts| facts.base)
        .collect();
    let mut found = Vec::new();
    if let Some(mark) = mark {
        found.extend(own.first().and_then(|first| starts_late(mark, *first)));
        found.extend(missing(mark, &own));
    }
    let mut later = own.iter().copied().peekable();
    for facts in segments {
        let base = facts.base;
        while later.next_if(|next| *next <= base).is_some() {}
        if mark.is_some() && facts.owner(key) == Owner::Another {
            found.push(Violation::OtherLog { base });
        }
        found.extend(facts.too_short(key, mark));
        found.extend(facts.gap(key, mark, later.peek().copied()));
    }
    found
}

/// A segment between others that has an index and no batches. After a clean shutdown of a broker
/// only a loss leaves that; in a log of our own a power cut may, until its first mark is durable.
pub(crate) fn lost_between(base: Offset, bases: &BTreeSet<Offset>) -> Option<Violation> {
    let behind = bases.range(..base).next_back();
    let found = bases.range(base..).next().filter(|next| **next > base);
    behind.and(found).map(|found| Violation::Gap {
        expected: base,
        found: *found,
    })
}

pub(crate) fn at_mark(mark: &Mark, landed: Landed) -> Option<Violation> {
    let (base, position) = (mark.segment_base, mark.position);
    if landed.end < position {
        return Some(Violation::Shorter {
            base,
            end: landed.end,
            expected: position,
        });
    }
    let Some(found) = landed.at_mark else {
        return Some(Violation::InsideBatch { base, position });
    };
    let expected = mark.flushed_offset;
    let fits = if mark.by_broker {
        found >= expected
    } else {
        // The flushed offset of a log that was truncated inside a gap is above its last batch.
        found == expected || !mark.dense && found < expected
    };
    (!fits).then_some(Violation::WrongOffset {
        base,
        position,
        expected,
        found,
    })
}

/// Whether the bytes from a position on were synced. Without a mark nothing is known, and no damage
/// is attributed to a crash.
pub(crate) fn is_flushed(mark: Option<&Mark>, base: Offset, at: Position) -> bool {
    mark.is_none_or(|mark| (base, at) < (mark.segment_base, mark.position))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    This,
    Another,
    Unknown,
}

impl SegmentFacts {
    fn owner(&self, key: MarkKey) -> Owner {
        match self.digest {
            Some(digest) if digest.is_from_other_log(key) => Owner::Another,
            Some(digest) if digest.home == log_hash(key) => Owner::This,
            _ => Owner::Unknown,
        }
    }

    /// Whether the segment is another log's, in a log that has some of its own.
    pub(crate) fn is_left_out(&self, key: MarkKey, mark: Option<&Mark>, has_own: bool) -> bool {
        mark.is_some() && has_own && self.owner(key) == Owner::Another
    }

    /// The digest, if something may be concluded from it (I4).
    fn evidence(&self, key: MarkKey, mark: Option<&Mark>) -> Option<DigestSummary> {
        let owner = self.owner(key);
        let counts = owner == Owner::This || mark.is_some() && owner == Owner::Unknown;
        self.digest.filter(|_| counts)
    }

    fn too_short(&self, key: MarkKey, mark: Option<&Mark>) -> Option<Violation> {
        let of_mark = mark.filter(|mark| mark.segment_base == self.base);
        let of_mark = of_mark.map_or(Position::ZERO, |mark| mark.position);
        let of_digest = self.evidence(key, mark).map(|digest| digest.length);
        let expected = of_mark.max(of_digest.unwrap_or_default());
        (self.length < expected).then_some(Violation::Shorter {
            base: self.base,
            end: self.length,
            expected,
        })
    }

    /// Rule (I3). Below the start of the log some files may already be removed.
    fn gap(&self, key: MarkKey, mark: Option<&Mark>, next: Option<Offset>) -> Option<Violation> {
        let (digest, found) = (self.evidence(key, mark)?, next?);
        let below_mark = mark.is_none_or(|mark| self.base < mark.segment_base);
        let start = mark.map_or(0, |mark| mark.log_start_offset);
        let expected = digest.next_offset;
        let exact = digest.length == self.length;
        let differs = exact && below_mark && expected != found && expected > start;
        differs.then_some(Violation::Gap { expected, found })
    }
}

fn starts_late(mark: &Mark, first: Offset) -> Option<Violation> {
    let start = mark.log_start_offset;
    (first > start).then_some(Violation::StartsLate { start, first })
}

pub(crate) fn has_own(key: MarkKey, segments: &[SegmentFacts]) -> bool {
    segments.iter().any(|facts| facts.owner(key) == Owner::This)
}

fn missing(mark: &Mark, bases: &[Offset]) -> Option<Violation> {
    if bases.contains(&mark.segment_base) {
        return None;
    }
    let above = bases.last().is_some_and(|last| *last > mark.segment_base);
    let was_empty = mark.position == Position::ZERO && !above;
    let below_there = !bases.is_empty() || mark.segment_base <= mark.log_start_offset;
    // Everything that was flushed is below the start: its files may be removed at any time.
    let gone_by_right = mark.flushed_offset <= mark.log_start_offset;
    let allowed = was_empty && below_there || gone_by_right;
    (!allowed).then_some(Violation::Missing {
        base: mark.segment_base,
    })
}

impl Violation {
    pub(crate) fn file(&self) -> Offset {
        match *self {
            Self::StartsLate { start, .. } => start,
            Self::Gap { expected, .. } => expected,
            Self::Missing { base }
            | Self::OtherLog { base }
            | Self::Shorter { base, .. }
            | Self::InsideBatch { base, .. }
            | Self::WrongOffset { base, .. } => base,
        }
    }

    pub(crate) fn position(&self) -> Position {
        match *self {
            Self::Shorter { end, .. } => end,
            Self::InsideBatch { position, .. } | Self::WrongOffset { position, .. } => position,
            _ => Position::ZERO,
        }
    }

    pub(crate) fn reason(&self) -> Corruption {
        match *self {
            Self::StartsLate { start, first } => Corruption::offset(start, first),
            Self::Missing { .. } => Corruption::malformed("a segment that was flushed is missing"),
            Self::OtherLog { .. } => Corruption::malformed("the segment belongs to another log"),
            Self::Shorter { end, expected, .. } => truncated(expected, end),
            Self::InsideBatch { .. } => {
                Corruption::malformed("a batch reaches over the end of what was flushed")
            }
            Self::Gap { expected, found }
            | Self::WrongOffset {
                expected, found, ..
            } => Corruption::offset(expected, found),
        }
    }

    /// The offsets that are lost with a missing file.
    pub(crate) fn offsets(&self, mark: Option<&Mark>) -> Range<Offset> {
        match *self {
            Self::StartsLate { start, first } => start..first,
            Self::Gap { expected, found } => expected..found.max(expected),
            Self::Missing { base } => {
                let mark = mark.copied().unwrap_or_default();
                let from = base.max(mark.log_start_offset);
                from..mark.flushed_offset.max(from)
            }
            _ => 0..0,
        }
    }
}

pub(crate) fn truncated(needed: Position, there: Position) -> Corruption {
    Corruption::truncated(to_usize(needed.0), to_usize(there.0))
}

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
