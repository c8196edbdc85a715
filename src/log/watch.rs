//! Wakes a caller that waits for several logs at once.
//!
//! Knows nothing about that caller. [`Log::wait_for`] waits for one log.

use std::sync::Arc;

use crate::sync::Signal;

use super::shared::Log;

/// The next change raises the signal: the high watermark moves, or the log is truncated or closes.
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

    /// A change ends a watch. It is renewed before the log's state is read: a change that is not
    /// seen there raises the signal.
    pub(crate) fn renew(&self) {
        // No thread waits in a forked process.
        if let Ok(shared) = self.log.here() {
            shared.watchers.add(&self.signal);
            shared.synchronize_with_appends();
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
    pub(crate) fn run_flusher(&self) {
        crate::host::Chore::run(&*self.shared);
    }

    pub(crate) fn make_next_ahead(&self) {
        self.shared.make_next();
    }

    pub(crate) fn watcher_count(&self) -> usize {
        self.shared.watchers.len()
    }
}
