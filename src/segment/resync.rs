//! Finds the next real batch after damaged bytes.
//!
//! Knows nothing about what becomes of the bytes in between.
//!
//! A position counts as the beginning of a batch if a batch is there with a right checksum and
//! possible offsets, and if
//!
//! 1. the length field of the damaged batch ends there, or
//! 2. a chain of headers leads from it to the end. The chain may pass a damaged batch, if a valid
//!    one begins exactly where that one's length field says it ends.
//!
//! ```text
//! damaged batch          candidate      next header       end
//! [ length ----------->] [ batch ]----->[ batch ]--....-->|     real: (1) and (2)
//! [ value: [ batch ] rest of the record ]                       a copy inside a value:
//!          candidate ^----> no header here                      neither
//! ```
//!
//! This condition excludes batches inside a value, which are followed by the rest of their record
//! and not by a header. If no candidate meets it, the first one with a right checksum counts. So if
//! two batches near each other both lost their lengths, those between them cannot be distinguished
//! from batches inside a value, and are not found. If the damaged batch says that it is the last, a
//! candidate without a valid chain is part of it.

use std::io;
use std::ops::Range;

use crate::disk::File;
use crate::format::{BatchHeader, HEADER_LEN, PREFIX_LEN};
use crate::types::{Offset, Position, to_u64, to_usize};

use super::{BatchCursor, Stop};

const WINDOW_BYTES: usize = 256 << 10;
/// A chain of this many headers need not reach the end.
const CHAIN_MAX: usize = 64;
/// Checksums are tried over at most this many times the searched bytes: a file crafted to look like
/// batches everywhere must not take forever.
const TRIES: u64 = 8;
/// The minimum for small files, in bytes.
const TRIES_MIN: u64 = 16 << 20;
/// The length field, which counts the bytes behind it.
const LENGTH_AT: usize = 8;
const LENGTH_BYTES: usize = 4;
const MAGIC_AT: usize = PREFIX_LEN - 1;
const MAGIC: u8 = 2;

#[derive(Clone, Debug)]
pub(crate) struct Search {
    pub(crate) bytes: Range<Position>,
    /// No batch begins below the start or ends above the end.
    pub(crate) offsets: Range<Offset>,
}

/// The position at which valid batches continue behind a damaged one; `None` if they do not.
pub(crate) fn batch_behind(
    file: &File,
    damaged: Position,
    search: &Search,
) -> io::Result<Option<Position>> {
    let mut finder = Finder::new(file, search);
    let bytes = finder.header_bytes(damaged)?;
    finder.end_by_length = finder.behind(damaged, &bytes);
    let found = finder.find()?;
    if let Some(end_by_length) = finder.end_by_length
        && found.is_some_and(|found| found < end_by_length)
        && found == finder.first_unconfirmed
        && finder.is_end(end_by_length)?
    {
        // The damaged batch is the last by its length field, and the candidate lies inside it and
        // has no chain behind it: it is part of a value.
        return Ok(None);
    }
    Ok(found)
}

struct Finder<'a> {
    file: &'a File,
    search: &'a Search,
    /// Bytes whose checksums may still be tried.
    budget: u64,
    /// Where the damaged batch ends, by its length field.
    end_by_length: Option<Position>,
    /// The first candidate without a valid chain.
    first_unconfirmed: Option<Position>,
}

impl<'a> Finder<'a> {
    fn new(file: &'a File, search: &'a Search) -> Self {
        let length = search.bytes.end.since(search.bytes.start);
        Self {
            file,
            search,
            budget: length.saturating_mul(TRIES).max(TRIES_MIN),
            end_by_length: None,
            first_unconfirmed: None,
        }
    }

    fn find(&mut self) -> io::Result<Option<Position>> {
        let Range { start: mut at, end } = self.search.bytes;
        let mut window = vec![0; WINDOW_BYTES.min(to_usize(end.since(at)))];
        while at < end {
            let wanted = window.len().min(to_usize(end.since(at)));
            let read = self
                .file
                .read_at(at.0, window.get_mut(..wanted).unwrap_or_default())?;
            let bytes = window.get(..read).unwrap_or_default();
            if let Some(found) = self.look_through(at, bytes)? {
                return Ok(Some(found));
            }
            // Windows overlap by one header less a byte, so that a header that crosses their border
            // is seen once, and whole.
            let Some(step) = read.checked_sub(HEADER_LEN - 1).filter(|step| *step > 0) else {
                break;
            };
            at = at.plus(step);
        }
        Ok(self.first_unconfirmed)
    }

    fn look_through(&mut self, at: Position, bytes: &[u8]) -> io::Result<Option<Position>> {
        for (index, header) in bytes.windows(HEADER_LEN).enumerate() {
            // One byte rules out most positions before the header is parsed and the checksum
            // computed.
            if header.get(MAGIC_AT) != Some(&MAGIC) {
                continue;
            }
            let place = at.plus(index);
            if let Some(header) = self.fitting(place, header)
                && self.is_batch(place, &header)?
            {
                if self.end_by_length == Some(place) || self.leads_on(place, &header)? {
                    return Ok(Some(place));
                }
                self.first_unconfirmed.get_or_insert(place);
            }
        }
        Ok(None)
    }

    /// The header, if it and its offsets are possible at `place`.
    fn fitting(&self, place: Position, bytes: &[u8]) -> Option<BatchHeader> {
        let header = BatchHeader::parse(bytes).ok()?;
        let offsets = &self.search.offsets;
        let fits = header.base_offset >= offsets.start
            && header.next_offset() <= offsets.end
            && place.plus(header.size) <= self.search.bytes.end;
        fits.then_some(header)
    }

    /// Whether the checksum is right.
    fn is_batch(&mut self, place: Position, header: &BatchHeader) -> io::Result<bool> {
        let size = to_u64(header.size);
        // When the budget is used up nothing is a batch any more: the search then finds fewer
        // batches, never wrong ones.
        let Some(left) = self.budget.checked_sub(size) else {
            return Ok(false);
        };
        self.budget = left;
        let mut cursor = BatchCursor::new(place, header.base_offset);
        match cursor.next(self.file, self.search.bytes.end) {
            Ok(found) => Ok(found.is_some()),
            Err(Stop::Corrupt(_)) => Ok(false),
            Err(Stop::Io(error)) => Err(error),
        }
    }

    fn header_bytes(&self, at: Position) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; HEADER_LEN];
        let read = self.file.read_at(at.0, &mut bytes)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    fn stands_at(&mut self, place: Position) -> io::Result<Option<BatchHeader>> {
        let bytes = self.header_bytes(place)?;
        match self.fitting(place, &bytes) {
            Some(header) if self.is_batch(place, &header)? => Ok(Some(header)),
            _ => Ok(None),
        }
    }

    /// Where a batch ends by its length field alone, whatever the rest of its header says.
    fn behind(&self, at: Position, bytes: &[u8]) -> Option<Position> {
        let length = bytes.get(LENGTH_AT..)?.first_chunk()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let place = at.plus(LENGTH_AT + LENGTH_BYTES).plus(length);
        let is_one = length >= HEADER_LEN - LENGTH_AT - LENGTH_BYTES;
        (is_one && place <= self.search.bytes.end).then_some(place)
    }

    /// Whether the batches end here. Zeros, which are reserved space, count as the end.
    fn is_end(&self, at: Position) -> io::Result<bool> {
        if at == self.search.bytes.end {
            return Ok(true);
        }
        let bytes = self.header_bytes(at)?;
        Ok(bytes.iter().all(|byte| *byte == 0))
    }

    /// Whether zeros begin here at most a header before the end of the damaged batch: then they may
    /// be its last bytes.
    fn ends_before_end_by_length(&self, at: Position) -> bool {
        let short = |end_by_length: Position| {
            at < end_by_length && end_by_length.since(at) <= to_u64(HEADER_LEN)
        };
        at != self.search.bytes.end && self.end_by_length.is_some_and(short)
    }

    /// Whether valid headers follow up to the end.
    fn leads_on(&mut self, place: Position, header: &BatchHeader) -> io::Result<bool> {
        let mut at = place.plus(header.size);
        let mut floor = header.next_offset();
        for _ in 0..CHAIN_MAX {
            if self.is_end(at)? {
                return Ok(!self.ends_before_end_by_length(at));
            }
            let bytes = self.header_bytes(at)?;
            let follows = |header: &BatchHeader| header.base_offset >= floor;
            if let Some(next) = self.fitting(at, &bytes).filter(follows) {
                at = at.plus(next.size);
                floor = next.next_offset();
                continue;
            }
            // Not a valid header: it may be a second damaged batch. Its length field is believed
            // only if a whole valid batch begins where it ends, or the file ends there.
            let Some(behind) = self.behind(at, &bytes) else {
                return Ok(false);
            };
            if behind != self.search.bytes.end
                && !self.stands_at(behind)?.as_ref().is_some_and(follows)
            {
                return Ok(false);
            }
            at = behind;
        }
        Ok(true)
    }
}

/// Counts batches for a report, whatever is between them; stops at about `most`.
pub(crate) fn count_batches(file: &File, search: &Search, most: u64) -> io::Result<u64> {
    let mut search = search.clone();
    let mut count = 0;
    while count < most
        && let Some(found) = Finder::new(file, &search).find()?
    {
        let mut cursor = BatchCursor::new(found, search.offsets.start).sequential();
        loop {
            match cursor.next(file, search.bytes.end) {
                Ok(Some(_)) => count += 1,
                Ok(None) | Err(Stop::Corrupt(_)) => break,
                Err(Stop::Io(error)) => return Err(error),
            }
        }
        // At least one byte further each time, or the search would find the same batch forever.
        search.bytes.start = cursor.position().plus(1).max(found.plus(1));
        search.offsets.start = cursor.floor();
    }
    Ok(count)
}

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
