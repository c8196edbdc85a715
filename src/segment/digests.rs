//! The digest beside a segment: when it is believed, and what follows from it for readers.
//!
//! Knows nothing about when digests are made. They are hints: one that is missing, torn or of an
//! older state of the segment is as good as none.

use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::format::index::OffsetEntry;
use crate::format::{
    Digest, DigestBuilder, DigestSummary, FileKind, FileName, MarkKey, SUMMARY_LEN, log_hash,
};
use crate::sync::Ordering;
use crate::types::{Offset, Position, to_usize};

use super::guard::{Guard, Landing};
use super::{OpenFiles, Segment, SparseIndex, relative, write_whole};

/// Two index intervals of Kafka's default.
const LONG_BATCH: u32 = 8192;

impl Segment {
    /// The path of the digest.
    pub(crate) fn digest_path(&self) -> PathBuf {
        let name = FileName::segment(self.base_offset, FileKind::Digest);
        self.dir.join(name.to_string())
    }

    /// What the digest says of the segment as a whole, if there is one of it.
    pub(crate) fn digest_summary(&self, disk: &Disk) -> Option<DigestSummary> {
        let mut front = [0; SUMMARY_LEN];
        disk.read_front(&self.digest_path(), &mut front).ok()?;
        self.own(DigestSummary::decode(&front)?)
    }

    /// The digest, if there is one of this segment. It may describe an earlier, shorter state.
    pub(crate) fn digest(&self, disk: &Disk) -> Option<Digest> {
        let limit = self.digest_summary(disk)?.file_len();
        let bytes = disk.read_small(&self.digest_path(), limit).ok()??;
        let digest = Digest::decode(&bytes)?;
        self.own(digest.summary).map(|_| digest)
    }

    fn own(&self, summary: DigestSummary) -> Option<DigestSummary> {
        (summary.base_offset == self.base_offset).then_some(summary)
    }

    /// Writes the digest, in place of an older one; not synced. Nothing is written once the digest
    /// was retired.
    pub(crate) fn write_digest(&self, disk: &Disk, digest: &Digest) -> Result<()> {
        if self.is_retired() {
            return Ok(());
        }
        write_whole(disk, &self.digest_path(), &digest.encode())
    }

    /// Writes the digest of the last segment of a log, whose batches were all read while the log
    /// was opened, and are synced by now. It is a hint, so a failure is no reason to fail. What is
    /// known of gaps stays, for appends go on from it.
    pub(crate) fn write_scanned_digest(&self, disk: &Disk, builder: DigestBuilder, log: MarkKey) {
        let Some(index_crcs) = self.index_crcs_known() else {
            return;
        };
        let mut digest = builder.finish(self.next_offset(), index_crcs);
        digest.summary.home = log_hash(log);
        drop(self.write_digest(disk, &digest));
    }

    /// What the batches are checked against, by the digest where nobody has said.
    pub(crate) fn guard(&self, disk: &Disk) -> Guard {
        let mut slot = self.guard.lock();
        if let Some(guard) = &*slot {
            return guard.clone();
        }
        let end = self.end();
        let guard = match self.digest_summary(disk) {
            Some(summary) if summary.length == end && summary.dense => Guard::Dense,
            Some(summary) if summary.length <= end => self.sealed_guard(disk),
            _ => Guard::Rising,
        };
        // The digest of a segment that took its place goes by the same name.
        if self.is_gone() || self.is_replaced(disk) {
            return Guard::Rising;
        }
        *slot = Some(guard.clone());
        guard
    }

    fn sealed_guard(&self, disk: &Disk) -> Guard {
        let digest = self.digest(disk);
        digest.map_or(Guard::Rising, Guard::sealed)
    }

    /// Says what the batches are to be checked against.
    pub(crate) fn set_guard(&self, guard: Guard) {
        *self.guard.lock() = Some(guard);
    }

    /// Holds the batches against a digest that was just made.
    pub(crate) fn guard_by(&self, digest: Digest) {
        self.set_guard(if digest.summary.dense {
            Guard::Dense
        } else {
            Guard::sealed(digest)
        });
    }

    /// Takes in what a digest says that was just written.
    pub(crate) fn learn_from(&self, digest: &DigestSummary) {
        // With gaps, it is read when it is needed.
        *self.guard.lock() = digest.dense.then_some(Guard::Dense);
    }

    /// Takes the digest for one of other bytes: somebody else may have written the segment since.
    pub(crate) fn distrust_digest(&self) {
        self.set_guard(Guard::Rising);
    }

    /// Whether it is known that there are no gaps, and so that the next batch must not make one.
    pub(crate) fn is_dense(&self) -> bool {
        matches!(&*self.guard.lock(), Some(Guard::Dense))
    }

    /// Forgets what can be read again and takes memory.
    pub(super) fn forget_digest(&self) {
        let mut slot = self.guard.lock();
        if matches!(&*slot, Some(Guard::Sealed(_))) {
            *slot = None;
        }
    }

    /// The beginning, as a place to read from.
    pub(crate) fn start(&self, disk: &Disk) -> Landing {
        Landing {
            position: Position::ZERO,
            floor: self.base_offset,
            first_next: None,
            guard: self.guard(disk),
        }
    }

    /// The place to read from to find an offset: every batch that ends above it lies
    /// there or behind it.
    pub(crate) fn landing(
        self: &Arc<Self>,
        offset: Offset,
        disk: &Disk,
        pool: &OpenFiles,
    ) -> Result<Landing> {
        let start = self.start(disk);
        let Some(relative) = relative(self.base_offset, offset).filter(|relative| *relative > 0)
        else {
            return Ok(start);
        };
        let entry = self.with_index(disk, pool, |index| index.entry_for(relative))?;
        let Some(entry) = entry else {
            return Ok(start);
        };
        let last = self
            .base_offset
            .saturating_add(u64::from(entry.relative_offset));
        Ok(Landing {
            position: Position(u64::from(entry.position)),
            first_next: Some(last.saturating_add(1)),
            ..start
        })
    }

    /// Where to look first for the record at an offset, of a segment that is known to have no gaps,
    /// and how many bytes to read there; `None` where nothing better than [`Self::landing`] is
    /// known.
    pub(crate) fn spot(
        self: &Arc<Self>,
        offset: Offset,
        disk: &Disk,
        pool: &OpenFiles,
    ) -> Result<Option<(Landing, usize)>> {
        let guard @ Guard::Dense = self.guard(disk) else {
            return Ok(None);
        };
        let Some(relative) = relative(self.base_offset, offset) else {
            return Ok(None);
        };
        let around = self.with_index(disk, pool, |index| index.entries_around(relative))?;
        let end = u32::try_from(self.end().0).unwrap_or(u32::MAX);
        let place = |entry: Option<OffsetEntry>| entry.map_or(end, |entry| entry.position);
        let [floor, next, after] = around;
        let begin = floor.map_or(0, |floor| floor.position);
        // Entries so far apart have a batch that is long between them, most likely all of it: then
        // the next entry names the batch itself.
        let apart = place(next).saturating_sub(begin) > LONG_BATCH;
        let (at, to) = if apart && next.is_some() {
            (next, place(after))
        } else {
            (floor, place(next))
        };
        let last = at.map(|at| {
            self.base_offset
                .saturating_add(u64::from(at.relative_offset))
        });
        let position = at.map_or(0, |at| at.position);
        let landing = Landing {
            position: Position(u64::from(position)),
            floor: self.base_offset,
            first_next: last.map(|last| last.saturating_add(1)),
            guard,
        };
        Ok(Some((
            landing,
            to_usize(u64::from(to.saturating_sub(position))),
        )))
    }

    /// The checksums of both index files as the indexes in memory would have them.
    pub(crate) fn index_crcs(index: &SparseIndex) -> (u32, u32) {
        let (offsets, times) = index.encode();
        (crc32fast::hash(&offsets), crc32fast::hash(&times))
    }

    /// The same for indexes that are in memory; `None` where they are not loaded.
    pub(crate) fn index_crcs_known(&self) -> Option<(u32, u32)> {
        self.index.read().as_ref().map(Self::index_crcs)
    }

    /// Removes the digest, durably once the directory is synced: what it describes is about to
    /// change.
    pub(crate) fn remove_digest(&self, disk: &Disk) -> Result<()> {
        let path = self.digest_path();
        match disk.remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io(&path, "remove", error));
            }
            _ => {}
        }
        let mut guard = self.guard.lock();
        if !matches!(&*guard, Some(Guard::Dense)) {
            *guard = Some(Guard::Rising);
        }
        Ok(())
    }

    /// Removes the digest for good: another segment is about to take its name. The thread that
    /// makes digests must be kept out meanwhile.
    pub(crate) fn retire_digest(&self, disk: &Disk) -> Result<()> {
        self.retired.store(true, Ordering::Release);
        self.remove_digest(disk)
    }

    /// Whether another segment is about to take its name.
    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// Removes a digest that says that another segment comes next than this one.
    pub(crate) fn remove_digest_unless_next(
        &self,
        disk: &Disk,
        next_base: Option<Offset>,
    ) -> Result<()> {
        match (self.digest_summary(disk), next_base) {
            (Some(digest), Some(next)) if digest.next_offset == next => Ok(()),
            (None, _) => Ok(()),
            _ => self.remove_digest(disk),
        }
    }

    /// Removes a digest that covers bytes from a place on; true when there was one. Durable once
    /// the directory is synced.
    pub(crate) fn drop_digest_above(&self, disk: &Disk, end: Position) -> Result<bool> {
        let digest = self.digest_summary(disk);
        let above = digest.is_some_and(|digest| digest.length > end);
        if above {
            self.remove_digest(disk)?;
        }
        Ok(above)
    }

    /// Whether the digest vouches for indexes that were read; `None` without one of this state.
    pub(crate) fn vouches_for(&self, index: &SparseIndex, disk: &Disk) -> Option<bool> {
        let summary = self.digest_summary(disk)?;
        (summary.length == self.end()).then(|| summary.index_crcs == Self::index_crcs(index))
    }
}
