//! Retention: which of the oldest segments may be deleted. Kafka's rules
//! (`UnifiedLog.deleteOldSegments`).
//!
//! Knows nothing about compaction. The decision is a pure function; raising the log's start
//! (`truncate.rs`) carries it out.
//!
//! 1. Segments are deleted from the oldest on; the first one that must stay keeps all after it.
//! 2. A segment is deleted if it is wholly below the start of the log; or, if the cleanup policy
//!    deletes, if its newest timestamp is more than `retention.ms` old, or if the log without it
//!    still holds `retention.bytes`.
//! 3. Only what is below the high watermark is deleted. If every segment must be deleted, the
//!    active one is sealed first; an empty one, and what is appended meanwhile, stays.
//! 4. The newest timestamp in an index is checked against the batches before a segment is deleted
//!    because of it: a wrong index deletes nothing.

use std::sync::Arc;

use crate::error::Result;
use crate::host::{RetentionReport, Span};
use crate::segment::Segment;
use crate::types::{Offset, Timestamp, to_u64};

use super::shared::{Log, Shared};

#[derive(Clone, Copy, Debug)]
struct Limits {
    start: Offset,
    high_watermark: Offset,
    /// A segment whose newest record is older expires.
    oldest: Option<Timestamp>,
    bytes: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Facts {
    next_offset: Offset,
    bytes: u64,
}

impl Limits {
    /// How many of the oldest segments are wholly below the start.
    fn by_place(&self, segments: &[Facts]) -> usize {
        let below = |segment: &&Facts| segment.next_offset <= self.start;
        segments.iter().take_while(below).count()
    }

    /// How many of the oldest segments the log can lose and still hold its `bytes`.
    fn by_size(&self, segments: &[Facts]) -> usize {
        let Some(limit) = self.bytes else { return 0 };
        let total: u64 = segments.iter().map(|segment| segment.bytes).sum();
        let mut excess = total.saturating_sub(limit);
        let fits = |segment: &&Facts| {
            let goes = segment.next_offset <= self.high_watermark && segment.bytes <= excess;
            excess = excess.saturating_sub(segment.bytes);
            goes && total > limit
        };
        segments.iter().take_while(fits).count()
    }
}

impl Log {
    /// Deletes the segments that `retention` and `retention_bytes` no longer require, from the
    /// oldest on. If the segment that is appended to has expired too, it is sealed first. A
    /// broker's upkeep does this by itself.
    ///
    /// The age of a segment is that of its newest timestamp, or, if that is missing or in the
    /// future, of the last write to its file: one wrong timestamp does not prevent retention.
    ///
    /// # Errors
    ///
    /// As [`Log::flush`], [`Error::Io`](crate::Error::Io) and
    /// [`Error::Corrupt`](crate::Error::Corrupt): what was not deleted is still there.
    pub fn apply_retention(&self) -> Result<RetentionReport> {
        self.may_change()?;
        self.show_events_of(self.here()?.apply_retention())
    }
}

impl Shared {
    /// The decision is made before any lock is held that other threads wait for.
    pub(super) fn apply_retention(&self) -> Result<RetentionReport> {
        self.life.can_append()?;
        let (segments, expired, judged_end) = self.look(|view| {
            // Before the segments are judged: a later append moves the end, which `seal_expired`
            // notices.
            let judged_end = self.end_offset();
            let expired = self.expired_count(&view.segments)?;
            Ok((view.segments.clone(), expired, judged_end))
        })?;
        let _span = (expired > 0).then(|| Span::retention(&self.dir));
        self.forget_segments(&segments, expired, judged_end)
    }

    /// Goes by size alone, which reads no batches.
    pub(super) fn apply_retention_by_size(&self) -> Result<RetentionReport> {
        let limits = self.limits();
        let segments: Vec<_> = self.segments.read().iter().cloned().collect();
        let gone = limits.by_size(&facts(&segments));
        // The active segment is left to upkeep, which checks what was appended meanwhile.
        let gone = gone.min(segments.len().saturating_sub(1));
        self.forget_segments(&segments, gone, self.end_offset())
    }

    /// Deletes segments only if they are still those that were examined.
    fn forget_segments(
        &self,
        segments: &[Arc<Segment>],
        expired: usize,
        judged_end: Offset,
    ) -> Result<RetentionReport> {
        let mut report = RetentionReport {
            start_offset: self.start_offset(),
            ..RetentionReport::default()
        };
        if expired == 0 {
            return Ok(report);
        }
        if expired == segments.len() {
            // Before a lock is taken: the next segment will be opened for appends.
            self.host.files.make_room();
        }
        let layout = self.lock_layout()?;
        let mut gone = expired;
        if gone == segments.len() && !self.seal_expired(judged_end)? {
            gone = gone.saturating_sub(1);
        }
        let now: Vec<_> = self.segments.read().iter().cloned().collect();
        // What was truncated or compacted meanwhile is left to the next round.
        let same = segments
            .iter()
            .zip(&now)
            .take(gone)
            .take_while(|(a, b)| Arc::ptr_eq(a, b));
        let gone = same.count();
        if let Some(first_kept) = now.get(gone).filter(|_| gone > 0) {
            // `truncate_prefix` may have put the start inside the first segment that stays.
            let new_start = first_kept.base_offset().max(self.start_offset());
            self.raise_start(&layout, new_start)?;
            report.segments_deleted = to_u64(gone);
            report.bytes_deleted = now.iter().take(gone).map(|segment| segment.end().0).sum();
            let records = new_start.saturating_sub(report.start_offset);
            report.start_offset = new_start;
            self.tally.retained(&report, records);
            self.note_retention(&report);
        }
        Ok(report)
    }

    fn expired_count(&self, segments: &[Arc<Segment>]) -> Result<usize> {
        let limits = self.limits();
        let facts = facts(segments);
        let mut gone = limits.by_place(&facts).max(limits.by_size(&facts));
        let Some(oldest) = limits.oldest else {
            return Ok(gone);
        };
        for segment in segments.iter().skip(gone) {
            let below = segment.next_offset() <= limits.high_watermark;
            if !below || !self.expired(segment, oldest)? {
                break;
            }
            gone += 1;
        }
        Ok(gone)
    }

    fn limits(&self) -> Limits {
        let config = self.config();
        let deletes = config.cleanup_policy.deletes();
        let age = config.retention.filter(|_| deletes);
        Limits {
            start: self.start_offset(),
            high_watermark: self.high_watermark(),
            oldest: age.map(|age| self.host.clock.now().minus(age)),
            bytes: config.retention_bytes.filter(|_| deletes),
        }
    }

    /// Seals the active segment, which has expired. False, with nothing done, if it is empty (I3),
    /// or was appended to since it was examined: that must stay.
    fn seal_expired(&self, judged_end: Offset) -> Result<bool> {
        // Before the append lock is taken, so that appends do not wait.
        if self.segments.read().active().end().0 > 0 {
            self.make_next();
        }
        let mut state = self.append.lock();
        self.life.can_append()?;
        if state.active.end().0 == 0 || state.end != judged_end {
            return Ok(false);
        }
        // Without room it stays, until deleting the others has made some.
        self.roll_within_budget(&mut state)
    }

    fn expired(&self, segment: &Arc<Segment>, oldest: Timestamp) -> Result<bool> {
        if segment.end().0 == 0 {
            // An empty active segment is never deleted for its own sake.
            return Ok(true);
        }
        let indexed = segment.newest(&self.host.disk, &self.host.files)?;
        let now = self.host.clock.now();
        match indexed {
            Some(newest) if newest <= now => {
                Ok(newest < oldest && self.confirmed_newest(segment)? < oldest)
            }
            // No timestamp, or one in the future.
            _ => Ok(segment.modified(&self.host.disk)? < oldest),
        }
    }

    /// Reads the batches (I4) once, before they are deleted.
    fn confirmed_newest(&self, segment: &Arc<Segment>) -> Result<Timestamp> {
        let mut newest = Timestamp::NONE;
        self.for_each_batch(segment, segment.base_offset(), |_, raw| {
            newest = newest.max(raw.header.max_timestamp);
            Ok(true)
        })?;
        // An older one in the index was wrong; that of the active segment is never older.
        if segment.newest_known().is_none_or(|known| known < newest) {
            segment.raise_newest(newest);
        }
        Ok(newest)
    }
}

fn facts(segments: &[Arc<Segment>]) -> Vec<Facts> {
    let facts = segments.iter().map(|segment| Facts {
        next_offset: segment.next_offset(),
        bytes: segment.end().0,
    });
    facts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(segments: &[(Offset, u64)]) -> Vec<Facts> {
        segments
            .iter()
            .map(|&(next_offset, bytes)| Facts { next_offset, bytes })
            .collect()
    }

    fn limits(start: Offset, bytes: Option<u64>) -> Limits {
        Limits {
            start,
            high_watermark: 30,
            oldest: None,
            bytes,
        }
    }

    #[test]
    fn segments_wholly_below_the_start_go() {
        let segments = facts(&[(10, 5), (20, 5), (30, 5)]);
        for (start, gone) in [(0, 0), (9, 0), (10, 1), (19, 1), (20, 2), (30, 3)] {
            assert_eq!(limits(start, None).by_place(&segments), gone, "{start}");
        }
    }

    #[test]
    fn the_log_stays_at_or_above_its_size() {
        let segments = facts(&[(10, 5), (20, 5), (30, 5)]);
        for (bytes, gone) in [
            (15, 0),
            (11, 0),
            (10, 1),
            (6, 1),
            (5, 2),
            (1, 2),
            (0, 3),
            (99, 0),
        ] {
            assert_eq!(limits(0, Some(bytes)).by_size(&segments), gone, "{bytes}");
        }
    }

    #[test]
    fn nothing_above_the_high_watermark_goes() {
        let segments = facts(&[(10, 5), (40, 5), (50, 5)]);
        assert_eq!(limits(0, Some(0)).by_size(&segments), 1);
    }
}
