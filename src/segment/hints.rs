//! Compares indexes with the batches of a segment that no longer grows.
//!
//! Knows nothing about index files. A search by offset notices an entry that led to the wrong
//! place; one by time does not, for it never reads what it skipped. So the last entries are
//! compared once, when the indexes are loaded:
//!
//! 1. The last time entry names a batch whose largest timestamp is the entry's.
//! 2. The last offset entry names a batch that begins at its position and ends with its offset.
//! 3. No batch from there on is newer than the last time entry.
//!
//! Two reads of about a page each find an index that is cut, empty, garbage or another segment's.

use crate::disk::File;
use crate::format::index::TimeEntry;
use crate::types::{Offset, Position, Timestamp};

use super::batch_cursor::{BatchCursor, RawBatch, Stop};
use super::sparse_index::SparseIndex;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Batches<'a> {
    pub(crate) file: &'a File,
    pub(crate) base_offset: Offset,
    pub(crate) end: Position,
}

impl Batches<'_> {
    /// Whether the indexes may be right. False also for a damaged batch, which a rebuild reports.
    pub(crate) fn agree_with(&self, index: &SparseIndex) -> std::io::Result<bool> {
        answer(self.compare(index))
    }

    fn compare(&self, index: &SparseIndex) -> Result<bool, Stop> {
        if self.end == Position::ZERO {
            // An empty segment has empty indexes; any entry is left over from before.
            let empty = index.offset_entries().is_empty() && index.time_entries().is_empty();
            return Ok(empty);
        }
        let Some(newest) = index.last_time_entry() else {
            return Ok(false);
        };
        Ok(self.names_a_batch(index, newest)? && self.tail_is_older(index, newest.timestamp)?)
    }

    fn names_a_batch(&self, index: &SparseIndex, entry: TimeEntry) -> Result<bool, Stop> {
        let place = index.position_for(entry.relative_offset);
        let named = self.find(place, entry.relative_offset)?;
        Ok(named.is_some_and(|batch| batch.header.max_timestamp == entry.timestamp))
    }

    fn find(&self, from: Position, relative_offset: u32) -> Result<Option<RawBatch>, Stop> {
        let offset = self.base_offset.saturating_add(u64::from(relative_offset));
        let mut cursor = BatchCursor::new(from, self.base_offset);
        while let Some(batch) = cursor.next(self.file, self.end)? {
            if batch.header.next_offset() > offset {
                return Ok(Some(batch).filter(|batch| batch.header.base_offset <= offset));
            }
        }
        Ok(None)
    }

    fn tail_is_older(&self, index: &SparseIndex, newest: Timestamp) -> Result<bool, Stop> {
        let last = index.last_offset_entry();
        let place = last.map_or(0, |entry| u64::from(entry.position));
        // Without an offset entry the scan starts at the beginning.
        let mut cursor = BatchCursor::new(Position(place), self.base_offset);
        let mut expected = last.map(|entry| {
            let after = u64::from(entry.relative_offset).saturating_add(1);
            self.base_offset.saturating_add(after)
        });
        while let Some(batch) = cursor.next(self.file, self.end)? {
            let first = expected.take();
            let misplaced = first.is_some_and(|next| next != batch.header.next_offset());
            if misplaced || batch.header.max_timestamp > newest {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn answer(asked: Result<bool, Stop>) -> std::io::Result<bool> {
    match asked {
        Ok(answer) => Ok(answer),
        Err(Stop::Corrupt(_)) => Ok(false),
        Err(Stop::Io(error)) => Err(error),
    }
}
