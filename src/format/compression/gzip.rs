//! gzip: one RFC 1952 member, as Java's streams write it.
//!
//! Knows nothing about records. It writes the fixed header below, raw deflate, CRC-32 and unpacked
//! size, both little-endian. It reads any members, one after the other.

use std::cell::RefCell;

use flate2::bufread::MultiGzDecoder;
use flate2::{Compress, Compression, FlushCompress, Status};

use crate::types::to_usize;

use super::super::EncodeError;
use super::{Kept, Refusal, keep, take};

/// No name, no time, an unknown operating system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// The minimum room in bytes for each step of packing.
const ROOM: usize = 4096;

thread_local! {
    static KEPT: Kept<(u32, Compress)> = const { RefCell::new(None) };
}

pub(super) fn compress(
    level: Option<i32>,
    plain: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let level = level
        .and_then(|level| u32::try_from(level).ok())
        .map_or(Compression::default(), |level| {
            Compression::new(level.min(9))
        });
    let (_, mut state) = take(&KEPT)
        .filter(|(kept, _)| *kept == level.level())
        .unwrap_or_else(|| (level.level(), Compress::new(level, false)));
    state.reset();
    out.extend_from_slice(&HEADER);
    let mut rest = plain;
    loop {
        out.reserve(ROOM.max(rest.len() >> 2));
        let before = state.total_in();
        let status = state
            .compress_vec(rest, out, FlushCompress::Finish)
            .map_err(|_| EncodeError::Unsupported("gzip of these records"))?;
        let taken = state.total_in().saturating_sub(before);
        rest = rest.get(to_usize(taken)..).unwrap_or_default();
        if status == Status::StreamEnd {
            break;
        }
    }
    out.extend_from_slice(&crc32fast::hash(plain).to_le_bytes());
    // The size modulo 2^32, as RFC 1952 wants it; a batch is below that anyway.
    let size = u32::try_from(plain.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&size.to_le_bytes());
    keep(&KEPT, (level.level(), state));
    Ok(())
}

pub(super) fn decompress(packed: &[u8], budget: usize) -> Result<Vec<u8>, Refusal> {
    super::read_within(MultiGzDecoder::new(packed), budget)
}
