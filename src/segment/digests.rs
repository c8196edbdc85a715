//! The digest beside a segment: when it can be trusted, and what readers learn from it.
//!
//! Knows nothing about when digests are made. One that is missing, torn or of an older state of the
//! segment is ignored.

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

use super::known::{Known, ReadStart};
use super::{OpenFiles, Segment, SparseIndex, relative, write_whole};

/// Two of Kafka's default index intervals.
const LONG_BATCH: u32 = 8192;

impl Segment {
    pub(crate) fn digest_path(&self) -> PathBuf {
        let name = FileName::segment(self.base_offset, FileKind::Digest);
        self.dir.join(name.to_string())
    }

    pub(crate) fn digest_summary(&self, disk: &Disk) -> Option<DigestSummary> {
        let mut front = [0; SUMMARY_LEN];
        disk.read_front(&self.digest_path(), &mut front).ok()?;
        self.own(DigestSummary::decode(&front)?)
    }

    /// The digest, which may be of an earlier, shorter state of the segment.
    pub(crate) fn digest(&self, disk: &Disk) -> Option<Digest> {
        let limit = self.digest_summary(disk)?.file_len();
        let bytes = disk.read_small(&self.digest_path(), limit).ok()??;
        let digest = Digest::decode(&bytes)?;
        self.own(digest.summary).map(|_| digest)
    }

    fn own(&self, summary: DigestSummary) -> Option<DigestSummary> {
        (summary.base_offset == self.base_offset).then_some(summary)
    }

    /// Not synced; writes nothing once the digest was retired.
    pub(crate) fn write_digest(&self, disk: &Disk, digest: &Digest) -> Result<()> {
        if self.is_retired() {
            return Ok(());
        }
        write_whole(disk, &self.digest_path(), &digest.encode())
    }

    /// Writes a digest of a log's last segment, whose batches were read at opening and are synced
    /// by now. A failure is ignored, for a digest is a hint. What is known about
    /// gaps stays, because appends continue from it.
    pub(crate) fn write_scanned_digest(&self, disk: &Disk, builder: DigestBuilder, log: MarkKey) {
        let Some(index_crcs) = self.index_crcs_known() else {
            return;
        };
        let mut digest = builder.finish(self.next_offset(), index_crcs);
        digest.summary.home = log_hash(log);
        drop(self.write_digest(disk, &digest));
    }

    /// What batches are compared with: as was set, otherwise as the digest says.
    pub(crate) fn known(&self, disk: &Disk) -> Known {
        let mut slot = self.known.lock();
        if let Some(known) = &*slot {
            return known.clone();
        }
        let end = self.end();
        let known = match self.digest_summary(disk) {
            Some(summary) if summary.length == end && summary.dense => Known::Contiguous,
            // It covers the beginning at least; what was appended since need only rise.
            Some(summary) if summary.length <= end => self.known_by_digest(disk),
            _ => Known::Increasing,
        };
        // The digest of the segment that replaced this one has the same name. So this is checked
        // after the digest was read: checked before, the replacement could come in between.
        if self.is_gone() || self.is_replaced(disk) {
            return Known::Increasing;
        }
        *slot = Some(known.clone());
        known
    }

    fn known_by_digest(&self, disk: &Disk) -> Known {
        let digest = self.digest(disk);
        digest.map_or(Known::Increasing, Known::by_digest)
    }

    pub(crate) fn set_known(&self, known: Known) {
        *self.known.lock() = Some(known);
    }

    pub(crate) fn set_known_by_digest(&self, digest: Digest) {
        self.set_known(if digest.summary.dense {
            Known::Contiguous
        } else {
            Known::by_digest(digest)
        });
    }

    pub(crate) fn learn_from(&self, digest: &DigestSummary) {
        // A segment with gaps needs the whole digest, which is read when it is needed.
        *self.known.lock() = digest.dense.then_some(Known::Contiguous);
    }

    /// Another process may have written the segment since.
    pub(crate) fn distrust_digest(&self) {
        self.set_known(Known::Increasing);
    }

    /// Whether the segment is known to have no gaps: then the next batch must not make one.
    pub(crate) fn is_dense(&self) -> bool {
        matches!(&*self.known.lock(), Some(Known::Contiguous))
    }

    /// Drops a digest in memory, which can be read again.
    pub(super) fn forget_digest(&self) {
        let mut slot = self.known.lock();
        if matches!(&*slot, Some(Known::Digest(_))) {
            *slot = None;
        }
    }

    pub(crate) fn start(&self, disk: &Disk) -> ReadStart {
        ReadStart {
            position: Position::ZERO,
            floor: self.base_offset,
            first_next: None,
            known: self.known(disk),
        }
    }

    /// Where to begin for an offset: every batch that ends above it is there or behind.
    pub(crate) fn read_start(
        self: &Arc<Self>,
        offset: Offset,
        disk: &Disk,
        pool: &OpenFiles,
    ) -> Result<ReadStart> {
        let start = self.start(disk);
        // The base offset is at the start, and an offset that no index can hold has no entry.
        let Some(relative) = relative(self.base_offset, offset).filter(|relative| *relative > 0)
        else {
            return Ok(start);
        };
        let entry = self.with_index(disk, pool, |index| index.entry_for(relative))?;
        // An index has no entry for the first batches of a segment.
        let Some(entry) = entry else {
            return Ok(start);
        };
        let last = self
            .base_offset
            .saturating_add(u64::from(entry.relative_offset));
        // The entry says where this batch ends, which is compared when the batch is read.
        Ok(ReadStart {
            position: Position(u64::from(entry.position)),
            first_next: Some(last.saturating_add(1)),
            ..start
        })
    }

    /// [`Self::read_start`] for a single record: most likely at its batch, and how many bytes to
    /// read. `None` in a segment with gaps.
    pub(crate) fn direct_position(
        self: &Arc<Self>,
        offset: Offset,
        disk: &Disk,
        pool: &OpenFiles,
    ) -> Result<Option<(ReadStart, usize)>> {
        let known @ Known::Contiguous = self.known(disk) else {
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
        // Two entries this far apart have a long batch between them, which most likely fills almost
        // all of the distance: then the next entry names that batch itself.
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
        let read_start = ReadStart {
            position: Position(u64::from(position)),
            floor: self.base_offset,
            first_next: last.map(|last| last.saturating_add(1)),
            known,
        };
        Ok(Some((
            read_start,
            to_usize(u64::from(to.saturating_sub(position))),
        )))
    }

    pub(crate) fn index_crcs(index: &SparseIndex) -> (u32, u32) {
        let (offsets, times) = index.encode();
        (crc32fast::hash(&offsets), crc32fast::hash(&times))
    }

    pub(crate) fn index_crcs_known(&self) -> Option<(u32, u32)> {
        self.index.read().as_ref().map(Self::index_crcs)
    }

    /// Removes the digest, durably once the directory is synced.
    pub(crate) fn remove_digest(&self, disk: &Disk) -> Result<()> {
        let path = self.digest_path();
        match disk.remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io(&path, "remove", error));
            }
            _ => {}
        }
        let mut known = self.known.lock();
        // That there are no gaps was seen in the batches themselves, and is not taken back.
        if !matches!(&*known, Some(Known::Contiguous)) {
            *known = Some(Known::Increasing);
        }
        Ok(())
    }

    /// Removes the digest, and lets no other be written: another segment is about to take its name.
    /// The caller must exclude the thread that makes digests.
    pub(crate) fn retire_digest(&self, disk: &Disk) -> Result<()> {
        // First, so that a digest that is being made is not written after the removal.
        self.retired.store(true, Ordering::Release);
        self.remove_digest(disk)
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

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

    /// Removes a digest that covers bytes from `end` on; true if there was one. Durable once the
    /// directory is synced.
    pub(crate) fn drop_digest_above(&self, disk: &Disk, end: Position) -> Result<bool> {
        let digest = self.digest_summary(disk);
        let above = digest.is_some_and(|digest| digest.length > end);
        if above {
            self.remove_digest(disk)?;
        }
        Ok(above)
    }

    /// Whether the digest has the checksums of these indexes; `None` if it is of another state.
    pub(crate) fn vouches_for(&self, index: &SparseIndex, disk: &Disk) -> Option<bool> {
        let summary = self.digest_summary(disk)?;
        (summary.length == self.end()).then(|| summary.index_crcs == Self::index_crcs(index))
    }
}
