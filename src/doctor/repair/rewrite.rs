//! Rewrites segments: copies what is quarantined, then writes the new files, then puts them in
//! place of the old ones, as compaction does.
//!
//! Knows nothing about why.
//!
//! 1. Bytes are durable in quarantine before the file that held them is removed.
//! 2. New files are whole and synced before the first one takes its place; if that is interrupted,
//!    the next opening (or repair) finishes or undoes it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::dir::{copy_aside, for_each_chunk, move_aside, remove_if_present, rename_whole_aside};
use crate::disk::{Disk, File, SMALL_FILE_BYTES_MAX, is_unusable_file};
use crate::error::{IoContext, Result};
use crate::format::{Corruption, FileKind, FileName, Stage};
use crate::recovery::{OpenMode, Opening};
use crate::segment::Segment;
use crate::types::{Offset, Position};

use super::LogRepair;
use super::plan::{Aside, Output, Plan};
use super::report::SetAside;

impl LogRepair<'_> {
    /// Carries out a plan; returns what was quarantined. After an error what was done stays; if no
    /// file was replaced yet, the quarantine copies are removed again.
    pub(super) fn carry_out(&self, plan: &Plan, sources: &[Arc<Segment>]) -> Result<Vec<SetAside>> {
        let (mut done, mut replaced) = (Vec::new(), false);
        let result = self.carry_out_steps(plan, sources, &mut done, &mut replaced);
        if result.is_err() && !replaced {
            for copied in &done {
                remove_if_present(&self.host.disk, &copied.quarantine).ok();
            }
        }
        result.map(|()| done)
    }

    fn carry_out_steps(
        &self,
        plan: &Plan,
        sources: &[Arc<Segment>],
        done: &mut Vec<SetAside>,
        replaced: &mut bool,
    ) -> Result<()> {
        // All copies come first (I1): once a file is replaced, its damaged bytes exist in
        // quarantine alone. And a source that ends early fails while nothing has changed yet.
        for aside in &plan.aside {
            if let Some(source) = sources.get(aside.source)
                && !plan.goes_whole(aside.source, source.base_offset())
            {
                done.push(self.copy(source, aside)?);
            }
        }
        // Before the new files: an exchange removes every segment file in the span of its outputs,
        // also one of which nothing is kept and which must be quarantined.
        for (index, source) in sources.iter().enumerate() {
            if plan.goes_whole(index, source.base_offset()) {
                *replaced = true;
                done.extend(self.move_whole(plan, index, source)?);
            }
        }
        for group in groups(&plan.outputs) {
            self.write_group(group, sources, replaced)?;
        }
        // A file whose batches moved to their own name is still there under the wrong name. It goes
        // last: the new file was copied from it.
        for output in plan.outputs.iter().filter(|output| output.moved()) {
            if let Some(source) = sources.get(output.source)
                && !plan.has(output.source_base)
            {
                move_aside(&self.host.disk, &self.dir, source.base_offset())?;
            }
        }
        Ok(())
    }

    fn copy(&self, source: &Arc<Segment>, aside: &Aside) -> Result<SetAside> {
        let disk = &self.host.disk;
        let file = source.file(disk, &self.host.files)?;
        let quarantine = copy_aside(
            disk,
            &self.dir,
            source.base_offset(),
            &file,
            aside.bytes.clone(),
        )?;
        Ok(set_aside(source, aside, quarantine))
    }

    fn move_whole(
        &self,
        plan: &Plan,
        index: usize,
        source: &Arc<Segment>,
    ) -> Result<Vec<SetAside>> {
        source.close_file();
        let quarantine = move_aside(&self.host.disk, &self.dir, source.base_offset())?;
        let asides = plan.aside.iter().filter(|aside| aside.source == index);
        let quarantined = asides.map(|aside| set_aside(source, aside, quarantine.clone()));
        Ok(quarantined.collect())
    }

    fn write_group(
        &self,
        group: &[Output],
        sources: &[Arc<Segment>],
        replaced: &mut bool,
    ) -> Result<()> {
        let disk = &self.host.disk;
        if let Err(error) = self.write_outputs(group, sources) {
            // None of them may be whole, so none may replace its source.
            for output in group {
                let path = self.staged(output.base_offset, Stage::Cleaned);
                remove_if_present(disk, &path).ok();
            }
            return Err(error);
        }
        // From here on an error leaves the quarantine copies alone: a rename may have reached the
        // disk, and they may be the only ones.
        *replaced = true;
        // The last base first: opening ignores a `.swap` at or above a `.cleaned`, so until the
        // first one is renamed the sources count.
        for output in group.iter().rev() {
            let from = self.staged(output.base_offset, Stage::Cleaned);
            let to = self.staged(output.base_offset, Stage::Swap);
            disk.rename(&from, &to).at(&from, "rename")?;
        }
        // The names commit the exchange, so they are durable before a source is touched.
        disk.sync_dir(&self.dir).at(&self.dir, "sync")?;
        // The names of open files are about to belong to other files.
        for source in sources {
            source.close_file();
        }
        self.finish_interrupted()?;
        disk.sync_dir(&self.dir).at(&self.dir, "sync")
    }

    fn write_outputs(&self, group: &[Output], sources: &[Arc<Segment>]) -> Result<()> {
        let disk = &self.host.disk;
        for output in group {
            let Some(source) = sources.get(output.source) else {
                continue;
            };
            let path = self.staged(output.base_offset, Stage::Cleaned);
            remove_if_present(disk, &path)?;
            let file = disk.create(&path).at(&path, "create")?;
            self.copy_pieces(output, source, &file)?;
            // A `.swap` name vouches for a whole file. So the bytes are durable before the rename,
            // or a power cut could leave the name on an empty file.
            file.sync_data().at(&path, "sync")?;
        }
        disk.sync_dir(&self.dir).at(&self.dir, "sync")
    }

    fn staged(&self, base: Offset, stage: Stage) -> PathBuf {
        let name = FileName::Segment {
            base,
            kind: FileKind::Log,
            stage,
        };
        self.dir.join(name.to_string())
    }

    fn copy_pieces(&self, output: &Output, source: &Arc<Segment>, into: &File) -> Result<()> {
        let from = source.file(&self.host.disk, &self.host.files)?;
        let path = source.log_path();
        let new_path = self.staged(output.base_offset, Stage::Cleaned);
        let mut end = Position::ZERO;
        for piece in &output.pieces {
            let start = end;
            for_each_chunk(&from, &path, piece.bytes.clone(), |_, chunk| {
                into.write_at(end.0, chunk).at(&new_path, "write")?;
                end = end.plus(chunk.len());
                Ok(())
            })?;
            if let Some(prefix) = &piece.prefix {
                into.write_at(start.0, prefix).at(&new_path, "write")?;
            }
        }
        Ok(())
    }

    /// Finishes or undoes interrupted operations. Returns the base offsets of the segments then.
    pub(super) fn finish_interrupted(&self) -> Result<BTreeSet<Offset>> {
        let mut opening = Opening::begin(self.host.tools(), &self.dir, self.key, OpenMode::Write)?;
        let found = opening.look()?;
        opening.finish_interrupted(found)
    }
}

fn set_aside(source: &Segment, aside: &Aside, quarantine: PathBuf) -> SetAside {
    SetAside {
        path: source.log_path(),
        position: aside.bytes.start.0,
        bytes: aside.bytes.end.since(aside.bytes.start),
        offsets: aside.offsets.clone(),
        quarantine,
        reason: aside.reason.clone(),
    }
}

/// The outputs that are put in place together: one changed file each, but files that change places
/// with everything between them.
fn groups(outputs: &[Output]) -> Vec<&[Output]> {
    let moves = |output: &Output| !output.untouched && output.moved();
    let first = outputs.iter().position(moves);
    let last = outputs.iter().rposition(moves);
    let (Some(first), Some(last)) = (first, last) else {
        return changed_alone(outputs);
    };
    let together = outputs.get(first..=last).unwrap_or_default();
    let before = outputs.get(..first).unwrap_or_default();
    let after = outputs.get(last.saturating_add(1)..).unwrap_or_default();
    let mut groups = vec![together];
    groups.extend(changed_alone(before));
    groups.extend(changed_alone(after));
    groups
}

fn changed_alone(outputs: &[Output]) -> Vec<&[Output]> {
    let changed = |group: &&[Output]| group.iter().any(|output| !output.untouched);
    outputs.chunks(1).filter(changed).collect()
}

/// Quarantines what is in the place of a small file and is a directory, a link or far too long.
/// What a link points to is not read.
pub(crate) fn set_odd_aside(disk: &Disk, path: &Path) -> Result<Option<SetAside>> {
    let odd = match disk.read_small(path, SMALL_FILE_BYTES_MAX) {
        Ok(_) => false,
        Err(error) => is_unusable_file(&error),
    };
    if !odd {
        return Ok(None);
    }
    let reason = Corruption::malformed("not a file, or far too long");
    rename_whole(disk, path, reason).map(Some)
}

pub(crate) fn rename_whole(disk: &Disk, path: &Path, reason: Corruption) -> Result<SetAside> {
    let bytes = disk.file_len(path).unwrap_or(0);
    let quarantine = rename_whole_aside(disk, path)?;
    Ok(SetAside {
        path: path.to_path_buf(),
        position: 0,
        bytes,
        offsets: 0..0,
        quarantine,
        reason,
    })
}

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
