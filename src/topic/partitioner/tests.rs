//! Tests of `partitioner.rs`.

use super::*;
use std::collections::BTreeMap;

#[test]
fn keys_hash_as_kafkas_own_tests_say() {
    for (key, hash, of_12) in [
        ("21", -973_932_308, 0),
        ("foobar", -790_332_482, 6),
        ("a-little-bit-long-string", -985_981_536, 8),
        ("a-little-bit-longer-string", -1_486_304_829, 11),
        (
            "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
            -58_897_971,
            5,
        ),
        ("abc", 479_470_107, 3),
        ("", 275_646_681, 9),
        ("a", -1_563_381_124, 4),
        ("key", -1_079_937_367, 1),
        ("hello", 2_132_663_229, 9),
        ("\u{e9}", 186_971_271, 3),
    ] {
        assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        assert_eq!(partition_of_key(key.as_bytes(), 12), of_12, "{key}");
    }
    assert_eq!(partition_of_key(b"x", 1), 0);
}

#[test]
fn a_place_lasts_for_16_kib_and_then_another_is_taken() {
    let sticky = Sticky::new(STICKY_BYTES);
    let mut runs = Vec::new();
    for _ in 0..10_000 {
        let partition = sticky.place(100, 5);
        assert!(partition < 5);
        match runs.last_mut() {
            Some((at, count)) if *at == partition => *count += 1,
            _ => runs.push((partition, 1)),
        }
    }
    runs.pop();
    for (_, count) in &runs {
        assert_eq!(
            *count, 164,
            "the first count of 100 bytes that reaches 16,384"
        );
    }
    let used: BTreeMap<_, _> = runs.iter().copied().collect();
    assert_eq!(used.len(), 5, "{runs:?}");
}

#[test]
fn every_partition_is_as_likely_as_the_others() {
    let sticky = Sticky::new(STICKY_BYTES);
    let mut counts = [0_u32; 4];
    for _ in 0..40_000 {
        counts[usize::try_from(sticky.place(1, 4)).unwrap()] += 1;
        sticky.move_on();
    }
    for count in counts {
        assert!((9_000..11_000).contains(&count), "{counts:?}");
    }
}

#[test]
fn a_single_partition_is_always_the_place() {
    let sticky = Sticky::new(STICKY_BYTES);
    for _ in 0..100 {
        assert_eq!(sticky.place(10_000, 1), 0);
    }
}
