//! What opening a directory found and did, and what a log looks like from outside: plain values.
//!
//! Knows nothing about how any of it came about.

use std::path::PathBuf;
use std::time::Duration;

use crate::dir::Marks;
use crate::format::Corruption;
#[cfg(feature = "serde")]
use crate::types::serialized;
use crate::types::{Offset, Timestamp};

/// What [`Log::open`](crate::Log::open) or [`Broker::open`](crate::Broker::open) found and did.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct OpenReport {
    /// The last use ended with a close: nothing had to be recovered.
    pub clean: bool,
    /// Bytes of batches that were read and checked.
    pub scanned_bytes: u64,
    /// Bytes that were no valid continuation of the log and were set aside, in files whose paths
    /// the events name. Reserved space that nothing was written to is not counted.
    pub quarantined_bytes: u64,
    /// Valid batches among those bytes: a power cut may leave later pages and lose earlier ones.
    /// With [`LogConfig::strict_recovery`](crate::LogConfig::strict_recovery) opening refuses
    /// them instead.
    pub valid_batches_after_cut: u64,
    /// How long opening took.
    pub elapsed: Duration,
    /// Everything out of the ordinary, in the order in which it was met.
    pub events: Vec<OpenEvent>,
}

impl OpenReport {
    /// Takes over what another part of the same opening reports.
    pub(crate) fn merge(&mut self, other: Self) {
        self.clean &= other.clean;
        self.scanned_bytes = self.scanned_bytes.saturating_add(other.scanned_bytes);
        self.quarantined_bytes = self
            .quarantined_bytes
            .saturating_add(other.quarantined_bytes);
        self.valid_batches_after_cut = self
            .valid_batches_after_cut
            .saturating_add(other.valid_batches_after_cut);
        self.events.extend(other.events);
    }
}

/// Something out of the ordinary that opening met.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum OpenEvent {
    /// The tail was no valid continuation of the log: it was moved to a quarantine file, and the
    /// log goes on before it. This is what a crash leaves.
    #[non_exhaustive]
    TailSetAside {
        /// The segment file that was cut.
        #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::path"))]
        path: PathBuf,
        /// Where it was cut, in bytes.
        position: u64,
        /// The next offset to be assigned.
        kept_to: Offset,
        /// Bytes that were set aside.
        bytes: u64,
        /// Where they are now.
        #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::path"))]
        quarantine: PathBuf,
        /// What is wrong with the first of them.
        reason: Corruption,
    },
    /// An index did not fit its segment and was rebuilt.
    #[non_exhaustive]
    IndexRebuilt {
        /// The segment file it belongs to.
        #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::path"))]
        path: PathBuf,
    },
    /// A slot of the flushed marks holds bytes that are not a mark: a crash tore it, or it was
    /// damaged. The other slot of the pair holds; a log that has lost both is checked from its
    /// first byte.
    #[non_exhaustive]
    MarkUnreadable {
        /// The file of marks.
        #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::path"))]
        path: PathBuf,
        /// The place of the slot in it, in bytes.
        position: u64,
    },
    /// A file that an interrupted operation left behind was removed, or the operation finished.
    #[non_exhaustive]
    LeftoverSettled {
        /// The file.
        #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::path"))]
        path: PathBuf,
    },
    /// Something in a broker's directory is not what it should be, and was left as it is.
    #[non_exhaustive]
    LeftAlone {
        /// The file or directory.
        #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::path"))]
        path: PathBuf,
        /// What is odd about it.
        reason: String,
    },
    /// A broker's directory also holds files and directories that are not its own; they are left
    /// alone. Its own names are its own all the same: keep the directory for the broker.
    #[non_exhaustive]
    OtherThings {
        /// The directory.
        #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::path"))]
        path: PathBuf,
        /// The names of some of them, sorted.
        names: Vec<String>,
        /// How many there are.
        count: usize,
    },
    /// The directory lies on a network file system: what a sync is worth there, and whether a lock
    /// keeps out other machines, is up to its server and how it is mounted.
    #[non_exhaustive]
    NetworkFileSystem {
        /// The directory.
        #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::path"))]
        path: PathBuf,
        /// What kind it is, `NFS` for example.
        kind: &'static str,
    },
    /// A log of the broker cannot be used: it answers this error, and everything else works.
    #[non_exhaustive]
    LogUnusable {
        /// The directory of the log.
        #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::path"))]
        path: PathBuf,
        /// Why, as text; the log's own calls give the error itself.
        reason: String,
    },
    /// A committed offset pointed past the end of its partition, whose last records a power cut
    /// took; it was set back to the end.
    #[non_exhaustive]
    CommitSetBack {
        /// The group.
        group: String,
        /// The topic.
        topic: String,
        /// The partition.
        partition: crate::types::PartitionId,
        /// What was committed.
        committed: Offset,
        /// The end of the partition.
        end: Offset,
    },
}

/// The marks of a directory that cannot be read, for the report of an opening.
pub(crate) fn unreadable_marks(marks: &Marks) -> impl Iterator<Item = OpenEvent> + '_ {
    let places = marks.unreadable().into_iter();
    places.map(|position| OpenEvent::MarkUnreadable {
        path: marks.path().to_path_buf(),
        position,
    })
}

/// A segment of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SegmentInfo {
    /// The first offset that it may hold.
    pub base_offset: Offset,
    /// One past its last offset. Of a sealed segment, where the next one begins: gaps may lie
    /// before that.
    pub next_offset: Offset,
    /// Bytes of batches in it.
    pub size_bytes: u64,
    /// The largest timestamp in it; `None` when it is empty or was not looked at yet.
    pub newest: Option<Timestamp>,
    /// It is the one that appends go to.
    pub active: bool,
}
