//! Kafka's checkpoint files.
//!
//! Knows nothing about which file is which. Text, one item a line:
//!
//! ```text
//! 0                      version
//! 2                      how many lines follow
//! orders 0 12345         offset checkpoints: topic partition offset
//! 3 1500                 leader epochs: epoch, and the first offset of it
//! ```
//!
//! Valid if and only if it is UTF-8 of at most [`SIZE_MAX`] bytes, the version is 0, exactly as
//! many lines follow as it says, each with its fields and nothing else, no number is negative, and
//! leader epochs rise with their offsets. A file of no bytes has no items.

use std::fmt::Write;

use crate::types::{Offset, PartitionId, to_u64};

use super::Corruption;

/// Room for more than a hundred thousand partitions.
pub(crate) const SIZE_MAX: usize = 32 << 20;

const VERSION: &str = "0";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartitionOffset {
    pub(crate) topic: String,
    pub(crate) partition: PartitionId,
    pub(crate) offset: Offset,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeaderEpoch {
    pub(crate) epoch: i32,
    pub(crate) start_offset: Offset,
}

pub(crate) fn decode_offsets(bytes: &[u8]) -> Result<Vec<PartitionOffset>, Corruption> {
    decode(bytes, |line| {
        let mut fields = line.split_ascii_whitespace();
        let item = PartitionOffset {
            topic: fields.next()?.to_owned(),
            partition: non_negative(fields.next()?).and_then(|n| n.try_into().ok())?,
            offset: non_negative(fields.next()?)?,
        };
        fields.next().is_none().then_some(item)
    })
}

pub(crate) fn encode_offsets<'a>(
    items: impl ExactSizeIterator<Item = (&'a str, PartitionId, Offset)>,
) -> String {
    encode(items, |text, (topic, partition, offset)| {
        writeln!(text, "{topic} {partition} {offset}")
    })
}

pub(crate) fn decode_epochs(bytes: &[u8]) -> Result<Vec<LeaderEpoch>, Corruption> {
    let epochs = decode(bytes, |line| {
        let mut fields = line.split_ascii_whitespace();
        let item = LeaderEpoch {
            epoch: non_negative(fields.next()?).and_then(|n| n.try_into().ok())?,
            start_offset: non_negative(fields.next()?)?,
        };
        fields.next().is_none().then_some(item)
    })?;
    let rise = |pair: &[LeaderEpoch]| match pair {
        [before, after] => before.epoch < after.epoch && before.start_offset < after.start_offset,
        _ => true,
    };
    if epochs.windows(2).all(rise) {
        Ok(epochs)
    } else {
        Err(Corruption::malformed("leader epochs do not rise"))
    }
}

pub(crate) fn encode_epochs(epochs: &[LeaderEpoch]) -> String {
    encode(epochs.iter(), |text, item| {
        writeln!(text, "{} {}", item.epoch, item.start_offset)
    })
}

fn decode<T>(bytes: &[u8], item: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, Corruption> {
    let text = text(bytes, SIZE_MAX)?;
    let mut lines = text.lines();
    match lines.next() {
        None => return Ok(Vec::new()),
        Some(VERSION) => {}
        Some(_) => return Err(Corruption::malformed("the checkpoint is not of version 0")),
    }
    let count = lines
        .next()
        .and_then(non_negative)
        .ok_or(Corruption::malformed("the checkpoint has no count"))?;
    // Collected by the lines that are there; the count only has to agree.
    let items = lines
        .map(|line| item(line).ok_or(Corruption::malformed("a line of the checkpoint is wrong")))
        .collect::<Result<Vec<_>, _>>()?;
    if u64::try_from(items.len()) == Ok(count) {
        Ok(items)
    } else {
        Err(Corruption::malformed(
            "the checkpoint has more or fewer lines than it says",
        ))
    }
}

fn encode<T>(
    items: impl ExactSizeIterator<Item = T>,
    line: impl Fn(&mut String, T) -> std::fmt::Result,
) -> String {
    let mut text = format!("{VERSION}\n{}\n", items.len());
    for item in items {
        // A string takes whatever is written to it.
        let written = line(&mut text, item);
        debug_assert!(written.is_ok(), "writing to a string cannot fail");
    }
    text
}

/// The bytes as text; refuses more than `limit` bytes, and anything but UTF-8.
pub(super) fn text(bytes: &[u8], limit: usize) -> Result<&str, Corruption> {
    if bytes.len() > limit {
        return Err(Corruption::TooLarge {
            limit: to_u64(limit),
        });
    }
    std::str::from_utf8(bytes).map_err(|_| Corruption::malformed("the text is not UTF-8"))
}

/// Parses a number that is not negative and fits in 63 bits.
fn non_negative(digits: &str) -> Option<u64> {
    let number: i64 = digits.parse().ok()?;
    u64::try_from(number).ok()
}

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
