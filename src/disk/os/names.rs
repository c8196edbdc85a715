//! Renaming, removing and making names durable, which systems do differently.
//!
//! Knows nothing about what a name means.
//!
//! 1. A file that is open can be removed and renamed over (D6). On Windows that holds if every
//!    program that has it open permits deletion, as std does. A program that does not (a virus
//!    scanner, a backup) closes it soon: the call is repeated for `PATIENCE`.
//! 2. On Windows a directory is flushed where the system permits it; where it refuses, only the
//!    file system's journal keeps the order of names.
//! 3. Where Windows does not rename over an open file (before Windows 10, and Wine), the open one
//!    is first renamed to `.deleted`, but only for a `.swap`: after a crash between the two renames
//!    the next opening finishes the swap, and removes the other file.

use std::fs;
use std::io;
use std::path::Path;
#[cfg(windows)]
use std::time::Duration;

#[cfg(windows)]
use crate::clock::Clock;
#[cfg(windows)]
use crate::sync::{Signal, deadline};

/// How long to repeat a call for a file that another program has open.
#[cfg(windows)]
const PATIENCE: Duration = Duration::from_secs(2);

#[cfg(windows)]
const PAUSE: Duration = Duration::from_millis(10);

#[cfg(not(windows))]
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

#[cfg(windows)]
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let first = fs::rename(from, to);
    if !first.as_ref().is_err_and(is_busy) {
        return first;
    }
    if from.extension().is_some_and(|suffix| suffix == "swap") {
        return repeated(|| replace_open(from, to));
    }
    repeated(|| fs::rename(from, to))
}

#[cfg(windows)]
fn replace_open(from: &Path, to: &Path) -> io::Result<()> {
    let mut aside = to.as_os_str().to_owned();
    aside.push(".deleted");
    fs::rename(to, &aside)?;
    fs::rename(from, to)?;
    // It stays until the last handle is closed. What a crash leaves, the next opening removes.
    fs::remove_file(&aside).ok();
    Ok(())
}

pub(super) fn remove_file(path: &Path) -> io::Result<()> {
    repeated(|| fs::remove_file(path))
}

pub(super) fn remove_dir(dir: &Path) -> io::Result<()> {
    repeated(|| fs::remove_dir(dir))
}

#[cfg(not(windows))]
fn repeated(call: impl Fn() -> io::Result<()>) -> io::Result<()> {
    call()
}

#[cfg(windows)]
fn repeated(call: impl Fn() -> io::Result<()>) -> io::Result<()> {
    let until = deadline(Clock::System.instant(), PATIENCE);
    let nobody = Signal::default();
    loop {
        let outcome = call();
        let busy = outcome.as_ref().is_err_and(is_busy);
        let now = Clock::System.instant();
        if !busy || until.is_none_or(|until| until <= now) {
            return outcome;
        }
        nobody.ticket().wait_until(deadline(now, PAUSE));
    }
}

/// `ERROR_ACCESS_DENIED`, `ERROR_SHARING_VIOLATION`, `ERROR_LOCK_VIOLATION`, or
/// `ERROR_DIR_NOT_EMPTY` of a directory whose files are being closed.
#[cfg(windows)]
fn is_busy(error: &io::Error) -> bool {
    error
        .raw_os_error()
        .is_some_and(|code| [5, 32, 33, 145].contains(&code))
}

#[derive(Debug)]
pub(crate) struct OsDir {
    /// `None` where the system opens no directory for this.
    dir: Option<fs::File>,
    synced: bool,
}

impl OsDir {
    pub(super) fn open(dir: &Path, synced: bool) -> io::Result<Self> {
        let dir = open_dir(dir)?;
        Ok(Self { dir, synced })
    }

    pub(in crate::disk) fn sync(&self) -> io::Result<()> {
        let Some(dir) = self.dir.as_ref().filter(|_| self.synced) else {
            return Ok(());
        };
        match dir.sync_all() {
            // (2)
            Err(error) if cfg!(windows) && error.kind() == io::ErrorKind::PermissionDenied => {
                Ok(())
            }
            synced => synced,
        }
    }
}

#[cfg(not(windows))]
fn open_dir(dir: &Path) -> io::Result<Option<fs::File>> {
    fs::OpenOptions::new().read(true).open(dir).map(Some)
}

/// Flushing a directory needs a handle that may write.
#[cfg(windows)]
fn open_dir(dir: &Path) -> io::Result<Option<fs::File>> {
    use std::os::windows::fs::OpenOptionsExt as _;
    const FILE_FLAG_BACKUP_SEMANTICS: u32 = 0x0200_0000;
    if !fs::metadata(dir)?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    let opened = fs::OpenOptions::new()
        .write(true)
        .custom_flags(FILE_FLAG_BACKUP_SEMANTICS)
        .open(dir);
    Ok(opened.ok())
}
