//! The figures of a log, and when they are shown.
//!
//! Knows nothing about how they are kept (`host/metrics.rs`) or where they are sent.

#[cfg(feature = "metrics")]
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::host::LogMetrics;
#[cfg(feature = "metrics")]
use crate::host::facade::hand_over_log;
use crate::sync::Ordering;

use super::shared::{Log, Shared};

impl Shared {
    pub(super) fn metrics(&self) -> LogMetrics {
        let mut metrics = self.tally.rare.lock().clone();
        let appends = self.append.lock().appends;
        metrics.appends = appends.batches;
        metrics.records = appends.records;
        metrics.bytes = appends.bytes;
        metrics.rolls = appends.rolls;
        metrics.reads = self.tally.reads.load(Ordering::Relaxed);
        metrics.read_bytes = self.tally.read_bytes.load(Ordering::Relaxed);
        metrics.poisoned = u64::from(self.life.poison().is_some());
        metrics
    }

    /// Passes on events, and the figures of a log that was opened alone. To be called with nothing
    /// locked.
    pub(super) fn show(&self) {
        self.host.events.pass_on();
        #[cfg(feature = "metrics")]
        self.show_figures();
    }

    #[cfg(not(feature = "metrics"))]
    fn figures(&self) -> LogMetrics {
        self.metrics()
    }
}

impl Log {
    /// What the log has done since it was opened, in figures; zeros in a process that was forked
    /// from the log's. They cost an append three additions, and this call takes the append lock. A
    /// closed log keeps its last figures.
    ///
    /// # Examples
    ///
    /// ```
    /// use ottla::{Log, LogConfig};
    ///
    /// # let scratch = tempfile::tempdir()?;
    /// # let dir = scratch.path().join("events");
    /// let log = Log::open(dir, LogConfig::default())?;
    /// log.append("departed EWR")?;
    /// log.append_batch(["landed LAX", "departed LAX"])?;
    /// let metrics = log.metrics();
    /// assert_eq!((metrics.appends, metrics.records), (2, 3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn metrics(&self) -> LogMetrics {
        let metrics = self.here().map(Shared::figures);
        metrics.unwrap_or_default()
    }
}

#[cfg(feature = "metrics")]
impl Shared {
    /// A recorder that panics must end neither the flusher's thread, nor the process in a drop.
    pub(super) fn show_figures(&self) {
        if !self.managed && !self.host.is_copy() {
            drop(catch_unwind(AssertUnwindSafe(|| self.figures())));
        }
    }

    /// Hands over the figures, unless the log's broker does.
    pub(super) fn figures(&self) -> LogMetrics {
        if self.managed {
            return self.metrics();
        }
        let (before, now) = {
            // Held meanwhile: what two threads hand over follows one another.
            let mut handed_over = self.tally.handed_over.lock();
            let now = self.metrics();
            (handed_over.replace(Box::new(now.clone())), now)
        };
        hand_over_log(self.label(), &before.unwrap_or_default(), &now);
        now
    }

    fn label(&self) -> &str {
        let name = self.dir.file_name().and_then(|name| name.to_str());
        name.unwrap_or_default()
    }
}
