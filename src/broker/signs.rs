//! How a root that another process writes shows that its topics have changed.
//!
//! Knows nothing about what is in its files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, FileId};
use crate::format::file_name;

/// Which files list the topics, and what each was.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct CatalogSigns(BTreeMap<PathBuf, Option<(FileId, u64)>>);

impl CatalogSigns {
    pub(super) fn of(disk: &Disk, root: &Path) -> Self {
        let own = [
            file_name::CATALOG,
            file_name::ROOT,
            file_name::META_PROPERTIES,
        ];
        let metadata = root.join(file_name::CLUSTER_METADATA);
        let theirs = disk.list(&metadata).unwrap_or_default();
        let theirs = theirs.into_iter().map(|entry| metadata.join(entry.name));
        let paths = own.iter().map(|name| root.join(name)).chain(theirs);
        let seen = paths.map(|path| {
            let seen = disk.file_id(&path).ok().zip(disk.file_len(&path).ok());
            (path, seen)
        });
        Self(seen.collect())
    }
}
