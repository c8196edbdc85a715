//! A log that was truncated has several leader epochs: a broker starts on it, serves all of it,
//! and goes on above them.
//!
//! Knows nothing about the bytes.

use ottla::{Broker, Epoch, Error, Offset, ReadIsolation, TopicConfig};

use crate::broker::{KafkaBroker, Plan};
use crate::driver::Driver;
use crate::jars::{tell, with_newest_kafka};
use crate::model::read_kafkas;

const ALL: ReadIsolation = ReadIsolation::ReadUncommitted;

#[test]
fn a_root_with_several_epochs_starts_under_a_broker_and_comes_back() {
    with_newest_kafka("epochs", |kafka| {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("data");
        let broker = Broker::open(&root).unwrap();
        let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
        let log = topic.partition(0).unwrap();
        let mut kept: Vec<(Offset, Epoch)> = Vec::new();
        for end in [20, 40] {
            topic.append_batch(["some"; 30]).unwrap();
            kept.push((log.end_offset(), log.epoch()));
            log.truncate(end).unwrap();
        }
        topic.append_batch(["last"; 30]).unwrap();
        let end = (log.end_offset(), log.epoch());
        assert_eq!(end, (70, 2));
        broker.close().unwrap();

        let running = KafkaBroker::start(kafka, &root, &Plan::default());
        let mut driver = Driver::start(kafka);
        let seen = read_kafkas(&mut driver, &running.address, "t", ALL);
        assert_eq!(seen.len(), 70);
        running.stop();

        let broker = Broker::open(&root).unwrap();
        assert!(broker.open_report().clean, "{:?}", broker.open_report());
        let log = broker.topic("t").unwrap().partition(0).unwrap();
        assert!(log.epoch() >= 2, "{}", log.epoch());
        assert!(log.reader_from(end.0, end.1).is_ok());
        for (offset, epoch) in kept {
            let refused = log.reader_from(offset, epoch);
            assert!(
                matches!(refused, Err(Error::Truncated { .. })),
                "{refused:?}"
            );
        }
        broker.close().unwrap();
        tell(&format!(
            "kafka: epochs 0, 1 and 2 {}: served, and kept",
            kafka.version
        ));
    });
}
