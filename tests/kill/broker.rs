//! A broker whose process is killed while it appends, polls and commits.
//!
//! Knows nothing about files.

use std::path::Path;
use std::time::Duration;

use ottla::{Broker, Consumer, Durability, Start, TopicConfig};

use crate::child::{Rng, run_and_kill, say, scale, task};
use crate::said::{Reading, Said};

const PARTITIONS: u32 = 2;
const GROUP: &str = "readers";
const TOPIC: &str = "flights";

/// What a child says of partition 0 is `a` and `c`, of partition 1 `b` and `d`: the end after an
/// append, and what was committed.
const APPENDED: [char; 2] = ['a', 'b'];
const COMMITTED: [char; 2] = ['c', 'd'];

fn topic_config(task: &str) -> TopicConfig {
    let config = TopicConfig::default()
        .partitions(PARTITIONS)
        .segment_bytes(1 << 20);
    match task {
        "always" => config.durability(Durability::Always),
        _ => config,
    }
}

fn index(partition: u32) -> usize {
    usize::try_from(partition).unwrap()
}

/// What a child does.
fn consume_until_killed(dir: &Path, task: &str) {
    let broker = Broker::open(dir).unwrap();
    let topic = broker
        .create_topic_if_absent(TOPIC, topic_config(task))
        .unwrap();
    let mut consumer = broker.group(GROUP).unwrap().join([TOPIC]).unwrap();
    for turn in 0_u64.. {
        for partition in 0..PARTITIONS {
            let log = topic.partition(partition).unwrap();
            let of = 1 + (turn + u64::from(partition)) % 3;
            let batch = log.end_offset();
            let values: Vec<_> = (batch..batch + of)
                .map(|offset| Said { offset, batch, of }.encode(200))
                .collect();
            log.append_batch(&values).unwrap();
            say(APPENDED[index(partition)], batch + of);
        }
        consume(&mut consumer);
        if turn % 40 == 39 {
            // Topics come and go meanwhile.
            broker
                .create_topic_if_absent("brief", TopicConfig::default())
                .unwrap();
            broker.delete_topic("brief").unwrap();
        }
    }
}

fn consume(consumer: &mut Consumer) {
    let records = consumer.poll(Duration::ZERO).unwrap();
    let mut next = [0; 2];
    for record in &records {
        next[index(record.partition)] = record.offset + 1;
    }
    consumer.commit().unwrap();
    for (partition, next) in (0..PARTITIONS).zip(next) {
        if next > 0 {
            say(COMMITTED[index(partition)], next);
        }
    }
}

/// The last number that was said with a letter.
fn last(said: &[(char, u64)], letter: char) -> u64 {
    let mut of_it = said.iter().filter(|(what, _)| *what == letter);
    of_it.next_back().map_or(0, |(_, number)| *number)
}

/// Holds what was left against what was said; gives the ends and the commits.
fn look(dir: &Path, said: &[(char, u64)], before: [(u64, u64); 2]) -> [(u64, u64); 2] {
    let broker = Broker::open(dir).unwrap();
    let report = broker.open_report().clone();
    let Ok(topic) = broker.topic(TOPIC) else {
        assert!(
            said.is_empty() && before == [(0, 0); 2],
            "no topic: {report:?}"
        );
        return before;
    };
    let group = broker.group(GROUP).unwrap();
    let mut found = before;
    for partition in 0..PARTITIONS {
        let at = index(partition);
        let log = topic.partition(partition).unwrap();
        let mut reading = Reading::default();
        for record in log.reader(Start::Earliest).unwrap() {
            let record = record.unwrap();
            reading.take(record.offset, record.value().unwrap());
        }
        let end = reading.end();
        assert_eq!(end, log.end_offset());
        let acknowledged = last(said, APPENDED[at]).max(before[at].0);
        assert!(end >= acknowledged, "{partition}: lost: {report:?}");
        let committed = group.committed(TOPIC, partition).unwrap().unwrap_or(0);
        let acknowledged = last(said, COMMITTED[at]).max(before[at].1);
        assert!(
            committed >= acknowledged,
            "{partition}: commit lost: {report:?}"
        );
        assert!(committed <= end, "{partition}: {committed} is behind {end}");
        found[at] = (end, committed);
    }
    goes_on_where_it_was(&broker, found);
    found
}

/// A consumer goes on exactly at what is committed.
fn goes_on_where_it_was(broker: &Broker, found: [(u64, u64); 2]) {
    let mut consumer = broker.group(GROUP).unwrap().join([TOPIC]).unwrap();
    let records = consumer.poll(Duration::ZERO).unwrap();
    for (partition, (end, committed)) in (0..PARTITIONS).zip(found) {
        let mut of_it = records
            .iter()
            .filter(|record| record.partition == partition);
        if let Some(first) = of_it.next() {
            assert_eq!(first.offset, committed, "partition {partition}");
        } else if records.is_empty() {
            assert_eq!(end, committed, "partition {partition}: nothing to read");
        }
    }
    // Left without a commit, so that the next child begins there again.
    drop(consumer);
}

#[test]
fn a_killed_broker_keeps_records_topics_and_commits() {
    if let Some((dir, task)) = task() {
        return consume_until_killed(&dir, &task);
    }
    let wanted = scale(20, 200, 10_000);
    let mut rng = Rng(5);
    let (mut kills, mut commits) = (0, 0);
    while kills < wanted {
        let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let dir = scratch.path().join("data");
        let task = if rng.below(2) == 0 { "always" } else { "os" };
        let mut found = [(0, 0); 2];
        for _ in 0..5 {
            let lines = rng.below(120);
            let name = "broker::a_killed_broker_keeps_records_topics_and_commits";
            let said = run_and_kill(name, &dir, task, lines, &mut rng);
            found = look(&dir, &said, found);
            kills += 1;
        }
        commits += found[0].1 + found[1].1;
    }
    println!("kills of a broker: {kills}, {commits} offsets committed, none lost");
}
