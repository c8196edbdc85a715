//! The small text files that say whose a directory is.
//!
//! Knows nothing about topics and brokers. `partition.metadata`, in every partition directory:
//!
//! ```text
//! version: 0
//! topic_id: rvvf-yNvRcyXKPzGuhhMXA
//! ```
//!
//! `meta.properties`, in the root, with the rules of Java's properties files (comments begin with
//! `#` or `!`, `=` or `:` ends the key, a backslash escapes a character):
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
//! Valid if and only if UTF-8, of at most [`SIZE_MAX`] bytes, with every field above (but for
//! `directory.id`, which older directories lack), and the topic id is not zero.

use crate::types::TopicId;

use super::Corruption;
use super::checkpoint::text;
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
        let text = text(bytes, SIZE_MAX)?;
        let version = property(text, "version")
            .ok_or(Corruption::malformed("the meta properties have no version"))?;
        if version != "1" {
            return Ok(Self::Other { version });
        }
        let directory_id = match property(text, "directory.id") {
            None => None,
            Some(id) => Some(uuid::decode(&id).ok_or(Corruption::malformed(
                "the directory id of the meta properties is none",
            ))?),
        };
        Ok(Self::Formatted(RootIdentity {
            cluster_id: property(text, "cluster.id").ok_or(Corruption::malformed(
                "the meta properties have no cluster id",
            ))?,
            node_id: property(text, "node.id")
                .and_then(|id| id.parse().ok())
                .ok_or(Corruption::malformed("the meta properties have no node id"))?,
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
                    escaped(&identity.cluster_id),
                    identity.node_id,
                )
            }
            Self::Other { version } => format!("version={}\n", escaped(version)),
        }
    }
}

/// The value of a key, the last one where it is set twice. Lines that go on in the next one are not
/// something that Kafka writes, and none of these values needs them.
fn property(text: &str, wanted: &str) -> Option<String> {
    text.lines()
        .map(str::trim_start)
        .filter(|line| !line.starts_with(['#', '!']))
        .filter_map(|line| line.split_once(['=', ':']))
        .rfind(|(key, _)| key.trim_end() == wanted)
        .map(|(_, value)| unescaped(value.trim_start()))
}

fn unescaped(value: &str) -> String {
    let mut plain = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => plain.extend(characters.next()),
            other => plain.push(other),
        }
    }
    plain
}

/// A value on one line: a backslash is escaped, what would end the line becomes a space.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '\n' | '\r' => text.push(' '),
            other => text.push(other),
        }
    }
    text
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
