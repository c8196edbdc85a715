//! The directory of a broker while it is open: its catalog, and its topics by name.
//!
//! Knows nothing about groups except their metrics, so they can ask it for the topic of their
//! commits.
//!
//! 1. A new topic's directories come first, with their names synced; then the catalog has the
//!    topic, and it is there. After a crash before that, the next opening removes directories
//!    without records.
//! 2. `catalog` is held from the check whether something may be changed until it has been.

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
use crate::types::{OFFSETS_TOPIC, PartitionId, TopicName};

use super::catalog::Catalog;
use super::config::BrokerConfig;
use super::signs::CatalogSigns;
use super::state::TopicEntry;

/// Names of devices on Windows, where a root can be copied to; also with anything after a dot.
const DEVICES: [&str; 22] = [
    "con", "prn", "aux", "nul", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8",
    "com9", "lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
];

#[derive(Debug)]
pub(super) struct Root {
    pub(super) path: Arc<Path>,
    pub(super) host: Arc<Host>,
    pub(super) config: BrokerConfig,
    pub(super) mode: OpenMode,
    pub(super) directory: Arc<TopicDirectory>,
    pub(super) catalog: Mutex<Catalog>,
    /// Damage that upkeep found after the groups were read: they continue with what is in memory,
    /// but the log cannot be read again.
    pub(super) damaged_commits: Mutex<BTreeMap<PartitionId, Error>>,
    /// The metrics of deleted topics.
    pub(super) deleted: Mutex<LogMetrics>,
    pub(super) groups: OnceLock<Arc<Tally>>,
    #[cfg(feature = "metrics")]
    pub(super) handed_over: Mutex<super::BrokerMetrics>,
    /// What `follow` has seen last, in a root that is only read.
    pub(super) signs: Mutex<CatalogSigns>,
    closed: AtomicBool,
}

#[derive(Debug)]
pub(super) struct RootSource<'a> {
    pub(super) path: &'a Path,
    pub(super) host: Arc<Host>,
    pub(super) config: BrokerConfig,
    pub(super) mode: OpenMode,
}

impl Root {
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

    /// In a root that is only read, logs ask the current catalog whether their topics exist.
    fn ask_the_catalog(&self) {
        if self.mode == OpenMode::Write {
            return;
        }
        let (host, root) = (Arc::downgrade(&self.host), Arc::clone(&self.path));
        self.host.set_listing(move |id| {
            // Our catalog does not know a broker's own topics.
            let host = host.upgrade().filter(|host| !host.marks.are_distrusted());
            let state = host.and_then(|host| Catalog::look_again(&host, &root));
            // A catalog that cannot be read does not say that the topic is gone.
            state.is_none_or(|state| state.has(id))
        });
    }

    /// Closes the logs of a topic that is gone; removes no file.
    pub(super) fn end_topic(&self, name: &str) -> Option<Arc<TopicShared>> {
        let topic = self.directory.remove(name)?;
        topic.delete();
        self.keep_figures_of(&topic);
        Some(topic)
    }

    /// Fails also in a fork of the process that opened the root.
    pub(super) fn check_open(&self) -> Result<()> {
        self.host.check_owner()?;
        if self.closed.load(Ordering::Acquire) {
            Err(Error::Closed)
        } else {
            Ok(())
        }
    }

    pub(super) fn check_writable(&self) -> Result<()> {
        self.check_open()?;
        if self.mode == OpenMode::Read {
            Err(Error::ReadOnly)
        } else {
            Ok(())
        }
    }

    /// Closes the root; true the first time.
    pub(super) fn end(&self) -> bool {
        !self.closed.swap(true, Ordering::AcqRel)
    }

    pub(super) fn open_logs(&self) -> Vec<Log> {
        let topics = self.directory.all();
        topics.iter().flat_map(|topic| topic.open_logs()).collect()
    }

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

    /// Creates a topic (I1). The settings were checked.
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

    /// Creates directories. An existing one may hold what an earlier attempt left, but no records.
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

    /// Removes these directories again; the next opening removes what this leaves.
    pub(super) fn unmake_dirs(&self, topic: &TopicShared, new: Range<PartitionId>) {
        for partition in new {
            drop(PartitionDir::remove(
                &self.host.disk,
                topic.dir(partition).path(),
            ));
        }
    }
}

pub(super) fn invalid_name(name: &str, reason: &'static str) -> Error {
    Error::InvalidName {
        name: name.to_owned(),
        reason,
    }
}

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
