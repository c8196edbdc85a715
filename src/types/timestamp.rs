//! A point in time as Kafka keeps it: milliseconds since the Unix epoch.
//!
//! Knows nothing about where time comes from, but for [`Timestamp::now`], for callers that stamp
//! their own records.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch, in UTC: the time of a record.
///
/// Displayed as RFC 3339 has it, and Kafka's "no timestamp" as `none`.
///
/// # Examples
///
/// ```
/// use ottla::Timestamp;
///
/// let t = Timestamp::from_millis(1_370_044_800_000);
/// assert_eq!(t.as_millis(), 1_370_044_800_000);
/// assert!(Timestamp::NONE < t);
/// assert_eq!(t.to_string(), "2013-06-01T00:00:00.000Z");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct Timestamp(i64);

impl Timestamp {
    /// Kafka's "no timestamp", -1.
    pub const NONE: Self = Self(-1);

    /// The earliest time of a record.
    pub(crate) const EPOCH: Self = Self(0);

    /// The system clock's time, at least 1970: no record can carry an earlier one.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "a caller asks for the real time by name"
    )]
    pub fn now() -> Self {
        Self::of_clock(SystemTime::now())
    }

    /// The time of a clock, raised to 1970. Every time that this crate reads itself goes through
    /// here: Kafka refuses negative times but -1, and a clock that was never set must not make an
    /// append or a commit fail.
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

    /// Adds a duration; saturates at the largest time.
    pub(crate) fn plus(self, later: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(later.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// Subtracts a duration; saturates at the smallest time.
    pub(crate) fn minus(self, earlier: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(earlier.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// The system's time, or 1970 if the system cannot represent it.
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
/// Kafka's "no timestamp", or a time that the system's clock cannot show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a time that the system knows")]
pub struct TimestampError(Timestamp);

/// # Examples
///
/// ```
/// use std::time::{Duration, SystemTime, UNIX_EPOCH};
/// use ottla::Timestamp;
///
/// let time = SystemTime::try_from(Timestamp::from_millis(1_500))?;
/// assert_eq!(time, UNIX_EPOCH + Duration::from_millis(1_500));
/// assert!(SystemTime::try_from(Timestamp::NONE).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl TryFrom<Timestamp> for SystemTime {
    type Error = TimestampError;

    fn try_from(timestamp: Timestamp) -> Result<Self, TimestampError> {
        let span = Duration::from_millis(timestamp.0.unsigned_abs());
        let time = match timestamp.0 {
            -1 => None,
            ..0 => UNIX_EPOCH.checked_sub(span),
            0.. => UNIX_EPOCH.checked_add(span),
        };
        time.ok_or(TimestampError(timestamp))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAY_MS: i64 = 86_400_000;
        if *self == Self::NONE {
            return f.write_str("none");
        }
        let (days, in_day) = (self.0.div_euclid(DAY_MS), self.0.rem_euclid(DAY_MS));
        let (year, month, day) = civil(days);
        let (hours, rest) = (in_day / 3_600_000, in_day % 3_600_000);
        let (minutes, rest) = (rest / 60_000, rest % 60_000);
        let (seconds, millis) = (rest / 1_000, rest % 1_000);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{millis:03}Z"
        )
    }
}

/// Year, month and day of a day counted from 1970 (Howard Hinnant's `civil_from_days`): years begin
/// in March there, so that leap days come last.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "64 bits of milliseconds are 37 bits of days"
)]
const fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400;
    (if month <= 2 { year + 1 } else { year }, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_displayed_as_rfc_3339_has_it() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_370_044_799_999, "2013-05-31T23:59:59.999Z"),
            (-2, "1969-12-31T23:59:59.998Z"),
            (-62_135_596_800_000, "0001-01-01T00:00:00.000Z"),
            (-1, "none"),
        ] {
            assert_eq!(Timestamp::from_millis(millis).to_string(), text);
        }
        // Whatever it is, it can be shown.
        for millis in [i64::MIN, i64::MAX] {
            assert!(Timestamp::from_millis(millis).to_string().ends_with('Z'));
        }
    }

    #[test]
    fn a_time_that_the_system_cannot_show_is_an_error_and_others_come_back() {
        for millis in [0, 1, 1_370_044_800_000, -2] {
            let time = SystemTime::try_from(Timestamp::from_millis(millis)).unwrap();
            assert_eq!(Timestamp::from(time).as_millis(), millis);
        }
        let none = SystemTime::try_from(Timestamp::NONE).unwrap_err();
        assert_eq!(none.to_string(), "none is not a time that the system knows");
    }
}
