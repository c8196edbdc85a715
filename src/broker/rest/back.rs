//! Taking over what a broker left: its topics into the catalog, and how far each log is safe into
//! the marks.
//!
//! Knows nothing about what is in the logs.
//!
//! 1. Kafka's metadata is newer than the catalog, so it wins; only what Kafka has no word for is
//!    kept.
//! 2. Marks and digests describe files that a broker may have compacted, truncated or appended to:
//!    all of them go. After a clean end of the broker the marks come from its checkpoints and the
//!    names and lengths of the files, so no segment is read. Otherwise a log is believed below the
//!    segment with its recovery point, and a compacted one not at all (`dir/checkpoints.rs`).
//! 3. It can begin again after a crash at any point, as it removes nothing that it reads.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use crate::dir::{Checkpoints, LogFiles, read_offsets};
use crate::disk::Disk;
use crate::error::{IoContext, Result};
use crate::format::{Mark, MarkKey, file_name};
use crate::host::Host;
use crate::types::{Durability, OFFSETS_TOPIC, Offset, PartitionId, TopicId, TopicName};

use super::super::BrokerConfig;
use super::super::catalog::Catalog;
use super::super::offsets::lost_partitions;
use super::super::state::{CatalogState, TopicEntry};
use super::RootState;
use super::kafka::KafkaState;
use super::settings::from_kafka;

/// The catalog by Kafka's metadata (I1).
pub(super) fn catalog_of(
    kafka: &KafkaState,
    own: &CatalogState,
    broker: Durability,
) -> CatalogState {
    let mut state = CatalogState::default();
    // Reading the metadata has checked what could be wrong with these records.
    let mut take = |records: Vec<_>| {
        for record in records {
            state.apply(record).ok();
        }
    };
    let leaving = own.leaving();
    for entry in leaving.filter(|entry| !kafka.topics.contains_key(&entry.id)) {
        take(entry.creation());
        take(vec![entry.removal()]);
    }
    for (id, topic) in &kafka.topics {
        let Ok(name) = TopicName::new(&topic.name) else {
            continue;
        };
        let before = own.topics().find(|entry| entry.id == *id);
        let settings = from_kafka(&topic.settings, before, broker);
        let partitions = u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX);
        let entry = TopicEntry {
            name,
            id: *id,
            partitions,
            settings,
        };
        take(entry.creation());
    }
    state.take_owing(own, |id| kafka.topics.contains_key(&id));
    state.note_producer_ids(kafka.next_producer_id.max(own.next_producer_id()));
    state
}

/// Replaces catalog and marks; can be repeated (I3).
pub(super) fn take_over(
    host: &Arc<Host>,
    root: &Path,
    found: &RootState,
    catalog: &mut Catalog,
    config: &BrokerConfig,
) -> Result<()> {
    if let Some(state) = found.catalog(catalog.state(), config) {
        catalog.replace(state)?;
    }
    for key in host.marks.keys() {
        if key.topic != TopicId::default() {
            host.marks.forget(key)?;
        }
    }
    let logs = logs_of(&host.disk, root, catalog.state())?;
    for mark in marks_of(&host.disk, root, found.clean, &logs)? {
        host.marks.write(host.marks.place(mark.key), &mark)?;
    }
    for path in logs.iter().flat_map(|log| &log.files.digests) {
        host.disk.remove_file(path).at(path, "remove")?;
    }
    host.marks.sync(host.clock.instant())
}

/// The marks by a broker's files (I2).
pub(super) fn marks(
    disk: &Disk,
    root: &Path,
    clean: bool,
    catalog: &CatalogState,
) -> Result<Vec<Mark>> {
    marks_of(disk, root, clean, &logs_of(disk, root, catalog)?)
}

fn marks_of(disk: &Disk, root: &Path, clean: bool, logs: &[LogOfTopic]) -> Result<Vec<Mark>> {
    let checkpoints = Checkpoints::read(disk, root, clean)?;
    let mut marks = Vec::new();
    for log in logs {
        let named = (log.key, log.topic.as_str());
        marks.extend(checkpoints.mark(disk, named, &log.files, log.is_compacted)?);
    }
    Ok(marks)
}

/// The lost partitions of `__consumer_offsets`: something was committed in them, and their
/// directories are gone.
pub(in crate::broker) fn lost_commits(
    host: &Host,
    root: &Path,
    catalog: &CatalogState,
) -> Result<BTreeSet<PartitionId>> {
    let noted = noted_ends(&host.disk, root)?;
    lost_partitions(host, root, catalog, noted)
}

/// How far a broker noted that a partition of `__consumer_offsets` went.
fn noted_ends(disk: &Disk, root: &Path) -> Result<impl Fn(PartitionId) -> Offset> {
    // A broker writes the second every few seconds, the first every minute.
    let synced = read_offsets(disk, root, file_name::RECOVERY_POINTS)?;
    let seen = read_offsets(disk, root, file_name::HIGH_WATERMARKS)?;
    Ok(move |partition| {
        let place = (OFFSETS_TOPIC.to_owned(), partition);
        let noted = [&synced, &seen].map(|offsets| offsets.get(&place).copied().unwrap_or(0));
        noted.into_iter().max().unwrap_or(0)
    })
}

/// All that is known of lost partitions, to be noted again.
pub(super) fn lost_recovery_points(
    host: &Host,
    root: &Path,
    catalog: &CatalogState,
) -> Result<BTreeMap<PartitionId, Offset>> {
    let lost = lost_commits(host, root, catalog)?;
    let noted = noted_ends(&host.disk, root)?;
    let lost = lost.into_iter();
    Ok(lost
        .map(|partition| (partition, noted(partition)))
        .collect())
}

struct LogOfTopic {
    key: MarkKey,
    topic: TopicName,
    is_compacted: bool,
    files: LogFiles,
}

/// A missing directory has no files.
fn logs_of(disk: &Disk, root: &Path, catalog: &CatalogState) -> Result<Vec<LogOfTopic>> {
    let mut logs = Vec::new();
    for entry in catalog.topics() {
        let is_compacted = entry.config().0.cleanup_policy.compacts();
        for partition in 0..entry.partitions {
            let dir = root.join(file_name::partition_dir(entry.name.as_str(), partition));
            logs.push(LogOfTopic {
                key: MarkKey {
                    topic: entry.id,
                    partition,
                },
                topic: entry.name.clone(),
                is_compacted,
                files: LogFiles::list(disk, &dir)?,
            });
        }
    }
    Ok(logs)
}
