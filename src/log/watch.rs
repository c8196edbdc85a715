//! A log that wakes somebody who waits for several logs at once.
//!
//! Knows nothing about who that is. [`Log::wait_for`] is for those who wait for one.

use std::sync::Arc;

use crate::sync::Signal;

use super::Log;

/// Has a signal raised by the next change of a log: its high watermark moves, it is truncated, it
/// closes. Dropped, it does no more.
#[derive(Debug)]
pub(crate) struct LogWatch {
    log: Log,
    signal: Arc<Signal>,
}

impl LogWatch {
    pub(crate) fn new(log: &Log, signal: &Arc<Signal>) -> Self {
        let watch = Self {
            log: log.clone(),
            signal: Arc::clone(signal),
        };
        watch.renew();
        watch
    }

    /// A change ends a watch. A caller that goes on waiting renews it before looking at the log: a
    /// change that the look does not see raises the signal.
    pub(crate) fn renew(&self) {
        // In a forked process nobody waits.
        if let Ok(shared) = self.log.here() {
            shared.watchers.add(&self.signal);
            shared.let_appends_see();
        }
    }
}

impl Drop for LogWatch {
    fn drop(&mut self) {
        if let Ok(shared) = self.log.here() {
            shared.watchers.remove(&self.signal);
        }
    }
}

#[cfg(test)]
impl Log {
    /// Does what the flusher does when it is due.
    pub(crate) fn run_flusher(&self) {
        super::host::Chore::run(&*self.shared);
    }

    /// Does what the flusher does last when a segment is half full.
    pub(crate) fn make_next_ahead(&self) {
        self.shared.make_next();
    }

    /// How many signals are raised by this log.
    pub(crate) fn watcher_count(&self) -> usize {
        self.shared.watchers.len()
    }
}
