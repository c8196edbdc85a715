//! Floor 7: reading. From an offset upward, across segments, up to the high watermark.
//!
//! Knows nothing about appending. A reader keeps its position, so continuing needs no look-up. Its
//! segment keeps the file open, even after retention has unlinked it, until the descriptor is
//! needed elsewhere. Then the reader opens it again, or, if it is gone, looks its offset up.
//!
//! 1. A batch is returned once all of it is below the high watermark.
//! 2. What was read before a truncation is not returned after it.
//! 3. An index is a hint: without a batch where it points, or with one too far on, the segment is
//!    read from its start and the index is rebuilt.

mod place;
#[cfg(feature = "async")]
mod stream;

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::disk::Owner;
use crate::error::{Error, Result};
use crate::format::{LogRecord, OwnedRecords, RecordBatch, record_at};
use crate::segment::BatchCursor;
use crate::types::ReadIsolation;
use crate::types::{Compression, Epoch, Offset, Position, Start};

use crate::log::{Filter, Log, Shared};

use place::Place;

#[cfg(feature = "async")]
pub use stream::RecordStream;

/// The most memory that each thread keeps.
const PAGE_BYTES_MAX: usize = 64 << 10;

thread_local! {
    /// Memory of the last look-up of one record.
    static PAGE: Cell<Bytes> = const { Cell::new(Bytes::new()) };
}

/// Reads a log from an offset upward.
///
/// As an iterator it returns single records and ends at the high watermark; called again later, it
/// continues. [`Reader::next_batch`] is faster. After an error the iterator returns `None`, and
/// [`Reader::next_batch`] and [`Reader::wait`] return the error again, until [`Reader::seek`]: so
/// no loop around them spins.
///
/// A reader keeps its log open. It costs next to nothing while idle, and up to 256 KiB while it
/// reads continuously.
///
/// # Examples
///
/// ```
/// use ottla::{Log, LogConfig};
///
/// # let scratch = tempfile::tempdir()?;
/// # let dir = scratch.path().join("events");
/// let log = Log::open(dir, LogConfig::default())?;
/// let mut reader = log.reader(0)?;
/// assert!(reader.next().is_none());
///
/// log.append("first")?;
/// let record = reader.next().expect("there is one now")?;
/// assert_eq!((record.offset, record.value()), (0, Some(&b"first"[..])));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Reader {
    log: Log,
    place: Place,
    /// The batch whose records the iterator returns.
    current: Option<OwnedRecords>,
    position: Offset,
    filter: Filter,
    owner: Owner,
    /// The error until a seek.
    failed: Option<Error>,
}

impl Reader {
    pub(super) fn new(log: Log, from: Start, filter: Filter) -> Result<Self> {
        let (position, place) = log.here()?.begin(from, &filter)?;
        Ok(Self {
            owner: log.shared.host.owner(),
            log,
            place,
            current: None,
            position,
            filter,
            failed: None,
        })
    }

    /// The next record is at this offset or, after a gap that compaction or `repair` left, above
    /// it.
    #[must_use]
    pub fn position(&self) -> Offset {
        self.position
    }

    /// The epoch of [`Reader::position`]: both together say whether the records below are still the
    /// same ([`Log::reader_from`]).
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.place.epoch
    }

    /// Moves to another position. `(offset, epoch)`, a position learned in that epoch, is checked.
    ///
    /// # Errors
    ///
    /// As [`Log::reader`] and [`Log::reader_from`]; the reader then stays where it was.
    pub fn seek(&mut self, to: impl Into<Start>) -> Result<()> {
        let (position, place) = self.log.here()?.begin(to.into(), &self.filter)?;
        self.place = place;
        self.position = position;
        self.current = None;
        self.failed = None;
        Ok(())
    }

    /// Waits until there is something to read (true) or the time is over (false).
    ///
    /// # Errors
    ///
    /// As [`Log::wait_for`]; after an error of reading the same error, until [`Reader::seek`].
    /// After a truncation below the position it returns true, and the next read reports it.
    pub fn wait(&mut self, timeout: Duration) -> Result<bool> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if self.filter.known_to() < Offset::MAX {
            return self.wait_decided(timeout);
        }
        if self.position >= self.filter.end() {
            // Nothing more will come, but closing the log wakes a waiter.
            return self.log.wait_for(Offset::MAX, timeout);
        }
        let shared = self.log.here()?;
        if shared.high_watermark() > self.position {
            return Ok(true);
        }
        // The next read reports what was cut off below the position.
        let is_cut = || shared.check_epoch(self.position, self.place.epoch).is_err();
        shared.wait_for(self.position, timeout, is_cut)
    }

    /// [`Reader::wait`] for the ends of transactions.
    fn wait_decided(&mut self, timeout: Duration) -> Result<bool> {
        let shared = self.log.here()?;
        let clock = shared.host.clock.clone();
        let began = clock.instant();
        loop {
            let shared = self.log.here()?;
            let is_cut = || shared.check_epoch(self.position, self.place.epoch).is_err();
            let end = self.filter.end().min(shared.high_watermark());
            if self.position < end || is_cut() {
                return Ok(true);
            }
            let passed = clock.instant().saturating_duration_since(began);
            let left = timeout.saturating_sub(passed);
            // Where the log was cut, the filter knows more than is left.
            let known_to = self.filter.known_to().min(shared.high_watermark());
            if !shared.wait_for(known_to, left, is_cut)? {
                return Ok(false);
            }
            // Whether a reader may see what was appended depends on what it decides.
            self.renew_filter()?;
        }
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// Whether a read would return something. An error was reported before, or says why nothing
    /// will come.
    pub(crate) fn has_news(&self) -> Result<bool> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let shared = self.log.here()?;
        shared.has_news(self.position, self.place.epoch, &self.filter)
    }

    /// The checked batch that holds [`Reader::position`], or the next one; `None` at the high
    /// watermark. After a seek into its middle, it begins below the position. Batches without
    /// records (markers of transactions, batches that compaction emptied) are skipped.
    ///
    /// # Errors
    ///
    /// - [`Error::OffsetOutOfRange`]: the position fell below the start of the log.
    /// - [`Error::Truncated`]: a truncation put the end below the position, whatever was appended
    ///   since. Other records never silently take the place of those that were read.
    /// - [`Error::Corrupt`], [`Error::Unsupported`], [`Error::Io`], [`Error::Closed`].
    ///
    /// It returns the same error again until [`Reader::seek`].
    pub fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if let Err(forked) = self.log.here() {
            self.failed = Some(forked.clone());
            return Err(forked);
        }
        // Where the iterator stopped, all of the batch is returned, so no record is skipped.
        if let Some(current) = self.current.take() {
            let batch = current.into_batch();
            self.position = batch.next_offset();
            return Ok(Some(batch));
        }
        let next = self.advance();
        if let Err(error) = &next {
            self.failed = Some(error.clone());
        }
        next
    }

    #[inline]
    fn advance(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if self.filter.is_outdated(&self.log.shared) {
                self.renew_filter()?;
            }
            let (shared, end) = (&self.log.shared, self.filter.end());
            let Some(raw) = self.place.next(shared, self.position, end)? else {
                if self.filter.known_to() < Offset::MAX && self.renew_filter()? {
                    continue;
                }
                return Ok(None);
            };
            let next_offset = raw.header.next_offset();
            // An index leads to a batch at or before the position; earlier ones were returned.
            if next_offset <= self.position {
                continue;
            }
            self.position = self.position.max(raw.header.base_offset);
            if raw.header.record_count == 0
                || raw.header.is_control()
                || self.filter.hides(&raw.header)
            {
                self.position = next_offset;
                continue;
            }
            // Before the position moves on: after an error it still names this batch.
            let batch = shared.decode(raw, &self.place.segment)?;
            self.position = next_offset;
            return Ok(Some(batch));
        }
    }

    /// Finds out which recent appends of another process are decided; false without any.
    #[cold]
    fn renew_filter(&mut self) -> Result<bool> {
        let shared = self.log.here_now()?;
        let more =
            shared.high_watermark() > self.filter.known_to() || self.filter.is_outdated(shared);
        if more {
            self.filter = shared.renewed(&self.filter)?;
        }
        Ok(more)
    }

    fn next_record(&mut self) -> Result<Option<LogRecord>> {
        let here = self.owner.is_here();
        loop {
            if let Some(current) = self.current.as_mut().filter(|_| here) {
                if let Some(record) = current.next() {
                    self.position = record.offset.saturating_add(1);
                    return Ok(Some(record));
                }
                self.position = current.batch().next_offset();
                self.current = None;
            }
            // `next_batch` moves the position past the batch, whose records still follow.
            let wanted = self.position;
            let Some(batch) = self.next_batch()? else {
                return Ok(None);
            };
            self.position = wanted.max(batch.base_offset());
            let mut records = OwnedRecords::new(batch);
            records.skip_to(wanted);
            self.current = Some(records);
        }
    }
}

impl Iterator for Reader {
    type Item = Result<LogRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed.is_some() {
            return None;
        }
        self.next_record().transpose()
    }
}

impl Log {
    /// A reader from an offset, a time, or an end of the log.
    ///
    /// # Errors
    ///
    /// - [`Error::OffsetOutOfRange`]: the offset is below the start or above the end.
    /// - [`Error::Closed`], [`Error::Io`], [`Error::Corrupt`].
    pub fn reader(&self, from: impl Into<Start>) -> Result<Reader> {
        Reader::new(self.clone(), from.into(), Filter::Uncommitted)
    }

    /// With [`ReadIsolation::ReadCommitted`], a reader without the records of aborted transactions,
    /// and without everything from the first open transaction on. The first one of a log scans all
    /// its batches. Only Kafka's producers write transactions: in logs written by Ottla the
    /// isolations are the same.
    ///
    /// # Errors
    ///
    /// As [`Log::reader`], and [`Error::Unsupported`].
    pub fn reader_with(&self, from: impl Into<Start>, isolation: ReadIsolation) -> Result<Reader> {
        let filter = self.here_now()?.filter(isolation)?;
        Reader::new(self.clone(), from.into(), filter)
    }

    /// A reader that leaves out aborted and open transactions.
    pub(crate) fn reader_of_decided(&self, from: impl Into<Start>) -> Result<Reader> {
        let filter = self.here_now()?.decided()?;
        Reader::new(self.clone(), from.into(), filter)
    }

    /// The record at an offset, or `None` where compaction or `repair` left a gap. Costs one index
    /// look-up and one read of about 4 KiB.
    ///
    /// # Errors
    ///
    /// - [`Error::OffsetOutOfRange`]: the offset is below the start, or at or above the high
    ///   watermark.
    /// - [`Error::Closed`], [`Error::Io`], [`Error::Corrupt`], [`Error::Unsupported`].
    pub fn read(&self, offset: Offset) -> Result<Option<LogRecord>> {
        self.here_now()?.read_one(offset)
    }

    /// A reader from an offset learned in an epoch, as stored with a snapshot or by a projection.
    /// Fails if the records below it are no longer those that were read then. The same as
    /// [`reader`](Self::reader) from [`Start::InEpoch`].
    ///
    /// # Errors
    ///
    /// - [`Error::Truncated`]: the log was truncated below the offset since, lost records there, or
    ///   never had that epoch. A snapshot is still valid up to its `end`.
    /// - As [`reader`](Self::reader).
    ///
    /// # Examples
    ///
    /// ```
    /// use ottla::{Error, Log, LogConfig};
    ///
    /// # let scratch = tempfile::tempdir()?;
    /// let log = Log::open(scratch.path().join("events"), LogConfig::default())?;
    /// log.append_batch(["a", "b", "c"])?;
    /// let mut reader = log.reader(0)?;
    /// reader.by_ref().collect::<Result<Vec<_>, _>>()?;
    /// let kept = (reader.position(), reader.epoch());
    ///
    /// log.truncate(1)?;
    /// log.append_batch(["x", "y", "z"])?;
    /// let refused = log.reader_from(kept.0, kept.1);
    /// assert!(matches!(refused, Err(Error::Truncated { requested: 3, end: 1, .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reader_from(&self, from: Offset, epoch: Epoch) -> Result<Reader> {
        self.reader((from, epoch))
    }
}

impl Shared {
    fn begin(&self, from: Start, filter: &Filter) -> Result<(Offset, Place)> {
        let named = matches!(from, Start::Offset(_) | Start::InEpoch { .. });
        self.follow()?;
        loop {
            // Counted before the offset is resolved, to notice an end that moves back.
            let truncations = self.truncation_count();
            let position = self.resolve(from, filter)?;
            match self.locate(position) {
                // The start moved between the two calls.
                Err(Error::OffsetOutOfRange { .. }) if !named => {}
                // The end moved back.
                Ok(place) if place.truncations != truncations => {}
                place => return Ok((position, place?)),
            }
        }
    }

    fn resolve(&self, from: Start, filter: &Filter) -> Result<Offset> {
        self.life.can_read()?;
        match from {
            Start::Earliest => Ok(self.start_offset()),
            Start::Latest => Ok(self.high_watermark().min(filter.end())),
            Start::Offset(offset) => {
                self.check_not_below_start(offset)?;
                self.check_not_past_end(offset)?;
                Ok(offset)
            }
            Start::InEpoch { offset, epoch } => {
                self.check_not_below_start(offset)?;
                // Before the check of the end: `Truncated` says which records are still valid.
                self.check_epoch(offset, epoch)?;
                self.check_not_past_end(offset)?;
                Ok(offset)
            }
            Start::Time(at) => Ok(self.offset_for_time(at)?.unwrap_or(self.high_watermark())),
        }
    }

    fn check_not_below_start(&self, offset: Offset) -> Result<()> {
        if offset < self.start_offset() {
            Err(self.out_of_range(offset))
        } else {
            Ok(())
        }
    }

    fn check_not_past_end(&self, offset: Offset) -> Result<()> {
        if offset > self.end_offset() {
            Err(self.out_of_range(offset))
        } else {
            Ok(())
        }
    }

    /// A position at or before the batch that holds an offset. The start of the log is checked
    /// last: by then the file is open, and what retention removes later can still be read.
    fn locate(&self, offset: Offset) -> Result<Place> {
        // Before any lock is taken: making room may sync another log.
        self.host.files.make_room();
        loop {
            let truncations = self.truncation_count();
            // Read between two equal counts, so it is the epoch of this view of the log.
            let epoch = self.epochs.read().newest();
            if self.is_truncated_since(truncations) {
                continue;
            }
            let segment = Arc::clone(self.segments.read().floor(offset));
            match self.open_at(&segment, offset) {
                Ok((_, cursor)) => {
                    self.check_not_below_start(offset)?;
                    let guessed = Some(offset).filter(|_| cursor.position() > Position::ZERO);
                    return Ok(Place {
                        segment,
                        cursor,
                        truncations,
                        epoch,
                        guessed,
                    });
                }
                Err(error) => {
                    let truncated = self.is_truncated_since(truncations);
                    self.doubt(error, truncated || segment.is_gone())?;
                }
            }
        }
    }

    /// As [`Self::locate`], if what was read in this epoch is still the same.
    #[cold]
    fn locate_again(&self, offset: Offset, epoch: Epoch) -> Result<Place> {
        loop {
            let mut place = self.locate(offset)?;
            place.epoch = self.check_epoch(offset, epoch)?;
            // A truncation in between may have cut off the checked place.
            if !self.is_truncated_since(place.truncations) {
                return Ok(place);
            }
        }
    }

    pub(super) fn read_one(&self, offset: Offset) -> Result<Option<LogRecord>> {
        self.life.can_read()?;
        loop {
            let truncations = self.truncation_count();
            self.check_readable(offset)?;
            let found = self.look_for(offset)?;
            if found.is_none() {
                // A record truncated (and its offset assigned again) or deleted is no gap.
                if self.is_truncated_since(truncations) {
                    continue;
                }
                self.check_readable(offset)?;
            }
            return Ok(found);
        }
    }

    fn check_readable(&self, offset: Offset) -> Result<()> {
        if offset < self.start_offset() || offset >= self.high_watermark() {
            return Err(self.out_of_range(offset));
        }
        Ok(())
    }

    fn look_for(&self, offset: Offset) -> Result<Option<LogRecord>> {
        let found = self.read_directly(offset)?;
        if found.is_some() {
            return Ok(found);
        }
        let mut place = self.locate(offset)?;
        while let Some(raw) = place.next(self, offset, Offset::MAX)? {
            if raw.header.next_offset() <= offset {
                continue;
            }
            // In a gap that compaction left, or in a batch without records.
            if raw.header.base_offset > offset
                || raw.header.record_count == 0
                || raw.header.is_control()
            {
                return Ok(None);
            }
            let mut records = OwnedRecords::new(self.decode(raw, &place.segment)?);
            records.skip_to(offset);
            return Ok(records.next().filter(|record| record.offset == offset));
        }
        Ok(None)
    }

    /// Reads once, if the index leads to the batch or shortly before it. After `None` for any
    /// reason the slow path finds the record, or reports what is wrong.
    fn read_directly(&self, offset: Offset) -> Result<Option<LogRecord>> {
        let (disk, files) = (&self.host.disk, &self.host.files);
        let truncations = self.truncation_count();
        let segment = Arc::clone(self.segments.read().floor(offset));
        let Some((read_start, bytes)) = segment
            .direct_position(offset, disk, files)
            .unwrap_or_default()
        else {
            return Ok(None);
        };
        let Ok(file) = segment.file(disk, files) else {
            return Ok(None);
        };
        let cursor = BatchCursor::at(read_start).reading(bytes);
        let mut cursor = cursor.with_memory(PAGE.take());
        let found = cursor.find(&file, segment.end(), offset);
        let memory = cursor.into_memory();
        // A large one is freed: the thread may never read another such batch.
        if memory.len() <= PAGE_BYTES_MAX {
            PAGE.set(memory);
        }
        let Ok(Some(raw)) = found else {
            return Ok(None);
        };
        let header = &raw.header;
        let held = (header.base_offset..header.next_offset()).contains(&offset);
        // Only the simple case: a record of an uncompressed data batch that readers may see, in
        // bytes that were not cut.
        if !held
            || header.next_offset() > self.high_watermark()
            || header.is_control()
            || header.compression() != Compression::None
            || self.is_truncated_since(truncations)
        {
            return Ok(None);
        }
        // Copied, so that the memory can be reused.
        let found = record_at(&raw.bytes, header, offset).map(|found| found.map(LogRecord::detach));
        let corrupt = |reason| Error::corrupt(&segment.log_path(), raw.position.0, reason);
        found.map_err(corrupt)
    }
}
