//! Repairing a broker's directory: the files of the root, every log, and then an opening and a
//! close, which rewrite what can be derived.
//!
//! Knows nothing about what is in a log (`doctor/repair`).
//!
//! 1. What cannot be read is quarantined before something else takes its place.
//! 2. A topic that the catalog has lost is taken back from its directories, with name, id and
//!    partitions. Its settings come from the last metadata written for Kafka, or are a new topic's,
//!    under which nothing is ever deleted.
//! 3. A directory that changed places with another goes back where its marks fit.

mod moves;
mod topics;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::dir::{
    Marks, RootFacts, keep_brokers_away, metadata_files, partitions, refuse_unfinished, seems_root,
    take_lock,
};
use crate::disk::{Disk, EntryKind, Lock, is_unusable_file};
use crate::doctor::{Beside, RepairReport, rename_whole, repair_alone, repair_log, set_odd_aside};
use crate::error::{Error, IoContext, Result};
use crate::format::properties::{self, MetaProperties};
use crate::format::{Corruption, MarkKey, RootFile, file_name};
use crate::host::Host;
use crate::topic::{PartitionDir, owner_of};
use crate::types::{OFFSETS_TOPIC, TopicName};

use super::BrokerConfig;
use super::open;
use super::rest;
use super::verify::{Look, verify_on};

/// Files of a root that are written again when they are missing.
const SMALL_FILES: [&str; 8] = [
    file_name::MARKS,
    file_name::CATALOG,
    file_name::BOOTSTRAP,
    file_name::RECOVERY_POINTS,
    file_name::LOG_STARTS,
    file_name::HIGH_WATERMARKS,
    file_name::CLEANED,
    file_name::CLEAN_SHUTDOWN,
];

/// Repairs the directory of a log or of a broker: moves damaged batches to quarantine files, so
/// that it can be opened. Below the flushed mark every other batch stays at its own offset. Above
/// it, where a crash can leave any bytes, everything from the first damaged batch on is
/// quarantined, as by opening. No bytes are deleted, and a directory without damage is not changed.
///
/// A batch is kept or quarantined as a whole, so a flipped bit can cost all its records. Only in
/// its first 17 bytes, which Kafka's checksum does not cover, a flipped bit is corrected where one
/// correction fits. Damaged indexes and digests, and checkpoints that cannot be decoded, are
/// rebuilt.
///
/// Below the flushed mark readers see a gap where the damage was, as after compaction, and the log
/// continues at the offset that it had reached. Above it the log ends there, and the offsets are
/// assigned again in a new epoch. Directories of Kafka brokers can be repaired, too.
/// At the end a broker's directory is opened and closed, so that a Kafka broker can start on it.
///
/// Takes as long as reading every byte twice, plus writing every damaged segment.
///
/// # Errors
///
/// - [`Error::Locked`]: the directory is open. Nothing was changed.
/// - [`Error::Unsupported`]: it is damaged, and
///   [`Broker::open`](crate::Broker::open) refuses its kind even without damage: a node of a larger
///   cluster, or a root of an older Kafka. Nothing was changed. Or a log holds messages from before
///   Kafka 0.11.
/// - [`Error::Io`], [`Error::NoSpace`],
///   [`Error::Poisoned`]: what was done is kept, and another call continues
///   from there. A sector that cannot be read is such an `Io`: the logs after it are not repaired,
///   and every call ends there until the file can be read.
///
/// # Examples
///
/// ```
/// use ottla::{Log, LogConfig};
///
/// # let scratch = tempfile::tempdir()?;
/// # let dir = scratch.path().join("events");
/// let log = Log::open(&dir, LogConfig::default())?;
/// for _ in 0..10 {
///     log.append("departed EWR")?;
/// }
/// log.close()?;
///
/// // A byte in the first record changes.
/// let segment = dir.join("00000000000000000000.log");
/// let mut bytes = std::fs::read(&segment)?;
/// bytes[65] ^= 1;
/// std::fs::write(&segment, bytes)?;
///
/// let report = ottla::repair(&dir)?;
/// assert_eq!(report.set_aside[0].offsets, 0..1);
/// assert!(report.is_sound());
/// assert_eq!(Log::open(&dir, LogConfig::default())?.reader(0)?.count(), 9);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn repair(dir: impl AsRef<Path>) -> Result<RepairReport> {
    repair_on(&Disk::os(), &Clock::System, dir.as_ref())
}

pub(crate) fn repair_on(disk: &Disk, clock: &Clock, dir: &Path) -> Result<RepairReport> {
    let dir = &disk.absolute(dir).at(dir, "resolve the path of")?;
    refuse_unfinished(disk, dir)?;
    if !seems_root(disk, dir)? {
        return repair_alone(disk, clock, dir);
    }
    // Before the lock, whose file may have to be made.
    if let Some(refusal) = Look::refusal(disk, clock, dir) {
        let found = verify_on(disk, clock, dir, Beside::Anybody)?;
        return if found.is_spotless() {
            Ok(RepairReport {
                dir: dir.clone(),
                remaining: found.clone(),
                found,
                ..RepairReport::default()
            })
        } else {
            Err(refusal)
        };
    }
    let lock = take_lock(disk, dir, Duration::ZERO)?;
    let mut report = RepairReport {
        dir: dir.clone(),
        found: verify_on(disk, clock, dir, Beside::Nobody)?,
        ..RepairReport::default()
    };
    if report.found.is_spotless() {
        report.remaining = report.found.clone();
        // The damage is gone, and the line that keeps brokers away goes with it.
        if RootFacts::of(disk, dir).is_ok_and(|facts| facts.is_damaged()) {
            let report = &mut report;
            RootRepair {
                disk,
                clock,
                root: dir,
                report,
            }
            .bring_to_rest(lock)?;
        }
        return Ok(report);
    }
    let mut repair = RootRepair {
        disk,
        clock,
        root: dir,
        report: &mut report,
    };
    if Look::at(disk, clock, dir).is_foreign() {
        repair.logs_of_a_broker()?;
        report.remaining = verify_on(disk, clock, dir, Beside::Nobody)?;
    } else {
        let newer = repair.root_files()?;
        repair.logs(newer)?;
        repair.lost_commits()?;
        repair.bring_to_rest(lock)?;
        report.remaining = verify_on(disk, clock, dir, Beside::Anybody)?;
    }
    Ok(report)
}

struct RootRepair<'a> {
    disk: &'a Disk,
    clock: &'a Clock,
    root: &'a Path,
    report: &'a mut RepairReport,
}

impl RootRepair<'_> {
    /// Repairs the files that name the root. Returns whether a broker has run since it was last
    /// ours.
    fn root_files(&mut self) -> Result<bool> {
        let own_path = self.root.join(file_name::ROOT);
        let meta_path = self.root.join(file_name::META_PROPERTIES);
        let own = self.readable(&own_path, RootFile::decode)?;
        let meta = self.readable(&meta_path, MetaProperties::decode)?;
        let meta = match (&own, meta) {
            (FileState::Readable(own), FileState::Readable(MetaProperties::Formatted(found)))
                if found != own.identity =>
            {
                let reason = Corruption::malformed("it names other ids than ottla.root");
                self.set_aside(&meta_path, reason)?;
                FileState::Quarantined
            }
            (_, meta) => meta,
        };
        let metadata = metadata_files(self.disk, self.root)?;
        match (own, meta) {
            // The other file has the ids.
            (FileState::Quarantined, FileState::Readable(MetaProperties::Formatted(identity))) => {
                let importing = !metadata.is_empty();
                let own = RootFile {
                    identity,
                    importing,
                    metadata,
                };
                self.write(&own_path, own.encode().as_bytes())?;
            }
            // Its line said who wrote last; now only Kafka's metadata does.
            (FileState::Readable(mut own), FileState::Quarantined) => {
                own.importing |= own.metadata != metadata;
                self.write(&own_path, own.encode().as_bytes())?;
                keep_brokers_away(self.disk, self.root)?;
                self.report.rebuilt.push(meta_path);
            }
            _ => {}
        }
        Ok(RootFacts::of(self.disk, self.root).is_ok_and(|facts| facts.is_newer()))
    }

    /// Decodes a file, or quarantines it (I1).
    fn readable<T>(
        &mut self,
        path: &Path,
        decode: impl Fn(&[u8]) -> std::result::Result<T, Corruption>,
    ) -> Result<FileState<T>> {
        let reason = match self.disk.read_small(path, properties::SIZE_MAX) {
            Ok(None) => return Ok(FileState::Missing),
            Ok(Some(bytes)) => match decode(&bytes) {
                Ok(value) => return Ok(FileState::Readable(value)),
                Err(reason) => reason,
            },
            Err(error) if is_unusable_file(&error) => {
                Corruption::malformed("it is no file, or too long")
            }
            Err(error) => return Err(Error::io(path, "read", error)),
        };
        self.set_aside(path, reason)?;
        Ok(FileState::Quarantined)
    }

    fn set_aside(&mut self, path: &Path, reason: Corruption) -> Result<()> {
        let aside = rename_whole(self.disk, path, reason)?;
        self.report.set_aside.push(aside);
        Ok(())
    }

    fn write(&mut self, path: &Path, bytes: &[u8]) -> Result<()> {
        self.disk.replace(path, bytes).at(path, "write")?;
        self.report.rebuilt.push(path.to_path_buf());
        Ok(())
    }

    /// Repairs all logs. `newer`: a broker has written last.
    fn logs(&mut self, newer: bool) -> Result<()> {
        for name in SMALL_FILES {
            self.set_odd_aside(&self.root.join(name))?;
        }
        if newer {
            // First, so that these too get a segment that begins where the broker left them.
            self.lost_commits()?;
            return self.logs_of_a_broker();
        }
        let metadata = self.root.join(file_name::CLUSTER_METADATA);
        self.set_odd_aside(&metadata.join(file_name::QUORUM_CHECKPOINT))?;
        keep_brokers_away(self.disk, self.root)?;
        let host = self.host()?;
        let state = self.catalog(&host)?;
        let links = self.links()?;
        for entry in state.topics() {
            for partition in 0..entry.partitions {
                let dir = PartitionDir::new(self.root, &entry.name, entry.id, partition);
                let key = MarkKey {
                    topic: entry.id,
                    partition,
                };
                if !links.contains(dir.path()) && self.prepare(&host, &dir, key)? {
                    repair_log(&host, dir.path(), key, self.report)?;
                }
            }
        }
        Ok(())
    }

    /// Links in the root: what they lead to is left alone.
    fn links(&self) -> Result<BTreeSet<PathBuf>> {
        let entries = self.disk.list(self.root).at(self.root, "list")?.into_iter();
        let links = entries.filter(|entry| entry.kind == EntryKind::Other);
        Ok(links.map(|entry| self.root.join(entry.name)).collect())
    }

    fn set_odd_aside(&mut self, path: &Path) -> Result<()> {
        let aside = set_odd_aside(self.disk, path)?;
        self.report.set_aside.extend(aside);
        Ok(())
    }

    fn host(&self) -> Result<Arc<Host>> {
        let marks = Marks::open(self.disk, &self.root.join(file_name::MARKS))?;
        Ok(Host::new(
            self.disk.clone(),
            self.clock.clone(),
            marks,
            true,
        ))
    }

    /// Makes sure that the directory exists and names its topic; false with nothing to repair.
    fn prepare(&mut self, host: &Arc<Host>, dir: &PartitionDir, key: MarkKey) -> Result<bool> {
        let there = dir.exists(self.disk)?;
        let used = host
            .marks
            .find(key)
            .is_some_and(|mark| mark.flushed_offset > 0);
        if !there && !used {
            // Its topic makes partitions when they are used. In any other topic there would be a
            // mark, or it held nothing.
            return Ok(false);
        }
        let path = dir.path().join(file_name::PARTITION_METADATA);
        let owner = owner_of(self.disk, dir.path()).ok().flatten();
        if there && owner != Some(key.topic) && self.disk.exists(&path).at(&path, "access")? {
            self.set_aside(
                &path,
                Corruption::malformed("it names another topic, or none"),
            )?;
        }
        if dir.make(self.disk)? {
            self.disk.sync_dir(self.root).at(self.root, "sync")?;
            dir.sync(self.disk)?;
            self.report.rebuilt.push(path);
        }
        Ok(true)
    }

    /// Opening makes no directories for lost partitions of `__consumer_offsets`: the user must ask,
    /// by this call.
    fn lost_commits(&mut self) -> Result<()> {
        let look = Look::at(self.disk, self.clock, self.root);
        let name = TopicName::new(OFFSETS_TOPIC).ok();
        let (Ok(state), Some(name)) = (&look.state, name) else {
            return Ok(());
        };
        let Some(entry) = state.find(&name) else {
            return Ok(());
        };
        for partition in rest::lost_commits(&look.host, self.root, state)? {
            let dir = PartitionDir::new(self.root, &entry.name, entry.id, partition);
            dir.make(self.disk)?;
            self.disk.sync_dir(self.root).at(self.root, "sync")?;
            dir.sync(self.disk)?;
            self.report
                .rebuilt
                .push(dir.path().join(file_name::PARTITION_METADATA));
        }
        Ok(())
    }

    /// Opens and closes the root, which rewrites what can be derived. The last verification finds
    /// damage that prevents it.
    fn bring_to_rest(&mut self, lock: Lock) -> Result<()> {
        drop(lock);
        let config = BrokerConfig::default().manual_upkeep(true);
        let opened = open::open(self.disk.clone(), self.clock.clone(), self.root, config);
        let closed = opened.and_then(|core| {
            self.report.add_tails(&core.report);
            core.close()
        });
        match closed {
            Err(Error::Corrupt { .. } | Error::Unsupported { .. }) => Ok(()),
            closed => closed,
        }
    }

    /// The metadata is Kafka's: only the logs are repaired.
    fn logs_of_a_broker(&mut self) -> Result<()> {
        let look = Look::at(self.disk, self.clock, self.root);
        let marks = Marks::open(self.disk, &self.root.join(file_name::MARKS))?;
        // What marks and digests describe may have changed.
        let marks = marks.distrusting();
        for key in marks.keys() {
            marks.forget(key)?;
        }
        for mark in &look.marks {
            marks.assume(mark);
        }
        let host = Host::new(self.disk.clone(), self.clock.clone(), marks, true);
        for (dir, key) in partitions(self.disk, self.root, &look.ids())? {
            repair_log(&host, &dir, key, self.report)?;
            // Directories that do not say whose they are share a key.
            host.marks.forget(key)?;
        }
        Ok(())
    }
}

/// A file that could be decoded, was quarantined, or is missing.
enum FileState<T> {
    Readable(T),
    Quarantined,
    Missing,
}

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
