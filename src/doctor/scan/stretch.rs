//! The stretches of a segment file, in order.
//!
//! Knows nothing about how they are found.

use std::ops::Range;

use crate::format::{Corruption, PREFIX_LEN};
use crate::types::{Offset, Position};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::doctor) struct Stretch {
    pub(in crate::doctor) bytes: Range<Position>,
    /// The offsets of its records, or those that are lost as far as known.
    pub(in crate::doctor) offsets: Range<Offset>,
    pub(in crate::doctor) condition: Condition,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::doctor) enum Condition {
    Good,
    /// One batch whose first bytes are damaged, and what they must have been.
    Patched([u8; PREFIX_LEN], Corruption),
    /// Bytes that are not a valid batch, or a batch that is not in its place.
    Damaged(Corruption),
}

impl Stretch {
    pub(in crate::doctor) fn is_good(&self) -> bool {
        self.condition == Condition::Good
    }

    pub(in crate::doctor) fn is_kept(&self) -> bool {
        !matches!(self.condition, Condition::Damaged(_))
    }

    pub(in crate::doctor) fn len(&self) -> u64 {
        self.bytes.end.since(self.bytes.start)
    }
}

#[derive(Clone, Debug, Default)]
pub(in crate::doctor) struct Stretches(Vec<Stretch>);

impl Stretches {
    pub(in crate::doctor) fn iter(&self) -> impl Iterator<Item = &Stretch> {
        self.0.iter()
    }

    pub(in crate::doctor) fn kept(&self) -> impl Iterator<Item = &Stretch> {
        self.0.iter().filter(|stretch| stretch.is_kept())
    }

    pub(in crate::doctor) fn all_good(&self) -> bool {
        self.0.iter().all(Stretch::is_good)
    }

    /// Joins neighbours that are both good.
    pub(super) fn push(&mut self, next: Stretch) {
        if next.is_good()
            && let Some(last) = self.0.last_mut()
            && last.is_good()
        {
            last.bytes.end = next.bytes.end;
            last.offsets.end = next.offsets.end;
            return;
        }
        self.0.push(next);
    }

    /// Changes the condition of part of a good stretch. `offsets` are those of the part.
    pub(super) fn carve(
        &mut self,
        bytes: Range<Position>,
        offsets: Range<Offset>,
        condition: Condition,
    ) {
        let holds = |stretch: &Stretch| {
            stretch.is_good()
                && stretch.bytes.start <= bytes.start
                && bytes.end <= stretch.bytes.end
        };
        let Some(index) = self.0.iter().position(holds) else {
            return;
        };
        let Some(whole) = self.0.get(index).cloned() else {
            return;
        };
        let part = |bytes: Range<Position>, offsets: Range<Offset>, condition| Stretch {
            bytes,
            offsets,
            condition,
        };
        let before = part(
            whole.bytes.start..bytes.start,
            whole.offsets.start..offsets.start,
            Condition::Good,
        );
        let after = part(
            bytes.end..whole.bytes.end,
            offsets.end..whole.offsets.end.max(offsets.end),
            Condition::Good,
        );
        let middle = part(bytes, offsets, condition);
        let parts = [before, middle, after];
        let parts = parts.into_iter().filter(|part| part.len() > 0);
        self.0.splice(index..=index, parts);
    }

    pub(super) fn good_end(&self, at: Position) -> Option<Position> {
        let holds = |stretch: &&Stretch| {
            stretch.is_good() && stretch.bytes.start <= at && at < stretch.bytes.end
        };
        self.0.iter().find(holds).map(|stretch| stretch.bytes.end)
    }

    pub(in crate::doctor) fn refuse_all(&mut self, reason: &Corruption) {
        for stretch in &mut self.0 {
            stretch.condition = Condition::Damaged(reason.clone());
        }
    }

    pub(super) fn is_good_in(&self, bytes: &Range<Position>) -> bool {
        let apart = |stretch: &Stretch| {
            stretch.bytes.end <= bytes.start || bytes.end <= stretch.bytes.start
        };
        let covered = self
            .0
            .last()
            .is_some_and(|last| bytes.end <= last.bytes.end);
        covered
            && self
                .0
                .iter()
                .all(|stretch| stretch.is_good() || apart(stretch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(bytes: Range<u64>, offsets: Range<Offset>) -> Stretch {
        Stretch {
            bytes: Position(bytes.start)..Position(bytes.end),
            offsets,
            condition: Condition::Good,
        }
    }

    #[test]
    fn neighbours_join_and_are_carved() {
        let mut stretches = Stretches::default();
        stretches.push(good(0..10, 0..1));
        stretches.push(good(10..20, 1..2));
        stretches.push(good(20..30, 2..3));
        assert_eq!(stretches.iter().count(), 1);
        let damaged = Condition::Damaged(Corruption::malformed("x"));
        stretches.carve(Position(10)..Position(20), 1..2, damaged.clone());
        let found: Vec<_> = stretches.iter().cloned().collect();
        assert_eq!(found[0], good(0..10, 0..1));
        assert_eq!(found[1].condition, damaged);
        assert_eq!(found[2], good(20..30, 2..3));
        assert!(stretches.is_good_in(&(Position(20)..Position(30))));
        assert!(!stretches.is_good_in(&(Position(19)..Position(30))));
        stretches.carve(Position(0)..Position(10), 0..1, damaged);
        assert_eq!(stretches.kept().count(), 1);
    }
}
