//! Tests of `file_name.rs`.

use super::*;

fn check(name: &str, parsed: FileName) {
    assert_eq!(FileName::parse(name), parsed);
    assert_eq!(parsed.to_string(), name);
}

#[test]
fn every_file_of_a_segment_in_every_stage() {
    check(
        "00000000000000000042.log",
        FileName::segment(42, FileKind::Log),
    );
    for kind in FileKind::ALL {
        for stage in [Stage::Live, Stage::Deleted, Stage::Cleaned, Stage::Swap] {
            let base = i64::MAX.cast_unsigned();
            let name = FileName::Segment { base, kind, stage };
            check(&name.to_string(), name);
        }
    }
    check(
        "00000000000000000042.timeindex.cleaned",
        FileName::Segment {
            base: 42,
            kind: FileKind::TimeIndex,
            stage: Stage::Cleaned,
        },
    );
}

#[test]
fn our_own_names() {
    check("ottla.next", FileName::NextSegment);
    check(".lock", FileName::Lock);
    check("ottla.ballast", FileName::Ballast);
    check("ottla.live", FileName::Live);
    check("ottla.marks", FileName::Marks);
    check("leader-epoch-checkpoint", FileName::LeaderEpochs);
    check("partition.metadata", FileName::PartitionMetadata);
    check(
        "00000000000000000042-8192-3.quarantine",
        FileName::Quarantine {
            base: 42,
            position: Position(8192),
            number: 3,
        },
    );
}

#[test]
fn a_known_suffix_behind_a_bad_stem_is_misnamed_and_the_rest_is_foreign() {
    for name in [
        "abc.log",
        "5.log",
        "0000000000000000004x.index",
        "99999999999999999999.log",
        "abc.swap",
        ".cleaned",
        "00000000000000000042.deleted",
        "+0000000000000000042.log",
    ] {
        assert_eq!(FileName::parse(name), FileName::Misnamed, "{name}");
    }
    for name in [
        "foo.txt",
        "",
        "log",
        "00000000000000000042",
        "abc.digest",
        "1-2-3.quarantine",
        "00000000000000000042-08-3.quarantine",
        "00000000000000000042-8-3-4.quarantine",
    ] {
        assert_eq!(FileName::parse(name), FileName::Foreign, "{name}");
    }
    assert_eq!(FileName::parse("ottla.marks.tmp"), FileName::Temporary);
}

#[test]
fn our_own_files_carry_no_suffix_that_kafka_knows() {
    for name in [
        LOCK,
        CATALOG,
        MARKS,
        NEXT_SEGMENT,
        "x.digest",
        "x.quarantine",
        "x.tmp",
    ] {
        assert!(
            !matches!(FileName::parse(name), FileName::Misnamed),
            "{name}"
        );
    }
}

#[test]
fn directories_are_split_at_the_last_dash() {
    let partition = |topic, partition| DirName::Partition { topic, partition };
    assert_eq!(DirName::parse("flights-0"), partition("flights", 0));
    assert_eq!(DirName::parse("a-b-12"), partition("a-b", 12));
    assert_eq!(DirName::parse("a--7"), partition("a-", 7));
    assert_eq!(
        DirName::parse("__cluster_metadata-0"),
        DirName::ClusterMetadata
    );
    for name in [
        "lost+found",
        "-1",
        "x-",
        "x-+1",
        "x-01",
        "x-2147483648",
        "x",
    ] {
        assert_eq!(DirName::parse(name), DirName::Foreign, "{name}");
    }
    assert_eq!(partition_dir("a-b", 12), "a-b-12");
}

#[test]
fn directories_on_their_way_out_are_known() {
    assert_eq!(DirName::parse("t-3.0101-delete"), DirName::Deleted);
    assert_eq!(DirName::parse("t-3.0101-stray"), DirName::Stray);
    assert_eq!(DirName::parse("t-3.0101-future"), DirName::Future);
    assert_eq!(DirName::parse("t-delete"), DirName::Foreign);
}
