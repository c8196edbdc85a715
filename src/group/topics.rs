//! What a group needs to know of the topics of its root.
//!
//! Knows nothing about groups. A partition is asked for with the life of its topic: what is
//! answered never comes from another topic of the same name.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::log::Log;
use crate::sync::Signal;
use crate::topic::{Keep, Topic, TopicDirectory};

use super::partition::{PartitionKey, TopicKey, TopicShape};

/// The topics of a root, as groups see them.
#[derive(Debug)]
pub(super) struct Topics {
    directory: Arc<TopicDirectory>,
}

impl Topics {
    pub(super) fn new(directory: Arc<TopicDirectory>) -> Self {
        Self { directory }
    }

    /// A topic by its name, whichever life it is in.
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

    /// Those of some topics that are there, in the order of their names.
    pub(super) fn shapes(&self, names: &BTreeSet<Arc<str>>) -> Vec<TopicShape> {
        names.iter().filter_map(|name| self.shape(name)).collect()
    }

    /// The names of all topics that a pattern may match: internal ones are left out.
    pub(super) fn names(&self) -> Vec<Arc<str>> {
        let all = self.directory.all();
        let names = all.iter().map(|topic| topic.name().as_str());
        let names = names.filter(|name| !name.starts_with("__"));
        names.map(Arc::from).collect()
    }

    /// The partitions of a topic; none when this life of it is over.
    pub(super) fn partitions_of(&self, key: &TopicKey) -> Vec<PartitionKey> {
        let count = self.find(key).map_or(0, |topic| topic.partition_count());
        (0..count).map(|number| key.partition(number)).collect()
    }

    /// The log of a partition.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTopic`] when this life of the topic is over; what opening a log answers.
    pub(super) fn log(&self, partition: &PartitionKey) -> Result<Log> {
        self.find(&partition.topic)?.partition(partition.partition)
    }

    /// Whether this life of a topic goes on.
    pub(super) fn lives(&self, key: &TopicKey) -> bool {
        self.find(key).is_ok()
    }

    fn find(&self, key: &TopicKey) -> Result<Topic> {
        self.directory
            .find(&key.name)
            .filter(|topic| topic.shared().id() == key.id)
            .ok_or_else(|| unknown_topic(&key.name))
    }

    /// Rises whenever a topic or a partition comes or goes.
    pub(super) fn version(&self) -> u64 {
        self.directory.version()
    }

    /// What public handles keep open.
    pub(super) fn keeper(&self) -> Option<Arc<dyn Keep>> {
        self.directory.keeper()
    }

    /// Has a signal raised whenever the version has risen.
    pub(super) fn watch(&self, signal: &Arc<Signal>) {
        self.directory.watch(signal);
    }
}

pub(super) fn unknown_topic(name: &str) -> Error {
    Error::UnknownTopic {
        name: name.to_owned(),
    }
}
