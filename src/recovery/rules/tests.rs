//! Tests of `rules.rs`.

use super::*;
use crate::format::DigestBuilder;
use crate::types::TopicId;

const KEY: MarkKey = MarkKey {
    topic: TopicId([7; 16]),
    partition: 1,
};
/// Two segments were sealed: offsets 0..10 and 10..20, of 100 bytes each.
const BASES: [Offset; 2] = [0, 10];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Missing,
    Short,
    Exact,
    Longer,
}
const LENGTHS: [Length; 4] = [
    Length::Missing,
    Length::Short,
    Length::Exact,
    Length::Longer,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Exact,
    Older,
    OtherLog,
}
const DIGESTS: [Told; 4] = [Told::Nothing, Told::Exact, Told::Older, Told::OtherLog];

/// Where the mark is, relative to the second segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Before,
    In,
    End,
    After,
}
const MARKS: [At; 4] = [At::Before, At::In, At::End, At::After];

fn mark(at: At) -> Mark {
    let (segment_base, position, flushed_offset) = match at {
        At::Before => (0, 30, 3),
        At::In => (10, 70, 17),
        At::End => (10, 100, 20),
        At::After => (20, 0, 20),
    };
    Mark {
        key: KEY,
        segment_base,
        position: Position(position),
        flushed_offset,
        ..Mark::default()
    }
}

fn digest(base: Offset, told: Told) -> Option<DigestSummary> {
    let mut summary = DigestBuilder::new(base).finish(base + 10, (0, 0)).summary;
    summary.length = Position(if told == Told::Older { 80 } else { 100 });
    summary.home = match told {
        Told::Nothing => return None,
        Told::OtherLog => log_hash(MarkKey {
            partition: 2,
            ..KEY
        }),
        Told::Exact | Told::Older => log_hash(KEY),
    };
    Some(summary)
}

fn facts(base: Offset, length: Length, told: Told) -> Option<SegmentFacts> {
    let length = match length {
        Length::Missing => return None,
        Length::Short => 60,
        Length::Exact => 100,
        Length::Longer => 140,
    };
    Some(SegmentFacts {
        base,
        length: Position(length),
        digest: digest(base, told),
    })
}

/// The verdicts by the reasons that a person would name, written down without the code above.
fn expected(segments: [(Length, Told); 2], at: At) -> Vec<String> {
    let [first, second] = segments;
    let there = |(length, _): (Length, Told)| length != Length::Missing;
    let others = |segment: (Length, Told)| there(segment) && segment.1 == Told::OtherLog;
    let own =
        |segment: (Length, Told)| there(segment) && matches!(segment.1, Told::Exact | Told::Older);
    // A segment of another log does not count beside one of this log.
    let has_own = own(first) || own(second);
    let counts = |segment| there(segment) && !(has_own && others(segment));
    let mut verdicts = Vec::new();
    if !counts(first) && counts(second) {
        verdicts.push("the log starts late".to_owned());
    }
    let missing = match at {
        At::Before => !counts(first),
        At::In | At::End => !counts(second),
        // The third was empty: it may be missing, but not all of them.
        At::After => !counts(first) && !counts(second),
    };
    if missing {
        verdicts.push("the segment of the mark is missing".to_owned());
    }
    for (number, segment) in segments.into_iter().enumerate() {
        let (length, told) = segment;
        if others(segment) {
            verdicts.push(format!("{number} is another's"));
        }
        let synced = match (told, at, number) {
            (Told::Exact, ..) | (_, At::End, 1) => 100,
            (Told::Older, ..) => 80,
            (_, At::In, 1) => 70,
            (_, At::Before, 0) => 30,
            _ => 0,
        };
        if length == Length::Short && synced > 60 {
            verdicts.push(format!("{number} is shorter than {synced}"));
        }
    }
    verdicts
}

fn told(violation: Violation) -> String {
    let number = |base: Offset| base / 10;
    match violation {
        Violation::StartsLate { .. } => "the log starts late".to_owned(),
        Violation::Missing { .. } => "the segment of the mark is missing".to_owned(),
        Violation::OtherLog { base } => format!("{} is another's", number(base)),
        Violation::Shorter { base, expected, .. } => {
            format!("{} is shorter than {}", number(base), expected.0)
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn every_combination_of_lengths_digests_and_marks_has_one_verdict() {
    let kinds = || LENGTHS.into_iter().flat_map(|l| DIGESTS.map(|d| (l, d)));
    let (mut cells, mut sound) = (0, 0);
    for at in MARKS {
        for first in kinds() {
            for second in kinds() {
                let (a, b) = (first, second);
                let listed = [facts(BASES[0], a.0, a.1), facts(BASES[1], b.0, b.1)];
                let listed: Vec<_> = listed.into_iter().flatten().collect();
                let found = violations(KEY, Some(&mark(at)), &listed);
                let found: Vec<_> = found.into_iter().map(told).collect();
                assert_eq!(found, expected([a, b], at), "{a:?} {b:?} {at:?}");
                cells += 1;
                sound += u64::from(found.is_empty());
            }
        }
    }
    assert_eq!((cells, sound), (1024, 238));
}

#[test]
fn a_gap_behind_an_exact_digest_is_damage_below_the_mark_alone() {
    let first = facts(0, Length::Exact, Told::Exact).unwrap();
    let gap = Violation::Gap {
        expected: 10,
        found: 12,
    };
    for (at, found) in [(At::Before, vec![]), (At::End, vec![gap])] {
        // The mark is in the segment behind the gap.
        let mut mark = mark(at);
        if mark.segment_base == 10 {
            mark.segment_base = 12;
        }
        let second = facts(12, Length::Longer, Told::Nothing).unwrap();
        assert_eq!(violations(KEY, Some(&mark), &[first, second]), found);
        // Of an older state, or wholly below the start, it says nothing about what follows.
        let older = facts(0, Length::Exact, Told::Older).unwrap();
        assert_eq!(violations(KEY, Some(&mark), &[older, second]), []);
        mark.log_start_offset = 10;
        assert_eq!(violations(KEY, Some(&mark), &[first, second]), []);
    }
}

#[test]
fn a_segment_is_lost_between_others_and_nowhere_else() {
    let bases = BTreeSet::from([10, 20, 30]);
    let gap = |expected, found| Some(Violation::Gap { expected, found });
    for (base, lost) in [
        (5, None),
        (10, None),
        (15, gap(15, 20)),
        (20, None),
        (29, gap(29, 30)),
        (31, None),
    ] {
        assert_eq!(lost_between(base, &bases), lost, "{base}");
    }
}

#[test]
fn without_a_mark_only_a_digest_of_this_log_counts() {
    let short = |told| [facts(0, Length::Short, told).unwrap()];
    let found = violations(KEY, None, &short(Told::Exact));
    assert!(
        matches!(found[..], [Violation::Shorter { .. }]),
        "{found:?}"
    );
    for told in [Told::Nothing, Told::OtherLog] {
        assert_eq!(violations(KEY, None, &short(told)), []);
    }
}

#[test]
fn the_batches_below_a_mark_end_there_with_its_offset() {
    let landed = |end, at_mark| Landed {
        end: Position(end),
        at_mark,
    };
    let dense = Mark {
        dense: true,
        ..mark(At::End)
    };
    let gaps = mark(At::End);
    let broker = Mark {
        by_broker: true,
        ..gaps
    };
    assert!(matches!(
        at_mark(&gaps, landed(99, None)),
        Some(Violation::Shorter { .. })
    ));
    assert!(matches!(
        at_mark(&gaps, landed(100, None)),
        Some(Violation::InsideBatch { .. })
    ));
    // In order: ends below, at, and above the flushed offset.
    for (mark, fits) in [
        (dense, [false, true, false]),
        (gaps, [true, true, false]),
        (broker, [false, true, true]),
    ] {
        for (found, fits) in [19, 20, 21].into_iter().zip(fits) {
            let violation = at_mark(&mark, landed(100, Some(found)));
            assert_eq!(violation.is_none(), fits, "{found} {mark:?}");
        }
    }
}

#[test]
fn a_broker_s_mark_misses_a_log_that_is_gone_whole() {
    let gone = |flushed_offset, start| Mark {
        by_broker: true,
        position: if flushed_offset > start {
            Mark::NOTHING_FOUND
        } else {
            Position::ZERO
        },
        segment_base: start,
        flushed_offset,
        log_start_offset: start,
        ..Mark::default()
    };
    let found = violations(KEY, Some(&gone(1052, 0)), &[]);
    assert!(
        matches!(found[..], [Violation::Missing { .. }]),
        "{found:?}"
    );
    // Segments that were put back are checked as if nothing were known.
    assert_eq!(applicable(Some(gone(1052, 0)), 1), None);
    assert_eq!(violations(KEY, Some(&gone(0, 0)), &[]), []);
    assert_eq!(violations(KEY, Some(&gone(7, 7)), &[]), []);
}
