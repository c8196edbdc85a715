//! The input of an opening: which log, and whether it will be written.
//!
//! Knows nothing about what it finds.

use std::path::PathBuf;

use crate::disk::Lock;
use crate::format::MarkKey;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenMode {
    Write,
    Read,
}

#[derive(Debug)]
pub(crate) struct LogSource {
    pub(crate) dir: PathBuf,
    pub(crate) mark_key: MarkKey,
    /// Held with the log; a broker's logs share the broker's lock.
    pub(crate) lock: Option<Lock>,
    pub(crate) managed: bool,
}

impl LogSource {
    pub(crate) fn for_reading(&self) -> Self {
        Self {
            dir: self.dir.clone(),
            mark_key: self.mark_key,
            lock: None,
            managed: self.managed,
        }
    }
}
