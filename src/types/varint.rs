//! Zigzag varints, the one encoding that this floor knows, for the lengths of encoded headers.
//!
//! Knows nothing about batches. Reads what Kafka reads: at most 5 bytes for 32 bits, 10 for 64; a
//! longer sequence is an error. Bits past the width are dropped, as in Kafka.
//!
//! | value | bytes |
//! | ---: | --- |
//! | 0 | `00` |
//! | -1 | `01` |
//! | 64 | `80 01` |
//! | 2147483647 | `fe ff ff ff 0f` |

/// Returns the value and what follows it; `None` when the bytes end or the varint is too long.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "as a call, its result goes through memory: four times the cost of a record"
)]
pub(crate) fn read_varint(bytes: &[u8]) -> Option<(i32, &[u8])> {
    let (raw, rest) = match bytes {
        [first, rest @ ..] if *first < 0x80 => (u32::from(*first), rest),
        [first, second, rest @ ..] if *second < 0x80 => {
            let high = u32::from(*second).wrapping_shl(7);
            (u32::from(*first & 0x7f) | high, rest)
        }
        _ => read_long_varint(bytes)?,
    };
    Some((unzigzag32(raw), rest))
}

/// [`read_varint`] for three bytes and more; returns the value still zigzagged.
#[cold]
fn read_long_varint(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut raw = 0_u32;
    let mut rest = bytes;
    for shift in [0_u32, 7, 14, 21, 28] {
        let (&byte, tail) = rest.split_first()?;
        rest = tail;
        raw |= u32::from(byte & 0x7f).wrapping_shl(shift);
        if byte < 0x80 {
            return Some((raw, rest));
        }
    }
    None
}

/// [`read_varint`] for 64 bits.
#[inline(always)]
#[expect(clippy::inline_always, reason = "as for `read_varint`")]
pub(crate) fn read_varlong(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (raw, rest) = match bytes {
        [first, rest @ ..] if *first < 0x80 => (u64::from(*first), rest),
        [first, second, rest @ ..] if *second < 0x80 => {
            let high = u64::from(*second).wrapping_shl(7);
            (u64::from(*first & 0x7f) | high, rest)
        }
        _ => read_long_varlong(bytes)?,
    };
    Some((unzigzag64(raw), rest))
}

/// [`read_varlong`] for three bytes and more; returns the value still zigzagged.
#[cold]
fn read_long_varlong(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut raw = 0_u64;
    let mut rest = bytes;
    for shift in [0_u32, 7, 14, 21, 28, 35, 42, 49, 56, 63] {
        let (&byte, tail) = rest.split_first()?;
        rest = tail;
        raw |= u64::from(byte & 0x7f).wrapping_shl(shift);
        if byte < 0x80 {
            return Some((raw, rest));
        }
    }
    None
}

pub(crate) fn write_varint(out: &mut Vec<u8>, value: i32) {
    let mut raw = zigzag32(value);
    while raw >= 0x80 {
        out.push(low_seven(u64::from(raw)) | 0x80);
        raw >>= 7;
    }
    out.push(low_seven(u64::from(raw)));
}

pub(crate) fn write_varlong(out: &mut Vec<u8>, value: i64) {
    let mut raw = zigzag64(value);
    while raw >= 0x80 {
        out.push(low_seven(raw) | 0x80);
        raw >>= 7;
    }
    out.push(low_seven(raw));
}

/// The number of bytes that [`write_varint`] writes.
#[inline]
pub(crate) fn varint_len(value: i32) -> usize {
    varlong_len(i64::from(value))
}

#[inline]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "bits are 1 to 64, divided by 7"
)]
fn varlong_len(value: i64) -> usize {
    let bits = u64::BITS - (zigzag64(value) | 1).leading_zeros();
    usize::try_from(bits.div_ceil(7)).unwrap_or(10)
}

#[expect(clippy::as_conversions, reason = "masked to 7 bits")]
const fn low_seven(raw: u64) -> u8 {
    (raw & 0x7f) as u8
}

const fn zigzag32(value: i32) -> u32 {
    (value.wrapping_shl(1) ^ value.wrapping_shr(31)).cast_unsigned()
}

const fn unzigzag32(raw: u32) -> i32 {
    (raw >> 1).cast_signed() ^ (raw & 1).cast_signed().wrapping_neg()
}

const fn zigzag64(value: i64) -> u64 {
    (value.wrapping_shl(1) ^ value.wrapping_shr(63)).cast_unsigned()
}

const fn unzigzag64(raw: u64) -> i64 {
    (raw >> 1).cast_signed() ^ (raw & 1).cast_signed().wrapping_neg()
}

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
