//! The settings of a consumer.
//!
//! Knows nothing about what they do. The names are Kafka's, and so are the defaults, but for:
//!
//! | setting | default | Kafka's default, and why ours differs |
//! | --- | --- | --- |
//! | `partition.assignment.strategy` | `range` | a list of it and sticky |
//! | `auto.offset.reset` | `earliest` | `latest`, with which a late group silently skips records |
//! | `enable.auto.commit` | false | true: here a record counts as processed once it is committed |

use std::time::Duration;

use crate::types::{Offset, ReadIsolation, SettingValue, Start, Timestamp, config};

use super::Assignor;

config! {
    /// The settings of a [`Consumer`](crate::Consumer).
    ///
    /// Created with [`Default`] and setters, or deserialized with Kafka's names
    /// (`"max.poll.records"`) or the field names.
    ///
    /// # Examples
    ///
    /// ```
    /// use ottla::{Assignor, ConsumerConfig, Start};
    ///
    /// let config = ConsumerConfig::default().start(Start::Latest).assignor(Assignor::Sticky);
    /// assert_eq!(config.max_poll_records, 500);
    /// ```
    pub struct ConsumerConfig("consumer") {
        /// The maximum number of records that a poll returns. Default 500.
        max_poll_records: u32 [u32] = "max.poll.records", 500,
        |v| *v >= 1, "at least 1";

        /// The maximum size of keys, values and headers that a poll returns, in bytes over all
        /// partitions. A larger first record is returned alone. Default 50 MiB.
        fetch_max_bytes: u64 [u64] = "fetch.max.bytes", 50 << 20,
        |v| *v >= 1, "at least 1";

        /// The same limit for each partition, so that none fills a poll alone. A larger first
        /// record is returned all the same. Default 1 MiB.
        max_partition_fetch_bytes: u64 [u64] = "max.partition.fetch.bytes", 1 << 20,
        |v| *v >= 1, "at least 1";

        /// The maximum time from the end of a poll to the start of the next; after that the member
        /// is removed, and others get its partitions. Default 5 minutes.
        max_poll_interval: Duration [Duration] = "max.poll.interval.ms", Duration::from_secs(300),
        |v| *v >= Duration::from_millis(1), "at least 1";

        /// How long a static member keeps its partitions after it is dropped: if it joins again in
        /// this time, none of them moves. Default 45 seconds.
        session_timeout: Duration [Duration] = "session.timeout.ms", Duration::from_secs(45),
        |v| *v >= Duration::from_millis(1), "at least 1";

        /// How the group divides its partitions; the oldest member's setting counts. Default
        /// [`Assignor::Range`].
        assignor: Assignor [Assignor] = "partition.assignment.strategy", Assignor::Range,
        |_v| true, "range, roundrobin or sticky";

        /// Where reading begins without a commit, or when the records at the committed offset were
        /// deleted. With `None`, poll returns [`Error::NoOffset`](crate::Error::NoOffset) until the
        /// consumer calls `seek`. Default [`Start::Earliest`] (Kafka: latest).
        start: Option<Start> [impl Into<Option<Start>>] =
        "auto.offset.reset", Some(Start::Earliest),
        |_v| true, "earliest, latest, none, offset: and a number, or time: and milliseconds";

        /// A name that makes this a static member, the same one after each restart. A new member
        /// takes over at once from the one of the same name, which is fenced for good. A static
        /// member that is dropped keeps its partitions for `session_timeout`; only
        /// [`leave`](crate::Consumer::leave) gives them up at once. Static members are assigned
        /// partitions first, by name. Default empty: not a static member.
        static_member_id: String [impl Into<String>] = "group.instance.id", String::new(),
        |v| i16::try_from(v.len()).is_ok(), "at most 32767 bytes";

        /// Whether records of open and aborted transactions (of Kafka's producers) are returned.
        /// Default [`ReadIsolation::ReadUncommitted`].
        isolation_level: ReadIsolation [ReadIsolation] =
        "isolation.level", ReadIsolation::ReadUncommitted,
        |_v| true, "read_uncommitted or read_committed";

        /// Whether a poll commits the records of earlier polls: when `auto_commit_interval` has
        /// passed since the last commit, before a partition passes to another member, and when the
        /// member leaves. Calling poll then means that all earlier records were processed. Default
        /// false: the program calls `commit`.
        auto_commit: bool [bool] = "enable.auto.commit", false,
        |_v| true, "true or false";

        /// The minimum time between two automatic commits; zero commits in every poll. Default 5
        /// seconds.
        auto_commit_interval: Duration [Duration] = "auto.commit.interval.ms",
        Duration::from_secs(5), |_v| true, "at least 0";
    }
}

/// Kafka has neither `offset:` nor `time:`.
impl SettingValue for Option<Start> {
    fn print(&self) -> String {
        match self {
            None => "none".to_owned(),
            Some(Start::Earliest) => "earliest".to_owned(),
            Some(Start::Latest) => "latest".to_owned(),
            Some(Start::Offset(offset)) => format!("offset:{offset}"),
            Some(Start::Time(at)) => format!("time:{}", at.as_millis()),
            Some(Start::InEpoch { offset, epoch }) => format!("offset:{offset}@{epoch}"),
        }
    }
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        match text.as_str() {
            "none" => Some(None),
            "earliest" => Some(Some(Start::Earliest)),
            "latest" => Some(Some(Start::Latest)),
            other => Some(Some(match other.split_once(':')? {
                ("offset", place) => match place.split_once('@') {
                    None => Start::Offset(place.parse::<Offset>().ok()?),
                    Some((offset, epoch)) => Start::InEpoch {
                        offset: offset.parse().ok()?,
                        epoch: epoch.parse().ok()?,
                    },
                },
                ("time", millis) => Start::Time(Timestamp::from_millis(millis.parse().ok()?)),
                _ => return None,
            })),
        }
    }
}

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
