//! The newest offset of every key, in bounded memory.
//!
//! Knows nothing about batches. Keys are stored as 128 bits of keyed hash (two `SipHash`es with new
//! random keys for every map), so that no two keys of a log collide, not even chosen ones; an entry
//! takes 24 bytes whatever the key's length.
//!
//! A large map does not fit into any cache, so each look-up waits for memory. So keys are looked up
//! some hundreds ahead of their use: the processor then waits for many at once.

use std::hash::{BuildHasher as _, RandomState};

use crate::types::{Offset, to_u64, to_usize};

/// Bytes of an entry.
const ENTRY_BYTES: u64 = 24;

/// A map from keys to offsets that says when it is full.
#[derive(Debug)]
pub(super) struct KeyMap {
    hashers: [RandomState; 2],
    /// An offset of [`FREE`] marks a free slot.
    slots: Vec<Slot>,
    used: usize,
    most: usize,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: [u64; 2],
    offset: Offset,
}

/// No record has this offset: offsets have 63 bits.
const FREE: Offset = Offset::MAX;

const FREE_SLOT: Slot = Slot {
    hash: [0; 2],
    offset: FREE,
};

/// How many keys are looked up at once: enough to hide the waits, few enough to stay in a cache.
const AHEAD: usize = 256;

/// The keys of a batch, looked up ahead of the loop that uses them.
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

    /// The next key.
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

/// A key that was looked up: its hash, and what was in its slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sought {
    hash: [u64; 2],
    home: Slot,
}

impl KeyMap {
    /// A map that takes at most `bytes` of memory, and no more than `keys` keys can need.
    pub(super) fn new(bytes: u64, keys: u64) -> Self {
        let room = (bytes / ENTRY_BYTES).max(2);
        // Nine of ten slots may be used, so that searching for a key stays short.
        let needed = keys.saturating_mul(10) / 9 + 2;
        let slots = to_usize(room.min(needed));
        Self {
            hashers: [RandomState::new(), RandomState::new()],
            slots: vec![FREE_SLOT; slots],
            used: 0,
            most: (slots.saturating_mul(9) / 10).max(1),
        }
    }

    /// Looks up some keys.
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

    /// Notes the offset of a key; false, with nothing noted, if the key is new and the map full.
    pub(super) fn insert(&mut self, key: &Sought, offset: Offset) -> bool {
        // Other keys may have been noted since this one was looked up.
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

    /// The newest offset that was noted for a key before it was looked up.
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

    /// The slot where a key belongs: its hash's position in the range of hashes, scaled to the
    /// slots.
    fn home(&self, [first, _]: [u64; 2]) -> usize {
        let share = (u128::from(first) * u128::from(to_u64(self.slots.len()))) >> 64;
        usize::try_from(share).unwrap_or_default()
    }

    /// The slot of a key, or the free one where it would be stored: there always is one.
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
