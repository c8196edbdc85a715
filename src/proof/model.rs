//! The model: random operations, kills and power cuts on a log, compared with its history after
//! every one.
//!
//! Knows nothing about the log's inside. The steps come from proptest, so a failure shrinks to the
//! few that matter and is printed with its seed.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::Scale;
use super::history::After;
use super::rig::{DIR, Rig, Step};
use crate::disk::sim::{Choice, Sim};
use crate::sync::{AtomicUsize, Ordering};
use crate::types::LogConfig;
use crate::types::{Compression, Durability, TimestampType, WriteMode};

fn choices() -> impl Strategy<Value = Choice> {
    prop_oneof![
        Just(Choice::None),
        Just(Choice::All),
        Just(Choice::DataAlone),
        Just(Choice::NamesAlone),
        (0_usize..20).prop_map(Choice::Prefix),
        (0_usize..20).prop_map(Choice::AllBut),
        (0_usize..20).prop_map(Choice::Only),
        any::<u64>().prop_map(Choice::Random),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    let sizes = prop::sample::select(vec![0_u16, 20, 60, 150, 600]);
    prop_oneof![
        10 => (1_u8..6, sizes).prop_map(|(records, bytes)| Step::Append { records, bytes }),
        3 => Just(Step::Flush),
        1 => Just(Step::Tick),
        3 => Just(Step::Read),
        2 => (0_u16..12).prop_map(Step::Truncate),
        1 => (0_u16..12).prop_map(Step::Forget),
        1 => Just(Step::Reopen),
        1 => Just(Step::Kill),
        1 => choices().prop_map(Step::Cut),
    ]
}

fn configs() -> impl Strategy<Value = LogConfig> {
    let durability = prop::sample::select(vec![
        Durability::Os,
        Durability::Interval(Duration::from_secs(1)),
        Durability::Always,
    ]);
    let mode = prop::sample::select(vec![WriteMode::Pwrite, WriteMode::Auto, WriteMode::Mapped]);
    let segment = prop::sample::select(vec![1024_u64, 2048, 8192]);
    let interval = prop::sample::select(vec![1_u64, 200, 4096]);
    let codec = prop::sample::select(codecs());
    (durability, mode, segment, interval, codec).prop_map(
        |(durability, mode, segment_bytes, interval_bytes, codec)| {
            LogConfig::default()
                .durability(durability)
                .write_mode(mode)
                .segment_bytes(segment_bytes)
                .index_interval_bytes(interval_bytes)
                .compression_type(codec)
                .message_timestamp_type(TimestampType::CreateTime)
        },
    )
}

/// The codecs of this build; mostly none, as in life.
fn codecs() -> Vec<Compression> {
    let all = [
        (Compression::Gzip, cfg!(feature = "gzip")),
        (Compression::Snappy, cfg!(feature = "snappy")),
        (Compression::Lz4, cfg!(feature = "lz4")),
        (Compression::Zstd, cfg!(feature = "zstd")),
    ];
    let there = all.into_iter().filter(|(_, there)| *there);
    let mut codecs = vec![Compression::None; 4];
    codecs.extend(there.map(|(codec, _)| codec));
    codecs
}

/// Every operation is compared with the history by the rig; so is every opening.
#[test]
fn random_operations_do_what_their_history_says() {
    let done = AtomicUsize::new(0);
    let cases = u32::try_from(Scale::asked().of(600, 3_000, 60_000)).unwrap();
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    let histories = (
        configs(),
        prop::collection::vec(steps(), 20..80),
        any::<u64>(),
    );
    let outcome = runner.run(&histories, |(config, steps, seed)| {
        let sim = Sim::new();
        sim.disk().create_dir(std::path::Path::new(DIR)).unwrap();
        sim.disk().sync_dir(std::path::Path::new("/")).unwrap();
        let mut rig = Rig::new(sim, config, seed);
        rig.open(After::Kill).unwrap();
        for step in steps {
            rig.step(step).unwrap();
            done.fetch_add(1, Ordering::Relaxed);
        }
        rig.step(Step::Reopen).unwrap();
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    let done = done.load(Ordering::Relaxed);
    println!("model: {done} operations");
    assert!(done >= 20_000, "only {done} operations");
}
