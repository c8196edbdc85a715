//! The entries of the two sparse indexes of a segment.
//!
//! Knows nothing about files and about when an entry is due. Kafka's layouts, big-endian:
//!
//! | at | bytes | `.index`, 8 bytes an entry |
//! | ---: | ---: | --- |
//! | 0 | 4 | last offset of a batch, less the base offset of the segment |
//! | 4 | 4 | position of that batch in the `.log` |
//!
//! | at | bytes | `.timeindex`, 12 bytes an entry |
//! | ---: | ---: | --- |
//! | 0 | 8 | largest timestamp of the segment so far |
//! | 8 | 4 | last offset of the batch where it first came, less the base offset |
//!
//! Valid if and only if nothing is negative, offsets and positions of an `.index` rise strictly,
//! and in a `.timeindex` timestamps rise strictly and offsets never fall. An entry (O, P) promises
//! that every batch whose last offset is O or more lies at P or behind it; (T, O) that every record
//! later than T has an offset above O. Kafka preallocates both files, so a crash leaves zeros
//! behind the last entry: reading stops at the first entry that does not continue the one before.

use crate::types::{Timestamp, to_u64, to_usize};

use super::cursor::Cursor;

/// An entry of an `.index`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    pub(crate) relative_offset: u32,
    pub(crate) position: u32,
}

/// An entry of a `.timeindex`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    pub(crate) timestamp: Timestamp,
    pub(crate) relative_offset: u32,
}

pub(crate) trait Entry: Copy + Sized {
    const LEN: usize;

    /// Reads the entry at the front of `bytes`; `None` when it is cut or has a negative field.
    fn decode(bytes: &[u8]) -> Option<Self>;

    /// Whether this entry may follow `before`.
    fn continues(&self, before: &Self) -> bool;

    /// Whether all bytes are 0, as in the unused end of a preallocated index.
    fn is_zero(&self) -> bool;
}

/// How often a search guesses before it halves what is left.
const GUESSES: u32 = 4;
/// How many entries to either side of a guess the search compares next.
const GUESS_MARGIN: usize = 8;

impl OffsetEntry {
    pub(crate) fn encode(self) -> [u8; Self::LEN] {
        join(
            self.relative_offset.to_be_bytes(),
            self.position.to_be_bytes(),
        )
    }

    /// The last entry at or below `relative_offset`: a search begins at its position, and without
    /// one at the front of the segment.
    pub(crate) fn floor(entries: &[Self], relative_offset: u32) -> Option<Self> {
        last_before(entries, |entry| entry.relative_offset <= relative_offset)
    }

    /// The number of entries at or below `relative_offset`. Offsets rise about evenly with the
    /// entries, so a few guesses between the ends are faster than halving.
    pub(crate) fn count_to(entries: &[Self], relative_offset: u32) -> usize {
        let is_below = |entry: &Self| entry.relative_offset <= relative_offset;
        let offset_at = |index: usize| {
            let entry = entries.get(index)?;
            Some(u64::from(entry.relative_offset))
        };
        // Every entry below `low` is below, none from `high` on is.
        let (mut low, mut high) = (0_usize, entries.len());
        for _ in 0..GUESSES {
            let (Some(first), Some(last)) = (offset_at(low), offset_at(high.saturating_sub(1)))
            else {
                break;
            };
            let wanted = u64::from(relative_offset).clamp(first, last);
            let count = high.saturating_sub(low).saturating_sub(1);
            let share = wanted
                .saturating_sub(first)
                .saturating_mul(to_u64(count))
                .checked_div(last.saturating_sub(first))
                .unwrap_or(0);
            let guess = low.saturating_add(to_usize(share));
            // A little to either side, so that the next guess has both ends near.
            let below = guess.saturating_sub(GUESS_MARGIN);
            let above = guess.saturating_add(GUESS_MARGIN);
            if entries.get(below).is_some_and(is_below) {
                low = low.max(below);
            } else {
                high = high.min(below);
            }
            if entries.get(above).is_some_and(is_below) {
                low = low.max(above);
            } else {
                high = high.min(above);
            }
            if high.saturating_sub(low) <= 2 * GUESS_MARGIN {
                break;
            }
        }
        let between = entries.get(low..high).unwrap_or_default();
        low.saturating_add(between.partition_point(is_below))
    }

    /// [`floor`](Self::floor) over the bytes of an index without a tail of zeros; decodes only what
    /// the search touches.
    #[cfg(any(all(test, ottla_repository), ottla_sim))]
    pub(crate) fn floor_in(bytes: &[u8], relative_offset: u32) -> Option<Self> {
        last_before_in(bytes, |entry: &Self| {
            entry.relative_offset <= relative_offset
        })
    }
}

impl Entry for OffsetEntry {
    const LEN: usize = 8;

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Cursor::new(bytes);
        Some(Self {
            relative_offset: u32::try_from(fields.i32().ok()?).ok()?,
            position: u32::try_from(fields.i32().ok()?).ok()?,
        })
    }

    fn continues(&self, before: &Self) -> bool {
        self.relative_offset > before.relative_offset && self.position > before.position
    }

    fn is_zero(&self) -> bool {
        self.relative_offset == 0 && self.position == 0
    }
}

impl TimeEntry {
    pub(crate) fn encode(self) -> [u8; Self::LEN] {
        let timestamp = self.timestamp.as_millis().to_be_bytes();
        join(timestamp, self.relative_offset.to_be_bytes())
    }

    /// The last entry before `at`: the first record at or after `at` has an offset above that
    /// entry's.
    pub(crate) fn before(entries: &[Self], at: Timestamp) -> Option<Self> {
        last_before(entries, |entry| entry.timestamp < at)
    }

    /// [`before`](Self::before) over bytes, as `floor_in`.
    #[cfg(any(all(test, ottla_repository), ottla_sim))]
    pub(crate) fn before_in(bytes: &[u8], at: Timestamp) -> Option<Self> {
        last_before_in(bytes, |entry: &Self| entry.timestamp < at)
    }
}

impl Entry for TimeEntry {
    const LEN: usize = 12;

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Cursor::new(bytes);
        Some(Self {
            timestamp: Timestamp::from_millis(fields.i64().ok()?),
            relative_offset: u32::try_from(fields.i32().ok()?).ok()?,
        })
    }

    fn continues(&self, before: &Self) -> bool {
        self.timestamp > before.timestamp && self.relative_offset >= before.relative_offset
    }

    fn is_zero(&self) -> bool {
        self.timestamp.as_millis() == 0 && self.relative_offset == 0
    }
}

/// The entries at the front of `bytes` that continue each other, up to a tail of zeros, garbage, or
/// half an entry.
///
/// Zeros are a legal first entry of a `.timeindex` (a segment whose largest timestamp is 0). They
/// are taken as one when they are the whole index, or when the next entry continues them.
pub(crate) fn entries<E: Entry>(bytes: &[u8]) -> Entries<'_, E> {
    let first_is_tail = E::decode(bytes).is_some_and(|first| {
        let next = bytes.get(E::LEN..).unwrap_or_default();
        let followed = E::decode(next).is_some_and(|next| next.continues(&first));
        first.is_zero() && !followed && !next.is_empty()
    });
    Entries {
        rest: if first_is_tail { &[] } else { bytes },
        before: None,
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Entries<'a, E> {
    rest: &'a [u8],
    before: Option<E>,
}

impl<E: Entry> Iterator for Entries<'_, E> {
    type Item = E;

    fn next(&mut self) -> Option<E> {
        let entry = E::decode(self.rest)?;
        if self.before.is_some_and(|before| !entry.continues(&before)) {
            self.rest = &[];
            return None;
        }
        self.rest = self.rest.get(E::LEN..).unwrap_or_default();
        self.before = Some(entry);
        Some(entry)
    }
}

fn join<const A: usize, const B: usize, const N: usize>(
    first: [u8; A],
    second: [u8; B],
) -> [u8; N] {
    const { assert!(A + B == N) };
    let mut entry = [0; N];
    let (front, back) = entry.split_at_mut(A);
    front.copy_from_slice(&first);
    back.copy_from_slice(&second);
    entry
}

/// The last entry of those at the front for which `is_before` is true.
fn last_before<E: Entry>(entries: &[E], is_before: impl Fn(&E) -> bool) -> Option<E> {
    let after = entries.partition_point(is_before);
    entries.get(after.checked_sub(1)?).copied()
}

#[cfg(any(all(test, ottla_repository), ottla_sim))]
fn last_before_in<E: Entry>(bytes: &[u8], is_before: impl Fn(&E) -> bool) -> Option<E> {
    let at = |index: usize| E::decode(bytes.get(index.saturating_mul(E::LEN)..)?);
    let count = bytes.len().checked_div(E::LEN).unwrap_or(0);
    // Every entry below `low` is before, none from `high` on is known to be.
    let (mut low, mut high) = (0_usize, count);
    while low < high {
        let middle = low.saturating_add(high.saturating_sub(low) >> 1);
        if at(middle).is_some_and(|entry| is_before(&entry)) {
            low = middle.saturating_add(1);
        } else {
            high = middle;
        }
    }
    at(low.checked_sub(1)?)
}

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
