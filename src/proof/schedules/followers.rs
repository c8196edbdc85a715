//! Followers that the writer's bell wakes, beside all that a writer does.
//!
//! Knows nothing about the bell's inside. Writer and follower share nothing but the simulated disk,
//! as two processes do: the files, the word in the live file, and the lock on its byte. Followers
//! do not look by the clock, unless a model has them look: so a wake-up that is lost is a deadlock.
//! Chores are due at any moment, for a model lets time pass whenever a thread waits for it alone.
//!
//! The last test leaves out one safeguard after the other, and a model must fail.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use shuttle::thread;

use super::super::crash::config;
use super::super::rig::DIR;
use super::pairs::{append_keyed, compacted};
use super::{append_some, check_in, open, read_all, still_clock, value};
use crate::LogRecord;
use crate::clock::{Clock, ManualClock};
use crate::disk::sim::{Choice, Sim};
use crate::error::Error;
use crate::log::{Log, open_alone_on};
use crate::recovery::OpenMode;
use crate::sync::{AtomicU64, Ordering, Signal};
use crate::types::LogConfig;
use crate::types::{Durability, Offset, Sabotage, Start, WriteMode};

const HOUR: Duration = Duration::from_secs(3600);

/// In how many orders each model runs.
const ORDERS: u64 = 200;

/// How often a model runs that must fail.
const TRIES: u32 = 8;

/// A disk of a machine that knows which boot this is: a writer publishes there.
fn disk() -> Sim {
    let sim = Sim::new();
    let mut dir = std::path::PathBuf::from("/");
    for name in ["proc", "sys", "kernel", "random"] {
        dir.push(name);
        sim.disk().create_dir(&dir).unwrap();
    }
    let id = b"01020304-0506-0708-090a-0b0c0d0e0f10\n";
    sim.write_raw(dir.join("boot_id"), id).unwrap();
    sim
}

fn opened(sim: &Sim, clock: Arc<ManualClock>, config: LogConfig, mode: OpenMode) -> Log {
    let (clock, dir) = (Clock::Manual(clock), Path::new(DIR));
    open_alone_on(&sim.disk(), &clock, dir, config, mode, false).unwrap()
}

fn writer(sim: &Sim, config: LogConfig) -> Log {
    writer_by(sim, still_clock(), config)
}

fn writer_by(sim: &Sim, clock: Arc<ManualClock>, config: LogConfig) -> Log {
    let writer = opened(sim, clock, config, OpenMode::Write);
    assert!(
        sim.disk()
            .exists(&Path::new(DIR).join("ottla.live"))
            .unwrap()
    );
    writer
}

fn follower(sim: &Sim) -> Log {
    opened(sim, still_clock(), LogConfig::default(), OpenMode::Read)
}

fn plain(durability: Durability) -> LogConfig {
    config(WriteMode::Pwrite, durability)
}

fn spawn<T: Send + 'static>(
    log: &Log,
    run: impl FnOnce(&Log) -> T + Send + 'static,
) -> thread::JoinHandle<T> {
    let log = log.clone();
    thread::spawn(move || run(&log))
}

/// Looks by the clock once, at any moment: from then on the bell is listened for.
fn begin_to_listen(follower: &Log) -> thread::JoinHandle<()> {
    spawn(follower, |log| {
        log.look_by_the_clock();
    })
}

type Read = Vec<(Offset, Vec<u8>)>;

/// Reads and waits until a record is the last one.
fn read_on(log: &Log, is_last: impl Fn(&LogRecord) -> bool) -> Result<Read, Error> {
    let mut read = Read::new();
    let mut reader = log.reader(Start::Earliest)?;
    loop {
        let Some(record) = reader.next().transpose()? else {
            assert!(reader.wait(HOUR)?, "an hour has passed");
            continue;
        };
        read.push((record.offset, record.value().unwrap().to_vec()));
        if is_last(&record) {
            return Ok(read);
        }
    }
}

/// A follower waits for each record of an appender. Of a log under `Always` it sees what a power
/// cut leaves, and nothing else.
fn every_record_wakes(durability: Durability) {
    let sim = disk();
    let writer = writer(&sim, plain(durability));
    let follower = follower(&sim);
    let listens = begin_to_listen(&follower);
    let appender = spawn(&writer, |log| append_some(log, 1));
    let reading = spawn(&follower, move |log| {
        let is_last = |record: &LogRecord| {
            if durability == Durability::Always {
                let cut = sim.crash(Choice::None);
                let left = open(&cut, &still_clock(), &plain(durability)).unwrap();
                assert!(
                    left.end_offset() > record.offset,
                    "{record:?} is not flushed"
                );
                left.abandon();
            }
            record.offset == 2
        };
        read_on(log, is_last).unwrap()
    });
    let appended = appender.join().unwrap();
    assert_eq!(reading.join().unwrap(), appended);
    listens.join().unwrap();
    follower.close().unwrap();
    writer.close().unwrap();
}

/// The same, one record after the other: each is appended when the one before was read, so that no
/// later one wakes for it.
fn one_by_one() {
    let sim = disk();
    let clock = still_clock();
    let writer = writer_by(&sim, Arc::clone(&clock), plain(Durability::Os));
    let follower = follower(&sim);
    let listens = begin_to_listen(&follower);
    let read = Arc::new((AtomicU64::new(0), Signal::default()));
    let appender = {
        let read = Arc::clone(&read);
        spawn(&writer, move |log| {
            for number in 0..4 {
                let mut ticket = read.1.ticket();
                while read.0.load(Ordering::SeqCst) < number {
                    ticket.wait_until(None);
                }
                if number % 2 == 1 {
                    // Long after the last one: the append rings itself.
                    clock.advance(Duration::from_millis(5));
                }
                log.append(&value(1, number)).unwrap();
            }
        })
    };
    let is_last = |record: &LogRecord| {
        read.0.store(record.offset + 1, Ordering::SeqCst);
        read.1.raise();
        record.offset == 3
    };
    assert_eq!(read_on(&follower, is_last).unwrap().len(), 4);
    appender.join().unwrap();
    listens.join().unwrap();
    follower.close().unwrap();
    writer.close().unwrap();
}

/// Compaction and a truncation of the front exchange and remove segments under a follower.
fn exchanges() {
    let sim = disk();
    let writer = writer(&sim, compacted(Durability::Os));
    for number in 0..5 {
        append_keyed(&writer, number).unwrap();
    }
    let follower = follower(&sim);
    let listens = begin_to_listen(&follower);
    let compactor = spawn(&writer, |log| {
        log.compact().unwrap();
        log.truncate_prefix(1).unwrap();
    });
    let appender = spawn(&writer, |log| {
        for number in 5..7 {
            append_keyed(log, number).unwrap();
        }
    });
    let reading = spawn(&follower, |log| {
        // A reader that was not yet at the new start is told so, and begins again.
        let mut read = read_on(log, |record| record.offset == 6);
        while matches!(read, Err(Error::OffsetOutOfRange { .. })) {
            read = read_on(log, |record| record.offset == 6);
        }
        let read = read.unwrap();
        let rises = read.windows(2).all(|pair| pair[0].0 < pair[1].0);
        assert!(rises, "{read:?}");
        for offset in 0..7 {
            let looked = log.read(offset);
            let fine = matches!(looked, Ok(_) | Err(Error::OffsetOutOfRange { .. }));
            assert!(fine, "{looked:?}");
        }
    });
    for thread in [compactor, appender, reading, listens] {
        thread.join().unwrap();
    }
    writer.compact().unwrap();
    follower.look_by_the_clock();
    assert_eq!(read_all(&follower), read_all(&writer));
    follower.close().unwrap();
    writer.close().unwrap();
}

/// A truncation, after which other records stand in the place of what was read.
fn truncations() {
    let sim = disk();
    let writer = writer(&sim, plain(Durability::Os));
    append_some(&writer, 1);
    let follower = follower(&sim);
    let listens = begin_to_listen(&follower);
    let truncater = spawn(&writer, |log| {
        log.truncate(1).unwrap();
        log.append(&value(2, 0)).unwrap();
        log.append(&value(2, 1)).unwrap();
    });
    let reading = spawn(&follower, |log| {
        loop {
            match read_on(log, |record| record.value().unwrap() == value(2, 1)) {
                Ok(read) => return read,
                Err(Error::Truncated { .. } | Error::OffsetOutOfRange { .. }) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
    });
    truncater.join().unwrap();
    let expected = [(0, value(1, 0)), (1, value(2, 0)), (2, value(2, 1))];
    assert_eq!(reading.join().unwrap(), expected);
    listens.join().unwrap();
    follower.close().unwrap();
    writer.close().unwrap();
}

/// A truncation and nothing after it: one who waits behind it is told.
fn a_truncation_alone() {
    let sim = disk();
    let writer = writer(&sim, plain(Durability::Os));
    append_some(&writer, 1);
    let follower = follower(&sim);
    let listens = begin_to_listen(&follower);
    let mut reader = follower.reader(Start::Earliest).unwrap();
    assert_eq!(reader.by_ref().map(Result::unwrap).count(), 3);
    let truncater = spawn(&writer, |log| {
        // It is heard that there is a bell.
        log.append(&value(1, 3)).unwrap();
        log.truncate(1).unwrap();
    });
    let told = loop {
        assert!(reader.wait(HOUR).is_ok_and(|is_there| is_there));
        match reader.next() {
            Some(Ok(record)) => assert_eq!(record.value().unwrap(), value(1, 3)),
            Some(Err(error)) => break error,
            None => {}
        }
    };
    let fine = matches!(
        told,
        Error::Truncated { .. } | Error::OffsetOutOfRange { .. }
    );
    assert!(fine, "{told:?}");
    truncater.join().unwrap();
    listens.join().unwrap();
    follower.close().unwrap();
    writer.close().unwrap();
}

/// A writer ends, cleanly or not, and another one goes on.
fn another_writer(dies: bool) {
    let sim = disk();
    let first = writer(&sim, plain(Durability::Os));
    let follower = follower(&sim);
    let listens = begin_to_listen(&follower);
    let writers = {
        let (sim, follower) = (sim.clone(), follower.clone());
        thread::spawn(move || {
            first.append(&value(1, 0)).unwrap();
            if dies {
                first.abandon();
            } else {
                first.close().unwrap();
            }
            let second = writer(&sim, plain(Durability::Os));
            // Time passes: those whose writer has ended look by the clock.
            while !follower.look_by_the_clock() {
                thread::yield_now();
            }
            second.append(&value(2, 0)).unwrap();
            second
        })
    };
    let read = spawn(&follower, |log| read_on(log, |record| record.offset == 1));
    let second = writers.join().unwrap();
    let read = read.join().unwrap().unwrap();
    assert_eq!(read, [(0, value(1, 0)), (1, value(2, 0))]);
    listens.join().unwrap();
    follower.close().unwrap();
    second.close().unwrap();
}

/// A follower is closed while a thread waits in it: for the bell itself, or not yet.
fn a_close_of_the_follower() {
    let sim = disk();
    let writer = writer(&sim, plain(Durability::Os));
    let follower = follower(&sim);
    let listens = begin_to_listen(&follower);
    let appender = spawn(&writer, |log| append_some(log, 1));
    let reading = spawn(&follower, |log| read_on(log, |_| false));
    // It is closed before, among or after the records.
    let closing = spawn(&follower, |log| log.close().unwrap());
    assert!(matches!(reading.join().unwrap(), Err(Error::Closed)));
    for thread in [listens, closing] {
        thread.join().unwrap();
    }
    appender.join().unwrap();
    writer.close().unwrap();
}

#[test]
fn a_follower_is_closed_while_it_waits_in_any_order() {
    check_in(ORDERS, a_close_of_the_follower);
}

#[test]
fn a_follower_that_waits_is_woken_for_every_record_in_any_order() {
    check_in(ORDERS, || every_record_wakes(Durability::Os));
    check_in(ORDERS, one_by_one);
}

#[test]
fn a_follower_sees_nothing_that_is_not_flushed_in_any_order() {
    check_in(ORDERS, || every_record_wakes(Durability::Always));
}

#[test]
fn segments_are_exchanged_and_removed_under_a_follower_in_any_order() {
    check_in(ORDERS, exchanges);
}

#[test]
fn a_follower_learns_of_a_truncation_in_any_order() {
    check_in(ORDERS, truncations);
    check_in(ORDERS, a_truncation_alone);
}

#[test]
fn a_second_writer_is_followed_after_a_close_and_after_a_crash_in_any_order() {
    check_in(ORDERS, || another_writer(false));
    check_in(ORDERS, || another_writer(true));
}

/// The model that fails without a safeguard.
fn catcher(wrong: Sabotage) -> fn() {
    match wrong {
        Sabotage::ExchangeUnseen => a_truncation_alone,
        Sabotage::ClosedUnheard => || another_writer(false),
        Sabotage::SegmentsBelieved => exchanges,
        Sabotage::UnflushedFollowed => || every_record_wakes(Durability::Always),
        _ => one_by_one,
    }
}

fn fails_with(wrong: Sabotage) -> bool {
    let model = catcher(wrong);
    let ran = std::thread::spawn(move || {
        wrong.switch_on();
        check_in(ORDERS, model);
    });
    ran.join().is_err()
}

#[test]
fn every_safeguard_of_followers_that_is_left_out_is_missed() {
    let mut missed = Vec::new();
    for wrong in Sabotage::OF_FOLLOWERS {
        // The orders are other ones each time: what fails in few of them is tried in more.
        let caught = (0..TRIES).any(|_| fails_with(wrong));
        println!("sabotage: {wrong:?}, caught: {caught}");
        if !caught {
            missed.push(wrong);
        }
    }
    assert!(missed.is_empty(), "nobody caught {missed:?}");
}
