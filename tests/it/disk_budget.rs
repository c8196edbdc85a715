//! Disk use that is bounded, and what takes it up.

use std::fs;
use std::path::Path;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ottla::{Broker, BrokerConfig, Error, Start, TopicConfig};
use tempfile::tempdir;

const SEGMENT: u64 = 64 << 10;
const LIMIT: u64 = 2 << 20;

/// The lengths of all files below a directory; one that goes meanwhile does not count.
fn bytes_below(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else {
        return 0;
    };
    let entries = entries.flatten().map(|entry| match entry.metadata() {
        Ok(about) if about.is_dir() => bytes_below(&entry.path()),
        Ok(about) => about.len(),
        Err(_) => 0,
    });
    entries.sum()
}

fn limited(limit: u64) -> BrokerConfig {
    BrokerConfig::default().max_total_bytes(limit)
}

fn retained() -> TopicConfig {
    let config = TopicConfig::default().segment_bytes(SEGMENT);
    config.retention_bytes(1 << 30)
}

#[test]
fn four_topics_at_full_speed_stay_below_the_limit_and_one_segment_a_partition() {
    let scratch = tempdir().unwrap();
    let broker = Broker::open_with(scratch.path(), limited(LIMIT)).unwrap();
    let topics = [0, 1, 2, 3].map(|number| {
        let name = format!("t{number}");
        broker.create_topic(&name, retained()).unwrap()
    });
    let done = AtomicBool::new(false);
    // Files that are counted one after the other are counted at one moment when nothing rolls
    // meanwhile: then files only go, and what is made has been charged before.
    let looking = RwLock::new(());
    let appended = AtomicU64::new(0);
    let most = std::thread::scope(|scope| {
        let sampling = scope.spawn(|| {
            let (mut most, mut next) = (0, 0);
            while !done.load(Ordering::Acquire) {
                if appended.load(Ordering::Acquire) < next {
                    std::thread::yield_now();
                    continue;
                }
                next = appended.load(Ordering::Acquire) + 40;
                let _nobody_appends = looking.write().unwrap();
                most = most.max(bytes_below(scratch.path()));
            }
            most
        });
        let writing = topics.each_ref().map(|topic| {
            let (looking, appended) = (&looking, &appended);
            scope.spawn(move || {
                for _ in 0..4_000 {
                    let _append = looking.read().unwrap();
                    appended.fetch_add(1, Ordering::AcqRel);
                    topic.append(&[b'v'; 1000]).unwrap();
                }
            })
        });
        for thread in writing {
            thread.join().unwrap();
        }
        done.store(true, Ordering::Release);
        sampling.join().unwrap()
    });
    // Where the sampler was hardly ever run, what is there now was there at the end.
    let most = most.max(bytes_below(scratch.path()));
    assert!(most <= LIMIT + 4 * SEGMENT, "{most} bytes at a time");
    assert!(most > LIMIT / 2, "{most}: the room is used");
    for topic in &topics {
        let mut read = topic.reader(Start::Earliest).unwrap();
        let first = read.next().unwrap().unwrap().offset;
        assert!(first > 0, "the oldest are gone");
        assert_eq!(read.last().unwrap().unwrap().offset, 3_999);
    }
    let usage = broker.disk_usage().unwrap();
    let of_topics: u64 = usage.topics.values().map(|topic| topic.records).sum();
    assert_eq!(usage.records, of_topics);
    assert!(usage.total() <= LIMIT + 4 * SEGMENT, "{usage:?}");
}

#[test]
fn without_retention_a_full_budget_refuses_the_append_and_loses_nothing() {
    let scratch = tempdir().unwrap();
    let broker = Broker::open_with(scratch.path(), limited(LIMIT)).unwrap();
    let config = TopicConfig::default().segment_bytes(SEGMENT);
    let kept = broker.create_topic("kept", config).unwrap();
    let mut appended = 0;
    let refused = loop {
        match kept.append(&[b'v'; 1000]) {
            Ok(_) => appended += 1,
            Err(error) => break error,
        }
        assert!(appended < 4_000, "the limit is not kept");
    };
    assert!(matches!(refused, Error::NoSpace { .. }), "{refused}");
    assert!(appended > 1_000, "{appended}: the room is used");
    assert!(bytes_below(scratch.path()) <= LIMIT + SEGMENT);
    assert_eq!(kept.reader(Start::Earliest).unwrap().count(), appended);
    assert!(matches!(
        kept.append(&[b'v'; 1000]),
        Err(Error::NoSpace { .. })
    ));

    // What may be forgotten makes room for it; its own records stay.
    broker
        .alter_topic("kept", |config| config.retention_bytes(1 << 30))
        .unwrap();
    kept.append(&[b'v'; 1000]).unwrap();
    assert!(kept.partition(0).unwrap().start_offset() > 0);
    broker.close().unwrap();

    // A limit that was lowered is kept from the opening on.
    let broker = Broker::open_with(scratch.path(), limited(LIMIT / 2)).unwrap();
    assert!(bytes_below(scratch.path()) <= LIMIT / 2 + SEGMENT);
    broker.topic("kept").unwrap().append("more").unwrap();
}

#[test]
fn a_topic_that_is_deleted_gives_its_room_back_and_quarantine_counts() {
    let scratch = tempdir().unwrap();
    let broker = Broker::open_with(scratch.path(), limited(LIMIT)).unwrap();
    let config = TopicConfig::default().segment_bytes(SEGMENT);
    for _ in 0..4 {
        let topic = broker.create_topic("kept", config.clone()).unwrap();
        for _ in 0..1_000 {
            topic.append(&[b'v'; 1000]).unwrap();
        }
        broker.delete_topic("kept").unwrap();
    }
    let topic = broker.create_topic("kept", config).unwrap();
    let aside = scratch
        .path()
        .join("kept-0/00000000000000000000-0-0.quarantine");
    fs::write(aside, vec![0; 300_000]).unwrap();
    let usage = broker.disk_usage().unwrap();
    assert_eq!(usage.quarantine, 300_000);
    assert_eq!(usage.topics["kept"].quarantine, 300_000);
    assert!(usage.internal > 0);
    broker.upkeep().unwrap();
    let refused = (0..4_000).find(|_| topic.append(&[b'v'; 1000]).is_err());
    assert!(refused.is_some_and(|count| count < 1_800), "{refused:?}");
}
