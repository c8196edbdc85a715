//! Any bytes as the life of a log: appends, truncations, reads, kills and power cuts, against a
//! plain list of what was appended.
//!
//! Knows nothing about the log's inside; what it owes is what the public documentation says.
//!
//! Input: a byte of settings, and then two bytes a step: what to do, and how much.

use std::collections::BTreeSet;
use std::path::Path;

use crate::clock::Clock;
use crate::disk::sim::{Choice, Sim};
use crate::error::{Error, Result};
use crate::log::{Log, open_alone_on};
use crate::recovery::OpenMode;
use crate::types::LogConfig;
use crate::types::{Compression, Durability, Offset, Record, Start, WriteMode, to_u64, to_usize};

use super::sure;

/// Steps of one life.
const STEPS_MAX: usize = 256;

/// Lives through what the bytes say.
pub fn log_ops(data: &[u8]) {
    let Some((settings, steps)) = data.split_first() else {
        return;
    };
    let mut life = Life::new(*settings);
    for step in steps.chunks_exact(2).take(STEPS_MAX) {
        if let [what, how] = step {
            life.step(*what, *how);
        }
    }
    life.close_and_open();
}

/// How the log came to be opened again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Kill,
    PowerCut,
}

/// A log and what was done to it.
struct Life {
    sim: Sim,
    config: LogConfig,
    log: Log,
    /// The values from offset 0 on, those below the start too.
    values: Vec<Vec<u8>>,
    /// Where batches end.
    ends: BTreeSet<Offset>,
    start: Offset,
    /// Everything below survives a power cut.
    promised: Offset,
    serial: u64,
}

fn config(settings: u8) -> LogConfig {
    let durability = if settings & 1 == 0 {
        Durability::Os
    } else {
        Durability::Always
    };
    let mode = if settings & 2 == 0 {
        WriteMode::Pwrite
    } else {
        WriteMode::Mapped
    };
    let packed = settings & 4 != 0 && cfg!(feature = "lz4");
    LogConfig::default()
        .durability(durability)
        .write_mode(mode)
        .segment_bytes(1024 << (settings >> 3 & 3))
        .index_interval_bytes(if settings & 32 == 0 { 100 } else { 4096 })
        .compression_type(if packed {
            Compression::Lz4
        } else {
            Compression::None
        })
}

fn open(sim: &Sim, config: &LogConfig) -> Result<Log> {
    let (clock, dir) = (Clock::System, Path::new("/log"));
    open_alone_on(
        &sim.disk(),
        &clock,
        dir,
        config.clone(),
        OpenMode::Write,
        true,
    )
}

impl Life {
    fn new(settings: u8) -> Self {
        let (sim, config) = (Sim::new(), config(settings));
        let log = sure("a new log opens", open(&sim, &config));
        Self {
            sim,
            config,
            log,
            values: Vec::new(),
            ends: BTreeSet::from([0]),
            start: 0,
            promised: 0,
            serial: 0,
        }
    }

    fn end(&self) -> Offset {
        to_u64(self.values.len())
    }

    fn step(&mut self, what: u8, how: u8) {
        match what % 13 {
            0..=3 => self.append(1, usize::from(how) * 4),
            4 | 5 => self.append(1 + how % 8, 60),
            6 => self.flush(),
            7 => self.truncate(how % 16),
            8 => self.forget(how % 16),
            9 => self.read(how),
            10 => self.close_and_open(),
            11 => {
                let next = self.sim.process_crash();
                self.go_on_with(next, After::Kill);
            }
            _ => {
                let next = self.sim.crash(choice(how));
                self.go_on_with(next, After::PowerCut);
            }
        }
        assert_eq!(self.log.end_offset(), self.end());
        assert_eq!(self.log.start_offset(), self.start);
        let flushed = self.log.flushed_offset();
        assert!(flushed >= self.promised.min(self.end()) && flushed <= self.end());
        self.promised = self.promised.max(flushed);
    }

    fn append(&mut self, count: u8, bytes: usize) {
        let before = self.end();
        for _ in 0..count {
            self.serial += 1;
            let mut value = format!("{};", self.serial).into_bytes();
            value.resize(bytes.max(value.len()), self.serial.to_le_bytes()[0]);
            self.values.push(value);
        }
        let new = self.values.get(to_usize(before)..).unwrap_or_default();
        let appended = match new {
            [one] => self.log.append(Record::new(one)).map(|at| at..at + 1),
            many => self.log.append_batch(many.iter().map(Record::new)),
        };
        let appended = sure("an append", appended);
        assert_eq!(appended, before..self.end());
        self.ends.insert(self.end());
        if self.config.durability == Durability::Always {
            self.promised = self.end();
        }
    }

    fn flush(&mut self) {
        self.promised = sure("a flush", self.log.flush());
        assert_eq!(self.promised, self.end());
    }

    fn truncate(&mut self, count: u8) {
        let to = self.end().saturating_sub(count.into()).max(self.start);
        sure("a truncation", self.log.truncate(to));
        self.cut(to);
    }

    fn cut(&mut self, to: Offset) {
        self.values.truncate(to_usize(to));
        self.ends.retain(|end| *end < to);
        self.ends.insert(to);
        self.promised = self.promised.min(to);
    }

    fn forget(&mut self, count: u8) {
        let seen = self.log.high_watermark();
        let to = self.start.saturating_add(count.into()).min(seen);
        sure("a new start", self.log.truncate_prefix(to));
        self.start = self.start.max(to);
    }

    fn read(&self, how: u8) {
        let end = self.log.high_watermark();
        let span = end.saturating_sub(self.start).max(1);
        let offset = self.start.saturating_add(u64::from(how) % span);
        let read = self.log.read(offset);
        if offset >= end {
            assert!(
                matches!(
                    read,
                    Err(Error::OffsetOutOfRange { .. } | Error::Truncated { .. })
                ),
                "{read:?}"
            );
            return;
        }
        let Some(read) = sure("a read", read) else {
            panic!("nothing at {offset}");
        };
        assert_eq!((read.offset, read.value()), (offset, self.value(offset)));
    }

    fn value(&self, offset: Offset) -> Option<&[u8]> {
        self.values.get(to_usize(offset)).map(Vec::as_slice)
    }

    fn close_and_open(&mut self) {
        sure("a close", self.log.close());
        self.promised = self.end();
        self.go_on_with(self.sim.clone(), After::Kill);
        assert!(self.log.open_report().clean, "{:?}", self.log.open_report());
    }

    /// Opens the log on another disk, and holds it against what was done.
    fn go_on_with(&mut self, sim: Sim, after: After) {
        self.log = sure("a crashed log opens by itself", open(&sim, &self.config));
        self.sim = sim;
        let (end, report) = (self.log.end_offset(), self.log.open_report());
        let least = match after {
            After::Kill => self.end(),
            After::PowerCut => self.promised,
        };
        assert!(end >= least, "lost: {end} of {least}: {report:?}");
        assert!(
            self.ends.contains(&end),
            "no batch ends at {end}: {report:?}"
        );
        assert_eq!(self.log.start_offset(), self.start, "{report:?}");
        self.cut(end);
        self.promised = end;
        let mut next = self.start;
        let reader = sure("a reader", self.log.reader(Start::Earliest));
        for read in reader {
            let read = sure("a record", read);
            assert_eq!(read.offset, next);
            assert_eq!(read.value(), self.value(next), "at {next}");
            next += 1;
        }
        assert_eq!(next, end, "the records end");
    }
}

/// What a power cut leaves.
fn choice(how: u8) -> Choice {
    let index = usize::from(how >> 3);
    match how & 7 {
        0 => Choice::None,
        1 => Choice::All,
        2 => Choice::DataAlone,
        3 => Choice::NamesAlone,
        4 => Choice::Prefix(index),
        5 => Choice::AllBut(index),
        6 => Choice::Only(index),
        _ => Choice::Random(how.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_with_everything_in_it_holds() {
        for settings in 0..64 {
            let steps = (0..120_u8).flat_map(|step| [step.wrapping_mul(7), step.wrapping_mul(37)]);
            let life: Vec<_> = std::iter::once(settings).chain(steps).collect();
            log_ops(&life);
        }
    }
}
