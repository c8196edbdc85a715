//! Times and spans as people and Kafka's scripts write them.
//!
//! Knows nothing about verbs. Times without a zone are UTC.

use std::time::Duration;

use ottla::Timestamp;

use crate::failure::{Failure, Result};

const DAY_MS: i64 = 86_400_000;

/// A time: milliseconds since 1970, `now`, `2013-06-01`, `2013-06-01T12:00:00.000Z` (with any
/// zone), or a span before now: `-1h`, `90 min ago`.
pub(crate) fn time(text: &str, now: Timestamp) -> Result<Timestamp> {
    parse_time(text.trim(), now.as_millis())
        .map(Timestamp::from_millis)
        .ok_or_else(|| {
            Failure::usage(format!(
                "{text:?} is not a time: expected 2013-06-01, 2013-06-01T12:00:00Z, milliseconds \
                 since 1970, or a span before now such as -1h"
            ))
        })
}

fn parse_time(text: &str, now: i64) -> Option<i64> {
    if text.eq_ignore_ascii_case("now") {
        return Some(now);
    }
    if let Ok(millis) = text.parse::<i64>()
        && millis >= 0
    {
        return Some(millis);
    }
    let back = text.strip_prefix('-').or_else(|| text.strip_suffix(" ago"));
    if let Some(back) = back {
        let back = parse_span(back)?;
        return now.checked_sub(i64::try_from(back.as_millis()).ok()?);
    }
    parse_date(text)
}

/// `YYYY-MM-DD`, then a time of the day, then a zone; each may be missing from its place on.
fn parse_date(text: &str) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let mut parts = date.splitn(3, '-').map(|part| number(part, part.len()));
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    if !(1..=12).contains(&month) || !(1..=days_of(year, month)).contains(&day) {
        return None;
    }
    let midnight = days_from_epoch(year, month, day).checked_mul(DAY_MS)?;
    let Some(rest) = rest.strip_prefix(['T', 't', ' ']) else {
        return rest.is_empty().then_some(midnight);
    };
    let zone_at = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let (clock, zone) = rest.split_at_checked(zone_at)?;
    let millis = midnight.checked_add(parse_clock(clock)?)?;
    millis.checked_sub(parse_zone(zone)?)
}

/// `hh:mm`, `hh:mm:ss` or `hh:mm:ss.fff` in milliseconds.
fn parse_clock(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once(['.', ',']).unwrap_or((text, ""));
    let mut parts = whole.split(':');
    let hour = number(parts.next()?, 2)?;
    let minute = number(parts.next()?, 2)?;
    let second = parts.next().map_or(Some(0), |part| number(part, 2))?;
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) || fraction.len() > 9 {
        return None;
    }
    let millis: String = fraction.chars().chain("000".chars()).take(3).collect();
    let millis = millis.parse::<i64>().ok()?;
    Some(((hour * 60 + minute) * 60 + second) * 1000 + millis)
}

/// `Z`, `+hh:mm`, `+hhmm` or `+hh`, in milliseconds east of UTC.
fn parse_zone(text: &str) -> Option<i64> {
    let (sign, digits) = match text.chars().next() {
        None => return Some(0),
        Some('Z' | 'z') => return (text.len() == 1).then_some(0),
        Some('+') => (1, text.get(1..)?),
        Some('-') => (-1, text.get(1..)?),
        Some(_) => return None,
    };
    let digits = digits.replace(':', "");
    let (hours, minutes) = match digits.len() {
        2 => (number(&digits, 2)?, 0),
        4 => (number(digits.get(..2)?, 2)?, number(digits.get(2..)?, 2)?),
        _ => return None,
    };
    (hours <= 18 && minutes <= 59).then_some(sign * (hours * 60 + minutes) * 60_000)
}

fn number(text: &str, length: usize) -> Option<i64> {
    let digits = text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the Gregorian calendar, years counted from March.
fn days_from_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// A span: `1h30m`, `90 min`, `2 days`, or ISO 8601 as Kafka's `--by-duration` takes it, `P1DT2H`.
pub(crate) fn span(text: &str) -> Result<Duration> {
    parse_span(text.trim()).ok_or_else(|| {
        Failure::usage(format!(
            "{text:?} is not a span of time: expected 90 min, 1h30m or P1DT2H30M"
        ))
    })
}

fn parse_span(text: &str) -> Option<Duration> {
    let iso = text.strip_prefix(['P', 'p']);
    let text = iso.unwrap_or(text).to_ascii_lowercase();
    let mut total = 0_u64;
    let mut rest = text.as_str();
    let mut in_time = iso.is_none();
    if rest.trim().is_empty() {
        return None;
    }
    while !rest.trim().is_empty() {
        rest = rest.trim_start();
        if iso.is_some()
            && let Some(behind) = rest.strip_prefix('t')
        {
            (in_time, rest) = (true, behind);
            continue;
        }
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (count, behind) = rest.split_at_checked(digits)?;
        let behind = behind.trim_start();
        let letters = behind
            .find(|c: char| !c.is_ascii_lowercase())
            .unwrap_or(behind.len());
        let letters = if iso.is_some() {
            letters.min(1)
        } else {
            letters
        };
        let (unit, behind) = behind.split_at_checked(letters)?;
        let millis = match unit {
            "ms" | "" if iso.is_none() => 1,
            "s" | "sec" | "second" | "seconds" if in_time => 1000,
            "m" | "min" | "minute" | "minutes" if in_time => 60_000,
            "h" | "hour" | "hours" if in_time => 3_600_000,
            "d" | "day" | "days" => 86_400_000,
            "w" | "week" | "weeks" => 604_800_000,
            _ => return None,
        };
        total = total.checked_add(count.parse::<u64>().ok()?.checked_mul(millis)?)?;
        rest = behind;
    }
    i64::try_from(total).ok()?;
    Some(Duration::from_millis(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, millis) in [
            ("0", Some(0)),
            ("1370044800000", Some(1_370_044_800_000)),
            ("2013-06-01", Some(1_370_044_800_000)),
            ("2013-06-01T00:00:00.000", Some(1_370_044_800_000)),
            ("2013-06-01T00:00:00Z", Some(1_370_044_800_000)),
            ("2013-06-01 02:00+02:00", Some(1_370_044_800_000)),
            ("2013-05-31T20:00:00.000-0400", Some(1_370_044_800_000)),
            ("1969-12-31T23:59:59.999Z", Some(-1)),
            ("2000-02-29", Some(951_782_400_000)),
            ("now", Some(10_000_000)),
            ("-1h", Some(6_400_000)),
            ("90 min ago", Some(4_600_000)),
            ("2013-02-29", None),
            ("2013-13-01", None),
            ("2013-06-01T25:00", None),
            ("2013-06-01T00:00:00X", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(parse_time(text, 10_000_000), millis, "{text:?}");
        }
    }

    #[test]
    fn spans_are_read_as_people_and_as_kafka_write_them() {
        for (text, millis) in [
            ("500", Some(500)),
            ("500 ms", Some(500)),
            ("1h30m", Some(5_400_000)),
            ("2 days", Some(172_800_000)),
            ("P1DT2H30M", Some(95_400_000)),
            ("PT0S", Some(0)),
            ("P1W", Some(604_800_000)),
            ("P1H", None),
            ("1 fortnight", None),
            ("", None),
            ("P", None),
        ] {
            let span = parse_span(text).and_then(|span| i64::try_from(span.as_millis()).ok());
            assert_eq!(span, millis, "{text:?}");
        }
    }
}
