//! What an open file does.
//!
//! Knows nothing about names: a [`File`] is opened by its [`Disk`](super::Disk).

use std::io;
use std::path::Path;

use super::{File, FileId, LiesOn, Map, either, pause};

impl File {
    /// The same file, whose writes take the [ballast](super::Disk::make_ballast) of a directory, or
    /// of the one that it is in, when the disk is full. A sync that fails for want of space takes
    /// it, too, but fails (D3): what it was to make durable must be written again.
    pub(crate) fn with_ballast(mut self, dir: &Path) -> Self {
        let ballast = Some(dir.into());
        either!(&mut self, file => file.ballast = ballast);
        self
    }

    /// Reads from `position` until `buf` is full or the file ends; gives the number of bytes read.
    #[inline]
    pub(crate) fn read_at(&self, position: u64, buf: &mut [u8]) -> io::Result<usize> {
        either!(self, file => file.read_at(position, buf))
    }

    /// Writes all of `bytes` at `position`. When it returns, every reader sees them and they
    /// survive this process, not yet a power cut.
    ///
    /// # Errors
    ///
    /// Any part of the bytes may have been written.
    #[inline]
    pub(crate) fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        either!(self, file => file.write_at(position, bytes))
    }

    /// Which file it is.
    pub(crate) fn id(&self) -> io::Result<FileId> {
        either!(self, file => file.id())
    }

    /// The length in bytes.
    pub(crate) fn len(&self) -> io::Result<u64> {
        either!(self, file => file.len())
    }

    /// Cuts the file, or lengthens it with zeros for which no space is set aside.
    pub(crate) fn set_len(&self, len: u64) -> io::Result<()> {
        either!(self, file => file.set_len(len))
    }

    /// Makes all that was written, and the length, survive a power cut: `fdatasync`, `F_FULLFSYNC`
    /// on Apple's systems. Stores through a mapped window count as written (Linux keeps one cache
    /// for both). The file's name is a matter of its directory (D1).
    ///
    /// # Errors
    ///
    /// See (D3).
    pub(crate) fn sync_data(&self) -> io::Result<()> {
        either!(self, file => file.sync_data())
    }

    /// Says that the next sync of this file is for what is written by now: what others write until
    /// it ends may be covered too, but counts on a later one. Only the simulated disk is told,
    /// which checks the order of calls by it.
    pub(crate) fn sync_begins(&self) {
        match self {
            Self::Os(_) => {}
            #[cfg(any(all(test, ottla_repository), ottla_sim))]
            Self::Sim(file) => file.sync_begins(),
        }
    }

    /// Says that this sync has succeeded, and that from now on somebody counts on it.
    pub(crate) fn sync_ended(&self) {
        match self {
            Self::Os(_) => {}
            #[cfg(any(all(test, ottla_repository), ottla_sim))]
            Self::Sim(file) => file.sync_ended(),
        }
    }

    /// Sets space aside for `len` bytes from `from` on, and lengthens the file with zeros to hold
    /// them. Bytes that are there stay.
    ///
    /// # Errors
    ///
    /// `Unsupported` where the system or the file system cannot do it; `StorageFull` when there is
    /// not so much left. The file is then as long as it was.
    pub(crate) fn reserve(&self, from: u64, len: u64) -> io::Result<()> {
        either!(self, file => file.reserve(from, len))
    }

    /// Where the last bytes behind `from` end that may be anything but zeros: at the end of the
    /// file where the file system does not know, at `from` when only zeros follow.
    ///
    /// What was reserved and never written counts as zeros until it is read: to the system its
    /// pages are data from then on.
    pub(crate) fn data_end(&self, from: u64) -> io::Result<u64> {
        either!(self, file => file.data_end(from))
    }

    /// What the file lies on.
    pub(crate) fn lies_on(&self) -> LiesOn {
        either!(self, file => file.lies_on())
    }

    /// A window on `len` bytes from `from` on, all of which must be there.
    pub(super) fn map(&self, from: u64, len: usize) -> io::Result<Map> {
        match self {
            Self::Os(file) => {
                pause();
                Map::os(file, from, len)
            }
            #[cfg(any(all(test, ottla_repository), ottla_sim))]
            Self::Sim(file) => file.map(from, len).map(Map::Sim),
        }
    }
}
