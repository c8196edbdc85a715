//! The shipped slice of real flights, in through a topic and out through a group.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use flate2::read::GzDecoder;
use ottla::{
    Broker, Consumer, ConsumerConfig, ConsumerGroup, ConsumerRecord, Header, PartitionId, Record,
    Timestamp, Topic, TopicConfig,
};

use crate::helpers::{scratch, text};

const FLIGHTS: usize = 15_574;
const PARTITIONS: u32 = 4;
const PATIENCE: Duration = Duration::from_millis(100);

fn slice() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/flights.csv.gz");
    let mut text = String::new();
    GzDecoder::new(std::fs::read(path).unwrap().as_slice())
        .read_to_string(&mut text)
        .unwrap();
    text
}

fn lines(text: &str) -> Vec<&str> {
    let lines: Vec<_> = text.lines().skip(1).collect();
    assert_eq!(lines.len(), FLIGHTS);
    lines
}

fn field(line: &str, index: usize) -> &str {
    line.split(',').nth(index).unwrap()
}

/// Everything that a record carries is the line's: nothing is left to chance when they compare.
fn append(topic: &Topic, lines: &[&str]) {
    for (number, line) in lines.iter().enumerate() {
        let headers = [Header::new("carrier", field(line, 9))];
        let key = field(line, 11);
        let record = if key == "NA" {
            Record::new(*line)
        } else {
            Record::keyed(key, *line)
        };
        let time = Timestamp::from_millis(i64::try_from(number).unwrap());
        topic
            .append(record.with_timestamp(time).with_headers(&headers))
            .unwrap();
    }
}

/// What a consumer saw: the partition, the offset, the number of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    partition: PartitionId,
    offset: u64,
    line: usize,
}

/// Checks a record against its line.
fn see(record: &ConsumerRecord, lines: &[&str]) -> Seen {
    let line = usize::try_from(record.timestamp.as_millis()).unwrap();
    assert_eq!(text(record.value()), lines[line]);
    let key = record.key().map(|key| text(Some(key)));
    assert_eq!(key.as_deref().unwrap_or("NA"), field(lines[line], 11));
    let header = record.headers().next().unwrap();
    assert_eq!(header, Header::new("carrier", field(lines[line], 9)));
    assert_eq!(&*record.topic, "flights");
    Seen {
        partition: record.partition,
        offset: record.offset,
        line,
    }
}

fn setup(root: &Path) -> (Broker, Topic, ConsumerGroup) {
    let broker = Broker::open(root).unwrap();
    let config = TopicConfig::default().partitions(PARTITIONS);
    let topic = broker.create_topic_if_absent("flights", config).unwrap();
    let group = broker.group("departure-board").unwrap();
    (broker, topic, group)
}

/// Every line once, and within a partition in the order in which it was appended.
fn check_complete(seen: &[Seen], lines: &[&str]) {
    let numbers: BTreeSet<_> = seen.iter().map(|seen| seen.line).collect();
    assert_eq!(numbers.len(), lines.len(), "none is missing");
    assert_eq!(seen.len(), lines.len(), "none is there twice");
    let mut sorted = seen.to_vec();
    sorted.sort();
    let mut partitions_of_keys = BTreeMap::new();
    for pair in sorted
        .windows(2)
        .filter(|pair| pair[0].partition == pair[1].partition)
    {
        assert_eq!(pair[0].offset + 1, pair[1].offset, "offsets are dense");
        assert!(
            pair[0].line < pair[1].line,
            "a partition keeps the order of appends"
        );
    }
    for seen in &sorted {
        let key = field(lines[seen.line], 11);
        if key != "NA" {
            let first = *partitions_of_keys.entry(key).or_insert(seen.partition);
            assert_eq!(first, seen.partition, "a key stays in its partition");
        }
    }
}

fn check_carriers(seen: &[Seen], lines: &[&str]) {
    let mut through_us: BTreeMap<&str, usize> = BTreeMap::new();
    for seen in seen {
        *through_us.entry(field(lines[seen.line], 9)).or_default() += 1;
    }
    // Counted by hand from the file: `gzip -dc flights.csv.gz | cut -d, -f10 | sort | uniq -c`.
    let counted = [
        ("9E", 888),
        ("AA", 1605),
        ("AS", 36),
        ("B6", 2663),
        ("DL", 2190),
        ("EV", 2370),
        ("F9", 33),
        ("FL", 181),
        ("HA", 18),
        ("MQ", 1277),
        ("OO", 2),
        ("UA", 2665),
        ("US", 850),
        ("VX", 210),
        ("WN", 565),
        ("YV", 21),
    ];
    assert_eq!(through_us, BTreeMap::from(counted));
}

/// Two members read until the group has seen everything; what each saw, in its order.
fn consume_by_two(group: &ConsumerGroup, lines: &[&str]) -> Vec<Vec<Seen>> {
    let total = AtomicUsize::new(0);
    let consume = || {
        let mut consumer = group.join(["flights"]).unwrap();
        let mut mine: Vec<Seen> = Vec::new();
        let mut held: BTreeMap<PartitionId, u64> = BTreeMap::new();
        while total.load(Ordering::SeqCst) < lines.len() {
            let records = consumer.poll(PATIENCE).unwrap();
            for record in records {
                let seen = see(&record, lines);
                let next = held.insert(seen.partition, seen.offset);
                assert!(
                    next.is_none_or(|before| before < seen.offset),
                    "offsets rise"
                );
                mine.push(seen);
                total.fetch_add(1, Ordering::SeqCst);
            }
            consumer.commit().unwrap();
        }
        consumer.leave().unwrap();
        mine
    };
    thread::scope(|scope| {
        let members = [scope.spawn(consume), scope.spawn(consume)];
        members
            .into_iter()
            .map(|member| member.join().unwrap())
            .collect()
    })
}

#[test]
fn every_flight_comes_out_once_through_two_members_and_after_a_restart() {
    let root = scratch();
    let csv = slice();
    let lines = lines(&csv);
    let (broker, topic, group) = setup(root.path());
    let seen = thread::scope(|scope| {
        let ingest = scope.spawn(|| append(&topic, &lines));
        let seen = consume_by_two(&group, &lines);
        ingest.join().unwrap();
        seen
    });
    println!(
        "in {}, out {} and {}",
        lines.len(),
        seen[0].len(),
        seen[1].len()
    );
    let all = seen.concat();
    check_complete(&all, &lines);
    check_carriers(&all, &lines);
    broker.close().unwrap();
    drop((topic, group, broker));

    // After a restart nothing comes again, and another group sees everything.
    let (broker, topic, group) = setup(root.path());
    let mut consumer = group.join(["flights"]).unwrap();
    assert!(consumer.poll(PATIENCE).unwrap().is_empty());
    assert_eq!(consumer.lag().unwrap(), 0);
    for partition in 0..PARTITIONS {
        let end = topic.partition(partition).unwrap().end_offset();
        assert_eq!(group.committed("flights", partition).unwrap(), Some(end));
    }
    let archive = broker.group("archive").unwrap();
    let all = drain(&mut archive.join(["flights"]).unwrap(), &lines, lines.len());
    check_complete(&all, &lines);
    check_carriers(&all, &lines);
}

/// Polls and commits until so many records came.
fn drain(consumer: &mut Consumer, lines: &[&str], count: usize) -> Vec<Seen> {
    let mut all = Vec::new();
    while all.len() < count {
        let records = consumer.poll(Duration::from_secs(30)).unwrap();
        assert!(
            !records.is_empty(),
            "nothing came after {} records",
            all.len()
        );
        all.extend(records.into_iter().map(|record| see(&record, lines)));
        consumer.commit().unwrap();
    }
    all
}

/// A consumer thread panics in the middle of a batch that it has polled and not committed. The
/// panic drops the consumer, which leaves the group; another member gets what was not committed
/// again, and nothing is skipped.
#[test]
fn what_a_killed_consumer_had_not_committed_comes_again() {
    let root = scratch();
    let csv = slice();
    let lines = lines(&csv);
    let (_broker, topic, group) = setup(root.path());
    append(&topic, &lines);

    let (committed, uncommitted) = thread::scope(|scope| {
        let member = scope.spawn(|| die_in_mid_batch(&group, &lines));
        member.join().unwrap()
    });
    assert_eq!(committed.len(), 2_000);
    assert_eq!(uncommitted.len(), 100);

    let mut other = group.join(["flights"]).unwrap();
    let again = drain(&mut other, &lines, lines.len() - committed.len());
    assert!(other.poll(PATIENCE).unwrap().is_empty());
    let seen_again: BTreeSet<_> = again.iter().copied().collect();
    assert!(uncommitted.iter().all(|seen| seen_again.contains(seen)));
    check_complete(&[committed, again].concat(), &lines);
}

/// Commits four polls of 500 records, and dies over the hundredth record of the fifth. Gives what
/// was committed and what was not.
fn die_in_mid_batch(group: &ConsumerGroup, lines: &[&str]) -> (Vec<Seen>, Vec<Seen>) {
    let config = ConsumerConfig::default().max_poll_records(500);
    let mut consumer = group.join_with(["flights"], config).unwrap();
    let mut committed = Vec::new();
    for _ in 0..4 {
        let records = consumer.poll(PATIENCE).unwrap();
        committed.extend(records.into_iter().map(|record| see(&record, lines)));
        consumer.commit().unwrap();
    }
    let mut uncommitted = Vec::new();
    let death = catch_unwind(AssertUnwindSafe(|| {
        let mut dying = consumer;
        for record in dying.poll(PATIENCE).unwrap() {
            uncommitted.push(see(&record, lines));
            assert!(uncommitted.len() < 100, "killed in mid-batch, on purpose");
        }
    }));
    assert!(death.is_err(), "the consumer was dropped by a panic");
    (committed, uncommitted)
}
