//! (h) A broker that is killed before its first roll, with a transaction open: it has no snapshot
//! of its producers yet. After a pass through Ottla the next broker must know all of them, and one
//! that starts on a backup finds the transaction aborted.
//!
//! Knows nothing about the files: what counts is what Kafka's clients see.

use std::fs;
use std::path::{Path, PathBuf};

use ottla::{Broker, BrokerConfig, ReadIsolation, Record};

use crate::broker::{KafkaBroker, Plan, write_properties};
use crate::driver::Driver;
use crate::jars::{tell, with_each_kafka};
use crate::model::{Contents, assert_same, produced, read_kafkas, read_ours, write_records};
use crate::random::{Made, Random};

const TOPIC: &str = "transactions";
const COMMITTED: ReadIsolation = ReadIsolation::ReadCommitted;
/// No transaction of the test times out by itself.
const OPEN: &str = "transactional.id=open;transaction.timeout.ms=600000";

#[test]
fn a_killed_brokers_open_transaction_stays_open_through_ottla() {
    with_each_kafka(
        "a_killed_brokers_open_transaction_stays_open_through_ottla",
        |kafka| {
            let scratch = tempfile::tempdir().unwrap();
            let root = scratch.path().join("data");
            let mut world = World {
                driver: Driver::start(kafka),
                random: Random::new(17),
                records: root.with_extension("records"),
                visible: Contents::new(),
            };
            world.format(&root);
            let start = || KafkaBroker::start(kafka, &root, &Plan::default());
            let broker = start();
            world.write(&broker.address);
            let producers = world.producers(&broker.address);
            world.check_kafkas(&broker.address, "before the kill");
            broker.kill();
            assert_eq!(snapshots(&root), [0; 0], "killed before its first roll");

            world.pass_through_ottla(&root, false);
            let broker = start();
            let after = world.producers(&broker.address);
            assert_eq!(after, producers, "{}", kafka.version);
            world.check_kafkas(&broker.address, "after Ottla");
            // A plain record of Ottla's behind them, after a clean end of the broker.
            broker.stop();
            world.pass_through_ottla(&root, true);
            let copy = scratch.path().join("copy");
            let copied = world.back_up(&root, &copy);
            let broker = start();
            assert_eq!(world.producers(&broker.address), producers);
            world.check_kafkas(&broker.address, "after a record of Ottla's");
            // The same id begins again: what it left open is aborted, and stays hidden.
            world.visible.extend(World::behind(&root));
            world.transact(&broker.address, OPEN, "commit");
            world.produce(&broker.address);
            world.check_kafkas(&broker.address, "after the abort");
            broker.stop();
            world.pass_through_ottla(&root, false);

            world.visible = copied;
            let broker = KafkaBroker::start(kafka, &copy, &Plan::default());
            world.check_kafkas(&broker.address, "in the copy");
            // The id whose transaction was aborted there begins another.
            world.transact(&broker.address, OPEN, "commit");
            world.produce(&broker.address);
            world.check_kafkas(&broker.address, "in the copy, behind another transaction");
            broker.stop();
            world.pass_through_ottla(&copy, false);
            tell(&format!(
                "kafka {}: {} records are visible, an open and an aborted transaction are not",
                kafka.version,
                world.visible.len(),
            ));
        },
    );
}

/// What is in the topic.
struct World {
    driver: Driver,
    random: Random,
    records: PathBuf,
    /// What a consumer of committed records sees.
    visible: Contents,
}

impl World {
    fn format(&mut self, root: &Path) {
        let (properties, _) = write_properties(root, &Plan::default());
        self.driver.ask(&[
            "tool",
            "kafka.tools.StorageTool",
            "format",
            "-t",
            "MkU3OEVBNTcwNTJENDM2Qg",
            "-c",
            properties.to_str().unwrap(),
        ]);
    }

    fn write(&mut self, address: &str) {
        self.driver
            .ask(&["create", address, TOPIC, "1", "retention.ms=-1"]);
        self.produce(address);
        self.transact(address, "transactional.id=a", "commit");
        self.transact(address, "transactional.id=b", "abort");
        self.transact(address, OPEN, "open");
    }

    fn produce(&mut self, address: &str) {
        let records = self.some_records();
        let file = self.records.to_str().unwrap().to_owned();
        let request = ["produce", address, TOPIC, "linger.ms=5", &file];
        let places = self.driver.ask(&request);
        self.visible.extend(produced(&places, &records));
    }

    fn transact(&mut self, address: &str, settings: &str, end: &str) {
        let records = self.some_records();
        let file = self.records.to_str().unwrap().to_owned();
        let settings = format!("{settings};linger.ms=5;batch.size=500");
        let request = ["transact", address, TOPIC, &settings, end, &file];
        let places = self.driver.ask(&request);
        if end == "commit" {
            self.visible.extend(produced(&places, &records));
        }
    }

    /// Records with the times of their appends: Kafka forgets a producer after a day.
    fn some_records(&mut self) -> Vec<(Option<u32>, Made)> {
        let made = (0..20).map(|_| (None, Made::of_now(&mut self.random, 100)));
        let records: Vec<_> = made.collect();
        write_records(&self.records, &records);
        records
    }

    /// What the broker knows of the producers: epochs, sequence numbers, open transactions.
    fn producers(&mut self, address: &str) -> Vec<String> {
        let tool = "org.apache.kafka.tools.TransactionsCommand";
        let to = ["tool", tool, "--bootstrap-server", address];
        let what = ["describe-producers", "--topic", TOPIC, "--partition", "0"];
        let mut lines = self.driver.ask(&[&to[..], &what[..]].concat());
        lines.sort();
        assert!(lines.len() > 4, "{lines:?}");
        lines
    }

    fn check_kafkas(&mut self, address: &str, when: &str) {
        let seen = read_kafkas(&mut self.driver, address, TOPIC, COMMITTED);
        assert_same(&seen, &self.visible, when);
    }

    fn pass_through_ottla(&mut self, root: &Path, append: bool) {
        let broker = Broker::open_with(root, BrokerConfig::default()).unwrap();
        assert_same(
            &read_ours(&broker, TOPIC, COMMITTED),
            &self.visible,
            "Ottla",
        );
        if append {
            let topic = broker.topic(TOPIC).unwrap();
            topic.append(Record::new("of Ottla's")).unwrap();
        }
        broker.close().unwrap();
        assert!(snapshots(root).iter().any(|bytes| *bytes > 10));
    }

    /// Copies the root, and returns what consumers of committed records see in the copy: the open
    /// transaction is aborted there, and what is behind it appears.
    fn back_up(&self, root: &Path, copy: &Path) -> Contents {
        let mut visible = self.visible.clone();
        visible.extend(Self::behind(root));
        let broker = Broker::open_with(root, BrokerConfig::default()).unwrap();
        broker.backup(copy).unwrap();
        broker.close().unwrap();
        let opened = Broker::open_with(copy, BrokerConfig::default()).unwrap();
        assert_same(&read_ours(&opened, TOPIC, COMMITTED), &visible, "copied");
        opened.close().unwrap();
        visible
    }

    /// What stands behind the open transaction, and is seen once that is decided.
    fn behind(root: &Path) -> Contents {
        let broker = Broker::open_read_only(root).unwrap();
        let all = read_ours(&broker, TOPIC, ReadIsolation::ReadUncommitted);
        let last = all.into_iter().next_back();
        last.into_iter().collect()
    }
}

/// The lengths of the snapshots of producers in the partition.
fn snapshots(root: &Path) -> Vec<u64> {
    let entries = fs::read_dir(root.join(format!("{TOPIC}-0"))).unwrap();
    let entries = entries.map(|entry| entry.unwrap());
    let found = entries.filter(|entry| entry.path().extension() == Some("snapshot".as_ref()));
    found.map(|entry| entry.metadata().unwrap().len()).collect()
}
