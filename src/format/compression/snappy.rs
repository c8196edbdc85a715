//! Snappy as snappy-java (Xerial) and Kafka's clients frame it; big-endian:
//!
//! | at | bytes | field |
//! | ---: | ---: | --- |
//! | 0 | 8 | magic `82 53 4e 41 50 50 59 00` |
//! | 8 | 4 | version, 1 |
//! | 12 | 4 | oldest version that can read it, 1 |
//! | 16 | | blocks: i32 length and a raw snappy block each; the 16 bytes may come again |
//!
//! Knows nothing about records. Data without the magic is one raw snappy block, as for Kafka. Valid
//! if and only if the blocks fill it exactly and each unpacks to the size that it claims.

use std::cell::RefCell;

use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};

use super::super::EncodeError;
use super::super::cursor::{Cursor, PutBytes};
use super::{Kept, Refusal, keep, make_room, take};

const HEADER: [u8; 16] = *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
const MAGIC_LEN: usize = 8;
const BLOCK: usize = 32 << 10;
/// A snappy block unpacks to at most this many times its length: a larger claim is refused.
const RATIO_MAX: usize = 22;

thread_local! {
    static ENCODER: Kept<Encoder> = const { RefCell::new(None) };
}

pub(super) fn compress(plain: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    out.extend_from_slice(&HEADER);
    let mut encoder = take(&ENCODER).unwrap_or_else(Encoder::new);
    for block in plain.chunks(BLOCK) {
        compress_block(&mut encoder, block, out)?;
    }
    keep(&ENCODER, encoder);
    Ok(())
}

fn compress_block(
    encoder: &mut Encoder,
    block: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    const FAILED: EncodeError = EncodeError::Unsupported("snappy of these records");
    let length_at = out.len();
    out.put_i32(0);
    let block_at = out.len();
    out.resize(block_at.saturating_add(max_compress_len(block.len())), 0);
    let room = out.get_mut(block_at..).unwrap_or_default();
    let written = encoder.compress(block, room).map_err(|_| FAILED)?;
    out.truncate(block_at.saturating_add(written));
    let length = i32::try_from(written).map_err(|_| FAILED)?;
    if let Some(place) = out
        .get_mut(length_at..)
        .and_then(<[u8]>::first_chunk_mut::<4>)
    {
        *place = length.to_be_bytes();
    }
    Ok(())
}

pub(super) fn decompress(packed: &[u8], budget: usize) -> Result<Vec<u8>, Refusal> {
    let mut plain = Vec::new();
    let magic = HEADER.get(..MAGIC_LEN).unwrap_or_default();
    if !packed.starts_with(magic) {
        decompress_block(packed, budget, &mut plain)?;
        return Ok(plain);
    }
    let mut blocks = Cursor::new(packed);
    while !blocks.is_empty() {
        if blocks.rest().starts_with(magic) {
            blocks
                .array::<{ HEADER.len() }>()
                .map_err(|_| Refusal::Malformed)?;
            continue;
        }
        let block = blocks
            .i32()
            .ok()
            .and_then(|length| blocks.bytes(usize::try_from(length).ok()?).ok())
            .ok_or(Refusal::Malformed)?;
        decompress_block(block, budget, &mut plain)?;
    }
    Ok(plain)
}

fn decompress_block(block: &[u8], budget: usize, plain: &mut Vec<u8>) -> Result<(), Refusal> {
    let claimed = decompress_len(block).map_err(|_| Refusal::Malformed)?;
    if claimed > block.len().saturating_mul(RATIO_MAX) {
        return Err(Refusal::Malformed);
    }
    let at = plain.len();
    let end = at.saturating_add(claimed);
    if end > budget {
        return Err(Refusal::TooLarge);
    }
    make_room(plain, claimed, budget);
    plain.resize(end, 0);
    let room = plain.get_mut(at..).unwrap_or_default();
    match Decoder::new().decompress(block, room) {
        Ok(written) if written == claimed => Ok(()),
        _ => Err(Refusal::Malformed),
    }
}
