//! The record batch, format version 2: the unit of append, checksum and index.
//!
//! Knows nothing about files and offsets to come. `header` has the layout of the first 61 bytes,
//! `record` that of one record, `encode` and `read` write and read whole batches, `owned` has
//! records that outlive the batch, `rewrite` removes records. Source of every rule: Kafka's
//! `DefaultRecordBatch` and `DefaultRecord`.

mod encode;
mod header;
mod owned;
mod read;
mod record;
mod rewrite;
#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;

pub(crate) use encode::{
    BatchBuilder, BatchKind, BatchOptions, BatchSummary, GrowingBatch, ProducerStamp, encode_one,
};
#[cfg(test)]
#[cfg(ottla_repository)]
pub(crate) use header::Attributes;
pub(crate) use header::{BatchHeader, HEADER_LEN, LOG_OVERHEAD, check_crc, stamp};
pub use owned::LogRecord;
pub(crate) use owned::{OwnedRecords, record_at};
pub use read::{RecordBatch, RecordView, Records};
pub(crate) use rewrite::Rewrite;
