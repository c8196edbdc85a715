//! Looking at a directory without changing it: every byte is read, and everything that is not as
//! it should be is reported.
//!
//! Knows nothing about repairing. Takes no lock, makes no file, writes nothing.

mod files;
mod log;
mod report;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::clock::Clock;
use crate::disk::Disk;
use crate::error::Result;
use crate::format::{MarkKey, file_name};
use crate::types::Offset;

use super::place::{home_of, is_root, key_of};
use super::root::RootFacts;
use super::{Host, Marks};

pub(super) use log::{LogFindings, check_log};
pub use report::{LogCondition, Problem, ProblemKind, Severity, VerifyReport};

/// Reads everything in the directory of a log or of a broker and says what is wrong with it.
/// Changes nothing, makes no file, and takes no lock.
///
/// Works on directories that a Kafka broker wrote, too: there, gaps between offsets, other leader
/// epochs and zeros behind the entries of an index are no problem. A directory that is being
/// written meanwhile can be looked at, but the end of it may then seem to be torn.
///
/// Takes as long as reading every byte does.
///
/// # Errors
///
/// [`Error::Io`](crate::Error::Io): the directory cannot be listed. A file that cannot be read is a
/// [`Problem`], and the rest is looked at.
///
/// # Examples
///
/// ```
/// use ottla::{Log, LogConfig};
///
/// # let scratch = tempfile::tempdir()?;
/// # let dir = scratch.path().join("events");
/// let log = Log::open(&dir, LogConfig::default())?;
/// log.append("hello")?;
/// log.close()?;
///
/// let report = ottla::verify(&dir)?;
/// assert!(report.is_spotless());
/// assert_eq!(report.logs[0].records, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn verify(dir: impl AsRef<Path>) -> Result<VerifyReport> {
    verify_on(&Disk::os(), dir.as_ref())
}

/// The same on any disk.
pub(crate) fn verify_on(disk: &Disk, dir: &Path) -> Result<VerifyReport> {
    let mut report = VerifyReport {
        dir: dir.to_path_buf(),
        ..VerifyReport::default()
    };
    if is_root(disk, dir)? {
        let host = looking(disk, dir, &mut report)?;
        files::check_root(&host, dir, &mut report)?;
        for (partition, key) in partitions(disk, dir)? {
            check_one(&host, &partition, key, &mut report)?;
        }
    } else {
        let (home, key) = home_of(disk, dir)?;
        let host = looking(disk, &home, &mut report)?;
        check_one(&host, dir, key, &mut report)?;
    }
    Ok(report)
}

fn check_one(host: &Host, dir: &Path, key: MarkKey, report: &mut VerifyReport) -> Result<()> {
    let findings = check_log(host, dir, key)?;
    report.logs.push(findings.condition);
    report.problems.extend(findings.problems);
    Ok(())
}

/// A host that only reads; reports what of its marks cannot be read.
fn looking(disk: &Disk, home: &Path, report: &mut VerifyReport) -> Result<Arc<Host>> {
    let path = home.join(file_name::MARKS);
    // Marks from before a broker ran speak of files that may be others now. What is wrong with the
    // files that tell is reported with them.
    let newer =
        is_root(disk, home)? && RootFacts::of(disk, home).is_ok_and(|facts| facts.is_newer());
    let marks = if newer {
        Marks::none(home)
    } else {
        Marks::read_only(disk, &path)?
    };
    for position in marks.unreadable() {
        report.problems.push(Problem {
            position,
            bytes: crate::format::SLOT_LEN.try_into().unwrap_or(u64::MAX),
            ..problem(Severity::Derivable, &path, ProblemKind::Mark)
        });
    }
    Ok(Host::new(disk.clone(), Clock::System, marks, true))
}

/// The partitions of a root, by name, with the keys of their marks.
pub(super) fn partitions(disk: &Disk, root: &Path) -> Result<Vec<(std::path::PathBuf, MarkKey)>> {
    let mut names = files::partition_names(disk, root)?;
    names.sort();
    let found = names.into_iter().map(|(name, partition)| {
        let dir = root.join(name);
        let key = key_of(disk, &dir, partition)?;
        Ok((dir, key))
    });
    found.collect()
}

/// A problem of a whole file.
pub(super) fn problem(severity: Severity, path: &Path, kind: ProblemKind) -> Problem {
    Problem {
        severity,
        path: path.to_path_buf(),
        position: 0,
        bytes: 0,
        offsets: Range::<Offset>::default(),
        kind,
    }
}
