//! The only place that knows the names of files and directories.
//!
//! Knows nothing about where they lie. The names are Kafka's; our own files have no suffix that
//! Kafka knows, so a broker leaves them alone:
//!
//! | name | in | what |
//! | --- | --- | --- |
//! | `N.log` `.index` `.timeindex` `.txnindex` | partition | segment with base N, 20 digits |
//! | `N.snapshot` | partition | producer state up to N |
//! | these `.deleted` `.cleaned` `.swap` | partition | deleted soon, in the making, to be renamed |
//! | `leader-epoch-checkpoint` `partition.metadata` | partition | epochs, topic id |
//! | `N.digest` | partition | ours: checksums of a sealed segment |
//! | `N-P-K.quarantine` | partition | ours: bytes cut from segment N at position P, the Kth time |
//! | `ottla.next` | partition | ours: the segment prepared ahead |
//! | `ottla.truncate` | partition | ours: a truncation that is under way |
//! | `*.tmp` | any | a file being replaced |
//! | `ottla.live` | root, log alone | ours: what a running writer publishes |
//! | `ottla.backup` | root, log alone | ours: the directory is a backup |
//! | `ottla.marks` `ottla.ballast` `.lock` | root, log alone | ours, but for Kafka's lock |
//! | `ottla.catalog` `ottla.root` `ottla.producers` | root | ours |
//! | `topic-P` | root | a partition |
//! | `topic-P.U-delete` `-future` `-stray` | root | U is a uuid of 32 hexadecimal digits |

use std::fmt;

use crate::types::{Offset, PartitionId, Position};

/// Held while a directory is open for writing.
pub(crate) const LOCK: &str = ".lock";
/// The topics of a root.
pub(crate) const CATALOG: &str = "ottla.catalog";
/// Whose a root is.
pub(crate) const ROOT: &str = "ottla.root";
/// The flushed marks of a root, or of a log alone.
pub(crate) const MARKS: &str = "ottla.marks";
/// What a running writer publishes for followers in other processes.
pub(crate) const LIVE: &str = "ottla.live";
/// Whether the directory is a backup, and a whole one.
pub(crate) const BACKUP: &str = "ottla.backup";
/// Space that is freed when a mark does not fit on a full disk.
pub(crate) const BALLAST: &str = "ottla.ballast";
pub(crate) const TRUNCATE: &str = "ottla.truncate";
pub(crate) const NEXT_SEGMENT: &str = "ottla.next";
/// Kafka's identity of a root.
pub(crate) const META_PROPERTIES: &str = "meta.properties";
/// The metadata that a broker starts from.
pub(crate) const BOOTSTRAP: &str = "bootstrap.checkpoint";
/// Kafka's directory of metadata; the next two files lie in it.
pub(crate) const CLUSTER_METADATA: &str = "__cluster_metadata-0";
pub(crate) const QUORUM_CHECKPOINT: &str = "00000000000000000000-0000000000.checkpoint";
/// Kafka's note of the last election.
pub(crate) const QUORUM_STATE: &str = "quorum-state";
/// Present while a root is cleanly closed.
pub(crate) const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
/// How far each partition is flushed.
pub(crate) const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
/// Where each partition starts, when not at its first segment.
pub(crate) const LOG_STARTS: &str = "log-start-offset-checkpoint";
pub(crate) const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";
/// How far each partition is compacted.
pub(crate) const CLEANED: &str = "cleaner-offset-checkpoint";
/// Our own: of which logs the snapshots of producers are known to be right.
pub(crate) const PRODUCERS: &str = "ottla.producers";
pub(crate) const LEADER_EPOCHS: &str = "leader-epoch-checkpoint";
pub(crate) const PARTITION_METADATA: &str = "partition.metadata";
/// The suffix of a file until it replaces another.
pub(crate) const TEMPORARY_SUFFIX: &str = ".tmp";

const OFFSET_DIGITS: usize = 20;

/// Files that are named by an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum FileKind {
    Log,
    /// Offsets to positions.
    Index,
    /// Timestamps to offsets.
    TimeIndex,
    /// Aborted transactions.
    TxnIndex,
    /// Producer state.
    Snapshot,
    /// Our checksums of a sealed segment.
    Digest,
}

impl FileKind {
    pub(crate) const ALL: [Self; 6] = [
        Self::Log,
        Self::Index,
        Self::TimeIndex,
        Self::TxnIndex,
        Self::Snapshot,
        Self::Digest,
    ];

    const fn suffix(self) -> &'static str {
        match self {
            Self::Log => ".log",
            Self::Index => ".index",
            Self::TimeIndex => ".timeindex",
            Self::TxnIndex => ".txnindex",
            Self::Snapshot => ".snapshot",
            Self::Digest => ".digest",
        }
    }
}

/// The suffix that says how far a segment file is from being in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Stage {
    #[default]
    Live,
    Deleted,
    /// Being written by compaction.
    Cleaned,
    /// Written by compaction, to be renamed into place.
    Swap,
}

impl Stage {
    const fn suffix(self) -> &'static str {
        match self {
            Self::Live => "",
            Self::Deleted => ".deleted",
            Self::Cleaned => ".cleaned",
            Self::Swap => ".swap",
        }
    }

    fn split(name: &str) -> (&str, Self) {
        for stage in [Self::Deleted, Self::Cleaned, Self::Swap] {
            if let Some(rest) = name.strip_suffix(stage.suffix()) {
                return (rest, stage);
            }
        }
        (name, Self::Live)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileName {
    Segment {
        /// The base offset; for a snapshot the offset that it is of.
        base: Offset,
        kind: FileKind,
        stage: Stage,
    },
    Quarantine {
        base: Offset,
        /// Where the quarantined bytes began in the `.log`.
        position: Position,
        /// Counts files from the same place.
        number: u32,
    },
    LeaderEpochs,
    PartitionMetadata,
    NextSegment,
    Marks,
    Lock,
    Ballast,
    Live,
    /// A replacement that was not finished.
    Temporary,
    /// A suffix of Kafka's behind something that is not 20 digits: not ours to touch, and a broker
    /// would not start on it.
    Misnamed,
    /// Neither ours nor Kafka's.
    Foreign,
}

impl FileName {
    pub(crate) const fn segment(base: Offset, kind: FileKind) -> Self {
        Self::Segment {
            base,
            kind,
            stage: Stage::Live,
        }
    }

    pub(crate) fn parse(name: &str) -> Self {
        match name {
            LEADER_EPOCHS => return Self::LeaderEpochs,
            PARTITION_METADATA => return Self::PartitionMetadata,
            NEXT_SEGMENT => return Self::NextSegment,
            MARKS => return Self::Marks,
            LOCK => return Self::Lock,
            BALLAST => return Self::Ballast,
            LIVE => return Self::Live,
            _ => {}
        }
        if name.ends_with(TEMPORARY_SUFFIX) {
            return Self::Temporary;
        }
        if let Some(stem) = name.strip_suffix(QUARANTINE_SUFFIX) {
            return parse_quarantine(stem).unwrap_or(Self::Foreign);
        }
        let (rest, stage) = Stage::split(name);
        for kind in FileKind::ALL {
            if let Some(stem) = rest.strip_suffix(kind.suffix()) {
                return match (parse_offset(stem), kind) {
                    (Some(base), _) => Self::Segment { base, kind, stage },
                    (None, FileKind::Digest) => Self::Foreign,
                    (None, _) => Self::Misnamed,
                };
            }
        }
        if stage == Stage::Live {
            Self::Foreign
        } else {
            Self::Misnamed
        }
    }
}

const QUARANTINE_SUFFIX: &str = ".quarantine";

impl fmt::Display for FileName {
    /// Writes nothing for the kinds without a name of their own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Segment { base, kind, stage } => {
                write!(f, "{base:020}{}{}", kind.suffix(), stage.suffix())
            }
            Self::Quarantine {
                base,
                position,
                number,
            } => write!(f, "{base:020}-{}-{number}{QUARANTINE_SUFFIX}", position.0),
            Self::LeaderEpochs => f.write_str(LEADER_EPOCHS),
            Self::PartitionMetadata => f.write_str(PARTITION_METADATA),
            Self::NextSegment => f.write_str(NEXT_SEGMENT),
            Self::Marks => f.write_str(MARKS),
            Self::Lock => f.write_str(LOCK),
            Self::Ballast => f.write_str(BALLAST),
            Self::Live => f.write_str(LIVE),
            Self::Temporary | Self::Misnamed | Self::Foreign => Ok(()),
        }
    }
}

fn parse_quarantine(stem: &str) -> Option<FileName> {
    let mut parts = stem.split('-');
    let (base, position, number) = (parts.next()?, parts.next()?, parts.next()?);
    let name = FileName::Quarantine {
        base: parse_offset(base)?,
        position: Position(parse_number(position)?),
        number: parse_number(number)?,
    };
    parts.next().is_none().then_some(name)
}

/// Parses exactly 20 digits that fit in 63 bits: what Kafka writes, and the only form that it reads
/// correctly.
fn parse_offset(digits: &str) -> Option<Offset> {
    if digits.len() != OFFSET_DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let offset: Offset = digits.parse().ok()?;
    i64::try_from(offset).is_ok().then_some(offset)
}

/// Whether `name` is a `.log` with a base offset of more than 63 bits.
pub(crate) fn is_beyond_every_offset(name: &str) -> bool {
    let Some(digits) = name.strip_suffix(FileKind::Log.suffix()) else {
        return false;
    };
    let is_number = digits.len() == OFFSET_DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
    is_number && parse_offset(digits).is_none()
}

pub(crate) fn log(base: Offset) -> String {
    FileName::segment(base, FileKind::Log).to_string()
}

pub(crate) fn index(base: Offset) -> String {
    FileName::segment(base, FileKind::Index).to_string()
}

pub(crate) fn time_index(base: Offset) -> String {
    FileName::segment(base, FileKind::TimeIndex).to_string()
}

/// Every file of a segment, the `.log` first: without it the others are leftovers.
pub(crate) fn of_segment(base: Offset) -> [String; 5] {
    [
        FileKind::Log,
        FileKind::Index,
        FileKind::TimeIndex,
        FileKind::TxnIndex,
        FileKind::Digest,
    ]
    .map(|kind| FileName::segment(base, kind).to_string())
}

/// Parses a number without sign or leading zero, so that a name has one spelling.
fn parse_number<N: std::str::FromStr>(digits: &str) -> Option<N> {
    let canonical = digits == "0" || !digits.starts_with(['0', '+', '-']);
    canonical.then(|| digits.parse().ok())?
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DirName<'a> {
    /// The topic is not empty, but may be illegal.
    Partition {
        topic: &'a str,
        partition: PartitionId,
    },
    /// `__cluster_metadata-N`.
    ClusterMetadata,
    Deleted,
    /// A replica that Kafka was moving here.
    Future,
    /// A partition that Kafka found without an owner.
    Stray,
    /// Anything else: a broker does not start beside such a directory.
    Foreign,
}

impl<'a> DirName<'a> {
    /// Splits at the last `-`, as Kafka does.
    pub(crate) fn parse(name: &'a str) -> Self {
        for (suffix, meaning) in [
            (DELETED_SUFFIX, Self::Deleted),
            ("-future", Self::Future),
            ("-stray", Self::Stray),
        ] {
            if let Some(stem) = name.strip_suffix(suffix) {
                // The part after the last '.' is a uuid; what is before it names the partition.
                let partition = stem.rsplit_once('.').map(|(front, _)| front);
                return match partition.and_then(split_partition) {
                    Some(_) => meaning,
                    None => Self::Foreign,
                };
            }
        }
        match split_partition(name) {
            Some(("__cluster_metadata", _)) => Self::ClusterMetadata,
            Some((topic, partition)) => Self::Partition { topic, partition },
            None => Self::Foreign,
        }
    }
}

const DELETED_SUFFIX: &str = "-delete";

fn split_partition(name: &str) -> Option<(&str, PartitionId)> {
    let (topic, partition) = name.rsplit_once('-')?;
    let partition: PartitionId = parse_number(partition)?;
    (!topic.is_empty() && i32::try_from(partition).is_ok()).then_some((topic, partition))
}

pub(crate) fn partition_dir(topic: &str, partition: PartitionId) -> String {
    format!("{topic}-{partition}")
}

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
