//! A file through which one process publishes and wakes others that can only read it.
//!
//! Knows nothing about what is published. It is on ext4 and tmpfs alone, over space that was
//! reserved: where windows are used as well (`appender.rs`).
//!
//! 1. Its bytes are read and written by plain calls. If another program cuts it, a call fails and
//!    no signal is raised. Nothing in this crate ever cuts or replaces it.
//! 2. Those who wait hold a shared lock on one byte, which needs permission to read alone and ends
//!    with their process.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::os::Word;
use super::{Access, Disk, File, FileId, LiesOn};
use crate::format::{LIVE_LOCK_AT, LIVE_WORD_AT, boot_of, file_name};

/// The live file, as the one that publishes or as one that waits.
#[derive(Debug)]
pub(crate) struct LiveFile {
    file: File,
    word: Word,
}

impl LiveFile {
    /// Opens the file at `path` to publish, with at least `len` bytes, making it when it is not
    /// there. What was there stays.
    ///
    /// # Errors
    ///
    /// `Unsupported` where windows are not used; what making it answers.
    pub(crate) fn publish(disk: &Disk, path: &Path, len: u64) -> io::Result<Self> {
        if matches!(disk, Disk::Os(disk) if !disk.is_synced()) {
            // It is removed with its last handle.
            return Err(io::ErrorKind::Unsupported.into());
        }
        let beside = disk.open(&path.with_file_name(file_name::LOCK), Access::Read)?;
        if !can_live_on(&beside) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let (file, made) = match disk.open(path, Access::Write) {
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => (disk.create(path)?, true),
            file => (file?, false),
        };
        let live = file.reserve(0, len).and_then(|()| Self::of(file));
        if live.is_err() && made {
            disk.remove_file(path).ok();
        }
        live
    }

    /// Opens the file at `path` to follow.
    ///
    /// # Errors
    ///
    /// `NotFound` and others: nobody publishes here, or this process may not read it.
    pub(crate) fn follow(disk: &Disk, path: &Path) -> io::Result<Self> {
        let file = disk.open(path, Access::Read)?;
        if !can_live_on(&file) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Self::of(file)
    }

    fn of(file: File) -> io::Result<Self> {
        let word = match &file {
            File::Os(file) => Word::of(file, LIVE_WORD_AT)?,
            #[cfg(any(test, ottla_sim))]
            File::Sim(_) => return Err(io::ErrorKind::Unsupported.into()),
        };
        Ok(Self { file, word })
    }

    /// Reads from `position` on; gives how many bytes there were.
    pub(crate) fn read_at(&self, position: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(position, buf)
    }

    /// Writes bytes that everybody sees at once.
    pub(crate) fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(position, bytes)
    }

    /// Which file it is.
    pub(crate) fn id(&self) -> io::Result<FileId> {
        self.file.id()
    }

    /// Changes the word, and wakes everybody who waits for that.
    pub(crate) fn ring(&self, word: u32) {
        // Where it cannot be written nobody is woken, and they look by the clock.
        if self.write_at(LIVE_WORD_AT, &word.to_le_bytes()).is_ok() {
            self.word.wake();
        }
    }

    /// Wakes everybody who waits without changing the word: they look, and wait again.
    pub(crate) fn stir(&self) {
        self.word.wake();
    }

    /// Waits until the word is another one, or the time is over. It may return earlier.
    pub(crate) fn wait(&self, word: u32, timeout: Duration) {
        self.word.wait(word.to_le_bytes(), timeout);
    }

    /// Says that this process waits, until the file is dropped.
    ///
    /// # Errors
    ///
    /// Where the system or the file system has no such locks.
    pub(crate) fn listen(&self) -> io::Result<()> {
        match &self.file {
            File::Os(file) => file.share_byte(LIVE_LOCK_AT),
            #[cfg(any(test, ottla_sim))]
            File::Sim(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Whether any process says that it waits.
    pub(crate) fn is_listened_to(&self) -> bool {
        match &self.file {
            File::Os(file) => file.is_byte_shared(LIVE_LOCK_AT).unwrap_or(false),
            #[cfg(any(test, ottla_sim))]
            File::Sim(_) => false,
        }
    }
}

/// The id of this boot of the machine, where the system has one.
pub(crate) fn boot(disk: &Disk) -> Option<[u8; 16]> {
    let mut text = [0; 64];
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    let len = disk.read_front(path, &mut text).ok()?;
    boot_of(text.get(..len)?)
}

/// Whether a live file may be where a file lies: not where a store could meet a full or a distant
/// disk.
fn can_live_on(file: &File) -> bool {
    matches!(file.lies_on(), LiesOn::Ext4 | LiesOn::Tmpfs)
}
