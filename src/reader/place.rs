//! Where a reader is, and how it gets to the next batch.
//!
//! Knows nothing about records. `reader/mod.rs` looks places up, and has the numbered rules.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::segment::{BatchCursor, RawBatch, Segment, Stop};
use crate::types::{Epoch, Offset, Position};

use crate::host::CountedReads;
use crate::log::{Shared, fits};

#[derive(Debug)]
pub(super) struct Place {
    pub(super) segment: Arc<Segment>,
    pub(super) cursor: BatchCursor,
    /// How many there were when the place was found.
    pub(super) truncations: u64,
    /// The newest epoch then: the records that were read before are those below the place.
    pub(super) epoch: Epoch,
    /// An index led here for this offset, and no batch was read yet.
    pub(super) guessed: Option<Offset>,
}

impl Place {
    #[inline]
    pub(super) fn next(
        &mut self,
        shared: &Shared,
        position: Offset,
        end_offset: Offset,
    ) -> Result<Option<RawBatch>> {
        loop {
            shared.life.can_read()?;
            // Before any read: the cursor may hold bytes from before the truncation (I2).
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
            // After the high watermark: an append publishes the segment's end first, so this end
            // covers it.
            let end = self.segment.end();
            let before = self.cursor.position();
            let (file, tally) = (shared.host.segment_file(&self.segment), &shared.tally);
            match self.cursor.next(&CountedReads { file, tally }, end) {
                Ok(Some(raw)) => {
                    // The bytes may have been cut during the read.
                    if shared.is_truncated_since(self.truncations) {
                        continue;
                    }
                    // The segment's end is published before the log's, and under `Always`
                    // readers see only what is flushed: the batch is read again later.
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
    /// the end may have moved back, and this batch may be another. The noted epoch is the log's: no
    /// checksum covers the batch's.
    #[cold]
    fn meet_epoch(&mut self, shared: &Shared, position: Offset, epoch: Epoch) -> Result<()> {
        if epoch > shared.epochs.read().newest() {
            shared.follow()?;
        }
        self.epoch = shared.check_epoch(position, self.epoch)?;
        Ok(())
    }

    /// Moves to the next segment; false if it does not exist yet.
    fn go_on(&mut self, shared: &Shared, position: Offset) -> Result<bool> {
        let next = {
            let segments = shared.segments.read();
            segments.after(self.segment.base_offset()).cloned()
        };
        let gone = self.segment.is_gone();
        if next.is_none() && !gone {
            // In the middle of a truncation the end is not where it will be.
            return Ok(shared.is_truncated_since(self.truncations));
        }
        // Read before the roll, the end may be too low.
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

    /// Reads the segment from its start: the index was wrong (I3).
    #[cold]
    fn start_over(&mut self, shared: &Shared, position: Offset) -> Result<()> {
        let (disk, files) = (&shared.host.disk, &shared.host.files);
        // That of a deleted or replaced segment is not used any more.
        if !self.segment.is_gone()
            && let Err(error) = self.segment.rebuild_index(disk, files)
        {
            return self.look_again(shared, position, error);
        }
        self.cursor.seek(Position::ZERO, self.segment.base_offset());
        Ok(())
    }

    /// After a failed read: a wrong index (I3), a replaced file, or damage.
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

    /// Returns the error, unless what was read here was replaced or cut.
    #[cold]
    fn look_again(&mut self, shared: &Shared, position: Offset, error: Error) -> Result<()> {
        let replaced = self.segment.is_gone() || shared.is_truncated_since(self.truncations);
        shared.doubt(error, replaced)?;
        *self = shared.locate_again(position, self.epoch)?;
        Ok(())
    }
}
