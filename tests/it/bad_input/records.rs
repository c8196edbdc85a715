//! Records and offsets that a log refuses, and odd ones that it takes.

use ottla::{Error, Header, Log, LogConfig, Record, Start};

use crate::helpers::{numbers, scratch, values};

fn check_intact(log: &Log, count: usize) {
    assert_eq!(values(log), numbers(count));
    assert_eq!(log.end_offset(), u64::try_from(count).unwrap());
}

fn filled(dir: &std::path::Path, config: LogConfig, count: usize) -> Log {
    let log = Log::open(dir, config).unwrap();
    log.append_batch(&numbers(count)).unwrap();
    log
}

#[test]
fn a_record_larger_than_the_limit_is_refused_and_the_log_goes_on() {
    let dir = scratch();
    let log = filled(dir.path(), LogConfig::default().max_message_bytes(1_000), 3);
    let large = vec![b'x'; 1_000];

    let one = log.append(&large).unwrap_err();
    assert!(
        matches!(
            one,
            Error::RecordTooLarge {
                size: 1_000..,
                limit: 1_000,
                ..
            }
        ),
        "{one:?}"
    );
    let many = log.append_batch([&b"small"[..], &large]).unwrap_err();
    assert!(
        matches!(many, Error::RecordTooLarge { limit: 1_000, .. }),
        "{many:?}"
    );

    check_intact(&log, 3);
    log.append("3").unwrap();
    log.close().unwrap();
    check_intact(&Log::open(dir.path(), LogConfig::default()).unwrap(), 4);
}

#[test]
fn a_record_of_exactly_the_limit_is_taken() {
    let dir = scratch();
    let log = Log::open(dir.path(), LogConfig::default().max_message_bytes(1_000)).unwrap();
    // The largest value that is taken fills the limit: one byte more does not fit.
    let largest = (900..1_000)
        .rev()
        .find(|length| log.append(&vec![b'x'; *length]).is_ok());
    let largest = largest.unwrap();
    assert_eq!(
        log.segments()[0].size_bytes,
        1_000,
        "a value of {largest} bytes"
    );
}

#[test]
fn a_record_without_key_value_and_headers_is_kept() {
    let dir = scratch();
    let log = Log::open(dir.path(), LogConfig::default()).unwrap();
    log.append(Record::from_parts(None, None)).unwrap();
    log.append_batch([
        Record::from_parts(None, None),
        Record::from_parts(Some(b""), Some(b"")),
    ])
    .unwrap();
    log.close().unwrap();

    let log = Log::open(dir.path(), LogConfig::default()).unwrap();
    for offset in 0..2 {
        let record = log.read(offset).unwrap().unwrap();
        assert_eq!((record.key(), record.value()), (None, None));
        assert_eq!(record.headers().len(), 0);
    }
    let empty = log.read(2).unwrap().unwrap();
    assert_eq!(
        (empty.key(), empty.value()),
        (Some(&b""[..]), Some(&b""[..]))
    );
}

#[test]
fn header_keys_that_repeat_are_kept_in_order() {
    let dir = scratch();
    let log = Log::open(dir.path(), LogConfig::default()).unwrap();
    let headers = [
        Header::new("k", "1"),
        Header::null("k"),
        Header::new("", ""),
        Header::new("k", "1"),
    ];
    log.append(Record::new("v").with_headers(&headers)).unwrap();
    let record = log.read(0).unwrap().unwrap();
    assert_eq!(record.headers().collect::<Vec<_>>(), headers);
    // Copied onward, they stay as they are.
    log.append(&record).unwrap();
    let copy = log.read(1).unwrap().unwrap();
    assert_eq!(copy.headers().collect::<Vec<_>>(), headers);
    assert_eq!(copy.timestamp, record.timestamp);
}

#[test]
fn an_offset_below_the_start_or_above_the_end_is_refused_with_both() {
    let dir = scratch();
    let log = filled(dir.path(), LogConfig::default(), 10);
    log.truncate_prefix(4).unwrap();

    let check = |what: &str, result: ottla::Result<()>, asked: u64| match result {
        Err(Error::OffsetOutOfRange {
            requested,
            start,
            end,
            ..
        }) => {
            assert_eq!((requested, start, end), (asked, 4, 10), "{what}");
        }
        other => panic!("{what} at {asked}: {other:?}"),
    };
    for asked in [0, 3, 11, u64::MAX] {
        check("read", log.read(asked).map(drop), asked);
        check("reader", log.reader(asked).map(drop), asked);
        check("start", log.reader(Start::Offset(asked)).map(drop), asked);
        check("seek", log.reader(5).unwrap().seek(asked), asked);
        if asked > 10 {
            check("truncate_prefix", log.truncate_prefix(asked), asked);
        }
        check("truncate", log.truncate(asked), asked);
    }
    // The end is where reading may begin, but there is nothing to read yet.
    check("read", log.read(10).map(drop), 10);
    assert!(log.reader(10).unwrap().next().is_none());
    assert_eq!(values(&log), numbers(10)[4..]);
}

#[test]
fn a_seek_that_is_refused_leaves_the_reader_where_it_was() {
    let dir = scratch();
    let log = filled(dir.path(), LogConfig::default(), 10);
    let mut reader = log.reader(7).unwrap();
    assert!(reader.seek(11).is_err());
    assert_eq!(reader.next().unwrap().unwrap().offset, 7);
}

#[test]
fn an_empty_batch_appends_nothing() {
    let dir = scratch();
    let log = filled(dir.path(), LogConfig::default(), 3);
    let none: [&str; 0] = [];
    assert_eq!(log.append_batch(none).unwrap(), 3..3);
    check_intact(&log, 3);
}
