//! Floor 3: one segment, a run of batches in a file, with its two sparse indexes.
//!
//! Knows nothing about logs, retention or who appends. A segment is *active* while its log writes
//! it, through an [`Appender`](crate::disk::Appender) that the log holds; after that it is
//! *sealed*: its bytes never change, and it is open only while a reader uses it.
//!
//! 1. Bytes below [`Segment::end`] are whole batches that never change, except by a truncation,
//!    which the log announces.
//! 2. Indexes are hints: every entry is checked against the batches, and indexes that disagree with
//!    them are rebuilt from the `.log`.

mod batch_cursor;
mod digests;
mod guard;
mod hints;
mod index_files;
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
pub(crate) use guard::{Guard, Landing, size_in};
pub(crate) use hints::Batches;
use index_files::write_whole;
pub(crate) use open_files::{OpenFiles, Writes};
pub(crate) use resync::{Search, batch_behind, count_batches};
pub(crate) use scan::{TailScan, Walk, indexed, scan};
pub(crate) use source::{ReadAt, SegmentFile};
pub(crate) use sparse_index::{IndexProgress, Indexed, SparseIndex, relative};
pub(crate) use transactions::{Judge, Marker, Survey, ends_transaction};

use crate::disk::{Access, Disk, File, FileId};
use crate::error::{Error, IoContext, Result};
use crate::format::file_name;
use crate::sync::{AtomicBool, AtomicI64, AtomicU64, Mutex, Ordering, RwLock};
use crate::types::{Offset, Position, Timestamp};

/// No log holds records with this timestamp: it means "not looked up yet".
const NEWEST_UNKNOWN: i64 = i64::MIN;

/// The open file of a segment.
#[derive(Debug, Default)]
struct FileSlot {
    file: Option<Arc<File>>,
    /// Open for writing, or temporarily under another name: closed only by the code that opened it.
    kept: bool,
}

/// One segment of a log.
#[derive(Debug)]
pub(crate) struct Segment {
    dir: Arc<Path>,
    base_offset: Offset,
    /// The identity of the file, for handles that only read: another file under the same name is
    /// another segment.
    id: Option<FileId>,
    /// For a segment without a file, in a handle that only reads: the file that is read in its
    /// place.
    stand_in: Option<Box<Path>>,
    /// Bytes that readers may read: whole batches.
    end: AtomicU64,
    /// One past the last offset below `end`.
    next_offset: AtomicU64,
    /// Always in memory while the segment is active; loaded on first use once it is sealed.
    index: RwLock<Option<SparseIndex>>,
    /// Raised, with `index` locked, whenever the whole index is replaced: an index made of older
    /// bytes must not replace one made of newer bytes.
    index_version: AtomicU64,
    /// The largest timestamp in milliseconds, [`NEWEST_UNKNOWN`] until it is first asked for.
    newest_ms: AtomicI64,
    file: Mutex<FileSlot>,
    /// What its batches are checked against; looked up on first use.
    guard: Mutex<Option<Guard>>,
    used: AtomicBool,
    /// No digest may be written for it any more.
    retired: AtomicBool,
    /// Its file was removed or replaced: readers that hold it may finish.
    gone: AtomicBool,
    /// It is the active segment: its indexes are ahead of their files and stay in memory.
    grows: AtomicBool,
}

impl Segment {
    /// An existing segment: `end` bytes of batches, the offsets `base_offset..next_offset`.
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
            guard: Mutex::new(None),
            used: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            grows: AtomicBool::new(false),
        }
    }

    /// The same segment, tied to the file with this identity.
    pub(crate) fn of_file(mut self, id: Option<FileId>) -> Self {
        self.id = id;
        self
    }

    /// The same segment without a file of its own, and so without batches: it reads zero bytes of
    /// the stand-in.
    pub(crate) fn without_file(mut self, stand_in: &Path) -> Self {
        self.stand_in = Some(stand_in.into());
        self
    }

    /// Whether its name now belongs to another file, or to none: another process writes the log.
    fn is_replaced(&self, disk: &Disk) -> bool {
        self.id
            .is_some_and(|id| disk.file_id(&self.log_path()).ok() != Some(id))
    }

    /// Whether the file is still the one that the segment was found with, for handles that only
    /// read. A segment without a file is as found while no file has its name.
    pub(crate) fn is_as_found(&self, disk: &Disk) -> bool {
        match self.stand_in {
            Some(_) => disk.file_id(&self.log_path()).is_err(),
            None => !self.is_replaced(disk),
        }
    }

    /// The identity of the file, where known.
    pub(crate) fn file_id(&self) -> Option<FileId> {
        self.id
    }

    /// The first offset that the segment may hold; it names the files.
    pub(crate) fn base_offset(&self) -> Offset {
        self.base_offset
    }

    /// One past the last offset that can be read.
    pub(crate) fn next_offset(&self) -> Offset {
        self.next_offset.load(Ordering::Acquire)
    }

    /// One past the last byte that can be read.
    #[inline]
    pub(crate) fn end(&self) -> Position {
        Position(self.end.load(Ordering::Acquire))
    }

    /// Makes bytes and offsets up to here visible to readers. Only the log that appends (or
    /// truncates) calls it.
    #[inline]
    pub(crate) fn publish(&self, end: Position, next_offset: Offset) {
        // The offset first: a reader that sees the new end then also sees an offset that covers it.
        self.next_offset.store(next_offset, Ordering::Release);
        self.end.store(end.0, Ordering::Release);
    }

    /// The path of the `.log` file.
    pub(crate) fn log_path(&self) -> PathBuf {
        self.dir.join(file_name::log(self.base_offset))
    }

    /// The path of the `.index` file.
    pub(crate) fn index_path(&self) -> PathBuf {
        self.dir.join(file_name::index(self.base_offset))
    }

    /// The path of the `.timeindex` file.
    pub(crate) fn time_index_path(&self) -> PathBuf {
        self.dir.join(file_name::time_index(self.base_offset))
    }

    /// Every path at which the segment may have a file.
    pub(crate) fn paths(&self) -> impl Iterator<Item = PathBuf> + '_ {
        file_name::of_segment(self.base_offset)
            .into_iter()
            .map(|name| self.dir.join(name))
    }

    /// The file, opened for reading if it is not open yet. Hold it for one call only: a file that
    /// is held cannot be closed (`open_files.rs`).
    pub(crate) fn file(self: &Arc<Self>, disk: &Disk, pool: &OpenFiles) -> Result<Arc<File>> {
        let opened = self.open_file(disk, pool);
        opened.map_err(|error| Error::io(&self.log_path(), "open", error))
    }

    /// [`Self::file`], with the error of the disk.
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
        // Unlocked before the pool is told: it may close another segment's file, under that one's
        // lock.
        drop(slot);
        pool.opened(self);
        Ok(file)
    }

    /// The file, if it is already open.
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

    /// Sets whether the segment is the active one, whose indexes must stay in memory.
    pub(crate) fn set_grows(&self, grows: bool) {
        self.grows.store(grows, Ordering::Release);
    }

    /// Closes the file, and drops the indexes of a sealed segment.
    pub(crate) fn close_file(&self) {
        *self.file.lock() = FileSlot::default();
        self.forget_what_was_read();
    }

    /// Ends what [`Self::keep_file`] began, for a segment that its log and the caller hold. If a
    /// reader holds it too, the file stays open like one that was opened for reading: it may be
    /// unlinked before the next read.
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

    /// Closes a file that was opened for reading and is not kept open.
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

    /// Whether the segment was read since the last call.
    fn take_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }

    /// Marks the file as unlinked or replaced.
    pub(crate) fn mark_gone(&self) {
        self.gone.store(true, Ordering::Release);
    }

    /// Whether the file is unlinked or replaced.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Sets newly built indexes unconditionally: the caller makes sure that nothing else changes
    /// the segment.
    pub(crate) fn set_index(&self, index: SparseIndex, newest: Option<Timestamp>) {
        let mut slot = self.index.write();
        self.index_version.fetch_add(1, Ordering::AcqRel);
        let newest = newest.unwrap_or(Timestamp::NONE);
        self.newest_ms.store(newest.as_millis(), Ordering::Release);
        *slot = Some(index);
    }

    /// Compared later by [`Self::adopt_index`].
    fn index_version(&self) -> u64 {
        self.index_version.load(Ordering::Acquire)
    }

    /// Sets indexes that were built from the batches, unless others were set since `version`: those
    /// cover newer bytes. Entries appended since the scan are kept.
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

    /// When the file was last written.
    pub(crate) fn modified(&self, disk: &Disk) -> Result<Timestamp> {
        let path = self.log_path();
        disk.modified(&path).at(&path, "access")
    }

    /// Adds the time entry that ends the index of a sealed or closed segment.
    pub(crate) fn add_final_entry(&self, progress: &IndexProgress) {
        if let Some(index) = &mut *self.index.write() {
            progress.final_entry(index);
        }
    }

    /// The number of entries of the two indexes in memory.
    pub(crate) fn index_lens(&self) -> (usize, usize) {
        let index = self.index.read();
        let lens = |index: &SparseIndex| (index.offset_entries().len(), index.time_entries().len());
        index.as_ref().map_or((0, 0), lens)
    }

    /// The largest timestamp, if it was asked for before or the segment is active.
    pub(crate) fn newest_known(&self) -> Option<Timestamp> {
        let newest = Timestamp::from_millis(self.newest_ms.load(Ordering::Acquire));
        Some(newest).filter(|newest| *newest > Timestamp::NONE)
    }

    /// Adds the entries of a batch that is about to be published.
    pub(crate) fn add_entries(&self, progress: &IndexProgress, batch: Indexed) {
        progress.entries(self.index.write().get_or_insert_default(), batch);
    }

    /// Passes the indexes to a closure, loading or rebuilding them first if needed.
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

    /// The largest timestamp in the segment, `None` when it holds none.
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

    /// Raises the largest timestamp to `newest`, if that is larger.
    #[inline]
    pub(crate) fn raise_newest(&self, newest: Timestamp) {
        self.newest_ms
            .fetch_max(newest.as_millis(), Ordering::AcqRel);
    }

    /// The index files as they are, or rebuilt from the batches if they are missing or wrong (I2).
    /// The files are not rewritten here.
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

    /// The batches, to compare the indexes with.
    pub(crate) fn batches<'a>(&self, file: &'a File) -> Batches<'a> {
        Batches {
            file,
            base_offset: self.base_offset,
            end: self.end(),
        }
    }
}
