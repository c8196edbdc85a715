//! Everything at once, for as long as it is told: appends under every durability, readers of every
//! kind, truncation at both ends, retention, compaction, topics that come and go, closing and
//! opening again, and read-only openers in this process and in another one, with followers that
//! wait for what is appended.
//!
//! Knows nothing about the crate's inside. Every record says who wrote it and in which order, so
//! any reader can tell a torn, a replaced and a misplaced record by itself. What is owed:
//!
//! 1. No call fails, except where its documentation says so: a log that is being closed, an offset
//!    that was just deleted, a topic that is gone. A healthy log is never called damaged.
//! 2. What was acknowledged, and was not truncated or deleted since, is there after a close.
//! 3. Every call returns: a watchdog ends the process when a thread stands still.
//!
//! ```text
//! cargo test --test stress                                   a few seconds
//! OTTLA_STRESS_SECONDS=60 RUSTFLAGS="--cfg ottla_pauses" \
//!     CARGO_TARGET_DIR=target/pauses cargo test --test stress
//! ```
//!
//! With `ottla_pauses` the crate pauses at random before calls of the system. `OTTLA_STRESS_SEED`
//! repeats the choices of a run, though not the order of its threads. `OTTLA_STRESS_SKIP` leaves
//! threads out by words of their names: `verifier,read-only,process`.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking and has a clock of its own"
)]

mod broker;
mod dice;
mod lives;
mod outside;
mod payload;
mod stage;

use std::time::{Duration, SystemTime};

use stage::Stage;

/// A number from the environment.
fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn everything_at_once_and_nothing_goes_wrong() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let by_clock = now.map_or(7, |now| u64::from(now.subsec_nanos()));
    let seed = asked("OTTLA_STRESS_SEED").unwrap_or(by_clock);
    let seconds = asked("OTTLA_STRESS_SECONDS").unwrap_or(4);
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let stage = Stage::new(seed, Duration::from_secs(seconds));
    let dir = &scratch.path().to_path_buf();
    stage.watched(|acts| {
        acts.start("a plain log", |actor| {
            lives::run(actor, &dir.join("plain"), lives::Kind::Plain);
        });
        acts.start("a compacted log", |actor| {
            lives::run(actor, &dir.join("compacted"), lives::Kind::Compacted);
        });
        acts.start("a broker", |actor| broker::run(actor, &dir.join("root")));
        acts.start("another process", |actor| outside::run(actor, dir));
        acts.start("another process of one root", |actor| {
            outside::run(actor, &dir.join("root"));
        });
    });
    if stage.has_failed() {
        // To show why.
        println!(
            "stress: what is there stays in {}",
            scratch.keep().display()
        );
    }
    stage.report();
}

#[test]
fn looks_from_another_process() {
    outside::child();
}
