//! The four codecs, for looking alone.
//!
//! Knows nothing about batches. Invariant: no batch unpacks to more than [`BYTES_MAX`], whatever it
//! says.

use std::io::Read;

use super::cursor::Cursor;

/// The most that a batch unpacks to.
const BYTES_MAX: u64 = 1 << 30;

/// What Snappy's Java library writes before its chunks.
const SNAPPY_MAGIC: &[u8] = b"\x82SNAPPY\0";

/// The bytes that were packed, or why they cannot be had.
pub(super) fn unpacked(codec: &str, packed: &[u8]) -> Result<Vec<u8>, String> {
    match codec {
        "none" => Ok(packed.to_vec()),
        "gzip" => read(flate2::read::GzDecoder::new(packed)),
        "snappy" => snappy(packed),
        "lz4" => read(lz4_flex::frame::FrameDecoder::new(packed)),
        "zstd" => match zstd::stream::read::Decoder::new(packed) {
            Ok(decoder) => read(decoder),
            Err(error) => Err(error.to_string()),
        },
        _ => Err("an unknown codec".to_owned()),
    }
}

fn read(decoder: impl Read) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = decoder.take(BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| error.to_string())?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > BYTES_MAX {
        return Err(format!("it unpacks to more than {BYTES_MAX} bytes"));
    }
    Ok(bytes)
}

fn snappy(packed: &[u8]) -> Result<Vec<u8>, String> {
    if !packed.starts_with(SNAPPY_MAGIC) {
        return raw_snappy(packed);
    }
    let mut bytes = Vec::new();
    let mut cursor = Cursor(packed.get(16..).unwrap_or_default());
    while !cursor.is_empty() {
        let length = cursor.u32().and_then(|length| usize::try_from(length).ok());
        let chunk = length.and_then(|length| cursor.take(length));
        bytes.extend(raw_snappy(chunk.ok_or("a chunk is cut short")?)?);
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > BYTES_MAX {
            return Err(format!("it unpacks to more than {BYTES_MAX} bytes"));
        }
    }
    Ok(bytes)
}

fn raw_snappy(packed: &[u8]) -> Result<Vec<u8>, String> {
    // Snappy packs no better than 64 to 1: a length beyond that is a lie.
    let length = snap::raw::decompress_len(packed).map_err(|error| error.to_string())?;
    if length / 64 > packed.len() {
        return Err(format!("{} bytes cannot unpack to {length}", packed.len()));
    }
    let bytes = snap::raw::Decoder::new().decompress_vec(packed);
    bytes.map_err(|error| error.to_string())
}
