//! A record with the partition that it comes from: the item of readers of several partitions.
//!
//! Knows nothing about how it was read.

use std::ops::Deref;
use std::sync::Arc;

use crate::format::LogRecord;
use crate::types::{PartitionId, Record};

/// A record and its partition. It derefs to its [`LogRecord`], and keeps the chunk alive that it
/// was read with, until [`detach`](Self::detach).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerRecord {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: PartitionId,
    record: LogRecord,
}

impl ConsumerRecord {
    pub(crate) fn new(topic: &Arc<str>, partition: PartitionId, record: LogRecord) -> Self {
        Self {
            topic: Arc::clone(topic),
            partition,
            record,
        }
    }

    /// Copies the record out of its chunk: one allocation of its size.
    #[must_use]
    pub fn detach(mut self) -> Self {
        self.record = self.record.detach();
        self
    }

    /// The record alone.
    #[must_use]
    pub fn into_record(self) -> LogRecord {
        self.record
    }
}

impl Deref for ConsumerRecord {
    type Target = LogRecord;

    fn deref(&self) -> &LogRecord {
        &self.record
    }
}

impl<'a> From<&'a ConsumerRecord> for Record<'a> {
    /// With timestamp and headers, without topic, partition and offset.
    fn from(record: &'a ConsumerRecord) -> Self {
        Self::from(&record.record)
    }
}
