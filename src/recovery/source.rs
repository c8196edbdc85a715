//! The input of an opening: which log, and whether it will be written.
//!
//! Knows nothing about what it finds.

use std::path::PathBuf;

use crate::disk::Lock;
use crate::format::MarkKey;

/// Whether a log is opened for writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenMode {
    Write,
    Read,
}

/// Which log is opened, and by which caller.
#[derive(Debug)]
pub(crate) struct LogSource {
    pub(crate) dir: PathBuf,
    pub(crate) mark_key: MarkKey,
    /// The lock that is held with the log; a broker's logs share the broker's.
    pub(crate) lock: Option<Lock>,
    pub(crate) managed: bool,
}

impl LogSource {
    /// The same log, to be opened for reading once more.
    pub(crate) fn for_reading(&self) -> Self {
        Self {
            dir: self.dir.clone(),
            mark_key: self.mark_key,
            lock: None,
            managed: self.managed,
        }
    }
}
