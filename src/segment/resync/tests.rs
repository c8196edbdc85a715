//! Tests of `resync.rs`.

#![expect(clippy::as_conversions, reason = "lengths of a test")]

use std::path::Path;

use super::*;
use crate::disk::sim::Sim;
use crate::format::{BatchOptions, encode_one, stamp};
use crate::types::{Record, Timestamp};

fn batch(offset: Offset, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let options = BatchOptions {
        now: Timestamp::from_millis(1),
        ..BatchOptions::default()
    };
    encode_one(&mut bytes, &Record::new(value), &options).unwrap();
    stamp(&mut bytes, offset, 0);
    bytes
}

/// Where valid batches continue in these bytes, behind a damaged one.
fn check(bytes: &[u8], damaged: u64, offsets: Range<Offset>) -> Option<u64> {
    let sim = Sim::new();
    let path = Path::new("/file");
    sim.write_raw(path, bytes).unwrap();
    let file = sim.disk().open(path, crate::disk::Access::Read).unwrap();
    let search = Search {
        bytes: Position(damaged + 1)..Position(bytes.len().try_into().unwrap()),
        offsets,
    };
    let found = batch_behind(&file, Position(damaged), &search).unwrap();
    found.map(|found| found.0)
}

#[test]
fn batches_go_on_behind_garbage_zeros_and_a_torn_batch() {
    for hole in [
        vec![0xee; 300],
        vec![0; 300],
        batch(1, &[9; 200])[..100].to_vec(),
        vec![2; 70],
    ] {
        let after = hole.len() as u64;
        let bytes = [hole, batch(5, b"a"), batch(6, b"b")].concat();
        assert_eq!(check(&bytes, 0, 0..u64::MAX), Some(after));
        assert_eq!(
            check(&bytes, 0, 6..u64::MAX),
            Some(after + batch(5, b"a").len() as u64)
        );
        assert_eq!(check(&bytes, 0, 9..u64::MAX), None);
    }
}

#[test]
fn a_batch_inside_a_value_is_not_taken_for_one_of_the_log() {
    let inner = batch(7, b"inner");
    let outer = batch(5, &inner);
    let mut bytes = outer.clone();
    bytes[11] ^= 4; // The length of the outer one.
    bytes.extend_from_slice(&batch(6, b"next"));
    bytes.extend_from_slice(&batch(7, b"after"));
    assert_eq!(check(&bytes, 0, 0..u64::MAX), Some(outer.len() as u64));
}

#[test]
fn a_batch_before_another_damaged_one_is_found() {
    let mut torn = batch(6, &[1; 100]);
    torn[80] ^= 1;
    let bytes = [vec![0xee; 61], batch(5, b"a"), torn, batch(7, b"b")].concat();
    assert_eq!(check(&bytes, 0, 0..u64::MAX), Some(61));
}

/// Batches 5 to 9, of which 5 and 8 have a wrong byte, and where 6 and 9 begin.
fn two_damaged(byte_of_5: usize, byte_of_8: usize) -> (Vec<u8>, Option<u64>, Option<u64>) {
    let mut batches: Vec<_> = (5..10)
        .map(|offset| batch(offset, &batch(offset + 1, b"inner")))
        .collect();
    batches[0][byte_of_5] ^= 0x40;
    batches[3][byte_of_8] ^= 0x40;
    let length = batches[0].len() as u64;
    (batches.concat(), Some(length), Some(4 * length))
}

#[test]
fn what_lies_between_two_damaged_batches_is_found_where_a_length_is_left() {
    let (length, version) = (LENGTH_AT + 2, MAGIC_AT);
    for (of_5, of_8) in [(version, version), (version, length), (length, version)] {
        let (bytes, next, _) = two_damaged(of_5, of_8);
        assert_eq!(check(&bytes, 0, 5..u64::MAX), next, "{of_5} {of_8}");
    }
    // Otherwise nothing distinguishes it from a batch inside a value.
    let (bytes, _, last) = two_damaged(length, length);
    assert_eq!(check(&bytes, 0, 5..u64::MAX), last);
}

#[test]
fn nothing_is_made_up_of_a_value_of_the_last_batch() {
    let whole = batch(5, &batch(6, b"inner"));
    let damaged = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        bytes
    };
    // In the version, in the checksum, and in the value after the inner batch.
    for at in [MAGIC_AT, MAGIC_AT + 1, whole.len() - 1] {
        assert_eq!(check(&damaged(at), 0, 5..u64::MAX), None, "{at}");
        let reserved = [damaged(at), vec![0; 4096]].concat();
        assert_eq!(check(&reserved, 0, 5..u64::MAX), None, "{at}");
    }
}

#[test]
fn an_empty_batch_may_be_damaged_too() {
    let mut empty = batch(5, b"");
    empty.truncate(HEADER_LEN);
    let length = u32::try_from(HEADER_LEN - LENGTH_AT - LENGTH_BYTES).unwrap();
    empty[LENGTH_AT..][..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    empty[MAGIC_AT] ^= 1;
    let mut broken = batch(7, b"b");
    broken[LENGTH_AT + 2] ^= 0x40;
    let bytes = [empty, batch(6, b"a"), broken, batch(8, b"c")].concat();
    assert_eq!(check(&bytes, 0, 5..u64::MAX), Some(61));
}

#[test]
fn a_wrong_length_that_leads_to_a_batch_leads_over_no_other() {
    let value = [7; 59];
    let mut batches: Vec<_> = (5..9).map(|offset| batch(offset, &value)).collect();
    assert_eq!(batches[0].len(), 128);
    batches[0][LENGTH_AT + 3] ^= 0x80;
    assert_eq!(check(&batches.concat(), 0, 5..u64::MAX), Some(128));
    // And if it leads to the end, or past it.
    let two = batches[..2].concat();
    assert_eq!(check(&two, 0, 5..u64::MAX), Some(128));
    batches[0][LENGTH_AT + 2] ^= 1;
    let reserved = [batches[..2].concat(), vec![0; 4096]].concat();
    assert_eq!(check(&reserved, 0, 5..u64::MAX), Some(128));
}

#[test]
fn a_hole_longer_than_a_window_is_crossed() {
    for length in [
        WINDOW_BYTES - 61,
        WINDOW_BYTES - 1,
        WINDOW_BYTES,
        3 * WINDOW_BYTES + 17,
    ] {
        let bytes = [vec![0xaa; length], batch(5, b"a")].concat();
        assert_eq!(check(&bytes, 0, 0..u64::MAX), Some(length as u64));
    }
}
