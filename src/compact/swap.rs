//! The swap: compacted segments replace their sources, in one step for readers and for a crash.
//! Names and order are Kafka's (`LocalLog.replaceSegments`), so a broker can finish what began
//! here, and the other way round.
//!
//! Knows nothing about what was compacted.
//!
//! 1. `.cleaned` files are complete and synced before they are renamed to `.swap`, the highest base
//!    first. While one `.cleaned` is left, the sources count.
//! 2. Once all are `.swap`, durably, the swap has happened: readers find the outputs (by their open
//!    files, whatever their names), the sources are removed, and then the suffix.
//! 3. Opening finishes (2) or undoes (1). It removes every segment in the span of the outputs:
//!    exactly the sources, because the spans are the same.
//! 4. A `.swap` that is not a run of valid batches is quarantined, and removes no source.
//! 5. `layout` is held throughout: no other thread removes or renames segments. Appends and flushes
//!    wait only while some pointers are exchanged.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use crate::dir::{remove_if_present, rename_if_present};
use crate::disk::Dir;
use crate::error::{Error, IoContext, Result};
use crate::format::{Digest, Stage};
use crate::log::{Shared, View};
use crate::segment::Segment;
use crate::types::Offset;

use super::output::{KINDS, Output};

impl Shared {
    /// Replaces the sources. False if the log was changed: then everything stays as it is.
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
        // Under the lock: no truncation or retention comes between this check and the exchange.
        let truncated = self.is_truncated_since(view.truncations);
        if truncated || sources.iter().any(|source| source.is_gone()) {
            self.drop_outputs(&bases);
            return Ok(false);
        }
        // Before anything is renamed: from then on any failure halts the log.
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
        // Readers before names: none must look for a source after its file is gone.
        let new = self.exchange(sources, outputs);
        let renamed = self.rename_outputs(sources, &bases, &dir);
        // Readers are ahead of the names, until the next opening.
        renamed.map_err(|error| self.halted(self.dir.to_path_buf(), &error))?;
        self.recharge();
        // Only now: until its names were renamed, an output's name belonged to a source, and so
        // would this digest.
        for (segment, digest) in new {
            // It is a hint, and may be missing.
            drop(segment.write_digest(&self.host.disk, &digest));
            segment.close_file();
        }
        drop(layout);
        Ok(true)
    }

    /// No mark and no digest may refer to a source: a broker that finishes the swap would leave the
    /// digest in place.
    fn forget(&self, sources: &[Arc<Segment>]) -> Result<()> {
        let turn = self.take_turn_to_change()?;
        // With the turn, so that no other thread writes a mark or a digest in between.
        let last = sources.last().map_or(0, |last| last.base_offset());
        self.write_both_marks_above(&turn, last)?;
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
        // Before readers follow: they must not see outputs that a power cut undoes (I2).
        let synced = dir.sync();
        synced.map_err(|cause| self.poisoned(self.dir.to_path_buf(), cause))
    }

    /// Removes the `.swap` files while a `.cleaned`, which could not be renamed, prevents them from
    /// counting.
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

    /// Readers find the outputs from here on, which keep their files open, and their indexes and
    /// digests in memory, until their names are renamed.
    fn exchange(
        &self,
        sources: &[Arc<Segment>],
        outputs: Vec<Output>,
    ) -> Vec<(Arc<Segment>, Digest)> {
        let Some(last) = sources.last() else {
            return Vec::new();
        };
        let nexts = outputs.iter().skip(1).map(|output| output.base_offset);
        // The last one ends where its sources did, which may be after a gap.
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
            segment.set_known_by_digest(digest.clone());
            (Arc::new(segment), digest)
        });
        let new: Vec<_> = made.collect();
        let segments_of_them = new.iter().map(|(segment, _)| Arc::clone(segment)).collect();
        self.replace_segments(sources, segments_of_them);
        new
    }

    /// Removes the sources and the suffix of the outputs (I2).
    fn rename_outputs(&self, sources: &[Arc<Segment>], bases: &[Offset], dir: &Dir) -> Result<()> {
        let staying: BTreeSet<PathBuf> = bases
            .iter()
            .flat_map(|base| KINDS.map(|kind| self.staged_path(*base, kind, Stage::Live)))
            .collect();
        // The sources first: beside an output without a suffix nothing says that they are replaced,
        // and their offsets would exist twice.
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
                    // The output has no such file: one of that name is its source's.
                    remove_if_present(&self.host.disk, &to)?;
                }
            }
        }
        dir.sync().at(&self.dir, "sync")
    }
}
