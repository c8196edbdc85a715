//! The result of a repair.
//!
//! Knows nothing about how it is done.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use crate::format::Corruption;
use crate::recovery::{OpenEvent, OpenReport};
use crate::types::Offset;
#[cfg(feature = "serde")]
use crate::types::serialized;

use crate::doctor::verify::VerifyReport;

/// What [`repair`](crate::repair) found, did and left.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RepairReport {
    /// The directory.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::path"))]
    pub dir: PathBuf,
    /// The problems that [`verify`](crate::verify) found before the repair.
    pub found: VerifyReport,
    /// Bytes that were quarantined, and the files that hold them now.
    pub set_aside: Vec<SetAside>,
    /// Files without records that were rewritten: a catalog, a checkpoint.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::paths"))]
    pub rebuilt: Vec<PathBuf>,
    /// Partition directories that had been exchanged: from where to where each was moved.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "serialized::pairs_of_paths")
    )]
    pub put_back: Vec<(PathBuf, PathBuf)>,
    /// The remaining problems, and the logs as they are now.
    pub remaining: VerifyReport,
}

impl RepairReport {
    /// Whether everything can be opened and read now.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.remaining.is_sound()
    }

    /// Whether there was nothing to do, and nothing was done.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let nothing = self.set_aside.is_empty() && self.rebuilt.is_empty();
        nothing && self.put_back.is_empty() && self.found.is_spotless()
    }

    pub(crate) fn add_tails(&mut self, opened: &OpenReport) {
        for event in &opened.events {
            if let OpenEvent::TailSetAside {
                path,
                position,
                kept_to,
                bytes,
                quarantine,
                reason,
            } = event
            {
                self.set_aside.push(SetAside {
                    path: path.clone(),
                    position: *position,
                    bytes: *bytes,
                    // It is not known how many records these bytes would have become.
                    offsets: *kept_to..*kept_to,
                    quarantine: quarantine.clone(),
                    reason: reason.clone(),
                });
            }
        }
    }

    /// The number of bytes that were quarantined.
    #[must_use]
    pub fn bytes_set_aside(&self) -> u64 {
        self.set_aside.iter().map(|aside| aside.bytes).sum()
    }
}

impl fmt::Display for RepairReport {
    /// For people to read: one line for each thing that was done, and the state now.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for aside in &self.set_aside {
            writeln!(f, "{aside}")?;
        }
        for path in &self.rebuilt {
            writeln!(f, "rebuilt: {}", path.display())?;
        }
        for (from, to) in &self.put_back {
            writeln!(f, "put back: {} is {}", from.display(), to.display())?;
        }
        write!(f, "{}", self.remaining)
    }
}

/// Bytes that were quarantined.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SetAside {
    /// The file they were taken from.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::path"))]
    pub path: PathBuf,
    /// Where in it they began, in bytes.
    pub position: u64,
    /// How many there are.
    pub bytes: u64,
    /// The offsets whose records are lost with them, as far as known. Empty if only damaged bytes
    /// of kept records were quarantined, and for the tail that a crash left above the flushed
    /// bytes.
    pub offsets: Range<Offset>,
    /// The file that holds them now, yours to inspect and delete.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::path"))]
    pub quarantine: PathBuf,
    /// What is wrong with the first of them.
    pub reason: Corruption,
}

impl fmt::Display for SetAside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "set aside: {} bytes at {} of {}",
            self.bytes,
            self.position,
            self.path.display()
        )?;
        if !self.offsets.is_empty() {
            write!(f, ", offsets {}..{}", self.offsets.start, self.offsets.end)?;
        }
        write!(f, ", in {}: {}", self.quarantine.display(), self.reason)
    }
}
