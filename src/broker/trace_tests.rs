//! Each thing that a broker traces happens once, and is heard once.

use std::path::Path;
use std::time::Duration;

use crate::clock::TestClock;
use crate::disk::sim::{At, Failure, Fault, Kind, Repeat, Sim};
use crate::error::Error;
use crate::group::ConsumerConfig;
use crate::host::subscriber::Listener;
use crate::topic::TopicConfig;
use crate::types::{CleanupPolicy, Durability, Record, Start};

use super::{Broker, BrokerConfig};

const NOW: Duration = Duration::ZERO;
const HOUR: Duration = Duration::from_secs(3600);

fn open(sim: &Sim, clock: &TestClock) -> Broker {
    let config = BrokerConfig::default().manual_upkeep(true);
    Broker::open_on(sim.disk(), clock.clock(), Path::new("/data"), config).unwrap()
}

/// The lines that begin so.
fn count(heard: &[String], what: &str) -> usize {
    heard.iter().filter(|line| line.starts_with(what)).count()
}

#[test]
fn opening_rolling_retention_compaction_and_closing_are_traced() {
    let (sim, clock) = (Sim::new(), TestClock::new());
    let heard = Listener::hear(|| {
        let broker = open(&sim, &clock);
        let config = TopicConfig::default().segment_bytes(1024).retention(HOUR);
        let old = broker.create_topic("old", config).unwrap();
        for _ in 0..3 {
            old.append(&vec![7; 700]).unwrap();
        }
        clock.advance(HOUR * 2);
        let config = TopicConfig::default().cleanup_policy(CleanupPolicy::Compact);
        let table = broker.create_topic("table", config).unwrap();
        for value in ["one", "two"] {
            table.append(Record::keyed("key", value)).unwrap();
        }
        broker.upkeep().unwrap();
        table.partition(0).unwrap().compact().unwrap();
        broker.flush().unwrap();
        broker.close().unwrap();
    });
    for (what, times) in [
        ("[open dir=/data]", 1),
        ("open dir=/data clean=true", 1),
        ("roll dir=/data/old-0 base_offset=1", 1),
        ("roll dir=/data/old-0 base_offset=2", 1),
        ("[retention dir=/data/old-0]", 1),
        ("retention dir=/data/old-0 segments=3 bytes=", 1),
        ("roll dir=/data/table-0 base_offset=2", 1),
        ("compaction dir=/data/table-0 read_bytes=", 1),
        ("[close dir=/data]", 1),
        ("close dir=/data went_well=true", 1),
        ("recovery", 0),
        ("poison", 0),
    ] {
        assert_eq!(count(&heard, what), times, "{what}: {heard:#?}");
    }
}

#[test]
fn rebalances_and_fenced_members_are_traced() {
    let (sim, clock) = (Sim::new(), TestClock::new());
    let broker = open(&sim, &clock);
    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    topic.append("a").unwrap();
    let group = broker.group("g").unwrap();
    let config = ConsumerConfig::default().max_poll_interval(HOUR);
    let heard = Listener::hear(|| {
        let mut slow = group.join_with(["t"], config.clone()).unwrap();
        assert_eq!(slow.poll(NOW).unwrap().len(), 1);
        clock.advance(HOUR / 2);
        let mut other = group.join_with(["t"], config).unwrap();
        assert!(other.poll(NOW).unwrap().is_empty());
        clock.advance(HOUR / 2 + HOUR / 4);
        assert_eq!(other.poll(NOW).unwrap().len(), 1);
        assert!(matches!(slow.commit(), Err(Error::Fenced { .. })));
    });
    let evicting = |line: &&String| line.starts_with("rebalance") && line.ends_with("evicted=1");
    assert_eq!(heard.iter().filter(evicting).count(), 1, "{heard:#?}");
    assert_eq!(count(&heard, "fence group=\"g\" member="), 1, "{heard:#?}");
}

#[test]
fn a_member_that_a_reset_of_its_group_finds_late_is_counted_and_traced() {
    let (sim, clock) = (Sim::new(), TestClock::new());
    let broker = open(&sim, &clock);
    broker.create_topic("t", TopicConfig::default()).unwrap();
    let group = broker.group("g").unwrap();
    let config = ConsumerConfig::default().max_poll_interval(HOUR);
    let mut late = group.join_with(["t"], config).unwrap();
    assert!(late.poll(NOW).unwrap().is_empty());
    clock.advance(HOUR * 2);
    let heard = Listener::hear(|| {
        group.reset("t", Start::Latest).unwrap();
        broker.flush().unwrap();
    });
    assert_eq!(heard.len(), 1, "{heard:#?}");
    assert!(heard[0].starts_with("rebalance") && heard[0].ends_with("evicted=1"));
    assert_eq!(broker.metrics().groups.evictions, 1);
    drop(late);
}

#[cfg(feature = "async")]
#[test]
fn a_poll_of_a_task_counts_and_traces_as_any_other() {
    let (sim, clock) = (Sim::new(), TestClock::new());
    let broker = open(&sim, &clock);
    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    topic.append_batch(["a", "b"]).unwrap();
    let group = broker.group("g").unwrap();
    let mut consumer = None;
    let heard = Listener::hear(|| {
        let consumer = consumer.insert(group.join(["t"]).unwrap());
        let polled = pollster::block_on(consumer.poll_async()).unwrap();
        assert_eq!(polled.len(), 2);
    });
    clock.advance(HOUR / 60);
    topic.append("c").unwrap();
    assert_eq!(consumer.unwrap().poll(NOW).unwrap().len(), 1);
    let groups = broker.metrics().groups;
    assert_eq!((groups.polls, groups.records), (2, 3));
    let minute = u64::try_from((HOUR / 60).as_micros()).unwrap();
    assert_eq!(groups.poll_lag_micros.max(), minute);
    assert_eq!(count(&heard, "rebalance"), 1, "{heard:#?}");
}

#[test]
fn a_log_whose_sync_fails_is_traced_once() {
    let (sim, clock) = (Sim::new(), TestClock::new());
    let broker = open(&sim, &clock);
    let config = TopicConfig::default().durability(Durability::Always);
    let topic = broker.create_topic("t", config).unwrap();
    topic.append("a").unwrap();
    for nth in 0..100 {
        sim.fail(Fault {
            at: At::Nth(Kind::SyncData, nth),
            error: Failure::Eio,
            repeat: Repeat::Once,
        });
    }
    let heard = Listener::hear(|| {
        for _ in 0..2 {
            assert!(matches!(topic.append("b"), Err(Error::Poisoned { .. })));
        }
    });
    assert_eq!(
        count(&heard, "poison dir=/data/t-0 error="),
        1,
        "{heard:#?}"
    );
    assert_eq!(broker.metrics().logs.poisoned, 1);
}
