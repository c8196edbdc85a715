//! Small file operations that several modules share.
//!
//! Knows nothing about what the files hold.

use std::io::ErrorKind;
use std::ops::Range;
use std::path::Path;

use crate::disk::{Disk, File};
use crate::error::{Error, IoContext, Result};
use crate::types::{Position, to_usize};

pub(super) const CHUNK_BYTES: usize = 256 << 10;

/// Returns whether the file existed.
pub(crate) fn remove_if_present(disk: &Disk, path: &Path) -> Result<bool> {
    match disk.remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io(path, "remove", error)),
    }
}

/// Returns whether the file existed.
pub(crate) fn rename_if_present(disk: &Disk, from: &Path, to: &Path) -> Result<bool> {
    match disk.rename(from, to) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io(from, "rename", error)),
    }
}

/// The parent of a path; for a bare name the current directory.
pub(crate) fn parent_of(path: &Path) -> Option<&Path> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Some(Path::new(".")),
        parent => parent,
    }
}

/// [`Disk::replace`], but writes nothing if the file holds these bytes already.
pub(crate) fn replace_if_other(disk: &Disk, path: &Path, bytes: &[u8]) -> Result<()> {
    let there = disk.read_small(path, bytes.len()).ok().flatten();
    if there.as_deref() == Some(bytes) {
        return Ok(());
    }
    disk.replace(path, bytes).at(path, "write")
}

/// Passes each chunk of a range with its position. A file that ends too early is an [`Error::Io`]
/// of the kind `UnexpectedEof`.
pub(crate) fn for_each_chunk(
    file: &File,
    path: &Path,
    range: Range<Position>,
    mut use_chunk: impl FnMut(Position, &[u8]) -> Result<()>,
) -> Result<()> {
    let mut buffer = vec![0; CHUNK_BYTES.min(to_usize(range.end.since(range.start)))];
    let mut at = range.start;
    while at < range.end {
        let wanted = buffer.len().min(to_usize(range.end.since(at)));
        let chunk = buffer.get_mut(..wanted).unwrap_or_default();
        let read = file.read_at(at.0, chunk).at(path, "read")?;
        let chunk = chunk.get(..read).unwrap_or_default();
        if chunk.is_empty() {
            return Err(Error::io(path, "read", ErrorKind::UnexpectedEof.into()));
        }
        use_chunk(at, chunk)?;
        at = at.plus(read);
    }
    Ok(())
}

pub(crate) fn is_zero(file: &File, path: &Path, range: Range<Position>) -> Result<bool> {
    // Reserved space behind all data is recognized without reading it.
    let end = Position(file.data_end(range.start.0).at(path, "access")?).min(range.end);
    let mut buffer = vec![0; CHUNK_BYTES.min(to_usize(end.since(range.start)))];
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

/// Tests chunks without an early exit, which compile to wide instructions.
fn are_zeros(bytes: &[u8]) -> bool {
    let stride = |bytes: &[u8]| bytes.iter().fold(0, |all, byte| all | byte) == 0;
    bytes.chunks(1024).all(stride)
}
