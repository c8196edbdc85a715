//! Opening a root: who may, what a crash left, and which topics there are.
//!
//! Knows nothing about what happens to topics later.
//!
//! 1. Everything that can refuse comes before any change.
//! 2. After a clean close only names are read; logs are opened when they are used. Otherwise all
//!    logs are opened here, so that the report says what was recovered.
//! 3. A damaged log or directory does not affect the others.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::clock::Clock;
use crate::dir::{Marks, make_dir, refuse_unfinished, take_lock};
use crate::disk::{Disk, EntryKind, Lock};
use crate::error::{Error, IoContext, Result};
use crate::format::{DirName, MarkKey, file_name};
use crate::group::{Coordinator, CoordinatorSource};
use crate::host::{Host, SLOTS_OF_ROOT};
use crate::log::{RootSigns, look_until_it_counts};
use crate::recovery::{OpenEvent, OpenMode, OpenReport, unreadable_marks};
use crate::sync::for_each_on;
use crate::topic::PartitionDir;
use crate::types::{OFFSETS_TOPIC, PartitionId, Settings as _, TopicId, TopicName};

use super::catalog::Catalog;
use super::core::Core;
use super::offsets::Offsets;
use super::root::{Root, RootSource};
use super::state::CatalogState;
use super::surroundings::{lies_on_network, look_around};
use super::{BrokerConfig, rest};

struct RootOpening {
    root: Arc<Root>,
    report: OpenReport,
    lock: Option<Lock>,
}

pub(super) fn open(
    disk: Disk,
    clock: Clock,
    path: &Path,
    config: BrokerConfig,
) -> Result<Arc<Core>> {
    open_with(disk, clock, path, config, None)
}

/// The copy of a backup, with the lock of its directory: no other process may open it yet.
pub(super) fn open_copy(
    disk: Disk,
    clock: Clock,
    path: &Path,
    config: BrokerConfig,
    lock: Lock,
) -> Result<Arc<Core>> {
    let core = open_with(disk, clock, path, config, Some(lock))?;
    core.root.host.note_copy();
    Ok(core)
}

fn open_with(
    disk: Disk,
    clock: Clock,
    path: &Path,
    config: BrokerConfig,
    lock: Option<Lock>,
) -> Result<Arc<Core>> {
    config.check()?;
    let began = clock.instant();
    let path = &disk.absolute(path).at(path, "resolve the path of")?;
    let others = look_around(&disk, path, &config)?;
    let lock = match lock {
        Some(lock) => lock,
        None => enter(&disk, path, &config)?,
    };
    let found = rest::inspect(&disk, &clock, path, &config, OpenMode::Write)?;
    let marks = Marks::open(&disk, &path.join(file_name::MARKS))?;
    let (manual, max_open_files) = (config.manual_upkeep, config.max_open_files);
    let host = Host::with_open_files(disk, clock, marks, manual, max_open_files);
    if let Some(limit) = config.max_total_bytes {
        host.budget.limit_to(limit);
    }
    let (mut catalog, events) = Catalog::open(&host, path)?;
    rest::mark_in_use(&host, path, &found, &mut catalog, &config)?;
    let clean = (found.fresh || found.clean) && events.is_empty();
    let source = RootSource {
        path,
        host: Arc::clone(&host),
        config,
        mode: OpenMode::Write,
    };
    let mut opening = RootOpening {
        root: Root::new(source, catalog),
        report: OpenReport {
            clean,
            events,
            ..OpenReport::default()
        },
        lock: Some(lock),
    };
    let network = lies_on_network(&opening.root.host.disk, path);
    opening
        .report
        .events
        .extend(others.into_iter().chain(network));
    opening.report_bad_settings();
    opening.report_bad_marks();
    opening.clear_unfinished()?;
    let groups = opening.groups(found.is_tidied())?;
    if !found.clean {
        opening.open_logs();
        // A log whose sync failed is not believed the next time.
        host.note_left_by_broker(false);
        opening.recover_commits(&groups);
        opening.sync_marks()?;
    } else if found.damaged {
        opening.report_damaged_commits(&groups);
    }
    opening.report.elapsed = host.clock.instant().saturating_duration_since(began);
    // Last, as a refused opening changes nothing.
    host.publish(SLOTS_OF_ROOT);
    let core = Core::new(opening.root, groups, opening.report, opening.lock);
    core.finish_deletions();
    core.root.host.marks.keep_ballast();
    core.root.begin_budget();
    Ok(core)
}

fn enter(disk: &Disk, path: &Path, config: &BrokerConfig) -> Result<Lock> {
    refuse_unfinished(disk, path)?;
    make_dir(disk, path)?;
    let lock = take_lock(disk, path, config.lock_timeout)?;
    // A backup into it may have begun meanwhile.
    refuse_unfinished(disk, path)?;
    Ok(lock)
}

/// Takes no lock and changes no byte; there may be a writer.
pub(super) fn open_read_only(disk: &Disk, clock: &Clock, path: &Path) -> Result<Arc<Core>> {
    let signs = || RootSigns::of(disk, path);
    let looked = look_until_it_counts(clock, signs, || {
        inspect_root(disk.clone(), clock.clone(), path)
    });
    looked.map(|(core, _)| core)
}

fn inspect_root(disk: Disk, clock: Clock, path: &Path) -> Result<Arc<Core>> {
    let began = clock.instant();
    let path = &disk.absolute(path).at(path, "resolve the path of")?;
    refuse_unfinished(&disk, path)?;
    let config = BrokerConfig::default();
    let found = rest::inspect(&disk, &clock, path, &config, OpenMode::Read)?;
    let marks = if found.is_newer() {
        Marks::none(path)
    } else {
        Marks::read_only(&disk, &path.join(file_name::MARKS))?
    };
    let host = Host::new(disk, clock, marks, true);
    let mut catalog = Catalog::open_read_only(&host, path)?;
    if let Some(state) = found.catalog(catalog.state(), &config) {
        catalog.replace(state)?;
    }
    for mark in found.marks(&host.disk, path, catalog.state())? {
        host.marks.assume(&mark);
    }
    let source = RootSource {
        path,
        host: Arc::clone(&host),
        config,
        mode: OpenMode::Read,
    };
    let mut opening = RootOpening {
        root: Root::new(source, catalog),
        report: OpenReport {
            clean: found.clean,
            ..OpenReport::default()
        },
        lock: None,
    };
    opening.report_read_only(&found);
    opening.report_bad_settings();
    opening.report_bad_marks();
    opening.report_missing(|id, partition| found.is_elsewhere(id, partition))?;
    let groups = opening.groups(false)?;
    if found.damaged {
        opening.report_damaged_commits(&groups);
    }
    opening.report.elapsed = host.clock.instant().saturating_duration_since(began);
    Ok(Core::new(
        opening.root,
        groups,
        opening.report,
        opening.lock,
    ))
}

/// Why a directory belongs to no topic.
enum Unexpected {
    Foreign,
    Orphan,
    Deleted,
    Future,
    Stray,
}

impl Unexpected {
    fn reason(&self) -> &'static str {
        match self {
            Self::Foreign => "it is not a partition of any topic, and a broker would not start",
            Self::Orphan => "it holds records, but the catalog has no such topic",
            Self::Deleted => "a Kafka broker was about to delete it",
            Self::Future => "a Kafka broker was moving a replica here",
            Self::Stray => "a Kafka broker put it aside: its metadata has no such partition",
        }
    }
}

impl RootOpening {
    /// Prepares the groups, and reports lost commits. `tidied`: the last close left commits as a
    /// broker needs them.
    fn groups(&mut self, tidied: bool) -> Result<Coordinator> {
        let root = &self.root;
        let lost = {
            let catalog = root.catalog.lock();
            rest::lost_commits(&root.host, &root.path, catalog.state())?
        };
        for partition in &lost {
            self.report.events.push(OpenEvent::LogUnusable {
                path: root
                    .path
                    .join(file_name::partition_dir(OFFSETS_TOPIC, *partition)),
                reason: "the directory is missing, and what its groups have committed: they \
                         cannot be joined before it is put back, or made empty by repair"
                    .to_owned(),
            });
        }
        Ok(Coordinator::new(CoordinatorSource {
            host: Arc::clone(&root.host),
            directory: Arc::clone(&root.directory),
            offsets: Box::new(Offsets::new(Arc::clone(root), lost)),
            read_only: root.mode == OpenMode::Read,
            tidied,
            retention: root.config.offsets_retention,
        }))
    }

    fn report_missing(
        &mut self,
        is_elsewhere: impl Fn(TopicId, PartitionId) -> bool,
    ) -> Result<()> {
        let disk = &self.root.host.disk;
        let catalog = self.root.catalog.lock();
        let there = disk.list(&self.root.path).at(&self.root.path, "list")?;
        let there: BTreeSet<_> = there.into_iter().map(|entry| entry.name).collect();
        for name in missing_dirs(catalog.state(), &there, is_elsewhere) {
            self.report.events.push(OpenEvent::LogUnusable {
                path: self.root.path.join(name),
                reason: "the directory is missing".to_owned(),
            });
        }
        Ok(())
    }

    fn report_read_only(&mut self, found: &rest::RootState) {
        if let Some(reason) = found.read_only_because() {
            self.report.events.push(OpenEvent::LeftAlone {
                path: self.root.path.join(file_name::CLUSTER_METADATA),
                reason: reason.to_owned(),
            });
        }
    }

    fn report_bad_settings(&mut self) {
        let catalog = self.root.catalog.lock();
        for entry in catalog.state().topics() {
            for bad in entry.config().1 {
                let path = self.root.path.join(file_name::CATALOG);
                let reason = format!("topic {}: {bad}", entry.name);
                self.report
                    .events
                    .push(OpenEvent::LeftAlone { path, reason });
            }
        }
    }

    fn report_bad_marks(&mut self) {
        let events = unreadable_marks(&self.root.host.marks);
        self.report.events.extend(events);
    }

    /// Opens all logs (I2).
    fn open_logs(&mut self) {
        let topics = self.root.directory.all();
        let all = topics.iter().flat_map(|topic| {
            let partitions = 0..topic.partition_count();
            partitions.map(move |partition| (Arc::clone(topic), partition))
        });
        let all: Vec<_> = all.collect();
        let threads = self.root.host.disk.calls_at_once();
        let reports = for_each_on(threads, &all, |(topic, partition)| {
            topic.open_partition(*partition)
        });
        for report in reports {
            self.report.merge(report);
        }
    }

    /// One sync for all logs. Without it a power cut may bring back the old marks, which are true
    /// as well.
    fn sync_marks(&self) -> Result<()> {
        let host = &self.root.host;
        match host.marks.sync(host.clock.instant()) {
            // What frees space needs the root to be open.
            Err(Error::NoSpace { .. }) => Ok(()),
            synced => synced,
        }
    }

    /// Commits must not point past what a crash left of their partitions.
    fn recover_commits(&mut self, groups: &Coordinator) {
        let mut left = Vec::new();
        let recovered = groups.recover(&mut self.report.events, &mut left);
        // On a full disk the root must still open. A commit that was not set back must not skip
        // what is appended: such a log, like one that could not be opened here, sets its commits
        // back before the first append. Commits that cannot be read prevent no append.
        let all = left.is_empty() && matches!(recovered, Err(Error::NoSpace { .. }));
        for log in self.root.directory.all().iter().flat_map(|t| t.open_logs()) {
            log.note_commits(all);
        }
        for log in left {
            log.note_commits(true);
        }
        if let Err(error) = recovered {
            let path = self.root.path.to_path_buf();
            let reason = format!(
                "not every commit past the end of its partition could be set back: {error}"
            );
            let event = OpenEvent::LeftAlone { path, reason };
            self.report.events.push(event);
        }
        self.report_damaged_commits(groups);
    }

    /// Skips those that opening already reported.
    fn report_damaged_commits(&mut self, groups: &Coordinator) {
        // The groups themselves return an error that prevents this.
        for (partition, error) in groups.look_for_damage().unwrap_or_default() {
            let dir = file_name::partition_dir(OFFSETS_TOPIC, partition);
            let path = self.root.path.join(dir);
            let reported = self.report.events.iter().any(
                |event| matches!(event, OpenEvent::LogUnusable { path: of, .. } if *of == path),
            );
            if !reported {
                let reason = format!(
                    "what its groups have committed cannot be read, they answer this error, and \
                     no Kafka broker starts here before ottla::repair was run: {error}"
                );
                let event = OpenEvent::LogUnusable { path, reason };
                self.report.events.push(event);
            }
        }
    }

    /// Removes what an unfinished creation left, and reports what belongs to no topic.
    fn clear_unfinished(&mut self) -> Result<()> {
        let (root, disk) = (&self.root.path, &self.root.host.disk);
        let catalog = self.root.catalog.lock();
        let state = catalog.state();
        let mut removed = false;
        let mut orphans = false;
        let mut known = BTreeSet::new();
        for entry in disk.list(root).at(root, "list")? {
            if entry.kind == EntryKind::File {
                continue;
            }
            let path = root.join(&entry.name);
            match clear_entry(disk, state, &path, (&entry.name, entry.kind))? {
                Cleared::Known => drop(known.insert(entry.name)),
                Cleared::Removed => {
                    removed = true;
                    self.report.events.push(OpenEvent::LeftoverSettled { path });
                }
                Cleared::LeftAlone(odd) => {
                    orphans |= matches!(odd, Unexpected::Orphan);
                    let reason = odd.reason().to_owned();
                    self.report
                        .events
                        .push(OpenEvent::LeftAlone { path, reason });
                }
            }
        }
        if removed {
            PartitionDir::sync_root(disk, root)?;
        }
        // After an unclean end every log is opened, and reports this itself.
        let missing = self
            .report
            .clean
            .then(|| missing_dirs(state, &known, |_topic, _partition| false));
        for name in missing.into_iter().flatten() {
            self.report.events.push(OpenEvent::LogUnusable {
                path: root.join(name),
                reason: "the directory is missing".to_owned(),
            });
        }
        if orphans {
            return Ok(());
        }
        // Marks of topics that are gone: a crash came before their marks were removed.
        for key @ MarkKey { topic, .. } in self.root.host.marks.keys() {
            if topic.0 != [0; 16] && !state.has(topic) {
                self.root.host.marks.forget(key)?;
            }
        }
        Ok(())
    }
}

/// The directories that are missing. Not those of `__consumer_offsets`, which are made at their
/// first use: `lost_commits` finds them.
fn missing_dirs(
    state: &CatalogState,
    there: &BTreeSet<String>,
    is_elsewhere: impl Fn(TopicId, PartitionId) -> bool,
) -> Vec<String> {
    let topics = state.topics();
    let topics = topics.filter(|entry| entry.name.as_str() != OFFSETS_TOPIC);
    let mut missing = Vec::new();
    for entry in topics {
        for partition in 0..entry.partitions {
            let name = file_name::partition_dir(entry.name.as_str(), partition);
            if !there.contains(&name) && !is_elsewhere(entry.id, partition) {
                missing.push(name);
            }
        }
    }
    missing
}

enum Cleared {
    Known,
    Removed,
    LeftAlone(Unexpected),
}

fn clear_entry(
    disk: &Disk,
    state: &CatalogState,
    path: &Path,
    (name, kind): (&str, EntryKind),
) -> Result<Cleared> {
    let (topic, partition) = match DirName::parse(name) {
        _ if kind != EntryKind::Dir => return Ok(Cleared::LeftAlone(Unexpected::Foreign)),
        DirName::Partition { topic, partition } => (topic, partition),
        DirName::ClusterMetadata => return Ok(Cleared::Known),
        DirName::Deleted => return Ok(Cleared::LeftAlone(Unexpected::Deleted)),
        DirName::Future => return Ok(Cleared::LeftAlone(Unexpected::Future)),
        DirName::Stray => return Ok(Cleared::LeftAlone(Unexpected::Stray)),
        DirName::Foreign => return Ok(Cleared::LeftAlone(Unexpected::Foreign)),
    };
    let Ok(topic) = TopicName::new(topic) else {
        return Ok(Cleared::LeftAlone(Unexpected::Foreign));
    };
    let of = |partitions: u32| partition < partitions;
    if state.find(&topic).is_some_and(|entry| of(entry.partitions)) {
        return Ok(Cleared::Known);
    }
    // Its deletion is finished later.
    if state
        .leaving()
        .any(|entry| entry.name == topic && of(entry.partitions))
    {
        return Ok(Cleared::Known);
    }
    let contents = PartitionDir::inspect(disk, path)?;
    if contents.data {
        return Ok(Cleared::LeftAlone(Unexpected::Orphan));
    }
    // Without records it was left by an unfinished creation, or is not ours.
    if PartitionDir::remove(disk, path)? {
        Ok(Cleared::Removed)
    } else {
        Ok(Cleared::LeftAlone(Unexpected::Foreign))
    }
}
