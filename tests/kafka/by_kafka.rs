//! (c) A directory that Kafka alone has written: every codec, idempotent producers, transactions
//! committed, aborted and left open, a topic after its cleaner ran, timestamps of the broker,
//! records deleted from the front. While the broker runs, after it stopped, and after it was
//! killed, Ottla sees record for record what Kafka's consumer saw.
//!
//! Knows nothing about the bytes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ottla::{Broker, Log, ReadIsolation, Record};

use crate::broker::{KafkaBroker, Plan, write_properties};
use crate::driver::Driver;
use crate::jars::{Kafka, tell, with_each_kafka};
use crate::model::write_records;
use crate::model::{Contents, assert_same, contents, numbers, read_kafkas, read_ours, seen};
use crate::random::{Made, Random};

const BOTH: [ReadIsolation; 2] = [ReadIsolation::ReadUncommitted, ReadIsolation::ReadCommitted];
const ALL: ReadIsolation = ReadIsolation::ReadUncommitted;
const TRANSACTIONS: &str = "transactions";
const COMPACTED: &str = "compacted";
const CUT: &str = "cut";

#[test]
fn what_kafka_alone_has_written_is_read_as_kafka_reads_it() {
    with_each_kafka("what_kafka_alone_has_written", |kafka| {
        let scratch = tempfile::tempdir().unwrap();
        let mut world = World {
            kafka,
            root: scratch.path().join("data"),
            driver: Driver::start(kafka),
            random: Random::new(5),
            topics: Vec::new(),
        };
        world.format();
        let broker = KafkaBroker::start(kafka, &world.root, &plan());
        world.write(&broker.address);
        let views = world.views(&broker.address);
        world.read_while_it_runs(&views);
        broker.stop();
        world.read_only(&views);
        world.read_and_append(&views);
        world.go_out_again(&views);
    });
}

/// A broker whose cleaner is in a hurry.
fn plan() -> Plan {
    Plan {
        more: "log.cleaner.backoff.ms=100\nlog.initial.task.delay.ms=100\n\
               log.retention.check.interval.ms=60000"
            .to_owned(),
        ..Plan::default()
    }
}

/// A root of Kafka's.
struct World<'a> {
    kafka: &'a Kafka,
    root: PathBuf,
    driver: Driver,
    random: Random,
    topics: Vec<String>,
}

/// What Kafka's consumer sees of a topic.
struct View {
    topic: String,
    starts: BTreeMap<u32, u64>,
    uncommitted: Contents,
    committed: Contents,
}

impl World<'_> {
    fn format(&mut self) {
        let (properties, _) = write_properties(&self.root, &plan());
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
        for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
            self.create(address, codec, 2, "");
            let settings = format!("compression.type={codec};linger.ms=20;batch.size=4000");
            self.produce(address, codec, &settings, 600);
        }
        self.create(
            address,
            "append-time",
            1,
            "message.timestamp.type=LogAppendTime",
        );
        self.produce(address, "append-time", "linger.ms=20", 300);
        self.create(address, CUT, 1, "");
        self.produce(address, CUT, "linger.ms=20", 500);
        self.driver
            .ask(&["delete-records", address, CUT, "0", "123"]);
        self.write_transactions(address);
        self.write_compacted(address);
        self.driver
            .ask(&["group", address, "readers", "gzip", "100"]);
    }

    fn create(&mut self, address: &str, topic: &str, partitions: u32, settings: &str) {
        let partitions = partitions.to_string();
        // The records are old, and Kafka's default would delete them after 7 days.
        let settings = &format!("retention.ms=-1;{settings}");
        self.driver
            .ask(&["create", address, topic, &partitions, settings]);
        self.topics.push(topic.to_owned());
    }

    fn produce(&mut self, address: &str, topic: &str, settings: &str, count: i64) {
        let records: Vec<_> = (0..count)
            .map(|number| {
                let mut made = Made::random(&mut self.random, 200);
                made.timestamp = Some(1_400_000_000_000 + number);
                (None, made)
            })
            .collect();
        self.send("produce", &[address, topic, settings], &records);
    }

    fn send(&mut self, how: &str, to: &[&str], records: &[(Option<u32>, Made)]) {
        let file = self.root.with_extension("records");
        write_records(&file, records);
        let mut request = vec![how];
        request.extend(to);
        request.push(file.to_str().unwrap());
        self.driver.ask(&request);
    }

    fn write_transactions(&mut self, address: &str) {
        self.create(address, TRANSACTIONS, 1, "");
        for (number, end) in ["commit", "abort", "commit", "abort", "open"]
            .iter()
            .enumerate()
        {
            let records = self.keyed(20, 50, 1_400_000_000_000);
            let settings = format!("transactional.id=t{number};linger.ms=5;batch.size=500");
            self.send(
                "transact",
                &[address, TRANSACTIONS, &settings, end],
                &records,
            );
            self.produce(address, TRANSACTIONS, "linger.ms=5", 30);
        }
    }

    /// Old values of few keys, tombstones, an aborted transaction; and then a record far in the
    /// future of all of them, which closes their segment and lets the cleaner at it.
    fn write_compacted(&mut self, address: &str) {
        let settings = "cleanup.policy=compact;segment.ms=60000;min.cleanable.dirty.ratio=0.01;\
                        delete.retention.ms=0";
        self.create(address, COMPACTED, 1, settings);
        let begin = 1_400_000_000_000;
        let mut records = self.keyed(40, 2_000, begin);
        for (_, made) in records.iter_mut().step_by(17) {
            made.value = None;
        }
        let to = [address, COMPACTED, "linger.ms=20;batch.size=3000"];
        self.send("produce", &to, &records);
        let aborted = self.keyed(10, 30, begin + 1000);
        let to = [address, COMPACTED, "transactional.id=c", "abort"];
        self.send("transact", &to, &aborted);
        for later in [600_000, 1_200_000] {
            let last = self.keyed(1, 1, begin + later);
            self.send("produce", &[address, COMPACTED, "linger.ms=0"], &last);
        }
        self.driver.ask(&["await", address, COMPACTED, "60"]);
    }

    fn keyed(&mut self, keys: u64, count: i64, begin: i64) -> Vec<(Option<u32>, Made)> {
        let made = (0..count).map(|number| {
            let mut made = Made::random(&mut self.random, 60);
            made.key = Some(format!("key-{}", self.random.below(keys)).into_bytes());
            made.value = made.value.or(Some(Vec::new()));
            made.timestamp = Some(begin + number / 100);
            (None, made)
        });
        made.collect()
    }

    fn views(&mut self, address: &str) -> Vec<View> {
        let driver = &mut self.driver;
        let views = self.topics.iter().map(|topic| {
            let lines = driver.ask(&["read", address, topic, "read_uncommitted"]);
            View {
                topic: topic.clone(),
                starts: numbers(&lines, "start"),
                uncommitted: contents(&lines),
                committed: read_kafkas(driver, address, topic, ReadIsolation::ReadCommitted),
            }
        });
        let views: Vec<_> = views.collect();
        let transactions = views
            .iter()
            .find(|view| view.topic == TRANSACTIONS)
            .unwrap();
        let (all, some) = (&transactions.uncommitted, &transactions.committed);
        assert!(some.len() < all.len() && !some.is_empty());
        views
    }

    /// A reader needs no lock, and takes indexes as they are while they are written.
    fn read_while_it_runs(&self, views: &[View]) {
        for view in views {
            for (partition, start) in &view.starts {
                let dir = self.root.join(format!("{}-{partition}", view.topic));
                let log = Log::open_read_only(dir).unwrap();
                assert!(log.start_offset() <= *start);
                for isolation in BOTH {
                    let expected = view.of(isolation, *partition);
                    let reader = log.reader_with(*start, isolation).unwrap();
                    let records = reader.map(|record| seen(*partition, &record.unwrap()));
                    let found = records
                        .map(|record| ((record.partition, record.offset), record))
                        .collect();
                    let what = format!("{}-{partition} while it runs, {isolation:?}", view.topic);
                    assert_same(&found, &expected, &what);
                }
            }
        }
        assert!(matches!(
            Broker::open(&self.root),
            Err(ottla::Error::Locked { .. })
        ));
    }

    /// Reading changes no byte.
    fn read_only(&self, views: &[View]) {
        let before = every_byte(&self.root);
        let broker = Broker::open_read_only(&self.root).unwrap();
        compare(&broker, views, "read-only");
        drop(broker);
        assert_eq!(every_byte(&self.root), before);
    }

    fn read_and_append(&self, views: &[View]) {
        let broker = Broker::open(&self.root).unwrap();
        let report = broker.open_report();
        assert!(report.clean && report.scanned_bytes == 0, "{report:?}");
        compare(&broker, views, "after a stop");
        let committed: u64 = (0..2)
            .filter_map(|partition| {
                let group = broker.group("readers").unwrap();
                group.committed("gzip", partition).unwrap()
            })
            .sum();
        assert!(committed >= 100, "{committed}");
        for view in views {
            let topic = broker.topic(&view.topic).unwrap();
            topic.append(Record::keyed("last", "from Ottla")).unwrap();
        }
        broker.close().unwrap();
        let count =
            |isolation| -> usize { views.iter().map(|view| view.all(isolation).len()).sum() };
        tell(&format!(
            "kafka: (c) written by {}: {} topics, {} records uncommitted, {} committed, the same \
             for Ottla: while the broker ran, read-only, and open",
            self.kafka.version,
            views.len(),
            count(BOTH[0]),
            count(BOTH[1]),
        ));
    }

    /// What Ottla appended is there for Kafka; a killed broker's directory opens too.
    fn go_out_again(&mut self, views: &[View]) {
        let broker = KafkaBroker::start(self.kafka, &self.root, &plan());
        for view in views {
            let found = read_kafkas(&mut self.driver, &broker.address, &view.topic, ALL);
            let last = found
                .values()
                .filter(|record| record.value.as_deref() == Some(b"from Ottla"));
            assert_eq!(last.count(), 1, "{}", view.topic);
            if view.topic != COMPACTED {
                assert_eq!(found.len(), view.uncommitted.len() + 1, "{}", view.topic);
            }
        }
        let address = broker.address.clone();
        self.produce(&address, "gzip", "compression.type=gzip", 100);
        let expected = read_kafkas(&mut self.driver, &address, "gzip", ALL);
        broker.kill();
        let broker = Broker::open(&self.root).unwrap();
        assert!(!broker.open_report().clean);
        let found = read_ours(&broker, "gzip", ALL);
        assert_same(&found, &expected, "after the broker was killed");
        broker.close().unwrap();
        tell(&format!(
            "kafka: (c) and out again {}: a record of Ottla's behind each topic; opened after a \
             kill of the broker",
            self.kafka.version
        ));
    }
}

impl View {
    fn all(&self, isolation: ReadIsolation) -> &Contents {
        match isolation {
            ReadIsolation::ReadUncommitted => &self.uncommitted,
            ReadIsolation::ReadCommitted => &self.committed,
        }
    }

    fn of(&self, isolation: ReadIsolation, partition: u32) -> Contents {
        let records = self
            .all(isolation)
            .range((partition, 0)..(partition + 1, 0));
        records
            .map(|(place, record)| (*place, record.clone()))
            .collect()
    }
}

fn compare(broker: &Broker, views: &[View], when: &str) {
    for view in views {
        let topic = broker.topic(&view.topic).unwrap();
        for (partition, start) in &view.starts {
            let log = topic.partition(*partition).unwrap();
            assert_eq!(
                log.start_offset(),
                *start,
                "{}-{partition}, {when}",
                view.topic
            );
        }
        for isolation in BOTH {
            let found = read_ours(broker, &view.topic, isolation);
            let what = format!("{}, {when}, {isolation:?}", view.topic);
            assert_same(&found, view.all(isolation), &what);
        }
    }
}

/// Every file below a directory, with its bytes.
fn every_byte(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(every_byte(&path));
        } else {
            let bytes = fs::read(&path).unwrap();
            files.insert(path, bytes);
        }
    }
    files
}
