//! Where a root is to be opened: what else the directory holds, and on what file system it is.
//!
//! Knows nothing about topics. Hidden files and `lost+found` are ignored.

use std::path::Path;

use crate::disk::{Access, Disk, Entry, EntryKind, LiesOn};
use crate::error::{Error, IoContext, Result};
use crate::format::{DirName, file_name};
use crate::recovery::OpenEvent;

use super::BrokerConfig;

const NAMED_MAX: usize = 8;

/// [`Error::Unsupported`] when the directory holds other things and nothing of ours, unless the
/// config allows that: it is probably the wrong one.
pub(super) fn look_around(
    disk: &Disk,
    dir: &Path,
    config: &BrokerConfig,
) -> Result<Option<OpenEvent>> {
    if !disk.exists(dir).at(dir, "access")? {
        return Ok(None);
    }
    let mut names = Vec::new();
    let entries = disk.list(dir).at(dir, "list")?;
    // In a root of ours no partition is inspected, as there may be tens of thousands.
    let mut ours = entries.iter().any(|entry| entry.name == file_name::ROOT);
    for entry in entries {
        if entry.name.starts_with('.') || entry.name == "lost+found" {
            continue;
        }
        let partition = matches!(DirName::parse(&entry.name), DirName::Partition { .. });
        if (ours && partition && entry.kind == EntryKind::Dir) || is_ours(disk, dir, &entry)? {
            ours = true;
        } else {
            names.push(entry.name);
        }
    }
    if names.is_empty() {
        return Ok(None);
    }
    names.sort();
    let count = names.len();
    names.truncate(NAMED_MAX);
    if !ours && !config.among_other_files {
        return Err(Error::Unsupported {
            what: format!(
                "{} holds {count} other things ({}) and nothing of a broker: choose an empty \
                 directory, or set among.other.files",
                dir.display(),
                names.join(", "),
            ),
        });
    }
    Ok(Some(OpenEvent::OtherThings {
        path: dir.to_path_buf(),
        names,
        count,
    }))
}

/// True for a broker, this crate's or Kafka's, and for a single log, which another rule refuses by
/// name.
fn is_ours(disk: &Disk, dir: &Path, entry: &Entry) -> Result<bool> {
    let name = entry.name.as_str();
    if entry.kind == EntryKind::Dir {
        return match DirName::parse(name) {
            DirName::Foreign => Ok(false),
            // Many foreign names end in a hyphen and a number.
            DirName::Partition { .. } => {
                let path = dir.join(name);
                for within in [file_name::PARTITION_METADATA, file_name::LEADER_EPOCHS] {
                    let path = path.join(within);
                    if disk.exists(&path).at(&path, "access")? {
                        return Ok(true);
                    }
                }
                // What an unfinished creation left may be empty.
                Ok(disk.list(&path).at(&path, "list")?.is_empty())
            }
            _ => Ok(true),
        };
    }
    let kafkas = [
        file_name::META_PROPERTIES,
        file_name::BOOTSTRAP,
        file_name::RECOVERY_POINTS,
        file_name::LOG_STARTS,
        file_name::HIGH_WATERMARKS,
        file_name::CLEANED,
    ];
    let stem = name
        .strip_suffix(file_name::TEMPORARY_SUFFIX)
        .unwrap_or(name);
    let segment = stem.len() > 20 && stem.bytes().take(20).all(|byte| byte.is_ascii_digit());
    Ok(stem.starts_with("ottla") || kafkas.contains(&stem) || segment)
}

pub(super) fn lies_on_network(disk: &Disk, dir: &Path) -> Option<OpenEvent> {
    // The file exists: the lock was taken. Without it nothing is known, which is no failure.
    let file = disk.open(&dir.join(file_name::LOCK), Access::Read).ok()?;
    match file.lies_on() {
        LiesOn::Network(kind) => Some(OpenEvent::NetworkFileSystem {
            path: dir.to_path_buf(),
            kind,
        }),
        _ => None,
    }
}

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
