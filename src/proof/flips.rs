//! Every bit of every file of small directories is flipped, one at a time; then two and three at
//! once, at random. It is found out, or it does no harm: no wrong byte is ever given out.
//!
//! Knows nothing about what a byte means. After a flip the log is opened and everything is read:
//!
//! 1. Opening refuses, or reading gives an error, or the open report says what was set aside: found
//!    out. Or every record is there, by offset and by time: harmless, for the byte can be derived.
//! 2. Whatever is given out is what was appended at that offset. (Of what a broker wrote, it is
//!    what was appended: Kafka's checksum does not cover the offset, and there is no digest yet.)

use super::Scale;
use super::damage::subjects::{self, Held, Subject, copy, open, read_all};
use crate::disk::sim::Sim;
use crate::error::Error;
use crate::log::Log;
use crate::recovery::OpenMode;
use crate::sync::Mutex;

use super::Rng;

/// What the flips came to.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    flips: u64,
    refused: u64,
    read_errors: u64,
    reported: u64,
    harmless: u64,
    /// Records of a broker's log that came out at another offset.
    moved: u64,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.flips += other.flips;
        self.refused += other.refused;
        self.read_errors += other.read_errors;
        self.reported += other.reported;
        self.harmless += other.harmless;
        self.moved += other.moved;
    }
}

/// Opens what was damaged and holds all of it against what was appended.
fn look(subject: &Subject, sim: &Sim, counts: &mut Counts) {
    counts.flips += 1;
    let log = match open(sim, &subject.config, OpenMode::Write) {
        Ok(log) => log,
        Err(Error::Corrupt { .. }) => {
            counts.refused += 1;
            return;
        }
        Err(error) => panic!("neither open nor damaged: {error:?}"),
    };
    let (found, read) = read_all(&log);
    for (offset, held) in &found {
        if subject.records.get(offset) != Some(held) {
            // Nothing protects the offsets of what a broker wrote, but the batches around them.
            assert!(subject.foreign, "offset {offset}: {held:?}");
            let there = subject.records.values().any(|other| other == held);
            assert!(there, "never written: {held:?}");
            counts.moved += 1;
        }
    }
    match read {
        Err(Error::Corrupt { .. }) => counts.read_errors += 1,
        Err(error) => panic!("neither read nor damaged: {error:?}"),
        Ok(()) if found.len() == subject.records.len() => {
            counts.harmless += 1;
            if found == subject.records {
                search(subject, &log);
            }
        }
        Ok(()) => {
            let report = log.open_report();
            let reported = report.quarantined_bytes > 0 || !report.events.is_empty();
            assert!(
                reported || subject.foreign,
                "records are missing, and nobody said so"
            );
            counts.reported += 1;
        }
    }
    log.abandon();
}

/// By time and by offset the right record is found, too.
fn search(subject: &Subject, log: &Log) {
    for (offset, held) in subject.records.iter().step_by(7) {
        let expected = first_at(subject, held);
        assert_eq!(log.offset_for_time(held.time).unwrap(), expected, "by time");
        assert!(log.read(*offset).unwrap().is_some(), "by offset");
    }
}

fn first_at(subject: &Subject, held: &Held) -> Option<u64> {
    let mut records = subject.records.iter();
    let found = records.find(|(_, other)| other.time >= held.time);
    found.map(|(offset, _)| *offset)
}

/// Flips every bit of every file, or one in so many.
fn flip_all(subject: &Subject, one_of: u64, counts: &mut Counts) {
    for (path, length) in subject.sim.files() {
        let first = counts.flips % one_of;
        for bit in (first..8 * length).step_by(usize::try_from(one_of).unwrap()) {
            let _told =
                super::Whereabouts(|| format!("{}: bit {bit} of {}", subject.name, path.display()));
            let sim = copy(subject);
            sim.flip(&path, bit).unwrap();
            look(subject, &sim, counts);
        }
    }
}

/// Flips two or three bits at once, close to each other as often as not.
fn flip_some(subject: &Subject, count: u64, counts: &mut Counts) {
    let mut rng = Rng(count);
    let files: Vec<_> = subject
        .sim
        .files()
        .into_iter()
        .filter(|file| file.1 > 0)
        .collect();
    for _ in 0..count {
        let file = usize::try_from(rng.below(files.len() as u64)).unwrap();
        let (path, length) = files[file].clone();
        let first = rng.below(8 * length);
        let mut bits = vec![first];
        for _ in 0..=rng.below(2) {
            let near = (first + rng.below(64)).min(8 * length - 1);
            bits.push(if rng.one_in(2) {
                near
            } else {
                rng.below(8 * length)
            });
        }
        let _told =
            super::Whereabouts(|| format!("{}: bits {bits:?} of {}", subject.name, path.display()));
        let sim = copy(subject);
        for bit in &bits {
            sim.flip(&path, *bit).unwrap();
        }
        look(subject, &sim, counts);
    }
}

/// Runs a share of the subjects on each of two threads.
fn on_two_threads(subjects: &[Subject], run: impl Fn(&Subject, &mut Counts) + Sync) -> Counts {
    let total = Mutex::new(Counts::default());
    std::thread::scope(|scope| {
        for share in 0..2 {
            let (total, run) = (&total, &run);
            scope.spawn(move || {
                let mut counts = Counts::default();
                for subject in subjects.iter().skip(share).step_by(2) {
                    run(subject, &mut counts);
                }
                total.lock().add(counts);
            });
        }
    });
    total.into_inner()
}

/// Small directories of every kind, so many of each.
fn directories(seeds: u64) -> Vec<Subject> {
    (0..seeds)
        .flat_map(|seed| subjects::all(100 + seed, 900, 10))
        .collect()
}

#[test]
fn every_flipped_bit_is_found_out_or_does_no_harm() {
    let scale = Scale::asked();
    let subjects = directories(scale.of(1, 8, 80));
    let one_of = scale.of(1, 1, 1);
    let counts = on_two_threads(&subjects, |subject, counts| {
        flip_all(subject, one_of, counts);
    });
    println!("flips: {counts:?}, 0 wrong bytes given out");
    assert!(
        counts.flips >= scale.of(200_000, 2_000_000, 20_000_000),
        "{counts:?}"
    );
}

#[test]
fn two_and_three_flipped_bits_are_found_out_or_do_no_harm() {
    let scale = Scale::asked();
    let subjects = directories(2);
    let each = scale.of(2_000, 40_000, 1_000_000);
    let counts = on_two_threads(&subjects, |subject, counts| {
        flip_some(subject, each, counts);
    });
    println!("flips of two and three bits: {counts:?}, 0 wrong bytes given out");
    assert!(counts.flips >= each * 10, "{counts:?}");
}
