//! Tests of `group_record.rs`.

use super::super::unhex;
use super::*;

#[test]
fn groups_hash_as_in_java() {
    for (group, hash, partition) in [
        ("my-group", -1_906_497_762, 12),
        ("test", 3_556_498, 48),
        ("console-consumer-12345", 158_455_506, 6),
        ("", 0, 0),
        ("polygenelubricants", i32::MIN, 0),
    ] {
        assert_eq!(java_hash(group), hash, "{group}");
        assert_eq!(group_partition(group, 50), partition, "{group}");
    }
    assert_eq!(group_partition("x", 0), 0);
    // A character outside the first plane is two units.
    assert_eq!(java_hash("\u{1f600}"), 55357 * 31 + 56832);
}

fn check_key(key: GroupKey<'_>, hex: &str) {
    let bytes = unhex(hex);
    assert_eq!(GroupKey::decode(&bytes), Ok(key));
    let mut out = Vec::new();
    key.encode(&mut out).unwrap();
    assert_eq!(out, bytes);
}

#[test]
fn keys_in_both_directions() {
    check_key(
        GroupKey::Offset {
            group: "g",
            topic: "tt",
            partition: 3,
        },
        "0001 0001 67 0002 7474 00000003",
    );
    check_key(GroupKey::Group { group: "g" }, "0002 0001 67");
    check_key(
        GroupKey::Unknown {
            kind: 5,
            raw: &[0, 1, 0x67],
        },
        "0005 0001 67",
    );
    assert!(matches!(
        GroupKey::decode(&unhex("0000 0001 67 0001 74 00000000")),
        Ok(GroupKey::Offset { .. })
    ));
    for cut in [
        "",
        "00",
        "0001 0001",
        "0002 ffff",
        "0002 0001 67 00",
        "0001 0001 67 0001 74 ffffffff",
    ] {
        assert!(GroupKey::decode(&unhex(cut)).is_err(), "{cut}");
    }
}

#[test]
fn offset_commits_of_every_version_are_read_and_version_3_written() {
    let commit = |leader_epoch, expires_at| OffsetCommit {
        offset: 258,
        leader_epoch,
        metadata: "m",
        committed_at: Timestamp::from_millis(1000),
        expires_at,
    };
    let (plain, epoch) = (commit(-1, None), commit(7, None));
    let expiring = commit(-1, Some(Timestamp::from_millis(2000)));
    for (hex, expected) in [
        ("0000 0000000000000102 0001 6d 00000000000003e8", plain),
        (
            "0001 0000000000000102 0001 6d 00000000000003e8 00000000000007d0",
            expiring,
        ),
        (
            "0001 0000000000000102 0001 6d 00000000000003e8 ffffffffffffffff",
            plain,
        ),
        ("0002 0000000000000102 0001 6d 00000000000003e8", plain),
        (
            "0003 0000000000000102 00000007 0001 6d 00000000000003e8",
            epoch,
        ),
        (
            "0004 0000000000000102 00000007 02 6d 00000000000003e8 00",
            epoch,
        ),
    ] {
        assert_eq!(OffsetCommit::decode(&unhex(hex)), Ok(expected), "{hex}");
    }
    let mut out = Vec::new();
    epoch.encode(&mut out).unwrap();
    assert_eq!(
        out,
        unhex("0003 0000000000000102 00000007 0001 6d 00000000000003e8")
    );
    for (hex, postponed) in [
        (
            "0001 0000000000000102 0001 6d 00000000000003e8 00000000000007d0",
            "0001 0000000000000102 0001 6d 00000000000003e9 00000000000007d0",
        ),
        (
            "0003 0000000000000102 00000007 0001 6d 00000000000003e8",
            "0003 0000000000000102 00000007 0001 6d 00000000000003e9",
        ),
        // A tagged field: the id of the topic.
        (
            "0004 0000000000000102 00000007 02 6d 00000000000003e8 01 00 01 07",
            "0004 0000000000000102 00000007 02 6d 00000000000003e9 01 00 01 07",
        ),
    ] {
        let changed = OffsetCommit::with_time(&unhex(hex), Timestamp::from_millis(1001));
        assert_eq!(changed, Some(unhex(postponed)));
    }
    assert!(matches!(
        OffsetCommit::decode(&unhex("0005 0000000000000102")),
        Err(DecodeError::Unsupported(_))
    ));
    assert!(
        OffsetCommit::decode(&unhex(
            "0003 ffffffffffffffff 00000007 0001 6d 00000000000003e8"
        ))
        .is_err()
    );
    assert!(OffsetCommit::decode(&unhex("ffff 0000000000000102")).is_err());
    assert!(OffsetCommit::decode(&unhex("0003 00")).is_err());
}

#[test]
fn groups_of_every_version_are_read_and_version_3_written() {
    let member = GroupMember {
        id: "a",
        instance_id: None,
        client_id: "c",
        client_host: "/h",
        rebalance_timeout_ms: 9,
        session_timeout_ms: 9,
        subscription: &[1, 2],
        assignment: &[3],
    };
    let group = GroupMetadata {
        protocol_type: "consumer",
        generation: 4,
        protocol: Some("range"),
        leader: Some("a"),
        state_since: Timestamp::from_millis(1000),
        members: vec![member],
    };
    let old = GroupMetadata {
        state_since: Timestamp::NONE,
        ..group.clone()
    };
    let head = "0008 636f6e73756d6572 00000004 0005 72616e6765 0001 61";
    let tail = "00000009 00000002 0102 00000001 03";
    let v0 = format!("0000 {head} 00000001 0001 61 0001 63 0002 2f68 {tail}");
    let v1 = format!("0001 {head} 00000001 0001 61 0001 63 0002 2f68 00000009 {tail}");
    let v2 =
        format!("0002 {head} 00000000000003e8 00000001 0001 61 0001 63 0002 2f68 00000009 {tail}");
    let v3 = format!(
        "0003 {head} 00000000000003e8 00000001 0001 61 ffff 0001 63 0002 2f68 00000009 {tail}"
    );
    let v4 = "0004 09 636f6e73756d6572 00000004 06 72616e6765 02 61 00000000000003e8 02 02 6\
        1 00 02 63 03 2f68 00000009 00000009 03 0102 02 03 00 00";
    for (hex, expected) in [
        (v0.as_str(), &old),
        (v1.as_str(), &old),
        (v2.as_str(), &group),
        (v3.as_str(), &group),
        (v4, &group),
    ] {
        let bytes = unhex(hex);
        assert_eq!(
            GroupMetadata::decode(&bytes).as_ref(),
            Ok(expected),
            "{hex}"
        );
        for end in 0..bytes.len() {
            assert!(GroupMetadata::decode(&bytes[..end]).is_err());
        }
    }
    let mut out = Vec::new();
    group.encode(&mut out).unwrap();
    assert_eq!(out, unhex(&v3));
}

#[test]
fn a_lying_member_count_is_refused() {
    let hex = "0003 0000 00000000 ffff ffff 0000000000000000 7fffffff";
    assert!(GroupMetadata::decode(&unhex(hex)).is_err());
}
