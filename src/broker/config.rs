//! The settings of a broker.
//!
//! Knows nothing about topics: their settings are in `topic/config.rs`.

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
        /// What an append survives in topics without a durability of their own, and a group's
        /// commit in every topic. Default [`Durability::Os`].
        durability: Durability [Durability] = "durability", Durability::Os,
        |v| !matches!(v, Durability::Interval(every) if every.is_zero()),
        "os, always, or interval: and at least 1 millisecond";

        /// The `node.id` of a Kafka broker started on the closed directory, which keeps it once one
        /// has run there. Default 1.
        node_id: u32 [u32] = "node.id", 1,
        |v| i32::try_from(*v).is_ok(), "0 to 2147483647";

        /// The version of Kafka's metadata in the closed directory. Brokers of 3.9 and every 4.x
        /// read the default. A broker of 3.9 does not start with a higher one, which also sets the
        /// feature levels of its release, so that clients of the new protocols work at once:
        /// `group.version` 1 from 22 on, `transaction.version` 2 from 24 on (4.0 is 25, 4.1 is 27),
        /// `share.version` 1 from 28 on (4.2 is 29, 4.3 is 30). Once a broker has run there, its
        /// levels stay. Default 21 (3.9-IV0).
        metadata_version: u32 [u32] = "metadata.version", 21,
        |v| (21..=32_767).contains(v), "21 to 32767";

        /// Starts no threads: [`Broker::upkeep`](crate::Broker::upkeep) does interval syncs,
        /// retention and compaction, and an append does the flusher's work. Default false.
        manual_upkeep: bool [bool] = "manual.upkeep", false,
        |_v| true, "true or false";

        /// The maximum number of open files, for all partitions and readers of the broker. The
        /// least recently used ones are closed until they are needed, after a sync of unsynced
        /// data: so a limit below the number of partitions in steady use costs a sync for almost
        /// every append to another partition. Files open only during one call are not counted.
        /// Default: half of the process's limit (`RLIMIT_NOFILE`, read once), which also bounds all
        /// brokers and logs of a process together.
        max_open_files: Option<u64> [impl Into<Option<u64>>] = "max.open.files", None,
        |v| v.is_none_or(|max| max >= 1), "at least 1, or -1 for half of the process's limit";

        /// The maximum size of the directory in bytes, without the active segment of each
        /// partition. That may take up [`segment_bytes`](crate::TopicConfig::segment_bytes) with
        /// its indexes, so it rolls up to 4 % earlier than without a limit. A roll that would
        /// exceed the limit first deletes the oldest sealed segments of all topics whose
        /// `cleanup.policy` includes `delete` and that set `retention.ms` or `retention.bytes`,
        /// whether these are exceeded or not. Without such a segment the append returns
        /// [`Error::NoSpace`](crate::Error::NoSpace), and nothing is lost; so does a compaction
        /// without room for its output. A single batch larger than a segment, and the commits of
        /// groups, may exceed the limit. With a limit, all logs are opened together with the
        /// broker. Default: none.
        max_total_bytes: Option<u64> [impl Into<Option<u64>>] = "max.total.bytes", None,
        |v| v.is_none_or(|max| max >= 1), "at least 1, or -1 for no limit";

        /// The time between two rounds of retention and compaction. Default 10 seconds (Kafka: 5
        /// minutes and 15 seconds).
        upkeep_interval: Duration [Duration] =
        "log.retention.check.interval.ms", Duration::from_secs(10),
        |v| *v >= Duration::from_millis(1), "at least 1";

        /// Upkeep deletes a group and its commits once it has had no members and committed nothing
        /// for this long (Kafka's `offsets.retention.minutes`, 7 days by default). A group of the
        /// same id then begins at its members' [`start`](crate::ConsumerConfig::start). The time at
        /// which the last member left is known only until the close; after that, the time of the
        /// last commit counts. Default `None`: never.
        offsets_retention: Option<Duration> [impl Into<Option<Duration>>] =
        "offsets.retention.ms", None,
        |v| v.is_none_or(|span| span >= Duration::from_millis(1)), "at least 1, or -1 for never";

        /// Allows a new broker in a directory with other files, which is otherwise refused: it is
        /// probably the wrong one. Default false.
        among_other_files: bool [bool] = "among.other.files", false,
        |_v| true, "true or false";

        /// How long opening waits for a directory that another handle has open before it returns
        /// [`Error::Locked`](crate::Error::Locked): a supervisor may start the new process before
        /// the killed one has ended. Default 0.
        lock_timeout: Duration [Duration] = "lock.timeout.ms", Duration::ZERO,
        |v| *v <= Duration::from_secs(3600), "0 to 3600000";
    }
}
