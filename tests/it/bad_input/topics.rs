//! Names, partitions and settings that a broker refuses.

use std::fs;
use std::path::Path;

use ottla::{Broker, Error, TopicConfig};

use crate::helpers::{scratch, values};

/// A broker with one topic that holds one record.
fn broker(root: &Path) -> Broker {
    let broker = Broker::open(root).unwrap();
    let config = TopicConfig::default().partitions(2);
    let topic = broker.create_topic("kept.one", config).unwrap();
    topic.append_to(0, "0").unwrap();
    broker
}

fn directories(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root).unwrap().map(Result::unwrap);
    let mut names: Vec<_> = entries
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn check_intact(broker: Broker, root: &Path, directories_before: &[String]) {
    assert_eq!(directories(root), directories_before);
    let check = |broker: &Broker| {
        let topics = broker.topics();
        let names: Vec<_> = topics.iter().map(|topic| topic.name.as_str()).collect();
        assert_eq!(names, ["kept.one"]);
        let topic = broker.topic("kept.one").unwrap();
        assert_eq!(values(&topic.partition(0).unwrap()), ["0"]);
    };
    check(&broker);
    broker.close().unwrap();
    drop(broker);
    check(&Broker::open(root).unwrap());
}

#[test]
fn names_that_kafka_refuses_are_refused() {
    let root = scratch();
    let broker = broker(root.path());
    let before = directories(root.path());
    let long = "x".repeat(250);
    let outside = root.path().parent().unwrap().join("escaped-0");
    for bad in [
        "",
        ".",
        "..",
        "a/b",
        "/",
        "../escaped",
        "a\0b",
        "\0",
        &long,
        "a b",
        "\u{e4}",
        "a\\b",
        "a:b",
    ] {
        for made in [
            broker.create_topic(bad, TopicConfig::default()).map(drop),
            broker
                .create_topic_if_absent(bad, TopicConfig::default())
                .map(drop),
        ] {
            match made {
                Err(Error::InvalidName { name, reason, .. }) => {
                    assert_eq!(name, bad);
                    assert!(!reason.is_empty());
                }
                other => panic!("{bad:?}: {other:?}"),
            }
        }
    }
    assert!(!outside.exists());
    check_intact(broker, root.path(), &before);
}

#[test]
fn the_longest_name_is_taken() {
    let root = scratch();
    let longest = "x".repeat(249);
    let broker = Broker::open(root.path()).unwrap();
    let topic = broker
        .create_topic(&longest, TopicConfig::default())
        .unwrap();
    topic.append_to(0, "0").unwrap();
    broker.close().unwrap();
    drop(topic);
    drop(broker);
    let broker = Broker::open(root.path()).unwrap();
    assert_eq!(
        values(&broker.topic(&longest).unwrap().partition(0).unwrap()),
        ["0"]
    );
}

#[test]
fn a_name_that_collides_by_dot_and_underscore_is_refused() {
    let root = scratch();
    let broker = broker(root.path());
    let before = directories(root.path());
    let error = broker
        .create_topic("kept_one", TopicConfig::default())
        .unwrap_err();
    assert!(matches!(error, Error::InvalidName { .. }), "{error:?}");
    let same = broker
        .create_topic("kept.one", TopicConfig::default())
        .unwrap_err();
    assert!(matches!(same, Error::TopicExists { .. }), "{same:?}");
    check_intact(broker, root.path(), &before);
}

#[test]
fn a_topic_without_partitions_is_refused() {
    let root = scratch();
    let broker = broker(root.path());
    let before = directories(root.path());
    let config = TopicConfig::default().partitions(0);
    match broker.create_topic("empty", config) {
        Err(Error::InvalidConfig {
            name,
            value,
            expected,
            ..
        }) => {
            assert!(name.contains("partitions"), "{name}");
            assert_eq!(value, "0");
            assert!(expected.contains('1'), "{expected}");
        }
        other => panic!("{other:?}"),
    }
    check_intact(broker, root.path(), &before);
}

#[test]
fn an_unknown_partition_or_topic_is_an_error() {
    let root = scratch();
    let broker = broker(root.path());
    let before = directories(root.path());
    let topic = broker.topic("kept.one").unwrap();
    for unknown in [2, u32::MAX] {
        for result in [
            topic.append_to(unknown, "lost").map(drop),
            topic.partition(unknown).map(drop),
        ] {
            match result {
                Err(Error::UnknownPartition {
                    topic, partition, ..
                }) => {
                    assert_eq!((topic.as_str(), partition), ("kept.one", unknown));
                }
                other => panic!("{other:?}"),
            }
        }
    }
    for result in [
        broker.topic("nowhere").map(drop),
        broker.delete_topic("nowhere"),
    ] {
        let error = result.unwrap_err();
        assert!(
            matches!(&error, Error::UnknownTopic { name, .. } if name == "nowhere"),
            "{error:?}"
        );
    }
    drop(topic);
    check_intact(broker, root.path(), &before);
}

#[test]
fn fewer_partitions_are_refused() {
    let root = scratch();
    let broker = broker(root.path());
    let before = directories(root.path());
    let error = broker
        .alter_topic("kept.one", |config| config.partitions(1))
        .unwrap_err();
    assert!(matches!(error, Error::InvalidConfig { .. }), "{error:?}");
    check_intact(broker, root.path(), &before);
}
