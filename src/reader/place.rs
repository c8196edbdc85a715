//! Where a reader is, and how it gets to the next batch from there.
//!
//! Knows nothing about records. `reader/mod.rs` looks places up, and has the numbered rules.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::segment::{BatchCursor, RawBatch, Segment, Stop};
use crate::types::{Epoch, Offset, Position};

use crate::host::CountedReads;
use crate::log::{Shared, fits};

/// Where the next batch is read from.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) segment: Arc<Segment>,
    pub(super) cursor: BatchCursor,
    pub(super) truncations: u64,
    /// The newest epoch at that time: the records read until then are the ones below the place.
    pub(super) epoch: Epoch,
    /// The place comes from an index, for this offset, and no batch was read from it yet.
    pub(super) guessed: Option<Offset>,
}

impl Place {
    /// The next batch below the high watermark and another end, from this segment or a later one.
    #[inline]
    pub(super) fn next(
        &mut self,
        shared: &Shared,
        position: Offset,
        end_offset: Offset,
    ) -> Result<Option<RawBatch>> {
        loop {
            shared.life.can_read()?;
            // Before anything is read: the cursor may hold bytes from before the truncation (I2).
            if shared.is_truncated_since(self.truncations) {
                *self = shared.locate_again(position, self.epoch)?;
            }
            let high_watermark = shared.high_watermark().min(end_offset);
            if position >= high_watermark {
                if position >= shared.high_watermark() && shared.follow()? {
                    continue;
                }
                shared.check_not_past_end(position)?;
                return Ok(None);
            }
            // Read after the high watermark: an append publishes the segment's end first, so what
            // the high watermark covers is below this end, too.
            let end = self.segment.end();
            let before = self.cursor.position();
            let (file, tally) = (shared.host.segment_file(&self.segment), &shared.tally);
            match self.cursor.next(&CountedReads { file, tally }, end) {
                Ok(Some(raw)) => {
                    // Read from bytes that may have been cut during the read: it does not count.
                    if shared.is_truncated_since(self.truncations) {
                        continue;
                    }
                    // The segment's end is published before the log's, and under `Always` readers
                    // see only what is flushed: the batch is read again later.
                    if raw.header.next_offset() > high_watermark {
                        self.cursor.seek(before, raw.header.base_offset);
                        return Ok(None);
                    }
                    if self.guessed.take().is_none_or(|wanted| fits(&raw, wanted)) {
                        if raw.header.leader_epoch > self.epoch {
                            self.meet_epoch(shared, position, raw.header.leader_epoch)?;
                            if shared.is_truncated_since(self.truncations) {
                                continue;
                            }
                        }
                        return Ok(Some(raw));
                    }
                    self.start_over(shared, position)?;
                }
                Ok(None) => {
                    if !self.go_on(shared, position)? {
                        return Ok(None);
                    }
                }
                Err(stop) => self.stopped(shared, position, stop, before)?,
            }
        }
    }

    /// Notes an epoch that began since the place was found, in a log that another process writes:
    /// the end may have moved back meanwhile, and this batch may not be the one that was here.
    ///
    /// The epoch that is noted is the log's, never the batch's: no checksum covers that one.
    #[cold]
    fn meet_epoch(&mut self, shared: &Shared, position: Offset, epoch: Epoch) -> Result<()> {
        if epoch > shared.epochs.read().newest() {
            shared.follow()?;
        }
        self.epoch = shared.check_epoch(position, self.epoch)?;
        Ok(())
    }

    /// Moves to the segment after this one; false if it does not exist yet.
    fn go_on(&mut self, shared: &Shared, position: Offset) -> Result<bool> {
        let next = {
            let segments = shared.segments.read();
            segments.after(self.segment.base_offset()).cloned()
        };
        let gone = self.segment.is_gone();
        if next.is_none() && !gone {
            // Half-way through a truncation the end is not where it will be.
            return Ok(shared.is_truncated_since(self.truncations));
        }
        // The end was read before the roll and may be too low.
        if self.cursor.position() < self.segment.end() {
            return Ok(true);
        }
        let Some(next) = next.filter(|_| !gone) else {
            // Segments were deleted, merged or replaced meanwhile.
            *self = shared.locate_again(position.max(self.cursor.floor()), self.epoch)?;
            return Ok(true);
        };
        // No lock is held here, and the next segment's file may be one too many.
        shared.host.files.make_room();
        if let Err(error) = next.file(&shared.host.disk, &shared.host.files) {
            shared.doubt(error, next.is_gone())?;
            return Ok(true);
        }
        self.cursor.enter(next.start(&shared.host.disk));
        self.segment = next;
        Ok(true)
    }

    /// Reads the segment from its start, because its index pointed to a wrong place (I3).
    #[cold]
    fn start_over(&mut self, shared: &Shared, position: Offset) -> Result<()> {
        let (disk, files) = (&shared.host.disk, &shared.host.files);
        // The index of a segment that was deleted or replaced is not used any more.
        if !self.segment.is_gone()
            && let Err(error) = self.segment.rebuild_index(disk, files)
        {
            return self.look_again(shared, position, error);
        }
        self.cursor.seek(Position::ZERO, self.segment.base_offset());
        Ok(())
    }

    /// Handles bytes that are not a valid batch: a wrong index (I3), a replaced file, or damage.
    #[cold]
    fn stopped(
        &mut self,
        shared: &Shared,
        position: Offset,
        stop: Stop,
        at: Position,
    ) -> Result<()> {
        let path = self.segment.log_path();
        let error = match stop {
            Stop::Corrupt(_) if self.guessed.take().is_some() => {
                return self.start_over(shared, position);
            }
            Stop::Corrupt(reason) => Error::corrupt(&path, at.0, reason),
            // Also if it was deleted or merged, and its file closed since.
            Stop::Io(error) => Error::io(&path, "read", error),
        };
        self.look_again(shared, position, error)
    }

    /// Begins again at an offset, if what was read from here was replaced or cut; otherwise the
    /// error is returned.
    #[cold]
    fn look_again(&mut self, shared: &Shared, position: Offset, error: Error) -> Result<()> {
        let replaced = self.segment.is_gone() || shared.is_truncated_since(self.truncations);
        shared.doubt(error, replaced)?;
        *self = shared.locate_again(position, self.epoch)?;
        Ok(())
    }
}
