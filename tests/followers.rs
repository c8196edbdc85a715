//! Followers in processes of their own, beside a writer that is killed and started again: every
//! record once, in order, and nothing that is not there in the end.
//!
//! A test binary of its own. Writers and followers are this binary, started again for one test with
//! a role. The writer appends, rolls, forgets, compacts, truncates, deletes topics and makes them
//! again, until it is killed; the followers write down what they read; the parent compares that
//! with what is left in the end.
//!
//! Plain `cargo test` kills a few times, `OTTLA_PROOF=ci` fifty times within a minute, and
//! `OTTLA_PROOF=soak` fifty times within ten minutes.
//!
//! Knows nothing about the crate's inside.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking and has a clock of its own"
)]

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ottla::{
    Broker, BrokerConfig, CleanupPolicy, Error, Log, Offset, Record, Result, Start, TopicConfig,
};

const ROLE: &str = "OTTLA_FOLLOWERS_ROLE";
const DIR: &str = "OTTLA_FOLLOWERS_DIR";
const TEST: &str = "followers_read_every_record_once_while_the_writer_is_killed";

/// What the last record of a partition says.
const LAST: &[u8] = b"the last one";

/// Nobody waits longer than this for something that must come.
const PATIENCE: Duration = Duration::from_secs(600);

/// How many followers there are, how often the writer is killed, and how long it lives at least.
fn extent() -> (usize, u32, Duration) {
    match env::var("OTTLA_PROOF").as_deref() {
        Ok("ci") => (4, 50, Duration::from_millis(900)),
        Ok("soak") => (4, 50, Duration::from_millis(11_500)),
        _ => (2, 3, Duration::from_millis(300)),
    }
}

fn started(role: &str, dir: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args([TEST, "--exact", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .env(DIR, dir)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn followers_read_every_record_once_while_the_writer_is_killed() {
    let role = env::var(ROLE).unwrap_or_default();
    let dir = env::var_os(DIR).map(PathBuf::from).unwrap_or_default();
    match role.as_str() {
        "" => run(),
        "write" => write(&dir),
        name => follow(&dir, name),
    }
}

fn run() {
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let dir = scratch.path();
    let (followers, kills, lives) = extent();
    // They are there before the directory is.
    let names: Vec<_> = (0..followers)
        .map(|number| format!("follower{number}"))
        .collect();
    let mut reading: Vec<_> = names.iter().map(|name| started(name, dir)).collect();
    for kill in 0..kills {
        let mut writer = started("write", dir);
        // A life that is over before it has written anything shows nothing.
        let begun = dir.join(format!("begun-{}", writer.id()));
        until_it_is_there(|| {
            let has_begun = begun.exists();
            (has_begun || writer.try_wait().unwrap().is_some()).then_some(())
        });
        thread::sleep(lives + Duration::from_millis(u64::from(kill % 7) * 100));
        assert!(
            writer.try_wait().unwrap().is_none(),
            "the writer has failed"
        );
        writer.kill().unwrap();
        writer.wait().unwrap();
    }
    fs::write(dir.join("finish"), "").unwrap();
    assert!(started("write", dir).wait().unwrap().success());
    for follower in &mut reading {
        assert!(follower.wait().unwrap().success(), "a follower has failed");
    }
    let broker = Broker::open(dir.join("data")).unwrap();
    for name in &names {
        for place in ["flights-0", "flights-1", "table-0"] {
            compare(&broker, dir, name, place);
        }
    }
}

/// Compares what a follower has read with what there is.
fn compare(broker: &Broker, dir: &Path, follower: &str, place: &str) {
    let (topic, partition) = place.split_once('-').unwrap();
    let log = broker
        .topic(topic)
        .unwrap()
        .partition(partition.parse().unwrap())
        .unwrap();
    let notes = fs::read_to_string(dir.join(format!("{follower}-{place}"))).unwrap();
    let (mut read, mut next): (BTreeMap<Offset, &str>, Offset) = (BTreeMap::new(), 0);
    for line in notes.lines() {
        let mut words = line.splitn(3, ' ');
        let (what, offset) = (
            words.next().unwrap(),
            words.next().unwrap().parse().unwrap(),
        );
        match what {
            "read" => {
                let gap_allowed = topic == "table";
                assert!(
                    offset == next || gap_allowed && offset > next,
                    "{place}: {line} at {next}"
                );
                read.insert(offset, words.next().unwrap());
                next = offset + 1;
            }
            "truncated" => {
                drop(read.split_off(&offset));
                next = offset;
            }
            // It was overtaken by retention.
            "start" => next = offset,
            _ => panic!("{line}"),
        }
    }
    assert_eq!(
        next,
        log.end_offset(),
        "{follower} {place}: something is missing"
    );
    let mut there = 0;
    for record in log.reader(Start::Earliest).unwrap() {
        let record = record.unwrap();
        let value = String::from_utf8(record.value().unwrap().to_vec()).unwrap();
        assert_eq!(
            read.get(&record.offset),
            Some(&value.as_str()),
            "{follower} {place}"
        );
        there += 1;
    }
    assert!(
        there > 0 && read.len() >= there,
        "{follower} {place} has read {}",
        read.len()
    );
}

/// Reads partitions until each has ended.
fn follow(dir: &Path, name: &str) {
    let broker = until_it_is_there(|| Broker::open_read_only(dir.join("data")).ok());
    thread::scope(|scope| {
        for place in ["flights-0", "flights-1", "table-0"] {
            let broker = &broker;
            scope.spawn(move || {
                let (topic, partition) = place.split_once('-').unwrap();
                let partition = partition.parse().unwrap();
                let log = until_it_is_there(|| broker.topic(topic).ok()?.partition(partition).ok());
                let notes = read_to_the_end(&log).unwrap();
                fs::write(dir.join(format!("{name}-{place}")), notes).unwrap();
            });
        }
        scope.spawn(|| follow_lives(&broker));
    });
}

fn until_it_is_there<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "it is not there");
        thread::sleep(Duration::from_millis(5));
    }
}

/// What was read, line by line, up to the last record.
fn read_to_the_end(log: &Log) -> Result<String> {
    let mut notes = String::new();
    let mut reader = log
        .reader(Start::Offset(0))
        .or_else(|_| log.reader(Start::Earliest))?;
    if reader.position() > 0 {
        writeln!(notes, "start {}", reader.position()).unwrap();
    }
    loop {
        let at = reader.position();
        match reader.next() {
            Some(Ok(record)) => {
                let value = record.value().unwrap_or_default();
                writeln!(
                    notes,
                    "read {} {}",
                    record.offset,
                    String::from_utf8_lossy(value)
                )
                .unwrap();
                if value == LAST {
                    return Ok(notes);
                }
            }
            Some(Err(Error::Truncated { end, .. })) => {
                writeln!(notes, "truncated {end}").unwrap();
                reader.seek(end)?;
            }
            Some(Err(Error::OffsetOutOfRange { start, .. })) if start > at => {
                writeln!(notes, "start {start}").unwrap();
                if let Err(error) = reader.seek(start) {
                    // It has moved on since.
                    assert!(matches!(error, Error::OffsetOutOfRange { .. }), "{error}");
                    reader.seek(Start::Earliest)?;
                    writeln!(notes, "start {}", reader.position()).unwrap();
                }
            }
            Some(Err(error)) => return Err(error),
            None => assert!(reader.wait(PATIENCE)?, "nothing comes any more at {at}"),
        }
    }
}

/// Reads one topic after the other that has the same name.
fn follow_lives(broker: &Broker) {
    let begun = Instant::now();
    loop {
        assert!(
            begun.elapsed() < 3 * PATIENCE,
            "the last topic does not come"
        );
        let topic = until_it_is_there(|| broker.topic("passing").ok());
        let reader = topic.partition(0).and_then(|log| log.reader(0));
        let mut reader = match reader {
            Ok(reader) => reader,
            Err(Error::UnknownTopic { .. } | Error::Closed) => continue,
            Err(error) => panic!("{error}"),
        };
        let (mut life, mut next) = (None, 0);
        let ended = loop {
            match reader.next() {
                Some(Ok(record)) => {
                    let value = String::from_utf8(record.value().unwrap().to_vec()).unwrap();
                    if value.as_bytes() == LAST {
                        return;
                    }
                    assert_eq!(record.offset, next);
                    assert_eq!(*life.get_or_insert_with(|| value.clone()), value);
                    next += 1;
                }
                Some(Err(error)) => break error,
                None => match reader.wait(PATIENCE) {
                    Ok(came) => assert!(came),
                    Err(error) => break error,
                },
            }
        };
        assert!(
            matches!(ended, Error::Closed | Error::UnknownTopic { .. }),
            "{ended}"
        );
    }
}

/// Everything that a writer does, until it is killed or is to finish.
fn write(dir: &Path) {
    let config = BrokerConfig::default().lock_timeout(PATIENCE);
    let broker = Broker::open_with(dir.join("data"), config).unwrap();
    let small = || TopicConfig::default().segment_bytes(2048);
    let flights = broker
        .create_topic_if_absent("flights", small().partitions(2))
        .unwrap();
    let table = small().cleanup_policy(CleanupPolicy::Compact);
    let table = broker.create_topic_if_absent("table", table).unwrap();
    let logs = [0, 1].map(|partition| flights.partition(partition).unwrap());
    let table = table.partition(0).unwrap();
    let mut round: u64 = 0;
    while !dir.join("finish").exists() {
        round += 1;
        if round == 2 {
            let begun = format!("begun-{}", std::process::id());
            fs::write(dir.join(begun), "").unwrap();
        }
        for log in &logs {
            for _ in 0..8 {
                // The epoch tells records apart that have the same offset one after the other.
                let value = format!("{} of epoch {}", log.end_offset(), log.epoch());
                log.append(&value).unwrap();
            }
        }
        let key = (round % 11).to_string();
        table
            .append(Record::keyed(&key, &table.end_offset().to_string()))
            .unwrap();
        if round.is_multiple_of(40) {
            table.compact().unwrap();
        }
        if round.is_multiple_of(25) {
            let end = logs[0].end_offset();
            logs[0]
                .truncate(end.saturating_sub(round % 17).max(logs[0].start_offset()))
                .unwrap();
        }
        if round.is_multiple_of(30) {
            let start = logs[1].high_watermark().saturating_sub(500);
            logs[1].truncate_prefix(start).unwrap();
        }
        if round.is_multiple_of(35) {
            pass(&broker, round);
        }
        thread::sleep(Duration::from_millis(1));
    }
    drop(broker.delete_topic("passing"));
    let passing = broker.create_topic("passing", small()).unwrap();
    for log in logs.iter().chain([&table, &passing.partition(0).unwrap()]) {
        log.append(Record::keyed("last", LAST)).unwrap();
    }
    broker.close().unwrap();
}

/// Ends a topic and makes another one of the same name.
fn pass(broker: &Broker, round: u64) {
    match broker.delete_topic("passing") {
        Ok(()) | Err(Error::UnknownTopic { .. }) => {}
        Err(error) => panic!("{error}"),
    }
    let passing = broker
        .create_topic("passing", TopicConfig::default())
        .unwrap();
    let life = format!("life {round} of {}", std::process::id());
    for _ in 0..20 {
        passing.append(&life).unwrap();
    }
}
