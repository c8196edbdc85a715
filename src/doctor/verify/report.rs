//! What a look at a directory found: plain values.
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
    /// Somebody was writing the directory meanwhile: what was written last may be missing here, and
    /// leftovers of what was half-way may be reported. Damage that is reported was there each time
    /// that it was looked for.
    pub live: bool,
    /// Every log in it: one, or a broker's partitions by name.
    pub logs: Vec<LogCondition>,
    /// Everything that is not as it should be, in the order in which it was met.
    pub problems: Vec<Problem>,
}

impl VerifyReport {
    /// Whether nothing is damaged. Things that a crash leaves and that opening settles, or that
    /// are rebuilt from what is there, are no damage.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.worst() < Some(Severity::Damage)
    }

    /// Whether there is nothing at all to report.
    #[must_use]
    pub fn is_spotless(&self) -> bool {
        self.worst() <= Some(Severity::Note)
    }

    /// The gravest of the problems; `None` without one.
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
    /// A line a log and a line a problem, for people.
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

/// What one log holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LogCondition {
    /// The directory of the log.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::path"))]
    pub dir: PathBuf,
    /// The first offset that can be read.
    pub start_offset: Offset,
    /// One past the last offset.
    pub end_offset: Offset,
    /// Segment files.
    pub segments: u64,
    /// Bytes of whole, valid batches.
    pub bytes: u64,
    /// Valid batches.
    pub batches: u64,
    /// Records in them, those of transaction markers included.
    pub records: u64,
    /// Offsets between start and end that no valid batch covers: compaction leaves such gaps, and
    /// damage does.
    pub missing_offsets: u64,
    /// Every index is there and every entry of it is true.
    pub indexes_agree: bool,
    /// Segments whose digest is there and fits.
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
                "indexes are to be rebuilt"
            }
        )
    }
}

/// How grave a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Severity {
    /// Worth knowing, and no harm.
    Note,
    /// Nothing is lost: what is wrong is derived from what is there, and rebuilt by opening or
    /// when it is needed.
    Rebuildable,
    /// What a crash or a power cut leaves: the next opening settles it by itself. Nothing that was
    /// flushed is concerned.
    AfterCrash,
    /// Bytes that were safely written are not what they were. Opening refuses, or reading does;
    /// everything else is still there.
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
    /// How grave it is.
    pub severity: Severity,
    /// The file, or the directory, that is concerned.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::path"))]
    pub path: PathBuf,
    /// Where in the file it begins, in bytes.
    pub position: u64,
    /// How many bytes are concerned.
    pub bytes: u64,
    /// The offsets that are concerned, as far as they are known; empty where none are.
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
    /// The bytes are no batch, or a batch that does not belong there. Its records cannot be read.
    #[error("{reason}")]
    #[non_exhaustive]
    Batch {
        /// What is wrong with the first of them.
        reason: Corruption,
    },
    /// The first bytes of a batch are damaged, its records are not; what they were is known.
    #[error("the records are whole, but {reason}")]
    #[non_exhaustive]
    Prefix {
        /// What is wrong with them.
        reason: Corruption,
    },
    /// Every batch is valid, but they are those of another segment.
    #[error("the file holds the batches of another segment")]
    Misplaced,
    /// Every batch is valid, but the file is one of another log: directories changed places.
    #[error("the file is one of another log")]
    OtherLog,
    /// A file that must be there is missing, and the offsets with it.
    #[error("the file is missing")]
    Missing,
    /// The file is shorter than what was safely written to it.
    #[error("the file was {expected_bytes} bytes long")]
    #[non_exhaustive]
    Short {
        /// How long it was, in bytes.
        expected_bytes: u64,
    },
    /// Every batch is valid, but the bytes are not those that were sealed.
    #[error("the bytes are not those that the digest was made of")]
    Changed,
    /// What was flushed does not end where the flushed mark says.
    #[error("what was flushed does not end here: {reason}")]
    #[non_exhaustive]
    FlushedEnd {
        /// What stands there instead.
        reason: Corruption,
    },
    /// The end of the log above what was flushed is no valid continuation: opening sets it aside.
    #[error("the tail is to be set aside: {reason}")]
    #[non_exhaustive]
    Tail {
        /// What is wrong with its first bytes.
        reason: Corruption,
    },
    /// An index is missing, or an entry of it is wrong.
    #[error("the index does not fit its segment")]
    Index,
    /// A digest is torn, or of an earlier state of its segment.
    #[error("the digest does not fit its segment")]
    Digest,
    /// A slot of the flushed marks cannot be read; the other slot of the pair holds.
    #[error("a flushed mark is unreadable")]
    Mark,
    /// There is no flushed mark for this log: opening checks every byte of it.
    #[error("there is no flushed mark: opening checks everything")]
    Unmarked,
    /// An interrupted operation left this file; opening finishes or undoes it.
    #[error("left by an operation that was interrupted")]
    Unfinished,
    /// Space that was reserved and not given back; opening gives it back.
    #[error("reserved space was not given back")]
    Reserved,
    /// Bytes that were set aside earlier.
    #[error("bytes that were set aside earlier")]
    Quarantine,
    /// A small file cannot be read as what it is to be.
    #[error("the file is unreadable: {reason}")]
    #[non_exhaustive]
    Malformed {
        /// The rule that it breaks.
        reason: Corruption,
    },
    /// The system did not give the bytes.
    #[error("cannot be read: {error}")]
    #[non_exhaustive]
    Unreadable {
        /// The system's answer.
        error: String,
    },
    /// Records that this build cannot unpack, or that unpack to more than 64 MiB, were not looked
    /// at; their checksum is right.
    #[error("{batches} batches were not unpacked")]
    #[non_exhaustive]
    NotUnpacked {
        /// How many batches.
        batches: u64,
    },
    /// The directory says that it belongs to another topic than its name does.
    #[error("the directory says that it belongs to another topic")]
    OtherTopic,
    /// The directory holds records, but the catalog has no such partition.
    #[error("it holds records, but the catalog has no such partition")]
    Unlisted,
    /// The name means nothing here: it is left alone. A Kafka broker may refuse to start on it.
    #[error("the name means nothing here")]
    Foreign,
}
