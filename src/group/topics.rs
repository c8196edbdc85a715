//! What a group needs to know of the topics of its root.
//!
//! Knows nothing about groups. A partition is looked up with the id of its topic: it is never found
//! in another topic of the same name.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::log::Log;
use crate::sync::Signal;
use crate::topic::{BrokerHandle, Topic, TopicDirectory};
use crate::types::{PartitionId, is_internal_topic};

use super::partition::{PartitionKey, TopicKey, TopicShape};

#[derive(Debug)]
pub(super) struct Topics {
    directory: Arc<TopicDirectory>,
}

impl Topics {
    pub(super) fn new(directory: Arc<TopicDirectory>) -> Self {
        Self { directory }
    }

    /// The topic that has this name now.
    pub(super) fn shape(&self, name: &str) -> Option<TopicShape> {
        let topic = self.directory.find(name)?;
        let key = TopicKey {
            name: Arc::from(name),
            id: topic.shared().id(),
        };
        Some(TopicShape {
            key,
            partitions: topic.partition_count(),
        })
    }

    /// Those that exist, sorted by name.
    pub(super) fn shapes(&self, names: &BTreeSet<Arc<str>>) -> Vec<TopicShape> {
        names.iter().filter_map(|name| self.shape(name)).collect()
    }

    /// The names of all topics but the internal ones.
    pub(super) fn names(&self) -> Vec<Arc<str>> {
        let all = self.directory.all();
        let names = all.iter().map(|topic| topic.name().as_str());
        let names = names.filter(|name| !is_internal_topic(name));
        names.map(Arc::from).collect()
    }

    /// Empty when this life of the topic is over.
    pub(super) fn partitions_of(&self, key: &TopicKey) -> Vec<PartitionKey> {
        let count = self.find(key).map_or(0, |topic| topic.partition_count());
        (0..count).map(|number| key.partition(number)).collect()
    }

    /// [`Error::UnknownTopic`] when this life of the topic is over.
    pub(super) fn log(&self, partition: &PartitionKey) -> Result<Log> {
        self.find(&partition.topic)?.partition(partition.partition)
    }

    pub(super) fn lives(&self, key: &TopicKey) -> bool {
        self.find(key).is_ok()
    }

    fn find(&self, key: &TopicKey) -> Result<Topic> {
        self.directory
            .find(&key.name)
            .filter(|topic| topic.shared().id() == key.id)
            .ok_or_else(|| unknown_topic(&key.name))
    }

    /// Rises whenever a topic or a partition is added or removed.
    pub(super) fn version(&self) -> u64 {
        self.directory.version()
    }

    pub(super) fn broker(&self) -> Option<Arc<dyn BrokerHandle>> {
        self.directory.broker()
    }

    pub(super) fn watch(&self, signal: &Arc<Signal>) {
        self.directory.watch(signal);
    }
}

pub(super) fn unknown_partition(topic: &str, partition: PartitionId) -> Error {
    Error::UnknownPartition {
        not_assigned: false,
        topic: topic.to_owned(),
        partition,
    }
}

pub(super) fn unknown_topic(name: &str) -> Error {
    Error::UnknownTopic {
        name: name.to_owned(),
    }
}
