//! What Kafka keeps about producers beside a log, derived from the log: the state of each producer
//! at its end, and the aborted transactions of each segment.
//!
//! Knows nothing about files: a closing root writes them (`broker/rest/producers.rs`).

use std::ops::Range;
use std::path::Path;

use crate::dir::remove_if_present;
use crate::disk::{Disk, EntryKind};
use crate::error::{IoContext, Result};
use crate::format::txn::{AbortedTxn, ProducerState};
use crate::format::{FileKind, FileName, Stage};
use crate::types::Offset;

use super::compact::Survey;
use super::{Log, Shared};

/// What one scan of a closed log found.
#[derive(Debug)]
pub(crate) struct Producers {
    survey: Survey,
    /// The offsets of each segment, up to the next one.
    segments: Vec<Range<Offset>>,
    start: Offset,
}

impl Log {
    /// Scans all batches for the state of producers.
    pub(crate) fn producers(&self) -> Result<Producers> {
        self.shared.producers()
    }
}

impl Shared {
    fn producers(&self) -> Result<Producers> {
        let segments: Vec<_> = self.segments.read().iter().cloned().collect();
        let mut survey = Survey::default();
        // Not by `survey`, which gives up while the root is closing: that is when this is called.
        for segment in &segments {
            self.find_in(segment, segment.base_offset(), |shared, raw| {
                shared.note(raw, segment, &mut survey)?;
                Ok(None::<()>)
            })?;
        }
        let bases = segments.iter().map(|segment| segment.base_offset());
        let nexts = bases.clone().skip(1).chain([Offset::MAX]);
        Ok(Producers {
            survey,
            segments: bases.zip(nexts).map(|(base, next)| base..next).collect(),
            start: self.start_offset(),
        })
    }
}

impl Producers {
    /// The state of every producer at the end of the log; `older` is an earlier snapshot.
    pub(crate) fn states(&self, older: &[ProducerState]) -> Vec<ProducerState> {
        self.survey.states(older, self.start)
    }

    /// The base offsets of the segments.
    pub(crate) fn segments(&self) -> impl Iterator<Item = Offset> {
        self.segments.iter().map(|segment| segment.start)
    }

    /// What the `.txnindex` of a segment must hold, given that it holds `known`.
    pub(crate) fn index_of(&self, base: Offset, known: &[AbortedTxn]) -> Vec<AbortedTxn> {
        let segment = self.segments.iter().find(|segment| segment.start == base);
        segment.map_or_else(Vec::new, |segment| self.survey.index_of(segment, known))
    }
}

/// Removes, durably, the snapshots of producers above the new end of a log: they cover batches that
/// are gone, and would be believed once the log has grown to their offset again.
pub(super) fn remove_snapshots_above(disk: &Disk, dir: &Path, end: Offset) -> Result<()> {
    let mut removed = false;
    for entry in disk.list(dir).at(dir, "list")? {
        if let FileName::Segment {
            base,
            kind: FileKind::Snapshot,
            stage: Stage::Live,
        } = FileName::parse(&entry.name)
            && base > end
            && entry.kind == EntryKind::File
        {
            removed |= remove_if_present(disk, &dir.join(&entry.name))?;
        }
    }
    if removed {
        disk.sync_dir(dir).at(dir, "sync")?;
    }
    Ok(())
}
