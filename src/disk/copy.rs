//! Copies of files: for backups, and of a file with several names before it is written.
//!
//! Knows nothing about what the bytes mean.
//!
//! 1. A copy that ends early is an error.
//! 2. Bytes of a copy that are already there are not written again, but synced: their writer may
//!    not have synced them.

use std::io;
use std::path::{Path, PathBuf};

use crate::types::{to_u64, to_usize};

use super::{Access, Disk, File, FileId, advance, parent, with_suffix};

const CHUNK: u64 = 256 << 10;

impl FileId {
    /// Device, number, and when it was made in milliseconds.
    pub(crate) fn parts(self) -> (u64, u64, i64) {
        (self.device, self.number, self.made.as_millis())
    }
}

impl Disk {
    /// The path with its links resolved; the part that does not exist is kept as it is.
    pub(crate) fn real_path(&self, path: &Path) -> io::Result<PathBuf> {
        match self {
            Self::Os(disk) => disk.real_path(path),
            #[cfg(any(all(test, ottla_repository), ottla_sim))]
            Self::Sim(_) => Ok(path.to_path_buf()),
        }
    }

    /// Gives a file a second name. [Opening](Self::open) either for writing first replaces it by a
    /// copy. Fails across file systems, and where there are no hard links.
    pub(crate) fn hard_link(&self, there: &Path, new: &Path) -> io::Result<()> {
        match self {
            Self::Os(disk) => disk.hard_link(there, new),
            #[cfg(any(all(test, ottla_repository), ottla_sim))]
            Self::Sim(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Makes a file hold the first `len` bytes of another and nothing else, durably except for its
    /// name; returns how many were written. Fails with `UnexpectedEof` when there are fewer; some
    /// may then be written.
    pub(crate) fn copy_front(&self, from: &File, len: u64, to: &Path) -> io::Result<u64> {
        let (file, there) = match self.open(to, Access::Write) {
            Ok(file) => {
                let there = file.len()?;
                (file, there)
            }
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => (self.create(to)?, 0),
            Err(error) => return Err(error),
        };
        let mut written = if there == 0 {
            file.take_front(from, len)?
        } else {
            0
        };
        let mut at = written;
        let chunk = to_usize(CHUNK.min(len.saturating_sub(at)));
        let (mut ours, mut theirs) = (vec![0; chunk], vec![0; chunk]);
        while at < len {
            let wanted = to_usize(CHUNK.min(len.saturating_sub(at)));
            ours.truncate(wanted);
            if from.read_at(at, &mut ours)? < wanted {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let known = if at < there {
                file.read_at(at, &mut theirs)?
            } else {
                0
            };
            let pairs = ours.iter().zip(theirs.iter().take(known));
            let same = pairs.take_while(|(ours, theirs)| ours == theirs).count();
            if let Some(other) = ours.get(same..).filter(|other| !other.is_empty()) {
                file.write_at(advance(at, same), other)?;
                written = written.saturating_add(to_u64(other.len()));
            }
            at = advance(at, wanted);
        }
        if there > len {
            file.set_len(len)?;
        }
        file.sync_data()?;
        Ok(written)
    }

    /// Replaces a file that has several names by a copy of its own, and opens that.
    pub(super) fn unshare(&self, path: &Path, shared: &File) -> io::Result<File> {
        let temporary = with_suffix(path, ".tmp");
        match self.remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let modified = self.modified(path)?;
        let copied = self
            .copy_front(shared, shared.len()?, &temporary)
            .and_then(|_| self.set_modified(&temporary, modified))
            .and_then(|()| self.rename(&temporary, path));
        if copied.is_err() {
            self.remove_file(&temporary).ok();
        }
        copied?;
        self.sync_dir(parent(path))?;
        self.open(path, Access::Write)
    }
}

impl File {
    /// Has the system copy into this empty file; returns how many bytes it copied.
    fn take_front(&self, from: &Self, len: u64) -> io::Result<u64> {
        match (self, from) {
            (Self::Os(to), Self::Os(from)) => to.copy_from(from, len),
            #[cfg(any(all(test, ottla_repository), ottla_sim))]
            _ => Ok(0),
        }
    }
}
