//! `ottla.root`: the identity of a root, also while `meta.properties` holds a sentence instead, to
//! keep brokers away.
//!
//! Knows nothing about what the ids are for. Our own: the fields and rules of `meta.properties`
//! (`properties.rs`), and then:
//!
//! ```text
//! version=1
//! cluster.id=MkU3OEVBNTcwNTJENDM2Qg
//! node.id=1
//! directory.id=7wqpzh5O68ZTFDtp_py0OQ
//! importing=false
//! metadata=12345 00000000000000000000.log
//! crc32=0badcafe
//! ```
//!
//! `metadata`, any number of times, is a file of Kafka's metadata log and its length when the root
//! was last closed: a difference means that a broker has run since. `importing` is true while what
//! that broker left is being taken over. The last line is the CRC-32 of all bytes before it, in
//! eight hexadecimal digits.
//!
//! Valid if and only if it is UTF-8 of at most [`SIZE_MAX`] bytes, has every field, and the CRC
//! fits.

use std::fmt::Write as _;

use super::Corruption;
use super::checkpoint::text;
use super::properties::{MetaProperties, RootIdentity, SIZE_MAX};

const IMPORTING: &str = "importing=";
const METADATA: &str = "metadata=";
const CRC: &str = "crc32=";

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MetadataFile {
    pub(crate) name: String,
    pub(crate) length: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RootFile {
    pub(crate) identity: RootIdentity,
    /// Whether what a broker left is being taken over.
    pub(crate) importing: bool,
    /// The files of Kafka's metadata log, sorted by name.
    pub(crate) metadata: Vec<MetadataFile>,
}

impl RootFile {
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Corruption> {
        let text = text(bytes, SIZE_MAX)?;
        let malformed = || Corruption::malformed("ottla.root lacks something");
        let end = text.rfind(CRC).ok_or_else(malformed)?;
        let (body, last) = text.split_at_checked(end).ok_or_else(malformed)?;
        let digits = last.strip_prefix(CRC).unwrap_or_default().trim_end();
        let stored = u32::from_str_radix(digits, 16).map_err(|_| malformed())?;
        let computed = crc32fast::hash(body.as_bytes());
        if stored != computed {
            return Err(Corruption::CrcMismatch { stored, computed });
        }
        let MetaProperties::Formatted(identity) = MetaProperties::decode(body.as_bytes())? else {
            return Err(Corruption::malformed("ottla.root is not of version 1"));
        };
        let file = |line: &str| {
            let (length, name) = line.split_once(' ')?;
            Some(MetadataFile {
                name: name.to_owned(),
                length: length.parse().ok()?,
            })
        };
        let metadata = body.lines().filter_map(|line| line.strip_prefix(METADATA));
        let metadata: Option<Vec<_>> = metadata.map(file).collect();
        Ok(Self {
            identity,
            importing: body.lines().any(|line| line == "importing=true"),
            metadata: metadata.ok_or_else(malformed)?,
        })
    }

    pub(crate) fn encode(&self) -> String {
        let mut text = MetaProperties::Formatted(self.identity.clone()).encode();
        // A string takes whatever is written to it.
        let mut written = writeln!(text, "{IMPORTING}{}", self.importing);
        for file in &self.metadata {
            written = written.and(writeln!(text, "{METADATA}{} {}", file.length, file.name));
        }
        let crc = crc32fast::hash(text.as_bytes());
        written = written.and(writeln!(text, "{CRC}{crc:08x}"));
        debug_assert!(written.is_ok(), "writing to a string cannot fail");
        text
    }
}

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
