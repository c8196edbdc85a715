//! What happens around the members: records are written, partitions added, a topic deleted and made
//! again.
//!
//! Knows nothing about groups.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use ottla::{Error, Producer, ProducerConfig, Record, Topic, TopicConfig};

use crate::dice::Dice;
use crate::payload::Said;
use crate::{AGAIN, GROUPS, STEADY, Storm};

/// With so many deliveries to come, writers wait.
const AHEAD: u64 = 20_000;
/// How often something changes in a storm.
const CHANGES: u64 = 40;
const PARTITIONS_MAX: u32 = 12;

impl Storm {
    fn is_written(&self) -> bool {
        self.delivered.load(Ordering::Relaxed) >= self.wanted
            || self.ledger.lock().unwrap().has_faults()
    }

    fn is_ahead(&self) -> bool {
        let groups = u64::try_from(GROUPS.len()).unwrap();
        let due = self.written.load(Ordering::Relaxed) * groups;
        due > self.delivered.load(Ordering::Relaxed) + AHEAD
    }
}

/// How a writer appends: half of them by a producer, which puts records where their keys belong.
enum Pen {
    Topic(Topic),
    Producer(Producer),
}

impl Pen {
    fn of(topic: &Topic, writer: u64) -> Result<Self, Error> {
        let config = ProducerConfig::default().linger(Duration::from_millis(2));
        Ok(match writer % 2 {
            0 => Self::Topic(topic.clone()),
            _ => Self::Producer(topic.producer(config)?),
        })
    }

    fn write(&self, dice: &mut Dice, value: &[u8]) -> Result<(), Error> {
        match self {
            Self::Topic(topic) => {
                let partition = dice.below(u64::from(topic.partition_count()));
                topic
                    .append_to(u32::try_from(partition).unwrap(), value)
                    .map(drop)
            }
            Self::Producer(producer) => {
                let key = dice.below(50).to_le_bytes();
                producer
                    .send(Record::from_parts(Some(&key), Some(value)))
                    .map(drop)
            }
        }
    }
}

/// Writes until there were deliveries enough.
pub(crate) fn write(storm: &Storm, writer: u64, thread: usize, mut dice: Dice) {
    let mut sequence = 0;
    let steady = Pen::of(&storm.steady, writer).unwrap();
    let mut again: Option<(Pen, u64)> = None;
    while !storm.is_written() {
        storm.beat(thread, "writes");
        if storm.is_ahead() {
            thread::park_timeout(Duration::from_millis(1));
            continue;
        }
        for _ in 0..=dice.below(100) {
            sequence += 1;
            let said = |topic, life| Said {
                topic,
                life,
                writer,
                sequence,
            };
            if dice.once_in(2) {
                let value = said(0, 0).value();
                if let Err(error) = steady.write(&mut dice, &value) {
                    storm
                        .ledger
                        .lock()
                        .unwrap()
                        .fault(format!("writer {writer}: {error:?}"));
                }
            } else if let Some((pen, life)) = &again {
                // It may be deleted at any time; a new one is there soon.
                match pen.write(&mut dice, &said(1, *life).value()) {
                    Ok(()) => {}
                    Err(Error::UnknownTopic { .. }) => again = None,
                    Err(error) => {
                        storm
                            .ledger
                            .lock()
                            .unwrap()
                            .fault(format!("writer {writer}: {error:?}"));
                    }
                }
            } else {
                let (topic, life) = storm.again.read().unwrap().clone();
                again = Pen::of(&topic, writer).ok().map(|pen| (pen, life));
            }
            storm.written.fetch_add(1, Ordering::Relaxed);
        }
    }
    // Dropping a producer appends what it holds.
    drop((steady, again));
    storm.ends(thread);
}

/// Changes the topics while records are written.
pub(crate) fn change(storm: &Storm, thread: usize, mut dice: Dice) {
    for change in 1..CHANGES {
        let at = storm.wanted / CHANGES * change;
        while storm.delivered.load(Ordering::Relaxed) < at && !storm.is_written() {
            storm.beat(thread, "waits");
            thread::park_timeout(Duration::from_millis(1));
        }
        if storm.is_written() {
            break;
        }
        storm.beat(thread, "changes");
        match dice.below(4) {
            0 => more_partitions(storm, STEADY),
            1 => more_partitions(storm, AGAIN),
            _ => make_again(storm, &mut dice),
        }
    }
    storm.ends(thread);
}

fn more_partitions(storm: &Storm, topic: &str) {
    let more = |config: TopicConfig| {
        let partitions = (config.partitions + 1).min(PARTITIONS_MAX);
        config.partitions(partitions)
    };
    storm.broker.alter_topic(topic, more).unwrap();
}

fn make_again(storm: &Storm, dice: &mut Dice) {
    storm.broker.delete_topic(AGAIN).unwrap();
    if dice.once_in(2) {
        thread::park_timeout(Duration::from_millis(dice.below(20)));
    }
    let partitions = u32::try_from(1 + dice.below(5)).unwrap();
    let config = TopicConfig::default()
        .segment_bytes(1 << 20)
        .partitions(partitions);
    let topic = storm.broker.create_topic(AGAIN, config).unwrap();
    let mut again = storm.again.write().unwrap();
    again.1 += 1;
    again.0 = topic;
    // What was written to the topic that is gone need not be delivered.
    let delivered = storm.delivered.load(Ordering::Relaxed);
    let groups = u64::try_from(GROUPS.len()).unwrap();
    storm.written.store(delivered / groups, Ordering::Relaxed);
}
