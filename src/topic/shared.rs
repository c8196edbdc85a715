//! What all handles of a topic share: its partitions, its settings, and the state of its life.
//!
//! Knows nothing about how a record finds its partition.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::{MarkKey, uuid};
use crate::host::Host;
use crate::log::Log;
use crate::recovery::AtRest;
use crate::recovery::{LogSource, OpenEvent, OpenMode, OpenReport};
use crate::sync::{AtomicBool, AtomicU32, Ordering, RwLock, Watchers};
use crate::types::{Durability, Offset, PartitionId, Record, TopicId, TopicName};

use super::partitions::{Partitions, Slot};
use super::producer::Producers;
use super::{PartitionDir, PartitionInfo, TopicConfig, TopicInfo};

const LIVE: u32 = 0;
const DELETED: u32 = 1;
const CLOSED: u32 = 2;

#[derive(Debug)]
pub(crate) struct TopicSource {
    pub(crate) host: Arc<Host>,
    pub(crate) root: Arc<Path>,
    pub(crate) name: TopicName,
    pub(crate) id: TopicId,
    pub(crate) config: TopicConfig,
    /// The broker's, for a topic without its own.
    pub(crate) durability: Durability,
    pub(crate) mode: OpenMode,
    /// Directories are made on first use, for topics that use few of their many partitions.
    pub(crate) sparse: bool,
}

#[derive(Debug)]
pub(crate) struct TopicShared {
    host: Arc<Host>,
    root: Arc<Path>,
    name: TopicName,
    id: TopicId,
    config: RwLock<Arc<TopicConfig>>,
    durability: Durability,
    mode: OpenMode,
    sparse: bool,
    life: AtomicU32,
    /// A directory was created whose contents are not synced yet.
    unsynced: AtomicBool,
    partitions: Partitions,
    producers: Producers,
    /// Woken when partitions are added and when the topic ends.
    watchers: Watchers,
}

impl TopicShared {
    pub(crate) fn new(source: TopicSource) -> Arc<Self> {
        let TopicSource {
            host,
            root,
            name,
            id,
            config,
            durability,
            mode,
            sparse,
        } = source;
        Arc::new(Self {
            partitions: Partitions::new(config.partitions),
            producers: Producers::default(),
            watchers: Watchers::default(),
            config: RwLock::new(Arc::new(config)),
            life: AtomicU32::new(LIVE),
            unsynced: AtomicBool::new(false),
            host,
            root,
            name,
            id,
            durability,
            mode,
            sparse,
        })
    }

    pub(crate) fn name(&self) -> &TopicName {
        &self.name
    }

    pub(crate) fn id(&self) -> TopicId {
        self.id
    }

    pub(crate) fn is_sparse(&self) -> bool {
        self.sparse
    }

    pub(crate) fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// Applies the changes of another process that writes the root.
    #[inline]
    pub(super) fn follow(&self) {
        if self.mode == OpenMode::Read {
            self.host.check_topics();
        }
    }

    pub(crate) fn config(&self) -> Arc<TopicConfig> {
        Arc::clone(&self.config.read())
    }

    #[inline]
    pub(crate) fn partition_count(&self) -> u32 {
        self.partitions.count()
    }

    /// Fails if the topic was deleted or closed, or this process was forked from the one that
    /// opened it.
    pub(crate) fn check_alive(&self) -> Result<()> {
        self.host.check_owner()?;
        match self.life.load(Ordering::Acquire) {
            LIVE => Ok(()),
            _ => Err(self.explain(Error::Closed)),
        }
    }

    /// Whether the topic was deleted, also by another process that writes the root.
    pub(crate) fn is_deleted(&self) -> bool {
        self.life.load(Ordering::Acquire) == DELETED
            || (self.mode == OpenMode::Read && !self.host.is_listed(self.id))
    }

    /// Turns `Closed` into `UnknownTopic` after the topic was deleted.
    #[cold]
    pub(super) fn explain(&self, error: Error) -> Error {
        let deleted = self.life.load(Ordering::Acquire) == DELETED;
        match error {
            Error::Closed if deleted => Error::UnknownTopic {
                name: self.name.to_string(),
            },
            other => other,
        }
    }

    #[cold]
    pub(super) fn unknown_partition(&self, partition: PartitionId) -> Error {
        Error::UnknownPartition {
            not_assigned: false,
            topic: self.name.to_string(),
            partition,
        }
    }

    pub(crate) fn dir(&self, partition: PartitionId) -> PartitionDir {
        PartitionDir::new(&self.root, &self.name, self.id, partition)
    }

    /// The log of a partition, opened on first use.
    #[inline]
    pub(crate) fn log(&self, partition: PartitionId) -> Result<&Log> {
        let Some(slot) = self.partitions.get(partition) else {
            return Err(self.unknown_partition(partition));
        };
        match slot.open_log() {
            Some(log) => Ok(log),
            None => self.open_log(partition, slot),
        }
    }

    #[cold]
    fn open_log<'a>(&self, partition: PartitionId, slot: &'a Slot) -> Result<&'a Log> {
        self.host.check_owner()?;
        // In a root that is only read another process may repair it.
        slot.get_or_open(self.mode == OpenMode::Write, || {
            self.check_alive()?;
            let dir = self.dir(partition);
            self.prepare_dir(&dir, partition)
                .map_err(|error| self.unless_deleted(error))?;
            let source = LogSource {
                dir: dir.path().to_path_buf(),
                mark_key: MarkKey {
                    topic: self.id,
                    partition,
                },
                lock: None,
                managed: true,
            };
            let config = self.config().log_config(self.durability);
            Log::open_in(&self.host, source, config, self.mode)
                .map_err(|error| self.unless_deleted(error))
        })
    }

    /// Returns the error, unless the process that writes the directory has deleted the topic.
    #[cold]
    fn unless_deleted(&self, error: Error) -> Error {
        if self.mode == OpenMode::Write || !self.is_deleted() {
            return error;
        }
        self.life.store(DELETED, Ordering::Release);
        self.explain(Error::Closed)
    }

    /// Checks that the directory is ours. A missing one is created only if that is no sign of
    /// damage.
    fn prepare_dir(&self, dir: &PartitionDir, partition: PartitionId) -> Result<()> {
        let disk = &self.host.disk;
        let there = dir.exists(disk)?;
        if self.mode == OpenMode::Write && (there || self.sparse) {
            return self.make_dirs(partition..partition.saturating_add(1));
        }
        if !there {
            let missing = io::ErrorKind::NotFound.into();
            return Err(Error::io(dir.path(), "open", missing));
        }
        if dir.is_of_other_topic(disk)? {
            Err(dir.of_other_topic())
        } else {
            Ok(())
        }
    }

    #[inline]
    pub(super) fn append(&self, partition: PartitionId, record: Record<'_>) -> Result<Offset> {
        let log = self.log_to_append(partition);
        let appended = log.and_then(|log| log.append(record));
        appended.map_err(|error| {
            self.host.events.pass_on();
            self.explain(error)
        })
    }

    /// First appends overdue records of producers for the partition, if no thread does it.
    #[inline]
    pub(super) fn log_to_append(&self, partition: PartitionId) -> Result<&Log> {
        if self.producers.in_line() {
            self.producers.append_due(Some(partition));
        }
        self.log(partition)
    }

    pub(super) fn watchers(&self) -> &Watchers {
        &self.watchers
    }

    pub(crate) fn producers(&self) -> &Producers {
        &self.producers
    }

    /// Creates the directories that are missing. Their names are durable when this returns; the
    /// contents can be restored, so it is enough that [`TopicShared::close_partition`] syncs them.
    pub(crate) fn make_dirs(&self, partitions: Range<PartitionId>) -> Result<()> {
        let mut made = false;
        for partition in partitions {
            made |= self.dir(partition).make(&self.host.disk)?;
        }
        if made {
            self.unsynced.store(true, Ordering::Relaxed);
            PartitionDir::sync_root(&self.host.disk, &self.root)?;
        }
        Ok(())
    }

    /// Applies new settings. The directories of added partitions exist already. Called by one
    /// thread at a time.
    pub(crate) fn reconfigure(&self, config: TopicConfig) -> Result<()> {
        let log_config = config.log_config(self.durability);
        let partitions = config.partitions;
        *self.config.write() = Arc::new(config);
        self.partitions.grow(partitions);
        self.watchers.raise();
        let mut applied = Ok(());
        for (_, slot) in self.partitions.iter() {
            // A log that is being opened meanwhile gets its turn here. One that fails does not stop
            // the others.
            let to_one = slot.if_open(|log| log.reconfigure(log_config.clone()));
            applied = applied.and(to_one.unwrap_or(Ok(())));
        }
        applied
    }

    /// Opens a log. A failure is part of the report; callers that use the log get the error.
    pub(crate) fn open_partition(&self, partition: PartitionId) -> OpenReport {
        let mut report = OpenReport {
            clean: true,
            ..OpenReport::default()
        };
        let dir = self.dir(partition);
        if self.sparse && !dir.exists(&self.host.disk).unwrap_or(true) {
            return report;
        }
        match self.log(partition) {
            Ok(log) => report.merge(log.open_report().clone()),
            Err(error) => {
                report.clean = false;
                let path = dir.path().to_path_buf();
                let reason = error.to_string();
                report.events.push(OpenEvent::LogUnusable { path, reason });
            }
        }
        report
    }

    pub(crate) fn opened_log(&self, partition: PartitionId) -> Option<Log> {
        self.partitions.get(partition)?.open_log().cloned()
    }

    /// Whether the directory exists: in a sparse topic not all do.
    pub(crate) fn has_dir(&self, partition: PartitionId) -> bool {
        !self.sparse || self.dir(partition).exists(&self.host.disk).unwrap_or(false)
    }

    pub(crate) fn open_logs(&self) -> Vec<Log> {
        let slots = self.partitions.iter();
        slots
            .filter_map(|(_, slot)| slot.open_log().cloned())
            .collect()
    }

    /// Ends the topic and closes its logs; removes no file.
    pub(crate) fn delete(&self) {
        self.begin_end(DELETED);
        for partition in 0..self.partition_count() {
            // What a closing log can no longer write is being deleted anyway.
            drop(self.close_log(partition));
        }
    }

    /// Closes the log: every file ends at its last entry, and is synced.
    pub(crate) fn close_partition(&self, partition: PartitionId) -> Result<()> {
        let closed = self.close_log(partition);
        if self.mode == OpenMode::Read || !self.unsynced.load(Ordering::Relaxed) {
            return closed;
        }
        closed.and(self.dir(partition).sync(&self.host.disk))
    }

    /// Ends the topic: no more logs are opened, and long operations in open ones give up.
    pub(crate) fn begin_closing(&self) {
        self.begin_end(CLOSED);
    }

    fn begin_end(&self, how: u32) {
        // The first reason stays.
        let life = &self.life;
        let ends = life.compare_exchange(LIVE, how, Ordering::AcqRel, Ordering::Acquire);
        if ends.is_ok() && how == CLOSED {
            // From here on no record reaches a producer, while the logs still take appends. The
            // producers keep the errors. The records of a deleted topic are not flushed; their
            // deliveries get an error when their time is over.
            self.producers.flush().ok();
        }
        for (_, slot) in self.partitions.iter() {
            slot.if_open(Log::begin_closing);
        }
        self.watchers.raise();
    }

    fn close_log(&self, partition: PartitionId) -> Result<()> {
        let slot = self.partitions.get(partition);
        let closed = slot.and_then(|slot| slot.if_open(Log::close_managed));
        closed.unwrap_or(Ok(()))
    }

    pub(crate) fn info(&self) -> TopicInfo {
        self.info_of(|id| self.partition_info(id))
    }

    /// Does not open logs whose state is known from their close.
    pub(crate) fn known_info(&self) -> TopicInfo {
        self.info_of(|id| {
            self.partition_at_rest(id)
                .unwrap_or_else(|| self.partition_info(id))
        })
    }

    fn info_of(&self, partition: impl Fn(PartitionId) -> PartitionInfo) -> TopicInfo {
        TopicInfo {
            name: self.name.to_string(),
            id: uuid::encode(self.id.0),
            partitions: (0..self.partition_count()).map(partition).collect(),
            config: self.config().as_ref().clone(),
        }
    }

    /// What is known from the close of a log that was not opened since. `None` in a root that is
    /// only read, because another process may write it.
    fn partition_at_rest(&self, id: PartitionId) -> Option<PartitionInfo> {
        let slot = self.partitions.get(id)?;
        if self.mode == OpenMode::Read || !slot.is_untouched() {
            return None;
        }
        let key = MarkKey {
            topic: self.id,
            partition: id,
        };
        let known = AtRest::look(&self.host.tools(), self.dir(id).path(), key).ok()??;
        Some(PartitionInfo {
            id,
            start_offset: known.start,
            flushed_offset: known.end,
            high_watermark: known.end,
            end_offset: known.end,
            segments: known.segments,
            size_bytes: known.size_bytes,
            problem: None,
        })
    }

    fn partition_info(&self, id: PartitionId) -> PartitionInfo {
        let log = match self.log(id) {
            Ok(log) => log,
            Err(error) => {
                let problem = Some(error.to_string());
                return PartitionInfo {
                    id,
                    problem,
                    ..PartitionInfo::default()
                };
            }
        };
        let segments = log.segments();
        PartitionInfo {
            id,
            // Read in ascending order: they are consistent however fast others append.
            start_offset: log.start_offset(),
            flushed_offset: log.flushed_offset(),
            high_watermark: log.high_watermark(),
            end_offset: log.end_offset(),
            segments: segments.len(),
            size_bytes: segments.iter().map(|segment| segment.size_bytes).sum(),
            problem: None,
        }
    }
}
