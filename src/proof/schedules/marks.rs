//! The flushed marks that several logs of one root write and sync side by side.
//!
//! Knows nothing about records. The simulated disk panics at once when the durable slot of a pair
//! is overwritten while its twin is not durable (`disk/sim/order.rs`).

use std::path::Path;
use std::sync::Arc;

use shuttle::thread;

use super::super::crash::config;
use super::pairs::{append_keyed, compacted, read_compacted};
use super::{check, check_long, still_clock, value};
use crate::clock::Clock;
use crate::dir::Marks;
use crate::disk::sim::{Choice, Sim};
use crate::format::{Mark, MarkKey};
use crate::host::Host;
use crate::log::Log;
use crate::recovery::{LogSource, OpenMode};
use crate::types::LogConfig;
use crate::types::{Durability, TopicId, WriteMode};

const ROOT: &str = "/root";

fn key(partition: u32) -> MarkKey {
    MarkKey {
        topic: TopicId([7; 16]),
        partition,
    }
}

/// A root whose marks are open; chores are run by nobody.
pub(super) fn host(sim: &Sim) -> Arc<Host> {
    let disk = sim.disk();
    disk.create_dir(Path::new(ROOT)).unwrap();
    let marks = Marks::open(&disk, &Path::new(ROOT).join("ottla.marks")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk.sync_dir(Path::new(ROOT)).unwrap();
    Host::new(disk, Clock::Manual(still_clock()), marks, true)
}

pub(super) fn log_of(host: &Arc<Host>, partition: u32) -> Log {
    log_with(host, partition, config(WriteMode::Pwrite, Durability::Os))
}

fn log_with(host: &Arc<Host>, partition: u32, config: LogConfig) -> Log {
    let dir = Path::new(ROOT).join(format!("topic-{partition}"));
    host.disk.create_dir(&dir).unwrap();
    host.disk.sync_dir(Path::new(ROOT)).unwrap();
    let source = LogSource {
        dir,
        mark_key: key(partition),
        lock: None,
        managed: true,
    };
    Log::open_in(host, source, config, OpenMode::Write).unwrap()
}

#[test]
fn marks_of_two_logs_are_written_and_synced_in_any_order() {
    check(|| {
        let sim = Sim::new();
        let host = host(&sim);
        let now = host.clock.instant();
        let threads = [0, 1, 2].map(|partition| {
            let host = Arc::clone(&host);
            thread::spawn(move || {
                let place = host.marks.place(key(partition));
                for sequence in 1..=4 {
                    let mark = Mark {
                        key: key(partition),
                        sequence,
                        log_start_offset: sequence,
                        ..Mark::default()
                    };
                    host.marks.write(place, &mark).unwrap();
                    if sequence != 3 {
                        host.marks.sync(now).unwrap();
                    }
                }
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        // What a sync covered is there after a power cut that leaves nothing else.
        let next = sim.crash(Choice::None);
        let marks = Marks::read_only(&next.disk(), &Path::new(ROOT).join("ottla.marks")).unwrap();
        for partition in 0..3 {
            assert_eq!(marks.find(key(partition)).unwrap().log_start_offset, 4);
        }
    });
}

#[test]
fn two_logs_on_one_file_of_marks_flush_roll_and_truncate_in_any_order() {
    check(|| {
        let sim = Sim::new();
        let host = host(&sim);
        let logs = [0, 1].map(|partition| log_of(&host, partition));
        let threads = logs.clone().map(|log| {
            thread::spawn(move || {
                for number in 0..4 {
                    log.append(&value(1, number)).unwrap();
                    log.flush().unwrap();
                }
                log.truncate_prefix(2).unwrap();
                log.append(&value(1, 4)).unwrap();
                log.flush().unwrap();
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        for log in logs {
            log.abandon();
        }
        let next = sim.crash(Choice::None);
        let host = self::host(&next);
        for partition in 0..2 {
            let log = log_of(&host, partition);
            assert_eq!((log.start_offset(), log.end_offset()), (2, 5));
            log.close_managed().unwrap();
        }
    });
}

#[test]
fn a_log_is_forgotten_and_another_takes_its_marks_in_any_order() {
    check(|| {
        let sim = Sim::new();
        let host = host(&sim);
        let now = host.clock.instant();
        let writes = move |host: &Host, partition, sequences: std::ops::RangeInclusive<u64>| {
            let place = host.marks.place(key(partition));
            for sequence in sequences {
                let mark = Mark {
                    key: key(partition),
                    sequence,
                    ..Mark::default()
                };
                host.marks.write(place, &mark).unwrap();
                host.marks.sync(now).unwrap();
            }
        };
        writes(&host, 0, 1..=5);
        writes(&host, 1, 1..=2);
        let syncing = Arc::clone(&host);
        let thread = thread::spawn(move || writes(&syncing, 1, 3..=5));
        host.marks.forget(key(0)).unwrap();
        host.marks.sync(now).unwrap();
        writes(&host, 2, 1..=2);
        thread.join().unwrap();
        let next = sim.crash(Choice::None);
        let marks = Marks::read_only(&next.disk(), &Path::new(ROOT).join("ottla.marks")).unwrap();
        let found = [0, 1, 2].map(|partition| marks.find(key(partition)).map(|m| m.sequence));
        assert_eq!(found, [None, Some(5), Some(2)]);
    });
}

/// An exchange makes both slots of its log's mark durable before a segment goes, while another log
/// writes and syncs the same file.
#[test]
fn a_compaction_beside_the_marks_of_another_log_in_any_order() {
    check_long(|| {
        let sim = Sim::new();
        let host = host(&sim);
        let of_keys = log_with(&host, 0, compacted(Durability::Os));
        for number in 0..5 {
            append_keyed(&of_keys, number).unwrap();
        }
        of_keys.flush().unwrap();
        let other = log_of(&host, 1);
        let compactor = {
            let log = of_keys.clone();
            thread::spawn(move || log.compact().unwrap())
        };
        let reader = {
            let log = of_keys.clone();
            thread::spawn(move || read_compacted(&log).unwrap())
        };
        let syncer = thread::spawn(move || {
            for number in 0..4 {
                other.append(&value(1, number)).unwrap();
                other.flush().unwrap();
            }
            other.truncate(3).unwrap();
            other.truncate_prefix(1).unwrap();
            other.close_managed().unwrap();
        });
        compactor.join().unwrap();
        reader.join().unwrap();
        syncer.join().unwrap();
        // As a broker does once all its logs are closed.
        host.marks.sync(host.clock.instant()).unwrap();
        of_keys.abandon();
        let after = sim.crash(Choice::None);
        let host = self::host(&after);
        let of_keys = log_with(&host, 0, compacted(Durability::Os));
        assert_eq!(of_keys.end_offset(), 5);
        read_compacted(&of_keys).unwrap();
        of_keys.close_managed().unwrap();
        let other = log_of(&host, 1);
        assert_eq!((other.start_offset(), other.end_offset()), (1, 3));
        assert!(other.open_report().clean, "{:?}", other.open_report());
        other.close_managed().unwrap();
    });
}
