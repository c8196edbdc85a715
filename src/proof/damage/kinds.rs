//! The ways in which a file is damaged, and what that hits.
//!
//! Knows nothing about what follows from it.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::subjects::{Subject, contents};
use crate::disk::sim::Sim;
use crate::format::BatchHeader;
use crate::types::Offset;

/// One way to damage one file.
#[derive(Clone, Debug)]
pub(super) struct Wound {
    path: PathBuf,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    /// The bit so many eighths into the file.
    Flip(u64),
    /// Zeros over so many bytes, so many eighths into the file.
    Zero(u64, usize),
    /// The file is cut so many eighths into it.
    Truncate(u64),
    /// The file is cut at the end of its first batch.
    TruncateAtBatch,
    Delete,
    /// The file changes places with another.
    Swap(PathBuf),
    /// What the file was at an earlier time.
    Stale,
}

/// What was hit.
#[derive(Clone, Debug, Default)]
pub(super) struct Hit {
    /// Records that may be lost.
    pub(super) offsets: Vec<Range<Offset>>,
    /// It is no more known how far the log had been flushed.
    pub(super) forgets_the_end: bool,
}

/// Every wound of every file.
pub(super) fn wounds(subject: &Subject) -> Vec<Wound> {
    let files: Vec<PathBuf> = contents(&subject.sim).into_keys().collect();
    let mut wounds = Vec::new();
    for path in &files {
        if path.file_name().is_some_and(|name| name == ".lock") {
            continue;
        }
        let mut add = |kind| {
            let path = path.clone();
            wounds.push(Wound { path, kind });
        };
        for eighths in 0..8 {
            add(Kind::Flip(eighths));
        }
        add(Kind::Zero(0, 64));
        add(Kind::Zero(3, 512));
        add(Kind::Zero(6, 4096));
        add(Kind::Truncate(0));
        add(Kind::Truncate(4));
        add(Kind::TruncateAtBatch);
        add(Kind::Delete);
        add(Kind::Stale);
        let others = files.iter().filter(|other| *other > path);
        for other in others
            .filter(|other| other.extension() == path.extension())
            .take(2)
        {
            add(Kind::Swap(other.clone()));
        }
    }
    wounds
}

impl Wound {
    /// Whether it takes bytes away and leaves no trace of them.
    pub(super) fn shortens(&self) -> bool {
        matches!(
            self.kind,
            Kind::Truncate(_) | Kind::TruncateAtBatch | Kind::Delete | Kind::Stale
        )
    }

    /// Damages the disk; `None` when that changes nothing.
    pub(super) fn inflict(&self, subject: &Subject, sim: &Sim) -> Option<Hit> {
        let before = sim.read(&self.path).ok()?;
        let place = |eighths: u64| before.len() * usize::try_from(eighths).unwrap() / 8;
        let mut hit = Hit {
            forgets_the_end: self.path.ends_with("ottla.marks") || subject.flushed == 0,
            ..Hit::default()
        };
        match &self.kind {
            Kind::Flip(eighths) => {
                let mut bytes = before.clone();
                *bytes.get_mut(place(*eighths))? ^= 1 << eighths;
                sim.write_raw(&self.path, &bytes).unwrap();
            }
            Kind::Zero(eighths, length) => {
                let mut bytes = before.clone();
                let start = place(*eighths);
                let end = bytes.len().min(start + length);
                bytes.get_mut(start..end)?.fill(0);
                sim.write_raw(&self.path, &bytes).unwrap();
            }
            Kind::Truncate(eighths) => {
                sim.write_raw(&self.path, &before[..place(*eighths)])
                    .unwrap();
            }
            Kind::TruncateAtBatch => {
                let size = BatchHeader::parse(&before)
                    .ok()
                    .filter(|_| is_log(&self.path))?
                    .size;
                sim.write_raw(&self.path, before.get(..size)?).unwrap();
            }
            Kind::Delete => {
                sim.disk().remove_file(&self.path).unwrap();
                sim.disk().sync_dir(self.path.parent().unwrap()).unwrap();
            }
            Kind::Swap(other) => {
                let theirs = sim.read(other).ok()?;
                if theirs == before {
                    return None;
                }
                sim.write_raw(other, &before).unwrap();
                sim.write_raw(&self.path, &theirs).unwrap();
            }
            Kind::Stale => {
                let stale = subject.earlier.read(&self.path).ok()?;
                sim.write_raw(&self.path, &stale).unwrap();
                hit.forgets_the_end |= self.path.ends_with("ottla.marks");
            }
        }
        let after = sim.read(&self.path).ok();
        if after.as_ref() == Some(&before) {
            return None;
        }
        if is_log(&self.path) && !matches!(self.kind, Kind::Swap(_)) {
            hit.offsets = hit_batches(&before, after.as_deref().unwrap_or_default());
        }
        Some(hit)
    }
}

fn is_log(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "log")
}

/// The offsets of every batch that is not what it was.
fn hit_batches(before: &[u8], after: &[u8]) -> Vec<Range<Offset>> {
    let mut hit = Vec::new();
    let mut at = 0;
    while let Ok(header) = BatchHeader::parse(&before[at..]) {
        let range = at..at + header.size;
        if after.get(range.clone()) != before.get(range.clone()) {
            hit.push(header.base_offset..header.next_offset());
        }
        at = range.end;
    }
    hit
}
