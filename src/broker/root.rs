//! The directory of a broker while it is open: its catalog, and its topics by name.
//!
//! Knows nothing about groups but where they count, which is why those can ask it for the topic of
//! their commits.
//!
//! 1. A topic is made in this order: the directories first, their names synced; then the catalog
//!    has the topic, and it is there. A crash before that leaves directories without records,
//!    which the next opening removes.
//! 2. `catalog` is held from the look whether something may be changed until it has been.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::group::Tally;
use crate::host::Host;
use crate::host::LogMetrics;
use crate::log::Log;
use crate::recovery::OpenMode;
use crate::sync::{AtomicBool, Mutex, OnceLock, Ordering};
use crate::topic::{
    PartitionDir, TopicConfig, TopicDirectory, TopicShared, TopicSource, random_topic_id,
};
use crate::types::{PartitionId, TopicName};

use super::BrokerConfig;
use super::catalog::Catalog;
use super::follow::CatalogSigns;
use super::offsets::OFFSETS_TOPIC;
use super::state::TopicEntry;

/// Names that Windows keeps for devices, whatever follows after a dot. A root can be carried
/// there.
const DEVICES: [&str; 22] = [
    "con", "prn", "aux", "nul", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8",
    "com9", "lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
];

/// The directory of a broker.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) path: Arc<Path>,
    pub(super) host: Arc<Host>,
    pub(super) config: BrokerConfig,
    pub(super) mode: OpenMode,
    pub(super) directory: Arc<TopicDirectory>,
    pub(super) catalog: Mutex<Catalog>,
    /// The partitions of commits that upkeep found damaged after their groups were read: the groups
    /// go on with what is in memory, but nobody who reads the log again can.
    pub(super) damaged_commits: Mutex<BTreeMap<PartitionId, Error>>,
    /// What the logs of deleted topics counted.
    pub(super) deleted: Mutex<LogMetrics>,
    /// What the groups count, once they are there.
    pub(super) groups: OnceLock<Arc<Tally>>,
    /// What the recorder was given.
    #[cfg(feature = "metrics")]
    pub(super) handed_over: Mutex<super::BrokerMetrics>,
    /// In a root that is only looked at: what the files of the topics were like at the last look.
    pub(super) signs: Mutex<CatalogSigns>,
    closed: AtomicBool,
}

/// How a root is opened.
#[derive(Debug)]
pub(super) struct RootSource<'a> {
    pub(super) path: &'a Path,
    pub(super) host: Arc<Host>,
    pub(super) config: BrokerConfig,
    pub(super) mode: OpenMode,
}

impl Root {
    /// A root with the topics of its catalog, none of which has a log open.
    pub(super) fn new(source: RootSource<'_>, catalog: Catalog) -> Arc<Self> {
        let RootSource {
            path,
            host,
            config,
            mode,
        } = source;
        let root = Self {
            path: Arc::from(path),
            host,
            config,
            mode,
            directory: TopicDirectory::new(),
            catalog: Mutex::new(catalog),
            damaged_commits: Mutex::default(),
            deleted: Mutex::default(),
            groups: OnceLock::new(),
            #[cfg(feature = "metrics")]
            handed_over: Mutex::default(),
            signs: Mutex::default(),
            closed: AtomicBool::new(false),
        };
        root.ask_the_catalog();
        for entry in root.catalog.lock().state().topics() {
            root.directory
                .insert(root.topic_of(entry, entry.config().0));
        }
        let root = Arc::new(root);
        root.look_when_asked();
        root
    }

    /// In a root that is only looked at, the logs ask the catalog, as it is then, whether their
    /// topics are still there.
    fn ask_the_catalog(&self) {
        if self.mode == OpenMode::Write {
            return;
        }
        let (host, root) = (Arc::downgrade(&self.host), Arc::clone(&self.path));
        self.host.ask_for_topics(move |id| {
            // Of a broker's own topics our catalog does not know.
            let host = host.upgrade().filter(|host| !host.marks.are_distrusted());
            let state = host.and_then(|host| Catalog::look_again(&host, &root));
            // A catalog that cannot be read does not say that the topic is gone.
            state.is_none_or(|state| state.has(id))
        });
    }

    /// Ends a topic that is deleted: nobody finds it any more.
    pub(super) fn end_topic(&self, name: &str) -> Option<Arc<TopicShared>> {
        let topic = self.directory.remove(name)?;
        topic.delete();
        self.keep_figures_of(&topic);
        Some(topic)
    }

    /// An error when the broker was closed, or opened by another process.
    pub(super) fn check_open(&self) -> Result<()> {
        self.host.check_owner()?;
        if self.closed.load(Ordering::Acquire) {
            Err(Error::Closed)
        } else {
            Ok(())
        }
    }

    /// An error when nothing may be changed.
    pub(super) fn check_writable(&self) -> Result<()> {
        self.check_open()?;
        if self.mode == OpenMode::Read {
            Err(Error::ReadOnly)
        } else {
            Ok(())
        }
    }

    /// Says that it is over; true when it was not before.
    pub(super) fn end(&self) -> bool {
        !self.closed.swap(true, Ordering::AcqRel)
    }

    /// The logs that are open.
    pub(super) fn open_logs(&self) -> Vec<Log> {
        let topics = self.directory.all();
        topics.iter().flat_map(|topic| topic.open_logs()).collect()
    }

    /// The topic of an entry of the catalog.
    pub(super) fn topic_of(&self, entry: &TopicEntry, config: TopicConfig) -> Arc<TopicShared> {
        TopicShared::new(TopicSource {
            host: Arc::clone(&self.host),
            root: Arc::clone(&self.path),
            name: entry.name.clone(),
            id: entry.id,
            config,
            durability: self.config.durability,
            mode: self.mode,
            sparse: entry.name.as_str() == OFFSETS_TOPIC,
        })
    }

    /// Makes a topic whose settings were checked (1).
    pub(super) fn create(&self, name: TopicName, config: TopicConfig) -> Result<Arc<TopicShared>> {
        let mut catalog = self.catalog.lock();
        self.check_writable()?;
        check_free(&catalog, &name)?;
        let entry = TopicEntry::new(name, random_topic_id(), &config);
        let topic = self.topic_of(&entry, config);
        let all = if topic.is_sparse() {
            0..0
        } else {
            0..entry.partitions
        };
        let made = self.make_dirs(&topic, all.clone());
        if let Err(error) = made.and_then(|()| catalog.append(entry.creation())) {
            if !catalog.in_doubt() {
                self.unmake_dirs(&topic, all);
            }
            return Err(error);
        }
        self.directory.insert(Arc::clone(&topic));
        Ok(topic)
    }

    /// Makes the directories of new partitions. One that is there already may hold what an earlier
    /// attempt left, but no records.
    pub(super) fn make_dirs(&self, topic: &TopicShared, new: Range<PartitionId>) -> Result<()> {
        let disk = &self.host.disk;
        for partition in new.clone() {
            let dir = topic.dir(partition);
            if !dir.exists(disk)? {
                continue;
            }
            if PartitionDir::inspect(disk, dir.path())?.data {
                let taken = std::io::ErrorKind::AlreadyExists.into();
                return Err(Error::io(dir.path(), "create the directory", taken));
            }
            PartitionDir::remove(disk, dir.path())?;
        }
        topic.make_dirs(new)
    }

    /// Removes directories that were made for nothing, as far as that goes: the next opening does
    /// the rest.
    pub(super) fn unmake_dirs(&self, topic: &TopicShared, new: Range<PartitionId>) {
        for partition in new {
            drop(PartitionDir::remove(
                &self.host.disk,
                topic.dir(partition).path(),
            ));
        }
    }
}

/// The error for a name that cannot be used.
pub(super) fn invalid_name(name: &str, reason: &'static str) -> Error {
    Error::InvalidName {
        name: name.to_owned(),
        reason,
    }
}

/// Whether a new topic may have a name that follows the rules.
fn check_free(catalog: &Catalog, name: &TopicName) -> Result<()> {
    let state = catalog.state();
    if state.find(name).is_some() {
        return Err(Error::TopicExists {
            name: name.to_string(),
        });
    }
    if state.confused_with(name).is_some() {
        let reason = "it differs from an existing topic only in '.' and '_' or in capitals";
        return Err(invalid_name(name.as_str(), reason));
    }
    let stem = name
        .as_str()
        .split('.')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    if DEVICES.contains(&stem.as_str()) {
        return Err(invalid_name(name.as_str(), "Windows takes it for a device"));
    }
    Ok(())
}
