//! Batches that are encoded before they are appended: those of a call, and one that a producer
//! fills record by record.
//!
//! Knows nothing about who builds them, nor about syncing: the caller syncs later
//! ([`Log::confirm`]), so that many logs are written before the first sync is waited for.
//!
//! 1. A call encodes every batch before it appends the first: a record that cannot be stored, or a
//!    panic of the caller's iterator, leaves nothing in the log.

use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::{BatchOptions, BatchSummary, GrowingBatch};
use crate::types::{Compression, Offset, Record, TimestampType, to_u64, to_usize};

use crate::log::{LATER, Log, Shared, check_record, has_rules, with_scratch};
use crate::types::LogConfig;

/// The capacity that an empty batch keeps at most.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// A batch that a producer fills.
#[derive(Debug, Default)]
pub(crate) struct Filling {
    bytes: Vec<u8>,
    batch: Option<Begun>,
}

/// A batch and its settings; settings that change later apply to the next batch.
#[derive(Debug)]
struct Begun {
    batch: GrowingBatch,
    config: Arc<LogConfig>,
    /// Whether the settings have rules for records.
    ruled: bool,
    /// In bytes; a batch of one record may be larger.
    limit: usize,
}

/// What a producer asks of its batches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    /// In bytes before compression; a larger record gets a batch of its own.
    pub(crate) size: u64,
    /// Used if the log leaves it open.
    pub(crate) compression: Compression,
}

impl Filling {
    pub(crate) fn is_empty(&self) -> bool {
        self.batch.is_none()
    }

    pub(crate) fn records(&self) -> u32 {
        self.batch.as_ref().map_or(0, |begun| begun.batch.count())
    }

    pub(crate) fn is_full(&self) -> bool {
        let begun = self.batch.as_ref();
        begun.is_some_and(|begun| begun.batch.size(&self.bytes) >= begun.limit)
    }

    fn clear(&mut self) {
        self.batch = None;
        self.bytes.clear();
        if self.bytes.capacity() > KEPT_BYTES_MAX {
            self.bytes = Vec::new();
        }
    }
}

impl Log {
    /// Adds a record. Returns its index in the batch; `None` if it does not fit after the others.
    ///
    /// # Errors
    ///
    /// The error of the log for the record alone; the batch is unchanged.
    #[inline]
    pub(crate) fn fill(
        &self,
        filling: &mut Filling,
        record: &Record<'_>,
        wish: Wish,
    ) -> Result<Option<u32>> {
        let shared = &self.shared;
        if filling.batch.is_none() {
            shared.begin_filling(filling, wish)?;
        }
        let Filling { bytes, batch } = filling;
        let Some(begun) = batch else {
            return Err(Error::Closed);
        };
        let place = begun.batch.count();
        match shared.push_filling(bytes, begun, record) {
            Ok(true) => Ok(Some(place)),
            Ok(false) => Ok(None),
            Err(error) => {
                if place == 0 {
                    filling.clear();
                }
                Err(error)
            }
        }
    }

    /// Appends the batch, and empties it whatever the outcome. The caller [confirms](Log::confirm)
    /// it.
    ///
    /// # Errors
    ///
    /// As [`Log::append_batch`].
    pub(crate) fn append_filled(&self, filling: &mut Filling) -> Result<Range<Offset>> {
        let appended = self.shared.append_filled(filling);
        filling.clear();
        appended
    }

    /// Appends records in order, in as few batches as possible, and passes the offsets of each to
    /// `each`; none is synced. After an error, only these records are in the log.
    ///
    /// # Errors
    ///
    /// As [`Log::append_batch`], but [`Error::RecordTooLarge`] is about single records.
    pub(crate) fn append_split<'a>(
        &self,
        records: impl Iterator<Item = Record<'a>>,
        each: &mut dyn FnMut(Range<Offset>),
    ) -> Result<()> {
        self.shared.append_split(records, each)
    }
}

impl Shared {
    fn begin_filling(&self, filling: &mut Filling, wish: Wish) -> Result<()> {
        self.host.check_owner()?;
        self.life.can_append()?;
        let config = self.config();
        let options = self.batch_options(&config, wish.compression);
        filling.bytes.clear();
        filling.batch = Some(Begun {
            batch: GrowingBatch::begin(&mut filling.bytes, options),
            ruled: has_rules(&config),
            limit: to_usize(wish.size.min(config.max_message_bytes)),
            config,
        });
        Ok(())
    }

    /// False if the record does not fit after the others.
    #[inline]
    fn push_filling(
        &self,
        bytes: &mut Vec<u8>,
        begun: &mut Begun,
        record: &Record<'_>,
    ) -> Result<bool> {
        if record.timestamp().is_none() || begun.ruled {
            let now = self.host.clock.now();
            begun.batch.set_now(now);
            if begun.ruled {
                check_record(record, &begun.config, now)?;
            }
        }
        let alone = begun.batch.count() == 0;
        let fits = begun
            .batch
            .push_within(bytes, record, begun.limit)
            .map_err(|error| self.refused(error))?;
        // Only the first record can be too large for every batch; later ones begin another batch.
        if alone {
            let raw = to_u64(begun.batch.size(bytes));
            check_alone(raw, begun.batch.compression(), &begun.config)?;
        }
        Ok(fits)
    }

    fn append_filled(&self, filling: &mut Filling) -> Result<Range<Offset>> {
        let Some(begun) = filling.batch.take() else {
            let end = self.end_offset();
            return Ok(end..end);
        };
        let mut batch = begun.batch;
        if begun.config.message_timestamp_type == TimestampType::LogAppendTime {
            batch.set_append_time(self.host.clock.now());
        }
        let summary = batch
            .finish(&mut filling.bytes)
            .map_err(|error| self.refused(error))?;
        self.append_encoded(&mut filling.bytes, &summary, LATER)
    }

    fn append_split<'a>(
        &self,
        records: impl Iterator<Item = Record<'a>>,
        each: &mut dyn FnMut(Range<Offset>),
    ) -> Result<()> {
        let config = self.config();
        let options = self.batch_options(&config, Compression::None);
        let ruled = has_rules(&config);
        let checked = records.map(|record| {
            if ruled {
                check_record(&record, &config, options.now)?;
            }
            Ok(record)
        });
        with_scratch(|scratch| {
            let mut batches = Vec::new();
            if options.compression == Compression::None {
                self.encode_split(scratch, options, &config, checked, &mut batches)?;
            } else {
                let records = checked.collect::<Result<Vec<_>>>()?;
                self.encode_packed(scratch, options, &config, &records, &mut batches)?;
            }
            let mut rest = scratch.as_mut_slice();
            for summary in &batches {
                let Some((batch, after)) = rest.split_at_mut_checked(summary.size) else {
                    break;
                };
                // All batches are encoded by now (I1). If one cannot be appended, those before it
                // stay, and `each` has named them.
                each(self.append_encoded(batch, summary, LATER)?);
                rest = after;
            }
            Ok(())
        })
    }

    fn encode_split<'a>(
        &self,
        out: &mut Vec<u8>,
        options: BatchOptions,
        config: &LogConfig,
        records: impl Iterator<Item = Result<Record<'a>>>,
        batches: &mut Vec<BatchSummary>,
    ) -> Result<()> {
        let limit = to_usize(config.max_message_bytes);
        let mut growing: Option<GrowingBatch> = None;
        for record in records {
            let record = record?;
            let batch = growing.get_or_insert_with(|| GrowingBatch::begin(out, options));
            let fits = batch.push_within(out, &record, limit);
            if !fits.map_err(|error| self.refused(error))? {
                batches.push(batch.finish(out).map_err(|error| self.refused(error))?);
                *batch = GrowingBatch::begin(out, options);
                let fits = batch.push_within(out, &record, limit);
                fits.map_err(|error| self.refused(error))?;
            }
            if batch.count() == 1 {
                check_alone(to_u64(batch.size(out)), Compression::None, config)?;
            }
        }
        if let Some(batch) = growing {
            batches.push(batch.finish(out).map_err(|error| self.refused(error))?);
        }
        Ok(())
    }

    /// Compresses batches. How small one becomes is known only afterwards: one that stays too large
    /// is encoded again as two halves.
    fn encode_packed(
        &self,
        out: &mut Vec<u8>,
        options: BatchOptions,
        config: &LogConfig,
        mut records: &[Record<'_>],
        batches: &mut Vec<BatchSummary>,
    ) -> Result<()> {
        let raw_limit = to_usize(config.max_decompressed_batch_bytes);
        while !records.is_empty() {
            let start = out.len();
            let mut batch = GrowingBatch::begin(out, options);
            for record in records {
                let fits = batch.push_within(out, record, raw_limit);
                if !fits.map_err(|error| self.refused(error))? {
                    break;
                }
            }
            if batch.count() == 1 {
                check_alone(to_u64(batch.size(out)), options.compression, config)?;
            }
            let taken = to_usize(u64::from(batch.count()));
            let summary = batch.finish(out).map_err(|error| self.refused(error))?;
            let (share, after) = records.split_at(taken.min(records.len()));
            let (size, limit) = (to_u64(summary.size), config.max_message_bytes);
            if size <= limit {
                batches.push(summary);
            } else if let [_] = share {
                return Err(Error::RecordTooLarge { size, limit });
            } else {
                // Too large even when compressed.
                out.truncate(start);
                let (front, back) = share.split_at(share.len() / 2);
                self.encode_packed(out, options, config, front, batches)?;
                self.encode_packed(out, options, config, back, batches)?;
            }
            records = after;
        }
        Ok(())
    }
}

/// Rejects a record that fits no batch, by the raw size of one that holds it alone.
#[inline]
fn check_alone(raw: u64, compression: Compression, config: &LogConfig) -> Result<()> {
    // However well it compresses: readers would refuse to decompress it.
    let limit = match compression {
        Compression::None => config.max_message_bytes,
        _ => config.max_decompressed_batch_bytes,
    };
    if raw > limit {
        return Err(Error::RecordTooLarge { size: raw, limit });
    }
    Ok(())
}
