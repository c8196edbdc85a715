//! The settings of a topic: how many partitions, and everything that their logs can be told.
//!
//! Knows nothing about what any of them does: the settings of a log stand in one table
//! (`log/config.rs`), and are neither listed nor documented a second time here.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::log::{LogConfig, log_settings};
use crate::types::{
    BadSetting, CleanupPolicy, Compression, Durability, SettingValue as _, Settings, TimestampType,
    WriteMode, deserialize_settings, serialize_settings,
};

const PARTITIONS: &str = "partitions";
const DURABILITY: &str = "durability";

/// Every partition is a directory, and a topic is made in one go.
pub(crate) const PARTITIONS_MAX: u32 = 100_000;
const PARTITIONS_EXPECTED: &str = "1 to 100000";

/// The settings of a [`Topic`](crate::Topic): the number of its partitions, and all settings of a
/// [`LogConfig`], under the same names.
///
/// Plain data: made by [`Default`] and chained setters, or read from a configuration file under
/// Kafka's names (`"segment.bytes"`) or the field names. The settings of the logs are read as
/// fields: `config.segment_bytes`. Values out of their bounds are refused by
/// [`Broker::create_topic`](crate::Broker::create_topic).
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
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TopicConfig {
    /// How many partitions there are. Default 1.
    pub partitions: u32,
    /// What an append survives; `None` is what the broker was opened with. Default `None`.
    pub durability: Option<Durability>,
    log: LogConfig,
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self {
            partitions: 1,
            durability: None,
            log: LogConfig::default(),
        }
    }
}

impl Deref for TopicConfig {
    type Target = LogConfig;

    fn deref(&self) -> &LogConfig {
        &self.log
    }
}

/// Makes the setter of one line of the table of a log's settings.
macro_rules! setter {
    ($(#[$doc:meta])* durability [$takes:ty]) => {
        impl TopicConfig {
            /// What an append survives; `None` is what the broker was opened with. Default `None`.
            #[must_use]
            pub fn durability(mut self, durability: impl Into<Option<Durability>>) -> Self {
                self.durability = durability.into();
                self
            }
        }
    };
    ($(#[$doc:meta])* $field:ident [$takes:ty]) => {
        impl TopicConfig {
            $(#[$doc])*
            #[must_use]
            pub fn $field(mut self, $field: $takes) -> Self {
                self.log = self.log.$field($field);
                self
            }
        }
    };
}

impl TopicConfig {
    /// How many partitions there are. More can be added later, never less. Default 1.
    #[must_use]
    pub fn partitions(mut self, partitions: u32) -> Self {
        self.partitions = partitions;
        self
    }
}

log_settings!(setter);

impl TopicConfig {
    /// What the log of a partition is opened with.
    pub(crate) fn log_config(&self, broker: Durability) -> LogConfig {
        self.log
            .clone()
            .durability(self.durability.unwrap_or(broker))
    }

    /// The settings that are not what a new topic has: what the catalog keeps.
    pub(crate) fn deviations(&self) -> BTreeMap<&'static str, String> {
        let usual = Self::default().entries();
        let entries = self
            .entries()
            .into_iter()
            .filter(|entry| !usual.contains(entry));
        entries.filter(|(name, _)| *name != PARTITIONS).collect()
    }

    /// These settings with those changed that differ between two others: what somebody changed
    /// who had looked at older settings than these.
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

/// The table of a log's settings, with the one that a topic adds and the one that it may leave
/// open.
impl Settings for TopicConfig {
    const WHAT: &'static str = "topic";

    fn entries(&self) -> Vec<(&'static str, String)> {
        let mut entries = vec![(PARTITIONS, self.partitions.print())];
        entries.extend(self.log.entries());
        for (name, text) in &mut entries {
            if *name == DURABILITY {
                *text = self.durability.print();
            }
        }
        entries
    }

    fn name_of(name: &str) -> Option<&'static str> {
        match name {
            PARTITIONS => Some(PARTITIONS),
            DURABILITY => Some(DURABILITY),
            _ => LogConfig::name_of(name),
        }
    }

    fn set(&mut self, name: &str, text: &str) -> Result<bool, BadSetting> {
        let bad = |expected: &str| BadSetting {
            name: name.to_owned(),
            value: text.to_owned(),
            expected: expected.to_owned(),
        };
        match name {
            PARTITIONS => {
                self.partitions = u32::parse(text).ok_or_else(|| bad(PARTITIONS_EXPECTED))?;
                Ok(true)
            }
            DURABILITY => {
                self.durability = Option::parse(text)
                    .ok_or_else(|| bad("empty, os, always, or interval: and milliseconds"))?;
                Ok(true)
            }
            _ => self.log.set(name, text),
        }
    }

    fn check(&self) -> Result<(), BadSetting> {
        if !(1..=PARTITIONS_MAX).contains(&self.partitions) {
            return Err(BadSetting {
                name: PARTITIONS.to_owned(),
                value: self.partitions.print(),
                expected: PARTITIONS_EXPECTED.to_owned(),
            });
        }
        self.log_config(Durability::Os).check()
    }
}

impl Serialize for TopicConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_settings(self, serializer)
    }
}

impl<'de> Deserialize<'de> for TopicConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_settings(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_of_a_log_has_a_setter_and_comes_back_from_json() {
        let config = TopicConfig::default()
            .partitions(7)
            .segment_bytes(2048)
            .retention(Duration::from_millis(5))
            .durability(Durability::Always);
        let json = serde_json::to_string(&config).unwrap();
        for part in [
            "\"partitions\":7",
            "\"segment.bytes\":2048",
            "\"durability\":\"always\"",
        ] {
            assert!(json.contains(part), "{json}");
        }
        assert_eq!(serde_json::from_str::<TopicConfig>(&json).unwrap(), config);
        assert_eq!(config.segment_bytes, 2048);
        let log = config.log_config(Durability::Os);
        assert_eq!(
            (log.segment_bytes, log.durability),
            (2048, Durability::Always)
        );
        assert_eq!(
            TopicConfig::default()
                .log_config(Durability::Always)
                .durability,
            { Durability::Always }
        );
    }

    #[test]
    fn an_unknown_or_impossible_setting_is_named_with_its_bounds() {
        for (json, words) in [
            (r#"{"partitions": 0}"#, ["partitions", "1 to 100000"]),
            (r#"{"partitions": "many"}"#, ["partitions", "1 to 100000"]),
            (r#"{"segment.bytes": 10}"#, ["segment.bytes", "1024 to"]),
            (r#"{"durability": "perhaps"}"#, ["durability", "interval:"]),
            (
                r#"{"durability": "interval:0"}"#,
                ["durability", "at least 1"],
            ),
            (
                r#"{"colour": "red"}"#,
                ["colour", "partitions, segment.bytes"],
            ),
        ] {
            let error = serde_json::from_str::<TopicConfig>(json)
                .unwrap_err()
                .to_string();
            for word in words {
                assert!(error.contains(word), "{error}");
            }
        }
    }

    #[test]
    fn the_catalog_keeps_what_differs_from_a_new_topic() {
        assert!(TopicConfig::default().partitions(9).deviations().is_empty());
        let config = TopicConfig::default()
            .segment_bytes(2048)
            .durability(Durability::Os);
        let kept: Vec<_> = config.deviations().into_iter().collect();
        assert_eq!(
            kept,
            [
                ("durability", "os".to_owned()),
                ("segment.bytes", "2048".to_owned())
            ]
        );
    }

    #[test]
    fn two_who_change_different_settings_do_not_undo_each_other() {
        let old = TopicConfig::default().durability(Durability::Always);
        let mine = old.clone().segment_bytes(2048);
        let theirs = old.clone().durability(None).partitions(3);
        let both = mine.with_changes(&old, &theirs).unwrap();
        assert_eq!(
            both,
            TopicConfig::default().segment_bytes(2048).partitions(3)
        );
    }
}
