//! What a broker makes of a directory that a crash, an accident or somebody else left.

use std::fs;

use ottla::{Broker, Error, Log, LogConfig, OpenEvent, TopicConfig};

use super::{copy_tree, names_in, scratch, values};

#[test]
fn after_a_kill_all_logs_are_recovered_at_once() {
    let (scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    let topic = broker
        .create_topic("t", TopicConfig::default().partitions(2))
        .unwrap();
    for number in 0..10 {
        topic.append_to(number % 2, &number.to_string()).unwrap();
    }
    let killed = scratch.path().join("killed");
    copy_tree(&dir, &killed);
    let broker = Broker::open(&killed).unwrap();
    assert!(!broker.open_report().clean);
    assert_eq!(values(&broker.topic("t").unwrap()), values(&topic));
}

#[test]
fn a_directory_without_an_owner_is_settled_or_reported() {
    let (scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    topic.append("x").unwrap();
    broker.close().unwrap();
    // An unfinished creation, an orphan with records, and something else altogether.
    fs::create_dir(dir.join("u-0")).unwrap();
    fs::write(dir.join("u-0").join("partition.metadata"), "version: 0\n").unwrap();
    copy_tree(&dir.join("t-0"), &dir.join("orphan-0"));
    fs::create_dir(dir.join("photos")).unwrap();
    fs::write(dir.join("photos").join("a.png"), "x").unwrap();
    let broker = Broker::open(&dir).unwrap();
    assert!(!dir.join("u-0").exists());
    assert!(
        dir.join("orphan-0")
            .join("00000000000000000000.log")
            .exists()
    );
    let odd: Vec<_> = broker
        .open_report()
        .events
        .iter()
        .filter_map(|event| match event {
            OpenEvent::LeftAlone { path, .. } => Some(path.file_name().unwrap().to_owned()),
            _ => None,
        })
        .collect();
    assert_eq!(odd.len(), 2, "{:?}", broker.open_report());
    // The orphan's records are not taken for those of a new topic.
    let error = broker
        .create_topic("orphan", TopicConfig::default())
        .unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    assert_eq!(values(&broker.topic("t").unwrap()).len(), 1);
    drop((broker, scratch));
}

#[test]
fn one_damaged_partition_keeps_no_one_from_the_others() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    let topic = broker
        .create_topic("t", TopicConfig::default().partitions(2))
        .unwrap();
    topic.append_to(0, "x").unwrap();
    topic.append_to(1, "y").unwrap();
    broker.close().unwrap();
    // Two partitions that changed places: each says that it belongs to the topic, but this one.
    fs::write(
        dir.join("t-0").join("partition.metadata"),
        "version: 0\ntopic_id: rvvf-yNvRcyXKPzGuhhMXA\n",
    )
    .unwrap();
    fs::remove_file(dir.join(".kafka_cleanshutdown")).unwrap();
    let broker = Broker::open(&dir).unwrap();
    let unusable = |event: &OpenEvent| matches!(event, OpenEvent::LogUnusable { .. });
    assert!(
        broker.open_report().events.iter().any(unusable),
        "{:?}",
        broker.open_report()
    );
    let topic = broker.topic("t").unwrap();
    assert!(matches!(
        topic.append_to(0, "x"),
        Err(Error::Corrupt { .. })
    ));
    assert!(matches!(topic.partition(0), Err(Error::Corrupt { .. })));
    assert_eq!(topic.append_to(1, "y").unwrap(), 1);
    let info = topic.describe().unwrap();
    assert!(info.partitions[0].problem.is_some() && info.partitions[1].problem.is_none());
}

#[test]
fn reading_takes_no_lock_and_changes_nothing() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    topic.append("x").unwrap();
    let before = names_in(&dir);
    let reading = Broker::open_read_only(&dir).unwrap();
    let seen = reading.topic("t").unwrap();
    assert_eq!(values(&seen), values(&topic));
    assert!(matches!(seen.append("y"), Err(Error::ReadOnly)));
    let config = TopicConfig::default;
    assert!(matches!(
        reading.create_topic("u", config()),
        Err(Error::ReadOnly)
    ));
    assert!(matches!(reading.delete_topic("t"), Err(Error::ReadOnly)));
    assert!(matches!(
        reading.alter_topic("t", |c| c.partitions(2)),
        Err(Error::ReadOnly)
    ));
    assert!(matches!(reading.upkeep(), Err(Error::ReadOnly)));
    reading.close().unwrap();
    assert_eq!(names_in(&dir), before);
    assert!(Broker::open_read_only(dir.join("missing")).is_err());
}

#[test]
fn a_directory_that_is_something_else_is_refused() {
    let (scratch, dir) = scratch();
    drop(Log::open(&dir, LogConfig::default()).unwrap());
    assert!(matches!(Broker::open(&dir), Err(Error::Unsupported { .. })));
    let kafka = scratch.path().join("kafka");
    fs::create_dir(&kafka).unwrap();
    fs::write(kafka.join("meta.properties"), "version=1\n").unwrap();
    let refused = Broker::open(&kafka);
    assert!(
        matches!(
            refused,
            Err(Error::Unsupported { .. } | Error::Corrupt { .. })
        ),
        "{refused:?}"
    );
    let file = scratch.path().join("file");
    fs::write(&file, "x").unwrap();
    assert!(matches!(Broker::open(&file), Err(Error::Io { .. })));
    let below = file.join("data");
    assert!(matches!(Broker::open(below), Err(Error::Io { .. })));
}

#[test]
fn a_damaged_catalog_is_refused_with_its_place_and_nothing_is_touched() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    for name in ["a", "b", "c"] {
        broker
            .create_topic(name, TopicConfig::default())
            .unwrap()
            .append("x")
            .unwrap();
    }
    broker.close().unwrap();
    let path = dir.join("ottla.catalog");
    let good = fs::read(&path).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        fs::write(&path, &bad).unwrap();
        let error = Broker::open(&dir).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "byte {at}: {error}");
    }
    for len in [0, 10, good.len() - 1] {
        fs::write(&path, &good[..len]).unwrap();
        assert!(
            matches!(Broker::open(&dir), Err(Error::Corrupt { .. })),
            "{len} bytes"
        );
    }
    fs::write(&path, &good).unwrap();
    let broker = Broker::open(&dir).unwrap();
    assert_eq!(
        broker
            .topics()
            .iter()
            .map(|topic| topic.partitions[0].end_offset)
            .sum::<u64>(),
        3
    );
}

#[test]
fn the_end_of_a_change_that_was_reported_to_no_one_is_set_aside() {
    let (scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    broker.create_topic("a", TopicConfig::default()).unwrap();
    let killed = scratch.path().join("killed");
    copy_tree(&dir, &killed);
    broker.create_topic("b", TopicConfig::default()).unwrap();
    let longer = fs::read(dir.join("ottla.catalog")).unwrap();
    let len = fs::metadata(killed.join("ottla.catalog")).unwrap().len();
    fs::write(killed.join("ottla.catalog"), &longer[..longer.len() - 5]).unwrap();
    let broker = Broker::open(&killed).unwrap();
    assert_eq!(broker.topic_names(), ["a"]);
    let set_aside = broker
        .open_report()
        .events
        .iter()
        .find_map(|event| match event {
            OpenEvent::TailSetAside {
                position,
                quarantine,
                ..
            } => Some((*position, quarantine)),
            _ => None,
        });
    let (position, quarantine) = set_aside.unwrap();
    assert_eq!(position, len);
    assert_eq!(
        fs::read(quarantine).unwrap(),
        &longer[usize::try_from(len).unwrap()..]
            [..longer.len() - 5 - usize::try_from(len).unwrap()]
    );
    broker.create_topic("b", TopicConfig::default()).unwrap();
    drop(broker);
    assert_eq!(Broker::open(&killed).unwrap().topic_names(), ["a", "b"]);
}
