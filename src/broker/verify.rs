//! Examining a broker's directory as a whole: whether topics have their directories, and
//! directories their topics.
//!
//! Knows nothing about what is in a log (`doctor/verify`). Takes no lock and writes nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::clock::Clock;
use crate::dir::{Marks, RootFacts, refuse_unfinished, seems_root};
use crate::disk::{Disk, EntryKind};
use crate::doctor::{
    Beside, Problem, ProblemKind, Severity, VerifyReport, Watch, look_for_damage, problem,
    verify_alone, verify_partitions, verify_root_files,
};
use crate::error::{Error, IoContext, Result};
use crate::format::{DirName, Mark, MarkKey, file_name};
use crate::host::Host;
use crate::log::RootSigns;
use crate::recovery::OpenMode;
use crate::topic::owner_of;
use crate::types::{OFFSETS_TOPIC, TopicId};

use super::BrokerConfig;
use super::catalog::Catalog;
use super::rest;
use super::state::CatalogState;

/// Reads everything in the directory of a log or of a broker and says what is wrong with it.
/// Changes nothing, makes no file, and takes no lock. Takes as long as reading every byte.
///
/// In a directory that a Kafka broker wrote, gaps between offsets, other leader epochs and zeros
/// after the entries of an index are no problem. In one that is being written
/// ([`VerifyReport::live`]), what seems damaged is read again before it is reported; the end of a
/// log may still seem torn.
///
/// # Errors
///
/// [`Error::Io`]: the directory cannot be listed. A file that cannot be read is a [`Problem`], and
/// the rest is examined.
///
/// # Examples
///
/// ```
/// use ottla::{Broker, TopicConfig};
///
/// # let scratch = tempfile::tempdir()?;
/// # let dir = scratch.path().join("data");
/// let broker = Broker::open(&dir)?;
/// broker.create_topic("flights", TopicConfig::default())?.append("departed EWR")?;
/// broker.close()?;
///
/// let report = ottla::verify(&dir)?;
/// assert!(report.is_spotless(), "{report}");
/// assert_eq!(report.logs[0].records, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn verify(dir: impl AsRef<Path>) -> Result<VerifyReport> {
    verify_on(&Disk::os(), &Clock::System, dir.as_ref(), Beside::Anybody)
}

/// Works beside a writer, or while the caller holds the lock.
pub(crate) fn verify_on(
    disk: &Disk,
    clock: &Clock,
    dir: &Path,
    beside: Beside,
) -> Result<VerifyReport> {
    let dir = &disk.absolute(dir).at(dir, "resolve the path of")?;
    refuse_unfinished(disk, dir)?;
    if !seems_root(disk, dir)? {
        return verify_alone(disk, dir, beside);
    }
    let watch = Watch::begin(disk, dir, beside);
    let look = || -> Result<_> {
        let look = Look::at(disk, clock, dir);
        let mut report = verify_root_files(disk, dir, &look.marks)?;
        look.tell(&mut report)?;
        Ok((look, report))
    };
    let signs = || beside.signs(|| RootSigns::of(disk, dir).ok());
    let (look, mut report) =
        look_for_damage(clock, signs, look, |(_, report)| &mut report.problems)?;
    let known = (&look.ids(), &look.marks[..]);
    verify_partitions(disk, dir, known, beside, &mut report)?;
    report.live = watch.is_live();
    if report.live && !report.is_sound() {
        drop_what_is_deleted(disk, clock, dir, &look, &mut report);
    }
    Ok(report)
}

/// Drops the problems of topics that were deleted meanwhile: the catalog names a deleted topic
/// before the first of its files goes.
fn drop_what_is_deleted(
    disk: &Disk,
    clock: &Clock,
    root: &Path,
    before: &Look,
    report: &mut VerifyReport,
) {
    let now = Look::at(disk, clock, root);
    let (Ok(was), Ok(is)) = (&before.state, &now.state) else {
        return;
    };
    let of_deleted = |problem: &Problem| {
        let rest = problem.path.strip_prefix(root).ok();
        let name = rest.and_then(|rest| rest.components().next());
        let name = name.and_then(|name| name.as_os_str().to_str());
        let Some(DirName::Partition { topic, partition }) = name.map(DirName::parse) else {
            return false;
        };
        let leaves = |state: &CatalogState| {
            let mut leaving = state.leaving();
            leaving.any(|entry| entry.name.as_str() == topic)
        };
        let known = was.topic_of(topic, partition);
        leaves(was) || leaves(is) || known.is_some_and(|id| !is.has(id))
    };
    report.problems.retain(|problem| !of_deleted(problem));
}

pub(super) struct Look {
    pub(super) host: Arc<Host>,
    root: PathBuf,
    /// What the root's own files say.
    pub(super) rest: Result<rest::RootState>,
    /// An error where the catalog, or Kafka's metadata, cannot be read.
    pub(super) state: Result<CatalogState>,
    /// What a broker's checkpoints say, where its files are newer than our marks.
    pub(super) marks: Vec<Mark>,
}

impl Look {
    pub(super) fn at(disk: &Disk, clock: &Clock, root: &Path) -> Self {
        let config = BrokerConfig::default();
        let rest = rest::inspect(disk, clock, root, &config, OpenMode::Read);
        let newer = rest.as_ref().is_ok_and(rest::RootState::is_newer);
        let marks = if newer {
            Marks::none(root)
        } else {
            // Reported with the files of the root.
            let marks = Marks::read_only(disk, &root.join(file_name::MARKS));
            marks.unwrap_or_else(|_| Marks::none(root))
        };
        let host = Host::new(disk.clone(), clock.clone(), marks, true);
        let state = Catalog::look(&host, root).map(|own| {
            let theirs = rest.as_ref().ok();
            let theirs = theirs.and_then(|found| found.catalog(&own, &config));
            theirs.unwrap_or(own)
        });
        let marks = match (&rest, &state) {
            (Ok(found), Ok(state)) => found.marks(disk, root, state),
            _ => Ok(Vec::new()),
        };
        // Reported with the files of the root, too.
        let marks = marks.unwrap_or_default();
        for mark in &marks {
            host.marks.assume(mark);
        }
        Self {
            host,
            root: root.to_path_buf(),
            rest,
            state,
            marks,
        }
    }

    /// Whether this is a broker's directory that cannot be taken over, or partitions without any
    /// catalog: then nothing can be missing.
    pub(super) fn is_foreign(&self) -> bool {
        match &self.rest {
            // Two files that name different owners are damage if one of them is ours.
            Err(Error::Unsupported { .. }) => {
                let disk = &self.host.disk;
                let ours = disk.exists(&self.root.join(file_name::ROOT));
                !ours.unwrap_or(true) || RootFacts::of(disk, &self.root).is_ok()
            }
            Err(_) => false,
            Ok(found) => found.fresh && !Catalog::was_here(&self.host),
        }
    }

    /// Why the root, without damage, cannot be opened for writing: it is of a kind, or a part of a
    /// cluster, that cannot be taken over. Nothing in it is ours to change.
    pub(super) fn refusal(disk: &Disk, clock: &Clock, root: &Path) -> Option<Error> {
        let look = Self::at(disk, clock, root);
        let foreign = look.is_foreign();
        match look.rest {
            Err(error @ Error::Unsupported { .. }) if foreign => Some(error),
            Ok(found) if found.is_newer() => {
                let config = BrokerConfig::default();
                let opened = rest::inspect(disk, clock, root, &config, OpenMode::Write);
                opened
                    .err()
                    .filter(|error| matches!(error, Error::Unsupported { .. }))
            }
            _ => None,
        }
    }

    pub(super) fn ids(&self) -> BTreeMap<String, TopicId> {
        let topics = self.state.iter().flat_map(CatalogState::topics);
        topics
            .map(|entry| (entry.name.to_string(), entry.id))
            .collect()
    }

    /// Reports what is wrong with the root as a whole.
    fn tell(&self, report: &mut VerifyReport) -> Result<()> {
        let errors = [self.rest.as_ref().err(), self.state.as_ref().err()];
        for error in errors.into_iter().flatten() {
            self.tell_error(error, report);
        }
        let Ok(state) = &self.state else {
            return Ok(());
        };
        if self.is_foreign() {
            return Ok(());
        }
        for missing in self.missing_dirs(state)? {
            report.problems.push(missing);
        }
        for entry in self.host.disk.list(&self.root).at(&self.root, "list")? {
            let path = self.root.join(&entry.name);
            let DirName::Partition { topic, partition } = DirName::parse(&entry.name) else {
                continue;
            };
            let own = state.topic_of(topic, partition);
            if entry.kind != EntryKind::Dir {
                let listed = self.host.disk.list(&path);
                let odd = match (own, listed.map_err(|error| error.to_string())) {
                    (Some(_), Err(error)) => {
                        problem(Severity::Damage, &path, ProblemKind::Unreadable { error })
                    }
                    _ => problem(Severity::Note, &path, ProblemKind::Foreign),
                };
                report.problems.push(odd);
                continue;
            }
            let known = self.owner(&path, own, state);
            let kind = known.or_else(|| {
                let leaves = state.leaving().any(|entry| entry.name.as_str() == topic);
                let orphan = own.is_none() && !leaves && self.holds_records(&path);
                orphan.then_some(ProblemKind::Unlisted)
            });
            if let Some(kind) = kind {
                report.problems.push(problem(Severity::Damage, &path, kind));
            }
        }
        Ok(())
    }

    pub(super) fn missing_dirs(&self, state: &CatalogState) -> Result<Vec<Problem>> {
        let mut missing = Vec::new();
        let lost = rest::lost_commits(&self.host, &self.root, state)?;
        for entry in state.topics() {
            for partition in 0..entry.partitions {
                let name = file_name::partition_dir(entry.name.as_str(), partition);
                let path = self.root.join(name);
                if self.host.disk.exists(&path).at(&path, "access")? {
                    continue;
                }
                let key = MarkKey {
                    topic: entry.id,
                    partition,
                };
                let mark = self.host.marks.find(key).unwrap_or_default();
                let offsets = mark.log_start_offset..mark.flushed_offset;
                // These are made at their first use.
                if entry.name.as_str() == OFFSETS_TOPIC && !lost.contains(&partition) {
                    continue;
                }
                // A node of a larger cluster holds a part of it.
                let rest = self.rest.as_ref();
                let severity = if rest.is_ok_and(|rest| rest.is_elsewhere(entry.id, partition)) {
                    Severity::Note
                } else {
                    Severity::Damage
                };
                missing.push(Problem {
                    offsets,
                    ..problem(severity, &path, ProblemKind::Missing)
                });
            }
        }
        Ok(missing)
    }

    fn owner(&self, dir: &Path, own: Option<TopicId>, state: &CatalogState) -> Option<ProblemKind> {
        let known = owner_of(&self.host.disk, dir).ok().flatten()?;
        let other = own.map_or_else(|| state.has(known), |own| own != known);
        other.then_some(ProblemKind::OtherTopic)
    }

    /// Adds nothing if a problem of the same file says that already.
    fn tell_error(&self, error: &Error, report: &mut VerifyReport) {
        let path = match error {
            Error::Corrupt { path, .. } | Error::Io { path, .. } => path,
            _ => &self.root,
        };
        let reported =
            |problem: &Problem| problem.path == *path && problem.severity == Severity::Damage;
        if !report.problems.iter().any(reported) {
            // What is not ours to open need not be damaged.
            let severity = match error {
                Error::Unsupported { .. } if self.is_foreign() => Severity::Note,
                _ => Severity::Damage,
            };
            let error = error.to_string();
            let kind = ProblemKind::Unreadable { error };
            report.problems.push(problem(severity, path, kind));
        }
    }

    fn holds_records(&self, dir: &Path) -> bool {
        let contents = crate::topic::PartitionDir::inspect(&self.host.disk, dir);
        contents.is_ok_and(|contents| contents.data)
    }
}
