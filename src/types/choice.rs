//! The small choices a caller makes: where to start, what must survive, how bytes are packed.
//!
//! Knows nothing about how a choice is carried out.

use std::time::Duration;

use super::{Epoch, Offset, Timestamp};

/// Where reading begins.
///
/// `From<Offset>`, so that `log.reader(0)` reads plainly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Start {
    /// The oldest record that is still there.
    Earliest,
    /// The next record to come.
    Latest,
    /// The record with this offset, or the next one after it where compaction left a gap.
    Offset(Offset),
    /// The first record whose timestamp is at or after this one; the next record to come when
    /// no record is that late.
    Time(Timestamp),
    /// The record with an offset that was learnt in an epoch, if it is still that record:
    /// [`Error::Truncated`](crate::Error::Truncated) where a truncation or a crash has cut it off
    /// since, also when its offset was given out again.
    InEpoch {
        /// The offset.
        offset: Offset,
        /// The epoch that went with it: [`Reader::epoch`](crate::Reader::epoch). Kafka's "unknown",
        /// a negative one, is not checked.
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
/// [`Log::flush`](crate::Log::flush) makes everything appended before it survive a power cut,
/// whatever the setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// An append returns when the operating system has the bytes. This is Kafka's default, too.
    #[default]
    Os,
    /// The same, and appended bytes are synced at least this often.
    Interval(Duration),
    /// An append returns when it is synced; appends of several threads share one sync.
    Always,
}

/// How the records of a batch are packed. A decoder or encoder that was left out of the build
/// answers [`Error::Unsupported`](crate::Error::Unsupported).
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

/// What happens to old records when space or time is short: forgotten, or folded to the newest one
/// of every key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CleanupPolicy {
    /// Whole segments go when retention says so.
    #[default]
    Delete,
    /// The newest record of every key stays for ever.
    Compact,
    /// Both: compacted, and whole segments go when retention says so.
    CompactAndDelete,
}

impl CleanupPolicy {
    /// Retention applies.
    pub(crate) const fn deletes(self) -> bool {
        matches!(self, Self::Delete | Self::CompactAndDelete)
    }

    /// Compaction applies.
    pub(crate) const fn compacts(self) -> bool {
        matches!(self, Self::Compact | Self::CompactAndDelete)
    }
}

/// Whose time a record carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// The time that the record was given, or the clock's at append where it has none.
    #[default]
    CreateTime,
    /// The clock's time at append, whatever the record says.
    LogAppendTime,
}

/// How appends reach the file. All modes write the same bytes and give the same guarantees, but on
/// a full disk [`Mapped`](Self::Mapped) may end the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WriteMode {
    /// A mapped window where the file system is known to be safe for it (ext4, tmpfs), plain
    /// writes elsewhere.
    #[default]
    Auto,
    /// A mapped window on any file system (on Linux; plain writes elsewhere). Where blocks cannot
    /// be reserved ahead (NFS, btrfs, ZFS), a full disk ends the process by a signal (SIGBUS) at
    /// the next append: what was acknowledged is as after a kill. [`Auto`](Self::Auto) writes
    /// plainly there.
    Mapped,
    /// One `pwrite` an append.
    Pwrite,
}

/// What a reader sees of transactions that a Kafka producer wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ReadIsolation {
    /// Every record up to the high watermark.
    #[default]
    ReadUncommitted,
    /// Only records that no open or aborted transaction holds.
    ReadCommitted,
}
