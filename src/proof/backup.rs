//! Backups on a disk whose power is cut, or whose calls fail, at every operation of one.
//!
//! Knows nothing about how a backup is made. What is owed:
//!
//! 1. What was interrupted is never taken for whole: opening it is refused; or it is whole, and
//!    then it is what the backup before it was, or what this one was to be.
//! 2. The next backup into the same place is whole, whatever the last one left.
//! 3. The root that is copied is as it was.

use std::path::Path;

use super::{Scale, Whereabouts};
use crate::clock::Clock;
use crate::disk::sim::{At, Choice, Failure, Fault, Repeat, Sim};
use crate::error::{Error, Result};
use crate::{Broker, BrokerConfig, Start, TopicConfig};

const DATA: &str = "/data";
const COPY: &str = "/copy";

fn open(sim: &Sim, dir: &str) -> Result<Broker> {
    let config = BrokerConfig::default().manual_upkeep(true);
    Broker::open_on(sim.disk(), Clock::System, Path::new(dir), config)
}

fn append(broker: &Broker, count: usize) {
    let topic = broker.topic("t").unwrap();
    let mut consumer = broker.group("g").unwrap().join(["t"]).unwrap();
    for _ in 0..count {
        topic.append(&[b'x'; 150]).unwrap();
    }
    drop(consumer.poll(std::time::Duration::ZERO).unwrap());
    consumer.commit().unwrap();
}

/// A root with a topic of several segments, and a backup of an earlier state of it, if so.
fn begin(backed_up: bool) -> (Sim, usize) {
    let sim = Sim::new();
    let broker = open(&sim, DATA).unwrap();
    let config = TopicConfig::default().partitions(2).segment_bytes(1024);
    broker.create_topic("t", config).unwrap();
    append(&broker, 20);
    if backed_up {
        broker.backup(COPY).unwrap();
        let log = broker.topic("t").unwrap().partition(0).unwrap();
        log.truncate_prefix(log.end_offset() / 2).unwrap();
        append(&broker, 15);
    }
    broker.close().unwrap();
    (sim, if backed_up { 20 } else { 0 })
}

/// The records of a root, and that no position is past them.
fn records(broker: &Broker) -> usize {
    let topic = broker.topic("t").unwrap();
    let group = broker.group("g").unwrap();
    for partition in 0..2 {
        let log = topic.partition(partition).unwrap();
        let committed = group.committed("t", partition).unwrap().unwrap_or_default();
        assert!(committed <= log.end_offset(), "a position past the records");
    }
    let all = topic.reader(Start::Earliest).unwrap();
    all.map(Result::unwrap).count()
}

/// Rule 1; `expected` are the numbers of records that a whole backup may have.
fn check_interrupted(sim: &Sim, expected: &[usize]) {
    let note = Path::new(COPY).join("ottla.backup");
    if !sim.disk().exists(&note).unwrap() {
        let files = sim.files();
        let names = files.iter().map(|(path, _)| path);
        let inside: Vec<_> = names.filter(|path| path.starts_with(COPY)).collect();
        let empty = |path: &Path| path.ends_with(".lock") || path.ends_with("ottla.backup.tmp");
        assert!(inside.iter().all(|path| empty(path)), "{inside:?}");
        return;
    }
    match open(sim, COPY) {
        Err(Error::Unsupported { what }) => assert!(what.contains("not finished"), "{what}"),
        Err(error) => panic!("{error:?}"),
        Ok(copy) => {
            let found = records(&copy);
            assert!(expected.contains(&found), "{found} of {expected:?}");
            copy.close().unwrap();
        }
    }
}

/// Rules 2 and 3.
fn check_again(sim: &Sim, whole: usize) {
    let broker = open(sim, DATA).unwrap();
    assert_eq!(records(&broker), whole);
    broker.backup(COPY).unwrap();
    let copy = open(sim, COPY).unwrap();
    assert!(copy.open_report().clean);
    assert_eq!(records(&copy), whole);
    copy.close().unwrap();
    broker.close().unwrap();
}

/// Runs a case for the operations of a backup, and returns for how many.
fn at_every_operation(backed_up: bool, case: impl Fn(&Sim, u64, usize, &[usize])) -> u64 {
    let (base, old) = begin(backed_up);
    let (first, last, whole) = {
        let sim = base.process_crash();
        let broker = open(&sim, DATA).unwrap();
        let whole = records(&broker);
        let first = sim.operations();
        broker.backup(COPY).unwrap();
        (first, sim.operations(), whole)
    };
    let step = match Scale::asked() {
        Scale::Plain => 11,
        Scale::Ci | Scale::Soak => 1,
    };
    let mut done = 0;
    for operation in (0..=last - first).step_by(step) {
        let _told = Whereabouts(|| format!("backed up {backed_up}, operation {operation}"));
        case(&base.process_crash(), operation, whole, &[old, whole]);
        done += 1;
    }
    done
}

#[test]
fn a_power_cut_at_any_operation_of_a_backup_leaves_none_that_is_taken_for_whole() {
    let mut done = 0;
    for backed_up in [false, true] {
        done += at_every_operation(backed_up, |sim, operation, whole, expected| {
            let broker = open(sim, DATA).unwrap();
            records(&broker);
            sim.cut_power_at(sim.operations() + operation);
            drop(broker.backup(COPY));
            drop(broker);
            for choice in [
                Choice::None,
                Choice::All,
                Choice::DataAlone,
                Choice::Random(operation),
            ] {
                let next = sim.crash(choice);
                check_interrupted(&next, expected);
                check_again(&next, whole);
            }
        });
    }
    println!("proof: backup: {done} power cuts");
    assert!(done >= 20, "{done}");
}

#[test]
fn a_call_that_fails_at_any_operation_of_a_backup_leaves_none_that_is_taken_for_whole() {
    let mut done = 0;
    for (error, repeat) in [
        (Failure::Eio, Repeat::Once),
        (Failure::Enospc, Repeat::Forever),
    ] {
        done += at_every_operation(true, |sim, operation, whole, expected| {
            let broker = open(sim, DATA).unwrap();
            records(&broker);
            let at = At::Operation(sim.operations() + operation);
            sim.fail(Fault { at, error, repeat });
            let made = broker.backup(COPY);
            sim.heal();
            match made {
                // A call whose failure changes nothing.
                Ok(_) => {
                    let copy = open(sim, COPY).unwrap();
                    assert_eq!(records(&copy), whole);
                    copy.close().unwrap();
                }
                Err(failed) => {
                    let of_disk = matches!(
                        failed,
                        Error::Io { .. } | Error::NoSpace { .. } | Error::Poisoned { .. }
                    );
                    assert!(of_disk, "{failed:?}");
                    check_interrupted(sim, expected);
                }
            }
            broker.close().unwrap();
            check_again(sim, whole);
        });
    }
    println!("proof: backup: {done} failing calls");
    assert!(done >= 20, "{done}");
}
