//! One commit, and one that is appended and not yet synced.
//!
//! Knows nothing about where it is kept.

use std::sync::Arc;

use crate::error::Result;
use crate::host::Host;
use crate::log::Log;
use crate::sync::Mutex;
use crate::types::{Offset, PartitionId};

use super::shard::{Shard, tidy_soon};

/// The commit metadata of a note of where a group began a partition. To Kafka it is a commit like
/// any other, so that a broker's consumers begin there too.
const BEGAN: &str = "ottla:began";

/// The same of a note that a group had begun a topic that was deleted: one of this name that is
/// made later is another topic, of which the group is to miss nothing. It stands at offset 0 of
/// partition 0, is the place of no partition, and goes with the group.
pub(super) const BEGAN_BEFORE: &str = "ottla:began-before";

/// How far a group is in one partition: the next offset to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: PartitionId,
    pub(crate) offset: Offset,
    pub(crate) metadata: Option<Arc<str>>,
}

impl Commit {
    /// The same as a note of where the group began: no member has committed it.
    pub(crate) fn into_note(self) -> Self {
        Self {
            metadata: Some(Arc::from(BEGAN)),
            ..self
        }
    }

    /// Whether it is a note of where the group began, and not a commit of a member.
    pub(crate) fn is_note(&self) -> bool {
        is_note(self.metadata.as_deref())
    }
}

pub(super) fn is_note(metadata: Option<&str>) -> bool {
    matches!(metadata, Some(BEGAN | BEGAN_BEFORE))
}

/// What was appended to a partition and need not be synced yet: the caller
/// [settles](Pending::settle) it once no lock is held, so that many share a sync.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct Pending(pub(super) Option<Written>);

/// Records that were appended to a partition.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) log: Log,
    pub(super) end: Offset,
    /// The partition, when too much of it is superseded.
    pub(super) untidy: Option<(Arc<Host>, Arc<Mutex<Shard>>)>,
}

impl Pending {
    /// Waits until it survives what the durability of the broker says.
    ///
    /// # Errors
    ///
    /// As [`Log::flush`]: whether it is there after a power cut is not known.
    pub(crate) fn settle(self) -> Result<()> {
        let Some(written) = self.0 else {
            return Ok(());
        };
        written.log.settle(written.end)?;
        written.tidy();
        Ok(())
    }

    /// The same as a task.
    ///
    /// # Errors
    ///
    /// As [`settle`](Self::settle).
    #[cfg(feature = "async")]
    pub(crate) async fn settle_async(self) -> Result<()> {
        let Some(written) = self.0 else {
            return Ok(());
        };
        let (log, end) = (&written.log, written.end);
        let settled = log.settled(0, end..end, |_, _| (), |error| error);
        settled.await?;
        written.tidy();
        Ok(())
    }
}

impl Written {
    fn tidy(&self) {
        // Last, for it may be done here and now: the commit itself is safe.
        if let Some((host, shard)) = &self.untidy {
            tidy_soon(host, shard);
        }
    }
}
