//! Whether a log contains records without keys, which compaction drops.
//!
//! Knows nothing about compaction.
//!
//! 1. The digest of a sealed segment says so. If not (it is older, or the batches are compressed),
//!    the segment is read once, and its digest says it from then on.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::Keys;
use crate::segment::Segment;
use crate::types::Offset;

use super::shared::{Log, Shared};

impl Log {
    pub(crate) fn lacks_keys(&self, from: Offset) -> Result<bool> {
        self.here()?.lacks_keys(from)
    }
}

impl Shared {
    pub(crate) fn check_keys(&self) -> Result<()> {
        if self.lacks_keys(0)? {
            return Err(Error::InvalidConfig {
                name: "cleanup.policy".to_owned(),
                value: "compact".to_owned(),
                expected: "records with keys: compaction would drop those without. Ask for that \
                           explicitly with Log::compact_dropping_keyless"
                    .to_owned(),
            });
        }
        Ok(())
    }

    /// Whether a record at or above `from` has no key.
    pub(super) fn lacks_keys(&self, from: Offset) -> Result<bool> {
        let end = self.end_offset();
        self.look(|view| {
            let last = view.segments.len().saturating_sub(1);
            for (at, segment) in view.segments.iter().enumerate() {
                if at < last && segment.next_offset() <= from {
                    continue;
                }
                let digest = segment.digest_summary(&self.host.disk);
                // A digest of an earlier state says nothing about what was appended since.
                let digest = digest.filter(|digest| digest.length == segment.end());
                let keys = match digest.map_or(Keys::Unknown, |digest| digest.keys) {
                    Keys::Unknown => self.look_for_keys(segment, from..end, at < last)?,
                    known => known,
                };
                if keys == Keys::Missing {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    fn look_for_keys(
        &self,
        segment: &Arc<Segment>,
        offsets: std::ops::Range<Offset>,
        sealed: bool,
    ) -> Result<Keys> {
        let base = segment.base_offset();
        // A sealed segment is read from its start: its digest can then record the answer.
        let from = if sealed {
            base
        } else {
            offsets.start.max(base)
        };
        let found = self.find_below(segment, from..offsets.end, |shared, raw| {
            shared.life.can_read()?;
            let first = raw.header.base_offset;
            if raw.header.is_control() || raw.header.next_offset() <= offsets.start && !sealed {
                return Ok(None);
            }
            let batch = shared.decode(raw, segment)?;
            debug_assert_eq!(batch.base_offset(), first);
            let lacks = batch.records().any(|record| record.key().is_none());
            Ok(lacks.then_some(()))
        })?;
        let keys = match found {
            Some(()) => Keys::Missing,
            None => Keys::Everywhere,
        };
        if sealed {
            self.note_keys(segment, keys);
        }
        Ok(keys)
    }

    /// Writes a hint (I1): without it the segment is read again next time.
    fn note_keys(&self, segment: &Arc<Segment>, keys: Keys) {
        // So that no truncation or swap changes the segment meanwhile.
        let Ok(_turn) = self.take_turn() else {
            return;
        };
        if segment.is_gone() {
            return;
        }
        let digest = segment.digest(&self.host.disk);
        let digest = digest.filter(|digest| digest.summary.length == segment.end());
        if let Some(mut digest) = digest {
            digest.summary.keys = keys;
            drop(segment.write_digest(&self.host.disk, &digest));
        }
    }
}
