//! Flags of Kafka's scripts that mean nothing on a directory, or that it cannot do.
//!
//! Knows nothing about what a verb does with the flags that it has. A flag of a script is in
//! exactly one place: with its verb where it does something, else in the table here. Invariant:
//! a command line that was written for Kafka is done as a whole, or what is left out is told.

use std::ffi::OsString;

use crate::failure::{Failure, Result, note};
use crate::names;

/// What stands behind a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    Nothing,
    One,
    /// A value, if the next word is no flag.
    Maybe,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// It does no harm; this is why.
    Ignored(&'static str),
    /// It cannot be done; this says what to do instead.
    Refused(&'static str),
}

use Fate::{Ignored, Refused};
use Takes::{Maybe, Nothing, One};

const SERVER: Fate = Ignored("there is no server, the directory is the cluster");
const CLIENT: Fate = Ignored("there is no connection to a server");
const MEASURES: Fate = Ignored("no client keeps metrics here; see `ottla stats`");
const KEPT: Fate = Refused(
    "only topics have settings that are kept in a directory; a program sets the others when it \
     opens the directory (BrokerConfig)",
);
const TRANSACTIONS: Fate = Refused(
    "no transactions are written here; a batch of one partition is whole or not there at all",
);

/// The verbs (none: every one), the flags, and what becomes of them.
const TABLE: &[(&[&str], &[&str], Takes, Fate)] = &[
    (&[], names::SERVERS, One, SERVER),
    (
        &[
            "topics",
            "groups",
            "configs",
            "get-offsets",
            "delete-records",
            "log-dirs",
        ],
        &["command-config", "zk-tls-config-file"],
        One,
        CLIENT,
    ),
    (
        &["topics"],
        &["replica-assignment"],
        One,
        Refused(
            "a directory holds one copy of every record, and no brokers to place it on: say \
             --partitions COUNT",
        ),
    ),
    (
        &["topics"],
        &["partition-size-limit-per-response"],
        One,
        CLIENT,
    ),
    (
        &["topics", "configs"],
        &["force", "disable-rack-aware"],
        Nothing,
        Ignored("there is nothing that it would force"),
    ),
    (
        &["produce"],
        &[
            "timeout",
            "message-send-max-retries",
            "max-block-ms",
            "max-memory-bytes",
            "metadata-expiry-ms",
            "request-timeout-ms",
            "retry-backoff-ms",
            "socket-buffer-size",
            "queue-size",
            "queue-enqueuetimeout-ms",
        ],
        One,
        Ignored("an append waits for the disk alone"),
    ),
    (
        &["produce"],
        &["key-serializer", "value-serializer"],
        One,
        Ignored("keys and values are the bytes of the line"),
    ),
    (
        &["produce"],
        &["old-producer"],
        Nothing,
        Ignored("there is one producer"),
    ),
    (
        &["consume"],
        &["skip-message-on-error"],
        Nothing,
        Ignored("no record is an error to print"),
    ),
    (
        &["consume"],
        &[
            "enable-systest-events",
            "new-consumer",
            "csv-reporter-enabled",
        ],
        Nothing,
        Ignored("it does not change which records are printed"),
    ),
    (&["consume"], &["metrics-dir"], One, MEASURES),
    (
        &["consume"],
        &["blacklist"],
        One,
        Refused("say which topics are wanted: --include PATTERN"),
    ),
    (
        &["consume"],
        &["delete-consumer-offsets"],
        Nothing,
        Refused("say `ottla groups --group GROUP --delete`"),
    ),
    (
        &["groups"],
        &["timeout"],
        One,
        Ignored("there is no server to wait for"),
    ),
    (
        &["configs"],
        &[
            "broker",
            "broker-logger",
            "client",
            "client-metrics",
            "group",
            "ip",
            "user",
        ],
        One,
        KEPT,
    ),
    (
        &["configs"],
        &[
            "broker-defaults",
            "client-defaults",
            "entity-default",
            "ip-defaults",
            "user-defaults",
        ],
        Nothing,
        KEPT,
    ),
    (&["get-offsets"], &["offsets", "max-wait-ms"], One, CLIENT),
    (
        &["dump"],
        &["max-message-size"],
        One,
        Ignored("batches of every size are read"),
    ),
    (
        &["dump"],
        &["remote-log-metadata-decoder"],
        Nothing,
        Refused(
            "there is no tiered storage in a directory; --print-data-log prints such records as \
             text",
        ),
    ),
    (
        &["perf produce", "perf consume"],
        &["command-config", "producer.config", "consumer.config"],
        One,
        CLIENT,
    ),
    (
        &["perf produce", "perf consume"],
        &["print-metrics"],
        Nothing,
        MEASURES,
    ),
    (
        &["perf produce"],
        &["transactional-id", "transaction-duration-ms"],
        One,
        TRANSACTIONS,
    ),
    (
        &["perf consume"],
        &[
            "fetch-size",
            "socket-buffer-size",
            "threads",
            "num-fetch-threads",
        ],
        One,
        Ignored("one thread reads batches as they lie on the disk"),
    ),
    (
        &["perf consume"],
        &["timeout"],
        Maybe,
        Ignored("it ends at the end of what is there"),
    ),
    (
        &["perf consume"],
        &["group"],
        One,
        Ignored("all records are read, and nothing is committed"),
    ),
    (&["perf consume"], &["command-property"], One, CLIENT),
    (
        &["perf consume"],
        &["date-format", "reporting-interval"],
        One,
        Ignored("one line with all figures is printed at the end"),
    ),
    (
        &["perf consume"],
        &["show-detailed-stats"],
        Nothing,
        Ignored("one line with all figures is printed at the end"),
    ),
    (
        &["perf consume"],
        &["from-latest"],
        Nothing,
        Refused("it reads what is there; without this flag it begins with the first record"),
    ),
    (
        &["perf consume"],
        &["include"],
        One,
        Refused("say which topic: --topic NAME"),
    ),
];

/// The words without the flags of the table; a note tells of each that is ignored.
pub(crate) fn sifted(words: Vec<OsString>) -> Result<Vec<OsString>> {
    let verb = names::verb_in(&words);
    let mut kept = Vec::with_capacity(words.len());
    let mut words = words.into_iter().peekable();
    while let Some(word) = words.next() {
        let text = word.to_string_lossy().into_owned();
        if text == "--" {
            kept.push(word);
            kept.extend(words);
            break;
        }
        let (flag, value) = match text.split_once('=') {
            Some((flag, _)) => (flag, true),
            None => (text.as_str(), false),
        };
        let Some((takes, fate)) = flag.strip_prefix("--").and_then(|name| found(&verb, name))
        else {
            kept.push(word);
            continue;
        };
        match fate {
            Ignored(why) => note(&format!("note: {flag} is ignored: {why}")),
            Refused(instead) => {
                return Err(Failure::usage(format!("{flag} cannot be done: {instead}")));
            }
        }
        let is_value = |next: &OsString| !next.to_string_lossy().starts_with("--");
        let has_value = !value && takes != Nothing;
        if has_value && words.next_if(is_value).is_none() && takes == One {
            return Err(Failure::usage(format!("a value is required for {flag}")));
        }
    }
    Ok(kept)
}

/// Refuses a class of Java that is not one of those that the program is itself, by its last name.
pub(crate) fn check_class(
    flag: &str,
    class: Option<&str>,
    known: &[&str],
    instead: &str,
) -> Result<()> {
    let is_known = |class: &str| {
        class
            .rsplit('.')
            .next()
            .is_some_and(|name| known.contains(&name))
    };
    match class {
        Some(class) if !is_known(class) => Err(Failure::usage(format!(
            "{flag} cannot be {class}: classes of Java are not loaded; {instead}"
        ))),
        _ => Ok(()),
    }
}

fn found(verb: &str, name: &str) -> Option<(Takes, Fate)> {
    let row = TABLE.iter().find(|(verbs, names, ..)| {
        names.contains(&name) && (verbs.is_empty() || verbs.contains(&verb))
    });
    row.map(|(_, _, takes, fate)| (*takes, *fate))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sift(line: &str) -> Result<String> {
        let words = sifted(line.split(' ').map(OsString::from).collect())?;
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        Ok(words.join(" "))
    }

    #[test]
    fn flags_that_mean_nothing_go_with_their_values() {
        for (line, expected) in [
            (
                "ottla --bootstrap-server x:1 topics --list",
                "ottla topics --list",
            ),
            (
                "ottla topics --list --bootstrap-server=x:1 --force",
                "ottla topics --list",
            ),
            (
                "ottla --dir d perf consume --timeout --topic t",
                "ottla --dir d perf consume --topic t",
            ),
            (
                "ottla perf consume --timeout 5 --topic t",
                "ottla perf consume --topic t",
            ),
            (
                "ottla produce --topic t -- --zookeeper",
                "ottla produce --topic t -- --zookeeper",
            ),
            // The same flag means something to another verb.
            (
                "ottla consume --group g --timeout 5",
                "ottla consume --group g --timeout 5",
            ),
        ] {
            assert_eq!(sift(line).unwrap(), expected, "{line}");
        }
        assert!(sift("ottla configs --describe --broker 1").is_err());
        assert!(sift("ottla topics --list --zookeeper").is_err());
    }
}
