//! The life of a log: what it may still do.
//!
//! Knows nothing about files or offsets. Whatever a log does asks [`can_read`](LifeCell::can_read),
//! [`can_append`](LifeCell::can_append) or [`can_confirm`](LifeCell::can_confirm) first.
//!
//! 1. A life only moves forward.
//! 2. The first failed sync is kept for good. Nothing is confirmed after it.
//! 3. `Closing` begins with the append lock held: an append that passed the question before is
//!    complete, and the close syncs it.
//! 4. `Closed` begins with the turn held, before the directory is unlocked: a thread that takes the
//!    turn later writes nothing.

use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::recovery::OpenMode;
use crate::sync::{AtomicU32, OnceLock, Ordering};
use crate::types::Sabotage;

/// The stages, in order (I1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum Life {
    Open,
    ReadOnly,
    /// A sync failed: nothing is confirmed.
    Poisoned,
    /// Refuses appends and reads; syncs still count, and what takes long gives up.
    Closing,
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

#[derive(Debug)]
pub(crate) struct LifeCell {
    life: AtomicU32,
    mode: OpenMode,
    poison: OnceLock<Poison>,
}

impl LifeCell {
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

    fn advance(&self, to: Life) {
        self.life.fetch_max(to.number(), Ordering::AcqRel);
    }

    /// Whether reading may continue. Long operations ask repeatedly, so that a close does not wait
    /// for them.
    #[inline]
    pub(crate) fn can_read(&self) -> Result<()> {
        if self.number() < Life::Closing.number() {
            Ok(())
        } else {
            Err(Error::Closed)
        }
    }

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

    /// Whether a sync that ends now counts: not after a failed one, or after the end of the close,
    /// when the directory belongs to the process that opens it next.
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

    /// The error of the first failed sync (I2).
    pub(super) fn poison(&self) -> Option<Error> {
        self.poison.get().map(Poison::error)
    }

    /// Keeps the first error, which every caller gets (I2).
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

    pub(super) fn is_over(&self) -> bool {
        self.number() == Life::Closed.number()
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.mode == OpenMode::Read
    }
}

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
