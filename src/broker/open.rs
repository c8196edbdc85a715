//! Opening a root: who may, what a crash left, and which topics there are.
//!
//! Knows nothing about what happens to topics later.
//!
//! 1. Everything that can refuse comes before anything is changed.
//! 2. After a clean close nothing is looked at but names; logs are opened when they are used.
//!    Otherwise all logs are opened here, so that the report says what was recovered.
//! 3. A log, or a directory, that is not as it should be keeps nobody from the others.

use std::path::Path;
use std::sync::Arc;

use crate::clock::Clock;
use crate::disk::{Disk, EntryKind};
use crate::error::{IoContext, Result};
use crate::format::{DirName, MarkKey, file_name};
use crate::log::{Host, Marks, OpenEvent, OpenMode, OpenReport, make_dir, take_lock};
use crate::topic::{PartitionDir, TopicDirectory};
use crate::types::{Settings as _, TopicName};

use super::catalog::Catalog;
use super::core::{Core, Parts, topic_of};
use super::rest::Found;
use super::state::CatalogState;
use super::{BrokerConfig, rest};

/// Opens a root for writing, making it when it is not there.
pub(super) fn open(
    disk: Disk,
    clock: Clock,
    root: &Path,
    config: BrokerConfig,
) -> Result<Arc<Core>> {
    config.check()?;
    let began = clock.instant();
    make_dir(&disk, root)?;
    let lock = take_lock(&disk, root)?;
    let found = rest::look_at(&disk, root)?;
    let marks = Marks::open(&disk, &root.join(file_name::MARKS))?;
    let host = Host::new(disk, clock, marks, config.manual_upkeep);
    let (catalog, events) = Catalog::open(&host, root)?;
    rest::leave_rest(&host.disk, root, found)?;
    let mut report = OpenReport {
        clean: found.fresh || found.clean,
        ..OpenReport::default()
    };
    report.clean &= events.is_empty();
    report.events = events;
    let parts = Parts {
        root: Arc::from(root),
        host,
        config,
        mode: OpenMode::Write,
        directory: TopicDirectory::new(),
        catalog,
        report,
        lock: Some(lock),
    };
    finish(parts, began, found)
}

/// Opens a root for reading: takes no lock and changes no byte.
pub(super) fn open_read_only(disk: Disk, clock: Clock, root: &Path) -> Result<Arc<Core>> {
    let began = clock.instant();
    let found = rest::look_at(&disk, root)?;
    let marks = Marks::read_only(&disk, &root.join(file_name::MARKS))?;
    let host = Host::new(disk, clock, marks, true);
    let parts = Parts {
        root: Arc::from(root),
        catalog: Catalog::open_read_only(&host, root)?,
        host,
        config: BrokerConfig::default(),
        mode: OpenMode::Read,
        directory: TopicDirectory::new(),
        report: OpenReport {
            clean: found.clean,
            ..OpenReport::default()
        },
        lock: None,
    };
    finish(parts, began, found)
}

/// Makes the topics of the catalog usable, settles what a crash left, and opens the logs (2).
fn finish(mut parts: Parts, began: std::time::Instant, found: Found) -> Result<Arc<Core>> {
    for entry in parts.catalog.state().topics() {
        for bad in entry.config().1 {
            let path = parts.root.join(file_name::CATALOG);
            let reason = format!("topic {}: {bad}", entry.name);
            parts
                .report
                .events
                .push(OpenEvent::LeftAlone { path, reason });
        }
        let topic = topic_of(entry, &parts.root, &parts.host, &parts.config, parts.mode);
        parts.directory.insert(topic);
    }
    let writes = parts.mode == OpenMode::Write;
    if writes {
        parts.settle()?;
    }
    if writes && !found.clean {
        for topic in parts.directory.all() {
            parts.report.merge(topic.open_all());
        }
    }
    parts.report.elapsed = parts.host.clock.instant().saturating_duration_since(began);
    let core = Core::new(parts);
    if writes {
        core.finish_deletions();
    }
    Ok(core)
}

/// Why an entry of a root was left as it is.
enum Odd {
    /// Nothing of it is known.
    Foreign,
    /// It holds records.
    Orphan,
}

impl Odd {
    fn reason(&self) -> &'static str {
        match self {
            Self::Foreign => "it is not a partition of any topic, and a broker would not start",
            Self::Orphan => "it holds records, but the catalog has no such topic",
        }
    }
}

impl Parts {
    /// Removes what an unfinished creation left, and tells of everything that belongs to nobody.
    fn settle(&mut self) -> Result<()> {
        let disk = &self.host.disk;
        let mut removed = false;
        let mut orphans = false;
        for entry in disk.list(&self.root).at(&self.root, "list")? {
            if entry.kind == EntryKind::File {
                continue;
            }
            let path = self.root.join(&entry.name);
            let state = self.catalog.state();
            match settle_entry(disk, state, &path, (&entry.name, entry.kind))? {
                Settled::Known => {}
                Settled::Removed => {
                    removed = true;
                    self.report.events.push(OpenEvent::LeftoverSettled { path });
                }
                Settled::LeftAlone(odd) => {
                    orphans |= matches!(odd, Odd::Orphan);
                    let reason = odd.reason().to_owned();
                    self.report
                        .events
                        .push(OpenEvent::LeftAlone { path, reason });
                }
            }
        }
        if removed {
            PartitionDir::sync_root(disk, &self.root)?;
        }
        if !orphans {
            self.forget_stray_marks()?;
        }
        Ok(())
    }

    /// Marks of topics that are gone: a crash came between the end of the topic and theirs.
    fn forget_stray_marks(&self) -> Result<()> {
        let state = self.catalog.state();
        for key @ MarkKey { topic, .. } in self.host.marks.keys() {
            if topic.0 != [0; 16] && !state.has(topic) {
                self.host.marks.forget(key)?;
            }
        }
        Ok(())
    }
}

/// What became of an entry of a root.
enum Settled {
    Known,
    Removed,
    LeftAlone(Odd),
}

fn settle_entry(
    disk: &Disk,
    state: &CatalogState,
    path: &Path,
    (name, kind): (&str, EntryKind),
) -> Result<Settled> {
    let (topic, partition) = match DirName::parse(name) {
        _ if kind != EntryKind::Dir => return Ok(Settled::LeftAlone(Odd::Foreign)),
        DirName::Partition { topic, partition } => (topic, partition),
        DirName::ClusterMetadata => return Ok(Settled::Known),
        _ => return Ok(Settled::LeftAlone(Odd::Foreign)),
    };
    let Ok(topic) = TopicName::new(topic) else {
        return Ok(Settled::LeftAlone(Odd::Foreign));
    };
    let of = |partitions: u32| partition < partitions;
    if state.find(&topic).is_some_and(|entry| of(entry.partitions)) {
        return Ok(Settled::Known);
    }
    // Its deletion is finished later.
    if state
        .leaving()
        .any(|entry| entry.name == topic && of(entry.partitions))
    {
        return Ok(Settled::Known);
    }
    let contents = PartitionDir::inspect(disk, path)?;
    if contents.data {
        return Ok(Settled::LeftAlone(Odd::Orphan));
    }
    // Without records it is what an unfinished creation left, or nothing of ours at all.
    if PartitionDir::remove(disk, path)? {
        Ok(Settled::Removed)
    } else {
        Ok(Settled::LeftAlone(Odd::Foreign))
    }
}
