//! Without the feature `async` no task waits, and all of this does nothing.
//!
//! Knows nothing: see `wakers.rs`, which has the same names.

use super::Signal;

#[derive(Debug, Default)]
pub(crate) struct Wakers;

#[derive(Debug, Default)]
pub(crate) struct Crowd;

#[derive(Debug)]
#[must_use]
pub(crate) struct Woken;

#[derive(Debug)]
pub(crate) struct WakeLater;

#[expect(clippy::unused_self, reason = "those of `wakers.rs` look at it")]
impl Wakers {
    pub(crate) const fn take(&mut self) -> Woken {
        Woken
    }
}

#[expect(clippy::unused_self, reason = "those of `wakers.rs` look at it")]
impl Crowd {
    pub(super) const fn take(&mut self) -> Woken {
        Woken
    }

    pub(super) const fn take_in_turns(&mut self) -> (Woken, bool) {
        (Woken, false)
    }
}

#[expect(clippy::unused_self, reason = "those of `wakers.rs` look at it")]
impl Signal {
    pub(crate) const fn hasten(&self) -> bool {
        false
    }

    pub(crate) const fn wake_due(&self) {}
}

#[expect(clippy::unused_self, reason = "those of `wakers.rs` look at it")]
impl Woken {
    pub(crate) const fn len(&self) -> usize {
        0
    }

    pub(crate) const fn wake(self) {}
}

impl WakeLater {
    pub(crate) const fn begin() -> Self {
        Self
    }
}
