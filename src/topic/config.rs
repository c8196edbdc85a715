//! The settings of a topic: the number of partitions, and all settings of their logs.
//!
//! Knows nothing about what a setting does. The settings of a log are in the table of
//! `types/log_config.rs` alone.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::types::{
    BadSetting, CleanupPolicy, Compression, Durability, Settings, TimestampType, WriteMode, config,
};
use crate::types::{DAY, LogConfig, SEGMENT_BYTES_MAX, WEEK, log_settings};

const PARTITIONS: &str = "partitions";

/// Creating a topic creates the directories of all its partitions in one operation.
pub(crate) const PARTITIONS_MAX: u32 = 100_000;

/// Defines [`TopicConfig`] from the rows of that table, and its conversion to a [`LogConfig`],
/// whose struct literal has no `..`: no setting can be forgotten.
///
/// It copies the rows one by one, because `durability` is optional in a topic.
macro_rules! topic_config {
    (
        @lines [$($lines:tt)*] [$($others:ident)*]
        $(#[$doc:meta])*
        durability: $type:ty [$takes:ty] = $name:literal, $default:expr,
        |$value:ident| $test:expr, $expected:literal;
        $($rest:tt)*
    ) => {
        topic_config! {
            @lines
            [
                $($lines)*
                /// What an append survives; `None` uses the broker's setting. Default `None`.
                durability: Option<Durability> [impl Into<Option<Durability>>] = $name, None,
                |v| !matches!(v, Some(Durability::Interval(every)) if every.is_zero()),
                "empty, os, always, or interval: and at least 1 millisecond";
            ]
            [$($others)*]
            $($rest)*
        }
    };
    (
        @lines [$($lines:tt)*] [$($others:ident)*]
        $(#[$doc:meta])*
        $field:ident: $type:ty [$takes:ty] = $name:literal, $default:expr,
        |$value:ident| $test:expr, $expected:literal;
        $($rest:tt)*
    ) => {
        topic_config! {
            @lines
            [
                $($lines)*
                $(#[$doc])*
                $field: $type [$takes] = $name, $default,
                |$value| $test, $expected;
            ]
            [$($others)* $field]
            $($rest)*
        }
    };
    (@lines [$($lines:tt)*] [$($others:ident)*]) => {
        config! {
            /// The settings of a [`Topic`](crate::Topic): the number of its partitions, and all
            /// settings of a [`LogConfig`], with the same names.
            ///
            /// Created with [`Default`] and setters, or deserialized with Kafka's names
            /// (`"segment.bytes"`) or the field names.
            /// [`Broker::create_topic`](crate::Broker::create_topic) refuses values that are out of
            /// bounds.
            ///
            /// # Examples
            ///
            /// ```
            /// use ottla::{Durability, TopicConfig};
            ///
            /// let config = TopicConfig::default().partitions(4).segment_bytes(64 << 20);
            /// assert_eq!(config.partitions, 4);
            /// assert_eq!(config.segment_bytes, 64 << 20);
            /// assert_eq!(config.durability, None, "the broker's");
            /// ```
            pub struct TopicConfig("topic") {
                /// The number of partitions. Later it can only be increased. Default 1.
                partitions: u32 [u32] = "partitions", 1,
                |v| (1..=PARTITIONS_MAX).contains(v), "1 to 100000";

                $($lines)*
            }
        }

        impl TopicConfig {
            /// The settings of the logs. A topic without its own durability has the `broker`'s.
            pub(crate) fn log_config(&self, broker: Durability) -> LogConfig {
                LogConfig {
                    durability: self.durability.unwrap_or(broker),
                    $($others: self.$others,)*
                }
            }
        }
    };
    ($($table:tt)*) => {
        topic_config! { @lines [] [] $($table)* }
    };
}

log_settings!(topic_config);

impl TopicConfig {
    /// The settings that differ from the defaults: the catalog stores only these.
    pub(crate) fn deviations(&self) -> BTreeMap<&'static str, String> {
        let usual = Self::default().entries();
        let entries = self
            .entries()
            .into_iter()
            .filter(|entry| !usual.contains(entry));
        entries.filter(|(name, _)| *name != PARTITIONS).collect()
    }

    /// Applies the changes of a caller that read the settings `from` and asks for `to`.
    pub(crate) fn with_changes(&self, from: &Self, to: &Self) -> Result<Self, BadSetting> {
        let mut changed = self.clone();
        let before = from.entries();
        for (name, text) in to.entries() {
            if !before.contains(&(name, text.clone())) {
                changed.set(name, &text)?;
            }
        }
        Ok(changed)
    }
}

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
