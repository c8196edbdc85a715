//! Finds a record by its time.
//!
//! Knows nothing about where the timestamps come from: `CreateTime` need not rise with the offset.
//! Kafka's rule (`UnifiedLog.fetchOffsetByTimestamp`): the first segment whose largest timestamp is
//! late enough holds the first such record; its time index says where to start reading.

use std::sync::Arc;

use crate::error::Result;
use crate::format::index::TimeEntry;
use crate::segment::{RawBatch, Segment, SparseIndex};
use crate::types::{Offset, Timestamp};

use super::shared::Shared;

impl Shared {
    pub(crate) fn offset_for_time(&self, at: Timestamp) -> Result<Option<Offset>> {
        self.look(|view| {
            self.life.can_read()?;
            self.offset_for_time_in(&view.segments, at)
        })
    }

    fn offset_for_time_in(
        &self,
        segments: &[Arc<Segment>],
        at: Timestamp,
    ) -> Result<Option<Offset>> {
        let start = self.start_offset();
        for segment in segments {
            let newest = segment.newest(&self.host.disk, &self.host.files)?;
            // A time before all records needs no comparison.
            if newest.is_none_or(|newest| newest < at) && at > Timestamp::NONE {
                continue;
            }
            if let Some(found) = self.find_time(segment, at, start)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn find_time(
        &self,
        segment: &Arc<Segment>,
        at: Timestamp,
        start: Offset,
    ) -> Result<Option<Offset>> {
        let from = self.place_for_time(segment, at)?.max(start);
        self.find_in(segment, from, |shared, raw| {
            shared.first_at(raw, segment, at, start)
        })
    }

    /// Where to start reading, by an entry of the time index. It counts only if it agrees with its
    /// batch.
    fn place_for_time(&self, segment: &Arc<Segment>, at: Timestamp) -> Result<Offset> {
        let (disk, files) = (&self.host.disk, &self.host.files);
        let before = |index: &SparseIndex| index.time_entry_before(at);
        let Some(entry) = segment.with_index(disk, files, before)? else {
            return Ok(segment.base_offset());
        };
        let offset = |entry: TimeEntry| {
            segment
                .base_offset()
                .saturating_add(u64::from(entry.relative_offset))
        };
        let named = self.find_in(segment, offset(entry), |_, raw| {
            Ok((raw.header.next_offset() > offset(entry)).then_some(raw.header))
        })?;
        let is_true = named.is_some_and(|batch| {
            batch.max_timestamp == entry.timestamp
                && batch.next_offset() == offset(entry).saturating_add(1)
        });
        // Above the high watermark, the batch is not readable yet, and could not be compared.
        if is_true || offset(entry) >= self.high_watermark() {
            return Ok(offset(entry));
        }
        // A reader that trusts a wrong entry would skip records: unlike a search by offset, this
        // one would not notice.
        segment.rebuild_index(disk, files)?;
        let entry = segment.with_index(disk, files, before)?;
        Ok(entry.map_or(segment.base_offset(), offset))
    }

    fn first_at(
        &self,
        raw: RawBatch,
        segment: &Segment,
        at: Timestamp,
        start: Offset,
    ) -> Result<Option<Offset>> {
        let header = &raw.header;
        if header.max_timestamp < at || header.next_offset() <= start || header.is_control() {
            return Ok(None);
        }
        let batch = self.decode(raw, segment)?;
        let mut records = batch.records();
        let found = records.find(|record| record.timestamp >= at && record.offset >= start);
        Ok(found.map(|record| record.offset))
    }
}
