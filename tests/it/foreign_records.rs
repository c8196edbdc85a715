//! Records whose content no Ottla caller would write, as Kafka's clients in other languages do:
//! what a right checksum covers is read, kept and copied onward as it is.

use std::fs;
use std::path::Path;
use std::time::Duration;

use ottla::{
    Broker, CleanupPolicy, ConsumerConfig, Error, Header, Log, LogConfig, LogRecord,
    ProducerConfig, Record, Start, Timestamp, TopicConfig,
};

use crate::compaction::all;
use crate::helpers::scratch;

const HEADER_LEN: usize = 61;
/// When the foreign records were written: five seconds before 1970.
const BEFORE_1970: i64 = -5000;

/// From its key on, each record: what must come out of everything byte for byte.
const TAILS: [&[u8]; 3] = [
    // Key "a", value "1", a header "caf\xe9" (Latin-1) with the value "x".
    b"\x02a\x021\x02\x08caf\xe9\x02x",
    // Key "b", value "2", a header without a name with the value "y".
    b"\x02b\x022\x02\x01\x02y",
    // Key "c", value "3", a header of bytes that are no text, whose value is null.
    b"\x02c\x023\x02\x04\xff\x00\x01",
];

/// A batch of [`TAILS`] and of a fourth record, of the key "d", one millisecond apart.
fn foreign_batch() -> Vec<u8> {
    let mut batch = vec![0; HEADER_LEN];
    batch[16] = 2;
    batch[23..27].copy_from_slice(&3_i32.to_be_bytes());
    batch[27..35].copy_from_slice(&BEFORE_1970.to_be_bytes());
    batch[35..43].copy_from_slice(&(BEFORE_1970 + 3).to_be_bytes());
    // No producer: its id, epoch and sequence are -1.
    batch[43..57].fill(0xff);
    batch[57..61].copy_from_slice(&4_i32.to_be_bytes());
    let tails = TAILS.into_iter().chain([&b"\x02d\x024\x00"[..]]);
    for (delta, tail) in (0_u8..).zip(tails) {
        let length = u8::try_from(tail.len() + 3).unwrap();
        // Attributes 0, then the deltas of timestamp and offset.
        batch.extend([length * 2, 0, delta * 2, delta * 2]);
        batch.extend(tail);
    }
    let length = i32::try_from(batch.len() - 12).unwrap();
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc_fast::crc32_iscsi(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

/// A directory of one segment that holds only the foreign batch.
fn foreign_log(dir: &Path) {
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join(format!("{:020}.log", 0)), foreign_batch()).unwrap();
}

fn compacted() -> LogConfig {
    LogConfig::default()
        .segment_bytes(1024)
        .cleanup_policy(CleanupPolicy::Compact)
}

/// What the records say through the public API, times included.
fn assert_foreign(records: &[LogRecord]) {
    let names: [&[u8]; 3] = [b"caf\xe9", b"", b"\xff\x00"];
    let values = [Some(&b"x"[..]), Some(b"y"), None];
    assert_eq!(records.len(), 3);
    for (place, record) in records.iter().enumerate() {
        let headers: Vec<_> = record.headers().collect();
        let (name, value) = (names[place], values[place]);
        assert_eq!(headers, [Header { name, value }]);
        let millis = BEFORE_1970 + i64::try_from(place).unwrap();
        assert_eq!(record.timestamp, Timestamp::from_millis(millis));
    }
    let key = records[0].headers().next().unwrap().key();
    assert_eq!(key, "caf\u{fffd}");
}

/// Whether the files of a log hold the records byte for byte from their keys on.
fn assert_bytes(dir: &Path) {
    let logs = crate::helpers::files_with(dir, ".log");
    let bytes: Vec<_> = logs
        .iter()
        .flat_map(|path| fs::read(path).unwrap())
        .collect();
    for tail in TAILS {
        let found = bytes.windows(tail.len()).any(|window| window == tail);
        assert!(found, "{}", tail.escape_ascii());
    }
}

#[test]
fn header_names_that_are_not_utf8_and_times_before_1970_are_read_as_they_are() {
    let dir = scratch();
    foreign_log(dir.path());
    let log = Log::open(dir.path(), LogConfig::default()).unwrap();
    assert_eq!(log.end_offset(), 4);
    assert_foreign(&all(&log)[..3]);
    for offset in 0..3 {
        let record = log.read(offset).unwrap().unwrap();
        assert_eq!(record.offset, offset);
    }
    let early = Timestamp::from_millis(BEFORE_1970 + 1);
    assert_eq!(log.offset_for_time(early).unwrap(), Some(1));
    log.close().unwrap();
    let again = Log::open(dir.path(), LogConfig::default()).unwrap();
    assert_foreign(&all(&again)[..3]);
}

#[test]
fn verify_and_repair_find_nothing_in_records_that_only_we_would_not_write() {
    let dir = scratch();
    foreign_log(dir.path());
    let log = Log::open(dir.path(), LogConfig::default()).unwrap();
    log.append("behind it").unwrap();
    log.close().unwrap();
    let report = ottla::verify(dir.path()).unwrap();
    assert!(report.is_sound(), "{report}");
    let report = ottla::repair(dir.path()).unwrap();
    assert!(report.set_aside.is_empty(), "{report:?}");
    assert_bytes(dir.path());
    let log = Log::open(dir.path(), LogConfig::default()).unwrap();
    assert_eq!(all(&log).len(), 5);
}

#[test]
fn repair_takes_a_damaged_batch_and_leaves_foreign_records_beside_it() {
    let dir = scratch();
    fs::create_dir_all(dir.path()).unwrap();
    let log = Log::open(dir.path(), LogConfig::default()).unwrap();
    log.append("a good one").unwrap();
    log.close().unwrap();
    let path = dir.path().join(format!("{:020}.log", 0));
    let mut bytes = fs::read(&path).unwrap();
    let mut foreign = foreign_batch();
    foreign[..8].copy_from_slice(&1_i64.to_be_bytes());
    bytes.extend(foreign);
    fs::write(&path, &bytes).unwrap();
    let log = Log::open(dir.path(), LogConfig::default()).unwrap();
    assert_eq!(log.end_offset(), 5);
    log.append("behind it").unwrap();
    log.close().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    bytes[HEADER_LEN + 5] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let report = ottla::repair(dir.path()).unwrap();
    assert!(!report.set_aside.is_empty(), "{report:?}");
    assert_bytes(dir.path());
    let log = Log::open(dir.path(), LogConfig::default()).unwrap();
    assert_foreign(&all(&log)[..3]);
}

#[test]
fn compaction_keeps_foreign_records_byte_for_byte() {
    let dir = scratch();
    foreign_log(dir.path());
    let log = Log::open(dir.path(), compacted()).unwrap();
    // The fourth record of the batch is superseded, so that the batch is rewritten.
    log.append(Record::keyed("d", "newer")).unwrap();
    let filler = "v".repeat(400);
    for _ in 0..4 {
        log.append(Record::keyed("e", &filler)).unwrap();
    }
    let report = log.compact().unwrap();
    assert!(report.records_dropped > 0, "{report:?}");
    let records = all(&log);
    assert_foreign(&records[..3]);
    assert_eq!(records[3].offset, 4);
    assert_bytes(dir.path());
    log.close().unwrap();
    let report = ottla::verify(dir.path()).unwrap();
    assert!(report.is_sound(), "{report}");
    let log = Log::open(dir.path(), compacted()).unwrap();
    assert_foreign(&all(&log)[..3]);
}

#[test]
fn copying_foreign_records_onward_keeps_their_bytes_and_their_times() {
    let dir = scratch();
    let (from, to, root) = (
        dir.path().join("from"),
        dir.path().join("to"),
        dir.path().join("root"),
    );
    foreign_log(&from);
    let source = Log::open(&from, LogConfig::default()).unwrap();
    let records = all(&source);
    let copy = Log::open(&to, LogConfig::default()).unwrap();
    copy.append(&records[0]).unwrap();
    copy.append_batch(&records[1..3]).unwrap();
    assert_foreign(&all(&copy));
    copy.close().unwrap();
    assert_bytes(&to);

    let broker = Broker::open(&root).unwrap();
    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    let producer = topic.producer(ProducerConfig::default()).unwrap();
    for record in &records[..3] {
        drop(producer.send(record).unwrap());
    }
    producer.flush().unwrap();
    let group = broker.group("g").unwrap();
    let config = ConsumerConfig::default().start(Start::Earliest);
    let mut consumer = group.join_with(["t"], config).unwrap();
    let mut polled: Vec<LogRecord> = Vec::new();
    while polled.len() < 3 {
        let records = consumer.poll(Duration::from_secs(1)).unwrap();
        polled.extend(records.into_iter().map(|record| (*record).clone()));
    }
    assert_foreign(&polled);
    consumer.commit().unwrap();
    drop((consumer, group, producer, topic));
    broker.close().unwrap();
    assert_bytes(&root.join("t-0"));
}

#[test]
fn a_caller_may_choose_any_header_name_but_no_time_before_1970() {
    let dir = scratch();
    let log = Log::open(dir.path(), LogConfig::default()).unwrap();
    let headers = [Header {
        name: b"caf\xe9",
        value: Some(b"x"),
    }];
    let record = Record::new("v").with_headers(&headers);
    log.append(record).unwrap();
    assert_eq!(all(&log)[0].headers().next(), Some(headers[0]));
    let early = record.with_timestamp(Timestamp::from_millis(-2));
    let refused = log.append(early);
    assert!(
        matches!(refused, Err(Error::InvalidRecord { .. })),
        "{refused:?}"
    );
    // A record that was read keeps its time; one that is given another is checked again.
    let read = log.read(0).unwrap().unwrap();
    let early = Record::from(&read).with_timestamp(Timestamp::from_millis(-2));
    assert!(log.append(early).is_err());
}
