//! The logs of a root with a limit: threads that need room at the same time.
//!
//! Knows nothing about what a segment is charged. As long as anything may be forgotten, no append
//! is refused, whatever the others do.

use std::path::Path;

use shuttle::thread;

use super::{check_long, still_clock};
use crate::clock::Clock;
use crate::disk::sim::Sim;
use crate::{Broker, BrokerConfig, TopicConfig};

const SEGMENT_BYTES: u64 = 4096;

/// Two topics with room for two sealed segments among them.
fn open(sim: &Sim) -> Broker {
    let config = BrokerConfig::default()
        .max_total_bytes(2 * SEGMENT_BYTES)
        .manual_upkeep(true);
    let clock = Clock::Manual(still_clock());
    let broker = Broker::open_on(sim.disk(), clock, Path::new("/data"), config).unwrap();
    let config = TopicConfig::default()
        .segment_bytes(SEGMENT_BYTES)
        .retention_bytes(1 << 30);
    for name in ["a", "b"] {
        broker.create_topic(name, config.clone()).unwrap();
    }
    broker
}

/// Appends ten records, each of which fills a segment.
fn fill(broker: &Broker, name: &str) {
    let topic = broker.topic(name).unwrap();
    for _ in 0..10 {
        topic.append(&[b'v'; 3_000]).unwrap();
    }
}

#[test]
fn two_topics_that_need_room_at_once_both_get_it() {
    check_long(|| {
        let sim = Sim::new();
        let broker = open(&sim);
        // All the room is one topic's, which rolls while the other forgets a segment of it.
        fill(&broker, "a");
        let beside = {
            let broker = broker.clone();
            thread::spawn(move || fill(&broker, "b"))
        };
        fill(&broker, "a");
        beside.join().unwrap();
        let starts = ["a", "b"].map(|name| {
            let log = broker.topic(name).unwrap().partition(0).unwrap();
            log.start_offset()
        });
        assert!(starts.iter().sum::<u64>() > 0, "the oldest are gone");
    });
}

#[test]
fn an_append_that_needs_room_waits_for_the_thread_that_makes_it() {
    check_long(|| {
        let sim = Sim::new();
        let broker = open(&sim);
        fill(&broker, "a");
        fill(&broker, "b");
        let forgetting = ["a", "b"].map(|name| {
            let log = broker.topic(name).unwrap().partition(0).unwrap();
            thread::spawn(move || {
                let end = log.end_offset();
                log.truncate_prefix(end).unwrap();
            })
        });
        fill(&broker, "a");
        for thread in forgetting {
            thread.join().unwrap();
        }
    });
}
