//! The two sparse indexes of a segment, in memory: by offset and by time.
//!
//! Knows nothing about the `.log` beside them, and never overrules it: the reader checks an entry
//! by reading. Entries are exactly where Kafka puts them.
//!
//! 1. A batch gets an entry, its *last* offset and its position, if more than
//!    `index.interval.bytes` lie between the last entry and it. The first batch of a segment never
//!    does.
//! 2. A time entry comes with it, if the largest timestamp so far (this batch included) is above
//!    the last time entry's: it names the last offset of the batch in which that timestamp first
//!    occurred. The same is done once more when the segment is sealed or closed.
//! 3. Offsets and positions rise strictly, timestamps too; offsets of time entries do not fall.

use crate::format::index::{Entry, OffsetEntry, TimeEntry, entries};
use crate::types::{Offset, Position, Timestamp, to_usize};

#[derive(Clone, Debug, Default)]
pub(crate) struct SparseIndex {
    offsets: Vec<OffsetEntry>,
    times: Vec<TimeEntry>,
}

impl SparseIndex {
    /// Decodes index files. A tail of zeros, as a crash leaves in a broker's preallocated files, is
    /// ignored. `None` if the entries violate (I3) or point past `log_end`.
    pub(crate) fn decode(offsets: &[u8], times: &[u8], log_end: Position) -> Option<Self> {
        let offsets: Vec<OffsetEntry> = decode_entries(offsets)?;
        let times: Vec<TimeEntry> = decode_entries(times)?;
        let inside = offsets
            .last()
            .is_none_or(|entry| u64::from(entry.position) < log_end.0);
        // The first batch never has an entry (I1), so this entry is a hole in the file.
        let inside = inside && offsets.first().is_none_or(|entry| entry.position > 0);
        inside.then_some(Self { offsets, times })
    }

    /// Every batch that ends above the offset is at this position or behind it.
    pub(crate) fn position_for(&self, relative_offset: u32) -> Position {
        let entry = self.entry_for(relative_offset);
        Position(entry.map_or(0, |entry| u64::from(entry.position)))
    }

    /// The last entry at or below the offset; `None` for the beginning of the segment.
    pub(crate) fn entry_for(&self, relative_offset: u32) -> Option<OffsetEntry> {
        OffsetEntry::floor(&self.offsets, relative_offset)
    }

    /// [`entry_for`](Self::entry_for) and the two entries after it. The first of these names a
    /// batch that ends above the offset.
    pub(crate) fn entries_around(&self, relative_offset: u32) -> [Option<OffsetEntry>; 3] {
        let after = OffsetEntry::count_to(&self.offsets, relative_offset);
        let floor = after.checked_sub(1);
        let at = |index: usize| self.offsets.get(index).copied();
        [floor.and_then(at), at(after), at(after.saturating_add(1))]
    }

    /// The first record at or after the time has an offset above this entry's.
    pub(crate) fn time_entry_before(&self, at: Timestamp) -> Option<TimeEntry> {
        TimeEntry::before(&self.times, at)
    }

    pub(crate) fn encode(&self) -> (Vec<u8>, Vec<u8>) {
        self.encode_after(0, 0)
    }

    /// [`encode`](Self::encode) without this many bytes at the front of each.
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

    pub(crate) fn last_offset_entry(&self) -> Option<OffsetEntry> {
        self.offsets.last().copied()
    }

    pub(crate) fn last_time_entry(&self) -> Option<TimeEntry> {
        self.times.last().copied()
    }

    pub(crate) fn offset_entries(&self) -> &[OffsetEntry] {
        &self.offsets
    }

    pub(crate) fn time_entries(&self) -> &[TimeEntry] {
        &self.times
    }

    /// Adds the entries of another index of the same segment from a position on.
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

    /// Removes every entry at or after `position` or `relative_offset`.
    pub(crate) fn truncate(&mut self, position: Position, relative_offset: u32) {
        self.offsets.retain(|entry| {
            u64::from(entry.position) < position.0 && entry.relative_offset < relative_offset
        });
        self.times
            .retain(|entry| entry.relative_offset < relative_offset);
    }
}

/// A tail of zeros is ignored; other invalid bytes invalidate the whole file.
fn decode_entries<E: Entry>(bytes: &[u8]) -> Option<Vec<E>> {
    let decoded: Vec<E> = entries(bytes).collect();
    let rest = bytes.get(decoded.len().checked_mul(E::LEN)?..)?;
    rest.iter().all(|byte| *byte == 0).then_some(decoded)
}

/// What the indexes need of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Indexed {
    pub(crate) relative_last_offset: u32,
    pub(crate) position: u32,
    pub(crate) size: u32,
    pub(crate) max_timestamp: Timestamp,
}

/// Decides when the next entry is due.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IndexProgress {
    bytes_since_entry: u64,
    newest: Option<TimeEntry>,
}

impl IndexProgress {
    pub(crate) fn after(index: &SparseIndex) -> Self {
        Self {
            bytes_since_entry: 0,
            newest: index.last_time_entry(),
        }
    }

    /// Notes a batch; true if a call of [`Self::entries`] must follow (I1).
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
        // Compared before this batch is counted, so the first batch of a segment never gets an
        // entry (I1).
        let due = self.bytes_since_entry > interval_bytes;
        if due {
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry = self.bytes_since_entry.saturating_add(u64::from(batch.size));
        due
    }

    pub(crate) fn newest(&self) -> Option<TimeEntry> {
        self.newest
    }

    pub(crate) fn entries(&self, index: &mut SparseIndex, batch: Indexed) {
        index.offsets.push(OffsetEntry {
            relative_offset: batch.relative_last_offset,
            position: batch.position,
        });
        self.final_entry(index);
    }

    /// Adds the time entry of a segment that is sealed or closed (I2).
    pub(crate) fn final_entry(&self, index: &mut SparseIndex) {
        if let Some(newest) = self.newest {
            index.push_time(newest);
        }
    }
}

/// An offset less its segment's base; `None` if that needs more than 31 bits.
pub(crate) fn relative(base_offset: Offset, offset: Offset) -> Option<u32> {
    let relative = u32::try_from(offset.checked_sub(base_offset)?).ok()?;
    i32::try_from(relative).is_ok().then_some(relative)
}
