//! Any bytes as the two sparse indexes.
//!
//! Knows nothing about segments: whether an entry is true is theirs to find out.

use crate::format::index::{Entry, OffsetEntry, TimeEntry, entries};
use crate::types::Timestamp;

/// Walks and searches the bytes as an `.index` and as a `.timeindex`. The first 12 bytes are what
/// is searched for.
pub fn decode_index(data: &[u8]) {
    let Some((target, rest)) = data.split_first_chunk::<12>() else {
        return;
    };
    let [a, b, c, d, time @ ..] = *target;
    let offset = u32::from_be_bytes([a, b, c, d]);
    let time = Timestamp::from_millis(i64::from_be_bytes(time));

    let list = walk::<OffsetEntry>(rest, |entry| entry.encode().to_vec());
    let floor = list
        .iter()
        .rfind(|entry| entry.relative_offset <= offset)
        .copied();
    assert_eq!(OffsetEntry::floor(&list, offset), floor);
    assert_eq!(
        OffsetEntry::floor_in(valid::<OffsetEntry>(rest, &list), offset),
        floor
    );

    let list = walk::<TimeEntry>(rest, |entry| entry.encode().to_vec());
    let before = list.iter().rfind(|entry| entry.timestamp < time).copied();
    assert_eq!(TimeEntry::before(&list, time), before);
    assert_eq!(
        TimeEntry::before_in(valid::<TimeEntry>(rest, &list), time),
        before
    );

    // Over bytes that are no index the answer means nothing, and must come all the same.
    let _any: Option<OffsetEntry> = OffsetEntry::floor_in(rest, offset);
    let _any: Option<TimeEntry> = TimeEntry::before_in(rest, time);
}

/// The entries at the front of the bytes, which must be exactly those bytes when encoded again.
fn walk<E: Entry>(bytes: &[u8], encode: impl Fn(E) -> Vec<u8>) -> Vec<E> {
    let list: Vec<E> = entries(bytes).collect();
    let encoded: Vec<u8> = list.iter().flat_map(|entry| encode(*entry)).collect();
    assert_eq!(encoded, valid::<E>(bytes, &list));
    assert!(list.is_sorted_by(|before, after| after.continues(before)));
    list
}

fn valid<'a, E: Entry>(bytes: &'a [u8], list: &[E]) -> &'a [u8] {
    let length = list.len().saturating_mul(E::LEN);
    bytes.get(..length).unwrap_or_default()
}
