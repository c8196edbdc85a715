//! One line of the CSV: what the example needs of it.
//!
//! Knows nothing about topics.

use std::io::{self, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use ottla::Timestamp;

const MILLIS_PER_MINUTE: i64 = 60_000;
const MILLIS_PER_DAY: i64 = 24 * 60 * MILLIS_PER_MINUTE;

/// A flight as a line tells it. The fields that nobody here asks for stay in the line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flight<'a> {
    pub(crate) carrier: &'a str,
    /// The aircraft; missing where the flight never took place.
    pub(crate) tail: Option<&'a str>,
    /// Scheduled departure.
    pub(crate) scheduled: Timestamp,
}

impl<'a> Flight<'a> {
    pub(crate) fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(',');
        let carrier = fields.nth(9)?;
        let tail = known(fields.nth(1)?);
        let minute: i64 = fields.nth(5)?.parse().ok()?;
        let scheduled = utc_hour(fields.next()?)?.checked_add(minute * MILLIS_PER_MINUTE)?;
        Some(Self {
            carrier,
            tail,
            scheduled: Timestamp::from_millis(scheduled),
        })
    }
}

/// Minutes that the flight of this line left late (early, when negative); `None` when it never did.
pub(crate) fn departure_delay(line: &[u8]) -> Option<i32> {
    let line = std::str::from_utf8(line).ok()?;
    known(line.split(',').nth(5)?)?.parse().ok()
}

fn known(field: &str) -> Option<&str> {
    Some(field).filter(|field| !field.is_empty() && *field != "NA")
}

/// The whole input as text, unpacked when its name ends in `.gz`.
pub(crate) fn read_input(path: &Path) -> io::Result<String> {
    let named = |problem: io::Error| {
        io::Error::new(
            problem.kind(),
            format!("cannot read {}: {problem}", path.display()),
        )
    };
    let bytes = std::fs::read(path).map_err(named)?;
    let mut text = String::new();
    if path.extension().is_some_and(|extension| extension == "gz") {
        let mut unpacked = MultiGzDecoder::new(bytes.as_slice());
        unpacked.read_to_string(&mut text).map_err(named)?;
    } else {
        bytes.as_slice().read_to_string(&mut text).map_err(named)?;
    }
    Ok(text)
}

/// Midnight UTC of a day written `2013-06-01`.
pub(crate) fn start_of_day(day: &str) -> Option<Timestamp> {
    let mut parts = day.splitn(3, '-');
    let mut part = || parts.next()?.parse::<i64>().ok();
    let (year, month, day) = (part()?, part()?, part()?);
    let days = days_since_epoch(year, month, day)?;
    Some(Timestamp::from_millis(days.checked_mul(MILLIS_PER_DAY)?))
}

/// Milliseconds of an hour written `2013-01-01T10:00:00Z`.
fn utc_hour(text: &str) -> Option<i64> {
    let (day, time) = text.split_once('T')?;
    let hour: i64 = time.split(':').next()?.parse().ok()?;
    let day = start_of_day(day)?.as_millis();
    day.checked_add(hour * 60 * MILLIS_PER_MINUTE)
}

/// Days from 1 January 1970 to a date of the Gregorian calendar: years begin in March here, so that
/// the leap day is the last of its year.
fn days_since_epoch(year: i64, month: i64, day: i64) -> Option<i64> {
    let real =
        (1..=12).contains(&month) && (1..=31).contains(&day) && (1970..=9999).contains(&year);
    if !real {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let leap_days = year / 4 - year / 100 + year / 400;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    Some(year * 365 + leap_days + day_of_year - 719_468)
}
