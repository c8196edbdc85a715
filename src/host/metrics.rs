//! The figures of a log.
//!
//! Knows nothing about where they are sent.
//!
//! 1. Appends count under the append lock, by plain additions. Reads count once for each read of a
//!    file.
//! 2. Everything else is rare, behind one lock that no append takes.

#[cfg(feature = "metrics")]
pub(crate) mod facade;

use std::io;
use std::time::Duration;

use crate::segment::{ReadAt, SegmentFile};
use crate::sync::{AtomicU64, Mutex, Ordering};
use crate::types::{Histogram, to_u64};

use super::{CompactionReport, Published, RetentionReport};

/// What a log has done since it was opened: see [`Log::metrics`](crate::Log::metrics). Counters
/// begin at 0 with every opening and never go back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct LogMetrics {
    /// Batches that were appended; a record alone counts as one.
    pub appends: u64,
    /// Records that were appended.
    pub records: u64,
    /// Bytes of appended batches, as they are in the files.
    pub bytes: u64,
    /// Segments that were begun after another one.
    pub rolls: u64,
    /// How long it took to make appended batches durable, in microseconds: the sync of the file
    /// and, if a segment was begun, of the one before it and of the directory.
    pub sync_micros: Histogram,
    /// How many batches each of these syncs made durable: under `Always`, how many appends shared
    /// it.
    pub batches_per_sync: Histogram,
    /// Reads of files for readers; none is made while a reader still has what it needs.
    pub reads: u64,
    /// Bytes that these reads returned.
    pub read_bytes: u64,
    /// Segments that retention deleted.
    pub segments_deleted: u64,
    /// Bytes of batches in these segments.
    pub bytes_deleted: u64,
    /// Offsets that retention made unreadable.
    pub records_deleted: u64,
    /// Compactions that ended.
    pub compactions: u64,
    /// Bytes that compactions read.
    pub compaction_read_bytes: u64,
    /// Bytes that compactions wrote.
    pub compaction_written_bytes: u64,
    /// Records that compactions dropped.
    pub compaction_records_dropped: u64,
    /// How many logs take no more appends because a sync failed ([`Error::Poisoned`]): 0 or 1 for
    /// one log.
    ///
    /// [`Error::Poisoned`]: crate::Error::Poisoned
    pub poisoned: u64,
}

impl LogMetrics {
    pub(crate) fn add(&mut self, other: &Self) {
        let both = [
            (&mut self.appends, other.appends),
            (&mut self.records, other.records),
            (&mut self.bytes, other.bytes),
            (&mut self.rolls, other.rolls),
            (&mut self.reads, other.reads),
            (&mut self.read_bytes, other.read_bytes),
            (&mut self.segments_deleted, other.segments_deleted),
            (&mut self.bytes_deleted, other.bytes_deleted),
            (&mut self.records_deleted, other.records_deleted),
            (&mut self.compactions, other.compactions),
            (&mut self.compaction_read_bytes, other.compaction_read_bytes),
            (
                &mut self.compaction_written_bytes,
                other.compaction_written_bytes,
            ),
            (
                &mut self.compaction_records_dropped,
                other.compaction_records_dropped,
            ),
            (&mut self.poisoned, other.poisoned),
        ];
        for (sum, more) in both {
            *sum = sum.saturating_add(more);
        }
        self.sync_micros.add(&other.sync_micros);
        self.batches_per_sync.add(&other.batches_per_sync);
    }
}

/// What appends count (I1).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Appends {
    pub(crate) batches: u64,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) rolls: u64,
    /// The batches that syncs cover.
    pub(crate) synced: u64,
}

impl Appends {
    #[inline]
    pub(crate) fn batch(&mut self, records: u32, bytes: u64) {
        self.batches = self.batches.wrapping_add(1);
        self.records = self.records.wrapping_add(u64::from(records));
        self.bytes = self.bytes.wrapping_add(bytes);
    }

    pub(crate) fn roll(&mut self) {
        self.rolls = self.rolls.wrapping_add(1);
    }

    /// The number of batches that no sync covers yet: the caller's does.
    pub(crate) fn take_unsynced(&mut self) -> u64 {
        let unsynced = self.batches.wrapping_sub(self.synced);
        self.synced = self.batches;
        unsynced
    }
}

/// What is counted without the append lock (I2).
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Kept here because appends do not read it.
    pub(crate) published: Published,
    pub(crate) rare: Mutex<LogMetrics>,
    pub(crate) reads: AtomicU64,
    pub(crate) read_bytes: AtomicU64,
    /// What a log that was opened alone handed to the recorder last.
    #[cfg(feature = "metrics")]
    pub(crate) handed_over: Mutex<Option<Box<LogMetrics>>>,
}

impl Tally {
    pub(crate) fn synced(&self, batches: u64, took: Duration) {
        let mut rare = self.rare.lock();
        rare.sync_micros.record_micros(took);
        rare.batches_per_sync.record(batches);
    }

    pub(crate) fn retained(&self, report: &RetentionReport, records: u64) {
        let mut rare = self.rare.lock();
        rare.segments_deleted = rare
            .segments_deleted
            .saturating_add(report.segments_deleted);
        rare.bytes_deleted = rare.bytes_deleted.saturating_add(report.bytes_deleted);
        rare.records_deleted = rare.records_deleted.saturating_add(records);
    }

    pub(crate) fn compacted(&self, report: &CompactionReport) {
        let mut rare = self.rare.lock();
        rare.add(&LogMetrics {
            compactions: 1,
            compaction_read_bytes: report.read_bytes,
            compaction_written_bytes: report.written_bytes,
            compaction_records_dropped: report.records_dropped,
            ..LogMetrics::default()
        });
    }
}

pub(crate) struct CountedReads<'a> {
    pub(crate) file: SegmentFile<'a>,
    pub(crate) tally: &'a Tally,
}

impl ReadAt for CountedReads<'_> {
    fn read_at(&self, position: u64, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(position, buf)?;
        self.tally.reads.fetch_add(1, Ordering::Relaxed);
        self.tally
            .read_bytes
            .fetch_add(to_u64(read), Ordering::Relaxed);
        Ok(read)
    }
}
