//! The records of one call, by partition: written, then synced, then summed up in one result.
//!
//! Knows nothing about how records find their partitions.

use crate::error::{Error, Result};
use crate::log::Log;
use crate::types::{AppendedBatch, Offset, PartitionId, Record};

use super::TopicShared;

pub(super) struct Shares<'t> {
    topic: &'t TopicShared,
    appended: Vec<AppendedBatch>,
    failed: Vec<(PartitionId, Error)>,
    /// Each log that must be synced, with the end of what was appended.
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
        if let Some(end) = end.filter(|_| log.must_confirm()) {
            self.unsynced.push((partition, log, end));
        }
        appended
    }

    /// Syncs the logs, and returns what the call returns.
    pub(super) fn finish(mut self) -> Result<Vec<AppendedBatch>> {
        for (partition, log, end) in std::mem::take(&mut self.unsynced) {
            let Err(error) = log.confirm(end) else {
                continue;
            };
            // Not confirmed: only the next opening of the log shows whether the records are there.
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
