//! The choices of a caller: where to start, what must survive, how bytes are packed.
//!
//! Knows nothing about how a choice is carried out.

use std::time::Duration;

use super::{Epoch, Offset, Timestamp};

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Start {
    /// The oldest record that is still there.
    Earliest,
    /// The next record to come.
    Latest,
    /// The record with this offset, or the next one where compaction left a gap.
    Offset(Offset),
    /// The first record with this timestamp or a later one, or else the next record to come.
    Time(Timestamp),
    /// The record with an offset that was learnt in an epoch, or
    /// [`Error::Truncated`](crate::Error::Truncated) if a truncation or a crash has cut it off
    /// since, also when the offset was assigned again.
    InEpoch {
        /// The offset.
        offset: Offset,
        /// Its epoch: [`Reader::epoch`](crate::Reader::epoch). A negative one, Kafka's "unknown",
        /// is not checked.
        epoch: Epoch,
    },
}

impl From<(Offset, Epoch)> for Start {
    fn from((offset, epoch): (Offset, Epoch)) -> Self {
        Self::InEpoch { offset, epoch }
    }
}

impl From<Offset> for Start {
    fn from(offset: Offset) -> Self {
        Self::Offset(offset)
    }
}

impl From<Timestamp> for Start {
    fn from(at: Timestamp) -> Self {
        Self::Time(at)
    }
}

/// What an append survives once it has returned.
///
/// | | the process is killed | a power cut |
/// | --- | --- | --- |
/// | [`Os`](Durability::Os) | everything survives | data that was not yet written back is lost |
/// | [`Interval`](Durability::Interval) | everything survives | the last interval may be lost |
/// | [`Always`](Durability::Always) | everything survives | everything survives |
///
/// What was appended before a [`Log::flush`](crate::Log::flush) survives a power cut with any
/// setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// An append returns when the operating system has the bytes: Kafka's default, too.
    #[default]
    Os,
    /// As [`Os`](Self::Os), and appended bytes are synced at least this often.
    Interval(Duration),
    /// An append returns when it is synced; appends of several threads share one sync.
    Always,
}

/// How batches are packed. A codec that this build lacks is
/// [`Error::Unsupported`](crate::Error::Unsupported).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// As they are.
    #[default]
    None,
    /// gzip: slow and small.
    Gzip,
    /// Snappy: fast, in the framing that Kafka's clients write.
    Snappy,
    /// LZ4 frames: the fastest.
    Lz4,
    /// Zstandard: small and fast.
    Zstd,
}

/// What happens to old records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CleanupPolicy {
    /// Retention deletes whole segments.
    #[default]
    Delete,
    /// Compaction keeps the newest record of every key forever.
    Compact,
    /// Both: compaction, and retention of whole segments.
    CompactAndDelete,
}

impl CleanupPolicy {
    pub(crate) const fn deletes(self) -> bool {
        matches!(self, Self::Delete | Self::CompactAndDelete)
    }

    pub(crate) const fn compacts(self) -> bool {
        matches!(self, Self::Compact | Self::CompactAndDelete)
    }
}

/// Whose time a record carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// The record's own, or else the clock's at append.
    #[default]
    CreateTime,
    /// The clock's time at append, whatever the record says.
    LogAppendTime,
}

/// How appends reach the file. All modes write the same bytes and give the same guarantees, but
/// [`Mapped`](Self::Mapped) may end the process on a full disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WriteMode {
    /// A mapped window where that is known to be safe (ext4, tmpfs), plain writes elsewhere.
    #[default]
    Auto,
    /// A mapped window on any file system (on Linux; plain writes elsewhere). Where blocks cannot
    /// be reserved ahead (NFS, btrfs, ZFS), a full disk ends the process by a signal (SIGBUS) at
    /// the next append: acknowledged records survive as after a kill.
    Mapped,
    /// One `pwrite` an append.
    Pwrite,
}

/// What a reader sees of transactions of Kafka's producers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ReadIsolation {
    /// Every record up to the high watermark.
    #[default]
    ReadUncommitted,
    /// Only records that no open or aborted transaction holds.
    ReadCommitted,
}
