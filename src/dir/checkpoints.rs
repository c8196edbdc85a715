//! What a Kafka broker's checkpoints say about its logs: how far each was flushed, and where it
//! starts.
//!
//! Knows nothing about topics but their names, and reads no batch: only names and lengths of files
//! are compared with the checkpoints.
//!
//! 1. After a clean shutdown of the broker everything in the directory is synced. The mark is then
//!    at the end of the last segment, and batches that do not reach the recovery point are damage.
//! 2. After any other shutdown only the segments below the one with the recovery point are safe. A
//!    compacted log gets no mark: behind one, a gap between segments counts as left by a crash, and
//!    the broker's cleaner makes such gaps.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, EntryKind, is_unusable_file};
use crate::error::{IoContext, Result};
use crate::format::checkpoint::{self, PartitionOffset};
use crate::format::{DirName, FileKind, FileName, Mark, MarkKey, Stage, file_name};
use crate::types::{Offset, PartitionId, Position};

use super::RootFacts;
use super::files::parent_of;

type Name = (String, PartitionId);

#[derive(Debug)]
pub(crate) struct LogFiles {
    dir: PathBuf,
    exists: bool,
    bases: Vec<Offset>,
    pub(crate) digests: Vec<PathBuf>,
}

impl LogFiles {
    pub(crate) fn list(disk: &Disk, dir: &Path) -> Result<Self> {
        let mut files = Self {
            dir: dir.to_path_buf(),
            exists: disk.exists(dir).at(dir, "look at")?,
            bases: Vec::new(),
            digests: Vec::new(),
        };
        if !files.exists {
            return Ok(files);
        }
        for entry in disk.list(dir).at(dir, "list")? {
            let parsed = FileName::parse(&entry.name);
            let FileName::Segment {
                base,
                kind,
                stage: Stage::Live,
            } = parsed
            else {
                continue;
            };
            match kind {
                _ if entry.kind != EntryKind::File => {}
                FileKind::Log => files.bases.push(base),
                FileKind::Digest => files.digests.push(dir.join(entry.name)),
                _ => {}
            }
        }
        files.bases.sort_unstable();
        Ok(files)
    }
}

#[derive(Debug)]
pub(crate) struct Checkpoints {
    clean: bool,
    recovery_points: BTreeMap<Name, Offset>,
    starts: BTreeMap<Name, Offset>,
    cleaned: BTreeMap<Name, Offset>,
}

impl Checkpoints {
    pub(crate) fn read(disk: &Disk, root: &Path, clean: bool) -> Result<Self> {
        Ok(Self {
            clean,
            recovery_points: read_offsets(disk, root, file_name::RECOVERY_POINTS)?,
            starts: read_offsets(disk, root, file_name::LOG_STARTS)?,
            cleaned: read_offsets(disk, root, file_name::CLEANED)?,
        })
    }

    /// The mark of a log by these checkpoints; `None` if they say nothing.
    pub(crate) fn mark(
        &self,
        disk: &Disk,
        (key, topic): (MarkKey, &str),
        files: &LogFiles,
        is_compacted: bool,
    ) -> Result<Option<Mark>> {
        let name = (topic.to_owned(), key.partition);
        let flushed = self.recovery_points.get(&name).copied();
        let start = self.starts.get(&name).copied();
        let mark = Mark {
            key,
            sequence: 1,
            cleaned_offset: self.cleaned.get(&name).copied().unwrap_or(0),
            ..Mark::default()
        };
        if self.clean {
            return at_the_end(disk, mark, files, flushed, start);
        }
        let Some(first) = files.bases.first().copied().filter(|_| !is_compacted) else {
            return Ok(None);
        };
        let safe = flushed.unwrap_or(first);
        let base = files.bases.iter().rev().find(|base| **base <= safe);
        let base = base.copied().unwrap_or(first);
        Ok(Some(Mark {
            flushed_offset: base,
            segment_base: base,
            log_start_offset: start.unwrap_or(0).max(first),
            ..mark
        }))
    }
}

/// The mark after a clean shutdown (I1).
fn at_the_end(
    disk: &Disk,
    mark: Mark,
    files: &LogFiles,
    flushed: Option<Offset>,
    start: Option<Offset>,
) -> Result<Option<Mark>> {
    let (Some(first), Some(last)) = (files.bases.first(), files.bases.last()) else {
        let start = start.unwrap_or(0);
        let flushed = flushed.unwrap_or(0).max(start);
        let lost = flushed > start;
        // Nothing was ever written, or all of it is lost. A missing directory is reported as such,
        // and may come back as it was.
        let has_mark = flushed > 0 && files.exists;
        return Ok(has_mark.then_some(Mark {
            flushed_offset: flushed,
            position: if lost {
                Mark::NOTHING_FOUND
            } else {
                Position::ZERO
            },
            segment_base: start,
            log_start_offset: start,
            by_broker: true,
            ..mark
        }));
    };
    let path = files.dir.join(file_name::log(*last));
    Ok(Some(Mark {
        flushed_offset: flushed.unwrap_or(0).max(*last),
        position: Position(disk.file_len(&path).at(&path, "look at")?),
        segment_base: *last,
        // A broker records a start only above the base of the first segment.
        log_start_offset: start.unwrap_or(*first),
        by_broker: true,
        ..mark
    }))
}

/// The mark of a partition that is inspected alone; `None` unless a broker has used its root since
/// Ottla did and shut down cleanly.
pub(crate) fn mark_alone(
    disk: &Disk,
    root: &Path,
    dir: &Path,
    key: MarkKey,
) -> Result<Option<Mark>> {
    // The root's problems are reported with its own files.
    let Ok(facts) = RootFacts::of(disk, root) else {
        return Ok(None);
    };
    let name = dir.file_name().and_then(|name| name.to_str());
    let (true, Some(DirName::Partition { topic, .. })) =
        (facts.is_newer() && facts.clean, name.map(DirName::parse))
    else {
        return Ok(None);
    };
    debug_assert_eq!(parent_of(dir), Some(root), "a partition of another root");
    let checkpoints = Checkpoints::read(disk, root, true)?;
    checkpoints.mark(disk, (key, topic), &LogFiles::list(disk, dir)?, false)
}

/// Reads an offset checkpoint. A missing file is empty, and so is one that cannot be decoded: a
/// broker would not have started with it.
pub(crate) fn read_offsets(disk: &Disk, root: &Path, name: &str) -> Result<BTreeMap<Name, Offset>> {
    let path = root.join(name);
    let bytes = match disk.read_small(&path, checkpoint::SIZE_MAX) {
        // `verify` reports it, and text that cannot be decoded as well.
        Err(error) if is_unusable_file(&error) => None,
        bytes => bytes.at(&path, "read")?,
    };
    let lines = checkpoint::decode_offsets(&bytes.unwrap_or_default()).unwrap_or_default();
    let entry = |line: PartitionOffset| ((line.topic, line.partition), line.offset);
    Ok(lines.into_iter().map(entry).collect())
}
