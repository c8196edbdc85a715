//! The two sparse indexes of a segment, in memory: where a batch stands, and when it was.
//!
//! Knows nothing about the `.log` beside them, and is never trusted over it: an entry is a hint
//! that the reader checks by reading. Entries stand exactly where Kafka puts them.
//!
//! 1. Before a batch is added, when more than `index.interval.bytes` were added since the last
//!    entry, the batch gets an entry: its *last* offset and its position. The first batch of a
//!    segment never gets one.
//! 2. With every such entry goes a time entry, if the largest timestamp so far (this batch
//!    included) is larger than that of the last one: it names the last offset of the batch where
//!    that timestamp came first. One more is tried when the segment is sealed or closed.
//! 3. Offsets and positions rise strictly, timestamps too, offsets of time entries do not fall.

use crate::format::index::{Entry, OffsetEntry, TimeEntry, entries};
use crate::types::{Offset, Position, Timestamp, to_usize};

/// Both indexes of a segment.
#[derive(Clone, Debug, Default)]
pub(crate) struct SparseIndex {
    offsets: Vec<OffsetEntry>,
    times: Vec<TimeEntry>,
}

impl SparseIndex {
    /// The indexes as two files hold them; a tail of zeros, as a crash leaves it in a broker's
    /// preallocated files, is no part of them.
    ///
    /// `None` when they break (I3) or point past `log_end`: then they must be rebuilt.
    pub(crate) fn decode(offsets: &[u8], times: &[u8], log_end: Position) -> Option<Self> {
        let offsets: Vec<OffsetEntry> = decode_entries(offsets)?;
        let times: Vec<TimeEntry> = decode_entries(times)?;
        let inside = offsets
            .last()
            .is_none_or(|entry| u64::from(entry.position) < log_end.0);
        // The first batch never has an entry (I1): this one is a hole.
        let inside = inside && offsets.first().is_none_or(|entry| entry.position > 0);
        inside.then_some(Self { offsets, times })
    }

    /// Where to begin looking for an offset: every batch that ends above it lies at or after this
    /// place.
    pub(crate) fn position_for(&self, relative_offset: u32) -> Position {
        let entry = self.entry_for(relative_offset);
        Position(entry.map_or(0, |entry| u64::from(entry.position)))
    }

    /// The entry of that place; `None` for the beginning.
    pub(crate) fn entry_for(&self, relative_offset: u32) -> Option<OffsetEntry> {
        OffsetEntry::floor(&self.offsets, relative_offset)
    }

    /// The entry of that place, and the two after it: the first of them names a batch that ends at
    /// or after the offset.
    pub(crate) fn entries_around(&self, relative_offset: u32) -> [Option<OffsetEntry>; 3] {
        let after = OffsetEntry::count_to(&self.offsets, relative_offset);
        let floor = after.checked_sub(1);
        let at = |index: usize| self.offsets.get(index).copied();
        [floor.and_then(at), at(after), at(after.saturating_add(1))]
    }

    /// The last time entry before a time: the first record at or after that time comes after it.
    pub(crate) fn time_entry_before(&self, at: Timestamp) -> Option<TimeEntry> {
        TimeEntry::before(&self.times, at)
    }

    /// Both indexes as the bytes of their files.
    pub(crate) fn encode(&self) -> (Vec<u8>, Vec<u8>) {
        self.encode_after(0, 0)
    }

    /// The same, without the first so many bytes of each.
    pub(crate) fn encode_after(&self, offset_bytes: u32, time_bytes: u32) -> (Vec<u8>, Vec<u8>) {
        let offsets = to_usize(offset_bytes.into()) / OffsetEntry::LEN;
        let times = to_usize(time_bytes.into()) / TimeEntry::LEN;
        let offsets = self
            .offsets
            .iter()
            .skip(offsets)
            .flat_map(|entry| entry.encode());
        let times = self
            .times
            .iter()
            .skip(times)
            .flat_map(|entry| entry.encode());
        (offsets.collect(), times.collect())
    }

    /// The last entry: from its batch on, nothing is indexed.
    pub(crate) fn last_offset_entry(&self) -> Option<OffsetEntry> {
        self.offsets.last().copied()
    }

    /// The largest timestamp that is indexed.
    pub(crate) fn last_time_entry(&self) -> Option<TimeEntry> {
        self.times.last().copied()
    }

    /// The offset entries, in order.
    pub(crate) fn offset_entries(&self) -> &[OffsetEntry] {
        &self.offsets
    }

    /// The time entries, in order.
    pub(crate) fn time_entries(&self) -> &[TimeEntry] {
        &self.times
    }

    /// Adds the entries of another index of the same segment for the batches from a place on.
    pub(super) fn extend(&mut self, other: &Self, from: Position, next_offset: u32) {
        let offsets = other.offsets.iter().copied();
        self.offsets
            .extend(offsets.filter(|entry| u64::from(entry.position) >= from.0));
        for entry in &other.times {
            if entry.relative_offset >= next_offset {
                self.push_time(*entry);
            }
        }
    }

    fn push_time(&mut self, entry: TimeEntry) {
        if self
            .times
            .last()
            .is_none_or(|last| last.timestamp < entry.timestamp)
        {
            self.times.push(entry);
        }
    }

    /// Forgets every entry of a batch at or after a place, or of an offset at or after one.
    pub(crate) fn truncate(&mut self, position: Position, relative_offset: u32) {
        self.offsets.retain(|entry| {
            u64::from(entry.position) < position.0 && entry.relative_offset < relative_offset
        });
        self.times
            .retain(|entry| entry.relative_offset < relative_offset);
    }
}

/// The entries of an index file; a tail of zeros is no part of them, and anything else that is no
/// entry makes the whole file worthless.
fn decode_entries<E: Entry>(bytes: &[u8]) -> Option<Vec<E>> {
    let decoded: Vec<E> = entries(bytes).collect();
    let rest = bytes.get(decoded.len().checked_mul(E::LEN)?..)?;
    rest.iter().all(|byte| *byte == 0).then_some(decoded)
}

/// A batch as the indexes see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Indexed {
    /// The last offset of the batch, from the segment's base.
    pub(crate) relative_last_offset: u32,
    /// Where the batch begins.
    pub(crate) position: u32,
    /// Bytes of the batch.
    pub(crate) size: u32,
    /// The largest timestamp in the batch.
    pub(crate) max_timestamp: Timestamp,
}

/// What the rules need to remember between two batches of the segment that grows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IndexProgress {
    bytes_since_entry: u64,
    newest: Option<TimeEntry>,
}

impl IndexProgress {
    /// Takes up again after the last entries of an index.
    pub(crate) fn after(index: &SparseIndex) -> Self {
        Self {
            bytes_since_entry: 0,
            newest: index.last_time_entry(),
        }
    }

    /// Notes a batch that is about to be added; true when it gets an entry (I1), which
    /// [`Self::entries`] gives.
    #[inline]
    pub(crate) fn note(&mut self, batch: Indexed, interval_bytes: u64) -> bool {
        let newest = self
            .newest
            .map_or(Timestamp::NONE, |newest| newest.timestamp);
        if newest < batch.max_timestamp {
            self.newest = Some(TimeEntry {
                timestamp: batch.max_timestamp,
                relative_offset: batch.relative_last_offset,
            });
        }
        let due = self.bytes_since_entry > interval_bytes;
        if due {
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry = self.bytes_since_entry.saturating_add(u64::from(batch.size));
        due
    }

    /// The largest timestamp so far, and where it came first.
    pub(crate) fn newest(&self) -> Option<TimeEntry> {
        self.newest
    }

    /// Adds the entries of a batch for which [`Self::note`] was true.
    pub(crate) fn entries(&self, index: &mut SparseIndex, batch: Indexed) {
        index.offsets.push(OffsetEntry {
            relative_offset: batch.relative_last_offset,
            position: batch.position,
        });
        self.final_entry(index);
    }

    /// Adds the time entry that a sealed or closed segment ends with (I2).
    pub(crate) fn final_entry(&self, index: &mut SparseIndex) {
        if let Some(newest) = self.newest {
            index.push_time(newest);
        }
    }
}

/// The last offset of a batch, from the base of its segment; `None` when 31 bits do not hold it.
pub(crate) fn relative(base_offset: Offset, offset: Offset) -> Option<u32> {
    let relative = u32::try_from(offset.checked_sub(base_offset)?).ok()?;
    i32::try_from(relative).is_ok().then_some(relative)
}
