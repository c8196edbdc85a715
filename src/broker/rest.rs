//! A root between being in use and being at rest: the files by which a Kafka broker (and the next
//! opening) can tell.
//!
//! Knows nothing about topics. `.kafka_cleanshutdown` is there exactly while the root is at rest
//! after a clean close: it is written last and removed, durably, before anything is changed.

use std::path::Path;

use crate::disk::{Disk, EntryKind};
use crate::error::{Error, IoContext, Result};
use crate::format::{FileKind, FileName, file_name, properties};

/// The broker epoch in the marker: no controller has given one.
const NO_EPOCH: i64 = -1;

/// What kind of directory a root is before it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// There was no catalog: nothing was ever kept here.
    pub(super) fresh: bool,
    /// The last use ended with a close.
    pub(super) clean: bool,
}

/// Looks at a root without changing it.
///
/// # Errors
///
/// [`Error::Unsupported`] when the directory is something else: a log, or a Kafka broker's.
pub(super) fn look_at(disk: &Disk, root: &Path) -> Result<Found> {
    let there = |name: &str| {
        let path = root.join(name);
        disk.exists(&path).at(&path, "look at")
    };
    let fresh = !there(file_name::CATALOG)?;
    if fresh && there(file_name::META_PROPERTIES)? {
        let what = format!("{} was written by a Kafka broker", root.display());
        return Err(Error::Unsupported { what });
    }
    let entries = if fresh {
        disk.list(root).at(root, "list")?
    } else {
        Vec::new()
    };
    if entries
        .iter()
        .any(|entry| entry.kind == EntryKind::File && is_log(&entry.name))
    {
        let what = format!("{} is one log: open it with Log::open", root.display());
        return Err(Error::Unsupported { what });
    }
    Ok(Found {
        fresh,
        clean: there(file_name::CLEAN_SHUTDOWN)?,
    })
}

fn is_log(name: &str) -> bool {
    matches!(
        FileName::parse(name),
        FileName::Segment {
            kind: FileKind::Log,
            ..
        }
    )
}

/// Says, durably, that the root is in use; so the names of files that were just made are durable
/// too.
pub(super) fn leave_rest(disk: &Disk, root: &Path, found: Found) -> Result<()> {
    if found.clean {
        let path = root.join(file_name::CLEAN_SHUTDOWN);
        disk.remove_file(&path).at(&path, "remove")?;
    }
    disk.sync_dir(root).at(root, "sync")
}

/// Says, durably, that the root is at rest: everything else in it is synced.
pub(super) fn come_to_rest(disk: &Disk, root: &Path) -> Result<()> {
    let path = root.join(file_name::CLEAN_SHUTDOWN);
    let text = properties::encode_clean_shutdown(NO_EPOCH);
    disk.replace(&path, text.as_bytes()).at(&path, "write")
}
