//! What an opening is told: which log, and whether it will be written.
//!
//! Knows nothing about what it finds.

use std::path::PathBuf;

use crate::disk::Lock;
use crate::format::MarkKey;

/// Whether a log is opened to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenMode {
    Write,
    Read,
}

/// Which log is opened, and by whom.
#[derive(Debug)]
pub(crate) struct LogSource {
    pub(crate) dir: PathBuf,
    pub(crate) mark_key: MarkKey,
    /// The lock that goes with the log; a broker's logs share the broker's.
    pub(crate) lock: Option<Lock>,
    pub(crate) managed: bool,
}

impl LogSource {
    /// The same log, for one more look at it.
    pub(in crate::log) fn for_reading(&self) -> Self {
        Self {
            dir: self.dir.clone(),
            mark_key: self.mark_key,
            lock: None,
            managed: self.managed,
        }
    }
}
