//! A root between use and rest: a closed root is a Kafka broker at rest, and what a broker leaves
//! is a root.
//!
//! Knows nothing about groups and their members. `dir/state.rs` says in which state a root is; here
//! is what goes with it:
//!
//! | file | what |
//! | --- | --- |
//! | `settings.rs` | a topic's settings in Kafka's words, and back: pure |
//! | `kafka.rs` | Kafka's metadata log: what it says about topics, and appending to it |
//! | `alone.rs` | whether what a broker left is all of its cluster: else it is only read |
//! | `back.rs` | taking over what a broker left |
//! | `out.rs` | what a broker finds: checkpoints and metadata |
//! | `producers.rs` | what a broker finds about producers, beside the logs |
//!
//! 1. Open: every check that can refuse comes first. Then `ottla.root` keeps the ids, durably, and
//!    then brokers are kept away; nothing else is changed before.
//! 2. Close: when everything else is synced, the checkpoints and the metadata are written, then
//!    `ottla.root` with the lengths of the metadata files, then `.kafka_cleanshutdown` (unless a
//!    broker must scan the logs), and last `meta.properties`. Where commits are damaged, that keeps
//!    brokers away until a repair: they would start without them, in silence. A crash before leaves
//!    brokers kept away; opening and closing the root heals it.

mod alone;
mod back;
mod kafka;
mod out;
mod producers;
mod settings;
#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use crate::clock::Clock;
use crate::dir::{
    Marks, RootFacts, keep_brokers_away, metadata_files, replace_if_other, write_rest,
};
use crate::disk::{Disk, EntryKind};
use crate::error::{Error, IoContext, Result};
use crate::format::properties::{self, MetaProperties, RootIdentity};
use crate::format::{FileKind, FileName, Mark, RootFile, file_name, uuid};
use crate::host::Host;
use crate::recovery::OpenMode;
use crate::topic::random_topic_id;
use crate::types::{PartitionId, TopicId};

use super::BrokerConfig;
use super::catalog::Catalog;
use super::root::Root;
use super::state::CatalogState;

use alone::LoneRoot;
pub(super) use back::lost_commits;
use kafka::KafkaState;
pub(super) use producers::forget_some as forget_producers;

/// The broker epoch in the marker of a clean end: no controller has given one.
const NO_EPOCH: i64 = -1;

/// What a root is before it is opened.
#[expect(
    clippy::struct_excessive_bools,
    reason = "four questions with yes or no"
)]
#[derive(Debug)]
pub(super) struct RootState {
    /// Nothing was ever kept here.
    pub(super) fresh: bool,
    /// The last use ended with a close.
    pub(super) clean: bool,
    /// Commits were damaged at the end of the last use.
    pub(super) damaged: bool,
    identity: RootIdentity,
    /// A broker has run since the root was last ours.
    newer: bool,
    /// What a broker's metadata says; `None` if it left none.
    kafka: Option<KafkaState>,
    /// Why the root can only be read.
    read_only: Option<String>,
}

/// Inspects a root without changing it.
///
/// # Errors
///
/// - [`Error::Unsupported`]: the directory is a log, or of a broker of another kind.
/// - [`Error::Corrupt`]: a file that says whose it is, or Kafka's metadata, is damaged.
pub(super) fn inspect(
    disk: &Disk,
    clock: &Clock,
    root: &Path,
    config: &BrokerConfig,
    mode: OpenMode,
) -> Result<RootState> {
    let facts = RootFacts::of(disk, root)?;
    let path = root.join(file_name::CATALOG);
    let catalog = disk.exists(&path).at(&path, "access")?;
    let fresh = !catalog && facts.meta.is_none() && facts.own.is_none();
    if fresh {
        refuse_others(disk, root, &facts)?;
    }
    let mut found = RootState {
        fresh,
        clean: facts.clean,
        damaged: facts.is_damaged(),
        identity: identity_of(&facts, config),
        newer: facts.is_newer(),
        kafka: None,
        read_only: None,
    };
    if found.newer {
        let marks = Marks::none(root);
        let host = Host::new(disk.clone(), clock.clone(), marks, true);
        found.kafka = KafkaState::read(&host, root, &facts.metadata, facts.clean)?;
        found.check(disk, root, catalog, mode)?;
    }
    Ok(found)
}

impl RootState {
    pub(super) fn is_newer(&self) -> bool {
        self.newer
    }

    /// All commits are as our own close left them, none of them damaged.
    pub(super) fn is_tidied(&self) -> bool {
        self.fresh || (self.clean && !self.newer && !self.damaged)
    }

    pub(super) fn read_only_because(&self) -> Option<&str> {
        self.read_only.as_deref()
    }

    /// Whether Kafka's metadata places it on other nodes alone, or in another log directory.
    pub(super) fn is_elsewhere(&self, topic: TopicId, partition: PartitionId) -> bool {
        let topics = self.kafka.as_ref().map(|kafka| &kafka.topics);
        let topic = topics.and_then(|topics| topics.get(&topic));
        let partition = topic.and_then(|topic| topic.partitions.get(&partition));
        partition.is_some_and(|partition| alone::is_elsewhere(partition, &self.identity))
    }

    /// Fails unless what a broker left can be taken over, or at least read.
    fn check(&mut self, disk: &Disk, root: &Path, catalog: bool, mode: OpenMode) -> Result<()> {
        let Some(kafka) = &self.kafka else {
            if catalog {
                return Ok(());
            }
            return Err(Error::Unsupported {
                what: format!(
                    "{} is missing or empty: without Kafka's metadata the topics are not known. \
                     Where it was only formatted, start the broker once; otherwise put the \
                     directory that metadata.log.dir names in its place",
                    root.join(file_name::CLUSTER_METADATA).display(),
                ),
            });
        };
        let identity = &self.identity;
        let place = LoneRoot {
            disk,
            root,
            identity,
        };
        match alone::check(kafka, &place) {
            Err(Error::Unsupported { what }) if mode == OpenMode::Read => {
                self.read_only = Some(what);
                Ok(())
            }
            checked => checked,
        }
    }

    /// What a broker's files say, where our own marks are not to be believed.
    pub(super) fn marks(
        &self,
        disk: &Disk,
        root: &Path,
        state: &CatalogState,
    ) -> Result<Vec<Mark>> {
        if self.newer {
            back::marks(disk, root, self.clean, state)
        } else {
            Ok(Vec::new())
        }
    }

    /// The catalog by a broker's metadata, if that is newer than our own.
    pub(super) fn catalog(
        &self,
        own: &CatalogState,
        config: &BrokerConfig,
    ) -> Option<CatalogState> {
        let kafka = self.kafka.as_ref()?;
        Some(back::catalog_of(kafka, own, config.durability))
    }
}

fn refuse_others(disk: &Disk, root: &Path, facts: &RootFacts) -> Result<()> {
    if !facts.metadata.is_empty() {
        let path = root.join(file_name::META_PROPERTIES);
        let what = format!(
            "{} is missing, but a broker has written here: put it back",
            path.display()
        );
        return Err(Error::Unsupported { what });
    }
    let entries = disk.list(root).at(root, "list")?;
    if entries
        .iter()
        .any(|entry| entry.kind == EntryKind::File && is_log(&entry.name))
    {
        let what = format!("{} is one log: open it with Log::open", root.display());
        return Err(Error::Unsupported { what });
    }
    Ok(())
}

fn is_log(name: &str) -> bool {
    matches!(
        FileName::parse(name),
        FileName::Segment {
            kind: FileKind::Log,
            ..
        }
    )
}

fn identity_of(facts: &RootFacts, config: &BrokerConfig) -> RootIdentity {
    let known = match (&facts.own, &facts.meta) {
        (Some(own), _) => Some(own.identity.clone()),
        (None, Some(MetaProperties::Formatted(identity))) => Some(identity.clone()),
        (None, _) => None,
    };
    let mut identity = known.unwrap_or_else(|| RootIdentity {
        cluster_id: uuid::encode(random_topic_id().0),
        node_id: i32::try_from(config.node_id).unwrap_or(i32::MAX),
        directory_id: None,
    });
    // Kafka's metadata has the number of the node; before there is any it can still change.
    if facts.metadata.is_empty() {
        identity.node_id = i32::try_from(config.node_id).unwrap_or(i32::MAX);
    }
    identity.directory_id = identity.directory_id.or_else(|| Some(random_topic_id().0));
    identity
}

/// Opens a root (I1), and takes over what a broker has left.
pub(super) fn mark_in_use(
    host: &Arc<Host>,
    root: &Path,
    found: &RootState,
    catalog: &mut Catalog,
    config: &BrokerConfig,
) -> Result<()> {
    let disk = &host.disk;
    let files = metadata_files(disk, root)?;
    let mut own = RootFile {
        identity: found.identity.clone(),
        importing: found.newer,
        metadata: files,
    };
    write_root(disk, root, &own)?;
    if !found.newer {
        return keep_brokers_away(disk, root);
    }
    // `ottla.producers` is older than what the broker wrote.
    producers::forget(disk, root)?;
    // The takeover needs the mark of a clean end.
    back::take_over(host, root, found, catalog, config)?;
    host.note_left_by_broker(!found.clean);
    own.importing = false;
    write_root(disk, root, &own)?;
    keep_brokers_away(disk, root)
}

fn write_root(disk: &Disk, root: &Path, own: &RootFile) -> Result<()> {
    let path = root.join(file_name::ROOT);
    replace_if_other(disk, &path, own.encode().as_bytes())
}

/// Closes a root (I2). `damaged`: whether commits are.
pub(super) fn mark_closed(root: &Root, catalog: &CatalogState, damaged: bool) -> Result<()> {
    let (disk, path) = (&root.host.disk, &root.path);
    let own_path = path.join(file_name::ROOT);
    let bytes = disk
        .read_small(&own_path, properties::SIZE_MAX)
        .at(&own_path, "read")?;
    let mut own = RootFile::decode(&bytes.unwrap_or_default())
        .map_err(|reason| Error::corrupt(&own_path, 0, reason))?;
    out::write(root, catalog, &own.identity)?;
    let scanned = producers::write(root, catalog)?;
    own.metadata = metadata_files(disk, path)?;
    write_root(disk, path, &own)?;
    let damaged = damaged || !lost_commits(&root.host, path, catalog)?.is_empty();
    let clean = path.join(file_name::CLEAN_SHUTDOWN);
    // A broker that is kept away does not miss the scan either.
    if scanned || damaged {
        let text = properties::encode_clean_shutdown(NO_EPOCH);
        replace_if_other(disk, &clean, text.as_bytes())?;
    }
    write_rest(disk, path, own.identity, damaged)
}
