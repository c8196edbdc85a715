//! A copy of a whole root while it is in use.
//!
//! Knows nothing about how a log is copied. The order:
//!
//! 1. Commits come first, records later: so no commit is past the records of its partition. If a
//!    log is truncated in between, opening the copy sets commits back, as after a crash.
//! 2. The catalog comes in between: it has every topic that the commits name, except deleted ones.
//!    A topic deleted while it is copied is deleted in the copy as well: opening the copy removes
//!    what is left of it and its commits.
//! 3. What Kafka left in the root (its metadata, what is known of producers) does not change while
//!    the root is open.
//! 4. Opening and closing the copy once sets right what (1) leaves, drops half deleted topics, ends
//!    the transactions that a broker had left open, and writes what a Kafka broker looks for.

use std::collections::BTreeSet;
use std::path::Path;

use crate::backup::{Backup, BackupOptions, BackupReport, CopiedLog, Source};
use crate::dir::{keep_brokers_away, run_id};
use crate::disk::EntryKind;
use crate::error::{Error, IoContext, Result};
use crate::format::{DirName, MarkKey, RootFile, file_name, properties, uuid};
use crate::host::Host;
use crate::topic::{PartitionDir, TopicShared};
use crate::types::OFFSETS_TOPIC;

use super::Broker;
use super::catalog::Catalog;
use super::core::Core;
use super::open::open_copy;
use super::state::{CatalogState, TopicEntry};
use super::undecided;

/// What Kafka and we keep in a root, beside the topics, about its last close.
const ROOT_FILES: [&str; 7] = [
    file_name::ROOT,
    file_name::BOOTSTRAP,
    file_name::PRODUCERS,
    file_name::RECOVERY_POINTS,
    file_name::HIGH_WATERMARKS,
    file_name::LOG_STARTS,
    file_name::CLEANED,
];

type Copied = Vec<(MarkKey, String, CopiedLog)>;

impl Broker {
    /// Copies all topics and groups into a directory that is then a closed root of its own:
    /// [`Broker::open`] opens it, and a Kafka broker starts on it. Appends, commits, retention and
    /// compaction continue meanwhile.
    ///
    /// The copy holds, from its start to an end, the whole batches of every partition that readers
    /// saw at some moment during the call; and of every group the positions committed at some
    /// moment before, so that none is past the records. It is synced before this returns.
    ///
    /// A marker after what was copied ends a transaction that a Kafka broker had left open: as the
    /// broker had decided, else it is aborted, also for its producer.
    ///
    /// The directory must be missing, empty, or an earlier backup of this root. Then only what is
    /// new is copied, and what was forgotten, compacted or deleted since leaves the copy as well:
    /// if records were lost by mistake, keep the backup under another name first. What was appended
    /// to an opened backup is overwritten.
    ///
    /// An interrupted backup is never taken for a whole one: opening it returns
    /// [`Error::Unsupported`], a Kafka broker refuses to start on it, and the next backup into the
    /// same place finishes it. Copying the files of an open root by other means, above all with
    /// hard links (`cp -al`), makes no backup: see `docs/recipes.md`.
    ///
    /// A broker [opened for reading](Self::open_read_only) can be backed up too, beside the writing
    /// process.
    ///
    /// # Errors
    ///
    /// - [`Error::Unsupported`]: the directory holds something else, or lies inside this root or
    ///   another; or the root is open for reading and a Kafka broker has used it since.
    /// - [`Error::Locked`]: the directory is open.
    /// - [`Error::NoSpace`], [`Error::Io`]: the backup is not finished.
    /// - [`Error::Corrupt`]: something to copy is damaged; the backup is not finished.
    /// - [`Error::Closed`].
    ///
    /// # Examples
    ///
    /// ```
    /// use ottla::{Broker, TopicConfig};
    ///
    /// # let scratch = tempfile::tempdir()?;
    /// let broker = Broker::open(scratch.path().join("data"))?;
    /// let topic = broker.create_topic("flights", TopicConfig::default())?;
    /// topic.append("departed EWR")?;
    /// let report = broker.backup(scratch.path().join("backup"))?;
    /// assert_eq!(report.partitions, 1);
    ///
    /// let copy = Broker::open(scratch.path().join("backup"))?;
    /// assert_eq!(copy.topic("flights")?.partition(0)?.end_offset(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn backup(&self, dest: impl AsRef<Path>) -> Result<BackupReport> {
        self.backup_with(dest, BackupOptions::default())
    }

    /// [`Broker::backup`] with options.
    ///
    /// # Errors
    ///
    /// As [`Broker::backup`].
    pub fn backup_with(
        &self,
        dest: impl AsRef<Path>,
        options: BackupOptions,
    ) -> Result<BackupReport> {
        self.core.back_up(dest.as_ref(), options)
    }
}

impl Core {
    fn back_up(&self, dest: &Path, options: BackupOptions) -> Result<BackupReport> {
        let root = &self.root;
        self.check_ours()?;
        let source = Source {
            disk: &root.host.disk,
            clock: &root.host.clock,
            dir: &root.path,
            name: self.identity()?,
            run: run_id(),
        };
        let mut backup = Backup::begin(source, dest, options)?;
        keep_brokers_away(&backup.disk, &backup.dest)?;
        let copied = self.copy_topics(&mut backup)?;
        self.copy_metadata(&backup)?;
        self.check_ours()?;
        self.finish_copy(&mut backup, &copied)?;
        backup.finish()
    }

    /// An error if the broker is closed, or a Kafka broker has, or last had, the root.
    fn check_ours(&self) -> Result<()> {
        let root = &self.root;
        root.check_open()?;
        root.follow()?;
        if !root.host.marks.are_distrusted() {
            return Ok(());
        }
        Err(Error::Unsupported {
            what: format!(
                "a Kafka broker has used {} since: open it with Broker::open once, which takes \
                 over what the broker left",
                root.path.display(),
            ),
        })
    }

    /// Names this root in its backups.
    fn identity(&self) -> Result<String> {
        let path = self.root.path.join(file_name::ROOT);
        let disk = &self.root.host.disk;
        let bytes = disk
            .read_small(&path, properties::SIZE_MAX)
            .at(&path, "read")?;
        let own = RootFile::decode(&bytes.unwrap_or_default());
        let identity = own
            .map_err(|reason| Error::corrupt(&path, 0, reason))?
            .identity;
        let directory = identity.directory_id.unwrap_or_default();
        Ok(format!(
            "cluster {} directory {}",
            identity.cluster_id,
            uuid::encode(directory)
        ))
    }

    /// Copies commits, topics and the catalog (I1, I2).
    fn copy_topics(&self, backup: &mut Backup) -> Result<Copied> {
        let root = &self.root;
        let mut copied = Copied::new();
        root.follow()?;
        if let Some(offsets) = root.directory.find_shared(OFFSETS_TOPIC) {
            copied = copy_topic(&offsets, offsets.partition_count(), backup)?;
        }
        root.follow()?;
        let mut state: CatalogState = root.catalog.lock().state().clone();
        let entries: Vec<_> = state.topics().cloned().collect();
        for entry in entries {
            if entry.name.as_str() != OFFSETS_TOPIC {
                if let Some(logs) = self.copy_unless_deleted(&entry, backup)? {
                    copied.extend(logs);
                } else {
                    let removed = state.apply(entry.removal());
                    debug_assert!(removed.is_ok(), "the state has the topic: {removed:?}");
                }
            }
        }
        remove_others(backup, &copied)?;
        for name in ROOT_FILES {
            backup.copy_small(&root.path.join(name), &backup.dest.join(name))?;
        }
        let marks = backup.new_marks()?;
        for (key, _, log) in &copied {
            marks.write_both(log.mark(*key), root.host.clock.instant())?;
        }
        let (disk, clock) = (backup.disk.clone(), root.host.clock.clone());
        let host = Host::new(disk, clock, marks, true);
        Catalog::rebuild(&host, &backup.dest, state)?;
        Ok(copied)
    }

    /// `None` if the topic is deleted before that is done.
    fn copy_unless_deleted(
        &self,
        entry: &TopicEntry,
        backup: &mut Backup,
    ) -> Result<Option<Copied>> {
        let found = self.root.directory.find_shared(entry.name.as_str());
        let Some(topic) = found.filter(|topic| topic.id() == entry.id) else {
            return Ok(None);
        };
        let before = backup.report.clone();
        let copied = copy_topic(&topic, entry.partitions, backup);
        // The files of a topic go one by one when it is deleted, so any error may come of it.
        if copied.is_err() && topic.is_deleted() {
            self.root.check_open()?;
            backup.start_over(&before);
            return Ok(None);
        }
        copied.map(Some)
    }

    /// Copies Kafka's metadata (I3).
    fn copy_metadata(&self, backup: &Backup) -> Result<()> {
        let disk = &backup.disk;
        let from = self.root.path.join(file_name::CLUSTER_METADATA);
        let to = backup.dest.join(file_name::CLUSTER_METADATA);
        let mut kept = BTreeSet::new();
        if disk.exists(&from).at(&from, "access")? {
            disk.create_dir(&to).at(&to, "create the directory")?;
            for entry in disk.list(&from).at(&from, "list")? {
                if entry.kind == EntryKind::File {
                    backup.copy_small(&from.join(&entry.name), &to.join(&entry.name))?;
                    kept.insert(entry.name);
                }
            }
        } else if !disk.exists(&to).at(&to, "access")? {
            return disk.sync_dir(&backup.dest).at(&backup.dest, "sync");
        }
        for entry in disk.list(&to).at(&to, "list")? {
            let path = to.join(&entry.name);
            if entry.kind == EntryKind::File && !kept.contains(&entry.name) {
                disk.remove_file(&path).at(&path, "remove")?;
            }
        }
        disk.sync_dir(&to).at(&to, "sync")?;
        disk.sync_dir(&backup.dest).at(&backup.dest, "sync")
    }

    /// Opens and closes the copy (I4), after a check that it is what was copied.
    fn finish_copy(&self, backup: &mut Backup, copied: &Copied) -> Result<()> {
        let config = self
            .root
            .config
            .clone()
            .manual_upkeep(true)
            .max_total_bytes(None);
        let lock = backup.take_lock()?;
        let (disk, clock) = (backup.disk.clone(), self.root.host.clock.clone());
        let copy = open_copy(disk, clock, &backup.dest, config, lock)?;
        for (key, name, log) in copied.iter().filter(|(_, name, _)| name != OFFSETS_TOPIC) {
            let topic = copy.root.directory.find_shared(name);
            let topic = topic.ok_or_else(|| Error::UnknownTopic { name: name.clone() })?;
            log.check(topic.log(key.partition)?)?;
        }
        undecided::end_open(&copy, copied)?;
        copy.close()
    }
}

/// Copies all partitions, or those that exist of a topic that makes them when they are needed.
fn copy_topic(topic: &TopicShared, partitions: u32, backup: &mut Backup) -> Result<Copied> {
    let name = topic.name().as_str();
    let mut copied = Copied::new();
    for partition in 0..partitions {
        if topic.is_sparse() && !topic.dir(partition).exists(&backup.disk)? {
            continue;
        }
        topic.check_alive()?;
        let to = backup.dest.join(file_name::partition_dir(name, partition));
        let log = topic.log(partition)?.back_up(&to, backup)?;
        let key = MarkKey {
            topic: topic.id(),
            partition,
        };
        copied.push((key, name.to_owned(), log));
    }
    Ok(copied)
}

/// Removes what an earlier backup has and the root no longer does.
fn remove_others(backup: &Backup, copied: &Copied) -> Result<()> {
    let (disk, dest) = (&backup.disk, &backup.dest);
    let dirs = copied.iter();
    let dirs = dirs.map(|(key, name, _)| file_name::partition_dir(name, key.partition));
    let dirs: BTreeSet<_> = dirs.collect();
    for entry in disk.list(dest).at(dest, "list")? {
        let is_partition = matches!(DirName::parse(&entry.name), DirName::Partition { .. });
        if entry.kind == EntryKind::Dir && is_partition && !dirs.contains(&entry.name) {
            PartitionDir::remove(disk, &dest.join(&entry.name))?;
        }
    }
    disk.sync_dir(dest).at(dest, "sync")
}
