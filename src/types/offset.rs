//! Numbers of records and partitions, and the place of a byte.
//!
//! Knows nothing about files.

/// The number of a record in one partition, counted from 0.
///
/// Offsets are dense when they are assigned, never change, and are never used twice. Ranges of them
/// are half-open.
#[doc(alias = "LEO")]
pub type Offset = u64;

/// The epoch of a log: how often its end has moved back, or may have, so that later offsets were
/// assigned again. Kafka's leader epoch, in every batch.
///
/// It starts at 0, never decreases, and rises when a log is truncated or opened after anything but
/// a clean close. An offset and its epoch together always name the same record: see
/// [`Log::reader_from`](crate::Log::reader_from).
#[doc(alias = "leader_epoch")]
pub type Epoch = i32;

/// Kafka stores offsets in 64 bits with a sign, and an end is one past the last record's.
pub(crate) const END_OFFSET_MAX: Offset = i64::MAX.cast_unsigned();

/// The number of a partition in its topic, counted from 0.
pub type PartitionId = u32;

/// A byte's place in one segment file; it never leaves the crate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Position(pub(crate) u64);

impl Position {
    pub(crate) const ZERO: Self = Self(0);

    pub(crate) fn plus(self, bytes: usize) -> Self {
        Self(self.0.saturating_add(to_u64(bytes)))
    }

    /// The number of bytes from `earlier` to this place, or 0 if `earlier` is not before it.
    pub(crate) fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

pub(crate) fn to_u64(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

/// A count that no memory can hold becomes the largest size.
pub(crate) fn to_usize(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
