//! Where a log lives: in a directory of its own, or as a partition of a root.
//!
//! Knows nothing about the contents of the files. A log in its own directory has its own `.lock`
//! and `ottla.marks`; a partition uses the root's.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, EntryKind};
use crate::error::{IoContext, Result};
use crate::format::{DirName, MarkKey, file_name};
use crate::types::{PartitionId, Sabotage, TopicId};

use super::files::parent_of;

const TEXT_BYTES_MAX: usize = 1 << 20;

/// Creates the directory of a log, durably, if need be.
///
/// The lock file comes only after the directory's name is durable. So without it that name is
/// synced again: the creator may have failed before.
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
        // Another user made it, inside a directory that this process may not even list.
        Err(error) if !missing && error.kind() == ErrorKind::PermissionDenied => Ok(()),
        synced => synced.at(parent, "sync"),
    }
}

/// Creates the missing parents from the top, each durably: no name is durable before the name above
/// it.
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

/// Whether the directory has a file that only roots have.
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

/// [`is_root`], or a root that lost its own files: it still contains partitions with a topic id.
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

/// Where the lock and the marks of a log are, and the key of its marks.
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

fn key_of(disk: &Disk, dir: &Path, partition: PartitionId) -> Result<MarkKey> {
    let path = dir.join(file_name::PARTITION_METADATA);
    let text = disk.read_small(&path, TEXT_BYTES_MAX).at(&path, "read")?;
    let topic = text.as_deref().and_then(topic_id_of).unwrap_or_default();
    Ok(MarkKey { topic, partition })
}

fn topic_id_of(text: &[u8]) -> Option<TopicId> {
    crate::format::properties::decode_partition(text).ok()
}

/// The partitions of a root, sorted, and the keys of their marks. The topic's id is from `ids`,
/// otherwise from the directory.
pub(crate) fn partitions(
    disk: &Disk,
    root: &Path,
    ids: &BTreeMap<String, TopicId>,
) -> Result<Vec<(PathBuf, MarkKey)>> {
    let mut names = partition_names(disk, root)?;
    names.sort();
    let found = names.into_iter().map(|(name, topic, partition)| {
        let dir = root.join(name);
        let known = ids.get(&topic).map(|id| MarkKey {
            topic: *id,
            partition,
        });
        let key = known.unwrap_or_else(|| {
            let key = key_of(disk, &dir, partition);
            key.unwrap_or(MarkKey {
                topic: TopicId::default(),
                partition,
            })
        });
        (dir, key)
    });
    Ok(found.collect())
}

fn partition_names(disk: &Disk, root: &Path) -> Result<Vec<(String, String, PartitionId)>> {
    let entries = disk.list(root).at(root, "list")?;
    let dirs = entries
        .into_iter()
        .filter(|entry| entry.kind == EntryKind::Dir);
    let found = dirs.filter_map(|entry| match DirName::parse(&entry.name) {
        DirName::Partition { topic, partition } => {
            let topic = topic.to_owned();
            Some((entry.name, topic, partition))
        }
        _ => None,
    });
    Ok(found.collect())
}
