//! Setting bytes aside: what is no valid continuation of a log is moved to a file of its own, and
//! never deleted.
//!
//! Knows nothing about why. A quarantine file is durable before the bytes leave their segment.

use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, File};
use crate::error::{Error, IoContext, Result};
use crate::format::FileName;
use crate::types::{Offset, Position, Sabotage};

use super::files::{for_each_chunk, parent_of, remove_if_present};

/// Copies the bytes of a segment from a place on into a quarantine file, synced.
///
/// # Errors
///
/// When the source ends before the range does, an [`Error::Io`] of the kind `UnexpectedEof`. The
/// quarantine file is removed again: a short copy must not pass for the whole.
pub(crate) fn copy_aside(
    disk: &Disk,
    (log, base): (&Path, Offset),
    file: &File,
    range: Range<Position>,
) -> Result<PathBuf> {
    let dir = dir_of(log);
    let (path, aside) = create(disk, dir, base, range.start)?;
    let copied = for_each_chunk(file, log, range.clone(), |at, chunk| {
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

/// Renames the whole `.log` of a segment into quarantine and removes the other `files` of it.
pub(crate) fn move_aside(
    disk: &Disk,
    (log, base): (&Path, Offset),
    files: impl IntoIterator<Item = PathBuf>,
) -> Result<PathBuf> {
    let path = rename_aside(disk, log, base)?;
    for file in files.into_iter().filter(|file| file != log) {
        remove_if_present(disk, &file)?;
    }
    let dir = dir_of(log);
    disk.sync_dir(dir).at(dir, "sync")?;
    Ok(path)
}

/// Renames a file of a log into quarantine. The caller syncs the directory.
pub(crate) fn rename_aside(disk: &Disk, from: &Path, base: Offset) -> Result<PathBuf> {
    let dir = dir_of(from);
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

/// A name for the quarantine of a file that belongs to no segment, beside it and not taken yet.
pub(crate) fn free_name(disk: &Disk, path: &Path) -> Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut number = 0_u32;
    loop {
        let free = path.with_file_name(format!("{name}-{number}.quarantine"));
        if !disk.exists(&free).at(&free, "access")? {
            return Ok(free);
        }
        number = number.saturating_add(1);
    }
}

/// Renames a whole file that belongs to no segment into quarantine, durably.
pub(crate) fn rename_whole_aside(disk: &Disk, path: &Path) -> Result<PathBuf> {
    let quarantine = free_name(disk, path)?;
    disk.rename(path, &quarantine).at(path, "rename")?;
    let dir = dir_of(path);
    disk.sync_dir(dir).at(dir, "sync")?;
    Ok(quarantine)
}

/// Copies some bytes of a file that belongs to no segment into quarantine, durably.
pub(crate) fn copy_bytes_aside(disk: &Disk, path: &Path, bytes: &[u8]) -> Result<PathBuf> {
    let quarantine = free_name(disk, path)?;
    disk.replace(&quarantine, bytes).at(&quarantine, "write")?;
    Ok(quarantine)
}

/// The directory of a file, which has one.
fn dir_of(file: &Path) -> &Path {
    parent_of(file).unwrap_or(file)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dir::files::CHUNK_BYTES;
    use crate::disk::Access;
    use crate::disk::sim::Sim;
    use crate::format::file_name;

    #[test]
    fn a_copy_of_a_file_that_ends_early_is_an_error_and_leaves_nothing() {
        let (sim, dir) = (Sim::new(), Path::new("/log"));
        let disk = sim.disk();
        disk.create_dir(dir).unwrap();
        let path = dir.join(file_name::log(0));
        let length = CHUNK_BYTES + 100;
        sim.write_raw(&path, &vec![7; length]).unwrap();
        let file = disk.open(&path, Access::Read).unwrap();
        for missing in [1, 100, CHUNK_BYTES] {
            let range = Position(10)..Position::ZERO.plus(length + missing);
            let error = copy_aside(&disk, (&path, 0), &file, range).unwrap_err();
            let short = matches!(
                &error,
                Error::Io { source, .. } if source.kind() == ErrorKind::UnexpectedEof
            );
            assert!(short, "{error:?}");
            assert_eq!(sim.files().len(), 1, "{:?}", sim.files());
        }
        let range = Position(10)..Position::ZERO.plus(length);
        let copy = copy_aside(&disk, (&path, 0), &file, range).unwrap();
        assert_eq!(sim.read(copy).unwrap().len(), length - 10);
    }
}
