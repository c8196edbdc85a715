//! The flushed marks of all logs of one root, in one file.
//!
//! Knows nothing about how a log recovers, only up to where it is durable and where it starts.
//!
//! 1. A mark is a lower bound: it is written only after the sync that it reports has succeeded.
//! 2. Each log has two slots. Only the one that is not known to be durable is written, any number
//!    of times, until a sync makes it the durable one: a torn write leaves the other slot whole. If
//!    the disk is full at an opening, no slot is known to be durable: all are written again before
//!    the first new mark.
//! 3. A write goes to the page cache, which survives the process. The file is synced at most once a
//!    second, and whenever a caller is about to rely on it (a roll, a close, a deletion).
//! 4. Every write has a number that is never used again, and only one thread syncs at a time. So a
//!    sync that ends late does not take a newer write for one that it covered, and none succeeds
//!    only because the system reported the failure to a concurrent one.
//! 5. Both slots of a log are allocated before its first mark is written. So on a disk that fills
//!    up later, the mark that lets space be freed needs no new space.
//! 6. What a failed write or sync leaves is written again before the next sync: otherwise the
//!    system would call that a success although it wrote nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::disk::{Access, Disk, File, LiesOn, SMALL_FILE_BYTES_MAX};
use crate::error::{Error, IoContext, Result};
use crate::format::{Mark, MarkKey, SLOT_LEN, file_name};
use crate::sync::{AtomicBool, Mutex, Ordering};
use crate::types::{Sabotage, to_u64, to_usize};

const SYNC_EVERY: Duration = Duration::from_secs(1);

const SLOT_BYTES: u64 = 128;

const _: () = assert!(SLOT_LEN == 128);

#[derive(Debug)]
pub(crate) struct Marks {
    path: PathBuf,
    file: Option<File>,
    /// Another program may have changed the files: nothing recorded about the logs may be trusted.
    distrusted: AtomicBool,
    table: Mutex<Table>,
    /// Every write up to this number is durable; held during a sync (I4).
    covered: Mutex<u64>,
    /// The file at its opening, until that is known to be durable (I2).
    unconfirmed: Mutex<Option<Vec<u8>>>,
    /// The disk to reserve ballast on, if overwriting a file there takes new space.
    ballast_on: Option<Disk>,
    synced_at: Mutex<Option<Instant>>,
    /// A file that another process writes, kept open for [`Self::look_soon`].
    kept: Mutex<Option<File>>,
}

#[derive(Debug, Default)]
struct Table {
    /// The pair of slots of each log, and its newest mark.
    newest: BTreeMap<MarkKey, (u32, Mark)>,
    free: Vec<u32>,
    /// Bytes of the file that are allocated (I5).
    len_bytes: u64,
    /// For each pair of slots, the one that may be written (I2).
    open_slots: Vec<u64>,
    /// Positions of slots that are neither empty nor valid: torn by a crash, or damaged.
    unreadable: Vec<u64>,
    /// The number of the newest write (I4).
    writes: u64,
    /// The newest write of each pair since its sync.
    unsynced: BTreeMap<u32, u64>,
    /// Pairs whose newest write or its sync failed (I6).
    lost: BTreeSet<u32>,
    /// Pairs of forgotten logs, free once their zeros are durable: before that a power cut may
    /// bring back the old mark, which would win over the first marks of another log.
    leaving: BTreeSet<u32>,
}

struct Seen {
    unsynced: BTreeMap<u32, u64>,
    writes: u64,
}

impl Table {
    fn add_pair(&mut self, open_slot: u64) -> u32 {
        let pair = u32::try_from(self.open_slots.len()).unwrap_or(u32::MAX);
        self.open_slots.push(open_slot);
        pair
    }

    fn open_position(&self, pair: u32) -> u64 {
        let open = self.open_slots.get(to_usize(u64::from(pair)));
        let slot = u64::from(pair).saturating_mul(2);
        let slot = slot.saturating_add(open.copied().unwrap_or_default());
        slot.saturating_mul(SLOT_BYTES)
    }

    fn pair_position(pair: u32) -> u64 {
        u64::from(pair).saturating_mul(2).saturating_mul(SLOT_BYTES)
    }

    /// Allocates both slots (I5).
    fn make_room(&mut self, file: &File, pair: u32) -> std::io::Result<()> {
        let end = Self::pair_position(pair).saturating_add(2 * SLOT_BYTES);
        if end <= self.len_bytes {
            return Ok(());
        }
        let zeros = vec![0; to_usize(end.saturating_sub(self.len_bytes))];
        file.write_at(self.len_bytes, &zeros)?;
        self.len_bytes = end;
        Ok(())
    }

    fn write(
        &mut self,
        file: &File,
        pair: u32,
        position: u64,
        bytes: &[u8],
    ) -> std::io::Result<()> {
        match file.write_at(position, bytes) {
            Ok(()) => {
                self.writes = self.writes.saturating_add(1);
                self.unsynced.insert(pair, self.writes);
                self.lost.remove(&pair);
                Ok(())
            }
            Err(error) => {
                // Its content is unknown: a sync must not make this slot the durable one.
                self.unsynced.remove(&pair);
                self.lost.insert(pair);
                Err(error)
            }
        }
    }

    /// Repeats failed writes (I6), to the same slots.
    fn write_lost(&mut self, file: &File) -> std::io::Result<()> {
        for pair in self.lost.clone() {
            if self.leaving.contains(&pair) {
                self.write(file, pair, Self::pair_position(pair), &[0; 2 * SLOT_LEN])?;
                continue;
            }
            let mut marks = self.newest.values();
            let mark = marks.find(|(of, mark)| *of == pair && mark.sequence > 0);
            match mark.map(|(_, mark)| mark.encode()) {
                Some(slot) => self.write(file, pair, self.open_position(pair), &slot)?,
                // The first mark of a log failed to be written: the log has none.
                None => drop(self.lost.remove(&pair)),
            }
        }
        Ok(())
    }

    fn begin_sync(&mut self, file: &File) -> std::io::Result<Seen> {
        self.write_lost(file)?;
        file.sync_begins();
        Ok(Seen {
            unsynced: self.unsynced.clone(),
            writes: self.writes,
        })
    }

    /// After a success, slots that were not written since the sync began are the durable ones.
    fn end_sync(&mut self, seen: &Seen, synced: bool) {
        for (pair, number) in &seen.unsynced {
            // The system may have marked the pages clean although it did not write them.
            if !synced {
                self.unsynced.remove(pair);
                self.lost.insert(*pair);
                continue;
            }
            // Written again while the sync ran, which may have covered either write.
            if self.unsynced.get(pair) != Some(number) {
                continue;
            }
            self.unsynced.remove(pair);
            if self.leaving.remove(pair) {
                self.free.push(*pair);
            }
            // The slot just synced is the durable one; from now on the other one is written.
            if let Some(open) = self.open_slots.get_mut(to_usize(u64::from(*pair))) {
                *open ^= u64::from(!Sabotage::DurableMarkOverwritten.is_on());
            }
        }
    }
}

/// The pair of slots of a log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MarkPlace {
    pair: u32,
}

impl Marks {
    pub(crate) fn open(disk: &Disk, path: &Path) -> Result<Self> {
        let found = read_pairs(disk, path)?;
        let file = match &found {
            Some(_) => disk.open(path, Access::Write).at(path, "open")?,
            None => disk.create(path).at(path, "create")?,
        };
        let copies = file.lies_on() == LiesOn::CopyOnWrite;
        let file = file.with_ballast(path.parent().unwrap_or(path));
        let marks = Self {
            ballast_on: copies.then(|| disk.clone()),
            ..Self::with(path, Some(file), found.as_deref().unwrap_or_default())
        };
        *marks.unconfirmed.lock() = found;
        match marks
            .file
            .as_ref()
            .map_or(Ok(()), |file| marks.confirm(file))
        {
            // On a full disk the root must still open: freeing space needs it open.
            Ok(()) | Err(Error::NoSpace { .. }) => {}
            Err(error) => return Err(error),
        }
        marks.keep_ballast();
        Ok(marks)
    }

    /// Makes the newest slots durable (I2): their writer may have been killed, or its last sync may
    /// have failed.
    fn confirm(&self, file: &File) -> Result<()> {
        let mut unconfirmed = self.unconfirmed.lock();
        if let Some(bytes) = unconfirmed.as_deref() {
            // Written again first: after a failed sync the pages may count as clean, and another
            // sync would write nothing.
            file.write_at(0, bytes).at(&self.path, "write")?;
            file.sync_begins();
            file.sync_data().at(&self.path, "sync")?;
            file.sync_ended();
            *unconfirmed = None;
        }
        Ok(())
    }

    /// Reserves the ballast again, if it was used and there is space. Where overwriting takes new
    /// space, retention needs it for the mark that lets it free space.
    pub(crate) fn keep_ballast(&self) {
        if let Some(disk) = &self.ballast_on {
            // Without it a full disk is reported as such, and nothing is lost.
            disk.make_ballast(self.home()).ok();
        }
    }

    pub(crate) fn home(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }

    pub(crate) fn read_only(disk: &Disk, path: &Path) -> Result<Self> {
        let found = read_pairs(disk, path)?;
        Ok(Self::with(path, None, &found.unwrap_or_default()))
    }

    /// No marks, distrusted.
    pub(crate) fn none(root: &Path) -> Self {
        Self {
            distrusted: AtomicBool::new(true),
            ..Self::with(&root.join(file_name::MARKS), None, &[])
        }
    }

    /// Whether neither marks nor digests may be trusted.
    pub(crate) fn are_distrusted(&self) -> bool {
        self.distrusted.load(Ordering::Acquire)
    }

    /// Whether another handle writes the marks, and they are trusted.
    pub(crate) fn are_anothers(&self) -> bool {
        self.file.is_none() && !self.are_distrusted()
    }

    /// Begins or ends trust in the marks that another process writes.
    pub(crate) fn believe(&self, disk: &Disk, believed: bool) -> Result<()> {
        if self.file.is_some() || self.are_distrusted() != believed {
            return Ok(());
        }
        let found = if believed {
            read_pairs(disk, &self.path)?.unwrap_or_default()
        } else {
            Vec::new()
        };
        let fresh = Self::with(&self.path, None, &found);
        *self.table.lock() = fresh.table.into_inner();
        self.distrusted.store(!believed, Ordering::Release);
        Ok(())
    }

    pub(crate) fn distrusting(self) -> Self {
        Self {
            distrusted: AtomicBool::new(true),
            ..self
        }
    }

    fn with(path: &Path, file: Option<File>, bytes: &[u8]) -> Self {
        let mut table = Table {
            len_bytes: to_u64(bytes.len()),
            ..Table::default()
        };
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
            distrusted: AtomicBool::new(false),
            table: Mutex::new(table),
            covered: Mutex::new(0),
            unconfirmed: Mutex::new(None),
            ballast_on: None,
            synced_at: Mutex::new(None),
            kept: Mutex::new(None),
        }
    }

    /// The positions of slots that hold something other than a mark.
    pub(crate) fn unreadable(&self) -> Vec<u64> {
        self.table.lock().unreadable.clone()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn find(&self, key: MarkKey) -> Option<Mark> {
        self.table.lock().newest.get(&key).map(|(_, mark)| *mark)
    }

    /// [`look_again`](Self::look_again), but into the file that the last call left open: for a
    /// caller that looks often, and sometimes uses `look_again`. A mark in a replaced file is old,
    /// but valid.
    pub(crate) fn look_soon(&self, disk: &Disk, key: MarkKey) -> Result<Option<Mark>> {
        let pair = self.table.lock().newest.get(&key).map(|(pair, _)| *pair);
        if let Some(pair) = pair.filter(|_| !self.are_distrusted() && self.file.is_none()) {
            let mut kept = self.kept.lock();
            if kept.is_none() {
                *kept = disk.open(&self.path, Access::Read).ok();
            }
            let read = |file: &File| self.read_pair(file, pair, key).ok().flatten();
            if let Some(mark) = kept.as_ref().and_then(read) {
                self.table.lock().newest.insert(key, (pair, mark));
                return Ok(Some(mark));
            }
        }
        self.look_again(disk, key)
    }

    fn read_pair(&self, file: &File, pair: u32, key: MarkKey) -> std::io::Result<Option<Mark>> {
        let known = self.find(key).map_or(0, |mark| mark.sequence);
        let mut slots = [0; 2 * SLOT_LEN];
        let mut found = None;
        for _ in 0..2 {
            file.read_at(Table::pair_position(pair), &mut slots)?;
            found = newest_of(&slots, key).map(|(_, mark)| mark);
            if found.is_some_and(|mark| mark.sequence >= known) {
                break;
            }
            // The newest was read half written, and an older one was found, or none.
        }
        Ok(found)
    }

    /// Reads the newest mark of a log again from a file that another handle writes.
    pub(crate) fn look_again(&self, disk: &Disk, key: MarkKey) -> Result<Option<Mark>> {
        if self.are_distrusted() || self.file.is_some() {
            return Ok(self.find(key));
        }
        // Another file may have its name by now.
        *self.kept.lock() = None;
        let pair = self.table.lock().newest.get(&key).map(|(pair, _)| *pair);
        let mut found = None;
        if let Some(pair) = pair {
            match disk.open(&self.path, Access::Read) {
                Err(missing) if missing.kind() == std::io::ErrorKind::NotFound => {}
                file => {
                    let file = file.at(&self.path, "open")?;
                    let mark = self.read_pair(&file, pair, key).at(&self.path, "read")?;
                    found = mark.map(|mark| (pair, mark));
                }
            }
        }
        if found.is_none() {
            // It has no mark, or its mark has moved.
            let bytes = read_pairs(disk, &self.path)?.unwrap_or_default();
            found = newest_of(&bytes, key);
        }
        let mut table = self.table.lock();
        let unwritten = Mark {
            key,
            ..Mark::default()
        };
        match found {
            Some(newest) => drop(table.newest.insert(key, newest)),
            // Only its slots were assigned, nothing was written.
            None if table
                .newest
                .get(&key)
                .is_some_and(|(_, mark)| *mark == unwritten) =>
            {
                table.newest.remove(&key);
            }
            None => {}
        }
        Ok(table.newest.get(&key).map(|(_, mark)| *mark))
    }

    /// The slots of a log; assigns and allocates them if it has none.
    pub(crate) fn place(&self, key: MarkKey) -> MarkPlace {
        let mut table = self.table.lock();
        if let Some((pair, _)) = table.newest.get(&key) {
            return MarkPlace { pair: *pair };
        }
        let pair = table.free.pop();
        let pair = pair.unwrap_or_else(|| table.add_pair(0));
        if let Some(file) = &self.file {
            // Without room the first mark fails as such, and nothing is lost.
            table.make_room(file, pair).ok();
        }
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
        self.confirm(file)?;
        // Under the lock, so that no sync in between makes this slot the durable one.
        let mut table = self.table.lock();
        let position = table.open_position(place.pair);
        table
            .write(file, place.pair, position, &mark.encode())
            .at(&self.path, "write")?;
        table.newest.insert(mark.key, (place.pair, *mark));
        Ok(())
    }

    /// Sets the newest mark of a log in memory only.
    pub(crate) fn assume(&self, mark: &Mark) {
        let place = self.place(mark.key);
        let mut table = self.table.lock();
        table.newest.insert(mark.key, (place.pair, *mark));
    }

    /// Makes every write before this call durable.
    pub(crate) fn sync(&self, now: Instant) -> Result<()> {
        let Some(file) = &self.file else {
            return Err(Error::ReadOnly);
        };
        self.confirm(file)?;
        // Before waiting for another thread's sync: if that covers these writes, no second sync is
        // needed.
        let wanted = self.table.lock().writes;
        let mut covered = self.covered.lock();
        let seen = {
            let mut table = self.table.lock();
            if *covered >= wanted && table.lost.is_empty() {
                // Another thread's sync began after the writes that this call must make durable.
                return Ok(());
            }
            table.begin_sync(file).at(&self.path, "write")?
        };
        *self.synced_at.lock() = Some(now);
        let synced = file.sync_data();
        {
            let mut table = self.table.lock();
            table.end_sync(&seen, synced.is_ok());
            if synced.is_ok() {
                file.sync_ended();
            }
        }
        synced.at(&self.path, "sync")?;
        *covered = seen.writes;
        self.keep_ballast();
        Ok(())
    }

    /// [`sync`](Self::sync), unless the last one began less than a second ago (I3).
    pub(crate) fn sync_if_due(&self, now: Instant) -> Result<()> {
        let due = {
            let mut at = self.synced_at.lock();
            let due = at.is_none_or(|at| now.duration_since(at) >= SYNC_EVERY);
            if due {
                // Before the sync, so that other threads do not wait for it.
                *at = Some(now);
            }
            due
        };
        if due { self.sync(now) } else { Ok(()) }
    }

    /// Writes a mark to both slots, durably; returns it as written.
    pub(crate) fn write_both(&self, mark: Mark, now: Instant) -> Result<Mark> {
        let place = self.place(mark.key);
        let sequence = self.find(mark.key).map_or(0, |mark| mark.sequence);
        let mut mark = Mark {
            sequence,
            closed: false,
            ..mark
        };
        // Each with its sync: a power cut in between leaves one whole slot.
        for _slot in 0..2 {
            mark.sequence = mark.sequence.saturating_add(1);
            self.write(place, &mark)?;
            self.sync(now)?;
        }
        Ok(mark)
    }

    /// Removes the mark of a log, whose slots can be reused once that is durable.
    pub(crate) fn forget(&self, key: MarkKey) -> Result<()> {
        let Some(file) = &self.file else {
            return Err(Error::ReadOnly);
        };
        self.confirm(file)?;
        let mut table = self.table.lock();
        let Some((pair, _)) = table.newest.remove(&key) else {
            return Ok(());
        };
        table.leaving.insert(pair);
        let position = Table::pair_position(pair);
        let written = table.write(file, pair, position, &[0; 2 * SLOT_LEN]);
        written.at(&self.path, "write")
    }

    pub(crate) fn keys(&self) -> Vec<MarkKey> {
        self.table.lock().newest.keys().copied().collect()
    }
}

/// Whole pairs of slots. A power cut may leave the file ending inside a slot: the rest counts as
/// zeros, which a longer file would hold there.
fn read_pairs(disk: &Disk, path: &Path) -> Result<Option<Vec<u8>>> {
    let found = disk
        .read_small(path, SMALL_FILE_BYTES_MAX)
        .at(path, "read")?;
    Ok(found.map(|mut bytes| {
        bytes.resize(bytes.len().next_multiple_of(2 * SLOT_LEN), 0);
        bytes
    }))
}

fn newest_of(slots: &[u8], key: MarkKey) -> Option<(u32, Mark)> {
    let marks = slots.chunks(SLOT_LEN).zip(0_u32..);
    let marks = marks.filter_map(|(slot, at)| Some((at / 2, Mark::decode(slot)?)));
    marks
        .filter(|(_, mark)| mark.key == key)
        .max_by_key(|(_, mark)| mark.sequence)
}

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
