//! Kafka's log as a Rust library: topics, partitions, offsets, retention, compaction and consumer
//! groups in one directory, in this process, in Kafka's own files.
//!
//! Start with [`Broker::open`]: a [`Broker`] has [`Topic`]s to append to and [`ConsumerGroup`]s to
//! read with. A single partition is a [`Log`]. Every fallible call returns the same [`Error`] type.
//!
//! ```
//! use std::time::Duration;
//! use ottla::{Broker, Record, TopicConfig};
//!
//! # let scratch = tempfile::tempdir()?;
//! # let dir = scratch.path().join("data");
//! let broker = Broker::open(dir)?;
//! let flights = broker.create_topic_if_absent("flights", TopicConfig::default().partitions(4))?;
//! flights.append(Record::keyed("N14228", "departed EWR"))?;
//!
//! let mut consumer = broker.group("departure-board")?.join(["flights"])?;
//! assert_eq!(consumer.poll(Duration::from_secs(1))?.len(), 1);
//! consumer.commit()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where to look
//!
//! | task | types |
//! | --- | --- |
//! | topics in a directory | [`Broker`], [`TopicConfig`], [`Topic`] |
//! | appending | [`Record`], [`Topic::append`], [`Producer`], which batches in the background; [`Durability`] says what an append survives |
//! | reading with a group, at least once | [`ConsumerGroup`], [`Consumer`], [`ConsumerRecords`] |
//! | reading without one | [`TopicReader`] |
//! | one partition alone | [`Log`], [`LogConfig`], [`Reader`] |
//! | values of one type | [`TypedTopic`], [`TypedConsumer`], [`Codec`] |
//! | damage, backups | [`verify`], [`repair`], [`Broker::backup`] |
//! | metrics, tests | [`Broker::metrics`], [`Broker::temporary`], [`TestClock`] |
//!
//! [`docs`] has the guides: a dozen [recipes](docs::recipes), [durability](docs::durability),
//! [growing into Kafka](docs::kafka) and more.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! | --- | --- | --- |
//! | `gzip`, `snappy`, `lz4`, `zstd` | on | the codecs of [`Compression`]; a batch without its codec is [`Error::Unsupported`] |
//! | `serde` | on | `Serialize` on settings, metrics and reports, `Deserialize` on the first two; the files do not depend on it |
//! | `json` | off | `Json`, a [`Codec`] for typed topics; enables `serde` |
//! | `async` | off | futures and streams for any runtime or none: `Topic::append_async`, `Reader::into_stream` |
//! | `tracing`, `metrics` | off | events and metrics for the crates of these names |
//!
//! # Platforms
//!
//! Linux is tested; Windows is experimental; macOS, FreeBSD and Android compile. Where a directory
//! cannot be locked, the crate does not compile. See [durability](docs::durability#platforms).

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    all(test, not(ottla_repository)),
    allow(
        dead_code,
        reason = "a release has a part of the tests, and not all helpers are called"
    )
)]

#[cfg(not(any(unix, windows)))]
compile_error!("ottla needs files that can be locked, renamed and synced: Unix or Windows");
#[cfg(any(target_os = "solaris", target_os = "emscripten"))]
compile_error!("ottla cannot lock a directory here: the standard library has no file locks");

mod backup;
mod broker;
#[cfg(test)]
#[cfg(ottla_repository)]
mod checks;
mod clock;
mod compact;
mod delivery;
mod dir;
mod disk;
#[cfg(any(doc, doctest))]
pub mod docs;
mod doctor;
mod error;
mod format;
mod group;
mod host;
mod log;
#[cfg(test)]
#[cfg(ottla_repository)]
mod proof;
mod reader;
mod recovery;
mod segment;
mod sync;
mod topic;
mod types;

pub use backup::{BackupOptions, BackupReport};
pub use broker::{
    AlterOptions, Broker, BrokerConfig, BrokerMetrics, DamagedCommits, DiskUsage, Ensured,
    SettingChange, TopicUsage, UpkeepProblem, UpkeepReport, repair, verify,
};
pub use clock::TestClock;
pub use delivery::Delivery;
pub use doctor::{
    LogCondition, Problem, ProblemKind, RepairReport, SetAside, Severity, VerifyReport,
};
pub use error::{Error, ErrorKind, Result};
pub use format::{Corruption, LogRecord, RecordBatch, RecordView, Records};
pub use group::{
    Assignor, Consumer, ConsumerConfig, ConsumerGroup, ConsumerRecords, GroupInfo, GroupMetrics,
    GroupPartition, GroupState, MemberInfo, RebalanceListener, Skipped, TypedConsumer,
    WakeupHandle,
};
pub use host::{CompactionReport, LogMetrics, RetentionReport};
pub use log::Log;
pub use reader::Reader;
#[cfg(feature = "async")]
pub use reader::RecordStream;
pub use recovery::{OpenEvent, OpenReport, SegmentInfo};
#[cfg(feature = "async")]
pub use topic::TopicStream;
pub use topic::{
    Codec, CodecError, ConsumerRecord, Keyed, KeysBy, OwnKeys, PartitionInfo, Partitioner,
    Producer, ProducerConfig, Topic, TopicConfig, TopicInfo, TopicReader, TypedReader, TypedTopic,
};
#[cfg(feature = "json")]
pub use topic::{Json, NamedJson};
pub use types::{
    Appended, AppendedBatch, ChoiceError, CleanupPolicy, Compression, Durability, Epoch, Header,
    HeaderIter, Histogram, LogConfig, Offset, OwnedRecord, PartitionId, ReadIsolation, Record,
    Start, Timestamp, TimestampError, TimestampType, TopicPartition, WriteMode,
};

/// A panic in the caller's code leaves a handle usable: nothing stays locked, and an interrupted
/// call leaves the state that an error would have left (`tests/it/panics.rs`).
macro_rules! survive_panics {
    ($($handle:ty),*) => {$(
        impl std::panic::UnwindSafe for $handle {}
        impl std::panic::RefUnwindSafe for $handle {}
    )*};
}

survive_panics!(
    Broker,
    Consumer,
    ConsumerGroup,
    Log,
    Producer,
    Reader,
    Topic,
    TopicReader
);

/// For the fuzz targets. Not part of the public API.
#[cfg(any(all(test, ottla_repository), ottla_sim))]
#[doc(hidden)]
#[path = "fuzz/mod.rs"]
pub mod __fuzz;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
