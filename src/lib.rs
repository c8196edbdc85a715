//! Kafka's log as a Rust library.

mod clock;
mod disk;
mod error;
mod format;
mod sync;
mod types;

pub use error::{Error, Result};
pub use types::{
    Compression, Durability, Header, HeaderIter, Offset, PartitionId, ReadIsolation, Record, Start,
    Timestamp, TimestampType, WriteMode,
};
