//! Random histories of a log that forgets and compacts: every operation, every setting that can be
//! changed, jumping clocks, kills and power cuts.
//!
//! Knows nothing about what an operation does inside. What is owed is the oracle's.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::super::rig::{DIR, still_clock};
use super::super::{Rng, Scale, Whereabouts};
use super::oracle::{BATCH_RECORDS_MAX, Entry, Oracle, probe, view};
use crate::clock::{Clock, ManualClock};
use crate::disk::sim::{Choice, Sim};
use crate::log::{Log, open_alone_on};
use crate::recovery::OpenMode;
use crate::types::LogConfig;
use crate::types::{
    CleanupPolicy, Compression, Durability, Offset, Timestamp, TimestampType, WriteMode,
};

const HOUR: Duration = Duration::from_secs(3600);

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    histories: u64,
    steps: u64,
    appended: u64,
    compactions: u64,
    dropped: u64,
    rounds: u64,
    retentions: u64,
    forgotten: u64,
    kills: u64,
    cuts: u64,
    jumps: u64,
}

struct History {
    sim: Sim,
    clock: Arc<ManualClock>,
    /// The largest time that the clock ever showed.
    latest: Timestamp,
    config: LogConfig,
    log: Log,
    oracle: Oracle,
    start: Offset,
    rng: Rng,
    counts: Counts,
}

fn codecs() -> Vec<Compression> {
    let mut all = vec![Compression::None];
    for (built, codec) in [
        (cfg!(feature = "gzip"), Compression::Gzip),
        (cfg!(feature = "snappy"), Compression::Snappy),
        (cfg!(feature = "lz4"), Compression::Lz4),
        (cfg!(feature = "zstd"), Compression::Zstd),
    ] {
        all.extend(built.then_some(codec));
    }
    all
}

fn random_config(rng: &mut Rng) -> LogConfig {
    let durability = [
        Durability::Os,
        Durability::Interval(Duration::from_secs(1)),
        Durability::Always,
    ];
    let policies = [CleanupPolicy::Compact, CleanupPolicy::CompactAndDelete];
    LogConfig::default()
        .segment_bytes(rng.pick(&[1024, 2048, 4096, 16384]))
        .index_interval_bytes(rng.pick(&[1, 200, 4096]))
        .write_mode(rng.pick(&[WriteMode::Pwrite, WriteMode::Auto]))
        .durability(rng.pick(&durability))
        .cleanup_policy(rng.pick(&policies))
        .delete_retention(rng.pick(&[Duration::ZERO, HOUR]))
        .dedupe_buffer_bytes(rng.pick(&[1024, 1024, 1 << 20]))
        .compression_type(rng.pick(&codecs()))
        .message_timestamp_type(rng.pick(&[
            TimestampType::CreateTime,
            TimestampType::CreateTime,
            TimestampType::LogAppendTime,
        ]))
        .retention(rng.pick(&[None, Some(2 * HOUR), Some(Duration::MAX)]))
        .retention_bytes(rng.pick(&[None, None, Some(6000), Some(u64::MAX)]))
        .min_compaction_lag(rng.pick(&[Duration::ZERO, Duration::ZERO, HOUR / 2]))
        .max_compaction_lag(rng.pick(&[None, Some(HOUR)]))
        .min_cleanable_dirty_ratio(rng.pick(&[0.0, 0.5]))
}

fn open(sim: &Sim, clock: &Arc<ManualClock>, config: &LogConfig) -> Log {
    let clock = Clock::Manual(Arc::clone(clock));
    let (dir, mode) = (Path::new(DIR), OpenMode::Write);
    open_alone_on(&sim.disk(), &clock, dir, config.clone(), mode, true).expect("it opens")
}

impl History {
    fn new(seed: u64) -> Self {
        let mut rng = Rng(seed);
        let (sim, clock) = (Sim::new(), still_clock());
        let config = random_config(&mut rng);
        let log = open(&sim, &clock, &config);
        let latest = Clock::Manual(Arc::clone(&clock)).now();
        sim.set_now(latest);
        Self {
            sim,
            clock,
            latest,
            config,
            log,
            oracle: Oracle::default(),
            start: 0,
            rng,
            counts: Counts::default(),
        }
    }

    fn now(&self) -> Timestamp {
        Clock::Manual(Arc::clone(&self.clock)).now()
    }

    fn step(&mut self) {
        self.counts.steps += 1;
        match self.rng.below(40) {
            0..18 => self.append(),
            18..23 => self.compact(),
            23..26 => self.retain(),
            26..28 => self.truncate(),
            28 => self.forget(),
            29..32 => self.pass_time(),
            32 => self.reconfigure(),
            33 => drop(self.log.flush().unwrap()),
            34 => self.jump(),
            35 => self.reopen(),
            36 | 37 => self.kill(),
            38 => self.cut(),
            _ => self.log.run_flusher(),
        }
        self.check();
    }

    fn check(&mut self) {
        let start = self.log.start_offset();
        assert!(start >= self.start, "the start went back");
        self.start = start;
        assert_eq!(self.log.end_offset(), self.oracle.end(), "another end");
        if self.log.high_watermark() < self.log.end_offset() {
            return;
        }
        let found = view(&self.log);
        self.oracle.check(&found, start, self.latest);
        let times: Vec<_> = (0..3)
            .map(|_| {
                self.now()
                    .minus(Duration::from_secs(self.rng.below(20_000)))
            })
            .collect();
        probe(&self.log, &found, &mut self.rng, &times);
    }

    fn entry(&mut self) -> Entry {
        let key = format!("key {}", self.rng.below(60)).into_bytes();
        let length = crate::types::to_usize(self.rng.below(100));
        let value = format!("{:length$}", self.rng.next()).into_bytes();
        let wander = Duration::from_secs(self.rng.below(4000));
        let time = match self.rng.below(50) {
            0 => Timestamp::NONE,
            1 => self.now().plus(wander),
            2..15 => self.now().minus(wander),
            _ => self.now(),
        };
        Entry {
            key,
            value: (!self.rng.one_in(6)).then_some(value),
            time,
        }
    }

    fn append(&mut self) {
        let count = if self.rng.one_in(3) {
            self.rng.below(BATCH_RECORDS_MAX) + 1
        } else {
            1
        };
        let mut entries: Vec<_> = (0..count).map(|_| self.entry()).collect();
        self.log
            .append_batch(entries.iter().map(Entry::record))
            .unwrap();
        self.counts.appended += count;
        let append_time = self.config.message_timestamp_type == TimestampType::LogAppendTime;
        for entry in &mut entries {
            if append_time {
                entry.time = self.now();
            }
        }
        self.oracle.appended.extend(entries);
        self.clock.advance(Duration::from_secs(self.rng.below(30)));
        self.saw_time();
    }

    fn saw_time(&mut self) {
        self.latest = self.latest.max(self.now());
        self.sim.set_now(self.now());
    }

    fn compact(&mut self) {
        let now = self.now();
        let report = if self.rng.one_in(3) {
            self.log.compact_if_worth_it().unwrap()
        } else {
            Some(self.log.compact().unwrap())
        };
        let Some(report) = report else { return };
        self.counts.compactions += 1;
        self.counts.dropped += report.records_dropped;
        self.counts.rounds += report.rounds;
        let retention = self.config.delete_retention;
        self.oracle.cleaned(report.cleaned_to, now, retention);
        if self.log.high_watermark() == self.log.end_offset() {
            self.oracle.check_compacted(&view(&self.log));
        }
        for segment in self.log.segments() {
            let most = self.config.segment_bytes.max(16384);
            assert!(segment.size_bytes <= most, "{segment:?}");
        }
    }

    fn retain(&mut self) {
        let (before, was) = (view(&self.log), self.log.start_offset());
        let segments = self.log.segments();
        let report = self.log.apply_retention().unwrap();
        self.counts.retentions += 1;
        let start = self.log.start_offset();
        assert_eq!(report.start_offset, start);
        self.counts.forgotten += start - was;
        let policy = self.config.cleanup_policy;
        if !policy.deletes() {
            assert_eq!(start, was, "it only compacts");
        }
        let by_size = self
            .config
            .retention_bytes
            .is_some_and(|bytes| bytes < u64::MAX);
        if let (Some(age), false) = (self.config.retention, by_size) {
            let (now, oldest) = (self.now(), self.now().minus(age));
            // With a record of the future in it, a segment is judged by the time of its file.
            let by_file = |at: Offset| {
                segments.iter().any(|segment| {
                    let holds = segment.base_offset <= at && at < segment.next_offset;
                    holds && segment.newest.is_none_or(|newest| newest > now)
                })
            };
            for (at, entry) in before.range(..start) {
                let old = entry.time < oldest || by_file(*at);
                assert!(old, "forgotten: {at}, which is too young");
            }
        }
    }

    fn truncate(&mut self) {
        let (start, end) = (self.log.start_offset(), self.log.end_offset());
        let to = end.saturating_sub(self.rng.below(12)).max(start);
        self.log.truncate(to).unwrap();
        self.oracle.truncated(to);
    }

    fn forget(&mut self) {
        let (start, end) = (self.log.start_offset(), self.log.high_watermark());
        let to = (start + self.rng.below(20)).min(end);
        self.log.truncate_prefix(to).unwrap();
        assert_eq!(self.log.start_offset(), to.max(start));
    }

    fn pass_time(&mut self) {
        let seconds = self.rng.pick(&[1, 60, 1800, 4000]);
        self.clock.advance(Duration::from_secs(seconds));
        self.saw_time();
    }

    /// A clock that jumps back a year or forward ten, and then shows the right time again.
    fn jump(&mut self) {
        self.counts.jumps += 1;
        let now = self.now();
        let year = 365 * 24 * HOUR;
        let forward = self.rng.one_in(2);
        if !self.config.cleanup_policy.deletes() || self.config.retention.is_none() {
            let there = if forward {
                now.plus(10 * year)
            } else {
                now.minus(year)
            };
            self.clock.set_wall(there);
            self.saw_time();
            self.append();
            self.compact();
        } else if !forward {
            self.clock.set_wall(now.minus(year));
            self.sim.set_now(now.minus(year));
            self.retain();
        }
        self.clock.set_wall(now);
        self.sim.set_now(now);
    }

    fn reconfigure(&mut self) {
        let other = random_config(&mut self.rng);
        self.config = other
            .durability(self.config.durability)
            .write_mode(self.config.write_mode);
        self.log.reconfigure(self.config.clone()).unwrap();
    }

    fn open_again(&mut self) {
        self.log = open(&self.sim, &self.clock, &self.config);
        // How far it was compacted may be forgotten, but nothing that follows from it.
        let report = self.log.open_report();
        assert_eq!(report.quarantined_bytes, 0, "{report:?}");
    }

    fn reopen(&mut self) {
        self.log.close().unwrap();
        self.open_again();
        assert!(self.log.open_report().clean, "{:?}", self.log.open_report());
    }

    fn kill(&mut self) {
        self.counts.kills += 1;
        let next = self.sim.process_crash();
        self.log.clone().abandon();
        self.sim = next;
        self.open_again();
    }

    fn cut(&mut self) {
        self.counts.cuts += 1;
        let flushed = self.log.flushed_offset();
        let next = self.sim.crash(Choice::Random(self.rng.next()));
        self.log.clone().abandon();
        self.sim = next;
        self.log = open(&self.sim, &self.clock, &self.config);
        let end = self.log.end_offset();
        assert!(
            (flushed..=self.oracle.end()).contains(&end),
            "flushed, and lost"
        );
        self.oracle.truncated(end);
    }
}

#[test]
fn whatever_happens_to_it_a_compacted_log_keeps_the_newest_of_every_key() {
    let wanted = Scale::asked().of(20_000, 200_000, 5_000_000);
    let mut all = Counts::default();
    let only = std::env::var("OTTLA_PROOF_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    for seed in only.unwrap_or(1_u64).. {
        let _told = Whereabouts(|| format!("OTTLA_PROOF_SEED={seed}"));
        let mut history = History::new(seed);
        for number in 0..80 {
            let _told = Whereabouts(|| format!("step {number}"));
            history.step();
        }
        let met = history.counts;
        all.histories += 1;
        all.steps += met.steps;
        all.appended += met.appended;
        all.compactions += met.compactions;
        all.dropped += met.dropped;
        all.rounds += met.rounds;
        all.retentions += met.retentions;
        all.forgotten += met.forgotten;
        all.kills += met.kills;
        all.cuts += met.cuts;
        all.jumps += met.jumps;
        if all.steps >= wanted || only.is_some() {
            break;
        }
    }
    println!("compaction histories: {all:?}");
    assert!(all.steps >= wanted || only.is_some());
}
