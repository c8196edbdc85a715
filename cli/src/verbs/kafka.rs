//! `to-kafka` and `from-kafka`: how a directory becomes a broker's, and what a broker's becomes.
//!
//! Knows nothing about how either is done: the files are Kafka's already. Both change nothing.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::failure::{Failure, LOCKED, Result};
use crate::out::Out;
use crate::place::Place;

use super::select;

/// The flags of `to-kafka`.
#[derive(Args, Debug)]
pub(crate) struct ToKafka {
    /// The port that clients will use; the controller's is the next one
    #[arg(long, value_name = "PORT", default_value_t = 9092)]
    port: u16,
}

impl ToKafka {
    /// Prints the properties of a broker and the commands that start it.
    pub(crate) fn run(&self, place: &Place, out: &mut Out) -> Result<u8> {
        if place.is_written() {
            return Err(Failure::with_code(
                LOCKED,
                format!(
                    "{} is open in another process: close it there first, so that a broker finds \
                     it at rest",
                    place.dir().display()
                ),
            ));
        }
        let broker = place.read()?;
        if !broker.open_report().clean {
            return Err(Failure::new(format!(
                "{} was not closed: open and close it once (`ottla topics --create` or any verb \
                 that writes does), so that a broker finds it at rest",
                place.dir().display()
            )));
        }
        let problems = problems(&broker)?;
        if let Some(problem) = problems.first() {
            return Err(Failure::new(format!(
                "a broker cannot have it yet: {problem}"
            )));
        }
        let properties = self.properties(place)?;
        if out.is_json() {
            let map = properties
                .iter()
                .map(|(name, value)| ((*name).to_owned(), json!(value)));
            return out
                .json(&json!({ "properties": map.collect::<serde_json::Map<_, _>>() }))
                .map(|()| 0);
        }
        out.line("# server.properties, for Kafka 3.9 and every 4.x")?;
        for (name, value) in &properties {
            out.line(format!("{name}={value}"))?;
        }
        let server = format!("--bootstrap-server localhost:{}", self.port);
        out.line("")?;
        out.line("# No kafka-storage.sh format: the directory is formatted. Start, and look:")?;
        out.line("#   bin/kafka-server-start.sh server.properties")?;
        if let Some(topic) = broker.topic_names().first() {
            out.line(format!(
                "#   bin/kafka-console-consumer.sh {server} --topic {topic} --from-beginning"
            ))?;
        }
        if let Some(group) = broker.groups()?.first() {
            out.line(format!(
                "#   bin/kafka-consumer-groups.sh {server} --describe --group {}",
                group.id
            ))?;
        }
        Ok(0)
    }

    fn properties(&self, place: &Place) -> Result<Vec<(&'static str, String)>> {
        let node = node_of(place).unwrap_or_else(|| "1".to_owned());
        let dir = std::path::absolute(place.dir()).unwrap_or_else(|_| place.dir().to_path_buf());
        let port = self.port;
        let next = port
            .checked_add(1)
            .ok_or_else(|| Failure::usage("--port cannot be 65535: the next one is needed too"))?;
        Ok(vec![
            ("process.roles", "broker,controller".to_owned()),
            ("node.id", node.clone()),
            (
                "controller.quorum.voters",
                format!("{node}@localhost:{next}"),
            ),
            (
                "listeners",
                format!("PLAINTEXT://localhost:{port},CONTROLLER://localhost:{next}"),
            ),
            (
                "advertised.listeners",
                format!("PLAINTEXT://localhost:{port}"),
            ),
            ("controller.listener.names", "CONTROLLER".to_owned()),
            ("inter.broker.listener.name", "PLAINTEXT".to_owned()),
            (
                "listener.security.protocol.map",
                "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned(),
            ),
            ("log.dirs", dir.display().to_string()),
            ("offsets.topic.replication.factor", "1".to_owned()),
            ("transaction.state.log.replication.factor", "1".to_owned()),
            ("transaction.state.log.min.isr", "1".to_owned()),
        ])
    }
}

/// The number of the broker that the directory names.
fn node_of(place: &Place) -> Option<String> {
    let text = std::fs::read_to_string(place.dir().join("meta.properties")).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("node.id="))?;
    Some(line.trim().to_owned())
}

/// What is wrong with logs of the directory.
fn problems(broker: &ottla::Broker) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for name in broker.topic_names() {
        let Some(info) = select::described(broker, &name)? else {
            continue;
        };
        for partition in info.partitions {
            if let Some(problem) = partition.problem {
                problems.push(format!("{name}-{}: {problem}", partition.id));
            }
        }
    }
    Ok(problems)
}

/// The flags of `from-kafka`.
#[derive(Args, Debug)]
pub(crate) struct FromKafka {
    /// The broker's directory (one of its log.dirs); --dir does as well
    #[arg(value_name = "DIR")]
    log_dir: Option<PathBuf>,
}

impl FromKafka {
    /// Says what opening the directory will find.
    pub(crate) fn run(&self, place: Result<Place>, out: &mut Out) -> Result<u8> {
        let place = match &self.log_dir {
            Some(dir) => Place::at(dir),
            None => place?,
        };
        if place.is_written() {
            return Err(Failure::with_code(
                LOCKED,
                format!("{} is in use: stop the broker first", place.dir().display()),
            ));
        }
        let broker = place.read()?;
        let problems = problems(&broker)?;
        let topics = broker.topic_names();
        let mut records = 0_u64;
        let mut partitions = 0_u64;
        for name in &topics {
            for partition in broker.topic(name)?.describe()?.partitions {
                partitions += 1;
                records += partition.end_offset.saturating_sub(partition.start_offset);
            }
        }
        let groups = broker.groups()?;
        let report = broker.open_report();
        let events: Vec<_> = report
            .events
            .iter()
            .map(|event| format!("{event:?}"))
            .collect();
        if out.is_json() {
            out.json(&json!({
                "clean": report.clean,
                "topics": topics,
                "partitions": partitions,
                "offsets": records,
                "groups": groups.iter().map(|group| group.id.clone()).collect::<Vec<_>>(),
                "events": events,
                "problems": problems,
            }))?;
        } else {
            let state = if report.clean {
                "was closed"
            } else {
                "was not closed: opening recovers it"
            };
            out.line(format!("{} {state}.", place.dir().display()))?;
            out.line(format!(
                "{} topics of {partitions} partitions with {records} offsets, {} groups.",
                topics.len(),
                groups.len()
            ))?;
            for text in events.iter().chain(&problems) {
                out.line(format!("  {text}"))?;
            }
            out.line("Nothing was changed. Any verb that writes, or a program, takes it over.")?;
        }
        Ok(u8::from(!problems.is_empty()))
    }
}
