//! The directory of a partition: creates, inspects and removes it.
//!
//! Knows nothing about what a log keeps in its files. Removes only names that are ours or Kafka's,
//! one by one, never a tree.
//!
//! 1. `partition.metadata` is removed last: until then it is known which topic the directory
//!    belongs to.
//! 2. The catalog can restore the contents of a new directory, so nothing waits for their sync.

use std::path::{Path, PathBuf};

use crate::disk::{Disk, EntryKind, is_unusable_file};
use crate::error::{Error, IoContext, Result};
use crate::format::{Corruption, FileKind, FileName, file_name, properties};
use crate::types::{PartitionId, TopicId, TopicName};

#[derive(Debug)]
pub(crate) struct PartitionDir {
    path: PathBuf,
    id: TopicId,
}

/// What is in a directory that belongs to no topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    /// The owner, if `partition.metadata` is readable.
    pub(crate) id: Option<TopicId>,
    /// It has files of a log that are not empty.
    pub(crate) data: bool,
    /// It has names that are neither ours nor Kafka's.
    pub(crate) foreign: bool,
}

impl PartitionDir {
    pub(crate) fn new(root: &Path, topic: &TopicName, id: TopicId, partition: PartitionId) -> Self {
        let path = root.join(file_name::partition_dir(topic.as_str(), partition));
        Self { path, id }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn exists(&self, disk: &Disk) -> Result<bool> {
        disk.exists(&self.path).at(&self.path, "access")
    }

    /// Creates the directory and its `partition.metadata`, if either is missing or the latter was
    /// torn; returns whether it did. The names are durable after [`PartitionDir::sync_root`], the
    /// contents of the file after [`PartitionDir::sync`] (I2).
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if the directory belongs to another topic.
    pub(crate) fn make(&self, disk: &Disk) -> Result<bool> {
        let existed = self.exists(disk)?;
        if !existed {
            disk.create_dir(&self.path)
                .at(&self.path, "create the directory")?;
        }
        let path = self.path.join(file_name::PARTITION_METADATA);
        match self.owner(disk)? {
            Some(owner) if owner == self.id => return Ok(!existed),
            Some(_) => return Err(self.of_other_topic()),
            None => {}
        }
        let file = match disk.create(&path) {
            Err(taken) if taken.kind() == std::io::ErrorKind::AlreadyExists => {
                disk.remove_file(&path).at(&path, "remove")?;
                disk.create(&path).at(&path, "create")?
            }
            file => file.at(&path, "create")?,
        };
        let text = properties::encode_partition(self.id);
        file.write_at(0, text.as_bytes()).at(&path, "write")?;
        Ok(true)
    }

    /// The error for a directory that belongs to another topic.
    #[cold]
    pub(crate) fn of_other_topic(&self) -> Error {
        let reason = Corruption::malformed("the directory belongs to another topic of that name");
        Error::corrupt(&self.path.join(file_name::PARTITION_METADATA), 0, reason)
    }

    pub(crate) fn is_of_other_topic(&self, disk: &Disk) -> Result<bool> {
        Ok(self.owner(disk)?.is_some_and(|owner| owner != self.id))
    }

    fn owner(&self, disk: &Disk) -> Result<Option<TopicId>> {
        owner_of(disk, &self.path)
    }

    /// Makes what [`PartitionDir::make`] wrote durable, if there is a directory.
    pub(crate) fn sync(&self, disk: &Disk) -> Result<()> {
        if !self.exists(disk)? {
            return Ok(());
        }
        let path = self.path.join(file_name::PARTITION_METADATA);
        let file = disk
            .open(&path, crate::disk::Access::Write)
            .at(&path, "open")?;
        file.sync_data().at(&path, "sync")?;
        disk.sync_dir(&self.path).at(&self.path, "sync")
    }

    pub(crate) fn sync_root(disk: &Disk, root: &Path) -> Result<()> {
        disk.sync_dir(root).at(root, "sync")
    }

    pub(crate) fn inspect(disk: &Disk, path: &Path) -> Result<Contents> {
        let mut contents = Contents {
            id: owner_of(disk, path)?,
            ..Contents::default()
        };
        for entry in disk.list(path).at(path, "list")? {
            if entry.kind != EntryKind::File || !is_removable(&entry.name) {
                contents.foreign = true;
            } else if holds_records(&entry.name) {
                let file = path.join(&entry.name);
                contents.data |= disk.file_len(&file).at(&file, "access")? > 0;
            }
        }
        Ok(contents)
    }

    /// Removes the files of a log, and then the directory (I1), unless something foreign is in it:
    /// then returns false. Durable only after [`PartitionDir::sync_root`].
    pub(crate) fn remove(disk: &Disk, path: &Path) -> Result<bool> {
        if !disk.exists(path).at(path, "access")? {
            return Ok(true);
        }
        let mut foreign = false;
        let mut metadata = false;
        for entry in disk.list(path).at(path, "list")? {
            if entry.kind != EntryKind::File || !is_removable(&entry.name) {
                foreign = true;
            } else if entry.name == file_name::PARTITION_METADATA {
                metadata = true;
            } else {
                let file = path.join(&entry.name);
                disk.remove_file(&file).at(&file, "remove")?;
            }
        }
        if metadata {
            let file = path.join(file_name::PARTITION_METADATA);
            disk.remove_file(&file).at(&file, "remove")?;
        }
        if foreign {
            return Ok(false);
        }
        disk.remove_dir(path).at(path, "remove the directory")?;
        Ok(true)
    }
}

/// The topic in `partition.metadata`; `None` if that is missing, torn or damaged.
pub(crate) fn owner_of(disk: &Disk, dir: &Path) -> Result<Option<TopicId>> {
    let path = dir.join(file_name::PARTITION_METADATA);
    let text = match disk.read_small(&path, properties::SIZE_MAX) {
        Err(error) if is_unusable_file(&error) => None,
        text => text.at(&path, "read")?,
    };
    Ok(text.and_then(|text| properties::decode_partition(&text).ok()))
}

/// Whether a name is ours or Kafka's, with or without the suffix of a temporary file.
fn is_removable(name: &str) -> bool {
    let live_name = name
        .strip_suffix(file_name::TEMPORARY_SUFFIX)
        .unwrap_or(name);
    live_name == file_name::TRUNCATE
        || !matches!(
            FileName::parse(live_name),
            FileName::Foreign | FileName::Misnamed | FileName::Temporary
        )
}

/// Whether a file holds records, which may exist nowhere else.
fn holds_records(name: &str) -> bool {
    matches!(
        FileName::parse(name),
        FileName::Segment {
            kind: FileKind::Log,
            ..
        } | FileName::Quarantine { .. }
    )
}

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
