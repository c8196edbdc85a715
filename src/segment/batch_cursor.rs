//! Batches off a file, one after the other, in chunks.
//!
//! Knows nothing about segments, logs or indexes: it is given a file, a place and an end, and it
//! hands out whole batches whose checksum is right. Readers and recovery walk with the same legs.
//!
//! 1. A slice is handed out only after its CRC was checked on the very bytes of the slice.
//! 2. A chunk is read again into the same memory when nobody holds a slice of it.
//! 3. Nothing is allocated beyond what is left of the file.
//! 4. Offsets only rise: a batch that begins below the end of the one before it is damage.

use bytes::{Bytes, BytesMut};

use crate::disk::File;
use crate::format::{BatchHeader, Corruption, HEADER_LEN, check_crc};
use crate::types::{Offset, Position, to_usize};

/// The first read after a seek, in bytes: one page, for a reader that wants one record.
const CHUNK_BYTES_MIN: usize = 4 << 10;
/// The largest chunk, for a reader that goes on and on.
const CHUNK_BYTES_MAX: usize = 256 << 10;

/// A batch as it stands in the file, its checksum checked.
#[derive(Clone, Debug)]
pub(crate) struct RawBatch {
    pub(crate) header: BatchHeader,
    pub(crate) position: Position,
    pub(crate) bytes: Bytes,
}

impl RawBatch {
    /// Where the next batch begins.
    pub(crate) fn end(&self) -> Position {
        self.position.plus(self.bytes.len())
    }
}

/// Why a walk stopped before its end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The bytes at the cursor's position are no batch.
    Corrupt(Corruption),
    /// The file did not answer.
    Io(std::io::Error),
}

/// A place in a file, and the chunk around it.
#[derive(Debug)]
pub(crate) struct BatchCursor {
    chunk: Bytes,
    chunk_at: Position,
    position: Position,
    /// No batch may begin below this offset.
    floor: Offset,
    next_read: usize,
}

impl BatchCursor {
    /// A cursor whose first batch begins at `position`, with no offset below `floor`.
    pub(crate) fn new(position: Position, floor: Offset) -> Self {
        Self {
            chunk: Bytes::new(),
            chunk_at: position,
            position,
            floor,
            next_read: CHUNK_BYTES_MIN,
        }
    }

    /// The same cursor, reading large chunks from the start: for a walk over all that is left.
    pub(crate) fn sequential(mut self) -> Self {
        self.next_read = CHUNK_BYTES_MAX;
        self
    }

    /// Where the next batch begins.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// The offset below which no further batch can begin.
    pub(crate) fn floor(&self) -> Offset {
        self.floor
    }

    /// Goes to another place, keeping the memory.
    pub(crate) fn seek(&mut self, position: Position, floor: Offset) {
        self.position = position;
        self.floor = floor;
        self.forget_chunk();
        self.next_read = CHUNK_BYTES_MIN;
    }

    /// Drops what was read ahead: the bytes may have changed.
    pub(crate) fn forget_chunk(&mut self) {
        self.chunk.clear();
        self.chunk_at = self.position;
    }

    /// Steps over a batch that [`next`](Self::next) would give; used when its caller has seen it.
    fn step(&mut self, header: &BatchHeader) {
        self.position = self.position.plus(header.size);
        self.floor = header.next_offset();
    }

    /// The next whole batch that ends at or before `end`, or `None` at `end`.
    #[inline]
    pub(crate) fn next(&mut self, file: &File, end: Position) -> Result<Option<RawBatch>, Stop> {
        if self.position >= end {
            return Ok(None);
        }
        let header = self.header(file, end)?;
        self.need(file, end, header.size)?;
        let start = to_usize(self.position.since(self.chunk_at));
        let range = start..start.saturating_add(header.size);
        let bytes = self.chunk.get(range.clone()).unwrap_or_default();
        check_crc(bytes, &header).map_err(Stop::Corrupt)?;
        let raw = RawBatch {
            header,
            position: self.position,
            bytes: self.chunk.slice(range),
        };
        self.step(&raw.header);
        Ok(Some(raw))
    }

    /// The header of the batch at the cursor, which must fit below `end`.
    fn header(&mut self, file: &File, end: Position) -> Result<BatchHeader, Stop> {
        self.need(file, end, HEADER_LEN)?;
        let start = to_usize(self.position.since(self.chunk_at));
        let bytes = self.chunk.get(start..).unwrap_or_default();
        let header = BatchHeader::parse(bytes).map_err(Stop::Corrupt)?;
        if header.base_offset < self.floor {
            let (expected, found) = (self.floor, header.base_offset);
            return Err(Stop::Corrupt(Corruption::offset(expected, found)));
        }
        let left = to_usize(end.since(self.position));
        if header.size > left {
            return Err(Stop::Corrupt(Corruption::truncated(header.size, left)));
        }
        Ok(header)
    }

    /// Sees to it that the chunk holds `needed` bytes from the cursor on.
    #[inline]
    fn need(&mut self, file: &File, end: Position, needed: usize) -> Result<(), Stop> {
        let held = self.chunk_at.plus(self.chunk.len()).since(self.position);
        if to_usize(held) >= needed {
            return Ok(());
        }
        self.fill(file, end, needed)
    }

    fn fill(&mut self, file: &File, end: Position, needed: usize) -> Result<(), Stop> {
        let left = to_usize(end.since(self.position));
        if needed > left {
            return Err(Stop::Corrupt(Corruption::truncated(needed, left)));
        }
        let wanted = needed.max(self.next_read).min(left);
        let mut memory = match std::mem::take(&mut self.chunk).try_into_mut() {
            Ok(memory) => memory,
            Err(_still_held) => BytesMut::new(),
        };
        if memory.capacity() < wanted {
            memory = BytesMut::with_capacity(wanted.max(self.next_read.min(left)));
        }
        memory.resize(wanted, 0);
        let read = file
            .read_at(self.position.0, &mut memory)
            .map_err(Stop::Io)?;
        memory.truncate(read);
        self.chunk = memory.freeze();
        self.chunk_at = self.position;
        if wanted == self.next_read {
            self.next_read = self.next_read.saturating_mul(2).min(CHUNK_BYTES_MAX);
        }
        if read < needed {
            // The file is shorter than its published end: it was cut from outside.
            return Err(Stop::Corrupt(Corruption::truncated(needed, read)));
        }
        Ok(())
    }
}
