//! Which result of a look counts while another handle, maybe of another process, writes the files.
//!
//! Knows nothing about batches. A read-only opening takes no lock, so files are removed, replaced
//! and cut under it at any moment.
//!
//! 1. [`Signs`] are what a writer then changes: which files of segments there are and which file
//!    each is, the note of a truncation, and the number of the flushed mark, which rises before
//!    that note goes.
//! 2. An error counts at once when no process holds the lock and the signs are unchanged. Beside a
//!    writer it counts when it has come back often enough: damage stays, a writer's step passes.
//! 3. Every further look comes after a longer pause, so that a writer can finish what it began.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock::Clock;
use crate::disk::{Disk, FileId};
use crate::error::{Error, IoContext, Result};
use crate::format::{FileKind, FileName, MarkKey, file_name};
use crate::host::Host;
use crate::sync::Signal;
use crate::sync::thread::yield_now;

/// How often an error comes back before it counts (2): with the pauses, within about a second.
const TIMES_MAX: u32 = 20;

/// The first pause (3), and how often it is doubled.
const PAUSE: Duration = Duration::from_millis(1);
const DOUBLED_MAX: u32 = 6;

pub(crate) trait Signs: PartialEq {
    /// Whether what was seen still holds: what was only added takes nothing back.
    fn hold_in(&self, later: &Self) -> bool;

    fn is_live(&self) -> bool;
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogSigns {
    /// A directory of the same name may be another topic's.
    pub(super) dir: Option<FileId>,
    /// The `.log` files, and the note of a truncation; `None` for one that went meanwhile.
    files: BTreeMap<String, Option<FileId>>,
    pub(super) live: bool,
    sequence: u64,
}

impl Signs for LogSigns {
    fn hold_in(&self, later: &Self) -> bool {
        let same = |(name, id): (&String, &Option<FileId>)| later.files.get(name) == Some(id);
        let cuts = |signs: &Self| signs.files.contains_key(file_name::TRUNCATE);
        self.dir == later.dir && self.files.iter().all(same) && cuts(self) == cuts(later)
    }

    fn is_live(&self) -> bool {
        self.live
    }
}

impl LogSigns {
    pub(crate) fn of(host: &Host, home: &Path, dir: &Path, key: MarkKey) -> Result<Self> {
        let disk = &host.disk;
        let mut signs = Self {
            dir: disk.file_id(dir).ok(),
            ..Self::default()
        };
        for entry in disk.list(dir).at(dir, "list")? {
            let is_log = match FileName::parse(&entry.name) {
                FileName::Segment { kind, .. } => kind == FileKind::Log,
                _ => entry.name == file_name::TRUNCATE,
            };
            if is_log {
                let id = disk.file_id(&dir.join(&entry.name)).ok();
                signs.files.insert(entry.name, id);
            }
        }
        signs.live = is_live(disk, home);
        let mark = host.marks.look_again(disk, key)?;
        signs.sequence = mark.map_or(0, |mark| mark.sequence);
        Ok(signs)
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RootSigns {
    files: BTreeMap<PathBuf, Option<(FileId, u64)>>,
    live: bool,
}

impl Signs for RootSigns {
    fn hold_in(&self, later: &Self) -> bool {
        self.files == later.files
    }

    fn is_live(&self) -> bool {
        self.live
    }
}

impl RootSigns {
    pub(crate) fn of(disk: &Disk, root: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        for dir in [root, &root.join(file_name::CLUSTER_METADATA)] {
            let entries = match disk.list(dir) {
                Err(_) if dir != root => Vec::new(),
                entries => entries.at(dir, "list")?,
            };
            for entry in entries {
                let path = dir.join(entry.name);
                let seen = disk.file_id(&path).ok().zip(disk.file_len(&path).ok());
                files.insert(path, seen);
            }
        }
        Ok(Self {
            files,
            live: is_live(disk, root),
        })
    }
}

/// Whether a process holds the lock of a directory; false where the system cannot tell.
pub(crate) fn is_live(disk: &Disk, home: &Path) -> bool {
    disk.is_locked(&home.join(file_name::LOCK)).unwrap_or(false)
}

/// Waits, longer each time, so that a writer can finish what it began (3).
pub(crate) fn pause(clock: &Clock, times: u32) {
    if cfg!(all(test, ottla_shuttle)) {
        // There is no time in a model, and no thread to wake this one.
        return yield_now();
    }
    let nobody = Signal::default();
    let length = PAUSE.saturating_mul(1 << times.min(DOUBLED_MAX));
    clock.wait(&mut nobody.ticket(), clock.until(length), None);
}

/// The last error that did not count, and how often it came.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    said: Option<String>,
    times: u32,
}

impl Doubts {
    /// Whether an error has not come often enough to count (2); pauses if so.
    pub(super) fn dismiss(&mut self, clock: &Clock, error: &Error) -> bool {
        let says = error.to_string();
        if self.said.as_ref() != Some(&says) {
            self.said = Some(says);
            self.times = 0;
        }
        self.times = self.times.saturating_add(1);
        let dismissed = self.times < TIMES_MAX;
        if dismissed {
            pause(clock, self.times);
        }
        dismissed
    }
}

/// Repeats a look until its result counts. Returns that, and the signs from before the look.
pub(crate) fn look_until_it_counts<S: Signs, T>(
    clock: &Clock,
    signs: impl Fn() -> Result<S>,
    mut look: impl FnMut() -> Result<T>,
) -> Result<(T, S)> {
    let mut doubts = Doubts::default();
    let mut moved = 0_u32;
    loop {
        let before = signs()?;
        let looked = look();
        let after = signs()?;
        match looked {
            Ok(found) if before.hold_in(&after) || moved >= TIMES_MAX => {
                return Ok((found, before));
            }
            Ok(_) => moved = moved.saturating_add(1),
            Err(error) => {
                let stands = before == after && !after.is_live();
                if stands || !is_about_files(&error) || !doubts.dismiss(clock, &error) {
                    return Err(error);
                }
            }
        }
    }
}

pub(super) fn is_about_files(error: &Error) -> bool {
    matches!(
        error,
        Error::Corrupt { .. } | Error::Io { .. } | Error::Unsupported { .. }
    )
}
