//! Threads that stop anywhere: a model checker runs appends, reads, rolls, flushes, truncations and
//! a close in thousands of orders.
//!
//! Knows nothing about the log's inside. What is owed in every order:
//!
//! 1. A reader sees every record once, whole and in order, and never one that was replaced.
//! 2. Offsets are dense and each append's own; under `Always` an acknowledged record is flushed.
//! 3. Nobody waits for ever: the checker finds a deadlock by itself.
//! 4. What was acknowledged is there when the log is opened again.
//!
//! Every two of what a log does are in a model together. By the file and the number of the model in
//! it:
//!
//! | | append | flush | roll | truncate | exchange | close | marks of another log |
//! | --- | --- | --- | --- | --- | --- | --- | --- |
//! | flush | mod 1, 2 | | | | | | |
//! | roll | mod 1, 2 | mod 1, 2 | | | | | |
//! | truncate | mod 3 | pairs 3 | pairs 3 | pairs 3 | | | |
//! | exchange | pairs 1 | pairs 1 | pairs 1 | pairs 2 | | | |
//! | close | mod 4 | pairs 4 | mod 4 | pairs 5 | pairs 4 | pairs 4 | |
//! | marks of another log | marks 2 | marks 2 | marks 2 | marks 2 | marks 4 | pairs 8 | marks 1 |
//! | reader | mod 1 | mod 1 | mod 1 | truncation | pairs 1 | pairs 4 | marks 4 |
//!
//! `pairs` 3 and 4 have the flusher too, which seals and makes the next segment ahead. `room` has
//! logs that roll where the bytes of their root are limited.
//!
//! `followers` has a writer beside a follower as if of another process, which the bell wakes:
//! appends, exchanges, truncations, a close of either, the death of the writer, a second writer.
//!
//! Run by `RUSTFLAGS="--cfg ottla_shuttle" cargo test --lib proof::schedules`.

mod followers;
mod marks;
mod pairs;
mod room;
mod tasks;
mod truncation;
mod waiting;

use std::sync::Arc;

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner, thread};

use super::Scale;
use super::crash::config;
use super::rig::{open, still_clock};
use crate::disk::sim::Sim;
use crate::error::Error;
use crate::log::Log;
use crate::types::{Durability, Start, WriteMode};

/// The stack of each thread of a model, in bytes.
const STACK_BYTES: usize = 256 << 10;

/// Runs a model in this many orders, half of them with few switches between threads.
fn check(model: impl Fn() + Send + Sync + 'static) {
    check_in(1_000, model);
}

/// The same for a model that takes several times as long.
fn check_long(model: impl Fn() + Send + Sync + 'static) {
    check_in(200, model);
}

fn check_in(few: u64, model: impl Fn() + Send + Sync + 'static) {
    let orders = Scale::asked().of(few, 5 * few, 100 * few);
    let orders = usize::try_from(orders).unwrap();
    let model = Arc::new(model);
    let again = Arc::clone(&model);
    let mut settings = Config::new();
    // The default overflows in a build without optimisations.
    settings.stack_size = STACK_BYTES;
    let random = RandomScheduler::new(orders / 2);
    Runner::new(random, settings.clone()).run(move || model());
    let few_switches = PctScheduler::new(3, orders / 2);
    Runner::new(few_switches, settings).run(move || again());
    println!("schedules: {orders} orders");
}

fn new_log(durability: Durability) -> (Sim, Log) {
    let sim = Sim::new();
    let config = config(WriteMode::Pwrite, durability);
    let log = open(&sim, &still_clock(), &config).unwrap();
    (sim, log)
}

/// A value that says who wrote it and fills half a segment.
fn value(writer: u64, number: u64) -> Vec<u8> {
    let mut value = format!("{writer} {number};").into_bytes();
    value.resize(400, b'.');
    value
}

fn append_some(log: &Log, writer: u64) -> Vec<(u64, Vec<u8>)> {
    let mut appended = Vec::new();
    for number in 0..3 {
        let value = value(writer, number);
        let offset = log.append(&value).unwrap();
        if log.config().durability == Durability::Always {
            assert!(log.flushed_offset() > offset, "(2)");
        }
        appended.push((offset, value));
    }
    appended
}

/// Reads what is there: dense from the start.
fn read_all(log: &Log) -> Vec<(u64, Vec<u8>)> {
    let reader = log.reader(Start::Earliest).unwrap();
    let records = reader.map(|record| {
        let record = record.unwrap();
        (record.offset, record.value().unwrap().to_vec())
    });
    records.collect()
}

/// Two writers roll while one reads and one flushes.
fn appends_and_reads(durability: Durability) {
    let (sim, log) = new_log(durability);
    let writers: Vec<_> = [1, 2]
        .map(|writer| {
            let log = log.clone();
            thread::spawn(move || append_some(&log, writer))
        })
        .into();
    let reader = {
        let log = log.clone();
        thread::spawn(move || {
            let mut before = 0;
            for _ in 0..2 {
                let read = read_all(&log);
                let dense = read.iter().zip(0..).all(|((offset, _), at)| *offset == at);
                assert!(dense && read.len() >= before, "(1)");
                before = read.len();
            }
        })
    };
    let flusher = {
        let log = log.clone();
        thread::spawn(move || log.flush().unwrap())
    };
    let mut appended = Vec::new();
    for writer in writers {
        appended.append(&mut writer.join().unwrap());
    }
    reader.join().unwrap();
    flusher.join().unwrap();
    appended.sort();
    assert_eq!(read_all(&log), appended, "(2)");
    log.close().unwrap();
    let config = config(WriteMode::Pwrite, durability);
    let log = open(&sim, &still_clock(), &config).unwrap();
    assert_eq!(read_all(&log), appended, "(4)");
}

#[test]
fn appends_rolls_flushes_and_reads_in_any_order() {
    check(|| appends_and_reads(Durability::Os));
}

#[test]
fn group_commit_in_any_order() {
    check(|| appends_and_reads(Durability::Always));
}

#[test]
fn a_truncation_among_appends_and_reads_in_any_order() {
    check(|| {
        let (_, log) = new_log(Durability::Os);
        append_some(&log, 1);
        let truncater = {
            let log = log.clone();
            thread::spawn(move || {
                log.truncate(1).unwrap();
                log.append(&value(2, 0)).unwrap()
            })
        };
        let reader = {
            let log = log.clone();
            thread::spawn(move || {
                let mut replaced = false;
                for record in log.reader(Start::Earliest).unwrap() {
                    let record = match record {
                        Ok(record) => record,
                        Err(Error::OffsetOutOfRange { .. } | Error::Truncated { .. }) => return,
                        Err(error) => panic!("{error:?}"),
                    };
                    let old = record.value().unwrap().starts_with(b"1 ");
                    assert!(!(replaced && old), "(1): {record:?} was replaced");
                    replaced |= !old;
                }
            })
        };
        assert_eq!(truncater.join().unwrap(), 1);
        reader.join().unwrap();
        assert_eq!(read_all(&log).len(), 2);
    });
}

#[test]
fn a_close_among_appends_in_any_order() {
    check(|| {
        let (sim, log) = new_log(Durability::Always);
        let writer = {
            let log = log.clone();
            thread::spawn(move || {
                let mut acknowledged = 0;
                for number in 0..3 {
                    match log.append(&value(1, number)) {
                        Ok(offset) => acknowledged = offset + 1,
                        Err(Error::Closed) => break,
                        Err(error) => panic!("{error:?}"),
                    }
                }
                acknowledged
            })
        };
        log.close().unwrap();
        let acknowledged = writer.join().unwrap();
        let config = config(WriteMode::Pwrite, Durability::Always);
        let log = open(&sim, &still_clock(), &config).unwrap();
        assert!(log.end_offset() >= acknowledged, "(4)");
        assert!(log.open_report().clean);
    });
}
