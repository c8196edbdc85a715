//! Pulls the plug before every operation of a compaction pass and of a retention pass, with every
//! kind of outcome, and again in the recovery from it.
//!
//! Knows nothing about swaps. A pass takes a log through a few states, one after the other, and
//! readers see each of them whole. What is found after a cut must be the state that readers saw at
//! the time, or the next one: before or after, never between.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::super::rig::{DIR, still_clock};
use super::super::{Rng, Scale, Whereabouts};
use super::oracle::{Entry, View, view};
use crate::clock::{Clock, ManualClock};
use crate::disk::sim::Sim;
use crate::error::Result;
use crate::log::{Log, open_alone_on};
use crate::recovery::OpenMode;
use crate::sync::Mutex;
use crate::types::LogConfig;
use crate::types::{CleanupPolicy, Compression, Offset, Record, Timestamp, WriteMode};

/// What a pass does to a log.
type Pass = fn(&Log) -> Result<()>;

/// A log and what is done to it.
struct Scenario {
    name: &'static str,
    config: LogConfig,
    fill: fn(&Log, &Arc<ManualClock>),
    pass: Pass,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    scenarios: u64,
    operations: u64,
    states: u64,
    interrupted: u64,
    gone_on: u64,
    looked_at: u64,
}

/// What is found of a log: where it starts, and its records.
type State = (Offset, View);

struct Watch {
    name: &'static str,
    config: LogConfig,
    clock: Arc<ManualClock>,
    pass: Pass,
    /// The states of the pass, in order.
    states: Vec<State>,
    log: Log,
    counts: Arc<Mutex<Counts>>,
    rng: Rng,
    one_of: u64,
    random: u64,
}

fn open_as(sim: &Sim, clock: &Arc<ManualClock>, config: &LogConfig, mode: OpenMode) -> Result<Log> {
    let clock = Clock::Manual(Arc::clone(clock));
    open_alone_on(
        &sim.disk(),
        &clock,
        Path::new(DIR),
        config.clone(),
        mode,
        true,
    )
}

fn state(log: &Log) -> State {
    (log.start_offset(), view(log))
}

impl Watch {
    fn look(&mut self, sim: &Sim) {
        self.counts.lock().operations += 1;
        let seen = state(&self.log);
        let at = self.states.iter().position(|known| *known == seen);
        let at = at.unwrap_or_else(|| panic!("{}: readers see what no pass leads to", self.name));
        let allowed = &self.states[at..self.states.len().min(at + 2)];
        let (number, chance) = (sim.operations(), self.rng.next());
        // A kill and one power cut always, the others by chance.
        let cuts: Vec<_> = sim.crash_states_canonical().collect();
        let always = self
            .rng
            .below(u64::try_from(cuts.len()).unwrap_or(1).max(1));
        let cuts = (0_u64..)
            .zip(cuts)
            .map(|(at, found)| (found, at == always))
            .chain(std::iter::once((sim.process_crash(), true)));
        let others = sim
            .crash_states_random(chance, self.random)
            .chain(sim.crash_states_exhaustive(8));
        for (found, always) in cuts.chain(others.map(|found| (found, false))) {
            if always || self.rng.one_in(self.one_of) {
                let told = format!("cut before operation {number}, {:?}", found.born_of());
                let depth = self.rng.below(60);
                self.meet(&found, allowed, &told, depth);
            }
        }
    }

    fn meet(&self, found: &Sim, allowed: &[State], told: &str, depth: u64) {
        let _told = Whereabouts(|| format!("{}: {told}", self.name));
        self.counts.lock().states += 1;
        let untouched = found.process_crash();
        if depth == 0 {
            self.look_only(&found.process_crash(), allowed, told);
        }
        let log = open_as(found, &self.clock, &self.config, OpenMode::Write)
            .unwrap_or_else(|error| panic!("{}: {told}: it does not open: {error:?}", self.name));
        self.hold(&log, allowed, told);
        assert_eq!(
            left_over(found),
            0,
            "{}: {told}: {:?}",
            self.name,
            found.files()
        );
        match depth {
            1..=2 => self.go_on(found, log, told),
            3 => {
                log.abandon();
                self.interrupt(&untouched, allowed, told);
            }
            _ => log.abandon(),
        }
    }

    fn hold(&self, log: &Log, allowed: &[State], told: &str) {
        let found = state(log);
        let offsets = |state: &State| (state.0, state.1.keys().copied().collect::<Vec<_>>());
        assert!(
            allowed.contains(&found),
            "{}: {told}: between\nfound {:?}\nallowed {:?}\n{:?}",
            self.name,
            offsets(&found),
            allowed.iter().map(offsets).collect::<Vec<_>>(),
            log.open_report()
        );
        assert_eq!(
            log.open_report().quarantined_bytes,
            0,
            "{}: {told}",
            self.name
        );
        let end = log.end_offset();
        assert_eq!(
            end,
            self.log.end_offset(),
            "{}: {told}: another end",
            self.name
        );
    }

    /// The pass once more, on what was found: it ends where the first one would have.
    fn go_on(&self, found: &Sim, log: Log, told: &str) {
        self.counts.lock().gone_on += 1;
        (self.pass)(&log).unwrap();
        let last = &self.states[self.states.len() - 1];
        assert_eq!(
            &state(&log),
            last,
            "{}: {told}: and the pass again",
            self.name
        );
        let next = log.append(Record::keyed("one", "more")).unwrap();
        assert_eq!(next, self.log.end_offset());
        log.close().unwrap();
        drop(log);
        assert_eq!(left_over(found), 0);
        let log = open_as(found, &self.clock, &self.config, OpenMode::Write).unwrap();
        let report = log.open_report();
        assert!(report.clean, "{}: {told}: {report:?}", self.name);
        assert_eq!(log.end_offset(), next + 1);
        log.abandon();
    }

    /// The recovery is cut before each of its operations too.
    fn interrupt(&self, untouched: &Sim, allowed: &[State], told: &str) {
        let allowed = allowed.to_vec();
        let (name, told) = (self.name, told.to_owned());
        let (clock, config) = (Arc::clone(&self.clock), self.config.clone());
        let counts = Arc::clone(&self.counts);
        let one_of = Scale::asked().of(5, 4, 1);
        untouched.on_change(move |sim| {
            let at = sim.operations();
            let mut rng = Rng(at);
            for again in sim
                .crash_states_canonical()
                .chain(sim.crash_states_random(at, 2))
                .filter(|_| rng.one_in(one_of))
            {
                counts.lock().interrupted += 1;
                let told = format!("{told}, then before {at}, {:?}", again.born_of());
                let _told = Whereabouts(|| format!("{name}: {told}"));
                let log = open_as(&again, &clock, &config, OpenMode::Write).unwrap();
                let found = state(&log);
                assert!(
                    allowed.contains(&found),
                    "{name}: {told}: between, {found:?}"
                );
                log.abandon();
            }
        });
        let log = open_as(untouched, &self.clock, &self.config, OpenMode::Write).unwrap();
        untouched.stop_watching();
        log.abandon();
    }

    /// A read-only opening sees one of the states too, and writes nothing.
    fn look_only(&self, found: &Sim, allowed: &[State], told: &str) {
        self.counts.lock().looked_at += 1;
        let before: Vec<_> = found.files();
        let log = open_as(found, &self.clock, &self.config, OpenMode::Read).unwrap();
        let seen = state(&log);
        assert!(
            allowed.contains(&seen),
            "{}: {told}: read-only: between",
            self.name
        );
        log.abandon();
        assert_eq!(found.files(), before);
    }
}

/// How many files compaction left behind.
fn left_over(sim: &Sim) -> usize {
    let files = sim.files().into_iter();
    let names = files.map(|(path, _)| path.display().to_string());
    names
        .filter(|name| {
            [".cleaned", ".swap", ".deleted"]
                .iter()
                .any(|end| name.ends_with(end))
        })
        .count()
}

fn run(scenario: &Scenario, seed: u64, counts: &Arc<Mutex<Counts>>) {
    counts.lock().scenarios += 1;
    let scale = Scale::asked();
    let clock = still_clock();
    let sim = Sim::new();
    let log = open_as(&sim, &clock, &scenario.config, OpenMode::Write).unwrap();
    (scenario.fill)(&log, &clock);
    log.flush().unwrap();
    // Once without cuts, to see what states there are.
    let rehearsal = sim.process_crash();
    let states = {
        let log = open_as(&rehearsal, &clock, &scenario.config, OpenMode::Write).unwrap();
        let states = Arc::new(Mutex::new(vec![state(&log)]));
        let (noted, watched) = (Arc::clone(&states), log.clone());
        rehearsal.on_change(move |_| note(&noted, &watched));
        (scenario.pass)(&log).unwrap();
        rehearsal.stop_watching();
        note(&states, &log);
        log.abandon();
        states.lock().clone()
    };
    assert!(states.len() > 1, "{}: nothing happens", scenario.name);
    let mut watch = Watch {
        name: scenario.name,
        config: scenario.config.clone(),
        clock,
        pass: scenario.pass,
        states,
        log: log.clone(),
        counts: Arc::clone(counts),
        rng: Rng(seed),
        one_of: scale.of(40, 5, 1),
        random: scale.of(4, 8, 200),
    };
    sim.on_change(move |sim| watch.look(sim));
    (scenario.pass)(&log).unwrap();
    sim.stop_watching();
    log.abandon();
}

/// Adds the state of a log, when it is a new one.
fn note(states: &Mutex<Vec<State>>, log: &Log) {
    let now = state(log);
    let mut states = states.lock();
    if states.last() != Some(&now) {
        states.push(now);
    }
}

fn config() -> LogConfig {
    LogConfig::default()
        .segment_bytes(1024)
        .index_interval_bytes(200)
        .write_mode(WriteMode::Pwrite)
        .cleanup_policy(CleanupPolicy::Compact)
}

fn append(log: &Log, clock: &Arc<ManualClock>, keys: u64, count: u64, bytes: usize) {
    for number in 0..count {
        let key = format!("key {}", number * 7 % keys);
        let time = clock_now(clock);
        let value = format!("{number:0bytes$}");
        let entry = Entry {
            key: key.into_bytes(),
            value: Some(value.into_bytes()).filter(|_| number % 11 != 5),
            time,
        };
        log.append(entry.record()).unwrap();
        clock.advance(Duration::from_secs(60));
    }
}

fn clock_now(clock: &Arc<ManualClock>) -> Timestamp {
    Clock::Manual(Arc::clone(clock)).now()
}

fn compact(log: &Log) -> Result<()> {
    log.compact().map(drop)
}

fn retain(log: &Log) -> Result<()> {
    log.apply_retention().map(drop)
}

fn scenarios() -> Vec<Scenario> {
    let few = |log: &Log, clock: &Arc<ManualClock>| append(log, clock, 5, 40, 40);
    let many = |log: &Log, clock: &Arc<ManualClock>| append(log, clock, 40, 60, 60);
    let hour = Duration::from_secs(3600);
    let forgetting = || config().cleanup_policy(CleanupPolicy::Delete);
    let mut all = vec![
        Scenario {
            name: "one group, one output",
            config: config().segment_bytes(8192),
            fill: |log, clock| {
                append(log, clock, 5, 20, 40);
                log.seal_active().unwrap();
                append(log, clock, 5, 20, 40);
                log.seal_active().unwrap();
                append(log, clock, 6, 20, 40);
            },
            pass: compact,
        },
        Scenario {
            name: "many groups",
            config: config(),
            fill: few,
            pass: compact,
        },
        Scenario {
            name: "groups of which nothing stays",
            config: config().delete_retention(Duration::ZERO),
            fill: |log, clock| {
                append(log, clock, 3, 30, 80);
                for key in ["key 0", "key 1", "key 2"] {
                    log.append(Record::tombstone(key)).unwrap();
                }
            },
            pass: |log| {
                compact(log)?;
                compact(log)?;
                compact(log)
            },
        },
        Scenario {
            name: "more keys than fit",
            config: config().dedupe_buffer_bytes(1024),
            fill: |log, clock| append(log, clock, 60, 130, 30),
            pass: compact,
        },
        Scenario {
            name: "outputs that are several",
            config: config().segment_bytes(4096),
            fill: |log, clock| {
                append(log, clock, 40, 44, 60);
                append(log, clock, 4, 4, 60);
                log.seal_active().unwrap();
                // What was one segment must be written as several.
                log.reconfigure(config().segment_bytes(1024)).unwrap();
            },
            pass: compact,
        },
        Scenario {
            name: "retention by time",
            config: forgetting().retention(hour),
            fill: |log, clock| {
                append(log, clock, 5, 60, 40);
                clock.advance(Duration::from_secs(600));
            },
            pass: retain,
        },
        Scenario {
            name: "retention of everything",
            config: forgetting().retention(hour),
            fill: |log, clock| {
                append(log, clock, 5, 30, 40);
                clock.advance(Duration::from_secs(36_000));
            },
            pass: retain,
        },
        Scenario {
            name: "retention by size",
            config: forgetting().retention_bytes(2500),
            fill: many,
            pass: retain,
        },
        Scenario {
            name: "a raised start",
            config: forgetting(),
            fill: many,
            pass: |log| log.truncate_prefix(33),
        },
        Scenario {
            name: "compaction and retention",
            config: config()
                .cleanup_policy(CleanupPolicy::CompactAndDelete)
                .retention(hour),
            fill: few,
            pass: |log| {
                compact(log)?;
                retain(log)?;
                compact(log)
            },
        },
    ];
    if cfg!(feature = "lz4") {
        all.push(Scenario {
            name: "compressed batches",
            config: config().compression_type(Compression::Lz4),
            fill: |log, clock| {
                for batch in 0..15_u64 {
                    let entries: Vec<_> = (0..6_u64)
                        .map(|number| Entry {
                            key: format!("key {}", (batch * 5 + number) % 9).into_bytes(),
                            value: Some(format!("{batch} {number}").into_bytes()),
                            time: clock_now(clock),
                        })
                        .collect();
                    log.append_batch(entries.iter().map(Entry::record)).unwrap();
                    clock.advance(Duration::from_secs(1));
                }
            },
            pass: compact,
        });
    }
    all
}

#[test]
fn a_pass_that_is_cut_off_leaves_the_state_before_or_after() {
    let counts = Arc::new(Mutex::new(Counts::default()));
    for (number, scenario) in scenarios().iter().enumerate() {
        let before = *counts.lock();
        run(scenario, number as u64 + 1, &counts);
        let now = *counts.lock();
        println!(
            "{}: {} operations, {} states",
            scenario.name,
            now.operations - before.operations,
            now.states - before.states
        );
    }
    let met = *counts.lock();
    println!("compaction cuts: {met:?}, every one before or after");
    let wanted = Scale::asked().of(5_000, 50_000, 500_000);
    assert!(met.states >= wanted, "too few states");
    assert!(met.operations > 1000 && met.interrupted >= wanted / 5);
    assert!(met.gone_on > 100 && met.looked_at > 50);
}
