//! The segments that compaction writes, one after the other, under `.cleaned` names.
//!
//! Knows nothing about what is kept and what is dropped.
//!
//! 1. No output is larger than the limit, except one that holds a single batch.
//! 2. A finished output's batches, indexes and aborted transactions are synced: once the mark is
//!    past it, opening no longer checks whether a power cut tore them.
//! 3. An output has the modification time of its newest source: retention falls back on it.

use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::File;
use crate::error::{Error, IoContext, Result};
use crate::format::txn::AbortedTxn;
use crate::format::{BatchHeader, DigestBuilder, FileKind, FileName, Stage};
use crate::log::Shared;
use crate::segment::{IndexProgress, Indexed, Segment, SparseIndex, relative};
use crate::types::{Offset, Position, Timestamp};

/// In the order of renaming. Every output has the last kind, which therefore completes the
/// renaming.
pub(super) const KINDS: [FileKind; 4] = [
    FileKind::Log,
    FileKind::TxnIndex,
    FileKind::Index,
    FileKind::TimeIndex,
];

const BUFFER_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Output {
    pub(super) base_offset: Offset,
    pub(super) end: Position,
    pub(super) next_offset: Offset,
    pub(super) file: Arc<File>,
    pub(super) index: SparseIndex,
    pub(super) newest: Option<Timestamp>,
    pub(super) digest: DigestBuilder,
    pub(super) index_crcs: (u32, u32),
}

pub(super) struct Outputs<'a> {
    log: &'a Shared,
    first_base: Offset,
    limit_bytes: u64,
    interval_bytes: u64,
    modified: Timestamp,
    aborted: Vec<AbortedTxn>,
    done: Vec<Output>,
    writing: Option<Writing>,
    buffer: Vec<u8>,
}

struct Writing {
    base_offset: Offset,
    path: PathBuf,
    file: File,
    written: Position,
    next_offset: Offset,
    index: SparseIndex,
    progress: IndexProgress,
    digest: DigestBuilder,
}

impl<'a> Outputs<'a> {
    pub(super) fn new(
        log: &'a Shared,
        sources: &[Arc<Segment>],
        aborted: Vec<AbortedTxn>,
    ) -> Result<Self> {
        let config = log.config();
        let mut outputs = Self {
            log,
            first_base: sources.first().map_or(0, |source| source.base_offset()),
            limit_bytes: config.segment_bytes,
            interval_bytes: config.index_interval_bytes,
            modified: Timestamp::NONE,
            aborted,
            done: Vec::new(),
            writing: None,
            buffer: Vec::new(),
        };
        for source in sources {
            // A source may be larger than the present setting.
            outputs.limit_bytes = outputs.limit_bytes.max(source.end().0);
            outputs.modified = outputs.modified.max(source.modified(&log.host.disk)?);
        }
        Ok(outputs)
    }

    pub(super) fn put(&mut self, header: &BatchHeader, bytes: &[u8]) -> Result<()> {
        self.room_for(bytes.len(), header.base_offset)?;
        if let Some(writing) = &mut self.writing {
            let position = writing.written.plus(self.buffer.len());
            self.buffer.extend_from_slice(bytes);
            writing.note(header, position, self.interval_bytes)?;
            writing.digest.push(header, bytes);
        }
        Ok(())
    }

    /// Begins another output if a batch would exceed the limit (I1).
    fn room_for(&mut self, bytes: usize, base_offset: Offset) -> Result<()> {
        if let Some(writing) = &mut self.writing {
            let end = writing.written.plus(self.buffer.len());
            if end == Position::ZERO || end.plus(bytes).0 <= self.limit_bytes {
                if self.buffer.len() >= BUFFER_BYTES {
                    writing.write_out(&mut self.buffer)?;
                }
                return Ok(());
            }
            self.finish_writing()?;
        }
        // The first output begins where its sources did, even without a batch there: the swap
        // replaces its span.
        let base_offset = if self.done.is_empty() {
            self.first_base
        } else {
            base_offset
        };
        self.writing = Some(Writing::begin(self.log, base_offset)?);
        Ok(())
    }

    fn finish_writing(&mut self) -> Result<()> {
        if let Some(writing) = &mut self.writing {
            writing.write_out(&mut self.buffer)?;
        }
        // Stays in `writing` until it is whole: after an error its files are then discarded.
        let Some(writing) = &self.writing else {
            return Ok(());
        };
        writing.sync(self.log, self.modified)?;
        if let Some(writing) = self.writing.take() {
            let base_offset = writing.base_offset;
            let output = writing.into_output();
            self.done.push(output);
            self.write_hints(base_offset)?;
        }
        Ok(())
    }

    fn write_hints(&self, base_offset: Offset) -> Result<()> {
        let Some(output) = self.done.last() else {
            return Ok(());
        };
        let (offsets, times) = output.index.encode();
        self.write_file(base_offset, FileKind::Index, &offsets)?;
        self.write_file(base_offset, FileKind::TimeIndex, &times)
    }

    fn write_file(&self, base_offset: Offset, kind: FileKind, bytes: &[u8]) -> Result<()> {
        let path = self.log.cleaned_path(base_offset, kind);
        let file = self.log.host.disk.create(&path).at(&path, "create")?;
        file.write_at(0, bytes).at(&path, "write")?;
        file.sync_data().at(&path, "sync")
    }

    pub(super) fn finish(&mut self) -> Result<Vec<Output>> {
        self.finish_writing()?;
        self.write_aborted()?;
        Ok(std::mem::take(&mut self.done))
    }

    /// Writes aborted transactions, each beside the output with its marker, as Kafka does.
    fn write_aborted(&self) -> Result<()> {
        let mut nexts = self.done.iter().skip(1).map(|output| output.base_offset);
        for output in &self.done {
            let next = nexts.next();
            let mut bytes = Vec::new();
            let inside = |txn: &&AbortedTxn| {
                txn.last_offset >= output.base_offset
                    && next.is_none_or(|next| txn.last_offset < next)
            };
            for txn in self.aborted.iter().filter(inside) {
                txn.encode(&mut bytes);
            }
            if !bytes.is_empty() {
                self.write_file(output.base_offset, FileKind::TxnIndex, &bytes)?;
            }
        }
        Ok(())
    }

    pub(super) fn discard(self) {
        let writing = self.writing.iter().map(|writing| writing.base_offset);
        let done = self.done.iter().map(|output| output.base_offset);
        let bases: Vec<_> = done.chain(writing).collect();
        self.log.drop_outputs(&bases);
    }
}

impl Writing {
    fn begin(log: &Shared, base_offset: Offset) -> Result<Self> {
        // An abandoned round may have left such files.
        log.drop_outputs(&[base_offset]);
        let path = log.cleaned_path(base_offset, FileKind::Log);
        let file = log.host.disk.create(&path).at(&path, "create")?;
        Ok(Self {
            base_offset,
            path,
            file,
            written: Position::ZERO,
            next_offset: base_offset,
            index: SparseIndex::default(),
            progress: IndexProgress::default(),
            digest: DigestBuilder::new(base_offset),
        })
    }

    fn note(
        &mut self,
        header: &BatchHeader,
        position: Position,
        interval_bytes: u64,
    ) -> Result<()> {
        let last = header.next_offset().saturating_sub(1);
        let too_far = || Error::InvalidRecord {
            reason: "an offset is too far from its segment",
        };
        let indexed = Indexed {
            relative_last_offset: relative(self.base_offset, last).ok_or_else(too_far)?,
            position: u32::try_from(position.0).map_err(|_| too_far())?,
            size: u32::try_from(header.size).map_err(|_| too_far())?,
            max_timestamp: header.max_timestamp,
        };
        if self.progress.note(indexed, interval_bytes) {
            self.progress.entries(&mut self.index, indexed);
        }
        self.next_offset = header.next_offset();
        Ok(())
    }

    fn write_out(&mut self, buffer: &mut Vec<u8>) -> Result<()> {
        self.file
            .write_at(self.written.0, buffer)
            .at(&self.path, "write")?;
        self.written = self.written.plus(buffer.len());
        buffer.clear();
        Ok(())
    }

    fn sync(&self, log: &Shared, modified: Timestamp) -> Result<()> {
        // Before the time, which a later write would set to the present.
        self.file.sync_data().at(&self.path, "sync")?;
        log.host
            .disk
            .set_modified(&self.path, modified)
            .at(&self.path, "set the time of")
    }

    fn into_output(mut self) -> Output {
        self.progress.final_entry(&mut self.index);
        Output {
            base_offset: self.base_offset,
            end: self.written,
            next_offset: self.next_offset,
            file: Arc::new(self.file),
            newest: self.progress.newest().map(|newest| newest.timestamp),
            index_crcs: Segment::index_crcs(&self.index),
            index: self.index,
            digest: self.digest,
        }
    }
}

impl Shared {
    pub(super) fn cleaned_path(&self, base: Offset, kind: FileKind) -> PathBuf {
        self.staged_path(base, kind, Stage::Cleaned)
    }

    pub(super) fn staged_path(&self, base: Offset, kind: FileKind, stage: Stage) -> PathBuf {
        self.dir
            .join(FileName::Segment { base, kind, stage }.to_string())
    }

    pub(super) fn drop_outputs(&self, bases: &[Offset]) {
        for base in bases {
            for kind in KINDS {
                // The next opening removes what cannot be removed now.
                drop(self.host.disk.remove_file(&self.cleaned_path(*base, kind)));
            }
        }
    }
}
