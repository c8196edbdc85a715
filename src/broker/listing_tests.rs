//! What listing the topics costs, counted in calls of the simulated disk.

use std::path::Path;

use crate::clock::Clock;
use crate::disk::sim::{Kind, Sim};
use crate::topic::{PartitionInfo, TopicConfig};

use super::{Broker, BrokerConfig};

fn open(sim: &Sim) -> Broker {
    let config = BrokerConfig::default().manual_upkeep(true);
    Broker::open_on(sim.disk(), Clock::System, Path::new("/data"), config).unwrap()
}

fn partitions(broker: &Broker) -> Vec<PartitionInfo> {
    let topics = broker.topics().into_iter();
    topics.flat_map(|topic| topic.partitions).collect()
}

/// The calls of the disk that `act` makes.
fn calls(sim: &Sim, act: impl FnOnce()) -> Vec<Kind> {
    sim.record();
    act();
    let trace = sim.trace().into_iter();
    trace.map(|operation| operation.kind).collect()
}

#[test]
fn listing_topics_opens_no_log_that_was_closed_or_never_used() {
    let sim = Sim::new();
    let broker = open(&sim);
    let config = TopicConfig::default().partitions(3).segment_bytes(1024);
    for name in ["new", "used"] {
        broker.create_topic(name, config.clone()).unwrap();
    }
    let topic = broker.topic("used").unwrap();
    for _ in 0..40 {
        topic.append_to(1, &vec![b'v'; 100]).unwrap();
    }
    topic.partition(1).unwrap().truncate_prefix(11).unwrap();
    topic.append_to(2, "one").unwrap();
    broker.close().unwrap();
    drop((topic, broker));

    let broker = open(&sim);
    broker.create_topic("newer", config).unwrap();
    let mut known = Vec::new();
    let made = calls(&sim, || known = partitions(&broker));
    let looks = |kind: &Kind| matches!(kind, Kind::List | Kind::Stat | Kind::Exists);
    assert!(made.iter().all(looks), "{made:?}");

    for name in ["new", "newer", "used"] {
        broker.topic(name).unwrap().describe().unwrap();
    }
    let mut opened = partitions(&broker);
    assert_eq!(known.len(), opened.len());
    for (known, opened) in known.iter().zip(&mut opened) {
        if known.end_offset == 0 {
            // Opening has made the first file.
            opened.segments = known.segments;
        }
    }
    assert_eq!(known, opened);
    let used = &known[7];
    assert!(used.end_offset == 40 && used.start_offset == 11, "{used:?}");
    assert!(used.segments > 2 && used.size_bytes > 2000, "{used:?}");
}

#[test]
fn a_log_that_is_not_as_it_was_closed_is_opened_to_be_listed() {
    let sim = Sim::new();
    let broker = open(&sim);
    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    topic.append("whole").unwrap();
    broker.close().unwrap();
    drop((topic, broker));
    let path = "/data/t-0/00000000000000000000.log";
    let mut bytes = sim.read(path).unwrap();
    bytes.pop();
    sim.write_raw(path, &bytes).unwrap();
    let broker = open(&sim);
    assert!(partitions(&broker)[0].problem.is_some());
}
