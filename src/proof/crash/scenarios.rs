//! What is done to a log before the power is cut: written down, and at random.
//!
//! Knows nothing about what must be there afterwards.

use std::time::Duration;

use super::super::Rng;
use super::super::rig::Step;
use super::{append, config};
use crate::disk::sim::Choice;
use crate::types::{Compression, Durability, LogConfig, WriteMode};

/// A scenario: a log's settings, and what is done with it.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) config: LogConfig,
    pub(super) steps: Vec<Step>,
}

/// The scenarios that are written down, each with both ways of writing.
pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    for mode in [WriteMode::Pwrite, WriteMode::Auto] {
        let mut add = |name, config, steps: &[Step]| {
            all.push(Scenario {
                name,
                config,
                steps: steps.to_vec(),
            });
        };
        let os = config(mode, Durability::Os);
        let interval = config(mode, Durability::Interval(Duration::from_secs(1)));
        let always = config(mode, Durability::Always);
        let (one, few, big) = (append(1, 40), append(3, 100), append(2, 700));
        let flush = Step::Flush;
        add(
            "append and flush",
            os.clone(),
            &[one, one, flush, few, one, flush, one],
        );
        add(
            "rolls",
            os.clone(),
            &[few, few, few, one, few, big, few, flush, few, few, few],
        );
        add(
            "large batches",
            os.clone().segment_bytes(8192),
            &[big, append(5, 900), flush, big, one],
        );
        add(
            "interval",
            interval.clone(),
            &[
                few,
                Step::Tick,
                few,
                one,
                Step::Tick,
                few,
                few,
                Step::Tick,
                few,
                few,
            ],
        );
        add(
            "always",
            always.clone(),
            &[one, few, one, few, few, big, one],
        );
        let truncate = Step::Truncate;
        add(
            "truncate in a batch",
            os.clone(),
            &[few, few, flush, few, truncate(2), one, truncate(1), few],
        );
        add(
            "truncate segments",
            os.clone(),
            &[
                few,
                few,
                few,
                few,
                few,
                few,
                truncate(10),
                few,
                flush,
                truncate(3),
                few,
                flush,
            ],
        );
        add(
            "truncate all",
            always.clone(),
            &[few, few, few, few, truncate(1000), one, few],
        );
        let forget = Step::Forget;
        add(
            "forget",
            os.clone(),
            &[
                few,
                few,
                few,
                few,
                forget(4),
                few,
                few,
                forget(6),
                few,
                forget(1000),
                one,
                flush,
            ],
        );
        add(
            "forget what is not flushed",
            os.clone(),
            &[few, forget(2), one, flush, few, forget(3), truncate(1), one],
        );
        add(
            "close",
            os.clone(),
            &[
                few,
                few,
                few,
                Step::Reopen,
                few,
                Step::Reopen,
                Step::Reopen,
                few,
                few,
                flush,
            ],
        );
        add(
            "kill",
            interval,
            &[
                few,
                few,
                Step::Kill,
                few,
                few,
                flush,
                one,
                Step::Kill,
                few,
                flush,
                Step::Kill,
            ],
        );
        let cut = |seed| Step::Cut(Choice::Random(seed));
        add(
            "cut and go on",
            os.clone(),
            &[
                few,
                few,
                flush,
                few,
                few,
                cut(1),
                few,
                one,
                flush,
                few,
                cut(2),
                few,
                flush,
            ],
        );
        add(
            "truncate and cut",
            os.clone(),
            &[
                few,
                few,
                few,
                few,
                truncate(5),
                few,
                cut(3),
                few,
                flush,
                truncate(4),
                cut(4),
                few,
            ],
        );
        add(
            "everything",
            always.segment_bytes(2048),
            &[
                few,
                forget(2),
                big,
                truncate(1),
                few,
                Step::Tick,
                few,
                Step::Reopen,
                few,
                cut(5),
                few,
            ],
        );
    }
    all
}

/// A scenario of random steps.
pub(super) fn random_scenario(seed: u64) -> Scenario {
    let mut rng = Rng(seed);
    let durability = rng.pick(&[
        Durability::Os,
        Durability::Os,
        Durability::Interval(Duration::from_secs(1)),
        Durability::Always,
    ]);
    let mode = rng.pick(&[WriteMode::Pwrite, WriteMode::Auto, WriteMode::Mapped]);
    let config = config(mode, durability)
        .segment_bytes(rng.pick(&[1024, 2048, 8192]))
        .index_interval_bytes(rng.pick(&[1, 200, 4096]))
        .compression_type(if cfg!(feature = "lz4") && rng.one_in(4) {
            Compression::Lz4
        } else {
            Compression::None
        });
    let steps = (0..8 + rng.below(8))
        .map(|_| random_step(&mut rng))
        .collect();
    Scenario {
        name: "random",
        config,
        steps,
    }
}

fn random_step(rng: &mut Rng) -> Step {
    match rng.below(20) {
        0..9 => append(1 + rng.below(4) as u8, rng.pick(&[20, 60, 150, 600])),
        9..12 => Step::Flush,
        12 => Step::Tick,
        13 | 14 => Step::Truncate(1 + rng.below(8) as u16),
        15 => Step::Forget(1 + rng.below(6) as u16),
        16 => Step::Read,
        17 => Step::Reopen,
        18 => Step::Kill,
        _ => Step::Cut(Choice::Random(rng.next())),
    }
}
