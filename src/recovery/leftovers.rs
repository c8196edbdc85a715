//! What interrupted operations left in a log's directory, which opening finishes or undoes.
//!
//! Knows nothing about batches.
//!
//! 1. Damage below the flushed mark is refused before anything is changed, except that operations
//!    which were durably begun and change the segments (a truncation, a swap of compacted segments)
//!    are finished first: half-way they look like damage.
//! 2. What is wholly below the start of the log is removed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::dir::{remove_if_present, rename_aside};
use crate::disk::{Disk, EntryKind, SMALL_FILE_BYTES_MAX};
use crate::error::{Error, IoContext, Result};
use crate::format::{Corruption, FileKind, FileName, Mark, Stage, TruncateIntent, file_name};
use crate::segment::{Known, Segment};
use crate::types::{Offset, Position};

use super::Opening;
use super::parallel::ask_each;
use super::report::{OpenEvent, OpenReport};
use super::swaps::{SwapPlan, finish_swaps};
use super::truncation::{finish_truncation, remove_segment_files};

pub(crate) struct DirListing {
    pub(crate) bases: BTreeSet<Offset>,
    pub(crate) others: Vec<(String, FileName)>,
    /// Entries with names of ours that are not files.
    pub(crate) odd: Vec<(String, FileName)>,
    intent: Option<TruncateIntent>,
}

impl DirListing {
    pub(crate) fn truncates(&self) -> bool {
        self.intent.is_some()
    }

    /// Whether an operation was interrupted that changes which segments there are.
    pub(crate) fn is_interrupted(&self) -> bool {
        let swapped = |(_, name): &(String, FileName)| match name {
            FileName::Segment { stage, .. } => *stage == Stage::Swap,
            _ => false,
        };
        self.intent.is_some() || self.others.iter().any(swapped)
    }
}

pub(crate) struct OpenStep<'a> {
    pub(crate) disk: &'a Disk,
    pub(crate) dir: &'a Path,
    pub(crate) report: &'a mut OpenReport,
}

impl OpenStep<'_> {
    pub(crate) fn remove(&mut self, name: &str) -> Result<()> {
        let path = self.dir.join(name);
        remove_if_present(self.disk, &path)?;
        self.note_leftover(path);
        Ok(())
    }

    pub(crate) fn note_leftover(&mut self, path: PathBuf) {
        self.report.events.push(OpenEvent::LeftoverSettled { path });
    }

    /// Quarantines a file that is not what its name says.
    pub(crate) fn set_aside(&mut self, name: &str, base: Offset) -> Result<()> {
        let path = self.dir.join(name);
        if self.disk.file_len(&path).at(&path, "access")? == 0 {
            return self.remove(name);
        }
        let aside = rename_aside(self.disk, self.dir, name, base)?;
        self.note_leftover(aside);
        Ok(())
    }
}

impl Opening<'_> {
    /// Refuses damage, then finishes or undoes interrupted operations. Returns the segments that
    /// are there then (I1).
    pub(crate) fn check_and_finish(&mut self) -> Result<Vec<Arc<Segment>>> {
        let found = self.look()?;
        let interrupted = found.is_interrupted();
        let mut segments = Vec::new();
        // Judged first where possible: a directory that is refused must be left as it was found.
        if !interrupted {
            self.judge_names(&found)?;
            segments = self.list_segments(&found.bases)?;
            self.judge(&segments)?;
        }
        let bases = self.finish_interrupted(found)?;
        // The rules apply only now that the interrupted operation is finished (I1).
        if interrupted {
            segments = self.list_segments(&bases)?;
            self.judge(&segments)?;
        }
        self.keep_from_start(segments)
    }

    pub(crate) fn look(&self) -> Result<DirListing> {
        let intent_path = self.dir.join(file_name::TRUNCATE);
        let intent = self
            .disk()
            .read_small(&intent_path, SMALL_FILE_BYTES_MAX)
            .at(&intent_path, "read")?;
        let mut found = DirListing {
            bases: BTreeSet::new(),
            others: Vec::new(),
            odd: Vec::new(),
            intent: intent.as_deref().and_then(TruncateIntent::decode),
        };
        for entry in self.disk().list(&self.dir).at(&self.dir, "list")? {
            let parsed = FileName::parse(&entry.name);
            if file_name::is_beyond_every_offset(&entry.name) {
                // Its contents would be ignored, and its offsets assigned again.
                let reason = Corruption::malformed("the base offset is above 2^63 - 1");
                return Err(Error::corrupt(&self.dir.join(&entry.name), 0, reason));
            }
            if entry.kind != EntryKind::File {
                if !matches!(parsed, FileName::Foreign | FileName::Misnamed) {
                    found.odd.push((entry.name, parsed));
                }
                continue;
            }
            match parsed {
                FileName::Segment {
                    base,
                    kind: FileKind::Log,
                    stage: Stage::Live,
                } => {
                    found.bases.insert(base);
                }
                other => found.others.push((entry.name, other)),
            }
        }
        Ok(found)
    }

    /// Finishes or undoes interrupted operations. Returns the base offsets of the segments then.
    pub(crate) fn finish_interrupted(&mut self, found: DirListing) -> Result<BTreeSet<Offset>> {
        let DirListing {
            mut bases,
            others,
            odd: _,
            intent,
        } = found;
        // Every `.swap` is checked, batch by batch, before a source is removed for it.
        let swaps = SwapPlan::plan(self.disk(), &self.dir, &others)?;
        if self.writes() {
            self.expect_gaps(&swaps)?;
            let mut step = OpenStep {
                disk: self.tools.disk,
                dir: &self.dir,
                report: &mut self.report,
            };
            finish_swaps(&mut step, &swaps, &mut bases)?;
        } else {
            swaps.apply_to(&mut bases);
            self.swapped = swaps.open_outputs(self.disk(), &self.dir)?;
        }
        if let Some(intent) = &intent {
            self.redo_truncation(intent, &mut bases)?;
        }
        // Last: which indexes are leftovers depends on the segments that there are now.
        for (name, parsed) in others {
            // Without a mark it is unknown which state a digest describes.
            let unknown = self.mark.is_none() && is_digest(&parsed);
            if (unknown || is_leftover(&parsed, &bases)) && self.writes() {
                let path = self.dir.join(&name);
                remove_if_present(self.disk(), &path)?;
                if parsed != FileName::NextSegment && !unknown {
                    self.report.events.push(OpenEvent::LeftoverSettled { path });
                }
            }
        }
        Ok(bases)
    }

    /// Only `repair` replaces the segment of the mark, and it leaves gaps. The mark says so before
    /// the new file takes its place, or good batches would count as damaged; but not before that
    /// file is whole, because the mark may be what reveals the damage in the old one.
    fn expect_gaps(&mut self, swaps: &SwapPlan) -> Result<()> {
        let replaced = |mark: &Mark| mark.dense && swaps.reach(mark.segment_base);
        if let Some(mark) = self.mark.filter(replaced) {
            let gaps = Mark {
                dense: false,
                ..mark
            };
            let now = self.tools.clock.instant();
            self.mark = Some(self.tools.marks.write_both(gaps, now)?);
        }
        Ok(())
    }

    fn redo_truncation(
        &mut self,
        intent: &TruncateIntent,
        bases: &mut BTreeSet<Offset>,
    ) -> Result<()> {
        if !self.writes() {
            // Half-way through, the mark may refer to what is gone.
            self.mark = None;
            return Ok(());
        }
        let path = self.dir.join(file_name::TRUNCATE);
        // The note stays until all of this is durable (`log/open/finish.rs`): a crash before only
        // repeats it.
        for base in bases.split_off(&intent.segment_base.saturating_add(1)) {
            let segment = Segment::sealed(Arc::clone(&self.dir), base, Position::ZERO, base);
            remove_segment_files(self.disk(), &segment)?;
        }
        finish_truncation(self.disk(), &self.dir, intent)?;
        // The mark may be above the cut: then it is moved down to it.
        if self
            .mark
            .is_some_and(|mark| mark.flushed_offset > intent.new_end)
        {
            let position = intent.position.plus(intent.head.len());
            self.mark = self.mark.map(|mark| Mark {
                flushed_offset: intent.new_end,
                segment_base: intent.segment_base,
                position,
                dense: mark.dense && mark.segment_base == intent.segment_base,
                by_broker: false,
                cleaned_offset: mark.cleaned_offset.min(intent.new_end),
                ..mark
            });
        }
        self.report.clean = false;
        // Offsets were cut off, so the epoch must rise before they are assigned again.
        self.cut = true;
        self.report.events.push(OpenEvent::LeftoverSettled { path });
        Ok(())
    }

    pub(crate) fn list_segments(&self, bases: &BTreeSet<Offset>) -> Result<Vec<Arc<Segment>>> {
        let bases: Vec<Offset> = bases.iter().copied().collect();
        let (disk, dir, swapped) = (self.disk(), &self.dir, &self.swapped);
        let lengths = ask_each(&bases, |base| {
            let path = dir.join(file_name::log(*base));
            let length = match swapped.get(base) {
                Some(file) => file.len(),
                None => disk.file_len(&path),
            };
            length.at(&path, "access")
        });
        let nexts = bases.iter().skip(1).map(Some).chain(std::iter::once(None));
        let listed = bases.iter().zip(lengths).zip(nexts);
        let listed = listed.map(|((&base, length), next)| {
            let length = Position(length?);
            let swapped = self.swapped.get(&base);
            let next = next.copied().unwrap_or(base);
            let mut segment = Segment::sealed(Arc::clone(&self.dir), base, length, next);
            if !self.writes() && swapped.is_none() {
                let path = segment.log_path();
                segment = segment.of_file(self.disk().file_id(&path).ok());
            }
            let segment = Arc::new(segment);
            if let Some(file) = swapped {
                // The files under its names still belong to its sources.
                segment.keep_file(file);
                segment.set_known(Known::Increasing);
                segment.rebuild_index(self.disk(), self.tools.files)?;
            } else if self.tools.marks.are_distrusted() {
                segment.distrust_digest();
            }
            Ok(segment)
        });
        listed.collect()
    }

    /// The base offset of a segment that must be created: in an empty directory, and if the mark's
    /// segment is lost with nothing in it that must be kept.
    fn wanted(&self, segments: &[Arc<Segment>], start: Offset) -> Option<Offset> {
        let Some(mark) = self.mark else {
            return segments.is_empty().then_some(start);
        };
        let last = segments.last().map(|last| last.base_offset());
        if last.is_some_and(|last| last >= mark.segment_base) {
            // The mark's segment is there, or a later one, which takes appends.
            None
        } else if mark.position == Position::ZERO {
            // Nothing had been written to it, so it is created again as it was.
            Some(mark.segment_base)
        } else {
            // What it held is below the start. No offset below the flushed one may be assigned
            // again.
            Some(start.max(mark.flushed_offset))
        }
    }

    /// Moves a mark whose segment was removed up to the first one: nothing above is known to be
    /// flushed.
    fn follow_mark(&mut self, segments: &[Arc<Segment>]) {
        let Some(first) = segments.first().map(|first| first.base_offset()) else {
            return;
        };
        if let Some(mark) = self.mark.as_mut().filter(|mark| mark.segment_base < first) {
            mark.segment_base = first;
            mark.flushed_offset = first;
            mark.position = Position::ZERO;
            mark.dense = true;
            mark.by_broker = false;
            // It was the scan of the segment that is gone.
            self.judged = None;
        }
    }

    /// A read-only opening creates no file, and reads zero bytes of another one instead.
    fn without_file(&self, segment: Segment) -> Result<Segment> {
        for name in [
            file_name::PARTITION_METADATA,
            file_name::LOCK,
            file_name::MARKS,
        ] {
            let path = self.dir.join(name);
            if self.disk().exists(&path).at(&path, "access")? {
                return Ok(segment.without_file(&path));
            }
        }
        Ok(segment)
    }

    /// Removes what is wholly below the start (I2), and makes sure that there is a segment to
    /// append to.
    fn keep_from_start(&mut self, mut segments: Vec<Arc<Segment>>) -> Result<Vec<Arc<Segment>>> {
        let start = self.mark.map_or(0, |mark| mark.log_start_offset);
        if let Some(base) = self.wanted(&segments, start) {
            let dir = Arc::clone(&self.dir);
            let mut active = Segment::sealed(dir, base, Position::ZERO, base);
            if self.writes() {
                let path = active.log_path();
                self.disk().create(&path).at(&path, "create")?;
            } else {
                active = self.without_file(active)?;
            }
            segments.push(Arc::new(active));
        }
        if self.writes() {
            let is_below = |pair: &&[Arc<Segment>]| match pair {
                [_, next] => next.base_offset() <= start,
                _ => false,
            };
            let below = segments.windows(2).take_while(is_below).count();
            // The start is durable in the mark, so whichever of these files a crash leaves are
            // removed again.
            for gone in segments.drain(..below) {
                remove_segment_files(self.disk(), &gone)?;
            }
            self.follow_mark(&segments);
        }
        Ok(segments)
    }
}

fn is_leftover(name: &FileName, bases: &BTreeSet<Offset>) -> bool {
    match name {
        FileName::NextSegment
        | FileName::Segment {
            stage: Stage::Deleted,
            ..
        } => true,
        // An index without a log is useless.
        FileName::Segment {
            base,
            kind: FileKind::Index | FileKind::TimeIndex | FileKind::TxnIndex | FileKind::Digest,
            stage: Stage::Live,
        } => !bases.contains(base),
        _ => false,
    }
}

fn is_digest(name: &FileName) -> bool {
    matches!(
        name,
        FileName::Segment {
            kind: FileKind::Digest,
            stage: Stage::Live,
            ..
        }
    )
}
