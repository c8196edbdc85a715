//! The life of a log: what it may still do, in one place.
//!
//! Knows nothing about files or offsets. Everything that a log does asks one of three questions
//! first: [`can_read`](LifeCell::can_read), [`can_append`](LifeCell::can_append),
//! [`can_confirm`](LifeCell::can_confirm).
//!
//! 1. A life only moves forward: no stage is ever left for an earlier one.
//! 2. The first failed sync is kept for good. Nothing is confirmed after it.
//! 3. `Closing` begins with the append lock held: an append that passed the question before is
//!    complete, and the close syncs it.
//! 4. `Closed` begins with the turn held, before the lock of the directory is released: a thread
//!    that takes the turn later finds the log closed and writes nothing.

use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::recovery::OpenMode;
use crate::sync::{AtomicU32, OnceLock, Ordering};
use crate::types::Sabotage;

/// The stages of a log's life, in order (I1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum Life {
    /// Takes appends.
    Open,
    /// Opened for reading: reads, and changes nothing.
    ReadOnly,
    /// A sync failed: reads, and confirms nothing.
    Poisoned,
    /// A close has begun: refuses appends and reads; syncs still count, and what takes long
    /// gives up.
    Closing,
    /// Does nothing.
    Closed,
}

impl Life {
    const ALL: [Self; 5] = [
        Self::Open,
        Self::ReadOnly,
        Self::Poisoned,
        Self::Closing,
        Self::Closed,
    ];

    const fn number(self) -> u32 {
        match self {
            Self::Open => 0,
            Self::ReadOnly => 1,
            Self::Poisoned => 2,
            Self::Closing => 3,
            Self::Closed => 4,
        }
    }
}

/// The sync that failed.
#[derive(Debug)]
struct Poison {
    path: PathBuf,
    cause: Arc<std::io::Error>,
}

impl Poison {
    fn error(&self) -> Error {
        Error::Poisoned {
            path: self.path.clone(),
            cause: Arc::clone(&self.cause),
        }
    }
}

/// The life of one log, which any thread may ask about.
#[derive(Debug)]
pub(crate) struct LifeCell {
    life: AtomicU32,
    mode: OpenMode,
    poison: OnceLock<Poison>,
}

impl LifeCell {
    /// The life of a log that was just opened.
    pub(super) fn new(mode: OpenMode) -> Self {
        let life = match mode {
            OpenMode::Write => Life::Open,
            OpenMode::Read => Life::ReadOnly,
        };
        Self {
            life: AtomicU32::new(life.number()),
            mode,
            poison: OnceLock::new(),
        }
    }

    #[inline]
    fn number(&self) -> u32 {
        self.life.load(Ordering::Acquire)
    }

    fn now(&self) -> Life {
        let number = self.number();
        let now = Life::ALL.into_iter().find(|life| life.number() == number);
        debug_assert!(now.is_some(), "{number} is not a stage");
        now.unwrap_or(Life::Closed)
    }

    /// Moves to a stage, or stays in the present one if that is later (I1).
    fn advance(&self, to: Life) {
        self.life.fetch_max(to.number(), Ordering::AcqRel);
    }

    /// Whether reading may continue: not in a log that is closed or closing. Long operations ask
    /// this repeatedly, so that a close does not wait for them.
    #[inline]
    pub(crate) fn can_read(&self) -> Result<()> {
        if self.number() < Life::Closing.number() {
            Ok(())
        } else {
            Err(Error::Closed)
        }
    }

    /// Whether the log may be changed: by an append, and by whatever removes or replaces segments.
    #[inline]
    pub(crate) fn can_append(&self) -> Result<()> {
        if self.number() == Life::Open.number() {
            Ok(())
        } else {
            Err(self.refusal())
        }
    }

    #[cold]
    fn refusal(&self) -> Error {
        match self.now() {
            Life::ReadOnly => Error::ReadOnly,
            Life::Poisoned => self.poison().unwrap_or(Error::Closed),
            Life::Open | Life::Closing | Life::Closed => Error::Closed,
        }
    }

    /// Whether a sync that ends now still counts: not after a failed one, and not after the end of
    /// the close, when the directory belongs to the process that opens it next.
    pub(super) fn can_confirm(&self) -> Result<()> {
        match self.now() {
            Life::Closed => Err(Error::Closed),
            _ if self.is_read_only() => Err(Error::ReadOnly),
            _ => self.poison().map_or(Ok(()), Err),
        }
    }

    /// Whether more records may come: a log that is opened for reading grows by what another
    /// process appends.
    pub(super) fn can_grow(&self) -> Result<()> {
        if self.is_read_only() {
            self.can_read()
        } else {
            self.can_confirm()
        }
    }

    /// The error of the sync that failed, if one did (I2).
    pub(super) fn poison(&self) -> Option<Error> {
        self.poison.get().map(Poison::error)
    }

    /// Records the first failed sync (I2) and returns the error that every caller gets.
    #[cold]
    pub(super) fn fail(&self, path: PathBuf, cause: std::io::Error) -> Error {
        let failed = Poison {
            path,
            cause: Arc::new(cause),
        };
        if Sabotage::LatchCleared.is_on() {
            return failed.error();
        }
        let error = self.poison.get_or_init(|| failed).error();
        // The cause first: a thread that sees the stage must find the cause.
        self.advance(Life::Poisoned);
        error
    }

    /// A close begins (I3).
    pub(super) fn begin_closing(&self) {
        self.advance(Life::Closing);
    }

    /// The close has ended (I4).
    pub(super) fn end(&self) {
        self.advance(Life::Closed);
    }

    /// Whether a close has ended.
    pub(super) fn is_over(&self) -> bool {
        self.number() == Life::Closed.number()
    }

    /// Whether the log was opened for reading.
    pub(crate) fn is_read_only(&self) -> bool {
        self.mode == OpenMode::Read
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::clock::Clock;
    use crate::disk::sim::{At, Failure, Fault, Kind, Operation, Repeat, Sim};
    use crate::format::file_name;
    use crate::log::{Log, open_alone_on};
    use crate::types::LogConfig;

    /// A log on a simulated disk whose chores run only when the test runs them.
    fn log_on(sim: &Sim) -> Log {
        let (dir, config) = (Path::new("/log"), LogConfig::default().segment_bytes(1024));
        let (clock, mode) = (Clock::default(), OpenMode::Write);
        open_alone_on(&sim.disk(), &clock, dir, config, mode, true).unwrap()
    }

    fn fail_from(sim: &Sim, operation: u64) {
        sim.fail(Fault {
            at: At::Operation(operation),
            error: Failure::Eio,
            repeat: Repeat::Forever,
        });
    }

    /// The calls that changed something, beginning with a given operation.
    fn changes_since(sim: &Sim, operation: u64) -> Vec<Operation> {
        let mut made = sim.trace();
        made.retain(|made| made.number >= operation && made.kind.changes());
        made
    }

    #[test]
    fn after_a_close_that_failed_no_thread_writes_or_syncs_any_more() {
        let mut failed = 0;
        for after in 0..200 {
            let sim = Sim::new();
            sim.record();
            let log = log_on(&sim);
            for number in 0..20 {
                log.append(&format!("record number {number}")).unwrap();
            }
            fail_from(&sim, sim.operations() + after);
            let closed = log.close();
            sim.heal();
            let (shared, over) = (&log.shared, sim.operations());
            // What threads do that were waiting for the turn when the close ended.
            let synced = shared.flush_to(log.end_offset());
            log.run_flusher();
            shared.digest_in_line();
            shared.make_next();
            drop(shared.park_if_idle());
            drop(shared.take_turn().map(|turn| shared.sync_all(&turn)));
            assert_eq!(changes_since(&sim, over), [], "{closed:?} after {after}");
            if closed.is_ok() {
                synced.unwrap();
                break;
            }
            failed += 1;
            let in_doubt = matches!(synced, Err(Error::Poisoned { .. }));
            let flushed = log.flushed_offset() == log.end_offset();
            assert!(in_doubt || flushed, "{synced:?} after {after}");
            assert!(matches!(log.append("more"), Err(Error::Closed)));
            assert!(matches!(log.flush(), Err(Error::Closed)));
            log.close().unwrap();
            // The lock is released, and the next opening succeeds.
            assert_eq!(log_on(&sim).end_offset(), 20);
        }
        assert!(failed > 10, "{failed} closes failed");
    }

    #[test]
    fn a_closed_log_makes_no_segment_ahead() {
        let sim = Sim::new();
        let log = log_on(&sim);
        log.append("a record").unwrap();
        log.close().unwrap();
        log.shared.make_next();
        assert!(!has_next(&sim));
    }

    #[test]
    fn a_close_removes_a_segment_made_ahead_that_a_roll_could_not_use() {
        for kind in [Kind::Open, Kind::Rename, Kind::Create] {
            let sim = Sim::new();
            let log = log_on(&sim);
            log.append(&[7; 700]).unwrap();
            log.shared.make_next();
            assert!(has_next(&sim));
            fail_next(&sim, kind);
            drop(log.append(&[7; 700]));
            sim.heal();
            log.append(&[7; 700]).unwrap();
            log.shared.make_next();
            log.close().unwrap();
            assert!(!has_next(&sim), "{kind:?}: {:?}", sim.files());
        }
    }

    fn has_next(sim: &Sim) -> bool {
        let next = Path::new("/log").join(file_name::NEXT_SEGMENT);
        sim.files().iter().any(|(path, _)| *path == next)
    }

    /// Makes the next call of a given kind fail.
    fn fail_next(sim: &Sim, kind: Kind) {
        for nth in 0..100 {
            sim.fail(Fault {
                at: At::Nth(kind, nth),
                error: Failure::Eio,
                repeat: Repeat::Once,
            });
        }
    }

    fn failure() -> std::io::Error {
        std::io::Error::other("a sync failed")
    }

    /// The answers of a life to the three questions, one letter each.
    fn answers(life: &LifeCell) -> String {
        let letter = |answer: Result<()>| match answer {
            Ok(()) => 'y',
            Err(Error::ReadOnly) => 'r',
            Err(Error::Poisoned { .. }) => 'p',
            Err(Error::Closed) => 'c',
            Err(other) => panic!("{other:?}"),
        };
        let asked = [life.can_read(), life.can_append(), life.can_confirm()];
        asked.into_iter().map(letter).collect()
    }

    #[test]
    fn every_stage_of_a_log_answers_the_three_questions() {
        let life = LifeCell::new(OpenMode::Write);
        assert_eq!(answers(&life), "yyy");
        life.begin_closing();
        assert_eq!(answers(&life), "ccy", "what was appended is still synced");
        life.end();
        assert_eq!(answers(&life), "ccc");

        let life = LifeCell::new(OpenMode::Write);
        life.fail("x".into(), failure());
        assert_eq!(answers(&life), "ypp");
        life.begin_closing();
        assert_eq!(answers(&life), "ccp", "a failed sync is not forgotten");
        life.end();
        assert_eq!(answers(&life), "ccc");

        let life = LifeCell::new(OpenMode::Read);
        assert_eq!(answers(&life), "yrr");
        life.begin_closing();
        life.end();
        assert_eq!(answers(&life), "ccc");
    }

    #[test]
    fn a_life_never_goes_back_and_keeps_the_first_failure() {
        let life = LifeCell::new(OpenMode::Write);
        life.end();
        life.begin_closing();
        life.fail("first".into(), failure());
        life.fail("second".into(), failure());
        assert_eq!(answers(&life), "ccc");
        let kept = life.poison();
        assert!(
            matches!(&kept, Some(Error::Poisoned { path, .. }) if path.ends_with("first")),
            "{kept:?}"
        );
    }
}
