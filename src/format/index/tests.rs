//! Tests of `index.rs`.

use super::*;

// The example of Kafka's own classes: base 100, twelve batches of two records.
const OFFSETS: [(u32, u32); 3] = [(7, 5637), (13, 11_274), (19, 16_911)];
const TIMES: [(i64, u32); 4] = [(1030, 7), (1060, 13), (1090, 19), (1110, 23)];

fn offsets() -> Vec<OffsetEntry> {
    let entry = |(relative_offset, position)| OffsetEntry {
        relative_offset,
        position,
    };
    OFFSETS.into_iter().map(entry).collect()
}

fn times() -> Vec<TimeEntry> {
    let entry = |(millis, relative_offset)| TimeEntry {
        timestamp: Timestamp::from_millis(millis),
        relative_offset,
    };
    TIMES.into_iter().map(entry).collect()
}

fn bytes_of_offsets() -> Vec<u8> {
    offsets()
        .into_iter()
        .flat_map(OffsetEntry::encode)
        .collect()
}

fn bytes_of_times() -> Vec<u8> {
    times().into_iter().flat_map(TimeEntry::encode).collect()
}

#[test]
fn entries_of_kafka_in_both_directions() {
    let bytes = bytes_of_offsets();
    assert_eq!(bytes[..8], [0, 0, 0, 7, 0, 0, 0x16, 0x05]);
    assert_eq!(
        entries::<OffsetEntry>(&bytes).collect::<Vec<_>>(),
        offsets()
    );
    let bytes = bytes_of_times();
    assert_eq!(bytes[..12], [0, 0, 0, 0, 0, 0, 4, 6, 0, 0, 0, 7]);
    assert_eq!(entries::<TimeEntry>(&bytes).collect::<Vec<_>>(), times());
}

#[test]
fn a_walk_stops_at_zeros_garbage_and_half_an_entry() {
    for tail in [
        &[0_u8; 24][..],
        &[0xff; 24],
        &[0; 5],
        &[0, 0, 0, 1, 0, 0, 0, 1],
    ] {
        let mut bytes = bytes_of_offsets();
        bytes.extend_from_slice(tail);
        assert_eq!(
            entries::<OffsetEntry>(&bytes).collect::<Vec<_>>(),
            offsets()
        );
    }
    for tail in [&[0_u8; 24][..], &[0xff; 24], &[0; 11]] {
        let mut bytes = bytes_of_times();
        bytes.extend_from_slice(tail);
        assert_eq!(entries::<TimeEntry>(&bytes).collect::<Vec<_>>(), times());
    }
}

#[test]
fn an_index_of_zeros_has_no_entries_and_a_time_index_of_one_zero_entry_has_it() {
    assert_eq!(entries::<OffsetEntry>(&[0; 4096]).count(), 0);
    assert_eq!(entries::<TimeEntry>(&[0; 4092]).count(), 0);
    assert_eq!(entries::<TimeEntry>(&[0; 12]).count(), 1);
    let mut bytes = vec![0; 12];
    bytes.extend_from_slice(&times()[0].encode());
    bytes.extend_from_slice(&[0; 24]);
    assert_eq!(entries::<TimeEntry>(&bytes).count(), 2);
}

#[test]
fn lookups_over_entries_and_over_bytes_agree_at_every_offset() {
    let (bytes, list) = (bytes_of_offsets(), offsets());
    for target in 0..30 {
        let expected = list
            .iter()
            .rev()
            .find(|entry| entry.relative_offset <= target)
            .copied();
        assert_eq!(OffsetEntry::floor(&list, target), expected);
        assert_eq!(OffsetEntry::floor_in(&bytes, target), expected);
    }
    let (bytes, list) = (bytes_of_times(), times());
    for millis in 1000..1200 {
        let target = Timestamp::from_millis(millis);
        let expected = list
            .iter()
            .rev()
            .find(|entry| entry.timestamp < target)
            .copied();
        assert_eq!(TimeEntry::before(&list, target), expected);
        assert_eq!(TimeEntry::before_in(&bytes, target), expected);
    }
    assert_eq!(OffsetEntry::floor_in(&[], 5), None);
}
