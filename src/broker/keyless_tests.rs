//! A topic with records without keys that is to be compacted: nothing is dropped unasked.

use std::path::Path;

use crate::clock::Clock;
#[cfg(feature = "gzip")]
use crate::disk::sim::Kind;
use crate::disk::sim::Sim;
use crate::error::{Error, Result};
use crate::topic::{Topic, TopicConfig};
use crate::types::{CleanupPolicy, Compression, Record};

use super::{AlterOptions, Broker, BrokerConfig};

fn open(sim: &Sim) -> Broker {
    let config = BrokerConfig::default().manual_upkeep(true);
    Broker::open_on(sim.disk(), Clock::System, Path::new("/data"), config).unwrap()
}

fn small() -> TopicConfig {
    TopicConfig::default().partitions(2).segment_bytes(1024)
}

fn compacted(config: TopicConfig) -> TopicConfig {
    config.cleanup_policy(CleanupPolicy::Compact)
}

/// Keyed records in both partitions, over several segments.
fn fill(topic: &Topic, count: u32) {
    for number in 0..count {
        let (key, value) = (format!("key {number}"), "v".repeat(100));
        topic
            .append_to(number % 2, Record::keyed(&key, &value))
            .unwrap();
    }
}

fn refused(altered: Result<()>) {
    match altered {
        Err(Error::InvalidConfig { name, .. }) => assert_eq!(name, "cleanup.policy"),
        other => panic!("{other:?}"),
    }
}

fn is_built(compression: Compression) -> bool {
    compression == Compression::None || cfg!(feature = "gzip")
}

#[test]
fn a_topic_with_records_without_keys_becomes_compacted_only_when_that_is_asked_for() {
    for (compression, last) in [
        (Compression::None, true),
        (Compression::None, false),
        (Compression::Gzip, false),
    ] {
        if !is_built(compression) {
            continue;
        }
        let sim = Sim::new();
        let broker = open(&sim);
        let config = small().compression_type(compression);
        let topic = broker.create_topic("t", config.clone()).unwrap();
        fill(&topic, 40);
        topic.append_to(1, Record::new("without a key")).unwrap();
        if !last {
            fill(&topic, 40);
        }
        refused(broker.alter_topic("t", compacted));
        let ensured = broker.ensure_topic("t", compacted(config.clone()));
        refused(ensured.map(drop));
        assert_eq!(topic.config().cleanup_policy, CleanupPolicy::Delete);
        // Nothing is changed by a refusal: the topic takes such records still.
        topic.append_to(0, Record::new("another")).unwrap();
        drop(topic);
        broker.close().unwrap();

        let broker = open(&sim);
        refused(broker.alter_topic("t", compacted));
        let asked = AlterOptions::default().drop_keyless(true);
        broker.alter_topic_with("t", asked, compacted).unwrap();
        let topic = broker.topic("t").unwrap();
        assert!(topic.append_to(0, Record::new("a third")).is_err());
        let log = topic.partition(1).unwrap();
        log.compact().unwrap();
        let mut records = log.reader(0).unwrap().map(Result::unwrap);
        assert!(records.all(|record| record.key().is_some()));
    }
}

#[test]
fn a_topic_whose_records_all_have_keys_becomes_compacted_as_ever() {
    for compression in [Compression::None, Compression::Gzip] {
        if !is_built(compression) {
            continue;
        }
        let broker = open(&Sim::new());
        let config = small().compression_type(compression);
        fill(&broker.create_topic("t", config).unwrap(), 40);
        broker.alter_topic("t", compacted).unwrap();
        let topic = broker.topic("t").unwrap();
        assert_eq!(topic.config().cleanup_policy, CleanupPolicy::Compact);
    }
}

#[cfg(feature = "gzip")]
#[test]
fn a_segment_whose_digest_does_not_say_it_is_read_once() {
    let sim = Sim::new();
    let broker = open(&sim);
    let config = small().compression_type(Compression::Gzip);
    let topic = broker.create_topic("t", config).unwrap();
    fill(&topic, 200);
    drop(topic);
    broker.close().unwrap();

    let broker = open(&sim);
    let topic = broker.topic("t").unwrap();
    let log = topic.partition(0).unwrap();
    assert!(log.segments().len() > 2, "{}", log.segments().len());
    let reads = || {
        let before = sim.trace().len();
        assert!(!log.lacks_keys(0).unwrap());
        let trace = sim.trace();
        let made = trace.iter().skip(before);
        made.filter(|made| made.kind == Kind::Read).count()
    };
    sim.record();
    let (first, second) = (reads(), reads());
    assert!(second < first, "{first} reads, then {second}");
}
