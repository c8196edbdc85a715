//! Where a log that is opened alone lives: in a directory of its own, or as a partition of a root
//! whose broker must not be running.
//!
//! Knows nothing about recovery. A directory of its own holds its own `.lock` and `ottla.marks`;
//! a partition of a root uses those of the root.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock::Clock;
use crate::disk::{Disk, EntryKind, Lock};
use crate::error::{Error, IoContext, Result};
use crate::format::{DirName, MarkKey, file_name};
use crate::sync::{Signal, deadline};
use crate::types::{PartitionId, Sabotage, TopicId};

use super::backup::refuse_unfinished;
use super::checkpoints::mark_alone;
use super::outside::{RootSigns, look_until_it_counts, open_outside};
use super::root::{RootFacts, keep_brokers_away};
use super::trace::Span;
use super::{Host, Log, LogConfig, LogSource, Marks, OpenMode, open};

/// The largest small text file that is read, in bytes.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// Opens a log that no broker manages.
pub(super) fn open_alone(dir: &Path, config: LogConfig, mode: OpenMode) -> Result<Log> {
    open_alone_on(&Disk::os(), &Clock::System, dir, config, mode, false)
}

/// The same on any disk and clock, for tests.
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
        make_dir(disk, dir)?;
    }
    if is_root(disk, dir)? {
        return Err(Error::Unsupported {
            what: format!("{} holds topics: open it with Broker::open", dir.display()),
        });
    }
    let (home, mark_key) = home_of(disk, dir)?;
    refuse_unfinished(disk, &home)?;
    let marks_path = home.join(file_name::MARKS);
    let in_root = home != *dir;
    let (lock, marks) = match mode {
        OpenMode::Write => {
            let lock = take_lock(disk, &home, config.lock_timeout)?;
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
        OpenMode::Write => open::open(&host, source, config, mode)?,
        OpenMode::Read => open_outside(&host, &home, &source, &config)?,
    };
    shared.note_opening();
    host.events.pass_on();
    Ok(Log::kept(shared))
}

/// Opens a log in a directory of its own whose lock the caller has taken, whatever the directory
/// says of itself. Everything is done in line.
pub(super) fn open_locked(
    disk: &Disk,
    clock: &Clock,
    dir: &Path,
    config: LogConfig,
    lock: Lock,
) -> Result<Log> {
    let marks = Marks::open(disk, &dir.join(file_name::MARKS))?;
    let host = Host::new(disk.clone(), clock.clone(), marks, true);
    let source = LogSource {
        dir: dir.to_path_buf(),
        mark_key: MarkKey::default(),
        lock: Some(lock),
        managed: false,
    };
    let shared = open::open(&host, source, config, OpenMode::Write)?;
    Ok(Log::kept(shared))
}

/// Whether a broker has used a root since we did, also where somebody is writing it.
fn is_newer(disk: &Disk, clock: &Clock, root: &Path) -> Result<bool> {
    let signs = || RootSigns::of(disk, root);
    let looked = look_until_it_counts(clock, signs, || RootFacts::of(disk, root));
    looked.map(|(facts, _)| facts.is_newer())
}

/// A partition of a root is about to change: no broker may start on it before a
/// [`Broker`](crate::Broker) has opened and closed the root, which says how far each log goes.
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

/// Makes the directory of a log, durably, when it is not there.
///
/// The lock file is made after the name of the directory is durable: without one, the process that
/// made the directory may have failed or been killed before, and the name is synced again.
pub(crate) fn make_dir(disk: &Disk, dir: &Path) -> Result<()> {
    let missing = !disk.exists(dir).at(dir, "access")?;
    if missing {
        make_parents(disk, dir)?;
    }
    disk.create_dir(dir).at(dir, "create the directory")?;
    let lock = dir.join(file_name::LOCK);
    let unfinished = missing || !disk.exists(&lock).at(&lock, "access")?;
    let (true, Some(parent)) = (unfinished, parent_of(dir)) else {
        return Ok(());
    };
    if Sabotage::ParentNotSynced.is_on() {
        return Ok(());
    }
    match disk.sync_dir(parent) {
        // A directory that somebody else made for us, in one that we may not even list.
        Err(error) if !missing && error.kind() == ErrorKind::PermissionDenied => Ok(()),
        synced => synced.at(parent, "sync"),
    }
}

/// Makes the parents of a directory that are not there, each durably before the next one: from the
/// top, so that a name is never durable before the name above it.
fn make_parents(disk: &Disk, dir: &Path) -> Result<()> {
    let mut missing = Vec::new();
    let mut above = parent_of(dir);
    while let Some(parent) = above {
        if disk.exists(parent).at(parent, "access")? {
            break;
        }
        missing.push(parent);
        above = parent_of(parent);
    }
    for parent in missing.into_iter().rev() {
        disk.create_dir(parent).at(parent, "create the directory")?;
        if let Some(above) = parent_of(parent) {
            disk.sync_dir(above).at(above, "sync")?;
        }
    }
    Ok(())
}

/// How long a lock that is held is left alone before it is tried again.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Takes the lock of a root or of a log's own directory, waiting for so long if somebody has it: a
/// supervisor restarts a process faster than the system ends the one that was killed.
pub(crate) fn take_lock(disk: &Disk, home: &Path, patience: Duration) -> Result<Lock> {
    let path = home.join(file_name::LOCK);
    let pauses = patience.as_millis().div_ceil(LOCK_PAUSE.as_millis());
    let nobody = Signal::default();
    for pause in 0..=pauses {
        if let Some(lock) = disk.lock(&path).at(&path, "lock")? {
            return Ok(lock);
        }
        if pause < pauses {
            // Counted and not timed, so that a clock that a test holds does not make it endless.
            let until = deadline(Clock::System.instant(), LOCK_PAUSE);
            nobody.ticket().wait_until(until);
        }
    }
    let pid = holder_of(disk, &path);
    Err(Error::Locked { path, pid })
}

/// The process that a lock file names. It may have died since, and something else may have the
/// lock.
fn holder_of(disk: &Disk, lock: &Path) -> Option<u32> {
    let mut front = [0; 16];
    let length = disk.read_front(lock, &mut front).ok()?;
    let text = std::str::from_utf8(front.get(..length)?).ok()?;
    text.trim().parse().ok()
}

/// Whether a directory is a root: it holds topics, ours or a broker's.
pub(crate) fn is_root(disk: &Disk, dir: &Path) -> Result<bool> {
    let own = [
        file_name::CATALOG,
        file_name::META_PROPERTIES,
        file_name::ROOT,
        file_name::BOOTSTRAP,
    ];
    for name in own {
        let path = dir.join(name);
        if disk.exists(&path).at(&path, "access")? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a directory is a root, or was one before its own files were lost: it holds partitions
/// that say to which topic they belong.
pub(crate) fn seems_root(disk: &Disk, dir: &Path) -> Result<bool> {
    if is_root(disk, dir)? {
        return Ok(true);
    }
    for entry in disk.list(dir).at(dir, "list")? {
        let parsed = DirName::parse(&entry.name);
        if entry.kind == EntryKind::Dir && matches!(parsed, DirName::Partition { .. }) {
            let path = dir.join(&entry.name).join(file_name::PARTITION_METADATA);
            if disk.exists(&path).at(&path, "access")? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// The directory with the lock and the marks of a log, and the key of its marks.
pub(crate) fn home_of(disk: &Disk, dir: &Path) -> Result<(PathBuf, MarkKey)> {
    let alone = MarkKey {
        topic: TopicId::default(),
        partition: 0,
    };
    let name = dir
        .file_name()
        .and_then(|name| name.to_str())
        .map(DirName::parse);
    let (Some(root), Some(DirName::Partition { partition, .. })) = (parent_of(dir), name) else {
        return Ok((dir.to_path_buf(), alone));
    };
    if !is_root(disk, root)? {
        return Ok((dir.to_path_buf(), alone));
    }
    Ok((root.to_path_buf(), key_of(disk, dir, partition)?))
}

/// The key of the marks of a partition.
pub(crate) fn key_of(disk: &Disk, dir: &Path, partition: PartitionId) -> Result<MarkKey> {
    let path = dir.join(file_name::PARTITION_METADATA);
    let text = disk.read_small(&path, TEXT_BYTES_MAX).at(&path, "read")?;
    let topic = text.as_deref().and_then(topic_id_of).unwrap_or_default();
    Ok(MarkKey { topic, partition })
}

/// The parent of a path, which for a bare name is the current directory.
pub(crate) fn parent_of(path: &Path) -> Option<&Path> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Some(Path::new(".")),
        parent => parent,
    }
}

/// The topic id in the text of a `partition.metadata`.
fn topic_id_of(text: &[u8]) -> Option<TopicId> {
    crate::format::properties::decode_partition(text).ok()
}
