//! A topic's life: made, found again, changed, deleted; and its broker's.

use std::fs;
use std::time::Duration;

use ottla::{
    Broker, BrokerConfig, Durability, Ensured, Error, Log, LogConfig, ProducerConfig, Record,
    Result, TopicConfig,
};

use super::{names_in, scratch, values};

#[test]
fn everything_is_found_again_as_it_was() {
    let (_scratch, dir) = scratch();
    let config = TopicConfig::default().partitions(3).segment_bytes(4096);
    let (before, info) = {
        let broker = Broker::open(&dir).unwrap();
        let topic = broker.create_topic("flights", config.clone()).unwrap();
        for number in 0..300 {
            let key = format!("N{}", number % 17);
            topic
                .append(Record::keyed(&key, &number.to_string()))
                .unwrap();
        }
        let before = (values(&topic), broker.topics());
        broker.close().unwrap();
        before
    };
    assert_eq!(before.len(), 300);
    let broker = Broker::open(&dir).unwrap();
    assert!(broker.open_report().clean, "{:?}", broker.open_report());
    let topic = broker.topic("flights").unwrap();
    assert_eq!(topic.config(), config);
    assert_eq!(values(&topic), before);
    let mut again = broker.topics();
    for (old, new) in info[0].partitions.iter().zip(&mut again[0].partitions) {
        // Closing has flushed everything.
        assert_eq!(new.flushed_offset, new.end_offset);
        new.flushed_offset = old.flushed_offset;
    }
    assert_eq!(again, info);
}

#[test]
fn names_follow_kafkas_rules() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    let long = "x".repeat(250);
    for name in [
        "",
        ".",
        "..",
        "a/b",
        "a\0b",
        "\u{e9}",
        "a b",
        &long,
        "__consumer_offsets",
    ] {
        let error = broker
            .create_topic(name, TopicConfig::default())
            .unwrap_err();
        assert!(
            matches!(error, Error::InvalidName { .. }),
            "{name:?}: {error}"
        );
    }
    broker
        .create_topic(&long[..249], TopicConfig::default())
        .unwrap();
    broker
        .create_topic("New.York", TopicConfig::default())
        .unwrap();
    for name in ["New_York", "new.york", "NUL.txt"] {
        let error = broker
            .create_topic(name, TopicConfig::default())
            .unwrap_err();
        assert!(
            matches!(error, Error::InvalidName { .. }),
            "{name:?}: {error}"
        );
    }
    let error = broker
        .create_topic("New.York", TopicConfig::default())
        .unwrap_err();
    assert!(matches!(error, Error::TopicExists { .. }), "{error}");
    let found = broker.create_topic_if_absent("New.York", TopicConfig::default().partitions(9));
    assert_eq!(found.unwrap().partition_count(), 1);
    let error = broker
        .create_topic("none", TopicConfig::default().partitions(0))
        .unwrap_err();
    assert!(matches!(error, Error::InvalidConfig { .. }), "{error}");
    assert_eq!(
        broker.topic_names(),
        ["New.York".to_owned(), long[..249].to_owned()]
    );
    assert!(matches!(
        broker.topic("none"),
        Err(Error::UnknownTopic { .. })
    ));
    assert!(matches!(
        broker.delete_topic("none"),
        Err(Error::UnknownTopic { .. })
    ));
}

#[test]
fn a_deleted_topic_is_gone_for_everybody_and_a_new_one_starts_empty() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    let topic = broker
        .create_topic("t", TopicConfig::default().partitions(2))
        .unwrap();
    let id = broker.topics()[0].id.clone();
    let producer = topic.producer(ProducerConfig::default()).unwrap();
    topic.append("x").unwrap();
    let mut reader = topic.partition(0).unwrap().reader(0).unwrap();
    fs::write(dir.join("t-1").join("notes.txt"), "mine").unwrap();
    broker.delete_topic("t").unwrap();

    assert!(matches!(topic.append("x"), Err(Error::UnknownTopic { .. })));
    assert!(matches!(
        topic.append_to(1, "x"),
        Err(Error::UnknownTopic { .. })
    ));
    assert!(matches!(
        topic.append_batch(["x"]),
        Err(Error::UnknownTopic { .. })
    ));
    assert!(matches!(
        topic.partition(0),
        Err(Error::UnknownTopic { .. })
    ));
    assert!(matches!(topic.describe(), Err(Error::UnknownTopic { .. })));
    assert!(matches!(
        producer.send("x"),
        Err(Error::UnknownTopic { .. })
    ));
    // Its data or a clear error, never a crash.
    assert!(matches!(
        reader.next(),
        Some(Ok(_) | Err(Error::Closed)) | None
    ));
    assert!(broker.topics().is_empty());
    assert!(!dir.join("t-0").exists());
    assert_eq!(
        names_in(&dir.join("t-1")),
        ["notes.txt"],
        "what is not ours stays"
    );

    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    assert_eq!(topic.append("y").unwrap().offset, 0);
    assert_ne!(broker.topics()[0].id, id);
    broker.close().unwrap();
    let broker = Broker::open(&dir).unwrap();
    assert_eq!(
        values(&broker.topic("t").unwrap()),
        [(0, 0, "y".to_owned())]
    );
}

#[test]
fn a_topic_gets_more_partitions_and_other_settings_while_it_runs() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    topic.append("x").unwrap();
    broker
        .alter_topic("t", |config| config.partitions(3).max_message_bytes(200))
        .unwrap();
    assert_eq!(topic.partition_count(), 3);
    assert_eq!(topic.append_to(2, "x").unwrap(), 0);
    let large = "x".repeat(300);
    assert!(matches!(
        topic.append_to(0, &large),
        Err(Error::RecordTooLarge { .. })
    ));
    let error = broker
        .alter_topic("t", |config| config.partitions(2))
        .unwrap_err();
    assert!(matches!(error, Error::InvalidConfig { .. }), "{error}");
    let error = broker
        .alter_topic("t", |config| config.segment_bytes(1))
        .unwrap_err();
    assert!(matches!(error, Error::InvalidConfig { .. }), "{error}");
    // User code may use the broker: no lock is held meanwhile.
    let other = broker.clone();
    broker
        .alter_topic("t", |config| {
            other
                .alter_topic("t", |config| config.partitions(4))
                .unwrap();
            config.max_message_bytes(400)
        })
        .unwrap();
    topic.append_to(0, &large).unwrap();
    broker.close().unwrap();
    let broker = Broker::open(&dir).unwrap();
    let config = broker.topic("t").unwrap().config();
    assert_eq!(
        config,
        TopicConfig::default().partitions(4).max_message_bytes(400)
    );
}

#[test]
fn a_closed_broker_says_so_and_a_dropped_one_is_closed() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    let log = topic.partition(0).unwrap();
    assert!(matches!(Broker::open(&dir), Err(Error::Locked { .. })));
    assert!(matches!(
        Log::open(dir.join("t-0"), LogConfig::default()),
        Err(Error::Locked { .. })
    ));
    topic.append("x").unwrap();
    broker.close().unwrap();
    broker.close().unwrap();
    assert!(matches!(topic.append("x"), Err(Error::Closed)));
    assert!(matches!(topic.partition(0), Err(Error::Closed)));
    assert!(matches!(log.append("x"), Err(Error::Closed)));
    assert!(matches!(broker.topic("t"), Err(Error::Closed)));
    assert!(matches!(
        broker.create_topic("u", TopicConfig::default()),
        Err(Error::Closed)
    ));
    assert!(matches!(broker.delete_topic("t"), Err(Error::Closed)));
    assert!(matches!(broker.flush(), Err(Error::Closed)));
    assert!(broker.topics().is_empty());

    let broker = Broker::open(&dir).unwrap();
    let topic = broker.topic("t").unwrap();
    drop(broker);
    topic.append("kept alive by its topic").unwrap();
    assert!(matches!(Broker::open(&dir), Err(Error::Locked { .. })));
    drop(topic);
    let broker = Broker::open(&dir).unwrap();
    assert!(broker.open_report().clean);
    assert_eq!(values(&broker.topic("t").unwrap()).len(), 2);
}

#[test]
fn the_brokers_durability_is_the_topics_unless_it_has_its_own() {
    let (_scratch, dir) = scratch();
    let config = BrokerConfig::default().durability(Durability::Always);
    let broker = Broker::open_with(&dir, config).unwrap();
    let follows = broker.create_topic("a", TopicConfig::default()).unwrap();
    let own = broker
        .create_topic("b", TopicConfig::default().durability(Durability::Os))
        .unwrap();
    follows.append("x").unwrap();
    own.append("x").unwrap();
    assert_eq!(follows.partition(0).unwrap().flushed_offset(), 1);
    assert_eq!(own.partition(0).unwrap().flushed_offset(), 0);
    broker.flush().unwrap();
    assert_eq!(own.partition(0).unwrap().flushed_offset(), 1);
}

#[test]
fn upkeep_by_hand_does_what_the_flusher_would() -> Result<()> {
    let (_scratch, dir) = scratch();
    let broker = Broker::open_with(&dir, BrokerConfig::default().manual_upkeep(true))?;
    let every = Durability::Interval(Duration::from_millis(1));
    let topic = broker.create_topic("t", TopicConfig::default().durability(every))?;
    topic.append("x")?;
    assert_eq!(broker.upkeep()?.flushed, 1);
    assert_eq!(topic.partition(0)?.flushed_offset(), 1);
    assert_eq!(broker.upkeep()?.flushed, 0);
    Ok(())
}

#[test]
fn threads_that_make_and_delete_topics_do_not_disturb_each_other() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let broker = broker.clone();
            scope.spawn(move || {
                for round in 0..8 {
                    let shared = broker.create_topic_if_absent("shared", TopicConfig::default());
                    // It may be deleted by another thread at any moment.
                    drop(shared.and_then(|topic| topic.append("x")));
                    let own = format!("own-{thread}");
                    let topic = broker.create_topic(&own, TopicConfig::default()).unwrap();
                    assert_eq!(topic.append("x").unwrap().offset, 0, "round {round}");
                    drop(broker.delete_topic("shared"));
                    broker.delete_topic(&own).unwrap();
                }
            });
        }
    });
    drop(broker.delete_topic("shared"));
    broker.close().unwrap();
    let left: Vec<_> = names_in(&dir)
        .into_iter()
        .filter(|name| name.contains('-') && !name.starts_with("__cluster_metadata"))
        .collect();
    assert!(left.iter().all(|name| !dir.join(name).is_dir()), "{left:?}");
    assert!(Broker::open(&dir).unwrap().topics().is_empty());
}

#[test]
fn a_topic_is_ensured_made_altered_or_found_as_it_was() {
    let (_scratch, dir) = scratch();
    let dir = dir.join("in").join("directories").join("to come");
    let broker = Broker::open(&dir).unwrap();
    let config = TopicConfig::default().partitions(2).segment_bytes(1 << 20);
    assert_eq!(
        broker.ensure_topic("t", config.clone()).unwrap(),
        Ensured::Made
    );
    assert_eq!(
        broker.ensure_topic("t", config.clone()).unwrap(),
        Ensured::AsItWas
    );
    let other = config.clone().partitions(3).segment_bytes(1 << 21);
    let Ensured::Altered(changes) = broker.ensure_topic("t", other.clone()).unwrap() else {
        panic!("altered");
    };
    let changes: Vec<_> = changes
        .iter()
        .map(|change| {
            (
                change.name.as_str(),
                change.from.as_str(),
                change.to.as_str(),
            )
        })
        .collect();
    assert_eq!(
        changes,
        [
            ("partitions", "2", "3"),
            ("segment.bytes", "1048576", "2097152")
        ]
    );
    assert_eq!(broker.topic("t").unwrap().config(), other);
    assert!(matches!(
        broker.ensure_topic("t", config),
        Err(Error::InvalidConfig { .. })
    ));
    assert_eq!(broker.topic("t").unwrap().config(), other);
    broker.close().unwrap();
    let broker = Broker::open(&dir).unwrap();
    assert_eq!(broker.ensure_topic("t", other).unwrap(), Ensured::AsItWas);
}

#[test]
fn a_directory_of_other_things_is_refused_unless_asked_for_and_reported() {
    let (_scratch, dir) = scratch();
    std::fs::create_dir_all(dir.join("photos-2024")).unwrap();
    std::fs::write(dir.join("photos-2024").join("a.jpg"), "x").unwrap();
    std::fs::write(dir.join("thesis.tex"), "x").unwrap();
    let before = super::names_in(&dir);
    let refused = Broker::open(&dir).unwrap_err();
    assert!(matches!(refused, Error::Unsupported { .. }), "{refused}");
    assert!(refused.to_string().contains("thesis.tex"), "{refused}");
    assert_eq!(super::names_in(&dir), before, "nothing was made");
    // A name that reads like a partition's is reported as such once there are topics.
    let told = |broker: &Broker| {
        ["photos-2024", "thesis.tex"].iter().all(|name| {
            let mut events = broker.open_report().events.iter();
            events.any(|event| match event {
                ottla::OpenEvent::OtherThings { names, .. } => names.iter().any(|it| it == name),
                ottla::OpenEvent::LeftAlone { path, .. } => path.ends_with(name),
                _ => false,
            })
        })
    };
    let config = ottla::BrokerConfig::default().among_other_files(true);
    let broker = Broker::open_with(&dir, config).unwrap();
    assert!(told(&broker), "{:?}", broker.open_report());
    broker.create_topic("t", TopicConfig::default()).unwrap();
    broker.close().unwrap();
    let broker = Broker::open(&dir).unwrap();
    assert!(told(&broker), "{:?}", broker.open_report());
    drop(broker);
    assert!(dir.join("thesis.tex").is_file());

    // What belongs to nobody is no reason.
    let hidden = dir.join("fresh");
    std::fs::create_dir_all(hidden.join("lost+found")).unwrap();
    std::fs::write(hidden.join(".gitkeep"), "").unwrap();
    let broker = Broker::open(&hidden).unwrap();
    let silent = |event: &ottla::OpenEvent| !matches!(event, ottla::OpenEvent::OtherThings { .. });
    assert!(broker.open_report().events.iter().all(silent));
}
