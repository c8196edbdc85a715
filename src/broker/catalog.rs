//! The topics of a root on disk: `ottla.catalog`.
//!
//! Knows nothing about directories or logs. The file is a sequence of record batches v2 with
//! consecutive offsets from 0, leader epoch 0, no keys; the values are Kafka's metadata records.
//!
//! 1. One batch is one change: after a crash it is there or not.
//! 2. A change is acknowledged after the file was synced; then the catalog's mark (in
//!    `ottla.marks`) moves to its end. So a mismatch below the mark is damage, which is refused;
//!    above it is what a power cut left of an unacknowledged change, which is quarantined.
//! 3. A change is appended and the file never read again: the ten-thousandth topic costs what the
//!    first did. When more than half of the file no longer counts, the next change, once made,
//!    rewrites it: so its size is bounded, and each record is rewritten at most once for every
//!    record that went.
//! 4. After a failed sync it is not known what is on the disk: no more changes until the next
//!    opening.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::dir::copy_bytes_aside;
use crate::disk::{Access, Disk, File, SMALL_FILE_BYTES_MAX};
use crate::error::{Error, IoContext, Result};
use crate::format::metadata::MetadataRecord;
use crate::format::{
    BatchBuilder, BatchHeader, BatchOptions, Corruption, DecodeError, ENCODED_BYTES_MAX,
    HEADER_LEN, Mark, MarkKey, RecordBatch, check_crc, file_name, stamp,
};
use crate::host::Host;
use crate::log::{RootSigns, look_until_it_counts};
use crate::recovery::OpenEvent;
use crate::types::{Offset, Position, Record, to_u64, to_usize};

use super::state::CatalogState;

/// Few in tests, so that the proofs on the simulated disk meet it.
const DEAD_RECORDS_MIN: u64 = if cfg!(test) { 24 } else { 1024 };

#[derive(Debug)]
pub(super) struct Catalog {
    host: Arc<Host>,
    path: PathBuf,
    /// None in a root that is only read.
    file: Option<File>,
    end: Position,
    next_offset: Offset,
    state: CatalogState,
    mark: Mark,
    poison: Option<Arc<io::Error>>,
    /// With more dead than live records, and more than this, the file is rewritten.
    pub(super) dead_allowed: u64,
}

#[derive(Debug, Default)]
struct Scan {
    state: CatalogState,
    end: Position,
    next_offset: Offset,
    /// What is wrong after `end`.
    stopped: Option<Corruption>,
}

#[derive(Debug)]
pub(super) struct Salvage {
    pub(super) state: CatalogState,
    /// The position in bytes, and what is wrong there.
    pub(super) damaged: Option<(u64, Corruption)>,
    pub(super) bytes: Vec<u8>,
}

impl Catalog {
    pub(super) fn was_here(host: &Host) -> bool {
        host.marks.find(MarkKey::CATALOG).is_some()
    }

    /// Reads the catalog. [`Error::Corrupt`] when something acknowledged is damaged.
    pub(super) fn look(host: &Host, root: &Path) -> Result<CatalogState> {
        let salvage = Self::salvage(host, root)?;
        match salvage.damaged {
            None => Ok(salvage.state),
            Some((position, reason)) => {
                let path = root.join(file_name::CATALOG);
                Err(Error::corrupt(&path, position, reason))
            }
        }
    }

    /// As [`Self::look`], in a root with a writer; `None` when the catalog cannot be read.
    pub(super) fn look_again(host: &Host, root: &Path) -> Option<CatalogState> {
        let signs = || RootSigns::of(&host.disk, root);
        let looked = look_until_it_counts(&host.clock, signs, || Self::look_now(host, root));
        looked.ok().map(|(state, _)| state)
    }

    /// One attempt of [`Self::look_again`]: what the writer changes meanwhile is an error, too.
    pub(super) fn look_now(host: &Host, root: &Path) -> Result<CatalogState> {
        host.marks.look_again(&host.disk, MarkKey::CATALOG)?;
        Self::look(host, root)
    }

    /// Takes of a damaged catalog every whole change that makes sense after those before it.
    pub(super) fn salvage(host: &Host, root: &Path) -> Result<Salvage> {
        let (path, bytes) = read(&host.disk, root)?;
        let bytes = bytes.unwrap_or_default();
        let safe = last_mark(host).position;
        let (position, reason) = match Scan::of(&bytes, &path) {
            Ok(scan) if scan.end >= safe => {
                return Ok(Salvage {
                    state: scan.state,
                    damaged: None,
                    bytes,
                });
            }
            Ok(scan) => {
                let missing = Corruption::truncated(to_usize(safe.0), bytes.len());
                (scan.end.0, scan.stopped.unwrap_or(missing))
            }
            Err(Error::Corrupt {
                position, reason, ..
            }) => (position, reason),
            Err(error) => return Err(error),
        };
        Ok(Salvage {
            state: Scan::leniently(&bytes),
            damaged: Some((position, reason)),
            bytes,
        })
    }

    /// Rewrites the catalog, whatever was there.
    pub(super) fn rebuild(host: &Arc<Host>, root: &Path, state: CatalogState) -> Result<()> {
        let scan = Scan {
            state,
            ..Scan::default()
        };
        Self::new(host, root.join(file_name::CATALOG), None, scan).rewrite()?;
        host.marks.sync(host.clock.instant())
    }

    pub(super) fn open_read_only(host: &Arc<Host>, root: &Path) -> Result<Self> {
        let state = Self::look(host, root)?;
        let scan = Scan {
            state,
            ..Scan::default()
        };
        Ok(Self::new(host, root.join(file_name::CATALOG), None, scan))
    }

    /// Opens or makes the catalog, and says what a crash left. [`Error::Corrupt`] as for
    /// [`Self::look`]; nothing was changed.
    pub(super) fn open(host: &Arc<Host>, root: &Path) -> Result<(Self, Vec<OpenEvent>)> {
        let disk = &host.disk;
        let (path, bytes) = read(disk, root)?;
        let safe = last_mark(host).position;
        let existed = bytes.is_some();
        let bytes = bytes.unwrap_or_default();
        let scan = Scan::of(&bytes, &path)?;
        if scan.end < safe {
            let missing = Corruption::truncated(to_usize(safe.0), bytes.len());
            let reason = scan.stopped.unwrap_or(missing);
            return Err(Error::corrupt(&path, scan.end.0, reason));
        }
        let file = if existed {
            let file = disk.open(&path, Access::Write).at(&path, "open")?;
            file.with_ballast(root)
        } else {
            let file = disk.create(&path).at(&path, "create")?;
            disk.sync_dir(root).at(root, "sync")?;
            file.with_ballast(root)
        };
        let events = set_aside(disk, &path, &bytes, &scan)?;
        // So its first mark needs no space on a disk that is full by then.
        host.marks.place(MarkKey::CATALOG);
        let mut catalog = Self::new(host, path, Some(file), scan);
        catalog.write_again(&bytes, safe)?;
        if catalog.is_mostly_dead() {
            catalog.rewrite()?;
        }
        Ok((catalog, events))
    }

    fn new(host: &Arc<Host>, path: PathBuf, file: Option<File>, scan: Scan) -> Self {
        let Scan {
            state,
            end,
            next_offset,
            stopped: _,
        } = scan;
        let mark = last_mark(host);
        Self {
            host: Arc::clone(host),
            path,
            file,
            end,
            next_offset,
            state,
            mark,
            poison: None,
            dead_allowed: DEAD_RECORDS_MIN,
        }
    }

    pub(super) fn state(&self) -> &CatalogState {
        &self.state
    }

    /// Whether it is unknown what is on the disk (I4).
    pub(super) fn in_doubt(&self) -> bool {
        self.poison.is_some()
    }

    /// Makes all of the records or none durable.
    ///
    /// # Errors
    ///
    /// - [`Error::NoSpace`], [`Error::Io`]: nothing changed.
    /// - [`Error::Poisoned`]: the sync failed, now or earlier. Nothing changed here; the next
    ///   opening finds out whether the disk has it.
    pub(super) fn append(&mut self, records: Vec<MetadataRecord>) -> Result<()> {
        if let Some(cause) = &self.poison {
            return Err(Error::Poisoned {
                path: self.path.clone(),
                cause: Arc::clone(cause),
            });
        }
        let mut batch = Vec::new();
        let next_offset = self.encode(&records, self.next_offset, &mut batch)?;
        let file = self.file.as_ref().ok_or(Error::ReadOnly)?;
        if let Err(error) = file.write_at(self.end.0, &batch) {
            if let Err(cut) = file.set_len(self.end.0) {
                return Err(self.latch(cut));
            }
            return Err(Error::io(&self.path, "write", error));
        }
        if let Err(error) = file.sync_data() {
            return Err(self.latch(error));
        }
        self.end = self.end.plus(batch.len());
        self.next_offset = next_offset;
        for record in records {
            let applied = self.state.apply(record);
            applied.map_err(|what| self.malformed(what))?;
        }
        self.mark(self.end);
        self.rewrite_if_due();
        Ok(())
    }

    /// Rewrites the file if that is due (I3). The change that was just made stays durable whatever
    /// becomes of this.
    fn rewrite_if_due(&mut self) {
        if !self.is_mostly_dead() {
            return;
        }
        let before = self.host.disk.file_id(&self.path).ok();
        if self.rewrite().is_ok() {
            return;
        }
        if before.is_some() && self.host.disk.file_id(&self.path).ok() == before {
            // The old file is as good as before. On a full disk, not every change tries again.
            self.dead_allowed = self.dead_allowed.saturating_mul(2);
            self.mark(self.end);
        } else {
            // The next opening finds out which of the two files a crash left (I4).
            let unknown = io::Error::other("a smaller catalog could not be made durable");
            drop(self.latch(unknown));
        }
    }

    fn latch(&mut self, error: io::Error) -> Error {
        let cause = Arc::new(error);
        self.poison = Some(Arc::clone(&cause));
        Error::Poisoned {
            path: self.path.clone(),
            cause,
        }
    }

    fn malformed(&self, what: &'static str) -> Error {
        Error::corrupt(&self.path, self.end.0, Corruption::malformed(what))
    }

    /// Appends a batch to `out`; returns the offset after it.
    fn encode(
        &self,
        records: &[MetadataRecord],
        base_offset: Offset,
        out: &mut Vec<u8>,
    ) -> Result<Offset> {
        let start = out.len();
        let refused = |error| Error::refused(error, ENCODED_BYTES_MAX);
        let options = BatchOptions {
            now: self.host.clock.now(),
            ..BatchOptions::default()
        };
        let mut builder = BatchBuilder::new(out, options);
        let mut value = Vec::new();
        for record in records {
            value.clear();
            record.encode(&mut value);
            builder.push(&Record::new(&value)).map_err(refused)?;
        }
        let summary = builder.finish().map_err(refused)?;
        if let Some(batch) = out.get_mut(start..) {
            stamp(batch, base_offset, 0);
        }
        Ok(base_offset.saturating_add(u64::from(summary.count)))
    }

    /// Moves the mark (I2). It is a lower bound, so a failed write does no harm.
    fn mark(&mut self, end: Position) {
        self.mark.sequence = self.mark.sequence.saturating_add(1);
        self.mark.flushed_offset = self.next_offset;
        self.mark.position = end;
        let marks = &self.host.marks;
        drop(marks.write(marks.place(MarkKey::CATALOG), &self.mark));
    }

    /// Cuts off a torn end, writes again what is above the mark, and syncs: after a failed sync it
    /// may be in the page cache alone.
    fn write_again(&mut self, bytes: &[u8], safe: Position) -> Result<()> {
        let file = self.file.as_ref().ok_or(Error::ReadOnly)?;
        let whole = file.len().at(&self.path, "access")? == self.end.0;
        let above = bytes
            .get(to_usize(safe.0)..to_usize(self.end.0))
            .unwrap_or_default();
        if whole && above.is_empty() {
            return Ok(());
        }
        file.set_len(self.end.0).at(&self.path, "truncate")?;
        file.write_at(safe.0, above).at(&self.path, "write")?;
        file.sync_data().at(&self.path, "sync")?;
        self.mark(self.end);
        Ok(())
    }

    /// Whether the file must be rewritten (I3).
    fn is_mostly_dead(&self) -> bool {
        let live = to_u64(self.state.live_records());
        let dead = self.next_offset.saturating_sub(live);
        dead > live.max(self.dead_allowed)
    }

    /// Replaces all of it or nothing, after any crash. After an error the root must be opened
    /// again.
    pub(super) fn replace(&mut self, state: CatalogState) -> Result<()> {
        self.state = state;
        if self.file.is_none() {
            return Ok(());
        }
        self.rewrite()
    }

    fn rewrite(&mut self) -> Result<()> {
        let mut bytes = Vec::new();
        let mut next_offset = 0;
        for records in self.state.snapshot() {
            next_offset = self.encode(&records, next_offset, &mut bytes)?;
        }
        // The mark describes the old file: it must be gone before the new one is there.
        self.mark(Position::ZERO);
        self.host.marks.sync(self.host.clock.instant())?;
        self.host
            .disk
            .replace(&self.path, &bytes)
            .at(&self.path, "replace")?;
        let opened = self.host.disk.open(&self.path, Access::Write);
        let file = opened.at(&self.path, "open")?;
        self.file = Some(file.with_ballast(self.host.marks.home()));
        self.end = Position::ZERO.plus(bytes.len());
        self.next_offset = next_offset;
        self.mark(self.end);
        Ok(())
    }
}

fn read(disk: &Disk, root: &Path) -> Result<(PathBuf, Option<Vec<u8>>)> {
    let path = root.join(file_name::CATALOG);
    let bytes = disk
        .read_small(&path, SMALL_FILE_BYTES_MAX)
        .at(&path, "read")?;
    Ok((path, bytes))
}

fn last_mark(host: &Host) -> Mark {
    host.marks.find(MarkKey::CATALOG).unwrap_or(Mark {
        key: MarkKey::CATALOG,
        ..Mark::default()
    })
}

/// Copies what is after the last whole change to a file of its own, unless it is all zeros.
fn set_aside(disk: &Disk, path: &Path, bytes: &[u8], scan: &Scan) -> Result<Vec<OpenEvent>> {
    let rest = bytes.get(to_usize(scan.end.0)..).unwrap_or_default();
    let Some(reason) = scan
        .stopped
        .clone()
        .filter(|_| rest.iter().any(|byte| *byte != 0))
    else {
        return Ok(Vec::new());
    };
    let quarantine = copy_bytes_aside(disk, path, rest)?;
    Ok(vec![OpenEvent::TailSetAside {
        path: path.to_path_buf(),
        position: scan.end.0,
        kept_to: scan.next_offset,
        bytes: to_u64(rest.len()),
        quarantine,
        reason,
    }])
}

impl Scan {
    /// Takes in batches until the bytes end or make no sense. [`Error::Corrupt`] when a whole batch
    /// says something impossible: that is no crash.
    fn of(bytes: &[u8], path: &Path) -> Result<Self> {
        let mut scan = Self::default();
        let mut rest = Bytes::copy_from_slice(bytes);
        while !rest.is_empty() {
            match scan.check(&rest) {
                Ok(batch) => {
                    scan.take(&batch)
                        .map_err(|reason| Error::corrupt(path, scan.end.0, reason))?;
                    let size = batch.header().size;
                    scan.end = scan.end.plus(size);
                    scan.next_offset = batch.next_offset();
                    rest = rest.split_off(size.min(rest.len()));
                }
                Err(reason) => {
                    scan.stopped = Some(reason);
                    break;
                }
            }
        }
        Ok(scan)
    }

    /// Takes in, in the order of the file, every whole batch, and of it every record that makes
    /// sense after those before it. Offset and leader epoch, which the checksum does not cover, say
    /// nothing that the order does not say.
    fn leniently(bytes: &[u8]) -> CatalogState {
        let mut state = CatalogState::default();
        let mut rest = Bytes::copy_from_slice(bytes);
        while !rest.is_empty() {
            let Ok(batch) = without_offset(&rest).and_then(|header| whole_batch(&rest, header))
            else {
                rest = rest.split_off(1);
                continue;
            };
            for record in batch.records() {
                let record = MetadataRecord::decode(record.value().unwrap_or_default());
                record.map(|record| state.apply(record)).ok();
            }
            let size = batch.header().size;
            rest = rest.split_off(size.min(rest.len()));
        }
        state
    }

    /// The next batch, if it is whole and follows.
    fn check(&self, rest: &Bytes) -> std::result::Result<RecordBatch, Corruption> {
        let batch = whole_batch(rest, BatchHeader::parse(rest)?)?;
        let header = batch.header();
        if header.base_offset != self.next_offset {
            return Err(Corruption::offset(self.next_offset, header.base_offset));
        }
        if header.leader_epoch != 0 {
            return Err(Corruption::malformed("the catalog has no leader epochs"));
        }
        Ok(batch)
    }

    fn take(&mut self, batch: &RecordBatch) -> std::result::Result<(), Corruption> {
        for record in batch.records() {
            let record = MetadataRecord::decode(record.value().unwrap_or_default())?;
            self.state.apply(record).map_err(Corruption::malformed)?;
        }
        Ok(())
    }
}

/// The header, whatever its offset.
fn without_offset(bytes: &[u8]) -> std::result::Result<BatchHeader, Corruption> {
    let mut front = [0; HEADER_LEN];
    let (offset, rest) = front.split_at_mut(size_of::<Offset>());
    let found = bytes.get(offset.len()..HEADER_LEN);
    rest.copy_from_slice(found.ok_or_else(|| Corruption::truncated(HEADER_LEN, bytes.len()))?);
    BatchHeader::parse(&front)
}

fn whole_batch(bytes: &Bytes, header: BatchHeader) -> std::result::Result<RecordBatch, Corruption> {
    let batch = bytes.get(..header.size);
    let batch = batch.ok_or_else(|| Corruption::truncated(header.size, bytes.len()))?;
    check_crc(batch, &header)?;
    let batch = bytes.slice(..header.size);
    RecordBatch::decode(batch, header, SMALL_FILE_BYTES_MAX).map_err(|error| match error {
        DecodeError::Corrupt(reason) => reason,
        DecodeError::Unsupported(_) => Corruption::malformed("the catalog is not packed"),
    })
}
