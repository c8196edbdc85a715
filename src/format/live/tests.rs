//! Tests of `live.rs`.

use super::*;

fn header() -> LiveHeader {
    LiveHeader {
        slots: 3,
        boot: [7; 16],
        incarnation: [9; 16],
    }
}

#[test]
fn a_live_header_comes_back_with_whatever_word() {
    for word in [0, 1, 0x0102_0304, u32::MAX] {
        let bytes = header().encode(word);
        assert_eq!(LiveHeader::decode(&bytes), Some((header(), word)));
        let at = usize::try_from(LIVE_WORD_AT).unwrap();
        assert_eq!(bytes[at..at + 4], word.to_le_bytes());
    }
}

#[test]
fn every_flipped_bit_of_whose_a_live_file_is_is_seen() {
    for bit in 0..CHECKED_TO * 8 {
        let mut bytes = header().encode(5);
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(LiveHeader::decode(&bytes), None, "bit {bit}");
    }
    for len in 0..LIVE_HEADER_LEN {
        assert_eq!(LiveHeader::decode(&header().encode(5)[..len]), None);
    }
    assert_eq!(LiveHeader::decode(&[0; LIVE_HEADER_LEN]), None);
}

#[test]
fn the_id_of_a_boot_is_read_as_linux_writes_it() {
    let text = b"0102030405060708-090a-0b0c0d0e0f10\n";
    assert_eq!(boot_of(text).unwrap()[15], 16);
    for text in ["", "0102", "+102030405060708090a0b0c0d0e0f10"] {
        assert_eq!(boot_of(text.as_bytes()), None, "{text}");
    }
    assert_eq!(boot_of(&[0xFF; 32]), None);
}

#[test]
fn what_is_published_of_a_log_comes_back_and_zeros_are_no_log() {
    let key = MarkKey {
        topic: TopicId([3; 16]),
        partition: 12,
    };
    let figures = LiveFigures {
        end: 100,
        high_watermark: 90,
        last_stable: 80,
        start: 7,
        generation: 5,
        epoch: 2,
    };
    let slot = figures.encode(key);
    assert_eq!(LiveFigures::decode(&slot), Some((key, figures)));
    assert_eq!(LiveFigures::decode(&slot[..LIVE_SLOT_LEN - 1]), None);
    assert_eq!(LiveFigures::decode(&[0; LIVE_SLOT_LEN]), None);
    assert_eq!(live_slot_at(2), 192);
}
