//! What opening a directory found and did, and a log as seen from outside.
//!
//! Knows nothing about how any of it is found out.

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
    /// Bytes that did not continue the log and were quarantined, in files that the events name;
    /// without reserved space that was never written.
    pub quarantined_bytes: u64,
    /// Valid batches among those bytes: a power cut may leave later pages and lose earlier ones.
    /// With [`LogConfig::strict_recovery`](crate::LogConfig::strict_recovery) opening refuses them.
    pub valid_batches_after_cut: u64,
    /// How long opening took.
    pub elapsed: Duration,
    /// Everything out of the ordinary, in the order in which it was found.
    pub events: Vec<OpenEvent>,
}

impl OpenReport {
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

/// Something out of the ordinary that opening found.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum OpenEvent {
    /// The tail did not continue the log and was moved to a quarantine file, as after a crash.
    #[non_exhaustive]
    TailSetAside {
        /// The segment file that was cut.
        #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::path"))]
        path: PathBuf,
        /// Where it was cut, in bytes.
        position: u64,
        /// The next offset to be assigned.
        kept_to: Offset,
        /// How many bytes were quarantined.
        bytes: u64,
        /// The file that holds them now.
        #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::path"))]
        quarantine: PathBuf,
        /// What is wrong with the first of them.
        reason: Corruption,
    },
    /// An index did not match its segment and was rebuilt.
    #[non_exhaustive]
    IndexRebuilt {
        /// The segment file it belongs to.
        #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::path"))]
        path: PathBuf,
    },
    /// A slot of the flushed marks was torn by a crash, or damaged. The other slot of the pair is
    /// used; a log that lost both is checked from its first byte.
    #[non_exhaustive]
    MarkUnreadable {
        /// The file of marks.
        #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::path"))]
        path: PathBuf,
        /// The position of the slot in it, in bytes.
        position: u64,
    },
    /// The leftover file of an interrupted operation was removed, or the operation finished.
    #[non_exhaustive]
    LeftoverSettled {
        /// The file.
        #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::path"))]
        path: PathBuf,
    },
    /// Something odd in a broker's directory was left as it is.
    #[non_exhaustive]
    LeftAlone {
        /// The file or directory.
        #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::path"))]
        path: PathBuf,
        /// What is odd about it.
        reason: String,
    },
    /// A broker's directory also holds other entries. They are left alone, but the broker's own
    /// names are always treated as its own: reserve the directory for the broker.
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
    /// The directory is on a network file system: the worth of a sync there, and whether a lock
    /// excludes other machines, depends on its server and on how it is mounted.
    #[non_exhaustive]
    NetworkFileSystem {
        /// The directory.
        #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::path"))]
        path: PathBuf,
        /// What kind it is, `NFS` for example.
        kind: &'static str,
    },
    /// A log of the broker cannot be used: its calls return this error. Everything else works.
    #[non_exhaustive]
    LogUnusable {
        /// The directory of the log.
        #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::path"))]
        path: PathBuf,
        /// The reason as text.
        reason: String,
    },
    /// A committed offset was past the end of its partition, which lost records in a power cut; it
    /// was set back to the end.
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
    /// The first offset that it can hold.
    pub base_offset: Offset,
    /// One past its last offset; for a sealed segment, where the next one begins, perhaps behind a
    /// gap.
    pub next_offset: Offset,
    /// The size of its batches, in bytes.
    pub size_bytes: u64,
    /// The largest timestamp in it; `None` if it is empty or was not looked up yet.
    pub newest: Option<Timestamp>,
    /// Whether appends go to it.
    pub active: bool,
}
