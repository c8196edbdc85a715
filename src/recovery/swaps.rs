//! Finishes or undoes an interrupted swap of compacted segments, in Kafka's names and order
//! (`LocalLog.replaceSegments`), so it does not matter who began it.
//!
//! Knows nothing about compaction, which makes the swap (its rules, and their numbers, are in
//! `compact/swap.rs`): only what the names of the files say about how far it went.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use crate::dir::{remove_if_present, rename_if_present};
use crate::disk::{Access, Disk, File};
use crate::error::{Error, IoContext, Result};
use crate::format::{FileKind, FileName, Stage, file_name};
use crate::segment::{BatchCursor, Stop};
use crate::types::{Offset, Position};

use super::OpenStep;

#[derive(Debug, Default)]
pub(super) struct SwapPlan {
    /// Files of an incomplete swap, which are removed.
    void: Vec<String>,
    /// Invalid `.swap` files, which are quarantined.
    broken: Vec<(String, Offset)>,
    /// The other `.swap` files, which take the place of their sources.
    taking_place: Vec<(String, Offset, FileKind)>,
    /// The base offset of each output, and one past its last offset.
    outputs: BTreeMap<Offset, Offset>,
}

impl SwapPlan {
    /// Inspects the files, and changes nothing.
    pub(super) fn plan(disk: &Disk, dir: &Path, names: &[(String, FileName)]) -> Result<Self> {
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

    /// Replaces the sources by the outputs; returns the sources.
    pub(super) fn apply_to(&self, bases: &mut BTreeSet<Offset>) -> Vec<Offset> {
        let Some(first) = self.outputs.keys().min() else {
            return Vec::new();
        };
        let end = self.outputs.values().max().copied().unwrap_or(*first);
        let replaced: Vec<_> = bases.range(*first..end.max(*first)).copied().collect();
        bases.retain(|base| !replaced.contains(base));
        bases.extend(self.outputs.keys());
        replaced
    }

    /// Whether an output holds offsets at or above `base`.
    pub(super) fn reach(&self, base: Offset) -> bool {
        self.outputs.values().any(|next| *next > base)
    }

    pub(super) fn open_outputs(
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

/// Finishes or undoes the swap (I3). `bases` are the segments that are there.
pub(super) fn finish_swaps(
    step: &mut OpenStep<'_>,
    plan: &SwapPlan,
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
            step.note_leftover(from);
        } else {
            step.remove(name)?;
        }
    }
    Ok(())
}

/// One past the last offset in a file; `None` if it is not a run of valid batches.
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
