//! The shares of one call's records that its partitions get: written one after the other, then
//! synced, then summed up in one answer.
//!
//! Knows nothing about how records find their partitions.

use crate::error::{Error, Result};
use crate::log::Log;
use crate::types::{AppendedBatch, Offset, PartitionId, Record};

use super::TopicShared;

/// What became of the shares so far.
pub(super) struct Shares<'t> {
    topic: &'t TopicShared,
    appended: Vec<AppendedBatch>,
    failed: Vec<(PartitionId, Error)>,
    /// Logs that were appended to and are not synced, each with its end.
    unsynced: Vec<(PartitionId, &'t Log, Offset)>,
}

impl<'t> Shares<'t> {
    pub(super) fn new(topic: &'t TopicShared) -> Self {
        Self {
            topic,
            appended: Vec::new(),
            failed: Vec::new(),
            unsynced: Vec::new(),
        }
    }

    /// Appends the share of a partition.
    pub(super) fn append<'a>(
        &mut self,
        partition: PartitionId,
        records: impl Iterator<Item = Record<'a>>,
    ) {
        if let Err(error) = self.try_append(partition, records) {
            self.failed.push((partition, self.topic.explain(error)));
        }
    }

    fn try_append<'a>(
        &mut self,
        partition: PartitionId,
        records: impl Iterator<Item = Record<'a>>,
    ) -> Result<()> {
        let log = self.topic.log_to_append(partition)?;
        let mut end = None;
        let appended = log.append_split(records, &mut |offsets| {
            end = Some(offsets.end);
            self.appended.push(AppendedBatch::new(partition, offsets));
        });
        if let Some(end) = end.filter(|_| log.must_settle()) {
            self.unsynced.push((partition, log, end));
        }
        appended
    }

    /// Syncs what is to be synced, and sums up.
    pub(super) fn finish(mut self) -> Result<Vec<AppendedBatch>> {
        for (partition, log, end) in std::mem::take(&mut self.unsynced) {
            let Err(error) = log.settle(end) else {
                continue;
            };
            // Not confirmed: whether the records are there shows when the log is opened again.
            self.appended.retain(|batch| batch.partition != partition);
            if self.failed.iter().all(|(other, _)| *other != partition) {
                self.failed.push((partition, self.topic.explain(error)));
            }
        }
        let Self {
            appended, failed, ..
        } = self;
        match failed.first() {
            None => Ok(appended),
            Some((_, first)) if appended.is_empty() => Err(first.clone()),
            Some(_) => Err(Error::PartlyAppended { appended, failed }),
        }
    }
}
