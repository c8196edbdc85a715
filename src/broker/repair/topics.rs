//! The topics of a root with a damaged catalog, or one that lost some of them.
//!
//! Knows nothing about what is in their logs.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::dir::copy_bytes_aside;
use crate::disk::{Disk, EntryKind, SMALL_FILE_BYTES_MAX};
use crate::doctor::SetAside;
use crate::error::{IoContext, Result};
use crate::format::metadata::{MetadataRecord, decode_snapshot};
use crate::format::{Corruption, DirName, file_name};
use crate::host::Host;
use crate::topic::{PARTITIONS_MAX, PartitionDir, random_topic_id};
use crate::types::{OFFSETS_TOPIC, PartitionId, TopicId, TopicName, to_u64};

use super::super::catalog::{Catalog, Salvage};
use super::super::offsets::offsets_config;
use super::super::state::{CatalogState, TopicEntry};
use super::RootRepair;

/// What the directories say of a topic.
#[derive(Debug, Default)]
struct DirectoryFacts {
    id: Option<TopicId>,
    /// The last partition with a directory.
    last: PartitionId,
    /// The last one with records, if any.
    last_used: Option<PartitionId>,
}

impl RootRepair<'_> {
    /// Rewrites a catalog that is damaged, or lacks a topic with records.
    pub(super) fn catalog(&mut self, host: &Arc<Host>) -> Result<CatalogState> {
        let Salvage {
            mut state,
            damaged,
            bytes,
        } = Catalog::salvage(host, self.root)?;
        self.set_what_is_no_dir_aside(&state)?;
        self.put_back_dirs(host, &state)?;
        let lost = self.take_back(&mut state)?;
        if lost {
            self.set_what_is_no_dir_aside(&state)?;
        }
        if damaged.is_none() && !lost {
            return Ok(state);
        }
        let path = self.root.join(file_name::CATALOG);
        if let Some((position, reason)) = damaged
            && !bytes.is_empty()
        {
            self.copy_aside(&path, &bytes, position, reason)?;
        }
        Catalog::rebuild(host, self.root, state.clone())?;
        self.report.rebuilt.push(path);
        Ok(state)
    }

    fn set_what_is_no_dir_aside(&mut self, state: &CatalogState) -> Result<()> {
        for entry in self.disk.list(self.root).at(self.root, "list")? {
            let DirName::Partition { topic, partition } = DirName::parse(&entry.name) else {
                continue;
            };
            let path = self.root.join(&entry.name);
            let known = state.topic_of(topic, partition).is_some();
            if known && entry.kind != EntryKind::Dir && leads_nowhere(self.disk, &path) {
                self.set_aside(&path, Corruption::malformed("it is no directory"))?;
            }
        }
        Ok(())
    }

    fn copy_aside(
        &mut self,
        path: &Path,
        bytes: &[u8],
        position: u64,
        reason: Corruption,
    ) -> Result<()> {
        let quarantine = copy_bytes_aside(self.disk, path, bytes)?;
        self.report.set_aside.push(SetAside {
            path: path.to_path_buf(),
            position,
            bytes: to_u64(bytes.len()),
            offsets: 0..0,
            quarantine,
            reason,
        });
        Ok(())
    }

    /// Adds unknown topics and partitions with records; true if there were any.
    fn take_back(&mut self, state: &mut CatalogState) -> Result<bool> {
        let mut lost = false;
        let exported = self.exported();
        for (name, facts) in self.directory_facts()? {
            let Ok(name) = TopicName::new(&name) else {
                continue;
            };
            let leaves = state.leaving().any(|leaving| leaving.name == name);
            let records = match (state.find(&name), facts.last_used) {
                (Some(known), Some(used)) if used >= known.partitions => {
                    known.partitions_up_to(used.saturating_add(1))
                }
                (Some(_), _) => continue,
                (None, None) if facts.id.is_none() => continue,
                (None, None) if exported_id(&exported, &name) != facts.id => continue,
                (None, _) if leaves => continue,
                (None, _) => lost_topic(name, &facts, &exported, state).creation(),
            };
            lost = true;
            for record in records {
                state.apply(record).map_err(|what| {
                    let path = self.root.join(file_name::CATALOG);
                    crate::Error::corrupt(&path, 0, Corruption::malformed(what))
                })?;
            }
        }
        Ok(lost)
    }

    fn directory_facts(&self) -> Result<BTreeMap<String, DirectoryFacts>> {
        let mut topics: BTreeMap<String, DirectoryFacts> = BTreeMap::new();
        for entry in self.disk.list(self.root).at(self.root, "list")? {
            let DirName::Partition { topic, partition } = DirName::parse(&entry.name) else {
                continue;
            };
            let path = self.root.join(&entry.name);
            // No topic has that many: it is a name that ends in a number, such as a date.
            if entry.kind != EntryKind::Dir || partition >= PARTITIONS_MAX {
                continue;
            }
            let contents = PartitionDir::inspect(self.disk, &path)?;
            let facts = topics.entry(topic.to_owned()).or_default();
            facts.last = facts.last.max(partition);
            facts.id = facts.id.or(contents.id);
            if contents.data {
                facts.last_used = facts.last_used.max(Some(partition));
            }
        }
        Ok(topics)
    }

    /// The topics in the last metadata written for Kafka.
    fn exported(&self) -> BTreeMap<String, Exported> {
        let path = self.root.join(file_name::BOOTSTRAP);
        let bytes = self.disk.read_small(&path, SMALL_FILE_BYTES_MAX);
        let bytes = bytes.ok().flatten().unwrap_or_default();
        let records = decode_snapshot(&Bytes::from(bytes)).unwrap_or_default();
        let mut topics: BTreeMap<String, Exported> = BTreeMap::new();
        for record in records {
            match record {
                MetadataRecord::Topic { name, id } => {
                    let settings = BTreeMap::new();
                    topics.insert(name, Exported { id, settings });
                }
                MetadataRecord::Config {
                    resource,
                    key,
                    value: Some(value),
                    ..
                } => {
                    if let Some(topic) = topics.get_mut(&resource) {
                        topic.settings.insert(key, value);
                    }
                }
                _ => {}
            }
        }
        topics
    }
}

/// Neither a directory nor a link to one.
fn leads_nowhere(disk: &Disk, path: &Path) -> bool {
    let kind = disk.list(path).map_err(|error| error.kind());
    matches!(kind, Err(ErrorKind::NotFound | ErrorKind::NotADirectory))
}

struct Exported {
    id: TopicId,
    settings: BTreeMap<String, String>,
}

fn exported_id(exported: &BTreeMap<String, Exported>, name: &TopicName) -> Option<TopicId> {
    exported.get(name.as_str()).map(|exported| exported.id)
}

fn lost_topic(
    name: TopicName,
    facts: &DirectoryFacts,
    exported: &BTreeMap<String, Exported>,
    state: &CatalogState,
) -> TopicEntry {
    let free = |id: &TopicId| !state.has(*id);
    let exported = exported.get(name.as_str());
    let exported = exported.filter(|exported| facts.id.is_none_or(|id| id == exported.id));
    let id = facts.id.or_else(|| exported.map(|exported| exported.id));
    let id = id.filter(free).unwrap_or_else(random_topic_id);
    let partitions = facts.last.saturating_add(1);
    if name.as_str() == OFFSETS_TOPIC {
        return TopicEntry::new(name, id, &offsets_config());
    }
    let settings = exported.map(|exported| exported.settings.clone());
    TopicEntry {
        name,
        id,
        partitions,
        settings: settings.unwrap_or_default(),
    }
}
