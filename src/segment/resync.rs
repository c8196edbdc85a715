//! Finding batches again behind bytes that are none.
//!
//! Knows nothing about what becomes of the bytes in between.
//!
//! A place counts as the beginning of a batch when a batch stands there whose checksum is right and
//! whose offsets may stand there, and when the headers that follow it lead on to the end. That last
//! condition is for records that hold batches: what is inside a value is followed by the rest of
//! its record, which is no header. Only where nothing passes it, the first right checksum counts.

use std::io;
use std::ops::Range;

use crate::disk::File;
use crate::format::{BatchHeader, HEADER_LEN, PREFIX_LEN};
use crate::types::{Offset, Position, to_u64, to_usize};

use super::{BatchCursor, Stop};

/// How much is looked through at a time, in bytes.
const WINDOW_BYTES: usize = 256 << 10;
/// Headers that are followed before a chain counts as endless.
const CHAIN_MAX: usize = 64;
/// Checksums are tried over so many times the bytes that are looked through, and then no more: so
/// that a file that was made for it does not take for ever.
const TRIES: u64 = 8;
/// The same for small files, in bytes.
const TRIES_MIN: u64 = 16 << 20;
/// Where the format version stands in a batch, and what it is.
const MAGIC_AT: usize = PREFIX_LEN - 1;
const MAGIC: u8 = 2;

/// Where to look, and what may stand there.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    /// The first place to try, and one past the last byte.
    pub(crate) bytes: Range<Position>,
    /// No batch begins below the start or ends above the end.
    pub(crate) offsets: Range<Offset>,
}

/// The first place where batches go on; `None` when they do not.
pub(crate) fn next_batch(file: &File, search: &Search) -> io::Result<Option<Position>> {
    let length = search.bytes.end.since(search.bytes.start);
    let mut finder = Finder {
        file,
        search,
        budget: length.saturating_mul(TRIES).max(TRIES_MIN),
        weak: None,
    };
    let mut at = search.bytes.start;
    let mut window = vec![0; WINDOW_BYTES.min(to_usize(length))];
    while at < search.bytes.end {
        let wanted = window.len().min(to_usize(search.bytes.end.since(at)));
        let read = file.read_at(at.0, window.get_mut(..wanted).unwrap_or_default())?;
        let bytes = window.get(..read).unwrap_or_default();
        if let Some(found) = finder.look_through(at, bytes)? {
            return Ok(Some(found));
        }
        let Some(step) = read.checked_sub(HEADER_LEN - 1).filter(|step| *step > 0) else {
            break;
        };
        at = at.plus(step);
    }
    Ok(finder.weak)
}

struct Finder<'a> {
    file: &'a File,
    search: &'a Search,
    /// Bytes whose checksum may still be tried.
    budget: u64,
    /// The first batch that leads nowhere.
    weak: Option<Position>,
}

impl Finder<'_> {
    fn look_through(&mut self, at: Position, bytes: &[u8]) -> io::Result<Option<Position>> {
        for (index, header) in bytes.windows(HEADER_LEN).enumerate() {
            if header.get(MAGIC_AT) != Some(&MAGIC) {
                continue;
            }
            let place = at.plus(index);
            if let Some(header) = self.fitting(place, header)
                && self.is_batch(place, &header)?
            {
                if self.leads_on(place, &header)? {
                    return Ok(Some(place));
                }
                self.weak.get_or_insert(place);
            }
        }
        Ok(None)
    }

    /// The header at a place, if a batch like that may stand there.
    fn fitting(&self, place: Position, bytes: &[u8]) -> Option<BatchHeader> {
        let header = BatchHeader::parse(bytes).ok()?;
        let offsets = &self.search.offsets;
        let fits = header.base_offset >= offsets.start
            && header.next_offset() <= offsets.end
            && place.plus(header.size) <= self.search.bytes.end;
        fits.then_some(header)
    }

    fn is_batch(&mut self, place: Position, header: &BatchHeader) -> io::Result<bool> {
        let size = to_u64(header.size);
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

    /// Whether headers follow from this batch up to the end (or to zeros, which are space that was
    /// reserved).
    fn leads_on(&self, place: Position, header: &BatchHeader) -> io::Result<bool> {
        let mut at = place.plus(header.size);
        let mut floor = header.next_offset();
        for _ in 0..CHAIN_MAX {
            if at == self.search.bytes.end {
                return Ok(true);
            }
            let mut bytes = [0; HEADER_LEN];
            let read = self.file.read_at(at.0, &mut bytes)?;
            let bytes = bytes.get(..read).unwrap_or_default();
            if bytes.iter().all(|byte| *byte == 0) {
                return Ok(true);
            }
            let Some(next) = self.fitting(at, bytes) else {
                return Ok(false);
            };
            if next.base_offset < floor {
                return Ok(false);
            }
            at = at.plus(next.size);
            floor = next.next_offset();
        }
        Ok(true)
    }
}

/// How many batches stand in a range, whatever lies between them. For a report, so it counts no
/// further than `most`.
pub(crate) fn count_batches(file: &File, search: &Search, most: u64) -> io::Result<u64> {
    let mut search = search.clone();
    let mut count = 0;
    while count < most
        && let Some(found) = next_batch(file, &search)?
    {
        let mut cursor = BatchCursor::new(found, search.offsets.start).sequential();
        loop {
            match cursor.next(file, search.bytes.end) {
                Ok(Some(_)) => count += 1,
                Ok(None) | Err(Stop::Corrupt(_)) => break,
                Err(Stop::Io(error)) => return Err(error),
            }
        }
        search.bytes.start = cursor.position().plus(1).max(found.plus(1));
        search.offsets.start = cursor.floor();
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::as_conversions, reason = "lengths of a test")]

    use std::path::Path;

    use super::*;
    use crate::disk::sim::Sim;
    use crate::format::{BatchOptions, encode_one, stamp};
    use crate::types::{Record, Timestamp};

    fn batch(offset: Offset, value: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let options = BatchOptions {
            now: Timestamp::from_millis(1),
            ..BatchOptions::default()
        };
        encode_one(&mut bytes, &Record::new(value), &options).unwrap();
        stamp(&mut bytes, offset, 0);
        bytes
    }

    /// Where batches go on in these bytes, from a place on.
    fn check(bytes: &[u8], from: u64, offsets: Range<Offset>) -> Option<u64> {
        let sim = Sim::new();
        let path = Path::new("/file");
        sim.write_raw(path, bytes).unwrap();
        let file = sim.disk().open(path, crate::disk::Access::Read).unwrap();
        let search = Search {
            bytes: Position(from)..Position(bytes.len().try_into().unwrap()),
            offsets,
        };
        next_batch(&file, &search).unwrap().map(|found| found.0)
    }

    #[test]
    fn batches_go_on_behind_garbage_zeros_and_a_torn_batch() {
        for hole in [
            vec![0xee; 300],
            vec![0; 300],
            batch(1, &[9; 200])[..100].to_vec(),
            vec![2; 70],
        ] {
            let after = hole.len() as u64;
            let bytes = [hole, batch(5, b"a"), batch(6, b"b")].concat();
            assert_eq!(check(&bytes, 0, 0..u64::MAX), Some(after));
            assert_eq!(
                check(&bytes, 0, 6..u64::MAX),
                Some(after + batch(5, b"a").len() as u64)
            );
            assert_eq!(check(&bytes, 0, 9..u64::MAX), None);
        }
    }

    #[test]
    fn a_batch_inside_a_value_is_not_taken_for_one_of_the_log() {
        let inner = batch(7, b"inner");
        let outer = batch(5, &inner);
        let mut bytes = outer.clone();
        bytes[11] ^= 4; // The length of the outer one.
        bytes.extend_from_slice(&batch(6, b"next"));
        bytes.extend_from_slice(&batch(7, b"after"));
        assert_eq!(check(&bytes, 1, 0..u64::MAX), Some(outer.len() as u64));
    }

    #[test]
    fn a_batch_before_another_damaged_one_is_found() {
        let mut torn = batch(6, &[1; 100]);
        torn[80] ^= 1;
        let bytes = [vec![0xee; 61], batch(5, b"a"), torn, batch(7, b"b")].concat();
        assert_eq!(check(&bytes, 0, 0..u64::MAX), Some(61));
    }

    #[test]
    fn a_hole_longer_than_a_window_is_crossed() {
        for length in [
            WINDOW_BYTES - 61,
            WINDOW_BYTES - 1,
            WINDOW_BYTES,
            3 * WINDOW_BYTES + 17,
        ] {
            let bytes = [vec![0xaa; length], batch(5, b"a")].concat();
            assert_eq!(check(&bytes, 1, 0..u64::MAX), Some(length as u64));
        }
    }
}
