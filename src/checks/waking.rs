//! A writer and its follower on a disk of the operating system, with whatever stands in the live
//! file.

#![cfg(all(target_os = "linux", not(ottla_shuttle)))]

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock::Clock;
use crate::disk::{Access, Disk};
use crate::format::file_name;
use crate::log::LATER;
use crate::log::{Log, open_alone_on};
use crate::recovery::OpenMode;
use crate::sync::Ordering;
use crate::types::LogConfig;
use crate::types::{Durability, Offset};

/// Nobody waits longer than this for something that must come.
const PATIENCE: Duration = Duration::from_secs(60);

fn opened(dir: &Path, config: LogConfig, mode: OpenMode) -> Log {
    open_alone_on(&Disk::os(), &Clock::System, dir, config, mode, false).unwrap()
}

fn writer(dir: &Path) -> Log {
    opened(dir, LogConfig::default(), OpenMode::Write)
}

fn follower(dir: &Path) -> Log {
    opened(dir, LogConfig::default(), OpenMode::Read)
}

/// A directory for a log, and where its live file is.
fn place() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("log");
    let live = dir.join(file_name::LIVE);
    (scratch, dir, live)
}

fn bytes_of(path: &Path) -> Vec<u8> {
    let bytes = Disk::os().read_small(path, 1 << 21).unwrap();
    bytes.unwrap()
}

fn write_new(path: &Path, bytes: &[u8]) {
    let file = Disk::os().create(path).unwrap();
    file.write_at(0, bytes).unwrap();
}

fn is_there(path: &Path) -> bool {
    Disk::os().exists(path).unwrap()
}

fn is_heard(follower: &Log) -> bool {
    let outside = follower.shared.outside.get().unwrap();
    outside.looks.heard.load(Ordering::Relaxed)
}

/// Appends a record while a thread waits for it, and sees it come.
fn append_to_one_who_waits(writer: &Log, follower: &Log) {
    let next = follower.end_offset();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| follower.wait_for(next, PATIENCE).unwrap());
        // It waits, or is about to.
        while !waiting.is_finished() && !follower.shared.is_waited_for() {
            std::thread::yield_now();
        }
        writer.append("a record").unwrap();
        assert!(waiting.join().unwrap(), "it was not woken");
    });
    assert!(follower.read(next).unwrap().is_some());
}

/// The same until the bell rings for it.
fn until_it_is_heard(writer: &Log, follower: &Log) {
    for _ in 0..10_000 {
        append_to_one_who_waits(writer, follower);
        if is_heard(follower) {
            return;
        }
        let nobody = crate::sync::Signal::default();
        let pause = Clock::System.until(Duration::from_millis(1));
        Clock::System.wait(&mut nobody.ticket(), pause, None);
    }
    panic!("the bell never rang");
}

#[test]
fn a_follower_that_waits_is_woken_by_the_bell() {
    let (_scratch, dir, _) = place();
    let (writer, follower) = (writer(&dir), follower(&dir));
    until_it_is_heard(&writer, &follower);
    assert!(writer.shared.host.bell.state.load(Ordering::SeqCst) != crate::host::BELL_OFF);
    for _ in 0..100 {
        append_to_one_who_waits(&writer, &follower);
    }
}

#[test]
fn a_close_removes_the_live_file_and_the_next_writer_is_heard_again() {
    let (_scratch, dir, live) = place();
    let first = writer(&dir);
    let follower = follower(&dir);
    until_it_is_heard(&first, &follower);
    first.close().unwrap();
    assert!(!is_there(&live), "the next to look is a broker");
    let second = writer(&dir);
    assert!(is_there(&live));
    until_it_is_heard(&second, &follower);
}

#[test]
fn the_live_file_that_a_killed_writer_left_is_used_again_and_not_replaced() {
    let (_scratch, dir, live) = place();
    let first = writer(&dir);
    first.append("a record").unwrap();
    let left = bytes_of(&live);
    let follower = follower(&dir);
    until_it_is_heard(&first, &follower);
    first.close().unwrap();
    write_new(&live, &left);
    let number = Disk::os().file_id(&live).unwrap();
    let second = writer(&dir);
    assert_eq!(Disk::os().file_id(&live).unwrap(), number);
    until_it_is_heard(&second, &follower);
}

#[test]
fn a_live_file_of_garbage_only_makes_records_come_later() {
    let header = |change: fn(&mut Vec<u8>)| {
        let (_scratch, dir, live) = place();
        let _writer = writer(&dir);
        let mut bytes = bytes_of(&live);
        change(&mut bytes);
        bytes
    };
    let garbage: Vec<Vec<u8>> = vec![
        Vec::new(),
        vec![7],
        vec![0xFF; 100],
        vec![0xA5; 1 << 20],
        // Another boot, with its checksum, and a newer version.
        header(|bytes| {
            bytes[20] ^= 1;
            let crc = crc32fast::hash(&bytes[4..48]);
            bytes[..4].copy_from_slice(&crc.to_be_bytes());
        }),
        header(|bytes| {
            bytes[11] = 2;
            let crc = crc32fast::hash(&bytes[4..48]);
            bytes[..4].copy_from_slice(&crc.to_be_bytes());
        }),
        // As many slots as there can be said to be.
        header(|bytes| {
            bytes[12..16].fill(0xFF);
            let crc = crc32fast::hash(&bytes[4..48]);
            bytes[..4].copy_from_slice(&crc.to_be_bytes());
        }),
        // The header of another writer over slots of garbage.
        header(|bytes| bytes[64..].fill(0xEE)),
    ];
    for bytes in garbage {
        let (_scratch, dir, live) = place();
        let writer = writer(&dir);
        Disk::os().remove_file(&live).unwrap();
        write_new(&live, &bytes);
        let follower = follower(&dir);
        for _ in 0..20 {
            append_to_one_who_waits(&writer, &follower);
        }
        assert!(!is_heard(&follower));
        // Nobody but its writer changes it, and what is not this writer's stays.
        writer.close().unwrap();
        assert_eq!(bytes_of(&live), bytes);
    }
}

#[test]
fn a_live_file_that_is_no_file_stays_and_is_done_without() {
    let (_scratch, dir, live) = place();
    Disk::os().create_dir(&dir).unwrap();
    Disk::os().create_dir(&live).unwrap();
    let (writer, follower) = (writer(&dir), follower(&dir));
    for _ in 0..3 {
        append_to_one_who_waits(&writer, &follower);
    }
    writer.close().unwrap();
    assert!(is_there(&live));
}

#[test]
fn a_live_file_that_another_process_cuts_ends_no_process_and_loses_no_record() {
    for len in [0, 1, 52, 63, 64, 100] {
        let (_scratch, dir, live) = place();
        let (writer, follower) = (writer(&dir), follower(&dir));
        until_it_is_heard(&writer, &follower);
        let file = Disk::os().open(&live, Access::Write).unwrap();
        file.set_len(len).unwrap();
        for _ in 0..20 {
            append_to_one_who_waits(&writer, &follower);
        }
        writer.close().unwrap();
    }
}

#[test]
fn a_live_file_that_is_replaced_or_removed_is_left() {
    let (_scratch, dir, live) = place();
    let (writer, follower) = (writer(&dir), follower(&dir));
    until_it_is_heard(&writer, &follower);
    Disk::os().rename(&live, &dir.join("elsewhere")).unwrap();
    for _ in 0..20 {
        append_to_one_who_waits(&writer, &follower);
    }
    write_new(&live, b"not a live file");
    for _ in 0..20 {
        append_to_one_who_waits(&writer, &follower);
    }
    writer.close().unwrap();
    assert_eq!(bytes_of(&live), b"not a live file");
}

#[test]
fn whatever_is_published_no_one_sees_what_is_not_flushed() {
    let (_scratch, dir, live) = place();
    let always = LogConfig::default().durability(Durability::Always);
    let writer = opened(&dir, always, OpenMode::Write);
    let follower = follower(&dir);
    until_it_is_heard(&writer, &follower);
    let shown: Offset = follower.high_watermark();
    writer
        .shared
        .append_one(&"not flushed".into(), LATER)
        .unwrap();
    // What a slot would say that is wrong: everything is flushed.
    let file = Disk::os().open(&live, Access::Write).unwrap();
    file.write_at(64 + 24, &[0x7F; 16]).unwrap();
    writer
        .shared
        .host
        .bell
        .tell(&writer.shared.host, &*writer.shared);
    for _ in 0..10 {
        assert!(!follower.wait_for(shown, Duration::from_millis(2)).unwrap());
        assert_eq!(follower.high_watermark(), shown);
    }
    writer.flush().unwrap();
    assert!(follower.wait_for(shown, PATIENCE).unwrap());
}

#[test]
fn what_is_cut_forgotten_and_appended_again_is_seen_by_one_who_is_woken() {
    let (_scratch, dir, _) = place();
    let config = LogConfig::default().segment_bytes(1024);
    let writer = opened(&dir, config, OpenMode::Write);
    let follower = follower(&dir);
    until_it_is_heard(&writer, &follower);
    for round in 0..20_u64 {
        for _ in 0..10 {
            append_to_one_who_waits(&writer, &follower);
        }
        let end = writer.end_offset();
        let cut = end - 5;
        let mut reader = follower.reader(end - 1).unwrap();
        assert!(reader.next().unwrap().is_ok());
        writer.truncate(cut).unwrap();
        let again = format!("again {round}");
        for _ in 0..6 {
            writer.append(&again).unwrap();
        }
        writer.truncate_prefix(cut).unwrap();
        let told = loop {
            match reader.next() {
                Some(told) => break told,
                None => assert!(reader.wait(PATIENCE).unwrap()),
            }
        };
        assert!(told.is_err(), "what it had read was cut: {told:?}");
        assert_eq!(follower.start_offset(), cut);
        for offset in cut..end {
            let found = follower.read(offset).unwrap().unwrap();
            assert_eq!(found.value(), Some(again.as_bytes()), "{offset} of {end}");
        }
    }
}

#[test]
fn a_writer_knows_when_no_one_listens_any_more() {
    let (_scratch, dir, _) = place();
    let writer = writer(&dir);
    let bell = &writer.shared.host.bell;
    let is_idle = || bell.state.load(Ordering::SeqCst) == crate::host::BELL_IDLE;
    let follower = follower(&dir);
    until_it_is_heard(&writer, &follower);
    follower.close().unwrap();
    let idle = (0..60_000).any(|_| {
        writer.append("a record").unwrap();
        let nobody = crate::sync::Signal::default();
        let pause = Clock::System.until(Duration::from_millis(1));
        Clock::System.wait(&mut nobody.ticket(), pause, None);
        is_idle()
    });
    assert!(idle, "it goes on ringing");
}

#[test]
fn with_manual_upkeep_and_without_syncs_nothing_is_published() {
    let (_scratch, dir, live) = place();
    let (clock, config) = (Clock::System, LogConfig::default());
    for (disk, manual) in [(Disk::os(), true), (Disk::unsynced(), false)] {
        let log = open_alone_on(&disk, &clock, &dir, config.clone(), OpenMode::Write, manual);
        let log = log.unwrap();
        assert!(!is_there(&live));
        append_to_one_who_waits(&log, &follower(&dir));
    }
}
