//! Wakes a caller that waits for several logs at once.
//!
//! Knows nothing about that caller. [`Log::wait_for`] waits for one log.

use std::sync::Arc;

use crate::sync::Signal;

use super::shared::Log;

/// Makes the next change of a log raise a signal: its high watermark moves, it is truncated, or it
/// closes. Does nothing more once dropped.
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

    /// A change ends a watch. A caller that continues to wait renews it before reading the state of
    /// the log: a change that it does not see there raises the signal.
    pub(crate) fn renew(&self) {
        // No thread waits in a forked process.
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
        crate::host::Chore::run(&*self.shared);
    }

    /// Does what the flusher does last if a segment is half full.
    pub(crate) fn make_next_ahead(&self) {
        self.shared.make_next();
    }

    /// The number of signals that this log raises.
    pub(crate) fn watcher_count(&self) -> usize {
        self.shared.watchers.len()
    }
}
