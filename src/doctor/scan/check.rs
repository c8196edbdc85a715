//! Compares a segment with its digest and its indexes.
//!
//! Knows nothing about damaged batches: those were found before.

use std::ops::Range;

use crate::format::index::{OffsetEntry, TimeEntry};
use crate::format::{
    BLOCK_BYTES, BatchHeader, Corruption, Digest, HEADER_LEN, Interval, PREFIX_LEN,
};
use crate::segment::{RawBatch, SparseIndex, relative, size_in};
use crate::types::{Offset, Position, Timestamp, to_usize};

use super::{Condition, SegmentScan, Subject, read_range};

/// The most that is read of an interval: a longer one holds a single large batch.
const INTERVAL_BYTES_MAX: usize = 1 << 20;

/// Compares good stretches with the digest. A batch whose first bytes are not what was sealed is
/// corrected if one flipped bit or one other offset explains it, and is damage otherwise.
pub(super) fn against_digest(
    subject: &Subject<'_>,
    digest: &Digest,
    scan: &mut SegmentScan,
) -> std::io::Result<()> {
    // A file that is shorter than its digest is reported by the rules of opening.
    if digest.summary.length > subject.end {
        return Ok(());
    }
    for interval in digest.intervals() {
        let bytes = interval.start..interval.end;
        // Damage in it is known already, and would make its checksum wrong.
        if !scan.stretches.is_good_in(&bytes) {
            continue;
        }
        if !check_interval(subject, &interval, scan)? {
            // The batches do not end where they did when the segment was sealed: from here on the
            // file is another one.
            let end = scan.stretches.good_end(interval.start);
            let rest = interval.start..end.unwrap_or(subject.end);
            return refuse(subject, rest, scan);
        }
    }
    // The intervals cover only the first bytes of each batch. The blocks cover every byte, and find
    // a batch that was exchanged for another valid one.
    let mut start = Position::ZERO;
    for crc in digest.blocks() {
        let end = start.plus(to_usize(BLOCK_BYTES)).min(digest.summary.length);
        let block = start..end;
        if scan.stretches.is_good_in(&block) {
            let bytes = read_range(subject.file, &block, usize::MAX)?;
            if crc32fast::hash(&bytes) != *crc {
                let first = digest.interval_at(block.start);
                let last = digest.interval_at(Position(block.end.0.saturating_sub(1)));
                if let (Some(first), Some(last)) = (first, last) {
                    refuse(subject, first.start..last.end, scan)?;
                }
                scan.odd_blocks.push(block);
            }
        }
        start = end;
    }
    Ok(())
}

/// One batch of an interval, by its first bytes.
#[derive(Clone, Debug)]
struct Front {
    bytes: Range<Position>,
    offsets: Range<Offset>,
    prefix: [u8; PREFIX_LEN],
}

/// Marks valid batches as damaged: they are not the ones that were sealed.
fn refuse(
    subject: &Subject<'_>,
    bytes: Range<Position>,
    scan: &mut SegmentScan,
) -> std::io::Result<()> {
    let begins = |at: Position| -> std::io::Result<Option<Offset>> {
        let mut header = [0; HEADER_LEN];
        subject.file.read_at(at.0, &mut header)?;
        Ok(BatchHeader::parse(&header)
            .ok()
            .map(|header| header.base_offset))
    };
    let base = subject.segment.base_offset();
    let first = begins(bytes.start)?.unwrap_or(base);
    let end = begins(bytes.end)?.unwrap_or(scan.next_offset);
    let reason = Corruption::malformed("the bytes are not the ones that were sealed");
    let offsets = first..end.max(first);
    scan.stretches
        .carve(bytes, offsets, Condition::Damaged(reason));
    Ok(())
}

/// Checks the batches of an interval; false if they do not end where it does.
fn check_interval(
    subject: &Subject<'_>,
    interval: &Interval,
    scan: &mut SegmentScan,
) -> std::io::Result<bool> {
    let Some(mut fronts) = fronts(subject, interval)? else {
        return Ok(false);
    };
    if hash(&fronts) == interval.crc {
        return Ok(true);
    }
    let reason = Corruption::malformed("the first bytes of a batch are not what was sealed");
    let around = subject.segment.base_offset()..subject.ceiling;
    let right = put_right(&mut fronts, interval.crc)
        .or_else(|| put_offset_right(&mut fronts, &around, interval.crc));
    // The checksum confirms a correction, so a batch is patched only with the bytes that it was
    // sealed with. Without one, any batch of the interval may be the wrong one.
    if let Some(index) = right
        && let Some(front) = fronts.get(index).cloned()
    {
        let condition = Condition::Patched(front.prefix, reason);
        scan.stretches.carve(front.bytes, front.offsets, condition);
    } else if let (Some(first), Some(last)) = (fronts.first(), fronts.last()) {
        let offsets = first.offsets.start..last.offsets.end;
        let bytes = interval.start..interval.end;
        scan.stretches
            .carve(bytes, offsets, Condition::Damaged(reason));
    }
    Ok(true)
}

/// `None` if the batches, which are all good, do not end where the interval does.
fn fronts(subject: &Subject<'_>, interval: &Interval) -> std::io::Result<Option<Vec<Front>>> {
    let bytes = read_range(
        subject.file,
        &(interval.start..interval.end),
        INTERVAL_BYTES_MAX,
    )?;
    let mut fronts = Vec::new();
    let mut at = interval.start;
    while at < interval.end {
        let rest = bytes.get(to_usize(at.since(interval.start))..);
        let held = rest.and_then(|rest| rest.first_chunk::<HEADER_LEN>());
        let header = if let Some(header) = held {
            *header
        } else {
            let mut header = [0; HEADER_LEN];
            subject.file.read_at(at.0, &mut header)?;
            header
        };
        let (Ok(parsed), Some(size), Some(prefix)) = (
            BatchHeader::parse(&header),
            size_in(&header),
            header.first_chunk::<PREFIX_LEN>(),
        ) else {
            return Ok(None);
        };
        fronts.push(Front {
            bytes: at..at.plus(size),
            offsets: parsed.base_offset..parsed.next_offset(),
            prefix: *prefix,
        });
        at = at.plus(size);
    }
    Ok((at == interval.end).then_some(fronts))
}

fn hash(fronts: &[Front]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for front in fronts {
        hasher.update(&front.prefix);
    }
    hasher.finalize()
}

/// Flips the one bit that makes the checksum right; returns its batch.
fn put_right(fronts: &mut [Front], crc: u32) -> Option<usize> {
    for index in 0..fronts.len() {
        for bit in 0..PREFIX_LEN * 8 {
            flip(fronts, index, bit);
            if hash(fronts) == crc {
                return Some(index);
            }
            flip(fronts, index, bit);
        }
    }
    None
}

const TRIES_MAX: u64 = 1 << 14;

/// Sets the one offset, within the gap around its batch, that makes the checksum right; returns its
/// batch.
fn put_offset_right(fronts: &mut [Front], around: &Range<Offset>, crc: u32) -> Option<usize> {
    let mut tries = TRIES_MAX;
    for index in 0..fronts.len() {
        let before = index.checked_sub(1).and_then(|before| fronts.get(before));
        let low = before.map_or(around.start, |before| before.offsets.end);
        let after = fronts.get(index.saturating_add(1));
        let high = after.map_or(around.end, |after| after.offsets.start);
        let front = fronts.get(index)?;
        let (was, offsets) = (front.prefix, front.offsets.clone());
        let span = offsets.end.saturating_sub(offsets.start);
        let last = high.saturating_sub(span).min(low.saturating_add(tries));
        for base in low..=last {
            tries = tries.saturating_sub(1);
            if let Some(front) = fronts.get_mut(index)
                && let Some(bytes) = front.prefix.first_chunk_mut::<8>()
            {
                *bytes = base.to_be_bytes();
                front.offsets = base..base.saturating_add(span);
            }
            if hash(fronts) == crc {
                return Some(index);
            }
        }
        if let Some(front) = fronts.get_mut(index) {
            front.prefix = was;
            front.offsets = offsets;
        }
    }
    None
}

fn flip(fronts: &mut [Front], index: usize, bit: usize) {
    let byte = fronts
        .get_mut(index)
        .and_then(|front| front.prefix.get_mut(bit / 8));
    if let Some(byte) = byte {
        *byte ^= 1 << (bit % 8);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::doctor) enum Verdict {
    /// It does not exist, or its bytes are not an index.
    Missing,
    Agrees,
    Disagrees,
}

#[derive(Debug)]
pub(in crate::doctor) struct IndexCheck {
    base_offset: Offset,
    offsets: std::vec::IntoIter<OffsetEntry>,
    times: std::vec::IntoIter<TimeEntry>,
    next_offset: Option<OffsetEntry>,
    next_time: Option<TimeEntry>,
    newest: Timestamp,
    agrees: bool,
}

impl IndexCheck {
    pub(in crate::doctor) fn new(base_offset: Offset, index: &SparseIndex) -> Self {
        let mut offsets = index.offset_entries().to_vec().into_iter();
        let mut times = index.time_entries().to_vec().into_iter();
        Self {
            base_offset,
            next_offset: offsets.next(),
            next_time: times.next(),
            offsets,
            times,
            newest: Timestamp::NONE,
            agrees: true,
        }
    }

    pub(in crate::doctor) fn batch(&mut self, raw: &RawBatch) {
        let last = raw.header.next_offset().saturating_sub(1);
        let Some(last) = relative(self.base_offset, last) else {
            return;
        };
        // An entry (O, P): a batch begins at P, and every batch before it ends below O. An old
        // broker wrote one entry for an append of several batches, so O may belong to a later one.
        if let Some(entry) = self.next_offset {
            let position = u64::from(entry.position);
            if position <= raw.position.0 {
                self.agrees &= position == raw.position.0 && last <= entry.relative_offset;
                self.next_offset = self.offsets.next();
            } else {
                self.agrees &= last < entry.relative_offset;
            }
        }
        // An entry (T, O): whatever is newer than T comes after O.
        while let Some(entry) = self.next_time.filter(|entry| entry.relative_offset < last) {
            self.agrees &= self.newest <= entry.timestamp;
            self.next_time = self.times.next();
        }
        self.newest = self.newest.max(raw.header.max_timestamp);
    }

    pub(in crate::doctor) fn contradicts(&self) -> bool {
        !self.agrees
    }

    pub(in crate::doctor) fn reaches_beyond(&self, end: Position, next_offset: Offset) -> bool {
        let last = next_offset.checked_sub(1);
        let last = last.and_then(|last| relative(self.base_offset, last));
        let offsets = self.next_offset.iter().chain(self.offsets.as_slice());
        let times = self.next_time.iter().chain(self.times.as_slice());
        let mut places = offsets.map(|entry| u64::from(entry.position));
        let mut records = times.map(|entry| entry.relative_offset);
        places.any(|place| place >= end.0)
            || records.any(|record| last.is_none_or(|last| record > last))
    }

    pub(in crate::doctor) fn verdict(self) -> Verdict {
        let times_left = self.next_time.into_iter().chain(self.times);
        let mut times_agree = true;
        let mut named = false;
        for entry in times_left {
            // Only the last batch of the segment can be what such an entry refers to.
            times_agree &= self.newest <= entry.timestamp && !named;
            named = true;
        }
        if self.agrees && times_agree && self.next_offset.is_none() {
            Verdict::Agrees
        } else {
            Verdict::Disagrees
        }
    }
}
