//! The swap: compacted segments replace their sources, in one step for readers and for a crash. It
//! uses Kafka's names and order (`LocalLog.replaceSegments`), so that a broker can finish what
//! began here, and the other way round.
//!
//! Knows nothing about what was compacted.
//!
//! 1. `.cleaned` files are complete and synced before the first is renamed to `.swap`; the highest
//!    base is renamed first. While one `.cleaned` is left, the sources count.
//! 2. Once all are `.swap`, durably, the swap has happened: readers find the outputs (by their open
//!    files, whatever their present names), the sources are removed, and then the suffix.
//! 3. Opening finishes (2) or undoes (1). It removes every segment in the span of the outputs,
//!    which is exactly the sources, because outputs begin and end where their sources do.
//! 4. A `.swap` that is not a run of valid batches is quarantined, and removes no source.
//! 5. `layout` is held throughout: no other thread removes or renames segments. Appends and flushes
//!    wait only while some pointers are exchanged.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use crate::dir::{remove_if_present, rename_if_present};
use crate::disk::Dir;
use crate::error::{Error, IoContext, Result};
use crate::format::{Digest, FileKind, Stage};
use crate::log::{Shared, View};
use crate::segment::Segment;
use crate::types::Offset;

use super::output::Output;

/// The kinds of files that are swapped, in the order of renaming. The last is a kind that every
/// output has: while its `.cleaned` exists, the renaming is not complete.
pub(super) const KINDS: [FileKind; 4] = [
    FileKind::Log,
    FileKind::TxnIndex,
    FileKind::Index,
    FileKind::TimeIndex,
];

impl Shared {
    /// Replaces sources by outputs; false if the log was changed meanwhile and everything stays as
    /// it is.
    pub(super) fn swap(
        &self,
        sources: &[Arc<Segment>],
        outputs: Vec<Output>,
        view: &View,
    ) -> Result<bool> {
        let bases: Vec<_> = outputs.iter().map(|output| output.base_offset).collect();
        let layout = match self.lock_layout() {
            Ok(layout) => layout,
            Err(error) => {
                self.drop_outputs(&bases);
                return Err(error);
            }
        };
        // Under the lock: no truncation or retention can come between this check and the exchange.
        let truncated = self.is_truncated_since(view.truncations);
        if truncated || sources.iter().any(|source| source.is_gone()) {
            self.drop_outputs(&bases);
            return Ok(false);
        }
        // Opened before anything is renamed, because from then on any failure halts the log.
        let dir = self.host.disk.open_dir(&self.dir).at(&self.dir, "open");
        let dir = match dir.and_then(|dir| self.forget(sources).map(|()| dir)) {
            Ok(dir) => dir,
            Err(error) => {
                self.drop_outputs(&bases);
                return Err(error);
            }
        };
        // The point of no return: once this is durable, the next opening finishes the swap.
        self.announce(&bases, &dir)?;
        // Readers before names: a reader must not look for a source after its file is gone.
        let new = self.exchange(sources, outputs);
        let settled = self.settle_names(sources, &bases, &dir);
        // Readers are ahead of the names; the next opening makes the names match.
        settled.map_err(|error| self.halted(self.dir.to_path_buf(), &error))?;
        self.recharge();
        // Only now is there a digest: until its names were settled, an output's name belonged to a
        // source, and this digest would have been taken for that one's.
        for (segment, digest) in new {
            // A hint: if it cannot be written, it is merely missing.
            drop(segment.write_digest(&self.host.disk, &digest));
            segment.close_file();
        }
        drop(layout);
        Ok(true)
    }

    /// Makes sure that nothing that outlives the sources still refers to them: no mark, and no
    /// digest, which a broker that finishes the swap would leave in place.
    fn forget(&self, sources: &[Arc<Segment>]) -> Result<()> {
        let turn = self.take_turn_to_change()?;
        // With the turn, so that no other thread writes a mark or a digest for a source in between.
        let last = sources.last().map_or(0, |last| last.base_offset());
        self.settle_mark_above(&turn, last)?;
        for source in sources {
            source.retire_digest(&self.host.disk)?;
        }
        Ok(())
    }

    /// Renames `.cleaned` to `.swap`, durably (I1).
    fn announce(&self, bases: &[Offset], dir: &Dir) -> Result<()> {
        for base in bases.iter().rev() {
            for kind in KINDS {
                let from = self.cleaned_path(*base, kind);
                let to = self.staged_path(*base, kind, Stage::Swap);
                if let Err(error) = rename_if_present(&self.host.disk, &from, &to) {
                    return Err(self.take_back(bases, error));
                }
            }
        }
        // Durable before readers follow: they must not see outputs that a power cut undoes (I2).
        let synced = dir.sync();
        synced.map_err(|cause| self.poisoned(self.dir.to_path_buf(), cause))
    }

    /// Undoes an announcement that failed. First the `.swap` files are removed, while the
    /// `.cleaned` that could not be renamed prevents them from counting.
    fn take_back(&self, bases: &[Offset], error: Error) -> Error {
        for base in bases {
            for kind in KINDS {
                let path = self.staged_path(*base, kind, Stage::Swap);
                if let Err(left) = remove_if_present(&self.host.disk, &path) {
                    return self.halted(self.dir.to_path_buf(), &left);
                }
            }
        }
        self.drop_outputs(bases);
        error
    }

    /// Makes readers find the outputs and no longer the sources. The outputs keep their files open,
    /// and their indexes and digests in memory, until their names are settled.
    fn exchange(
        &self,
        sources: &[Arc<Segment>],
        outputs: Vec<Output>,
    ) -> Vec<(Arc<Segment>, Digest)> {
        let Some(last) = sources.last() else {
            return Vec::new();
        };
        let nexts = outputs.iter().skip(1).map(|output| output.base_offset);
        // The last one ends where its sources did: where the next segment begins, which may be
        // behind a gap.
        let nexts: Vec<_> = nexts.chain(std::iter::once(self.end_of(last))).collect();
        let made = outputs.into_iter().zip(nexts).map(|(output, next)| {
            let base = output.base_offset;
            debug_assert!(
                next >= output.next_offset,
                "an output reaches over the next segment"
            );
            let segment = Segment::sealed(Arc::clone(&self.dir), base, output.end, next);
            segment.keep_file(&output.file);
            segment.set_index(output.index, output.newest);
            let digest = output.digest.finish(next, output.index_crcs);
            segment.guard_by(digest.clone());
            (Arc::new(segment), digest)
        });
        let new: Vec<_> = made.collect();
        let segments_of_them = new.iter().map(|(segment, _)| Arc::clone(segment)).collect();
        self.replace_segments(sources, segments_of_them);
        new
    }

    /// Removes the sources and the suffix of the outputs (I2).
    fn settle_names(&self, sources: &[Arc<Segment>], bases: &[Offset], dir: &Dir) -> Result<()> {
        let staying: BTreeSet<PathBuf> = bases
            .iter()
            .flat_map(|base| KINDS.map(|kind| self.staged_path(*base, kind, Stage::Live)))
            .collect();
        // The sources first: once an output has lost its suffix, nothing says that the sources left
        // beside it are replaced, and their offsets would exist twice.
        for path in sources.iter().flat_map(|source| source.paths()) {
            if !staying.contains(&path) {
                remove_if_present(&self.host.disk, &path)?;
            }
        }
        for base in bases {
            for kind in KINDS {
                let from = self.staged_path(*base, kind, Stage::Swap);
                let to = self.staged_path(*base, kind, Stage::Live);
                if !rename_if_present(&self.host.disk, &from, &to)? {
                    // The output has no such file, so one of that name belongs to its source.
                    remove_if_present(&self.host.disk, &to)?;
                }
            }
        }
        dir.sync().at(&self.dir, "sync")
    }
}
