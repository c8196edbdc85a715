//! The flushed marks of all logs of one root, in one file.
//!
//! Knows nothing about how a log recovers; it keeps one small fact a log: up to where everything
//! is safely on disk, and where the log starts.
//!
//! 1. A mark is written only after the sync it speaks of succeeded, so it is always a lower bound.
//! 2. Each log has two slots, written in turn: a torn write leaves the other.
//! 3. A write goes to the page cache, which survives the process. The file itself is synced at
//!    most once a second, and whenever somebody is about to rely on it (a roll, a close, a
//!    deletion).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::disk::{Access, Disk, File};
use crate::error::{Error, IoContext, Result};
use crate::format::{Mark, MarkKey, SLOT_LEN, file_name};
use crate::sync::Mutex;

/// How long the marks of a running root may be unsynced.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// The largest file of marks that is read: four million logs.
const FILE_BYTES_MAX: usize = 1 << 30;

/// The marks of one root.
#[derive(Debug)]
pub(crate) struct Marks {
    path: PathBuf,
    file: Option<File>,
    table: Mutex<Table>,
    synced_at: Mutex<Option<Instant>>,
}

#[derive(Debug, Default)]
struct Table {
    newest: BTreeMap<MarkKey, (u32, Mark)>,
    free: Vec<u32>,
    pairs: u32,
}

/// Where the marks of one log stand in the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MarkPlace {
    pair: u32,
}

impl Marks {
    /// Opens the marks of a root for writing, making the file when it is not there.
    pub(crate) fn open(disk: &Disk, path: &Path) -> Result<Self> {
        let found = disk.read_small(path, FILE_BYTES_MAX).at(path, "read")?;
        let file = if found.is_some() {
            disk.open(path, Access::Write).at(path, "open")?
        } else {
            disk.create(path).at(path, "create")?
        };
        Ok(Self::with(path, Some(file), &found.unwrap_or_default()))
    }

    /// Reads the marks of a root; writing one is a bug of the caller that does nothing.
    pub(crate) fn read_only(disk: &Disk, path: &Path) -> Result<Self> {
        let found = disk.read_small(path, FILE_BYTES_MAX).at(path, "read")?;
        Ok(Self::with(path, None, &found.unwrap_or_default()))
    }

    /// The marks of a root whose own are not to be believed: none.
    pub(crate) fn none(root: &Path) -> Self {
        Self::with(&root.join(file_name::MARKS), None, &[])
    }

    fn with(path: &Path, file: Option<File>, bytes: &[u8]) -> Self {
        let mut table = Table::default();
        for pair in bytes.chunks(2 * SLOT_LEN) {
            let index = table.pairs;
            table.pairs = table.pairs.saturating_add(1);
            let marks = pair.chunks(SLOT_LEN).filter_map(Mark::decode);
            match marks.max_by_key(|mark| mark.sequence) {
                Some(mark) => drop(table.newest.insert(mark.key, (index, mark))),
                None => table.free.push(index),
            }
        }
        Self {
            path: path.to_path_buf(),
            file,
            table: Mutex::new(table),
            synced_at: Mutex::new(None),
        }
    }

    /// The newest mark of a log, `None` when it has none.
    pub(crate) fn find(&self, key: MarkKey) -> Option<Mark> {
        self.table.lock().newest.get(&key).map(|(_, mark)| *mark)
    }

    /// The place of a log's marks, made when it has none.
    pub(crate) fn place(&self, key: MarkKey) -> MarkPlace {
        let mut table = self.table.lock();
        if let Some((pair, _)) = table.newest.get(&key) {
            return MarkPlace { pair: *pair };
        }
        let pair = table.free.pop().unwrap_or_else(|| {
            let pair = table.pairs;
            table.pairs = pair.saturating_add(1);
            pair
        });
        table.newest.insert(
            key,
            (
                pair,
                Mark {
                    key,
                    ..Mark::default()
                },
            ),
        );
        MarkPlace { pair }
    }

    /// Writes a mark into the page cache; its sequence must be one above the last.
    pub(crate) fn write(&self, place: MarkPlace, mark: &Mark) -> Result<()> {
        let Some(file) = &self.file else {
            return Err(Error::ReadOnly);
        };
        let half = mark.sequence & 1;
        let slot = u64::from(place.pair).saturating_mul(2).saturating_add(half);
        let position = slot.saturating_mul(u64::try_from(SLOT_LEN).unwrap_or(u64::MAX));
        file.write_at(position, &mark.encode())
            .at(&self.path, "write")?;
        self.table
            .lock()
            .newest
            .insert(mark.key, (place.pair, *mark));
        Ok(())
    }

    /// Makes every mark that was written survive power loss.
    pub(crate) fn sync(&self, now: Instant) -> Result<()> {
        let Some(file) = &self.file else {
            return Err(Error::ReadOnly);
        };
        file.sync_data().at(&self.path, "sync")?;
        *self.synced_at.lock() = Some(now);
        Ok(())
    }

    /// The same, but at most once a second.
    pub(crate) fn sync_by_the_way(&self, now: Instant) -> Result<()> {
        let due = self
            .synced_at
            .lock()
            .is_none_or(|at| now.duration_since(at) >= SYNC_EVERY);
        if due { self.sync(now) } else { Ok(()) }
    }

    /// Forgets a log; its place may be given to another.
    pub(crate) fn forget(&self, key: MarkKey) -> Result<()> {
        let Some(file) = &self.file else {
            return Err(Error::ReadOnly);
        };
        let Some((pair, _)) = self.table.lock().newest.remove(&key) else {
            return Ok(());
        };
        let zeros = [0; 2 * SLOT_LEN];
        let length = u64::try_from(zeros.len()).unwrap_or(u64::MAX);
        file.write_at(u64::from(pair).saturating_mul(length), &zeros)
            .at(&self.path, "write")?;
        self.table.lock().free.push(pair);
        Ok(())
    }

    /// The keys of all logs that have a mark.
    pub(crate) fn keys(&self) -> Vec<MarkKey> {
        self.table.lock().newest.keys().copied().collect()
    }
}
