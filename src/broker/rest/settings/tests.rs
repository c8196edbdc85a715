//! Tests of `settings.rs`.

use super::*;
use crate::types::{TopicId, TopicName};

/// What Kafka says of a topic.
fn said(settings: &[(&str, &str)]) -> KafkaSettings {
    let settings = settings.iter();
    settings
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect()
}

/// A topic as it is taken over.
fn taken_over(theirs: &KafkaSettings, broker: Durability) -> TopicEntry {
    TopicEntry {
        name: TopicName::new("t").unwrap(),
        id: TopicId([1; 16]),
        partitions: 1,
        settings: from_kafka(theirs, None, broker),
    }
}

#[test]
fn settings_that_no_one_altered_come_back_as_they_were() {
    for settings in [
        &[("compression.type", "uncompressed")][..],
        &[("max.message.bytes", "0")],
        &[("cleanup.policy", "delete,compact")],
        &[("segment.bytes", "100000")],
        &[("retention.ms", "604800000"), ("compression.type", "zstd")],
        &[("max.compaction.lag.ms", "9223372036854775807")],
        &[("flush.messages", "5000")],
        &[("flush.ms", "70000")],
        &[("leader.replication.throttled.replicas", "*")],
        &[
            ("message.format.version", "3.0"),
            ("min.insync.replicas", "1"),
        ],
        &[],
    ] {
        let theirs = said(settings);
        for broker in [Durability::Os, Durability::Always] {
            let told = broker == Durability::Always && !settings.iter().any(is_flush);
            let expected = told.then(|| (FLUSH_MESSAGES.to_owned(), Some("1".to_owned())));
            let entry = taken_over(&theirs, broker);
            let changes = changes(&theirs, &entry, broker);
            assert_eq!(changes, Vec::from_iter(expected), "{settings:?}");
            // And the next time round.
            let mut theirs = theirs.clone();
            for (key, value) in changes {
                theirs.insert(key, value.unwrap());
            }
            let again = TopicEntry {
                settings: from_kafka(&theirs, Some(&entry), broker),
                ..entry.clone()
            };
            assert_eq!(again, entry, "{settings:?}");
            assert_eq!(super::changes(&theirs, &again, broker), [], "{settings:?}");
        }
    }
}

fn is_flush((name, _): &(&str, &str)) -> bool {
    name.starts_with("flush.")
}

#[test]
fn one_altered_setting_leaves_the_words_of_the_others() {
    let theirs = said(&[
        ("compression.type", "uncompressed"),
        ("max.message.bytes", "0"),
        ("retention.ms", "1000"),
    ]);
    let mut entry = taken_over(&theirs, Durability::Os);
    let wanted = entry.config().0.retention_bytes(Some(1 << 30));
    for record in entry.alteration(&wanted) {
        let crate::format::metadata::MetadataRecord::Config { key, value, .. } = record else {
            panic!("{record:?}");
        };
        entry.settings.insert(key, value.unwrap());
    }
    let expected = ("retention.bytes".to_owned(), Some("1073741824".to_owned()));
    assert_eq!(changes(&theirs, &entry, Durability::Os), [expected]);
}

#[test]
fn a_setting_that_was_altered_here_is_reported() {
    let theirs = said(&[
        ("compression.type", "uncompressed"),
        ("flush.messages", "7"),
    ]);
    let mut entry = taken_over(&theirs, Durability::Os);
    entry
        .settings
        .insert("compression.type".to_owned(), "zstd".to_owned());
    entry
        .settings
        .insert("durability".to_owned(), "always".to_owned());
    let told = |key: &str, value: &str| (key.to_owned(), Some(value.to_owned()));
    assert_eq!(
        changes(&theirs, &entry, Durability::Os),
        [
            told("compression.type", "zstd"),
            told("flush.messages", "1")
        ]
    );
}

/// A setting that Kafka has too, and that is forgotten in the table, would stay here in silence.
#[test]
fn every_setting_is_passed_to_a_broker_or_kept_here_on_purpose() {
    let kept_here = [
        // A broker has the partitions as records, and the durability as settings of a flush.
        "partitions",
        "durability",
        // Kafka has this one for a broker alone, and the others not at all.
        "dedupe.buffer.bytes",
        "max.decompressed.batch.bytes",
        "write.mode",
        "strict.recovery",
        "lock.timeout.ms",
    ];
    let ours = TopicConfig::default().entries();
    let unlisted = |name: &&str| !SHARED.contains(name) && !kept_here.contains(name);
    let forgotten: Vec<&str> = ours
        .iter()
        .map(|(name, _)| *name)
        .filter(unlisted)
        .collect();
    assert_eq!(forgotten, [""; 0]);
    let known = |name: &&&str| ours.iter().any(|(our, _)| our == *name);
    assert_eq!(SHARED.iter().filter(known).count(), SHARED.len());
}
