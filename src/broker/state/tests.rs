//! Tests of `state.rs`.

use super::*;

fn entry(name: &str, id: u8, partitions: u32) -> TopicEntry {
    let config = TopicConfig::default()
        .partitions(partitions)
        .segment_bytes(4096);
    TopicEntry::new(TopicName::new(name).unwrap(), TopicId([id; 16]), &config)
}

fn state(records: impl IntoIterator<Item = MetadataRecord>) -> CatalogState {
    let mut state = CatalogState::default();
    for record in records {
        state.apply(record).unwrap();
    }
    state
}

#[test]
fn a_topic_comes_leaves_and_is_gone() {
    let flights = entry("flights", 1, 3);
    let mut state = state(flights.creation());
    assert_eq!(state.find(&flights.name), Some(&flights));
    assert_eq!(flights.config().0.segment_bytes, 4096);
    let gone = MetadataRecord::RemoveTopic { id: flights.id };
    state.apply(gone.clone()).unwrap();
    assert_eq!(state.find(&flights.name), None);
    assert_eq!(state.leaving().collect::<Vec<_>>(), [&flights]);
    state.apply(gone.clone()).unwrap();
    assert_eq!(state, CatalogState::default());
    assert!(state.apply(gone).is_err());
}

#[test]
fn a_topic_that_owes_something_is_gone_and_its_name_is_free() {
    let flights = entry("flights", 1, 3);
    let mut state = state(flights.creation());
    let gone = flights.removal();
    let owes = |partitions: &[PartitionId]| Owing {
        name: flights.name.clone(),
        id: flights.id,
        partitions: partitions.iter().copied().collect(),
    };
    assert!(state.clone().apply(owes(&[3]).record()).is_err());
    state.apply(gone.clone()).unwrap();
    state.apply(owes(&[3, 17]).record()).unwrap();
    assert_eq!(state.leaving().count(), 0);
    let again = entry("flights", 2, 1);
    for record in again.creation() {
        state.apply(record).unwrap();
    }
    assert_eq!(state.owing().collect::<Vec<_>>(), [&owes(&[3, 17])]);
    state.apply(owes(&[17]).record()).unwrap();
    let snapshot: Vec<_> = state.snapshot().flatten().collect();
    assert_eq!(snapshot.len(), state.live_records());
    let mut copy = CatalogState::default();
    for record in snapshot {
        copy.apply(record).unwrap();
    }
    assert_eq!(copy, state);
    state.apply(gone).unwrap();
    assert_eq!(state.owing().count(), 0);
    assert_eq!(state.find(&flights.name), Some(&again));
}

#[test]
fn a_setting_that_cannot_be_has_no_effect_and_is_reported() {
    let mut topic = entry("a", 1, 2);
    topic
        .settings
        .insert("retention.ms".to_owned(), "soon".to_owned());
    topic
        .settings
        .insert("max.message.bytes".to_owned(), "0".to_owned());
    topic.settings.insert(
        "follower.replication.throttled.replicas".to_owned(),
        "*".to_owned(),
    );
    let (config, bad) = topic.config();
    assert_eq!(
        config,
        TopicConfig::default().partitions(2).segment_bytes(4096)
    );
    let names: Vec<_> = bad.iter().map(|setting| setting.name.as_str()).collect();
    assert_eq!(names, ["max.message.bytes", "retention.ms"]);
}

#[test]
fn an_alteration_says_only_what_changed() {
    let flights = entry("flights", 1, 2);
    let config = flights
        .config()
        .0
        .segment_bytes(1 << 30)
        .index_interval_bytes(1);
    let records = flights.alteration(&config.clone().partitions(4));
    assert_eq!(records.len(), 4, "{records:?}");
    let state = state(flights.creation().into_iter().chain(records));
    let altered = state.find(&flights.name).unwrap();
    assert_eq!(altered.config().0, config.partitions(4));
    assert!(
        !altered.settings.contains_key("segment.bytes"),
        "the default again"
    );
}

#[test]
fn a_snapshot_adds_up_to_the_same_and_keeps_what_no_one_understands() {
    let unknown = MetadataRecord::Unknown {
        api_key: 99,
        version: 3,
        raw: vec![1, 2],
    };
    let quota = MetadataRecord::Config {
        resource_type: 4,
        resource: "1".to_owned(),
        key: "x".to_owned(),
        value: None,
    };
    let mut records = entry("a", 1, 2).creation();
    records.push(MetadataRecord::RemoveTopic {
        id: TopicId([1; 16]),
    });
    records.extend(entry("a", 2, 1).creation());
    records.extend([unknown, quota]);
    let before = state(records);
    let snapshot: Vec<_> = before.snapshot().flatten().collect();
    assert_eq!(snapshot.len(), before.live_records());
    assert_eq!(state(snapshot), before);
}

#[test]
fn names_that_could_be_confused_are_found() {
    let mut state = state(entry("New.York", 1, 1).creation());
    for other in ["new.york", "New_York", "NEW_YORK"] {
        let other = TopicName::new(other).unwrap();
        assert!(state.confused_with(&other).is_some(), "{other}");
    }
    assert!(
        state
            .confused_with(&TopicName::new("New.York").unwrap())
            .is_none()
    );
    state
        .apply(MetadataRecord::RemoveTopic {
            id: TopicId([1; 16]),
        })
        .unwrap();
    assert!(
        state
            .confused_with(&TopicName::new("new.york").unwrap())
            .is_none()
    );
}

#[test]
fn records_that_do_not_follow_are_refused() {
    let creation = entry("a", 1, 3).creation();
    let partition = |at: usize| creation[creation.len() - 3 + at].clone();
    let topic = creation[0].clone();
    for records in [
        vec![partition(0)],
        vec![topic.clone(), partition(1)],
        vec![topic.clone(), topic],
        vec![MetadataRecord::Topic {
            name: "..".to_owned(),
            id: TopicId([1; 16]),
        }],
    ] {
        let mut state = CatalogState::default();
        assert!(
            records
                .into_iter()
                .any(|record| state.apply(record).is_err())
        );
    }
}
