//! One record inside a batch. Knows nothing about the batch around it.
//!
//! | order | encoding | field |
//! | ---: | --- | --- |
//! | 1 | varint | length of what follows |
//! | 2 | 1 byte | attributes, 0, ignored when read |
//! | 3 | varlong | timestamp delta |
//! | 4 | varint | offset delta |
//! | 5 | varint + bytes | key; a negative length is null, -1 when written |
//! | 6 | varint + bytes | value, likewise |
//! | 7 | varint | header count |
//! | 8 | repeated | header: varint + bytes of its name, varint + bytes of its value, likewise |
//!
//! A record is valid if and only if every length fits in what is left, the header count is not
//! negative, and the length of the record is used up exactly. What keys, values, header names and
//! times hold is no part of the format: the writer decides.

use crate::types::{
    EncodedHeaders, Header, Record, decode_header, read_varint, read_varlong, to_u64, varint_len,
    write_varlong,
};

use super::super::EncodeError;

/// What is wrong with a record; callers add its number for a [`super::super::Corruption::Record`].
pub(super) type Defect = &'static str;

const CUT: Defect = "its bytes end early";

/// A record as it is encoded, with deltas instead of offset and timestamp.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawRecord<'a> {
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i32,
    /// Everything from the key on: key, length and bytes of the value, count and bytes of headers.
    pub(super) tail: &'a [u8],
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    /// Where the value begins in `tail`.
    pub(super) value_at: usize,
    pub(super) headers: EncodedHeaders<'a>,
}

/// Reads the record at the front of `bytes`; returns it and what follows. Of the headers it reads
/// only their count: see [`check_headers`].
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "as a call, its result goes through memory: half as much again for a record"
)]
pub(super) fn read_record(bytes: &[u8]) -> Result<(RawRecord<'_>, &[u8]), Defect> {
    let Front {
        timestamp_delta,
        offset_delta,
        key_length,
        tail,
        after,
    } = Front::read(bytes)?;
    let (key, body) = split_nullable(tail, key_length).ok_or(CUT)?;
    let (length, body) = read_varint(body).ok_or(CUT)?;
    let value_at = tail.len().saturating_sub(body.len());
    let (value, body) = split_nullable(body, length).ok_or(CUT)?;
    let (count, headers) = read_varint(body).ok_or(CUT)?;
    let record = RawRecord {
        timestamp_delta,
        offset_delta,
        tail,
        key,
        value,
        value_at,
        headers: EncodedHeaders {
            count: usize::try_from(count).map_err(|_| "its header count is negative")?,
            bytes: headers,
        },
    };
    Ok((record, after))
}

/// Skips the record at the front of `bytes`; returns its offset delta and what follows. Reads only
/// up to the key.
#[inline]
pub(super) fn pass_record(bytes: &[u8]) -> Result<(i32, &[u8]), Defect> {
    let front = Front::read(bytes)?;
    Ok((front.offset_delta, front.after))
}

/// What precedes the key of a record.
struct Front<'a> {
    timestamp_delta: i64,
    offset_delta: i32,
    key_length: i32,
    /// The record from the bytes of its key on.
    tail: &'a [u8],
    /// What follows the record.
    after: &'a [u8],
}

impl<'a> Front<'a> {
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "as `read_record`, whose larger half it is"
    )]
    fn read(bytes: &'a [u8]) -> Result<Self, Defect> {
        match Self::read_short(bytes) {
            Some(front) => Ok(front),
            None => Self::read_any(bytes),
        }
    }

    /// Reads the usual front, whose fields have at most two bytes each and eight together, by one
    /// load and one bounds check. `None` for any other.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "as `read_record`, whose larger half it is"
    )]
    fn read_short(bytes: &'a [u8]) -> Option<Self> {
        let mut word = ShortFields::of(*bytes.first_chunk()?);
        let length = word.varint()?;
        let length_bytes = word.used;
        word.skip_byte();
        let timestamp_delta = word.varint()?;
        let offset_delta = word.varint()?;
        let key_length = word.varint()?;
        let rest = bytes.get(length_bytes..)?;
        let (body, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        let tail = body.get(word.used.wrapping_sub(length_bytes)..)?;
        (word.used <= ShortFields::LEN).then_some(Self {
            timestamp_delta: i64::from(timestamp_delta),
            offset_delta,
            key_length,
            tail,
            after,
        })
    }

    fn read_any(bytes: &'a [u8]) -> Result<Self, Defect> {
        let (length, rest) = read_varint(bytes).ok_or(CUT)?;
        let length = usize::try_from(length).map_err(|_| "its length is negative")?;
        let (body, after) = rest.split_at_checked(length).ok_or(CUT)?;
        let (_attributes, body) = body.split_first().ok_or(CUT)?;
        let (timestamp_delta, body) = read_varlong(body).ok_or(CUT)?;
        let (offset_delta, body) = read_varint(body).ok_or(CUT)?;
        let (key_length, tail) = read_varint(body).ok_or(CUT)?;
        Ok(Self {
            timestamp_delta,
            offset_delta,
            key_length,
            tail,
            after,
        })
    }
}

/// Small fields in a register. Reading past its end returns zeros: check `used`.
struct ShortFields {
    word: u64,
    /// Bytes read so far.
    used: usize,
}

impl ShortFields {
    const LEN: usize = 8;

    #[inline]
    fn of(bytes: [u8; Self::LEN]) -> Self {
        Self {
            word: u64::from_le_bytes(bytes),
            used: 0,
        }
    }

    /// A zigzag varint; `None` for one of more than two bytes.
    #[inline]
    fn varint(&mut self) -> Option<i32> {
        let word = self.word;
        let raw = if word & 0x80 == 0 {
            self.skip_byte();
            word & 0x7f
        } else if word & 0x8000 == 0 {
            self.word = word.wrapping_shr(16);
            self.used = self.used.wrapping_add(2);
            word & 0x7f | word.wrapping_shr(1) & 0x3f80
        } else {
            return None;
        };
        let raw = u32::try_from(raw).ok()?;
        Some((raw >> 1).cast_signed() ^ (raw & 1).cast_signed().wrapping_neg())
    }

    #[inline]
    fn skip_byte(&mut self) {
        self.word = self.word.wrapping_shr(8);
        self.used = self.used.wrapping_add(1);
    }
}

/// Splits off a field of `length` bytes; a negative length is null.
#[inline]
fn split_nullable(bytes: &[u8], length: i32) -> Option<(Option<&[u8]>, &[u8])> {
    match usize::try_from(length) {
        Ok(length) => {
            let (field, rest) = bytes.split_at_checked(length)?;
            Some((Some(field), rest))
        }
        Err(_) => Some((None, bytes)),
    }
}

/// Checks headers, so that iterating over them later cannot fail.
#[inline]
pub(super) fn check_headers(headers: EncodedHeaders<'_>) -> Result<(), Defect> {
    if headers.count == 0 {
        return if headers.bytes.is_empty() {
            Ok(())
        } else {
            Err("bytes follow its last field")
        };
    }
    check_some_headers(headers)
}

fn check_some_headers(headers: EncodedHeaders<'_>) -> Result<(), Defect> {
    // Each takes two bytes at least, so a lying count ends the loop, not the memory.
    let mut rest = headers.bytes;
    for _ in 0..headers.count {
        let (_, after) = decode_header(rest).ok_or("a header is cut")?;
        rest = after;
    }
    if rest.is_empty() {
        Ok(())
    } else {
        Err("bytes follow its last header")
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Deltas {
    pub(super) timestamp: i64,
    pub(super) offset: i32,
}

/// Appends a record of at most `left` bytes. It is measured first, for its length precedes it, and
/// then written in one pass. After an error `out` is as it was.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "as a call, a record takes a fifth more"
)]
pub(super) fn write_record(
    out: &mut Vec<u8>,
    record: &Record<'_>,
    deltas: Deltas,
    left: usize,
) -> Result<(), EncodeError> {
    let (headers, header_bytes) = measure_headers(record)?;
    let timestamp = Packed::varlong(deltas.timestamp);
    let offset = Packed::varint(deltas.offset);
    let key_length = Packed::varint(nullable_length(record.key())?);
    let value_length = Packed::varint(nullable_length(record.value())?);
    let (key, value) = (record.key(), record.value().unwrap_or_default());
    // No field is longer than 31 bits say, so their sum does not wrap.
    let body = Packed::ATTRIBUTES
        .len
        .wrapping_add(timestamp.len)
        .wrapping_add(offset.len)
        .wrapping_add(key_length.len)
        .wrapping_add(key.map_or(0, <[u8]>::len))
        .wrapping_add(value_length.len)
        .wrapping_add(value.len())
        .wrapping_add(varint_len(headers))
        .saturating_add(header_bytes);
    let body_length = Packed::varint(length(body)?);
    let size = body.wrapping_add(body_length.len);
    if size > left {
        return Err(too_large(size));
    }
    // A little more than the record takes, so that no store of a whole register needs room.
    out.reserve(size.wrapping_add(Packed::LEN_MAX));
    let front = body_length.then(Packed::ATTRIBUTES);
    if timestamp.len <= Packed::LEN_MAX {
        front.append_with(timestamp, out);
    } else {
        front.append_to(out);
        write_varlong(out, deltas.timestamp);
    }
    // The length of a null key is one byte.
    if let Some(key) = key {
        offset.append_with(key_length, out);
        out.extend_from_slice(key);
        value_length.append_to(out);
    } else {
        offset.then(key_length).append_with(value_length, out);
    }
    out.extend_from_slice(value);
    if headers == 0 {
        out.push(0);
    } else {
        write_headers(out, record, headers);
    }
    Ok(())
}

fn write_headers(out: &mut Vec<u8>, record: &Record<'_>, count: i32) {
    Packed::varint(count).append_to(out);
    if let Some(encoded) = record.encoded_headers() {
        out.extend_from_slice(encoded.bytes);
        return;
    }
    for Header { name, value } in record.headers() {
        // Measured before: the lengths fit.
        let length = nullable_length(Some(name)).unwrap_or(0);
        Packed::varint(length).append_to(out);
        out.extend_from_slice(name);
        Packed::varint(nullable_length(value).unwrap_or(-1)).append_to(out);
        out.extend_from_slice(value.unwrap_or_default());
    }
}

/// The number of headers, and how many bytes they take without their count.
#[inline]
fn measure_headers(record: &Record<'_>) -> Result<(i32, usize), EncodeError> {
    if record.headers().len() == 0 {
        return Ok((0, 0));
    }
    measure_some_headers(record)
}

fn measure_some_headers(record: &Record<'_>) -> Result<(i32, usize), EncodeError> {
    let count = length(record.headers().len())?;
    if let Some(encoded) = record.encoded_headers() {
        return Ok((count, encoded.bytes.len()));
    }
    let mut bytes = 0_usize;
    for Header { name, value } in record.headers() {
        let (name_length, value_length) = (length(name.len())?, nullable_length(value)?);
        bytes = bytes
            .saturating_add(varint_len(name_length))
            .saturating_add(name.len())
            .saturating_add(varint_len(value_length))
            .saturating_add(value.map_or(0, <[u8]>::len));
    }
    Ok((count, bytes))
}

#[inline]
fn nullable_length(field: Option<&[u8]>) -> Result<i32, EncodeError> {
    field.map_or(Ok(-1), |field| length(field.len()))
}

#[inline]
fn length(size: usize) -> Result<i32, EncodeError> {
    i32::try_from(size).map_err(|_| too_large(size))
}

#[cold]
fn too_large(size: usize) -> EncodeError {
    EncodeError::TooLarge { size: to_u64(size) }
}

/// Up to 8 bytes of small fields in a register, the first one lowest. In memory they would be read
/// back in other pieces than they were written in, a stall that takes longer than the rest of a
/// record.
#[derive(Clone, Copy, Debug)]
struct Packed {
    bytes: u64,
    len: usize,
}

impl Packed {
    const LEN_MAX: usize = 8;
    const ATTRIBUTES: Self = Self { bytes: 0, len: 1 };

    #[inline]
    fn varint(value: i32) -> Self {
        Self::varlong(i64::from(value))
    }

    /// For a value that takes more than 8 bytes, `len` is right and `bytes` is not valid.
    #[inline]
    fn varlong(value: i64) -> Self {
        let raw = (value.wrapping_shl(1) ^ value.wrapping_shr(63)).cast_unsigned();
        match raw {
            0..0x80 => Self { bytes: raw, len: 1 },
            0x80..0x4000 => Self {
                bytes: raw & 0x7f | 0x80 | (raw & 0x3f80).wrapping_shl(1),
                len: 2,
            },
            _ => Self::long_varlong(raw),
        }
    }

    fn long_varlong(mut raw: u64) -> Self {
        let one = |byte: u64| Self {
            bytes: byte,
            len: 1,
        };
        let mut packed = Self { bytes: 0, len: 0 };
        while raw >= 0x80 {
            packed = packed.then(one(raw & 0x7f | 0x80));
            raw >>= 7;
        }
        packed.then(one(raw))
    }

    /// These fields and then the next ones, together at most 8 bytes.
    #[inline]
    fn then(self, next: Self) -> Self {
        let shift = u32::try_from(self.len.wrapping_mul(8) & 0x3f).unwrap_or(0);
        Self {
            bytes: self.bytes | next.bytes.wrapping_shl(shift),
            len: self.len.wrapping_add(next.len),
        }
    }

    /// Appends these fields and the next ones, in one store if both fit.
    #[inline]
    fn append_with(self, next: Self, out: &mut Vec<u8>) {
        if self.len.wrapping_add(next.len) <= Self::LEN_MAX {
            self.then(next).append_to(out);
        } else {
            self.append_to(out);
            next.append_to(out);
        }
    }

    /// Appends all 8 bytes and takes back unused ones: a copy of a fixed size is one store, one of
    /// a size that varies is a call.
    #[inline]
    fn append_to(self, out: &mut Vec<u8>) {
        let end = out.len().wrapping_add(self.len);
        out.extend_from_slice(&self.bytes.to_le_bytes());
        out.truncate(end);
    }
}
