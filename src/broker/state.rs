//! What the records of the catalog add up to: the topics of a root.
//!
//! Knows nothing about files. The records are Kafka's metadata records, with one extension of ours:
//!
//! 1. The first REMOVE TOPIC of a topic says that it is gone; the second, that nothing is left of
//!    it. In between it is *leaving*, and the next opening finishes the deletion. While only
//!    commits in unreadable partitions of `__consumer_offsets` are left, it is *owing*: its name is
//!    free, and the commits are forgotten when they can be read.
//! 2. The partitions of a topic are numbered without gaps.
//! 3. What is not understood is kept, and rewritten with the catalog.

use std::collections::{BTreeMap, BTreeSet};

use crate::format::metadata::{MetadataRecord, PartitionRecord, TOPIC_RESOURCE};
use crate::format::uuid;
use crate::topic::TopicConfig;
use crate::types::{BadSetting, PartitionId, Settings as _, TopicId, TopicName};

const NODE_ID: i32 = 1;

/// A type of resource that Kafka does not have.
const OWING: i8 = -1;

const COMMITS: &str = "commits";

/// A deleted topic that may have commits left (I1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owing {
    pub(super) name: TopicName,
    pub(super) id: TopicId,
    /// The partitions of `__consumer_offsets` that may hold its commits.
    pub(super) partitions: BTreeSet<PartitionId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TopicEntry {
    pub(super) name: TopicName,
    pub(super) id: TopicId,
    pub(super) partitions: u32,
    /// What differs from a new topic's, also settings that only Kafka understands.
    pub(super) settings: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CatalogState {
    topics: BTreeMap<TopicId, TopicEntry>,
    ids: BTreeMap<TopicName, TopicId>,
    /// Existing names by their folded form.
    confusable: BTreeMap<String, TopicName>,
    leaving: BTreeMap<TopicId, TopicEntry>,
    owing: BTreeMap<TopicId, Owing>,
    /// Producer ids, and what is not understood (I3).
    other: Vec<MetadataRecord>,
}

impl Owing {
    pub(super) fn record(&self) -> MetadataRecord {
        let partitions: Vec<_> = self.partitions.iter().map(ToString::to_string).collect();
        MetadataRecord::Config {
            resource_type: OWING,
            resource: uuid::encode(self.id.0),
            key: COMMITS.to_owned(),
            value: Some(partitions.join(",")),
        }
    }

    /// Says that nothing is owed any more.
    pub(super) fn removal(&self) -> MetadataRecord {
        MetadataRecord::RemoveTopic { id: self.id }
    }

    fn snapshot(&self) -> Vec<MetadataRecord> {
        let topic = MetadataRecord::Topic {
            name: self.name.to_string(),
            id: self.id,
        };
        vec![topic, self.removal(), self.record()]
    }
}

impl TopicEntry {
    pub(super) fn new(name: TopicName, id: TopicId, config: &TopicConfig) -> Self {
        let settings = config.deviations();
        let settings = settings
            .into_iter()
            .map(|(name, text)| (name.to_owned(), text))
            .collect();
        Self {
            name,
            id,
            partitions: config.partitions,
            settings,
        }
    }

    /// The settings, and those of ours that are refused and have no effect.
    pub(super) fn config(&self) -> (TopicConfig, Vec<BadSetting>) {
        let mut config = TopicConfig::default().partitions(self.partitions);
        let mut bad = Vec::new();
        for (name, text) in &self.settings {
            let mut tried = config.clone();
            match tried.set(name, text).and_then(|_known| tried.check()) {
                Ok(()) => config = tried,
                Err(setting) => bad.push(setting),
            }
        }
        (config, bad)
    }

    pub(super) fn creation(&self) -> Vec<MetadataRecord> {
        let mut records = vec![MetadataRecord::Topic {
            name: self.name.to_string(),
            id: self.id,
        }];
        let settings = self.settings.iter();
        records.extend(settings.map(|(key, text)| self.setting(key, Some(text))));
        records.extend((0..self.partitions).map(|partition| self.partition(partition)));
        records
    }

    pub(super) fn partitions_up_to(&self, count: u32) -> Vec<MetadataRecord> {
        let added = self.partitions..count;
        added.map(|added| self.partition(added)).collect()
    }

    /// Says that the topic is gone or, the second time, that nothing is left of it.
    pub(super) fn removal(&self) -> MetadataRecord {
        MetadataRecord::RemoveTopic { id: self.id }
    }

    /// The records of a change. A setting whose value stays keeps its words: they may be Kafka's.
    pub(super) fn alteration(&self, config: &TopicConfig) -> Vec<MetadataRecord> {
        let wanted = config.deviations();
        let before = self.config().0.partitions(config.partitions).entries();
        let mut records = Vec::new();
        for ((name, old), (_, new)) in before.into_iter().zip(config.entries()) {
            if old != new {
                records.push(self.setting(name, wanted.get(name).map(String::as_str)));
            }
        }
        records.extend((self.partitions..config.partitions).map(|added| self.partition(added)));
        records
    }

    fn setting(&self, key: &str, value: Option<&str>) -> MetadataRecord {
        MetadataRecord::Config {
            resource_type: TOPIC_RESOURCE,
            resource: self.name.to_string(),
            key: key.to_owned(),
            value: value.map(str::to_owned),
        }
    }

    fn partition(&self, partition: PartitionId) -> MetadataRecord {
        MetadataRecord::Partition(PartitionRecord {
            partition,
            topic: self.id,
            replicas: vec![NODE_ID],
            in_sync: vec![NODE_ID],
            removing: Vec::new(),
            adding: Vec::new(),
            leader: NODE_ID,
            leader_epoch: 0,
            partition_epoch: 0,
            directories: vec![[0; 16]],
        })
    }
}

impl CatalogState {
    pub(super) fn find(&self, name: &TopicName) -> Option<&TopicEntry> {
        self.ids.get(name).and_then(|id| self.topics.get(id))
    }

    pub(super) fn topics(&self) -> impl Iterator<Item = &TopicEntry> {
        self.topics.values()
    }

    pub(super) fn topic_of(&self, topic: &str, partition: PartitionId) -> Option<TopicId> {
        let entry = self.find(&TopicName::new(topic).ok()?)?;
        (partition < entry.partitions).then_some(entry.id)
    }

    pub(super) fn has(&self, id: TopicId) -> bool {
        self.topics.contains_key(&id)
    }

    pub(super) fn leaving(&self) -> impl Iterator<Item = &TopicEntry> {
        self.leaving.values()
    }

    pub(super) fn owing(&self) -> impl Iterator<Item = &Owing> {
        self.owing.values()
    }

    /// Takes over what is owed `from` another state, without some ids.
    pub(super) fn take_owing(&mut self, from: &Self, but: impl Fn(TopicId) -> bool) {
        let owing = from.owing().filter(|owing| !but(owing.id));
        self.owing
            .extend(owing.map(|owing| (owing.id, owing.clone())));
    }

    /// The existing topic that a file system without capitals, or Kafka's metrics, which take `.`
    /// for `_`, would confuse with this name.
    pub(super) fn confused_with(&self, name: &TopicName) -> Option<&TopicName> {
        self.confusable
            .get(&confusable(name))
            .filter(|there| *there != name)
    }

    /// Brokers have handed out producer ids below this one; 0 without any.
    pub(super) fn next_producer_id(&self) -> i64 {
        let ids = self.other.iter().map(|record| match record {
            MetadataRecord::ProducerIds {
                next_producer_id, ..
            } => *next_producer_id,
            _ => 0,
        });
        ids.max().unwrap_or(0).max(0)
    }

    pub(super) fn note_producer_ids(&mut self, next_producer_id: i64) {
        self.other
            .retain(|record| !matches!(record, MetadataRecord::ProducerIds { .. }));
        if next_producer_id > 0 {
            self.other.push(MetadataRecord::ProducerIds {
                broker_id: NODE_ID,
                broker_epoch: 0,
                next_producer_id,
            });
        }
    }

    /// An error says why the record does not follow from those before.
    pub(super) fn apply(&mut self, record: MetadataRecord) -> Result<(), &'static str> {
        match record {
            MetadataRecord::Topic { name, id } => self.add(&name, id),
            MetadataRecord::Partition(partition) => self.add_partition(&partition),
            MetadataRecord::RemoveTopic { id } => self.remove(id),
            MetadataRecord::Config {
                resource_type: TOPIC_RESOURCE,
                resource,
                key,
                value,
            } if self.by_name(&resource).is_some() => {
                let Some(topic) = self.by_name(&resource) else {
                    return Ok(());
                };
                match value {
                    Some(value) => topic.settings.insert(key, value),
                    None => topic.settings.remove(&key),
                };
                Ok(())
            }
            MetadataRecord::Config {
                resource_type: OWING,
                resource,
                value: Some(partitions),
                ..
            } => self.owe(&resource, &partitions),
            other => {
                self.other.push(other);
                Ok(())
            }
        }
    }

    fn owe(&mut self, id: &str, partitions: &str) -> Result<(), &'static str> {
        let id = uuid::decode(id).map(TopicId);
        let id = id.ok_or("the id of a topic that owes something is no id")?;
        let partitions: Result<BTreeSet<PartitionId>, _> =
            partitions.split(',').map(str::parse).collect();
        let partitions = partitions.map_err(|_| "what a topic owes is no list of partitions")?;
        let left = self.leaving.remove(&id).map(|topic| topic.name);
        let before = self.owing.remove(&id).map(|owing| owing.name);
        let name = left
            .or(before)
            .ok_or("a topic owes something that is not leaving")?;
        self.owing.insert(
            id,
            Owing {
                name,
                id,
                partitions,
            },
        );
        Ok(())
    }

    fn by_name(&mut self, name: &str) -> Option<&mut TopicEntry> {
        let id = self.ids.get(&TopicName::new(name).ok()?)?;
        self.topics.get_mut(id)
    }

    fn add(&mut self, name: &str, id: TopicId) -> Result<(), &'static str> {
        let name = TopicName::new(name)?;
        if self.ids.contains_key(&name) || self.topics.contains_key(&id) {
            return Err("a topic is made twice");
        }
        self.confusable.insert(confusable(&name), name.clone());
        self.ids.insert(name.clone(), id);
        let settings = BTreeMap::new();
        self.topics.insert(
            id,
            TopicEntry {
                name,
                id,
                partitions: 0,
                settings,
            },
        );
        Ok(())
    }

    fn add_partition(&mut self, record: &PartitionRecord) -> Result<(), &'static str> {
        let Some(topic) = self.topics.get_mut(&record.topic) else {
            return Err("a partition belongs to no topic");
        };
        if record.partition > topic.partitions {
            return Err("a partition is missing");
        }
        let count = record
            .partition
            .checked_add(1)
            .ok_or("a topic has too many partitions")?;
        topic.partitions = topic.partitions.max(count);
        Ok(())
    }

    fn remove(&mut self, id: TopicId) -> Result<(), &'static str> {
        if self.leaving.remove(&id).is_some() || self.owing.remove(&id).is_some() {
            return Ok(());
        }
        let topic = self
            .topics
            .remove(&id)
            .ok_or("a topic is removed that is not there")?;
        self.ids.remove(&topic.name);
        let confusable = confusable(&topic.name);
        if self.confusable.get(&confusable) == Some(&topic.name) {
            self.confusable.remove(&confusable);
        }
        self.leaving.insert(id, topic);
        Ok(())
    }

    /// The number of records of a snapshot.
    pub(super) fn live_records(&self) -> usize {
        let topic = |topic: &TopicEntry| {
            let partitions = usize::try_from(topic.partitions).unwrap_or(usize::MAX);
            topic
                .settings
                .len()
                .saturating_add(partitions)
                .saturating_add(1)
        };
        let topics = self
            .topics
            .values()
            .map(topic)
            .fold(0, usize::saturating_add);
        let leaving = self
            .leaving
            .values()
            .map(topic)
            .fold(0, usize::saturating_add);
        topics
            .saturating_add(leaving)
            .saturating_add(self.leaving.len())
            .saturating_add(self.owing.len().saturating_mul(3))
            .saturating_add(self.other.len())
    }

    /// Records that add up to this state, in groups that belong together. Leaving topics come
    /// first: one of the same name may follow.
    pub(super) fn snapshot(&self) -> impl Iterator<Item = Vec<MetadataRecord>> {
        let leaving = self.leaving.values().map(|topic| {
            let mut records = topic.creation();
            records.push(MetadataRecord::RemoveTopic { id: topic.id });
            records
        });
        let owing = self.owing.values().map(Owing::snapshot);
        let topics = self.topics.values().map(TopicEntry::creation);
        let other = Some(self.other.clone()).filter(|other| !other.is_empty());
        leaving.chain(owing).chain(topics).chain(other)
    }
}

fn confusable(name: &TopicName) -> String {
    name.folded().to_ascii_lowercase()
}

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
