//! Compaction: of every key the newest record stays, at its own offset.
//!
//! Knows nothing about when it is worth it; upkeep asks [`Shared::dirty_share`]. Kafka's two passes
//! (`LogCleaner`): the first notes the newest offset of every key in the part that was not
//! compacted yet, the second writes the sealed segments anew without what is superseded.
//!
//! 1. Offsets never change, order is kept, and the newest record of every key below the end of the
//!    round stays.
//! 2. The active segment is never touched, nor anything that is not flushed, that is younger than
//!    `min.compaction.lag.ms`, or that an open transaction may still take back.
//! 3. The map of keys has a bound. More keys than fit mean that a round ends earlier and another
//!    follows; every round gets on by a record at least.
//! 4. No lock is held while segments are read and written. The swap (`swap.rs`) is one step for
//!    readers and for a crash.

mod key_map;
mod rewrite;
mod swap;
mod transactions;

use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::ControlKind;
use crate::segment::{RawBatch, Segment};
use crate::types::{Offset, Timestamp};

use super::Shared;

use key_map::KeyMap;
pub(super) use swap::settle_swaps;
pub(super) use transactions::Survey;

/// What a compaction did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompactionReport {
    /// Every key has one record below this offset, its newest one (tombstones apart, which stay
    /// for `delete.retention.ms`).
    pub cleaned_to: Offset,
    /// How many times the log was gone over.
    pub rounds: u64,
    /// Bytes of segments that were read.
    pub read_bytes: u64,
    /// Bytes of segments that were written in their place.
    pub written_bytes: u64,
    /// Records that were dropped.
    pub records_dropped: u64,
    /// Segments that were replaced.
    pub segments_before: u64,
    /// Segments that stand in their place.
    pub segments_after: u64,
}

/// One round: what is known of the keys, and how far.
struct Round {
    keys: KeyMap,
    /// Every record below it is in the map.
    end: Offset,
    /// The first offset that must not be touched.
    limit: Offset,
}

impl Shared {
    /// Compacts everything that may be compacted; rolls the active segment first, so that it can
    /// be.
    pub(super) fn compact(&self) -> Result<CompactionReport> {
        let config = self.config();
        if !config.cleanup_policy.compacts() {
            return Err(Error::InvalidConfig {
                name: "cleanup.policy".to_owned(),
                value: "delete".to_owned(),
                expected: "compact, for a log that is to be compacted".to_owned(),
            });
        }
        self.seal_active()?;
        self.compact_sealed()
    }

    /// Rolls the active segment when it holds something, and syncs what came before.
    pub(super) fn seal_active(&self) -> Result<()> {
        let turn = self.begin_write()?;
        {
            let mut state = self.append.lock();
            if state.active.next_offset() > state.active.base_offset() {
                self.roll(&mut state)?;
            }
        }
        self.sync_all(&turn).map(drop)
    }

    /// Compacts the sealed segments, in as many rounds as the map of keys needs.
    pub(super) fn compact_sealed(&self) -> Result<CompactionReport> {
        let _one_at_a_time = self.cleaning.lock();
        let mut report = CompactionReport::default();
        let mut first_dirty = self.first_dirty();
        loop {
            self.flush()?;
            let segments = self.cleanable_segments()?;
            let survey = self.survey(&segments)?;
            let limit = self.cleaning_limit(&segments, &survey);
            report.rounds += 1;
            let round = self.map_keys(&segments, &survey, first_dirty..limit)?;
            self.clean_below(&segments, &round, &survey, &mut report)?;
            first_dirty = round.end.max(first_dirty);
            self.note_cleaned(first_dirty)?;
            report.cleaned_to = first_dirty;
            if round.end >= limit {
                return Ok(report);
            }
        }
    }

    /// The first offset that no compaction has been over.
    fn first_dirty(&self) -> Offset {
        let cleaned = self.turn.lock().mark.cleaned_offset;
        if cleaned > self.end_offset() {
            0
        } else {
            cleaned
        }
        .max(self.start_offset())
    }

    fn note_cleaned(&self, offset: Offset) -> Result<()> {
        let turn = self.begin_write()?;
        self.write_mark(&turn, |mark| mark.cleaned_offset = offset)
    }

    /// The sealed segments below which everything is flushed.
    fn cleanable_segments(&self) -> Result<Vec<Arc<Segment>>> {
        self.check_open()?;
        let flushed = self.flushed_offset();
        let segments = self.segments.read();
        let sealed = segments.sealed().iter();
        Ok(sealed
            .take_while(|segment| segment.next_offset() <= flushed)
            .cloned()
            .collect())
    }

    /// The first offset that must not be touched (I2).
    fn cleaning_limit(&self, segments: &[Arc<Segment>], survey: &Survey) -> Offset {
        let lag = self.config().min_compaction_lag_ms;
        let youngest = self.host.clock.now().minus(lag);
        let mut limit = segments.last().map_or(0, |segment| segment.next_offset());
        if !lag.is_zero() {
            let young = segments.iter().find(|segment| {
                let newest = segment.newest(&self.host.disk, &self.host.files);
                newest.is_ok_and(|newest| newest.is_some_and(|newest| newest > youngest))
            });
            limit = young.map_or(limit, |young| young.base_offset());
        }
        survey.first_open().map_or(limit, |open| limit.min(open))
    }

    /// Walks over everything for what there is of transactions and producers.
    pub(super) fn survey(&self, segments: &[Arc<Segment>]) -> Result<Survey> {
        let mut survey = Survey::default();
        for segment in segments {
            self.for_each_batch(segment, segment.base_offset(), |shared, raw| {
                if raw.header.is_control() {
                    if let Some(kind) = shared.control_kind(raw.clone(), segment)? {
                        survey.marker(&raw.header, kind);
                    }
                } else {
                    survey.data(&raw.header);
                }
                Ok(true)
            })?;
        }
        Ok(survey)
    }

    /// What a control batch says; `None` when its record cannot be read as one.
    fn control_kind(&self, raw: RawBatch, segment: &Segment) -> Result<Option<ControlKind>> {
        let batch = self.decode(raw, segment)?;
        let first = batch.records().next();
        Ok(first.and_then(|record| ControlKind::decode(record.key()?).ok()))
    }

    /// Notes the newest offset of every key in a range, as far as the map holds them (I3).
    fn map_keys(
        &self,
        segments: &[Arc<Segment>],
        survey: &Survey,
        dirty: Range<Offset>,
    ) -> Result<Round> {
        let keys = dirty.end.saturating_sub(dirty.start);
        let memory = self.config().dedupe_buffer_bytes;
        let mut round = Round {
            keys: KeyMap::new(memory, keys),
            end: dirty.start,
            limit: dirty.end,
        };
        for segment in segments
            .iter()
            .filter(|segment| segment.next_offset() > dirty.start)
        {
            let mut full = false;
            self.for_each_batch(segment, dirty.start, |shared, raw| {
                if raw.header.base_offset >= dirty.end {
                    return Ok(false);
                }
                // A record that was taken back must not supersede one that stands.
                if survey.is_aborted(&raw.header) {
                    round.end = round.end.max(raw.header.next_offset());
                    return Ok(true);
                }
                full = !shared.map_batch(raw, segment, &mut round)?;
                Ok(!full)
            })?;
            if full {
                return Ok(round);
            }
        }
        round.end = dirty.end.max(dirty.start);
        Ok(round)
    }

    /// Notes the keys of one batch; false when the map is full.
    fn map_batch(&self, raw: RawBatch, segment: &Segment, round: &mut Round) -> Result<bool> {
        let next_offset = raw.header.next_offset();
        if next_offset <= round.end {
            return Ok(true);
        }
        if raw.header.record_count > 0 && !raw.header.is_control() {
            let batch = self.decode(raw, segment)?;
            for record in batch.records().filter(|record| record.offset >= round.end) {
                if let Some(key) = record.key()
                    && !round.keys.insert(key, record.offset)
                {
                    round.end = record.offset;
                    return Ok(false);
                }
            }
        }
        round.end = next_offset;
        Ok(true)
    }

    /// Calls a closure for every batch of a segment from an offset on, until it says false.
    pub(super) fn for_each_batch(
        &self,
        segment: &Arc<Segment>,
        from: Offset,
        mut look: impl FnMut(&Self, RawBatch) -> Result<bool>,
    ) -> Result<()> {
        let stopped = self.find_in(segment, from, |shared, raw| {
            if look(shared, raw)? {
                Ok(None)
            } else {
                Ok(Some(()))
            }
        });
        stopped.map(drop)
    }

    /// The share of the log, by bytes, that was not compacted yet and could be; and whether
    /// something of it is older than `max.compaction.lag.ms`.
    pub(super) fn dirty_share(&self) -> Result<(f64, bool)> {
        let first_dirty = self.first_dirty();
        let segments = self.cleanable_segments()?;
        let limit = self.cleaning_limit(&segments, &Survey::default());
        let (mut clean, mut dirty) = (0_u64, 0_u64);
        let mut overdue = false;
        let oldest_allowed = self.oldest_allowed();
        for segment in &segments {
            if segment.next_offset() <= first_dirty {
                clean += segment.end().0;
            } else if segment.next_offset() <= limit {
                dirty += segment.end().0;
                let newest = segment.newest(&self.host.disk, &self.host.files)?;
                overdue |= oldest_allowed
                    .is_some_and(|oldest| newest.is_some_and(|newest| newest < oldest));
            }
        }
        let total = clean.saturating_add(dirty);
        Ok((share(dirty, total), overdue))
    }

    fn oldest_allowed(&self) -> Option<Timestamp> {
        let lag = self.config().max_compaction_lag_ms?;
        Some(self.host.clock.now().minus(lag))
    }

    /// One round of automatic compaction, if the share of what is not compacted asks for it.
    pub(crate) fn compact_if_worth_it(&self) -> Result<Option<CompactionReport>> {
        let config = self.config();
        if !config.cleanup_policy.compacts() {
            return Ok(None);
        }
        let (share, overdue) = self.dirty_share()?;
        if share > config.min_cleanable_dirty_ratio || overdue {
            self.compact_sealed().map(Some)
        } else {
            Ok(None)
        }
    }
}

/// A share of a total; of nothing, nothing.
#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "a ratio for a rule of thumb: 53 bits are enough"
)]
fn share(part: u64, total: u64) -> f64 {
    if total == 0 {
        0.0
    } else {
        part as f64 / total as f64
    }
}
