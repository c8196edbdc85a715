//! Packed records: one function each way, each codec behind its cargo feature.
//!
//! Knows nothing about batches. Invariants:
//!
//! 1. Unpacking never returns more than its budget: data that unpacks to more is
//!    [`Corruption::TooLarge`], whatever its lengths claim, and is not unpacked to its end.
//! 2. Packing writes what Kafka's own clients write: a gzip member, Xerial blocks of 32 KiB, an LZ4
//!    frame of independent 64 KiB blocks, a zstd frame.
//! 3. Compressors with costly tables are kept, one per thread.

#[cfg(feature = "gzip")]
mod gzip;
#[cfg(feature = "lz4")]
mod lz4;
#[cfg(feature = "snappy")]
mod snappy;
#[cfg(feature = "zstd")]
mod zstandard;

use std::cell::RefCell;
use std::thread::LocalKey;

use crate::types::{Compression, to_u64};

use super::{Corruption, DecodeError, EncodeError};

/// Scratch space of more bytes is freed after use.
const SCRATCH_KEPT_MAX: usize = 1 << 20;

/// Packs `buffer[from..]` in place; after an error the buffer is as it was.
pub(super) fn compress_tail(
    buffer: &mut Vec<u8>,
    from: usize,
    codec: Compression,
    level: Option<i32>,
) -> Result<(), EncodeError> {
    thread_local! {
        static SCRATCH: Kept<Vec<u8>> = const { RefCell::new(None) };
    }
    if codec == Compression::None {
        return Ok(());
    }
    let mut packed = take(&SCRATCH).unwrap_or_default();
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
        keep(&SCRATCH, packed);
    }
    done
}

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

pub(super) fn decompress(
    codec: Compression,
    packed: &[u8],
    budget: usize,
) -> Result<Vec<u8>, DecodeError> {
    let unpacked = match codec {
        Compression::None if packed.len() > budget => Err(Refusal::TooLarge),
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
            limit: to_u64(budget),
        }
        .into()),
        Err(Refusal::Malformed) => Err(Corruption::Decompression { codec }.into()),
    }
}

/// What a thread keeps between two batches.
type Kept<T> = RefCell<Option<T>>;

/// Takes what the thread keeps; `None` also in a thread that is ending.
fn take<T>(kept: &'static LocalKey<Kept<T>>) -> Option<T> {
    kept.try_with(RefCell::take).ok().flatten()
}

fn keep<T>(kept: &'static LocalKey<Kept<T>>, value: T) {
    let kept = kept.try_with(|slot| slot.replace(Some(value)));
    drop(kept);
}

#[cfg_attr(
    not(any(
        feature = "gzip",
        feature = "snappy",
        feature = "lz4",
        feature = "zstd"
    )),
    expect(dead_code, reason = "there is no codec in this build")
)]
enum Refusal {
    TooLarge,
    Malformed,
}

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

/// Reads at most one byte more than the budget.
#[cfg(feature = "gzip")]
fn read_within(source: impl std::io::Read, budget: usize) -> Result<Vec<u8>, Refusal> {
    use std::io::Read;

    const STEP: usize = 16 << 10;
    let mut source = source;
    let mut plain = Vec::new();
    while plain.len() <= budget {
        make_room(&mut plain, STEP, budget.saturating_add(1));
        let room = plain.capacity().saturating_sub(plain.len());
        let mut part = source.by_ref().take(to_u64(room));
        let read = part.read_to_end(&mut plain);
        let read = read.map_err(|_| Refusal::Malformed)?;
        if read < room {
            break;
        }
    }
    Ok(plain)
}

/// Makes room for `more` bytes. Doubles the room, but not above `most`: a compression bomb must not
/// cost twice what it may unpack to.
#[cfg(any(
    feature = "gzip",
    feature = "lz4",
    feature = "snappy",
    feature = "zstd"
))]
fn make_room(plain: &mut Vec<u8>, more: usize, most: usize) {
    let needed = plain.len().saturating_add(more);
    if needed > plain.capacity() {
        let wanted = plain.capacity().saturating_mul(2).min(most).max(needed);
        plain.reserve_exact(wanted.saturating_sub(plain.len()));
    }
}
