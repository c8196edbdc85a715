//! The index files of a segment: read, rebuilt from the batches, and written.
//!
//! Knows nothing about its callers. The files are hints, compared with the batches.

use std::path::Path;
use std::sync::Arc;

use crate::disk::{Access, Disk, File, is_unusable_file};
use crate::error::{Error, IoContext, Result};
use crate::format::IndexWritten;
use crate::types::{Position, to_u64, to_usize};

use super::{OpenFiles, Segment, SparseIndex, TailScan, Walk, scan};

type FileBytes = Option<Vec<u8>>;

impl Segment {
    /// Reads both indexes; `None` if one is missing or cannot be right.
    pub(crate) fn read_index_files(&self, disk: &Disk) -> Result<Option<SparseIndex>> {
        let (Some(offsets), Some(times)) = self.read_bytes_of_indexes(disk)? else {
            return Ok(None);
        };
        let index = SparseIndex::decode(&offsets, &times, self.end());
        // Batches without any time entry: the file was lost or cut, since the batches may have
        // timestamps.
        Ok(index.filter(|index| index.last_time_entry().is_some() || self.end() == Position::ZERO))
    }

    pub(super) fn read_bytes_of_indexes(&self, disk: &Disk) -> Result<(FileBytes, FileBytes)> {
        // An index has at most one entry per batch, and no batch is shorter than 61 bytes.
        let limit = to_usize(self.end().0).saturating_add(4096).max(64 << 20);
        let read = |path: &Path| match disk.read_small(path, limit) {
            Ok(bytes) => Ok(bytes),
            Err(error) if is_unusable_file(&error) => Ok(None),
            Err(error) => Err(Error::io(path, "read", error)),
        };
        Ok((read(&self.index_path())?, read(&self.time_index_path())?))
    }

    /// Builds both indexes from the batches, and keeps them in memory; appends and truncations may
    /// run at the same time.
    pub(crate) fn rebuild_index(
        self: &Arc<Self>,
        disk: &Disk,
        pool: &OpenFiles,
    ) -> Result<TailScan> {
        let version = self.index_version();
        let scanned = self.scan_whole(disk, pool)?;
        self.adopt_index(&scanned, version);
        Ok(scanned)
    }

    /// Builds both indexes as a sealed or closed segment has them.
    pub(crate) fn scan_whole(self: &Arc<Self>, disk: &Disk, pool: &OpenFiles) -> Result<TailScan> {
        let file = self.file(disk, pool)?;
        let mut scanned = scan(self, &file, Walk::whole(self))?;
        scanned.progress.final_entry(&mut scanned.index);
        Ok(scanned)
    }

    /// Appends the entries after `written`, so that little has to be rebuilt after a crash; returns
    /// what the files hold. Not synced.
    pub(crate) fn extend_index_files(
        &self,
        disk: &Disk,
        written: IndexWritten,
    ) -> Result<IndexWritten> {
        let (offset_bytes, time_bytes) = written.lens();
        let (offsets, times) = match &*self.index.read() {
            Some(index) => index.encode_after(offset_bytes, time_bytes),
            None => return Ok(written),
        };
        write_from(disk, &self.index_path(), offset_bytes, &offsets)?;
        write_from(disk, &self.time_index_path(), time_bytes, &times)?;
        Ok(written.and(&offsets, &times))
    }

    /// Writes both files, or removes them if that fails: a missing index is rebuilt, but a stale
    /// one misleads a reader. Returns what the files hold.
    pub(crate) fn save_index_files(&self, disk: &Disk) -> IndexWritten {
        self.write_index_files(disk).unwrap_or_else(|_| {
            self.remove_index_files(disk);
            IndexWritten::default()
        })
    }

    /// [`save_index_files`](Self::save_index_files), and synced: once the mark is past the segment,
    /// opening no longer checks for torn indexes, and a Kafka broker uses them as they are.
    pub(crate) fn seal_index_files(&self, disk: &Disk) {
        let written = self.write_index_files(disk);
        if written.and_then(|_| self.sync_index_files(disk)).is_err() {
            self.remove_index_files(disk);
        }
    }

    pub(super) fn remove_index_files(&self, disk: &Disk) {
        for path in [self.index_path(), self.time_index_path()] {
            // If even that fails, loading the index compares it with the batches.
            disk.remove_file(&path).ok();
        }
    }

    pub(crate) fn sync_index_files(&self, disk: &Disk) -> Result<()> {
        for path in [self.index_path(), self.time_index_path()] {
            let file = disk.open(&path, Access::Write).at(&path, "open")?;
            file.sync_data().at(&path, "sync")?;
        }
        Ok(())
    }

    /// Writes both files, not synced. Without indexes in memory the files stay as they are.
    pub(crate) fn write_index_files(&self, disk: &Disk) -> Result<IndexWritten> {
        let (offsets, times) = match &*self.index.read() {
            Some(index) => index.encode(),
            None => return Ok(IndexWritten::default()),
        };
        write_whole(disk, &self.index_path(), &offsets)?;
        write_whole(disk, &self.time_index_path(), &times)?;
        Ok(IndexWritten::default().and(&offsets, &times))
    }

    /// The indexes that were written, if the files still begin with them.
    pub(crate) fn find_written(
        &self,
        disk: &Disk,
        written: IndexWritten,
    ) -> Result<Option<SparseIndex>> {
        // No more than that: a broker that was killed leaves them preallocated to their full size.
        let read = |path: &Path, length: u32| {
            let mut bytes = vec![0; to_usize(u64::from(length).min(self.end().0))];
            match disk.read_front(path, &mut bytes) {
                Ok(read) if read == bytes.len() => Ok(Some(bytes)),
                Ok(_) => Ok(None),
                Err(error) if is_unusable_file(&error) => Ok(None),
                Err(error) => Err(Error::io(path, "read", error)),
            }
        };
        let (offset_bytes, time_bytes) = written.lens();
        let offsets = read(&self.index_path(), offset_bytes)?;
        let (Some(offsets), Some(times)) = (offsets, read(&self.time_index_path(), time_bytes)?)
        else {
            return Ok(None);
        };
        let found = written.find(&offsets, &times);
        Ok(found.and_then(|(offsets, times)| SparseIndex::decode(offsets, times, self.end())))
    }
}

fn open_or_create(disk: &Disk, path: &Path) -> Result<File> {
    let opened = match disk.open(path, Access::Write) {
        Ok(file) => Ok(file),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            disk.create(path).at(path, "create")
        }
        Err(error) => Err(Error::io(path, "open", error)),
    };
    // Closing must not fail for an index that the next opening can rebuild.
    Ok(opened?.with_ballast(path.parent().unwrap_or(path)))
}

/// Writes bytes at a position; without bytes the file is not even opened.
fn write_from(disk: &Disk, path: &Path, position: u32, bytes: &[u8]) -> Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    open_or_create(disk, path)?
        .write_at(position.into(), bytes)
        .at(path, "write")
}

/// Replaces the content of a file in place: an index that a crash leaves half written is rebuilt,
/// so it needs neither a sync nor an atomic replacement.
pub(super) fn write_whole(disk: &Disk, path: &Path, bytes: &[u8]) -> Result<()> {
    let file = open_or_create(disk, path)?;
    file.write_at(0, bytes).at(path, "write")?;
    let length = to_u64(bytes.len());
    file.set_len(length).at(path, "set the length of")
}
