//! What an open file does.
//!
//! Knows nothing about names: a [`File`] is opened by its [`Disk`](super::Disk).

use std::io;
use std::path::Path;

use super::{File, FileId, LiesOn, Map, either, pause};

impl File {
    /// On a full disk, writes take the [ballast](super::Disk::make_ballast) of a directory or of
    /// its parent. So does a sync, but it fails (D3): what it was to make durable must be written
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

    /// Every reader then sees the bytes, and they survive this process, but not yet a power cut.
    /// After an error any part of them may be written.
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

    /// No space is set aside for the zeros of a longer file.
    pub(crate) fn set_len(&self, len: u64) -> io::Result<()> {
        either!(self, file => file.set_len(len))
    }

    /// What was written, and the length, then survive a power cut: `fdatasync`, `F_FULLFSYNC` on
    /// Apple's systems. That covers stores through a mapped window (Linux keeps one cache for
    /// both), but not the file's name (D1). See (D3) for failures.
    pub(crate) fn sync_data(&self) -> io::Result<()> {
        either!(self, file => file.sync_data())
    }

    /// The next sync is for what is written by now: what others write until it ends counts on a
    /// later one. Only the simulated disk is told, which checks the order of calls by it.
    pub(crate) fn sync_begins(&self) {
        match self {
            Self::Os(_) => {}
            #[cfg(any(all(test, ottla_repository), ottla_sim))]
            Self::Sim(file) => file.sync_begins(),
        }
    }

    /// The sync has succeeded, and from now on somebody counts on it.
    pub(crate) fn sync_ended(&self) {
        match self {
            Self::Os(_) => {}
            #[cfg(any(all(test, ottla_repository), ottla_sim))]
            Self::Sim(file) => file.sync_ended(),
        }
    }

    /// Sets space aside for `len` bytes from `from` on, and lengthens the file with zeros to hold
    /// them. Bytes that are there stay. After an error, `Unsupported` or `StorageFull`, the file is
    /// as long as it was.
    pub(crate) fn reserve(&self, from: u64, len: u64) -> io::Result<()> {
        either!(self, file => file.reserve(from, len))
    }

    /// Behind this only zeros follow: the file's end where the file system does not know, `from`
    /// when there is nothing else.
    ///
    /// Space that was reserved counts as zeros until it is read: then its pages are data.
    pub(crate) fn data_end(&self, from: u64) -> io::Result<u64> {
        either!(self, file => file.data_end(from))
    }

    pub(crate) fn lies_on(&self) -> LiesOn {
        either!(self, file => file.lies_on())
    }

    /// All the bytes must be there.
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
