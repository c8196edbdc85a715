//! Upkeep of all logs of a broker: forgetting, compacting, overdue syncs, closing the files of idle
//! logs.
//!
//! Knows nothing about threads: `upkeeper.rs` or the user calls it.
//!
//! 1. A problem with one log does not affect the others; it is reported, and the next round tries
//!    again.
//! 2. Only a log with something to forget or to compact is opened.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::log::Log;
use crate::topic::TopicShared;
#[cfg(feature = "serde")]
use crate::types::serialized;
use crate::types::{Durability, OFFSETS_TOPIC, PartitionId};

use super::root::Root;

/// What one round of [`Broker::upkeep`](crate::Broker::upkeep) did.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct UpkeepReport {
    /// Logs synced because their interval was over.
    pub flushed: usize,
    /// Segments that retention deleted.
    pub segments_deleted: u64,
    /// Bytes of batches in them.
    pub bytes_deleted: u64,
    /// Compacted logs.
    pub compacted: usize,
    /// Records that compaction dropped.
    pub records_dropped: u64,
    /// Groups forgotten by [`offsets_retention`](crate::BrokerConfig::offsets_retention).
    pub groups_expired: u64,
    /// Problems by log; everything else was done.
    pub problems: Vec<UpkeepProblem>,
}

/// A problem with one log in a round of upkeep.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct UpkeepProblem {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: PartitionId,
    /// What the log returned; `None` for a panic, which is a bug worth a report.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::text_if_any"))]
    pub error: Option<Arc<Error>>,
}

impl Root {
    pub(super) fn upkeep(&self) -> Result<UpkeepReport> {
        self.check_writable()?;
        self.keep_budget();
        let mut report = UpkeepReport::default();
        for topic in self.directory.all() {
            // First, so that this round syncs what is written here.
            topic.producers().append_due(None);
            for partition in 0..topic.partition_count() {
                if self.check_open().is_err() {
                    return Ok(report);
                }
                look_after(&topic, partition, &mut report);
            }
        }
        self.expire_groups(&mut report);
        self.note_damaged_commits(&report);
        Ok(report)
    }

    /// Remembers damaged commits: the close must keep away brokers that read them.
    fn note_damaged_commits(&self, report: &UpkeepReport) {
        for problem in &report.problems {
            if problem.topic == OFFSETS_TOPIC
                && let Some(error @ Error::Corrupt { .. }) = problem.error.as_deref()
            {
                let mut damaged = self.damaged_commits.lock();
                damaged.insert(problem.partition, error.clone());
            }
        }
    }

    fn expire_groups(&self, report: &mut UpkeepReport) {
        let expired = self
            .host
            .followers()
            .map_or(Ok(0), |groups| groups.upkeep());
        match expired {
            Ok(count) => report.groups_expired = count,
            Err(Error::Closed) => {}
            Err(error) => report.problems.push(UpkeepProblem {
                topic: OFFSETS_TOPIC.to_owned(),
                partition: 0,
                error: Some(Arc::new(error)),
            }),
        }
    }
}

fn look_after(topic: &TopicShared, partition: PartitionId, report: &mut UpkeepReport) {
    let config = topic.config();
    let limited = config.retention.is_some() || config.retention_bytes.is_some();
    let wanted = config.cleanup_policy.compacts() || limited;
    let log = match topic.opened_log(partition) {
        Some(log) => Ok(log),
        None if wanted && topic.has_dir(partition) => topic.log(partition).cloned(),
        None => return,
    };
    let done = catch_unwind(AssertUnwindSafe(|| one_log(&log?, report)));
    let error = match done {
        Ok(Ok(()) | Err(Error::Closed | Error::UnknownTopic { .. })) => return,
        Ok(Err(error)) => Some(Arc::new(error)),
        Err(_panic) => None,
    };
    let topic = topic.name().to_string();
    report.problems.push(UpkeepProblem {
        topic,
        partition,
        error,
    });
}

fn one_log(log: &Log, report: &mut UpkeepReport) -> Result<()> {
    let behind = log.flushed_offset() < log.end_offset();
    if behind && matches!(log.config().durability, Durability::Interval(_)) {
        log.flush()?;
        report.flushed = report.flushed.saturating_add(1);
    }
    let retained = log.apply_retention()?;
    report.segments_deleted = report
        .segments_deleted
        .saturating_add(retained.segments_deleted);
    report.bytes_deleted = report.bytes_deleted.saturating_add(retained.bytes_deleted);
    if let Some(compacted) = log.compact_if_worth_it()? {
        report.compacted = report.compacted.saturating_add(1);
        let dropped = compacted.records_dropped;
        report.records_dropped = report.records_dropped.saturating_add(dropped);
    }
    log.park_if_idle()
}
