//! One partition of one topic, by name and number.
//!
//! Knows nothing about whether there is such a partition.

use std::fmt;
use std::sync::Arc;

use super::PartitionId;
#[cfg(feature = "serde")]
use super::serialized;

/// A partition of a topic. Displayed as Kafka does, `flights-3`.
///
/// # Examples
///
/// ```
/// use ottla::TopicPartition;
///
/// let place = TopicPartition::new("flights", 3);
/// assert_eq!(place.to_string(), "flights-3");
/// assert!(place < TopicPartition::new("flights", 4));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct TopicPartition {
    /// The name of the topic.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::text"))]
    pub topic: Arc<str>,
    /// The number of the partition, from 0 on.
    pub partition: PartitionId,
}

impl TopicPartition {
    /// Names a partition.
    #[must_use]
    pub fn new(topic: impl Into<Arc<str>>, partition: PartitionId) -> Self {
        Self {
            topic: topic.into(),
            partition,
        }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}
