//! Whether a segment file holds its own batches or, after an exchange or a copy under a wrong name,
//! those of another.
//!
//! Knows nothing about the other segments.

use crate::segment::Stop;
use crate::types::{Offset, Position};

use super::{Subject, free_cursor};

/// The offset at or above which the first batch belongs, and whether the file is misplaced: its
/// first two batches fit each other but not the file's name; or the first batch does not fit the
/// name and the file is not as long as its digest says.
pub(super) fn origin(subject: &Subject<'_>) -> std::io::Result<(Offset, bool)> {
    let base = subject.segment.base_offset();
    let mut cursor = free_cursor(Position::ZERO);
    let mut next = || match cursor.next(subject.file, subject.end) {
        Ok(Some(raw)) => Ok(Some(raw.header)),
        Ok(None) | Err(Stop::Corrupt(_)) => Ok(None),
        Err(Stop::Io(error)) => Err(error),
    };
    let Some(first) = next()? else {
        return Ok((base, false));
    };
    let beyond = |offset: Offset| offset < base || offset >= subject.ceiling;
    let elsewhere = beyond(first.base_offset) || subject.dense && first.base_offset != base;
    let together = match next()? {
        Some(second) if second.base_offset == first.next_offset() => true,
        Some(second) => second.base_offset > first.base_offset && beyond(second.base_offset),
        None => false,
    };
    if elsewhere && (together || subject.other_length) {
        Ok((first.base_offset, true))
    // One wrong offset may be a damaged batch in the right file. Two batches that agree with each
    // other, or another length as well, are evidence of another file.
    } else {
        Ok((base, false))
    }
}
