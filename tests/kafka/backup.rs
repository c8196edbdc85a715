//! A backup of a root that is open: a broker starts on it and serves every record.
//!
//! Knows nothing about the bytes.

use ottla::{Broker, ReadIsolation, TopicConfig};

use crate::broker::{KafkaBroker, Plan};
use crate::driver::Driver;
use crate::jars::{tell, with_newest_kafka};
use crate::model::read_kafkas;

const ALL: ReadIsolation = ReadIsolation::ReadUncommitted;

#[test]
fn a_broker_starts_on_a_backup_of_an_open_root() {
    with_newest_kafka("backup", |kafka| {
        let scratch = tempfile::tempdir().unwrap();
        let copy = scratch.path().join("backup");
        let broker = Broker::open(scratch.path().join("data")).unwrap();
        let config = TopicConfig::default().segment_bytes(16 << 10);
        let topic = broker.create_topic("t", config).unwrap();
        for _ in 0..100 {
            topic.append_batch(["first"; 30]).unwrap();
        }
        broker.backup(&copy).unwrap();
        topic.append_batch(["second"; 30]).unwrap();
        broker.backup(&copy).unwrap();
        topic.append_batch(["not in the backup"; 30]).unwrap();

        let running = KafkaBroker::start(kafka, &copy, &Plan::default());
        let mut driver = Driver::start(kafka);
        let seen = read_kafkas(&mut driver, &running.address, "t", ALL);
        assert_eq!(seen.len(), 3030);
        running.stop();
        let opened = Broker::open(&copy).unwrap();
        assert!(opened.open_report().clean, "{:?}", opened.open_report());
        tell(&format!(
            "kafka: a backup under {}: 3030 records",
            kafka.version
        ));
    });
}
