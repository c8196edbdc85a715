//! The live file: what a running writer publishes for followers in other processes.
//!
//! Knows nothing about files and who waits. Our own, big-endian but for the word, which is
//! little-endian because the system compares it in memory. First the header:
//!
//! | at | bytes | field |
//! | ---: | ---: | --- |
//! | 0 | 4 | CRC-32 of the 44 bytes behind it |
//! | 4 | 4 | `OTlv` |
//! | 8 | 4 | version, 1 |
//! | 12 | 4 | number of slots |
//! | 16 | 16 | id of the machine's boot: another one means that the writer is gone |
//! | 32 | 16 | incarnation, a random number of the opening that publishes |
//! | 48 | 4 | the word: followers wait for it to change; it rises whenever they are woken |
//! | 52 | 1 | the byte on which waiting followers hold a shared lock |
//! | 53 | 11 | zeros |
//!
//! Behind it the slots, one a log, 64 bytes each:
//!
//! | at | bytes | field |
//! | ---: | ---: | --- |
//! | 0 | 16 | topic id, zeros for a log alone |
//! | 16 | 4 | partition |
//! | 20 | 4 | 1 when the slot belongs to a log |
//! | 24 | 8 | end |
//! | 32 | 8 | high watermark |
//! | 40 | 8 | last stable offset; all ones where the writer does not know it |
//! | 48 | 8 | start |
//! | 56 | 4 | layout generation: odd while segments are removed or exchanged |
//! | 60 | 4 | epoch: how often the log was truncated since it was opened |
//!
//! Slots have no checksum, for they are written while others read them. Nothing in them decides
//! what a follower shows: see `host/listener.rs`.

use crate::types::{Offset, TopicId, to_u64};

use super::MarkKey;
use super::cursor::{Cursor, PutBytes as _};

pub(crate) const LIVE_HEADER_LEN: usize = 64;
pub(crate) const LIVE_SLOT_LEN: usize = 64;
pub(crate) const LIVE_WORD_AT: u64 = 48;
/// The byte that waiting followers lock.
pub(crate) const LIVE_LOCK_AT: u64 = 52;

const LETTERS: [u8; 4] = *b"OTlv";
const VERSION: u32 = 1;
const CRC_LEN: usize = 4;
/// Where the bytes under the CRC end.
const CHECKED_TO: usize = 48;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LiveHeader {
    pub(crate) slots: u32,
    pub(crate) boot: [u8; 16],
    pub(crate) incarnation: [u8; 16],
}

impl LiveHeader {
    pub(crate) fn encode(&self, word: u32) -> [u8; LIVE_HEADER_LEN] {
        let mut body = Vec::with_capacity(LIVE_HEADER_LEN);
        body.put(&LETTERS);
        body.put_u32(VERSION);
        body.put_u32(self.slots);
        body.put(&self.boot);
        body.put(&self.incarnation);
        let crc = crc32fast::hash(&body);
        body.put(&word.to_le_bytes());
        body.resize(LIVE_HEADER_LEN.saturating_sub(CRC_LEN), 0);
        let mut header = [0; LIVE_HEADER_LEN];
        let (front, rest) = header.split_at_mut(CRC_LEN);
        front.copy_from_slice(&crc.to_be_bytes());
        rest.copy_from_slice(&body);
        header
    }

    /// Returns the header and the word; `None` for anything that is not a header of this version.
    pub(crate) fn decode(bytes: &[u8]) -> Option<(Self, u32)> {
        let checked = bytes.get(CRC_LEN..CHECKED_TO)?;
        let mut cursor = Cursor::new(bytes.get(..LIVE_HEADER_LEN)?);
        let crc = cursor.u32().ok()?;
        let letters = cursor.array::<4>().ok()?;
        let version = cursor.u32().ok()?;
        if crc != crc32fast::hash(checked) || letters != LETTERS || version != VERSION {
            return None;
        }
        let header = Self {
            slots: cursor.u32().ok()?,
            boot: cursor.array().ok()?,
            incarnation: cursor.array().ok()?,
        };
        Some((header, u32::from_le_bytes(cursor.array().ok()?)))
    }
}

/// Reads the id of a boot as Linux writes it: 32 hexadecimal digits with dashes between.
pub(crate) fn boot_of(text: &[u8]) -> Option<[u8; 16]> {
    let digits = std::str::from_utf8(text).ok()?.trim().replace('-', "");
    if digits.len() != 32 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let id = u128::from_str_radix(&digits, 16).ok()?;
    Some(id.to_be_bytes())
}

pub(crate) fn live_slot_at(slot: u32) -> u64 {
    let before = u64::from(slot).saturating_mul(to_u64(LIVE_SLOT_LEN));
    to_u64(LIVE_HEADER_LEN).saturating_add(before)
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LiveFigures {
    pub(crate) end: Offset,
    /// Readers see only records below it.
    pub(crate) high_watermark: Offset,
    /// Readers of committed records see only records below it; `UNKNOWN` if the writer does not
    /// know it.
    pub(crate) last_stable: Offset,
    pub(crate) start: Offset,
    /// Odd while segments are removed or exchanged.
    pub(crate) generation: u32,
    /// Rises with each truncation.
    pub(crate) epoch: u32,
}

impl LiveFigures {
    /// The writer has not scanned the log for transactions.
    pub(crate) const UNKNOWN: Offset = Offset::MAX;

    pub(crate) fn encode(&self, key: MarkKey) -> [u8; LIVE_SLOT_LEN] {
        let mut body = Vec::with_capacity(LIVE_SLOT_LEN);
        body.put(&key.topic.0);
        body.put_u32(key.partition);
        body.put_u32(1);
        for offset in [self.end, self.high_watermark, self.last_stable, self.start] {
            body.put_u64(offset);
        }
        body.put_u32(self.generation);
        body.put_u32(self.epoch);
        let mut slot = [0; LIVE_SLOT_LEN];
        slot.copy_from_slice(&body);
        slot
    }

    /// `None` for an empty slot.
    pub(crate) fn decode(slot: &[u8]) -> Option<(MarkKey, Self)> {
        let mut cursor = Cursor::new(slot.get(..LIVE_SLOT_LEN)?);
        let key = MarkKey {
            topic: TopicId(cursor.array().ok()?),
            partition: cursor.u32().ok()?,
        };
        if cursor.u32().ok()? != 1 {
            return None;
        }
        let figures = Self {
            end: cursor.u64().ok()?,
            high_watermark: cursor.u64().ok()?,
            last_stable: cursor.u64().ok()?,
            start: cursor.u64().ok()?,
            generation: cursor.u32().ok()?,
            epoch: cursor.u32().ok()?,
        };
        Some((key, figures))
    }
}

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
