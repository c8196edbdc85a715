//! Floor 1: bytes to values and back, without any I/O.
//!
//! Knows nothing about files, paths, locks or time. Every decoder takes arbitrary bytes: it returns
//! a typed error, never panics, and never allocates by a length that it has not compared with the
//! bytes at hand.

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

pub(crate) mod backup_note;
mod batch;
pub(crate) mod checkpoint;
mod compression;
pub(crate) mod control;
mod corruption;
mod crc;
mod cursor;
mod digest;
pub(crate) mod file_name;
pub(crate) mod group_record;
pub(crate) mod index;
mod intent;
mod java_properties;
mod live;
mod mark;
pub(crate) mod metadata;
mod old_message;
pub(crate) mod properties;
mod root_file;
mod transaction_state;
pub(crate) mod txn;
pub(crate) mod uuid;
mod wire;

pub(crate) use backup_note::{BackupNote, CopiedFile};
#[cfg(test)]
#[cfg(ottla_repository)]
pub(crate) use batch::Attributes;
pub(crate) use batch::{
    BatchBuilder, BatchHeader, BatchKind, BatchOptions, BatchSummary, GrowingBatch, HEADER_LEN,
    LOG_OVERHEAD, OwnedRecords, ProducerStamp, Rewrite, check_crc, encode_one, record_at, stamp,
};
pub use batch::{LogRecord, RecordBatch, RecordView, Records};
pub(crate) use checkpoint::LeaderEpoch;
pub(crate) use control::{ControlKind, EndTransaction};
pub use corruption::Corruption;
pub(crate) use corruption::{DecodeError, EncodeError};
#[cfg(any(all(test, ottla_repository), ottla_sim))]
pub(crate) use crc::crc32c;
pub(crate) use digest::{
    BLOCK_BYTES, Digest, DigestBuilder, DigestSummary, Interval, Keys, PREFIX_LEN, SUMMARY_LEN,
    log_hash,
};
pub(crate) use file_name::{DirName, FileKind, FileName, Stage};
pub(crate) use intent::TruncateIntent;
pub(crate) use live::{
    LIVE_HEADER_LEN, LIVE_LOCK_AT, LIVE_SLOT_LEN, LIVE_WORD_AT, LiveFigures, LiveHeader, boot_of,
    live_slot_at,
};
pub(crate) use mark::{IndexWritten, Mark, MarkKey, SLOT_LEN};
#[cfg(test)]
#[cfg(ottla_repository)]
pub(crate) use old_message::old_message;
pub(crate) use old_message::{OLD_HEADER_LEN, is_old_message, old_message_len};
pub(crate) use root_file::{MetadataFile, RootFile};
pub(crate) use transaction_state::{TransactionState, TransactionStatus};

/// The bytes of a text of hexadecimal digits; other characters are ignored.
/// A batch says its size in 31 bits.
pub(crate) const ENCODED_BYTES_MAX: u64 = (1 << 31) - 1;

#[cfg(test)]
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .collect();
    let byte = |pair: &[u32]| u8::try_from(pair[0] << 4 | pair[1]).unwrap();
    digits.chunks_exact(2).map(byte).collect()
}
