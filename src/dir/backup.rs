//! The note in a directory about the backup that is made into it.
//!
//! Knows nothing about what is copied.

use std::path::Path;

use crate::disk::Disk;
use crate::error::{Error, IoContext, Result};
use crate::format::{BackupNote, backup_note, file_name, uuid};

pub(crate) fn read_note(disk: &Disk, dest: &Path) -> Result<Option<BackupNote>> {
    let path = dest.join(file_name::BACKUP);
    let bytes = disk
        .read_small(&path, backup_note::SIZE_MAX)
        .at(&path, "read")?;
    let note = bytes.map(|bytes| BackupNote::decode(&bytes)).transpose();
    note.map_err(|reason| Error::corrupt(&path, 0, reason))
}

/// An error if the directory is a backup that was not finished.
pub(crate) fn refuse_unfinished(disk: &Disk, dir: &Path) -> Result<()> {
    let path = dir.join(file_name::BACKUP);
    if !disk.exists(&path).at(&path, "access")? {
        return Ok(());
    }
    match read_note(disk, dir)? {
        Some(note) if !note.whole => Err(Error::Unsupported {
            what: format!(
                "{} is a backup that was not finished: make it again, into the same place",
                dir.display(),
            ),
        }),
        _ => Ok(()),
    }
}

pub(crate) fn run_id() -> uuid::Uuid {
    use std::hash::{BuildHasher as _, Hasher as _};
    let random = || {
        let state = std::collections::hash_map::RandomState::new();
        state.build_hasher().finish().to_be_bytes()
    };
    let mut id = [0; 16];
    let (front, back) = id.split_at_mut(8);
    front.copy_from_slice(&random());
    back.copy_from_slice(&random());
    id
}
