//! Floor 0: plain values. Offsets, names, timestamps, the record to append.
//!
//! Knows nothing about bytes on disk, files, locks or time sources. A value is checked when it is
//! made, so that no floor above checks it again.

#![warn(clippy::arithmetic_side_effects)]

mod appended;
mod choice;
mod histogram;
mod log_config;
mod names;
mod offset;
mod owned_record;
mod record;
mod sabotage;
#[cfg(feature = "serde")]
pub(crate) mod serialized;
mod setting;
mod timestamp;
mod topic_partition;
mod units;
mod varint;

pub use appended::{Appended, AppendedBatch};
pub use choice::{
    CleanupPolicy, Compression, Durability, ReadIsolation, Start, TimestampType, WriteMode,
};
pub use histogram::Histogram;
pub use log_config::LogConfig;
pub(crate) use log_config::{DAY, SEGMENT_BYTES_MAX, WEEK, log_settings};
pub(crate) use names::{
    GroupId, OFFSETS_TOPIC, STATES_TOPIC, TopicId, TopicName, is_internal_topic,
};
pub(crate) use offset::{END_OFFSET_MAX, Position, to_u64, to_usize};
pub use offset::{Epoch, Offset, PartitionId};
pub use owned_record::OwnedRecord;
pub(crate) use record::{EncodedHeaders, RecordTime, decode_header};
pub use record::{Header, HeaderIter, Record};
pub(crate) use sabotage::Sabotage;
pub use setting::ChoiceError;
pub(crate) use setting::{BadSetting, SettingValue, Settings, choice_words, config, is_old_name};
pub use timestamp::{Timestamp, TimestampError};
pub use topic_partition::TopicPartition;
pub(crate) use varint::{read_varint, read_varlong, varint_len, write_varint, write_varlong};
