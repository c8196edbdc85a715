//! A file through which one process publishes and wakes others that can only read it.
//!
//! Knows nothing about what is published. Such a file exists only on ext4 and tmpfs, over reserved
//! space, as windows do (`appender.rs`).
//!
//! 1. Its bytes, the word too (`os/word.rs`), are read and written by calls: if another program
//!    cuts it, a call fails and no signal is raised. Nothing in this crate ever cuts or replaces
//!    it.
//! 2. Followers that wait hold a shared lock on one byte, which needs only permission to read and
//!    ends with their process.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::os::Word;
#[cfg(any(all(test, ottla_repository), ottla_sim))]
use super::sim::SimWaits;
use super::{Access, Disk, File, FileId, LiesOn};
use crate::format::{LIVE_LOCK_AT, LIVE_WORD_AT, boot_of, file_name};

#[derive(Debug)]
pub(crate) struct LiveFile {
    file: File,
    word: Waits,
}

#[derive(Debug)]
enum Waits {
    Os(Word),
    #[cfg(any(all(test, ottla_repository), ottla_sim))]
    Sim(SimWaits),
}

impl LiveFile {
    /// Opens the file for a writer, with at least `len` bytes; creates it if it is missing.
    /// `Unsupported` where windows are not used.
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
        let live = file.reserve(0, len).and_then(|()| Self::of(file, true));
        if live.is_err() && made {
            disk.remove_file(path).ok();
        }
        live
    }

    /// Opens the file for a follower. Fails when it is missing, or this process may not read it.
    pub(crate) fn follow(disk: &Disk, path: &Path) -> io::Result<Self> {
        let file = disk.open(path, Access::Read)?;
        if !can_live_on(&file) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let live = Self::of(file, false)?;
        // Where the system forbids to wait, it says so here.
        live.wait(0, Duration::ZERO)?;
        Ok(live)
    }

    fn of(file: File, publishes: bool) -> io::Result<Self> {
        let word = match &file {
            File::Os(file) if publishes => Waits::Os(Word::of_writer(file, LIVE_WORD_AT)?),
            File::Os(file) => Waits::Os(Word::of(file, LIVE_WORD_AT)?),
            #[cfg(any(all(test, ottla_repository), ottla_sim))]
            File::Sim(file) => Waits::Sim(SimWaits::of(file)),
        };
        Ok(Self { file, word })
    }

    pub(crate) fn read_at(&self, position: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(position, buf)
    }

    /// Every process sees the bytes at once.
    pub(crate) fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(position, bytes)
    }

    pub(crate) fn id(&self) -> io::Result<FileId> {
        self.file.id()
    }

    /// Raises the word by one, to `word`, and wakes every waiting follower.
    pub(crate) fn ring(&self, word: u32) {
        let rung = match &self.word {
            Waits::Os(waits) => waits.add_and_wake().is_ok(),
            #[cfg(any(all(test, ottla_repository), ottla_sim))]
            Waits::Sim(_) => false,
        };
        // If it cannot be written no follower is woken: they also look from time to time.
        if !rung && self.write_at(LIVE_WORD_AT, &word.to_le_bytes()).is_ok() {
            self.stir();
        }
    }

    /// Wakes every waiting follower without changing the word: each looks, and waits again.
    pub(crate) fn stir(&self) {
        match &self.word {
            Waits::Os(word) => word.wake(),
            #[cfg(any(all(test, ottla_repository), ottla_sim))]
            Waits::Sim(word) => word.wake(),
        }
    }

    /// Waits until the word is not `word`, or the time is over. It may return earlier. Fails where
    /// the system forbids it, or the file was cut: a caller that waited again would spin.
    pub(crate) fn wait(&self, word: u32, timeout: Duration) -> io::Result<()> {
        let seen = word.to_le_bytes();
        match &self.word {
            Waits::Os(word) => word.wait(seen, timeout),
            #[cfg(any(all(test, ottla_repository), ottla_sim))]
            Waits::Sim(word) => {
                word.wait(LIVE_WORD_AT, seen, timeout);
                Ok(())
            }
        }
    }

    /// Marks this process as waiting (2), until the file is dropped.
    pub(crate) fn listen(&self) -> io::Result<()> {
        match &self.file {
            File::Os(file) => file.share_byte(LIVE_LOCK_AT),
            #[cfg(any(all(test, ottla_repository), ottla_sim))]
            File::Sim(_) => {
                let Waits::Sim(word) = &self.word else {
                    return Err(io::ErrorKind::Unsupported.into());
                };
                word.share();
                Ok(())
            }
        }
    }

    pub(crate) fn is_listened_to(&self) -> bool {
        match &self.file {
            File::Os(file) => file.is_byte_shared(LIVE_LOCK_AT).unwrap_or(false),
            #[cfg(any(all(test, ottla_repository), ottla_sim))]
            File::Sim(_) => matches!(&self.word, Waits::Sim(word) if word.is_shared()),
        }
    }
}

/// The id of the machine's boot; `None` where the system has none.
pub(crate) fn boot(disk: &Disk) -> Option<[u8; 16]> {
    let mut text = [0; 64];
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    let len = disk.read_front(path, &mut text).ok()?;
    boot_of(text.get(..len)?)
}

/// Only where no store can meet a full disk or go over a network.
fn can_live_on(file: &File) -> bool {
    matches!(file.lies_on(), LiesOn::Ext4 | LiesOn::Tmpfs)
}
