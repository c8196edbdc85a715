//! Tests of `varint.rs`.

use super::*;

#[test]
fn samples_of_kafka_in_both_directions() {
    let samples: [(i32, &[u8]); 10] = [
        (0, &[0x00]),
        (-1, &[0x01]),
        (1, &[0x02]),
        (63, &[0x7e]),
        (64, &[0x80, 0x01]),
        (-64, &[0x7f]),
        (-65, &[0x81, 0x01]),
        (300, &[0xd8, 0x04]),
        (i32::MAX, &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
        (i32::MIN, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
    ];
    for (value, bytes) in samples {
        let mut out = Vec::new();
        write_varint(&mut out, value);
        assert_eq!(out, bytes);
        assert_eq!(out.len(), varint_len(value));
        assert_eq!(read_varint(bytes), Some((value, &[][..])));
    }
}

#[test]
fn every_length_of_a_varlong_comes_back() {
    for shift in 0..64 {
        for value in [
            1_i64 << shift,
            (1_i64 << shift).wrapping_neg(),
            i64::MAX >> shift,
        ] {
            let mut out = Vec::new();
            write_varlong(&mut out, value);
            assert_eq!(out.len(), varlong_len(value));
            assert_eq!(read_varlong(&out), Some((value, &[][..])));
        }
    }
}

#[test]
fn a_run_that_is_too_long_or_cut_is_refused() {
    assert_eq!(read_varint(&[0x80; 5]), None);
    assert_eq!(read_varlong(&[0x80; 10]), None);
    assert_eq!(read_varint(&[0x80]), None);
    assert_eq!(read_varlong(&[]), None);
}
