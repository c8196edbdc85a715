//! `key=value` as Kafka's scripts take it, and settings in that form.
//!
//! Knows nothing about which properties there are.

use std::collections::BTreeMap;
use std::path::Path;

use ottla::TopicConfig;
use serde_json::{Map, Value};

use crate::failure::{Failure, Result, file_failure, note};

/// Properties by name; the last of one name counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Props(BTreeMap<String, String>);

/// Settings of Kafka's clients that mean nothing without a server: connections, buffers, callbacks.
const OF_CLIENTS: &[&str] = &[
    "allow.auto.create.topics",
    "auto.commit.interval.ms",
    "bootstrap.servers",
    "buffer.memory",
    "check.crcs",
    "config.providers",
    "connections.max.idle.ms",
    "default.api.timeout.ms",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.idempotence",
    "enable.metrics.push",
    "exclude.internal.topics",
    "heartbeat.interval.ms",
    "interceptor.classes",
    "key.deserializer",
    "key.serializer",
    "linger.ms",
    "partition.assignment.strategy",
    "receive.buffer.bytes",
    "request.timeout.ms",
    "retries",
    "send.buffer.bytes",
    "session.timeout.ms",
    "transaction.timeout.ms",
    "value.deserializer",
    "value.serializer",
];

/// The beginnings of the names of more of them.
const OF_CLIENTS_TOO: &[&str] = &[
    "client.",
    "compression.gzip.",
    "compression.lz4.",
    "compression.zstd.",
    "fetch.",
    "group.",
    "max.",
    "metadata.",
    "metric",
    "partitioner.",
    "reconnect.",
    "retry.",
    "sasl.",
    "security.",
    "share.",
    "socket.",
    "ssl.",
];

impl Props {
    /// Reads what several flags were given.
    pub(crate) fn read(texts: &[String]) -> Result<Self> {
        Self::read_with(None, texts)
    }

    /// Reads a file of properties, as Java has them, and what flags were given, which counts more.
    pub(crate) fn read_with(file: Option<&Path>, texts: &[String]) -> Result<Self> {
        let mut props = BTreeMap::new();
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .map_err(|error| file_failure("read", path, &error))?;
            let lines = text.lines().map(str::trim_start);
            for line in lines.filter(|line| !line.is_empty() && !line.starts_with(['#', '!'])) {
                let (name, value) = line.split_once(['=', ':']).unwrap_or((line, ""));
                props.insert(name.trim().to_owned(), value.trim_start().to_owned());
            }
        }
        for text in texts {
            let (name, value) = pair(text)?;
            props.insert(name, value);
        }
        Ok(Self(props))
    }

    /// Takes out what Kafka's clients are told about servers, with a note for each.
    pub(crate) fn ignore_clients(&mut self) {
        self.0.retain(|name, _| {
            let known = OF_CLIENTS.contains(&name.as_str())
                || OF_CLIENTS_TOO.iter().any(|start| name.starts_with(start));
            if known {
                note(&format!(
                    "note: property {name} is ignored: there is no connection to a server"
                ));
            }
            !known
        });
    }

    /// All of them, sorted by their names.
    pub(crate) fn all(self) -> impl Iterator<Item = (String, String)> {
        self.0.into_iter()
    }

    /// Takes a property out.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    /// Takes out one that is true or false.
    pub(crate) fn take_flag(&mut self, name: &str, otherwise: bool) -> Result<bool> {
        match self
            .take(name)
            .map(|text| text.trim().to_ascii_lowercase())
            .as_deref()
        {
            None => Ok(otherwise),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(other) => Err(Failure::usage(format!(
                "property {name} cannot be {other}: expected true or false"
            ))),
        }
    }

    /// Takes out one with the escapes of a shell's words: `\t`, `\n`.
    pub(crate) fn take_text(&mut self, name: &str, otherwise: &str) -> Vec<u8> {
        match self.take(name) {
            Some(text) => unescaped(&text).into_bytes(),
            None => otherwise.as_bytes().to_vec(),
        }
    }

    /// Says no to what nobody took.
    pub(crate) fn check_empty(&self, known: &str) -> Result<()> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(Failure::usage(format!(
                "there is no property {name}: expected one of {known}"
            ))),
        }
    }
}

/// A name and a value with `=` between them.
pub(crate) fn pair(text: &str) -> Result<(String, String)> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.to_owned()))
        }
        _ => Err(Failure::usage(format!(
            "{text:?} is not of the form name=value"
        ))),
    }
}

/// `\t`, `\n`, `\r`, `\0` and `\\` as the characters that they mean.
pub(crate) fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match chars.next() {
            Some('t') => plain.push('\t'),
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('0') => plain.push('\0'),
            Some('\\') | None => plain.push('\\'),
            Some(other) => plain.extend(['\\', other]),
        }
    }
    plain
}

/// The settings of a topic by Kafka's names.
pub(crate) fn settings(config: &TopicConfig) -> Map<String, Value> {
    match serde_json::to_value(config) {
        Ok(Value::Object(settings)) => settings,
        _ => Map::new(),
    }
}

/// The settings that are not what a new topic has, but for the number of partitions.
pub(crate) fn deviations(config: &TopicConfig) -> Vec<(String, String)> {
    let usual = settings(&TopicConfig::default());
    settings(config)
        .into_iter()
        .filter(|(name, value)| name != "partitions" && usual.get(name) != Some(value))
        .map(|(name, value)| (name, text_of(&value)))
        .collect()
}

/// A value as Kafka prints it.
pub(crate) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A topic's settings with some changed. `None` sets one back.
pub(crate) fn changed(
    config: &TopicConfig,
    changes: &[(String, Option<String>)],
) -> Result<TopicConfig> {
    let usual = settings(&TopicConfig::default());
    let mut settings = settings(config);
    for (name, value) in changes {
        if name == "partitions" {
            return Err(Failure::usage("the number of partitions is --partitions"));
        }
        let known = usual
            .get(name)
            .or_else(|| usual.get(&name.replace('_', ".")));
        let value = match value {
            Some(value) => Value::String(value.clone()),
            None => known
                .cloned()
                .ok_or_else(|| Failure::usage(format!("there is no setting {name}")))?,
        };
        settings.insert(name.clone(), value);
    }
    serde_json::from_value(Value::Object(settings))
        .map_err(|error| Failure::usage(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_names_and_values_and_unknown_ones_are_refused() {
        let texts = ["parse.key=true".to_owned(), "key.separator=\\t=".to_owned()];
        let mut props = Props::read(&texts).unwrap();
        assert!(props.take_flag("parse.key", false).unwrap());
        assert!(props.check_empty("x").is_err());
        assert_eq!(props.take_text("key.separator", ":"), b"\t=");
        assert!(props.check_empty("x").is_ok());
        assert!(Props::read(&["novalue".to_owned()]).is_err());
    }

    #[test]
    fn a_setting_is_changed_by_its_kafka_name_and_set_back() {
        let config = TopicConfig::default().partitions(3);
        let change = |name: &str, value: Option<&str>| {
            changed(&config, &[(name.to_owned(), value.map(str::to_owned))])
        };
        let small = change("segment.bytes", Some("2048")).unwrap();
        assert_eq!((small.segment_bytes, small.partitions), (2048, 3));
        assert_eq!(
            deviations(&small),
            [("segment.bytes".to_owned(), "2048".to_owned())]
        );
        let back = changed(&small, &[("segment.bytes".to_owned(), None)]).unwrap();
        assert_eq!(back, config);
        for (name, value) in [
            ("colour", "red"),
            ("segment.bytes", "10"),
            ("partitions", "9"),
        ] {
            assert!(change(name, Some(value)).is_err(), "{name}");
        }
    }
}
