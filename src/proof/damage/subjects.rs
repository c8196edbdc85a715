//! Directories to be damaged: what they hold is known record by record.
//!
//! Knows nothing about damage.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::clock::{Clock, ManualClock};
use crate::disk::sim::Sim;
use crate::error::Result;
use crate::format::{BatchHeader, stamp};
use crate::log::{Log, open_alone_on};
use crate::proof::Rng;
use crate::recovery::OpenMode;
use crate::types::LogConfig;
use crate::types::{CleanupPolicy, Durability, Offset, Record, Start, Timestamp, WriteMode};

/// Where the log lies.
pub(in crate::proof) const DIR: &str = "/log";

/// What a record holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::proof) struct Held {
    pub(in crate::proof) time: Timestamp,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
}

pub(in crate::proof) type Records = BTreeMap<Offset, Held>;

/// A directory and what it holds.
#[derive(Clone)]
pub(in crate::proof) struct Subject {
    pub(in crate::proof) name: String,
    pub(in crate::proof) sim: Sim,
    pub(in crate::proof) config: LogConfig,
    pub(in crate::proof) records: Records,
    /// What it held before it was compacted.
    pub(in crate::proof) compacted_away: Records,
    /// Every record below it was flushed.
    pub(in crate::proof) flushed: Offset,
    /// A broker wrote it: no marks, no digests.
    pub(in crate::proof) foreign: bool,
    /// The same directory some time before, for copies that are out of date.
    pub(in crate::proof) earlier: Sim,
}

/// How a log came to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proof) enum End {
    Closed,
    Killed,
}

fn clock() -> Clock {
    Clock::Manual(ManualClock::at(Timestamp::from_millis(1_000_000)))
}

/// Opens the log of a directory, without any thread.
pub(in crate::proof) fn open(sim: &Sim, config: &LogConfig, mode: OpenMode) -> Result<Log> {
    let (disk, dir) = (sim.disk(), Path::new(DIR));
    open_alone_on(&disk, &clock(), dir, config.clone(), mode, true)
}

/// Everything that a log gives, up to the first error.
pub(in crate::proof) fn read_all(log: &Log) -> (Records, Result<()>) {
    let mut records = Records::new();
    let reader = match log.reader(Start::Earliest) {
        Ok(reader) => reader,
        Err(error) => return (records, Err(error)),
    };
    for record in reader {
        match record {
            Ok(record) => {
                let held = Held {
                    time: record.timestamp,
                    key: record.key().map(<[u8]>::to_vec),
                    value: record.value().map(<[u8]>::to_vec),
                };
                assert!(
                    records.insert(record.offset, held).is_none(),
                    "an offset came twice"
                );
            }
            Err(error) => return (records, Err(error)),
        }
    }
    (records, Ok(()))
}

/// Every file with its content.
pub(in crate::proof) fn contents(sim: &Sim) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = sim.files().into_iter();
    files
        .map(|(path, _)| {
            let content = sim.read(&path).unwrap();
            (path, content)
        })
        .collect()
}

/// Appends batches of a few records; keys come again and again.
fn append(log: &Log, batches: u64, rng: &mut Rng) {
    for _ in 0..batches {
        let records: Vec<_> = (0..=rng.below(4))
            .map(|_| {
                let at = log.end_offset() + rng.below(7);
                let time = Timestamp::from_millis(1_000_000 + 10 * i64::try_from(at).unwrap());
                let value: Vec<u8> = (0..10 + rng.below(60))
                    .map(|_| rng.next().to_be_bytes()[0])
                    .collect();
                (format!("key {}", rng.below(12)), value, time)
            })
            .collect();
        let lent = records
            .iter()
            .map(|(key, value, time)| Record::keyed(key, value).with_timestamp(*time));
        log.append_batch(lent).unwrap();
    }
}

/// A log of some segments, by what it is and how it ended.
fn build(name: &str, config: LogConfig, end: End, seed: u64, batches: u64) -> Subject {
    let sim = Sim::new();
    let mut rng = Rng(seed);
    sim.disk().create_dir(Path::new(DIR)).unwrap();
    let log = open(&sim, &config, OpenMode::Write).unwrap();
    append(&log, batches, &mut rng);
    log.flush().unwrap();
    let earlier = sim.process_crash();
    let (compacted_away, _) = read_all(&log);
    let compacts = config.cleanup_policy == CleanupPolicy::Compact;
    if compacts {
        log.compact().unwrap();
    }
    append(&log, batches / 2, &mut rng);
    log.close().unwrap();
    drop(log);
    let log = open(&sim, &config, OpenMode::Write).unwrap();
    append(&log, batches / 2, &mut rng);
    let flushed = log.flush().unwrap();
    let sim = match end {
        End::Closed => {
            log.close().unwrap();
            sim
        }
        End::Killed => {
            let found = sim.process_crash();
            log.abandon();
            found
        }
    };
    let mut subject = Subject {
        name: format!("{name}, {end:?}, seed {seed}"),
        sim,
        config,
        records: Records::new(),
        compacted_away,
        flushed,
        foreign: false,
        earlier,
    };
    subject.take_stock();
    subject
}

impl Subject {
    /// Notes what the directory holds, as it is.
    fn take_stock(&mut self) {
        let log = open(&self.sim.process_crash(), &self.config, OpenMode::Write).unwrap();
        let (records, read) = read_all(&log);
        read.unwrap();
        log.abandon();
        self.records = records;
    }

    /// The same as a broker would have written it: no marks, no digests, another leader epoch, and
    /// indexes of their full size, with zeros behind the last entry.
    fn into_foreign(mut self) -> Self {
        let found = Sim::new();
        found.disk().create_dir(Path::new(DIR)).unwrap();
        found.disk().sync_dir(Path::new("/")).unwrap();
        for (path, mut content) in contents(&self.sim) {
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("log") => restamp(&mut content, 5),
                Some("index") => content.resize(1024, 0),
                Some("timeindex") => content.resize(1020, 0),
                _ => continue,
            }
            found.write_raw(&path, &content).unwrap();
        }
        self.earlier = found.process_crash();
        self.sim = found;
        self.name = format!("of a broker: {}", self.name);
        self.flushed = 0;
        self.foreign = true;
        self.take_stock();
        self
    }
}

/// Gives every batch another leader epoch, which its checksum does not cover.
fn restamp(content: &mut [u8], epoch: i32) {
    let mut rest = content;
    while let Ok(header) = BatchHeader::parse(rest) {
        let (batch, after) = rest.split_at_mut(header.size);
        stamp(batch, header.base_offset, epoch);
        rest = after;
    }
}

/// The settings of a small log whose segments hold a few batches.
fn config(mode: WriteMode, segment_bytes: u64) -> LogConfig {
    LogConfig::default()
        .segment_bytes(segment_bytes)
        .index_interval_bytes(300)
        .write_mode(mode)
        .durability(Durability::Os)
}

/// Every kind of directory.
pub(in crate::proof) fn all(seed: u64, segment_bytes: u64, batches: u64) -> Vec<Subject> {
    let mut subjects = Vec::new();
    for end in [End::Closed, End::Killed] {
        let plain = config(WriteMode::Pwrite, segment_bytes);
        subjects.push(build("plain", plain.clone(), end, seed, batches));
        let mapped = config(WriteMode::Mapped, segment_bytes);
        let compacted = mapped.cleanup_policy(CleanupPolicy::Compact);
        subjects.push(build("compacted", compacted, end, seed, batches));
    }
    let foreign = config(WriteMode::Pwrite, segment_bytes);
    subjects.push(build("plain", foreign, End::Closed, seed, batches).into_foreign());
    subjects
}

/// The disk of a subject, for one trial.
pub(in crate::proof) fn copy(subject: &Subject) -> Sim {
    subject.sim.process_crash()
}
