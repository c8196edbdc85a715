//! What a closed log holds, without opening it.
//!
//! Knows nothing about batches: it uses the mark of a closed log, and the names and lengths of its
//! files.
//!
//! 1. It answers only if opening would find the same: `None` for anything that a clean close does
//!    not leave.
//! 2. It changes nothing, and creates and opens no file.

use std::collections::BTreeMap;
use std::path::Path;

use crate::disk::EntryKind;
use crate::error::{IoContext, Result};
use crate::format::{FileKind, FileName, MarkKey, Stage, file_name};
use crate::types::Offset;

use super::Tools;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AtRest {
    pub(crate) start: Offset,
    /// Everything below it is synced.
    pub(crate) end: Offset,
    pub(crate) segments: usize,
    pub(crate) size_bytes: u64,
}

impl AtRest {
    /// `None` if the log must be opened to find out.
    pub(crate) fn look(tools: &Tools<'_>, dir: &Path, key: MarkKey) -> Result<Option<Self>> {
        if tools.marks.are_distrusted() {
            return Ok(None);
        }
        // The slots may be assigned before the mark is written.
        let mark = tools.marks.find(key).filter(|mark| mark.sequence > 0);
        let mut lengths = BTreeMap::new();
        for entry in tools.disk.list(dir).at(dir, "list")? {
            match FileName::parse(&entry.name) {
                FileName::Foreign if entry.name != file_name::TRUNCATE => {}
                _ if entry.kind != EntryKind::File => return Ok(None),
                FileName::Segment {
                    base,
                    kind: FileKind::Log,
                    stage: Stage::Live,
                } => {
                    let path = dir.join(&entry.name);
                    let length = tools.disk.file_len(&path).at(&path, "access")?;
                    lengths.insert(base, length);
                }
                FileName::Segment {
                    stage: Stage::Live, ..
                }
                | FileName::Quarantine { .. }
                | FileName::LeaderEpochs
                | FileName::PartitionMetadata => {}
                _ => return Ok(None),
            }
        }
        // Only a clean close, or none at all, leaves exactly these names; the mark must fit them.
        let last = lengths.last_key_value().map(|(base, len)| (*base, *len));
        let (start, end) = match mark {
            None if last.is_none() => (0, 0),
            Some(mark) if mark.closed && last == Some((mark.segment_base, mark.position.0)) => {
                (mark.log_start_offset, mark.flushed_offset)
            }
            _ => return Ok(None),
        };
        let first = lengths.first_key_value().map_or(0, |(base, _)| *base);
        Ok(Some(Self {
            start: start.max(first).min(end),
            end,
            segments: lengths.len(),
            size_bytes: lengths
                .values()
                .fold(0, |sum, len| sum.saturating_add(*len)),
        }))
    }
}
