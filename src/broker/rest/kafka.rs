//! What Kafka's metadata says about topics and who else keeps them: `__cluster_metadata-0`, its
//! newest snapshot and the log after it, replayed.
//!
//! Knows nothing about our own catalog. `format/metadata/kinds.rs` says what becomes of each kind
//! of record. What is carried stays in the log, to which [`append`] only adds. So nothing that
//! Kafka holds is lost: access rules, quotas, users.
//!
//! 1. Records between BEGIN and END TRANSACTION count when END is there.
//! 2. A single node commits everything in its log when it starts, so all of it counts.
//! 3. What cannot be read is refused, as a topic that is overlooked here would be lost: damage
//!    (except a torn end after a crash of the broker), and records about topics in a later version.
//!    A record of an unknown kind may say where a partition is, so the root is only read.
//! 4. The newest voters count: those of the log, else of the snapshot, else of the file that the
//!    quorum began with, else of `quorum-state`, which names them where brokers learn the voters
//!    from their properties.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::SMALL_FILE_BYTES_MAX;
use crate::error::{Error, IoContext, Result};
use crate::format::metadata::{
    MetadataRecord, PartitionChange, PartitionRecord, Snapshot, TOPIC_RESOURCE, Treatment,
    decode_quorum_state, treatment, voters_in,
};
use crate::format::properties;
use crate::format::{Corruption, DecodeError, MarkKey, MetadataFile, file_name};
use crate::host::Host;
use crate::log::Log;
use crate::recovery::{LogSource, OpenMode};
use crate::types::LogConfig;
use crate::types::{Offset, PartitionId, Record, TopicId, TopicName};

use super::settings::KafkaSettings;

/// Kafka's own limit for these batches is 8 MiB.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// A record about topics that may still be kept in `ZooKeeper`, too.
const MIGRATION: u32 = 21;
/// Its states while the migration is under way; which state is which has changed once.
const MIGRATING: [u8; 2] = [1, 2];

const BEGIN_TRANSACTION: u32 = 23;
const END_TRANSACTION: u32 = 24;
const ABORT_TRANSACTION: u32 = 25;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KafkaTopic {
    pub(super) name: String,
    pub(super) partitions: BTreeMap<PartitionId, PartitionRecord>,
    pub(super) settings: KafkaSettings,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KafkaState {
    pub(super) topics: BTreeMap<TopicId, KafkaTopic>,
    /// All ids below were handed out.
    pub(super) next_producer_id: i64,
    /// The newest voters (I4).
    pub(super) voters: Option<Vec<i32>>,
    pub(super) is_migrating: bool,
    /// The first record of an unknown kind (I3): api key and version.
    pub(super) unknown: Option<(u32, u32)>,
    names: BTreeMap<String, TopicId>,
    /// The records of an open transaction (I1).
    transaction: Option<Vec<MetadataRecord>>,
}

impl KafkaState {
    /// `clean` says how the last use ended. `None` where no broker has left metadata.
    ///
    /// # Errors
    ///
    /// - [`Error::Corrupt`] with the file that is damaged or says something impossible.
    /// - [`Error::Unsupported`]: see (I3).
    pub(super) fn read(
        host: &Arc<Host>,
        root: &Path,
        files: &[MetadataFile],
        clean: bool,
    ) -> Result<Option<Self>> {
        let dir = root.join(file_name::CLUSTER_METADATA);
        // A broker that was killed right after its first start leaves a log of nothing.
        let has_log = files
            .iter()
            .any(|file| is_log(&file.name) && file.length > 0);
        let snapshots = files.iter().filter_map(|file| {
            let end = snapshot_end(&file.name)?;
            Some((end, &file.name))
        });
        let newest = snapshots.max().filter(|(end, _)| *end > 0);
        if !has_log && newest.is_none() {
            // The file that the quorum began with is our own then, and a close rewrites it.
            return Ok(None);
        }
        let mut state = Self::default();
        state.read_quorum(host, &dir)?;
        let mut next = 0;
        if let Some((end, name)) = newest {
            let path = dir.join(name);
            state.read_snapshot(host, &path)?;
            next = end;
        }
        if has_log {
            let log = open(host, &dir, OpenMode::Read)?;
            check_complete(&log, &dir, files, clean)?;
            state.read_log(&log, &dir, next)?;
        }
        Ok(Some(state))
    }

    /// The voters before any record (I4).
    fn read_quorum(&mut self, host: &Host, dir: &Path) -> Result<()> {
        let path = dir.join(file_name::QUORUM_CHECKPOINT);
        self.voters = snapshot(host, &path)?.voters;
        if self.voters.is_some() {
            return Ok(());
        }
        let path = dir.join(file_name::QUORUM_STATE);
        let bytes = host.disk.read_small(&path, properties::SIZE_MAX);
        let bytes = bytes.at(&path, "read")?.unwrap_or_default();
        self.voters =
            decode_quorum_state(&bytes).map_err(|reason| Error::corrupt(&path, 0, reason))?;
        Ok(())
    }

    fn read_snapshot(&mut self, host: &Host, path: &Path) -> Result<()> {
        let Snapshot { records, voters } = snapshot(host, path)?;
        self.voters = voters.or(self.voters.take());
        for record in records {
            self.take(record).map_err(|refused| refused.at(path, 0))?;
        }
        Ok(())
    }

    fn read_log(&mut self, log: &Log, dir: &Path, from: Offset) -> Result<()> {
        let start = log.start_offset();
        if start > from {
            let reason = Corruption::offset(from, start);
            return Err(Error::corrupt(&dir.join(file_name::log(start)), 0, reason));
        }
        let mut reader = log.reader(from.min(log.end_offset()))?;
        while let Some(batch) = reader.next_batch()? {
            for record in batch.records() {
                if record.offset < from {
                    continue;
                }
                let value = record.value().unwrap_or_default();
                MetadataRecord::decode(value)
                    .map_err(Refused::Damaged)
                    .and_then(|record| self.take(record))
                    .map_err(|refused| refused.at(dir, record.offset))?;
            }
        }
        log.each_control_batch(from, |batch| {
            let voters = voters_in(batch);
            let voters = voters.map_err(|reason| Error::corrupt(dir, batch.base_offset(), reason));
            self.voters = voters?.or(self.voters.take());
            Ok(())
        })
    }

    /// Takes in a record, or keeps it until its transaction ends (I1).
    fn take(&mut self, record: MetadataRecord) -> Result<(), Refused> {
        match (&record, &mut self.transaction) {
            (MetadataRecord::Unknown { api_key, .. }, _) if *api_key == BEGIN_TRANSACTION => {
                self.transaction = Some(Vec::new());
                Ok(())
            }
            (MetadataRecord::Unknown { api_key, .. }, _) if *api_key == ABORT_TRANSACTION => {
                self.transaction = None;
                Ok(())
            }
            (MetadataRecord::Unknown { api_key, .. }, _) if *api_key == END_TRANSACTION => {
                let records = self.transaction.take().unwrap_or_default();
                records
                    .into_iter()
                    .try_for_each(|record| self.apply(record))
            }
            (_, Some(waiting)) => {
                waiting.push(record);
                Ok(())
            }
            (_, None) => self.apply(record),
        }
    }

    fn apply(&mut self, record: MetadataRecord) -> Result<(), Refused> {
        match record {
            MetadataRecord::Topic { name, id } => {
                TopicName::new(&name).map_err(says)?;
                if self.names.insert(name.clone(), id).is_some() {
                    return Err(says("two topics have the same name"));
                }
                let topic = KafkaTopic {
                    name,
                    ..KafkaTopic::default()
                };
                match self.topics.insert(id, topic) {
                    Some(_) => Err(says("two topics have the same id")),
                    None => Ok(()),
                }
            }
            MetadataRecord::Partition(partition) => {
                let topic = self
                    .topics
                    .get_mut(&partition.topic)
                    .ok_or_else(|| says("a partition belongs to no topic"))?;
                topic.partitions.insert(partition.partition, partition);
                Ok(())
            }
            MetadataRecord::PartitionChange(change) => self.change(change),
            MetadataRecord::RemoveTopic { id } => {
                let topic = self
                    .topics
                    .remove(&id)
                    .ok_or_else(|| says("a topic is removed that is not there"))?;
                self.names.remove(&topic.name);
                Ok(())
            }
            MetadataRecord::Config {
                resource_type: TOPIC_RESOURCE,
                resource,
                key,
                value,
            } => {
                // A setting of a topic that is not there says nothing.
                let topic = self.names.get(&resource);
                if let Some(topic) = topic.and_then(|id| self.topics.get_mut(id)) {
                    match value {
                        Some(value) => topic.settings.insert(key, value),
                        None => topic.settings.remove(&key),
                    };
                }
                Ok(())
            }
            MetadataRecord::ProducerIds {
                next_producer_id, ..
            } => {
                self.next_producer_id = self.next_producer_id.max(next_producer_id);
                Ok(())
            }
            MetadataRecord::Unknown {
                api_key,
                version,
                raw,
            } => self.apply_other(api_key, version, &raw),
            // Carried: it stays in Kafka's log.
            MetadataRecord::Config { .. } | MetadataRecord::FeatureLevel { .. } => Ok(()),
        }
    }

    fn change(&mut self, change: PartitionChange) -> Result<(), Refused> {
        let topic = self.topics.get_mut(&change.topic);
        let partition = topic.and_then(|topic| topic.partitions.get_mut(&change.partition));
        let partition =
            partition.ok_or_else(|| says("a partition is changed that is not there"))?;
        partition.change(change);
        Ok(())
    }

    /// Handles a record of another kind (I3).
    fn apply_other(&mut self, api_key: u32, version: u32, raw: &[u8]) -> Result<(), Refused> {
        match treatment(api_key, version) {
            Treatment::Replayed if api_key == MIGRATION => {
                let state = raw.first().copied().unwrap_or_default();
                self.is_migrating = MIGRATING.contains(&state);
                Ok(())
            }
            Treatment::Replayed | Treatment::Carried => Ok(()),
            // Earlier versions of this record count.
            Treatment::Refused if treatment(api_key, 0) != Treatment::Refused => {
                Err(Refused::Later { api_key, version })
            }
            Treatment::Refused => {
                self.unknown.get_or_insert((api_key, version));
                Ok(())
            }
        }
    }

    /// A starting broker aborts such a transaction, with whatever follows.
    pub(super) fn is_in_transaction(&self) -> bool {
        self.transaction.is_some()
    }
}

enum Refused {
    Damaged(Corruption),
    /// Its version is unknown, and it must not be overlooked.
    Later {
        api_key: u32,
        version: u32,
    },
}

fn says(what: &'static str) -> Refused {
    Refused::Damaged(Corruption::malformed(what))
}

impl Refused {
    fn at(self, path: &Path, position: u64) -> Error {
        match self {
            Self::Damaged(reason) => Error::corrupt(path, position, reason),
            Self::Later { api_key, version } => Error::Unsupported {
                what: format!(
                    "{} has a record of kind {api_key} in version {version}, from a newer Kafka \
                     than this crate knows: use a newer version of the crate, or move the topics \
                     to an older broker",
                    path.display(),
                ),
            },
        }
    }
}

/// Fails if opening has skipped more than a torn end (I3).
fn check_complete(log: &Log, dir: &Path, files: &[MetadataFile], clean: bool) -> Result<()> {
    let read = log.segments().into_iter();
    let read: BTreeMap<_, _> = read
        .map(|segment| (file_name::log(segment.base_offset), segment.size_bytes))
        .collect();
    let nothing = read.values().all(|bytes| *bytes == 0);
    let torn = !clean && !nothing && log.open_report().valid_batches_after_cut == 0;
    if torn {
        return Ok(());
    }
    for file in files.iter().filter(|file| is_log(&file.name)) {
        let good = read.get(&file.name).copied().unwrap_or(0);
        if good < file.length {
            let reason = Corruption::malformed("Kafka's metadata is damaged from here on");
            return Err(Error::corrupt(&dir.join(&file.name), good, reason));
        }
    }
    Ok(())
}

/// Appends records to the metadata log, durably.
pub(super) fn append(host: &Arc<Host>, root: &Path, records: &[MetadataRecord]) -> Result<()> {
    let dir = root.join(file_name::CLUSTER_METADATA);
    host.marks.forget(MarkKey::METADATA_LOG)?;
    let log = open(host, &dir, OpenMode::Write)?;
    let appended = append_to(&log, records);
    let closed = log.close_managed();
    host.marks.forget(MarkKey::METADATA_LOG)?;
    appended.and(closed)
}

fn append_to(log: &Log, records: &[MetadataRecord]) -> Result<()> {
    let mut batch: Vec<Vec<u8>> = Vec::new();
    let mut size = 0_usize;
    for record in records {
        let mut value = Vec::new();
        record.encode(&mut value);
        size = size.saturating_add(value.len());
        batch.push(value);
        if size >= BATCH_BYTES_MAX {
            log.append_batch(batch.iter().map(Record::new))?;
            batch.clear();
            size = 0;
        }
    }
    log.append_batch(batch.iter().map(Record::new))?;
    Ok(())
}

pub(super) fn abort_transaction() -> MetadataRecord {
    MetadataRecord::Unknown {
        api_key: ABORT_TRANSACTION,
        version: 0,
        // No tagged fields.
        raw: vec![0],
    }
}

fn open(host: &Arc<Host>, dir: &Path, mode: OpenMode) -> Result<Log> {
    let source = LogSource {
        dir: dir.to_path_buf(),
        mark_key: MarkKey::METADATA_LOG,
        lock: None,
        managed: true,
    };
    let config = LogConfig::default().max_message_bytes(8 << 20);
    Log::open_in(host, source, config, mode)
}

/// Reads a snapshot; an empty one without a file.
fn snapshot(host: &Host, path: &Path) -> Result<Snapshot> {
    let bytes = host
        .disk
        .read_small(path, SMALL_FILE_BYTES_MAX)
        .at(path, "read")?;
    Snapshot::decode(&Bytes::from(bytes.unwrap_or_default()))
        .map_err(|error| undecodable(path, error))
}

fn undecodable(path: &Path, error: DecodeError) -> Error {
    match error {
        DecodeError::Corrupt(reason) => Error::corrupt(path, 0, reason),
        DecodeError::Unsupported(what) => Error::Unsupported {
            what: format!("{} in {}", what, path.display()),
        },
    }
}

/// The offset in a snapshot's name: 20 digits, a dash, ten digits.
fn snapshot_end(name: &str) -> Option<Offset> {
    let stem = name.strip_suffix(".checkpoint")?;
    let (end, epoch) = stem.split_once('-')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let named = end.len() == 20 && epoch.len() == 10 && digits(end) && digits(epoch);
    named.then(|| end.parse().ok())?
}

fn is_log(name: &str) -> bool {
    name.strip_suffix(".log").is_some()
}
