//! The small text files that say whose a directory is.
//!
//! Knows nothing about topics and brokers. `partition.metadata`, in every partition directory:
//!
//! ```text
//! version: 0
//! topic_id: rvvf-yNvRcyXKPzGuhhMXA
//! ```
//!
//! `meta.properties`, in the root, with the rules of Java's properties files
//! (`java_properties.rs`):
//!
//! ```text
//! version=1
//! cluster.id=MkU3OEVBNTcwNTJENDM2Qg
//! node.id=1
//! directory.id=7wqpzh5O68ZTFDtp_py0OQ
//! ```
//!
//! or, to keep brokers away, one line `version=` and a sentence, which a broker prints and refuses
//! to start. `.kafka_cleanshutdown` is `{"version":0,"brokerEpoch":17}`; only that it is there
//! counts.
//!
//! Valid if and only if of at most [`SIZE_MAX`] bytes, with every field above (but for
//! `directory.id`, which older directories lack), the topic id is not zero, and
//! `partition.metadata` is UTF-8. Properties that are not named here are ignored, as a broker does.

use crate::types::{TopicId, to_u64};

use super::Corruption;
use super::checkpoint::text;
use super::java_properties::{JavaProperties, escape};
use super::uuid::{self, Uuid};

/// The largest file that is read, in bytes.
pub(crate) const SIZE_MAX: usize = 64 << 10;

/// Reads a `partition.metadata`.
///
/// # Errors
///
/// `Malformed` or `TooLarge`.
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

/// Writes a `partition.metadata`.
pub(crate) fn encode_partition(id: TopicId) -> String {
    format!("version: 0\ntopic_id: {}\n", uuid::encode(id.0))
}

/// What a `meta.properties` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MetaProperties {
    /// The directory is formatted for a broker.
    Formatted(RootIdentity),
    /// Another version: the sentence that keeps brokers away, or a format that came before or after
    /// this one.
    Other {
        /// What stands behind `version=`.
        version: String,
    },
}

/// Whose directory it is.
#[expect(clippy::struct_field_names, reason = "the names of the properties")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RootIdentity {
    /// The cluster, as it was given: most often an id of 22 characters.
    pub(crate) cluster_id: String,
    /// The broker.
    pub(crate) node_id: i32,
    /// This very directory; brokers before 3.7 wrote none.
    pub(crate) directory_id: Option<Uuid>,
}

impl MetaProperties {
    /// Reads a `meta.properties`.
    ///
    /// # Errors
    ///
    /// `Malformed` or `TooLarge`.
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

    /// Writes a `meta.properties`.
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

/// Writes a `.kafka_cleanshutdown`.
pub(crate) fn encode_clean_shutdown(broker_epoch: i64) -> String {
    format!("{{\"version\":0,\"brokerEpoch\":{broker_epoch}}}")
}

/// The broker epoch in a `.kafka_cleanshutdown`, if there is one: that the file is there is what
/// counts, so nothing in it is an error.
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
mod tests {
    use super::*;

    const ID: &str = "rvvf-yNvRcyXKPzGuhhMXA";

    #[test]
    fn partition_metadata_in_both_directions() {
        let text = format!("version: 0\ntopic_id: {ID}\n");
        let id = decode_partition(text.as_bytes()).unwrap();
        assert_eq!(encode_partition(id), text);
        assert_eq!(decode_partition(text.trim_end().as_bytes()), Ok(id));
    }

    #[test]
    fn partition_metadata_without_a_usable_id_is_refused() {
        for text in [
            String::new(),
            format!("version: 1\ntopic_id: {ID}\n"),
            "version: 0\n".to_owned(),
            "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA\n".to_owned(),
            "version: 0\ntopic_id: short\n".to_owned(),
            format!("version: 0\ntopic_id: {ID}\nand more\n"),
        ] {
            assert!(decode_partition(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn meta_properties_in_both_directions() {
        let text = format!("version=1\ncluster.id={ID}\nnode.id=3\ndirectory.id={ID}\n");
        let parsed = MetaProperties::decode(text.as_bytes()).unwrap();
        assert_eq!(parsed.encode(), text);
        let as_java_writes_it = format!(
            "#\n#Fri Oct 25 10:00:00 UTC 2024\nnode.id=3\ndirectory.id={ID}\nversion=1\ncluster.\
                id={ID}\n"
        );
        assert_eq!(
            MetaProperties::decode(as_java_writes_it.as_bytes()),
            Ok(parsed)
        );
    }

    #[test]
    fn an_identity_is_read_as_java_reads_it_and_written_back_as_it_was_read() {
        let text = format!(
            "#\n! comment\nversion : 1\ncluster.id=caf\\u00e9 \\\n    and\\ more\r\nnode.id 3\n\
             directory\\u002eid={ID}\nnode.id=4"
        );
        let parsed = MetaProperties::decode(text.as_bytes()).unwrap();
        let MetaProperties::Formatted(identity) = &parsed else {
            panic!("{parsed:?}");
        };
        assert_eq!(identity.cluster_id, "caf\u{e9} and more");
        assert_eq!(identity.node_id, 4);
        let written = parsed.encode();
        assert!(
            written.contains("cluster.id=caf\\u00E9 and more\n"),
            "{written}"
        );
        assert_eq!(MetaProperties::decode(written.as_bytes()), Ok(parsed));
    }

    #[test]
    fn a_sentence_keeps_brokers_away_and_comes_back() {
        let sentence = "in use by Ottla: close it, or open and close it after a crash \\o/";
        let refusing = MetaProperties::Other {
            version: sentence.to_owned(),
        };
        let text = refusing.encode();
        assert_eq!(text.lines().count(), 1);
        assert_eq!(MetaProperties::decode(text.as_bytes()), Ok(refusing));
    }

    #[test]
    fn meta_properties_that_lack_something_are_refused() {
        for text in [
            "",
            "cluster.id=x\nnode.id=1\n",
            "version=1\nnode.id=1\n",
            "version=1\ncluster.id=x\nnode.id=one\n",
            "version=1\ncluster.id=x\nnode.id=1\ndirectory.id=short\n",
        ] {
            assert!(MetaProperties::decode(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(MetaProperties::decode(&vec![b'#'; SIZE_MAX + 1]).is_err());
    }

    #[test]
    fn the_clean_shutdown_file_in_both_directions() {
        assert_eq!(
            encode_clean_shutdown(17),
            "{\"version\":0,\"brokerEpoch\":17}"
        );
        assert_eq!(
            decode_clean_shutdown(encode_clean_shutdown(-1).as_bytes()),
            Some(-1)
        );
        assert_eq!(decode_clean_shutdown(b""), None);
        assert_eq!(decode_clean_shutdown(b"{\"brokerEpoch\":\"x\"}"), None);
    }
}
