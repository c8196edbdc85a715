//! What an error says: the cause, the place, and what to do about it.

use std::fs;
use std::time::Duration;

use ottla::{
    Broker, BrokerConfig, ConsumerConfig, Error, ErrorKind, Log, LogConfig, Start, TopicConfig,
};

use crate::helpers::{PATIENCE, scratch};

fn says(error: &Error, words: &[&str]) {
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
    // A copy says the same.
    assert_eq!(error.clone().to_string(), text);
    assert_eq!(error.clone().kind(), error.kind());
}

#[test]
fn an_io_error_says_its_cause_and_the_path() {
    let scratch = scratch();
    let file = scratch.path().join("file");
    fs::write(&file, "x").unwrap();
    let error = Log::open(file.join("log"), LogConfig::default()).unwrap_err();
    let text = std::io::Error::from(std::io::ErrorKind::NotADirectory);
    drop(text);
    says(&error, &["Not a directory", "file"]);
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(!error.is_transient());
}

#[test]
fn a_lock_that_is_held_names_the_process_and_an_opening_may_wait_for_it() {
    let scratch = scratch();
    let dir = scratch.path().join("data");
    let pid = std::process::id();
    let broker = Broker::open(&dir).unwrap();
    let named = fs::read_to_string(dir.join(".lock")).unwrap();
    assert_eq!(named.trim(), pid.to_string());
    let error = Broker::open(&dir).unwrap_err();
    says(
        &error,
        &["another handle of this process", "Topic::partition"],
    );
    let Error::Locked { pid: holder, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(*holder, Some(pid));
    assert!(error.is_transient());
    // Another process, as far as the file says.
    fs::write(dir.join(".lock"), "999999\n").unwrap();
    says(&Broker::open(&dir).unwrap_err(), &["process 999999"]);

    let short = BrokerConfig::default().lock_timeout(Duration::from_millis(30));
    assert!(matches!(
        Broker::open_with(&dir, short),
        Err(Error::Locked { .. })
    ));
    std::thread::scope(|scope| {
        let opening = scope.spawn(|| {
            let patient = BrokerConfig::default().lock_timeout(PATIENCE);
            Broker::open_with(&dir, patient)
        });
        broker.close().unwrap();
        opening.join().unwrap().unwrap().close().unwrap();
    });
    let log_dir = scratch.path().join("log");
    let log = Log::open(&log_dir, LogConfig::default()).unwrap();
    std::thread::scope(|scope| {
        let opening =
            scope.spawn(|| Log::open(&log_dir, LogConfig::default().lock_timeout(PATIENCE)));
        log.close().unwrap();
        opening.join().unwrap().unwrap();
    });
}

#[test]
fn an_error_about_a_partition_names_it_and_its_topic() {
    let scratch = scratch();
    let broker = Broker::open(scratch.path().join("data")).unwrap();
    let topic = broker
        .create_topic("flights", TopicConfig::default().partitions(3))
        .unwrap();
    topic.append_to(2, "x").unwrap();
    let error = topic.partition(2).unwrap().read(7).unwrap_err();
    says(
        &error,
        &["offset 7", "0..1", "partition 2 of topic flights"],
    );
    says(
        &topic.append_to(3, "x").unwrap_err(),
        &["topic flights has no partition 3"],
    );

    let group = broker.group("g").unwrap();
    let mut consumer = group.join(["flights"]).unwrap();
    drop(consumer.poll(Duration::ZERO).unwrap());
    let _second = group.join(["flights"]).unwrap();
    let error = consumer.position("flights", 9).unwrap_err();
    says(
        &error,
        &["partition 9 of topic flights is not assigned to this member"],
    );

    let asking = ConsumerConfig::default().start(None);
    let mut asking = broker
        .group("h")
        .unwrap()
        .join_with(["flights"], asking)
        .unwrap();
    let error = asking.poll(Duration::ZERO).unwrap_err();
    says(&error, &["of topic flights", "seek", "auto.offset.reset"]);

    let alone = Log::open(scratch.path().join("alone"), LogConfig::default()).unwrap();
    let error = alone.reader(Start::Offset(1)).unwrap_err();
    says(&error, &["offset 1 is outside 0..0"]);
}
