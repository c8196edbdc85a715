//! Checks every byte of one segment, even if it is damaged: which stretches are batches in their
//! place.
//!
//! Knows nothing about what is done about it.
//!
//! 1. Every byte is in exactly one stretch, and a good stretch is a run of whole batches.
//! 2. Nothing is called good that contradicts what is known (a digest, or the absence of gaps).
//! 3. A batch with a right checksum and a wrong offset is corrected if only one offset is possible;
//!    otherwise it is damage.
//!
//! A walk over a segment without gaps, with one record per batch, in which the offset of batch 8
//! and the length of batch 11 are damaged:
//!
//! ```text
//! [5][6][7] [90] [9][10] [####] [12][13] 000000
//! good      (a)  good    hole   good     reserved
//! ```
//!
//! (a) begins at the floor 8 and 9 follows exactly, so only 8 fits: it is `Patched`. The hole
//! ends where `batch_behind` finds the next real batch.

mod check;
mod places;
mod stretch;

use std::sync::Arc;

use crate::dir::is_zero;
use crate::disk::File;
use crate::error::{IoContext, Result};
use crate::format::{
    BatchHeader, Corruption, DecodeError, Digest, HEADER_LEN, PREFIX_LEN, RecordBatch,
};
use crate::segment::{
    BatchCursor, Known, RawBatch, ReadStart, Search, Segment, Stop, batch_behind,
};
use crate::types::{Offset, Position, Timestamp, to_usize};

pub(super) use check::{IndexCheck, Verdict};
pub(super) use stretch::{Condition, Stretch, Stretches};

/// A compressed batch that decompresses to more is not checked.
const BUDGET_BYTES: usize = 64 << 20;

#[derive(Debug)]
pub(super) struct Subject<'a> {
    pub(super) segment: &'a Arc<Segment>,
    pub(super) file: &'a File,
    pub(super) end: Position,
    /// All its offsets are below this.
    pub(super) ceiling: Offset,
    /// One past the offsets that were flushed to it, where known.
    pub(super) reached: Option<Offset>,
    pub(super) dense: bool,
    /// Its length is not the one that it was sealed with.
    pub(super) other_length: bool,
    pub(super) digest: Option<&'a Digest>,
}

#[derive(Debug)]
#[expect(
    dead_code,
    reason = "a report tells less than was found out; Debug shows all of it"
)]
pub(super) struct SegmentScan {
    pub(super) base_offset: Offset,
    pub(super) stretches: Stretches,
    /// The good batches are those of another segment.
    pub(super) misplaced: bool,
    /// Bytes of zeros at the end, never written.
    pub(super) reserved: u64,
    pub(super) batches: u64,
    pub(super) records: u64,
    /// Batches of which only the checksum was checked.
    pub(super) not_unpacked: u64,
    pub(super) next_offset: Offset,
    pub(super) newest: Timestamp,
    /// Blocks that are not what was sealed, although every batch in them is good.
    pub(super) odd_blocks: Vec<std::ops::Range<Position>>,
}

/// The last batch that was accepted, which may turn out to be wrong.
#[derive(Clone, Copy, Debug)]
struct Taken {
    at: Position,
    end: Position,
    header: BatchHeader,
    floor: Offset,
    counted: bool,
}

struct Walker<'a> {
    subject: &'a Subject<'a>,
    scan: SegmentScan,
    cursor: BatchCursor,
    /// The next batch begins at or above this offset; if `exact`, at it.
    floor: Offset,
    exact: bool,
    last: Option<Taken>,
}

impl Subject<'_> {
    /// Scans the segment; `look` is called with every good batch, in order. One that it was shown
    /// may later prove to have a wrong offset. Fails only with [`Error::Io`](crate::Error::Io):
    /// damage is a finding here.
    pub(super) fn scan(&self, mut look: impl FnMut(&RawBatch)) -> Result<SegmentScan> {
        let path = self.segment.log_path();
        let (floor, misplaced) = places::origin(self).at(&path, "read")?;
        let mut walker = Walker {
            subject: self,
            scan: SegmentScan {
                base_offset: self.segment.base_offset(),
                stretches: Stretches::default(),
                misplaced,
                reserved: 0,
                batches: 0,
                records: 0,
                not_unpacked: 0,
                next_offset: floor,
                newest: Timestamp::NONE,
                odd_blocks: Vec::new(),
            },
            cursor: free_cursor(Position::ZERO),
            floor,
            exact: self.dense && !misplaced,
            last: None,
        };
        while walker.step(&mut look).at(&path, "read")? {}
        let mut scan = walker.scan;
        scan.next_offset = walker.floor;
        if let Some(digest) = self.digest.filter(|_| !misplaced) {
            check::against_digest(self, digest, &mut scan).at(&path, "read")?;
        }
        Ok(scan)
    }

    fn ceiling(&self, misplaced: bool) -> Offset {
        if misplaced {
            i64::MAX.cast_unsigned()
        } else {
            self.ceiling
        }
    }
}

/// Returns any batch with a right checksum, whatever its offset.
fn free_cursor(position: Position) -> BatchCursor {
    BatchCursor::at(ReadStart {
        position,
        floor: 0,
        first_next: None,
        known: Known::Nothing,
    })
    .sequential()
}

impl Walker<'_> {
    /// Handles the next batch or the next hole; false at the end.
    fn step(&mut self, look: &mut impl FnMut(&RawBatch)) -> std::io::Result<bool> {
        let at = self.cursor.position();
        match self.cursor.next(self.subject.file, self.subject.end) {
            Ok(None) => Ok(false),
            Ok(Some(raw)) => {
                self.place(&raw, look)?;
                Ok(true)
            }
            Err(Stop::Corrupt(reason)) => self.hole(at, reason),
            Err(Stop::Io(error)) => Err(error),
        }
    }

    /// Checks the offsets of a batch whose checksum is right (I2, I3), and its records.
    fn place(&mut self, raw: &RawBatch, look: &mut impl FnMut(&RawBatch)) -> std::io::Result<()> {
        let header = &raw.header;
        let ceiling = self.subject.ceiling(self.scan.misplaced);
        let fits = if self.exact {
            header.base_offset == self.floor
        } else {
            header.base_offset >= self.floor
        };
        if fits && header.next_offset() <= ceiling {
            self.take(raw, look);
            return Ok(());
        }
        let reason = Corruption::offset(self.floor, header.base_offset);
        // Without gaps, the batch after it fixes its offset: if the floor leads exactly to that, no
        // other offset is possible.
        if self.exact && self.only_fits_here(raw)? {
            let mut prefix = [0; PREFIX_LEN];
            prefix.copy_from_slice(raw.bytes.get(..PREFIX_LEN).unwrap_or(&[0; PREFIX_LEN]));
            if let Some(base) = prefix.first_chunk_mut::<8>() {
                *base = self.floor.to_be_bytes();
            }
            let next = self.floor.saturating_add(span(header));
            let condition = Condition::Patched(prefix, reason);
            self.put(raw.position, raw.end(), self.floor..next, condition);
            self.floor = next;
            self.count(raw);
            return Ok(());
        }
        // With gaps, an offset that is too high is noticed only at the batch after it, which then
        // seems too low: the batch before may be the wrong one.
        if !self.exact && self.last_was_wrong(raw)? {
            self.take_back();
            self.take(raw, look);
            return Ok(());
        }
        // Neither can be corrected. The number of offsets it had is unknown, so the floor stays,
        // and the next batch need not begin at it.
        let after = self.floor;
        self.put(
            raw.position,
            raw.end(),
            after..after,
            Condition::Damaged(reason),
        );
        self.exact = false;
        self.last = None;
        Ok(())
    }

    fn take(&mut self, raw: &RawBatch, look: &mut impl FnMut(&RawBatch)) {
        let header = raw.header;
        let unreadable = self.unreadable(raw);
        let counted = unreadable.is_none();
        if let Some(reason) = unreadable {
            let offsets = header.base_offset..header.next_offset();
            self.put(raw.position, raw.end(), offsets, Condition::Damaged(reason));
        } else {
            let offsets = header.base_offset..header.next_offset();
            self.put(raw.position, raw.end(), offsets, Condition::Good);
            self.count(raw);
            self.scan.newest = self.scan.newest.max(header.max_timestamp);
            look(raw);
        }
        self.last = Some(Taken {
            at: raw.position,
            end: raw.end(),
            header,
            floor: self.floor,
            counted,
        });
        self.floor = header.next_offset();
        self.exact = self.subject.dense && !self.scan.misplaced;
    }

    fn count(&mut self, raw: &RawBatch) {
        self.scan.batches += 1;
        self.scan.records += u64::from(raw.header.record_count);
    }

    fn unreadable(&mut self, raw: &RawBatch) -> Option<Corruption> {
        match RecordBatch::decode(raw.bytes.clone(), raw.header, BUDGET_BYTES) {
            Ok(_) => None,
            Err(
                DecodeError::Unsupported(_) | DecodeError::Corrupt(Corruption::TooLarge { .. }),
            ) => {
                self.scan.not_unpacked += 1;
                None
            }
            Err(DecodeError::Corrupt(reason)) => Some(reason),
        }
    }

    /// Whether this batch contradicts what follows at every offset but the floor.
    fn only_fits_here(&self, raw: &RawBatch) -> std::io::Result<bool> {
        let next = self.floor.saturating_add(span(&raw.header));
        let following = self.header_at(raw.end())?;
        Ok(match following {
            Some(following) => following.base_offset == next,
            None => raw.end() == self.subject.end && next <= self.subject.ceiling,
        })
    }

    /// Whether the batch before has the wrong offset, and not this one: without it, this one and
    /// the next fit.
    fn last_was_wrong(&self, raw: &RawBatch) -> std::io::Result<bool> {
        let Some(last) = self.last.filter(|last| last.end == raw.position) else {
            return Ok(false);
        };
        let base = raw.header.base_offset;
        if base < last.floor || raw.header.next_offset() > self.subject.ceiling {
            return Ok(false);
        }
        if base == last.floor.saturating_add(span(&last.header)) {
            return Ok(true);
        }
        let following = self.header_at(raw.end())?;
        Ok(following.is_some_and(|following| {
            following.base_offset >= raw.header.next_offset() && following.base_offset < self.floor
        }))
    }

    fn take_back(&mut self) {
        if let Some(last) = self.last.take() {
            let reason = Corruption::offset(last.floor, last.header.base_offset);
            let (offsets, bytes) = (last.floor..last.floor, last.at..last.end);
            self.scan
                .stretches
                .carve(bytes, offsets, Condition::Damaged(reason));
            self.floor = last.floor;
            if last.counted {
                self.scan.batches -= 1;
                self.scan.records -= u64::from(last.header.record_count);
            }
        }
    }

    fn header_at(&self, at: Position) -> std::io::Result<Option<BatchHeader>> {
        if at >= self.subject.end {
            return Ok(None);
        }
        let mut bytes = [0; HEADER_LEN];
        let read = self.subject.file.read_at(at.0, &mut bytes)?;
        Ok(BatchHeader::parse(bytes.get(..read).unwrap_or_default()).ok())
    }

    /// Skips bytes that are not a batch; false if no batches follow.
    fn hole(&mut self, at: Position, reason: Corruption) -> std::io::Result<bool> {
        let (file, end) = (self.subject.file, self.subject.end);
        let path = self.subject.segment.log_path();
        // Checked before the search: reserved space may be many megabytes long, and a file system
        // can report it as unwritten without reading it.
        let zeros = is_zero(file, &path, at..end).unwrap_or(false);
        if zeros {
            self.scan.reserved = end.since(at);
            return Ok(false);
        }
        let search = Search {
            bytes: at.plus(1)..end,
            offsets: self.floor..self.subject.ceiling(self.scan.misplaced),
        };
        let found = batch_behind(file, at, &search)?;
        let header = match found {
            Some(found) => self.header_at(found)?,
            None => None,
        };
        // The header behind the hole says which offsets the hole had; otherwise what is known to
        // have been flushed does.
        let reached = self.subject.reached.filter(|_| !self.scan.misplaced);
        let lost_to = header.map(|header| header.base_offset).or(reached);
        let offsets = self.floor..lost_to.unwrap_or(self.floor).max(self.floor);
        self.put(
            at,
            found.unwrap_or(end),
            offsets,
            Condition::Damaged(reason),
        );
        // How many offsets the hole held is a guess: the next batch need not begin exactly at the
        // floor.
        self.exact = false;
        self.last = None;
        if let Some(found) = found {
            self.cursor = free_cursor(found);
        }
        Ok(found.is_some())
    }

    fn put(
        &mut self,
        at: Position,
        end: Position,
        offsets: std::ops::Range<Offset>,
        condition: Condition,
    ) {
        self.scan.stretches.push(Stretch {
            bytes: at..end,
            offsets,
            condition,
        });
    }
}

/// How many offsets a batch has; its checksum protects that number.
fn span(header: &BatchHeader) -> u64 {
    header.next_offset().saturating_sub(header.base_offset)
}

fn read_range(
    file: &File,
    range: &std::ops::Range<Position>,
    most: usize,
) -> std::io::Result<Vec<u8>> {
    let wanted = to_usize(range.end.since(range.start)).min(most);
    let mut bytes = vec![0; wanted];
    let read = file.read_at(range.start.0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}
