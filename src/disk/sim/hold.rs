//! Syncs that do not come back until a test lets them: to see who waits for a disk, and who does
//! not.
//!
//! Knows nothing about what is synced.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::Sim;
use crate::clock::Clock;
use crate::sync::{Condvar, Mutex};

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// Holds up every sync of a file whose path contains a text.
#[derive(Debug)]
pub(crate) struct Hold {
    text: String,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    released: bool,
    waiting: Vec<PathBuf>,
}

impl Sim {
    /// Holds up syncs from now on.
    pub(crate) fn hold_syncs(&self, text: &str) -> Arc<Hold> {
        let hold = Arc::new(Hold {
            text: text.to_owned(),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        *self.shared.hold.lock() = Some(Arc::clone(&hold));
        hold
    }

    /// Waits while syncs of this file are held up.
    pub(super) fn wait_if_held(&self, path: &Path) {
        let hold = self.shared.hold.lock().clone();
        if let Some(hold) = hold.filter(|hold| path.to_string_lossy().contains(&hold.text)) {
            let mut state = hold.state.lock();
            state.waiting.push(path.to_path_buf());
            hold.changed.notify_all();
            while !state.released {
                hold.changed.wait(&mut state);
            }
        }
    }
}

impl Hold {
    /// Waits until so many syncs are held up at the same time; false when they never are.
    pub(crate) fn await_waiting(&self, count: usize) -> bool {
        let until = Clock::System.instant().checked_add(PATIENCE).unwrap();
        let mut state = self.state.lock();
        while state.waiting.len() < count {
            if self.changed.wait_until(&mut state, until).timed_out() {
                return state.waiting.len() >= count;
            }
        }
        true
    }

    /// Lets all go on, now and later.
    pub(crate) fn release(&self) {
        self.state.lock().released = true;
        self.changed.notify_all();
    }
}
