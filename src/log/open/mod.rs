//! Opening: from a directory listing to a usable log, whatever the last use left.
//!
//! Knows nothing about locks and roots (`alone.rs`, `dir/`) or about topics. The passes are: look
//! (list the directory), judge (refuse damage), settle what was interrupted, recover (find the
//! end), rewrite (make it durable), and settle the mark.
//!
//! 1. Up to the flushed mark everything was synced: what is wrong there is damage (`rules.rs`),
//!    which is refused before anything is changed. Above the mark every pattern of bytes is a legal
//!    result of a crash: the longest run of valid batches is kept, and everything after it is
//!    quarantined, never deleted.
//! 2. What is kept above the mark was perhaps never synced, and a failed sync may have left the
//!    page cache ahead of the disk: it is written again and synced before it is trusted.
//! 3. After a clean close only the tail behind the last index entry is read.
//! 4. Opening twice has the same result as opening once.

mod alone;
mod damage;
mod leftovers;
mod old_format;
mod parallel;
mod report;
mod rules;
mod settled;
mod source;
mod swaps;
mod tail;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::dir::for_each_chunk;
use crate::disk::{Access, Disk, File};
use crate::error::{Error, IoContext, Result};
use crate::format::{Corruption, IndexWritten, Mark, MarkKey};
use crate::segment::{Segment, TailScan, Walk, scan};
use crate::sync::{
    AtomicBool, AtomicU32, AtomicU64, Condvar, Mutex, OnceLock, RwLock, Signal, Watchers,
};
use crate::types::{Offset, Position, Sabotage};

use super::append::{AppendState, HotSettings};
use super::budget::Charge;
use super::digest::Digesting;
use super::epochs::Epochs;
use super::life::LifeCell;
use super::segments::Segments;
use super::turn::TurnState;
use super::usher::Usher;
use super::{Host, LogConfig, Shared};

pub(super) use alone::open_alone;
#[cfg(any(test, ottla_sim))]
pub(crate) use alone::open_alone_on;
pub(crate) use alone::open_locked;
pub(crate) use leftovers::{Found, OpenStep};
pub(crate) use old_format::refuse_old_format;
pub(crate) use report::unreadable_marks;
pub use report::{OpenEvent, OpenReport, SegmentInfo};
pub(crate) use rules::{
    Landed, SegmentFacts, Violation, applicable, at_mark, has_own, is_flushed, lost_between,
    violations,
};
pub(crate) use source::{LogSource, OpenMode};

/// A log being opened.
pub(crate) struct Opening<'a> {
    pub(super) host: &'a Host,
    pub(super) dir: Arc<Path>,
    pub(super) mode: OpenMode,
    pub(super) key: MarkKey,
    pub(crate) mark: Option<Mark>,
    /// The mark's segment, as far as it was checked, so that it is not read twice.
    pub(super) judged: Option<(TailScan, IndexWritten)>,
    /// Sealed segments that have no digest yet.
    pub(super) undigested: Vec<Arc<Segment>>,
    /// Refuse valid batches behind a hole instead of quarantining them.
    pub(super) strict: bool,
    /// The contents of the file of epochs, if there is one.
    epochs: Option<Epochs>,
    /// Something was cut off.
    pub(super) cut: bool,
    /// The outputs of an interrupted swap, opened because they still have other names; only for a
    /// log that is opened read-only.
    pub(super) swapped: BTreeMap<Offset, Arc<File>>,
    pub(super) report: OpenReport,
}

/// What opening found out about the end of the log.
struct Tail {
    active: Arc<Segment>,
    scanned: TailScan,
    index_written: IndexWritten,
}

/// Opens the log in a directory that exists.
pub(super) fn open(
    host: &Arc<Host>,
    source: LogSource,
    config: LogConfig,
    mode: OpenMode,
) -> Result<Arc<Shared>> {
    let began = host.clock.instant();
    let mut opening = Opening::begin(host, &source.dir, source.mark_key, mode)?;
    opening.strict = config.strict_recovery;
    if !source.managed {
        // The marks of a root are reported by its broker.
        let events = unreadable_marks(&host.marks);
        opening.report.events.extend(events);
    }
    let mut segments = opening.settle()?;
    let tail = opening.recover(&mut segments)?;
    opening.report.elapsed = host.clock.instant().duration_since(began);
    opening.finish(host, source, config, segments, tail)
}

impl<'a> Opening<'a> {
    /// An opening that has read only the marks.
    pub(crate) fn begin(host: &'a Host, dir: &Path, key: MarkKey, mode: OpenMode) -> Result<Self> {
        Ok(Self {
            host,
            dir: Arc::from(dir),
            mode,
            key,
            mark: host.marks.find(key),
            judged: None,
            undigested: Vec::new(),
            strict: false,
            epochs: Epochs::read(&host.disk, dir)?,
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
        &self.host.disk
    }

    pub(super) fn writes(&self) -> bool {
        self.mode == OpenMode::Write
    }

    /// Finds the end of the log (I1): checks everything from the mark on.
    fn recover(&mut self, segments: &mut Vec<Arc<Segment>>) -> Result<Tail> {
        // Below the mark everything was judged already, so the scan begins at the mark's segment.
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
                // A sealed segment ends where the next one begins, also behind a gap: its digest
                // and mark say so. This is known only once the next one was accepted.
                sealed.publish(sealed.end(), base);
                self.keep_index(&sealed, scanned);
            }
            let (scanned, written) = match self.judged.take() {
                Some(judged) if at == from => judged,
                _ => self.check_segment(&segment, at == from)?,
            };
            floor = self.end_of(&segment, &scanned);
            let is_last = self.settle_tail(segments, at, &scanned, floor)?;
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
        if plain && self.writes() {
            self.host.note_plain(self.key);
        }
        Ok(Tail {
            active,
            scanned,
            index_written,
        })
    }

    /// Keeps the index that was built for a sealed segment above the mark: its index files may be
    /// torn.
    fn keep_index(&self, segment: &Segment, mut scanned: TailScan) {
        scanned.progress.final_entry(&mut scanned.index);
        segment.set_index(scanned.index, scanned.newest);
        if self.writes() && !self.report.clean {
            segment.seal_index_files(self.disk());
        }
    }

    /// The index of the segment that holds the flushed mark; the first segment if there is no mark.
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
    fn end_of(&self, segment: &Segment, scanned: &TailScan) -> Offset {
        let flushed = self.mark.filter(|mark| {
            mark.segment_base == segment.base_offset() && mark.position == scanned.end
        });
        let end = scanned.next_offset.max(segment.base_offset());
        flushed.map_or(end, |mark| end.max(mark.flushed_offset))
    }

    /// Checks the batches of a segment: for the first segment from the last index entry below the
    /// mark, for later ones from the start.
    pub(super) fn check_segment(
        &mut self,
        segment: &Arc<Segment>,
        first: bool,
    ) -> Result<(TailScan, IndexWritten)> {
        let file = segment.file(self.disk(), &self.host.files)?;
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

    /// Whether the scan of a whole segment should make its digest.
    fn wants_digest(&self, segment: &Segment) -> bool {
        self.writes() && segment.digest_summary(self.disk()).is_none()
    }

    /// The same, with the help of the index; `None` if the index is not reliable.
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
        // The batches before the last index entry were not read: only the mark knows about their
        // gaps.
        scanned.dense &= mark.dense || last.is_none();
        let read = scanned.end.since(place);
        self.report.scanned_bytes = self.report.scanned_bytes.saturating_add(read);
        Ok(Some((scanned, written)))
    }

    /// Writes what is kept above the mark again and syncs it (I2). The names are synced before the
    /// mark is moved, in [`Shared::settle_opening`].
    ///
    /// What a broker left is only synced, the first time it is opened: writing gigabytes again
    /// would take longer than the broker's own start, which does not write them again either.
    /// Writing again is for pages that the system calls clean although it failed to write them:
    ///
    /// - A failure that has not been reported yet is reported by this sync, although the file was
    ///   opened after it. The opening of this log then fails, and the next one, no longer the
    ///   first, writes again.
    /// - A failure that was reported to the broker ended the broker: it stops if its directory
    ///   fails. What it had appended but not flushed by then may be in the page cache alone. It is
    ///   trusted here, as by the broker's own start: docs/durability.md says what to do.
    fn rewrite(&self, segments: &[Arc<Segment>], from: usize, end: Position) -> Result<()> {
        if self.report.clean || !self.writes() {
            return Ok(());
        }
        let last = segments.len().saturating_sub(1);
        let suspect = self.mark.is_some() && !self.host.is_left_by_broker();
        for (at, segment) in segments.iter().enumerate().skip(from) {
            let mark = self.mark.filter(|_| at == from);
            let start = mark.map_or(Position::ZERO, |mark| mark.position);
            let end = if at == last { end } else { segment.end() };
            let path = segment.log_path();
            let file = self.disk().open(&path, Access::Write).at(&path, "open")?;
            let file = file.with_ballast(self.host.marks.home());
            if suspect && !Sabotage::SuspectBelieved.is_on() {
                // The length may have been changed in the cache alone, too.
                file.set_len(end.0).at(&path, "set the length of")?;
                rewrite_range(&file, &path, start..end)?;
            }
            file.sync_data().at(&path, "sync")?;
        }
        Ok(())
    }

    /// Whether the file of marks has an untrue mark for this log.
    fn is_mark_untrue(&self) -> bool {
        let found = self.host.marks.find(self.key);
        self.mark.is_none() && found.is_some_and(|mark| mark.sequence > 0)
    }

    /// A mark that does not match is dropped; only its sequence number is kept, so that the next
    /// mark supersedes it.
    fn mark_to_go_on_from(&self, key: MarkKey, start: Offset) -> Mark {
        let found = self.host.marks.find(key);
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

    /// The epochs of the log, with a new one if the end may have moved back.
    fn find_epochs(
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
            epochs = Epochs::of_batches(self.host, segments)?;
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

    /// Builds the log from its parts.
    fn finish(
        mut self,
        host: &Arc<Host>,
        source: LogSource,
        config: LogConfig,
        mut segments: Vec<Arc<Segment>>,
        tail: Tail,
    ) -> Result<Arc<Shared>> {
        let end = self.end_of(&tail.active, &tail.scanned);
        let first = segments.first().unwrap_or(&tail.active).base_offset();
        let noted_start = self.mark.map_or(0, |mark| mark.log_start_offset);
        let start = noted_start.max(first).min(end);
        let epochs = self.find_epochs(&segments, &tail, start..end)?;
        let Tail {
            active,
            scanned,
            index_written,
        } = tail;
        segments.pop();
        active.publish(scanned.end, end);
        active.set_index(scanned.index, scanned.newest);
        active.set_grows(true);
        let settings = HotSettings::default();
        settings.set(&config, host.budget.is_limited());
        let read_only = self.mode == OpenMode::Read;
        let state = AppendState {
            progress: scanned.progress,
            index_written,
            made_at: host.clock.now(),
            leader_epoch: epochs.newest(),
            names_unsynced: true,
            ..AppendState::at_end(Arc::clone(&active), end)
        };
        let mark = self.mark_to_go_on_from(source.mark_key, start);
        let clean = self.report.clean && self.mark.is_some();
        let untrue = self.is_mark_untrue();
        let log = Arc::new_cyclic(|me| Shared {
            me: me.clone(),
            host: Arc::clone(host),
            dir: self.dir,
            mark_place: host.marks.place(source.mark_key),
            life: LifeCell::new(self.mode),
            managed: source.managed,
            config: RwLock::new(Arc::new(config)),
            hot: settings,
            append: Mutex::new(state),
            segments: RwLock::new(Segments::new(segments, active)),
            start: AtomicU64::new(start),
            end: AtomicU64::new(end),
            flushed: AtomicU64::new(end),
            shown: AtomicU64::new(0),
            truncations: AtomicU64::new(0),
            epochs: RwLock::new(epochs),
            turn: Mutex::new(TurnState::opened(mark, clean, index_written)),
            turn_over: Condvar::new(),
            company_came: Condvar::new(),
            flush_asked: AtomicU32::new(0),
            flush_due: Mutex::new(None),
            digesting: Digesting::new(me.clone()),
            signal: Signal::default(),
            usher: Usher::new(me.clone()),
            survey: Mutex::new(None),
            watchers: Watchers::default(),
            charge: Charge::default(),
            tally: Box::default(),
            cleaning: Mutex::new(()),
            layout: Mutex::new(()),
            lock: Mutex::new(source.lock),
            unsettled: AtomicBool::new(false),
            outside: OnceLock::new(),
            report: self.report,
        });
        // Before the log is handed out: appends may follow at once, and a second crash must find
        // the end that this opening found.
        if !read_only && !clean {
            log.settle_opening(scanned.digest, untrue)?;
        }
        if !read_only {
            begin_to_write(&log, self.undigested);
        }
        Ok(log)
    }
}

/// Makes the mark say what followers must know before the first append, and has digests made for
/// sealed segments without one.
fn begin_to_write(log: &Shared, undigested: Vec<Arc<Segment>>) {
    log.note_durability();
    for segment in undigested {
        let active = log.append.lock().active.base_offset();
        if segment.base_offset() < active && !segment.is_gone() {
            log.digest_later(segment, None);
        }
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

#[cfg(test)]
mod tests {
    use crate::disk::{Access, Disk};
    use crate::format::file_name;
    use crate::log::{Log, LogConfig};
    use crate::segment::BatchCursor;
    use crate::types::{Position, WriteMode};

    /// Otherwise the system would make its pages, which takes longer than reading all the rest. It
    /// may read ahead for reasons of its own, for example under memory pressure: one try of five is
    /// enough.
    #[test]
    fn space_that_was_reserved_and_never_written_is_not_read() {
        assert!((0..5).any(|_| leaves_reserved_space_alone()));
    }

    /// Opens a log as after a crash: nothing was synced or cut.
    fn leaves_reserved_space_alone() -> bool {
        let dir = tempfile::tempdir().unwrap();
        let config = LogConfig::default().write_mode(WriteMode::Mapped);
        let log = Log::open(dir.path(), config).unwrap();
        let record = vec![7; 100];
        for _ in 0..20_000 {
            log.append(&record).unwrap();
        }
        let path = dir.path().join(file_name::log(0));
        let file = Disk::os().open(&path, Access::Read).unwrap();
        let (data, all) = (file.data_end(0).unwrap(), file.len().unwrap());
        // If the system cannot say where the data ends, there is nothing to check.
        let told = data + (256 << 10) < all || !cfg!(target_os = "linux");
        assert!(data >= 2_000_000 && told, "{data} of {all}");
        let crashed = Log::open_read_only(dir.path()).unwrap();
        assert!(crashed.open_report().scanned_bytes > 2_000_000);
        assert_eq!(crashed.end_offset(), 20_000);
        file.data_end(0).unwrap() == data
    }

    #[test]
    fn what_is_read_ahead_changes_nothing_of_what_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::open(dir.path(), LogConfig::default()).unwrap();
        for length in [1, 300, 5, 2_000, 40] {
            log.append(&vec![7; length]).unwrap();
        }
        log.close().unwrap();
        let path = dir.path().join(file_name::log(0));
        let file = Disk::os().open(&path, Access::Read).unwrap();
        let end = file.len().unwrap();
        for ahead_to in (0..=end).chain([u64::MAX]) {
            let cursor = BatchCursor::new(Position::ZERO, 0).sequential();
            let mut cursor = cursor.ahead_to(Position(ahead_to));
            for offset in 0..5 {
                let batch = cursor.next(&file, Position(end)).unwrap().unwrap();
                assert_eq!(batch.header.base_offset, offset, "{ahead_to}");
            }
            assert!(cursor.next(&file, Position(end)).unwrap().is_none());
        }
    }
}
