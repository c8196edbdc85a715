//! Roots that a broker left cleanly, with segments cut or gone below their recovery points: damage
//! for opening and for `verify`, and `repair` keeps the rest at its own offsets.

use super::*;
use crate::broker::repair::repair_on;
use crate::broker::verify::verify_on;
use crate::doctor::Beside;
use crate::doctor::{ProblemKind, Severity, VerifyReport};
use crate::error::Error;
use crate::format::{BatchHeader, old_message};
use crate::log::open_alone_on;
use crate::recovery::OpenMode;
use crate::types::LogConfig;

/// The segments of the first partition, oldest first.
fn segments(rest: &Rest) -> Vec<PathBuf> {
    let files = rest.sim.files().into_iter().map(|(path, _)| path);
    let of_it = files.filter(|file| {
        file.starts_with(path("t-0")) && file.extension().is_some_and(|kind| kind == "log")
    });
    let mut found: Vec<_> = of_it.collect();
    found.sort();
    found
}

fn change(rest: &Rest, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = rest.sim.read(path).unwrap();
    change(&mut bytes);
    rest.sim.write_raw(path, &bytes).unwrap();
    rest.sync_all();
}

fn verify(rest: &Rest) -> VerifyReport {
    verify_on(
        &rest.sim.disk(),
        &Clock::System,
        Path::new(ROOT),
        Beside::Anybody,
    )
    .unwrap()
}

/// Opening the partition fails however it is done, nothing of it is changed, and `verify` says so.
fn is_damaged(what: &str, rest: &Rest) {
    let before = rest.partition_files();
    let report = verify(rest);
    let named = |problem: &crate::doctor::Problem| problem.path.starts_with(path("t-0"));
    assert!(report.damage().any(named), "{what}: {report}");
    let alone = open_alone_on(
        &rest.sim.disk(),
        &Clock::System,
        &path("t-0"),
        LogConfig::default(),
        OpenMode::Read,
        true,
    );
    let refused =
        |error: &Error| matches!(error, Error::Corrupt { .. } | Error::Unsupported { .. });
    assert!(alone.is_err_and(|error| refused(&error)), "{what}: alone");
    let reading = open_read_only(&rest.sim).unwrap();
    let opened = reading.topic(TOPIC).unwrap().partition(0);
    assert!(
        opened.is_err_and(|error| refused(&error)),
        "{what}: to read"
    );
    assert_eq!(values(&reading, 1), expected(1), "{what}");
    drop(reading);
    assert_eq!(rest.partition_files(), before, "{what}: nothing is touched");
    let copy = Rest {
        sim: rest.sim.process_crash(),
    };
    let broker = open(&copy.sim).unwrap();
    let opened = broker.topic(TOPIC).unwrap().append_to(0, "x");
    assert!(
        opened.is_err_and(|error| refused(&error)),
        "{what}: to write"
    );
    assert_eq!(values(&broker, 1), expected(1), "{what}");
    broker.close().unwrap();
    // Closing has written our own files: it stays damaged.
    assert!(verify(&copy).damage().any(named), "{what}: after a close");
}

/// Afterwards it opens, holds these records, and no offset is given out twice.
fn is_repaired(what: &str, rest: &Rest, kept: &[(u64, Vec<u8>)]) {
    let report = repair_on(&rest.sim.disk(), &Clock::System, Path::new(ROOT)).unwrap();
    assert!(report.is_sound(), "{what}: {report}");
    let broker = open(&rest.sim).unwrap();
    assert_eq!(values(&broker, 0), kept, "{what}");
    let appended = broker.topic(TOPIC).unwrap().append_to(0, "after").unwrap();
    assert_eq!(appended, RECORDS, "{what}");
    broker.close().unwrap();
}

#[test]
fn a_sound_root_of_a_broker_is_not_called_damaged() {
    let rest = Rest::of_a_broker();
    let report = verify(&rest);
    assert!(report.is_sound(), "{report}");
    // A recovery point is a lower bound, and a root may lack it.
    for points in ["0\n1\nt 0 7\n", "0\n0\n", "garbage"] {
        rest.write("recovery-point-offset-checkpoint", points.as_bytes());
        assert!(
            verify(&rest).damage().next().is_none(),
            "{points}: {}",
            verify(&rest)
        );
        check_whole(&open_read_only(&rest.sim).unwrap());
    }
    let broker = open(&rest.sim).unwrap();
    check_whole(&broker);
    broker.close().unwrap();
}

#[test]
fn a_segment_cut_or_gone_below_the_recovery_point_is_damage_and_repair_keeps_the_rest() {
    let whole = Rest::of_a_broker();
    let last = segments(&whole).pop().unwrap();
    let bytes = whole.sim.read(&last).unwrap();
    let header = BatchHeader::parse(&bytes).unwrap();
    let base = header.base_offset;
    let below = |end: u64| {
        let mut kept = expected(0);
        kept.retain(|(offset, _)| *offset < end);
        kept
    };
    let one = header.size;
    assert!(bytes.len() > 2 * one && base > 0, "{} {base}", bytes.len());
    for (what, length, end) in [
        ("cut behind a batch", one, base + 1),
        ("cut inside a batch", one + one / 2, base + 1),
        ("cut inside the first batch", 30, base),
        ("cut to nothing", 0, base),
    ] {
        let rest = Rest::of_a_broker();
        change(&rest, &last, |bytes| bytes.truncate(length));
        is_damaged(what, &rest);
        is_repaired(what, &rest, &below(end));
    }
    let rest = Rest::of_a_broker();
    rest.sim.disk().remove_file(&last).unwrap();
    rest.sync_all();
    is_damaged("the last is gone", &rest);
    is_repaired("the last is gone", &rest, &below(base));

    // Of one between others its index is left.
    let rest = Rest::of_a_broker();
    let [_, second, third, ..] = &segments(&rest)[..] else {
        panic!("{:?}", segments(&rest));
    };
    let base_of =
        |path: &Path| -> u64 { path.file_stem().unwrap().to_str().unwrap().parse().unwrap() };
    rest.sim.disk().remove_file(second).unwrap();
    rest.sync_all();
    is_damaged("one between others is gone", &rest);
    let mut kept = expected(0);
    kept.retain(|(offset, _)| !(base_of(second)..base_of(third)).contains(offset));
    is_repaired("one between others is gone", &rest, &kept);

    let rest = Rest::of_a_broker();
    for segment in segments(&rest) {
        rest.sim.disk().remove_file(&segment).unwrap();
    }
    rest.sync_all();
    is_damaged("all are gone", &rest);
    // Put back, they are as good as before, also after the root was taken over without them.
    let back = Rest {
        sim: rest.sim.process_crash(),
    };
    open(&back.sim).unwrap().close().unwrap();
    for segment in segments(&whole) {
        let bytes = whole.sim.read(&segment).unwrap();
        back.sim.write_raw(&segment, &bytes).unwrap();
    }
    back.sync_all();
    check_whole(&open(&back.sim).unwrap());
    is_repaired("all are gone", &rest, &[]);
}

#[test]
fn a_log_that_begins_above_the_start_that_the_broker_noted_is_damage() {
    let rest = Rest::of_a_broker();
    let first = segments(&rest).remove(0);
    rest.write("log-start-offset-checkpoint", b"0\n1\nt 0 2\n");
    let mut kept = expected(0);
    kept.retain(|(offset, _)| *offset >= 2);
    assert_eq!(values(&open_read_only(&rest.sim).unwrap(), 0), kept);
    assert!(verify(&rest).is_sound(), "{}", verify(&rest));
    rest.sim.disk().remove_file(&first).unwrap();
    rest.sync_all();
    let report = verify(&rest);
    let missing = |problem: &crate::doctor::Problem| {
        problem.kind == ProblemKind::Missing && problem.severity == Severity::Damage
    };
    assert!(report.problems.iter().any(missing), "{report}");
    let second = segments(&rest).remove(0);
    let base: u64 = second
        .file_stem()
        .unwrap()
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    kept.retain(|(offset, _)| *offset >= base);
    is_repaired("the first is gone", &rest, &kept);
}

#[test]
fn messages_of_an_old_format_are_damage_to_verify_and_repair_leaves_them_alone() {
    for magic in [0, 1] {
        let rest = Rest::of_a_broker();
        let mut old = Vec::new();
        for offset in 0..5 {
            old.extend(old_message(offset, magic, b"a message of 2015"));
        }
        let last = segments(&rest).pop().unwrap();
        change(&rest, &last, |bytes| *bytes = old);
        is_damaged("an old format", &rest);
        let before = rest.sim.read(&last).unwrap();
        let repaired = repair_on(&rest.sim.disk(), &Clock::System, Path::new(ROOT));
        assert!(
            matches!(repaired, Err(Error::Unsupported { .. })),
            "{repaired:?}"
        );
        assert_eq!(rest.sim.read(&last).unwrap(), before);
    }
}

/// Everything in the root, with its bytes.
fn all_files(rest: &Rest) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = rest.sim.files().into_iter();
    files
        .map(|(path, _)| {
            let bytes = rest.sim.read(&path).unwrap();
            (path, bytes)
        })
        .collect()
}

#[test]
fn partitions_whose_replicas_are_elsewhere_are_noted_and_a_node_of_a_cluster_is_left_alone() {
    let rest = Rest::of_a_broker();
    let other = |partition: u32, change: &dyn Fn(&mut PartitionRecord)| {
        let bytes = Bytes::from(rest.sim.read(path(file_name::BOOTSTRAP)).unwrap());
        let records = decode_snapshot(&bytes).unwrap().into_iter();
        let partitions: Vec<_> = records
            .filter_map(|record| match record {
                MetadataRecord::Partition(record) => Some(record),
                _ => None,
            })
            .collect();
        // Of the topic with two partitions: `__consumer_offsets` has more, and comes first or last.
        let of = |topic| {
            { partitions.iter() }
                .filter(|other| other.topic == topic)
                .count()
        };
        let of_two = partitions.iter().find(|record| of(record.topic) == 2);
        let mut record = of_two.unwrap().clone();
        record.partition = partition;
        change(&mut record);
        MetadataRecord::Partition(record)
    };
    rest.say(&[
        other(2, &|record| record.replicas = vec![2, 3]),
        other(3, &|record| record.directories = vec![[7; 16]]),
    ]);
    let report = verify(&rest);
    assert!(report.is_sound(), "{report}");
    let elsewhere = |problem: &&crate::doctor::Problem| {
        problem.kind == ProblemKind::Missing && problem.severity == Severity::Note
    };
    assert_eq!(
        report.problems.iter().filter(elsewhere).count(),
        2,
        "{report}"
    );
    // Something that `repair` would mend is left alone, too: opening refuses the root.
    let last = segments(&rest).pop().unwrap();
    change(&rest, &last, |bytes| bytes.truncate(30));
    rest.remove(".lock");
    let before = all_files(&rest);
    let repaired = repair_on(&rest.sim.disk(), &Clock::System, Path::new(ROOT));
    assert!(
        matches!(repaired, Err(Error::Unsupported { .. })),
        "{repaired:?}"
    );
    assert_eq!(all_files(&rest), before);
}

#[test]
fn a_root_of_an_older_kafka_is_not_touched_by_repair() {
    let rest = Rest::of_a_broker();
    for name in [file_name::ROOT, file_name::CATALOG, ".lock"] {
        rest.remove(name);
    }
    rest.write("meta.properties", b"version=0\nbroker.id=1\n");
    let last = segments(&rest).pop().unwrap();
    change(&rest, &last, |bytes| bytes[70] ^= 1);
    let index = last.with_extension("index");
    rest.sim.disk().remove_file(&index).unwrap();
    rest.sync_all();
    let before = all_files(&rest);
    for dir in [PathBuf::from(ROOT), path("t-0")] {
        let repaired = repair_on(&rest.sim.disk(), &Clock::System, &dir);
        assert!(
            matches!(repaired, Err(Error::Unsupported { .. })),
            "{repaired:?}"
        );
        assert_eq!(all_files(&rest), before);
    }
}
