//! Pull the plug: the power is cut before every operation of every scenario, with every kind of
//! outcome, and what is found must be what the history owes. Then again in the middle of the
//! recovery.
//!
//! Knows nothing about what the operations are. One run of a scenario meets every cut, for the disk
//! calls back before each change. What is checked of each state:
//!
//! 1. It opens by itself, and the history's rules hold. Under `Always` nothing is missing that a
//!    reader could see before the cut, nor anything below `flushed_offset()`, whatever the policy.
//! 2. Of some: opening again changes nothing; by offset and by time the right records are found;
//!    after more appends and another cut nothing is lost and nothing comes back; the files are as
//!    Kafka wants them after a close.
//! 3. Of some: the recovery itself is cut before each of its operations, and rule 1 holds again.

mod scenarios;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use scenarios::{Scenario, random_scenario, scenarios};

use super::history::{After, Breach, History};
use super::kafka_rules::check;
use super::rig::{Rig, Step, open};
use super::{Rng, Scale, Whereabouts};
use crate::clock::{Clock, ManualClock};
use crate::disk::sim::{Choice, Sim};
use crate::log::{Log, open_alone_on};
use crate::recovery::{OpenEvent, OpenMode};
use crate::sync::Mutex;
use crate::types::LogConfig;
use crate::types::{Durability, WriteMode};

/// What was met so far.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    scenarios: u64,
    states: u64,
    /// States of a cut in the middle of a recovery.
    interrupted: u64,
    /// States that were appended to and cut again.
    gone_on: u64,
    reopened: u64,
    kills: u64,
}

/// How thoroughly a run looks.
#[derive(Clone, Copy, Debug)]
struct Depth {
    /// One of so many states is looked at.
    one_of: u64,
    /// Random states a cut, besides the canonical ones.
    random: u64,
    /// All subsets, where there are at most so many changes.
    exhaustive: usize,
    /// One of so many states has its recovery cut.
    interrupt_one_of: u64,
}

/// A run of one scenario, as its watcher sees it.
struct Watch {
    name: String,
    config: LogConfig,
    clock: Arc<ManualClock>,
    history: Arc<Mutex<History>>,
    log: Arc<Mutex<Option<Log>>>,
    depth: Depth,
    counts: Arc<Mutex<Counts>>,
    rng: Rng,
}

impl Watch {
    /// Looks at what a power cut before this operation may leave.
    fn look(&mut self, sim: &Sim) {
        let at = sim.operations();
        let seed = self.rng.next();
        let states = sim
            .crash_states_canonical()
            .chain(sim.crash_states_random(seed, self.depth.random))
            .chain(sim.crash_states_exhaustive(self.depth.exhaustive));
        for state in states {
            if self.rng.one_in(self.depth.one_of) {
                let choice = state.born_of();
                self.meet(
                    &state,
                    &format!("power cut before operation {at}, {choice:?}"),
                );
            }
        }
        if self.rng.one_in(self.depth.one_of) {
            self.kill(&sim.process_crash(), at);
        }
    }

    fn meet(&mut self, state: &Sim, told: &str) {
        let name = self.name.clone();
        let _told = Whereabouts(|| format!("{name}: {told}"));
        self.counts.lock().states += 1;
        let untouched = state.process_crash();
        let history = self.history.lock().clone();
        let log = self.recover(state, told);
        self.hold(&history, &log, told);
        self.hold_set_aside(state, &log, told);
        let fail =
            |breach: Breach| panic!("{}: {told}: {breach}\n{:?}", self.name, log.open_report());
        if self.rng.one_in(5) {
            history.probe(&log, &mut self.rng).unwrap_or_else(fail);
        }
        match self.rng.below(12) {
            0 => self.again(state, log, told),
            1 => self.go_on(state, history, log, told),
            2 => {
                log.abandon();
                self.look_only(&untouched, &history, told);
            }
            _ => log.abandon(),
        }
        if self.rng.one_in(self.depth.interrupt_one_of) {
            self.interrupt(&untouched, told);
        }
    }

    fn recover(&self, state: &Sim, told: &str) -> Log {
        match open(state, &self.clock, &self.config) {
            Ok(log) => log,
            Err(error) => panic!("{}: {told}: it does not open: {error:?}", self.name),
        }
    }

    /// Rule 1.
    fn hold(&self, history: &History, log: &Log, told: &str) {
        if let Err(breach) = history.check(log, After::Power) {
            panic!(
                "{}: {told}: {breach}\n{history:?}\n{:?}",
                self.name,
                log.open_report()
            );
        }
        let Some(live) = &*self.log.lock() else {
            return;
        };
        if !history.is_truncating() {
            let end = log.end_offset();
            assert!(end >= live.flushed_offset(), "{told}: flushed, and gone");
            if self.config.durability == Durability::Always {
                assert!(
                    end >= live.high_watermark(),
                    "{told}: seen by readers, and gone"
                );
            }
        }
    }

    /// What was cut off is in quarantine, durably.
    fn hold_set_aside(&self, state: &Sim, log: &Log, told: &str) {
        for event in &log.open_report().events {
            let OpenEvent::TailSetAside {
                bytes, quarantine, ..
            } = event
            else {
                continue;
            };
            let kept = state.durable(quarantine).map(|kept| kept.len() as u64);
            assert_eq!(kept, Some(*bytes), "{}: {told}: {event:?}", self.name);
        }
    }

    fn kill(&mut self, state: &Sim, at: u64) {
        self.counts.lock().kills += 1;
        let told = format!("killed before operation {at}");
        let log = self.recover(state, &told);
        let history = self.history.lock().clone();
        if let Err(breach) = history.check(&log, After::Kill) {
            panic!("{}: {told}: {breach}", self.name);
        }
        log.abandon();
    }

    /// Opening again, after a kill and after a close, changes nothing.
    fn again(&mut self, state: &Sim, log: Log, told: &str) {
        self.counts.lock().reopened += 1;
        let mut history = self.history.lock().clone();
        history.settle(&log);
        let killed = state.process_crash();
        let log_again = self.recover(&killed, told);
        self.hold_all(&history, &log_again, told);
        log_again.abandon();
        let report = log.open_report().clone();
        log.close().unwrap();
        drop(log);
        let closed = contents(state);
        let log = self.recover(state, told);
        self.hold_all(&history, &log, told);
        assert!(
            log.open_report().clean,
            "{}: {told}: closed, and not clean",
            self.name
        );
        assert_eq!(
            contents(state),
            closed,
            "{}: {told}: changed by opening",
            self.name
        );
        log.abandon();
        check(state).unwrap_or_else(|breach| {
            panic!(
                "{}: {told}: {breach}\n{report:?}\n{:?}",
                self.name,
                state.files()
            );
        });
    }

    fn hold_all(&self, history: &History, log: &Log, told: &str) {
        if let Err(breach) = history.check(log, After::Kill) {
            panic!("{}: {told}: opened again: {breach}", self.name);
        }
        assert_eq!(
            log.open_report().quarantined_bytes,
            0,
            "{told}: set aside again"
        );
    }

    /// Appends to what was recovered, flushes, and cuts the power again.
    fn go_on(&mut self, state: &Sim, mut history: History, log: Log, told: &str) {
        history.settle(&log);
        let mut rig = Rig::resume(
            state.clone(),
            self.config.clone(),
            history,
            log,
            self.rng.next(),
        );
        let steps = [
            Step::Append {
                records: 1,
                bytes: 60,
            },
            Step::Append {
                records: 3,
                bytes: 200,
            },
        ];
        for step in steps {
            rig.step(step).unwrap();
        }
        if self.rng.one_in(2) {
            rig.step(Step::Flush).unwrap();
        }
        for choice in [Choice::None, Choice::All, Choice::Random(self.rng.next())] {
            self.counts.lock().gone_on += 1;
            let found = state.crash(choice);
            let log = self.recover(&found, told);
            if let Err(breach) = rig.history.lock().check(&log, After::Power) {
                panic!("{}: {told}: then appended, {choice:?}: {breach}", self.name);
            }
            log.abandon();
        }
        rig.abandon();
    }

    /// A read-only opening changes nothing and finds what is there.
    fn look_only(&self, state: &Sim, history: &History, told: &str) {
        let before = contents(state);
        let (dir, clock) = (
            Path::new(super::rig::DIR),
            Clock::Manual(Arc::clone(&self.clock)),
        );
        let config = self.config.clone();
        let opened = open_alone_on(&state.disk(), &clock, dir, config, OpenMode::Read, true);
        if let Ok(log) = opened {
            let held = history.check(&log, After::Power);
            if let (Err(breach), false) = (held, history.is_truncating()) {
                panic!("{}: {told}: read-only: {breach}", self.name);
            }
            log.abandon();
        }
        assert_eq!(
            contents(state),
            before,
            "{}: {told}: a reader wrote",
            self.name
        );
    }

    /// Rule 3.
    fn interrupt(&mut self, state: &Sim, told: &str) {
        let (history, config) = (self.history.lock().clone(), self.config.clone());
        let (clock, counts) = (Arc::clone(&self.clock), Arc::clone(&self.counts));
        let (name, told) = (self.name.clone(), told.to_owned());
        let mut rng = Rng(self.rng.next());
        state.on_change(move |sim| {
            let at = sim.operations();
            for found in sim
                .crash_states_canonical()
                .chain(sim.crash_states_random(at, 2))
            {
                if !rng.one_in(6) {
                    continue;
                }
                counts.lock().interrupted += 1;
                let told = format!("{told}; then before operation {at}, {:?}", found.born_of());
                let _told = Whereabouts(|| format!("{name}: {told}"));
                let log = open(&found, &clock, &config)
                    .unwrap_or_else(|error| panic!("{name}: {told}: does not open: {error:?}"));
                if let Err(breach) = history.check(&log, After::Power) {
                    panic!("{name}: {told}: {breach}");
                }
                log.abandon();
            }
        });
        self.recover(state, "interrupted, or not").abandon();
        state.stop_watching();
    }
}

/// Every file with its content.
fn contents(sim: &Sim) -> BTreeMap<String, Vec<u8>> {
    let files = sim.files().into_iter();
    files
        .map(|(path, _)| {
            let content = sim.read(&path).unwrap();
            (path.display().to_string(), content)
        })
        .collect()
}

/// Runs a scenario, looking at every cut.
fn run(scenario: &Scenario, seed: u64, depth: Depth, counts: &Arc<Mutex<Counts>>) {
    counts.lock().scenarios += 1;
    let name = format!(
        "{} ({:?}, seed {seed})",
        scenario.name, scenario.config.write_mode
    );
    let told = name.clone();
    let _told = Whereabouts(move || told.clone());
    let sim = Sim::new();
    let mut rig = Rig::new(sim, scenario.config.clone(), seed);
    let watch = |rig: &Rig, seed: u64| {
        let mut watch = Watch {
            name: name.clone(),
            config: rig.config.clone(),
            clock: Arc::clone(rig.clock()),
            history: Arc::clone(&rig.history),
            log: Arc::clone(&rig.log),
            depth,
            counts: Arc::clone(counts),
            rng: Rng(seed),
        };
        rig.sim.on_change(move |sim| watch.look(sim));
    };
    watch(&rig, seed);
    rig.open(After::Kill).unwrap();
    for (number, step) in scenario.steps.iter().enumerate() {
        let _told = Whereabouts(|| format!("step {number}: {step:?}"));
        rig.step(*step).unwrap();
        // After a kill the log lies on another disk.
        watch(&rig, seed ^ number as u64);
    }
    let log = rig.log.lock().take().unwrap();
    log.close().unwrap();
    rig.sim.stop_watching();
    rig.history.lock().promise(u64::MAX);
    let choices = [Choice::None, Choice::All, Choice::Random(seed)];
    for choice in choices {
        rig.sim = rig.sim.crash(choice);
        rig.open(After::Power).unwrap();
        assert!(rig.log().open_report().clean, "closed, and not clean");
        rig.abandon();
    }
}

pub(super) fn config(mode: WriteMode, durability: Durability) -> LogConfig {
    LogConfig::default()
        .segment_bytes(1024)
        .index_interval_bytes(200)
        .write_mode(mode)
        .durability(durability)
}

pub(super) const fn append(records: u8, bytes: u16) -> Step {
    Step::Append { records, bytes }
}

/// Runs the scenarios that are written down, and looks at one of so many states.
pub(super) fn run_written(one_of: u64) {
    let depth = Depth {
        one_of,
        random: 4,
        exhaustive: 0,
        interrupt_one_of: 100,
    };
    let counts = Arc::new(Mutex::new(Counts::default()));
    for (number, scenario) in scenarios().iter().enumerate() {
        run(scenario, number as u64, depth, &counts);
    }
}

#[test]
fn nothing_is_lost_or_invented_wherever_the_power_is_cut() {
    let scale = Scale::asked();
    let depth = Depth {
        one_of: scale.of(4, 2, 1),
        random: scale.of(6, 12, 100),
        exhaustive: 6,
        interrupt_one_of: scale.of(60, 240, 40),
    };
    let counts = Arc::new(Mutex::new(Counts::default()));
    for (number, scenario) in scenarios().iter().enumerate() {
        run(scenario, number as u64, depth, &counts);
    }
    let wanted = scale.of(100_000, 1_000_000, 20_000_000);
    let twice = scale.of(20_000, 200_000, 4_000_000);
    for seed in 1_000.. {
        let met = *counts.lock();
        if met.states >= wanted && met.interrupted + met.gone_on >= twice {
            break;
        }
        let scenario = random_scenario(seed);
        let _told = Whereabouts(|| format!("{:?}", scenario.steps));
        run(&scenario, seed, depth, &counts);
    }
    let met = *counts.lock();
    println!("crash: {met:?}, 0 lost, 0 invented, all opened");
    assert!(met.states >= wanted && met.interrupted + met.gone_on >= twice);
}
