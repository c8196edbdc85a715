//! Setting bytes aside: what is no valid continuation of a log is moved to a file of its own, and
//! never deleted.
//!
//! Knows nothing about why. A quarantine file is durable before the bytes leave their segment.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, File};
use crate::error::{Error, IoContext, Result};
use crate::format::FileName;
use crate::segment::Segment;
use crate::types::{Offset, Position, Sabotage, to_usize};

/// How much is copied at a time, in bytes.
const COPY_BYTES: usize = 256 << 10;

/// Copies the bytes of a segment from a place on into a quarantine file, synced.
pub(super) fn copy_aside(
    disk: &Disk,
    dir: &Path,
    segment: &Segment,
    file: &File,
    range: std::ops::Range<Position>,
) -> Result<PathBuf> {
    let (path, aside) = create(disk, dir, segment.base_offset(), range.start)?;
    let from = segment.log_path();
    let mut buffer = vec![0; COPY_BYTES.min(to_usize(range.end.since(range.start)))];
    let mut at = range.start;
    while at < range.end {
        let wanted = buffer.len().min(to_usize(range.end.since(at)));
        let Some(chunk) = buffer.get_mut(..wanted) else {
            break;
        };
        let read = file.read_at(at.0, chunk).at(&from, "read")?;
        if read == 0 {
            break;
        }
        let Some(chunk) = chunk.get(..read) else {
            break;
        };
        aside
            .write_at(at.since(range.start), chunk)
            .at(&path, "write")?;
        at = at.plus(read);
    }
    if Sabotage::QuarantineDeleted.is_on() {
        disk.remove_file(&path).at(&path, "remove")?;
    }
    aside.sync_data().at(&path, "sync")?;
    disk.sync_dir(dir).at(dir, "sync")?;
    Ok(path)
}

/// Renames the whole `.log` of a segment into quarantine and removes its indexes.
pub(super) fn move_aside(disk: &Disk, dir: &Path, segment: &Arc<Segment>) -> Result<PathBuf> {
    let path = rename_aside(disk, dir, &segment.log_path(), segment.base_offset())?;
    remove_indexes(disk, segment)?;
    disk.sync_dir(dir).at(dir, "sync")?;
    Ok(path)
}

/// Renames a file into quarantine.
pub(super) fn rename_aside(disk: &Disk, dir: &Path, from: &Path, base: Offset) -> Result<PathBuf> {
    let mut number = 0;
    let path = loop {
        let path = name(dir, base, Position::ZERO, number);
        if !disk.exists(&path).at(&path, "look at")? {
            break path;
        }
        number += 1;
    };
    disk.rename(from, &path).at(from, "rename")?;
    Ok(path)
}

/// Removes every file of a segment but its `.log`.
fn remove_indexes(disk: &Disk, segment: &Segment) -> Result<()> {
    let log = segment.log_path();
    for path in segment.paths().filter(|path| *path != log) {
        match disk.remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io(&path, "remove", error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn create(disk: &Disk, dir: &Path, base: Offset, position: Position) -> Result<(PathBuf, File)> {
    let mut number = 0;
    loop {
        let path = name(dir, base, position, number);
        match disk.create(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(Error::io(&path, "create", error)),
        }
    }
}

fn name(dir: &Path, base: Offset, position: Position, number: u32) -> PathBuf {
    dir.join(
        FileName::Quarantine {
            base,
            position,
            number,
        }
        .to_string(),
    )
}

/// Whether a range of a file holds only zeros: space that was reserved and never written.
pub(super) fn is_zero(file: &File, path: &Path, range: std::ops::Range<Position>) -> Result<bool> {
    // What was reserved and never written, behind all data, is found without being read.
    let end = Position(file.data_end(range.start.0).at(path, "look at")?).min(range.end);
    let mut buffer = vec![0; COPY_BYTES.min(to_usize(end.since(range.start)))];
    let mut at = range.start;
    while at < end {
        let wanted = buffer.len().min(to_usize(end.since(at)));
        let Some(chunk) = buffer.get_mut(..wanted) else {
            break;
        };
        let read = file.read_at(at.0, chunk).at(path, "read")?;
        let Some(chunk) = chunk.get(..read).filter(|chunk| !chunk.is_empty()) else {
            break;
        };
        if !are_zeros(chunk) {
            return Ok(false);
        }
        at = at.plus(read);
    }
    Ok(true)
}

/// In strides without an exit, which become wide instructions.
fn are_zeros(bytes: &[u8]) -> bool {
    let stride = |bytes: &[u8]| bytes.iter().fold(0, |all, byte| all | byte) == 0;
    bytes.chunks(1024).all(stride)
}
