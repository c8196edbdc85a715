//! Floor 4: from a directory to the end of the log in it: judges what the last use left, and mends
//! it, without a running log.
//!
//! Knows nothing about locks and roots (`dir/`), about settings, or about what becomes of the log.
//! The passes are: look (list the directory), judge (refuse damage), finish what was interrupted,
//! recover (find the end), and rewrite (make it durable). `log/open` calls them in this order, and
//! writes the mark at the end; `doctor` uses some of them.
//!
//! 1. Below the flushed mark everything was synced: what is wrong there is damage (`rules.rs`),
//!    refused before anything is changed. Above it every pattern of bytes is a legal result of a
//!    crash: every valid batch up to the first invalid one is kept, and the rest is quarantined,
//!    never deleted.
//! 2. What is kept above the mark was perhaps never synced, and after a failed sync the page cache
//!    may be ahead of the disk: it is written again and synced before it is trusted.
//! 3. After a clean close only the tail behind the last index entry is read.
//! 4. Opening twice has the same result as opening once.

mod at_rest;
mod damage;
mod epochs;
mod leftovers;
mod old_format;
mod parallel;
mod report;
mod rules;
mod source;
mod swaps;
mod tail;
mod truncation;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::clock::Clock;
use crate::dir::{Marks, for_each_chunk};
use crate::disk::{Access, Disk, File};
use crate::error::{Error, IoContext, Result};
use crate::format::{Corruption, IndexWritten, Mark, MarkKey};
use crate::segment::{OpenFiles, Segment, TailScan, Walk, scan};
use crate::types::{Offset, Position, Sabotage};

pub(crate) use at_rest::AtRest;
pub(crate) use epochs::Epochs;
pub(crate) use leftovers::{DirListing, OpenStep};
pub(crate) use old_format::refuse_old_format;
pub(crate) use report::unreadable_marks;
pub use report::{OpenEvent, OpenReport, SegmentInfo};
pub(crate) use rules::{
    Landed, SegmentFacts, Violation, applicable, at_mark, has_own, is_flushed, lost_between,
    violations,
};
pub(crate) use source::{LogSource, OpenMode};
pub(crate) use truncation::{remove_segment_files, remove_snapshots_above};

#[derive(Clone, Copy)]
pub(crate) struct Tools<'a> {
    pub(crate) disk: &'a Disk,
    pub(crate) clock: &'a Clock,
    pub(crate) files: &'a Arc<OpenFiles>,
    pub(crate) marks: &'a Marks,
    /// A broker wrote the log, and it is being opened for the first time since.
    pub(crate) left_by_broker: bool,
}

pub(crate) struct Opening<'a> {
    pub(super) tools: Tools<'a>,
    pub(super) dir: Arc<Path>,
    pub(super) mode: OpenMode,
    pub(super) key: MarkKey,
    pub(crate) mark: Option<Mark>,
    /// The scan of the mark's segment, kept so that it is not read twice.
    pub(super) judged: Option<(TailScan, IndexWritten)>,
    /// Segments without a digest of their present state.
    pub(super) undigested: Vec<Arc<Segment>>,
    /// Refuse valid batches behind a hole instead of quarantining them.
    pub(super) strict: bool,
    /// `None` without a valid file of epochs.
    epochs: Option<Epochs>,
    /// Something was cut off, so the epoch must rise.
    pub(super) cut: bool,
    /// The outputs of an interrupted swap, opened under their `.swap` names; only for a log that is
    /// opened read-only.
    pub(super) swapped: BTreeMap<Offset, Arc<File>>,
    pub(super) report: OpenReport,
}

pub(crate) struct Tail {
    pub(crate) active: Arc<Segment>,
    pub(crate) scanned: TailScan,
    pub(crate) index_written: IndexWritten,
    /// All batches were read, and none is a producer's.
    pub(crate) plain: bool,
}

impl<'a> Opening<'a> {
    pub(crate) fn begin(
        tools: Tools<'a>,
        dir: &Path,
        key: MarkKey,
        mode: OpenMode,
    ) -> Result<Self> {
        Ok(Self {
            tools,
            dir: Arc::from(dir),
            mode,
            key,
            mark: tools.marks.find(key),
            judged: None,
            undigested: Vec::new(),
            strict: false,
            epochs: Epochs::read(tools.disk, dir)?,
            cut: false,
            swapped: BTreeMap::new(),
            report: OpenReport {
                clean: true,
                ..OpenReport::default()
            },
        })
    }
}

impl Opening<'_> {
    pub(super) fn disk(&self) -> &Disk {
        self.tools.disk
    }

    pub(super) fn writes(&self) -> bool {
        self.mode == OpenMode::Write
    }

    /// Finds the end of the log: checks everything from the mark on (I1).
    pub(crate) fn recover(&mut self, segments: &mut Vec<Arc<Segment>>) -> Result<Tail> {
        // Below the mark everything was judged already: the scan begins at the mark's segment.
        let from = self.first_unflushed(segments);
        let mut at = from;
        let mut floor = segments
            .get(from)
            .map_or(0, |segment| segment.base_offset());
        let mut plain = from == 0;
        let mut checked: Option<(Arc<Segment>, TailScan, IndexWritten)> = None;
        while let Some(segment) = segments.get(at).cloned() {
            let base = segment.base_offset();
            // Above the mark nothing was compacted: a gap there is also the work of a crash.
            let behind_hole = base > floor && !Sabotage::KeptBehindHole.is_on();
            if base < floor || at > from && self.mark.is_some() && behind_hole {
                let reason = Corruption::offset(floor, base);
                let behind = segments.get(at..).unwrap_or_default();
                let behind = behind.iter().map(|segment| (segment, Position::ZERO));
                self.count_behind(behind, floor, &reason)?;
                self.set_segments_aside(segments, at, &reason, floor)?;
                break;
            }
            if let Some((sealed, scanned, _)) = checked.take() {
                // A sealed segment ends where the next one begins, also behind a gap, as its digest
                // and mark say. This is known only once the next one was accepted.
                sealed.publish(sealed.end(), base);
                self.keep_index(&sealed, scanned);
            }
            let (scanned, written) = match self.judged.take() {
                Some(judged) if at == from => judged,
                _ => self.check_segment(&segment, at == from)?,
            };
            floor = self.end_of(&segment, &scanned);
            let is_last = self.trim_tail(segments, at, &scanned, floor)?;
            segment.publish(scanned.end, floor);
            self.learn(&segment, &scanned);
            plain &= scanned.plain;
            checked = Some((segment, scanned, written));
            at += 1;
            if is_last {
                break;
            }
        }
        let Some((active, scanned, index_written)) = checked else {
            return Err(Error::Closed);
        };
        // Before any mark is written: a mark must not name bytes that only the page cache has (I2).
        self.rewrite(segments, from, scanned.end)?;
        Ok(Tail {
            active,
            scanned,
            index_written,
            plain: plain && self.writes(),
        })
    }

    /// Keeps the index that a scan built: the index files of a sealed segment above the mark may be
    /// torn.
    fn keep_index(&self, segment: &Segment, mut scanned: TailScan) {
        scanned.progress.final_entry(&mut scanned.index);
        segment.set_index(scanned.index, scanned.newest);
        if self.writes() && !self.report.clean {
            segment.seal_index_files(self.disk());
        }
    }

    /// The place of the mark's segment, 0 without a mark. Notes whether the last use ended cleanly.
    fn first_unflushed(&mut self, segments: &[Arc<Segment>]) -> usize {
        let Some(mark) = self.mark else {
            self.report.clean = segments
                .iter()
                .all(|segment| segment.end() == Position::ZERO);
            return 0;
        };
        let holds = |segment: &Arc<Segment>| segment.base_offset() == mark.segment_base;
        let found = segments.iter().position(holds).unwrap_or(0);
        self.report.clean &= segments
            .get(found)
            .is_some_and(|segment| segment.end() == mark.position);
        self.report.clean &= mark.closed && found + 1 == segments.len();
        found
    }

    /// Where a checked segment ends: at its last batch, or where the mark says that the log ended
    /// in a gap.
    pub(crate) fn end_of(&self, segment: &Segment, scanned: &TailScan) -> Offset {
        let flushed = self.mark.filter(|mark| {
            mark.segment_base == segment.base_offset() && mark.position == scanned.end
        });
        let end = scanned.next_offset.max(segment.base_offset());
        flushed.map_or(end, |mark| end.max(mark.flushed_offset))
    }

    /// The first segment is checked from the last index entry below the mark, later ones from the
    /// start.
    pub(super) fn check_segment(
        &mut self,
        segment: &Arc<Segment>,
        first: bool,
    ) -> Result<(TailScan, IndexWritten)> {
        let file = segment.file(self.disk(), self.tools.files)?;
        let mark = self.mark.filter(|_| first);
        if let Some(mark) = mark
            && let Some(found) = self.check_from_index(segment, &file, &mark)?
        {
            return Ok(found);
        }
        let unflushed = mark.filter(|mark| !mark.dense).map(|mark| mark.position);
        let walk = Walk {
            dense_from: self.mark.map(|_| unflushed.unwrap_or(Position::ZERO)),
            mark: mark.map(|mark| mark.position),
            flushed_offset: mark.map_or(0, |mark| mark.flushed_offset),
            blames_gaps: self.mark.is_none(),
            digests: self.wants_digest(segment),
            ..Walk::whole(segment)
        };
        let scanned = scan(segment, &file, walk)?;
        // Before the rest counts as a torn tail, which would be quarantined.
        refuse_old_format(segment, &file, scanned.end, scanned.stopped.as_ref())?;
        self.report.scanned_bytes = self.report.scanned_bytes.saturating_add(scanned.end.0);
        if scanned.end > Position::ZERO && self.report.clean {
            self.report.events.push(OpenEvent::IndexRebuilt {
                path: segment.log_path(),
            });
        }
        Ok((scanned, IndexWritten::default()))
    }

    fn wants_digest(&self, segment: &Segment) -> bool {
        self.writes() && segment.digest_summary(self.disk()).is_none()
    }

    /// Checks with the help of the index; `None` if that is not reliable.
    fn check_from_index(
        &mut self,
        segment: &Arc<Segment>,
        file: &File,
        mark: &Mark,
    ) -> Result<Option<(TailScan, IndexWritten)>> {
        let Some(mut index) = segment.find_written(self.disk(), mark.index)? else {
            return Ok(None);
        };
        // The files may hold entries for batches above the mark.
        let below = mark.flushed_offset.saturating_sub(segment.base_offset());
        index.truncate(mark.position, u32::try_from(below).unwrap_or(u32::MAX));
        let (offsets, times) = index.encode();
        let written = IndexWritten::default().and(&offsets, &times);
        let last = index.last_offset_entry();
        let place = Position(last.map_or(0, |entry| u64::from(entry.position)));
        // The index says where the batch it leads to ends.
        let after = last.map_or(place, |_| place.plus(1));
        let walk = Walk {
            from: place,
            end: segment.end(),
            index,
            dense_from: Some(if mark.dense { after } else { mark.position }),
            mark: Some(mark.position),
            flushed_offset: mark.flushed_offset,
            blames_gaps: false,
            digests: place == Position::ZERO && self.wants_digest(segment),
        };
        let mut scanned = scan(segment, file, walk)?;
        refuse_old_format(segment, file, scanned.end, scanned.stopped.as_ref())?;
        // The bytes below the mark must still be valid.
        if scanned.at_mark.is_none() {
            return Ok(None);
        }
        // The batches before the last index entry were not read: only the mark knows their gaps.
        scanned.dense &= mark.dense || last.is_none();
        let read = scanned.end.since(place);
        self.report.scanned_bytes = self.report.scanned_bytes.saturating_add(read);
        Ok(Some((scanned, written)))
    }

    /// Writes what is kept above the mark again and syncs it (I2). The names are synced in the last
    /// pass, before the mark is moved.
    ///
    /// What a broker left is only synced, the first time it is opened: writing gigabytes again
    /// would take longer than the broker's own start. Writing again is for pages that the system
    /// calls clean although it failed to write them:
    ///
    /// - A failure that has not been reported yet is reported by this sync, although the file was
    ///   opened after it. This opening fails, and the next one, no longer the first, writes again.
    /// - A failure that was reported to the broker ended it. What it had appended but not flushed
    ///   may be in the page cache alone. It is trusted, as by the broker's own start:
    ///   docs/durability.md says what to do.
    fn rewrite(&self, segments: &[Arc<Segment>], from: usize, end: Position) -> Result<()> {
        if self.report.clean || !self.writes() {
            return Ok(());
        }
        let last = segments.len().saturating_sub(1);
        let suspect = self.mark.is_some() && !self.tools.left_by_broker;
        for (at, segment) in segments.iter().enumerate().skip(from) {
            let mark = self.mark.filter(|_| at == from);
            let start = mark.map_or(Position::ZERO, |mark| mark.position);
            let end = if at == last { end } else { segment.end() };
            let path = segment.log_path();
            let file = self.disk().open(&path, Access::Write).at(&path, "open")?;
            let file = file.with_ballast(self.tools.marks.home());
            if suspect && !Sabotage::SuspectBelieved.is_on() {
                // The length may have been changed in the cache alone, too.
                file.set_len(end.0).at(&path, "set the length of")?;
                rewrite_range(&file, &path, start..end)?;
            }
            file.sync_data().at(&path, "sync")?;
        }
        Ok(())
    }

    /// Whether the file of marks has a mark that does not apply to the log.
    pub(crate) fn is_mark_untrue(&self) -> bool {
        let found = self.tools.marks.find(self.key);
        self.mark.is_none() && found.is_some_and(|mark| mark.sequence > 0)
    }

    /// The mark that the next one changes. Only the sequence number of a mark that does not apply
    /// is kept, so that the next mark supersedes it.
    pub(crate) fn mark_to_go_on_from(&self, key: MarkKey, start: Offset) -> Mark {
        let found = self.tools.marks.find(key);
        let sequence = found.map_or(0, |mark| mark.sequence);
        let unmarked = Mark {
            key,
            sequence,
            // The first mark records where a log without a mark begins: with 0, the missing front
            // would look like damage.
            log_start_offset: start,
            ..Mark::default()
        };
        self.mark.unwrap_or(unmarked)
    }

    /// The epochs of the log, with a new one if its end may have moved back.
    pub(crate) fn find_epochs(
        &mut self,
        segments: &[Arc<Segment>],
        tail: &Tail,
        range: Range<Offset>,
    ) -> Result<Epochs> {
        let mut last = tail.scanned.leader_epoch;
        if let Some(before) = segments.iter().rev().nth(1).filter(|_| last < 0) {
            let digest = before.digest_summary(self.disk());
            last = digest.map_or(last, |digest| digest.epochs.1);
        }
        let mut epochs = self.epochs.take().unwrap_or_default();
        if last > epochs.newest() {
            epochs = Epochs::of_batches(self.disk(), self.tools.files, segments)?;
        }
        let empty = range.end == 0 && tail.scanned.end == Position::ZERO;
        let went_well = match self.mark {
            // What a broker closed cleanly is complete.
            Some(mark) => self.report.clean || mark.by_broker,
            None => empty,
        };
        if self.writes() && (self.cut || !went_well) {
            epochs.raise(range.end, range.start);
        }
        Ok(epochs)
    }
}

/// Writes bytes over themselves, so that a sync writes what the page cache holds.
pub(crate) fn rewrite_range(file: &File, path: &Path, range: Range<Position>) -> Result<()> {
    for_each_chunk(file, path, range, |at, chunk| {
        match file.write_at(at.0, chunk).at(path, "write") {
            // Where overwriting takes new space, a sync releases what the previous chunks took.
            Err(Error::NoSpace { .. }) => {
                file.sync_data().at(path, "sync")?;
                file.write_at(at.0, chunk).at(path, "write")
            }
            written => written,
        }
    })
}
