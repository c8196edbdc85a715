//! Sizes and times as people write them into configuration files: `64 MiB`, `5 s`.
//!
//! Knows nothing about settings. A number alone is bytes or milliseconds, as Kafka has it.

use std::time::Duration;

/// Bytes of each unit: the binary ones, and the decimal ones of disk makers.
const BYTES: [(&str, u64); 13] = [
    ("", 1),
    ("b", 1),
    ("k", 1 << 10),
    ("kib", 1 << 10),
    ("kb", 1_000),
    ("m", 1 << 20),
    ("mib", 1 << 20),
    ("mb", 1_000_000),
    ("g", 1 << 30),
    ("gib", 1 << 30),
    ("gb", 1_000_000_000),
    ("tib", 1 << 40),
    ("tb", 1_000_000_000_000),
];

/// Milliseconds of each unit.
const MILLIS: [(&str, u64); 18] = [
    ("", 1),
    ("ms", 1),
    ("millisecond", 1),
    ("milliseconds", 1),
    ("s", 1_000),
    ("sec", 1_000),
    ("second", 1_000),
    ("seconds", 1_000),
    ("m", 60_000),
    ("min", 60_000),
    ("minute", 60_000),
    ("minutes", 60_000),
    ("h", 3_600_000),
    ("hour", 3_600_000),
    ("hours", 3_600_000),
    ("d", 86_400_000),
    ("day", 86_400_000),
    ("days", 86_400_000),
];

pub(super) fn bytes(text: &str) -> Option<u64> {
    scaled(text, &BYTES)
}

/// Parses a time of whole milliseconds.
pub(super) fn time(text: &str) -> Option<Duration> {
    let millis = scaled(text, &MILLIS)?;
    // Kafka's times have 63 bits.
    i64::try_from(millis).ok()?;
    Some(Duration::from_millis(millis))
}

/// Parses a number and a unit, with or without space between them. `1.5 GiB` is valid because it is
/// a whole number of bytes; `1.5` is not.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at_checked(digits.unwrap_or(text.len()))?;
    let unit = unit.trim().to_ascii_lowercase();
    let (_, scale) = units.iter().find(|(name, _)| *name == unit)?;
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let whole = whole.parse::<u64>().ok()?.checked_mul(*scale)?;
    if !number.contains('.') {
        return Some(whole);
    }
    let tenths = 10_u64.checked_pow(u32::try_from(part.len()).ok()?)?;
    let scaled = part.parse::<u64>().ok()?.checked_mul(*scale)?;
    let exact = scaled.checked_rem(tenths)? == 0;
    exact.then_some(())?;
    whole.checked_add(scaled.checked_div(tenths)?)
}

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
