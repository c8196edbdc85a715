//! Floor 1: bytes to values and back, without any I/O.
//!
//! Knows nothing about files, paths, locks or time. Every decoder takes bytes that may be anything:
//! it answers with a typed error, never panics, and never allocates by a length that it has not
//! held against the bytes at hand.

#![warn(clippy::arithmetic_side_effects)]

mod batch;
mod compression;
mod corruption;
mod crc;
mod cursor;
pub(crate) mod file_name;
pub(crate) mod index;
mod intent;
mod mark;

pub(crate) use batch::{
    Attributes, BatchBuilder, BatchHeader, BatchKind, BatchOptions, BatchSummary, HEADER_LEN,
    LOG_OVERHEAD, OwnedRecords, ProducerStamp, check_crc, encode_one, stamp, stamp_append_time,
};
pub use batch::{LogRecord, RecordBatch, RecordView, Records};
pub use corruption::Corruption;
pub(crate) use corruption::{DecodeError, EncodeError};
pub(crate) use crc::crc32c;
pub(crate) use file_name::{DirName, FileKind, FileName, Stage};
pub(crate) use intent::TruncateIntent;
pub(crate) use mark::{Mark, MarkKey, SLOT_LEN};
