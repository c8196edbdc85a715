//! Retention through the public API.

use std::time::Duration;

use ottla::{Log, LogConfig, Record, Timestamp};

use crate::compaction::all;
use crate::helpers::scratch;

#[test]
fn retention_forgets_old_segments_and_seals_the_active_one_when_it_is_old_too() {
    let dir = scratch();
    let config = LogConfig::default()
        .segment_bytes(1024)
        .retention(Duration::from_secs(3600));
    let log = Log::open(dir.path().join("log"), config).unwrap();
    let hours_ago =
        |hours: i64| Timestamp::from_millis(Timestamp::now().as_millis() - hours * 3_600_000);
    for hours in (0..100).rev() {
        log.append(Record::new("some value that takes space").with_timestamp(hours_ago(hours)))
            .unwrap();
    }
    let report = log.apply_retention().unwrap();
    assert!(report.segments_deleted > 3);
    assert_eq!(report.start_offset, log.start_offset());
    assert!(matches!(
        log.reader(0),
        Err(ottla::Error::OffsetOutOfRange { .. })
    ));
    assert_eq!(all(&log).last().unwrap().offset, 99);
    let config = log.config().retention(Duration::ZERO);
    drop(log);
    let log = Log::open(dir.path().join("log"), config).unwrap();
    // A record of a while ago: nothing that is left is younger than 0 milliseconds.
    std::thread::yield_now();
    while Timestamp::now().as_millis() <= all(&log).last().unwrap().timestamp.as_millis() {}
    log.apply_retention().unwrap();
    assert_eq!((log.start_offset(), log.end_offset()), (100, 100));
    assert_eq!(log.append("next").unwrap(), 100);
}

#[test]
fn retention_by_size_keeps_at_least_so_much() {
    let dir = scratch();
    let config = LogConfig::default()
        .segment_bytes(1024)
        .retention_bytes(3000);
    let log = Log::open(dir.path().join("log"), config).unwrap();
    for number in 0..200 {
        log.append(&format!("value {number}")).unwrap();
    }
    log.apply_retention().unwrap();
    let kept: u64 = log
        .segments()
        .iter()
        .map(|segment| segment.size_bytes)
        .sum();
    assert!((3000..4100).contains(&kept), "{kept}");
}

#[test]
fn a_timestamp_from_the_future_does_not_keep_a_log_from_forgetting() {
    let dir = scratch();
    let config = LogConfig::default()
        .segment_bytes(1024)
        .retention(Duration::ZERO);
    let log = Log::open(dir.path().join("log"), config).unwrap();
    let future = Timestamp::from_millis(Timestamp::now().as_millis() + 1_000_000_000);
    for number in 0..60 {
        let time = if number == 3 {
            future
        } else {
            Timestamp::from_millis(1_000_000)
        };
        log.append(Record::new("value value value").with_timestamp(time))
            .unwrap();
    }
    log.flush().unwrap();
    let written = Timestamp::now().as_millis();
    while Timestamp::now().as_millis() <= written + 20 {}
    log.apply_retention().unwrap();
    assert_eq!(log.start_offset(), 60);
}

#[test]
fn the_largest_limits_forget_nothing_and_a_limit_of_nothing_forgets_all() {
    let dir = scratch();
    let config = LogConfig::default()
        .segment_bytes(1024)
        .retention(Duration::MAX)
        .retention_bytes(u64::MAX);
    let log = Log::open(dir.path(), config).unwrap();
    for number in 0..50 {
        let time = Timestamp::from_millis(number);
        log.append(Record::new("some value").with_timestamp(time))
            .unwrap();
    }
    let report = log.apply_retention().unwrap();
    assert_eq!((report.segments_deleted, report.start_offset), (0, 0));
    log.close().unwrap();
    let nothing = LogConfig::default().segment_bytes(1024).retention_bytes(0);
    let log = Log::open(dir.path(), nothing.clone()).unwrap();
    let report = log.apply_retention().unwrap();
    assert_eq!(
        (report.segments_deleted > 3, report.start_offset),
        (true, 50)
    );
    assert_eq!((log.start_offset(), log.end_offset()), (50, 50));
    // An empty segment stays, however often it is asked.
    let report = log.apply_retention().unwrap();
    assert_eq!((report.segments_deleted, report.start_offset), (0, 50));
    log.close().unwrap();
    let log = Log::open(dir.path(), nothing).unwrap();
    assert!(log.open_report().clean);
    assert_eq!((log.start_offset(), log.append("next").unwrap()), (50, 50));
}
