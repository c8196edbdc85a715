//! Opens a log that another handle, maybe of another process, is writing, and looks again when that
//! may have caused an error.
//!
//! Knows nothing about what counts (`signs.rs`), and about when to look (`looks.rs`).
//!
//! 1. A topic that the catalog no longer has is being deleted: what is missing of it is no damage.

use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::host::Host;
use crate::recovery::{LogSource, OpenMode};
use crate::sync::Mutex;
use crate::types::LogConfig;

use super::looks::Looker;
use super::open;
use super::seen::Seen;
use super::shared::Shared;
use super::signs::{Doubts, LogSigns, Signs as _, is_about_files, look_until_it_counts};
use super::state::{Inspected, Looks, Outside};

/// Opens the log read-only until the result counts.
fn look(
    host: &Arc<Host>,
    home: &Path,
    source: &LogSource,
    config: &LogConfig,
) -> Result<(Arc<Shared>, Seen, LogSigns)> {
    let look = || {
        // Before the look: what changes meanwhile is looked at again.
        let seen = Seen::of(host, home, &source.dir, source.mark_key)?;
        let found = open::open(host, source.for_reading(), config.clone(), OpenMode::Read)?;
        Ok((found, seen))
    };
    let signs = || LogSigns::of(host, home, &source.dir, source.mark_key);
    let looked = look_until_it_counts(&host.clock, signs, look);
    let ((found, seen), signs) = looked.map_err(|error| unless_gone(host, source, error))?;
    Ok((found, seen, signs))
}

/// `home` is the directory with the log's lock and marks.
pub(super) fn open_outside(
    host: &Arc<Host>,
    home: &Path,
    source: &LogSource,
    config: &LogConfig,
) -> Result<Arc<Shared>> {
    let (shared, seen, signs) = look(host, home, source, config)?;
    shared.begin_to_follow(host.marks.find(source.mark_key), signs.live);
    let inspected = Inspected {
        signs,
        doubts: Doubts::default(),
        seen,
        standing: None,
    };
    let looker = Looker::of(&shared);
    let outside = Outside {
        home: home.to_path_buf(),
        inspected: Mutex::new(inspected),
        looks: Looks::default(),
        by_clock: Arc::<Looker>::clone(&looker),
        by_bell: looker,
    };
    // No other thread has it yet.
    shared.outside.get_or_init(|| outside);
    Ok(shared)
}

/// Returns `Closed` if the topic was deleted, as its writer does.
fn unless_gone(host: &Host, source: &LogSource, error: Error) -> Error {
    if host.is_listed(source.mark_key.topic) {
        error
    } else {
        Error::Closed
    }
}

impl Shared {
    fn source(&self) -> LogSource {
        LogSource {
            dir: self.dir.to_path_buf(),
            mark_key: self.mark_key(),
            lock: None,
            managed: self.managed,
        }
    }

    /// Returns `Ok` when the writer has changed files meanwhile, and the directory was looked at
    /// again.
    #[cold]
    pub(super) fn doubt_outside(&self, outside: &Outside, error: Error) -> Result<()> {
        if !is_about_files(&error) {
            return Err(error);
        }
        self.life.can_read()?;
        let (host, source) = (&self.host, self.source());
        let mut inspected = outside.inspected.lock();
        let signs = LogSigns::of(host, &outside.home, &self.dir, source.mark_key);
        let now = signs.map_err(|error| unless_gone(host, &source, error))?;
        if now.dir != inspected.signs.dir {
            return Err(Error::Closed);
        }
        if !inspected.signs.hold_in(&now) {
            // The earlier errors were about other files.
            inspected.doubts = Doubts::default();
        }
        let stands = now == inspected.signs && !now.live;
        if stands || !inspected.doubts.dismiss(&host.clock, &error) {
            return Err(unless_gone(host, &source, error));
        }
        self.look_again(outside, &mut inspected)
    }

    pub(super) fn look_again(&self, outside: &Outside, inspected: &mut Inspected) -> Result<()> {
        let (host, source) = (&self.host, self.source());
        let (found, seen, signs) = look(host, &outside.home, &source, &self.config())?;
        if found.end_offset() < self.end_offset() && !host.is_listed(source.mark_key.topic) {
            // Half of the files of a topic that is being deleted.
            return Err(Error::Closed);
        }
        if !seen.is_same_log(&inspected.seen) {
            return Err(Error::Closed);
        }
        inspected.signs = signs;
        inspected.seen = seen;
        self.go_on_as(&found);
        Ok(())
    }
}
