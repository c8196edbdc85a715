//! Walking the batches of one segment.
//!
//! Knows nothing about what is looked for. What an index says is a guess until a batch there is
//! accepted: if it is wrong, the index is rebuilt and the walk starts over.

use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::segment::{RawBatch, Segment, Stop};
use crate::types::{Offset, Position};

use super::super::Shared;
use super::fits;

impl Shared {
    /// Walks the batches of one segment from an offset on, up to the high watermark, until a
    /// closure finds what it is looking for. A truncation may come in between: callers run in
    /// [`Self::look`].
    pub(crate) fn find_in<T>(
        &self,
        segment: &Arc<Segment>,
        from: Offset,
        look: impl FnMut(&Self, RawBatch) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        self.find_below(segment, from..self.high_watermark(), look)
    }

    /// The same, up to an offset that the caller names.
    pub(crate) fn find_below<T>(
        &self,
        segment: &Arc<Segment>,
        offsets: Range<Offset>,
        mut look: impl FnMut(&Self, RawBatch) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let (file, mut cursor) = self.open_at(segment, offsets.start)?;
        // Until a batch there is accepted, the position is only what the index says (I3).
        let mut guessed = cursor.position() > Position::ZERO;
        loop {
            let at = cursor.position();
            match cursor.next(&file, segment.end()) {
                Ok(None) => return Ok(None),
                Ok(Some(raw)) if raw.header.next_offset() > offsets.end => {
                    return Ok(None);
                }
                Ok(Some(raw)) if guessed && !fits(&raw, offsets.start) => {
                    guessed = false;
                    segment.rebuild_index(&self.host.disk, &self.host.files)?;
                    cursor.seek(Position::ZERO, segment.base_offset());
                }
                Ok(Some(raw)) => {
                    guessed = false;
                    if let Some(found) = look(self, raw)? {
                        return Ok(Some(found));
                    }
                }
                Err(Stop::Corrupt(_)) if std::mem::take(&mut guessed) => {
                    segment.rebuild_index(&self.host.disk, &self.host.files)?;
                    cursor.seek(Position::ZERO, segment.base_offset());
                }
                Err(Stop::Corrupt(reason)) => {
                    return Err(Error::corrupt(&segment.log_path(), at.0, reason));
                }
                Err(Stop::Io(error)) => return Err(Error::io(&segment.log_path(), "read", error)),
            }
        }
    }

    /// Calls a closure for every batch of a segment from an offset on, until it returns false.
    pub(crate) fn for_each_batch(
        &self,
        segment: &Arc<Segment>,
        from: Offset,
        mut look: impl FnMut(&Self, RawBatch) -> Result<bool>,
    ) -> Result<()> {
        let stopped = self.find_in(segment, from, |shared, raw| {
            shared.life.can_read()?;
            if look(shared, raw)? {
                Ok(None)
            } else {
                Ok(Some(()))
            }
        });
        stopped.map(drop)
    }
}
