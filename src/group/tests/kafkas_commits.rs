//! Commits that a Kafka broker wrote, among them some that this build does not understand.

use super::commits::{MY_PARTITION, offsets_log};
use super::*;
use crate::format::group_record::{GroupKey, OffsetCommit, group_partition};

/// A commit as a consumer of Kafka's writes it.
fn kafkas(version: u8, offset: u64, words: &str) -> Vec<u8> {
    let mut value = vec![0, version];
    value.extend(offset.to_be_bytes());
    value.extend((-1_i32).to_be_bytes());
    value.extend(u16::try_from(words.len()).unwrap().to_be_bytes());
    value.extend(words.as_bytes());
    value.extend(1_600_000_000_000_i64.to_be_bytes());
    value
}

fn commit_key(group: &str) -> Vec<u8> {
    let (topic, partition) = ("t", 0);
    let key = GroupKey::Offset {
        group,
        topic,
        partition,
    };
    let mut bytes = Vec::new();
    key.encode(&mut bytes).unwrap();
    bytes
}

/// The words that stand beside the newest commit of a group.
fn words_of(log: &Log, group: &str) -> (u64, String) {
    let records = log.reader(0).unwrap().map(Result::unwrap);
    let newest = records.filter(|record| record.key() == Some(&commit_key(group)[..]));
    let newest = newest.last().unwrap();
    let commit = OffsetCommit::decode(newest.value().unwrap()).unwrap();
    (commit.offset, commit.metadata.to_owned())
}

#[test]
fn the_words_beside_a_commit_of_kafkas_survive_what_recovery_sets_back() {
    let root = Root::new();
    let topic = root.topic("t", 1);
    fill(&topic, 5);
    let log = offsets_log(&root, MY_PARTITION);
    let key = commit_key("my-group");
    log.append(Record::keyed(&key, &kafkas(3, 9, "too far")))
        .unwrap();
    let sim = root.close();
    let root = Root::open(sim, Durability::Os);
    root.topic("t", 1);
    let log = offsets_log(&root, MY_PARTITION);
    assert_eq!(recovered(&root.coordinator).len(), 1);
    let (_, words) = words_of(&log, "my-group");
    assert_eq!(words, "too far");
}

#[test]
fn records_of_a_later_version_concern_their_group_alone_and_stay_as_they_are() {
    let root = Root::new();
    root.topic("t", 1);
    let log = offsets_log(&root, MY_PARTITION);
    let later = kafkas(9, 3, "x");
    log.append(Record::keyed(&commit_key("my-group"), &later))
        .unwrap();
    // In the same partition: one that is understood, and one that describes itself in later words.
    let ids: Vec<_> = (0..)
        .map(|number| format!("near-{number}"))
        .filter(|id| group_partition(id, 50) == MY_PARTITION)
        .take(2)
        .collect();
    for id in &ids {
        log.append(Record::keyed(&commit_key(id), &kafkas(3, 0, "")))
            .unwrap();
    }
    let mut described = Vec::new();
    GroupKey::Group { group: &ids[1] }
        .encode(&mut described)
        .unwrap();
    log.append(Record::keyed(&described, &[0, 9, 1, 2, 3]))
        .unwrap();
    let group = root.group("my-group");
    assert!(matches!(group.join(["t"]), Err(Error::Unsupported { .. })));
    assert!(matches!(
        group.committed("t", 0),
        Err(Error::Unsupported { .. })
    ));
    for id in &ids {
        let group = root.group(id);
        assert_eq!(group.committed("t", 0).unwrap(), Some(0));
        group.join(["t"]).unwrap().commit().unwrap();
    }
    let listed: Vec<_> = root
        .coordinator
        .list()
        .unwrap()
        .into_iter()
        .map(|g| g.id)
        .collect();
    assert_eq!(listed, ids);
    root.coordinator.close().unwrap();
    let newest = |key: &[u8]| {
        let records = log.reader(0).unwrap().map(Result::unwrap);
        let of_key = records.filter(|record| record.key() == Some(key));
        of_key.last().unwrap().value().unwrap().to_vec()
    };
    assert_eq!(newest(&commit_key("my-group")), later);
    assert_eq!(newest(&described), [0, 9, 1, 2, 3]);
}
