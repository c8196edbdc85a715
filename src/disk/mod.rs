//! Floor 2: the only file system calls, the only memory map, the only `unsafe`.
//!
//! Knows nothing about what the bytes mean: no batch, no index, no segment. Errors are `io::Error`:
//! the floors above know the path and the verb.
//!
//! [`Disk`] and [`File`] have one variant in a release build, so they cost no tag and no branch.
//! Tests add the simulated disk, which keeps what was written apart from what was synced.
//!
//! What every floor above relies on:
//!
//! - (D1) Bytes are durable after [`File::sync_data`] of their file, names after [`Disk::sync_dir`]
//!   of their directory, and neither before or by the other.
//! - (D2) A rename is atomic: after a power cut the name is there with its old or its new file.
//!   Names within one directory become durable in the order in which they changed.
//! - (D3) A failed sync says nothing about what is on the disk, nor does a later successful one of
//!   the same file. So callers latch the error and do not retry.
//! - (D4) Interrupted calls (`EINTR`) are repeated here and never seen above.
//! - (D5) Only a regular file is opened, and a link in its place is not followed.
//! - (D6) A file that is open can be removed and renamed over; handles that have it open still read
//!   it.
//! - (D7) [`File::data_end`] is anywhere between the end of what was written and the file's end.

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

#[derive(Clone, Debug)]
pub(crate) enum Disk {
    Os(OsDisk),
    /// In memory; a test can cut its power.
    #[cfg(any(all(test, ottla_repository), ottla_sim))]
    Sim(Sim),
}

/// An open file. Every call takes `&self` and a position: there is no cursor.
#[derive(Debug)]
pub(crate) enum File {
    Os(OsFile),
    #[cfg(any(all(test, ottla_repository), ottla_sim))]
    Sim(SimFile),
}

/// The largest file that is read at once: marks of four million logs, a catalog, a note of a
/// truncation. A longer one is damaged.
pub(crate) const SMALL_FILE_BYTES_MAX: usize = 1 << 30;

// What the test variant costs a user's build: nothing.
#[cfg(not(any(all(test, ottla_repository), ottla_sim)))]
const _: () = assert!(size_of::<File>() == size_of::<OsFile>());

/// A lock that is held. Dropping it releases the lock and leaves its file in place.
#[derive(Debug)]
#[must_use = "the lock is given back when this is dropped"]
#[expect(dead_code, reason = "held for what its drop does")]
pub(crate) enum Lock {
    /// The end of the process releases it too.
    Os(OsLock),
    #[cfg(any(all(test, ottla_repository), ottla_sim))]
    Sim(SimLock),
}

/// A directory that is open to be synced.
#[derive(Debug)]
pub(crate) enum Dir {
    Os(OsDir),
    #[cfg(any(all(test, ottla_repository), ottla_sim))]
    Sim(SimDir),
}

/// The identity of a file: two files that exist at the same time never have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    number: u64,
    /// When the file was made, because numbers are reused.
    made: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// For reading, also on a read-only file system.
    Read,
    Write,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) kind: EntryKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EntryKind {
    File,
    Dir,
    /// A link, a pipe, a device, or a name that is not UTF-8.
    Other,
}

impl Disk {
    pub(crate) fn os() -> Self {
        Self::Os(OsDisk::new())
    }

    /// A disk whose syncs do nothing, for files that are removed with their last handle.
    pub(crate) fn unsynced() -> Self {
        Self::Os(OsDisk::unsynced())
    }

    /// Makes a caller's path absolute: a relative one would mean something else after the process
    /// has changed its working directory. `InvalidInput` for an empty one.
    pub(crate) fn absolute(&self, path: &Path) -> io::Result<PathBuf> {
        match self {
            Self::Os(_) => std::path::absolute(path),
            #[cfg(any(all(test, ottla_repository), ottla_sim))]
            Self::Sim(_) => Ok(path.to_path_buf()),
        }
    }

    /// Creates a directory unless it exists. The name is durable once the caller has synced the
    /// parent. `AlreadyExists` if the name is not a directory's, `NotFound` without a parent.
    pub(crate) fn create_dir(&self, dir: &Path) -> io::Result<()> {
        either!(self, disk => disk.create_dir(dir))
    }

    /// The entries of a directory, in no particular order.
    pub(crate) fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        either!(self, disk => disk.list(dir))
    }

    /// `NotFound` without a file, `InvalidInput` for anything but a regular one (the system refuses
    /// a link with an error of its own).
    pub(crate) fn open(&self, path: &Path, access: Access) -> io::Result<File> {
        match self {
            Self::Os(disk) => {
                pause();
                let file = disk.open(path, access)?;
                if access == Access::Write && file.is_shared()? {
                    // It is part of a backup by hard links: the other name keeps its bytes.
                    return self.unshare(path, &File::Os(file));
                }
                Ok(File::Os(file))
            }
            #[cfg(any(all(test, ottla_repository), ottla_sim))]
            Self::Sim(sim) => sim.open(path, access).map(File::Sim),
        }
    }

    /// Creates a file for reading and writing. Its name is durable once the caller has synced the
    /// directory. `AlreadyExists` when anything has the name.
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

    /// Replaces a file that has the new name; durable once the caller has synced the directory.
    /// `InvalidInput` across directories: no single sync would make such a move durable.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if from.parent() != to.parent() {
            let reason = "a rename stays inside one directory";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        either!(self, disk => disk.rename(from, to))
    }

    /// Handles that have it open still read it (D6).
    pub(crate) fn remove_file(&self, path: &Path) -> io::Result<()> {
        either!(self, disk => disk.remove_file(path))
    }

    pub(crate) fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        either!(self, disk => disk.remove_dir(dir))
    }

    /// Makes the names in a directory durable, not what they name; on Windows only where the system
    /// permits it.
    pub(crate) fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.open_dir(dir)?.sync()
    }

    /// Opens a directory for a later [`Dir::sync`], so that a lack of descriptors shows before the
    /// caller begins, and is not taken for a failed sync.
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

    /// The number of files open through this disk and its clones.
    pub(crate) fn open_files(&self) -> usize {
        self.open_count().own()
    }

    /// The number of files open in the process; `None` if this disk's take no descriptors.
    pub(crate) fn open_files_of_process(&self) -> Option<usize> {
        self.open_count().of_all()
    }

    /// How many threads to use for calls that wait for the disk.
    pub(crate) fn calls_at_once(&self) -> usize {
        match self {
            Self::Os(disk) if disk.is_synced() => CALLS_AT_ONCE,
            // Nothing waits for the disk.
            Self::Os(_) => 1,
            // There the order of the calls is the same in every run.
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

    /// Whether the name exists, also as a link to nothing.
    pub(crate) fn exists(&self, path: &Path) -> io::Result<bool> {
        either!(self, disk => disk.exists(path))
    }

    pub(crate) fn file_len(&self, path: &Path) -> io::Result<u64> {
        either!(self, disk => disk.file_len(path))
    }

    pub(crate) fn file_id(&self, path: &Path) -> io::Result<FileId> {
        either!(self, disk => disk.file_id(path))
    }

    pub(crate) fn modified(&self, path: &Path) -> io::Result<Timestamp> {
        either!(self, disk => disk.modified(path))
    }

    /// Sets the time of the last write. Compaction keeps it, as in Kafka: retention may use it.
    pub(crate) fn set_modified(&self, path: &Path, time: Timestamp) -> io::Result<()> {
        either!(self, disk => disk.set_modified(path, time))
    }

    /// Takes a lock; creates the lock file if it is missing. `None` when another handle of this
    /// process, another process or a JVM holds the lock.
    ///
    /// The directory is locked too, so at most one lock is held in it, even when the lock file was
    /// unlinked or replaced.
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

    /// Whether another handle holds a lock; always false except on Linux.
    pub(crate) fn is_locked(&self, path: &Path) -> io::Result<bool> {
        either!(self, disk => disk.is_locked(path))
    }

    /// Reads the front of a file of any kind until `buf` is full or the file ends. The caller
    /// checks the bytes.
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

    /// Reads a whole file: `None` when it is missing, `InvalidData` when it is longer than `limit`
    /// bytes.
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

    /// Replaces or makes a whole file, atomically and durably.
    ///
    /// The bytes go to `<name>.tmp`, which is synced, renamed, and its directory synced: a power
    /// cut leaves the old content or the new one, and maybe a `.tmp` file, which the next
    /// replacement removes.
    ///
    /// # Errors
    ///
    /// The file has its old content or, when the last sync failed, the new one, which may or may
    /// not survive a power cut.
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
            // The first error is the one to report; the next replacement removes what is left.
            self.remove_file(&temporary).ok();
            return outcome;
        }
        if Sabotage::RenameNotSynced.is_on() {
            return Ok(());
        }
        dir.sync()
    }

    /// Reserves space in a directory, for the small writes without which a full disk could not be
    /// freed. Does nothing if all of it is reserved. Reserves less if the disk has too little, and
    /// fails if it has none.
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

    /// Frees the ballast of a directory or its parent. False when there is no ballast.
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

/// The size of a ballast: enough for the files of a root, and for what a copy-on-write file system
/// needs besides.
const BALLAST_BYTES: u64 = 1 << 20;

/// Where there is less space, smaller sizes are tried in these steps.
const BALLAST_STEP: u64 = 64 << 10;

/// Bytes that no file system can compress.
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

/// Where ballast may be: a partition uses its root's.
fn ballasts_of(dir: &Path) -> impl Iterator<Item = PathBuf> {
    let dirs = [Some(dir), dir.parent()].into_iter().flatten();
    dirs.map(|dir| dir.join(file_name::BALLAST))
}

/// Whether the disk, or a quota, is full.
fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// Whether [`Disk::read_small`] failed because the file is too long, missing, or not a file: its
/// content then counts as lost.
pub(crate) fn is_unusable_file(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, NotFound};
    matches!(error.kind(), InvalidData | InvalidInput | NotFound)
}

/// Half of `RLIMIT_NOFILE` as of the first call, for the other half is the program's own. At most
/// [`OPEN_FILES_MAX`]: a file that is appended to also takes one of the 65,530 memory maps
/// that Linux allows a process.
pub(crate) fn open_files_max() -> usize {
    static HALF: OnceLock<usize> = OnceLock::new();
    *HALF.get_or_init(|| {
        let half = os::descriptors_max().map_or(usize::MAX, |limit| limit / 2);
        half.clamp(1, OPEN_FILES_MAX)
    })
}

/// More threads than processors, because they wait, but few enough for a small machine.
const CALLS_AT_ONCE: usize = 8;

/// About half of the memory maps.
const OPEN_FILES_MAX: usize = 32_000;

impl Dir {
    /// Makes the names durable, not what they name. See (D3) for failures.
    pub(crate) fn sync(&self) -> io::Result<()> {
        either!(self, dir => dir.sync())
    }
}

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

fn advance(position: u64, bytes: usize) -> u64 {
    position.saturating_add(to_u64(bytes))
}
