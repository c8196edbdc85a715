//! Producers: batches, deadlines, and how each record learns what became of it.

use std::time::Duration;

use ottla::{Broker, BrokerConfig, Compression, Error, ProducerConfig, Record, TopicConfig};

use crate::codecs::is_built;

use super::{scratch, values};

#[test]
fn a_producer_collects_batches_and_says_where_each_record_went() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    let topic = broker
        .create_topic("t", TopicConfig::default().partitions(3))
        .unwrap();
    let config = ProducerConfig::default()
        .compression_type(Compression::None)
        .linger(Duration::from_secs(3600))
        .batch_size(2000);
    let producer = topic.producer(config).unwrap();
    let mut deliveries = Vec::new();
    for number in 0..1000 {
        let key = format!("k{}", number % 7);
        deliveries.push(
            producer
                .send(Record::keyed(&key, &number.to_string()))
                .unwrap(),
        );
    }
    producer.flush().unwrap();
    let all = values(&topic);
    assert_eq!(all.len(), 1000);
    for (number, delivery) in deliveries.iter().enumerate() {
        assert!(delivery.is_settled());
        let at = delivery.wait().unwrap();
        assert!(all.contains(&(at.partition, at.offset, number.to_string())));
    }
    // Batches, not single records.
    let mut reader = topic
        .partition(deliveries[0].wait().unwrap().partition)
        .unwrap()
        .reader(0)
        .unwrap();
    assert!(reader.next_batch().unwrap().unwrap().len() > 10);
}

#[test]
fn a_record_that_no_one_waits_for_is_appended_when_its_time_is_over() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    let producer = topic.producer(ProducerConfig::default()).unwrap();
    drop(producer.send("x").unwrap());
    assert!(
        topic
            .partition(0)
            .unwrap()
            .wait_for(0, Duration::from_secs(600))
            .unwrap()
    );
    drop(producer.send("y").unwrap());
    drop(producer);
    assert_eq!(
        topic.partition(0).unwrap().end_offset(),
        2,
        "dropping appends what waits"
    );
}

#[test]
fn waiting_is_enough_without_any_thread() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open_with(&dir, BrokerConfig::default().manual_upkeep(true)).unwrap();
    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    let producer = topic.producer(ProducerConfig::default()).unwrap();
    let first = producer.send("x").unwrap();
    let second = producer.send("y").unwrap();
    assert_eq!(second.wait().unwrap().offset, 1);
    assert_eq!(first.wait().unwrap().offset, 0);
    let at_once = topic
        .producer(ProducerConfig::default().linger(Duration::ZERO))
        .unwrap();
    assert!(at_once.send("z").unwrap().is_settled());
}

#[test]
fn a_record_that_can_never_fit_is_refused_at_once_and_the_others_go_on() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    let config = TopicConfig::default().max_message_bytes(300);
    let topic = broker.create_topic("t", config).unwrap();
    let linger = ProducerConfig::default().linger(Duration::from_secs(600));
    let producer = topic.producer(linger).unwrap();
    let large = "x".repeat(400);
    let small = producer.send("x").unwrap();
    for _ in 0..2 {
        let refused = producer.send(&large);
        assert!(matches!(refused, Err(Error::RecordTooLarge { .. })));
    }
    let after = producer.send("y").unwrap();
    producer.flush().unwrap();
    assert_eq!(small.wait().unwrap().offset, 0);
    assert_eq!(after.wait().unwrap().offset, 1);
    let lost = producer.send("z").unwrap();
    broker.delete_topic("t").unwrap();
    assert!(matches!(producer.flush(), Err(Error::UnknownTopic { .. })));
    assert!(matches!(lost.wait(), Err(Error::UnknownTopic { .. })));
}

/// As large as a batch may be and not a byte larger, alone and packed.
#[test]
fn the_largest_record_that_fits_is_sent_and_one_byte_more_is_refused() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    let config = TopicConfig::default().max_message_bytes(300);
    let topic = broker.create_topic("t", config).unwrap();
    let fits = (0..300)
        .rev()
        .find(|size| topic.append("x".repeat(*size).as_str()).is_ok())
        .unwrap();
    let producer = topic.producer(ProducerConfig::default()).unwrap();
    let delivery = producer.send("x".repeat(fits).as_str()).unwrap();
    assert!(matches!(
        producer.send("x".repeat(fits + 1).as_str()),
        Err(Error::RecordTooLarge { limit: 300, .. })
    ));
    delivery.wait().unwrap();
    producer.flush().unwrap();
    if !is_built(Compression::Lz4) {
        return;
    }
    let packed = ProducerConfig::default().compression_type(Compression::Lz4);
    let packing = topic.producer(packed).unwrap();
    packing
        .send("x".repeat(5000).as_str())
        .unwrap()
        .wait()
        .unwrap();
    packing.flush().unwrap();
}

#[test]
fn flush_and_close_of_the_broker_append_what_every_producer_holds() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    let linger = || ProducerConfig::default().linger(Duration::from_secs(3600));
    let mut producers = Vec::new();
    for name in ["a", "b"] {
        let config = TopicConfig::default().partitions(4);
        let topic = broker.create_topic(name, config).unwrap();
        for _ in 0..2 {
            producers.push(topic.producer(linger()).unwrap());
        }
    }
    let send_all = || {
        for producer in &producers {
            for number in 0..20 {
                let key = format!("k{number}");
                drop(producer.send(Record::keyed(&key, "v")).unwrap());
            }
        }
    };
    let count = |broker: &Broker| {
        let topics = ["a", "b"].map(|name| broker.topic(name).unwrap());
        topics
            .iter()
            .map(|topic| values(topic).len())
            .sum::<usize>()
    };
    send_all();
    assert_eq!(count(&broker), 0);
    broker.flush().unwrap();
    assert_eq!(count(&broker), 80);
    send_all();
    broker.close().unwrap();
    assert!(matches!(producers[0].send("late"), Err(Error::Closed)));
    let broker = Broker::open(&dir).unwrap();
    assert_eq!(count(&broker), 160, "close lost nothing");
}

/// Sends that race with the close are appended or refused, never taken and lost.
#[test]
fn a_record_that_was_taken_while_the_broker_closed_is_there_afterwards() {
    let (_scratch, dir) = scratch();
    for round in 0..8 {
        let broker = Broker::open(&dir).unwrap();
        let config = TopicConfig::default().partitions(3);
        let topic = broker.create_topic_if_absent("t", config).unwrap();
        let before = values(&topic).len();
        let producer = topic.producer(ProducerConfig::default()).unwrap();
        let taken = std::thread::scope(|scope| {
            let sending = scope.spawn(|| {
                let mut taken = 0;
                loop {
                    match producer.send(Record::keyed(&taken.to_string(), "v")) {
                        Ok(_) => taken += 1,
                        Err(Error::Closed) => return taken,
                        Err(error) => panic!("{error}"),
                    }
                }
            });
            while topic.partition(0).unwrap().end_offset() == 0 {
                std::thread::yield_now();
            }
            broker.close().unwrap();
            sending.join().unwrap()
        });
        drop((producer, topic, broker));
        let broker = Broker::open(&dir).unwrap();
        let after = values(&broker.topic("t").unwrap()).len();
        assert_eq!(after - before, taken, "round {round}");
    }
}

#[test]
fn a_second_close_returns_only_when_the_directory_is_free() {
    let (_scratch, dir) = scratch();
    for _ in 0..20 {
        let broker = Broker::open(&dir).unwrap();
        let config = TopicConfig::default().partitions(8);
        let topic = broker.create_topic_if_absent("t", config).unwrap();
        for partition in 0..8 {
            topic.append_to(partition, "x").unwrap();
        }
        // The first to come back, from whichever call, opens; the other waits for that.
        let opening = std::sync::Mutex::new(());
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    broker.close().unwrap();
                    let _alone = opening.lock().unwrap();
                    Broker::open(&dir).unwrap().close().unwrap();
                });
            }
        });
    }
}
