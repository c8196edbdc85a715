//! The disk of the operating system: the only `std::fs`.
//!
//! Knows nothing about the simulation. Only regular files are opened, and a link as the last part
//! of a path is not followed; every read and write has a position, and is repeated until complete.

mod calls;
mod lock;
mod names;
mod temporary;
#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
mod word;

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::open_count::{OpenCount, Opened};
use super::{Access, Entry, EntryKind, FileId, LiesOn, advance};
use crate::types::Timestamp;

pub(super) use calls::{descriptors_max, on_fork};
pub(super) use lock::OsLock;
pub(super) use names::OsDir;
pub(crate) use temporary::TemporaryDir;
pub(crate) use word::Word;

#[derive(Clone, Debug)]
pub(crate) struct OsDisk {
    open: OpenCount,
    /// False if files are removed with their last handle: none survives a power cut anyway.
    synced: bool,
}

#[derive(Debug)]
pub(crate) struct OsFile {
    file: fs::File,
    /// A directory whose ballast is freed when a write finds no space.
    pub(super) ballast: Option<Box<Path>>,
    synced: bool,
    _opened: Opened,
}

#[expect(
    clippy::unused_self,
    reason = "the same calls as the simulation, which keeps its files in itself"
)]
impl OsDisk {
    pub(super) fn new() -> Self {
        Self {
            open: OpenCount::of_process(),
            synced: true,
        }
    }

    pub(super) fn unsynced() -> Self {
        Self {
            synced: false,
            ..Self::new()
        }
    }

    pub(super) fn is_synced(&self) -> bool {
        self.synced
    }

    pub(super) fn lock(&self, path: &Path) -> io::Result<Option<OsLock>> {
        OsLock::take(path, &self.open)
    }

    pub(super) fn open_count(&self) -> &OpenCount {
        &self.open
    }

    pub(super) fn create_dir(&self, dir: &Path) -> io::Result<()> {
        match fs::create_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if fs::metadata(dir)?.is_dir() {
                    Ok(())
                } else {
                    Err(error)
                }
            }
            outcome => outcome,
        }
    }

    pub(super) fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let file_type = entry.file_type()?;
            let (name, kind) = match entry.file_name().into_string() {
                Ok(name) if file_type.is_file() => (name, EntryKind::File),
                Ok(name) if file_type.is_dir() => (name, EntryKind::Dir),
                Ok(name) => (name, EntryKind::Other),
                Err(name) => (name.to_string_lossy().into_owned(), EntryKind::Other),
            };
            entries.push(Entry { name, kind });
        }
        Ok(entries)
    }

    pub(super) fn open(&self, path: &Path, access: Access) -> io::Result<OsFile> {
        let mut options = OpenOptions::new();
        options.read(true).write(access == Access::Write);
        self.counted(open_regular(path, &mut options)?)
    }

    /// Does not check the kind of file: of a pipe it reads nothing, of a device some bytes.
    pub(super) fn read_front(&self, path: &Path, buf: &mut [u8]) -> io::Result<usize> {
        let front = open_at_once(path, OpenOptions::new().read(true))?;
        read_at(&front, 0, buf)
    }

    pub(super) fn create(&self, path: &Path) -> io::Result<OsFile> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        self.counted(open_regular(path, &mut options)?)
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        names::rename(from, to)
    }

    pub(super) fn remove_file(&self, path: &Path) -> io::Result<()> {
        names::remove_file(path)
    }

    pub(super) fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        names::remove_dir(dir)
    }

    pub(super) fn open_dir(&self, dir: &Path) -> io::Result<OsDir> {
        OsDir::open(dir, self.synced)
    }

    pub(super) fn exists(&self, path: &Path) -> io::Result<bool> {
        match fs::symlink_metadata(path) {
            Ok(_) => Ok(true),
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn real_path(&self, path: &Path) -> io::Result<PathBuf> {
        for there in path.ancestors() {
            match fs::canonicalize(there) {
                Ok(real) => {
                    let rest = path.strip_prefix(there).unwrap_or(Path::new(""));
                    return Ok(real.join(rest));
                }
                Err(missing) if missing.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(path.to_path_buf())
    }

    #[cfg(unix)]
    pub(super) fn hard_link(&self, there: &Path, new: &Path) -> io::Result<()> {
        fs::hard_link(there, new)
    }

    /// Without `is_shared` a file with a second name would be changed under both.
    #[cfg(not(unix))]
    pub(super) fn hard_link(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn file_len(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::symlink_metadata(path)?.len())
    }

    pub(super) fn file_id(&self, path: &Path) -> io::Result<FileId> {
        id_of(&fs::symlink_metadata(path)?)
    }

    pub(super) fn is_locked(&self, path: &Path) -> io::Result<bool> {
        match open_at_once(path, OpenOptions::new().read(true)) {
            Ok(opened) => calls::is_description_locked(&opened),
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn modified(&self, path: &Path) -> io::Result<Timestamp> {
        Ok(Timestamp::from(fs::symlink_metadata(path)?.modified()?))
    }

    pub(super) fn set_modified(&self, path: &Path, time: Timestamp) -> io::Result<()> {
        let opened = self.open(path, Access::Write)?;
        opened.file.set_modified(time.to_system())
    }

    #[expect(clippy::unnecessary_wraps, reason = "the end of calls that can fail")]
    fn counted(&self, file: fs::File) -> io::Result<OsFile> {
        Ok(OsFile {
            file,
            ballast: None,
            synced: self.synced,
            _opened: self.open.opened(),
        })
    }
}

#[cfg(unix)]
#[expect(
    clippy::unnecessary_wraps,
    reason = "the same call as where it can fail"
)]
fn id_of(found: &fs::Metadata) -> io::Result<FileId> {
    use std::os::unix::fs::MetadataExt;
    Ok(FileId {
        device: found.dev(),
        number: found.ino(),
        made: found.created().map_or(Timestamp::NONE, Timestamp::from),
    })
}

/// std has no identity of a file here, but files of the same name are made at different times.
#[cfg(not(unix))]
fn id_of(found: &fs::Metadata) -> io::Result<FileId> {
    Ok(FileId {
        device: 0,
        number: 0,
        made: Timestamp::from(found.created()?),
    })
}

fn open_regular(path: &Path, options: &mut OpenOptions) -> io::Result<fs::File> {
    let opened = open_at_once(path, options)?;
    if opened.metadata()?.is_file() {
        Ok(opened)
    } else {
        Err(not_a_file())
    }
}

/// A pipe or device is opened without waiting for its other end.
fn open_at_once(path: &Path, options: &mut OpenOptions) -> io::Result<fs::File> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    }
    #[cfg(not(unix))]
    if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(not_a_file());
    }
    match options.open(path) {
        Ok(file) => Ok(file),
        Err(error) if is_another_kind(&error) => Err(not_a_file()),
        Err(error) => Err(error),
    }
}

fn is_another_kind(error: &io::Error) -> bool {
    #[cfg(unix)]
    if error.raw_os_error() == Some(libc::ELOOP) {
        return true;
    }
    error.kind() == io::ErrorKind::IsADirectory
}

fn not_a_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")
}

fn read_at(file: &fs::File, position: u64, buf: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match calls::pread(file, rest, advance(position, done)) {
            Ok(0) => break,
            Ok(read) => done = done.saturating_add(read),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

impl OsFile {
    #[cfg(target_os = "linux")]
    pub(super) fn file(&self) -> &fs::File {
        &self.file
    }

    pub(super) fn read_at(&self, position: u64, buf: &mut [u8]) -> io::Result<usize> {
        read_at(&self.file, position, buf)
    }

    pub(super) fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        // Nearly always the first call writes everything.
        match calls::pwrite(&self.file, bytes, position) {
            Ok(written) if written == bytes.len() => Ok(()),
            first => self.write_rest(position, bytes, first),
        }
    }

    #[cold]
    fn write_rest(&self, position: u64, bytes: &[u8], first: io::Result<usize>) -> io::Result<()> {
        let mut done = 0;
        let mut last = Some(first);
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            let call = || calls::pwrite(&self.file, rest, advance(position, done));
            match last.take().unwrap_or_else(call) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => done = done.saturating_add(written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if super::is_full(&error) && self.spend_ballast() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub(super) fn id(&self) -> io::Result<FileId> {
        id_of(&self.file.metadata()?)
    }

    /// Whether the file has several names.
    #[cfg(unix)]
    pub(super) fn is_shared(&self) -> io::Result<bool> {
        use std::os::unix::fs::MetadataExt;
        Ok(self.file.metadata()?.nlink() > 1)
    }

    /// std counts no links here, so none are made either (`hard_link`).
    #[cfg(not(unix))]
    #[expect(
        clippy::unnecessary_wraps,
        clippy::unused_self,
        reason = "the same call as where it can fail"
    )]
    pub(super) fn is_shared(&self) -> io::Result<bool> {
        Ok(false)
    }

    /// Has the system copy the first `len` bytes into this empty file, or fewer: blocks are shared
    /// where the file system can.
    pub(super) fn copy_from(&self, other: &Self, len: u64) -> io::Result<u64> {
        calls::copy_range(&other.file, &self.file, len)
    }

    pub(super) fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    pub(super) fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    pub(super) fn sync_data(&self) -> io::Result<()> {
        if !self.synced {
            return Ok(());
        }
        self.file.sync_data().inspect_err(|error| {
            if super::is_full(error) {
                self.spend_ballast();
            }
        })
    }

    fn spend_ballast(&self) -> bool {
        let ballasts = self.ballast.iter().flat_map(|dir| super::ballasts_of(dir));
        ballasts
            .into_iter()
            .any(|path| fs::remove_file(path).is_ok())
    }

    pub(super) fn reserve(&self, from: u64, len: u64) -> io::Result<()> {
        let before = self.len()?;
        calls::reserve(&self.file, from, len).inspect_err(|_| {
            // A file system may have granted a part and lengthened the file by it (ext4 does). What
            // cannot be freed now is freed when the file is trimmed.
            if self.len().is_ok_and(|now| now > before) {
                self.file.set_len(before).ok();
            }
        })
    }

    pub(super) fn data_end(&self, from: u64) -> io::Result<u64> {
        let mut end = from;
        while let Some(next) = calls::next_data_end(&self.file, end)? {
            end = next;
        }
        Ok(end)
    }

    pub(super) fn lies_on(&self) -> LiesOn {
        calls::lies_on(&self.file)
    }

    pub(super) fn share_byte(&self, at: u64) -> io::Result<()> {
        calls::share_byte(&self.file, at)
    }

    pub(super) fn is_byte_shared(&self, at: u64) -> io::Result<bool> {
        calls::is_byte_locked(&self.file, at)
    }
}
