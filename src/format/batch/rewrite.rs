//! A batch with fewer records than it had: what compaction leaves, or a cut in two.
//!
//! Knows nothing about which records stay. Kafka's rules (`MemoryRecords.filterTo`):
//!
//! 1. The new batch keeps the base and last offset, the leader epoch, the producer fields, the
//!    codec, the timestamp type and the other attribute bits; records keep offsets and timestamps.
//! 2. A delete horizon takes the place of the base timestamp, and the deltas count from it.
//! 3. A batch without records is its header alone: no codec, base timestamp -1, no horizon; the max
//!    timestamp stays.

use crate::types::{Offset, Record, Timestamp, TimestampType, to_u64};

use super::super::{EncodeError, compression};
use super::header::{BatchHeader, HEADER_LEN, seal};
use super::read::{RecordBatch, RecordView};
use super::record::{Deltas, write_record};

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rewrite {
    /// When compaction may begin to drop the tombstones of the batch; `None` keeps what the batch
    /// has.
    pub(crate) delete_horizon: Option<Timestamp>,
    /// The batch's new next offset, when it is cut in two.
    pub(crate) next_offset: Option<Offset>,
}

impl RecordBatch {
    /// Appends the batch with only the records for which `keep` returns true. After an error `out`
    /// is as it was.
    pub(crate) fn rewrite(
        &self,
        out: &mut Vec<u8>,
        change: Rewrite,
        keep: impl FnMut(&RecordView<'_>) -> bool,
    ) -> Result<BatchHeader, EncodeError> {
        let start = out.len();
        let written = self.rewrite_behind(out, change, keep);
        if written.is_err() {
            out.truncate(start);
        }
        written
    }

    fn rewrite_behind(
        &self,
        out: &mut Vec<u8>,
        change: Rewrite,
        mut keep: impl FnMut(&RecordView<'_>) -> bool,
    ) -> Result<BatchHeader, EncodeError> {
        let start = out.len();
        out.extend_from_slice(&[0; HEADER_LEN]);
        let old = *self.header();
        let horizon = change.delete_horizon.or(old.delete_horizon());
        let mut base = horizon;
        let mut max = None::<Timestamp>;
        let mut count = 0_u32;
        for record in self.records().filter(|record| keep(record)) {
            let base = *base.get_or_insert(record.timestamp);
            let delta = record.offset.saturating_sub(old.base_offset);
            let offset_delta =
                i32::try_from(delta).map_err(|_| EncodeError::Invalid("an offset is too far"))?;
            let deltas = Deltas {
                timestamp: record.timestamp.as_millis().wrapping_sub(base.as_millis()),
                offset: offset_delta,
            };
            write_record(out, &Record::from(record), deltas, usize::MAX)?;
            // Times before 1970 are below "no timestamp", so the maximum must not start from that.
            max = max.max(Some(record.timestamp));
            count = count.saturating_add(1);
        }
        let payload_at = start.saturating_add(HEADER_LEN);
        if count > 0 {
            compression::compress_tail(out, payload_at, old.compression(), None)?;
        }
        let size = out.len().saturating_sub(start);
        if i32::try_from(size).is_err() {
            let size = to_u64(size);
            return Err(EncodeError::TooLarge { size });
        }
        let mut header = BatchHeader {
            size,
            record_count: count,
            ..old
        };
        if count == 0 {
            header.base_timestamp = Timestamp::NONE;
            header.attributes = old.attributes.without_codec().without_delete_horizon();
        } else {
            header.base_timestamp = base.unwrap_or(Timestamp::NONE);
            if horizon.is_some() {
                header.attributes = old.attributes.with_delete_horizon();
            }
            if old.timestamp_type() == TimestampType::CreateTime {
                header.max_timestamp = max.unwrap_or(Timestamp::NONE);
            }
        }
        if let Some(next_offset) = change.next_offset {
            let last = next_offset
                .saturating_sub(old.base_offset)
                .saturating_sub(1);
            header.last_offset_delta = u32::try_from(last).unwrap_or(old.last_offset_delta);
        }
        let batch = out.get_mut(start..).unwrap_or_default();
        header.write(batch);
        seal(batch);
        Ok(header)
    }
}

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
