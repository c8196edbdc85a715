//! Scans a segment and trusts nothing: the scan ends at the first byte outside a valid batch, and
//! builds the indexes.
//!
//! Knows nothing about what follows from its end; opening a log decides that.

use std::sync::Arc;

use crate::disk::File;
use crate::error::{Error, Result};
use crate::format::{Corruption, DigestBuilder};
use crate::types::{Offset, Position, Timestamp, to_usize};

use super::batch_cursor::CHUNK_BYTES_MAX;
use super::batch_cursor::RawBatch;
use super::{BatchCursor, IndexProgress, Indexed, Segment, SparseIndex, Stop, relative};

#[derive(Debug)]
pub(crate) struct TailScan {
    /// One past the last valid batch.
    pub(crate) end: Position,
    pub(crate) next_offset: Offset,
    /// Why the scan ended early.
    pub(crate) stopped: Option<Corruption>,
    pub(crate) index: SparseIndex,
    pub(crate) progress: IndexProgress,
    /// The largest timestamp seen or indexed.
    pub(crate) newest: Option<Timestamp>,
    /// The largest one; -1 without a batch.
    pub(crate) leader_epoch: i32,
    /// One past the last offset below [`Walk::mark`]; `None` if no batch ends there.
    pub(crate) at_mark: Option<Offset>,
    pub(crate) dense: bool,
    /// The scan began at the start of the segment and found no batch of a producer with an id.
    pub(crate) plain: bool,
    pub(crate) digest: Option<DigestBuilder>,
}

impl TailScan {
    fn begin(segment: &Segment, walk: &Walk, index: SparseIndex) -> Self {
        let whole = walk.from == Position::ZERO;
        debug_assert!(!walk.digests || whole, "a digest is of a whole segment");
        let base = segment.base_offset();
        Self {
            end: walk.from,
            next_offset: base,
            stopped: None,
            progress: IndexProgress::after(&index),
            index,
            newest: None,
            leader_epoch: -1,
            at_mark: None,
            dense: true,
            plain: whole,
            digest: walk.digests.then(|| DigestBuilder::new(base)),
        }
    }

    /// Notes what does not depend on the order of the batches.
    fn learn(&mut self, raw: &RawBatch) {
        self.plain &= raw.header.producer_id < 0;
        if let Some(digest) = &mut self.digest {
            digest.push(&raw.header, &raw.bytes);
        }
        self.leader_epoch = self.leader_epoch.max(raw.header.leader_epoch);
    }
}

/// What to scan, and what is known about it.
#[derive(Debug)]
pub(crate) struct Walk {
    pub(crate) from: Position,
    pub(crate) end: Position,
    pub(crate) index: SparseIndex,
    /// No gaps from here on, if known: only compaction makes gaps, and never in unflushed bytes.
    pub(crate) dense_from: Option<Position>,
    /// A batch should end here.
    pub(crate) mark: Option<Position>,
    /// Batches behind `mark` begin at this offset or above: a log truncated inside a gap continues
    /// there.
    pub(crate) flushed_offset: Offset,
    /// Nothing but the batches is known: if the next batch or segment contradicts the offset of one
    /// behind a gap, that offset is wrong.
    pub(crate) blames_gaps: bool,
    /// Make a digest, so that a whole segment need not be read again for one.
    pub(crate) digests: bool,
}

impl Walk {
    pub(crate) fn whole(segment: &Segment) -> Self {
        Self {
            from: Position::ZERO,
            end: segment.end(),
            index: SparseIndex::default(),
            dense_from: None,
            mark: None,
            flushed_offset: 0,
            blames_gaps: false,
            digests: false,
        }
    }

    fn is_dense_at(&self, position: Position) -> bool {
        self.dense_from.is_some_and(|from| position >= from)
    }
}

/// `index.interval.bytes`: Kafka's default, whatever the log's setting.
const INTERVAL_BYTES: u64 = 4096;

/// Scans from `walk.from` on, and extends `walk.index`. Damage ends the scan and is no error.
pub(crate) fn scan(segment: &Arc<Segment>, file: &File, walk: Walk) -> Result<TailScan> {
    if !walk.blames_gaps {
        return scan_to_end(segment, file, walk).map(|(found, _)| found);
    }
    let (from, mark, dense_from) = (walk.from, walk.mark, walk.dense_from);
    let (flushed_offset, digests) = (walk.flushed_offset, walk.digests);
    let index = walk.index.clone();
    let (found, gap) = scan_to_end(segment, file, walk)?;
    // The next segment begins at or above the end of this one; about the end of the last segment
    // nothing is known.
    let ceiling = Some(segment.next_offset()).filter(|next| *next > segment.base_offset());
    let contradicted = matches!(found.stopped, Some(Corruption::Offset { .. }))
        || ceiling.is_some_and(|ceiling| found.next_offset > ceiling);
    let Some((end, reason)) = gap.filter(|_| contradicted) else {
        return Ok(found);
    };
    // A damaged offset makes one false gap: the batch before it ends too low for it, and the batch
    // after it begins below its end. So the scan is repeated, and ends before the batch that made
    // the gap.
    let shorter = Walk {
        from,
        end,
        index,
        dense_from,
        mark,
        flushed_offset,
        blames_gaps: false,
        digests,
    };
    let (mut found, _) = scan_to_end(segment, file, shorter)?;
    found.stopped = found.stopped.or(Some(reason));
    Ok(found)
}

/// Scans, and trusts the offsets; also returns where the last batch begins if a gap precedes it.
fn scan_to_end(
    segment: &Arc<Segment>,
    file: &File,
    mut walk: Walk,
) -> Result<(TailScan, Option<(Position, Corruption)>)> {
    let mut gap = None;
    let index = std::mem::take(&mut walk.index);
    let data_end = data_end(file, &walk);
    let mut cursor = BatchCursor::new(walk.from, segment.base_offset())
        .sequential()
        .ahead_to(data_end);
    let mut found = TailScan::begin(segment, &walk, index);
    (found.end, found.next_offset) = (cursor.position(), cursor.floor());
    if walk.mark == Some(found.end) {
        found.at_mark = Some(found.next_offset);
    }
    loop {
        match cursor.next(file, walk.end) {
            Ok(None) => break,
            Ok(Some(raw)) => {
                let (mut expected, base) = (found.next_offset, raw.header.base_offset);
                // A truncation to an offset inside a gap left the end above the last batch: the
                // next append began there, so this gap is not damage.
                if walk.mark == Some(raw.position) {
                    expected = expected.max(walk.flushed_offset);
                }
                if walk.is_dense_at(raw.position) && base != expected {
                    found.stopped = Some(Corruption::offset(expected, base));
                    break;
                }
                // The indexes store offsets as 31 bits above the base. A writer rolls before that,
                // so the offset is damaged.
                let Some(batch) = indexed(segment, &raw.header, raw.position) else {
                    found.stopped = Some(Corruption::malformed(
                        "an offset is too far from its segment's base",
                    ));
                    break;
                };
                if found.progress.note(batch, INTERVAL_BYTES) {
                    found.progress.entries(&mut found.index, batch);
                }
                // A scan that begins in the middle knows nothing about the offset of its first
                // batch.
                let began = raw.position == walk.from && walk.from > Position::ZERO;
                let jumps = base != expected && !began;
                gap = jumps.then(|| (raw.position, Corruption::offset(expected, base)));
                found.dense &= base == found.next_offset || began;
                found.end = raw.end();
                found.next_offset = raw.header.next_offset();
                if walk.mark == Some(found.end) {
                    found.at_mark = Some(found.next_offset);
                }
                found.learn(&raw);
            }
            Err(Stop::Corrupt(reason)) => {
                found.stopped = Some(reason);
                break;
            }
            Err(Stop::Io(error)) => return Err(Error::io(&segment.log_path(), "read", error)),
        }
    }
    found.newest = found.progress.newest().map(|entry| entry.timestamp);
    Ok((found, gap))
}

/// Where reading ahead should end. A crash leaves up to 64 MiB of reserved space behind the last
/// batch: reading it would make the system allocate every page read, and megabytes ahead.
fn data_end(file: &File, walk: &Walk) -> Position {
    if to_usize(walk.end.since(walk.from)) <= CHUNK_BYTES_MAX {
        // One read covers it, wherever the data ends.
        return walk.end;
    }
    file.data_end(walk.from.0).map_or(walk.end, Position)
}

/// What an index needs of a batch; `None` if an entry cannot hold it.
pub(crate) fn indexed(
    segment: &Segment,
    header: &crate::format::BatchHeader,
    position: Position,
) -> Option<Indexed> {
    let last_offset = header.next_offset().checked_sub(1)?;
    Some(Indexed {
        relative_last_offset: relative(segment.base_offset(), last_offset)?,
        position: u32::try_from(position.0).ok()?,
        size: u32::try_from(header.size).ok()?,
        max_timestamp: header.max_timestamp,
    })
}
