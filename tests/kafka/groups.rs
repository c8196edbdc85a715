//! (i) Groups of the consumer protocol (KIP-848): Ottla deletes one, and a broker must still load
//! the others of its partition; and their commits outlast a broker that deletes what is old.
//!
//! Knows nothing about the records of groups: what counts is what Kafka's clients are told.

use std::path::Path;
use std::time::{Duration, Instant};

use ottla::Broker;

use crate::broker::{KafkaBroker, Plan, write_properties};
use crate::driver::Driver;
use crate::jars::{tell, with_each_kafka};
use crate::model::write_records;
use crate::random::{Made, Random};

const TOPIC: &str = "t";
/// Longer than a broker of [`hasty`] keeps commits.
const OVER_A_MINUTE: Duration = Duration::from_secs(75);

/// All groups in one partition of `__consumer_offsets`.
fn plan() -> Plan {
    Plan {
        more: "offsets.topic.num.partitions=1".to_owned(),
        ..Plan::default()
    }
}

/// A broker that keeps the commits of an empty group for a minute.
fn hasty() -> Plan {
    let more = "offsets.topic.num.partitions=1\noffsets.retention.minutes=1\n\
                offsets.retention.check.interval.ms=1000";
    Plan {
        more: more.to_owned(),
        ..Plan::default()
    }
}

#[test]
fn groups_of_the_new_protocol_outlive_a_pass_through_ottla() {
    let name = "groups_of_the_new_protocol_outlive_a_pass_through_ottla";
    with_each_kafka(name, |kafka| {
        if kafka.version.starts_with("3.") {
            let version = &kafka.version;
            tell(&format!(
                "kafka {version}: SKIPPED {name}: it lacks the protocol"
            ));
            return;
        }
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("data");
        let mut driver = Driver::start(kafka);
        fill(&mut driver, &root, |root| {
            KafkaBroker::start(kafka, root, &plan())
        });

        let broker = Broker::open(&root).unwrap();
        for group in ["ga", "gb", "gc"] {
            let committed = broker.group(group).unwrap().committed(TOPIC, 0).unwrap();
            assert_eq!(committed, Some(20), "{group}");
        }
        broker.delete_group("ga").unwrap();
        broker.close().unwrap();

        let mut broker = KafkaBroker::start(kafka, &root, &hasty());
        broker.idle_until(Instant::now() + OVER_A_MINUTE);
        let committed = |driver: &mut Driver, address: &str, group: &str| {
            driver.ask(&["committed", address, group])
        };
        assert!(committed(&mut driver, &broker.address, "ga").is_empty());
        for group in ["gb", "gc"] {
            let lines = committed(&mut driver, &broker.address, group);
            assert_eq!(lines, [format!("{TOPIC}\t0\t20")], "{group}");
        }
        // The group goes on, in the same protocol and in the other one.
        for (group, how) in [("gb", "consumer"), ("gc", "consumer"), ("gb", "classic")] {
            let member = format!("{group};group.protocol={how}");
            let lines = driver.ask(&["group", &broker.address, &member, TOPIC, "10"]);
            assert_eq!(lines.len(), 10, "{group} {how}");
        }
        broker.stop();

        let broker = Broker::open(&root).unwrap();
        for (group, expected) in [("gb", 40), ("gc", 30)] {
            let committed = broker.group(group).unwrap().committed(TOPIC, 0).unwrap();
            assert_eq!(committed, Some(expected), "{group}");
        }
        broker.delete_group("gc").unwrap();
        broker.close().unwrap();
        let broker = KafkaBroker::start(kafka, &root, &plan());
        let lines = committed(&mut driver, &broker.address, "gb");
        assert_eq!(lines, [format!("{TOPIC}\t0\t40")]);
        broker.stop();
        tell(&format!(
            "kafka {}: groups of the new protocol were deleted, kept and gone on with",
            kafka.version,
        ));
    });
}

/// A topic of 60 records, and three groups that have each read 20: two in the new protocol.
fn fill(driver: &mut Driver, root: &Path, start: impl Fn(&Path) -> KafkaBroker) {
    let (properties, _) = write_properties(root, &plan());
    let format = ["tool", "kafka.tools.StorageTool", "format", "-t"];
    let to = ["MkU3OEVBNTcwNTJENDM2Qg", "-c", properties.to_str().unwrap()];
    driver.ask(&[&format[..], &to[..]].concat());
    let broker = start(root);
    let address = broker.address.as_str();
    driver.ask(&["create", address, TOPIC, "1", "retention.ms=-1"]);
    let mut random = Random::new(3);
    let records: Vec<_> = (0..60)
        .map(|_| {
            let made = Made::random(&mut random, 50);
            // The time of the append: a broker refuses times that lie too far ahead.
            let timestamp = None;
            (None, Made { timestamp, ..made })
        })
        .collect();
    let file = root.with_extension("records");
    write_records(&file, &records);
    let file = file.to_str().unwrap();
    driver.ask(&["produce", address, TOPIC, "linger.ms=5", file]);
    for (group, how) in [("ga", "consumer"), ("gb", "consumer"), ("gc", "classic")] {
        let member = format!("{group};group.protocol={how}");
        let lines = driver.ask(&["group", address, &member, TOPIC, "20"]);
        assert_eq!(lines.len(), 20, "{group}");
    }
    broker.stop();
}
