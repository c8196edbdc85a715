//! Packed records: one function each way, each codec behind its cargo feature.
//!
//! Knows nothing about batches. Invariants:
//!
//! 1. Unpacking never gives more than its budget, and stops one byte past it: packed data that
//!    unpacks to more is [`Corruption::TooLarge`], whatever its lengths claim.
//! 2. What is packed is what Kafka's own clients pack: a gzip member, Xerial blocks of 32 KiB, an
//!    LZ4 frame of independent 64 KiB blocks, a zstd frame.
//! 3. Compressors with costly tables are kept, one a thread.
//!
//! Xerial's framing of snappy, big-endian:
//!
//! | at | bytes | field |
//! | ---: | ---: | --- |
//! | 0 | 8 | magic `82 53 4e 41 50 50 59 00` |
//! | 8 | 4 | version, 1 |
//! | 12 | 4 | oldest version that can read it, 1 |
//! | 16 | | blocks: i32 length and a raw snappy block each; the 16 bytes may come again |
//!
//! Without the magic the whole is one raw snappy block, as Kafka reads it.

use std::cell::RefCell;

use crate::types::Compression;

use super::{Corruption, DecodeError, EncodeError};

/// Scratch space above this size is given back after use.
const SCRATCH_KEPT_MAX: usize = 1 << 20;

/// Packs `buffer[from..]` in place; everything before stays. `None` packs nothing.
///
/// # Errors
///
/// `Unsupported` when the codec is not in this build; the buffer is then as it was.
pub(super) fn compress_tail(
    buffer: &mut Vec<u8>,
    from: usize,
    codec: Compression,
    level: Option<i32>,
) -> Result<(), EncodeError> {
    thread_local! {
        static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    if codec == Compression::None {
        return Ok(());
    }
    let mut packed = SCRATCH.take();
    packed.clear();
    let done = compress(
        codec,
        level,
        buffer.get(from..).unwrap_or_default(),
        &mut packed,
    );
    if done.is_ok() {
        buffer.truncate(from);
        buffer.extend_from_slice(&packed);
    }
    if packed.capacity() <= SCRATCH_KEPT_MAX {
        SCRATCH.set(packed);
    }
    done
}

/// Appends the packed form of `plain` to `out`.
#[cfg_attr(
    not(any(feature = "gzip", feature = "zstd")),
    expect(unused_variables, reason = "the other codecs have no levels")
)]
fn compress(
    codec: Compression,
    level: Option<i32>,
    plain: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    match codec {
        Compression::None => {
            out.extend_from_slice(plain);
            Ok(())
        }
        #[cfg(feature = "gzip")]
        Compression::Gzip => gzip::compress(level, plain, out),
        #[cfg(feature = "snappy")]
        Compression::Snappy => snappy::compress(plain, out),
        #[cfg(feature = "lz4")]
        Compression::Lz4 => lz4::compress(plain, out),
        #[cfg(feature = "zstd")]
        Compression::Zstd => zstandard::compress(level, plain, out),
        #[cfg(not(all(
            feature = "gzip",
            feature = "snappy",
            feature = "lz4",
            feature = "zstd"
        )))]
        other => Err(EncodeError::Unsupported(missing(other))),
    }
}

/// Unpacks to at most `budget` bytes.
///
/// # Errors
///
/// `Corrupt` with `Decompression` or `TooLarge`, `Unsupported` when the codec is not in this build.
pub(super) fn decompress(
    codec: Compression,
    packed: &[u8],
    budget: usize,
) -> Result<Vec<u8>, DecodeError> {
    let unpacked = match codec {
        Compression::None => Ok(packed.to_vec()),
        #[cfg(feature = "gzip")]
        Compression::Gzip => gzip::decompress(packed, budget),
        #[cfg(feature = "snappy")]
        Compression::Snappy => snappy::decompress(packed, budget),
        #[cfg(feature = "lz4")]
        Compression::Lz4 => lz4::decompress(packed, budget),
        #[cfg(feature = "zstd")]
        Compression::Zstd => zstandard::decompress(packed, budget),
        #[cfg(not(all(
            feature = "gzip",
            feature = "snappy",
            feature = "lz4",
            feature = "zstd"
        )))]
        other => return Err(DecodeError::Unsupported(missing(other))),
    };
    match unpacked {
        Ok(plain) if plain.len() <= budget => Ok(plain),
        Ok(_) | Err(Refusal::TooLarge) => Err(Corruption::TooLarge {
            limit: u64::try_from(budget).unwrap_or(u64::MAX),
        }
        .into()),
        Err(Refusal::Malformed) => Err(Corruption::Decompression { codec }.into()),
    }
}

/// Why a codec gives nothing.
enum Refusal {
    TooLarge,
    Malformed,
}

/// What to say about a codec that was left out.
#[cfg(not(all(
    feature = "gzip",
    feature = "snappy",
    feature = "lz4",
    feature = "zstd"
)))]
const fn missing(codec: Compression) -> &'static str {
    match codec {
        Compression::None => "records without compression",
        Compression::Gzip => "gzip, in a build without the cargo feature `gzip`",
        Compression::Snappy => "snappy, in a build without the cargo feature `snappy`",
        Compression::Lz4 => "lz4, in a build without the cargo feature `lz4`",
        Compression::Zstd => "zstd, in a build without the cargo feature `zstd`",
    }
}

/// Reads to the end, but for at most a byte more than the budget.
#[cfg(any(feature = "gzip", feature = "lz4"))]
fn read_within(source: impl std::io::Read, budget: usize) -> Result<Vec<u8>, Refusal> {
    use std::io::Read;

    let limit = u64::try_from(budget).unwrap_or(u64::MAX).saturating_add(1);
    let mut plain = Vec::new();
    source
        .take(limit)
        .read_to_end(&mut plain)
        .map_err(|_| Refusal::Malformed)?;
    Ok(plain)
}

#[cfg(feature = "gzip")]
mod gzip {
    use std::cell::RefCell;

    use flate2::bufread::MultiGzDecoder;
    use flate2::{Compress, Compression, FlushCompress, Status};

    use super::super::EncodeError;
    use super::Refusal;

    /// No name, no time, an operating system that is not told.
    const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    const ROOM: usize = 4096;

    thread_local! {
        static KEPT: RefCell<Option<(u32, Compress)>> = const { RefCell::new(None) };
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
        let (_, mut state) = KEPT
            .take()
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
            rest = rest
                .get(crate::types::to_usize(taken)..)
                .unwrap_or_default();
            if status == Status::StreamEnd {
                break;
            }
        }
        out.extend_from_slice(&crc32fast::hash(plain).to_le_bytes());
        // The size modulo 2^32, as RFC 1952 wants it; a batch is below that anyway.
        let size = u32::try_from(plain.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&size.to_le_bytes());
        KEPT.set(Some((level.level(), state)));
        Ok(())
    }

    pub(super) fn decompress(packed: &[u8], budget: usize) -> Result<Vec<u8>, Refusal> {
        super::read_within(MultiGzDecoder::new(packed), budget)
    }
}

#[cfg(feature = "snappy")]
mod snappy {
    use std::cell::RefCell;

    use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};

    use super::super::EncodeError;
    use super::super::cursor::{Cursor, PutBytes};
    use super::Refusal;

    const HEADER: [u8; 16] = *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
    const MAGIC_LEN: usize = 8;
    const BLOCK: usize = 32 << 10;
    /// A copy of three bytes gives at most 64.
    const RATIO_MAX: usize = 22;

    thread_local! {
        static ENCODER: RefCell<Encoder> = RefCell::new(Encoder::new());
    }

    pub(super) fn compress(plain: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.extend_from_slice(&HEADER);
        ENCODER.with_borrow_mut(|encoder| {
            plain
                .chunks(BLOCK)
                .try_for_each(|block| compress_block(encoder, block, out))
        })
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
        plain.resize(end, 0);
        let room = plain.get_mut(at..).unwrap_or_default();
        match Decoder::new().decompress(block, room) {
            Ok(written) if written == claimed => Ok(()),
            _ => Err(Refusal::Malformed),
        }
    }
}

#[cfg(feature = "lz4")]
mod lz4 {
    use std::io::Write;

    use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

    use super::super::EncodeError;
    use super::Refusal;

    pub(super) fn compress(plain: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        const FAILED: EncodeError = EncodeError::Unsupported("lz4 of these records");
        let info = FrameInfo::new()
            .block_size(BlockSize::Max64KB)
            .block_mode(BlockMode::Independent);
        let mut encoder = FrameEncoder::with_frame_info(info, out);
        encoder.write_all(plain).map_err(|_| FAILED)?;
        encoder.finish().map_err(|_| FAILED)?;
        Ok(())
    }

    pub(super) fn decompress(packed: &[u8], budget: usize) -> Result<Vec<u8>, Refusal> {
        super::read_within(FrameDecoder::new(packed), budget)
    }
}

#[cfg(feature = "zstd")]
mod zstandard {
    use std::cell::RefCell;

    use zstd::bulk::Compressor;
    use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};
    use zstd::zstd_safe::compress_bound;

    use super::super::EncodeError;
    use super::Refusal;

    /// A frame that wants a larger window than 32 MiB is refused: its decoder would allocate that.
    const WINDOW_LOG_MAX: u32 = 25;
    /// What the output grows by, at least.
    const STEP: usize = 8 << 10;

    thread_local! {
        static COMPRESSOR: RefCell<Option<(i32, Compressor<'static>)>> =
            const { RefCell::new(None) };
        static DECODER: RefCell<Option<Decoder<'static>>> = const { RefCell::new(None) };
    }

    pub(super) fn compress(
        level: Option<i32>,
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        const FAILED: EncodeError = EncodeError::Unsupported("zstd of these records");
        let level = level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL);
        let (_, mut state) = match COMPRESSOR.take().filter(|(kept, _)| *kept == level) {
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
        COMPRESSOR.set(Some((level, state)));
        Ok(())
    }

    pub(super) fn decompress(packed: &[u8], budget: usize) -> Result<Vec<u8>, Refusal> {
        let mut decoder = match DECODER.take() {
            Some(kept) => kept,
            None => new_decoder().map_err(|_| Refusal::Malformed)?,
        };
        decoder.reinit().map_err(|_| Refusal::Malformed)?;
        let plain = run(&mut decoder, packed, budget);
        DECODER.set(Some(decoder));
        plain
    }

    fn new_decoder() -> std::io::Result<Decoder<'static>> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))?;
        Ok(decoder)
    }

    fn run(
        decoder: &mut Decoder<'static>,
        packed: &[u8],
        budget: usize,
    ) -> Result<Vec<u8>, Refusal> {
        let mut input = InBuffer::around(packed);
        let mut plain = Vec::new();
        loop {
            if plain.len() == plain.capacity() {
                plain.reserve(STEP.max(packed.len().saturating_mul(2)));
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
}
