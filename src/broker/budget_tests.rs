//! The bound on what a directory takes up, checked before every change of the simulated disk: at
//! full speed, through faults, and after power cuts.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::disk::sim::{At, Choice, Failure, Fault, Kind, Repeat, Sim};
use crate::sync::{AtomicU64, Ordering};
use crate::topic::TopicConfig;
use crate::types::{CleanupPolicy, Durability, Record, Start};

const ROOT: &str = "/data";
const SEGMENT: u64 = 16 << 10;
const LIMIT: u64 = 160 << 10;
const COMMITS: u64 = 72 << 10;
const TOPICS: [&str; 3] = ["a", "b", "c"];
const COMPACTED: &str = "compacted";

/// The bytes of all files.
fn total(sim: &Sim) -> u64 {
    sim.files().iter().map(|(_, len)| len).sum()
}

/// What they may be: one segment for each directory of a partition that is there. The segments of
/// commits are larger; what these tests commit is less than what is reserved at once.
fn bound(sim: &Sim) -> u64 {
    let logs = sim.files().into_iter();
    let mut dirs: Vec<_> = logs
        .filter(|(path, _)| path.extension().is_some_and(|kind| kind == "log"))
        .filter_map(|(path, _)| path.parent().map(Path::to_path_buf))
        .collect();
    dirs.sort();
    dirs.dedup();
    let segments = dirs.iter().map(|dir| {
        let is_of_commits = dir.to_string_lossy().contains("__");
        if is_of_commits { COMMITS } else { SEGMENT }
    });
    LIMIT + segments.sum::<u64>()
}

/// Notes by how much the bound was passed, and how far the files came.
#[derive(Default)]
struct Watch {
    over: AtomicU64,
    most: AtomicU64,
}

fn watch(sim: &Sim) -> Arc<Watch> {
    let watch = Arc::new(Watch::default());
    let noted = Arc::clone(&watch);
    sim.on_change(move |sim| {
        let total = total(sim);
        noted.most.fetch_max(total, Ordering::Relaxed);
        if total <= LIMIT {
            return;
        }
        let bound = bound(sim);
        if total > bound && noted.over.load(Ordering::Relaxed) == 0 {
            let mut files = sim.files();
            files.retain(|(_, len)| *len > 512);
            eprintln!("{total} {bound} {files:?}");
        }
        let over = total.saturating_sub(bound);
        noted.over.fetch_max(over, Ordering::Relaxed);
    });
    watch
}

fn open_limited(sim: &Sim, manual: bool) -> Broker {
    let config = BrokerConfig::default().max_total_bytes(LIMIT);
    let config = config.manual_upkeep(manual);
    let config = config.upkeep_interval(Duration::from_millis(1));
    Broker::open_on(sim.disk(), Clock::System, Path::new(ROOT), config).unwrap()
}

fn make_topics(broker: &Broker) {
    for name in TOPICS {
        let config = TopicConfig::default().segment_bytes(SEGMENT);
        let config = config.retention_bytes(1 << 30);
        broker.create_topic_if_absent(name, config).unwrap();
    }
    let config = TopicConfig::default().segment_bytes(SEGMENT);
    let config = config
        .cleanup_policy(CleanupPolicy::CompactAndDelete)
        .retention_bytes(1 << 30);
    broker.create_topic_if_absent(COMPACTED, config).unwrap();
}

/// Appends in turns, compacts, commits, makes a topic and deletes it. What is refused is refused.
fn use_it(broker: &Broker, rounds: usize) {
    for round in 0..rounds {
        for name in TOPICS {
            let topic = broker.topic(name).unwrap();
            for len in [10, 900, 3_000] {
                drop(topic.append(&vec![b'v'; len]));
            }
        }
        let compacted = broker.topic(COMPACTED).unwrap();
        let key = (round % 7).to_string();
        drop(compacted.append(Record::keyed(&key, &vec![b'v'; 1_500])));
        if round % 30 == 10 {
            drop(broker.upkeep());
            let group = broker.group("g").unwrap();
            drop(group.reset("a", Start::Latest));
        }
        if round % 50 == 40 {
            let config = TopicConfig::default().segment_bytes(SEGMENT);
            let made = broker.create_topic("going", config);
            for _ in 0..30 {
                drop(made.as_ref().map(|topic| topic.append(&vec![b'v'; 1_000])));
            }
            drop(broker.delete_topic("going"));
        }
    }
}

#[test]
fn at_no_moment_do_the_files_hold_more_than_the_limit_and_a_segment_a_partition() {
    for manual in [true, false] {
        let sim = Sim::new();
        let watch = watch(&sim);
        let broker = open_limited(&sim, manual);
        make_topics(&broker);
        use_it(&broker, 60);
        for name in TOPICS {
            let log = broker.topic(name).unwrap().partition(0).unwrap();
            assert!(log.start_offset() > 0, "the oldest are gone");
        }
        broker.close().unwrap();
        sim.stop_watching();
        assert_eq!(watch.over.load(Ordering::Relaxed), 0, "manual: {manual}");
        let most = watch.most.load(Ordering::Relaxed);
        assert!(most > LIMIT / 4 * 3, "{most}: the room is used");
    }
}

#[test]
fn threads_that_append_at_full_speed_do_not_pass_the_bound() {
    let sim = Sim::new();
    let broker = open_limited(&sim, false);
    make_topics(&broker);
    let watch = watch(&sim);
    std::thread::scope(|scope| {
        for name in TOPICS {
            let topic = broker.topic(name).unwrap();
            scope.spawn(move || {
                for _ in 0..700 {
                    topic.append(&[b'v'; 1_000]).unwrap();
                }
            });
        }
    });
    broker.close().unwrap();
    sim.stop_watching();
    assert_eq!(watch.over.load(Ordering::Relaxed), 0);
}

#[test]
fn calls_that_fail_do_not_pass_the_bound() {
    let kinds = [
        Kind::RemoveFile,
        Kind::SetLen,
        Kind::Create,
        Kind::Rename,
        Kind::SyncDir,
        Kind::Write,
    ];
    for kind in kinds {
        for every in [7, 30] {
            let sim = Sim::new();
            let broker = open_limited(&sim, true);
            make_topics(&broker);
            let watch = watch(&sim);
            for nth in (20..300).step_by(every) {
                sim.fail(Fault {
                    at: At::Nth(kind, nth),
                    error: Failure::Eio,
                    repeat: Repeat::Once,
                });
            }
            use_it(&broker, 35);
            sim.heal();
            drop(broker);
            sim.stop_watching();
            assert_eq!(watch.over.load(Ordering::Relaxed), 0, "{kind:?} {every}");
        }
    }
}

#[test]
fn a_power_cut_brings_nothing_back_whose_room_was_in_use_again() {
    let mut cuts = 0;
    for durability in [Durability::Os, Durability::Always] {
        let sim = Sim::new();
        let broker = open_limited(&sim, true);
        make_topics(&broker);
        broker
            .alter_topic("a", |config| config.durability(durability))
            .unwrap();
        use_it(&broker, 30);
        // A few rounds, cut before every change.
        let states = Arc::new(crate::sync::Mutex::new(Vec::new()));
        let found = Arc::clone(&states);
        sim.on_change(move |sim| {
            for choice in [Choice::None, Choice::All] {
                found.lock().push(sim.crash(choice));
            }
        });
        use_it(&broker, 5);
        sim.stop_watching();
        drop(broker);
        let states = std::mem::take(&mut *states.lock());
        for (number, sim) in states.into_iter().enumerate() {
            assert!(total(&sim) <= bound(&sim), "state {number}");
            // Both choices of one change in 24: what is looked at above is each of them.
            if number % 48 > 1 {
                continue;
            }
            cuts += 1;
            let broker = open_limited(&sim, true);
            assert!(total(&sim) <= bound(&sim), "state {number}, opened");
            let watch = watch(&sim);
            use_it(&broker, 3);
            sim.stop_watching();
            assert_eq!(watch.over.load(Ordering::Relaxed), 0, "state {number}");
        }
    }
    assert!(cuts > 20, "{cuts}");
}
