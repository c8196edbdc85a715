//! A storm of groups and producers: members join, leave, drop out, hang, leak and pause, while
//! partitions are added and a topic is deleted and made again.
//!
//! Knows nothing about the crate's inside. Every record says which life of which topic it was
//! written to, by whom, and in which order (`payload.rs`), and a ledger (`ledger.rs`) that all
//! members write to knows what each group has seen. What is owed:
//!
//! 1. Nothing is lost: each group is delivered every offset of every partition from 0 on, also with
//!    `Start::Latest`, for every group has begun before the first record.
//! 2. Nothing comes out of order: from where a member gains a partition it reads offset by offset,
//!    not below what was committed, and not above what was delivered.
//! 3. No partition has two owners: while a member has polled records and neither committed them nor
//!    polled again, no other member is given records of that partition.
//! 4. Every call returns: a watchdog ends the process when a thread stands still.
//!
//! ```text
//! cargo test --test storm                      some ten thousand deliveries
//! OTTLA_PROOF=ci cargo test --test storm       a million
//! ```
//!
//! `OTTLA_STRESS_SEED` repeats the choices of a run, though not the order of its threads.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test fails by panicking and has a clock of its own"
)]

#[path = "../stress/dice.rs"]
mod dice;
mod ledger;
mod members;
mod payload;
mod weather;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, RwLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use ottla::{Broker, BrokerConfig, Topic, TopicConfig};

use dice::Dice;
use ledger::Ledger;

const STEADY: &str = "steady";
const AGAIN: &str = "again";
const GROUPS: [&str; 4] = ["plain", "latest", "static", "auto"];
/// Threads of each group that are one member after the other.
const SEATS: usize = 3;
const WRITERS: u64 = 4;
/// A thread that does nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(600);

/// What all threads have in common.
struct Storm {
    broker: Broker,
    ledger: Mutex<Ledger>,
    /// The topic that is deleted and made again, and the number of its life.
    again: RwLock<(Topic, u64)>,
    steady: Topic,
    /// Deliveries so far, and how many there are to be.
    delivered: AtomicU64,
    wanted: u64,
    /// How many records were written that are to be delivered to every group.
    written: AtomicU64,
    /// Everything was written, and members only read on.
    calm: AtomicBool,
    over: AtomicBool,
    /// When a thread last did something, by its number.
    beats: Mutex<Vec<Option<(&'static str, Instant)>>>,
}

impl Storm {
    fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Acquire)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Says what a thread does next.
    fn beat(&self, thread: usize, doing: &'static str) {
        let mut beats = self.beats.lock().unwrap();
        if beats.len() <= thread {
            beats.resize(thread + 1, None);
        }
        if let Some(beat) = beats.get_mut(thread) {
            *beat = Some((doing, Instant::now()));
        }
    }

    fn ends(&self, thread: usize) {
        if let Some(beat) = self.beats.lock().unwrap().get_mut(thread) {
            *beat = None;
        }
    }

    fn watch(&self) {
        while !self.is_over() {
            thread::park_timeout(Duration::from_secs(1));
            let beats = self.beats.lock().unwrap();
            let silent = |beat: &Option<(&str, Instant)>| {
                beat.is_some_and(|(_, since)| since.elapsed() > PATIENCE)
            };
            if beats.iter().any(silent) {
                eprintln!("storm: a thread stands still: {beats:?}");
                std::process::abort();
            }
        }
    }

    /// Whether every group has seen everything that is there.
    fn all_seen(&self) -> bool {
        let (again, life) = &*self.again.read().unwrap();
        let ends = [(&self.steady, 0), (again, *life)];
        let ledger = self.ledger.lock().unwrap();
        ends.into_iter().all(|(topic, life)| {
            (0..topic.partition_count()).all(|partition| {
                let end = topic.partition(partition).unwrap().end_offset();
                let seen = |group| ledger.seen(group, topic.name(), life, partition);
                GROUPS.into_iter().all(|group| seen(group) == end)
            })
        })
    }
}

fn numbered(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn a_storm_of_groups_and_producers_loses_nothing_and_mixes_nothing_up() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let by_clock = now.map_or(7, |now| u64::from(now.subsec_nanos()));
    let seed = numbered("OTTLA_STRESS_SEED").unwrap_or(by_clock);
    let heavy = std::env::var("OTTLA_PROOF").is_ok_and(|kind| kind == "ci");
    let wanted = if heavy { 1_000_000 } else { 20_000 };
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let broker = Broker::open_with(scratch.path().join("data"), BrokerConfig::default()).unwrap();
    let config = TopicConfig::default().segment_bytes(1 << 20);
    let steady = broker
        .create_topic(STEADY, config.clone().partitions(4))
        .unwrap();
    let again = broker.create_topic(AGAIN, config.partitions(3)).unwrap();
    let storm = Storm {
        broker,
        ledger: Mutex::default(),
        again: RwLock::new((again, 0)),
        steady,
        delivered: AtomicU64::new(0),
        wanted,
        written: AtomicU64::new(0),
        calm: AtomicBool::new(false),
        over: AtomicBool::new(false),
        beats: Mutex::default(),
    };
    println!("storm: seed {seed}");
    for group in GROUPS {
        members::begin(&storm, group);
    }
    let began = Instant::now();
    run(&storm, seed);
    let ledger = storm.ledger.lock().unwrap();
    let faults = ledger.faults();
    println!(
        "storm: {} deliveries, {} lives of members, {} lives of a topic in {:?}, {} faults",
        storm.delivered.load(Ordering::Relaxed),
        ledger.lives,
        storm.again.read().unwrap().1 + 1,
        began.elapsed(),
        faults.len(),
    );
    assert!(faults.is_empty(), "seed {seed}: {faults:#?}");
    assert!(storm.delivered.load(Ordering::Relaxed) >= wanted);
    drop(ledger);
    storm.broker.close().unwrap();
}

/// All threads, until everything was written and read.
fn run(storm: &Storm, seed: u64) {
    let mut number = 0;
    let mut next = || {
        number += 1;
        (
            number,
            Dice(
                seed.wrapping_mul(0x1_0000_0001)
                    .wrapping_add(u64::try_from(number).unwrap()),
            ),
        )
    };
    thread::scope(|scope| {
        let watchdog = scope.spawn(|| storm.watch());
        let mut writers = Vec::new();
        for writer in 0..WRITERS {
            let (thread, dice) = next();
            writers.push(scope.spawn(move || weather::write(storm, writer, thread, dice)));
        }
        let (thread, dice) = next();
        writers.push(scope.spawn(move || weather::change(storm, thread, dice)));
        for group in GROUPS {
            for seat in 0..SEATS {
                let (thread, dice) = next();
                scope.spawn(move || members::sit(storm, group, seat, thread, dice));
            }
        }
        for writer in writers {
            writer.join().unwrap();
        }
        storm.calm.store(true, Ordering::Release);
        let calm = Instant::now();
        while !storm.all_seen() && !storm.ledger.lock().unwrap().has_faults() {
            if calm.elapsed() > PATIENCE {
                storm
                    .ledger
                    .lock()
                    .unwrap()
                    .fault("records were never delivered".to_owned());
            }
            thread::park_timeout(Duration::from_millis(20));
        }
        storm.over.store(true, Ordering::Release);
        watchdog.thread().unpark();
    });
}
