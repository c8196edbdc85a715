//! (h) A directory that was written at the metadata version of a 4.x line: clients of the new group
//! protocol and share groups work at once, with the groups' positions; and one that was written at
//! the default gets the levels from `kafka-features`.
//!
//! Knows nothing about metadata records.

use std::time::Duration;

use ottla::{Broker, BrokerConfig, Record, TopicConfig};

use crate::broker::{KafkaBroker, Plan, Quorum};
use crate::driver::Driver;
use crate::jars::{Kafka, tell, with_each_kafka};
use crate::model::contents;

const TOPIC: &str = "flights";
const GROUP: &str = "departure-board";

/// The metadata version of a line, and its share groups.
fn line(kafka: &Kafka) -> Option<(u32, bool)> {
    let lines = [
        ("4.0", 25, false),
        ("4.1", 27, false),
        ("4.2", 29, true),
        ("4.3", 30, true),
    ];
    let line = lines
        .iter()
        .find(|(line, ..)| kafka.version.starts_with(line));
    line.map(|(_, level, share)| (*level, *share))
}

#[test]
fn clients_of_the_new_protocols_work_at_once() {
    with_each_kafka("clients_of_the_new_protocols_work_at_once", |kafka| {
        let Some((level, share)) = line(kafka) else {
            tell(&format!(
                "kafka: (h) {}: it has no new protocols",
                kafka.version
            ));
            return;
        };
        for level in [level, 21] {
            check(kafka, level, share);
        }
    });
}

fn check(kafka: &Kafka, level: u32, share: bool) {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("data");
    let config = BrokerConfig::default().metadata_version(level);
    let broker = Broker::open_with(&root, config).unwrap();
    let topic = broker.create_topic(TOPIC, TopicConfig::default()).unwrap();
    for number in 0..100 {
        topic
            .append(Record::new(&format!("record {number}")))
            .unwrap();
    }
    let group = broker.group(GROUP).unwrap();
    let mut member = group.join([TOPIC]).unwrap();
    drop(member.poll(Duration::ZERO).unwrap());
    member.seek(TOPIC, 0, 40).unwrap();
    member.commit_to(TOPIC, 0, 40).unwrap();
    drop((member, group, topic));
    broker.close().unwrap();

    let plan = Plan {
        quorum: Quorum::Dynamic,
        ..Plan::default()
    };
    let broker = KafkaBroker::start(kafka, &root, &plan);
    let address = broker.address.clone();
    let mut driver = Driver::start(kafka);
    if level == 21 {
        raise(&mut driver, &address, share);
    }
    let levels = features(&mut driver, &address, &["describe"]);
    // Columns are parted by tabs in some versions, by spaces in others.
    let is = |name: &str, level: &str| {
        let wanted = format!(" FinalizedVersionLevel: {level} ");
        let lines = levels.iter();
        let mut lines = lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        lines.any(|line| line.starts_with(&format!("Feature: {name} ")) && line.contains(&wanted))
    };
    assert!(is("group.version", "1"), "{levels:?}");
    assert!(is("transaction.version", "2"), "{levels:?}");
    assert_eq!(is("share.version", "1"), share, "{levels:?}");
    let request = [
        "group",
        &address,
        GROUP,
        TOPIC,
        "60",
        "group.protocol=consumer",
    ];
    let got = contents(&driver.ask(&request));
    assert_eq!(got.len(), 60);
    assert_eq!(
        got.keys().next(),
        Some(&(0, 40)),
        "behind what was committed"
    );
    drop(driver);
    broker.stop();

    let broker = Broker::open(&root).unwrap();
    let group = broker.group(GROUP).unwrap();
    assert_eq!(group.committed(TOPIC, 0).unwrap(), Some(100));
    drop(group);
    broker.close().unwrap();
    tell(&format!(
        "kafka: (h) features {} from level {level}: group.version 1, transaction.version 2, \
         share.version {}; a member of the new group protocol goes on behind the commit of ours",
        kafka.version,
        u8::from(share),
    ));
}

fn features(driver: &mut Driver, address: &str, command: &[&str]) -> Vec<String> {
    let mut request = vec![
        "tool",
        "org.apache.kafka.tools.FeatureCommand",
        "--bootstrap-server",
        address,
    ];
    request.extend(command);
    driver.ask(&request)
}

/// What docs/kafka.md says to do.
fn raise(driver: &mut Driver, address: &str, share: bool) {
    let mut levels = vec!["group.version=1", "transaction.version=2"];
    levels.extend(share.then_some("share.version=1"));
    for level in levels {
        features(driver, address, &["upgrade", "--feature", level]);
    }
}
