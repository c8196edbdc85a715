//! The threads of the program: each counts what it does, and a watchdog sees that none stands
//! still. The first failure ends the run.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use crate::dice::Dice;

/// A thread that does nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(600);

/// What all threads have in common.
#[derive(Debug)]
pub(crate) struct Stage {
    seed: u64,
    began: Instant,
    length: Duration,
    failures: Mutex<Vec<String>>,
    ended: AtomicBool,
    beats: Mutex<Vec<Arc<Beat>>>,
    counts: Mutex<BTreeMap<String, u64>>,
    actors: AtomicU64,
    /// Threads with these words in their names are not started, to look for one kind of fault.
    skips: Vec<String>,
}

/// The pulse of one thread.
#[derive(Debug)]
struct Beat {
    name: String,
    doing: Mutex<(&'static str, Instant)>,
    over: AtomicBool,
}

/// One thread.
pub(crate) struct Actor<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) dice: Dice,
    beat: Arc<Beat>,
    counts: BTreeMap<&'static str, u64>,
}

/// Starts threads that end before it does.
#[derive(Clone, Copy)]
pub(crate) struct Acts<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    stage: &'scope Stage,
}

impl<'scope> Acts<'scope, '_> {
    pub(crate) fn start(self, name: &str, act: impl FnOnce(&mut Actor<'scope>) + Send + 'scope) {
        let stage = self.stage;
        if stage.skips.iter().any(|skipped| name.contains(skipped)) {
            return;
        }
        let name = name.to_owned();
        self.scope.spawn(move || {
            let mut actor = stage.actor(&name);
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                act(&mut actor);
            }));
            if outcome.is_err() {
                stage.fail(&name, "it panicked");
            }
        });
    }
}

impl Stage {
    pub(crate) fn new(seed: u64, length: Duration) -> Self {
        let skips = std::env::var("OTTLA_STRESS_SKIP").unwrap_or_default();
        Self {
            seed,
            began: Instant::now(),
            length,
            failures: Mutex::default(),
            ended: AtomicBool::new(false),
            beats: Mutex::default(),
            counts: Mutex::default(),
            actors: AtomicU64::new(0),
            skips: skips
                .split(',')
                .filter(|it| !it.is_empty())
                .map(str::to_owned)
                .collect(),
        }
    }

    /// Whether every thread is to come to its end.
    pub(crate) fn is_over(&self) -> bool {
        self.ended.load(Ordering::Acquire) || self.began.elapsed() >= self.length
    }

    pub(crate) fn has_failed(&self) -> bool {
        !self.failures.lock().unwrap().is_empty()
    }

    /// Has every thread come to its end.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Something is wrong with the crate.
    pub(crate) fn fail(&self, who: &str, what: impl AsRef<str>) {
        let mut failures = self.failures.lock().unwrap();
        failures.push(format!(
            "{:?} {who}: {}",
            self.began.elapsed(),
            what.as_ref()
        ));
        drop(failures);
        self.end();
    }

    fn actor(&self, name: &str) -> Actor<'_> {
        let number = self.actors.fetch_add(1, Ordering::Relaxed);
        let beat = Arc::new(Beat {
            name: name.to_owned(),
            doing: Mutex::new(("beginning", Instant::now())),
            over: AtomicBool::new(false),
        });
        self.beats.lock().unwrap().push(Arc::clone(&beat));
        Actor {
            stage: self,
            dice: Dice(self.seed.wrapping_mul(0x1_0000_0001).wrapping_add(number)),
            beat,
            counts: BTreeMap::new(),
        }
    }

    /// Runs threads, and their threads, under the watchdog until all have ended.
    pub(crate) fn watched<'env>(&'env self, acts: impl FnOnce(Acts<'_, 'env>)) {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let watchdog = scope.spawn(|| self.watch(&over));
            self.threads(acts);
            over.store(true, Ordering::Release);
            watchdog.thread().unpark();
        });
    }

    /// Runs threads until all have ended.
    pub(crate) fn threads<'env>(&'env self, acts: impl FnOnce(Acts<'_, 'env>)) {
        thread::scope(|scope| acts(Acts { scope, stage: self }));
    }

    fn watch(&self, over: &AtomicBool) {
        while !over.load(Ordering::Acquire) {
            thread::park_timeout(Duration::from_secs(1));
            let mut beats = self.beats.lock().unwrap();
            beats.retain(|beat| !beat.over.load(Ordering::Acquire));
            let hangs = |beat: &Arc<Beat>| beat.doing.lock().unwrap().1.elapsed() > PATIENCE;
            if beats.iter().any(hangs) {
                for beat in beats.iter() {
                    let (doing, since) = *beat.doing.lock().unwrap();
                    eprintln!("{}: {doing} for {:?}", beat.name, since.elapsed());
                }
                eprintln!("stress: a thread stands still, seed {}", self.seed);
                std::process::abort();
            }
        }
    }

    /// Prints what was done; panics when something failed.
    pub(crate) fn report(&self) {
        let counts = self.counts.lock().unwrap();
        let total: u64 = counts.values().sum();
        let each: Vec<_> = counts
            .iter()
            .map(|(what, count)| format!("{what} {count}"))
            .collect();
        let seed = self.seed;
        println!(
            "stress: {:?}, seed {seed}, {total} operations: {}",
            self.began.elapsed(),
            each.join(", ")
        );
        let failures = self.failures.lock().unwrap();
        assert!(failures.is_empty(), "seed {seed}:\n{}", failures.join("\n"));
    }
}

impl Actor<'_> {
    /// Says what comes next: a call that must return.
    pub(crate) fn does(&mut self, what: &'static str) {
        *self.beat.doing.lock().unwrap() = (what, Instant::now());
        *self.counts.entry(what).or_default() += 1;
    }

    /// Something is wrong with the crate.
    pub(crate) fn fail(&self, what: impl AsRef<str>) {
        let doing = self.beat.doing.lock().unwrap().0;
        let name = &self.beat.name;
        self.stage.fail(&format!("{name} ({doing})"), what);
    }

    /// A check of a reader: what it says is a failure.
    pub(crate) fn check<T>(&self, found: Result<T, impl Debug>) -> Option<T> {
        found.map_err(|error| self.fail(format!("{error:?}"))).ok()
    }

    pub(crate) fn rest(&mut self, at_most: Duration) {
        let micros = u64::try_from(at_most.as_micros()).unwrap_or(0);
        thread::sleep(Duration::from_micros(self.dice.below(micros)));
    }
}

impl Drop for Actor<'_> {
    fn drop(&mut self) {
        self.beat.over.store(true, Ordering::Release);
        let mut counts = self.stage.counts.lock().unwrap();
        for (what, count) in &self.counts {
            *counts.entry((*what).to_owned()).or_default() += count;
        }
    }
}
