//! A point in time as Kafka keeps it: milliseconds since the Unix epoch.
//!
//! Knows nothing about where time comes from, but for [`Timestamp::now`], which asks the clock of
//! the operating system for callers that stamp their own records.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch, in UTC: the time of a record.
///
/// # Examples
///
/// ```
/// use ottla::Timestamp;
///
/// let t = Timestamp::from_millis(1_370_044_800_000);
/// assert_eq!(t.as_millis(), 1_370_044_800_000);
/// assert!(Timestamp::NONE < t);
/// ```
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Kafka's "no timestamp", -1.
    pub const NONE: Self = Self(-1);

    /// The start of Unix time: the earliest time of a record.
    pub(crate) const EPOCH: Self = Self(0);

    /// The system clock's time; 1970 if the clock is set to a time before it, which no record can
    /// carry.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "a caller asks for the real time by name"
    )]
    pub fn now() -> Self {
        Self::of_clock(SystemTime::now())
    }

    /// The time that a clock shows, as a record can carry it: the one rule for every time that this
    /// crate takes by itself. Kafka refuses negative times but -1, and a clock that was never set
    /// must not make an append or a commit fail.
    #[inline]
    pub(crate) fn of_clock(shown: impl Into<Self>) -> Self {
        shown.into().max(Self::EPOCH)
    }

    /// The time `millis` milliseconds after (or, when negative, before) the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The time `later` after this one, at most the largest there is.
    pub(crate) fn plus(self, later: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(later.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// The time `earlier` before this one, at least the smallest there is.
    pub(crate) fn minus(self, earlier: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(earlier.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// The same time as the system says it; a time that it cannot say becomes the epoch.
    pub(crate) fn to_system(self) -> SystemTime {
        let span = Duration::from_millis(self.0.unsigned_abs());
        let time = if self.0 < 0 {
            UNIX_EPOCH.checked_sub(span)
        } else {
            UNIX_EPOCH.checked_add(span)
        };
        time.unwrap_or(UNIX_EPOCH)
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        // In 64 bits: every append asks for the time.
        let millis = |span: Duration| {
            let whole = span.as_secs().saturating_mul(1000);
            let millis = whole.saturating_add(u64::from(span.subsec_millis()));
            i64::try_from(millis).unwrap_or(i64::MAX)
        };
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(millis(after)),
            Err(before) => Self(millis(before.duration()).saturating_neg()),
        }
    }
}
