//! A truncation, or a start that rises, takes the batch that somebody is reading.
//!
//! Knows nothing about the log's inside. In every order a look-up finds the record, or that it is
//! gone; it never finds damage, and never a record that was replaced.

use std::sync::Arc;

use shuttle::thread;

use super::{append_some, check, new_log, value};
use crate::error::Error;
use crate::log::Log;
use crate::types::{Durability, Offset, Start, Timestamp};

/// Changes a log of a few records while somebody looks.
fn change_beside(
    change: impl Fn(&Log) + Send + Sync + 'static,
    look: impl Fn(&Log) + Send + Sync + 'static,
) {
    let (change, look) = (Arc::new(change), Arc::new(look));
    check(move || {
        let (_, log) = new_log(Durability::Os);
        append_some(&log, 1);
        let changer = {
            let (log, change) = (log.clone(), Arc::clone(&change));
            thread::spawn(move || change(&log))
        };
        let reader = {
            let (log, look) = (log.clone(), Arc::clone(&look));
            thread::spawn(move || look(&log))
        };
        changer.join().unwrap();
        reader.join().unwrap();
    });
}

/// Truncates at an offset while somebody looks.
fn truncate_beside(new_end: Offset, look: impl Fn(&Log) + Send + Sync + 'static) {
    let truncate = move |log: &Log| {
        log.truncate(new_end).unwrap();
        log.append(&value(2, 0)).unwrap();
    };
    change_beside(truncate, look);
}

#[test]
fn a_reader_whose_batch_goes_sees_no_damage() {
    truncate_beside(1, |log| {
        let reader = match log.reader(2) {
            Ok(reader) => reader,
            Err(Error::OffsetOutOfRange { .. } | Error::Truncated { .. }) => return,
            Err(error) => panic!("{error:?}"),
        };
        for record in reader {
            match record {
                Ok(_) | Err(Error::OffsetOutOfRange { .. } | Error::Truncated { .. }) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
    });
}

#[test]
fn a_look_up_whose_batch_goes_sees_no_damage() {
    truncate_beside(2, |log| {
        for offset in [2, 1] {
            match log.read(offset) {
                Ok(Some(record)) => assert_eq!(record.offset, offset),
                Err(Error::OffsetOutOfRange { .. } | Error::Truncated { .. }) => {}
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn a_look_up_of_what_is_forgotten_finds_it_or_is_out_of_range() {
    let forget = |log: &Log| log.truncate_prefix(2).unwrap();
    change_beside(forget, |log| match log.read(1) {
        Ok(Some(record)) => assert_eq!(record.offset, 1),
        Err(Error::OffsetOutOfRange { .. }) => {}
        other => panic!("{other:?}"),
    });
}

#[test]
fn a_search_by_time_whose_batches_go_sees_no_damage() {
    truncate_beside(1, |log| {
        let first = log.offset_for_time(Timestamp::from_millis(0)).unwrap();
        assert_eq!(first, Some(0));
        let late = log.offset_for_time(Timestamp::from_millis(i64::MAX));
        assert_eq!(late.unwrap(), None);
    });
}

#[test]
fn the_first_search_by_time_reads_segments_that_go() {
    truncate_beside(1, |log| {
        // What it finds is there before the truncation or after it.
        let records = log.reader(Start::Earliest).unwrap();
        for record in records.filter_map(Result::ok) {
            let found = log.offset_for_time(record.timestamp).unwrap();
            assert_eq!(
                found,
                Some(0),
                "all have the time of the clock that stands still"
            );
        }
    });
}
