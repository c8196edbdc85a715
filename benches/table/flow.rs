//! Through topics and groups: appends by key, records in and out at once, and how soon a waiting
//! reader has a record.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use ottla::{Broker, Consumer, ConsumerConfig, Log, LogConfig, Record, TopicConfig};

use crate::rows::{Figure, Rows, timed};
use crate::tools::{VALUE_BYTES, Values, scratch, width_of};

const PARTITIONS: u32 = 8;

pub(crate) fn rows(rows: &Rows) {
    by_key(rows);
    in_and_out(rows);
    polled(rows);
    waiting_reader(rows);
}

fn keys() -> Vec<Vec<u8>> {
    (0..4096_u32)
        .map(|number| format!("N{number:05}").into_bytes())
        .collect()
}

fn by_key(rows: &Rows) {
    let records: u64 = rows.effort.pick(200_000, 600_000);
    let keys = keys();
    let through_topic = || {
        let dir = scratch();
        let broker = Broker::open(dir.path()).unwrap();
        let config = TopicConfig::default().partitions(PARTITIONS);
        let topic = broker.create_topic("flights", config).unwrap();
        let mut values = Values::new(1, VALUE_BYTES);
        timed(records, || {
            for key in keys.iter().cycle().take(usize::try_from(records).unwrap()) {
                let record = Record::keyed(key, values.next());
                black_box(topic.append(record).unwrap());
            }
        })
    };
    let through_log = || {
        let dir = scratch();
        let log = Log::open(dir.path(), LogConfig::default()).unwrap();
        let mut values = Values::new(1, VALUE_BYTES);
        timed(records, || {
            for key in keys.iter().cycle().take(usize::try_from(records).unwrap()) {
                log.append(Record::keyed(key, values.next())).unwrap();
            }
        })
    };
    Rows::compare(
        "Topic::append by key, 8 partitions, ns | beside: Log::append",
        "<= 1.25",
        rows.effort.pick(5, 11),
        [Box::new(through_topic), Box::new(through_log)],
    );
}

/// One thread appends batches of a hundred to a topic, one polls: both at once, until every record
/// has come out.
fn in_and_out(rows: &Rows) {
    let records: u64 = rows.effort.pick(1_000_000, 4_000_000);
    let figures = (0..rows.effort.pick(2, 5)).map(|_| {
        let dir = scratch();
        let broker = Broker::open(dir.path()).unwrap();
        let topic = broker
            .create_topic("flights", TopicConfig::default().partitions(2))
            .unwrap();
        let config = ConsumerConfig::default().max_poll_records(5_000);
        let group = broker.group("board").unwrap();
        let mut consumer = group.join_with(["flights"], config).unwrap();
        let took = timed(records, || {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let values = Values::new(1, VALUE_BYTES).many(100);
                    for _ in 0..records / 100 {
                        topic.append_batch(values.iter().map(Record::new)).unwrap();
                    }
                });
                poll_all(&mut consumer, records);
            });
        });
        1e3 / took
    });
    let figure = Figure::of(figures.collect());
    Rows::line(
        "Topic in and Consumer::poll out at once, batches of 100, M/s",
        ">= 5",
        figure,
        None,
    );
}

/// Polls until so many records have come out.
fn poll_all(consumer: &mut Consumer, records: u64) {
    let mut out = 0;
    while out < records {
        let polled = consumer.poll(Duration::from_secs(30)).unwrap();
        out += width_of(polled.len());
        black_box(
            polled
                .iter()
                .map(|record| record.value().map(<[u8]>::len))
                .max(),
        );
    }
}

/// Polling alone, beside a reader's iterator on the same records.
fn polled(rows: &Rows) {
    let records: u64 = rows.effort.pick(1_000_000, 2_000_000);
    let dir = scratch();
    let broker = Broker::open(dir.path()).unwrap();
    let topic = broker
        .create_topic("flights", TopicConfig::default().partitions(1))
        .unwrap();
    let values = Values::new(1, VALUE_BYTES).many(100);
    for _ in 0..records / 100 {
        topic.append_batch(values.iter().map(Record::new)).unwrap();
    }
    let polled = || {
        let group = broker.group("board").unwrap();
        let config = ConsumerConfig::default().max_poll_records(500);
        let mut consumer = group.join_with(["flights"], config).unwrap();
        timed(records, || {
            poll_all(&mut consumer, records);
        })
    };
    let iterated = || {
        let log = topic.partition(0).unwrap();
        timed(records, || {
            let mut count = 0;
            for record in log.reader(0).unwrap() {
                black_box(record.unwrap().value());
                count += 1;
            }
            assert_eq!(count, records);
        })
    };
    Rows::compare(
        "Consumer::poll of 500, ns/record | beside: Reader's iterator",
        "",
        rows.effort.pick(3, 7),
        [Box::new(polled), Box::new(iterated)],
    );
}

/// From the begin of an append to the moment a reader in another thread holds the record; beside a
/// bare condition variable, which is what waking a thread costs here.
fn waiting_reader(rows: &Rows) {
    let samples = rows.effort.pick(5_000, 30_000);
    let dir = scratch();
    let log = Log::open(dir.path(), LogConfig::default()).unwrap();
    let mut reader = log.reader(0).unwrap();
    let ours = woken(
        samples,
        || {
            log.append("a record").unwrap();
        },
        move |_| {
            assert!(reader.wait(Duration::from_secs(30)).unwrap());
            black_box(reader.next().unwrap().unwrap().value());
        },
    );
    let (number, signal) = (Mutex::new(0), Condvar::new());
    let floor = woken(
        samples,
        || {
            *number.lock().unwrap() += 1;
            signal.notify_one();
        },
        |seen| {
            let wait = signal.wait_while(number.lock().unwrap(), |number| *number == seen);
            drop(wait.unwrap());
        },
    );
    for (name, share, goal) in [("p50", 0.5, "<= 15 us"), ("p99", 0.99, "<= 150 us")] {
        Rows::line(
            &format!("append to a waiting reader having it, {name}, us | floor: a condvar"),
            goal,
            Figure::once(at(&ours, share)),
            Some(Figure::once(at(&floor, share))),
        );
    }
}

/// So many times from the begin of `send` to the end of `receive`, which another thread began
/// before; sorted, in nanoseconds. `receive` is told how many there were.
fn woken(
    samples: usize,
    mut send: impl FnMut(),
    mut receive: impl FnMut(usize) + Send,
) -> Vec<u64> {
    let began = Instant::now();
    let (sent_at, seen) = (AtomicU64::new(0), AtomicU64::new(0));
    let nanos = || u64::try_from(began.elapsed().as_nanos()).unwrap();
    let mut took = std::thread::scope(|scope| {
        let receiving = scope.spawn(|| {
            let mut took = Vec::new();
            while took.len() < samples {
                receive(took.len());
                took.push(nanos() - sent_at.load(Ordering::Acquire));
                seen.fetch_add(1, Ordering::AcqRel);
            }
            took
        });
        for number in 0..width_of(samples) {
            // The other must be asleep again, or nobody is woken: a pause that nobody else makes.
            let until = nanos() + 60_000;
            while seen.load(Ordering::Acquire) < number || nanos() < until {
                std::hint::spin_loop();
            }
            sent_at.store(nanos(), Ordering::Release);
            send();
        }
        receiving.join().unwrap()
    });
    took.sort_unstable();
    took
}

/// What a share of the samples lies below, in microseconds.
fn at(sorted: &[u64], share: f64) -> f64 {
    let at = (sorted.len() as f64 * share) as usize;
    sorted
        .get(at.min(sorted.len() - 1))
        .map_or(0.0, |nanos| *nanos as f64 / 1e3)
}
