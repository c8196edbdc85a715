//! Epochs over logs on a simulated disk.

use std::path::Path;

use crate::clock::Clock;
use crate::disk::sim::{Choice, Sim};
use crate::error::{Error, Result};
use crate::format::LogRecord;
use crate::log::Log;
use crate::log::open_alone_on;
use crate::recovery::OpenMode;
use crate::types::LogConfig;
use crate::types::Offset;

const DIR: &str = "/log";

fn open(sim: &Sim) -> Log {
    try_open(sim, OpenMode::Write).unwrap()
}

fn try_open(sim: &Sim, mode: OpenMode) -> Result<Log> {
    let config = LogConfig::default().segment_bytes(1024);
    open_alone_on(
        &sim.disk(),
        &Clock::default(),
        Path::new(DIR),
        config,
        mode,
        true,
    )
}

/// Appends records that say in which life they were written.
fn fill(log: &Log, life: &str, count: u64) {
    for _ in 0..count {
        log.append(&format!("{life} {}", log.end_offset())).unwrap();
    }
}

fn lives(log: &Log, from: Offset) -> Vec<String> {
    let life = |record: Result<LogRecord>| {
        let record = record.unwrap();
        let text = std::str::from_utf8(record.value().unwrap()).unwrap();
        text.split(' ').next().unwrap().to_owned()
    };
    log.reader(from).unwrap().map(life).collect()
}

fn checkpoint_of(sim: &Sim) -> Option<String> {
    let path = Path::new(DIR).join("leader-epoch-checkpoint");
    let bytes = sim.read(path).ok()?;
    Some(String::from_utf8(bytes).unwrap())
}

#[test]
fn a_truncation_begins_an_epoch_that_is_in_the_batches_and_in_kafkas_checkpoint() {
    let sim = Sim::new();
    let log = open(&sim);
    fill(&log, "first", 10);
    assert_eq!((log.epoch(), checkpoint_of(&sim)), (0, None));
    log.truncate(3).unwrap();
    assert_eq!(log.epoch(), 1);
    assert_eq!(checkpoint_of(&sim).unwrap(), "0\n2\n0 0\n1 3\n");
    fill(&log, "second", 3);
    let mut reader = log.reader(2).unwrap();
    let epochs = std::iter::from_fn(|| reader.next_batch().unwrap());
    let epochs: Vec<_> = epochs.map(|batch| batch.header().leader_epoch).collect();
    assert_eq!(epochs, [0, 1, 1, 1]);
    log.truncate(2).unwrap();
    assert_eq!(checkpoint_of(&sim).unwrap(), "0\n2\n0 0\n2 2\n");
    log.truncate(2).unwrap();
    assert_eq!(log.epoch(), 2, "nothing was cut");
    log.close().unwrap();

    let log = open(&sim);
    assert_eq!(log.epoch(), 2, "a clean opening changes nothing");
    fill(&log, "third", 1);
    log.close().unwrap();
    let looked = try_open(&sim, OpenMode::Read).unwrap();
    assert_eq!(looked.epoch(), 2);
    let refused = looked.reader_from(3, 1);
    assert!(
        matches!(refused, Err(Error::Truncated { end: 2, .. })),
        "{refused:?}"
    );
}

#[test]
fn a_reader_behind_a_truncation_gets_an_error_whatever_was_appended_since() {
    for appended in [0, 3, 7, 12] {
        let log = open(&Sim::new());
        fill(&log, "first", 10);
        let mut behind = log.reader(0).unwrap();
        assert_eq!(behind.by_ref().count(), 10);
        let mut at_the_cut = log.reader(3).unwrap();
        log.truncate(3).unwrap();
        fill(&log, "second", appended);
        assert!(
            behind.wait(std::time::Duration::ZERO).unwrap(),
            "{appended}"
        );
        let told = behind.next_batch().unwrap_err();
        let fields = match told {
            Error::Truncated {
                requested,
                epoch,
                end,
                ..
            } => (requested, epoch, end),
            other => panic!("{other:?}"),
        };
        assert_eq!(fields, (10, 0, 3));
        behind.seek(3).unwrap();
        assert_eq!(Ok(appended), behind.count().try_into());
        assert_eq!(Ok(appended), at_the_cut.by_ref().count().try_into());
        assert_eq!(at_the_cut.epoch(), 1);
    }
}

#[test]
fn an_offset_kept_with_its_epoch_is_refused_exactly_where_its_records_are_gone() {
    let log = open(&Sim::new());
    fill(&log, "first", 10);
    log.truncate(3).unwrap();
    fill(&log, "second", 10);
    log.truncate(8).unwrap();
    fill(&log, "third", 10);
    for (epoch, last) in [(0, 3), (1, 8), (2, 18), (-1, 18)] {
        for offset in 0..=18 {
            let opened = log.reader_from(offset, epoch);
            assert_eq!(opened.is_ok(), offset <= last, "{offset} of {epoch}");
            if let Err(error) = opened {
                let end = match error {
                    Error::Truncated { end, .. } => end,
                    other => panic!("{other:?}"),
                };
                assert_eq!(end, last);
            }
            let mut reader = log.reader(0).unwrap();
            assert_eq!(reader.seek((offset, epoch)).is_ok(), offset <= last);
        }
    }
    let never = log.reader_from(5, 3).unwrap_err();
    assert!(
        matches!(never, Error::Truncated { end: 0, .. }),
        "{never:?}"
    );
    let past = log.reader_from(19, 2).unwrap_err();
    assert!(matches!(past, Error::Truncated { end: 18, .. }), "{past:?}");
}

#[test]
fn an_opening_that_may_have_lost_something_begins_an_epoch() {
    let sim = Sim::new();
    let log = open(&sim);
    fill(&log, "first", 5);
    log.flush().unwrap();
    fill(&log, "first", 5);
    let kept = (log.end_offset(), log.epoch());
    let sim = sim.crash(Choice::None);

    let log = open(&sim);
    assert_eq!((log.end_offset(), log.epoch()), (5, 1));
    assert_eq!(checkpoint_of(&sim).unwrap(), "0\n2\n0 0\n1 5\n");
    fill(&log, "second", 5);
    let refused = log.reader_from(kept.0, kept.1);
    assert!(
        matches!(refused, Err(Error::Truncated { end: 5, .. })),
        "{refused:?}"
    );
    assert!(
        log.reader_from(5, 0).is_ok(),
        "everything below it is the same"
    );
    log.close().unwrap();
    assert_eq!(open(&sim).epoch(), 1);
}

#[test]
fn what_is_lost_after_a_recovery_that_left_the_files_as_a_close_does_begins_an_epoch() {
    let sim = Sim::new();
    let log = open(&sim);
    fill(&log, "first", 5);
    log.flush().unwrap();
    let sim = sim.crash(Choice::None);
    let log = open(&sim);
    let (end, epoch) = (log.end_offset(), log.epoch());
    fill(&log, "second", 5);
    let kept = (log.end_offset(), log.epoch());
    assert_eq!(kept, (end + 5, epoch));

    // The segment is as long again as the mark says.
    let sim = sim.crash(Choice::None);
    let log = open(&sim);
    assert_eq!((log.end_offset(), log.epoch()), (end, epoch + 1));
    fill(&log, "third", 5);
    let refused = log.reader_from(kept.0, kept.1);
    assert!(
        matches!(refused, Err(Error::Truncated { end: 5, .. })),
        "{refused:?}"
    );
}

/// (I2): whatever an offset was learnt from, no other record is read in its place.
#[test]
fn no_power_cut_gives_an_epoch_twice() {
    let begin = || {
        let sim = Sim::new();
        let log = open(&sim);
        fill(&log, "first", 10);
        log.flush().unwrap();
        (sim, log)
    };
    let (mut cut_at, mut refused) = (0, 0);
    loop {
        let (sim, log) = begin();
        sim.cut_power_at(sim.operations() + cut_at);
        let truncated = log.truncate(3);
        let mut kept = Vec::new();
        while log.end_offset() < 12 && log.append("second").is_ok() {
            kept.push((log.end_offset(), log.epoch()));
        }
        let done = truncated.is_ok() && !sim.is_off();
        for choice in [Choice::None, Choice::All, Choice::Random(cut_at)] {
            let sim = sim.crash(choice);
            let log = open(&sim);
            let lost = log.end_offset();
            let is_as_before = lives(&log, 0)
                .iter()
                .filter(|life| *life == "first")
                .count()
                == 10;
            fill(&log, "third", 15);
            for (offset, epoch) in &kept {
                let is_there = log.reader_from(*offset, *epoch).is_ok();
                let same = lives(&log, 0)
                    .into_iter()
                    .take(usize::try_from(*offset).unwrap());
                let same = same.filter(|life| life == "third").count() == 0;
                assert!(
                    same || !is_there,
                    "{offset} of {epoch}, cut at {cut_at}, {lost}"
                );
                refused += u32::from(!is_there);
            }
            if is_as_before {
                assert!(log.reader_from(10, 0).is_ok(), "cut at {cut_at}");
            } else {
                assert!(log.reader_from(4, 0).is_err(), "cut at {cut_at}");
            }
        }
        if done {
            break;
        }
        cut_at += 1;
    }
    assert!(
        cut_at > 5 && refused > 0,
        "{cut_at} cuts, {refused} refused"
    );
}

#[test]
fn a_log_whose_checkpoint_is_gone_finds_its_epochs_in_its_batches() {
    let sim = Sim::new();
    let log = open(&sim);
    for end in [10, 13, 16] {
        fill(&log, "some", 20);
        log.truncate(end).unwrap();
    }
    fill(&log, "some", 20);
    log.close().unwrap();
    assert_eq!(
        checkpoint_of(&sim).unwrap(),
        "0\n4\n0 0\n1 10\n2 13\n3 16\n"
    );
    for content in [None, Some("junk")] {
        let path = Path::new(DIR).join("leader-epoch-checkpoint");
        match content {
            None => sim.disk().remove_file(&path).unwrap(),
            Some(junk) => sim.write_raw(&path, junk.as_bytes()).unwrap(),
        }
        let log = open(&sim);
        assert_eq!(log.epoch(), 3, "{content:?}");
        assert!(log.reader_from(13, 1).is_ok() && log.reader_from(14, 1).is_err());
        log.close().unwrap();
        assert_eq!(
            checkpoint_of(&sim).unwrap(),
            "0\n4\n0 0\n1 10\n2 13\n3 16\n"
        );
    }
}
