//! Kafka's log as a Rust library.

mod broker;
mod clock;
mod disk;
pub mod docs;
mod error;
mod format;
mod group;
mod log;
#[cfg(test)]
mod proof;
mod segment;
mod sync;
mod topic;
mod types;

pub use broker::{Broker, BrokerConfig, UpkeepReport};
pub use error::{Error, Result};
pub use format::{Corruption, LogRecord, RecordBatch, RecordView, Records};
pub use group::{
    Assignor, Consumer, ConsumerConfig, ConsumerGroup, ConsumerRecord, ConsumerRecords, GroupInfo,
    GroupPartition, GroupState, MemberInfo,
};
pub use log::{
    CompactionReport, Log, LogConfig, OpenEvent, OpenReport, Reader, RetentionReport, SegmentInfo,
};
pub use topic::{
    Appended, AppendedBatch, Delivery, PartitionInfo, Partitioner, Producer, ProducerConfig, Topic,
    TopicConfig, TopicInfo,
};
pub use types::{
    CleanupPolicy, Compression, Durability, Header, HeaderIter, Offset, PartitionId, ReadIsolation,
    Record, Start, Timestamp, TimestampType, WriteMode,
};

/// What the fuzz targets call. Not part of the public API.
#[cfg(any(test, feature = "__sim"))]
#[doc(hidden)]
#[path = "fuzz/mod.rs"]
pub mod __fuzz;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
