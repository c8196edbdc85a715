//! Producers and their broker on the simulated disk, on a clock that the test moves: lingers, who
//! waits for whose sync, and errors that no caller waited for.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, ManualClock};
use crate::disk::sim::{Kind, Sim};
use crate::error::Error;
use crate::sync::Mutex;
use crate::topic::{ProducerConfig, TopicConfig};
use crate::types::{Durability, Timestamp};

use super::{Broker, BrokerConfig};

const LINGER: Duration = Duration::from_millis(20);

fn producer_config() -> ProducerConfig {
    ProducerConfig::default().linger(LINGER)
}

fn by_hand(sim: &Sim, clock: &Arc<ManualClock>) -> Broker {
    let config = BrokerConfig::default().manual_upkeep(true);
    let clock = Clock::Manual(Arc::clone(clock));
    Broker::open_on(sim.disk(), clock, Path::new("/data"), config).unwrap()
}

fn clock() -> Arc<ManualClock> {
    ManualClock::at(Timestamp::from_millis(1_000_000))
}

#[test]
fn without_threads_upkeep_ends_a_linger_that_is_over_and_no_other() {
    let (sim, clock) = (Sim::new(), clock());
    let broker = by_hand(&sim, &clock);
    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    let producer = topic.producer(producer_config()).unwrap();
    let delivery = producer.send("a").unwrap();
    broker.upkeep().unwrap();
    assert!(!delivery.is_settled(), "its time is not over");
    clock.advance(LINGER);
    broker.upkeep().unwrap();
    assert!(delivery.is_settled());
    assert_eq!(delivery.wait().unwrap().offset, 0);
}

#[test]
fn without_threads_the_next_send_or_append_to_the_partition_ends_a_linger_that_is_over() {
    let (sim, clock) = (Sim::new(), clock());
    let broker = by_hand(&sim, &clock);
    let config = TopicConfig::default().partitions(2);
    let topic = broker.create_topic("t", config).unwrap();
    let producer = topic.producer(producer_config()).unwrap();
    let key = |partition: u32| {
        let keys = (0..100).map(|number| format!("k{number}"));
        let of = |key: &String| {
            topic
                .append(crate::types::Record::keyed(key, "x"))
                .unwrap()
                .partition
        };
        keys.into_iter().find(|key| of(key) == partition).unwrap()
    };
    let (zero, one) = (key(0), key(1));
    let send = |key: &str| {
        producer
            .send(crate::types::Record::keyed(key, "y"))
            .unwrap()
    };
    let first = send(&zero);
    clock.advance(LINGER);
    let other = send(&one);
    assert!(
        !first.is_settled(),
        "another partition's send is not its own"
    );
    let second = send(&zero);
    assert!(first.is_settled() && second.is_settled());
    assert!(!other.is_settled());
    clock.advance(LINGER);
    let end = topic.partition(1).unwrap().end_offset();
    let offset = topic.append_to(1, "z").unwrap();
    assert!(other.is_settled());
    assert_eq!(
        (other.wait().unwrap().offset, offset),
        (end, end + 1),
        "in the order of time"
    );
}

#[test]
fn a_failure_after_a_linger_is_returned_by_the_next_flush_and_only_by_that() {
    let (sim, clock) = (Sim::new(), clock());
    let broker = by_hand(&sim, &clock);
    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let hook = {
        let told = Arc::clone(&told);
        move |partition, error: &Error| told.lock().push((partition, error.to_string()))
    };
    let producer = topic.producer_with_hook(producer_config(), hook).unwrap();
    // Open, and without reserved space: nothing was appended.
    assert_eq!(topic.partition(0).unwrap().end_offset(), 0);
    sim.set_capacity(Some(sim.used()));
    let value = vec![7; 8192];
    let lost = producer.send(&value).unwrap();
    clock.advance(LINGER);
    broker.upkeep().unwrap();
    assert!(lost.is_settled());
    sim.set_capacity(None);
    let kept = producer.send("after").unwrap();
    assert!(
        matches!(broker.flush(), Err(Error::NoSpace { .. })),
        "it is not told yet"
    );
    let error = producer.flush().unwrap_err();
    assert!(matches!(error, Error::NoSpace { .. }), "{error}");
    producer.flush().unwrap();
    broker.flush().unwrap();
    assert!(matches!(lost.wait(), Err(Error::NoSpace { .. })));
    assert_eq!(kept.wait().unwrap().offset, 0);
    assert_eq!(told.lock().len(), 1, "{told:?}");
}

#[test]
fn a_lane_that_needs_no_sync_does_not_wait_for_those_that_do_and_they_sync_side_by_side() {
    let sim = Sim::new();
    let config = BrokerConfig::default();
    let broker = Broker::open_on(sim.disk(), Clock::System, Path::new("/data"), config).unwrap();
    let lanes = 32;
    let durable = TopicConfig::default()
        .durability(Durability::Always)
        .partitions(lanes);
    let durable = broker.create_topic("durable", durable).unwrap();
    let plain = broker
        .create_topic("plain", TopicConfig::default())
        .unwrap();
    let each_of = |producer: &crate::topic::Producer| {
        let mut deliveries = Vec::new();
        for number in 0..2000 {
            let key = format!("k{number}");
            deliveries.push(
                producer
                    .send(crate::types::Record::keyed(&key, "v"))
                    .unwrap(),
            );
        }
        deliveries
    };
    // The first use of a partition opens its log, which syncs.
    let linger = ProducerConfig::default().linger(Duration::from_millis(200));
    let producer = durable.producer(linger).unwrap();
    drop(each_of(&producer));
    producer.flush().unwrap();
    let hold = sim.hold_syncs("/durable-");
    let deliveries = each_of(&producer);
    let lanes = usize::try_from(lanes).unwrap();
    assert!(
        hold.await_waiting(lanes),
        "every lane is in its sync at the same time"
    );
    assert!(deliveries.iter().all(|delivery| !delivery.is_settled()));
    let quick = plain.producer(ProducerConfig::default()).unwrap();
    let delivery = quick.send("quick").unwrap();
    let appended = plain
        .partition(0)
        .unwrap()
        .wait_for(0, Duration::from_secs(60));
    assert!(
        appended.unwrap(),
        "the linger ends while all the syncs are held up"
    );
    delivery.wait().unwrap();
    hold.release();
    for delivery in deliveries {
        delivery.wait().unwrap();
    }
    broker.close().unwrap();
}

#[test]
fn a_failed_sync_reaches_every_delivery_the_flush_and_the_hook() {
    let sim = Sim::new();
    let clock = clock();
    let broker = by_hand(&sim, &clock);
    let config = TopicConfig::default().durability(Durability::Always);
    let topic = broker.create_topic("t", config).unwrap();
    let producer = topic.producer(producer_config()).unwrap();
    producer.send("before").unwrap().wait().unwrap();
    let lost = [producer.send("a").unwrap(), producer.send("b").unwrap()];
    sim.fail(crate::disk::sim::Fault {
        at: crate::disk::sim::At::Nth(Kind::SyncData, 0),
        error: crate::disk::sim::Failure::Eio,
        repeat: crate::disk::sim::Repeat::Forever,
    });
    let error = producer.flush().unwrap_err();
    assert!(matches!(error, Error::Poisoned { .. }), "{error}");
    for lost in &lost {
        assert!(matches!(lost.wait(), Err(Error::Poisoned { .. })));
    }
    assert!(
        matches!(producer.send("c"), Err(Error::Poisoned { .. })),
        "at once"
    );
}
