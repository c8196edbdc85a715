//! Decoding batches, and walking those of one segment.
//!
//! Knows nothing about readers, and what is looked for. What an index says is a guess until a batch
//! there is accepted: if it is wrong, the index is rebuilt and the walk starts over.

use std::ops::Range;
use std::sync::Arc;

use crate::disk::File;
use crate::error::{Error, Result};
use crate::format::{DecodeError, DirName, RecordBatch};
use crate::segment::{BatchCursor, RawBatch, Segment, Stop};
use crate::types::{Offset, Position, TopicPartition, to_usize};

use super::shared::Shared;

#[cold]
fn undecoded(error: DecodeError, segment: &Segment, at: Position) -> Error {
    match error {
        DecodeError::Corrupt(reason) => Error::corrupt(&segment.log_path(), at.0, reason),
        DecodeError::Unsupported(what) => Error::Unsupported {
            what: what.to_owned(),
        },
    }
}

/// Whether a batch that an index led to can be the first to examine: all before it ends at or below
/// `wanted`.
pub(crate) fn fits(raw: &RawBatch, wanted: Offset) -> bool {
    raw.header.base_offset <= wanted
}

impl Shared {
    /// The partition that a broker's log is, by the name of its directory.
    pub(crate) fn topic_partition(&self) -> Option<TopicPartition> {
        if !self.managed {
            return None;
        }
        let name = self.dir.file_name()?.to_str()?;
        match DirName::parse(name) {
            DirName::Partition { topic, partition } => Some(TopicPartition {
                topic: Arc::from(topic),
                partition,
            }),
            _ => None,
        }
    }

    #[cold]
    pub(crate) fn out_of_range(&self, requested: Offset) -> Error {
        let (start, end) = (self.start_offset(), self.end_offset());
        Error::OffsetOutOfRange {
            partition: self.topic_partition(),
            requested,
            start,
            end,
        }
    }

    pub(crate) fn open_at(
        &self,
        segment: &Arc<Segment>,
        offset: Offset,
    ) -> Result<(Arc<File>, BatchCursor)> {
        // Opened first: what retention unlinks from here on can still be read.
        let file = segment.file(&self.host.disk, &self.host.files)?;
        let read_start = segment.read_start(offset, &self.host.disk, &self.host.files)?;
        Ok((file, BatchCursor::at(read_start)))
    }

    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "as a call, the batch goes through memory"
    )]
    pub(crate) fn decode(&self, raw: RawBatch, segment: &Segment) -> Result<RecordBatch> {
        let budget = to_usize(self.hot.max_decompressed_batch_bytes());
        match RecordBatch::decode(raw.bytes, raw.header, budget) {
            Ok(batch) => Ok(batch),
            Err(error) => Err(undecoded(error, segment, raw.position)),
        }
    }

    /// Walks the batches of a segment, up to the high watermark, until `look` finds something.
    /// Callers run in [`Self::look`], for a truncation may come in between.
    pub(crate) fn find_in<T>(
        &self,
        segment: &Arc<Segment>,
        from: Offset,
        look: impl FnMut(&Self, RawBatch) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        self.find_below(segment, from..self.high_watermark(), look)
    }

    /// As [`Self::find_in`], up to the end of `offsets`.
    pub(crate) fn find_below<T>(
        &self,
        segment: &Arc<Segment>,
        offsets: Range<Offset>,
        mut look: impl FnMut(&Self, RawBatch) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let (file, mut cursor) = self.open_at(segment, offsets.start)?;
        // Until a batch there is accepted, the position is only what the index says.
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

    /// Stops when the closure returns false.
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
