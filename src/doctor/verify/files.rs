//! Checks the files of a root, and the small files of a partition.
//!
//! Knows nothing about what the topics mean.

use std::path::Path;

use crate::disk::{Disk, EntryKind, SMALL_FILE_BYTES_MAX};
use crate::error::{IoContext, Result};
use crate::format::{
    BatchHeader, Corruption, DirName, FileKind, FileName, MarkKey, RootFile, Stage, check_crc,
    checkpoint, file_name, properties, txn,
};
use crate::host::Host;
use crate::types::to_u64;

use super::problem;
use super::report::{Problem, ProblemKind, Severity, VerifyReport};

const ROOT_FILES: [&str; 12] = [
    file_name::MARKS,
    file_name::CATALOG,
    file_name::ROOT,
    file_name::BOOTSTRAP,
    file_name::META_PROPERTIES,
    file_name::RECOVERY_POINTS,
    file_name::LOG_STARTS,
    file_name::HIGH_WATERMARKS,
    file_name::CLEANED,
    file_name::PRODUCERS,
    file_name::CLEAN_SHUTDOWN,
    file_name::LOCK,
];

pub(super) fn check_root(host: &Host, root: &Path, report: &mut VerifyReport) -> Result<()> {
    for entry in host.disk.list(root).at(root, "list")? {
        let path = root.join(&entry.name);
        if entry.kind == EntryKind::File {
            check_root_file(host, &path, &entry.name, report);
            continue;
        }
        if ROOT_FILES.contains(&entry.name.as_str()) {
            let error = "not a file".to_owned();
            let kind = ProblemKind::Unreadable { error };
            report.problems.push(problem(Severity::Damage, &path, kind));
            continue;
        }
        match DirName::parse(&entry.name) {
            DirName::Partition { .. } => {}
            DirName::ClusterMetadata => {
                let checkpoint = path.join(file_name::QUORUM_CHECKPOINT);
                check_batches(host, &checkpoint, None, report);
            }
            DirName::Deleted | DirName::Future | DirName::Stray => {
                let kind = ProblemKind::Unfinished;
                report.problems.push(problem(Severity::Note, &path, kind));
            }
            DirName::Foreign => {
                let kind = ProblemKind::Foreign;
                report.problems.push(problem(Severity::Note, &path, kind));
            }
        }
    }
    Ok(())
}

fn check_root_file(host: &Host, path: &Path, name: &str, report: &mut VerifyReport) {
    match name {
        file_name::CATALOG => {
            let mark = host.marks.find(MarkKey::CATALOG);
            check_batches(host, path, mark.map(|mark| mark.position.0), report);
        }
        file_name::BOOTSTRAP => check_batches(host, path, None, report),
        file_name::ROOT => {
            let decode = |bytes: &[u8]| RootFile::decode(bytes).map(drop);
            let found = check_small(&host.disk, path, Severity::Damage, decode);
            report.problems.extend(found);
        }
        file_name::META_PROPERTIES => {
            let decode = |bytes: &[u8]| properties::MetaProperties::decode(bytes).map(drop);
            let found = check_small(&host.disk, path, Severity::Damage, decode);
            report.problems.extend(found);
        }
        file_name::RECOVERY_POINTS
        | file_name::LOG_STARTS
        | file_name::HIGH_WATERMARKS
        | file_name::CLEANED
        | file_name::PRODUCERS => {
            let decode = |bytes: &[u8]| checkpoint::decode_offsets(bytes).map(drop);
            check_text(host, path, decode, report);
        }
        _ if name.ends_with(".quarantine") => {
            let kind = ProblemKind::Quarantine;
            report.problems.push(problem(Severity::Note, path, kind));
        }
        _ if name.ends_with(file_name::TEMPORARY_SUFFIX) => {
            let kind = ProblemKind::Unfinished;
            report
                .problems
                .push(problem(Severity::AfterCrash, path, kind));
        }
        _ => {}
    }
}

/// Checks a file that can be rewritten from the logs.
fn check_text(
    host: &Host,
    path: &Path,
    decode: impl FnOnce(&[u8]) -> Result<(), Corruption>,
    report: &mut VerifyReport,
) {
    report
        .problems
        .extend(check_small(&host.disk, path, Severity::Rebuildable, decode));
}

/// What is wrong with a small file; `None` also if it does not exist.
fn check_small(
    disk: &Disk,
    path: &Path,
    severity: Severity,
    decode: impl FnOnce(&[u8]) -> Result<(), Corruption>,
) -> Option<Problem> {
    match disk.read_small(path, checkpoint::SIZE_MAX) {
        Ok(None) => None,
        Ok(Some(bytes)) => {
            let reason = decode(&bytes).err()?;
            Some(problem(severity, path, ProblemKind::Malformed { reason }))
        }
        Err(error) => Some(unreadable(path, &error)),
    }
}

pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Problem {
    let error = error.to_string();
    problem(Severity::Damage, path, ProblemKind::Unreadable { error })
}

/// Checks a file of batches with consecutive offsets, synced below `flushed`, or as a whole if that
/// is `None`.
fn check_batches(host: &Host, path: &Path, flushed: Option<u64>, report: &mut VerifyReport) {
    let bytes = match host.disk.read_small(path, SMALL_FILE_BYTES_MAX) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return,
        Err(error) => return report.problems.push(unreadable(path, &error)),
    };
    let length = to_u64(bytes.len());
    let (mut at, mut next) = (0_usize, 0);
    let stopped = loop {
        let rest = bytes.get(at..).unwrap_or_default();
        if rest.is_empty() {
            break None;
        }
        let batch = BatchHeader::parse(rest).and_then(|header| {
            check_crc(rest, &header)?;
            if header.base_offset == next {
                Ok(header)
            } else {
                Err(Corruption::offset(next, header.base_offset))
            }
        });
        match batch {
            Ok(header) => {
                at = at.saturating_add(header.size);
                next = header.next_offset();
            }
            Err(reason) => break Some(reason),
        }
    };
    let position = to_u64(at);
    // Above what was flushed a torn batch is what a crash leaves; below it, the same bytes are
    // damage.
    let flushed = flushed.unwrap_or(length);
    let (severity, kind) = match stopped {
        Some(reason) if position < flushed => (Severity::Damage, ProblemKind::Batch { reason }),
        Some(reason) => (Severity::AfterCrash, ProblemKind::Tail { reason }),
        None if position < flushed => {
            let expected_bytes = flushed;
            (Severity::Damage, ProblemKind::Short { expected_bytes })
        }
        None => return,
    };
    let bytes = length.saturating_sub(position);
    report.problems.push(Problem {
        position,
        bytes,
        ..problem(severity, path, kind)
    });
}

pub(super) fn check_partition_file(disk: &Disk, path: &Path, name: &FileName) -> Option<Problem> {
    let note = |kind| Some(problem(Severity::Note, path, kind));
    match name {
        FileName::LeaderEpochs => check_small(disk, path, Severity::Rebuildable, |bytes| {
            checkpoint::decode_epochs(bytes).map(drop)
        }),
        FileName::PartitionMetadata => check_small(disk, path, Severity::Rebuildable, |bytes| {
            properties::decode_partition(bytes).map(drop)
        }),
        FileName::Segment {
            kind: FileKind::Snapshot,
            stage: Stage::Live,
            ..
        } => check_small(disk, path, Severity::Rebuildable, |bytes| {
            txn::decode_snapshot(bytes).map(drop)
        }),
        FileName::Segment {
            kind: FileKind::TxnIndex,
            stage: Stage::Live,
            ..
        } => check_small(disk, path, Severity::Rebuildable, |bytes| {
            txn::AbortedTxn::decode_all(bytes).map(drop)
        }),
        FileName::Segment { stage, .. } if *stage != Stage::Live => {
            let kind = ProblemKind::Unfinished;
            Some(problem(Severity::AfterCrash, path, kind))
        }
        FileName::Temporary => {
            let kind = ProblemKind::Unfinished;
            Some(problem(Severity::AfterCrash, path, kind))
        }
        FileName::Quarantine { .. } => {
            let bytes = disk.file_len(path).unwrap_or(0);
            let kind = ProblemKind::Quarantine;
            Some(Problem {
                bytes,
                ..problem(Severity::Note, path, kind)
            })
        }
        FileName::Misnamed => note(ProblemKind::Foreign),
        _ => None,
    }
}
