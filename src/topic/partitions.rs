//! The partitions of a topic by number: each log is opened on first use.
//!
//! Knows nothing about topics' names or records. Partitions are only ever added, so that an append
//! finds its log without a lock:
//!
//! 1. A slot never moves, and a log in it is never replaced.
//! 2. A thread that opens or closes a log takes the slot's lock, and then checks the topic's life:
//!    no log is opened while all are being closed.

use crate::error::{Error, Result};
use crate::format::Corruption;
use crate::log::Log;
use crate::sync::{Mutex, OnceLock};
use crate::types::{PartitionId, to_usize};

use std::path::PathBuf;

/// An entry for each partition: its log, or what a producer holds for it.
#[derive(Debug)]
pub(super) struct Partitions<T = Slot> {
    first: Chunk<T>,
}

/// Partitions that were created together: all, unless the topic was extended since it was opened.
#[derive(Debug)]
struct Chunk<T> {
    slots: Box<[T]>,
    next: OnceLock<Box<Self>>,
}

#[derive(Debug, Default)]
pub(super) struct Slot {
    log: OnceLock<Log>,
    /// Locked while the log is opened or closed (I2).
    opening: Mutex<Option<Damage>>,
}

/// Why a log cannot be opened. It is kept, because finding it takes reading the log.
#[derive(Debug)]
struct Damage {
    path: PathBuf,
    position: u64,
    reason: Corruption,
}

impl<T: Default> Partitions<T> {
    pub(super) fn new(count: u32) -> Self {
        Self {
            first: Chunk::new(count),
        }
    }

    #[inline]
    pub(super) fn count(&self) -> u32 {
        let mut count = self.first.len();
        let mut chunk = &self.first;
        while let Some(next) = chunk.next.get() {
            count = count.saturating_add(next.len());
            chunk = next;
        }
        count
    }

    #[inline]
    pub(super) fn get(&self, id: PartitionId) -> Option<&T> {
        let mut left = to_usize(u64::from(id));
        let mut chunk = &self.first;
        loop {
            if let Some(slot) = chunk.slots.get(left) {
                return Some(slot);
            }
            left = left.checked_sub(chunk.slots.len())?;
            chunk = chunk.next.get()?;
        }
    }

    /// Adds partitions up to this count. Call from one thread at a time.
    pub(super) fn grow(&self, count: u32) {
        let Some(missing) = count
            .checked_sub(self.count())
            .filter(|missing| *missing > 0)
        else {
            return;
        };
        let mut chunk = &self.first;
        while let Some(next) = chunk.next.get() {
            chunk = next;
        }
        chunk.next.get_or_init(|| Box::new(Chunk::new(missing)));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (PartitionId, &T)> {
        (0..self.count()).filter_map(|id| Some((id, self.get(id)?)))
    }
}

impl<T: Default> Chunk<T> {
    fn new(count: u32) -> Self {
        Self {
            slots: (0..count).map(|_| T::default()).collect(),
            next: OnceLock::new(),
        }
    }

    fn len(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }
}

impl Slot {
    #[inline]
    pub(super) fn open_log(&self) -> Option<&Log> {
        self.log.get()
    }

    /// Whether the log is neither open nor known to be damaged.
    pub(super) fn is_untouched(&self) -> bool {
        let damage = self.opening.lock();
        damage.is_none() && self.log.get().is_none()
    }

    /// Returns the log, which it opens if necessary. Damage is kept if no other process can repair
    /// it (`remembers`); after any other error the next call tries again.
    pub(super) fn get_or_open(
        &self,
        remembers: bool,
        open: impl FnOnce() -> Result<Log>,
    ) -> Result<&Log> {
        let mut damage = self.opening.lock();
        if let Some(log) = self.log.get() {
            return Ok(log);
        }
        if let Some(Damage {
            path,
            position,
            reason,
        }) = &*damage
        {
            return Err(Error::corrupt(path, *position, reason.clone()));
        }
        match open() {
            Ok(log) => Ok(self.log.get_or_init(|| log)),
            Err(error) => {
                if let Error::Corrupt {
                    path,
                    position,
                    reason,
                } = &error
                    && remembers
                {
                    let (path, position) = (path.clone(), *position);
                    *damage = Some(Damage {
                        path,
                        position,
                        reason: reason.clone(),
                    });
                }
                Err(error)
            }
        }
    }

    /// Runs `run` if the log is open. No other thread opens it meanwhile.
    pub(super) fn if_open<T>(&self, run: impl FnOnce(&Log) -> T) -> Option<T> {
        let _opening = self.opening.lock();
        self.log.get().map(run)
    }
}

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
