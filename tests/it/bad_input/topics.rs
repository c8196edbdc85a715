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

/// Kafka's rule, said once more: `Topic.validate`.
fn is_kafkas(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !matches!(name, "" | "." | "..") && name.len() <= 249 && name.bytes().all(legal)
}

#[test]
fn no_name_leads_out_of_the_directory() {
    const LETTERS: [char; 16] = [
        '.', '.', '.', '/', '/', '\\', '\0', '-', '_', 'a', 'Z', '0', ' ', ':', '\u{e4}', '\n',
    ];
    let outside = scratch();
    let root = outside.path().join("data");
    let broker = broker(&root);
    let before = directories(&root);
    let names = match std::env::var("OTTLA_PROOF") {
        Ok(_) => 1_000_000_u64,
        Err(_) => 100_000,
    };
    let (mut legal, mut made) = (0, 0);
    let mut state = 1_u64;
    for number in 0..names {
        let mut random = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            usize::try_from(state >> 33).unwrap()
        };
        let len = random() % 9;
        let name: String = (0..len)
            .map(|_| LETTERS[random() % LETTERS.len()])
            .collect();
        if is_kafkas(&name) {
            legal += 1;
            // It may still be taken, or too much like one that is there.
            if number % 100 == 0 && broker.create_topic(&name, TopicConfig::default()).is_ok() {
                made += 1;
                broker.delete_topic(&name).unwrap();
            }
            continue;
        }
        let answer = broker.create_topic(&name, TopicConfig::default());
        assert!(matches!(answer, Err(Error::InvalidName { .. })), "{name:?}");
        assert!(broker.topic(&name).is_err() && broker.delete_topic(&name).is_err());
    }
    println!("names: {names} tried, {legal} legal, {made} of them made");
    assert!(legal > names / 100 && made > 0);
    assert_eq!(directories(outside.path()), ["data"]);
    check_intact(broker, &root, &before);
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
