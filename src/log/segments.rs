//! The segments of a log, ordered by base offset; the last one is active.
//!
//! Knows nothing about files. A log always has at least one segment.

use std::sync::Arc;

use crate::segment::Segment;
use crate::types::Offset;

#[derive(Debug)]
pub(crate) struct Segments {
    sealed: Vec<Arc<Segment>>,
    active: Arc<Segment>,
}

impl Segments {
    pub(super) fn new(sealed: Vec<Arc<Segment>>, active: Arc<Segment>) -> Self {
        Self { sealed, active }
    }

    pub(crate) fn active(&self) -> &Arc<Segment> {
        &self.active
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<Segment>> {
        self.sealed.iter().chain(std::iter::once(&self.active))
    }

    pub(crate) fn sealed(&self) -> &[Arc<Segment>] {
        &self.sealed
    }

    /// The last segment that begins at or below an offset; the first one if all begin above.
    pub(crate) fn floor(&self, offset: Offset) -> &Arc<Segment> {
        if self.active.base_offset() <= offset {
            return &self.active;
        }
        let after = self
            .sealed
            .partition_point(|segment| segment.base_offset() <= offset);
        self.sealed
            .get(after.saturating_sub(1))
            .unwrap_or(&self.active)
    }

    /// The first segment that begins above an offset.
    pub(crate) fn after(&self, base_offset: Offset) -> Option<&Arc<Segment>> {
        if self.active.base_offset() <= base_offset {
            return None;
        }
        let at = self
            .sealed
            .partition_point(|segment| segment.base_offset() <= base_offset);
        Some(self.sealed.get(at).unwrap_or(&self.active))
    }

    pub(super) fn roll(&mut self, next: Arc<Segment>) {
        self.sealed.push(std::mem::replace(&mut self.active, next));
    }

    /// Removes and returns the sealed segments that are wholly below an offset.
    pub(super) fn remove_below(&mut self, offset: Offset) -> Vec<Arc<Segment>> {
        let bases = self
            .sealed
            .iter()
            .skip(1)
            .chain(std::iter::once(&self.active));
        let gone = bases
            .take(self.sealed.len())
            .take_while(|next| next.base_offset() <= offset)
            .count();
        // If all sealed segments are removed, the active one begins at or below the offset as well.
        self.sealed.drain(..gone.min(self.sealed.len())).collect()
    }

    /// Removes and returns the segments that begin above an offset. The last one left becomes
    /// active; the first always stays.
    pub(super) fn remove_above(&mut self, offset: Offset) -> Vec<Arc<Segment>> {
        let mut gone = Vec::new();
        while self.active.base_offset() > offset {
            let Some(below) = self.sealed.pop() else {
                break;
            };
            gone.push(std::mem::replace(&mut self.active, below));
        }
        gone
    }

    /// Replaces the sealed segments with base offsets from `first` to `last`.
    pub(super) fn replace(&mut self, first: Offset, last: Offset, with: Vec<Arc<Segment>>) {
        let from = self
            .sealed
            .partition_point(|segment| segment.base_offset() < first);
        let to = self
            .sealed
            .partition_point(|segment| segment.base_offset() <= last);
        self.sealed.splice(from..to, with);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Position;
    use std::path::Path;

    fn segments(bases: &[Offset]) -> Segments {
        let mut all: Vec<_> = bases
            .iter()
            .map(|base| {
                Arc::new(Segment::sealed(
                    Path::new("x").into(),
                    *base,
                    Position(9),
                    *base,
                ))
            })
            .collect();
        let active = all.pop().unwrap();
        Segments::new(all, active)
    }

    fn bases(segments: &Segments) -> Vec<Offset> {
        segments
            .iter()
            .map(|segment| segment.base_offset())
            .collect()
    }

    #[test]
    fn an_offset_is_found_in_the_last_segment_that_begins_at_or_below_it() {
        let set = segments(&[10, 20, 30]);
        for (offset, base) in [
            (0, 10),
            (10, 10),
            (19, 10),
            (20, 20),
            (29, 20),
            (30, 30),
            (99, 30),
        ] {
            assert_eq!(set.floor(offset).base_offset(), base, "{offset}");
        }
        assert_eq!(set.after(10).map(|s| s.base_offset()), Some(20));
        assert_eq!(set.after(15).map(|s| s.base_offset()), Some(20));
        assert_eq!(set.after(20).map(|s| s.base_offset()), Some(30));
        assert_eq!(set.after(30).map(|s| s.base_offset()), None);
    }

    #[test]
    fn only_segments_that_lie_wholly_below_are_taken_away() {
        let mut set = segments(&[10, 20, 30]);
        assert_eq!(set.remove_below(19).len(), 0);
        assert_eq!(set.remove_below(20).len(), 1);
        assert_eq!(bases(&set), [20, 30]);
        assert_eq!(set.remove_below(1000).len(), 1);
        assert_eq!(bases(&set), [30]);
        assert_eq!(set.remove_below(1000).len(), 0);
        assert_eq!(bases(&set), [30]);
    }

    #[test]
    fn cutting_from_above_leaves_the_first() {
        let mut set = segments(&[10, 20, 30]);
        assert_eq!(set.remove_above(20).len(), 1);
        assert_eq!(bases(&set), [10, 20]);
        assert_eq!(set.remove_above(0).len(), 1);
        assert_eq!(bases(&set), [10]);
    }

    #[test]
    fn neighbours_are_replaced_by_one() {
        let mut set = segments(&[10, 20, 30, 40]);
        let merged = Arc::new(Segment::sealed(Path::new("x").into(), 10, Position(9), 30));
        set.replace(10, 20, vec![merged]);
        assert_eq!(bases(&set), [10, 30, 40]);
    }
}
