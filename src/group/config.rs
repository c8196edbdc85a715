//! The settings of a consumer.
//!
//! Knows nothing about what they do. The names are Kafka's; the defaults are Kafka's but where the
//! table says otherwise.
//!
//! | setting | default | Kafka's default, and why ours differs |
//! | --- | --- | --- |
//! | `max.poll.records` | 500 | the same |
//! | `max.poll.interval.ms` | 5 minutes | the same |
//! | `partition.assignment.strategy` | `range` | the same (there a list, sticky being its second) |
//! | `auto.offset.reset` | `earliest` | `latest`: a log's reader expects everything |
//! | `group.instance.id` | empty, none | the same |
//! | `session.timeout.ms` | 45 seconds | the same |
//! | `fetch.max.bytes` | 50 MiB | the same |
//! | `max.partition.fetch.bytes` | 1 MiB | the same |
//! | `auto.commit.interval.ms` | 5 seconds | the same |
//! | `isolation.level` | `read_uncommitted` | the same |
//! | `enable.auto.commit` | false | true: here nothing counts as done before the program says so |

use std::time::Duration;

use crate::types::{Offset, ReadIsolation, SettingValue, Start, Timestamp, config};

use super::Assignor;

config! {
    /// The settings of a [`Consumer`](crate::Consumer).
    ///
    /// Plain data: made by [`Default`] and chained setters, or read from a configuration file
    /// under Kafka's names (`"max.poll.records"`) or the field names.
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
        /// How many records a poll returns at most. Default 500.
        max_poll_records: u32 [u32] = "max.poll.records", 500,
        |v| *v >= 1, "at least 1";

        /// How many bytes of keys, values and headers a poll returns at most, over all partitions.
        /// A first record that is larger is returned alone. Default 50 MiB.
        fetch_max_bytes: u64 [u64] = "fetch.max.bytes", 50 << 20,
        |v| *v >= 1, "at least 1";

        /// The same for one partition, so that no partition fills a poll alone. A first record that
        /// is larger is returned all the same. Default 1 MiB.
        max_partition_fetch_bytes: u64 [u64] = "max.partition.fetch.bytes", 1 << 20,
        |v| *v >= 1, "at least 1";

        /// How long a member may take between the end of a poll and the begin of the next before
        /// it is thrown out and others get its partitions. Default 5 minutes.
        max_poll_interval: Duration [Duration] = "max.poll.interval.ms", Duration::from_secs(300),
        |v| *v >= Duration::from_millis(1), "at least 1";

        /// How long a static member (see `static_member_id`) that was dropped keeps its partitions:
        /// within this time it can be restarted and nothing moves. Default 45 seconds.
        session_timeout: Duration [Duration] = "session.timeout.ms", Duration::from_secs(45),
        |v| *v >= Duration::from_millis(1), "at least 1";

        /// How the group shares out its partitions; of different wishes in one group the oldest
        /// member's counts. Default [`Assignor::Range`].
        assignor: Assignor [Assignor] = "partition.assignment.strategy", Assignor::Range,
        |_v| true, "range, roundrobin or sticky";

        /// Where a partition is begun for which the group has committed nothing, or whose
        /// committed records are gone. `None` has poll answer
        /// [`Error::NoOffset`](crate::Error::NoOffset) until the partition is sought. Default
        /// [`Start::Earliest`] (Kafka: latest).
        start: Option<Start> [impl Into<Option<Start>>] =
        "auto.offset.reset", Some(Start::Earliest),
        |_v| true, "earliest, latest, none, offset: and a number, or time: and milliseconds";

        /// A name that this member keeps across restarts of its program. A member that joins takes
        /// over at once from the member that has the name now, which is fenced for good. One that
        /// was dropped keeps its partitions for `session_timeout`; only
        /// [`leave`](crate::Consumer::leave) gives them up at once. Static members come first when
        /// partitions are shared out, in the order of their names. Empty for none, which is the
        /// default.
        static_member_id: String [impl Into<String>] = "group.instance.id", String::new(),
        |v| i16::try_from(v.len()).is_ok(), "at most 32767 bytes";

        /// What is seen of transactions that Kafka's producers wrote. Default
        /// [`ReadIsolation::ReadUncommitted`].
        isolation_level: ReadIsolation [ReadIsolation] =
        "isolation.level", ReadIsolation::ReadUncommitted,
        |_v| true, "read_uncommitted or read_committed";

        /// Whether polls commit what the polls before them returned: when `auto_commit_interval`
        /// has passed since the last commit, before a partition goes to another member, and when
        /// the member leaves. With it, records are done when poll is called again. Default false:
        /// `commit` says what is done.
        auto_commit: bool [bool] = "enable.auto.commit", false,
        |_v| true, "true or false";

        /// How often `auto_commit` commits at most. Zero commits in every poll. Default 5 seconds.
        auto_commit_interval: Duration [Duration] = "auto.commit.interval.ms",
        Duration::from_secs(5), |_v| true, "at least 0";
    }
}

/// Kafka's words for the ends; an offset and a time have none there.
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
mod tests {
    use super::*;
    use crate::types::Settings as _;

    #[cfg(feature = "serde")]
    #[test]
    fn a_config_comes_back_from_json_under_kafkas_names() {
        for start in [
            None,
            Some(Start::Earliest),
            Some(Start::Latest),
            Some(Start::Offset(7)),
            Some(Start::from((7, 2))),
            Some(Start::Time(Timestamp::from_millis(-5))),
        ] {
            let config = ConsumerConfig::default()
                .start(start)
                .assignor(Assignor::RoundRobin)
                .static_member_id("gate")
                .auto_commit(true)
                .max_poll_interval(Duration::from_millis(7));
            let json = serde_json::to_string(&config).unwrap();
            assert!(json.contains("\"max.poll.interval.ms\":7"), "{json}");
            assert_eq!(
                serde_json::from_str::<ConsumerConfig>(&json).unwrap(),
                config
            );
        }
    }

    #[test]
    fn a_bad_setting_is_refused() {
        assert!(ConsumerConfig::default().check().is_ok());
        assert!(
            ConsumerConfig::default()
                .max_poll_records(0)
                .check()
                .is_err()
        );
        for (name, text) in [
            ("auto.offset.reset", "middle"),
            ("auto.offset.reset", "offset:x"),
            ("partition.assignment.strategy", "best"),
            ("max.poll.interval.ms", "0"),
        ] {
            let mut config = ConsumerConfig::default();
            let set = config.set(name, text);
            assert!(set.is_err() || config.check().is_err(), "{name}: {text}");
        }
    }
}
