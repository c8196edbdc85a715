//! Every setting of a log: unit, default, bounds, and cost.
//!
//! Knows nothing about topics. Names and defaults are Kafka's if Kafka has the setting;
//! `docs/settings.md` lists the exceptions with their reasons.

use std::time::Duration;

use super::{CleanupPolicy, Compression, Durability, TimestampType, WriteMode, config};

/// The largest segment: positions in an index have 31 bits.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 2_147_483_647;

pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

config! {
    /// The settings of a [`Log`](crate::Log).
    ///
    /// Created with [`Default`] and setters, or deserialized with Kafka's names (`"segment.bytes"`)
    /// or the field names. [`Log::open`](crate::Log::open) refuses values that are out of bounds.
    ///
    /// # Examples
    ///
    /// ```
    /// use ottla::{Durability, LogConfig};
    ///
    /// let config = LogConfig::default().segment_bytes(64 << 20).durability(Durability::Always);
    /// assert_eq!(config.segment_bytes, 64 << 20);
    /// ```
    pub struct LogConfig("log") as log_settings {
        /// The maximum size of a segment file in bytes; only a single larger batch may exceed it.
        /// Default 1 GiB.
        segment_bytes: u64 [u64] = "segment.bytes", 1 << 30,
        |v| (1024..=SEGMENT_BYTES_MAX).contains(v), "1024 to 2147483647";

        /// The maximum age of a segment: a record whose timestamp is later than the first one's by
        /// more opens the next segment. Default 7 days.
        segment_age: Duration [Duration] = "segment.ms", WEEK,
        |v| *v >= Duration::from_millis(1), "at least 1";

        /// The maximum size of each index of a segment in bytes; a full index opens the next
        /// segment. Default 10 MiB.
        segment_index_bytes: u64 [u64] = "segment.index.bytes", 10 << 20,
        |v| (24..=SEGMENT_BYTES_MAX).contains(v), "24 to 2147483647";

        /// Bytes between two index entries: fewer find a record faster and cost more memory.
        /// Default 4096.
        index_interval_bytes: u64 [u64] = "index.interval.bytes", 4096,
        |v| *v <= SEGMENT_BYTES_MAX, "0 to 2147483647";

        /// The maximum size of a batch on disk in bytes, including its 61-byte header.
        /// Default 1,048,588.
        max_message_bytes: u64 [u64] = "max.message.bytes", (1 << 20) + 12,
        |v| (61..=SEGMENT_BYTES_MAX).contains(v), "61 to 2147483647";

        /// The maximum decompressed size of a batch in bytes: a larger one is refused, so that no
        /// file can make a reader allocate more. Default 64 MiB.
        max_decompressed_batch_bytes: u64 [u64] = "max.decompressed.batch.bytes", 64 << 20,
        |v| (1024..=SEGMENT_BYTES_MAX).contains(v), "1024 to 2147483647";

        /// How long records are kept, from the newest timestamp of their segment on. Default
        /// `None`: forever (Kafka: 7 days).
        retention: Option<Duration> [impl Into<Option<Duration>>] = "retention.ms", None,
        |_v| true, "-1 or milliseconds";

        /// Bytes of segments that retention by size keeps at least. Default `None`: all.
        retention_bytes: Option<u64> [impl Into<Option<u64>>] = "retention.bytes", None,
        |_v| true, "-1 or bytes";

        /// What happens to old records. Default [`CleanupPolicy::Delete`].
        cleanup_policy: CleanupPolicy [CleanupPolicy] = "cleanup.policy", CleanupPolicy::Delete,
        |_v| true, "delete, compact, or both with a comma";

        /// How long a tombstone stays after the compaction that first saw it. Default 1 day.
        delete_retention: Duration [Duration] = "delete.retention.ms", DAY,
        |_v| true, "milliseconds";

        /// The fraction of a log that must be uncompacted before upkeep compacts it. Default 0.5.
        min_cleanable_dirty_ratio: f64 [f64] = "min.cleanable.dirty.ratio", 0.5,
        |v| (0.0..=1.0).contains(v), "0 to 1";

        /// The minimum time that a record stays uncompacted. Default 0.
        min_compaction_lag: Duration [Duration] = "min.compaction.lag.ms", Duration::ZERO,
        |_v| true, "milliseconds";

        /// The maximum time that a record stays uncompacted, whatever `min_cleanable_dirty_ratio`
        /// says. Default `None`: no limit.
        max_compaction_lag: Option<Duration> [impl Into<Option<Duration>>] =
        "max.compaction.lag.ms", None,
        |_v| true, "-1 or milliseconds";

        /// Whose time a record carries. Default [`TimestampType::CreateTime`].
        message_timestamp_type: TimestampType [TimestampType] =
        "message.timestamp.type", TimestampType::CreateTime,
        |_v| true, "CreateTime or LogAppendTime";

        /// How far a record's timestamp may be before the current time; older records are refused.
        /// Default `None`: no limit.
        timestamp_before_max: Option<Duration> [impl Into<Option<Duration>>] =
        "message.timestamp.before.max.ms", None,
        |_v| true, "-1 or milliseconds";

        /// How far a record's timestamp may be after the current time; later records are refused.
        /// Default `None`: no limit (Kafka 4: 1 hour).
        timestamp_after_max: Option<Duration> [impl Into<Option<Duration>>] =
        "message.timestamp.after.max.ms", None,
        |_v| true, "-1 or milliseconds";

        /// The codec for batches that are not already compressed. Default [`Compression::None`].
        compression_type: Compression [Compression] = "compression.type", Compression::None,
        |_v| true, "producer, uncompressed, gzip, snappy, lz4 or zstd";

        /// Bytes of memory for compaction's keys. If not all fit, it makes more passes, with the
        /// same result. Default 64 MiB.
        dedupe_buffer_bytes: u64 [u64] = "dedupe.buffer.bytes", 64 << 20,
        |v| (1024..=(1 << 40)).contains(v), "1024 to 1099511627776";

        /// What an append survives. Default [`Durability::Os`].
        durability: Durability [Durability] = "durability", Durability::Os,
        |v| !matches!(v, Durability::Interval(every) if every.is_zero()),
        "os, always, or interval: and at least 1 millisecond";

        /// How appends reach the file. Default [`WriteMode::Auto`].
        write_mode: WriteMode [WriteMode] = "write.mode", WriteMode::Auto,
        |_v| true, "auto, mapped or pwrite";

        /// What opening does after a crash when, above the flushed mark, valid batches follow bytes
        /// that are not one. A power cut may lose an earlier page and keep a later one, so by
        /// default these batches are quarantined with those bytes. With `true` opening returns
        /// [`Error::Corrupt`](crate::Error::Corrupt) and changes nothing, so that the directory can
        /// be inspected. Default `false`.
        strict_recovery: bool [bool] = "strict.recovery", false,
        |_v| true, "true or false";

        /// How long opening waits for another handle of the directory before it returns
        /// [`Error::Locked`](crate::Error::Locked): a supervisor may start the new process before
        /// the killed one has ended. Default 0.
        lock_timeout: Duration [Duration] = "lock.timeout.ms", Duration::ZERO,
        |v| *v <= Duration::from_secs(3600), "0 to 3600000";
    }
}

impl LogConfig {
    /// The maximum age of a segment in milliseconds. `max_compaction_lag` limits it too, because
    /// only sealed segments are compacted.
    pub(crate) fn roll_ms(&self) -> u64 {
        let limit = match self.max_compaction_lag {
            Some(lag) if self.cleanup_policy.compacts() => self.segment_age.min(lag),
            _ => self.segment_age,
        };
        u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
