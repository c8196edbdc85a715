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

/// What an empty group says of itself.
fn described() -> Vec<u8> {
    let mut bytes = Vec::new();
    let metadata = GroupMetadata {
        protocol_type: "consumer",
        generation: 0,
        protocol: None,
        leader: None,
        state_since: NEVER_EXPIRES,
        members: Vec::new(),
    };
    metadata.encode(&mut bytes).unwrap();
    bytes
}

/// A record as `(its offset, key, value)`.
type Kept = (Offset, Vec<u8>, Option<Vec<u8>>);

fn groups(records: &[Kept]) -> Groups {
    let mut groups = Groups::default();
    for (at, key, value) in records {
        groups.take(&StoredRecord {
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
            Some(described()),
        ),
    ];
    let seen = groups(&records);
    assert_eq!(seen.ids().len(), 2);
    assert_eq!(seen.keys_of("g").len(), 3);
    assert_eq!(seen.keys_of("x").len(), 0);
    let leaving = |group: &str| Leaving {
        group: Arc::from(group),
        keys: vec![key(group, "t", 0)],
        has_begun: true,
    };
    assert_eq!(seen.places_on_topic("t"), [leaving("g"), leaving("h")]);
    let mut buried = records.to_vec();
    for (at, key) in (4..).zip(seen.keys_of("g")) {
        buried.push((at, key, None));
    }
    let seen = groups(&buried);
    assert_eq!(seen.ids(), [Arc::from("h")]);
    assert_eq!(seen.keys_of("g"), Vec::<Vec<u8>>::new());
}

/// A key of another kind of group "g": about the group, or about one of its members.
fn foreign(kind: i16, member: &str) -> Vec<u8> {
    let mut key = kind.to_be_bytes().to_vec();
    key.extend([0, 1, b'g']);
    if !member.is_empty() {
        key.extend([0, u8::try_from(member.len()).unwrap()]);
        key.extend(member.as_bytes());
    }
    key
}

/// What a coordinator of Kafka's checks when it loads tombstones of a group (`kafka-format-2.md`
/// 3.3): kinds of the members' assignments, of the assignment's epoch, of the members, of the
/// group.
const CHECKED: [([i16; 2], i16, i16, i16); 3] = [
    ([8, 7], 6, 5, 3),
    ([14, 13], 12, 10, 11),
    ([22, 21], 20, 19, 17),
];

/// Panics where a coordinator would fail to load these tombstones, whatever it knew before.
fn load(tombstones: &[Vec<u8>]) {
    let kind = |key: &[u8]| i16::from_be_bytes(*key.first_chunk().unwrap());
    for (place, key) in tombstones.iter().enumerate() {
        let before = |wanted: Vec<u8>| tombstones[..place].contains(&wanted);
        let is_later = |kinds: &[i16]| {
            let rest = tombstones[place..].iter();
            rest.map(|key| kind(key)).any(|kind| kinds.contains(&kind))
        };
        for (of_members, epoch, member, group) in CHECKED {
            if kind(key) == member {
                for of_member in of_members {
                    let wanted = [&of_member.to_be_bytes()[..], &key[2..]].concat();
                    assert!(before(wanted), "{key:?} before what the member has");
                }
            }
            if kind(key) == epoch {
                assert!(
                    !is_later(&of_members),
                    "{key:?} before the members' targets"
                );
            }
            if kind(key) == group {
                assert!(before(foreign(epoch, "")), "{key:?} before the epoch");
                assert!(!is_later(&[member]), "{key:?} before the members");
            }
        }
    }
}

#[test]
fn the_tombstones_of_a_group_come_in_an_order_that_a_coordinator_loads() {
    let members = ["m1", "m2"];
    for (of_members, epoch, member, group) in CHECKED {
        let per_member: Vec<i16> = [of_members[0], of_members[1], member].to_vec();
        // Whatever compaction has left of a group: its tombstones must not count on a record.
        for left in 0_u32..1 << (2 * per_member.len() + 2) {
            let is_left = |bit: usize| left >> bit & 1 == 1;
            let mut keys = Vec::new();
            for (place, name) in members.iter().enumerate() {
                for (at, kind) in per_member.iter().enumerate() {
                    if is_left(place * per_member.len() + at) {
                        keys.push(foreign(*kind, name));
                    }
                }
            }
            let whole = [epoch, group].into_iter().enumerate();
            let whole = whole.filter(|(bit, _)| is_left(2 * per_member.len() + bit));
            keys.extend(whole.map(|(_, kind)| foreign(kind, "")));
            let mut records: Vec<_> = (1..)
                .zip(&keys)
                .map(|(at, key)| (at, key.clone(), Some(vec![0, 0])))
                .collect();
            records.push((0, key("g", "t", 0), Some(value(1))));
            let own = encoded(GroupKey::Group { group: "g" }).unwrap();
            records.push((100, own.clone(), Some(described())));
            let tombstones = groups(&records).keys_of("g");
            load(&tombstones);
            // Commits first, the group itself last, and nothing is left out.
            assert_eq!(tombstones.first(), Some(&key("g", "t", 0)));
            assert_eq!(tombstones.last(), Some(&own));
            for key in keys {
                assert!(tombstones.contains(&key), "{key:?} of {tombstones:?}");
            }
        }
    }
}

#[test]
fn a_consumer_group_rests_as_an_empty_one_and_others_keep_their_commits_by_their_times() {
    let consumer: Vec<Vec<u8>> = [(3, ""), (4, ""), (5, "m"), (6, ""), (7, "m"), (8, "m")]
        .into_iter()
        .map(|(kind, member)| foreign(kind, member))
        .chain([foreign(16, "a.*")])
        .collect();
    let mut records = vec![(0, key("g", "t", 0), Some(value(1)))];
    let empty = KeptBy::EmptyGroup(Vec::new());
    assert_eq!(groups(&records).resting()[0].kept_by, empty);
    for (at, key) in (1..).zip(consumer) {
        records.push((at, key, Some(vec![0, 0])));
    }
    let resting = groups(&records).resting().remove(0);
    let KeptBy::EmptyGroup(gone) = resting.kept_by else {
        panic!("{resting:?}");
    };
    load(&gone);
    assert_eq!(gone.len(), 7);
    // Once they are gone, nothing more is.
    for (at, key) in (10..).zip(gone) {
        records.push((at, key, None));
    }
    assert_eq!(groups(&records).resting()[0].kept_by, empty);
    // A streams group, and a kind that belongs to no group.
    let by_times = KeptBy::CommitTimes(vec![0]);
    for (kind, kept_by) in [(17, &by_times), (99, &empty)] {
        records.push((20, foreign(kind, ""), Some(vec![0, 0])));
        assert_eq!(groups(&records).resting()[0].kept_by, *kept_by);
        records.pop();
    }
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
    assert!(seen.keys_of("g").contains(&foreign));
    let mut again = records.to_vec();
    again.push((2, foreign, None));
    let keys = groups(&again).keys_of("g");
    assert_eq!(keys, [key("g", "t", 0)]);
}

#[test]
fn a_group_whose_own_record_is_not_understood_goes_last_all_the_same() {
    let own = encoded(GroupKey::Group { group: "g" }).unwrap();
    let records = [
        (0, key("g", "t", 0), Some(value(1))),
        (1, foreign(5, "m"), Some(vec![0, 0])),
        (2, own.clone(), Some(vec![0, 9])),
    ];
    assert_eq!(groups(&records).keys_of("g").last(), Some(&own));
}
