//! Floor 2: the only file system calls, the only memory map, the only `unsafe`.
//!
//! Knows nothing about what the bytes mean: no batch, no index, no segment. It answers
//! `io::Error` and leaves the path and the verb to the floors above, which know them.
//!
//! [`Disk`] and [`File`] have one variant in a release build, so they cost no tag and no branch.
//! Tests add the simulated disk, which keeps what was written apart from what was synced.
//!
//! What every floor above relies on:
//!
//! - (D1) Bytes are durable after [`File::sync_data`] of their file, names after
//!   [`Disk::sync_dir`] of their directory, and neither before. A file's name is not made durable
//!   by syncing the file.
//! - (D2) A rename is atomic: after a power cut the name is there with its old or its new file.
//!   Names within one directory become durable in the order in which they changed.
//! - (D3) A failed sync says nothing about what is on the disk, and neither does a later one of
//!   the same file that succeeds. Latch; do not retry.
//! - (D4) Interrupted calls (`EINTR`) are repeated here and never seen above.
//! - (D5) A file is opened only when it is a regular file, and a link in its place is not followed.
//! - (D6) A file that is open can be removed and renamed over; what has it open reads on.
//! - (D7) What [`File::data_end`] answers is never below the end of what was written: it may be
//!   anything between that and the end of the file.

mod appender;
mod copy;
mod file;
mod lies_on;
mod live;
mod map;
mod open_count;
mod os;
mod pause;
mod process;
#[cfg(any(all(test, ottla_repository), ottla_sim))]
pub(crate) mod sim;
#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use crate::format::file_name;
use crate::sync::OnceLock;
use crate::types::{Sabotage, Timestamp, to_u64};

pub(crate) use appender::Appender;
pub(crate) use lies_on::LiesOn;
pub(crate) use live::{LiveFile, boot};
pub(crate) use os::TemporaryDir;
pub(crate) use process::Owner;

use map::Map;
use open_count::OpenCount;
use os::{OsDir, OsDisk, OsFile, OsLock};
use pause::pause;
#[cfg(any(all(test, ottla_repository), ottla_sim))]
use sim::{Sim, SimDir, SimFile, SimLock};

/// Calls the same method of whichever variant is there.
macro_rules! either {
    ($value:expr, $variant:ident => $call:expr) => {
        match $value {
            Self::Os($variant) => {
                pause();
                $call
            }
            #[cfg(any(all(test, ottla_repository), ottla_sim))]
            Self::Sim($variant) => $call,
        }
    };
}

use either;

/// Where files live: the operating system, or a simulation of it.
#[derive(Clone, Debug)]
pub(crate) enum Disk {
    /// The operating system.
    Os(OsDisk),
    /// A disk in memory, whose power a test can cut.
    #[cfg(any(all(test, ottla_repository), ottla_sim))]
    Sim(Sim),
}

/// An open file. Every call takes `&self` and says where it reads or writes: there is no cursor.
#[derive(Debug)]
pub(crate) enum File {
    /// A file of the operating system.
    Os(OsFile),
    /// A file of the simulation.
    #[cfg(any(all(test, ottla_repository), ottla_sim))]
    Sim(SimFile),
}

// What the test variant costs a user's build: nothing.
#[cfg(not(any(all(test, ottla_repository), ottla_sim)))]
const _: () = assert!(size_of::<File>() == size_of::<OsFile>());

/// A held lock. Dropping it gives it back and leaves its file in place.
#[derive(Debug)]
#[must_use = "the lock is given back when this is dropped"]
#[expect(dead_code, reason = "held for what its drop does")]
pub(crate) enum Lock {
    /// A lock of the operating system: the process's end gives it back too.
    Os(OsLock),
    /// A lock of the simulation.
    #[cfg(any(all(test, ottla_repository), ottla_sim))]
    Sim(SimLock),
}

/// An open directory, whose names can be made durable.
#[derive(Debug)]
pub(crate) enum Dir {
    /// A directory of the operating system.
    Os(OsDir),
    /// A directory of the simulation.
    #[cfg(any(all(test, ottla_repository), ottla_sim))]
    Sim(SimDir),
}

/// Which file it is, whatever its name: two files that exist at the same time never have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    number: u64,
    /// When it was made, for numbers are given again.
    made: Timestamp,
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Reading alone; works on a read-only file system.
    Read,
    /// Reading and writing.
    Write,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    /// The name, without the directory.
    pub(crate) name: String,
    /// What stands behind it.
    pub(crate) kind: EntryKind,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// Anything else: a link, a pipe, a device, or a name that is not UTF-8.
    Other,
}

impl Disk {
    /// The operating system's disk.
    pub(crate) fn os() -> Self {
        Self::Os(OsDisk::new())
    }

    /// The same without syncs, for what is removed with its last handle.
    pub(crate) fn unsynced() -> Self {
        Self::Os(OsDisk::unsynced())
    }

    /// The same path from the root of the file system on. A path is made absolute once, where a
    /// caller hands it in: a relative one would stand for something else after the process has
    /// changed its working directory.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for an empty path; what the system answers when the working directory is
    /// gone.
    pub(crate) fn absolute(&self, path: &Path) -> io::Result<PathBuf> {
        match self {
            Self::Os(_) => std::path::absolute(path),
            #[cfg(any(all(test, ottla_repository), ottla_sim))]
            Self::Sim(_) => Ok(path.to_path_buf()),
        }
    }

    /// Makes one directory, in a parent that exists. A directory that is there already is left as
    /// it is. The name is durable once the caller has synced the parent.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` when the name is taken by something else than a directory; `NotFound` when
    /// the parent is missing.
    pub(crate) fn create_dir(&self, dir: &Path) -> io::Result<()> {
        either!(self, disk => disk.create_dir(dir))
    }

    /// The names in a directory, in no particular order.
    pub(crate) fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        either!(self, disk => disk.list(dir))
    }

    /// Opens a regular file that exists.
    ///
    /// # Errors
    ///
    /// `NotFound` when it is not there; `InvalidInput` when the name stands for anything but a
    /// regular file (a link is refused by the system with an error of its own).
    pub(crate) fn open(&self, path: &Path, access: Access) -> io::Result<File> {
        match self {
            Self::Os(disk) => {
                pause();
                let file = disk.open(path, access)?;
                if access == Access::Write && file.is_shared()? {
                    // Of a backup by hard links: the other name keeps what it has.
                    return self.unshare(path, &File::Os(file));
                }
                Ok(File::Os(file))
            }
            #[cfg(any(all(test, ottla_repository), ottla_sim))]
            Self::Sim(sim) => sim.open(path, access).map(File::Sim),
        }
    }

    /// Makes an empty file and opens it for reading and writing. Its name is durable once the
    /// caller has synced the directory.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` when the name is taken, by whatever.
    pub(crate) fn create(&self, path: &Path) -> io::Result<File> {
        match self {
            Self::Os(disk) => {
                pause();
                disk.create(path).map(File::Os)
            }
            #[cfg(any(all(test, ottla_repository), ottla_sim))]
            Self::Sim(sim) => sim.create(path).map(File::Sim),
        }
    }

    /// Gives a file or directory another name in the same directory, in place of the file that has
    /// it. The change is durable once the caller has synced that directory.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when the two names are in different directories: no single sync would make
    /// such a move durable.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if from.parent() != to.parent() {
            let reason = "a rename stays inside one directory";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        either!(self, disk => disk.rename(from, to))
    }

    /// Removes a file's name. A process that has it open goes on reading it.
    pub(crate) fn remove_file(&self, path: &Path) -> io::Result<()> {
        either!(self, disk => disk.remove_file(path))
    }

    /// Removes an empty directory.
    pub(crate) fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        either!(self, disk => disk.remove_dir(dir))
    }

    /// Makes the names in a directory durable, not what stands behind them. On Windows, which has
    /// no such call, it does nothing.
    pub(crate) fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.open_dir(dir)?.sync()
    }

    /// Opens a directory for a later [`Dir::sync`]: for callers who must not fail for want of a
    /// descriptor once they have begun, and to whom a failed sync means something else than a
    /// directory that cannot be opened.
    pub(crate) fn open_dir(&self, dir: &Path) -> io::Result<Dir> {
        match self {
            Self::Os(disk) => {
                pause();
                disk.open_dir(dir).map(Dir::Os)
            }
            #[cfg(any(all(test, ottla_repository), ottla_sim))]
            Self::Sim(sim) => Ok(Dir::Sim(sim.open_dir(dir))),
        }
    }

    /// How many files are open through this disk and its clones.
    pub(crate) fn open_files(&self) -> usize {
        self.open_count().own()
    }

    /// How many files this process has open through any disk; `None` where they take none of its
    /// descriptors.
    pub(crate) fn open_files_of_process(&self) -> Option<usize> {
        self.open_count().of_all()
    }

    /// How many threads to use for many calls that wait for the disk.
    pub(crate) fn calls_at_once(&self) -> usize {
        match self {
            Self::Os(disk) if disk.is_synced() => CALLS_AT_ONCE,
            // Nothing waits for the disk.
            Self::Os(_) => 1,
            // What happens there is the same in every run, down to the order of the calls.
            #[cfg(any(all(test, ottla_repository), ottla_sim))]
            Self::Sim(_) => 1,
        }
    }

    fn open_count(&self) -> &OpenCount {
        match self {
            Self::Os(disk) => disk.open_count(),
            #[cfg(any(all(test, ottla_repository), ottla_sim))]
            Self::Sim(sim) => sim.open_count(),
        }
    }

    /// Whether anything has this name, be it a link to nothing.
    pub(crate) fn exists(&self, path: &Path) -> io::Result<bool> {
        either!(self, disk => disk.exists(path))
    }

    /// The length of a file in bytes, without opening it.
    pub(crate) fn file_len(&self, path: &Path) -> io::Result<u64> {
        either!(self, disk => disk.file_len(path))
    }

    /// Which file has this name.
    pub(crate) fn file_id(&self, path: &Path) -> io::Result<FileId> {
        either!(self, disk => disk.file_id(path))
    }

    /// When a file was last written, as the file system remembers it.
    pub(crate) fn modified(&self, path: &Path) -> io::Result<Timestamp> {
        either!(self, disk => disk.modified(path))
    }

    /// Sets when a file was last written: Kafka keeps that time through compaction, for retention
    /// falls back on it.
    pub(crate) fn set_modified(&self, path: &Path, time: Timestamp) -> io::Result<()> {
        either!(self, disk => disk.set_modified(path, time))
    }

    /// Takes the lock that this file stands for, making the file when it is missing. `None` when
    /// somebody else holds it: another handle of this process, another process, a JVM.
    ///
    /// At most one lock is held in a directory, for the directory is locked with it: so that a
    /// lock file that was unlinked or replaced behind its holder does not let a second one in.
    pub(crate) fn lock(&self, path: &Path) -> io::Result<Option<Lock>> {
        match self {
            Self::Os(disk) => {
                pause();
                Ok(disk.lock(path)?.map(Lock::Os))
            }
            #[cfg(any(all(test, ottla_repository), ottla_sim))]
            Self::Sim(sim) => Ok(sim.lock(path)?.map(Lock::Sim)),
        }
    }

    /// Whether somebody has the lock that a file stands for, as far as the system tells a process
    /// that does not want to take it: on Linux it does, elsewhere the answer is no.
    pub(crate) fn is_locked(&self, path: &Path) -> io::Result<bool> {
        either!(self, disk => disk.is_locked(path))
    }

    /// The first bytes of a file, as many as there are and `buf` takes, for a caller that checks
    /// them: what it is that they come from is not looked at.
    pub(crate) fn read_front(&self, path: &Path, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Os(disk) => {
                pause();
                disk.read_front(path, buf)
            }
            #[cfg(any(all(test, ottla_repository), ottla_sim))]
            Self::Sim(sim) => sim.open(path, Access::Read)?.read_at(0, buf),
        }
    }

    /// A whole small file; `None` when it is not there.
    ///
    /// # Errors
    ///
    /// `InvalidData` when it is longer than `limit` bytes: nothing of it was read.
    pub(crate) fn read_small(&self, path: &Path, limit: usize) -> io::Result<Option<Vec<u8>>> {
        let file = match self.open(path, Access::Read) {
            Ok(file) => file,
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let len = file.len()?;
        let Some(len) = usize::try_from(len).ok().filter(|len| *len <= limit) else {
            let reason = format!("{len} bytes long, where at most {limit} can be right");
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        };
        let mut bytes = vec![0; len];
        let read = file.read_at(0, &mut bytes)?;
        bytes.truncate(read);
        Ok(Some(bytes))
    }

    /// Puts `bytes` in place of a whole file (or makes it): the one atomic replacement. Durable
    /// when it returns.
    ///
    /// The bytes go to `<name>.tmp`, which is synced, renamed, and its directory synced: so a
    /// power cut leaves the old content or the new one, and maybe a `.tmp` file, which the next
    /// replacement removes.
    ///
    /// # Errors
    ///
    /// The first call that fails. The name then stands for the old content or, when the last sync
    /// failed, for the new one, which may or may not survive. What cannot be opened fails first,
    /// with the old content in place.
    pub(crate) fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let temporary = with_suffix(path, ".tmp");
        // Before the rename: behind it, a lack of descriptors could not be told from a failed sync.
        let dir = self.open_dir(parent(path))?;
        let write = || {
            self.write_whole(&temporary, bytes)
                .and_then(|()| self.rename(&temporary, path))
        };
        let outcome = match write() {
            Err(full) if is_full(&full) && self.spend_ballast(parent(path)) => write(),
            outcome => outcome,
        };
        if outcome.is_err() {
            // The first error is the one to tell; a leftover is removed by the next replacement.
            self.remove_file(&temporary).ok();
            return outcome;
        }
        if Sabotage::RenameNotSynced.is_on() {
            return Ok(());
        }
        dir.sync()
    }

    /// Sets some space aside in a directory, for the small writes without which a full disk could
    /// not be freed: they take it when there is no other. Does nothing where all of it is there.
    ///
    /// # Errors
    ///
    /// `StorageFull` when there is too little left; nothing is kept of it then.
    pub(crate) fn make_ballast(&self, dir: &Path) -> io::Result<()> {
        let path = dir.join(file_name::BALLAST);
        let (file, there) = match self.file_len(&path) {
            Ok(len) if len >= BALLAST_BYTES => return Ok(()),
            Ok(len) => (self.open(&path, Access::Write)?, len),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (self.create(&path)?, 0),
            Err(error) => return Err(error),
        };
        let reserve = |to: u64| match file.reserve(there, to.saturating_sub(there)) {
            Err(error) if !is_full(&error) => {
                file.write_at(there, &incompressible(to.saturating_sub(there)))
            }
            reserved => reserved,
        };
        // A smaller one is better than none.
        let steps = (1..=BALLAST_BYTES / BALLAST_STEP).rev();
        let sizes = steps.map(|step| step.saturating_mul(BALLAST_STEP));
        let mut reserved = Ok(());
        for size in sizes.take_while(|size| *size > there) {
            reserved = reserve(size);
            if reserved.is_ok() {
                break;
            }
        }
        if reserved.is_err() && there == 0 {
            self.remove_file(&path)?;
        }
        reserved
    }

    /// Gives up the space that was set aside in a directory; false when nothing was.
    fn spend_ballast(&self, dir: &Path) -> bool {
        ballasts_of(dir).any(|path| self.remove_file(&path).is_ok())
    }

    fn write_whole(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let file = match self.create(path) {
            Err(taken) if taken.kind() == io::ErrorKind::AlreadyExists => {
                self.remove_file(path)?;
                self.create(path)?
            }
            file => file?,
        };
        file.write_at(0, bytes)?;
        if Sabotage::RenameBeforeSync.is_on() {
            return Ok(());
        }
        file.sync_data()
    }
}

/// How much space is set aside: enough for the files of a root, and for what a file system that
/// copies on every write needs besides.
const BALLAST_BYTES: u64 = 1 << 20;

/// Where there is not so much, the steps in which less is tried.
const BALLAST_STEP: u64 = 64 << 10;

/// Bytes that no file system stores in less space.
fn incompressible(count: u64) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let bytes = (0..count).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    });
    bytes.collect()
}

/// Where space may be set aside for the files in a directory: a partition has none of its own.
fn ballasts_of(dir: &Path) -> impl Iterator<Item = PathBuf> {
    let dirs = [Some(dir), dir.parent()].into_iter().flatten();
    dirs.map(|dir| dir.join(file_name::BALLAST))
}

/// Whether a call failed because the disk, or a quota, is full.
fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// Whether reading a small file failed because of what stands in its place: something longer than
/// it can be, or no file at all. What it held can then be taken for lost.
pub(crate) fn is_no_such_file(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, NotFound};
    matches!(error.kind(), InvalidData | InvalidInput | NotFound)
}

/// How many files this process may keep open: half of `RLIMIT_NOFILE` as it was when this was asked
/// first, for the other half is the program's own.
///
/// No more than [`OPEN_FILES_MAX`] in any case: a file that is appended to also takes one of the
/// 65,530 memory maps that Linux allows a process.
pub(crate) fn open_files_max() -> usize {
    static HALF: OnceLock<usize> = OnceLock::new();
    *HALF.get_or_init(|| {
        let half = os::descriptors_max().map_or(usize::MAX, |limit| limit / 2);
        half.clamp(1, OPEN_FILES_MAX)
    })
}

/// More than processors, for these threads wait, and not so many that a small machine notices.
const CALLS_AT_ONCE: usize = 8;

/// About half of the memory maps that a process may have.
const OPEN_FILES_MAX: usize = 32_000;

impl Dir {
    /// Makes the names in the directory durable, not what stands behind them.
    ///
    /// # Errors
    ///
    /// See (D3).
    pub(crate) fn sync(&self) -> io::Result<()> {
        either!(self, dir => dir.sync())
    }
}

/// The directory that holds `path`.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// The place `bytes` after `position`.
fn advance(position: u64, bytes: usize) -> u64 {
    position.saturating_add(to_u64(bytes))
}
