//! The partitions of a topic by number: each log is opened on first use.
//!
//! Knows nothing about topics' names or records. Partitions are only ever added, which lets an
//! append find its log without a lock:
//!
//! 1. A slot never moves, and a log in it is never replaced.
//! 2. A thread that opens or closes a log holds the slot's lock, and checks the topic's life after
//!    taking it: so no log is opened while all of them are being closed.

use crate::error::{Error, Result};
use crate::format::Corruption;
use crate::log::Log;
use crate::sync::{Mutex, OnceLock};
use crate::types::{PartitionId, to_usize};

use std::path::PathBuf;

/// An entry for each partition of one topic: its log, or what a producer holds for it.
#[derive(Debug)]
pub(super) struct Partitions<T = Slot> {
    first: Chunk<T>,
}

/// Partitions that were created together. A topic that was never extended has one chunk, and so has
/// every topic after it was opened again.
#[derive(Debug)]
struct Chunk<T> {
    slots: Box<[T]>,
    next: OnceLock<Box<Self>>,
}

/// The place of one log.
#[derive(Debug, Default)]
pub(super) struct Slot {
    log: OnceLock<Log>,
    opening: Mutex<Option<Damage>>,
}

/// Why a log cannot be opened: found out once, because that takes reading the log.
#[derive(Debug)]
struct Damage {
    path: PathBuf,
    position: u64,
    reason: Corruption,
}

impl<T: Default> Partitions<T> {
    /// This many partitions, none of them open.
    pub(super) fn new(count: u32) -> Self {
        Self {
            first: Chunk::new(count),
        }
    }

    /// How many there are.
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

    /// The entry of a partition, `None` if there is no such partition.
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

    /// The entries with their numbers.
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
    /// The log, if it is open.
    #[inline]
    pub(super) fn open_log(&self) -> Option<&Log> {
        self.log.get()
    }

    /// Whether no caller has opened the log, or found that it cannot be opened.
    pub(super) fn is_untouched(&self) -> bool {
        let damage = self.opening.lock();
        damage.is_none() && self.log.get().is_none()
    }

    /// The log, opened by `open` if it is not open yet. Damage is remembered where nobody else can
    /// repair it (`remembers`); after any other error the next call tries again.
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

    /// Calls a closure with the log if it is open; no other thread opens it meanwhile.
    pub(super) fn if_open<T>(&self, run: impl FnOnce(&Log) -> T) -> Option<T> {
        let _opening = self.opening.lock();
        self.log.get().map(run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_found_by_number_also_those_added_later() {
        let partitions: Partitions = Partitions::new(3);
        partitions.grow(3);
        partitions.grow(2);
        assert_eq!(partitions.count(), 3);
        partitions.grow(5);
        partitions.grow(6);
        assert_eq!(partitions.count(), 6);
        let places: Vec<_> = (0..6).map(|id| partitions.get(id).unwrap()).collect();
        for (at, place) in places.iter().enumerate() {
            for other in &places[at + 1..] {
                assert!(!std::ptr::eq(*place, *other));
            }
        }
        assert!(partitions.get(6).is_none());
        assert!(partitions.get(u32::MAX).is_none());
        assert_eq!(partitions.iter().count(), 6);
    }

    #[test]
    fn damage_is_remembered_and_other_failures_are_tried_again() {
        let slot = Slot::default();
        assert!(matches!(
            slot.get_or_open(true, || Err(Error::ReadOnly)),
            Err(Error::ReadOnly)
        ));
        let damage = || {
            Err(Error::corrupt(
                "x".as_ref(),
                7,
                Corruption::malformed("test"),
            ))
        };
        assert!(matches!(
            slot.get_or_open(true, damage),
            Err(Error::Corrupt { .. })
        ));
        let again = slot.get_or_open(true, || Err(Error::ReadOnly));
        assert!(matches!(again, Err(Error::Corrupt { position: 7, .. })));
    }
}
