//! The largest offset: 2^63 - 1 ends a log, so that Kafka's signed 64 bits hold every offset.

use std::fs;
use std::path::Path;

use ottla::{Error, Log, LogConfig, Start};

/// A log of one record, whose offset was set to this by hand: Kafka's checksum leaves it out.
fn log_with_a_record_at(dir: &Path, offset: u64) {
    let log = Log::open(dir, LogConfig::default()).unwrap();
    log.append("the last").unwrap();
    log.close().unwrap();
    let name = |offset: u64, kind: &str| dir.join(format!("{offset:020}.{kind}"));
    let mut bytes = fs::read(name(0, "log")).unwrap();
    bytes[..8].copy_from_slice(&offset.to_be_bytes());
    fs::write(name(offset, "log"), bytes).unwrap();
    for kind in ["log", "index", "timeindex", "digest"] {
        fs::remove_file(name(0, kind)).unwrap();
    }
    fs::remove_file(dir.join("ottla.marks")).unwrap();
}

#[test]
fn an_append_that_would_pass_the_largest_offset_is_refused_and_the_log_stays_readable() {
    const END: u64 = i64::MAX.cast_unsigned();
    for left in 0..4 {
        let dir = tempfile::tempdir().unwrap();
        log_with_a_record_at(dir.path(), END - 1 - left);
        let log = Log::open(dir.path(), LogConfig::default()).unwrap();
        let too_many = vec!["x"; usize::try_from(left).unwrap() + 1];
        for _ in 0..2 {
            let refused = log.append_batch(too_many.clone());
            assert!(
                matches!(refused, Err(Error::Unsupported { .. })),
                "{refused:?}"
            );
        }
        for _ in 0..left {
            log.append("one more").unwrap();
        }
        let refused = log.append("too many");
        assert!(
            matches!(refused, Err(Error::Unsupported { .. })),
            "{refused:?}"
        );
        assert_eq!(log.end_offset(), END);
        for round in 0..2 {
            let log = if round == 0 {
                log.clone()
            } else {
                log.close().unwrap();
                assert!(ottla::verify(dir.path()).unwrap().is_spotless());
                Log::open(dir.path(), LogConfig::default()).unwrap()
            };
            let all: Vec<_> = { log.reader(Start::Earliest).unwrap() }
                .map(|record| record.unwrap().offset)
                .collect();
            assert!(all.into_iter().eq(END - 1 - left..END));
            assert!(log.read(END - 1).unwrap().is_some());
            assert!(!matches!(log.read(END), Ok(Some(_))));
            for beyond in [END + 1, u64::MAX - 1, u64::MAX] {
                assert!(!matches!(log.read(beyond), Ok(Some(_))), "{beyond}");
                assert!(log.truncate(beyond).is_err(), "{beyond}");
                assert!(log.truncate_prefix(beyond).is_err(), "{beyond}");
                let waited = log.wait_for(beyond, std::time::Duration::ZERO);
                assert!(!matches!(waited, Ok(true)), "{beyond}");
                drop(log.reader(beyond).map(Iterator::count));
            }
        }
    }
}

#[test]
fn a_segment_whose_base_is_above_every_offset_is_refused_and_repair_moves_it_away() {
    for base in [1_u64 << 63, u64::MAX] {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::open(dir.path(), LogConfig::default()).unwrap();
        log.append("a").unwrap();
        log.close().unwrap();
        let odd = dir.path().join(format!("{base:020}.log"));
        fs::write(&odd, "something").unwrap();
        let opened = Log::open(dir.path(), LogConfig::default());
        let Err(Error::Corrupt { path, .. }) = opened else {
            panic!("{opened:?}");
        };
        assert_eq!(path, odd);
        assert!(!ottla::verify(dir.path()).unwrap().is_sound());
        let repaired = ottla::repair(dir.path()).unwrap();
        assert!(repaired.is_sound(), "{repaired}");
        assert_eq!(
            fs::read(&repaired.set_aside[0].quarantine).unwrap(),
            b"something"
        );
        let log = Log::open(dir.path(), LogConfig::default()).unwrap();
        assert_eq!(log.reader(0).unwrap().count(), 1);
    }
}
