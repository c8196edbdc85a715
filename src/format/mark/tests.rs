//! Tests of `mark.rs`.

use super::*;

fn mark() -> Mark {
    Mark {
        key: MarkKey {
            topic: TopicId([7; 16]),
            partition: 3,
        },
        sequence: 9,
        flushed_offset: 1000,
        position: Position(4096),
        segment_base: 900,
        log_start_offset: 12,
        cleaned_offset: 500,
        dense: true,
        index: IndexWritten::default().and(b"12345678", b""),
        closed: true,
        by_broker: true,
        always: Some(true),
    }
}

#[test]
fn a_mark_comes_back() {
    for always in [None, Some(true), Some(false)] {
        let mark = Mark { always, ..mark() };
        assert_eq!(Mark::decode(&mark.encode()), Some(mark));
    }
}

#[test]
fn what_was_written_of_an_index_is_found_at_the_front_of_its_files() {
    let written = IndexWritten::default().and(b"1", b"abc").and(b"23", b"");
    assert_eq!(written.lens(), (3, 3));
    let found = Some((&b"123"[..], &b"abc"[..]));
    assert_eq!(written.find(b"123", b"abc"), found);
    assert_eq!(written.find(b"1234", b"abcd"), found);
    for (offsets, times) in [("12", "abc"), ("124", "abc"), ("123", "ab"), ("123", "abd")] {
        assert_eq!(written.find(offsets.as_bytes(), times.as_bytes()), None);
    }
}

#[test]
fn every_flipped_bit_is_seen_and_zeros_are_empty() {
    assert_eq!(Mark::decode(&[0; SLOT_LEN]), None);
    for bit in 0..SLOT_LEN * 8 {
        let mut slot = mark().encode();
        slot[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(Mark::decode(&slot), None, "bit {bit}");
    }
}
