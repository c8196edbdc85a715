//! Topics come, change and go: the order of effects that after a crash leaves each wholly there or
//! wholly gone.
//!
//! Knows nothing about the bytes of the catalog.
//!
//! 1. Made and extended: see `root.rs`.
//! 2. Deleted: the catalog first, and the topic is gone; then its files, its marks and the groups'
//!    commits; then the catalog notes that nothing is left. The next opening, or the next topic of
//!    the same name, finishes a deletion. Where a partition of `__consumer_offsets` cannot be read,
//!    the catalog keeps what is owed there, and the name is free: the first opening that can read
//!    it forgets these commits before a group can use them.
//! 3. User code runs with no lock held.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::MarkKey;
use crate::format::metadata::MetadataRecord;
use crate::sync::WakeLater;
use crate::topic::{PartitionDir, TopicConfig, TopicShared};
use crate::types::{Offset, PartitionId, Settings as _, TopicName, is_internal_topic};

use super::core::Core;
use super::root::invalid_name;
use super::state::{CatalogState, Owing, TopicEntry};

impl Core {
    pub(super) fn create(&self, name: &str, config: TopicConfig) -> Result<Arc<TopicShared>> {
        let _later = WakeLater::begin();
        self.root.check_writable()?;
        let name = user_name(name)?;
        config.check()?;
        self.finish_deletion_of(&name)?;
        self.root.create(name, config)
    }

    pub(super) fn alter(
        &self,
        name: &str,
        options: AlterOptions,
        change: impl FnOnce(TopicConfig) -> TopicConfig,
    ) -> Result<()> {
        self.root.check_writable()?;
        let name = user_name(name)?;
        let present = self.root.directory.get(name.as_str())?;
        let before = present.config();
        let wanted = change(before.clone());
        wanted.check()?;
        let guards_keys = !options.drop_keyless && becomes_compacted(&before, &wanted);
        let mut checked = Vec::new();
        if guards_keys {
            // Without the lock, as it may take long.
            check_keys(present.shared(), &mut checked)?;
        }
        let _later = WakeLater::begin();
        let mut catalog = self.root.catalog.lock();
        self.root.check_writable()?;
        let topic = self.root.directory.get(name.as_str())?;
        let topic = topic.shared();
        let now = topic.config();
        // Another call may have changed something else meanwhile.
        let config = now.with_changes(&before, &wanted)?;
        config.check()?;
        check_not_fewer(now.partitions, config.partitions)?;
        let unknown = || Error::UnknownTopic {
            name: name.to_string(),
        };
        let entry = catalog.state().find(&name).ok_or_else(unknown)?;
        let records = entry.alteration(&config);
        if records.is_empty() {
            return Ok(());
        }
        let new = now.partitions..config.partitions;
        let refused = if guards_keys {
            refuse_keyless(topic, &now, &config, &mut checked)
        } else {
            Ok(())
        };
        let made = refused.and_then(|()| self.root.make_dirs(topic, new.clone()));
        if let Err(error) = made.and_then(|()| catalog.append(records)) {
            if !catalog.in_doubt() {
                self.root.unmake_dirs(topic, new);
            }
            if guards_keys {
                drop(topic.reconfigure(now.as_ref().clone()));
            }
            return Err(error);
        }
        self.root.host.marks.keep_ballast();
        let applied = topic.reconfigure(config);
        self.root.directory.tell();
        applied
    }

    pub(super) fn delete(&self, name: &str) -> Result<()> {
        let _later = WakeLater::begin();
        self.root.check_writable()?;
        let name = user_name(name)?;
        let deletions = self.deletions.lock();
        let entry = {
            let mut catalog = self.root.catalog.lock();
            self.root.check_writable()?;
            let unknown = || Error::UnknownTopic {
                name: name.to_string(),
            };
            let entry = catalog.state().find(&name).cloned().ok_or_else(unknown)?;
            catalog.append(vec![MetadataRecord::RemoveTopic { id: entry.id }])?;
            entry
        };
        let topic = self.root.end_topic(name.as_str());
        let finished = self.finish_deletion(&entry);
        drop(deletions);
        for log in topic.iter().flat_map(|topic| topic.open_logs()) {
            log.uncharge();
        }
        if finished.is_err() {
            // What was not removed counts as files of no log.
            self.root.keep_budget();
        }
        finished
    }

    fn finish_deletion_of(&self, name: &TopicName) -> Result<()> {
        if self.leaving(name).is_none() {
            return Ok(());
        }
        let _deletions = self.deletions.lock();
        match self.leaving(name) {
            Some(entry) => self.finish_deletion(&entry),
            None => Ok(()),
        }
    }

    fn leaving(&self, name: &TopicName) -> Option<TopicEntry> {
        let catalog = self.root.catalog.lock();
        catalog
            .state()
            .leaving()
            .find(|entry| entry.name == *name)
            .cloned()
    }

    /// What cannot be finished now is tried again before the name is used, and by the next opening.
    pub(super) fn finish_deletions(&self) {
        let _deletions = self.deletions.lock();
        let leaving: Vec<_> = self
            .root
            .catalog
            .lock()
            .state()
            .leaving()
            .cloned()
            .collect();
        for entry in leaving {
            drop(self.finish_deletion(&entry));
        }
        let owing: Vec<_> = self.root.catalog.lock().state().owing().cloned().collect();
        for owing in owing {
            drop(self.pay(owing));
        }
    }

    /// Forgets commits that are owed, where they can be read now (I2).
    fn pay(&self, mut owing: Owing) -> Result<()> {
        let partitions = Some(&owing.partitions);
        let left = self.groups.forget_topic(owing.name.as_str(), partitions)?;
        if left == owing.partitions {
            return Ok(());
        }
        owing.partitions = left;
        let record = if owing.partitions.is_empty() {
            owing.removal()
        } else {
            owing.record()
        };
        self.root.catalog.lock().append(vec![record])
    }

    /// Removes what is left of a deleted topic (I2). Called with `deletions` held.
    fn finish_deletion(&self, entry: &TopicEntry) -> Result<()> {
        let disk = &self.root.host.disk;
        for partition in 0..entry.partitions {
            let dir = PartitionDir::new(&self.root.path, &entry.name, entry.id, partition);
            if dir.exists(disk)? && !dir.is_of_other_topic(disk)? {
                PartitionDir::remove(disk, dir.path())?;
            }
        }
        PartitionDir::sync_root(disk, &self.root.path)?;
        for partition in 0..entry.partitions {
            self.root.host.marks.forget(MarkKey {
                topic: entry.id,
                partition,
            })?;
        }
        let partitions = self.groups.forget_topic(entry.name.as_str(), None)?;
        let mut catalog = self.root.catalog.lock();
        let records = ending(entry, partitions, catalog.state());
        let ended = catalog.append(records);
        self.root.host.marks.keep_ballast();
        ended
    }
}

/// The records that end a deletion, except for the commits in partitions that cannot be read.
/// Earlier topics of the name owe nothing that this one does not.
fn ending(
    entry: &TopicEntry,
    partitions: BTreeSet<PartitionId>,
    state: &CatalogState,
) -> Vec<MetadataRecord> {
    if partitions.is_empty() {
        return vec![entry.removal()];
    }
    let owing = Owing {
        name: entry.name.clone(),
        id: entry.id,
        partitions,
    };
    let earlier = state.owing().filter(|earlier| earlier.name == entry.name);
    let covered = earlier.filter(|earlier| earlier.partitions.is_subset(&owing.partitions));
    std::iter::once(owing.record())
        .chain(covered.map(Owing::removal))
        .collect()
}

fn user_name(name: &str) -> Result<TopicName> {
    let checked = TopicName::new(name).map_err(|reason| invalid_name(name, reason))?;
    if is_internal_topic(name) {
        let reason = "the name belongs to Kafka itself: such a topic is internal and read-only";
        return Err(invalid_name(name, reason));
    }
    Ok(checked)
}

fn check_not_fewer(now: u32, wanted: u32) -> Result<()> {
    if wanted >= now {
        return Ok(());
    }
    Err(Error::InvalidConfig {
        name: "partitions".to_owned(),
        value: wanted.to_string(),
        expected: format!("at least {now}, for partitions are never taken away"),
    })
}

/// Options of [`Broker::alter_topic_with`](crate::Broker::alter_topic_with).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AlterOptions {
    /// Lets a topic with records without keys become a compacted one: the next compaction drops
    /// them. Default false: the change is refused.
    pub drop_keyless: bool,
}

impl AlterOptions {
    /// Sets [`drop_keyless`](Self::drop_keyless).
    #[must_use]
    pub const fn drop_keyless(mut self, drop: bool) -> Self {
        self.drop_keyless = drop;
        self
    }
}

fn becomes_compacted(before: &TopicConfig, wanted: &TopicConfig) -> bool {
    wanted.cleanup_policy.compacts() && !before.cleanup_policy.compacts()
}

/// The logs refuse records without keys from now on. What was appended since the first check, and
/// would be lost by the change, is checked, too.
fn refuse_keyless(
    topic: &TopicShared,
    now: &TopicConfig,
    wanted: &TopicConfig,
    checked: &mut Vec<Offset>,
) -> Result<()> {
    topic.reconfigure(now.clone().cleanup_policy(wanted.cleanup_policy))?;
    check_keys(topic, checked)
}

/// Refuses records without keys. Begins in each partition where the last check ended.
fn check_keys(topic: &TopicShared, checked: &mut Vec<Offset>) -> Result<()> {
    for partition in 0..topic.partition_count() {
        let log = topic.log(partition)?;
        let at = usize::try_from(partition).unwrap_or(usize::MAX);
        let from = checked.get(at).copied().unwrap_or(0);
        let end = log.end_offset();
        if log.lacks_keys(from)? {
            return Err(Error::InvalidConfig {
                name: "cleanup.policy".to_owned(),
                value: "compact".to_owned(),
                expected: format!(
                    "records with keys, for compaction drops the others, and partition {partition} \
                     holds such: AlterOptions::drop_keyless asks for that"
                ),
            });
        }
        match checked.get_mut(at) {
            Some(checked) => *checked = end,
            None => checked.push(end),
        }
    }
    Ok(())
}
