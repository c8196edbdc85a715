//! Zstandard: it writes one frame and reads any frames, one after the other.
//!
//! Knows nothing about records. A window is at most 32 MiB, for a decoder allocates its window
//! before it has seen a byte.

use std::cell::RefCell;

use zstd::bulk::Compressor;
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};
use zstd::zstd_safe::compress_bound;

use super::super::EncodeError;
use super::{Kept, Refusal, keep, make_room, take};

const WINDOW_LOG_MAX: u32 = 25;
const STEP: usize = 8 << 10;

thread_local! {
    static COMPRESSOR: Kept<(i32, Compressor<'static>)> =
        const { RefCell::new(None) };
    static DECODER: Kept<Decoder<'static>> = const { RefCell::new(None) };
}

pub(super) fn compress(
    level: Option<i32>,
    plain: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    const FAILED: EncodeError = EncodeError::Unsupported("zstd of these records");
    let level = level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL);
    let (_, mut state) = match take(&COMPRESSOR).filter(|(kept, _)| *kept == level) {
        Some(kept) => kept,
        None => (level, Compressor::new(level).map_err(|_| FAILED)?),
    };
    // The compressor fills a vector from its start, so it gets an empty one.
    let mut packed = Vec::with_capacity(compress_bound(plain.len()));
    state
        .compress_to_buffer(plain, &mut packed)
        .map_err(|_| FAILED)?;
    if out.is_empty() {
        *out = packed;
    } else {
        out.extend_from_slice(&packed);
    }
    keep(&COMPRESSOR, (level, state));
    Ok(())
}

pub(super) fn decompress(packed: &[u8], budget: usize) -> Result<Vec<u8>, Refusal> {
    let mut decoder = match take(&DECODER) {
        Some(kept) => kept,
        None => new_decoder().map_err(|_| Refusal::Malformed)?,
    };
    decoder.reinit().map_err(|_| Refusal::Malformed)?;
    let plain = run(&mut decoder, packed, budget);
    keep(&DECODER, decoder);
    plain
}

fn new_decoder() -> std::io::Result<Decoder<'static>> {
    let mut decoder = Decoder::new()?;
    decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))?;
    Ok(decoder)
}

fn run(decoder: &mut Decoder<'static>, packed: &[u8], budget: usize) -> Result<Vec<u8>, Refusal> {
    let mut input = InBuffer::around(packed);
    let mut plain = Vec::new();
    loop {
        if plain.len() == plain.capacity() {
            let step = STEP.max(packed.len().saturating_mul(2));
            make_room(&mut plain, step, budget.saturating_add(STEP));
        }
        let at = plain.len();
        let mut output = OutBuffer::around_pos(&mut plain, at);
        let hint = decoder
            .run(&mut input, &mut output)
            .map_err(|_| Refusal::Malformed)?;
        let full = output.pos() == output.capacity();
        if plain.len() > budget {
            return Err(Refusal::TooLarge);
        }
        let all_read = input.pos() == packed.len();
        // 0 says that a frame is complete; with input left, another one follows.
        match (hint, all_read) {
            (0, true) => return Ok(plain),
            (_, true) if !full => return Err(Refusal::Malformed),
            _ => {}
        }
    }
}
