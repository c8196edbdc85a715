//! LZ4 frames, little-endian inside:
//!
//! | at | bytes | field |
//! | ---: | ---: | --- |
//! | 0 | 4 | magic `04 22 4d 18` |
//! | 4 | 1 | flags: bits 7-6 version 1, 5 independent blocks, 4 block sums, |
//! | | | 3 content size, 2 content sum |
//! | 5 | 1 | bits 6-4 largest block: 4 is 64 KiB, 5 256 KiB, 6 1 MiB, 7 4 MiB |
//! | 6 | 8 | content size, if flagged |
//! | then | 1 | header sum |
//! | then | | blocks: u32 length (the top bit: stored as it is), bytes, u32 sum if flagged |
//! | then | 4 | end mark, 0 |
//!
//! Knows nothing about records. Valid if and only if Kafka reads it: version 1, independent blocks,
//! no dictionary, an end mark; what follows is ignored. The sums are skipped, for the checksum of
//! the batch covers every byte. The framing is done here and not by the codec's crate, which would
//! allocate and copy several blocks for the smallest batch.

use std::cell::RefCell;

use lz4_flex::block::{compress_into, decompress_into, get_maximum_output_size};

use super::super::cursor::Cursor;
use super::super::{Corruption, EncodeError};
use super::{Kept, Refusal, SCRATCH_KEPT_MAX, keep, make_room, take};

const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
/// Version 1, independent blocks of 64 KiB, and only the header's sum, in the last byte.
const HEADER: [u8; 7] = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82];
const BLOCK: usize = 64 << 10;
/// The bit of a length that says that the block is not compressed.
const STORED: u32 = 1 << 31;
const END_MARK: [u8; 4] = [0; 4];

const VERSION_AND_RESERVED: u8 = 0b1100_0011;
const VERSION_1: u8 = 0b0100_0000;
const INDEPENDENT: u8 = 1 << 5;
const BLOCK_SUMS: u8 = 1 << 4;
const CONTENT_SIZE: u8 = 1 << 3;

thread_local! {
    static SCRATCH: Kept<Vec<u8>> = const { RefCell::new(None) };
}

pub(super) fn compress(plain: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    out.extend_from_slice(&HEADER);
    for block in plain.chunks(BLOCK) {
        compress_block(block, out)?;
    }
    out.extend_from_slice(&END_MARK);
    Ok(())
}

fn compress_block(block: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    const FAILED: EncodeError = EncodeError::Unsupported("lz4 of these records");
    let length_at = out.len();
    let block_at = length_at.saturating_add(4);
    let room = get_maximum_output_size(block.len());
    out.resize(block_at.saturating_add(room), 0);
    let written =
        compress_into(block, out.get_mut(block_at..).unwrap_or_default()).map_err(|_| FAILED)?;
    let mut length = u32::try_from(written).map_err(|_| FAILED)?;
    out.truncate(block_at.saturating_add(written));
    if written >= block.len() {
        out.truncate(block_at);
        out.extend_from_slice(block);
        length = u32::try_from(block.len()).map_err(|_| FAILED)? | STORED;
    }
    if let Some(place) = out
        .get_mut(length_at..)
        .and_then(<[u8]>::first_chunk_mut::<4>)
    {
        *place = length.to_le_bytes();
    }
    Ok(())
}

pub(super) fn decompress(packed: &[u8], budget: usize) -> Result<Vec<u8>, Refusal> {
    let mut block = take(&SCRATCH).unwrap_or_default();
    let plain = decompress_frame(packed, budget, &mut block);
    if block.capacity() <= SCRATCH_KEPT_MAX {
        keep(&SCRATCH, block);
    }
    plain
}

fn decompress_frame(
    packed: &[u8],
    budget: usize,
    scratch: &mut Vec<u8>,
) -> Result<Vec<u8>, Refusal> {
    let mut frame = Cursor::new(packed);
    let (flags, block_max) = read_header(&mut frame)?;
    scratch.resize(block_max, 0);
    let mut plain = Vec::new();
    loop {
        let length = u32::from_le_bytes(frame.array().map_err(cut)?);
        if length == 0 {
            return Ok(plain);
        }
        let size = usize::try_from(length & !STORED).map_err(|_| Refusal::Malformed)?;
        let block = frame.bytes(size).map_err(cut)?;
        let unpacked = if length & STORED == 0 {
            let size = decompress_into(block, scratch).map_err(|_| Refusal::Malformed)?;
            scratch.get(..size).unwrap_or_default()
        } else {
            block
        };
        if plain.len().saturating_add(unpacked.len()) > budget {
            return Err(Refusal::TooLarge);
        }
        make_room(&mut plain, unpacked.len(), budget);
        plain.extend_from_slice(unpacked);
        if flags & BLOCK_SUMS != 0 {
            frame.u32().map_err(cut)?;
        }
    }
}

/// Returns the flags and the largest size of a block.
fn read_header(frame: &mut Cursor<'_>) -> Result<(u8, usize), Refusal> {
    let magic = frame.array().map_err(cut)?;
    let flags = frame.u8().map_err(cut)?;
    let block_max = match frame.u8().map_err(cut)? {
        0x40 => 64 << 10,
        0x50 => 256 << 10,
        0x60 => 1 << 20,
        0x70 => 4 << 20,
        _ => return Err(Refusal::Malformed),
    };
    let kind = flags & (VERSION_AND_RESERVED | INDEPENDENT);
    if magic != MAGIC || kind != VERSION_1 | INDEPENDENT {
        return Err(Refusal::Malformed);
    }
    if flags & CONTENT_SIZE != 0 {
        frame.u64().map_err(cut)?;
    }
    frame.u8().map_err(cut)?;
    Ok((flags, block_max))
}

fn cut(_: Corruption) -> Refusal {
    Refusal::Malformed
}
