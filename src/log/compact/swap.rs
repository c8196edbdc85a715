//! The swap: compacted segments take the place of their sources, for readers and for a crash in
//! one step. Kafka's names and order (`LocalLog.replaceSegments`), so that a broker can finish what
//! began here, and the other way round.
//!
//! Knows nothing about what was compacted.
//!
//! 1. `.cleaned` files are complete and synced before the first is renamed to `.swap`; the last
//!    base goes first. While one `.cleaned` is left, the sources hold.
//! 2. Once all are `.swap`, durably, the sources go, and then the suffix does.
//! 3. Opening finishes (2) or undoes (1). A `.swap` that is no run of valid batches is set aside:
//!    no source goes for it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Access, Disk};
use crate::error::{Error, IoContext, Result};
use crate::format::{FileKind, FileName, Stage, file_name};
use crate::segment::{BatchCursor, Segment};
use crate::types::{Offset, Position};

use super::super::Shared;
use super::super::flush::Turn;
use super::super::leftovers::OpenStep;
use super::super::truncate::remove_if_there;
use super::rewrite::Output;

/// The kinds of files that are swapped.
pub(super) const KINDS: [FileKind; 4] = [
    FileKind::Log,
    FileKind::Index,
    FileKind::TimeIndex,
    FileKind::TxnIndex,
];

impl Shared {
    /// Counts truncations.
    pub(super) fn truncation_count(&self) -> u64 {
        self.truncations.load(crate::sync::Ordering::Acquire)
    }

    /// Bytes between two index entries.
    pub(super) fn index_interval_bytes(&self) -> u64 {
        self.config().index_interval_bytes
    }

    /// Puts outputs in the place of their sources; false when the sources changed meanwhile and
    /// everything stays as it is.
    pub(super) fn swap(
        &self,
        sources: &[Arc<Segment>],
        outputs: Vec<Output>,
        truncations: u64,
    ) -> Result<bool> {
        let turn = self.begin_write()?;
        let bases: Vec<_> = outputs.iter().map(|output| output.base_offset).collect();
        let changed = self.truncation_count() != truncations;
        if changed || sources.iter().any(|source| source.is_gone()) {
            self.drop_outputs(&bases);
            return Ok(false);
        }
        let forgotten = self.forget(&turn, sources);
        let timed = forgotten.and_then(|()| self.keep_times(sources, &bases));
        if let Err(error) = timed.and_then(|()| self.announce(&bases)) {
            self.drop_outputs(&bases);
            return Err(error);
        }
        let swapped = self.take_places(sources, outputs);
        drop(turn);
        // From here on the disk is ahead of what is in memory; the next opening finishes it.
        swapped.map_err(|error| {
            let cause = std::io::Error::other(error.to_string());
            self.poisoned(self.dir.to_path_buf(), cause)
        })?;
        Ok(true)
    }

    /// Sees to it that nothing speaks of the sources any more that outlives them: no mark, and no
    /// digest, which a broker that finishes the swap would leave in place.
    fn forget(&self, turn: &Turn<'_>, sources: &[Arc<Segment>]) -> Result<()> {
        let last = sources.last().map_or(0, |last| last.base_offset());
        self.settle_mark_above(turn, last)?;
        for source in sources {
            source.remove_digest(&self.host.disk)?;
        }
        Ok(())
    }

    /// Gives the outputs the time of the newest source: where records have no timestamps, it is
    /// what retention goes by.
    fn keep_times(&self, sources: &[Arc<Segment>], bases: &[Offset]) -> Result<()> {
        let disk = &self.host.disk;
        let times: Result<Vec<_>> = sources.iter().map(|source| source.modified(disk)).collect();
        let Some(newest) = times?.into_iter().max() else {
            return Ok(());
        };
        for base in bases {
            let path = self.cleaned_path(*base, FileKind::Log);
            disk.set_modified(&path, newest)
                .at(&path, "set the time of")?;
        }
        Ok(())
    }

    /// Renames `.cleaned` to `.swap`, durably (I1).
    fn announce(&self, bases: &[Offset]) -> Result<()> {
        for base in bases.iter().rev() {
            for kind in KINDS {
                let from = self.cleaned_path(*base, kind);
                let to = self.staged_path(*base, kind, Stage::Swap);
                rename_if_there(&self.host.disk, &from, &to)?;
            }
        }
        self.host.disk.sync_dir(&self.dir).at(&self.dir, "sync")
    }

    /// Removes the sources and takes the suffix off (I2). Readers wait at the set of segments for
    /// as long as the renames take.
    fn take_places(&self, sources: &[Arc<Segment>], outputs: Vec<Output>) -> Result<()> {
        let mut segments = self.segments.write();
        for source in sources {
            source.mark_gone();
            source.close_file();
        }
        let staying: BTreeSet<PathBuf> = outputs
            .iter()
            .flat_map(|output| KINDS.map(|kind| self.live_path(output.base_offset, kind)))
            .collect();
        for path in sources.iter().flat_map(|source| source.paths()) {
            if !staying.contains(&path) {
                remove_if_there(&self.host.disk, &path)?;
            }
        }
        for output in &outputs {
            for kind in KINDS {
                let from = self.staged_path(output.base_offset, kind, Stage::Swap);
                let to = self.live_path(output.base_offset, kind);
                if !rename_if_there(&self.host.disk, &from, &to)? {
                    remove_if_there(&self.host.disk, &to)?;
                }
            }
        }
        self.host.disk.sync_dir(&self.dir).at(&self.dir, "sync")?;
        if let (Some(first), Some(last)) = (sources.first(), sources.last()) {
            let end = last.next_offset();
            let new = self.segments_of(outputs, end);
            segments.replace(first.base_offset(), last.base_offset(), new);
        }
        Ok(())
    }

    fn live_path(&self, base: Offset, kind: FileKind) -> PathBuf {
        self.staged_path(base, kind, Stage::Live)
    }

    /// The outputs as segments, with their digests. The last one ends where its sources did, so
    /// that no offset belongs to nobody.
    fn segments_of(&self, outputs: Vec<Output>, end: Offset) -> Vec<Arc<Segment>> {
        let bases = outputs.iter().skip(1).map(|output| output.base_offset);
        let nexts: Vec<_> = bases.chain(std::iter::once(end)).collect();
        let made = outputs.into_iter().zip(nexts).map(|(output, next)| {
            let next = next.max(output.next_offset);
            let segment =
                Segment::sealed(Arc::clone(&self.dir), output.base_offset, output.end, next);
            let digest = output.digest.finish(next, output.index_crcs);
            // A hint: one that cannot be written is missing, and nothing else.
            drop(segment.write_digest(&self.host.disk, &digest));
            Arc::new(segment)
        });
        made.collect()
    }
}

fn rename_if_there(disk: &Disk, from: &Path, to: &Path) -> Result<bool> {
    match disk.rename(from, to) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io(from, "rename", error)),
    }
}

/// Finishes or undoes a swap that was cut off (I3). `bases` are the segments that are there.
pub(in crate::log) fn settle_swaps(
    step: &mut OpenStep<'_>,
    names: &[(String, FileName)],
    bases: &mut BTreeSet<Offset>,
) -> Result<()> {
    let staged = |wanted: Stage| {
        names.iter().filter_map(move |(name, parsed)| match parsed {
            FileName::Segment { base, kind, stage } if *stage == wanted => {
                Some((name, *base, *kind))
            }
            _ => None,
        })
    };
    let first_cleaned = staged(Stage::Cleaned).map(|(_, base, _)| base).min();
    for (name, ..) in staged(Stage::Cleaned) {
        step.remove(name)?;
    }
    let mut finished = Vec::new();
    for (name, base, kind) in staged(Stage::Swap) {
        if first_cleaned.is_some_and(|first| base >= first) {
            step.remove(name)?;
        } else if kind == FileKind::Log {
            match next_offset_of(step.disk, &step.dir.join(name), base)? {
                Some(next) => finished.push((base, next)),
                None => step.set_aside(name, base)?,
            }
        }
    }
    let range = finished.iter().map(|(base, _)| *base).min().unwrap_or(0)
        ..finished.iter().map(|(_, next)| *next).max().unwrap_or(0);
    let replaced: Vec<_> = bases
        .iter()
        .copied()
        .filter(|base| range.contains(base))
        .collect();
    for base in replaced {
        for name in file_name::of_segment(base) {
            remove_if_there(step.disk, &step.dir.join(name))?;
        }
        bases.remove(&base);
    }
    bases.extend(finished.iter().map(|(base, _)| *base));
    for (name, base, kind) in staged(Stage::Swap) {
        let keeps = kind == FileKind::Log || bases.contains(&base);
        let to = step.dir.join(FileName::segment(base, kind).to_string());
        let from = step.dir.join(name);
        if keeps && rename_if_there(step.disk, &from, &to)? {
            step.settled(from);
        } else {
            step.remove(name)?;
        }
    }
    Ok(())
}

/// One past the last offset in a file that must be a run of valid batches; `None` when it is not.
fn next_offset_of(disk: &Disk, path: &Path, base: Offset) -> Result<Option<Offset>> {
    let file = disk.open(path, Access::Read).at(path, "open")?;
    let end = Position(file.len().at(path, "look at")?);
    let mut cursor = BatchCursor::new(Position::ZERO, base).sequential();
    loop {
        match cursor.next(&file, end) {
            Ok(Some(_)) => {}
            Ok(None) if end == Position::ZERO => return Ok(None),
            Ok(None) => return Ok(Some(cursor.floor())),
            Err(crate::segment::Stop::Corrupt(_)) => return Ok(None),
            Err(crate::segment::Stop::Io(error)) => return Err(Error::io(path, "read", error)),
        }
    }
}
