//! Beside floor 2: the only source of time.
//!
//! Knows nothing about what is timed. Wall time stamps records and may jump; monotonic time
//! drives deadlines and never does. Tests own both.

#![expect(
    clippy::disallowed_methods,
    reason = "this is the door that time comes through"
)]

use std::time::{Instant, SystemTime};

#[cfg(any(test, feature = "__sim"))]
use std::sync::Arc;
#[cfg(any(test, feature = "__sim"))]
use std::time::Duration;

use crate::types::Timestamp;

/// Where the time comes from.
#[derive(Clone, Debug, Default)]
pub(crate) enum Clock {
    /// The operating system.
    #[default]
    System,
    /// A test, which moves it by hand.
    #[cfg(any(test, feature = "__sim"))]
    Manual(Arc<ManualClock>),
}

impl Clock {
    /// The wall clock's time, never before 1970: see [`Timestamp::of_clock`].
    #[inline]
    pub(crate) fn now(&self) -> Timestamp {
        match self {
            Self::System => Timestamp::of_clock(SystemTime::now()),
            #[cfg(any(test, feature = "__sim"))]
            Self::Manual(clock) => Timestamp::of_clock(clock.wall()),
        }
    }

    /// The monotonic clock's time.
    #[inline]
    pub(crate) fn instant(&self) -> Instant {
        match self {
            Self::System => Instant::now(),
            #[cfg(any(test, feature = "__sim"))]
            Self::Manual(clock) => clock.instant(),
        }
    }
}

/// Lets time pass: for the pauses of `tests/stress`, and nothing else in this crate.
#[cfg(ottla_pauses)]
pub(crate) fn sleep(time: std::time::Duration) {
    std::thread::sleep(time);
}

/// A clock that stands still until a test moves it.
#[cfg(any(test, feature = "__sim"))]
#[derive(Debug)]
pub(crate) struct ManualClock {
    start: Instant,
    time: crate::sync::Mutex<(Timestamp, Duration)>,
}

#[cfg(any(test, feature = "__sim"))]
impl ManualClock {
    /// A clock that shows `wall`.
    pub(crate) fn at(wall: Timestamp) -> Arc<Self> {
        let time = crate::sync::Mutex::new((wall, Duration::ZERO));
        Arc::new(Self {
            start: Instant::now(),
            time,
        })
    }

    /// Lets time pass on both clocks.
    pub(crate) fn advance(&self, by: Duration) {
        let mut time = self.time.lock();
        *time = (time.0.plus(by), time.1.saturating_add(by));
    }

    /// Sets the wall clock alone, backwards too, as an administrator does.
    #[cfg(test)]
    pub(crate) fn set_wall(&self, wall: Timestamp) {
        self.time.lock().0 = wall;
    }

    fn wall(&self) -> Timestamp {
        self.time.lock().0
    }

    fn instant(&self) -> Instant {
        let passed = self.time.lock().1;
        self.start.checked_add(passed).unwrap_or(self.start)
    }
}
