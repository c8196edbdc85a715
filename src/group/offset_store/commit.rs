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

/// Marks a note of where a group began a partition. To Kafka it is a commit like any other: a
/// broker's consumers begin there too.
const BEGAN: &str = "ottla:began";

/// Marks a note that a group had begun a deleted topic, so that it misses nothing of a later topic
/// of this name. The note is stored for offset 0 of partition 0, is not a position, and is deleted
/// with the group.
pub(super) const BEGAN_BEFORE: &str = "ottla:began-before";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: PartitionId,
    pub(crate) offset: Offset,
    pub(crate) metadata: Option<Arc<str>>,
}

impl Commit {
    pub(crate) fn into_note(self) -> Self {
        Self {
            metadata: Some(Arc::from(BEGAN)),
            ..self
        }
    }

    pub(crate) fn is_note(&self) -> bool {
        is_note(self.metadata.as_deref())
    }
}

pub(super) fn is_note(metadata: Option<&str>) -> bool {
    matches!(metadata, Some(BEGAN | BEGAN_BEFORE))
}

/// Commits that were appended, to be [confirmed](Pending::confirm) once no lock is held, so that
/// many share a sync.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct Pending(pub(super) Option<Written>);

#[derive(Debug)]
pub(super) struct Written {
    pub(super) log: Log,
    pub(super) end: Offset,
    /// The partition, when too much of it is superseded.
    pub(super) untidy: Option<(Arc<Host>, Arc<Mutex<Shard>>)>,
}

impl Pending {
    /// Waits until the commits survive what the broker's durability says. After an error it is not
    /// known whether they survive a power cut.
    pub(crate) fn confirm(self) -> Result<()> {
        let Some(written) = self.0 else {
            return Ok(());
        };
        written.log.confirm(written.end)?;
        written.tidy();
        Ok(())
    }

    /// As [`confirm`](Self::confirm), as a task.
    #[cfg(feature = "async")]
    pub(crate) async fn confirm_async(self) -> Result<()> {
        let Some(written) = self.0 else {
            return Ok(());
        };
        let (log, end) = (&written.log, written.end);
        let confirmed = log.confirmed(0, end..end, |_, _| (), |error| error);
        confirmed.await?;
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
