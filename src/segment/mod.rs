//! Floor 3: one segment, a file of consecutive batches, with two sparse indexes.
//!
//! Knows nothing about logs, retention or who appends. A segment is *active* while its log writes
//! it through an [`Appender`](crate::disk::Appender). Then it is *sealed*: its bytes never change,
//! and it is open only while a reader uses it.
//!
//! 1. Bytes below [`Segment::end`] are whole batches that never change, except by a truncation,
//!    which the log announces.
//! 2. Indexes are hints: entries are checked against the batches, and wrong indexes are rebuilt
//!    from the `.log`.

mod batch_cursor;
mod digests;
mod hints;
mod index_files;
mod known;
mod open_files;
mod resync;
mod scan;
mod source;
mod sparse_index;
#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
mod transactions;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use batch_cursor::{BatchCursor, RawBatch, Stop};
pub(crate) use hints::Batches;
use index_files::write_whole;
pub(crate) use known::{Known, ReadStart, size_in};
pub(crate) use open_files::{OpenFiles, Writes};
pub(crate) use resync::{Search, batch_behind, count_batches};
pub(crate) use scan::{TailScan, Walk, indexed, scan};
pub(crate) use source::{ReadAt, SegmentFile};
pub(crate) use sparse_index::{IndexProgress, Indexed, SparseIndex, relative};
pub(crate) use transactions::{Judge, Marker, Transactions, ends_transaction};

use crate::disk::{Access, Disk, File, FileId};
use crate::error::{Error, IoContext, Result};
use crate::format::file_name;
use crate::sync::{AtomicBool, AtomicI64, AtomicU64, Mutex, Ordering, RwLock};
use crate::types::{Offset, Position, Timestamp};

/// Not looked up yet: no record has this timestamp.
const NEWEST_UNKNOWN: i64 = i64::MIN;

#[derive(Debug, Default)]
struct FileSlot {
    file: Option<Arc<File>>,
    /// Open for writing, or temporarily under another name: only the code that opened it closes it.
    kept: bool,
}

#[derive(Debug)]
pub(crate) struct Segment {
    dir: Arc<Path>,
    base_offset: Offset,
    /// The file, in a handle that only reads: another file under the same name is another segment.
    id: Option<FileId>,
    /// A file to read in place of a missing one, in a handle that only reads.
    stand_in: Option<Box<Path>>,
    /// Whole batches, which readers may read, end here.
    end: AtomicU64,
    next_offset: AtomicU64,
    /// Always in memory for an active segment; loaded on first use for a sealed one.
    index: RwLock<Option<SparseIndex>>,
    /// Raised, with `index` locked, whenever the whole index is replaced, so that an index of older
    /// bytes does not replace one of newer bytes.
    index_version: AtomicU64,
    /// [`NEWEST_UNKNOWN`] until it is first asked for.
    newest_ms: AtomicI64,
    file: Mutex<FileSlot>,
    /// Looked up on first use.
    known: Mutex<Option<Known>>,
    /// Read since [`OpenFiles`] last considered to close the file.
    used: AtomicBool,
    /// No digest may be written any more.
    retired: AtomicBool,
    /// The file was removed or replaced: readers that hold it may finish.
    gone: AtomicBool,
    /// The segment is active: its indexes are ahead of their files and stay in memory.
    grows: AtomicBool,
}

impl Segment {
    pub(crate) fn sealed(
        dir: Arc<Path>,
        base_offset: Offset,
        end: Position,
        next_offset: Offset,
    ) -> Self {
        Self {
            dir,
            base_offset,
            id: None,
            stand_in: None,
            end: AtomicU64::new(end.0),
            next_offset: AtomicU64::new(next_offset),
            index: RwLock::new(None),
            index_version: AtomicU64::new(0),
            newest_ms: AtomicI64::new(NEWEST_UNKNOWN),
            file: Mutex::default(),
            known: Mutex::new(None),
            used: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            grows: AtomicBool::new(false),
        }
    }

    pub(crate) fn of_file(mut self, id: Option<FileId>) -> Self {
        self.id = id;
        self
    }

    /// For a segment without batches whose file is missing: it reads no bytes, of the stand-in.
    pub(crate) fn without_file(mut self, stand_in: &Path) -> Self {
        self.stand_in = Some(stand_in.into());
        self
    }

    /// Whether the name is another file's by now, or no file's, because another process writes the
    /// log.
    fn is_replaced(&self, disk: &Disk) -> bool {
        self.id
            .is_some_and(|id| disk.file_id(&self.log_path()).ok() != Some(id))
    }

    /// Whether the name is still this file's, in a handle that only reads; without a file, whether
    /// no file has the name.
    pub(crate) fn is_as_found(&self, disk: &Disk) -> bool {
        match self.stand_in {
            Some(_) => disk.file_id(&self.log_path()).is_err(),
            None => !self.is_replaced(disk),
        }
    }

    pub(crate) fn file_id(&self) -> Option<FileId> {
        self.id
    }

    pub(crate) fn base_offset(&self) -> Offset {
        self.base_offset
    }

    pub(crate) fn next_offset(&self) -> Offset {
        self.next_offset.load(Ordering::Acquire)
    }

    #[inline]
    pub(crate) fn end(&self) -> Position {
        Position(self.end.load(Ordering::Acquire))
    }

    /// Makes bytes and offsets visible to readers. Only the log that appends or truncates calls it.
    #[inline]
    pub(crate) fn publish(&self, end: Position, next_offset: Offset) {
        // The offset first: a reader that sees the new end then also sees an offset that covers it.
        self.next_offset.store(next_offset, Ordering::Release);
        self.end.store(end.0, Ordering::Release);
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.dir.join(file_name::log(self.base_offset))
    }

    pub(crate) fn index_path(&self) -> PathBuf {
        self.dir.join(file_name::index(self.base_offset))
    }

    pub(crate) fn time_index_path(&self) -> PathBuf {
        self.dir.join(file_name::time_index(self.base_offset))
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = PathBuf> + '_ {
        file_name::of_segment(self.base_offset)
            .into_iter()
            .map(|name| self.dir.join(name))
    }

    /// Opens the file if need be. Callers hold it for one call only: meanwhile it cannot be closed
    /// (`open_files.rs`).
    pub(crate) fn file(self: &Arc<Self>, disk: &Disk, pool: &OpenFiles) -> Result<Arc<File>> {
        let opened = self.open_file(disk, pool);
        opened.map_err(|error| Error::io(&self.log_path(), "open", error))
    }

    fn open_file(self: &Arc<Self>, disk: &Disk, pool: &OpenFiles) -> std::io::Result<Arc<File>> {
        let mut slot = self.file.lock();
        if let Some(file) = &slot.file {
            self.used.store(true, Ordering::Relaxed);
            return Ok(Arc::clone(file));
        }
        let file = match &self.stand_in {
            Some(stand_in) => disk.open(stand_in, Access::Read)?,
            None => disk.open(&self.log_path(), Access::Read)?,
        };
        let file = Arc::new(file);
        // The segment that replaced this one may have been opened under its name.
        let another = self.id.is_some_and(|id| file.id().ok() != Some(id));
        if another || self.is_gone() {
            return Err(std::io::ErrorKind::NotFound.into());
        }
        *slot = FileSlot {
            file: Some(Arc::clone(&file)),
            kept: false,
        };
        // Unlocked before the pool is called, which may lock another segment to close its file.
        drop(slot);
        pool.opened(self);
        Ok(file)
    }

    fn open_already(&self) -> Option<Arc<File>> {
        let file = self.file.lock().file.clone()?;
        self.used.store(true, Ordering::Relaxed);
        Some(file)
    }

    /// Keeps a file open that is open for writing, or temporarily under another name, until
    /// [`Self::close_file`].
    pub(crate) fn keep_file(&self, file: &Arc<File>) {
        *self.file.lock() = FileSlot {
            file: Some(Arc::clone(file)),
            kept: true,
        };
    }

    pub(crate) fn set_grows(&self, grows: bool) {
        self.grows.store(grows, Ordering::Release);
    }

    /// Closes the file; a sealed segment also drops its indexes.
    pub(crate) fn close_file(&self) {
        *self.file.lock() = FileSlot::default();
        self.forget_what_was_read();
    }

    /// Ends [`Self::keep_file`] for a segment that its log and the caller hold. If a reader holds
    /// it too, the file stays open as if opened for reading: it may be unlinked before the next
    /// read.
    pub(crate) fn release_file(self: &Arc<Self>, pool: &OpenFiles) {
        if Arc::strong_count(self) <= 2 {
            self.close_file();
            return;
        }
        let mut slot = self.file.lock();
        if std::mem::take(&mut slot.kept) {
            drop(slot);
            pool.opened(self);
        }
    }

    fn close_if_read(&self) {
        let mut slot = self.file.lock();
        if slot.kept {
            return;
        }
        *slot = FileSlot::default();
        drop(slot);
        self.forget_what_was_read();
    }

    fn forget_what_was_read(&self) {
        self.forget_digest();
        let mut index = self.index.write();
        // The indexes of the active segment are ahead of their files, and cannot be read again.
        if !self.grows.load(Ordering::Acquire) {
            *index = None;
        }
    }

    fn take_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn mark_gone(&self) {
        self.gone.store(true, Ordering::Release);
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Replaces the indexes. The caller makes sure that nothing else changes the segment.
    pub(crate) fn set_index(&self, index: SparseIndex, newest: Option<Timestamp>) {
        let mut slot = self.index.write();
        self.index_version.fetch_add(1, Ordering::AcqRel);
        let newest = newest.unwrap_or(Timestamp::NONE);
        self.newest_ms.store(newest.as_millis(), Ordering::Release);
        *slot = Some(index);
    }

    fn index_version(&self) -> u64 {
        self.index_version.load(Ordering::Acquire)
    }

    /// Sets indexes that a scan built, unless others, of newer bytes, were set since `version`.
    /// Entries appended since the scan are kept.
    fn adopt_index(&self, scanned: &TailScan, version: u64) {
        let mut slot = self.index.write();
        if self.index_version() != version {
            return;
        }
        self.index_version.fetch_add(1, Ordering::AcqRel);
        let mut index = scanned.index.clone();
        let newest = scanned.newest.unwrap_or(Timestamp::NONE);
        if self.grows.load(Ordering::Acquire) {
            // Batches behind the scan were appended meanwhile; only the index in memory has their
            // entries.
            if let Some(known) = slot.take() {
                let next = relative(self.base_offset, scanned.next_offset);
                index.extend(&known, scanned.end, next.unwrap_or(u32::MAX));
            }
            self.raise_newest(newest);
        } else {
            self.newest_ms.store(newest.as_millis(), Ordering::Release);
        }
        *slot = Some(index);
    }

    pub(crate) fn modified(&self, disk: &Disk) -> Result<Timestamp> {
        let path = self.log_path();
        disk.modified(&path).at(&path, "access")
    }

    pub(crate) fn add_final_entry(&self, progress: &IndexProgress) {
        if let Some(index) = &mut *self.index.write() {
            progress.final_entry(index);
        }
    }

    pub(crate) fn index_lens(&self) -> (usize, usize) {
        let index = self.index.read();
        let lens = |index: &SparseIndex| (index.offset_entries().len(), index.time_entries().len());
        index.as_ref().map_or((0, 0), lens)
    }

    /// The newest timestamp, if it is in memory: it was looked up before, or the segment is active.
    pub(crate) fn newest_known(&self) -> Option<Timestamp> {
        let newest = Timestamp::from_millis(self.newest_ms.load(Ordering::Acquire));
        Some(newest).filter(|newest| *newest > Timestamp::NONE)
    }

    pub(crate) fn add_entries(&self, progress: &IndexProgress, batch: Indexed) {
        progress.entries(self.index.write().get_or_insert_default(), batch);
    }

    /// Passes the indexes to `look`; loads or rebuilds them if need be.
    pub(crate) fn with_index<T>(
        self: &Arc<Self>,
        disk: &Disk,
        pool: &OpenFiles,
        look: impl FnOnce(&SparseIndex) -> T,
    ) -> Result<T> {
        loop {
            if let Some(index) = &*self.index.read() {
                return Ok(look(index));
            }
            let version = self.index_version();
            let index = self.load_index(disk, pool)?;
            let mut slot = self.index.write();
            let replaced = self.index_version() != version;
            // If the index was replaced meanwhile (and dropped again), what was loaded here may be
            // of older bytes: look again.
            if slot.is_some() || !replaced {
                return Ok(look(slot.get_or_insert(index)));
            }
        }
    }

    pub(crate) fn newest(
        self: &Arc<Self>,
        disk: &Disk,
        pool: &OpenFiles,
    ) -> Result<Option<Timestamp>> {
        match self.newest_ms.load(Ordering::Acquire) {
            NEWEST_UNKNOWN => {
                // Set with the index locked, so that an index that later proves wrong can correct
                // it.
                self.with_index(disk, pool, |index| {
                    let newest = index.last_time_entry().map(|entry| entry.timestamp);
                    self.raise_newest(newest.unwrap_or(Timestamp::NONE));
                    newest
                })
            }
            millis => Ok(Some(Timestamp::from_millis(millis)).filter(|t| *t > Timestamp::NONE)),
        }
    }

    #[inline]
    pub(crate) fn raise_newest(&self, newest: Timestamp) {
        self.newest_ms
            .fetch_max(newest.as_millis(), Ordering::AcqRel);
    }

    /// Reads the index files; rebuilds missing or wrong indexes (I2), but not their files.
    fn load_index(self: &Arc<Self>, disk: &Disk, pool: &OpenFiles) -> Result<SparseIndex> {
        if let Some(index) = self.read_index_files(disk)? {
            // The checksums in the digest are enough; without them a few batches are read.
            let right = if let Some(right) = self.vouches_for(&index, disk) {
                right
            } else {
                let file = self.file(disk, pool)?;
                let agree = self.batches(&file).agree_with(&index);
                agree.at(&self.log_path(), "read")?
            };
            // If the segment was replaced, the index files under its names belong to the new one.
            if right && !self.is_gone() && !self.is_replaced(disk) {
                return Ok(index);
            }
        }
        Ok(self.rebuild_index(disk, pool)?.index)
    }

    pub(crate) fn batches<'a>(&self, file: &'a File) -> Batches<'a> {
        Batches {
            file,
            base_offset: self.base_offset,
            end: self.end(),
        }
    }
}
