//! Bytes as text: hexadecimal, base 64, and text where they are text.
//!
//! Knows nothing about records.

use std::fmt::Write as _;

use serde_json::Value;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Lower-case hexadecimal.
pub(crate) fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            out.push(if nibble < 10 {
                b'0' + nibble
            } else {
                b'a' + nibble - 10
            });
        }
    }
}

/// Base 64 with padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4_usize {
            let shift = 18 - 6 * u32::try_from(digit).unwrap_or(0);
            let index = usize::try_from(group >> shift & 63).unwrap_or(0);
            let code = BASE64.get(index).copied().unwrap_or(b'=');
            text.push(char::from(if digit <= chunk.len() { code } else { b'=' }));
        }
    }
    text
}

/// The bytes that a text in base 64 stands for.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut group, mut bits) = (0_u32, 0_u32);
    for code in text.bytes() {
        let digit = BASE64.iter().position(|known| *known == code)?;
        group = (group << 6 | u32::try_from(digit).ok()?) & 0xff_ffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(group >> bits & 0xff).ok()?);
        }
    }
    Some(bytes)
}

/// Bytes as a JSON value: text where they are text, else `{"base64": "..."}`.
pub(crate) fn to_json(bytes: Option<&[u8]>) -> Value {
    match bytes.map(|bytes| (std::str::from_utf8(bytes), bytes)) {
        None => Value::Null,
        Some((Ok(text), _)) => Value::from(text),
        Some((Err(_), bytes)) => serde_json::json!({ "base64": base64(bytes) }),
    }
}

/// The bytes of a JSON value: the other way round. Other values are bytes as they are written.
pub(crate) fn from_json(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone().into_bytes()),
        Value::Object(fields) if fields.len() == 1 => {
            match fields
                .get("base64")
                .and_then(Value::as_str)
                .and_then(from_base64)
            {
                Some(bytes) => Some(bytes),
                None => Some(value.to_string().into_bytes()),
            }
        }
        other => Some(other.to_string().into_bytes()),
    }
}

/// A number of bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // Hundredths, in whole numbers: no unit here is beyond their reach.
    let (mut hundredths, mut unit) = (u128::from(bytes) * 100 / 1024, "KiB");
    for next in UNITS.iter().skip(1) {
        if hundredths < 102_400 {
            break;
        }
        (hundredths, unit) = (hundredths / 1024, next);
    }
    let mut text = String::new();
    // Writing to a string does not fail.
    let _always = write!(text, "{}.{:02} {unit}", hundredths / 100, hundredths % 100);
    text
}

/// A number for rates and pictures, where the last digits do not matter.
pub(crate) fn float(number: u64) -> f64 {
    let high = u32::try_from(number >> 32).unwrap_or(u32::MAX);
    let low = u32::try_from(number & 0xffff_ffff).unwrap_or(u32::MAX);
    f64::from(high) * 4_294_967_296.0 + f64::from(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_to_text_and_come_back() {
        for length in 0..40_u8 {
            let bytes: Vec<u8> = (0..length).map(|n| n.wrapping_mul(37) ^ 0xa5).collect();
            assert_eq!(from_base64(&base64(&bytes)).unwrap(), bytes);
            assert_eq!(from_json(&to_json(Some(&bytes))).unwrap(), bytes);
        }
        assert_eq!(base64(b"any carnal pleas"), "YW55IGNhcm5hbCBwbGVhcw==");
        assert_eq!(from_json(&to_json(None)), None);
        assert_eq!(from_base64("*"), None);
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1536), "1.50 KiB");
        assert_eq!(size(5 << 30), "5.00 GiB");
    }
}
