//! Quarantine: what is no valid continuation of a log is moved to a file of its own, never deleted.
//!
//! Knows nothing about why. A quarantine file is durable before its bytes leave their segment.

use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, File};
use crate::error::{Error, IoContext, Result};
use crate::format::{FileName, file_name};
use crate::types::{Offset, Position, Sabotage};

use super::files::{for_each_chunk, parent_of, remove_if_present};

/// Copies a range of `file`, the `.log` of a segment, into a quarantine file, durably. If the
/// source ends early ([`Error::Io`] of the kind `UnexpectedEof`), the copy is removed again: it
/// must not pass for a complete one.
pub(crate) fn copy_aside(
    disk: &Disk,
    dir: &Path,
    base: Offset,
    file: &File,
    range: Range<Position>,
) -> Result<PathBuf> {
    let (path, aside) = create(disk, dir, base, range.start)?;
    let log = dir.join(file_name::log(base));
    let copied = for_each_chunk(file, &log, range.clone(), |at, chunk| {
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
    // Durable before this returns: the caller cuts the bytes off next, and a power cut must not
    // lose both copies.
    aside.sync_data().at(&path, "sync")?;
    disk.sync_dir(dir).at(dir, "sync")?;
    Ok(path)
}

/// Renames the whole `.log` of a segment and removes its other files.
pub(crate) fn move_aside(disk: &Disk, dir: &Path, base: Offset) -> Result<PathBuf> {
    let log = file_name::log(base);
    // The `.log` first: a crash in between loses only indexes, which can be rebuilt.
    let path = rename_aside(disk, dir, &log, base)?;
    let others = file_name::of_segment(base).into_iter();
    for name in others.filter(|name| *name != log) {
        remove_if_present(disk, &dir.join(name))?;
    }
    disk.sync_dir(dir).at(dir, "sync")?;
    Ok(path)
}

/// Renames a file to the next quarantine name of its segment. The caller syncs the directory.
pub(crate) fn rename_aside(disk: &Disk, dir: &Path, from: &str, base: Offset) -> Result<PathBuf> {
    let path = first_free(disk, |number| name(dir, base, Position::ZERO, number))?;
    let from = dir.join(from);
    disk.rename(&from, &path).at(&from, "rename")?;
    Ok(path)
}

/// Renames a file of no segment to `<name>-<number>.quarantine`, durably.
pub(crate) fn rename_whole_aside(disk: &Disk, path: &Path) -> Result<PathBuf> {
    let quarantine = name_beside(disk, path)?;
    disk.rename(path, &quarantine).at(path, "rename")?;
    let dir = parent_of(path).unwrap_or(path);
    disk.sync_dir(dir).at(dir, "sync")?;
    Ok(quarantine)
}

/// Writes bytes to such a name, durably.
pub(crate) fn copy_bytes_aside(disk: &Disk, path: &Path, bytes: &[u8]) -> Result<PathBuf> {
    let quarantine = name_beside(disk, path)?;
    disk.replace(&quarantine, bytes).at(&quarantine, "write")?;
    Ok(quarantine)
}

fn name_beside(disk: &Disk, path: &Path) -> Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    first_free(disk, |number| {
        path.with_file_name(format!("{name}-{number}.quarantine"))
    })
}

fn first_free(disk: &Disk, name: impl Fn(u32) -> PathBuf) -> Result<PathBuf> {
    let mut number = 0;
    loop {
        let path = name(number);
        if !disk.exists(&path).at(&path, "access")? {
            return Ok(path);
        }
        number += 1;
    }
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
#[cfg(ottla_repository)]
mod tests;
