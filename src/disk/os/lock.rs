//! The lock of a directory, in three layers, for no single one keeps out every other process.
//!
//! Knows nothing about what is guarded. The existence of a lock file means nothing: every layer
//! ends with the process that holds it.
//!
//! - (L1) `flock` on the directory (Unix): holds when the lock file is unlinked or replaced.
//! - (L2) `flock` on the lock file (`LockFileEx` on Windows): keeps out every process that uses
//!   that call. On Windows the file cannot be removed meanwhile.
//! - (L3) An open-file-description lock on it (Linux): a JVM takes POSIX record locks, which
//!   `flock` neither sees nor stops.
//!
//! A lock is released by a call and not only by closing its file: a process that another thread is
//! starting has copies of all descriptors for a moment, which would keep the lock. A child of
//! `fork` without `exec` keeps it for as long as it has the descriptors, but does not make that
//! call: it would release the parent's lock.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::Path;

use super::{calls, open_regular};
use crate::disk::Owner;
use crate::disk::open_count::{OpenCount, Opened};

#[derive(Debug)]
#[cfg_attr(not(test), expect(dead_code, reason = "held for what their drop does"))]
pub(crate) struct OsLock {
    // In this order: a process that finds the directory free finds the file free too.
    file: Held,
    directory: Option<Held>,
}

#[derive(Debug)]
struct Held {
    file: File,
    owner: Owner,
    _opened: Opened,
}

impl Held {
    fn new(file: File, open: &OpenCount) -> Self {
        Self {
            file,
            owner: Owner::here(),
            _opened: open.opened(),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.owner.is_here() {
            return;
        }
        // Closing the file ends the locks as well, if there is no copy of the descriptor.
        calls::unlock_description(&self.file).ok();
        calls::unlock(&self.file).ok();
    }
}

/// How often to try when the lock file is replaced while it is being locked.
const ATTEMPTS: u32 = 8;

impl OsLock {
    /// `None` when another handle has any layer of it.
    pub(super) fn take(path: &Path, open: &OpenCount) -> io::Result<Option<Self>> {
        let directory = match lock_directory(path, open) {
            #[cfg(unix)]
            Layer::Held(directory) => Some(directory),
            #[cfg(unix)]
            Layer::Refused => return Ok(None),
            Layer::Missing => None,
        };
        for _ in 0..ATTEMPTS {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            keep_the_name(&mut options);
            let file = open_regular(path, &mut options)?;
            match calls::try_lock(&file) {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            let file = Held::new(file, open);
            if !calls::lock_description(&file.file)? {
                return Ok(None);
            }
            // If the file was replaced after it was opened, this lock keeps out no process.
            if is_at(&file.file, path)? {
                name_holder(&file.file);
                return Ok(Some(Self { file, directory }));
            }
        }
        Ok(None)
    }

    #[cfg(test)]
    pub(super) fn copies(&self) -> Vec<File> {
        let held = self.directory.iter().chain([&self.file]);
        held.filter_map(|held| held.file.try_clone().ok()).collect()
    }
}

/// Keeps the lock file from being removed or replaced while it is open.
#[cfg(windows)]
fn keep_the_name(options: &mut OpenOptions) {
    use std::os::windows::fs::OpenOptionsExt as _;
    const FILE_SHARE_READ: u32 = 1;
    const FILE_SHARE_WRITE: u32 = 2;
    options.share_mode(FILE_SHARE_READ | FILE_SHARE_WRITE);
}

/// Elsewhere (L1) and [`is_at`] serve for that.
#[cfg(not(windows))]
fn keep_the_name(_: &mut OpenOptions) {}

/// Writes the id of this process into the lock file, for other processes' error messages.
fn name_holder(mut file: &File) {
    let text = format!("{}\n", std::process::id());
    // It is only a hint, so a full disk is no error.
    file.set_len(0)
        .and_then(|()| file.write_all(text.as_bytes()))
        .ok();
}

enum Layer {
    #[cfg(unix)]
    Held(Held),
    #[cfg(unix)]
    Refused,
    Missing,
}

/// Takes (L1). A file system that cannot lock a directory leaves it to the other layers.
#[cfg(unix)]
fn lock_directory(path: &Path, open: &OpenCount) -> Layer {
    let directory = OpenOptions::new()
        .read(true)
        .open(crate::disk::parent(path));
    let Ok(directory) = directory else {
        return Layer::Missing;
    };
    match calls::try_lock(&directory) {
        Ok(()) => Layer::Held(Held::new(directory, open)),
        Err(TryLockError::WouldBlock) => Layer::Refused,
        Err(TryLockError::Error(_)) => Layer::Missing,
    }
}

#[cfg(not(unix))]
fn lock_directory(_: &Path, _: &OpenCount) -> Layer {
    Layer::Missing
}

/// Whether the path still names this file.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let open = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (open.dev(), open.ino())),
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The path cannot come to name another file while this one is open (`keep_the_name`).
#[cfg(not(unix))]
#[expect(
    clippy::unnecessary_wraps,
    reason = "the same call as where it can fail"
)]
fn is_at(_: &File, _: &Path) -> io::Result<bool> {
    Ok(true)
}
