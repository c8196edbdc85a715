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
//!   the same file. Latch; do not retry.
//! - (D4) Interrupted calls (`EINTR`) are repeated here and never seen above.
//! - (D5) Only a regular file is opened, and a link in its place is not followed.
//! - (D6) A file that is open can be removed and renamed over; what has it open reads on.
//! - (D7) [`File::data_end`] is anything between the end of what was written and the file's end.

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

/// Every call takes `&self` and says where it reads or writes: there is no cursor.
#[derive(Debug)]
pub(crate) enum File {
    Os(OsFile),
    #[cfg(any(all(test, ottla_repository), ottla_sim))]
    Sim(SimFile),
}

// What the test variant costs a user's build: nothing.
#[cfg(not(any(all(test, ottla_repository), ottla_sim)))]
const _: () = assert!(size_of::<File>() == size_of::<OsFile>());

/// Dropping it leaves the lock's file in place.
#[derive(Debug)]
#[must_use = "the lock is given back when this is dropped"]
#[expect(dead_code, reason = "held for what its drop does")]
pub(crate) enum Lock {
    /// The process's end gives it back too.
    Os(OsLock),
    #[cfg(any(all(test, ottla_repository), ottla_sim))]
    Sim(SimLock),
}

#[derive(Debug)]
pub(crate) enum Dir {
    Os(OsDir),
    #[cfg(any(all(test, ottla_repository), ottla_sim))]
    Sim(SimDir),
}

/// Two files that exist at the same time never have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    number: u64,
    /// Numbers are given again.
    made: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Works on a read-only file system.
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

    /// For what is removed with its last handle.
    pub(crate) fn unsynced() -> Self {
        Self::Os(OsDisk::unsynced())
    }

    /// For a path that a caller hands in: a relative one would mean something else after the
    /// process has changed its working directory. `InvalidInput` for an empty one.
    pub(crate) fn absolute(&self, path: &Path) -> io::Result<PathBuf> {
        match self {
            Self::Os(_) => std::path::absolute(path),
            #[cfg(any(all(test, ottla_repository), ottla_sim))]
            Self::Sim(_) => Ok(path.to_path_buf()),
        }
    }

    /// A directory that is there is left as it is. The name is durable once the caller has synced
    /// the parent. `AlreadyExists` for a name of something else, `NotFound` without a parent.
    pub(crate) fn create_dir(&self, dir: &Path) -> io::Result<()> {
        either!(self, disk => disk.create_dir(dir))
    }

    /// In no particular order.
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
                    // Of a backup by hard links: the other name keeps what it has.
                    return self.unshare(path, &File::Os(file));
                }
                Ok(File::Os(file))
            }
            #[cfg(any(all(test, ottla_repository), ottla_sim))]
            Self::Sim(sim) => sim.open(path, access).map(File::Sim),
        }
    }

    /// For reading and writing. Its name is durable once the caller has synced the directory.
    /// `AlreadyExists` when anything has the name.
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

    /// What has it open reads on.
    pub(crate) fn remove_file(&self, path: &Path) -> io::Result<()> {
        either!(self, disk => disk.remove_file(path))
    }

    pub(crate) fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        either!(self, disk => disk.remove_dir(dir))
    }

    /// Makes the names durable, not what they name; on Windows where the system lets us.
    pub(crate) fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.open_dir(dir)?.sync()
    }

    /// For a later [`Dir::sync`]: its caller must not fail for want of a descriptor once it has
    /// begun, or must tell a failed sync from a directory that cannot be opened.
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

    /// Through this disk and its clones.
    pub(crate) fn open_files(&self) -> usize {
        self.open_count().own()
    }

    /// `None` where they take no descriptors of the process.
    pub(crate) fn open_files_of_process(&self) -> Option<usize> {
        self.open_count().of_all()
    }

    /// How many threads make calls that wait for the disk.
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

    /// Also true for a link to nothing.
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

    /// Kafka keeps that time through compaction: retention falls back on it.
    pub(crate) fn set_modified(&self, path: &Path, time: Timestamp) -> io::Result<()> {
        either!(self, disk => disk.set_modified(path, time))
    }

    /// Makes a missing lock file. `None` when another handle of this process, another process or a
    /// JVM holds the lock.
    ///
    /// At most one lock is held in a directory, which is locked with it: a lock file that was
    /// unlinked or replaced behind its holder does not let a second one in.
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

    /// Without taking it: elsewhere than on Linux the answer is no.
    pub(crate) fn is_locked(&self, path: &Path) -> io::Result<bool> {
        either!(self, disk => disk.is_locked(path))
    }

    /// As many bytes as there are and `buf` takes. The caller checks them: the kind of file is not
    /// looked at.
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

    /// `None` when it is missing, `InvalidData` when it is longer than `limit` bytes.
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
    /// The old content is there or, when the last sync failed, the new one, which may or may not
    /// survive. What cannot be opened fails first, with the old content in place.
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
            // The first error is the one to tell; the next replacement removes what is left.
            self.remove_file(&temporary).ok();
            return outcome;
        }
        if Sabotage::RenameNotSynced.is_on() {
            return Ok(());
        }
        dir.sync()
    }

    /// Sets space aside in a directory, for the small writes without which a full disk could not be
    /// freed. Does nothing where all of it is there, and keeps nothing when there is too little
    /// left.
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

    /// False when nothing was set aside.
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

/// For the files of a root, and for what a file system that copies on every write needs besides.
const BALLAST_BYTES: u64 = 1 << 20;

/// Where there is less, less is tried in these steps.
const BALLAST_STEP: u64 = 64 << 10;

/// No file system stores them in less space.
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

/// A partition has no ballast of its own.
fn ballasts_of(dir: &Path) -> impl Iterator<Item = PathBuf> {
    let dirs = [Some(dir), dir.parent()].into_iter().flatten();
    dirs.map(|dir| dir.join(file_name::BALLAST))
}

/// Whether the disk, or a quota, is full.
fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// Something longer than it can be, or no file, is in place of a small one: what it held can then
/// be taken for lost.
pub(crate) fn is_no_such_file(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, NotFound};
    matches!(error.kind(), InvalidData | InvalidInput | NotFound)
}

/// Half of `RLIMIT_NOFILE` when this was asked first, for the other half is the program's own. At
/// most [`OPEN_FILES_MAX`]: a file that is appended to also takes one of the 65,530 memory maps
/// that Linux allows a process.
pub(crate) fn open_files_max() -> usize {
    static HALF: OnceLock<usize> = OnceLock::new();
    *HALF.get_or_init(|| {
        let half = os::descriptors_max().map_or(usize::MAX, |limit| limit / 2);
        half.clamp(1, OPEN_FILES_MAX)
    })
}

/// More than processors, for these threads wait, and not so many that a small machine notices.
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
