//! The names of Kafka's scripts, as other words for the verbs.
//!
//! Knows nothing about the flags of verbs. `ottla kafka-topics.sh ...` is `ottla topics ...`; so is
//! a link named `kafka-topics.sh` that points to `ottla`; and `kafka-run-class.sh` takes the class
//! of a tool.

use std::ffi::{OsStr, OsString};
use std::path::Path;

/// Flags that say where a server is.
pub(crate) const SERVERS: &[&str] = &[
    "bootstrap-server",
    "bootstrap-servers",
    "broker-list",
    "zookeeper",
    "bootstrap-controller",
];

/// A verb (of one or two words) and the scripts and classes that it stands for.
const SCRIPTS: [(&[&str], &[&str]); 11] = [
    (&["topics"], &["kafka-topics", "TopicCommand"]),
    (&["produce"], &["kafka-console-producer", "ConsoleProducer"]),
    (&["consume"], &["kafka-console-consumer", "ConsoleConsumer"]),
    (
        &["groups"],
        &["kafka-consumer-groups", "ConsumerGroupCommand"],
    ),
    (&["configs"], &["kafka-configs", "ConfigCommand"]),
    (&["get-offsets"], &["kafka-get-offsets", "GetOffsetShell"]),
    (
        &["delete-records"],
        &["kafka-delete-records", "DeleteRecordsCommand"],
    ),
    (&["log-dirs"], &["kafka-log-dirs", "LogDirsCommand"]),
    (&["dump"], &["kafka-dump-log", "DumpLogSegments"]),
    (
        &["perf", "produce"],
        &["kafka-producer-perf-test", "ProducerPerformance"],
    ),
    (
        &["perf", "consume"],
        &["kafka-consumer-perf-test", "ConsumerPerformance"],
    ),
];

/// The words with a script's name put as the verb.
pub(crate) fn spelled_out(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<OsString> = words.collect();
    if let Some(verb) = words.first().and_then(|word| verb_of(word)) {
        insert(&mut words, 1, 0, verb);
        return words;
    }
    let at = place_of_verb(&words);
    if words.get(at).is_some_and(|word| word == "help") {
        // `ottla help topics` is `ottla topics --help`.
        words.remove(at);
        words.push("--help".into());
        return spelled_out(words.into_iter());
    }
    if words
        .get(at)
        .is_some_and(|word| base(word) == "kafka-run-class")
    {
        if let Some(verb) = words.get(at + 1).and_then(|word| verb_of(word)) {
            insert(&mut words, at, 2, verb);
        }
    } else if let Some(verb) = words.get(at).and_then(|word| verb_of(word)) {
        insert(&mut words, at, 1, verb);
    }
    words
}

/// The verb, of one word or two, behind the options of the program itself.
pub(crate) fn verb_in(words: &[OsString]) -> String {
    let at = place_of_verb(words);
    let word = |at: usize| words.get(at).map(|word| word.to_string_lossy());
    match (word(at), word(at + 1)) {
        (Some(first), Some(second)) if first == "perf" => format!("{first} {second}"),
        (first, _) => first.unwrap_or_default().into_owned(),
    }
}

/// The first word that is no option of the program itself and no value of one.
fn place_of_verb(words: &[OsString]) -> usize {
    let mut at = 1;
    while let Some(word) = words.get(at).filter(|word| is_option(word)) {
        let name = word.to_string_lossy();
        let takes_value = name
            .strip_prefix("--")
            .is_some_and(|name| ["dir", "color"].contains(&name) || SERVERS.contains(&name));
        at += if takes_value { 2 } else { 1 };
    }
    at
}

fn insert(words: &mut Vec<OsString>, at: usize, replacing: usize, verb: &[&str]) {
    let verb = verb.iter().map(OsString::from);
    words.splice(at..at.saturating_add(replacing).min(words.len()), verb);
}

fn is_option(word: &OsStr) -> bool {
    word.to_string_lossy().starts_with('-')
}

/// The verb of a script's or a class's name.
fn verb_of(word: &OsStr) -> Option<&'static [&'static str]> {
    let name = base(word);
    let named = |known: &&str| name == **known || name.rsplit('.').next() == Some(known);
    SCRIPTS
        .iter()
        .find(|(_, names)| names.iter().any(named))
        .map(|(verb, _)| *verb)
}

/// The last part of a path, without the ending of a script.
fn base(word: &OsStr) -> String {
    let path = Path::new(word);
    let name = path.file_name().unwrap_or(word).to_string_lossy();
    let short = name
        .strip_suffix(".sh")
        .or_else(|| name.strip_suffix(".bat"));
    short.unwrap_or(&name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(line: &str) -> String {
        let words = spelled_out(line.split(' ').map(OsString::from));
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }

    #[test]
    fn a_scripts_name_is_the_verb() {
        for (line, expected) in [
            ("ottla kafka-topics.sh --list", "ottla topics --list"),
            ("ottla bin/kafka-topics.sh --list", "ottla topics --list"),
            (
                "ottla --bootstrap-servers x:1 kafka-topics.sh --list",
                "ottla --bootstrap-servers x:1 topics --list",
            ),
            (
                "ottla --dir d kafka-get-offsets",
                "ottla --dir d get-offsets",
            ),
            (
                "/usr/bin/kafka-topics.sh --list",
                "/usr/bin/kafka-topics.sh topics --list",
            ),
            (
                "ottla kafka-run-class.sh kafka.tools.DumpLogSegments --files x",
                "ottla dump --files x",
            ),
            (
                "ottla kafka-producer-perf-test.sh --topic t",
                "ottla perf produce --topic t",
            ),
            (
                "ottla topics --create --topic kafka-topics",
                "ottla topics --create --topic kafka-topics",
            ),
            ("ottla topics --list", "ottla topics --list"),
            ("ottla help kafka-topics.sh", "ottla topics --help"),
            ("ottla help", "ottla --help"),
        ] {
            assert_eq!(spelled(line), expected, "{line}");
        }
    }
}
