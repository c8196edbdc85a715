//! The flushed marks of all logs of one root, in one file.
//!
//! Knows nothing about how a log recovers; it keeps one small fact a log: up to where everything
//! is safely on disk, and where the log starts.
//!
//! 1. A mark is written only after the sync it speaks of succeeded, so it is always a lower bound.
//! 2. Each log has two slots. Only the one that is not known to be durable is written, however
//!    often, until a sync makes it the durable one: a torn write leaves the other.
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
use crate::types::{Sabotage, to_usize};

/// How long the marks of a running root may be unsynced.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// The largest file of marks that is read: four million logs.
const FILE_BYTES_MAX: usize = 1 << 30;

/// The same as `SLOT_LEN`, as a place in the file.
const SLOT_BYTES: u64 = 128;

const _: () = assert!(SLOT_LEN == 128);

/// The marks of one root.
#[derive(Debug)]
pub(crate) struct Marks {
    path: PathBuf,
    file: Option<File>,
    /// What is known of the root's logs speaks of files that somebody else may have changed.
    distrusted: bool,
    table: Mutex<Table>,
    synced_at: Mutex<Option<Instant>>,
}

#[derive(Debug, Default)]
struct Table {
    newest: BTreeMap<MarkKey, (u32, Mark)>,
    free: Vec<u32>,
    /// Of each pair of slots, the one that may be written (I2).
    open_slots: Vec<u64>,
    /// Where slots stand that are neither empty nor valid: torn by a crash, or damaged.
    unreadable: Vec<u64>,
    /// How often the open slot of a pair was written since it was synced.
    unsynced: BTreeMap<u32, u64>,
}

impl Table {
    fn add_pair(&mut self, open_slot: u64) -> u32 {
        let pair = u32::try_from(self.open_slots.len()).unwrap_or(u32::MAX);
        self.open_slots.push(open_slot);
        pair
    }

    /// The place of the slot that may be written, in bytes.
    fn open_position(&self, pair: u32) -> u64 {
        let open = self.open_slots.get(to_usize(u64::from(pair)));
        let slot = u64::from(pair).saturating_mul(2);
        let slot = slot.saturating_add(open.copied().unwrap_or_default());
        slot.saturating_mul(SLOT_BYTES)
    }

    fn note_write(&mut self, pair: u32) {
        let writes = self.unsynced.entry(pair).or_default();
        *writes = writes.saturating_add(1);
    }

    /// Ends what `seen` tells of: after a sync that succeeded the slots that were not written
    /// again meanwhile are the durable ones.
    fn end_sync(&mut self, seen: &BTreeMap<u32, u64>, synced: bool) {
        for (pair, writes) in seen {
            let written_again = self.unsynced.get(pair) != Some(writes);
            if synced && written_again {
                continue;
            }
            // After a failed sync only a new write can make the slot durable.
            self.unsynced.remove(pair);
            if let Some(open) = self.open_slots.get_mut(to_usize(u64::from(*pair))) {
                *open ^= u64::from(synced && !Sabotage::DurableMarkOverwritten.is_on());
            }
        }
    }
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
        let file = match &found {
            Some(bytes) => {
                let file = disk.open(path, Access::Write).at(path, "open")?;
                // Only now the newest slots are known to be durable (I2): whoever wrote them may
                // have been killed, or its last sync have failed.
                file.write_at(0, bytes).at(path, "write")?;
                file.sync_data().at(path, "sync")?;
                file
            }
            None => disk.create(path).at(path, "create")?,
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
        Self {
            distrusted: true,
            ..Self::with(&root.join(file_name::MARKS), None, &[])
        }
    }

    /// Whether nothing is to be believed that was noted of the logs: neither marks nor digests.
    pub(crate) fn are_distrusted(&self) -> bool {
        self.distrusted
    }

    /// The same marks, with nothing believed that was noted beside them.
    pub(crate) fn distrusting(self) -> Self {
        Self {
            distrusted: true,
            ..self
        }
    }

    fn with(path: &Path, file: Option<File>, bytes: &[u8]) -> Self {
        let mut table = Table::default();
        for (slot, position) in bytes.chunks(SLOT_LEN).zip((0..).step_by(SLOT_LEN)) {
            if Mark::decode(slot).is_none() && slot.iter().any(|byte| *byte != 0) {
                table.unreadable.push(position);
            }
        }
        for pair in bytes.chunks(2 * SLOT_LEN) {
            let marks = pair.chunks(SLOT_LEN).zip(0..);
            let marks = marks.filter_map(|(slot, at)| Some((Mark::decode(slot)?, at)));
            let newest = marks.max_by_key(|(mark, _)| mark.sequence);
            let index = table.add_pair(newest.map_or(0, |(_, at): (_, u64)| 1 - at));
            match newest {
                Some((mark, _)) => drop(table.newest.insert(mark.key, (index, mark))),
                None => table.free.push(index),
            }
        }
        Self {
            path: path.to_path_buf(),
            file,
            distrusted: false,
            table: Mutex::new(table),
            synced_at: Mutex::new(None),
        }
    }

    /// The places of the slots that hold something that is no mark, in bytes.
    pub(crate) fn unreadable(&self) -> Vec<u64> {
        self.table.lock().unreadable.clone()
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
        let pair = table.free.pop();
        let pair = pair.unwrap_or_else(|| table.add_pair(0));
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
        // Under the lock, so that no sync in between takes the slot for the durable one.
        let mut table = self.table.lock();
        let position = table.open_position(place.pair);
        table.note_write(place.pair);
        file.write_at(position, &mark.encode())
            .at(&self.path, "write")?;
        table.newest.insert(mark.key, (place.pair, *mark));
        Ok(())
    }

    /// Takes a mark for true, in memory alone.
    pub(crate) fn assume(&self, mark: &Mark) {
        let place = self.place(mark.key);
        let mut table = self.table.lock();
        table.newest.insert(mark.key, (place.pair, *mark));
    }

    /// Makes every mark that was written survive power loss.
    pub(crate) fn sync(&self, now: Instant) -> Result<()> {
        let Some(file) = &self.file else {
            return Err(Error::ReadOnly);
        };
        let seen = self.table.lock().unsynced.clone();
        let synced = file.sync_data();
        self.table.lock().end_sync(&seen, synced.is_ok());
        synced.at(&self.path, "sync")?;
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

    /// Writes both slots of a mark of an open log, durably; gives it as it stands there.
    pub(crate) fn write_both(&self, mark: Mark, now: Instant) -> Result<Mark> {
        let place = self.place(mark.key);
        let sequence = self.find(mark.key).map_or(0, |mark| mark.sequence);
        let mut mark = Mark {
            sequence,
            closed: false,
            ..mark
        };
        for _slot in 0..2 {
            mark.sequence = mark.sequence.saturating_add(1);
            self.write(place, &mark)?;
            self.sync(now)?;
        }
        Ok(mark)
    }

    /// Forgets a log; its place may be given to another.
    pub(crate) fn forget(&self, key: MarkKey) -> Result<()> {
        let Some(file) = &self.file else {
            return Err(Error::ReadOnly);
        };
        let Some((pair, _)) = self.table.lock().newest.remove(&key) else {
            return Ok(());
        };
        let position = u64::from(pair).saturating_mul(2).saturating_mul(SLOT_BYTES);
        file.write_at(position, &[0; 2 * SLOT_LEN])
            .at(&self.path, "write")?;
        let mut table = self.table.lock();
        table.note_write(pair);
        table.free.push(pair);
        Ok(())
    }

    /// The keys of all logs that have a mark.
    pub(crate) fn keys(&self) -> Vec<MarkKey> {
        self.table.lock().newest.keys().copied().collect()
    }
}
