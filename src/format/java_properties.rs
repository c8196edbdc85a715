//! Java's properties files, read and written as `java.util.Properties` does.
//!
//! Knows nothing about which properties there are. Bytes are ISO 8859-1, as for a broker, and:
//!
//! - A line ends with `\n`, `\r` or `\r\n`. White space is a blank, a tab or a form feed.
//! - A line whose first character behind white space is `#` or `!` is a comment; empty lines are
//!   ignored.
//! - A line with an odd number of backslashes at its end goes on in the next one, without the last
//!   backslash and the next one's white space in front.
//! - A key ends before the first `=`, `:` or white space without a backslash before it. The value
//!   begins behind that, behind white space, and behind one `=` or `:` if the key ended with white
//!   space.
//! - `\t`, `\n`, `\r` and `\f` are those characters, `\u` and four hexadecimal digits a unit of
//!   UTF-16; a backslash before any other character is left out.
//! - The last value of a key counts.
//!
//! What is written here is ASCII, the same in every encoding.

use std::fmt::Write as _;

use super::Corruption;

/// Keys and values in the order of the file, in UTF-16: in Java they may hold half of a pair.
#[derive(Debug)]
pub(super) struct JavaProperties(Vec<(Vec<u16>, Vec<u16>)>);

impl JavaProperties {
    /// Refuses a `\u` that is not followed by four hexadecimal digits, as Java does.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Corruption> {
        let lines = logical_lines(bytes);
        let pairs = lines.iter().map(|line| {
            let (key, value) = split(line);
            Ok((unescape(key)?, unescape(value)?))
        });
        pairs.collect::<Result<_, _>>().map(Self)
    }

    /// The value of a key. Refuses one with half of a UTF-16 pair, which no string here can hold.
    pub(super) fn get(&self, wanted: &str) -> Result<Option<String>, Corruption> {
        let found = self
            .0
            .iter()
            .rfind(|(key, _)| wanted.encode_utf16().eq(key.iter().copied()));
        found
            .map(|(_, value)| String::from_utf16(value))
            .transpose()
            .map_err(|_| Corruption::malformed("a property has half of a UTF-16 pair"))
    }
}

/// The lines with a property, each joined with the lines that continue it.
fn logical_lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    let mut line = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let natural;
        (natural, rest) = split_line(rest);
        let start = natural.iter().position(|byte| !is_white(*byte));
        let natural = natural.get(start.unwrap_or(natural.len())..);
        let natural = natural.unwrap_or_default();
        if line.is_empty() && matches!(natural.first(), Some(b'#' | b'!')) {
            continue;
        }
        let backslashes = natural.iter().rev().take_while(|byte| **byte == b'\\');
        if backslashes.count() % 2 == 1 {
            let kept = natural.len().saturating_sub(1);
            line.extend_from_slice(natural.get(..kept).unwrap_or_default());
            if !rest.is_empty() {
                continue;
            }
        } else {
            line.extend_from_slice(natural);
        }
        if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
    let (line, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
    let rest = rest
        .strip_prefix(b"\r\n")
        .or_else(|| rest.get(1..))
        .unwrap_or_default();
    (line, rest)
}

fn is_white(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\x0C')
}

/// Key and value, still escaped.
fn split(line: &[u8]) -> (&[u8], &[u8]) {
    let mut escaped = false;
    let end = line.iter().position(|byte| {
        let ends = !escaped && (is_white(*byte) || matches!(byte, b'=' | b':'));
        escaped = *byte == b'\\' && !escaped;
        ends
    });
    let (key, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_prefix_white();
    let rest = match rest {
        [b'=' | b':', rest @ ..] => rest.trim_prefix_white(),
        rest => rest,
    };
    (key, rest)
}

trait TrimWhite {
    fn trim_prefix_white(&self) -> &Self;
}

impl TrimWhite for [u8] {
    fn trim_prefix_white(&self) -> &Self {
        let start = self.iter().position(|byte| !is_white(*byte));
        self.get(start.unwrap_or(self.len())..).unwrap_or_default()
    }
}

fn unescape(text: &[u8]) -> Result<Vec<u16>, Corruption> {
    let mut units = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            units.push(u16::from(byte));
            continue;
        }
        let unit = match rest.next() {
            // Only the end of a file leaves a backslash alone.
            None => break,
            Some(b't') => u16::from(b'\t'),
            Some(b'n') => u16::from(b'\n'),
            Some(b'r') => u16::from(b'\r'),
            Some(b'f') => 0x0C,
            Some(b'u') => hexadecimal([rest.next(), rest.next(), rest.next(), rest.next()])?,
            Some(other) => u16::from(other),
        };
        units.push(unit);
    }
    Ok(units)
}

fn hexadecimal(digits: [Option<u8>; 4]) -> Result<u16, Corruption> {
    let value = digits.into_iter().try_fold(0, |value: u32, digit| {
        let digit = char::from(digit?).to_digit(16)?;
        Some((value << 4) | digit)
    });
    value
        .and_then(|value| u16::try_from(value).ok())
        .ok_or(Corruption::malformed(
            "\\u is not followed by four hexadecimal digits",
        ))
}

pub(super) fn escape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for (at, unit) in value.encode_utf16().enumerate() {
        match u8::try_from(unit) {
            Ok(b'\\') => text.push_str("\\\\"),
            Ok(b'\t') => text.push_str("\\t"),
            Ok(b'\n') => text.push_str("\\n"),
            Ok(b'\r') => text.push_str("\\r"),
            Ok(b'\x0C') => text.push_str("\\f"),
            // At the front it would be taken for white space between key and value.
            Ok(b' ') if at == 0 => text.push_str("\\ "),
            Ok(plain @ b' '..=b'~') => text.push(char::from(plain)),
            _ => {
                let written = write!(text, "\\u{unit:04X}");
                debug_assert!(written.is_ok(), "writing to a string cannot fail");
            }
        }
    }
    text
}

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
