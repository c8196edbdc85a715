//! What is known about a segment's batches beyond their own checksums, which leave out the first 17
//! bytes: offset, length, leader epoch and format version.
//!
//! Knows nothing about where that knowledge comes from.

use std::sync::Arc;

use crate::format::{Corruption, Digest, HEADER_LEN, Interval, LOG_OVERHEAD, PREFIX_LEN};
use crate::types::{Offset, Position, to_usize};

use super::{ReadAt, Stop};

/// What batches are compared with.
#[derive(Clone, Debug, Default)]
pub(crate) enum Known {
    /// Nothing: the caller compares them itself.
    Nothing,
    /// Offsets rise: no more is known about a segment of another program.
    #[default]
    Increasing,
    /// No gaps, the first batch at the base: each is compared with the one before.
    Contiguous,
    /// There are gaps, and the digest has checksums of the bytes that contain them.
    Digest(Arc<SealedDigest>),
}

impl Known {
    pub(crate) fn by_digest(digest: Digest) -> Self {
        Self::Digest(Arc::new(SealedDigest(digest)))
    }
}

/// Where reading begins, and what is known about the first batch there.
#[derive(Clone, Debug)]
pub(crate) struct ReadStart {
    pub(crate) position: Position,
    /// No batch begins below this offset.
    pub(crate) floor: Offset,
    /// The next offset of the first batch, by an index.
    pub(crate) first_next: Option<Offset>,
    pub(crate) known: Known,
}

#[derive(Debug)]
pub(crate) struct SealedDigest(Digest);

impl SealedDigest {
    /// Checks the prefixes in the interval of a position; returns where the interval ends. `held`
    /// is a part of the file that is in memory, and its position.
    pub(super) fn check_at(
        &self,
        position: Position,
        file: &dyn ReadAt,
        held: (Position, &[u8]),
        end: Position,
    ) -> Result<Position, Stop> {
        let Some(interval) = self.0.interval_at(position) else {
            // Behind what was sealed: the segment has been appended to since.
            return Ok(Position(u64::MAX));
        };
        if interval.end > end {
            let (needed, there) = (to_usize(interval.end.0), to_usize(end.0));
            return Err(Stop::Corrupt(Corruption::truncated(needed, there)));
        }
        if hash_prefixes(&interval, file, held)? == Some(interval.crc) {
            Ok(interval.end)
        } else {
            Err(Stop::Corrupt(Corruption::malformed(
                "the first bytes of the batches here are not what was sealed",
            )))
        }
    }
}

/// The CRC-32 of the prefixes; `None` if the batches do not fill the interval exactly.
fn hash_prefixes(
    interval: &Interval,
    file: &dyn ReadAt,
    held: (Position, &[u8]),
) -> Result<Option<u32>, Stop> {
    let mut hasher = crc32fast::Hasher::new();
    let mut at = interval.start;
    while at < interval.end {
        let Some(prefix) = prefix_at(at, file, held)? else {
            return Ok(None);
        };
        hasher.update(&prefix);
        // The length is one of the bytes being checked: if it is wrong, the batches found by it do
        // not fill the interval.
        let Some(size) = size_in(&prefix) else {
            return Ok(None);
        };
        at = at.plus(size);
    }
    Ok((at == interval.end).then(|| hasher.finalize()))
}

fn prefix_at(
    at: Position,
    file: &dyn ReadAt,
    (held_at, held): (Position, &[u8]),
) -> Result<Option<[u8; PREFIX_LEN]>, Stop> {
    if at >= held_at
        && let Some(rest) = held.get(to_usize(at.since(held_at))..)
        && let Some(prefix) = rest.first_chunk()
    {
        return Ok(Some(*prefix));
    }
    let mut prefix = [0; PREFIX_LEN];
    let read = file.read_at(at.0, &mut prefix).map_err(Stop::Io)?;
    Ok((read == PREFIX_LEN).then_some(prefix))
}

/// The size of a batch by its length field; `None` if that is not possible.
pub(crate) fn size_in(prefix: &[u8]) -> Option<usize> {
    let length = prefix.get(LOG_OVERHEAD - 4..)?.first_chunk::<4>()?;
    let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
    let size = length.checked_add(LOG_OVERHEAD)?;
    (size >= HEADER_LEN).then_some(size)
}
