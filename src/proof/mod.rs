//! The proofs: suites that run the house on the simulated disk and try to make it lose or invent
//! something. Compiled for the crate's own tests alone.
//!
//! Knows nothing that a user of the crate does not know, but how to cut the power: what a log owes
//! is written down once, in `history`, from what its calls answered, and never read off its state.
//!
//! - `model`: random operations, kills and power cuts against that history.
//! - `compaction`: the same two for logs that forget and compact: a pass that is cut off leaves the
//!   state before or after.
//! - `crash`: a power cut before every operation of every scenario, with every kind of outcome, and
//!   a second one in the middle of the recovery.
//! - `faults`: every operation fails, once and for ever, in every way.
//! - `full`: a broker whose disk is full.
//! - `backup`: a power cut, and a failing call, at every operation of a backup.
//! - `regressions`: what they found, with its story.
//! - `schedules`: every thread stops anywhere, under a model checker.
//! - `sabotage`: each safeguard is left out once, and a suite must fail.
//! - `flips`: every bit of every file is flipped.
//! - `damage`: every kind of file, damaged in every way, and repaired.
//!
//! Plain `cargo test` runs a tenth of what `OTTLA_PROOF=ci` runs; `OTTLA_PROOF=soak` runs more.
//! Each suite prints how much it did and fails when that was too little.

#![expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::too_many_lines,
    reason = "numbers of a test, which are made small"
)]

mod backup;
mod compaction;
mod crash;
mod damage;
mod faults;
mod flips;
mod full;
mod history;
mod kafka_rules;
mod model;
mod regressions;
mod rig;
mod sabotage;
#[cfg(ottla_shuttle)]
mod schedules;

/// How much is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scale {
    /// A tenth, on every `cargo test`.
    Plain,
    /// The figures that are promised.
    Ci,
    /// As much as there is time for.
    Soak,
}

impl Scale {
    /// What the environment asks for.
    fn asked() -> Self {
        match std::env::var("OTTLA_PROOF").as_deref() {
            Ok("ci") => Self::Ci,
            Ok("soak") => Self::Soak,
            _ => Self::Plain,
        }
    }

    /// The figure for this scale.
    fn of(self, plain: u64, ci: u64, soak: u64) -> u64 {
        match self {
            Self::Plain => plain,
            Self::Ci => ci,
            Self::Soak => soak,
        }
    }
}

/// A small generator, the same for ever (`SplitMix64`).
#[derive(Clone, Copy, Debug)]
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// True once in so many times.
    fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[crate::types::to_usize(self.below(from.len() as u64))]
    }
}

/// Says where a suite was when the code under test panicked.
struct Whereabouts<F: Fn() -> String>(F);

impl<F: Fn() -> String> Drop for Whereabouts<F> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("at the time: {}", (self.0)());
        }
    }
}
