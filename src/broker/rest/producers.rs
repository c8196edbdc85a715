//! What a broker must find about producers when it starts after a clean end, and so does not scan:
//! the `.snapshot` at the end of each log, and the `.txnindex` of each segment.
//!
//! Knows nothing about batches: the log says what belongs in these files.
//!
//! 1. After a clean end a broker believes both. Without a snapshot it begins with no producers:
//!    open transactions of a killed broker are shown as committed, and sequence numbers are
//!    forgotten. Without an index nothing that was aborted is hidden.
//! 2. Only brokers write batches of producers. So a log that was scanned once is not scanned again
//!    until a broker has run: what Ottla appends changes the name of its snapshot and no byte in
//!    it. `ottla.producers` says for which logs that holds, and by which snapshot; 0 is a log
//!    without producers. It is removed before a broker's files are taken over. A truncation removes
//!    the snapshots above the new end, and a log without its snapshot is scanned.
//! 3. Where a log cannot be scanned, the root lacks the mark of a clean end: a broker then scans
//!    all logs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::dir::{metadata_files, read_offsets, replace_if_other};
use crate::disk::{Disk, Entry, EntryKind};
use crate::error::{Error, IoContext, Result};
use crate::format::txn::{self, AbortedTxn, ProducerState};
use crate::format::{FileKind, FileName, MarkKey, Stage, checkpoint, file_name};
use crate::log::{Log, Producers};
use crate::recovery::{LogSource, OpenMode};
use crate::sync::for_each_on;
use crate::types::LogConfig;
use crate::types::{Offset, PartitionId};

use super::super::root::Root;
use super::super::state::CatalogState;

/// A larger file is not used, and is made again.
const FILE_BYTES_MAX: usize = 1 << 28;

/// Makes snapshots and indexes right and durable, once everything else is; false where a log
/// prevents it (I3).
pub(super) fn write(root: &Root, catalog: &CatalogState) -> Result<bool> {
    let (disk, path) = (&root.host.disk, &root.path);
    // No broker has ever run here.
    if metadata_files(disk, path)?.is_empty() {
        return Ok(true);
    }
    let known = read_offsets(disk, path, file_name::PRODUCERS)?;
    let mut logs = Vec::new();
    for entry in catalog.topics() {
        let name = entry.name.as_str();
        for partition in 0..entry.partitions {
            let topic = entry.id;
            let log = ClosedLog {
                root,
                key: MarkKey { topic, partition },
                dir: path.join(file_name::partition_dir(name, partition)),
            };
            logs.push(((name.to_owned(), partition), log));
        }
    }
    let ends = for_each_on(disk.calls_at_once(), &logs, |(place, log)| {
        log.make_right(known.get(place).copied())
    });
    let mut right: BTreeMap<(String, PartitionId), Offset> = BTreeMap::new();
    let mut all = true;
    for ((place, _), at) in logs.into_iter().zip(ends) {
        match at? {
            Some(at) => drop(right.insert(place, at)),
            None => all = false,
        }
    }
    put(disk, path, &right)?;
    Ok(all)
}

/// Notes durably up to which offset what is known of each log is right.
fn put(disk: &Disk, root: &Path, right: &BTreeMap<(String, PartitionId), Offset>) -> Result<()> {
    let lines = right
        .iter()
        .map(|((topic, partition), at)| (topic.as_str(), *partition, *at));
    let text = checkpoint::encode_offsets(lines);
    replace_if_other(disk, &root.join(file_name::PRODUCERS), text.as_bytes())
}

/// Removes `ottla.producers`, durably (I2).
pub(super) fn forget(disk: &Disk, root: &Path) -> Result<()> {
    let path = root.join(file_name::PRODUCERS);
    if disk.exists(&path).at(&path, "access")? {
        disk.remove_file(&path).at(&path, "remove")?;
        disk.sync_dir(root).at(root, "sync")?;
    }
    Ok(())
}

/// Forgets these logs durably, as markers are about to be appended.
pub(in crate::broker) fn forget_some(
    disk: &Disk,
    root: &Path,
    logs: &BTreeSet<(String, PartitionId)>,
) -> Result<()> {
    let mut known = read_offsets(disk, root, file_name::PRODUCERS)?;
    known.retain(|place, _| !logs.contains(place));
    put(disk, root, &known)
}

struct ClosedLog<'a> {
    root: &'a Root,
    key: MarkKey,
    dir: PathBuf,
}

impl ClosedLog<'_> {
    /// The offset of the right snapshot, 0 for a log without producers, `None` when that is
    /// unknown. `known` was right at the last close.
    fn make_right(&self, known: Option<Offset>) -> Result<Option<Offset>> {
        let end = self.root.host.marks.find(self.key);
        let end = end.map(|mark| mark.flushed_offset);
        match (known, end) {
            (Some(0), _) => return Ok(Some(0)),
            (Some(at), Some(end)) if at <= end => {
                if let Some(producers) = self.snapshot(at)? {
                    self.move_snapshot(at, end, &producers)?;
                    return Ok(Some(end));
                }
            }
            _ => {}
        }
        // Opening has read all of it. If there are files about producers all the same, it is
        // scanned.
        if self.root.host.is_plain(self.key) && !self.has_files_of_producers()? {
            return Ok(Some(0));
        }
        self.scan(end)
    }

    fn has_files_of_producers(&self) -> Result<bool> {
        let entries = self.disk().list(&self.dir).at(&self.dir, "list")?;
        let about_producers = |entry: &Entry| {
            let (snapshot, index) = (FileKind::Snapshot, FileKind::TxnIndex);
            match FileName::parse(&entry.name) {
                FileName::Segment { kind, .. } => kind == snapshot || kind == index,
                _ => false,
            }
        };
        Ok(entries.iter().any(about_producers))
    }

    /// Moves a snapshot to the new end. Only plain batches were appended, so the state at both ends
    /// is the same.
    fn move_snapshot(&self, from: Offset, to: Offset, producers: &[ProducerState]) -> Result<()> {
        if from == to {
            return Ok(());
        }
        let bytes = txn::encode_snapshot(producers);
        replace_if_other(self.disk(), &self.file(to, FileKind::Snapshot), &bytes)?;
        let log = self.file(from, FileKind::Log);
        // A broker keeps those at the bases of segments, to fall back on when it truncates.
        if self.disk().exists(&log).at(&log, "access")? {
            return Ok(());
        }
        let old = self.file(from, FileKind::Snapshot);
        self.disk().remove_file(&old).at(&old, "remove")
    }

    /// Makes the files right by reading the log; `None` if it cannot be read (I3).
    fn scan(&self, end: Option<Offset>) -> Result<Option<Offset>> {
        let there = self.list()?;
        let Some(end) = end else {
            // Nothing is known of a log that could not be opened.
            return Ok(there.is_empty.then_some(0));
        };
        // Whatever the reason: the log is not readable for a broker's scan either, or only for it.
        let Ok(producers) = self.read() else {
            return Ok(None);
        };
        let mut older = Vec::new();
        for at in there.snapshots.iter().rev().filter(|at| **at <= end) {
            if let Some(states) = self.snapshot(*at)? {
                older = states;
                break;
            }
        }
        for base in producers.segments() {
            self.write_index(base, &producers)?;
        }
        for at in there.snapshots.iter().filter(|at| **at > end) {
            let path = self.file(*at, FileKind::Snapshot);
            self.disk().remove_file(&path).at(&path, "remove")?;
        }
        let states = producers.states(&older);
        // An empty snapshot is only needed above one that is not empty.
        if !states.is_empty() || !there.snapshots.is_empty() {
            let bytes = txn::encode_snapshot(&states);
            replace_if_other(self.disk(), &self.file(end, FileKind::Snapshot), &bytes)?;
        }
        Ok(Some(if states.is_empty() { 0 } else { end }))
    }

    fn read(&self) -> Result<Producers> {
        let source = LogSource {
            dir: self.dir.clone(),
            mark_key: self.key,
            lock: None,
            managed: true,
        };
        let config = LogConfig::default();
        let log = Log::open_in(&self.root.host, source, config, OpenMode::Read)?;
        log.producers()
    }

    /// An index with nothing to say may be missing.
    fn write_index(&self, base: Offset, producers: &Producers) -> Result<()> {
        let path = self.file(base, FileKind::TxnIndex);
        let there = self.disk().read_small(&path, FILE_BYTES_MAX).ok().flatten();
        let known = there.as_deref().map(AbortedTxn::decode_all);
        let known = known.and_then(std::result::Result::ok).unwrap_or_default();
        let mut bytes = Vec::new();
        for aborted in producers.index_of(base, &known) {
            aborted.encode(&mut bytes);
        }
        if bytes.is_empty() && there.is_none() {
            let missing = !self.disk().exists(&path).at(&path, "access")?;
            if missing {
                return Ok(());
            }
        }
        replace_if_other(self.disk(), &path, &bytes)
    }

    /// The snapshot at an offset; `None` when it is missing or not whole.
    fn snapshot(&self, at: Offset) -> Result<Option<Vec<ProducerState>>> {
        let path = self.file(at, FileKind::Snapshot);
        match self.disk().read_small(&path, FILE_BYTES_MAX) {
            Ok(bytes) => Ok(bytes.and_then(|bytes| txn::decode_snapshot(&bytes).ok())),
            Err(error) if crate::disk::is_unusable_file(&error) => Ok(None),
            Err(error) => Err(Error::io(&path, "read", error)),
        }
    }

    fn list(&self) -> Result<Listing> {
        let mut found = Listing {
            snapshots: Vec::new(),
            is_empty: true,
        };
        if !self.disk().exists(&self.dir).at(&self.dir, "access")? {
            return Ok(found);
        }
        for entry in self.disk().list(&self.dir).at(&self.dir, "list")? {
            let FileName::Segment {
                base,
                kind,
                stage: Stage::Live,
            } = FileName::parse(&entry.name)
            else {
                continue;
            };
            let path = self.dir.join(&entry.name);
            match kind {
                _ if entry.kind != EntryKind::File => {}
                FileKind::Snapshot => found.snapshots.push(base),
                FileKind::Log => {
                    let length = self.disk().file_len(&path).at(&path, "access")?;
                    found.is_empty &= length == 0;
                }
                _ => {}
            }
        }
        found.snapshots.sort_unstable();
        Ok(found)
    }

    fn file(&self, base: Offset, kind: FileKind) -> PathBuf {
        let name = FileName::segment(base, kind);
        self.dir.join(name.to_string())
    }

    fn disk(&self) -> &Disk {
        &self.root.host.disk
    }
}

struct Listing {
    /// Sorted.
    snapshots: Vec<Offset>,
    /// No segment holds a byte.
    is_empty: bool,
}
