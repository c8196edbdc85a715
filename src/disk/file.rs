//! What an open file does.
//!
//! Knows nothing about names: a [`File`] is opened by its [`Disk`](super::Disk).

use std::io;
use std::path::Path;

use super::{File, FileId, LiesOn, Map, either, pause};

impl File {
    /// Lets writes on a full disk use the [ballast](super::Disk::make_ballast) of a directory or of
    /// its parent. A sync frees it too, but fails (D3): what it was to make durable must be written
    /// again.
    pub(crate) fn with_ballast(mut self, dir: &Path) -> Self {
        let ballast = Some(dir.into());
        either!(&mut self, file => file.ballast = ballast);
        self
    }

    #[inline]
    pub(crate) fn read_at(&self, position: u64, buf: &mut [u8]) -> io::Result<usize> {
        either!(self, file => file.read_at(position, buf))
    }

    /// Writes all bytes. Every reader then sees them, and they survive this process, but not yet a
    /// power cut. After an error any part of them may be written.
    #[inline]
    pub(crate) fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        either!(self, file => file.write_at(position, bytes))
    }

    pub(crate) fn id(&self) -> io::Result<FileId> {
        either!(self, file => file.id())
    }

    pub(crate) fn len(&self) -> io::Result<u64> {
        either!(self, file => file.len())
    }

    /// Cuts the file, or lengthens it with zeros, for which no space is reserved.
    pub(crate) fn set_len(&self, len: u64) -> io::Result<()> {
        either!(self, file => file.set_len(len))
    }

    /// Makes what was written, and the length, survive a power cut: `fdatasync`, `F_FULLFSYNC` on
    /// Apple's systems. That covers stores through a mapped window (Linux keeps one cache for
    /// both), but not the file's name (D1). See (D3) for failures.
    pub(crate) fn sync_data(&self) -> io::Result<()> {
        either!(self, file => file.sync_data())
    }

    /// Says that the next sync is for what is written by now; later writes need another sync. Only
    /// the simulated disk uses this, to check the order of calls.
    pub(crate) fn sync_begins(&self) {
        match self {
            Self::Os(_) => {}
            #[cfg(any(all(test, ottla_repository), ottla_sim))]
            Self::Sim(file) => file.sync_begins(),
        }
    }

    /// Says that the sync has succeeded, and that callers rely on it from now on.
    pub(crate) fn sync_ended(&self) {
        match self {
            Self::Os(_) => {}
            #[cfg(any(all(test, ottla_repository), ottla_sim))]
            Self::Sim(file) => file.sync_ended(),
        }
    }

    /// Reserves space for `len` bytes from `from` on, and lengthens the file with zeros to hold
    /// them. Existing bytes stay. After an error, `Unsupported` or `StorageFull`, the file is as
    /// long as it was.
    pub(crate) fn reserve(&self, from: u64, len: u64) -> io::Result<()> {
        either!(self, file => file.reserve(from, len))
    }

    /// A position from which on the file holds only zeros: `from` if nothing else is behind it, the
    /// file's end if the file system does not know.
    ///
    /// Reserved space counts as zeros only until it is read: then its pages are data.
    pub(crate) fn data_end(&self, from: u64) -> io::Result<u64> {
        either!(self, file => file.data_end(from))
    }

    pub(crate) fn lies_on(&self) -> LiesOn {
        either!(self, file => file.lies_on())
    }

    /// Maps `len` bytes, all of which must be in the file.
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
