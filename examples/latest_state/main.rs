//! A compacted topic as a key-value table that is rebuilt at start: where each aircraft flew last.
//!
//! The first run appends every flight under its tail number; compaction then keeps the newest
//! record of each. Every later run builds the table from what is left, a record a key.
//!
//! ```text
//! cargo run --release --example latest_state
//! cargo run --release --example latest_state -- flights.csv.gz directory
//! ```

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program for a terminal, with a clock of its own"
)]

#[path = "../flights/flight.rs"]
mod flight;

use std::collections::HashMap;
use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use ottla::{Broker, CleanupPolicy, PartitionId, Record, Start, Topic, TopicConfig};

use flight::Flight;

/// The package, so that the example runs from anywhere in it.
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The newest flight of every aircraft, by tail number.
type Table = HashMap<String, String>;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).map(PathBuf::from);
    let shipped = PathBuf::from(ROOT).join("examples/data/flights.csv.gz");
    let input = arguments.next().unwrap_or(shipped);
    let own = PathBuf::from(ROOT).join("target/latest_state");
    let data = arguments.next().unwrap_or(own);
    std::fs::create_dir_all(&data)?;

    let broker = Broker::open(&data)?;
    let config = TopicConfig::default()
        .partitions(4)
        .cleanup_policy(CleanupPolicy::Compact);
    let topic = broker.create_topic_if_absent("latest-flight", config)?;

    let began = Instant::now();
    let (mut table, records) = rebuild(&topic)?;
    println!(
        "at start: {} aircraft from {records} records in {:.1?}",
        table.len(),
        began.elapsed()
    );
    if table.is_empty() {
        fill(&topic, &flight::read_input(&input)?, &mut table)?;
    }

    let began = Instant::now();
    let mut dropped = 0;
    for partition in partitions(&topic) {
        dropped += topic.partition(partition)?.compact()?.records_dropped;
    }
    println!(
        "compaction dropped {dropped} records in {:.1?}",
        began.elapsed()
    );

    // What a restart would find is what was written last, once a key.
    let (rebuilt, records) = rebuild(&topic)?;
    let same = rebuilt == table;
    println!(
        "now: {} aircraft from {records} records, each the last one written: {}",
        rebuilt.len(),
        if same { "yes" } else { "NO" }
    );
    print_some(&rebuilt);
    broker.close()?;
    if same {
        Ok(())
    } else {
        Err("the table is not what was written".into())
    }
}

fn print_some(table: &Table) {
    let mut tails: Vec<_> = table.iter().collect();
    tails.sort();
    for (tail, line) in tails.into_iter().take(5) {
        let carrier = Flight::parse(line).map_or("?", |flight| flight.carrier);
        let late = match flight::departure_delay(line.as_bytes()) {
            Some(minutes) => format!("left {minutes} min late"),
            None => "was cancelled".to_owned(),
        };
        println!("  {tail}: the last flight, by {carrier}, {late}");
    }
}

fn partitions(topic: &Topic) -> std::ops::Range<PartitionId> {
    0..topic.partition_count()
}

/// Reads the topic from its start; gives the table and how many records that took.
fn rebuild(topic: &Topic) -> ottla::Result<(Table, u64)> {
    let mut table = Table::new();
    let mut records = 0;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    for partition in partitions(topic) {
        let mut reader = topic.partition(partition)?.reader(Start::Earliest)?;
        while let Some(batch) = reader.next_batch()? {
            for record in batch.records() {
                records += 1;
                let Some(key) = record.key() else { continue };
                match record.value() {
                    Some(value) => table.insert(text(key), text(value)),
                    // A tombstone: the key is gone.
                    None => table.remove(&text(key)),
                };
            }
        }
    }
    Ok((table, records))
}

/// Appends every flight that says which aircraft it was; a compacted topic takes no other.
fn fill(topic: &Topic, input: &str, table: &mut Table) -> ottla::Result<()> {
    let (mut appended, mut nameless) = (0, 0);
    for line in input.lines().skip(1).filter(|line| !line.is_empty()) {
        let Some(flight) = Flight::parse(line) else {
            continue;
        };
        let Some(tail) = flight.tail else {
            nameless += 1;
            continue;
        };
        topic.append(Record::keyed(tail, line).with_timestamp(flight.scheduled))?;
        table.insert(tail.to_owned(), line.to_owned());
        appended += 1;
    }
    println!("appended {appended} flights, left out {nameless} without a tail number");
    Ok(())
}
