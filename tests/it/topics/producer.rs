//! Producers: batches, deadlines, and how each record learns what became of it.

use std::time::Duration;

use ottla::{Broker, BrokerConfig, Compression, Error, ProducerConfig, Record, TopicConfig};

use super::{scratch, values};

#[test]
fn a_producer_collects_batches_and_tells_where_each_record_went() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    let topic = broker
        .create_topic("t", TopicConfig::default().partitions(3))
        .unwrap();
    let config = ProducerConfig::default()
        .compression_type(Compression::None)
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
fn a_record_that_nobody_waits_for_is_appended_when_its_time_is_over() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    let producer = topic.producer(ProducerConfig::default()).unwrap();
    drop(producer.send("x").unwrap());
    assert!(
        topic
            .partition(0)
            .unwrap()
            .wait_for(0, Duration::from_secs(20))
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
        .producer(ProducerConfig::default().linger_ms(Duration::ZERO))
        .unwrap();
    assert!(at_once.send("z").unwrap().is_settled());
}

#[test]
fn an_error_reaches_every_delivery_of_its_batch_and_no_other() {
    let (_scratch, dir) = scratch();
    let broker = Broker::open(&dir).unwrap();
    let config = TopicConfig::default().max_message_bytes(300);
    let topic = broker.create_topic("t", config).unwrap();
    let linger = ProducerConfig::default().linger_ms(Duration::from_secs(600));
    let producer = topic.producer(linger).unwrap();
    let large = "x".repeat(400);
    let small = producer.send("x").unwrap();
    let refused = producer.send(&large).unwrap();
    let after = producer.send("y").unwrap();
    assert!(matches!(refused.wait(), Err(Error::RecordTooLarge { .. })));
    assert!(
        matches!(refused.wait(), Err(Error::RecordTooLarge { .. })),
        "and again"
    );
    producer.flush().unwrap();
    assert_eq!(small.wait().unwrap().offset, 0);
    assert_eq!(after.wait().unwrap().offset, 1);
    let lost = producer.send("z").unwrap();
    broker.delete_topic("t").unwrap();
    assert!(matches!(producer.flush(), Err(Error::UnknownTopic { .. })));
    assert!(matches!(lost.wait(), Err(Error::UnknownTopic { .. })));
}
