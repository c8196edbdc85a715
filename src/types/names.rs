//! Names that reach the disk or Kafka, checked in their only constructors.
//!
//! Knows nothing about paths: a checked topic name is safe in one, and group ids never become one.

use std::fmt;
use std::sync::Arc;

/// The name of a topic, by Kafka's rule: 1 to 249 characters of `a-z A-Z 0-9 . _ -`, and neither
/// `.` nor `..`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TopicName(Arc<str>);

impl TopicName {
    /// Leaves room in a file name for `-` and a partition number.
    pub(crate) const LENGTH_MAX: usize = 249;

    pub(crate) fn new(name: &str) -> Result<Self, &'static str> {
        if name.is_empty() {
            return Err("a topic name is not empty");
        }
        if name == "." || name == ".." {
            return Err("a topic name is not a directory of its own");
        }
        if name.len() > Self::LENGTH_MAX {
            return Err("a topic name has at most 249 characters");
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if !name.bytes().all(allowed) {
            return Err("a topic name is made of a-z A-Z 0-9 . _ -");
        }
        Ok(Self(Arc::from(name)))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The name in Kafka's metrics, with `_` for `.`: two topics must not have the same one.
    pub(crate) fn folded(&self) -> String {
        self.0.replace('.', "_")
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Kafka's topic for what groups commit.
pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// Kafka's topic for what its coordinators know about transactions.
pub(crate) const STATES_TOPIC: &str = "__transaction_state";

/// Whether a topic is one of Kafka's own, which no other program writes. A user's topic may begin
/// with `__`, too.
pub(crate) fn is_internal_topic(name: &str) -> bool {
    matches!(
        name,
        OFFSETS_TOPIC | STATES_TOPIC | "__share_group_state" | "__cluster_metadata"
    )
}

/// The name of a consumer group: 1 to 32,767 bytes, what Kafka's records can hold.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GroupId(Arc<str>);

impl GroupId {
    pub(crate) fn new(id: &str) -> Result<Self, &'static str> {
        if id.is_empty() {
            return Err("a group id is not empty");
        }
        if i16::try_from(id.len()).is_err() {
            return Err("a group id has at most 32767 bytes");
        }
        Ok(Self(Arc::from(id)))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One life of a topic; Kafka writes it as 22 characters of URL-safe base64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TopicId(pub(crate) [u8; 16]);
