//! Compaction and retention through the public API.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla::{CleanupPolicy, Log, LogConfig, LogRecord, Record, Timestamp};

fn compacted() -> LogConfig {
    LogConfig::default()
        .segment_bytes(2048)
        .index_interval_bytes(256)
        .cleanup_policy(CleanupPolicy::Compact)
}

fn all(log: &Log) -> Vec<LogRecord> {
    log.reader(log.start_offset())
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}

fn key_of(record: &LogRecord) -> String {
    String::from_utf8(record.key().unwrap().to_vec()).unwrap()
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
        .map(|r| {
            (
                key_of(r),
                (
                    r.offset,
                    String::from_utf8(r.value().unwrap().to_vec()).unwrap(),
                ),
            )
        })
        .collect();
    assert_eq!(&found, newest);
}

#[test]
fn every_key_keeps_its_newest_record_at_its_own_offset() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path().join("log"), compacted()).unwrap();
    let newest = fill(&log, 50, 2000);
    let report = log.compact().unwrap();
    assert_eq!(report.cleaned_to, 2000);
    assert_eq!(all(&log).len(), 50);
    assert_eq!(report.records_dropped, 1950);
    check_newest(&log, &newest);
    assert!(
        log.segments()
            .iter()
            .all(|segment| segment.size_bytes <= 2048)
    );
    for offset in [0, 17, 1000, 1949] {
        assert_eq!(log.read(offset).unwrap(), None);
    }
    assert_eq!(log.append(Record::keyed("key 1", "later")).unwrap(), 2000);
    drop(log);
    let log = Log::open(dir.path().join("log"), compacted()).unwrap();
    assert!(log.open_report().clean, "{:?}", log.open_report());
    assert_eq!(all(&log).len(), 51);
    log.compact().unwrap();
    assert_eq!(all(&log).len(), 50);
}

#[test]
fn more_keys_than_fit_in_memory_mean_more_rounds_and_the_same_result() {
    let dir = tempfile::tempdir().unwrap();
    let config = compacted().dedupe_buffer_bytes(1024);
    let log = Log::open(dir.path().join("log"), config).unwrap();
    let newest = fill(&log, 300, 3000);
    let report = log.compact().unwrap();
    assert!(report.rounds > 3, "{report:?}");
    assert_eq!(report.cleaned_to, 3000);
    check_newest(&log, &newest);
}

#[test]
fn a_tombstone_stays_for_its_time_and_then_goes() {
    let dir = tempfile::tempdir().unwrap();
    let config = compacted().delete_retention_ms(Duration::ZERO);
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
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path().join("log"), compacted()).unwrap();
    fill(&log, 20, 1000);
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
    assert_eq!(last, Some(999));
    assert!(seen >= 20);
}

#[test]
fn a_record_without_a_key_is_refused_and_so_is_compacting_a_log_that_deletes() {
    let dir = tempfile::tempdir().unwrap();
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

#[test]
fn retention_forgets_old_segments_and_seals_the_active_one_when_it_is_old_too() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig::default()
        .segment_bytes(1024)
        .retention_ms(Duration::from_secs(3600));
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
    let config = log.config().retention_ms(Duration::ZERO);
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
    let dir = tempfile::tempdir().unwrap();
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
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig::default()
        .segment_bytes(1024)
        .retention_ms(Duration::ZERO);
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
