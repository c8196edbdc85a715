//! Whether a root is at rest, in use, or was used by a Kafka broker: the files that say so.
//!
//! Knows nothing about topics. A *root* is a directory whose sub-directories are partitions.
//!
//! 1. `meta.properties` formats the root for a broker only while the root is at rest. Otherwise it
//!    is one line at which a broker refuses to start and prints what to do: meanwhile only Ottla
//!    has written to the root.
//! 2. `ottla.root` keeps the ids while `meta.properties` cannot, and what Kafka's metadata log
//!    looked like when Ottla left the root. If the root was at rest and that log looks different
//!    now, a broker has used it: its metadata and files are newer than our own. If the commits of a
//!    root at rest are damaged, the line says so ([`RootFacts::is_damaged`]), beside the mark of a
//!    clean shutdown.
//! 3. `.kafka_cleanshutdown` exists only while the root is at rest after a clean shutdown.

use std::path::Path;

use crate::disk::{Disk, EntryKind};
use crate::error::{Error, IoContext, Result};
use crate::format::properties::{self, MetaProperties, RootIdentity};
use crate::format::{MetadataFile, RootFile, file_name};

use super::files::replace_if_other;

/// What a broker prints on a root that is in use, behind `version=`.
pub(crate) const SENTENCE: &str = "Ottla has this directory open, or was not closed. Close the program that uses it, or open it with Ottla and close it again; then start the broker. Do not format it.";

/// What a broker prints on a root at rest in which it would lose committed offsets.
const SENTENCE_DAMAGED: &str = "\
Ottla cannot read all of __consumer_offsets: a broker would lose what consumer groups have \
committed there. Close the program that uses the directory and run repair first (ottla::repair); \
then start the broker. Do not format it.";

/// How the sentence begins in every version of the crate.
const SENTENCE_BEGINS: &str = "Ottla ";

#[derive(Clone, Debug)]
pub(crate) struct RootFacts {
    pub(crate) own: Option<RootFile>,
    pub(crate) meta: Option<MetaProperties>,
    /// The files of Kafka's metadata log, sorted by name; empty if no broker has ever run.
    pub(crate) metadata: Vec<MetadataFile>,
    /// Whether the last use, by Ottla or by a broker, ended with a close.
    pub(crate) clean: bool,
}

impl RootFacts {
    /// Reads the files, and changes nothing. A damaged file is [`Error::Corrupt`], a
    /// `meta.properties` of another version or root [`Error::Unsupported`].
    pub(crate) fn of(disk: &Disk, root: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = root.join(name);
            disk.read_small(&path, properties::SIZE_MAX)
                .at(&path, "read")
        };
        let corrupt = |name: &str, reason| Error::corrupt(&root.join(name), 0, reason);
        let own = read(file_name::ROOT)?
            .map(|bytes| RootFile::decode(&bytes))
            .transpose()
            .map_err(|reason| corrupt(file_name::ROOT, reason))?;
        let meta = read(file_name::META_PROPERTIES)?
            .map(|bytes| MetaProperties::decode(&bytes))
            .transpose()
            .map_err(|reason| corrupt(file_name::META_PROPERTIES, reason))?;
        let path = root.join(file_name::CLEAN_SHUTDOWN);
        let facts = Self {
            own,
            meta,
            metadata: metadata_files(disk, root)?,
            clean: disk.exists(&path).at(&path, "access")?,
        };
        facts.check(root)?;
        Ok(facts)
    }

    fn check(&self, root: &Path) -> Result<()> {
        let path = root.join(file_name::META_PROPERTIES);
        let unsupported = |what: String| Err(Error::Unsupported { what });
        match (&self.meta, &self.own) {
            (Some(MetaProperties::Other { version }), _)
                if !version.starts_with(SENTENCE_BEGINS) =>
            {
                unsupported(format!(
                    "{} is of version {version:?}: only version 1, which Kafka writes since it \
                     needs no ZooKeeper, can be read; upgrade the broker first",
                    path.display(),
                ))
            }
            (Some(MetaProperties::Formatted(found)), Some(own)) if *found != own.identity => {
                unsupported(format!(
                    "{} is of cluster {}, node {}, but this directory was of cluster {}, node {}: \
                     put the right file back, or move {} away to take the directory as it is",
                    path.display(),
                    found.cluster_id,
                    found.node_id,
                    own.identity.cluster_id,
                    own.identity.node_id,
                    root.join(file_name::ROOT).display(),
                ))
            }
            _ => Ok(()),
        }
    }

    /// Whether a root at rest refuses brokers because its commits are damaged (I1).
    pub(crate) fn is_damaged(&self) -> bool {
        let meta = &self.meta;
        matches!(meta, Some(MetaProperties::Other { version }) if version == SENTENCE_DAMAGED)
    }

    /// Whether a broker has run since Ottla (I2), or what it left was not taken over completely.
    pub(crate) fn is_newer(&self) -> bool {
        match (&self.meta, &self.own) {
            // Only Ottla has written while the refusing line is there.
            (Some(MetaProperties::Other { .. }), Some(own)) => own.importing,
            (Some(MetaProperties::Other { .. }), None) => false,
            (_, Some(own)) => own.importing || own.metadata != self.metadata,
            (Some(MetaProperties::Formatted(_)), None) => true,
            (None, None) => !self.metadata.is_empty(),
        }
    }
}

pub(crate) fn metadata_files(disk: &Disk, root: &Path) -> Result<Vec<MetadataFile>> {
    let dir = root.join(file_name::CLUSTER_METADATA);
    if !disk.exists(&dir).at(&dir, "access")? {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in disk.list(&dir).at(&dir, "list")? {
        let ours = entry.name == file_name::QUORUM_CHECKPOINT;
        let kind = Path::new(&entry.name).extension();
        let counts = kind.is_some_and(|kind| kind == "log" || kind == "checkpoint");
        if entry.kind == EntryKind::File && counts && !ours {
            let path = dir.join(&entry.name);
            files.push(MetadataFile {
                length: disk.file_len(&path).at(&path, "access")?,
                name: entry.name,
            });
        }
    }
    files.sort();
    Ok(files)
}

/// Makes brokers refuse the root, durably; must come before any other change (I1), (I3).
pub(crate) fn keep_brokers_away(disk: &Disk, root: &Path) -> Result<()> {
    let refusing = MetaProperties::Other {
        version: SENTENCE.to_owned(),
    };
    replace_if_other(
        disk,
        &root.join(file_name::META_PROPERTIES),
        refusing.encode().as_bytes(),
    )?;
    // The line first: a formatted root without this file would be an unclean shutdown to a broker,
    // which would recover the logs its own way.
    let path = root.join(file_name::CLEAN_SHUTDOWN);
    if disk.exists(&path).at(&path, "access")? {
        disk.remove_file(&path).at(&path, "remove")?;
        disk.sync_dir(root).at(root, "sync")?;
    }
    Ok(())
}

/// Writes `meta.properties` of a root at rest, durably: for a broker, or, if `damaged`, to make it
/// refuse the root (I1).
pub(crate) fn write_rest(
    disk: &Disk,
    root: &Path,
    identity: RootIdentity,
    damaged: bool,
) -> Result<()> {
    let meta = if damaged {
        MetaProperties::Other {
            version: SENTENCE_DAMAGED.to_owned(),
        }
    } else {
        MetaProperties::Formatted(identity)
    };
    let path = root.join(file_name::META_PROPERTIES);
    replace_if_other(disk, &path, meta.encode().as_bytes())
}
