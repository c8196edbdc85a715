//! What the files of a root take up, by topic and kind, and the limit on it.
//!
//! Knows nothing about what is in the files: their names say what they are for.
//!
//! 1. A file that goes meanwhile is not counted, as nothing is locked.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Weak};

use crate::disk::{Disk, EntryKind};
use crate::error::{IoContext, Result};
use crate::format::DirName;
use crate::format::file_name::{self, FileKind, FileName};
use crate::host::Evict;
use crate::sync::for_each_on;
use crate::topic::TopicShared;
use crate::types::{PartitionId, is_internal_topic};

use super::root::Root;

/// What a broker's directory takes up, in bytes: see
/// [`Broker::disk_usage`](crate::Broker::disk_usage). A segment that is appended to counts with the
/// space reserved for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct DiskUsage {
    /// Batches of records of all topics.
    pub records: u64,
    /// Indexes, digests and snapshots of producers of all topics.
    pub indexes: u64,
    /// The broker's own: commits of groups, the catalog, marks, checkpoints.
    pub internal: u64,
    /// What opening or [`repair`](crate::repair) quarantined.
    pub quarantine: u64,
    /// Everything else.
    pub other: u64,
    /// The share of each topic in these sums.
    pub topics: BTreeMap<String, TopicUsage>,
}

/// The bytes of one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct TopicUsage {
    /// Batches of records.
    pub records: u64,
    /// Indexes, digests and snapshots of producers.
    pub indexes: u64,
    /// What was quarantined.
    pub quarantine: u64,
    /// Everything else in its partitions.
    pub other: u64,
}

impl DiskUsage {
    /// The sum of all kinds.
    #[must_use]
    pub fn total(&self) -> u64 {
        let kinds = [
            self.records,
            self.indexes,
            self.internal,
            self.quarantine,
            self.other,
        ];
        kinds.into_iter().fold(0, u64::saturating_add)
    }
}

impl TopicUsage {
    /// The sum of all kinds.
    #[must_use]
    pub fn total(&self) -> u64 {
        let kinds = [self.records, self.indexes, self.quarantine, self.other];
        kinds.into_iter().fold(0, u64::saturating_add)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Records,
    Indexes,
    Internal,
    Quarantine,
    Other,
}

/// The lengths of all files of a root.
#[derive(Debug, Default)]
struct Look {
    usage: DiskUsage,
    /// What a log is charged for while it is open, by partition.
    segments: BTreeMap<(String, PartitionId), u64>,
    /// The root's own files, each of which may be replaced by another one.
    of_root: u64,
}

impl Look {
    fn at(disk: &Disk, root: &Path) -> Result<Self> {
        let mut look = Self::default();
        for entry in disk.list(root).at(root, "list")? {
            let path = root.join(&entry.name);
            match (entry.kind, DirName::parse(&entry.name)) {
                (EntryKind::File, _) => {
                    let (kind, bytes) = (kind_in_root(&entry.name), len(disk, &path));
                    look.add(None, kind, bytes);
                    // Neither grows with what is kept.
                    let fixed = [file_name::BALLAST, file_name::LIVE];
                    if kind == Kind::Internal && !fixed.contains(&entry.name.as_str()) {
                        look.of_root = look.of_root.saturating_add(bytes);
                    }
                }
                (EntryKind::Dir, DirName::Partition { topic, partition }) => {
                    look.add_partition(disk, &path, topic, partition);
                }
                (EntryKind::Dir, _) => {
                    look.add(None, kind_in_root(&entry.name), len_below(disk, &path));
                }
                (EntryKind::Other, _) => {}
            }
        }
        Ok(look)
    }

    fn add_partition(&mut self, disk: &Disk, dir: &Path, topic: &str, partition: PartitionId) {
        let internal = is_internal_topic(topic);
        if !internal {
            self.usage.topics.entry(topic.to_owned()).or_default();
        }
        for entry in disk.list(dir).unwrap_or_default() {
            let path = dir.join(&entry.name);
            let bytes = match entry.kind {
                EntryKind::File => len(disk, &path),
                EntryKind::Dir => len_below(disk, &path),
                EntryKind::Other => 0,
            };
            let kind = kind_in_partition(&entry.name);
            if is_charged(&entry.name) {
                let of_partition = self.segments.entry((topic.to_owned(), partition));
                let sum = of_partition.or_default();
                *sum = sum.saturating_add(bytes);
            }
            match kind {
                Kind::Quarantine if internal => self.add(None, kind, bytes),
                _ if internal => self.add(None, Kind::Internal, bytes),
                _ => self.add(Some(topic), kind, bytes),
            }
        }
    }

    fn add(&mut self, topic: Option<&str>, kind: Kind, bytes: u64) {
        let usage = &mut self.usage;
        let of_topic = topic.and_then(|topic| usage.topics.get_mut(topic));
        let add = |sum: &mut u64| *sum = sum.saturating_add(bytes);
        add(match kind {
            Kind::Records => &mut usage.records,
            Kind::Indexes => &mut usage.indexes,
            Kind::Internal => &mut usage.internal,
            Kind::Quarantine => &mut usage.quarantine,
            Kind::Other => &mut usage.other,
        });
        let Some(of_topic) = of_topic else { return };
        add(match kind {
            Kind::Records => &mut of_topic.records,
            Kind::Indexes => &mut of_topic.indexes,
            Kind::Quarantine => &mut of_topic.quarantine,
            Kind::Internal | Kind::Other => &mut of_topic.other,
        });
    }
}

fn kind_in_partition(name: &str) -> Kind {
    match FileName::parse(name) {
        FileName::Segment {
            kind: FileKind::Log,
            ..
        } => Kind::Records,
        FileName::Segment { .. } => Kind::Indexes,
        FileName::Quarantine { .. } => Kind::Quarantine,
        _ if name.contains(".quarantine") => Kind::Quarantine,
        _ if name == file_name::NEXT_SEGMENT => Kind::Records,
        _ => Kind::Other,
    }
}

/// Whether a log is charged for a file. True for all that appending and compaction write, not for
/// what brokers keep of producers.
fn is_charged(name: &str) -> bool {
    let file = match FileName::parse(name) {
        FileName::Segment { kind, .. } => Some(kind),
        _ => None,
    };
    let of_brokers = [FileKind::Snapshot, FileKind::TxnIndex];
    name == file_name::NEXT_SEGMENT || file.is_some_and(|kind| !of_brokers.contains(&kind))
}

fn kind_in_root(name: &str) -> Kind {
    let ours = name.starts_with("ottla.") || name.starts_with("__") || name.starts_with('.');
    let of_kafka = name.ends_with("checkpoint") || name == file_name::META_PROPERTIES;
    if name.contains(".quarantine") {
        Kind::Quarantine
    } else if ours || of_kafka {
        Kind::Internal
    } else {
        Kind::Other
    }
}

fn len(disk: &Disk, path: &Path) -> u64 {
    disk.file_len(path).unwrap_or(0)
}

fn len_below(disk: &Disk, dir: &Path) -> u64 {
    let mut sum: u64 = 0;
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in disk.list(&dir).unwrap_or_default() {
            let path = dir.join(&entry.name);
            match entry.kind {
                EntryKind::File => sum = sum.saturating_add(len(disk, &path)),
                EntryKind::Dir => dirs.push(path),
                EntryKind::Other => {}
            }
        }
    }
    sum
}

impl Root {
    pub(super) fn disk_usage(&self) -> Result<DiskUsage> {
        self.check_open()?;
        Ok(Look::at(&self.host.disk, &self.path)?.usage)
    }

    /// Opens all logs, so that each is charged for its segments, and keeps to the limit from now
    /// on. A log that cannot be opened counts as it is.
    pub(super) fn begin_budget(self: &Arc<Self>) {
        if self.config.max_total_bytes.is_none() {
            return;
        }
        let root: Weak<Self> = Arc::downgrade(self);
        self.host.budget.evict_by(root);
        let mut all = Vec::new();
        for topic in self.directory.all() {
            let partitions = (0..topic.partition_count()).filter(|id| topic.has_dir(*id));
            all.extend(partitions.map(|id| (Arc::clone(&topic), id)));
        }
        for_each_on(
            self.host.disk.calls_at_once(),
            &all,
            |(topic, partition)| {
                // Opening charges the log. The user of one that cannot be opened gets the error.
                drop(topic.log(*partition));
            },
        );
        self.keep_budget();
    }

    /// Counts what no log is charged for, and forgets what exceeds the limit.
    pub(super) fn keep_budget(&self) {
        if self.config.max_total_bytes.is_none() {
            return;
        }
        if let Ok(look) = Look::at(&self.host.disk, &self.path) {
            let mut beside = look.usage.total().saturating_add(look.of_root);
            for ((name, partition), bytes) in look.segments {
                let topic = self.directory.find(&name);
                if topic.is_some_and(|t| t.shared().opened_log(partition).is_some()) {
                    beside = beside.saturating_sub(bytes);
                }
            }
            self.host.budget.set_beside(beside);
        }
        self.host.budget.keep();
    }
}

impl Evict for Root {
    fn forget_oldest(&self) -> bool {
        let mut oldest = Vec::new();
        for topic in self.directory.all() {
            if may_forget(&topic) {
                let logs = topic.open_logs().into_iter();
                oldest.extend(logs.map(|log| (log.oldest_sealed(), log)));
            }
        }
        // Logs without a sealed segment come last: there this only waits for a thread that removes
        // segments, whose bytes are in use until then.
        oldest.sort_by_key(|(newest, _)| (newest.is_none(), *newest));
        // A log whose oldest segment must stay, or that cannot be written, does not stop the
        // others.
        oldest
            .iter()
            .any(|(_, log)| matches!(log.forget_oldest(), Ok(true)))
    }
}

/// Whether records may be deleted before their time is over.
fn may_forget(topic: &TopicShared) -> bool {
    let config = topic.config();
    let limited = config.retention.is_some() || config.retention_bytes.is_some();
    config.cleanup_policy.deletes() && limited && !is_internal_topic(topic.name().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_one_kind() {
        let partition = [
            ("00000000000000000042.log", Kind::Records),
            ("00000000000000000042.index", Kind::Indexes),
            ("00000000000000000042.digest", Kind::Indexes),
            ("00000000000000000042-8192-3.quarantine", Kind::Quarantine),
            ("ottla.next", Kind::Records),
            ("partition.metadata", Kind::Other),
        ];
        for (name, kind) in partition {
            assert_eq!(kind_in_partition(name), kind, "{name}");
        }
        let root = [
            ("ottla.catalog", Kind::Internal),
            ("ottla.catalog-77.quarantine", Kind::Quarantine),
            ("meta.properties", Kind::Internal),
            ("recovery-point-offset-checkpoint", Kind::Internal),
            (".lock", Kind::Internal),
            ("notes.txt", Kind::Other),
        ];
        for (name, kind) in root {
            assert_eq!(kind_in_root(name), kind, "{name}");
        }
    }
}
