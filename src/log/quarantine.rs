//! Setting bytes aside: what is no valid continuation of a log is moved to a file of its own, and
//! never deleted.
//!
//! Knows nothing about why. A quarantine file is durable before the bytes leave their segment.

use std::io::ErrorKind;
use std::ops::Range;
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
///
/// # Errors
///
/// When the source ends before the range does, an [`Error::Io`] of the kind `UnexpectedEof`. The
/// quarantine file is removed again: a short copy must not pass for the whole.
pub(crate) fn copy_aside(
    disk: &Disk,
    dir: &Path,
    segment: &Segment,
    file: &File,
    range: Range<Position>,
) -> Result<PathBuf> {
    let (path, aside) = create(disk, dir, segment.base_offset(), range.start)?;
    let from = segment.log_path();
    let copied = for_each_chunk(file, &from, range.clone(), |at, chunk| {
        let into = at.since(range.start);
        aside.write_at(into, chunk).at(&path, "write")
    });
    if let Err(error) = copied {
        disk.remove_file(&path).ok();
        return Err(error);
    }
    if Sabotage::QuarantineDeleted.is_on() {
        disk.remove_file(&path).at(&path, "remove")?;
    }
    aside.sync_data().at(&path, "sync")?;
    disk.sync_dir(dir).at(dir, "sync")?;
    Ok(path)
}

/// Reads a range of a file from its first byte to its last, chunk by chunk, with the place of each.
///
/// # Errors
///
/// When the file ends before the range does, an [`Error::Io`] of the kind `UnexpectedEof`.
pub(crate) fn for_each_chunk(
    file: &File,
    path: &Path,
    range: Range<Position>,
    mut use_chunk: impl FnMut(Position, &[u8]) -> Result<()>,
) -> Result<()> {
    let mut buffer = vec![0; COPY_BYTES.min(to_usize(range.end.since(range.start)))];
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

/// Renames the whole `.log` of a segment into quarantine and removes its indexes.
pub(crate) fn move_aside(disk: &Disk, dir: &Path, segment: &Arc<Segment>) -> Result<PathBuf> {
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
        if !disk.exists(&path).at(&path, "access")? {
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
            Err(error) if error.kind() != ErrorKind::NotFound => {
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
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
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
pub(crate) fn is_zero(file: &File, path: &Path, range: Range<Position>) -> Result<bool> {
    // What was reserved and never written, behind all data, is found without being read.
    let end = Position(file.data_end(range.start.0).at(path, "access")?).min(range.end);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Access;
    use crate::disk::sim::Sim;
    use crate::format::file_name;

    #[test]
    fn a_copy_of_a_file_that_ends_early_is_an_error_and_leaves_nothing() {
        let (sim, dir) = (Sim::new(), Path::new("/log"));
        let disk = sim.disk();
        disk.create_dir(dir).unwrap();
        let path = dir.join(file_name::log(0));
        let length = COPY_BYTES + 100;
        sim.write_raw(&path, &vec![7; length]).unwrap();
        let file = disk.open(&path, Access::Read).unwrap();
        let segment = Segment::sealed(dir.into(), 0, Position::ZERO.plus(length), 0);
        for missing in [1, 100, COPY_BYTES] {
            let range = Position(10)..Position::ZERO.plus(length + missing);
            let error = copy_aside(&disk, dir, &segment, &file, range).unwrap_err();
            let short = matches!(
                &error,
                Error::Io { source, .. } if source.kind() == ErrorKind::UnexpectedEof
            );
            assert!(short, "{error:?}");
            assert_eq!(sim.files().len(), 1, "{:?}", sim.files());
        }
        let range = Position(10)..Position::ZERO.plus(length);
        let copy = copy_aside(&disk, dir, &segment, &file, range).unwrap();
        assert_eq!(sim.read(copy).unwrap().len(), length - 10);
    }
}
