//! What a broker has done since its opening, in figures.
//!
//! Knows nothing about how they are counted: each floor counts its own.

use std::collections::BTreeMap;
#[cfg(feature = "metrics")]
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::group::GroupMetrics;
use crate::host::LogMetrics;
use crate::topic::TopicShared;
use crate::types::to_u64;

use super::Broker;
use super::root::Root;

/// The figures of [`Broker::metrics`]. Counters begin at 0 with every opening and never go back,
/// except those of a topic that is deleted and made again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct BrokerMetrics {
    /// All logs together, also of the groups' commits and of deleted topics.
    pub logs: LogMetrics,
    /// By topic.
    pub topics: BTreeMap<String, LogMetrics>,
    /// All groups together.
    pub groups: GroupMetrics,
    /// Logs that are open.
    pub open_logs: u64,
    /// Files that are open.
    pub open_files: u64,
    /// Records sent to producers and not appended yet.
    pub producer_queue_records: u64,
}

impl Root {
    /// Passes on events and, with the feature `metrics`, figures: with nothing locked.
    pub(super) fn show(&self) {
        self.host.events.pass_on();
        // A panic of a recorder must not end the thread of upkeep, nor the process in a drop.
        #[cfg(feature = "metrics")]
        if !self.host.is_copy() {
            drop(catch_unwind(AssertUnwindSafe(|| self.figures())));
        }
    }

    #[cfg(not(feature = "metrics"))]
    fn figures(&self) -> BrokerMetrics {
        self.metrics()
    }

    #[cfg(feature = "metrics")]
    fn figures(&self) -> BrokerMetrics {
        let (before, now) = {
            // Held meanwhile, so that what two threads hand over follows one another.
            let mut handed_over = self.handed_over.lock();
            let now = self.metrics();
            (std::mem::replace(&mut *handed_over, now.clone()), now)
        };
        super::facade::hand_over(&before, &now);
        now
    }

    fn metrics(&self) -> BrokerMetrics {
        let groups = self.groups.get().map(|tally| tally.so_far());
        let mut metrics = BrokerMetrics {
            groups: groups.unwrap_or_default(),
            logs: self.deleted.lock().clone(),
            open_files: to_u64(self.host.disk.open_files()),
            ..BrokerMetrics::default()
        };
        for topic in self.directory.all() {
            let mut sum = LogMetrics::default();
            for log in topic.open_logs() {
                sum.add(&log.metrics());
                metrics.open_logs = metrics.open_logs.saturating_add(1);
            }
            let queued = topic.producers().queued();
            metrics.producer_queue_records = metrics.producer_queue_records.saturating_add(queued);
            metrics.logs.add(&sum);
            metrics.topics.insert(topic.name().to_string(), sum);
        }
        metrics
    }

    /// Keeps the figures of a topic that ends, so that the sums of all logs never go back.
    pub(super) fn keep_figures_of(&self, topic: &TopicShared) {
        let mut deleted = self.deleted.lock();
        for log in topic.open_logs() {
            let mut metrics = log.metrics();
            // A state, not a count: it ends with the log.
            metrics.poisoned = 0;
            deleted.add(&metrics);
        }
    }
}

impl Broker {
    /// What the broker has done since it was opened, in figures.
    /// [`docs/observability.md`](crate::docs::observability) says what each means and when to
    /// worry. Takes the append lock of every open log for a moment, and neither opens nor reads a
    /// file. A closed broker keeps its last figures; in a process forked from the broker's all are
    /// zero.
    ///
    /// # Examples
    ///
    /// ```
    /// use ottla::{Broker, TopicConfig};
    ///
    /// let broker = Broker::temporary()?;
    /// broker.create_topic("flights", TopicConfig::default())?.append("departed EWR")?;
    /// let metrics = broker.metrics();
    /// assert_eq!(metrics.topics["flights"].records, 1);
    /// assert_eq!(metrics.logs.poisoned, 0);
    /// # Ok::<(), ottla::Error>(())
    /// ```
    #[must_use]
    pub fn metrics(&self) -> BrokerMetrics {
        let root = &self.core.root;
        // A lock that another thread held at the fork is never released here.
        if root.host.check_owner().is_err() {
            return BrokerMetrics::default();
        }
        root.figures()
    }
}
