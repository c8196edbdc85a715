//! A log on a simulated disk, driven step by step, with its history kept.
//!
//! Knows nothing about what may go wrong: it tells the history what was begun, and what the call
//! answered, by the words of the public documentation:
//!
//! 1. An append that fails left nothing, unless the log is poisoned.
//! 2. A flush that answers promises everything before it; so does an append under `Always`.
//! 3. A truncation that fails changed nothing, unless the log is poisoned.
//! 4. Nothing below `flushed_offset()` is lost, whatever else was answered.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::Rng;
use super::history::{After, Breach, EPOCH_MS, History, Pending, Written};
use crate::clock::{Clock, ManualClock};
use crate::disk::sim::{Choice, Sim};
use crate::error::{Error, Result};
use crate::log::{Log, open_alone_on};
use crate::recovery::OpenMode;
use crate::sync::Mutex;
use crate::types::LogConfig;
use crate::types::{Durability, Timestamp};

/// Where the log lies.
pub(super) const DIR: &str = "/log";

/// One thing to do with a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Append so many records of about so many bytes as one batch; a single one by `append`.
    Append {
        records: u8,
        bytes: u16,
    },
    Flush,
    /// Let time pass, and run the flusher once.
    Tick,
    /// Drop so many of the newest records.
    Truncate(u16),
    /// Drop so many of the oldest records.
    Forget(u16),
    /// Look for a few records by offset and time, and read a stretch.
    Read,
    /// Close and open again.
    Reopen,
    /// Kill the process, and open again.
    Kill,
    /// Cut the power, and open again.
    Cut(Choice),
}

/// A log under test.
pub(super) struct Rig {
    pub(super) sim: Sim,
    pub(super) config: LogConfig,
    pub(super) history: Arc<Mutex<History>>,
    /// `None` after a failed opening.
    pub(super) log: Arc<Mutex<Option<Log>>>,
    /// A sync failed: what it covered is lost even without a power cut.
    pub(super) sync_failed: bool,
    /// The disk fails calls: an error of its own is no breach.
    pub(super) unreliable: bool,
    clock: Arc<ManualClock>,
    serial: u64,
    rng: Rng,
}

/// Opens the log on a disk.
pub(super) fn open(sim: &Sim, clock: &Arc<ManualClock>, config: &LogConfig) -> Result<Log> {
    let clock = Clock::Manual(Arc::clone(clock));
    let (dir, config) = (Path::new(DIR), config.clone());
    open_alone_on(&sim.disk(), &clock, dir, config, OpenMode::Write, true)
}

/// A clock that stands still.
pub(super) fn still_clock() -> Arc<ManualClock> {
    ManualClock::at(Timestamp::from_millis(EPOCH_MS))
}

impl Rig {
    /// A disk and nothing on it; the log is not open yet.
    pub(super) fn new(sim: Sim, config: LogConfig, seed: u64) -> Self {
        Self {
            sim,
            config,
            history: Arc::new(Mutex::new(History::new())),
            log: Arc::new(Mutex::new(None)),
            sync_failed: false,
            unreliable: false,
            clock: still_clock(),
            serial: 0,
            rng: Rng(seed),
        }
    }

    /// Goes on with a log that is open, on a clock of its own.
    pub(super) fn resume(
        sim: Sim,
        config: LogConfig,
        history: History,
        log: Log,
        seed: u64,
    ) -> Self {
        let serial = 1_000_000 + seed % 1_000_000;
        Self {
            history: Arc::new(Mutex::new(history)),
            log: Arc::new(Mutex::new(Some(log))),
            serial,
            ..Self::new(sim, config, seed)
        }
    }

    pub(super) fn clock(&self) -> &Arc<ManualClock> {
        &self.clock
    }

    /// The open log.
    pub(super) fn log(&self) -> Log {
        self.log.lock().clone().expect("the log is open")
    }

    /// Opens the log and holds it against the history, which it becomes.
    pub(super) fn open(&mut self, after: After) -> Result<()> {
        let log = open(&self.sim, &self.clock, &self.config)?;
        let after = if self.sync_failed {
            After::Power
        } else {
            after
        };
        let mut history = self.history.lock();
        if let Err(breach) = history.check(&log, after) {
            let report = log.open_report().clone();
            log.abandon();
            return Err(self.excuse(breach, &format!("{report:?}\n{:?}", self.sim.files())));
        }
        history.settle(&log);
        assert_eq!(
            log.flushed_offset(),
            log.end_offset(),
            "kept and not synced"
        );
        drop(history);
        self.sync_failed = false;
        *self.log.lock() = Some(log);
        Ok(())
    }

    /// The error of a disk that fails calls; a breach is one otherwise.
    fn excuse(&self, breach: Breach, more: &str) -> Error {
        match breach.excuse() {
            Ok(error) if self.unreliable => error,
            Ok(error) => panic!("{error:?}\n{more}"),
            Err(breach) => panic!("{breach}\n{more}"),
        }
    }

    /// Drops the log without closing it, as the end of a process does.
    pub(super) fn abandon(&mut self) {
        if let Some(log) = self.log.lock().take() {
            self.sim.stop_watching();
            log.abandon();
        }
    }

    /// Does one thing. An error leaves the history knowing what is known.
    pub(super) fn step(&mut self, step: Step) -> Result<()> {
        let done = match step {
            Step::Append { records, bytes } => self.append(records, bytes),
            Step::Flush => self.flush(),
            Step::Tick => {
                self.clock.advance(Duration::from_millis(700));
                self.log().run_flusher();
                Ok(())
            }
            Step::Truncate(count) => self.truncate(count),
            Step::Forget(count) => self.forget(count),
            Step::Read => self.read(),
            Step::Reopen => self.reopen(),
            Step::Kill => {
                let next = self.sim.process_crash();
                self.abandon();
                self.sim = next;
                self.open(After::Kill)
            }
            Step::Cut(choice) => {
                let next = self.sim.crash(choice);
                self.abandon();
                self.sim = next;
                self.open(After::Power)
            }
        };
        if matches!(done, Err(Error::Poisoned { .. })) {
            self.sync_failed = true;
        }
        if let Some(log) = &*self.log.lock() {
            self.history.lock().promise(log.flushed_offset()); // (4)
        }
        done
    }

    fn append(&mut self, records: u8, bytes: u16) -> Result<()> {
        let batch: Vec<_> = (0..records.max(1))
            .map(|_| {
                self.serial += 1;
                Arc::new(Written::new(self.serial, bytes.into(), &mut self.rng))
            })
            .collect();
        let before = self.history.lock().end();
        let after = before + batch.len() as u64;
        self.history.lock().begin(Pending::Append(batch.clone()));
        let log = self.log();
        let appended = match batch.as_slice() {
            [one] => one.with_record(|record| log.append(record).map(|at| at..at + 1)),
            many => Written::with_batch(many, |records| log.append_batch(records)),
        };
        let mut history = self.history.lock();
        match appended {
            Ok(offsets) => {
                assert_eq!(offsets, before..after, "other offsets than the next ones");
                history.all_happened();
                if self.config.durability == Durability::Always {
                    history.promise(after);
                }
                assert_eq!(log.end_offset(), after);
                Ok(())
            }
            Err(error @ Error::Poisoned { .. }) => Err(error),
            Err(error) => {
                history.nothing_happened();
                assert_eq!(
                    log.end_offset(),
                    before,
                    "left by a failed append: {error:?}"
                );
                Err(error)
            }
        }
    }

    fn flush(&mut self) -> Result<()> {
        let log = self.log();
        let flushed = log.flush()?;
        let mut history = self.history.lock();
        assert_eq!(flushed, history.end(), "flushed less than all");
        assert_eq!(log.flushed_offset(), flushed);
        history.promise(flushed);
        Ok(())
    }

    fn truncate(&mut self, count: u16) -> Result<()> {
        let log = self.log();
        let (start, end) = (log.start_offset(), log.end_offset());
        let to = end.saturating_sub(count.into()).max(start);
        self.history.lock().begin(Pending::Truncate(to));
        let truncated = log.truncate(to);
        let mut history = self.history.lock();
        match truncated {
            Ok(()) => {
                history.all_happened();
                history.promise(to);
                assert_eq!(log.end_offset(), to);
                Ok(())
            }
            Err(error @ Error::Poisoned { .. }) => Err(error),
            Err(error) => {
                history.nothing_happened();
                assert_eq!(
                    log.end_offset(),
                    end,
                    "left by a failed truncation: {error:?}"
                );
                Err(error)
            }
        }
    }

    fn forget(&mut self, count: u16) -> Result<()> {
        let log = self.log();
        let start = log.start_offset();
        let to = start.saturating_add(count.into()).min(log.high_watermark());
        self.history.lock().may_start_at(to);
        let forgotten = log.truncate_prefix(to);
        if forgotten.is_ok() {
            assert_eq!(log.start_offset(), to);
        }
        self.history.lock().starts_at(log.start_offset());
        forgotten
    }

    fn read(&mut self) -> Result<()> {
        let log = self.log();
        let history = self.history.lock();
        if let Err(breach) = history.probe(&log, &mut self.rng) {
            return Err(self.excuse(breach, ""));
        }
        let (start, end) = (log.start_offset(), log.high_watermark());
        let from = start + self.rng.below(end - start + 1);
        let mut reader = log.reader(from)?;
        for offset in (from..end).take(20) {
            let read = reader.next().expect("there is more")?;
            assert_eq!(read.offset, offset);
            if let Err(breach) = history.check_record(&read) {
                panic!("{breach}");
            }
        }
        Ok(())
    }

    fn reopen(&mut self) -> Result<()> {
        let log = self.log.lock().take().expect("the log is open");
        let closed = log.close();
        drop(log);
        self.sync_failed |= matches!(closed, Err(Error::Poisoned { .. }));
        self.open(After::Kill)?;
        match closed {
            Ok(()) => {
                let log = self.log();
                let report = log.open_report();
                assert!(report.clean && report.events.is_empty(), "{report:?}");
                Ok(())
            }
            // It is open again, and what the failed sync took was looked for.
            Err(Error::Poisoned { .. }) if self.unreliable => Ok(()),
            Err(error) => Err(error),
        }
    }
}
