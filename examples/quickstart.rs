//! The first page of the README, as a program: a topic, an append, a group that reads it.
//!
//! It leaves a directory `data` behind, so every run goes on where the one before left off.

#![expect(clippy::print_stdout, reason = "a program for a terminal")]

use std::time::Duration;

use ottla::{Broker, Record, TopicConfig};

fn main() -> ottla::Result<()> {
    // A directory, locked while open; made if absent.
    let broker = Broker::open("data")?;
    let flights = broker.create_topic_if_absent("flights", TopicConfig::default().partitions(4))?;

    // The same key goes to the same partition, in order.
    flights.append(Record::keyed("N14228", "departed EWR"))?;

    // Members of a group share the partitions.
    let group = broker.group("departure-board")?;
    let mut consumer = group.join(["flights"])?;
    for record in consumer.poll(Duration::from_secs(1))? {
        let text = record.value().map(String::from_utf8_lossy);
        println!("{} {text:?}", record.offset);
    }
    // After a restart, go on from here.
    consumer.commit()?;
    Ok(())
}
