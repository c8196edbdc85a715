//! Opens a log that no broker manages: alone in a directory, or as a partition of a root whose
//! broker must not be running.
//!
//! Knows nothing about recovery, or where a lock and the marks are (`dir/`).

use std::path::Path;

use crate::clock::Clock;
use crate::dir::{
    Marks, RootFacts, home_of, is_root, keep_brokers_away, make_dir, mark_alone, refuse_unfinished,
    take_lock,
};
use crate::disk::{Disk, Lock};
use crate::error::{Error, IoContext, Result};
use crate::format::{MarkKey, file_name};
use crate::host::{Host, SLOTS_ALONE, Span};
use crate::recovery::{LogSource, OpenMode};
use crate::types::LogConfig;

use super::open::open;
use super::outside::open_outside;
use super::shared::Log;
use super::signs::{RootSigns, look_until_it_counts};

pub(in crate::log) fn open_alone(dir: &Path, config: LogConfig, mode: OpenMode) -> Result<Log> {
    open_alone_on(&Disk::os(), &Clock::System, dir, config, mode, false)
}

/// With `manual` upkeep there are no background threads.
pub(crate) fn open_alone_on(
    disk: &Disk,
    clock: &Clock,
    dir: &Path,
    config: LogConfig,
    mode: OpenMode,
    manual: bool,
) -> Result<Log> {
    let dir = &disk.absolute(dir).at(dir, "resolve the path of")?;
    let _span = Span::open(dir);
    if mode == OpenMode::Write {
        // Before the lock, whose file is in it.
        make_dir(disk, dir)?;
    }
    if is_root(disk, dir)? {
        return Err(Error::Unsupported {
            what: format!("{} holds topics: open it with Broker::open", dir.display()),
        });
    }
    let (home, mark_key) = home_of(disk, dir)?;
    // A backup that was not finished may lack segments, and would open as a shorter log.
    refuse_unfinished(disk, &home)?;
    let marks_path = home.join(file_name::MARKS);
    let in_root = home != *dir;
    let (lock, marks) = match mode {
        OpenMode::Write => {
            // Before the marks are read: another process may be writing them until it closes.
            let lock = take_lock(disk, &home, config.lock_timeout)?;
            // Brokers are kept away before the first change, as [`Marks::open`] may make one.
            if in_root {
                enter_root(disk, &home)?;
            }
            (Some(lock), Marks::open(disk, &marks_path)?)
        }
        // Marks from before a broker ran may describe files that are gone.
        OpenMode::Read if in_root && is_newer(disk, clock, &home)? => {
            let marks = Marks::none(&home);
            if let Some(mark) = mark_alone(disk, &home, dir, mark_key)? {
                marks.assume(&mark);
            }
            (None, marks)
        }
        OpenMode::Read => (None, Marks::read_only(disk, &marks_path)?),
    };
    let host = Host::new(disk.clone(), clock.clone(), marks, manual);
    let source = LogSource {
        dir: dir.clone(),
        mark_key,
        lock,
        managed: false,
    };
    let shared = match mode {
        OpenMode::Write => {
            let shared = open(&host, source, config, mode)?;
            // Last, for an opening that is refused changes nothing.
            host.publish(SLOTS_ALONE);
            shared.join_bell();
            shared
        }
        OpenMode::Read => open_outside(&host, &home, &source, &config)?,
    };
    shared.note_opening();
    host.events.pass_on();
    Ok(Log::closing_on_drop(shared))
}

/// Opens a log whose lock the caller holds, whatever the directory says about itself, and without a
/// background thread.
pub(crate) fn open_locked(
    disk: &Disk,
    clock: &Clock,
    dir: &Path,
    config: LogConfig,
    lock: Lock,
) -> Result<Log> {
    let marks = Marks::open(disk, &dir.join(file_name::MARKS))?;
    let host = Host::new(disk.clone(), clock.clone(), marks, true);
    host.note_copy();
    let source = LogSource {
        dir: dir.to_path_buf(),
        mark_key: MarkKey::default(),
        lock: Some(lock),
        managed: false,
    };
    let shared = open(&host, source, config, OpenMode::Write)?;
    Ok(Log::closing_on_drop(shared))
}

/// Whether a broker has used a root since Ottla did.
fn is_newer(disk: &Disk, clock: &Clock, root: &Path) -> Result<bool> {
    let signs = || RootSigns::of(disk, root);
    let looked = look_until_it_counts(clock, signs, || RootFacts::of(disk, root));
    looked.map(|(facts, _)| facts.is_newer())
}

/// Keeps brokers off a changed root until a [`Broker`](crate::Broker) has opened and closed it,
/// which records how far each log goes.
fn enter_root(disk: &Disk, root: &Path) -> Result<()> {
    if RootFacts::of(disk, root)?.is_newer() {
        return Err(Error::Unsupported {
            what: format!(
                "a Kafka broker has used {} since: open it with Broker::open once, which takes \
                 over what the broker left",
                root.display(),
            ),
        });
    }
    keep_brokers_away(disk, root)
}

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
