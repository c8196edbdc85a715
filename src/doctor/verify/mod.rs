//! Examines a directory without changing it: reads every byte.
//!
//! Knows nothing about repairing. Takes no lock, creates no file, writes nothing.

mod files;
mod live;
mod log;
mod report;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::clock::Clock;
use crate::dir::{Marks, RootFacts, home_of, is_root, mark_alone, partitions};
use crate::disk::Disk;
use crate::error::{IoContext, Result};
use crate::format::{Mark, MarkKey, file_name};
use crate::host::Host;
use crate::log::LogSigns;
use crate::types::{Offset, TopicId};

pub(crate) use live::{Beside, Watch, look_for_damage};
pub(super) use log::{LogFindings, check_log};
pub use report::{LogCondition, Problem, ProblemKind, Severity, VerifyReport};

pub(crate) fn verify_alone(disk: &Disk, dir: &Path, beside: Beside) -> Result<VerifyReport> {
    let mut report = VerifyReport {
        dir: dir.to_path_buf(),
        ..VerifyReport::default()
    };
    let (home, key) = home_of(disk, dir)?;
    let watch = Watch::begin(disk, &home, beside);
    let host = looking(disk, &home, &mut report);
    disk.list(dir).at(dir, "list")?;
    if home != dir
        && let Some(mark) = mark_alone(disk, &home, dir, key)?
    {
        host.marks.assume(&mark);
    }
    check_one(&host, (&home, beside), dir, key, &mut report);
    report.live = watch.is_live();
    Ok(report)
}

/// `marks` is what a broker's checkpoints say, where the broker's files are newer than our own
/// marks.
pub(crate) fn verify_root_files(disk: &Disk, root: &Path, marks: &[Mark]) -> Result<VerifyReport> {
    let mut report = VerifyReport {
        dir: root.to_path_buf(),
        ..VerifyReport::default()
    };
    let host = looking(disk, root, &mut report);
    for mark in marks {
        host.marks.assume(mark);
    }
    files::check_root(&host, root, &mut report)?;
    Ok(report)
}

/// `ids` are those of the topics, as far as they are known.
pub(crate) fn verify_partitions(
    disk: &Disk,
    root: &Path,
    (ids, marks): (&BTreeMap<String, TopicId>, &[Mark]),
    beside: Beside,
    report: &mut VerifyReport,
) -> Result<()> {
    // Unreadable marks are reported with the files of the root.
    let host = looking(disk, root, &mut VerifyReport::default());
    for mark in marks {
        host.marks.assume(mark);
    }
    for (dir, key) in partitions(disk, root, ids)? {
        check_one(&host, (root, beside), &dir, key, report);
    }
    Ok(())
}

fn check_one(
    host: &Host,
    (home, beside): (&Path, Beside),
    dir: &Path,
    key: MarkKey,
    report: &mut VerifyReport,
) {
    let look = || {
        // The marks in memory may be older than the files.
        let found = host.marks.look_again(&host.disk, key);
        let found = found.and_then(|_| check_log(host, dir, key));
        Ok(match found {
            Ok(findings) => (Some(findings.condition), findings.problems),
            // Its topic was deleted after the root was listed.
            Err(_) if matches!(host.disk.exists(dir), Ok(false)) => (None, Vec::new()),
            Err(error) => {
                let error = error.to_string();
                let kind = ProblemKind::Unreadable { error };
                (None, vec![problem(Severity::Damage, dir, kind)])
            }
        })
    };
    let signs = || beside.signs(|| LogSigns::of(host, home, dir, key).ok());
    // A failed look is reported as a problem, so this is never an error.
    if let Ok((condition, problems)) = look_for_damage(&host.clock, signs, look, |(_, all)| all) {
        report.logs.extend(condition);
        report.problems.extend(problems);
    }
}

/// Whether a log has a mark with flushed records, and no damage.
pub(crate) fn fits_mark(host: &Host, dir: &Path, key: MarkKey) -> bool {
    let mark = host.marks.find(key);
    if mark.is_none_or(|mark| mark.flushed_offset == 0) {
        return false;
    }
    let damaged = |problem: &Problem| problem.severity == Severity::Damage;
    check_log(host, dir, key).is_ok_and(|findings| !findings.problems.iter().any(damaged))
}

/// A host that only reads. Reports marks that cannot be read.
fn looking(disk: &Disk, home: &Path, report: &mut VerifyReport) -> Arc<Host> {
    let path = home.join(file_name::MARKS);
    // Marks from before a broker ran may describe files that are gone. Problems of the files that
    // say so are reported with those files.
    let newer = is_root(disk, home).unwrap_or(false)
        && RootFacts::of(disk, home).is_ok_and(|facts| facts.is_newer());
    let marks = if newer {
        Marks::none(home)
    } else {
        Marks::read_only(disk, &path).unwrap_or_else(|error| {
            let error = error.to_string();
            let kind = ProblemKind::Unreadable { error };
            report.problems.push(problem(Severity::Damage, &path, kind));
            Marks::none(home)
        })
    };
    for position in marks.unreadable() {
        report.problems.push(Problem {
            position,
            bytes: crate::format::SLOT_LEN.try_into().unwrap_or(u64::MAX),
            ..problem(Severity::Rebuildable, &path, ProblemKind::Mark)
        });
    }
    Host::new(disk.clone(), Clock::System, marks, true)
}

pub(crate) fn problem(severity: Severity, path: &Path, kind: ProblemKind) -> Problem {
    Problem {
        severity,
        path: path.to_path_buf(),
        position: 0,
        bytes: 0,
        offsets: Range::<Offset>::default(),
        kind,
    }
}
