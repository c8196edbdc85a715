//! The values of settings: how each is written under Kafka's property names, and read back.
//!
//! Knows nothing about which settings there are: the configs have the tables
//! (`types/log_config.rs`, `topic/config.rs`, ...). Configuration files, the topic catalog and a
//! broker's metadata have the same text, as Kafka prints it.

use std::fmt;
use std::time::Duration;

use super::units;
use super::{CleanupPolicy, Compression, Durability, ReadIsolation, TimestampType, WriteMode};

pub(crate) trait SettingValue: Sized {
    /// The value as Kafka prints it.
    fn print(&self) -> String;
    /// Reads what [`print`](Self::print) returns, and other spellings; `None` for anything else.
    fn parse(text: &str) -> Option<Self>;
}

/// A setting that is refused; it becomes an `InvalidConfig`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadSetting {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) expected: String,
}

impl fmt::Display for BadSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            value,
            expected,
        } = self;
        write!(f, "setting {name} cannot be {value}: expected {expected}")
    }
}

macro_rules! parsed_settings {
    ($($type:ty),*) => {$(
        impl SettingValue for $type {
            fn print(&self) -> String {
                self.to_string()
            }
            fn parse(text: &str) -> Option<Self> {
                text.trim().parse().ok()
            }
        }
    )*};
}

parsed_settings!(u32, i32, f64, bool);

/// A size in bytes, with or without a unit.
impl SettingValue for u64 {
    fn print(&self) -> String {
        self.to_string()
    }
    fn parse(text: &str) -> Option<Self> {
        units::bytes(text)
    }
}

impl SettingValue for Duration {
    fn print(&self) -> String {
        i64::try_from(self.as_millis())
            .unwrap_or(i64::MAX)
            .to_string()
    }
    fn parse(text: &str) -> Option<Self> {
        units::time(text)
    }
}

/// A missing limit is Kafka's -1 (for times also its largest value, which no clock reaches).
impl SettingValue for Option<Duration> {
    fn print(&self) -> String {
        self.map_or_else(|| "-1".to_owned(), |limit| limit.print())
    }
    fn parse(text: &str) -> Option<Self> {
        match text.trim().parse::<i64>() {
            Ok(-1 | i64::MAX) => Some(None),
            _ => Some(Some(Duration::parse(text)?)),
        }
    }
}

impl SettingValue for Option<u64> {
    fn print(&self) -> String {
        self.map_or_else(|| "-1".to_owned(), |limit| limit.to_string())
    }
    fn parse(text: &str) -> Option<Self> {
        match text.trim() {
            "-1" => Some(None),
            number => Some(Some(u64::parse(number)?)),
        }
    }
}

impl SettingValue for String {
    fn print(&self) -> String {
        self.clone()
    }
    fn parse(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl SettingValue for Compression {
    fn print(&self) -> String {
        match self {
            Self::None => "producer",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
        .to_owned()
    }
    fn parse(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "producer" | "uncompressed" | "none" => Some(Self::None),
            "gzip" => Some(Self::Gzip),
            "snappy" => Some(Self::Snappy),
            "lz4" => Some(Self::Lz4),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}

impl SettingValue for TimestampType {
    fn print(&self) -> String {
        match self {
            Self::CreateTime => "CreateTime",
            Self::LogAppendTime => "LogAppendTime",
        }
        .to_owned()
    }
    fn parse(text: &str) -> Option<Self> {
        match text.trim() {
            "CreateTime" => Some(Self::CreateTime),
            "LogAppendTime" => Some(Self::LogAppendTime),
            _ => None,
        }
    }
}

impl SettingValue for CleanupPolicy {
    fn print(&self) -> String {
        match self {
            Self::Delete => "delete",
            Self::Compact => "compact",
            Self::CompactAndDelete => "compact,delete",
        }
        .to_owned()
    }
    fn parse(text: &str) -> Option<Self> {
        let (mut delete, mut compact) = (false, false);
        for word in text.split(',') {
            match word.trim() {
                "delete" => delete = true,
                "compact" => compact = true,
                _ => return None,
            }
        }
        match (compact, delete) {
            (true, true) => Some(Self::CompactAndDelete),
            (true, false) => Some(Self::Compact),
            (false, true) => Some(Self::Delete),
            (false, false) => None,
        }
    }
}

/// `os`, `always`, or `interval:` and milliseconds.
impl SettingValue for Durability {
    fn print(&self) -> String {
        match self {
            Self::Os => "os".to_owned(),
            Self::Always => "always".to_owned(),
            Self::Interval(every) => format!("interval:{}", every.print()),
        }
    }
    fn parse(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "os" => Some(Self::Os),
            "always" => Some(Self::Always),
            other => Some(Self::Interval(Duration::parse(
                other.strip_prefix("interval:")?,
            )?)),
        }
    }
}

/// `None`, where a wider setting decides, is an empty text.
impl SettingValue for Option<Durability> {
    fn print(&self) -> String {
        self.map_or_else(String::new, |durability| durability.print())
    }
    fn parse(text: &str) -> Option<Self> {
        match text.trim() {
            "" => Some(None),
            text => Some(Some(Durability::parse(text)?)),
        }
    }
}

impl SettingValue for ReadIsolation {
    fn print(&self) -> String {
        match self {
            Self::ReadUncommitted => "read_uncommitted",
            Self::ReadCommitted => "read_committed",
        }
        .to_owned()
    }
    fn parse(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "read_uncommitted" => Some(Self::ReadUncommitted),
            "read_committed" => Some(Self::ReadCommitted),
            _ => None,
        }
    }
}

impl SettingValue for WriteMode {
    fn print(&self) -> String {
        match self {
            Self::Auto => "auto",
            Self::Mapped => "mapped",
            Self::Pwrite => "pwrite",
        }
        .to_owned()
    }
    fn parse(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "auto" => Some(Self::Auto),
            "mapped" => Some(Self::Mapped),
            "pwrite" => Some(Self::Pwrite),
            _ => None,
        }
    }
}

/// A text that names no choice, from `FromStr` of [`Durability`], [`Compression`] and others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChoiceError {
    text: String,
    expected: &'static str,
}

impl ChoiceError {
    pub(crate) fn new(text: &str, expected: &'static str) -> Self {
        Self {
            text: text.to_owned(),
            expected,
        }
    }
}

impl fmt::Display for ChoiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is unknown: expected {}", self.text, self.expected)
    }
}

impl std::error::Error for ChoiceError {}

/// Prints and parses a choice by its word in configuration files.
macro_rules! choice_words {
    ($choice:ty, $expected:literal) => {
        impl std::fmt::Display for $choice {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&$crate::types::SettingValue::print(self))
            }
        }

        impl std::str::FromStr for $choice {
            type Err = $crate::types::ChoiceError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let parsed = <Self as $crate::types::SettingValue>::parse(text);
                parsed.ok_or_else(|| $crate::types::ChoiceError::new(text, $expected))
            }
        }
    };
}
pub(crate) use choice_words;

choice_words!(Durability, "os, always, or interval: and a time");
choice_words!(CleanupPolicy, "delete, compact, or compact,delete");
choice_words!(TimestampType, "CreateTime or LogAppendTime");
choice_words!(WriteMode, "auto, mapped or pwrite");
choice_words!(ReadIsolation, "read_uncommitted or read_committed");

/// Prints a client's `none`, which Kafka's setting calls `producer`; both are read.
impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.pad("none"),
            packed => f.pad(&packed.print()),
        }
    }
}

impl std::str::FromStr for Compression {
    type Err = ChoiceError;

    fn from_str(text: &str) -> Result<Self, ChoiceError> {
        let expected = "none, gzip, snappy, lz4 or zstd";
        Self::parse(text).ok_or_else(|| ChoiceError::new(text, expected))
    }
}

/// A config as named texts, for serde, the catalog and Kafka's metadata.
pub(crate) trait Settings: Default {
    /// What the settings are of, for serde's messages.
    #[cfg(feature = "serde")]
    const WHAT: &'static str;

    /// Every setting, under Kafka's name where Kafka has it, in a fixed order.
    fn entries(&self) -> Vec<(&'static str, String)>;

    /// The name in [`Settings::entries`] of a setting, by Kafka's name, the field's, or an old one.
    fn name_of(name: &str) -> Option<&'static str>;

    /// Sets one, by any name of [`name_of`](Self::name_of); false when no setting has this name.
    fn set(&mut self, name: &str, text: &str) -> Result<bool, BadSetting>;

    /// Refuses values that are out of bounds.
    fn check(&self) -> Result<(), BadSetting>;
}

/// Whether `name` is a name that files once had for the setting `kafka`.
pub(crate) fn is_old_name(kafka: &str, name: &str) -> bool {
    let underscores = kafka.len() == name.len()
        && kafka
            .bytes()
            .zip(name.bytes())
            .all(|(kafka, old)| kafka == old || kafka == b'.' && old == b'_');
    underscores || (kafka, name) == ("log.retention.check.interval.ms", "upkeep_interval_ms")
}

/// Makes a config from a table: the struct with public fields, defaults, setters, Kafka's names,
/// bounds, and serde.
///
/// A row has docs, field, type, the setter's argument type, Kafka's name, the default, and the
/// bounds as a test of the value and in words.
///
/// `as table` also makes a macro of that name, which passes all rows to another macro, for a wider
/// config.
macro_rules! config {
    (
        $(#[$meta:meta])*
        pub struct $config:ident ($what:literal) as $table:ident { $($rows:tt)* }
    ) => {
        $crate::types::config! {
            $(#[$meta])*
            pub struct $config ($what) { $($rows)* }
        }

        macro_rules! $table {
            ($then:ident) => {
                $then! { $($rows)* }
            };
        }
        pub(crate) use $table;
    };
    (
        $(#[$meta:meta])*
        pub struct $config:ident ($what:literal) {
            $(
                $(#[$doc:meta])*
                $field:ident: $type:ty [$takes:ty] = $name:literal, $default:expr,
                |$value:ident| $test:expr, $expected:literal;
            )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub struct $config {
            $($(#[$doc])* pub $field: $type,)*
        }

        impl Default for $config {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $config {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $field(mut self, $field: $takes) -> Self {
                    self.$field = $field.into();
                    self
                }
            )*
        }

        impl $crate::types::Settings for $config {
            #[cfg(feature = "serde")]
            const WHAT: &'static str = $what;

            fn entries(&self) -> Vec<(&'static str, String)> {
                use $crate::types::SettingValue as _;
                vec![$(($name, self.$field.print()),)*]
            }

            fn name_of(name: &str) -> Option<&'static str> {
                let known = [$(($name, stringify!($field))),*];
                let names = |(kafka, field): &(&str, &str)| {
                    *kafka == name || *field == name || $crate::types::is_old_name(kafka, name)
                };
                known.into_iter().find(names).map(|(kafka, _)| kafka)
            }

            fn set(
                &mut self,
                name: &str,
                text: &str,
            ) -> Result<bool, $crate::types::BadSetting> {
                use $crate::types::SettingValue as _;
                let Some(name) = Self::name_of(name) else {
                    return Ok(false);
                };
                match name {
                    $(
                        $name => {
                            self.$field = <$type>::parse(text).ok_or_else(|| {
                                $crate::types::BadSetting {
                                    name: $name.to_owned(),
                                    value: text.to_owned(),
                                    expected: $expected.to_owned(),
                                }
                            })?;
                            Ok(true)
                        }
                    )*
                    _ => Ok(false),
                }
            }

            fn check(&self) -> Result<(), $crate::types::BadSetting> {
                use $crate::types::SettingValue as _;
                $(
                    let $value = &self.$field;
                    if !$test {
                        return Err($crate::types::BadSetting {
                            name: $name.to_owned(),
                            value: $value.print(),
                            expected: $expected.to_owned(),
                        });
                    }
                )*
                Ok(())
            }
        }

        #[cfg(feature = "serde")]
        impl serde::Serialize for $config {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::types::serialized::settings(self, serializer)
            }
        }

        #[cfg(feature = "serde")]
        impl<'de> serde::Deserialize<'de> for $config {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::types::serialized::read_settings(deserializer)
            }
        }
    };
}
pub(crate) use config;

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
