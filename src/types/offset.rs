//! The number of a record, the number of a partition, and the place of a byte.
//!
//! Knows nothing about files. An [`Offset`] counts records and is public; a [`Position`] counts
//! bytes inside one segment file and never leaves the crate.

/// The number of a record in one partition, counted from 0.
///
/// Offsets are dense when they are assigned, never change, and are never used twice. Every range
/// of offsets in this crate is half-open: its end is the first offset that is not in it.
#[doc(alias = "LEO")]
pub type Offset = u64;

/// The epoch of a log: how often its end has moved back, or may have, so that the offsets behind it
/// were given out again. Kafka's leader epoch, which every batch carries.
///
/// It starts at 0, never decreases, and rises when a log is truncated and when it is opened after
/// anything but a clean close. An offset together with its epoch names a record for good: see
/// [`Log::reader_from`](crate::Log::reader_from).
#[doc(alias = "leader_epoch")]
pub type Epoch = i32;

/// No log ends above this offset: Kafka stores offsets in 64 bits with a sign, and the end is one
/// past the last record's.
pub(crate) const END_OFFSET_MAX: Offset = i64::MAX.cast_unsigned();

/// The number of a partition in its topic, counted from 0.
pub type PartitionId = u32;

/// A byte place inside one segment file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Position(pub(crate) u64);

impl Position {
    /// The first byte of a file.
    pub(crate) const ZERO: Self = Self(0);

    /// The place `bytes` further on.
    pub(crate) fn plus(self, bytes: usize) -> Self {
        Self(self.0.saturating_add(to_u64(bytes)))
    }

    /// How many bytes lie between `earlier` and this place, 0 when it is not earlier.
    pub(crate) fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A size in memory as a count; nothing in memory is larger than a count can say.
pub(crate) fn to_u64(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

/// A count as a size in memory; a count that no memory can hold becomes the largest one.
pub(crate) fn to_usize(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
