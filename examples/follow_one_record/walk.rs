//! A walk over bytes that prints each field as it passes.
//!
//! Knows nothing about batches: the caller names the fields.

/// Bytes on a row.
const ROW: usize = 8;

pub(crate) struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How far the walk has come.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// A signed big-endian number of so many bytes.
    pub(crate) fn number(&mut self, width: usize, field: &str, note: &str) -> Option<i64> {
        let bytes = self.take(width)?;
        let negative = bytes.first().is_some_and(|first| *first >= 0x80);
        let start = if negative { -1 } else { 0 };
        let value = bytes
            .iter()
            .fold(start, |value: i64, byte| (value << 8) | i64::from(*byte));
        self.show(bytes, field, &format!("{value:<14} {note}"));
        Some(value)
    }

    /// Bytes that are no number.
    pub(crate) fn bytes(&mut self, width: usize, field: &str, note: &str) -> Option<()> {
        let bytes = self.take(width)?;
        self.show(bytes, field, &format!("{:<14} {note}", ""));
        Some(())
    }

    /// A zigzag varint: seven bits a byte, lowest first, small negative numbers small too.
    pub(crate) fn varint(&mut self, field: &str, note: &str) -> Option<i64> {
        let rest = self.bytes.get(self.at..)?;
        let width = rest.iter().take(10).position(|byte| *byte < 0x80)? + 1;
        let bytes = self.take(width)?;
        let raw = bytes
            .iter()
            .rev()
            .fold(0, |raw: i64, byte| (raw << 7) | i64::from(byte & 0x7f));
        let value = ((raw >> 1) & i64::MAX) ^ -(raw & 1);
        self.show(bytes, field, &format!("{value:<14} {note}"));
        Some(value)
    }

    /// Text of a length that was read before.
    pub(crate) fn text(&mut self, length: i64, field: &str) -> Option<()> {
        let bytes = self.take(usize::try_from(length).unwrap_or(0))?;
        self.show(
            bytes,
            field,
            &format!("{:?}", String::from_utf8_lossy(bytes)),
        );
        Some(())
    }

    fn take(&mut self, width: usize) -> Option<&'a [u8]> {
        let bytes = self.bytes.get(self.at..)?.get(..width)?;
        self.at += width;
        Some(bytes)
    }

    fn show(&self, bytes: &[u8], field: &str, value: &str) {
        let mut at = self.at - bytes.len();
        for (row, bytes) in bytes.chunks(ROW).enumerate() {
            let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let (field, value) = if row == 0 { (field, value) } else { ("", "") };
            let line = format!("{at:>4}  {:<24}  {field:<19} {value}", hex.join(" "));
            println!("{}", line.trim_end());
            at += bytes.len();
        }
    }
}
