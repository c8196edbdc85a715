//! `configs`: the settings of topics, with the flags of `kafka-configs.sh`.
//!
//! Knows nothing about what a setting means: the library's tables do.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use serde_json::{Map, Value, json};

use crate::failure::{Failure, Result};
use crate::out::Out;
use crate::place::Place;
use crate::props;

use super::select;

/// The flags of `configs`.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("action").required(true))]
pub(crate) struct Configs {
    /// Show settings
    #[arg(long, group = "action")]
    describe: bool,
    /// Change settings
    #[arg(long, group = "action")]
    alter: bool,
    /// The topic (the same as --entity-type topics --entity-name NAME)
    #[arg(long, value_name = "NAME", conflicts_with = "entity_name")]
    topic: Option<String>,
    /// What is configured: topics
    #[arg(long, value_name = "topics")]
    entity_type: Option<String>,
    /// The topic
    #[arg(long, value_name = "NAME")]
    entity_name: Option<String>,
    /// With --describe: the defaults too
    #[arg(long)]
    all: bool,
    /// Settings to change: a=1,b=[x,y]
    #[arg(long, value_name = "LIST")]
    add_config: Vec<String>,
    /// A file of such settings, a line each
    #[arg(long, value_name = "FILE", conflicts_with = "add_config")]
    add_config_file: Option<PathBuf>,
    /// Settings to set back to their defaults: a,b
    #[arg(long, value_name = "LIST")]
    delete_config: Vec<String>,
}

impl Configs {
    /// Does what the flags say.
    pub(crate) fn run(&self, place: &Place, out: &mut Out) -> Result<u8> {
        match self.entity_type.as_deref() {
            None | Some("topics" | "topic") => {}
            Some(other) => {
                return Err(Failure::usage(format!(
                    "--entity-type cannot be {other}: only topics have settings that are kept in a \
                     directory; a program sets the others when it opens the directory \
                     (BrokerConfig)"
                )));
            }
        }
        let name = self.topic.as_deref().or(self.entity_name.as_deref());
        if self.describe {
            self.describe(place, out, name)?;
        } else {
            let name = name.ok_or_else(|| Failure::usage("say which topic: --topic NAME"))?;
            self.alter(place, out, name)?;
        }
        Ok(0)
    }

    fn describe(&self, place: &Place, out: &mut Out, name: Option<&str>) -> Result<()> {
        let broker = place.read()?;
        let names = match name {
            Some(list) => select::topics(&broker, list)?,
            None => broker.topic_names(),
        };
        let mut shown = Map::new();
        for name in names {
            let Some(topic) = select::if_there(broker.topic(&name))? else {
                continue;
            };
            let config = topic.config();
            let settings = if self.all {
                let all = props::settings(&config).into_iter();
                all.map(|(name, value)| (name, props::text_of(&value)))
                    .collect()
            } else {
                props::deviations(&config)
            };
            if out.is_json() {
                let values = settings
                    .into_iter()
                    .map(|(name, value)| (name, Value::from(value)));
                shown.insert(name, Value::Object(values.collect()));
                continue;
            }
            let which = if self.all { "All" } else { "Dynamic" };
            out.line(format!("{which} configs for topic {name} are:"))?;
            for (name, value) in settings {
                out.line(format!("  {name}={value}"))?;
            }
        }
        if out.is_json() {
            out.json(&Value::Object(shown))?;
        }
        Ok(())
    }

    fn alter(&self, place: &Place, out: &mut Out, name: &str) -> Result<()> {
        let mut changes = Vec::new();
        for list in &self.add_config {
            for text in split(list) {
                let (name, value) = props::pair(&text)?;
                let bare = value
                    .strip_prefix('[')
                    .and_then(|rest| rest.strip_suffix(']'));
                changes.push((name, Some(bare.unwrap_or(&value).to_owned())));
            }
        }
        if let Some(path) = &self.add_config_file {
            let settings = props::Props::read_with(Some(path), &[])?.all();
            changes.extend(settings.map(|(name, value)| (name, Some(value))));
        }
        for list in &self.delete_config {
            changes.extend(list.split(',').map(|name| (name.trim().to_owned(), None)));
        }
        if changes.is_empty() {
            return Err(Failure::usage(
                "say what to alter: --add-config, --add-config-file or --delete-config",
            ));
        }
        let broker = place.write()?;
        let names = select::topics(&broker, name)?;
        for name in &names {
            let wanted = props::changed(&broker.topic(name)?.config(), &changes)?;
            broker.alter_topic(name, |_| wanted)?;
        }
        broker.close()?;
        if out.is_json() {
            return out.json(&json!({ "altered": names }));
        }
        names
            .iter()
            .try_for_each(|name| out.line(format!("Completed updating config for topic {name}.")))
    }
}

/// The parts between commas that stand in no brackets.
fn split(list: &str) -> Vec<String> {
    let (mut parts, mut depth) = (vec![String::new()], 0_u32);
    for c in list.chars() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

#[cfg(test)]
mod tests {
    #[test]
    fn commas_in_brackets_belong_to_the_value() {
        let parts = super::split("cleanup.policy=[compact,delete],segment.bytes=2048");
        assert_eq!(
            parts,
            ["cleanup.policy=[compact,delete]", "segment.bytes=2048"]
        );
    }
}
