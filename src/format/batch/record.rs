//! One record inside a batch: its bytes, and nothing about the batch around it.
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
//! | 8 | repeated | header: varint + bytes of its name (UTF-8), varint + bytes of value or null |
//!
//! A record is valid if and only if every length fits in what is left, names are UTF-8, the header
//! count is not negative, and the length of the record is used up exactly.

use crate::types::{
    EncodedHeaders, Header, Record, decode_header, read_varint, read_varlong, to_usize, varint_len,
    varlong_len,
};

use super::super::EncodeError;

/// What is wrong with a record; becomes [`super::super::Corruption::Record`] with its number.
pub(super) type Defect = &'static str;

const CUT: Defect = "its bytes end early";

/// A record as it stands in a batch, with deltas not yet added to anything.
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

/// Reads the record at the front of `bytes`; gives what follows it too. The headers are not looked
/// at but for their count: see [`check_headers`].
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "as a call, its result goes through memory: half as much again for a record"
)]
pub(super) fn read_record(bytes: &[u8]) -> Result<(RawRecord<'_>, &[u8]), Defect> {
    let (length, rest) = read_varint(bytes).ok_or(CUT)?;
    let length = usize::try_from(length).map_err(|_| "its length is negative")?;
    let (body, after) = rest.split_at_checked(length).ok_or(CUT)?;
    let (_attributes, body) = body.split_first().ok_or(CUT)?;
    let (timestamp_delta, body) = read_varlong(body).ok_or(CUT)?;
    let (offset_delta, body) = read_varint(body).ok_or(CUT)?;
    let (length, tail) = read_varint(body).ok_or(CUT)?;
    let (key, body) = split_nullable(tail, length).ok_or(CUT)?;
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

/// Decodes every header once, so that [`EncodedHeaders`] can be walked without errors later.
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
        let (_, after) = decode_header(rest).ok_or("a header is cut or its name is not UTF-8")?;
        rest = after;
    }
    if rest.is_empty() {
        Ok(())
    } else {
        Err("bytes follow its last header")
    }
}

/// A record to write, measured: what its length field says is known before the first byte.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draft<'a> {
    record: Record<'a>,
    timestamp_delta: i64,
    offset_delta: i32,
    key: i32,
    value: i32,
    headers: i32,
    body: i32,
}

impl<'a> Draft<'a> {
    /// Measures a record.
    ///
    /// # Errors
    ///
    /// `TooLarge` when a field or the whole does not fit in 31 bits.
    #[inline]
    pub(super) fn new(
        record: &Record<'a>,
        timestamp_delta: i64,
        offset_delta: i32,
    ) -> Result<Self, EncodeError> {
        let (headers, header_bytes) = measure_headers(record)?;
        let key = nullable_length(record.key())?;
        let value = nullable_length(record.value())?;
        let body = 1_usize
            .saturating_add(varlong_len(timestamp_delta))
            .saturating_add(varint_len(offset_delta))
            .saturating_add(varint_len(key))
            .saturating_add(record.key().map_or(0, <[u8]>::len))
            .saturating_add(varint_len(value))
            .saturating_add(record.value().map_or(0, <[u8]>::len))
            .saturating_add(varint_len(headers))
            .saturating_add(header_bytes);
        Ok(Self {
            record: *record,
            timestamp_delta,
            offset_delta,
            key,
            value,
            headers,
            body: length(body)?,
        })
    }

    /// Bytes that the record takes in its batch, its own length field included.
    #[inline]
    pub(super) fn size(&self) -> usize {
        to_usize(u64::from(self.body.cast_unsigned())).saturating_add(varint_len(self.body))
    }

    /// Appends the record. [`room`](Self::room) bytes reserved before spare it every growth.
    #[inline]
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        Packed::varint(self.body)
            .then(Packed::ATTRIBUTES)
            .then(Packed::varlong(self.timestamp_delta))
            .append_to(out);
        Packed::varint(self.offset_delta)
            .then(Packed::varint(self.key))
            .append_to(out);
        if let Some(key) = self.record.key() {
            out.extend_from_slice(key);
        }
        Packed::varint(self.value).append_to(out);
        out.extend_from_slice(self.record.value().unwrap_or_default());
        if self.headers == 0 {
            out.push(0);
        } else {
            self.write_headers(out);
        }
    }

    /// Bytes to reserve for [`write`](Self::write): a little more than it leaves.
    #[inline]
    pub(super) fn room(&self) -> usize {
        self.size().saturating_add(Packed::LEN_MAX)
    }

    fn write_headers(&self, out: &mut Vec<u8>) {
        Packed::varint(self.headers).append_to(out);
        if let Some(encoded) = self.record.encoded_headers() {
            out.extend_from_slice(encoded.bytes);
            return;
        }
        for Header { key, value } in self.record.headers() {
            // Measured before: the lengths fit.
            let length = nullable_length(Some(key.as_bytes())).unwrap_or(0);
            Packed::varint(length).append_to(out);
            out.extend_from_slice(key.as_bytes());
            Packed::varint(nullable_length(value).unwrap_or(-1)).append_to(out);
            out.extend_from_slice(value.unwrap_or_default());
        }
    }
}

/// The count of a record's headers and the bytes that follow the count.
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
    for Header { key, value } in record.headers() {
        let (key_length, value_length) = (length(key.len())?, nullable_length(value)?);
        bytes = bytes
            .saturating_add(varint_len(key_length))
            .saturating_add(key.len())
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
    i32::try_from(size).map_err(|_| EncodeError::TooLarge {
        size: u64::try_from(size).unwrap_or(u64::MAX),
    })
}

/// Up to 16 bytes of small fields in a register, the first one lowest. Gathered in memory they
/// would be read back in other pieces than they were written, which stalls for longer than the rest
/// of a record takes.
#[derive(Clone, Copy)]
struct Packed {
    bytes: u128,
    len: usize,
}

impl Packed {
    const LEN_MAX: usize = 16;
    /// The attributes of a record: none are defined.
    const ATTRIBUTES: Self = Self { bytes: 0, len: 1 };

    #[inline]
    fn varint(value: i32) -> Self {
        Self::varlong(i64::from(value))
    }

    #[inline]
    fn varlong(value: i64) -> Self {
        let raw = (value.wrapping_shl(1) ^ value.wrapping_shr(63)).cast_unsigned();
        let (bytes, len) = match raw {
            0..0x80 => (raw, 1),
            0x80..0x4000 => (raw & 0x7f | 0x80 | raw.wrapping_shr(7).wrapping_shl(8), 2),
            _ => return Self::long_varlong(raw),
        };
        let bytes = u128::from(bytes);
        Self { bytes, len }
    }

    /// Three bytes and more.
    fn long_varlong(mut raw: u64) -> Self {
        let one = |byte: u64| Self {
            bytes: u128::from(byte),
            len: 1,
        };
        let mut packed = Self { bytes: 0, len: 0 };
        while raw >= 0x80 {
            packed = packed.then(one(raw & 0x7f | 0x80));
            raw >>= 7;
        }
        packed.then(one(raw))
    }

    /// These fields and `next` behind them; both together are at most 16 bytes.
    #[inline]
    fn then(self, next: Self) -> Self {
        let shift = u32::try_from(self.len).unwrap_or(0).wrapping_mul(8);
        Self {
            bytes: self.bytes | next.bytes.wrapping_shl(shift),
            len: self.len.saturating_add(next.len),
        }
    }

    /// Appends all 16 bytes and takes back those that are not used: a copy of a fixed size is one
    /// store, one of a size that varies is a call.
    #[inline]
    fn append_to(self, out: &mut Vec<u8>) {
        let end = out.len().saturating_add(self.len);
        out.extend_from_slice(&self.bytes.to_le_bytes());
        out.truncate(end);
    }
}
