//! Finishes a truncation that a crash interrupted.
//!
//! Knows nothing about how it was begun (`log/truncate.rs`): its note says what is to be cut.

use std::path::Path;

use crate::dir::remove_if_present;
use crate::disk::{Access, Disk, EntryKind};
use crate::error::{Error, IoContext, Result};
use crate::format::{FileKind, FileName, Stage, TruncateIntent, file_name};
use crate::segment::Segment;
use crate::types::Offset;

pub(crate) fn finish_truncation(disk: &Disk, dir: &Path, intent: &TruncateIntent) -> Result<()> {
    remove_snapshots_above(disk, dir, intent.new_end)?;
    let path = dir.join(file_name::log(intent.segment_base));
    match disk.open(&path, Access::Write) {
        Ok(file) => {
            file.set_len(intent.position.0).at(&path, "truncate")?;
            file.write_at(intent.position.0, &intent.head)
                .at(&path, "write")?;
            file.sync_data().at(&path, "sync")
        }
        // The segment began empty and its name was not durable: the log ends where it would begin.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io(&path, "open", error)),
    }
}

pub(crate) fn remove_segment_files(disk: &Disk, segment: &Segment) -> Result<()> {
    for path in segment.paths() {
        remove_if_present(disk, &path)?;
    }
    Ok(())
}

/// Removes, durably, snapshots of producers above the new end: they would be believed once the log
/// has grown to their offset again.
pub(crate) fn remove_snapshots_above(disk: &Disk, dir: &Path, end: Offset) -> Result<()> {
    let mut removed = false;
    for entry in disk.list(dir).at(dir, "list")? {
        if let FileName::Segment {
            base,
            kind: FileKind::Snapshot,
            stage: Stage::Live,
        } = FileName::parse(&entry.name)
            && base > end
            && entry.kind == EntryKind::File
        {
            removed |= remove_if_present(disk, &dir.join(&entry.name))?;
        }
    }
    if removed {
        disk.sync_dir(dir).at(dir, "sync")?;
    }
    Ok(())
}
