//! Looking at a log that another handle, maybe of another process, is writing: what of a look
//! counts, and when to look again.
//!
//! Knows nothing about batches. A read-only opening takes no lock, so its files are
//! removed, replaced and cut under it at any moment. An error about them counts only when nothing
//! shows that the writer had its hands in them meanwhile.
//!
//! 1. [`Signs`] are what a writer changes when it removes, replaces or cuts files: which files of
//!    segments there are and which file each is, the note of a truncation, and the number of the
//!    flushed mark, which rises before that note goes.
//! 2. An error counts at once when nobody holds the lock and the signs are what they were before.
//!    A writer may be in the middle of anything for a while: beside one, an error counts when it
//!    comes back so often, for damage stays and what a writer does passes.
//! 3. Before every further look there is a longer pause, so that a writer can finish what it began.
//! 4. A topic that the catalog no longer has is being deleted: what is missing of it is no damage.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::disk::{Disk, FileId};
use crate::error::{Error, IoContext, Result};
use crate::format::{FileKind, FileName, MarkKey, file_name};
use crate::host::{Host, Standing};
use crate::recovery::{LogSource, OpenMode};
use crate::sync::thread::yield_now;
use crate::sync::{Mutex, Signal};
use crate::types::LogConfig;

use super::looks::Looks;
use super::open;
use super::seen::Seen;
use super::shared::Shared;

/// How often the same error comes before it counts (2): with the pauses, within about a second.
const TIMES_MAX: u32 = 20;

/// How long to wait before the first further look, and how often that is doubled.
const PAUSE: Duration = Duration::from_millis(1);
const DOUBLED_MAX: u32 = 6;

/// What a writer changes in a directory when it removes, replaces or cuts files.
pub(crate) trait Signs: PartialEq {
    /// Whether what was seen with these signs is still so with later ones: what was only added
    /// since takes nothing back.
    fn hold_in(&self, later: &Self) -> bool;

    /// Whether somebody is writing, and so may be in the middle of something.
    fn is_live(&self) -> bool;
}

/// The signs of one log (1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogSigns {
    /// A directory of the same name may be another topic's.
    dir: Option<FileId>,
    /// The `.log` files under whatever name, and the note of a truncation; of one that went
    /// meanwhile nothing is known.
    files: BTreeMap<String, Option<FileId>>,
    live: bool,
    /// The number of the newest flushed mark.
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

/// The signs of the files of a root.
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

/// Whether somebody holds the lock of a directory. Where the system cannot tell, nobody does.
pub(crate) fn is_live(disk: &Disk, home: &Path) -> bool {
    disk.is_locked(&home.join(file_name::LOCK)).unwrap_or(false)
}

/// Lets a little time pass, so that a writer can finish what it began (3).
pub(crate) fn pause(clock: &Clock, times: u32) {
    if cfg!(all(test, ottla_shuttle)) {
        // There is no time in a model, and nobody to wake this thread.
        return yield_now();
    }
    let nobody = Signal::default();
    let length = PAUSE.saturating_mul(1 << times.min(DOUBLED_MAX));
    clock.wait(&mut nobody.ticket(), clock.until(length), None);
}

/// The last error that did not count.
#[derive(Debug, Default)]
struct Doubts {
    said: Option<String>,
    times: u32,
}

impl Doubts {
    /// Whether an error has not come often enough to count (2); waits a little then.
    fn dismiss(&mut self, clock: &Clock, error: &Error) -> bool {
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

/// Runs a look at files that somebody may be writing, again and again until what it says counts;
/// gives the signs from before that look, too.
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

/// Whether an error may come of files that were changed meanwhile.
fn is_about_files(error: &Error) -> bool {
    matches!(
        error,
        Error::Corrupt { .. } | Error::Io { .. } | Error::Unsupported { .. }
    )
}

/// What a log that was opened read-only knows of its directory.
#[derive(Debug)]
pub(crate) struct Outside {
    pub(super) home: PathBuf,
    pub(super) known: Mutex<Known>,
    pub(crate) looks: Arc<Looks>,
}

/// The same, for the thread that looks.
#[derive(Debug)]
pub(super) struct Known {
    signs: LogSigns,
    doubts: Doubts,
    /// What tells a follower whether it must look at the whole directory again.
    pub(super) seen: Seen,
    /// What the writer had published before that was looked at last.
    pub(super) standing: Option<Standing>,
}

/// Looks at a whole directory until the look counts: the log as it is now, and by what it is seen
/// that there is more.
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

/// Opens a log read-only. `home` is the directory with its lock and its marks.
pub(super) fn open_outside(
    host: &Arc<Host>,
    home: &Path,
    source: &LogSource,
    config: &LogConfig,
) -> Result<Arc<Shared>> {
    let (shared, seen, signs) = look(host, home, source, config)?;
    shared.begin_to_follow(host.marks.find(source.mark_key), signs.live);
    let known = Known {
        signs,
        doubts: Doubts::default(),
        seen,
        standing: None,
    };
    let outside = Outside {
        home: home.to_path_buf(),
        known: Mutex::new(known),
        looks: Looks::at(&shared),
    };
    // Nobody else has it yet.
    shared.outside.get_or_init(|| outside);
    Ok(shared)
}

/// The error, unless the topic was deleted: then the log is closed, as for its writer.
fn unless_gone(host: &Host, source: &LogSource, error: Error) -> Error {
    if host.is_listed(source.mark_key.topic) {
        error
    } else {
        Error::Closed
    }
}

impl Shared {
    /// The log for one more look at it.
    fn source(&self) -> LogSource {
        LogSource {
            dir: self.dir.to_path_buf(),
            mark_key: self.mark_key(),
            lock: None,
            managed: self.managed,
        }
    }

    /// What an error means in a log that is only looked at: `Ok` when the writer has changed its
    /// files meanwhile, and the log has looked at the directory again; else the error.
    #[cold]
    pub(super) fn doubt_outside(&self, outside: &Outside, error: Error) -> Result<()> {
        if !is_about_files(&error) {
            return Err(error);
        }
        self.life.can_read()?;
        let (host, source) = (&self.host, self.source());
        let mut known = outside.known.lock();
        let signs = LogSigns::of(host, &outside.home, &self.dir, source.mark_key);
        let now = signs.map_err(|error| unless_gone(host, &source, error))?;
        if now.dir != known.signs.dir {
            return Err(Error::Closed);
        }
        if !known.signs.hold_in(&now) {
            // What was said before was of other files.
            known.doubts = Doubts::default();
        }
        let stands = now == known.signs && !now.live;
        if stands || !known.doubts.dismiss(&host.clock, &error) {
            return Err(unless_gone(host, &source, error));
        }
        self.look_again(outside, &mut known)
    }

    /// Looks at the whole directory again, and goes on with what is there now.
    pub(super) fn look_again(&self, outside: &Outside, known: &mut Known) -> Result<()> {
        let (host, source) = (&self.host, self.source());
        let (found, seen, signs) = look(host, &outside.home, &source, &self.config())?;
        if found.end_offset() < self.end_offset() && !host.is_listed(source.mark_key.topic) {
            // Half of the files of a topic that is being deleted.
            return Err(Error::Closed);
        }
        if !seen.is_same_log(&known.seen) {
            return Err(Error::Closed);
        }
        known.signs = signs;
        known.seen = seen;
        self.go_on_as(&found);
        Ok(())
    }
}
