//! Appending: encode outside the lock; inside it roll if needed, stamp the base offset, write once,
//! index, publish.
//!
//! Knows nothing about syncing, except to hand it on.
//!
//! 1. A batch is published after its last byte was written.
//! 2. A failed write is cut back to the last published end before anything else is written.
//! 3. All user code (conversions, iterators) runs before the lock is taken.

use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;

use crate::disk::{Access, Appender};
use crate::error::{Error, IoContext, Result};
use crate::format::{BatchBuilder, BatchOptions, BatchSummary, EncodeError, encode_one, stamp};
use crate::segment::{Indexed, relative};
use crate::sync::Ordering;
use crate::types::{
    Compression, Durability, END_OFFSET_MAX, LogConfig, Offset, Position, Record, Sabotage,
    Timestamp, TimestampType, to_u64,
};

use super::shared::Shared;
use super::state::{AppendState, has_rules};

/// The most scratch memory that a thread keeps.
const SCRATCH_BYTES_MAX: usize = 1 << 20;

/// The flusher is woken at this many unsynced bytes, so that a crash never has much to recover.
pub(crate) const UNSYNCED_BYTES_SOFT: u64 = 32 << 20;

/// How many segments may wait for the flusher to seal them.
const SEALING_MAX: usize = 8;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct How {
    /// The append fails unless the log ends here.
    pub(super) expected_end: Option<Offset>,
    /// Under `Always`, syncing is left to the caller.
    pub(super) sync_later: bool,
}

impl How {
    pub(super) const fn at(expected_end: Offset) -> Self {
        Self {
            expected_end: Some(expected_end),
            sync_later: false,
        }
    }
}

impl Shared {
    /// Rejects an append before it is encoded, if it is known to fail.
    #[inline]
    pub(super) fn check_end_early(&self, expected: Offset) -> Result<()> {
        let end = self.end_offset();
        if end == expected {
            return Ok(());
        }
        self.host.check_owner()?;
        self.life.can_append()?;
        Err(Error::EndMoved { expected, end })
    }

    #[inline]
    pub(crate) fn append_one(&self, record: &Record<'_>, how: How) -> Result<Range<Offset>> {
        if self.hot.special.load(Ordering::Relaxed) != 0 {
            return self.append_many(std::iter::once(*record), how);
        }
        with_scratch(|scratch| {
            let options = BatchOptions {
                now: self.host.clock.now(),
                ..BatchOptions::default()
            };
            let summary =
                encode_one(scratch, record, &options).map_err(|error| self.refused(error))?;
            self.append_encoded(scratch, &summary, how)
        })
    }

    pub(super) fn append_many<'a>(
        &self,
        records: impl Iterator<Item = Record<'a>>,
        how: How,
    ) -> Result<Range<Offset>> {
        self.host.check_owner()?;
        let config = self.config();
        let options = self.batch_options(&config, Compression::None);
        with_scratch(|scratch| {
            let mut builder = BatchBuilder::new(scratch, options);
            let ruled = has_rules(&config);
            for record in records {
                if ruled {
                    check_record(&record, &config, options.now)?;
                }
                builder.push(&record).map_err(|error| self.refused(error))?;
            }
            if builder.count() == 0 {
                return self.append_nothing(how);
            }
            let size = to_u64(builder.size());
            let limit = config.max_decompressed_batch_bytes;
            if options.compression != Compression::None && size > limit {
                // Readers would refuse to decompress it.
                return Err(Error::RecordTooLarge { size, limit });
            }
            let summary = builder.finish().map_err(|error| self.refused(error))?;
            self.append_encoded(scratch, &summary, how)
        })
    }

    /// `wish` counts if the log's settings leave the compression open.
    pub(crate) fn batch_options(&self, config: &LogConfig, wish: Compression) -> BatchOptions {
        BatchOptions {
            now: self.host.clock.now(),
            compression: match config.compression_type {
                Compression::None => wish,
                own => own,
            },
            timestamp_type: config.message_timestamp_type,
            ..BatchOptions::default()
        }
    }

    /// For an empty batch: returns the empty range at the end if an append would be accepted.
    fn append_nothing(&self, how: How) -> Result<Range<Offset>> {
        let state = self.append.lock();
        self.life.can_append()?;
        check_end(&state, how)?;
        Ok(state.end..state.end)
    }

    pub(crate) fn refused(&self, error: EncodeError) -> Error {
        Error::refused(error, self.hot.max_message_bytes.load(Ordering::Relaxed))
    }

    /// Appends an encoded batch. A log that this process writes grows only here.
    pub(crate) fn append_encoded(
        &self,
        batch: &mut [u8],
        summary: &BatchSummary,
        how: How,
    ) -> Result<Range<Offset>> {
        let limit = self.hot.max_message_bytes.load(Ordering::Relaxed);
        let size = to_u64(summary.size);
        if size > limit {
            return Err(Error::RecordTooLarge { size, limit });
        }
        // Here, after all user code, which may have forked.
        self.host.check_owner()?;
        let mut guard = self.lock_to_append()?;
        let offsets = loop {
            check_end(&guard, how)?;
            let offsets = guard.end..guard.end.saturating_add(u64::from(summary.count));
            if offsets.end > END_OFFSET_MAX {
                return Err(offsets_used_up());
            }
            if !self.must_roll(&mut guard, summary)? || self.roll_within_budget(&mut guard)? {
                break offsets;
            }
            drop(guard);
            self.make_room()?;
            guard = self.lock_to_append()?;
        };
        let state = &mut *guard;
        stamp(batch, offsets.start, state.leader_epoch);
        if let Err(error) = self.write(state, batch, summary, offsets.end) {
            // The log may have been latched, and tasks woken now may need the lock.
            drop(guard);
            self.raise();
            return Err(error);
        }
        state.appends.batch(summary.count, size);
        let unsynced = state.unsynced_bytes;
        let backlog = state.sealing.len();
        drop(guard);
        self.after_append(offsets.end, unsynced, backlog, how)?;
        Ok(offsets)
    }

    /// Writes, indexes and publishes a stamped batch (I1).
    fn write(
        &self,
        state: &mut AppendState,
        batch: &[u8],
        summary: &BatchSummary,
        next_offset: Offset,
    ) -> Result<()> {
        self.open_writer(state)?;
        let Some(writer) = &mut state.writer else {
            return Err(Error::Closed);
        };
        let position = writer.end();
        if Sabotage::PublishBeforeWrite.is_on() {
            self.end.store(next_offset, Ordering::Release);
        }
        if let Err(error) = writer.append(batch) {
            return Err(self.undo_append(state, position, error));
        }
        let indexed = Indexed {
            relative_last_offset: relative(state.active.base_offset(), next_offset - 1)
                .unwrap_or_default(),
            position: u32::try_from(position).unwrap_or(u32::MAX),
            size: u32::try_from(summary.size).unwrap_or(u32::MAX),
            max_timestamp: summary.max_timestamp,
        };
        let newest = state.progress.newest();
        if state.progress.note(
            indexed,
            self.hot.index_interval_bytes.load(Ordering::Relaxed),
        ) {
            state.active.add_entries(&state.progress, indexed);
            state.indexes_full = self.indexes_full(&state.active);
        }
        if state.progress.newest() != newest {
            state.active.raise_newest(summary.max_timestamp);
        }
        if position == 0 {
            state.first_timestamp = Some(summary.max_timestamp);
        }
        state.end = next_offset;
        state.in_use = true;
        state.used = true;
        state.unsynced_bytes = state.unsynced_bytes.saturating_add(u64::from(indexed.size));
        // The segment first: a reader that sees the log's end must find the bytes (I1).
        state
            .active
            .publish(Position(position).plus(summary.size), next_offset);
        self.end.store(next_offset, Ordering::Release);
        Ok(())
    }

    /// Undoes a write that failed (I2), or latches the log.
    #[cold]
    fn undo_append(&self, state: &mut AppendState, end: u64, error: std::io::Error) -> Error {
        let path = state.active.log_path();
        if let Some(writer) = &mut state.writer
            && let Err(cut) = writer.cut(end)
        {
            return self.latch(path, cut);
        }
        Error::io(&path, "write", error)
    }

    #[inline]
    pub(super) fn open_writer(&self, state: &mut AppendState) -> Result<()> {
        if state.writer.is_some() {
            return Ok(());
        }
        self.open_writer_now(state)
    }

    #[cold]
    fn open_writer_now(&self, state: &mut AppendState) -> Result<()> {
        let path = state.active.log_path();
        let file = Arc::new(
            self.host
                .disk
                .open(&path, Access::Write)
                .at(&path, "open")?,
        );
        self.write_to(state, file);
        Ok(())
    }

    pub(super) fn write_to(&self, state: &mut AppendState, file: Arc<crate::disk::File>) {
        state.active.keep_file(&file);
        state.writer = Some(self.appender(file, state.active.end()));
        if !std::mem::replace(&mut state.listed, true) {
            self.host.files.opened_to_write(self.me.clone());
        }
    }

    pub(super) fn appender(&self, file: Arc<crate::disk::File>, end: Position) -> Appender {
        let config = self.config();
        Appender::new(file, config.write_mode, end.0, self.hot.segment_bytes())
    }

    /// Wakes readers and takes care of durability, without the lock.
    #[inline]
    fn after_append(
        &self,
        end: Offset,
        unsynced_bytes: u64,
        backlog: usize,
        how: How,
    ) -> Result<()> {
        match self.hot.durability() {
            // The flush wakes the readers: they see nothing before it.
            Durability::Always if Sabotage::AcknowledgedBeforeSync.is_on() => self.raise(),
            Durability::Always if how.sync_later => return Ok(()),
            Durability::Always => return self.flush_to(end).map(drop),
            Durability::Interval(every) => {
                self.wake_after_append();
                self.schedule_flush(every);
            }
            Durability::Os => self.wake_after_append(),
        }
        if unsynced_bytes >= UNSYNCED_BYTES_SOFT || backlog > 0 {
            self.sync_behind(end, backlog);
        }
        Ok(())
    }

    /// Makes the flusher sync and seal, or does it itself if that cannot keep up.
    #[cold]
    fn sync_behind(&self, end: Offset, backlog: usize) {
        // A segment that waits to be sealed keeps its file open.
        let crowded = backlog > 0 && self.host.files.is_full();
        if backlog > SEALING_MAX || crowded || !self.flush_soon() {
            // The record has the durability of its policy; a failed sync latches the log.
            drop(self.flush_to(end));
            self.digest_in_line();
        }
    }
}

#[inline]
fn check_end(state: &AppendState, how: How) -> Result<()> {
    match how.expected_end {
        Some(expected) if expected != state.end => Err(Error::EndMoved {
            expected,
            end: state.end,
        }),
        _ => Ok(()),
    }
}

#[cold]
fn offsets_used_up() -> Error {
    Error::Unsupported {
        what: format!("the log would end above offset {END_OFFSET_MAX}, the largest there is"),
    }
}

pub(crate) fn check_record(record: &Record<'_>, config: &LogConfig, now: Timestamp) -> Result<()> {
    if config.cleanup_policy.compacts() && record.key().is_none() {
        return Err(Error::InvalidRecord {
            reason: "a compacted log takes only records with a key",
        });
    }
    // The log replaces the record's own time.
    if config.message_timestamp_type == TimestampType::LogAppendTime {
        return Ok(());
    }
    let Some(time) = record.timestamp().filter(|time| *time != Timestamp::NONE) else {
        return Ok(());
    };
    let before = config.timestamp_before_max;
    if before.is_some_and(|most| time < now.minus(most)) {
        return Err(Error::InvalidRecord {
            reason: "the timestamp lies further back than message.timestamp.before.max.ms",
        });
    }
    let after = config.timestamp_after_max;
    if after.is_some_and(|most| time > now.plus(most)) {
        return Err(Error::InvalidRecord {
            reason: "the timestamp lies further ahead than message.timestamp.after.max.ms",
        });
    }
    Ok(())
}

/// Lends the thread's scratch memory. It is taken out of its place meanwhile: an iterator that
/// itself appends gets its own.
pub(crate) fn with_scratch<T>(run: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let mut scratch = SCRATCH.take();
    scratch.clear();
    let result = run(&mut scratch);
    if scratch.capacity() <= SCRATCH_BYTES_MAX {
        SCRATCH.set(scratch);
    }
    result
}
