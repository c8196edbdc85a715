//! A topic's settings in Kafka's words, and back.
//!
//! Knows nothing about records and files. Pure.
//!
//! 1. Out: every setting shared with Kafka is explicit, as Kafka's defaults are others (it would
//!    delete after 7 days), and inside the bounds of every version from 3.9 on (from 4.0 on a
//!    broker does not start with a `segment.bytes` below 1 MiB).
//! 2. Back: what Kafka says wins, unless it is only what we wrote: a value changed to fit Kafka's
//!    bounds comes back as it was. What Kafka has no word for stays.
//! 3. An unaltered setting keeps its words: Kafka has more words for some values than we have
//!    values, and takes values that we do not.

use std::collections::BTreeMap;

use crate::topic::TopicConfig;
use crate::types::{Durability, Settings as _};

use super::super::state::TopicEntry;

pub(super) type KafkaSettings = BTreeMap<String, String>;

/// Settings that Kafka has with the same name and meaning.
const SHARED: [&str; 16] = [
    "segment.bytes",
    "segment.ms",
    "segment.index.bytes",
    "index.interval.bytes",
    "max.message.bytes",
    "retention.ms",
    "retention.bytes",
    "cleanup.policy",
    "delete.retention.ms",
    "min.cleanable.dirty.ratio",
    "min.compaction.lag.ms",
    "max.compaction.lag.ms",
    "message.timestamp.type",
    "message.timestamp.before.max.ms",
    "message.timestamp.after.max.ms",
    "compression.type",
];

/// The nearest that Kafka has to a durability.
const FLUSH_MESSAGES: &str = "flush.messages";
const FLUSH_MS: &str = "flush.ms";

/// Kafka's minimum from 4.0 on.
const SEGMENT_BYTES_MIN: u64 = 1 << 20;

/// The settings that a broker finds (I1).
pub(super) fn to_kafka(entry: &TopicEntry, broker: Durability) -> KafkaSettings {
    let config = entry.config().0;
    // What we do not understand came from Kafka and goes back to it.
    let ours = TopicConfig::default().entries();
    let known = |name: &str| ours.iter().any(|(our, _)| *our == name);
    let mut settings: KafkaSettings = entry
        .settings
        .iter()
        .filter(|(name, _)| !known(name))
        .map(|(name, text)| (name.clone(), text.clone()))
        .collect();
    for (name, text) in config.entries() {
        if SHARED.contains(&name) {
            let text = in_words(entry, name, &text, &config);
            settings.insert(name.to_owned(), text);
        }
    }
    let given = [FLUSH_MESSAGES, FLUSH_MS].map(|name| settings.contains_key(name));
    let durability = match config.durability {
        // Kafka says when to sync.
        None if given != [false; 2] => Durability::Os,
        own => own.unwrap_or(broker),
    };
    match durability {
        Durability::Os => {}
        Durability::Always => drop(settings.insert(FLUSH_MESSAGES.to_owned(), "1".to_owned())),
        Durability::Interval(every) => {
            let millis = every.as_millis().max(1).to_string();
            settings.insert(FLUSH_MS.to_owned(), millis);
        }
    }
    settings
}

/// The words of a setting (I3): ours if it came with none, or has to be changed.
fn in_words(entry: &TopicEntry, name: &str, text: &str, config: &TopicConfig) -> String {
    let fitting = in_bounds(name, text.to_owned(), config);
    let given = entry.settings.get(name).filter(|_| fitting == text);
    given.cloned().unwrap_or(fitting)
}

/// The settings to change in Kafka's metadata, except the same in other words (I3). `None` removes
/// a setting.
pub(super) fn changes(
    theirs: &KafkaSettings,
    entry: &TopicEntry,
    broker: Durability,
) -> Vec<(String, Option<String>)> {
    let ours = to_kafka(entry, broker);
    let their_entry = TopicEntry {
        settings: theirs.clone(),
        ..entry.clone()
    };
    let meant =
        |entry: &TopicEntry| -> BTreeMap<_, _> { entry.config().0.entries().into_iter().collect() };
    let (our_values, their_values) = (meant(entry), meant(&their_entry));
    let same = |key: &str| {
        our_values.contains_key(key)
            && our_values.get(key) == their_values.get(key)
            && theirs.contains_key(key)
    };
    let mut changes = Vec::new();
    for (key, value) in &ours {
        let said = theirs.get(key).cloned().or_else(|| unsaid(key));
        if said.as_ref() != Some(value) && !same(key) {
            changes.push((key.clone(), Some(value.clone())));
        }
    }
    for key in theirs.keys().filter(|key| !ours.contains_key(*key)) {
        changes.push((key.clone(), None));
    }
    changes
}

/// The value inside Kafka's bounds (I1).
fn in_bounds(name: &str, text: String, config: &TopicConfig) -> String {
    match name {
        "segment.bytes" => config.segment_bytes.max(SEGMENT_BYTES_MIN).to_string(),
        // A time without a limit is Kafka's largest number; only retention knows -1.
        "max.compaction.lag.ms"
        | "message.timestamp.before.max.ms"
        | "message.timestamp.after.max.ms"
            if text == "-1" =>
        {
            i64::MAX.to_string()
        }
        "max.compaction.lag.ms" if text == "0" => "1".to_owned(),
        // It must not be above the other one.
        "min.compaction.lag.ms" => match config.max_compaction_lag {
            Some(max) if max < config.min_compaction_lag => max.as_millis().max(1).to_string(),
            _ => text,
        },
        "retention.bytes" => text
            .parse::<i64>()
            .map_or_else(|_| i64::MAX.to_string(), |bytes| bytes.to_string()),
        _ => text,
    }
}

/// The value of a shared setting that Kafka's metadata does not have.
fn unsaid(name: &str) -> Option<String> {
    let config = TopicConfig::default();
    let entries = config.entries();
    let (_, text) = entries.into_iter().find(|(ours, _)| *ours == name)?;
    SHARED
        .contains(&name)
        .then(|| in_bounds(name, text, &config))
}

/// The settings after a broker has run (I2). `before`: the topic at our close.
pub(super) fn from_kafka(
    said: &KafkaSettings,
    before: Option<&TopicEntry>,
    broker: Durability,
) -> KafkaSettings {
    let Some(before) = before else {
        return said.clone();
    };
    let given = to_kafka(before, broker);
    let mut settings = KafkaSettings::new();
    for (name, text) in said {
        if given.get(name) == Some(text) {
            // Our own words, which may differ from those that Kafka got.
            if let Some(ours) = before.settings.get(name) {
                settings.insert(name.clone(), ours.clone());
            }
        } else {
            settings.insert(name.clone(), text.clone());
        }
    }
    let private = before.settings.iter();
    let private = private.filter(|(name, _)| is_private(name));
    settings.extend(private.map(|(name, text)| (name.clone(), text.clone())));
    settings
}

fn is_private(name: &str) -> bool {
    let ours = TopicConfig::default().entries();
    !SHARED.contains(&name) && ours.iter().any(|(our, _)| *our == name)
}

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
