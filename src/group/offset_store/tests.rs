//! What memory makes of records, in whatever order they come.

use super::*;

fn key(group: &str, topic: &str, partition: PartitionId) -> Vec<u8> {
    encoded(GroupKey::Offset {
        group,
        topic,
        partition,
    })
    .unwrap()
}

fn value(offset: Offset) -> Vec<u8> {
    let mut bytes = Vec::new();
    let commit = OffsetCommit {
        offset,
        leader_epoch: NO_EPOCH,
        metadata: "",
        committed_at: crate::types::Timestamp::NONE,
        expires_at: None,
    };
    commit.encode(&mut bytes).unwrap();
    bytes
}

/// A record as `(its offset, key, value)`.
type Kept = (Offset, Vec<u8>, Option<Vec<u8>>);

fn groups(records: &[Kept]) -> Groups {
    let mut groups = Groups::default();
    for (at, key, value) in records {
        groups.take(&Found {
            at: *at,
            key,
            value: value.as_deref(),
        });
    }
    groups
}

#[test]
fn the_newest_record_of_a_key_counts_in_whatever_order_they_come() {
    let first = (4, key("g", "t", 0), Some(value(10)));
    let second = (5, key("g", "t", 0), Some(value(7)));
    let tombstone = (6, key("g", "t", 0), None);
    let check = |records: &[_], committed| {
        assert_eq!(groups(records).committed("g", "t", 0), committed);
    };
    check(&[first.clone(), second.clone()], Some(7));
    check(&[second.clone(), first.clone()], Some(7));
    check(&[tombstone.clone(), second.clone(), first.clone()], None);
    check(&[first, tombstone, second], None);
}

#[test]
fn a_forgotten_group_is_not_there() {
    let records = [
        (0, key("g", "t", 0), Some(value(1))),
        (1, key("g", "u", 3), Some(value(2))),
        (2, key("h", "t", 0), Some(value(3))),
        (
            3,
            encoded(GroupKey::Group { group: "g" }).unwrap(),
            Some(vec![0, 3]),
        ),
    ];
    let seen = groups(&records);
    assert_eq!(seen.ids().len(), 2);
    assert_eq!(seen.keys_of("g").len(), 3);
    assert_eq!(seen.keys_of("x").len(), 0);
    assert_eq!(
        seen.keys_of_topic("t"),
        [key("g", "t", 0), key("h", "t", 0)]
    );
    let mut buried = records.to_vec();
    for (at, key) in (4..).zip(seen.keys_of("g")) {
        buried.push((at, key, None));
    }
    let seen = groups(&buried);
    assert_eq!(seen.ids(), [Arc::from("h")]);
    assert_eq!(seen.keys_of("g"), Vec::<Vec<u8>>::new());
}

#[test]
fn records_of_a_newer_protocol_go_with_their_group() {
    let foreign = vec![0, 3, 0, 1, b'g'];
    let records = [
        (0, key("g", "t", 0), Some(value(1))),
        (1, foreign.clone(), Some(vec![0, 0])),
    ];
    let seen = groups(&records);
    assert_eq!(seen.ids().len(), 1);
    assert!(seen.plain_ids().is_empty());
    assert!(seen.keys_of("g").contains(&foreign));
    let mut again = records.to_vec();
    again.push((2, foreign, None));
    assert_eq!(groups(&again).plain_ids().len(), 1);
}
