//! Whether a root is at rest, in use, or was used by a Kafka broker: the files that say so.
//!
//! Knows nothing about topics. A *root* is a directory whose sub-directories are partitions.
//!
//! 1. `meta.properties` formats the root for a broker only while the root is at rest. Otherwise it
//!    is one line at which a broker refuses to start and prints what to do. So while that line is
//!    there, only Ottla has written to the root.
//! 2. `ottla.root` keeps the ids while `meta.properties` cannot, and what Kafka's metadata log
//!    looked like when Ottla left the root. If the root was at rest and its metadata log looks
//!    different now, a broker has used it: the broker's metadata and files are newer than our own.
//!    If the commits of a root at rest are damaged, the line says so, and [`RootFacts::is_damaged`]
//!    reads it: the mark of a clean shutdown is then present as well.
//! 3. `.kafka_cleanshutdown` exists only while the root is at rest after a clean shutdown.

use std::path::Path;

use crate::disk::{Disk, EntryKind};
use crate::error::{Error, IoContext, Result};
use crate::format::properties::{self, MetaProperties, RootIdentity};
use crate::format::{MetadataFile, RootFile, file_name};

use super::files::replace_if_other;

/// What a broker prints if it is started on a root that is in use, behind `version=`.
pub(crate) const SENTENCE: &str = "Ottla has this directory open, or was not closed. Close the program that uses it, or open it with Ottla and close it again; then start the broker. Do not format it.";

/// What a broker prints if it is started on a root at rest in which it would lose committed
/// offsets.
const SENTENCE_DAMAGED: &str = "\
Ottla cannot read all of __consumer_offsets: a broker would lose what consumer groups have \
committed there. Close the program that uses the directory and run repair first (ottla::repair); \
then start the broker. Do not format it.";

/// How these sentences begin, in this and every other version of the crate.
const SENTENCE_BEGINS: &str = "Ottla ";

/// What the files of a root say about its last use.
#[derive(Clone, Debug)]
pub(crate) struct RootFacts {
    /// `ottla.root`.
    pub(crate) own: Option<RootFile>,
    /// `meta.properties`.
    pub(crate) meta: Option<MetaProperties>,
    /// Kafka's metadata log as it is now, sorted by name; empty if no broker has ever run.
    pub(crate) metadata: Vec<MetadataFile>,
    /// The last use ended with a close, by Ottla or by a broker.
    pub(crate) clean: bool,
}

impl RootFacts {
    /// Reads the state of a root without changing it.
    ///
    /// # Errors
    ///
    /// - [`Error::Corrupt`]: one of the files is damaged.
    /// - [`Error::Unsupported`]: `meta.properties` is of another version, or belongs to another
    ///   root.
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

    /// Whether the two files that say whose root this is agree.
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

    /// Whether the root is at rest, but refuses brokers because its commits are damaged (I1).
    pub(crate) fn is_damaged(&self) -> bool {
        let meta = &self.meta;
        matches!(meta, Some(MetaProperties::Other { version }) if version == SENTENCE_DAMAGED)
    }

    /// Whether a broker has run since Ottla last used the root (I2), or what a broker left was not
    /// taken over completely.
    pub(crate) fn is_newer(&self) -> bool {
        match (&self.meta, &self.own) {
            // While the refusing line is there, only Ottla has written.
            (Some(MetaProperties::Other { .. }), Some(own)) => own.importing,
            (Some(MetaProperties::Other { .. }), None) => false,
            (_, Some(own)) => own.importing || own.metadata != self.metadata,
            (Some(MetaProperties::Formatted(_)), None) => true,
            (None, None) => !self.metadata.is_empty(),
        }
    }
}

/// The files of Kafka's metadata log, sorted by name.
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

/// Records, durably, that the root is in use (I1), (I3). Must come before any other change.
pub(crate) fn keep_brokers_away(disk: &Disk, root: &Path) -> Result<()> {
    let refusing = MetaProperties::Other {
        version: SENTENCE.to_owned(),
    };
    replace_if_other(
        disk,
        &root.join(file_name::META_PROPERTIES),
        refusing.encode().as_bytes(),
    )?;
    // The line comes first: a broker that found the root formatted but without this file would
    // treat it as an unclean shutdown, and recover the logs its own way.
    let path = root.join(file_name::CLEAN_SHUTDOWN);
    if disk.exists(&path).at(&path, "access")? {
        disk.remove_file(&path).at(&path, "remove")?;
        disk.sync_dir(root).at(root, "sync")?;
    }
    Ok(())
}

/// Records, durably, that the root is at rest: for a broker, or for Ottla alone if a broker would
/// lose commits (I1).
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
