//! A log whose writer is killed.
//!
//! Knows nothing about brokers.

use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use ottla::{Durability, Log, LogConfig, Start, WriteMode};

use crate::child::{Rng, run_and_kill, say, scale, task};
use crate::said::{Reading, Said};

/// How a log is written.
#[derive(Clone, Copy, Debug)]
struct Way {
    mode: WriteMode,
    durability: Durability,
    /// Records of a batch, and bytes of a record.
    batch: (u64, usize),
}

const MODES: [WriteMode; 2] = [WriteMode::Pwrite, WriteMode::Mapped];

const BATCHES: [(u64, usize); 4] = [(1, 100), (8, 3_000), (3, 300_000), (1, 1_000_000)];

/// Every way, by number.
fn way(number: u64) -> Way {
    let at = |bits: u32, of: usize| usize::try_from(number >> bits).unwrap() % of;
    let durability = [
        Durability::Os,
        Durability::Os,
        Durability::Interval(Duration::from_millis(1)),
        Durability::Always,
    ];
    Way {
        mode: MODES[at(0, 2)],
        durability: durability[at(1, 4)],
        batch: BATCHES[at(3, 4)],
    }
}

fn config(way: Way) -> LogConfig {
    LogConfig::default()
        .segment_bytes(8 << 20)
        .max_message_bytes(4 << 20)
        .write_mode(way.mode)
        .durability(way.durability)
}

fn open(dir: &Path, way: Way) -> Log {
    Log::open(dir, config(way)).unwrap()
}

/// What a child does.
fn append_until_killed(dir: &Path, task: &str) -> ! {
    let way = way(task.parse().unwrap());
    let log = open(dir, way);
    let (of, bytes) = way.batch;
    loop {
        let batch = log.end_offset();
        let values: Vec<_> = (batch..batch + of)
            .map(|offset| Said { offset, batch, of }.encode(bytes))
            .collect();
        let appended = match values.as_slice() {
            [one] => log.append(one).unwrap()..batch + 1,
            many => log.append_batch(many).unwrap(),
        };
        assert_eq!(appended, batch..batch + of);
        say('a', appended.end);
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    kills: u64,
    /// Kills that left part of a batch.
    torn: u64,
    torn_mapped: u64,
    records: u64,
}

/// Opens what was left, and holds it against what was acknowledged.
fn look(dir: &Path, way: Way, acknowledged: u64) -> Log {
    let log = open(dir, way);
    let told = || format!("{way:?}: {:?}", log.open_report());
    assert!(log.end_offset() >= acknowledged, "lost: {}", told());
    assert_eq!(log.start_offset(), 0);
    let mut reading = Reading::default();
    for record in log.reader(Start::Earliest).unwrap() {
        let record = record.unwrap();
        reading.take(record.offset, record.value().unwrap());
    }
    assert_eq!(reading.end(), log.end_offset(), "{}", told());
    log
}

/// Kills writers of one log a few times.
fn lineage(number: u64, kills: u64, counts: &Mutex<Counts>) {
    let way = way(number);
    let mut rng = Rng(number);
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let dir = scratch.path().join("log");
    let mut end = 0;
    for round in 0..kills {
        // Now and then it is killed before it could say anything: while it opens the log.
        let lines = rng.below(if way.batch.1 > 10_000 { 4 } else { 60 });
        let name = "log::a_kill_at_any_moment_loses_and_invents_nothing";
        let said = run_and_kill(name, &dir, &number.to_string(), lines, &mut rng);
        let acknowledged = said.last().map_or(end, |(_, end)| *end);
        let log = look(&dir, way, acknowledged);
        end = log.end_offset();
        let torn = u64::from(log.open_report().quarantined_bytes > 0);
        let mut counts = counts.lock().unwrap();
        counts.kills += 1;
        counts.torn += torn;
        counts.torn_mapped += torn * u64::from(way.mode == WriteMode::Mapped);
        counts.records += end;
        drop(counts);
        if round % 3 == 0 {
            log.close().unwrap();
        }
    }
}

#[test]
fn a_kill_at_any_moment_loses_and_invents_nothing() {
    if let Some((dir, task)) = task() {
        append_until_killed(&dir, &task);
    }
    let wanted = scale(100, 1_000, 100_000);
    let torn = scale(10, 100, 10_000);
    let began = Instant::now();
    let counts = Mutex::new(Counts::default());
    let kills_each = 4;
    for first in (0..).step_by(2) {
        thread::scope(|scope| {
            for number in [first, first + 1] {
                let counts = &counts;
                scope.spawn(move || lineage(number, kills_each, counts));
            }
        });
        let met = *counts.lock().unwrap();
        if met.kills >= wanted && met.torn >= torn && met.torn_mapped > 0 {
            break;
        }
        assert!(met.kills < wanted * 8, "hardly a torn tail: {met:?}");
    }
    println!(
        "kills: {:?} in {:?}",
        counts.lock().unwrap(),
        began.elapsed()
    );
}
