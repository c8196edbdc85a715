//! Which topics and partitions a verb is about.
//!
//! Knows nothing about what is done with them. Invariant: a name that a topic can have means that
//! topic alone; only what no topic can be called is a pattern, so that nobody deletes `a-b` by
//! saying `a.b`.

use std::collections::BTreeSet;

use ottla::{Broker, Error, Offset, PartitionId, Reader, RecordBatch, TopicInfo};
use regex_lite::Regex;

use crate::failure::{Failure, Result};

/// The topics of a list of names and patterns with commas between them, sorted.
///
/// # Errors
///
/// When one of them is not there, or matches nothing.
pub(crate) fn topics(broker: &Broker, list: &str) -> Result<Vec<String>> {
    chosen(broker, list, true)
}

/// The same where nothing need be there: for a verb that waits.
pub(crate) fn topics_so_far(broker: &Broker, list: &str) -> Result<Vec<String>> {
    chosen(broker, list, false)
}

fn chosen(broker: &Broker, list: &str, must_be_there: bool) -> Result<Vec<String>> {
    let all = broker.topic_names();
    let mut chosen = BTreeSet::new();
    for text in list
        .split(',')
        .map(|text| text.trim().trim_matches(['"', '\'']))
    {
        if text.is_empty() {
            return Err(Failure::usage("an empty name is no topic"));
        }
        if is_name(text) {
            let known = all.iter().find(|name| *name == text);
            if known.is_none() && must_be_there {
                return Err(no_topic(broker, text));
            }
            chosen.extend(known.cloned());
            continue;
        }
        let before = chosen.len();
        let pattern = pattern(text)?;
        chosen.extend(all.iter().filter(|name| pattern.is_match(name)).cloned());
        if chosen.len() == before && must_be_there {
            return Err(Failure::new(format!("no topic matches {text}")));
        }
    }
    Ok(chosen.into_iter().collect())
}

/// A regular expression that matches whole names.
pub(crate) fn pattern(text: &str) -> Result<Regex> {
    Regex::new(&format!("^(?:{text})$"))
        .map_err(|error| Failure::usage(format!("{text:?} is not a pattern: {error}")))
}

/// Whether a topic can have this name.
pub(crate) fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    text.bytes().all(allowed) && text != "." && text != ".."
}

/// What was found of a topic, or `None` where it was deleted since its name was listed.
pub(crate) fn if_there<T>(found: ottla::Result<T>) -> Result<Option<T>> {
    match found {
        Err(Error::UnknownTopic { .. } | Error::Closed) => Ok(None),
        found => Ok(Some(found?)),
    }
}

/// A topic with its partitions, unless it was deleted since its name was listed.
pub(crate) fn described(broker: &Broker, name: &str) -> Result<Option<TopicInfo>> {
    if_there(broker.topic(name).and_then(|topic| topic.describe()))
}

/// The next batch of what is left, where another process may remove records, and the topic,
/// meanwhile.
pub(crate) fn next_left(reader: &mut Reader) -> ottla::Result<Option<RecordBatch>> {
    loop {
        let at = Reader::position(reader);
        let next = match reader.next_batch() {
            Err(Error::Truncated { end, .. }) => end,
            Err(Error::OffsetOutOfRange { start, .. }) if start > at => start,
            Err(Error::UnknownTopic { .. } | Error::Closed) => return Ok(None),
            batch => return batch,
        };
        seek_on(reader, next)?;
    }
}

/// Goes to an offset, or to the first one after it that is left; returns which.
pub(crate) fn seek_on(reader: &mut Reader, mut next: Offset) -> ottla::Result<Offset> {
    loop {
        match reader.seek(next) {
            // More was removed since.
            Err(Error::OffsetOutOfRange { start, .. }) if start > next => next = start,
            // The log was cut since.
            Err(Error::OffsetOutOfRange { end, .. }) if end < next => next = end,
            sought => return sought.map(|()| next),
        }
    }
}

/// The sentence for a topic that is not there, with the ones that are.
pub(crate) fn no_topic(broker: &Broker, name: &str) -> Failure {
    let names = broker.topic_names();
    let shown = names.iter().take(5).map(String::as_str).collect::<Vec<_>>();
    let hint = match names.len() {
        0 => "there are no topics yet".to_owned(),
        1..=5 => format!("there is {}", shown.join(", ")),
        _ => format!(
            "there is {}, and {} more",
            shown.join(", "),
            names.len() - 5
        ),
    };
    Failure::new(format!("there is no topic {name}: {hint}"))
}

/// A topic and maybe some of its partitions: `t`, `t:0`, `t:0,2-4`.
pub(crate) fn topic_and_partitions(text: &str) -> Result<(String, Option<Vec<PartitionId>>)> {
    match text.split_once(':') {
        None => Ok((text.to_owned(), None)),
        Some((topic, list)) => Ok((topic.to_owned(), Some(partitions(list)?))),
    }
}

/// Numbers and ranges with commas between them: `0,2-4`.
pub(crate) fn partitions(list: &str) -> Result<Vec<PartitionId>> {
    let bad = || {
        Failure::usage(format!(
            "{list:?} is not a list of partitions such as 0,2-4"
        ))
    };
    let mut chosen = BTreeSet::new();
    for text in list.split(',') {
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        let from = from.trim().parse::<PartitionId>().map_err(|_| bad())?;
        let to = to.trim().parse::<PartitionId>().map_err(|_| bad())?;
        if to < from || to - from > 100_000 {
            return Err(bad());
        }
        chosen.extend(from..=to);
    }
    Ok(chosen.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_partitions_are_numbers_and_ranges() {
        assert_eq!(partitions("0,2-4,3").unwrap(), [0, 2, 3, 4]);
        for bad in ["", "a", "4-2", "1-", "-1", "0-4000000000"] {
            assert!(partitions(bad).is_err(), "{bad:?}");
        }
        let (topic, some) = topic_and_partitions("t:1").unwrap();
        assert_eq!((topic.as_str(), some), ("t", Some(vec![1])));
    }

    #[test]
    fn a_name_is_never_a_pattern() {
        for name in ["a.b", "a-b_C9"] {
            assert!(is_name(name), "{name}");
        }
        for other in ["a.*", "a|b", "[a]", "..", "a b"] {
            assert!(!is_name(other), "{other}");
        }
    }
}
