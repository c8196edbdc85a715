//! Floor 8: compaction. The newest record of every key is kept, at its own offset.
//!
//! Knows nothing about when it is asked: upkeep calls [`Log::compact_if_worth_it`]. Kafka's two
//! passes (`LogCleaner`): the first notes the newest offset of every key that was not compacted
//! yet, the second rewrites the sealed segments without superseded records.
//!
//! 1. Offsets never change, order is kept, and so is the newest record of every key below the end
//!    of the round.
//! 2. Compaction never touches the active segment, nor anything that is not flushed, is
//!    younger than `min.compaction.lag.ms`, or may be aborted by an open transaction.
//! 3. The map of keys is bounded. If not all keys fit, the round ends earlier and another follows;
//!    every round advances by a record at least, and later appends wait for the next compaction.
//! 4. No lock that an append waits for is held while segments are read and written. The swap
//!    (`swap.rs`) is one step for readers and for a crash.
//! 5. Retention and truncation may remove segments meanwhile: then the round is abandoned, its
//!    outputs are not used, and another begins.

mod key_map;
mod output;
mod rewrite;
mod swap;
#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::host::CompactionReport;
use crate::host::Span;
use crate::log::{Log, Shared, View};
use crate::segment::{RawBatch, Segment, Transactions};
use crate::types::{Offset, Timestamp};

use key_map::{KeyMap, Seeker};

/// The result of the first pass.
struct Round {
    keys: KeyMap,
    /// The map has every record below it that counts.
    end: Offset,
    /// Where the round ends if all keys fit.
    limit: Offset,
}

impl Log {
    /// Compacts a log whose `cleanup_policy` says so: the newest record of every key is kept, at
    /// its own offset. Seals the active segment first, so that everything older than
    /// `min_compaction_lag` is compacted. Reads and appends continue. A broker's upkeep does this
    /// by itself when it is worthwhile.
    ///
    /// A tombstone is kept for `delete_retention` after its first compaction; a later one drops it.
    ///
    /// # Errors
    ///
    /// - [`Error::InvalidConfig`]: the log's `cleanup_policy` does not compact; or the log belongs
    ///   to no broker and has records without keys, which compaction would drop:
    ///   [`compact_dropping_keyless`](Self::compact_dropping_keyless) allows that. (For a topic
    ///   [`Broker::alter_topic`](crate::Broker::alter_topic) has asked.)
    /// - [`Error::ReadOnly`], [`Error::Closed`], [`Error::Poisoned`], [`Error::Io`],
    ///   [`Error::NoSpace`], [`Error::Corrupt`], [`Error::Unsupported`]: every record is still
    ///   there.
    pub fn compact(&self) -> Result<CompactionReport> {
        self.may_change()?;
        let shared = self.here()?;
        let _span = (!shared.managed).then(|| Span::compaction(&shared.dir));
        if !shared.managed && shared.config().cleanup_policy.compacts() {
            shared.check_keys()?;
        }
        self.show_events_of(shared.compact())
    }

    /// [`compact`](Self::compact), but drops records without keys.
    ///
    /// # Errors
    ///
    /// As [`compact`](Self::compact), except the refusal of records without keys.
    pub fn compact_dropping_keyless(&self) -> Result<CompactionReport> {
        self.may_change()?;
        self.show_events_of(self.here()?.compact())
    }

    pub(crate) fn compact_if_worth_it(&self) -> Result<Option<CompactionReport>> {
        self.here()?.compact_if_worth_it()
    }
}

impl Shared {
    /// Rolls the active segment first, so that its records can be compacted.
    fn compact(&self) -> Result<CompactionReport> {
        self.life.can_append()?;
        if !self.config().cleanup_policy.compacts() {
            return Err(Error::InvalidConfig {
                name: "cleanup.policy".to_owned(),
                value: "delete".to_owned(),
                expected: "compact, for a log that is to be compacted".to_owned(),
            });
        }
        self.seal_active()?;
        self.compact_sealed()
    }

    fn compact_sealed(&self) -> Result<CompactionReport> {
        let _later = crate::sync::WakeLater::begin();
        let _one_at_a_time = self.cleaning.lock();
        let mut report = CompactionReport::default();
        let mut target = None;
        loop {
            // In every round, because appends may have rolled: a segment above the mark is named by
            // the mark and may be cut by a recovery, so it is not touched.
            self.sync_sealed()?;
            let view = self.cleanable();
            match self.go_over(&view, &mut target, &mut report) {
                Ok(true) => {
                    self.tally.compacted(&report);
                    self.note_compaction(&report);
                    return Ok(report);
                }
                Ok(false) => {}
                // What could not be read was removed meanwhile (I5).
                Err(error) => self.doubt(error, self.is_changed_since(&view))?,
            }
        }
    }

    /// Runs one round; false if another must follow.
    fn go_over(
        &self,
        view: &View,
        target: &mut Option<Offset>,
        report: &mut CompactionReport,
    ) -> Result<bool> {
        let transactions = self.scan_transactions(&view.segments)?;
        let limit = self.cleaning_limit(&view.segments, &transactions)?;
        // Fixed by the first round: otherwise a log that is appended to faster than it is compacted
        // would never be done (I3).
        let limit = target.map_or(limit, |target| limit.min(target));
        *target = Some(limit);
        report.rounds += 1;
        let first_dirty = self.first_dirty();
        let round = self.map_keys(&view.segments, &transactions, first_dirty..limit)?;
        if !self.clean_below(view, &round, &transactions, report)? {
            return Ok(false);
        }
        // After the outputs are in place: before, a crash would leave superseded records that no
        // later round looks for.
        report.cleaned_to = round.end;
        Ok(self.note_cleaned(view, round.end)? && round.end >= limit)
    }

    /// Every sealed segment must be below the flushed mark, also after a roll.
    fn sync_sealed(&self) -> Result<()> {
        let turn = self.take_turn_to_change()?;
        if self.marked_base() < self.segments.read().active().base_offset() {
            self.sync_all(&turn)?;
        }
        Ok(())
    }

    /// The first offset that was not compacted yet.
    fn first_dirty(&self) -> Offset {
        let cleaned = self.turn.lock().mark.cleaned_offset;
        if cleaned > self.end_offset() {
            0
        } else {
            cleaned
        }
        .max(self.start_offset())
    }

    /// Notes up to where the log is compacted; false if it was truncated meanwhile.
    fn note_cleaned(&self, view: &View, offset: Offset) -> Result<bool> {
        let turn = self.take_turn_to_change()?;
        // With the turn held: this must not raise `cleaned_offset` again after a truncation lowered
        // it.
        if self.is_truncated_since(view.truncations) {
            return Ok(false);
        }
        self.write_mark(&turn, |mark| mark.cleaned_offset = offset)?;
        Ok(true)
    }

    /// The sealed segments below the one that the flushed mark names; later ones may be synced too.
    fn cleanable(&self) -> View {
        // Before the segments are read: a truncation in between is then noticed later.
        let truncations = self.truncation_count();
        let marked = self.marked_base();
        let segments = self.segments.read();
        let sealed = segments.sealed().iter();
        let below = sealed.take_while(|segment| segment.base_offset() < marked);
        View {
            segments: below.cloned().collect(),
            truncations,
        }
    }

    /// The first offset that must not be touched (I2).
    fn cleaning_limit(
        &self,
        segments: &[Arc<Segment>],
        transactions: &Transactions,
    ) -> Result<Offset> {
        let lag = self.config().min_compaction_lag;
        let youngest = self.host.clock.now().minus(lag);
        let mut limit = segments.last().map_or(0, |segment| segment.next_offset());
        if !lag.is_zero() {
            for segment in segments {
                if self.newest_or_modified(segment)? > youngest {
                    limit = segment.base_offset();
                    break;
                }
            }
        }
        Ok(transactions
            .first_open()
            .map_or(limit, |open| limit.min(open)))
    }

    /// A segment without timestamps has the time of its file.
    fn newest_or_modified(&self, segment: &Arc<Segment>) -> Result<Timestamp> {
        match segment.newest(&self.host.disk, &self.host.files)? {
            Some(newest) => Ok(newest),
            None => segment.modified(&self.host.disk),
        }
    }

    /// The first pass, over the offsets of `dirty`.
    fn map_keys(
        &self,
        segments: &[Arc<Segment>],
        transactions: &Transactions,
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
                // An aborted record must not supersede a committed one.
                if transactions.is_aborted(&raw.header) {
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

    /// Adds the keys of a batch; false if the map is full.
    fn map_batch(&self, raw: RawBatch, segment: &Segment, round: &mut Round) -> Result<bool> {
        let next_offset = raw.header.next_offset();
        if next_offset <= round.end {
            return Ok(true);
        }
        if raw.header.record_count > 0 && !raw.header.is_control() {
            let batch = self.decode(raw, segment)?;
            let from = round.end;
            let keyed = || {
                let records = batch.records().filter(|record| record.offset >= from);
                records.filter_map(|record| Some((record.offset, record.key()?)))
            };
            let mut keys = Seeker::new(keyed().map(|(_, key)| key));
            for (offset, _) in keyed() {
                let key = keys.next(&round.keys);
                if !key.is_some_and(|key| round.keys.insert(&key, offset)) {
                    // Records from the first one that did not fit are not in the map, and are all
                    // kept.
                    round.end = offset;
                    return Ok(false);
                }
            }
        }
        round.end = next_offset;
        Ok(true)
    }

    /// The share of the bytes that could be compacted, and whether some of them are older than
    /// `max.compaction.lag.ms`.
    fn dirty_share(
        &self,
        segments: &[Arc<Segment>],
        oldest_allowed: Option<Timestamp>,
    ) -> Result<(f64, bool)> {
        let first_dirty = self.first_dirty();
        // Without open transactions, which only reading the whole log finds: this is an estimate.
        let limit = self.cleaning_limit(segments, &Transactions::default())?;
        let (mut clean, mut dirty) = (0_u64, 0_u64);
        let mut overdue = false;
        for segment in segments {
            if segment.next_offset() <= first_dirty {
                clean = clean.saturating_add(segment.end().0);
            } else if segment.next_offset() <= limit {
                dirty = dirty.saturating_add(segment.end().0);
                if let Some(oldest) = oldest_allowed.filter(|_| !overdue) {
                    overdue = self.began_before(segment, oldest)?;
                }
            }
        }
        let total = clean.saturating_add(dirty);
        Ok((share(dirty, total), overdue))
    }

    fn began_before(&self, segment: &Arc<Segment>, oldest: Timestamp) -> Result<bool> {
        let first = self.find_in(segment, segment.base_offset(), |_, raw| {
            Ok(Some(raw.header.max_timestamp))
        })?;
        Ok(first.is_some_and(|first| first > Timestamp::NONE && first < oldest))
    }

    /// Compacts if enough was not compacted yet, or for too long. Seals the active segment if its
    /// first record is older than `max.compaction.lag.ms`: without appends nothing else would.
    fn compact_if_worth_it(&self) -> Result<Option<CompactionReport>> {
        let config = self.config();
        if self.life.is_read_only() || !config.cleanup_policy.compacts() {
            return Ok(None);
        }
        let now = self.host.clock.now();
        let oldest_allowed = config.max_compaction_lag.map(|lag| now.minus(lag));
        if let Some(oldest) = oldest_allowed {
            let overdue = self.look(|view| match view.segments.last() {
                Some(active) => self.began_before(active, oldest),
                None => Ok(false),
            })?;
            if overdue {
                self.seal_active()?;
            }
        }
        self.sync_sealed()?;
        let view = self.cleanable();
        let (share, overdue) = match self.dirty_share(&view.segments, oldest_allowed) {
            // What could not be read was removed meanwhile: the next run tries again.
            Err(_) if self.is_changed_since(&view) => return Ok(None),
            found => found?,
        };
        if share > config.min_cleanable_dirty_ratio || overdue {
            let _span = Span::compaction(&self.dir);
            self.compact_sealed().map(Some)
        } else {
            Ok(None)
        }
    }
}

/// 0 if the total is 0.
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
