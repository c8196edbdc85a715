//! One segment examined from its first byte to its last, whatever its bytes are: which stretches
//! of it are batches in their place, and which are damaged.
//!
//! Knows nothing about what is done about it: `verify` reports it.
//!
//! 1. Every byte lies in exactly one stretch, and a stretch that is good is a run of whole batches.
//! 2. Nothing is called good that contradicts what is known: that there are no gaps, or a digest.
//! 3. A batch whose checksum is right and whose offset is wrong is put right where only one offset
//!    is possible, and is damage otherwise.

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
use crate::segment::{BatchCursor, Guard, Landing, RawBatch, Search, Segment, Stop, batch_behind};
use crate::types::{Offset, Position, Timestamp, to_usize};

pub(super) use check::{IndexCheck, Verdict};
pub(super) use stretch::{Condition, Stretch, Stretches};

/// The most that a packed batch may unpack to when it is looked at, in bytes.
const BUDGET_BYTES: usize = 64 << 20;

/// A segment to be examined, and what is known of it.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    pub(super) segment: &'a Arc<Segment>,
    pub(super) file: &'a File,
    /// Bytes of the file.
    pub(super) end: Position,
    /// No offset of it is as high as this.
    pub(super) ceiling: Offset,
    /// One past the offsets that were safely in it, where that is known.
    pub(super) reached: Option<Offset>,
    /// Its batches have no gaps.
    pub(super) dense: bool,
    /// It is not as long as it was when it was sealed.
    pub(super) other_length: bool,
    pub(super) digest: Option<&'a Digest>,
}

/// What a segment holds.
#[derive(Debug)]
#[expect(
    dead_code,
    reason = "a report tells less than was found out; Debug shows all of it"
)]
pub(super) struct Survey {
    pub(super) base_offset: Offset,
    pub(super) stretches: Stretches,
    /// The good batches are those of another segment.
    pub(super) misplaced: bool,
    /// Zeros at the end: space that was reserved and never written.
    pub(super) reserved: u64,
    pub(super) batches: u64,
    pub(super) records: u64,
    /// Batches that this build cannot unpack, or that unpack to very much.
    pub(super) not_unpacked: u64,
    /// One past the last offset of a good batch.
    pub(super) next_offset: Offset,
    pub(super) newest: Timestamp,
    /// Blocks of the file that are not what was sealed although every batch in them is good.
    pub(super) odd_blocks: Vec<std::ops::Range<Position>>,
}

/// A batch that was taken for good, and could turn out not to be.
#[derive(Clone, Copy, Debug)]
struct Taken {
    at: Position,
    end: Position,
    header: BatchHeader,
    /// What the floor was before it.
    floor: Offset,
    /// It is among the batches that were counted: its records can be read.
    counted: bool,
}

struct Walker<'a> {
    subject: &'a Subject<'a>,
    survey: Survey,
    cursor: BatchCursor,
    floor: Offset,
    /// The next batch must begin at the floor.
    exact: bool,
    last: Option<Taken>,
}

impl Subject<'_> {
    /// Goes over the segment; `look` is shown every good batch, in order, and may yet turn out to
    /// have seen one of a wrong offset.
    ///
    /// # Errors
    ///
    /// Only [`Error::Io`](crate::Error::Io): damage is what is looked for.
    pub(super) fn survey(&self, mut look: impl FnMut(&RawBatch)) -> Result<Survey> {
        let path = self.segment.log_path();
        let (floor, misplaced) = places::origin(self).at(&path, "read")?;
        let mut walker = Walker {
            subject: self,
            survey: Survey {
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
        let mut survey = walker.survey;
        survey.next_offset = walker.floor;
        if let Some(digest) = self.digest.filter(|_| !misplaced) {
            check::against_digest(self, digest, &mut survey).at(&path, "read")?;
        }
        Ok(survey)
    }

    /// The ceiling for a segment whose batches are not its own.
    fn ceiling(&self, misplaced: bool) -> Offset {
        if misplaced {
            i64::MAX.cast_unsigned()
        } else {
            self.ceiling
        }
    }
}

/// A cursor that hands out whatever has a right checksum.
fn free_cursor(position: Position) -> BatchCursor {
    BatchCursor::land(Landing {
        position,
        floor: 0,
        first_next: None,
        guard: Guard::Nothing,
    })
    .sequential()
}

impl Walker<'_> {
    /// The next batch or the next hole; false at the end.
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

    /// A batch whose checksum is right: whether its offsets are (2, 3), and its records.
    fn place(&mut self, raw: &RawBatch, look: &mut impl FnMut(&RawBatch)) -> std::io::Result<()> {
        let header = &raw.header;
        let ceiling = self.subject.ceiling(self.survey.misplaced);
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
        if !self.exact && self.last_was_wrong(raw)? {
            self.take_back();
            self.take(raw, look);
            return Ok(());
        }
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
            self.survey.newest = self.survey.newest.max(header.max_timestamp);
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
        self.exact = self.subject.dense && !self.survey.misplaced;
    }

    fn count(&mut self, raw: &RawBatch) {
        self.survey.batches += 1;
        self.survey.records += u64::from(raw.header.record_count);
    }

    /// What is wrong with the records of a batch whose checksum is right.
    fn unreadable(&mut self, raw: &RawBatch) -> Option<Corruption> {
        match RecordBatch::decode(raw.bytes.clone(), raw.header, BUDGET_BYTES) {
            Ok(_) => None,
            Err(
                DecodeError::Unsupported(_) | DecodeError::Corrupt(Corruption::TooLarge { .. }),
            ) => {
                self.survey.not_unpacked += 1;
                None
            }
            Err(DecodeError::Corrupt(reason)) => Some(reason),
        }
    }

    /// Whether the floor is the one offset at which this batch does not contradict what follows.
    fn only_fits_here(&self, raw: &RawBatch) -> std::io::Result<bool> {
        let next = self.floor.saturating_add(span(&raw.header));
        let following = self.header_at(raw.end())?;
        Ok(match following {
            Some(following) => following.base_offset == next,
            None => raw.end() == self.subject.end && next <= self.subject.ceiling,
        })
    }

    /// Whether it is not this batch whose offset is wrong, but the one before it: this one fits
    /// without it, and so does the one that follows.
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
            self.survey
                .stretches
                .carve(bytes, offsets, Condition::Damaged(reason));
            self.floor = last.floor;
            if last.counted {
                self.survey.batches -= 1;
                self.survey.records -= u64::from(last.header.record_count);
            }
        }
    }

    /// The header at a place, if one can be read there.
    fn header_at(&self, at: Position) -> std::io::Result<Option<BatchHeader>> {
        if at >= self.subject.end {
            return Ok(None);
        }
        let mut bytes = [0; HEADER_LEN];
        let read = self.subject.file.read_at(at.0, &mut bytes)?;
        Ok(BatchHeader::parse(bytes.get(..read).unwrap_or_default()).ok())
    }

    /// Bytes that are no batch: goes on where batches go on; false when they do not.
    fn hole(&mut self, at: Position, reason: Corruption) -> std::io::Result<bool> {
        let (file, end) = (self.subject.file, self.subject.end);
        let path = self.subject.segment.log_path();
        let zeros = is_zero(file, &path, at..end).unwrap_or(false);
        if zeros {
            self.survey.reserved = end.since(at);
            return Ok(false);
        }
        let search = Search {
            bytes: at.plus(1)..end,
            offsets: self.floor..self.subject.ceiling(self.survey.misplaced),
        };
        let found = batch_behind(file, at, &search)?;
        let header = match found {
            Some(found) => self.header_at(found)?,
            None => None,
        };
        let reached = self.subject.reached.filter(|_| !self.survey.misplaced);
        let lost_to = header.map(|header| header.base_offset).or(reached);
        let offsets = self.floor..lost_to.unwrap_or(self.floor).max(self.floor);
        self.put(
            at,
            found.unwrap_or(end),
            offsets,
            Condition::Damaged(reason),
        );
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
        self.survey.stretches.push(Stretch {
            bytes: at..end,
            offsets,
            condition,
        });
    }
}

/// How many offsets a batch takes; its checksum covers that.
fn span(header: &BatchHeader) -> u64 {
    header.next_offset().saturating_sub(header.base_offset)
}

/// The bytes of a range, at most so many.
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
