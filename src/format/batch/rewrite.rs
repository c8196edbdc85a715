//! A batch with fewer records than it had: what compaction leaves, or a cut in two.
//!
//! Knows nothing about which records stay. Kafka's rules (`MemoryRecords.filterTo`):
//!
//! 1. The new batch keeps the base offset, the last offset, the leader epoch, the producer fields,
//!    the codec, the timestamp type and the other attribute bits; records keep their offsets and
//!    timestamps.
//! 2. A delete horizon takes the place of the base timestamp, and the deltas count from it.
//! 3. A batch without records is its header alone: no codec, base timestamp -1, no horizon; the
//!    max timestamp stays.

use crate::types::{Offset, Record, Timestamp, TimestampType, to_u64};

use super::super::{EncodeError, compression};
use super::header::{BatchHeader, HEADER_LEN, seal};
use super::read::{RecordBatch, RecordView};
use super::record::{Deltas, write_record};

/// What changes besides the records.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rewrite {
    /// From when on tombstones in the batch may go; `None` leaves the batch as it is.
    pub(crate) delete_horizon: Option<Timestamp>,
    /// One past the last offset, when the batch is cut there.
    pub(crate) next_offset: Option<Offset>,
}

impl RecordBatch {
    /// Appends to `out` the batch with only the records that `keep` keeps; gives its header.
    ///
    /// # Errors
    ///
    /// `TooLarge` when packing made it so, `Unsupported` for a codec that is not in this build.
    /// `out` is then as it was.
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
            // Times before 1970 lie below "no timestamp", so the largest one is not that of none.
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
mod tests {
    use bytes::Bytes;

    use super::super::{BatchBuilder, BatchOptions, stamp};
    use super::*;
    use crate::format::check_crc;
    use crate::types::Compression;

    fn batch(compression: Compression) -> RecordBatch {
        let mut out = Vec::new();
        let options = BatchOptions {
            compression,
            ..BatchOptions::default()
        };
        let mut builder = BatchBuilder::new(&mut out, options);
        for (at, key) in ["a", "b", "c", "d"].into_iter().enumerate() {
            let time = Timestamp::from_millis(1000 + i64::try_from(at).unwrap());
            builder
                .push(&Record::keyed(key, "value").with_timestamp(time))
                .unwrap();
        }
        builder.finish().unwrap();
        stamp(&mut out, 50, 3);
        decode(&out)
    }

    fn decode(bytes: &[u8]) -> RecordBatch {
        let header = BatchHeader::parse(bytes).unwrap();
        assert_eq!(header.size, bytes.len());
        check_crc(bytes, &header).unwrap();
        RecordBatch::decode(Bytes::copy_from_slice(bytes), header, 1 << 20).unwrap()
    }

    fn rewritten(
        batch: &RecordBatch,
        change: Rewrite,
        keep: impl FnMut(&RecordView<'_>) -> bool,
    ) -> RecordBatch {
        let mut out = Vec::new();
        batch.rewrite(&mut out, change, keep).unwrap();
        decode(&out)
    }

    fn content(batch: &RecordBatch) -> Vec<(Offset, i64, Vec<u8>)> {
        let of = |record: RecordView<'_>| {
            (
                record.offset,
                record.timestamp.as_millis(),
                record.key().unwrap().to_vec(),
            )
        };
        batch.records().map(of).collect()
    }

    #[test]
    fn what_stays_keeps_its_offset_and_time_in_every_codec() {
        for codec in [Compression::None, Compression::Lz4] {
            if codec == Compression::Lz4 && !cfg!(feature = "lz4") {
                continue;
            }
            let kept = rewritten(&batch(codec), Rewrite::default(), |r| r.offset % 2 == 1);
            let expected = [(51, 1001, b"b".to_vec()), (53, 1003, b"d".to_vec())];
            assert_eq!(content(&kept), expected);
            assert_eq!((kept.base_offset(), kept.next_offset()), (50, 54));
            assert_eq!(kept.header().leader_epoch, 3);
            assert_eq!(kept.compression(), codec);
        }
    }

    #[test]
    fn a_horizon_takes_the_place_of_the_base_timestamp() {
        let horizon = Timestamp::from_millis(90_000);
        let change = Rewrite {
            delete_horizon: Some(horizon),
            ..Rewrite::default()
        };
        let kept = rewritten(&batch(Compression::None), change, |r| r.offset < 52);
        assert_eq!(kept.header().delete_horizon(), Some(horizon));
        assert_eq!(content(&kept)[1], (51, 1001, b"b".to_vec()));
        let again = rewritten(&kept, Rewrite::default(), |r| r.offset == 50);
        assert_eq!(again.header().delete_horizon(), Some(horizon));
    }

    #[test]
    fn an_emptied_batch_is_its_header() {
        let kept = rewritten(&batch(Compression::None), Rewrite::default(), |_| false);
        assert_eq!(kept.header().size, HEADER_LEN);
        assert_eq!((kept.len(), kept.next_offset()), (0, 54));
        assert_eq!(kept.header().base_timestamp, Timestamp::NONE);
        assert_eq!(kept.max_timestamp(), Timestamp::from_millis(1003));
    }

    #[test]
    fn a_batch_is_cut_in_two() {
        let change = Rewrite {
            next_offset: Some(52),
            ..Rewrite::default()
        };
        let kept = rewritten(&batch(Compression::None), change, |r| r.offset < 52);
        assert_eq!((kept.len(), kept.next_offset()), (2, 52));
    }
}
