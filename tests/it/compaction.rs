//! Compaction through the public API.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla::{CleanupPolicy, Log, LogConfig, LogRecord, Record};

use crate::helpers::{scratch, text};

fn compacted() -> LogConfig {
    LogConfig::default()
        .segment_bytes(2048)
        .index_interval_bytes(256)
        .cleanup_policy(CleanupPolicy::Compact)
}

pub(crate) fn all(log: &Log) -> Vec<LogRecord> {
    log.reader(log.start_offset())
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}

/// Appends `count` records over `keys` keys; gives the newest offset and value of each.
fn fill(log: &Log, keys: u64, count: u64) -> BTreeMap<String, (u64, String)> {
    let mut newest = BTreeMap::new();
    for number in 0..count {
        let (key, value) = (
            format!("key {}", number * 7 % keys),
            format!("value {number}"),
        );
        let offset = log.append(Record::keyed(&key, &value)).unwrap();
        newest.insert(key, (offset, value));
    }
    newest
}

fn check_newest(log: &Log, newest: &BTreeMap<String, (u64, String)>) {
    let records = all(log);
    assert!(records.is_sorted_by(|a, b| a.offset < b.offset));
    let found: BTreeMap<_, _> = records
        .iter()
        .map(|record| (text(record.key()), (record.offset, text(record.value()))))
        .collect();
    assert_eq!(&found, newest);
}

#[test]
fn every_key_keeps_its_newest_record_at_its_own_offset() {
    let dir = scratch();
    let log = Log::open(dir.path().join("log"), compacted()).unwrap();
    let newest = fill(&log, 50, 1000);
    let report = log.compact().unwrap();
    assert_eq!(report.cleaned_to, 1000);
    assert_eq!(all(&log).len(), 50);
    assert_eq!(report.records_dropped, 950);
    check_newest(&log, &newest);
    assert!(
        log.segments()
            .iter()
            .all(|segment| segment.size_bytes <= 2048)
    );
    for offset in [0, 17, 500, 949] {
        assert_eq!(log.read(offset).unwrap(), None);
    }
    assert_eq!(log.append(Record::keyed("key 1", "later")).unwrap(), 1000);
    drop(log);
    let log = Log::open(dir.path().join("log"), compacted()).unwrap();
    assert!(log.open_report().clean, "{:?}", log.open_report());
    assert_eq!(all(&log).len(), 51);
    log.compact().unwrap();
    assert_eq!(all(&log).len(), 50);
}

#[test]
fn more_keys_than_fit_in_memory_mean_more_rounds_and_the_same_result() {
    let dir = scratch();
    let config = compacted().dedupe_buffer_bytes(1024);
    let log = Log::open(dir.path().join("log"), config).unwrap();
    let newest = fill(&log, 120, 600);
    let report = log.compact().unwrap();
    assert!(report.rounds > 3, "{report:?}");
    assert_eq!(report.cleaned_to, 600);
    check_newest(&log, &newest);
}

#[test]
fn a_tombstone_stays_for_its_time_and_then_goes() {
    let dir = scratch();
    let config = compacted().delete_retention(Duration::ZERO);
    let log = Log::open(dir.path().join("log"), config).unwrap();
    log.append(Record::keyed("a", "1")).unwrap();
    log.append(Record::keyed("b", "1")).unwrap();
    log.append(Record::tombstone("a")).unwrap();
    log.append(Record::keyed("c", "1")).unwrap();
    log.compact().unwrap();
    assert_eq!(
        all(&log).iter().map(|r| r.offset).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    log.compact().unwrap();
    assert_eq!(
        all(&log).iter().map(|r| r.offset).collect::<Vec<_>>(),
        [1, 3]
    );
}

#[test]
fn a_reader_in_the_middle_goes_on_over_a_compaction() {
    let dir = scratch();
    let log = Log::open(dir.path().join("log"), compacted()).unwrap();
    fill(&log, 20, 600);
    let mut reader = log.reader(0).unwrap();
    let mut last = None;
    for _ in 0..300 {
        last = Some(reader.next().unwrap().unwrap().offset);
    }
    log.compact().unwrap();
    let mut seen = 0;
    for record in reader {
        let offset = record.unwrap().offset;
        assert!(last.is_none_or(|last| last < offset));
        last = Some(offset);
        seen += 1;
    }
    assert_eq!(last, Some(599));
    assert!(seen >= 20);
}

#[test]
fn a_record_without_a_key_is_refused_and_so_is_compacting_a_log_that_deletes() {
    let dir = scratch();
    let log = Log::open(dir.path().join("log"), compacted()).unwrap();
    assert!(matches!(
        log.append("no key"),
        Err(ottla::Error::InvalidRecord { .. })
    ));
    assert_eq!(log.end_offset(), 0);
    let other = Log::open(dir.path().join("other"), LogConfig::default()).unwrap();
    assert!(matches!(
        other.compact(),
        Err(ottla::Error::InvalidConfig { .. })
    ));
}
