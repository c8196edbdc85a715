//! The small text files that identify a directory.
//!
//! Knows nothing about topics and brokers. `partition.metadata`, in every partition directory:
//!
//! ```text
//! version: 0
//! topic_id: rvvf-yNvRcyXKPzGuhhMXA
//! ```
//!
//! `meta.properties`, in the root, by the rules of `java_properties.rs`:
//!
//! ```text
//! version=1
//! cluster.id=MkU3OEVBNTcwNTJENDM2Qg
//! node.id=1
//! directory.id=7wqpzh5O68ZTFDtp_py0OQ
//! ```
//!
//! or, to keep brokers away, one line `version=` and a sentence: a broker prints it and does not
//! start. `.kafka_cleanshutdown` is `{"version":0,"brokerEpoch":17}`; only its presence counts.
//!
//! Valid if and only if a file has at most [`SIZE_MAX`] bytes and every field above (but for
//! `directory.id`, which older directories lack), the topic id is not zero, and
//! `partition.metadata` is UTF-8. Other properties are ignored, as brokers do.

use crate::types::{TopicId, to_u64};

use super::Corruption;
use super::checkpoint::text;
use super::java_properties::{JavaProperties, escape};
use super::uuid::{self, Uuid};

pub(crate) const SIZE_MAX: usize = 64 << 10;

pub(crate) fn decode_partition(bytes: &[u8]) -> Result<TopicId, Corruption> {
    let mut version = None;
    let mut id = None;
    for line in text(bytes, SIZE_MAX)?.lines() {
        match line.split_once(':') {
            Some(("version", value)) => version = Some(value.trim()),
            Some(("topic_id", value)) => id = uuid::decode(value.trim()),
            _ => {
                return Err(Corruption::malformed(
                    "a line of the partition metadata is wrong",
                ));
            }
        }
    }
    match (version, id) {
        (Some("0"), Some(id)) if id != [0; 16] => Ok(TopicId(id)),
        (Some("0"), _) => Err(Corruption::malformed(
            "the partition metadata has no topic id",
        )),
        _ => Err(Corruption::malformed(
            "the partition metadata is not of version 0",
        )),
    }
}

pub(crate) fn encode_partition(id: TopicId) -> String {
    format!("version: 0\ntopic_id: {}\n", uuid::encode(id.0))
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MetaProperties {
    Formatted(RootIdentity),
    /// The sentence that keeps brokers away, or an earlier or later format.
    Other {
        /// What follows `version=`.
        version: String,
    },
}

#[expect(clippy::struct_field_names, reason = "the names of the properties")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RootIdentity {
    /// Any text: most often an id of 22 characters.
    pub(crate) cluster_id: String,
    pub(crate) node_id: i32,
    /// `None` if a broker before 3.7 wrote the file.
    pub(crate) directory_id: Option<Uuid>,
}

impl MetaProperties {
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Corruption> {
        if bytes.len() > SIZE_MAX {
            return Err(Corruption::TooLarge {
                limit: to_u64(SIZE_MAX),
            });
        }
        let properties = JavaProperties::parse(bytes)?;
        let required = |key: &str, lacks: &'static str| {
            let value = properties.get(key)?;
            value.ok_or(Corruption::malformed(lacks))
        };
        let version = required("version", "the meta properties have no version")?;
        if version.parse() != Ok(1_i32) {
            return Ok(Self::Other { version });
        }
        let directory_id = match properties.get("directory.id")? {
            None => None,
            Some(id) => Some(uuid::decode(&id).ok_or(Corruption::malformed(
                "the directory id of the meta properties is no id",
            ))?),
        };
        let no_node = "the meta properties have no node id";
        Ok(Self::Formatted(RootIdentity {
            cluster_id: required("cluster.id", "the meta properties have no cluster id")?,
            node_id: required("node.id", no_node)?
                .parse()
                .map_err(|_| Corruption::malformed(no_node))?,
            directory_id,
        }))
    }

    pub(crate) fn encode(&self) -> String {
        match self {
            Self::Formatted(identity) => {
                let directory = identity.directory_id.map_or_else(String::new, |id| {
                    format!("directory.id={}\n", uuid::encode(id))
                });
                format!(
                    "version=1\ncluster.id={}\nnode.id={}\n{directory}",
                    escape(&identity.cluster_id),
                    identity.node_id,
                )
            }
            Self::Other { version } => format!("version={}\n", escape(version)),
        }
    }
}

pub(crate) fn encode_clean_shutdown(broker_epoch: i64) -> String {
    format!("{{\"version\":0,\"brokerEpoch\":{broker_epoch}}}")
}

/// Nothing in the file is an error: only its presence counts.
#[cfg(test)]
pub(crate) fn decode_clean_shutdown(bytes: &[u8]) -> Option<i64> {
    let text = text(bytes, SIZE_MAX).ok()?;
    let (_, after) = text.split_once("\"brokerEpoch\"")?;
    let after = after.trim_start().strip_prefix(':')?.trim_start();
    let end = after
        .find(|c: char| c != '-' && !c.is_ascii_digit())
        .unwrap_or(after.len());
    after.get(..end)?.parse().ok()
}

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
