//! Reads the batches of a file one after the other, in chunks: for readers and for recovery.
//!
//! Knows nothing about segments, logs or indexes: from a file, a position and an end it returns
//! whole batches whose checksums are right.
//!
//! 1. A slice is returned only after its CRC was checked on its very bytes.
//! 2. A chunk is read into the memory of the one before unless a caller holds a slice of that. The
//!    beginning of the next batch is kept in memory, so that no byte is read twice.
//! 3. No allocation is larger than what is left of the file.
//! 4. Offsets only rise: a batch that begins below the end of the one before is damaged, and so is
//!    one that contradicts what else is known ([`Known`]), for its checksum does not cover its
//!    offset. It is not returned.

use bytes::{Bytes, BytesMut};

use crate::format::{BatchHeader, Corruption, HEADER_LEN, check_crc};
use crate::types::{Offset, Position, to_usize};

use super::ReadAt;
use super::known::{Known, ReadStart};

/// The first read: one page, for a reader that wants one record.
const CHUNK_BYTES_MIN: usize = 4 << 10;
pub(super) const CHUNK_BYTES_MAX: usize = 256 << 10;

/// A whole batch whose checksum is right. Its records are not checked.
#[derive(Clone, Debug)]
pub(crate) struct RawBatch {
    pub(crate) header: BatchHeader,
    pub(crate) position: Position,
    pub(crate) bytes: Bytes,
}

impl RawBatch {
    pub(crate) fn end(&self) -> Position {
        self.position.plus(self.bytes.len())
    }
}

/// Why there is no next batch.
#[derive(Debug)]
pub(crate) enum Stop {
    Corrupt(Corruption),
    Io(std::io::Error),
}

#[derive(Debug)]
pub(crate) struct BatchCursor {
    chunk: Bytes,
    spare: Bytes,
    /// Where `chunk` begins.
    chunk_at: Position,
    /// Where the next batch begins.
    position: Position,
    /// The lowest possible offset of the next batch.
    floor: Offset,
    known: Known,
    /// Batches below this position need only begin at the floor.
    checked_to: Position,
    /// The next offset of the first batch, by an index.
    first_next: Option<Offset>,
    /// Bytes of the next read.
    next_read: usize,
    /// Nothing is read ahead from here on.
    read_to: Position,
}

impl BatchCursor {
    pub(crate) fn new(position: Position, floor: Offset) -> Self {
        Self {
            chunk: Bytes::new(),
            spare: Bytes::new(),
            chunk_at: position,
            position,
            floor,
            known: Known::Increasing,
            checked_to: Position::ZERO,
            first_next: None,
            next_read: CHUNK_BYTES_MIN,
            read_to: Position(u64::MAX),
        }
    }

    pub(crate) fn at(read_start: ReadStart) -> Self {
        Self {
            known: read_start.known,
            first_next: read_start.first_next,
            ..Self::new(read_start.position, read_start.floor)
        }
    }

    /// Reads large chunks from the first on, for a caller that reads everything.
    pub(crate) fn sequential(mut self) -> Self {
        self.next_read = CHUNK_BYTES_MAX;
        self
    }

    /// Reads nothing ahead from `end` on, which the caller most likely does not need.
    pub(crate) fn ahead_to(mut self, end: Position) -> Self {
        self.read_to = end;
        self
    }

    /// Sets the size of the first read.
    pub(crate) fn reading(mut self, bytes: usize) -> Self {
        self.next_read = bytes.clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX);
        self
    }

    /// Reuses memory that no caller holds any more.
    pub(crate) fn with_memory(mut self, memory: Bytes) -> Self {
        self.spare = memory;
        self
    }

    pub(crate) fn into_memory(self) -> Bytes {
        self.chunk
    }

    pub(crate) fn position(&self) -> Position {
        self.position
    }

    #[cfg(feature = "async")]
    pub(crate) fn into_read_start(self) -> ReadStart {
        ReadStart {
            position: self.position,
            floor: self.floor,
            first_next: self.first_next,
            known: self.known,
        }
    }

    pub(crate) fn floor(&self) -> Offset {
        self.floor
    }

    /// Moves to a batch. In a segment without gaps it must begin at `floor`.
    pub(crate) fn seek(&mut self, position: Position, floor: Offset) {
        self.position = position;
        self.floor = floor;
        self.checked_to = Position::ZERO;
        self.first_next = None;
        self.forget_chunk();
        self.next_read = CHUNK_BYTES_MIN;
    }

    pub(crate) fn enter(&mut self, read_start: ReadStart) {
        self.seek(read_start.position, read_start.floor);
        self.known = read_start.known;
        self.first_next = read_start.first_next;
    }

    /// Drops what was read ahead: the bytes may have changed.
    pub(crate) fn forget_chunk(&mut self) {
        self.chunk.clear();
        self.chunk_at = self.position;
    }

    fn step(&mut self, header: &BatchHeader) {
        self.position = self.position.plus(header.size);
        self.floor = header.next_offset();
    }

    /// The next batch; `None` at `end`.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "as a call, the batch goes through memory"
    )]
    pub(crate) fn next(
        &mut self,
        file: &dyn ReadAt,
        end: Position,
    ) -> Result<Option<RawBatch>, Stop> {
        if self.position >= end {
            return Ok(None);
        }
        let header = self.header(file, end)?;
        self.take(file, end, header).map(Some)
    }

    /// The batch that holds an offset or begins above it, in a segment without gaps. Of the batches
    /// before it only the headers are read, each compared with the one before.
    pub(crate) fn find(
        &mut self,
        file: &dyn ReadAt,
        end: Position,
        wanted: Offset,
    ) -> Result<Option<RawBatch>, Stop> {
        while self.position < end {
            let header = self.header(file, end)?;
            if header.next_offset() > wanted {
                return self.take(file, end, header).map(Some);
            }
            self.step(&header);
        }
        Ok(None)
    }

    /// The batch at the cursor, whole and its checksum checked (I1).
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "as a call, the batch goes through memory"
    )]
    fn take(
        &mut self,
        file: &dyn ReadAt,
        end: Position,
        header: BatchHeader,
    ) -> Result<RawBatch, Stop> {
        self.need(file, end, header.size)?;
        let start = to_usize(self.position.since(self.chunk_at));
        let range = start..start.saturating_add(header.size);
        let bytes = self.chunk.get(range.clone()).unwrap_or_default();
        // Before any slice of it exists (I1).
        check_crc(bytes, &header).map_err(Stop::Corrupt)?;
        let raw = RawBatch {
            header,
            position: self.position,
            bytes: self.chunk.slice(range),
        };
        self.step(&raw.header);
        Ok(raw)
    }

    /// The header at the cursor; its batch must fit below `end`.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "as a call, the header goes through memory"
    )]
    fn header(&mut self, file: &dyn ReadAt, end: Position) -> Result<BatchHeader, Stop> {
        self.need(file, end, HEADER_LEN)?;
        let start = to_usize(self.position.since(self.chunk_at));
        let bytes = self.chunk.get(start..).unwrap_or_default();
        let header = BatchHeader::parse(bytes).map_err(Stop::Corrupt)?;
        // A batch that begins exactly at the floor, below `checked_to`, needs no other check.
        if header.base_offset != self.floor || self.position >= self.checked_to {
            self.check_place(file, end, &header)?;
        }
        // Compared with what is left before memory is allocated for the batch (I3).
        let left = to_usize(end.since(self.position));
        if header.size > left {
            return Err(Stop::Corrupt(Corruption::truncated(header.size, left)));
        }
        Ok(header)
    }

    /// Compares a batch with what is known about its segment. Needed if it does not begin at the
    /// floor, and at [`Self::checked_to`].
    #[inline]
    fn check_place(
        &mut self,
        file: &dyn ReadAt,
        end: Position,
        header: &BatchHeader,
    ) -> Result<(), Stop> {
        // The index entry says something only about the first batch after a look-up.
        let claimed = self.first_next.take();
        let follows = match (&self.known, claimed) {
            (Known::Nothing, _) => true,
            (Known::Contiguous, Some(next)) => header.next_offset() == next,
            (Known::Contiguous, None) => header.base_offset == self.floor,
            (Known::Increasing | Known::Digest(_), _) => header.base_offset >= self.floor,
        };
        if !follows {
            let (expected, found) = (self.floor, header.base_offset);
            return Err(Stop::Corrupt(Corruption::offset(expected, found)));
        }
        // The interval that holds this batch was checked as a whole already.
        if self.position < self.checked_to {
            return Ok(());
        }
        self.checked_to = match &self.known {
            Known::Digest(digest) => {
                let held = (self.chunk_at, self.chunk.as_ref());
                digest.check_at(self.position, file, held, end)?
            }
            Known::Nothing | Known::Increasing | Known::Contiguous => Position(u64::MAX),
        };
        Ok(())
    }

    /// Makes the chunk hold `needed` bytes from the cursor on.
    #[inline]
    fn need(&mut self, file: &dyn ReadAt, end: Position, needed: usize) -> Result<(), Stop> {
        let held = self.chunk_at.plus(self.chunk.len()).since(self.position);
        if to_usize(held) >= needed {
            return Ok(());
        }
        self.fill(file, end, needed)
    }

    fn fill(&mut self, file: &dyn ReadAt, end: Position, needed: usize) -> Result<(), Stop> {
        let left = to_usize(end.since(self.position));
        if needed > left {
            return Err(Stop::Corrupt(Corruption::truncated(needed, left)));
        }
        if self.position >= self.read_to {
            // It was not the end of the data: another handle is still writing.
            self.read_to = Position(u64::MAX);
        }
        let ahead = to_usize(self.read_to.since(self.position));
        let wanted = self.next_read.min(ahead).max(needed).min(left);
        // A batch may begin at the end of one chunk and end in the next: the bytes already in
        // memory are kept, so that no byte is read twice.
        let passed = to_usize(self.position.since(self.chunk_at)).min(self.chunk.len());
        let held = self.chunk.len().saturating_sub(passed);
        let keep = passed..passed.saturating_add(held);
        let mut memory = std::mem::take(&mut self.chunk);
        if memory.is_empty() {
            memory = std::mem::take(&mut self.spare);
        }
        let capacity = wanted.max(self.next_read.min(left));
        let mut memory = match memory.try_into_mut() {
            Ok(mut memory) if memory.capacity() >= wanted => {
                memory.copy_within(keep, 0);
                memory
            }
            Ok(memory) => kept(memory.get(keep), capacity),
            // A caller still holds a slice of this chunk, so its memory must not be overwritten.
            Err(still_held) => kept(still_held.get(keep), capacity),
        };
        memory.resize(wanted, 0);
        let rest = memory.get_mut(held..).unwrap_or_default();
        let at = self.position.plus(held);
        let read = held.saturating_add(file.read_at(at.0, rest).map_err(Stop::Io)?);
        memory.truncate(read);
        self.chunk = memory.freeze();
        self.chunk_at = self.position;
        // A reader that keeps reading gets larger chunks, while one that wants a single record
        // reads a page.
        if wanted == self.next_read {
            self.next_read = self.next_read.saturating_mul(2).min(CHUNK_BYTES_MAX);
        }
        if read < needed {
            // The file is shorter than its published end: something else cut it.
            return Err(Stop::Corrupt(Corruption::truncated(needed, read)));
        }
        Ok(())
    }
}

fn kept(bytes: Option<&[u8]>, capacity: usize) -> BytesMut {
    let mut memory = BytesMut::with_capacity(capacity);
    memory.extend_from_slice(bytes.unwrap_or_default());
    memory
}

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
