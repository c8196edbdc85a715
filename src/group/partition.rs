//! Which partitions there are, as a group sees them.
//!
//! Knows nothing about members. A topic that was deleted and created again is another topic: its id
//! is part of every key, so that nothing learnt about the first life is used in the second.

use std::fmt;
use std::sync::Arc;

use crate::types::{PartitionId, TopicId};

/// One life of a topic.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TopicKey {
    pub(crate) name: Arc<str>,
    pub(crate) id: TopicId,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PartitionKey {
    pub(crate) topic: TopicKey,
    pub(crate) partition: PartitionId,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicShape {
    pub(crate) key: TopicKey,
    pub(crate) partitions: u32,
}

impl TopicKey {
    pub(crate) fn partition(&self, partition: PartitionId) -> PartitionKey {
        PartitionKey {
            topic: self.clone(),
            partition,
        }
    }
}

impl PartitionKey {
    pub(crate) fn public(&self) -> crate::types::TopicPartition {
        crate::types::TopicPartition {
            topic: Arc::clone(&self.topic.name),
            partition: self.partition,
        }
    }

    pub(crate) fn named(&self) -> (String, PartitionId) {
        (self.topic.name.as_ref().to_owned(), self.partition)
    }
}

impl fmt::Debug for TopicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for PartitionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic.name, self.partition)
    }
}
