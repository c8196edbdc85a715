//! The second pass: reads segments batch by batch and leaves out what is superseded.
//!
//! Knows nothing about how outputs are written (`output.rs`) and replace their sources (`swap.rs`).
//!
//! 1. A record at or above the end of the round is kept. Below that, one without a key is dropped,
//!    and others are kept if their key has no newer record there: tombstones until their horizon.
//! 2. A batch that is kept completely is copied byte for byte. An unchanged group is not written.
//! 3. The last batch of a group is kept, empty if need be: outputs span the offsets of their
//!    sources, so that an interrupted swap replaces all of them (`swap.rs`).
//!
//! Kafka keeps such a batch where a round ends; here every group has one, if nothing else is there.
//! The next pass removes it when the group has grown.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::{BatchHeader, ENCODED_BYTES_MAX, RecordBatch, RecordView, Rewrite};
use crate::host::CompactionReport;
use crate::log::{Shared, View};
use crate::segment::{Judge, RawBatch, Segment, Transactions, ends_transaction, relative};
use crate::types::{Position, Timestamp, to_u64};

use super::Round;
use super::key_map::{Seeker, Sought};
use super::output::Outputs;

/// Neighbouring segments that are rewritten together.
struct Group<'a, 'j> {
    log: &'a Shared,
    round: &'a Round,
    judge: &'a mut Judge<'j>,
    now: Timestamp,
    sources: &'a [Arc<Segment>],
    outputs: Outputs<'a>,
    /// Something is dropped, or segments are merged: there will be outputs.
    changed: bool,
    /// Until something changes, batches below can be copied as they are.
    passed: Position,
    /// A dropped batch, after which nothing was kept yet (I3).
    left_out: Option<(RawBatch, Arc<Segment>)>,
    dropped: u64,
    keep: Vec<bool>,
    scratch: Vec<u8>,
}

impl Shared {
    /// Rewrites and swaps in the groups below the end of a round; false if the log was changed
    /// meanwhile.
    pub(super) fn clean_below(
        &self,
        view: &View,
        round: &Round,
        transactions: &Transactions,
        report: &mut CompactionReport,
    ) -> Result<bool> {
        let now = self.host.clock.now();
        let mut judge = transactions.judge(now);
        let all = view.segments.as_slice();
        let concerned = all.partition_point(|segment| segment.base_offset() < round.end);
        let mut rest = all.get(..concerned).unwrap_or_default();
        while !rest.is_empty() {
            let (sources, after) = rest.split_at(self.group_len(rest));
            rest = after;
            // Before anything is written: sources and outputs take space together for a while.
            let _room = self.room_to_compact(sources)?;
            let ends = sources.last().map_or(0, |last| last.next_offset());
            let mut group = Group {
                log: self,
                round,
                judge: &mut judge,
                now,
                sources,
                outputs: Outputs::new(self, sources, transactions.aborted_in(&(round.end..ends)))?,
                changed: sources.len() > 1,
                passed: Position::ZERO,
                left_out: None,
                dropped: 0,
                keep: Vec::new(),
                scratch: Vec::new(),
            };
            if let Err(error) = group.pass() {
                group.outputs.discard();
                return Err(error);
            }
            if !group.take_place(view, report)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// How many of the first segments fit into one: in bytes, index and offsets.
    fn group_len(&self, segments: &[Arc<Segment>]) -> usize {
        let config = self.config();
        let Some(first) = segments.first() else {
            return 0;
        };
        let (mut bytes, mut len) = (0_u64, 0_usize);
        for segment in segments {
            bytes = bytes.saturating_add(segment.end().0);
            // An entry takes at most 12 bytes and covers more than `index.interval.bytes`.
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
    fn pass(&mut self) -> Result<()> {
        for source in self.sources {
            self.log
                .for_each_batch(source, source.base_offset(), |_, raw| {
                    self.batch(raw, source)?;
                    Ok(true)
                })?;
        }
        let Some((raw, source)) = self.left_out.take() else {
            return Ok(());
        };
        // The group ended with this batch: it is written after all, without records (I3).
        if raw.header.record_count == 0 {
            return self.copy(&raw);
        }
        let batch = self.log.decode(raw, &source)?;
        self.keep.clear();
        self.rewrite(&batch, None)
    }

    /// Swaps the outputs in; false if the sources changed meanwhile.
    fn take_place(mut self, view: &View, report: &mut CompactionReport) -> Result<bool> {
        let read: u64 = self.sources.iter().map(|source| source.end().0).sum();
        report.read_bytes = report.read_bytes.saturating_add(read);
        // Nothing was written for this group (I2).
        if !self.changed {
            return Ok(true);
        }
        let outputs = match self.outputs.finish() {
            Ok(outputs) => outputs,
            Err(error) => {
                self.outputs.discard();
                return Err(error);
            }
        };
        let written: u64 = outputs.iter().map(|output| output.end.0).sum();
        let after = to_u64(outputs.len());
        if !self.log.swap(self.sources, outputs, view)? {
            return Ok(false);
        }
        report.records_dropped = report.records_dropped.saturating_add(self.dropped);
        report.written_bytes = report.written_bytes.saturating_add(written);
        report.segments_after = report.segments_after.saturating_add(after);
        report.segments_before = report
            .segments_before
            .saturating_add(to_u64(self.sources.len()));
        Ok(true)
    }

    fn batch(&mut self, raw: RawBatch, source: &Arc<Segment>) -> Result<()> {
        let header = raw.header;
        if header.base_offset >= self.round.end {
            return self.copy(&raw);
        }
        if header.is_control() {
            return self.control(raw, source);
        }
        let aborted = self.judge.is_aborted(&header);
        if header.record_count == 0 {
            return if self.must_stay(&header) {
                self.copy(&raw)
            } else {
                self.leave_out(raw, source)
            };
        }
        let batch = self.log.decode(raw.clone(), source)?;
        let mut keep = std::mem::take(&mut self.keep);
        keep.clear();
        let (mut kept, mut tombstones) = (0_usize, false);
        let mut keys = Seeker::new(batch.records().filter_map(|record| record.key()));
        for record in batch.records() {
            let key = record.key().and_then(|_| keys.next(&self.round.keys));
            let stays = !aborted && self.stays(&record, key.as_ref(), &header);
            kept += usize::from(stays);
            tombstones |= stays && record.value().is_none();
            keep.push(stays);
        }
        self.keep = keep;
        // The first pass that keeps a tombstone sets its horizon, and later ones keep it unchanged.
        let horizon = (tombstones && header.delete_horizon().is_none()).then(|| self.horizon());
        if kept == batch.len() && horizon.is_none() {
            return self.copy(&raw);
        }
        let gone = to_u64(batch.len().saturating_sub(kept));
        self.dropped = self.dropped.saturating_add(gone);
        if kept == 0 && !self.must_stay(&header) {
            return self.leave_out(raw, source);
        }
        self.rewrite(&batch, horizon)
    }

    /// A marker is kept while it marks something, and then as long as a tombstone.
    fn control(&mut self, raw: RawBatch, source: &Arc<Segment>) -> Result<()> {
        let header = raw.header;
        let kind = self
            .log
            .marker(raw.clone(), source)?
            .map(|record| record.kind);
        // An empty one was a marker once; other control records are not ours to judge.
        let marks = header.record_count == 0 || kind.is_some_and(ends_transaction);
        if !marks || !self.judge.is_spent(&header) {
            return self.copy(&raw);
        }
        let horizon = header.delete_horizon();
        // The first pass that finds it spent keeps it, with a horizon.
        if header.record_count > 0 && horizon.is_none() {
            let batch = self.log.decode(raw, source)?;
            self.keep.clear();
            self.keep.resize(batch.len(), true);
            let horizon = self.horizon();
            return self.rewrite(&batch, Some(horizon));
        }
        if horizon.is_some_and(|horizon| self.now < horizon) {
            return self.copy(&raw);
        }
        if !self.must_stay(&header) {
            return self.leave_out(raw, source);
        }
        if header.record_count == 0 {
            return self.copy(&raw);
        }
        let batch = self.log.decode(raw, source)?;
        self.keep.clear();
        self.rewrite(&batch, None)
    }

    /// Whether a record is kept (I1).
    fn stays(&self, record: &RecordView<'_>, key: Option<&Sought>, header: &BatchHeader) -> bool {
        if record.offset >= self.round.end {
            return true;
        }
        let Some(key) = key else {
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

    /// When a tombstone or marker kept now may be dropped.
    fn horizon(&self) -> Timestamp {
        self.now.plus(self.log.config().delete_retention)
    }

    /// Whether a batch is kept without records: for its producer, or because the end of the round
    /// must not be lost.
    fn must_stay(&self, header: &BatchHeader) -> bool {
        self.judge.is_last_of_active(header) || header.next_offset() == self.round.limit
    }

    /// Drops a batch, unless it proves to be the last one (I3).
    fn leave_out(&mut self, raw: RawBatch, source: &Arc<Segment>) -> Result<()> {
        // An empty batch may be the one that ends the group (I3): not a change yet.
        if raw.header.record_count > 0 || self.left_out.is_some() {
            self.change()?;
        }
        self.left_out = Some((raw, Arc::clone(source)));
        Ok(())
    }

    /// The group is rewritten from here on, with a copy of what was passed.
    fn change(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.changed, true) {
            return Ok(());
        }
        let passed = self.passed;
        if let Some(source) = self.sources.first().filter(|_| passed > Position::ZERO) {
            let base_offset = source.base_offset();
            self.log.for_each_batch(source, base_offset, |_, raw| {
                if raw.position >= passed {
                    return Ok(false);
                }
                self.outputs.put(&raw.header, &raw.bytes)?;
                Ok(true)
            })?;
        }
        Ok(())
    }

    fn copy(&mut self, raw: &RawBatch) -> Result<()> {
        // The batch that was left out is not the last one, so it is dropped now.
        if self.left_out.take().is_some() {
            self.change()?;
        }
        if self.changed {
            self.outputs.put(&raw.header, &raw.bytes)
        } else {
            self.passed = raw.end();
            Ok(())
        }
    }

    /// Keeps the records that [`Self::keep`] marks, none beyond it.
    fn rewrite(&mut self, batch: &RecordBatch, delete_horizon: Option<Timestamp>) -> Result<()> {
        self.left_out = None;
        self.change()?;
        self.scratch.clear();
        let mut keep = self.keep.iter();
        let change = Rewrite {
            delete_horizon,
            ..Rewrite::default()
        };
        let written = batch
            .rewrite(&mut self.scratch, change, |_| {
                keep.next().copied().unwrap_or(false)
            })
            .map_err(|error| Error::refused(error, ENCODED_BYTES_MAX))?;
        self.outputs.put(&written, &self.scratch)
    }
}
