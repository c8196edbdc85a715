//! Opening: from a directory listing to a log that can be used, whatever the last use left.
//!
//! Knows nothing about locks and roots (`place.rs`) or about topics.
//!
//! 1. Up to the flushed mark everything was synced. From there on every pattern of bytes is a
//!    legal result of a crash: the longest run of valid batches is kept, and everything after it
//!    is set aside, never deleted.
//! 2. What is kept above the mark was perhaps never synced, and a failed sync may have left the
//!    page cache ahead of the disk: it is written again and synced before it is trusted.
//! 3. After a clean close nothing is read but the tail behind the last index entry.
//! 4. Opening twice gives the same.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Access, Disk, EntryKind, File, Lock};
use crate::error::{Error, IoContext, Result};
use crate::format::{
    Corruption, FileKind, FileName, IndexWritten, Mark, MarkKey, Stage, TruncateIntent, checkpoint,
    file_name,
};
use crate::segment::{Segment, TailScan, Walk, scan};
use crate::sync::{AtomicBool, AtomicU64, Condvar, Mutex, RwLock, Signal};
use crate::types::{Offset, Position, to_usize};

use super::append::{AppendState, Gate, HotSettings};
use super::compact::{SettledSwaps, settle_swaps};
use super::flush::TurnState;
use super::quarantine::{copy_aside, is_zero, move_aside, rename_aside};
use super::segments::Segments;
use super::truncate::{finish_truncation, remove_if_there, remove_segment_files};
use super::{Host, LogConfig, OpenEvent, OpenReport, Shared};

/// Whether a log is opened to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenMode {
    Write,
    Read,
}

/// Which log is opened, and by whom.
#[derive(Debug)]
pub(crate) struct LogSource {
    pub(crate) dir: PathBuf,
    pub(crate) mark_key: MarkKey,
    /// The lock that goes with the log; a broker's logs share the broker's.
    pub(crate) lock: Option<Lock>,
    pub(crate) managed: bool,
}

/// A log being opened.
struct Opening<'a> {
    host: &'a Host,
    dir: Arc<Path>,
    mode: OpenMode,
    mark: Option<Mark>,
    /// The latest leader epoch of the log: new batches carry it.
    leader_epoch: i32,
    /// Segments of a swap that was cut off, open, for they have other names: of a log that only
    /// looks.
    swapped: BTreeMap<Offset, Arc<File>>,
    report: OpenReport,
}

/// What the steps of opening need to settle what was left behind.
pub(super) struct OpenStep<'a> {
    pub(super) disk: &'a Disk,
    pub(super) dir: &'a Path,
    pub(super) report: &'a mut OpenReport,
}

impl OpenStep<'_> {
    /// Removes a leftover.
    pub(super) fn remove(&mut self, name: &str) -> Result<()> {
        let path = self.dir.join(name);
        remove_if_there(self.disk, path.clone())?;
        self.settled(path);
        Ok(())
    }

    /// Reports a leftover that was removed or finished.
    pub(super) fn settled(&mut self, path: PathBuf) {
        self.report.events.push(OpenEvent::LeftoverSettled { path });
    }

    /// Keeps a file that is not what its name says, out of the way.
    pub(super) fn set_aside(&mut self, name: &str, base: Offset) -> Result<()> {
        let path = self.dir.join(name);
        if self.disk.file_len(&path).at(&path, "look at")? == 0 {
            return self.remove(name);
        }
        let aside = rename_aside(self.disk, self.dir, &path, base)?;
        self.settled(aside);
        Ok(())
    }
}

/// What opening found out about the end of the log.
struct Tail {
    active: Arc<Segment>,
    scanned: TailScan,
    index_written: IndexWritten,
}

/// Opens the log in a directory that is there.
pub(super) fn open(
    host: &Arc<Host>,
    source: LogSource,
    config: LogConfig,
    mode: OpenMode,
) -> Result<Arc<Shared>> {
    let began = host.clock.instant();
    let mut opening = Opening {
        host,
        dir: Arc::from(source.dir.as_path()),
        mode,
        mark: host.marks.find(source.mark_key),
        leader_epoch: latest_epoch(&host.disk, &source.dir)?,
        swapped: BTreeMap::new(),
        report: OpenReport {
            clean: true,
            ..OpenReport::default()
        },
    };
    let bases = opening.settle_leftovers()?;
    let mut segments = opening.segments(&bases)?;
    let tail = opening.recover(&mut segments)?;
    opening.report.elapsed = host.clock.instant().duration_since(began);
    opening.finish(host, source, config, segments, tail)
}

impl Opening<'_> {
    fn disk(&self) -> &Disk {
        &self.host.disk
    }

    fn writes(&self) -> bool {
        self.mode == OpenMode::Write
    }

    /// Finishes or undoes what an interrupted operation left; gives the base offsets of the
    /// segments that are there.
    fn settle_leftovers(&mut self) -> Result<BTreeSet<Offset>> {
        let intent_path = self.dir.join(file_name::TRUNCATE);
        let limit = 1 << 30;
        let intent = self
            .disk()
            .read_small(&intent_path, limit)
            .at(&intent_path, "read")?;
        let intent = intent.as_deref().and_then(TruncateIntent::decode);
        let mut bases = BTreeSet::new();
        let mut others = Vec::new();
        for entry in self.disk().list(&self.dir).at(&self.dir, "list")? {
            if entry.kind != EntryKind::File {
                continue;
            }
            match FileName::parse(&entry.name) {
                FileName::Segment {
                    base,
                    kind: FileKind::Log,
                    stage: Stage::Live,
                } => {
                    bases.insert(base);
                }
                other => others.push((entry.name, other)),
            }
        }
        let swaps = SettledSwaps::plan(self.disk(), &self.dir, &others)?;
        if self.writes() {
            let mut step = OpenStep {
                disk: &self.host.disk,
                dir: &self.dir,
                report: &mut self.report,
            };
            settle_swaps(&mut step, &swaps, &mut bases)?;
        } else {
            swaps.apply_to(&mut bases);
            self.swapped = swaps.open_outputs(self.disk(), &self.dir)?;
        }
        if let Some(intent) = &intent {
            self.settle_truncation(intent, &mut bases)?;
        }
        for (name, parsed) in others {
            if is_leftover(&parsed, &bases) && self.writes() {
                let path = self.dir.join(&name);
                remove_if_there(self.disk(), path.clone())?;
                if parsed != FileName::NextSegment {
                    self.report.events.push(OpenEvent::LeftoverSettled { path });
                }
            }
        }
        Ok(bases)
    }

    fn settle_truncation(
        &mut self,
        intent: &TruncateIntent,
        bases: &mut BTreeSet<Offset>,
    ) -> Result<()> {
        if !self.writes() {
            return Ok(());
        }
        let path = self.dir.join(file_name::TRUNCATE);
        for base in bases.split_off(&intent.segment_base.saturating_add(1)) {
            let segment = Segment::sealed(Arc::clone(&self.dir), base, Position::ZERO, base);
            remove_segment_files(self.disk(), &segment)?;
        }
        finish_truncation(self.disk(), &self.dir, intent)?;
        // The mark may lie above the cut: without it, everything is checked.
        if self
            .mark
            .is_some_and(|mark| mark.flushed_offset > intent.new_end)
        {
            let position = intent.position.plus(intent.head.len());
            self.mark = self.mark.map(|mark| Mark {
                flushed_offset: intent.new_end,
                segment_base: intent.segment_base,
                position,
                cleaned_offset: mark.cleaned_offset.min(intent.new_end),
                ..mark
            });
        }
        self.report.clean = false;
        self.report.events.push(OpenEvent::LeftoverSettled { path });
        Ok(())
    }

    /// The segments in order, with their sizes; what lies wholly below the start of the log goes.
    fn segments(&self, bases: &BTreeSet<Offset>) -> Result<Vec<Arc<Segment>>> {
        let start = self.mark.map_or(0, |mark| mark.log_start_offset);
        let mut segments = Vec::with_capacity(bases.len());
        let nexts = bases.iter().skip(1).map(Some).chain(std::iter::once(None));
        for (&base, next) in bases.iter().zip(nexts) {
            if self.writes() && next.is_some_and(|next| *next <= start) {
                let gone = Segment::sealed(Arc::clone(&self.dir), base, Position::ZERO, base);
                remove_segment_files(self.disk(), &gone)?;
                continue;
            }
            let path = self.dir.join(file_name::log(base));
            let file = self.swapped.get(&base);
            let length = match file {
                Some(file) => file.len(),
                None => self.disk().file_len(&path),
            };
            let length = Position(length.at(&path, "look at")?);
            let next = next.copied().unwrap_or(base);
            let segment = Segment::sealed(Arc::clone(&self.dir), base, length, next);
            let segment = Arc::new(segment);
            if let Some(file) = file {
                segment.keep_file(file);
                segment.rebuild_index(self.disk(), &self.host.files)?;
            }
            segments.push(segment);
        }
        if segments.is_empty() {
            let dir = Arc::clone(&self.dir);
            let first = Arc::new(Segment::sealed(dir, start, Position::ZERO, start));
            if self.writes() {
                let path = first.log_path();
                self.disk().create(&path).at(&path, "create")?;
            }
            segments.push(first);
        }
        Ok(segments)
    }

    /// Finds the end of the log (I1): checks everything from the mark on.
    fn recover(&mut self, segments: &mut Vec<Arc<Segment>>) -> Result<Tail> {
        let from = self.first_unflushed(segments);
        let mut at = from;
        let mut floor = segments
            .get(from)
            .map_or(0, |segment| segment.base_offset());
        let mut checked: Option<(Arc<Segment>, TailScan, IndexWritten)> = None;
        while let Some(segment) = segments.get(at).cloned() {
            let base = segment.base_offset();
            // Above the mark nothing was compacted: a gap is what a crash left, too.
            if base < floor || at > from && self.mark.is_some() && base > floor {
                let reason = Corruption::offset(floor, base);
                self.set_segments_aside(segments, at, &reason, floor)?;
                break;
            }
            if let Some((sealed, scanned, _)) = checked.take() {
                self.keep_index(&sealed, scanned);
            }
            let (scanned, written) = self.check_segment(&segment, at == from)?;
            let cut = self.settle_tail(&segment, &scanned)?;
            segment.publish(scanned.end, scanned.next_offset.max(segment.base_offset()));
            floor = scanned.next_offset.max(segment.base_offset());
            checked = Some((segment, scanned, written));
            at += 1;
            if let Some(reason) = cut {
                self.set_segments_aside(segments, at, &reason, floor)?;
                break;
            }
        }
        let Some((active, scanned, index_written)) = checked else {
            return Err(Error::Closed);
        };
        self.rewrite(segments, from, scanned.end)?;
        Ok(Tail {
            active,
            scanned,
            index_written,
        })
    }

    /// Keeps the index that was built for a sealed segment above the mark: what its files hold may
    /// be torn.
    fn keep_index(&self, segment: &Segment, mut scanned: TailScan) {
        scanned.progress.final_entry(&mut scanned.index);
        segment.set_index(scanned.index, scanned.newest);
        if self.writes() && !self.report.clean {
            segment.seal_index_files(self.disk());
        }
    }

    /// The segment that holds the flushed mark; the first one where there is no mark that fits.
    fn first_unflushed(&mut self, segments: &[Arc<Segment>]) -> usize {
        let Some(mark) = self.mark else {
            self.report.clean = segments
                .iter()
                .all(|segment| segment.end() == Position::ZERO);
            return 0;
        };
        let found = segments.iter().position(|segment| {
            segment.base_offset() == mark.segment_base && segment.end() >= mark.position
        });
        let Some(found) = found else {
            self.mark = None;
            self.report.clean = false;
            return 0;
        };
        let exact = segments
            .get(found)
            .is_some_and(|segment| segment.end() == mark.position);
        self.report.clean &= mark.closed && exact && found + 1 == segments.len();
        found
    }

    /// Checks the batches of a segment: of the first one from the last index entry below the mark
    /// on, of later ones all.
    fn check_segment(
        &mut self,
        segment: &Arc<Segment>,
        first: bool,
    ) -> Result<(TailScan, IndexWritten)> {
        let file = segment.file(self.disk(), &self.host.files)?;
        let mark = self.mark.filter(|_| first);
        let dense_from = self
            .mark
            .map(|_| mark.map_or(Position::ZERO, |mark| mark.position));
        if let Some(mark) = mark
            && let Some(found) = self.check_from_index(segment, &file, &mark)?
        {
            return Ok(found);
        }
        let walk = Walk {
            dense_from,
            ..Walk::whole(segment)
        };
        let scanned = scan(segment, &file, walk)?;
        self.report.scanned_bytes = self.report.scanned_bytes.saturating_add(scanned.end.0);
        if scanned.end > Position::ZERO && self.report.clean {
            self.report.events.push(OpenEvent::IndexRebuilt {
                path: segment.log_path(),
            });
        }
        Ok((scanned, IndexWritten::default()))
    }

    /// The same with the help of the index; `None` when it cannot be relied on.
    fn check_from_index(
        &mut self,
        segment: &Arc<Segment>,
        file: &File,
        mark: &Mark,
    ) -> Result<Option<(TailScan, IndexWritten)>> {
        let Some(mut index) = segment.find_written(self.disk(), mark.index)? else {
            return Ok(None);
        };
        // The files may hold entries of what came after the mark.
        let below = mark.flushed_offset.saturating_sub(segment.base_offset());
        index.truncate(mark.position, u32::try_from(below).unwrap_or(u32::MAX));
        let (offsets, times) = index.encode();
        let written = IndexWritten::default().and(&offsets, &times);
        let last = index.last_offset_entry();
        let place = Position(last.map_or(0, |entry| u64::from(entry.position)));
        let walk = Walk {
            from: place,
            end: segment.end(),
            index,
            dense_from: Some(mark.position),
        };
        let scanned = scan(segment, file, walk)?;
        // What lies below the mark must still be valid.
        if scanned.end < mark.position {
            return Ok(None);
        }
        let read = scanned.end.since(place);
        self.report.scanned_bytes = self.report.scanned_bytes.saturating_add(read);
        Ok(Some((scanned, written)))
    }

    /// Deals with what stands behind the last valid batch of a segment; gives the reason when it
    /// was something, and so nothing can follow.
    fn settle_tail(
        &mut self,
        segment: &Arc<Segment>,
        scanned: &TailScan,
    ) -> Result<Option<Corruption>> {
        let Some(reason) = scanned.stopped.clone() else {
            return Ok(None);
        };
        let path = segment.log_path();
        let file = segment.file(self.disk(), &self.host.files)?;
        let rest = scanned.end..segment.end();
        let reserved = is_zero(&file, &path, rest.clone())?;
        if !self.writes() {
            return Ok((!reserved).then_some(reason));
        }
        if !reserved {
            let bytes = rest.end.since(rest.start);
            let quarantine = copy_aside(self.disk(), &self.dir, segment, &file, rest.clone())?;
            self.set_aside(
                segment,
                rest,
                scanned.next_offset,
                quarantine,
                reason.clone(),
            );
            self.report.quarantined_bytes = self.report.quarantined_bytes.saturating_add(bytes);
        }
        self.report.clean = false;
        let file = self.disk().open(&path, Access::Write).at(&path, "open")?;
        file.set_len(scanned.end.0).at(&path, "cut")?;
        file.sync_data().at(&path, "sync")?;
        Ok((!reserved).then_some(reason))
    }

    fn set_aside(
        &mut self,
        segment: &Segment,
        range: Range<Position>,
        kept_to: Offset,
        quarantine: PathBuf,
        reason: Corruption,
    ) {
        self.report.events.push(OpenEvent::TailSetAside {
            path: segment.log_path(),
            position: range.start.0,
            kept_to,
            bytes: range.end.since(range.start),
            quarantine,
            reason,
        });
    }

    /// Moves whole segments into quarantine: they do not follow from what is kept.
    fn set_segments_aside(
        &mut self,
        segments: &mut Vec<Arc<Segment>>,
        from: usize,
        reason: &Corruption,
        kept_to: Offset,
    ) -> Result<()> {
        let gone: Vec<_> = segments.drain(from..).collect();
        if !self.writes() {
            return Ok(());
        }
        for segment in gone {
            self.report.clean = false;
            let bytes = segment.end().0;
            segment.close_file();
            if bytes == 0 {
                remove_segment_files(self.disk(), &segment)?;
                continue;
            }
            let path = move_aside(self.disk(), &self.dir, &segment)?;
            let whole = Position::ZERO..segment.end();
            self.set_aside(&segment, whole, kept_to, path, reason.clone());
            self.report.quarantined_bytes = self.report.quarantined_bytes.saturating_add(bytes);
        }
        Ok(())
    }

    /// Writes what is kept above the mark again and syncs it (I2).
    fn rewrite(&self, segments: &[Arc<Segment>], from: usize, end: Position) -> Result<()> {
        if self.report.clean || !self.writes() {
            return Ok(());
        }
        let last = segments.len().saturating_sub(1);
        for (at, segment) in segments.iter().enumerate().skip(from) {
            let mark = self.mark.filter(|_| at == from);
            let start = mark.map_or(Position::ZERO, |mark| mark.position);
            let end = if at == last { end } else { segment.end() };
            let path = segment.log_path();
            let file = self.disk().open(&path, Access::Write).at(&path, "open")?;
            if self.mark.is_some() {
                // A cut may be in the cache alone, too.
                file.set_len(end.0).at(&path, "set the length of")?;
                rewrite_range(&file, &path, start..end)?;
            }
            file.sync_data().at(&path, "sync")?;
        }
        self.disk().sync_dir(&self.dir).at(&self.dir, "sync")
    }

    /// A mark that does not fit is forgotten, but for its number: the next one must win.
    fn mark_to_go_on_from(&self, key: MarkKey) -> Mark {
        let found = self.host.marks.find(key);
        let sequence = found.map_or(0, |mark| mark.sequence);
        let unmarked = Mark {
            key,
            sequence,
            ..Mark::default()
        };
        self.mark.unwrap_or(unmarked)
    }

    /// Puts the pieces together.
    fn finish(
        self,
        host: &Arc<Host>,
        source: LogSource,
        config: LogConfig,
        mut segments: Vec<Arc<Segment>>,
        tail: Tail,
    ) -> Result<Arc<Shared>> {
        let Tail {
            active,
            scanned,
            index_written,
        } = tail;
        segments.pop();
        let end = scanned.next_offset.max(active.base_offset());
        let first = segments.first().unwrap_or(&active).base_offset();
        let marked = self.mark.map_or(0, |mark| mark.log_start_offset);
        let start = marked.max(first).min(end);
        active.publish(scanned.end, end);
        active.set_index(scanned.index, scanned.newest);
        active.set_grows(true);
        let hot = HotSettings::default();
        hot.set(&config);
        let read_only = self.mode == OpenMode::Read;
        let gate = if read_only {
            Gate::ReadOnly
        } else {
            Gate::Open
        };
        let state = AppendState {
            gate,
            progress: scanned.progress,
            index_written,
            made_at: host.clock.now(),
            leader_epoch: self.leader_epoch,
            names_unsynced: true,
            ..AppendState::at_end(Arc::clone(&active), end)
        };
        let mark = self.mark_to_go_on_from(source.mark_key);
        let clean = self.report.clean && self.mark.is_some();
        let log = Arc::new_cyclic(|me| Shared {
            me: me.clone(),
            host: Arc::clone(host),
            dir: self.dir,
            mark_key: source.mark_key,
            mark_place: host.marks.place(source.mark_key),
            read_only,
            managed: source.managed,
            config: RwLock::new(Arc::new(config)),
            hot,
            append: Mutex::new(state),
            segments: RwLock::new(Segments::new(segments, active)),
            start: AtomicU64::new(start),
            end: AtomicU64::new(end),
            flushed: AtomicU64::new(end),
            truncations: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            turn: Mutex::new(TurnState::new(mark)),
            turn_over: Condvar::new(),
            flush_scheduled: AtomicBool::new(false),
            signal: Signal::default(),
            watchers: RwLock::new(Vec::new()),
            watched: AtomicBool::new(false),
            cleaning: Mutex::new(()),
            layout: Mutex::new(()),
            closing: AtomicBool::new(false),
            lock: Mutex::new(source.lock),
            report: self.report,
        });
        if !read_only && !clean {
            log.settle_opening(start)?;
        }
        Ok(log)
    }
}

impl Shared {
    /// After anything but a clean close: the index files and the mark are brought up to what is
    /// there now.
    fn settle_opening(&self, start: Offset) -> Result<()> {
        let turn = self.take_turn()?;
        let last = Arc::clone(&self.append.lock().active);
        let written = last.save_index_files(&self.host.disk);
        self.append.lock().index_written = written;
        self.sync_all(&turn)?;
        self.write_mark(&turn, |mark| mark.log_start_offset = start)?;
        self.host.marks.sync(self.host.clock.instant())?;
        // A truncation that comes back would take what is appended from now on.
        if remove_if_there(&self.host.disk, self.dir.join(file_name::TRUNCATE))? {
            self.host.disk.sync_dir(&self.dir).at(&self.dir, "sync")?;
        }
        Ok(())
    }
}

/// The latest epoch that a broker noted for a log, 0 in a log of our own. A file that cannot be
/// read is no reason to fail: the batches tell their epochs too.
fn latest_epoch(disk: &Disk, dir: &Path) -> Result<i32> {
    let path = dir.join(file_name::LEADER_EPOCHS);
    let text = match disk.read_small(&path, checkpoint::SIZE_MAX) {
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => None,
        read => read.at(&path, "read")?,
    };
    let epochs = text
        .and_then(|text| checkpoint::decode_epochs(&text).ok())
        .unwrap_or_default();
    Ok(epochs.last().map_or(0, |latest| latest.epoch.max(0)))
}

/// Whether a file is left over from something that was interrupted.
fn is_leftover(name: &FileName, bases: &BTreeSet<Offset>) -> bool {
    match name {
        FileName::NextSegment
        | FileName::Segment {
            stage: Stage::Deleted,
            ..
        } => true,
        // An index without a log is worth nothing.
        FileName::Segment {
            base,
            kind: FileKind::Index | FileKind::TimeIndex | FileKind::TxnIndex | FileKind::Digest,
            stage: Stage::Live,
        } => !bases.contains(base),
        _ => false,
    }
}

/// Writes bytes over themselves, so that what the page cache holds is what a sync writes.
fn rewrite_range(file: &File, path: &Path, range: Range<Position>) -> Result<()> {
    let mut buffer = vec![0; (1 << 20).min(to_usize(range.end.since(range.start)))];
    let mut at = range.start;
    while at < range.end {
        let wanted = buffer.len().min(to_usize(range.end.since(at)));
        let Some(chunk) = buffer.get_mut(..wanted) else {
            break;
        };
        let read = file.read_at(at.0, chunk).at(path, "read")?;
        let Some(chunk) = chunk.get(..read).filter(|chunk| !chunk.is_empty()) else {
            break;
        };
        file.write_at(at.0, chunk).at(path, "write")?;
        at = at.plus(read);
    }
    Ok(())
}
