//! Kafka's log as a Rust library.

mod clock;
mod disk;
mod error;
mod format;
mod log;
#[cfg(test)]
mod proof;
mod segment;
mod sync;
mod types;

pub use error::{Error, Result};
pub use format::{Corruption, LogRecord, RecordBatch, RecordView, Records};
pub use log::{
    CompactionReport, Log, LogConfig, OpenEvent, OpenReport, Reader, RetentionReport, SegmentInfo,
};
pub use types::{
    CleanupPolicy, Compression, Durability, Header, HeaderIter, Offset, PartitionId, ReadIsolation,
    Record, Start, Timestamp, TimestampType, WriteMode,
};
