//! Fills a directory, closes it, and prints what starts a Kafka broker on it.
//!
//! The directory is the first argument, or `data`.

#![expect(clippy::print_stdout, reason = "a program for a terminal")]

use std::path::Path;
use std::time::Duration;

use ottla::{Broker, ConsumerConfig, Record, Result, TopicConfig};

fn main() -> Result<()> {
    let dir = std::env::args().nth(1).unwrap_or_else(|| "data".to_owned());
    let records = fill(Path::new(&dir))?;
    let dir = std::path::absolute(&dir).unwrap_or_else(|_| dir.into());
    println!("# {records} records are in {}.", dir.display());
    println!("# server.properties, for Kafka 3.9 and every 4.x:");
    println!("process.roles=broker,controller");
    println!("node.id=1");
    println!("controller.quorum.voters=1@localhost:9093");
    println!("listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093");
    println!("advertised.listeners=PLAINTEXT://localhost:9092");
    println!("controller.listener.names=CONTROLLER");
    println!("inter.broker.listener.name=PLAINTEXT");
    println!("listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT");
    println!("log.dirs={}", dir.display());
    println!("offsets.topic.replication.factor=1");
    println!("transaction.state.log.replication.factor=1");
    println!("transaction.state.log.min.isr=1");
    println!();
    println!("# No kafka-storage format: the directory is formatted. Start, look, and stop:");
    println!("#   bin/kafka-server-start.sh server.properties");
    println!("#   bin/kafka-console-consumer.sh --bootstrap-server localhost:9092 \\");
    println!("#     --topic flights --from-beginning");
    println!("#   bin/kafka-consumer-groups.sh --bootstrap-server localhost:9092 \\");
    println!("#     --describe --group departure-board");
    println!("# Then run this again: it goes on behind what Kafka wrote.");
    Ok(())
}

/// A topic with some records, and a group that has read half of them.
pub(crate) fn fill(dir: &Path) -> Result<usize> {
    let broker = Broker::open(dir)?;
    let config = TopicConfig::default().partitions(4);
    let flights = broker.create_topic_if_absent("flights", config)?;
    for number in 0..100 {
        let tail = format!("N{number:05}");
        flights.append(Record::keyed(&tail, "departed EWR"))?;
    }
    let group = broker.group("departure-board")?;
    let (mut records, mut read) = (0, 0);
    for partition in 0..flights.partition_count() {
        let log = flights.partition(partition)?;
        records += log.reader(log.start_offset())?.count();
        let next = group.committed("flights", partition)?.unwrap_or(0);
        let before = log.reader(log.start_offset())?;
        read += before
            .take_while(|record| record.as_ref().is_ok_and(|record| record.offset < next))
            .count();
    }
    let half = (records / 2).saturating_sub(read);
    let limit = u32::try_from(half.max(1)).unwrap_or(u32::MAX);
    let mut consumer = group.join_with(
        ["flights"],
        ConsumerConfig::default().max_poll_records(limit),
    )?;
    if half > 0 {
        read += consumer.poll(Duration::ZERO)?.len();
        consumer.commit()?;
    }
    consumer.leave()?;
    println!("# {read} of {records} records are read and committed by the group departure-board.");
    // What makes the directory a broker at rest. Handles must not outlive it, or they say Closed.
    broker.close()?;
    Ok(records)
}
