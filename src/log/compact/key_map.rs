//! The newest offset of every key, in bounded memory.
//!
//! Knows nothing about batches. Keys are kept as 128 bits of keyed hash (two `SipHash`es whose keys
//! are drawn anew for every map), so that no two keys of a log meet, not even chosen ones; an
//! entry takes 24 bytes whatever the key's length.

use std::hash::{BuildHasher as _, RandomState};

use crate::types::{Offset, to_usize};

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

impl KeyMap {
    /// A map that takes at most this much memory, and no more than `keys` can need.
    pub(super) fn new(bytes: u64, keys: u64) -> Self {
        let room = (bytes / ENTRY_BYTES).max(2);
        // Nine slots of ten may be used, so that looking for a key stays short.
        let needed = keys.saturating_mul(10) / 9 + 2;
        let slots = to_usize(room.min(needed));
        let free = Slot {
            hash: [0; 2],
            offset: FREE,
        };
        Self {
            hashers: [RandomState::new(), RandomState::new()],
            slots: vec![free; slots],
            used: 0,
            most: (slots.saturating_mul(9) / 10).max(1),
        }
    }

    /// Notes the offset of a key; false, and nothing noted, when the key is new and the map full.
    pub(super) fn insert(&mut self, key: &[u8], offset: Offset) -> bool {
        let hash = self.hash(key);
        let at = self.find(hash);
        let Some(slot) = self.slots.get_mut(at) else {
            return false;
        };
        if slot.offset == FREE {
            if self.used >= self.most {
                return false;
            }
            self.used += 1;
        }
        *slot = Slot { hash, offset };
        true
    }

    /// The newest offset that was noted for a key.
    pub(super) fn get(&self, key: &[u8]) -> Option<Offset> {
        let slot = self.slots.get(self.find(self.hash(key)))?;
        Some(slot.offset).filter(|offset| *offset != FREE)
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        self.hashers.each_ref().map(|hasher| hasher.hash_one(key))
    }

    /// The slot of a key, or the free one where it would go: there always is one.
    fn find(&self, hash: [u64; 2]) -> usize {
        let count = self.slots.len().max(1);
        let [first, _] = hash;
        let mut at = to_usize(first) % count;
        while let Some(slot) = self.slots.get(at) {
            if slot.offset == FREE || slot.hash == hash {
                return at;
            }
            at = (at + 1) % count;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_offset_of_a_key_is_kept() {
        let mut map = KeyMap::new(1 << 16, 1000);
        assert!(map.insert(b"a", 1) && map.insert(b"b", 2) && map.insert(b"a", 3));
        assert_eq!(
            (map.get(b"a"), map.get(b"b"), map.get(b"c")),
            (Some(3), Some(2), None)
        );
    }

    #[test]
    fn a_full_map_takes_known_keys_and_refuses_new_ones() {
        for bytes in [48_u64, 1024, 10_000] {
            let mut map = KeyMap::new(bytes, u64::MAX);
            let mut taken = 0_u64;
            while map.insert(&taken.to_be_bytes(), taken) {
                taken += 1;
            }
            assert!(
                taken >= 1 && taken <= bytes / ENTRY_BYTES,
                "{taken} in {bytes}"
            );
            assert!(map.insert(&0_u64.to_be_bytes(), 77));
            assert_eq!(map.get(&0_u64.to_be_bytes()), Some(77));
            assert_eq!(map.get(b"never"), None);
        }
    }

    #[test]
    fn a_map_is_no_larger_than_its_keys_need() {
        assert!(KeyMap::new(64 << 20, 10).slots.len() < 20);
    }
}
