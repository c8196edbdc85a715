//! The result of examining a directory.
//!
//! Knows nothing about how any of it is found.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use crate::format::Corruption;
use crate::types::Offset;
#[cfg(feature = "serde")]
use crate::types::serialized;

/// What [`verify`](crate::verify) found in a directory.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct VerifyReport {
    /// The directory.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::path"))]
    pub dir: PathBuf,
    /// Another process was writing the directory: the newest writes may be missing here, and
    /// leftovers of an operation in progress may be reported. Reported damage was there at every
    /// look.
    pub live: bool,
    /// Every log in the directory, a broker's partitions by name.
    pub logs: Vec<LogCondition>,
    /// Everything that is not as it should be, in the order in which it was found.
    pub problems: Vec<Problem>,
}

impl VerifyReport {
    /// Whether nothing is damaged; what the next opening cleans up or rebuilds is not damage.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.worst() < Some(Severity::Damage)
    }

    /// Whether there is nothing at all to report.
    #[must_use]
    pub fn is_spotless(&self) -> bool {
        self.worst() <= Some(Severity::Note)
    }

    /// The most severe of the problems; `None` without problems.
    #[must_use]
    pub fn worst(&self) -> Option<Severity> {
        self.problems.iter().map(|problem| problem.severity).max()
    }

    /// The problems that are damage.
    pub fn damage(&self) -> impl Iterator<Item = &Problem> {
        let damage = |problem: &&Problem| problem.severity == Severity::Damage;
        self.problems.iter().filter(damage)
    }
}

impl fmt::Display for VerifyReport {
    /// One line per log and per problem, for people to read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.live {
            writeln!(f, "{}: somebody is writing it", self.dir.display())?;
        }
        for log in &self.logs {
            writeln!(f, "{log}")?;
        }
        for problem in &self.problems {
            writeln!(f, "{problem}")?;
        }
        Ok(())
    }
}

/// The contents of one log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LogCondition {
    /// The directory of the log.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::path"))]
    pub dir: PathBuf,
    /// The first offset that can be read.
    pub start_offset: Offset,
    /// The offset after the last record.
    pub end_offset: Offset,
    /// The number of segment files.
    pub segments: u64,
    /// The size of the valid batches in bytes.
    pub bytes: u64,
    /// The number of valid batches.
    pub batches: u64,
    /// The number of records in them, including transaction markers.
    pub records: u64,
    /// Offsets between start and end without a valid batch: left by compaction, or lost to damage.
    pub missing_offsets: u64,
    /// Every index exists and every entry of it is right.
    pub indexes_agree: bool,
    /// The number of segments whose digest exists and matches.
    pub digests: u64,
}

impl fmt::Display for LogCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: offsets {}..{}, {} records in {} batches, {} bytes in {} segments, {}",
            self.dir.display(),
            self.start_offset,
            self.end_offset,
            self.records,
            self.batches,
            self.bytes,
            self.segments,
            if self.indexes_agree {
                "indexes agree"
            } else {
                "indexes will be rebuilt"
            }
        )
    }
}

/// How severe a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Severity {
    /// Worth knowing, and harmless.
    Note,
    /// Nothing is lost: it is rebuilt from other files at the next opening or when it is needed.
    Rebuildable,
    /// What a crash or a power cut leaves: the next opening cleans it up. Flushed records are not
    /// affected.
    AfterCrash,
    /// Bytes that were safely written have changed. Opening or reading fails there;
    /// everything else is intact.
    Damage,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Rebuildable => "rebuildable",
            Self::AfterCrash => "after a crash",
            Self::Damage => "damage",
        })
    }
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Problem {
    /// How severe it is.
    pub severity: Severity,
    /// The file or directory concerned.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::path"))]
    pub path: PathBuf,
    /// Where in the file it begins, in bytes.
    pub position: u64,
    /// The number of bytes concerned.
    pub bytes: u64,
    /// The offsets concerned, as far as known; empty if no offset is.
    pub offsets: Range<Offset>,
    /// What is wrong.
    pub kind: ProblemKind,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.severity, self.path.display())?;
        if self.bytes > 0 {
            write!(f, ", {} bytes at {}", self.bytes, self.position)?;
        } else if self.position > 0 {
            write!(f, " at byte {}", self.position)?;
        }
        if !self.offsets.is_empty() {
            write!(f, ", offsets {}..{}", self.offsets.start, self.offsets.end)?;
        }
        write!(f, ": {}", self.kind)
    }
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ProblemKind {
    /// The bytes are not a valid batch, or not one that belongs there. Its records cannot be read.
    #[error("{reason}")]
    #[non_exhaustive]
    Batch {
        /// What is wrong with the first of them.
        reason: Corruption,
    },
    /// The first bytes of a batch are damaged; the right ones are known, and its records are whole.
    #[error("the records are whole, but {reason}")]
    #[non_exhaustive]
    Prefix {
        /// What is wrong with them.
        reason: Corruption,
    },
    /// The valid batches belong to another segment.
    #[error("the file holds the batches of another segment")]
    Misplaced,
    /// The valid batches belong to another log: directories were exchanged.
    #[error("the file belongs to another log")]
    OtherLog,
    /// A file that must exist is missing, and its offsets with it.
    #[error("the file is missing")]
    Missing,
    /// The file is shorter than what was safely written to it.
    #[error("the file is shorter than the {expected_bytes} bytes that were written")]
    #[non_exhaustive]
    Short {
        /// How long it was, in bytes.
        expected_bytes: u64,
    },
    /// Every batch is valid, but not what was sealed.
    #[error("the bytes are not the ones that were sealed")]
    Changed,
    /// The flushed bytes do not end where the flushed mark says.
    #[error("the flushed bytes do not end here: {reason}")]
    #[non_exhaustive]
    FlushedEnd {
        /// What is there instead.
        reason: Corruption,
    },
    /// The end of the log above the flushed bytes does not continue it: opening quarantines it.
    #[error("the tail will be quarantined: {reason}")]
    #[non_exhaustive]
    Tail {
        /// What is wrong with its first bytes.
        reason: Corruption,
    },
    /// An index is missing, or one of its entries is wrong.
    #[error("the index does not fit its segment")]
    Index,
    /// A digest is torn, or describes an earlier state of its segment.
    #[error("the digest does not fit its segment")]
    Digest,
    /// A slot of the flushed marks cannot be read; the other one of the pair is used.
    #[error("a flushed mark is unreadable")]
    Mark,
    /// There is no flushed mark for this log: opening checks every byte.
    #[error("there is no flushed mark: opening checks everything")]
    Unmarked,
    /// An interrupted operation left this file; opening finishes or undoes it.
    #[error("left by an operation that was interrupted")]
    Unfinished,
    /// Reserved space that the next opening releases.
    #[error("reserved space was not given back")]
    Reserved,
    /// Bytes that were quarantined earlier.
    #[error("bytes that were quarantined earlier")]
    Quarantine,
    /// A small file cannot be decoded.
    #[error("the file is unreadable: {reason}")]
    #[non_exhaustive]
    Malformed {
        /// The rule that it violates.
        reason: Corruption,
    },
    /// The bytes could not be read.
    #[error("cannot be read: {error}")]
    #[non_exhaustive]
    Unreadable {
        /// The error of the operating system.
        error: String,
    },
    /// Batches that this build cannot decompress, or that decompress to more than 64 MiB, were
    /// checked only by their checksums.
    #[error("{batches} batches were not unpacked")]
    #[non_exhaustive]
    NotUnpacked {
        /// How many batches.
        batches: u64,
    },
    /// The directory and its name say different topics.
    #[error("the directory says that it belongs to another topic")]
    OtherTopic,
    /// The directory holds records, but the catalog has no such partition.
    #[error("it holds records, but the catalog has no such partition")]
    Unlisted,
    /// The name has no meaning here and is left alone; a Kafka broker may refuse to start because
    /// of it.
    #[error("the name means nothing here")]
    Foreign,
}
