//! The settings of a topic: the number of partitions, and all settings of their logs.
//!
//! Knows nothing about what a setting does. The settings of a log are defined in one table
//! (`types/log_config.rs`) and are neither listed nor documented again here.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::types::{
    BadSetting, CleanupPolicy, Compression, Durability, Settings, TimestampType, WriteMode, config,
};
use crate::types::{DAY, LogConfig, SEGMENT_BYTES_MAX, WEEK, log_settings};

const PARTITIONS: &str = "partitions";

/// Every partition is a directory, and creating a topic creates all of them in one operation.
pub(crate) const PARTITIONS_MAX: u32 = 100_000;

/// Generates [`TopicConfig`] from the rows of the table of a log's settings, and the one function
/// that makes a [`LogConfig`] of it. The struct literal there has no `..`, so no setting can be
/// forgotten.
///
/// It copies the rows one by one, because one of them differs in a topic: `durability` is optional
/// there and defaults to the broker's.
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
            /// Plain data: created with [`Default`] and chained setters, or deserialized from a
            /// configuration file with Kafka's names (`"segment.bytes"`) or the field names.
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
                /// The number of partitions. It can be increased later, but not decreased.
                /// Default 1.
                partitions: u32 [u32] = "partitions", 1,
                |v| (1..=PARTITIONS_MAX).contains(v), "1 to 100000";

                $($lines)*
            }
        }

        impl TopicConfig {
            /// The settings with which the log of a partition is opened.
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
    /// The settings that differ from the defaults of a new topic: the catalog stores only these.
    pub(crate) fn deviations(&self) -> BTreeMap<&'static str, String> {
        let usual = Self::default().entries();
        let entries = self
            .entries()
            .into_iter()
            .filter(|entry| !usual.contains(entry));
        entries.filter(|(name, _)| *name != PARTITIONS).collect()
    }

    /// These settings with the differences between two others applied: the changes of a caller that
    /// started from older settings.
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
