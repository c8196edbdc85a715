//! What shows a follower that it must read the whole directory again.
//!
//! Knows nothing about looks (`follow.rs`) and about what an error means (`outside.rs`).

use std::path::Path;

use crate::disk::FileId;
use crate::error::Result;
use crate::format::{MarkKey, checkpoint, file_name};
use crate::host::Host;
use crate::types::Offset;

/// What a writer changes when it removes, replaces or cuts files. Unlike the signs of `signs.rs` it
/// costs the same for any number of segments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    dir: Option<FileId>,
    /// Differs in a directory that was emptied and filled again.
    lock: Option<FileId>,
    /// The file's contents: a truncation adds to them.
    epochs: Option<Vec<u8>>,
    pub(super) cuts: bool,
    cleaned: Offset,
}

impl Seen {
    pub(super) fn of(host: &Host, home: &Path, dir: &Path, key: MarkKey) -> Result<Self> {
        let disk = &host.disk;
        let mark = host.marks.look_again(disk, key)?;
        let epochs = dir.join(file_name::LEADER_EPOCHS);
        let lock = home.join(file_name::LOCK);
        Ok(Self {
            dir: disk.file_id(dir).ok(),
            lock: disk.file_id(&lock).ok().filter(|_| home == dir),
            // Opening reports what keeps it from being read.
            epochs: disk
                .read_small(&epochs, checkpoint::SIZE_MAX)
                .ok()
                .flatten(),
            cuts: disk.exists(&dir.join(file_name::TRUNCATE)).unwrap_or(false),
            cleaned: mark.map_or(0, |mark| mark.cleaned_offset),
        })
    }

    pub(super) fn is_cleaned_to(&self, offset: Offset) -> bool {
        self.cleaned == offset
    }

    pub(super) fn is_same_log(&self, earlier: &Self) -> bool {
        let same_lock = earlier.lock.is_none() || self.lock.is_none() || self.lock == earlier.lock;
        self.dir.is_some() && self.dir == earlier.dir && same_lock
    }
}
