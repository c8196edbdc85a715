//! Ctrl-C: what it sets, and what may run before the process ends.
//!
//! Knows nothing about verbs. A verb that waits looks at the flag between two steps; one that may
//! hang in a read from a terminal leaves behind what is to be done instead.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::failure::{Failure, Result};

static ASKED: AtomicBool = AtomicBool::new(false);

/// How long a wait goes on without a look at the flag.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(50);

/// From now on Ctrl-C (and a request to terminate) sets the flag alone.
pub(crate) fn watch() -> Result<()> {
    on_interrupt(|| {})
}

/// From now on Ctrl-C sets the flag and then does something, on a thread of its own.
pub(crate) fn on_interrupt(act: impl Fn() + Send + 'static) -> Result<()> {
    ctrlc::set_handler(move || {
        ASKED.store(true, Ordering::SeqCst);
        act();
    })
    .map_err(|error| Failure::new(format!("cannot watch for Ctrl-C: {error}")))
}

/// Whether somebody has asked to stop.
pub(crate) fn asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}

/// Sleeps in steps, so that Ctrl-C is noticed; false when it was.
pub(crate) fn sleep(mut span: Duration) -> bool {
    while !asked() && !span.is_zero() {
        let step = span.min(LOOK_EVERY);
        std::thread::sleep(step);
        span = span.saturating_sub(step);
    }
    !asked()
}
