//! Tests of `key_map.rs`.

use super::*;

fn sought(map: &KeyMap, key: &[u8]) -> Sought {
    Seeker::new(std::iter::once(key)).next(map).unwrap()
}

fn insert(map: &mut KeyMap, key: &[u8], offset: Offset) -> bool {
    let key = sought(map, key);
    map.insert(&key, offset)
}

fn get(map: &KeyMap, key: &[u8]) -> Option<Offset> {
    map.get(&sought(map, key))
}

#[test]
fn the_newest_offset_of_a_key_is_kept() {
    let mut map = KeyMap::new(1 << 16, 1000);
    assert!(insert(&mut map, b"a", 1) && insert(&mut map, b"b", 2));
    assert!(insert(&mut map, b"a", 3));
    assert_eq!((get(&map, b"a"), get(&map, b"b")), (Some(3), Some(2)));
    assert_eq!(get(&map, b"c"), None);
}

#[test]
fn keys_that_were_sought_together_may_be_the_same_or_meet_in_a_slot() {
    // A small map that gets nearly full, so that the slot of a key is often taken by another.
    let mut map = KeyMap::new(24 * 40, u64::MAX);
    let keys: Vec<_> = (0..36_u8).map(|key| [key % 30]).collect();
    let mut sought = Vec::new();
    map.seek(keys.iter().map(<[u8; 1]>::as_slice), &mut sought);
    for (key, offset) in sought.iter().zip(100..) {
        assert!(map.insert(key, offset));
    }
    for (key, offset) in keys.iter().zip(100..).skip(6) {
        assert_eq!(get(&map, key), Some(offset), "{key:?}");
    }
}

#[test]
fn every_key_is_sought_once_and_in_order_however_many_there_are() {
    for count in [0, 1, AHEAD - 1, AHEAD, AHEAD + 1, 3 * AHEAD] {
        let mut map = KeyMap::new(1 << 20, to_u64(count));
        let keys: Vec<_> = (0..count).map(usize::to_be_bytes).collect();
        let slices = || keys.iter().map(<[u8; 8]>::as_slice);
        let mut seeker = Seeker::new(slices());
        for offset in 0..to_u64(count) {
            let key = seeker.next(&map).unwrap();
            assert!(map.insert(&key, offset));
        }
        assert!(seeker.next(&map).is_none() && seeker.sought.capacity() <= AHEAD);
        for (key, offset) in slices().zip(0..) {
            assert_eq!(get(&map, key), Some(offset));
        }
    }
}

#[test]
fn a_full_map_takes_known_keys_and_refuses_new_ones() {
    for bytes in [48_u64, 1024, 10_000] {
        let mut map = KeyMap::new(bytes, u64::MAX);
        let mut taken = 0_u64;
        while insert(&mut map, &taken.to_be_bytes(), taken) {
            taken += 1;
        }
        assert!(
            taken >= 1 && taken <= bytes / ENTRY_BYTES,
            "{taken} in {bytes}"
        );
        assert!(insert(&mut map, &0_u64.to_be_bytes(), 77));
        assert_eq!(get(&map, &0_u64.to_be_bytes()), Some(77));
        assert_eq!(get(&map, b"never"), None);
    }
}

#[test]
fn a_map_is_no_larger_than_its_keys_need() {
    assert!(KeyMap::new(64 << 20, 10).slots.len() < 20);
}
