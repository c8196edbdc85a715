//! Files that a crash, a full disk or an accident left in a bad state.

use std::fs;
use std::path::Path;

use ottla::{Broker, Log, LogConfig, Record, Timestamp, TopicConfig};

use crate::helpers::{closed_log, files_with, numbers, scratch, values};

const RECORDS: usize = 200;

/// Many segments and many index entries from few records.
fn dense() -> LogConfig {
    LogConfig::default()
        .segment_bytes(1_024)
        .index_interval_bytes(1)
}

/// A closed log whose record `n` holds `n` and has the time `n`.
fn timed_log(dir: &Path) {
    let log = Log::open(dir, dense()).unwrap();
    for (number, millis) in numbers(RECORDS).iter().zip(0..) {
        log.append(Record::new(number).with_timestamp(Timestamp::from_millis(millis)))
            .unwrap();
    }
    log.close().unwrap();
}

fn check_timed(log: &Log, what: &str) {
    assert_eq!(values(log), numbers(RECORDS), "{what}");
    for (number, offset) in numbers(RECORDS).iter().zip(0..) {
        let record = log.read(offset).unwrap().unwrap();
        assert_eq!(record.value(), Some(number.as_bytes()));
        let at = Timestamp::from_millis(i64::try_from(offset).unwrap());
        assert_eq!(log.offset_for_time(at).unwrap(), Some(offset), "{what}");
    }
}

/// What becomes of the bytes of a file.
type Damage = fn(&[u8]) -> Vec<u8>;

/// The ways in which a small file goes bad.
const DAMAGES: [(&str, Damage); 6] = [
    ("empty", |_| Vec::new()),
    ("truncated", |bytes| bytes[..bytes.len() / 2].to_vec()),
    ("cut inside an entry", |bytes| {
        bytes[..bytes.len().saturating_sub(3)].to_vec()
    }),
    ("zero-filled", |bytes| vec![0; bytes.len().max(24)]),
    ("followed by zeros", |bytes| {
        [bytes, &[0; 4_096][..]].concat()
    }),
    ("garbage", |bytes| {
        (0..bytes.len().max(24))
            .map(|at| b"garbage!"[at % 8])
            .collect()
    }),
];

#[test]
fn a_bad_index_is_rebuilt_and_never_believed() {
    for suffix in [".index", ".timeindex"] {
        for (what, damage) in DAMAGES {
            let dir = scratch();
            timed_log(dir.path());
            let indexes = files_with(dir.path(), suffix);
            assert!(indexes.len() > 5, "{} segments", indexes.len());
            for index in &indexes {
                fs::write(index, damage(&fs::read(index).unwrap())).unwrap();
            }
            let log = Log::open(dir.path(), dense()).unwrap();
            check_timed(&log, &format!("{suffix} {what}"));
            log.append("more").unwrap();
            log.close().unwrap();
            let log = Log::open(dir.path(), dense()).unwrap();
            assert_eq!(values(&log).len(), RECORDS + 1, "{suffix} {what}");
        }
        let dir = scratch();
        timed_log(dir.path());
        for index in files_with(dir.path(), suffix) {
            fs::remove_file(index).unwrap();
        }
        check_timed(&Log::open(dir.path(), dense()).unwrap(), suffix);
    }
}

#[test]
fn an_index_that_belongs_to_another_segment_is_never_believed() {
    for suffix in [".index", ".timeindex"] {
        let dir = scratch();
        timed_log(dir.path());
        let mut indexes = files_with(dir.path(), suffix);
        let spare = dir.path().join("spare");
        let last = indexes.pop().unwrap();
        fs::copy(&last, &spare).unwrap();
        for index in indexes.iter().rev() {
            fs::copy(index, &last).unwrap();
            fs::copy(&spare, index).unwrap();
        }
        fs::remove_file(&spare).unwrap();
        check_timed(&Log::open(dir.path(), dense()).unwrap(), suffix);
    }
}

#[test]
fn a_bad_checkpoint_loses_nothing() {
    let names = [
        "recovery-point-offset-checkpoint",
        "log-start-offset-checkpoint",
        "replication-offset-checkpoint",
        "cleaner-offset-checkpoint",
        "t-0/leader-epoch-checkpoint",
    ];
    for name in names {
        for (what, damage) in DAMAGES {
            let scratch = scratch();
            let root = scratch.path().join("root");
            let broker = Broker::open(&root).unwrap();
            let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
            for number in numbers(10) {
                topic.append_to(0, &number).unwrap();
            }
            broker.close().unwrap();
            drop((topic, broker));

            let path = root.join(name);
            let before = fs::read(&path).unwrap_or_else(|_| b"0\n1\nt 0 5\n".to_vec());
            fs::write(&path, damage(&before)).unwrap();

            let broker = Broker::open(&root).unwrap();
            let topic = broker.topic("t").unwrap();
            let log = topic.partition(0).unwrap();
            assert_eq!(values(&log), numbers(10), "{name} {what}");
            topic.append_to(0, "10").unwrap();
            assert_eq!(values(&log), numbers(11), "{name} {what}");
        }
    }
}

/// The one segment file of a log of so many records, and where each batch in it ends.
fn segment_bytes(records: usize) -> Vec<u8> {
    let dir = scratch();
    closed_log(dir.path(), &LogConfig::default(), records);
    fs::read(&files_with(dir.path(), ".log")[0]).unwrap()
}

/// Opens a directory that holds nothing but this segment file: `kept` records are there, and what
/// is after them was set aside, but for zeros.
fn check_segment(content: &[u8], kept: usize, set_aside: &[u8]) {
    let scratch = scratch();
    let dir = scratch.path().join("log");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join(format!("{:020}.log", 0)), content).unwrap();

    let log = Log::open(&dir, LogConfig::default()).unwrap();
    let what = format!("{} bytes, {kept} records", content.len());
    assert_eq!(values(&log), numbers(kept), "{what}");
    let report = log.open_report();
    assert_eq!(
        report.quarantined_bytes,
        u64::try_from(set_aside.len()).unwrap(),
        "{what}"
    );
    let aside: Vec<u8> = files_with(&dir, ".quarantine")
        .iter()
        .flat_map(|file| fs::read(file).unwrap())
        .collect();
    let trimmed = aside
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    let expected = set_aside
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    assert_eq!(aside[..trimmed], set_aside[..expected], "{what}");

    let next = log.append(&kept.to_string()).unwrap();
    assert_eq!(next, u64::try_from(kept).unwrap(), "{what}");
    log.close().unwrap();
    drop(log);
    let log = Log::open(&dir, LogConfig::default()).unwrap();
    assert_eq!(values(&log), numbers(kept + 1), "{what}");
    assert_eq!(log.open_report().quarantined_bytes, 0, "{what}");
}

#[test]
fn a_segment_of_zero_bytes_is_an_empty_log() {
    check_segment(&[], 0, &[]);
}

#[test]
fn a_segment_of_1_to_60_bytes_is_an_empty_log_and_the_bytes_are_kept_aside() {
    let bytes = segment_bytes(1);
    for length in 1..=60 {
        // Zeros at the front of a batch are its base offset: they may pass for reserved space.
        let cut = &bytes[..length];
        let nothing = cut.iter().all(|byte| *byte == 0);
        check_segment(cut, 0, if nothing { &[] } else { cut });
    }
}

#[test]
fn half_a_batch_is_cut_and_kept_aside() {
    let bytes = segment_bytes(4);
    let batch = bytes.len() / 4;
    assert_eq!(
        bytes.len(),
        batch * 4,
        "one-digit values make batches of one size"
    );
    for half in [1, 17, 60, 61, batch / 2, batch - 1] {
        let cut = batch * 3 + half;
        let aside = &bytes[batch * 3..cut];
        let nothing = aside.iter().all(|byte| *byte == 0);
        check_segment(&bytes[..cut], 3, if nothing { &[] } else { aside });
    }
}

#[test]
fn a_batch_with_a_wrong_bit_at_the_end_is_cut_and_kept_aside() {
    let bytes = segment_bytes(4);
    let batch = bytes.len() / 4;
    let mut flipped = bytes.clone();
    flipped[batch * 3 + 61] ^= 1;
    check_segment(&flipped, 3, &flipped[batch * 3..]);
}

#[test]
fn zeros_at_the_end_of_a_segment_are_reserved_space() {
    for zeros in [1, 60, 4_096, 100_000] {
        let bytes = [segment_bytes(3), vec![0; zeros]].concat();
        check_segment(&bytes, 3, &[]);
    }
    check_segment(&[0; 4_096], 0, &[]);
}
