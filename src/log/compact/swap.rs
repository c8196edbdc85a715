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

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::dir::{remove_if_present, rename_if_present};
use crate::disk::{Access, Dir, Disk, File};
use crate::error::{Error, IoContext, Result};
use crate::format::{Digest, FileKind, FileName, Stage, file_name};
use crate::segment::{BatchCursor, Segment, Stop};
use crate::types::{Offset, Position};

use super::super::Shared;
use super::super::open::OpenStep;
use super::super::view::View;
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
        let (Some(first), Some(last)) = (sources.first(), sources.last()) else {
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
        {
            let _end_stands_still = self.append.lock();
            let mut segments = self.segments.write();
            segments.replace(first.base_offset(), last.base_offset(), segments_of_them);
            // Together with the exchange: a reader that still holds a source learns that it is
            // gone, and looks the offset up again.
            for source in sources {
                source.mark_gone();
            }
        }
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

/// What an interrupted swap comes to.
#[derive(Debug, Default)]
pub(in crate::log) struct SettledSwaps {
    /// Files of a swap that was not complete: they are removed.
    void: Vec<String>,
    /// `.swap` files that are not valid.
    broken: Vec<(String, Offset)>,
    /// The other `.swap` files: they take the place of their sources.
    taking_place: Vec<(String, Offset, FileKind)>,
    /// The outputs, with one past the last offset of each.
    outputs: BTreeMap<Offset, Offset>,
}

impl SettledSwaps {
    /// Inspects what is there, and changes nothing.
    pub(in crate::log) fn plan(
        disk: &Disk,
        dir: &Path,
        names: &[(String, FileName)],
    ) -> Result<Self> {
        let staged = |wanted: Stage| {
            names.iter().filter_map(move |(name, parsed)| match parsed {
                FileName::Segment { base, kind, stage } if *stage == wanted => {
                    Some((name.clone(), *base, *kind))
                }
                _ => None,
            })
        };
        let first_cleaned = staged(Stage::Cleaned).map(|(_, base, _)| base).min();
        let mut plan = Self::default();
        for (name, base, kind) in staged(Stage::Swap) {
            // The renaming began at the highest base and was not complete (I1).
            if first_cleaned.is_some_and(|first| base >= first) {
                plan.void.push(name);
            } else if kind == FileKind::Log {
                match next_offset_of(disk, &dir.join(&name), base)? {
                    Some(next) => {
                        plan.outputs.insert(base, next);
                        plan.taking_place.push((name, base, kind));
                    }
                    None => plan.broken.push((name, base)),
                }
            } else {
                plan.taking_place.push((name, base, kind));
            }
        }
        // Removed last: as long as they exist, a `.swap` above them does not count.
        plan.void
            .extend(staged(Stage::Cleaned).map(|(name, ..)| name));
        Ok(plan)
    }

    /// Removes the sources from the set of segments and adds the outputs. Returns the sources.
    pub(in crate::log) fn apply_to(&self, bases: &mut BTreeSet<Offset>) -> Vec<Offset> {
        let Some(first) = self.outputs.keys().min() else {
            return Vec::new();
        };
        let end = self.outputs.values().max().copied().unwrap_or(*first);
        let replaced: Vec<_> = bases.range(*first..end.max(*first)).copied().collect();
        bases.retain(|base| !replaced.contains(base));
        bases.extend(self.outputs.keys());
        replaced
    }

    /// Whether an output holds offsets of the segment at `base` or above it.
    pub(in crate::log) fn reach(&self, base: Offset) -> bool {
        self.outputs.values().any(|next| *next > base)
    }

    /// The outputs that still have their `.swap` names, opened, for a log that is only read.
    pub(in crate::log) fn open_outputs(
        &self,
        disk: &Disk,
        dir: &Path,
    ) -> Result<BTreeMap<Offset, Arc<File>>> {
        let logs = self
            .taking_place
            .iter()
            .filter(|(_, _, kind)| *kind == FileKind::Log);
        logs.map(|(name, base, _)| {
            let path = dir.join(name);
            let file = disk.open(&path, Access::Read).at(&path, "open")?;
            Ok((*base, Arc::new(file)))
        })
        .collect()
    }
}

/// Finishes or undoes an interrupted swap (I3). `bases` are the segments that are there.
pub(in crate::log) fn settle_swaps(
    step: &mut OpenStep<'_>,
    plan: &SettledSwaps,
    bases: &mut BTreeSet<Offset>,
) -> Result<()> {
    for name in &plan.void {
        step.remove(name)?;
    }
    for (name, base) in &plan.broken {
        step.set_aside(name, *base)?;
    }
    for base in plan.apply_to(bases) {
        for name in file_name::of_segment(base) {
            remove_if_present(step.disk, &step.dir.join(name))?;
        }
    }
    // A source that is already removed may have left its digest. It must be durably gone before
    // another file takes the name: compared with it, that file would be called damaged.
    for base in plan.outputs.keys() {
        let digest = FileName::segment(*base, FileKind::Digest).to_string();
        remove_if_present(step.disk, &step.dir.join(digest))?;
    }
    if !plan.outputs.is_empty() {
        step.disk.sync_dir(step.dir).at(step.dir, "sync")?;
    }
    for (name, base, kind) in &plan.taking_place {
        let to = step.dir.join(FileName::segment(*base, *kind).to_string());
        let from = step.dir.join(name);
        // An index without its log is useless.
        if bases.contains(base) && rename_if_present(step.disk, &from, &to)? {
            step.settled(from);
        } else {
            step.remove(name)?;
        }
    }
    Ok(())
}

/// One past the last offset in a file that must be a run of valid batches; `None` if it is not.
fn next_offset_of(disk: &Disk, path: &Path, base: Offset) -> Result<Option<Offset>> {
    let file = disk.open(path, Access::Read).at(path, "open")?;
    let end = Position(file.len().at(path, "access")?);
    let mut cursor = BatchCursor::new(Position::ZERO, base).sequential();
    loop {
        match cursor.next(&file, end) {
            Ok(Some(_)) => {}
            // No output is empty.
            Ok(None) if end == Position::ZERO => return Ok(None),
            Ok(None) => return Ok(Some(cursor.floor())),
            Err(Stop::Corrupt(_)) => return Ok(None),
            Err(Stop::Io(error)) => return Err(Error::io(path, "read", error)),
        }
    }
}
