//! (e) A key goes to the partition that Kafka's producer gives it.
//!
//! Knows nothing about records' contents.

use std::fs;

use ottla::{Broker, BrokerConfig, Record, TopicConfig};

use crate::driver::{Driver, hex};
use crate::jars::{tell, with_each_kafka};
use crate::random::Random;

/// Keys in one run, of every length up to this many bytes and some longer ones.
const KEYS: u64 = 12_000;

#[test]
fn keys_go_to_kafkas_partitions() {
    with_each_kafka("keys_go_to_kafkas_partitions", |kafka| {
        let scratch = tempfile::tempdir().unwrap();
        let mut random = Random::new(17);
        let keys: Vec<Vec<u8>> = (0..KEYS)
            .map(|at| {
                let length = if at < 400 { at } else { random.below(200) };
                (0..length)
                    .map(|_| random.next().to_le_bytes()[5])
                    .collect()
            })
            .collect();
        let file = scratch.path().join("keys");
        let lines: Vec<_> = keys.iter().map(|key| hex(Some(key))).collect();
        fs::write(&file, lines.join("\n")).unwrap();
        let mut driver = Driver::start(kafka);
        let config = BrokerConfig::default().manual_upkeep(true);
        let broker = Broker::open_with(scratch.path().join("data"), config).unwrap();
        for partitions in [1, 7, 12, 50] {
            let topic = broker
                .create_topic(
                    &format!("t{partitions}"),
                    TopicConfig::default().partitions(partitions),
                )
                .unwrap();
            let theirs = driver.ask(&[
                "partitions",
                &partitions.to_string(),
                file.to_str().unwrap(),
            ]);
            assert_eq!(theirs.len(), keys.len());
            for (key, their) in keys.iter().zip(theirs) {
                let ours = topic.append(Record::tombstone(key)).unwrap().partition;
                assert_eq!(ours.to_string(), their, "{partitions} partitions, {key:?}");
            }
        }
        tell(&format!(
            "kafka: (e) partitioner {}: {KEYS} keys over 1, 7, 12 and 50 partitions, 0 differ",
            kafka.version
        ));
    });
}
