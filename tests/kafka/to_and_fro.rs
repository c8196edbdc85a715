//! first try
use crate::broker::{KafkaBroker, Plan, Quorum};
use crate::driver::{Driver, Seen};
use crate::jars::{tell, with_each_kafka};
use ottla::{Broker, BrokerConfig, Record, TopicConfig};

#[test]
fn first() {
    with_each_kafka("first", |kafka| {
        for quorum in [Quorum::Static, Quorum::Dynamic] {
            let scratch = tempfile::tempdir().unwrap();
            let root = scratch.path().join("data");
            let broker = Broker::open(&root).unwrap();
            let topic = broker
                .create_topic(
                    "t",
                    TopicConfig::default().partitions(3).segment_bytes(4096),
                )
                .unwrap();
            for i in 0..1000 {
                topic
                    .append(Record::keyed(&format!("k{i}"), &format!("v{i}")))
                    .unwrap();
            }
            let g = broker.group("g").unwrap();
            let mut c = g.join(["t"]).unwrap();
            let n = c.poll(std::time::Duration::ZERO).unwrap().len();
            c.commit().unwrap();
            c.leave().unwrap();
            drop(topic);
            drop(g);
            broker.close().unwrap();
            let mut driver = Driver::start(kafka);
            let plan = Plan {
                quorum,
                ..Plan::default()
            };
            let b = KafkaBroker::start(kafka, &root, &plan);
            for line in driver.ask(&["topics", &b.address]) {
                tell(&line);
            }
            let seen: Vec<_> = driver
                .ask(&["read", &b.address, "t", "read_uncommitted"])
                .iter()
                .filter_map(|l| Seen::parse(l))
                .collect();
            tell(&format!(
                "{} seen; {n} polled {:?}",
                seen.len(),
                driver.ask(&["committed", &b.address, "g"])
            ));
            tell(&b.stop());
            let broker = Broker::open(&root).unwrap();
            tell(&format!("{:?} {:?}", broker.open_report(), broker.topics()));
            broker.close().unwrap();
            let b = KafkaBroker::start(kafka, &root, &plan);
            tell(&b.stop());
        }
    });
}
