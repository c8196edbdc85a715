//! The second pass: segments read batch by batch and written anew without what is superseded.
//!
//! Knows nothing about how the result takes its place.
//!
//! 1. A record stays if it lies at or above the end of the round, or if its key has no newer one
//!    below it; a tombstone goes once its horizon has passed. A record without a key goes.
//! 2. A batch of which everything stays is copied byte for byte.
//! 3. No output is larger than `segment.bytes`, but for one of a single batch.

use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::File;
use crate::error::{Error, IoContext, Result};
use crate::format::{
    BatchHeader, DigestBuilder, EncodeError, FileKind, FileName, RecordBatch, RecordView, Rewrite,
    Stage,
};
use crate::segment::{IndexProgress, Indexed, RawBatch, Segment, SparseIndex, relative};
use crate::types::{Offset, Position, Timestamp};

use super::super::Shared;
use super::transactions::{Judge, Survey};
use super::{CompactionReport, Round};

/// How much is gathered before it is written, in bytes.
const BUFFER_BYTES: usize = 1 << 20;

/// A segment that compaction wrote, complete under its `.cleaned` names. Its batches are synced;
/// its indexes are hints that a power cut may take.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) base_offset: Offset,
    pub(super) end: Position,
    pub(super) next_offset: Offset,
    pub(super) digest: DigestBuilder,
    pub(super) index_crcs: (u32, u32),
}

/// A segment being written.
struct Writing {
    base_offset: Offset,
    path: PathBuf,
    file: File,
    buffer: Vec<u8>,
    written: Position,
    next_offset: Offset,
    index: SparseIndex,
    progress: IndexProgress,
    digest: DigestBuilder,
}

/// One group of neighbours on its way through the second pass.
struct Group<'a, 'j> {
    log: &'a Shared,
    round: &'a Round,
    judge: &'a mut Judge<'j>,
    now: Timestamp,
    /// Where the first source begins, and so the first output.
    base_offset: Offset,
    done: Vec<Output>,
    writing: Option<Writing>,
    changed: bool,
    dropped: u64,
    keep: Vec<bool>,
    /// The last batch, while nothing was written yet.
    last: Option<RawBatch>,
}

impl Shared {
    /// Writes every group of segments below the end of a round anew and puts it in its place.
    pub(super) fn clean_below(
        &self,
        segments: &[Arc<Segment>],
        round: &Round,
        survey: &Survey,
        report: &mut CompactionReport,
    ) -> Result<()> {
        let now = self.host.clock.now();
        let mut judge = survey.judge(now);
        let concerned = segments.partition_point(|segment| segment.base_offset() < round.end);
        let mut rest = segments.get(..concerned).unwrap_or_default();
        while !rest.is_empty() {
            let (sources, after) = rest.split_at(self.group_len(rest));
            rest = after;
            self.check_open()?;
            let group = Group {
                log: self,
                round,
                judge: &mut judge,
                now,
                base_offset: sources.first().map_or(0, |first| first.base_offset()),
                done: Vec::new(),
                writing: None,
                changed: sources.len() > 1,
                dropped: 0,
                keep: Vec::new(),
                last: None,
            };
            group.run(sources, report)?;
        }
        Ok(())
    }

    /// How many segments from the front may become one: together no larger than a segment may
    /// be, in bytes, index and offsets.
    fn group_len(&self, segments: &[Arc<Segment>]) -> usize {
        let config = self.config();
        let Some(first) = segments.first() else {
            return 0;
        };
        let (mut bytes, mut len) = (0_u64, 0_usize);
        for segment in segments {
            bytes = bytes.saturating_add(segment.end().0);
            // An entry takes 12 bytes at most and stands for more than `index.interval.bytes`.
            let entries = bytes / config.index_interval_bytes.max(61) + 2;
            let last = segment.next_offset().saturating_sub(1);
            let fits = bytes <= config.segment_bytes
                && entries.saturating_mul(12) <= config.segment_index_bytes
                && relative(first.base_offset(), last).is_some();
            if !fits && len > 0 {
                break;
            }
            len += 1;
        }
        len
    }
}

impl Group<'_, '_> {
    fn run(mut self, sources: &[Arc<Segment>], report: &mut CompactionReport) -> Result<()> {
        let truncations = self.log.truncation_count();
        for source in sources {
            let base = source.base_offset();
            let cleaned = self.log.for_each_batch(source, base, |_, raw| {
                self.batch(raw, source)?;
                Ok(true)
            });
            if let Err(error) = cleaned {
                self.log.drop_outputs(&self.outputs_so_far());
                return Err(error);
            }
            report.read_bytes = report.read_bytes.saturating_add(source.end().0);
        }
        let finished = self.keep_an_end(sources);
        if let Err(error) = finished.and_then(|()| self.finish_writing()) {
            self.log.drop_outputs(&self.outputs_so_far());
            return Err(error);
        }
        if !self.changed {
            self.log.drop_outputs(&self.outputs_so_far());
            return Ok(());
        }
        let written: u64 = self.done.iter().map(|output| output.end.0).sum();
        let after = u64::try_from(self.done.len()).unwrap_or(u64::MAX);
        if self
            .log
            .swap(sources, std::mem::take(&mut self.done), truncations)?
        {
            report.records_dropped = report.records_dropped.saturating_add(self.dropped);
            report.written_bytes = report.written_bytes.saturating_add(written);
            report.segments_after = report.segments_after.saturating_add(after);
            let before = u64::try_from(sources.len()).unwrap_or(u64::MAX);
            report.segments_before = report.segments_before.saturating_add(before);
        }
        Ok(())
    }

    /// A group of which nothing stays leaves an empty batch: a hole between two segments (or before
    /// the first) is what a lost segment looks like.
    fn keep_an_end(&mut self, sources: &[Arc<Segment>]) -> Result<()> {
        let nothing = self.done.is_empty() && self.writing.is_none();
        let (Some(raw), Some(source)) = (self.last.take().filter(|_| nothing), sources.last())
        else {
            return Ok(());
        };
        if raw.header.record_count == 0 {
            // The second time there is nothing to do.
            self.changed = sources.len() > 1 || source.end() > raw.end();
            return self.copy(&raw, source);
        }
        let batch = self.log.decode(raw, source)?;
        self.keep.clear();
        self.keep.resize(batch.len(), false);
        self.rewrite(&batch, None, source)
    }

    /// The bases of everything that has files.
    fn outputs_so_far(&self) -> Vec<Offset> {
        let writing = self.writing.iter().map(|writing| writing.base_offset);
        self.done
            .iter()
            .map(|output| output.base_offset)
            .chain(writing)
            .collect()
    }

    /// Takes one batch over, whole, in part, or not at all.
    fn batch(&mut self, raw: RawBatch, source: &Segment) -> Result<()> {
        if self.log.host.is_closing() {
            return Err(Error::Closed);
        }
        let header = raw.header;
        if self.done.is_empty() && self.writing.is_none() {
            self.last = Some(raw.clone());
        }
        if header.base_offset >= self.round.end {
            return self.copy(&raw, source);
        }
        if header.is_control() {
            let spent = self.judge.is_spent(&header);
            return self.marker(raw, source, spent);
        }
        let aborted = self.judge.is_aborted(&header);
        if header.record_count == 0 {
            if self.must_stay(&header) {
                return self.copy(&raw, source);
            }
            self.drop_batch(0);
            return Ok(());
        }
        let batch = self.log.decode(raw.clone(), source)?;
        let (mut kept, mut tombstones) = (0_usize, false);
        self.keep.clear();
        for record in batch.records() {
            let stays = !aborted && self.stays(&record, &header);
            kept += usize::from(stays);
            tombstones |= stays && record.value().is_none();
            self.keep.push(stays);
        }
        let horizon = (tombstones && header.delete_horizon().is_none()).then(|| self.horizon());
        if kept == batch.len() && horizon.is_none() {
            return self.copy(&raw, source);
        }
        let gone = u64::try_from(batch.len().saturating_sub(kept)).unwrap_or(u64::MAX);
        if kept == 0 && !self.must_stay(&header) {
            self.drop_batch(gone);
            return Ok(());
        }
        self.dropped = self.dropped.saturating_add(gone);
        self.rewrite(&batch, horizon, source)
    }

    /// A marker stays as long as there is something to mark, and then as long as a tombstone.
    fn marker(&mut self, raw: RawBatch, source: &Segment, spent: bool) -> Result<()> {
        let header = raw.header;
        if !spent {
            return self.copy(&raw, source);
        }
        match header.delete_horizon() {
            None => {
                let batch = self.log.decode(raw, source)?;
                self.keep.clear();
                self.keep.resize(batch.len(), true);
                let horizon = self.horizon();
                self.rewrite(&batch, Some(horizon), source)
            }
            Some(horizon) if self.now < horizon => self.copy(&raw, source),
            Some(_) if self.must_stay(&header) => self.copy(&raw, source),
            Some(_) => {
                self.drop_batch(0);
                Ok(())
            }
        }
    }

    /// The rule of (I1).
    fn stays(&self, record: &RecordView<'_>, header: &BatchHeader) -> bool {
        if record.offset >= self.round.end {
            return true;
        }
        let Some(key) = record.key() else {
            return false;
        };
        let newest = self
            .round
            .keys
            .get(key)
            .is_none_or(|newest| record.offset >= newest);
        let horizon = header.delete_horizon();
        newest && (record.value().is_some() || horizon.is_none_or(|horizon| self.now < horizon))
    }

    fn horizon(&self) -> Timestamp {
        self.now.plus(self.log.config().delete_retention_ms)
    }

    /// A batch without records stays for its producer, or because it ends the round: the end of
    /// what was compacted must not be lost.
    fn must_stay(&self, header: &BatchHeader) -> bool {
        self.judge.must_stay(header) || header.next_offset() == self.round.limit
    }

    fn drop_batch(&mut self, records: u64) {
        self.changed = true;
        self.dropped = self.dropped.saturating_add(records);
    }

    fn copy(&mut self, raw: &RawBatch, source: &Segment) -> Result<()> {
        self.room_for(raw.bytes.len(), raw.header.base_offset, source)?;
        if let Some(writing) = &mut self.writing {
            writing.buffer.extend_from_slice(&raw.bytes);
            writing.note(&raw.header, self.log.index_interval_bytes())?;
        }
        Ok(())
    }

    fn rewrite(
        &mut self,
        batch: &RecordBatch,
        delete_horizon: Option<Timestamp>,
        source: &Segment,
    ) -> Result<()> {
        self.changed = true;
        // Larger deltas to a horizon may make the batch a little longer than it was.
        let most = batch
            .bytes()
            .len()
            .saturating_add(batch.len().saturating_mul(9));
        self.room_for(most, batch.base_offset(), source)?;
        let Some(writing) = &mut self.writing else {
            return Ok(());
        };
        let mut keep = self.keep.iter();
        let change = Rewrite {
            delete_horizon,
            ..Rewrite::default()
        };
        let written = batch
            .rewrite(&mut writing.buffer, change, |_| {
                keep.next().copied().unwrap_or(true)
            })
            .map_err(|error| match error {
                EncodeError::Unsupported(what) => Error::Unsupported {
                    what: what.to_owned(),
                },
                EncodeError::Invalid(reason) => Error::InvalidRecord { reason },
                EncodeError::TooLarge { size } => Error::RecordTooLarge {
                    size,
                    limit: u64::from(u32::MAX >> 1),
                },
            })?;
        writing.note(&written, self.log.index_interval_bytes())
    }

    /// Sees to it that an output is open that takes so many more bytes (I3).
    fn room_for(&mut self, bytes: usize, base_offset: Offset, source: &Segment) -> Result<()> {
        let limit = self.log.config().segment_bytes;
        if let Some(writing) = &mut self.writing {
            if writing.buffer.len() >= BUFFER_BYTES {
                writing.write_out()?;
            }
            let end = writing.end().plus(bytes);
            if end.0 <= limit.max(source.end().0) || writing.end() == Position::ZERO {
                return Ok(());
            }
            self.changed = true;
            self.finish_writing()?;
        }
        let base_offset = if self.done.is_empty() {
            self.base_offset
        } else {
            base_offset
        };
        self.writing = Some(Writing::begin(self.log, base_offset)?);
        Ok(())
    }

    fn finish_writing(&mut self) -> Result<()> {
        if let Some(writing) = &mut self.writing {
            let output = writing.finish(self.log)?;
            self.done.push(output);
            self.writing = None;
        }
        Ok(())
    }
}

impl Writing {
    fn begin(log: &Shared, base_offset: Offset) -> Result<Self> {
        log.drop_outputs(&[base_offset]);
        let path = log.cleaned_path(base_offset, FileKind::Log);
        let file = log.host.disk.create(&path).at(&path, "create")?;
        Ok(Self {
            base_offset,
            path,
            file,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            written: Position::ZERO,
            next_offset: base_offset,
            index: SparseIndex::default(),
            progress: IndexProgress::default(),
            digest: DigestBuilder::new(base_offset),
        })
    }

    fn end(&self) -> Position {
        self.written.plus(self.buffer.len())
    }

    /// Indexes the batch that was just put at the end of the buffer.
    fn note(&mut self, header: &BatchHeader, interval_bytes: u64) -> Result<()> {
        let last = header.next_offset().saturating_sub(1);
        let position = self
            .end()
            .0
            .saturating_sub(u64::try_from(header.size).unwrap_or(u64::MAX));
        let too_far = || Error::InvalidRecord {
            reason: "an offset is too far from its segment",
        };
        let indexed = Indexed {
            relative_last_offset: relative(self.base_offset, last).ok_or_else(too_far)?,
            position: u32::try_from(position).map_err(|_| too_far())?,
            size: u32::try_from(header.size).map_err(|_| too_far())?,
            max_timestamp: header.max_timestamp,
        };
        if self.progress.note(indexed, interval_bytes) {
            self.progress.entries(&mut self.index, indexed);
        }
        self.next_offset = header.next_offset();
        let batch = self.buffer.len().checked_sub(header.size);
        let batch = batch.and_then(|start| self.buffer.get(start..));
        self.digest.push(header, batch.unwrap_or_default());
        Ok(())
    }

    fn write_out(&mut self) -> Result<()> {
        self.file
            .write_at(self.written.0, &self.buffer)
            .at(&self.path, "write")?;
        self.written = self.end();
        self.buffer.clear();
        Ok(())
    }

    fn finish(&mut self, log: &Shared) -> Result<Output> {
        self.write_out()?;
        self.file.sync_data().at(&self.path, "sync")?;
        self.progress.final_entry(&mut self.index);
        let (offsets, times) = self.index.encode();
        let index_crcs = Segment::index_crcs(&self.index);
        for (kind, bytes) in [(FileKind::Index, offsets), (FileKind::TimeIndex, times)] {
            let path = log.cleaned_path(self.base_offset, kind);
            let file = log.host.disk.create(&path).at(&path, "create")?;
            file.write_at(0, &bytes).at(&path, "write")?;
            file.sync_data().at(&path, "sync")?;
        }
        Ok(Output {
            base_offset: self.base_offset,
            end: self.written,
            next_offset: self.next_offset,
            digest: std::mem::replace(&mut self.digest, DigestBuilder::new(0)),
            index_crcs,
        })
    }
}

impl Shared {
    /// Where compaction writes a file before it takes its place.
    pub(super) fn cleaned_path(&self, base: Offset, kind: FileKind) -> PathBuf {
        self.staged_path(base, kind, Stage::Cleaned)
    }

    /// The path of a segment's file at a stage of its life.
    pub(super) fn staged_path(&self, base: Offset, kind: FileKind, stage: Stage) -> PathBuf {
        self.dir
            .join(FileName::Segment { base, kind, stage }.to_string())
    }

    /// Removes the `.cleaned` files of outputs that will not take their place.
    pub(super) fn drop_outputs(&self, bases: &[Offset]) {
        for base in bases {
            for kind in super::swap::KINDS {
                // What cannot be removed now is removed by the next opening.
                drop(self.host.disk.remove_file(&self.cleaned_path(*base, kind)));
            }
        }
    }
}
