//! Directories that are removed with their handle, or, after their process was killed, when the
//! next one is made beside them.
//!
//! Knows nothing about what is kept in them.
//!
//! 1. The lock of a directory is held while it is in use: one that is not locked is left over.
//! 2. A new directory is not locked at first. A process that finds it then removes it, and its
//!    maker makes another one.
//! 3. Every user can write to the parents. So a name that exists is never used, and only a real
//!    directory of this user is removed: no other user can put a link in its place.

use std::fs::{self, DirBuilder};
use std::io;
use std::path::{Path, PathBuf};

use super::OsDisk;
use super::lock::OsLock;
use crate::disk::Owner;
use crate::format::file_name;
use crate::sync::{Ordering, ProcessAtomicU64};

const PREFIX: &str = "ottla-temporary-";

/// The directory of the contents, beside the lock (1).
const CONTENTS: &str = "data";

/// Where Linux keeps files in memory.
const SHARED_MEMORY: &str = "/dev/shm";

/// With fewer bytes free, memory is not used.
#[cfg(target_os = "linux")]
const ROOM_MIN: u64 = 32 << 20;

const ATTEMPTS: u32 = 10_000;

static NUMBER: ProcessAtomicU64 = ProcessAtomicU64::new(0);

/// Dropping it removes the directory, but not in a forked process.
#[derive(Debug)]
pub(crate) struct TemporaryDir {
    path: PathBuf,
    owner: Owner,
    /// Released when the directory is removed.
    _lock: OsLock,
}

impl TemporaryDir {
    /// Makes one in memory if there is room, else in the system's directory for temporary files.
    pub(crate) fn new() -> io::Result<Self> {
        if has_room(Path::new(SHARED_MEMORY))
            && let Ok(made) = Self::inside(Path::new(SHARED_MEMORY))
        {
            return Ok(made);
        }
        Self::inside(&std::env::temp_dir())
    }

    /// Makes one, and its parent if need be; removes what killed processes of this user left there.
    pub(crate) fn inside(parent: &Path) -> io::Result<Self> {
        let parent = std::path::absolute(parent)?;
        fs::create_dir_all(&parent)?;
        let disk = OsDisk::unsynced();
        // What cannot be removed is no reason to refuse a new one.
        remove_leftovers(&disk, &parent).ok();
        for _ in 0..ATTEMPTS {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = parent.join(format!("{PREFIX}{}-{number}", std::process::id()));
            match make(&path) {
                Err(taken) if taken.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made?,
            }
            match OsLock::take(&path.join(file_name::LOCK), &disk.open) {
                // Another process took it for a leftover (2).
                Ok(None) => {}
                Err(gone) if gone.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    fs::remove_dir_all(&path).ok();
                    return Err(error);
                }
                Ok(Some(lock)) => {
                    return Ok(Self {
                        path,
                        owner: Owner::here(),
                        _lock: lock,
                    });
                }
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Where the contents belong. The directory is not made yet.
    pub(crate) fn contents(&self) -> PathBuf {
        self.path.join(CONTENTS)
    }
}

impl Drop for TemporaryDir {
    fn drop(&mut self) {
        if self.owner.is_here() {
            // What cannot be removed now is removed when the next one is made here.
            fs::remove_dir_all(&self.path).ok();
        }
    }
}

/// Makes a directory for this user alone.
fn make(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    let builder = {
        let mut builder = DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder
    };
    #[cfg(not(unix))]
    let builder = DirBuilder::new();
    builder.create(path)
}

#[cfg(target_os = "linux")]
fn has_room(dir: &Path) -> bool {
    let Ok(opened) = fs::File::options().read(true).open(dir) else {
        return false;
    };
    super::calls::lies_on(&opened) == crate::disk::LiesOn::Tmpfs
        && super::calls::bytes_free(&opened).is_some_and(|free| free >= ROOM_MIN)
}

#[cfg(not(target_os = "linux"))]
fn has_room(_: &Path) -> bool {
    false
}

/// Removes directories that are not locked (1).
fn remove_leftovers(disk: &OsDisk, parent: &Path) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        let named = |name: &str| name.starts_with(PREFIX);
        if !entry.file_name().to_str().is_some_and(named) || !is_ours(&entry.path()) {
            continue;
        }
        let path = entry.path();
        // The process that gets the lock removes it; in use, or removed already, it is left alone.
        if let Ok(Some(lock)) = OsLock::take(&path.join(file_name::LOCK), &disk.open) {
            fs::remove_dir_all(&path).ok();
            drop(lock);
        }
    }
    Ok(())
}

/// Whether this is a directory, not a link to one, and this user's (3).
fn is_ours(path: &Path) -> bool {
    let Ok(found) = fs::symlink_metadata(path) else {
        return false;
    };
    #[cfg(unix)]
    if std::os::unix::fs::MetadataExt::uid(&found) != super::calls::user() {
        return false;
    }
    found.is_dir()
}

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
