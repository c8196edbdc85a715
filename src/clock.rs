//! Beside floor 2: the only source of time.
//!
//! Knows nothing about what is timed. Wall time stamps records and may jump; monotonic time drives
//! deadlines and never does. Tests, ours and those of users, own both.
//!
//! 1. What happens by itself after a time (a sync, a linger, a round of upkeep, the removal of a
//!    member) goes by the clock alone: while a test's clock stands still, it does not happen.
//! 2. A call with a timeout also ends when the timeout has passed by the system's clock: a test
//!    with one thread, which moves the clock, would otherwise hang.

#![expect(
    clippy::disallowed_methods,
    reason = "this is the door that time comes through"
)]

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use crate::sync::thread::yield_now;
use crate::sync::{Condvar, Mutex, MutexGuard, Ticket};
use crate::types::Timestamp;

#[derive(Clone, Debug, Default)]
pub(crate) enum Clock {
    #[default]
    System,
    Manual(Arc<ManualClock>),
}

/// When the timeout of a call ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Until {
    /// By the clock; `None` if that time cannot be represented.
    shown: Option<Instant>,
    /// By the system's clock, if the clock is another one.
    real: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    Raised,
    /// The time `due` of [`Clock::wait`] has come.
    Due(Instant),
    /// The timeout has passed.
    Over,
}

/// What waits for the clock alone (1).
pub(crate) trait Moved: fmt::Debug + Send + Sync {
    /// Called when a test has moved the clock; no lock of the clock is held.
    fn moved(&self);
}

/// [`repeat_until`] sleeps after this many yields.
const YIELDS: u32 = 16;
const NAP: Duration = Duration::from_micros(100);

/// How often a waiting call checks a test's clock.
const SLICE: Duration = Duration::from_millis(1);

impl Clock {
    /// Never before 1970: see [`Timestamp::of_clock`].
    #[inline]
    pub(crate) fn now(&self) -> Timestamp {
        match self {
            Self::System => Timestamp::of_clock(SystemTime::now()),
            Self::Manual(clock) => Timestamp::of_clock(clock.wall()),
        }
    }

    #[inline]
    pub(crate) fn instant(&self) -> Instant {
        match self {
            Self::System => Instant::now(),
            Self::Manual(clock) => clock.instant(),
        }
    }

    pub(crate) fn until(&self, timeout: Duration) -> Until {
        let real = match self {
            Self::System => None,
            Self::Manual(_) => Instant::now().checked_add(timeout),
        };
        Until {
            shown: self.instant().checked_add(timeout),
            real,
        }
    }

    /// Waits for a raise, `due` by the clock, or the end of the timeout (2).
    pub(crate) fn wait(
        &self,
        ticket: &mut Ticket<'_>,
        until: Until,
        due: Option<Instant>,
    ) -> Waited {
        let first = |due: &Instant| until.shown.is_none_or(|until| *due < until);
        let due = due.filter(first);
        let Self::Manual(clock) = self else {
            return match due {
                Some(due) if !ticket.wait_until(Some(due)) => Waited::Due(due),
                None if !ticket.wait_until(until.shown) => Waited::Over,
                _ => Waited::Raised,
            };
        };
        loop {
            let (shown, real) = (clock.instant(), Instant::now());
            let due = due.filter(|due| *due <= shown);
            let over = until.is_over(shown, real);
            let pause = if due.is_some() || over {
                Some(real)
            } else {
                real.checked_add(SLICE)
            };
            if ticket.wait_until(pause) {
                return Waited::Raised;
            }
            if let Some(due) = due {
                return Waited::Due(due);
            }
            if over {
                return Waited::Over;
            }
        }
    }

    /// Waits on a condition, maybe only for a moment; false when the timeout has passed (2).
    pub(crate) fn wait_on<T>(
        &self,
        condition: &Condvar,
        guard: &mut MutexGuard<'_, T>,
        until: Until,
    ) -> bool {
        let real = Instant::now();
        match self {
            _ if until.is_over(self.instant(), real) => false,
            Self::System => {
                if let Some(until) = until.shown {
                    return !condition.wait_until(guard, until).timed_out();
                }
                condition.wait(guard);
                true
            }
            Self::Manual(_) => {
                let pause = real.checked_add(SLICE).unwrap_or(real);
                condition.wait_until(guard, pause);
                true
            }
        }
    }

    pub(crate) fn is_over(&self, until: Until) -> bool {
        until.is_over(self.instant(), Instant::now())
    }

    /// The deadline for a thread that waits for the clock alone (1). A test's clock has none, but
    /// [calls](Self::follow) back.
    pub(crate) fn deadline(&self, at: Instant) -> Option<Instant> {
        match self {
            Self::System => Some(at),
            Self::Manual(_) => None,
        }
    }

    /// In a model, time passes when a thread waits only for that.
    #[cfg(all(test, ottla_shuttle))]
    pub(crate) fn pass_to(&self, at: Instant) {
        if let Self::Manual(clock) = self {
            clock.advance(at.saturating_duration_since(clock.instant()));
        }
    }

    /// Whether this is the system's clock; true also in a model, where every wait ends by a wake.
    pub(crate) fn is_of_system(&self) -> bool {
        matches!(self, Self::System) || cfg!(all(test, ottla_shuttle))
    }

    /// Calls the follower whenever a test moves this clock.
    pub(crate) fn follow(&self, follower: Weak<dyn Moved>) {
        if let Self::Manual(clock) = self {
            clock.followers.lock().push(follower);
        }
    }
}

impl Until {
    /// The end by the clock.
    pub(crate) fn shown(self) -> Option<Instant> {
        self.shown
    }

    pub(crate) fn earlier(self, other: Self) -> Self {
        let first = |one: Option<Instant>, other| one.into_iter().chain(other).min();
        Self {
            shown: first(self.shown, other.shown),
            real: first(self.real, other.real),
        }
    }

    fn is_over(self, shown: Instant, real: Instant) -> bool {
        let passed = |at: Option<Instant>, now: Instant| at.is_some_and(|at| at <= now);
        passed(self.shown, shown) || passed(self.real, real)
    }
}

/// Calls `again` until its effect in another thread is there, with short pauses if that takes long.
pub(crate) fn repeat_until(is_there: impl Fn() -> bool, again: impl Fn()) {
    let mut times = 0_u32;
    while !is_there() {
        again();
        times = times.saturating_add(1);
        if times < YIELDS || cfg!(all(test, ottla_shuttle)) {
            yield_now();
        } else {
            std::thread::sleep(NAP);
        }
    }
}

/// Only for the pauses of `tests/stress`.
#[cfg(ottla_pauses)]
pub(crate) fn sleep(time: std::time::Duration) {
    std::thread::sleep(time);
}

#[derive(Debug)]
pub(crate) struct ManualClock {
    start: Instant,
    time: Mutex<(Timestamp, Duration)>,
    followers: Mutex<Vec<Weak<dyn Moved>>>,
}

impl ManualClock {
    pub(crate) fn at(wall: Timestamp) -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            time: Mutex::new((wall, Duration::ZERO)),
            followers: Mutex::new(Vec::new()),
        })
    }

    pub(crate) fn advance(&self, by: Duration) {
        {
            let mut time = self.time.lock();
            *time = (time.0.plus(by), time.1.saturating_add(by));
        }
        let followers = {
            let mut followers = self.followers.lock();
            followers.retain(|follower| follower.strong_count() > 0);
            followers.clone()
        };
        for follower in followers.iter().filter_map(Weak::upgrade) {
            follower.moved();
        }
    }

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

/// A clock for tests, which stands still until the test moves it.
///
/// A broker opened with it ([`Broker::open_with_clock`](crate::Broker::open_with_clock),
/// [`Broker::temporary_with`](crate::Broker::temporary_with)) takes every time from it: timestamps
/// of records, retention, `segment_age`, interval syncs, lingers, session timeouts and poll
/// intervals, auto commit, rounds of upkeep. Clones are the same clock, and brokers may share one.
///
/// - Threads do their work soon after [`advance`](Self::advance), not within it. With
///   [`manual_upkeep`](crate::BrokerConfig::manual_upkeep) no thread is started:
///   [`Broker::upkeep`](crate::Broker::upkeep) does all that is due.
/// - A waiting call, such as [`Consumer::poll`](crate::Consumer::poll), ends when its timeout has
///   passed on this clock or in reality: so a test with one thread does not hang.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ottla::{Broker, BrokerConfig, TestClock, TopicConfig};
///
/// let clock = TestClock::new();
/// let config = BrokerConfig::default().manual_upkeep(true);
/// let broker = Broker::temporary_with(config, Some(clock.clone()))?;
/// let hour = Duration::from_secs(3600);
/// let config = TopicConfig::default().retention(hour).segment_age(hour / 2);
/// let topic = broker.create_topic("flights", config)?;
/// topic.append("departed EWR")?;
/// clock.advance(hour);
/// topic.append("landed LAX")?;
///
/// clock.advance(hour / 2);
/// broker.upkeep()?;
/// assert_eq!(topic.partition(0)?.start_offset(), 1, "the first one is forgotten");
/// # Ok::<(), ottla::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct TestClock {
    clock: Arc<ManualClock>,
}

impl TestClock {
    /// A clock that shows the system's present time, and stands still.
    #[must_use]
    pub fn new() -> Self {
        Self::at(Clock::System.now())
    }

    /// A clock that shows this time, or 1970 for one before it.
    #[must_use]
    pub fn at(time: Timestamp) -> Self {
        Self {
            clock: ManualClock::at(Timestamp::of_clock(time)),
        }
    }

    /// The time that it shows.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.wall()
    }

    /// Lets time pass, and wakes threads whose time has come.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Sets the time of records' stamps and of retention, backwards too, as an administrator does;
    /// 1970 for a time before it. Timeouts, intervals and lingers go by the time that has
    /// [passed](Self::advance), which this leaves as it is.
    pub fn set(&self, time: Timestamp) {
        self.clock.set_wall(Timestamp::of_clock(time));
    }

    pub(crate) fn clock(&self) -> Clock {
        Clock::Manual(Arc::clone(&self.clock))
    }
}

impl Default for TestClock {
    fn default() -> Self {
        Self::new()
    }
}
