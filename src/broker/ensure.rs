//! Making a topic be there as a program wants it.
//!
//! Knows nothing about how topics are made and altered.

use crate::error::{Error, Result};
use crate::topic::TopicConfig;
use crate::types::Settings as _;

use super::core::Core;
use super::topics::AlterOptions;

/// What [`Broker::ensure_topic`](crate::Broker::ensure_topic) did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Ensured {
    /// The topic was made.
    Made,
    /// These settings of the topic were changed.
    Altered(Vec<SettingChange>),
    /// The topic had these settings.
    AsItWas,
}

/// A setting that was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SettingChange {
    /// Kafka's name for the setting, where Kafka has it.
    pub name: String,
    /// What it was.
    pub from: String,
    /// What it is now.
    pub to: String,
}

impl Core {
    pub(super) fn ensure(&self, name: &str, wanted: &TopicConfig) -> Result<Ensured> {
        loop {
            let mut changes = Vec::new();
            let altered = self.alter(name, AlterOptions::default(), |present| {
                changes = differences(&present, wanted);
                wanted.clone()
            });
            match altered {
                Ok(()) if changes.is_empty() => return Ok(Ensured::AsItWas),
                Ok(()) => return Ok(Ensured::Altered(changes)),
                Err(Error::UnknownTopic { .. }) => {}
                Err(error) => return Err(error),
            }
            match self.create(name, wanted.clone()) {
                Ok(_) => return Ok(Ensured::Made),
                // Another call was faster.
                Err(Error::TopicExists { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn differences(present: &TopicConfig, wanted: &TopicConfig) -> Vec<SettingChange> {
    let pairs = present.entries().into_iter().zip(wanted.entries());
    pairs
        .filter(|((_, from), (_, to))| from != to)
        .map(|((name, from), (_, to))| SettingChange {
            name: name.to_owned(),
            from,
            to,
        })
        .collect()
}
