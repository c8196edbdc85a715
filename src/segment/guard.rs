//! What is known about the batches of a segment beyond their own checksums, which do not cover the
//! first 17 bytes: the offset, the length, the leader epoch and the format version.
//!
//! Knows nothing about where that knowledge comes from.

use std::sync::Arc;

use crate::format::{Corruption, Digest, HEADER_LEN, Interval, LOG_OVERHEAD, PREFIX_LEN};
use crate::types::{Offset, Position, to_usize};

use super::{ReadAt, Stop};

/// What the offsets of a segment's batches are checked against.
#[derive(Clone, Debug, Default)]
pub(crate) enum Guard {
    /// Nothing: for a caller that examines what is there and judges by itself.
    Nothing,
    /// They rise: all that is known about a segment that another program wrote.
    #[default]
    Rising,
    /// They follow each other without a gap, the first one at the segment's base: so every batch is
    /// checked against the one before it.
    Dense,
    /// They have gaps, and the digest has checksums of the bytes that contain them.
    Sealed(Arc<SealedDigest>),
}

impl Guard {
    /// Checks against a digest.
    pub(crate) fn sealed(digest: Digest) -> Self {
        Self::Sealed(Arc::new(SealedDigest(digest)))
    }
}

/// Where a walk begins, and what is known there.
#[derive(Clone, Debug)]
pub(crate) struct Landing {
    /// Where the first batch begins.
    pub(crate) position: Position,
    /// No batch begins below this offset.
    pub(crate) floor: Offset,
    /// An index says that the first batch ends at this offset (exclusive).
    pub(crate) first_next: Option<Offset>,
    /// What its segment is checked against.
    pub(crate) guard: Guard,
}

/// The digest of a segment with gaps.
#[derive(Debug)]
pub(crate) struct SealedDigest(Digest);

impl SealedDigest {
    /// Checks the first bytes of every batch in the digest interval that contains a position;
    /// returns where the interval ends. `held` is bytes of the file that the caller has read, and
    /// where they begin.
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

/// CRC-32 of the first bytes of every batch in an interval; `None` if the batches do not fill it
/// exactly.
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

/// The first bytes of a batch, from what was already read or from the file.
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

/// The size of a batch in bytes, by its length field.
pub(crate) fn size_in(prefix: &[u8]) -> Option<usize> {
    let length = prefix.get(LOG_OVERHEAD - 4..)?.first_chunk::<4>()?;
    let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
    let size = length.checked_add(LOG_OVERHEAD)?;
    (size >= HEADER_LEN).then_some(size)
}
