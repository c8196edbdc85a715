//! Topics come, change and go: what is done in which order, so that a crash leaves each of them
//! wholly there or wholly gone.
//!
//! Knows nothing about the bytes of the catalog.
//!
//! 1. Made: the directories first, their names synced; then the catalog has the topic, and it is
//!    there. A crash before that leaves directories without records, which the next opening
//!    removes.
//! 2. Deleted: the catalog first, and the topic is gone; then its files, its marks and the groups'
//!    commits; then the catalog hears that nothing is left. Whoever opens the root, or makes a
//!    topic of the same name, finishes a deletion that was begun.
//! 3. User code runs with no lock held.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::MarkKey;
use crate::format::metadata::MetadataRecord;
use crate::topic::{PartitionDir, TopicConfig, TopicShared, random_topic_id};
use crate::types::{PartitionId, Settings as _, TopicName};

use super::catalog::Catalog;
use super::core::{Core, topic_of};
use super::offsets::{OFFSETS_TOPIC, is_reserved, offsets_config};
use super::state::TopicEntry;

/// Names that Windows keeps for devices, whatever follows after a dot. A root can be carried
/// there.
const DEVICES: [&str; 22] = [
    "con", "prn", "aux", "nul", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8",
    "com9", "lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
];

impl Core {
    /// Makes a topic for a user.
    pub(super) fn create(&self, name: &str, config: TopicConfig) -> Result<Arc<TopicShared>> {
        self.check_writable()?;
        let name = user_name(name)?;
        config.check()?;
        self.create_checked(name, &config)
    }

    /// The topic of the groups' commits, made when it is not there.
    pub(super) fn offsets_topic(&self) -> Result<Arc<TopicShared>> {
        if let Some(topic) = self.directory.find(OFFSETS_TOPIC) {
            return Ok(Arc::clone(topic.shared()));
        }
        self.check_writable()?;
        let name =
            TopicName::new(OFFSETS_TOPIC).map_err(|reason| invalid(OFFSETS_TOPIC, reason))?;
        match self.create_checked(name, &offsets_config()) {
            // Somebody was faster.
            Err(Error::TopicExists { .. }) => self.offsets_topic(),
            made => made,
        }
    }

    fn create_checked(&self, name: TopicName, config: &TopicConfig) -> Result<Arc<TopicShared>> {
        self.finish_deletion_of(&name)?;
        let mut catalog = self.catalog.lock();
        self.check_writable()?;
        check_free(&catalog, &name)?;
        let entry = TopicEntry::new(name, random_topic_id(), config);
        let topic = topic_of(&entry, &self.root, &self.host, &self.config, self.mode);
        let whole = 0..entry.partitions;
        let made = if topic.is_sparse() {
            Ok(())
        } else {
            self.make_dirs(&topic, whole.clone())
        };
        if let Err(error) = made.and_then(|()| catalog.append(entry.creation())) {
            if !catalog.in_doubt() {
                self.unmake_dirs(&topic, whole);
            }
            return Err(error);
        }
        self.directory.insert(Arc::clone(&topic));
        Ok(topic)
    }

    /// Makes the directories of new partitions. One that is there already may hold what an earlier
    /// attempt left, but no records.
    fn make_dirs(&self, topic: &TopicShared, new: std::ops::Range<PartitionId>) -> Result<()> {
        let disk = &self.host.disk;
        for partition in new.clone() {
            let dir = topic.dir(partition);
            if !dir.exists(disk)? {
                continue;
            }
            if PartitionDir::inspect(disk, dir.path())?.data {
                let taken = std::io::ErrorKind::AlreadyExists.into();
                return Err(Error::io(dir.path(), "create the directory", taken));
            }
            PartitionDir::remove(disk, dir.path())?;
        }
        topic.make_dirs(new)
    }

    /// Removes directories that were made for nothing, as far as that goes: the next opening does
    /// the rest.
    fn unmake_dirs(&self, topic: &TopicShared, new: std::ops::Range<PartitionId>) {
        for partition in new {
            drop(PartitionDir::remove(
                &self.host.disk,
                topic.dir(partition).path(),
            ));
        }
    }

    /// Gives a topic more partitions and other settings.
    pub(super) fn alter(
        &self,
        name: &str,
        change: impl FnOnce(TopicConfig) -> TopicConfig,
    ) -> Result<()> {
        self.check_writable()?;
        let name = user_name(name)?;
        let before = self.directory.get(name.as_str())?.config();
        let wanted = change(before.clone());
        wanted.check()?;
        let mut catalog = self.catalog.lock();
        self.check_writable()?;
        let topic = self.directory.get(name.as_str())?;
        let topic = topic.shared();
        let now = topic.config();
        // Somebody may have changed something else meanwhile.
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
        let made = self.make_dirs(topic, new.clone());
        if let Err(error) = made.and_then(|()| catalog.append(records)) {
            if !catalog.in_doubt() {
                self.unmake_dirs(topic, new);
            }
            return Err(error);
        }
        let applied = topic.reconfigure(config);
        self.directory.tell();
        applied
    }

    /// Deletes a topic.
    pub(super) fn delete(&self, name: &str) -> Result<()> {
        self.check_writable()?;
        let name = user_name(name)?;
        let deletions = self.deletions.lock();
        let entry = {
            let mut catalog = self.catalog.lock();
            self.check_writable()?;
            let unknown = || Error::UnknownTopic {
                name: name.to_string(),
            };
            let entry = catalog.state().find(&name).cloned().ok_or_else(unknown)?;
            catalog.append(vec![MetadataRecord::RemoveTopic { id: entry.id }])?;
            entry
        };
        if let Some(topic) = self.directory.remove(name.as_str()) {
            topic.delete();
        }
        let finished = self.finish_deletion(&entry);
        drop(deletions);
        finished
    }

    /// Finishes what an earlier deletion of a topic of this name began.
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
        let catalog = self.catalog.lock();
        catalog
            .state()
            .leaving()
            .find(|entry| entry.name == *name)
            .cloned()
    }

    /// Finishes all deletions that were begun. What cannot be finished now is tried again when it
    /// stands in the way, and by the next opening.
    pub(super) fn finish_deletions(&self) {
        let _deletions = self.deletions.lock();
        let leaving: Vec<_> = self.catalog.lock().state().leaving().cloned().collect();
        for entry in leaving {
            drop(self.finish_deletion(&entry));
        }
    }

    /// Removes what is left of a topic that is gone (2). Called with `deletions` held.
    fn finish_deletion(&self, entry: &TopicEntry) -> Result<()> {
        let disk = &self.host.disk;
        for partition in 0..entry.partitions {
            let dir = PartitionDir::new(&self.root, &entry.name, entry.id, partition);
            if dir.exists(disk)? && !dir.is_anothers(disk)? {
                PartitionDir::remove(disk, dir.path())?;
            }
        }
        PartitionDir::sync_root(disk, &self.root)?;
        for partition in 0..entry.partitions {
            self.host.marks.forget(MarkKey {
                topic: entry.id,
                partition,
            })?;
        }
        self.forget_commits(entry.name.as_str())?;
        let mut catalog = self.catalog.lock();
        catalog.append(vec![MetadataRecord::RemoveTopic { id: entry.id }])
    }
}

fn invalid(name: &str, reason: &'static str) -> Error {
    Error::InvalidName {
        name: name.to_owned(),
        reason,
    }
}

/// The name of a topic that a user may make, change and delete.
fn user_name(name: &str) -> Result<TopicName> {
    let checked = TopicName::new(name).map_err(|reason| invalid(name, reason))?;
    if is_reserved(name) {
        return Err(invalid(name, "the name belongs to Kafka itself"));
    }
    Ok(checked)
}

/// Whether a new topic may have a name that follows the rules.
fn check_free(catalog: &Catalog, name: &TopicName) -> Result<()> {
    let state = catalog.state();
    if state.find(name).is_some() {
        return Err(Error::TopicExists {
            name: name.to_string(),
        });
    }
    if state.confused_with(name).is_some() {
        let reason = "it differs from an existing topic only in '.' and '_' or in capitals";
        return Err(invalid(name.as_str(), reason));
    }
    let stem = name
        .as_str()
        .split('.')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    if DEVICES.contains(&stem.as_str()) {
        return Err(invalid(name.as_str(), "Windows takes it for a device"));
    }
    Ok(())
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
