//! The settings of a broker.
//!
//! Knows nothing about topics: what a topic can be told stands in `topic/config.rs`.

use std::time::Duration;

use crate::types::{Durability, config};

config! {
    /// The settings of a [`Broker`](crate::Broker).
    ///
    /// # Examples
    ///
    /// ```
    /// use ottla::{BrokerConfig, Durability};
    ///
    /// let config = BrokerConfig::default().durability(Durability::Always);
    /// assert!(!config.manual_upkeep);
    /// ```
    pub struct BrokerConfig("broker") {
        /// What an append to a topic survives whose own settings leave it open, and what a commit
        /// of a group survives. Default [`Durability::Os`].
        durability: Durability [Durability] = "durability", Durability::Os,
        |v| !matches!(v, Durability::Interval(every) if every.is_zero()),
        "os, always, or interval: and at least 1 millisecond";

        /// The number that a Kafka broker has in its own properties when it is started on the
        /// closed directory. Once one has run there, the directory keeps its number. Default 1.
        node_id: u32 [u32] = "node.id", 1,
        |v| i32::try_from(*v).is_ok(), "0 to 2147483647";

        /// The level of Kafka's metadata that the closed directory is written in: the default is
        /// read by brokers of 3.9 and of every 4.x. A higher one, which a broker of 3.9 does not
        /// start with, brings the feature levels of its release along, so that clients of the new
        /// protocols work at once: `group.version` 1 from 22 on, `transaction.version` 2 from 24 on
        /// (4.0 is 25, 4.1 is 27), `share.version` 1 from 28 on (4.2 is 29, 4.3 is 30). Once a
        /// broker has run there, the levels are the broker's. Default 21 (3.9-IV0).
        metadata_version: u32 [u32] = "metadata.version", 21,
        |v| (21..=32_767).contains(v), "21 to 32767";

        /// Starts no thread: interval syncs, retention and compaction are then done by
        /// [`Broker::upkeep`](crate::Broker::upkeep), and what an append leaves to the flusher is
        /// done in line. Default false.
        manual_upkeep: bool [bool] = "manual.upkeep", false,
        |_v| true, "true or false";

        /// How many files the broker has open at most, for all its partitions and readers together:
        /// those that were unused for longest are closed, and opened again when they are needed. A
        /// file that was appended to since its last sync is synced before it is closed, so that a
        /// bound below the number of partitions in steady use costs a sync for almost every append
        /// to another partition. Default: half of the process's limit (`RLIMIT_NOFILE`, read
        /// once), which is also the most that takes effect, for all brokers and logs of a process
        /// together. What is open for the length of one call comes on top of it.
        max_open_files: Option<u64> [impl Into<Option<u64>>] = "max.open.files", None,
        |v| v.is_none_or(|max| max >= 1), "at least 1, or -1 for half of the process's limit";

        /// How many bytes the directory holds at most, beside one segment of each partition, the
        /// active one. That one may have [`segment_bytes`](crate::TopicConfig::segment_bytes) with
        /// all that belongs to it, so it rolls up to 4 % earlier than without a limit. Where a roll
        /// would go above the limit, the oldest sealed segments are forgotten first, of all topics
        /// whose `cleanup.policy` has `delete` and that set `retention.ms` or `retention.bytes`,
        /// whether these are exceeded or not. Where none is left the append is refused with
        /// [`Error::NoSpace`](crate::Error::NoSpace), and nothing is lost; so is a compaction that
        /// finds no room for what it writes. A single batch that is larger than a segment, and the
        /// commits of groups, may go above it. With a limit all logs are opened with the broker.
        /// Default: none.
        max_total_bytes: Option<u64> [impl Into<Option<u64>>] = "max.total.bytes", None,
        |v| v.is_none_or(|max| max >= 1), "at least 1, or -1 for no limit";

        /// How long upkeep waits between two rounds of retention and compaction. Default 10
        /// seconds (Kafka: 5 minutes and 15 seconds).
        upkeep_interval: Duration [Duration] =
        "log.retention.check.interval.ms", Duration::from_secs(10),
        |v| *v >= Duration::from_millis(1), "at least 1";

        /// Upkeep forgets a group, with everything that it has committed, when it has had no
        /// members and committed nothing for this long: Kafka's `offsets.retention.minutes`, which
        /// is 7 days there. It then begins again where a member's
        /// [`start`](crate::ConsumerConfig::start) says. The time at which the last member left is
        /// known while the broker stays open; after that the last commit counts. Default `None`:
        /// never.
        offsets_retention: Option<Duration> [impl Into<Option<Duration>>] =
        "offsets.retention.ms", None,
        |v| v.is_none_or(|span| span >= Duration::from_millis(1)), "at least 1, or -1 for never";

        /// Lets a broker open a directory that holds other files and nothing of a broker. Without
        /// it that is refused: somebody has mistaken the directory. Default false.
        among_other_files: bool [bool] = "among.other.files", false,
        |_v| true, "true or false";

        /// How long opening waits for a directory that somebody else has open; then it is
        /// [`Error::Locked`](crate::Error::Locked). A supervisor that restarts a killed process may
        /// be faster than the end of that process. Default 0.
        lock_timeout: Duration [Duration] = "lock.timeout.ms", Duration::ZERO,
        |v| *v <= Duration::from_secs(3600), "0 to 3600000";
    }
}
