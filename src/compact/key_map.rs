//! The newest offset of every key, in bounded memory.
//!
//! Knows nothing about batches. A key is 128 bits of keyed hash (two `SipHash`es, random for every
//! map), so no two keys of a log collide, not even chosen ones; an entry takes 24 bytes whatever
//! the key's length.
//!
//! A large map fits into no cache, so some hundreds of keys are looked up ahead of their use: the
//! processor waits for many at once.

use std::hash::{BuildHasher as _, RandomState};

use crate::types::{Offset, to_u64, to_usize};

const ENTRY_BYTES: u64 = 24;

#[derive(Debug)]
pub(super) struct KeyMap {
    hashers: [RandomState; 2],
    /// [`FREE`] marks a free slot.
    slots: Vec<Slot>,
    used: usize,
    /// The most slots that may be used.
    most: usize,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: [u64; 2],
    offset: Offset,
}

/// Offsets have 63 bits, so no record has this one.
const FREE: Offset = Offset::MAX;

const FREE_SLOT: Slot = Slot {
    hash: [0; 2],
    offset: FREE,
};

/// Enough keys to hide the waits, few enough for a cache.
const AHEAD: usize = 256;

/// Looks keys up ahead of their use.
#[derive(Debug)]
pub(super) struct Seeker<K> {
    keys: K,
    sought: Vec<Sought>,
    taken: usize,
}

impl<'a, K: Iterator<Item = &'a [u8]>> Seeker<K> {
    pub(super) fn new(keys: K) -> Self {
        Self {
            keys,
            sought: Vec::with_capacity(AHEAD),
            taken: 0,
        }
    }

    pub(super) fn next(&mut self, map: &KeyMap) -> Option<Sought> {
        if self.taken == self.sought.len() {
            map.seek(self.keys.by_ref().take(AHEAD), &mut self.sought);
            self.taken = 0;
        }
        let next = self.sought.get(self.taken).copied();
        self.taken += usize::from(next.is_some());
        next
    }
}

/// A key, with the slot where the search for it begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sought {
    hash: [u64; 2],
    home: Slot,
}

impl KeyMap {
    /// A map for so many keys, in at most so many bytes.
    pub(super) fn new(bytes: u64, keys: u64) -> Self {
        let room = (bytes / ENTRY_BYTES).max(2);
        // Nine of ten slots may be used: that keeps the search for a key short.
        let needed = keys.saturating_mul(10) / 9 + 2;
        let slots = to_usize(room.min(needed));
        Self {
            hashers: [RandomState::new(), RandomState::new()],
            slots: vec![FREE_SLOT; slots],
            used: 0,
            most: (slots.saturating_mul(9) / 10).max(1),
        }
    }

    fn seek<'a>(&self, keys: impl Iterator<Item = &'a [u8]>, sought: &mut Vec<Sought>) {
        sought.clear();
        sought.extend(keys.map(|key| Sought {
            hash: self.hash(key),
            home: FREE_SLOT,
        }));
        // A separate loop, in which no load depends on another.
        for sought in sought {
            sought.home = *self.slots.get(self.home(sought.hash)).unwrap_or(&FREE_SLOT);
        }
    }

    /// False, with nothing noted, if the key is new and the map full.
    pub(super) fn insert(&mut self, key: &Sought, offset: Offset) -> bool {
        // Other keys may have been noted since the look-up.
        let at = self.find(key.hash);
        let Some(slot) = self.slots.get_mut(at) else {
            return false;
        };
        if slot.offset == FREE {
            if self.used >= self.most {
                return false;
            }
            self.used += 1;
        }
        let hash = key.hash;
        *slot = Slot { hash, offset };
        true
    }

    pub(super) fn get(&self, key: &Sought) -> Option<Offset> {
        // What was loaded ahead is enough unless another key has that slot.
        let slot = if key.home.offset == FREE || key.home.hash == key.hash {
            &key.home
        } else {
            self.slots.get(self.find(key.hash))?
        };
        Some(slot.offset).filter(|offset| *offset != FREE)
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        self.hashers.each_ref().map(|hasher| hasher.hash_one(key))
    }

    /// The hash's position in the range of hashes, scaled to the slots.
    fn home(&self, [first, _]: [u64; 2]) -> usize {
        let share = (u128::from(first) * u128::from(to_u64(self.slots.len()))) >> 64;
        usize::try_from(share).unwrap_or_default()
    }

    /// The key's slot, or the free one where it belongs. There always is a free slot.
    fn find(&self, hash: [u64; 2]) -> usize {
        let mut at = self.home(hash);
        while let Some(slot) = self.slots.get(at) {
            if slot.offset == FREE || slot.hash == hash {
                return at;
            }
            at += 1;
            if at == self.slots.len() {
                at = 0;
            }
        }
        at
    }
}

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
