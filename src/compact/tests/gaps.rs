//! Gaps between segments, as Kafka's cleaner leaves them: a sealed segment ends where the next one
//! begins, in every digest and mark, whatever was done to the log.

use super::*;

/// Segments of five records each, with one offset missing between them. `segment_bytes` is so small
/// that compaction makes two outputs of two segments each.
fn cleaned() -> Bench {
    let mut bench = Bench::new();
    for base in [0, 6, 12, 18] {
        let batches: Vec<_> = (base..base + 5)
            .map(|offset| {
                let value = "v".repeat(40);
                data(offset, ANYBODY, &[(&format!("key {offset}"), Some(&value))])
            })
            .collect();
        bench.put(base, &batches);
    }
    bench.config = bench.config.clone().segment_bytes(1400);
    bench.open();
    assert_eq!(bench.offsets(), offsets());
    bench
}

fn offsets() -> Vec<Offset> {
    let segments = [0, 6, 12, 18].into_iter();
    segments.flat_map(|base| base..base + 5).collect()
}

/// Closes, verifies and opens again.
fn check(bench: &mut Bench, expected: &[Offset]) {
    bench.log.take().unwrap().close().unwrap();
    let report = crate::doctor::verify_alone(
        &bench.sim.disk(),
        Path::new(DIR),
        crate::doctor::Beside::Anybody,
    )
    .unwrap();
    assert!(report.is_sound(), "{report}");
    bench.open();
    assert_eq!(bench.offsets(), expected);
}

#[test]
fn a_log_with_gaps_between_its_segments_opens_after_a_compaction() {
    let mut bench = cleaned();
    bench.log().compact().unwrap();
    assert!(bench.files(".log").len() > 2, "{:?}", bench.files(".log"));
    check(&mut bench, &offsets());
    // And after another one, over what the first left, with the digests of a close.
    bench.log().compact().unwrap();
    check(&mut bench, &offsets());
}

#[test]
fn a_log_with_gaps_opens_after_its_digests_were_made_without_a_compaction() {
    let mut bench = cleaned();
    check(&mut bench, &offsets());
    bench.log().append(Record::keyed("a", "b")).unwrap();
    let mut all = offsets();
    all.push(23);
    check(&mut bench, &all);
}

#[test]
fn a_start_inside_a_gap_keeps_the_segment_before_it_until_the_next_begins() {
    for start in 4..=7 {
        for compacted in [false, true] {
            let mut bench = cleaned();
            if compacted {
                bench.log().compact().unwrap();
            }
            bench.log().truncate_prefix(start).unwrap();
            let kept: Vec<_> = offsets().into_iter().filter(|at| *at >= start).collect();
            check(&mut bench, &kept);
            assert_eq!(bench.log().start_offset(), start);
        }
    }
}

#[test]
fn a_log_that_is_cut_inside_a_gap_goes_on_there_and_opens() {
    for end in [5, 6, 11, 12, 17] {
        for compacted in [false, true] {
            let mut bench = cleaned();
            if compacted {
                bench.log().compact().unwrap();
            }
            bench.log().truncate(end).unwrap();
            let mut kept: Vec<_> = offsets().into_iter().filter(|at| *at < end).collect();
            check(&mut bench, &kept);
            assert_eq!(bench.log().end_offset(), end);
            // Rolls after the gap, also in the segment that ends in it.
            let value = "w".repeat(600);
            for offset in end..end + 3 {
                let key = format!("key {offset} again");
                assert_eq!(
                    bench.log().append(Record::keyed(&key, &value)).unwrap(),
                    offset
                );
                kept.push(offset);
            }
            check(&mut bench, &kept);
            bench.log().compact().unwrap();
            check(&mut bench, &kept);
        }
    }
}

#[test]
fn retention_after_a_compaction_deletes_up_to_a_segment_behind_a_gap() {
    let mut bench = cleaned();
    bench.log().compact().unwrap();
    bench.log.take().unwrap().close().unwrap();
    bench.config = bench
        .config
        .clone()
        .cleanup_policy(CleanupPolicy::Delete)
        .retention_bytes(Some(1000));
    bench.open();
    let deleted = bench.log().apply_retention().unwrap();
    assert!(deleted.segments_deleted > 0, "{deleted:?}");
    let kept: Vec<_> = { offsets().into_iter() }
        .filter(|at| *at >= deleted.start_offset)
        .collect();
    assert!(!kept.is_empty());
    check(&mut bench, &kept);
}

#[test]
fn a_compaction_behind_gaps_that_is_cut_off_anywhere_is_finished_or_undone() {
    let bench = cleaned();
    let states = Arc::new(crate::sync::Mutex::new(Vec::new()));
    let found = Arc::clone(&states);
    bench
        .sim
        .on_change(move |sim| found.lock().push(sim.process_crash()));
    bench.log().compact().unwrap();
    bench.sim.stop_watching();
    let states = std::mem::take(&mut *states.lock());
    assert!(states.len() > 10, "{}", states.len());
    for sim in states {
        let mut after = Bench::new();
        after.sim = sim;
        after.config = bench.config.clone();
        after.open();
        assert_eq!(after.offsets(), offsets());
        check(&mut after, &offsets());
        after.log().compact().unwrap();
        check(&mut after, &offsets());
    }
}

#[test]
fn a_repair_of_a_log_with_gaps_leaves_one_that_opens() {
    let mut bench = cleaned();
    bench.log().compact().unwrap();
    bench.log.take().unwrap().close().unwrap();
    let path = Path::new(DIR).join(file_name::log(0));
    let mut bytes = bench.sim.read(&path).unwrap();
    bytes[70] ^= 1;
    bench.sim.write_raw(&path, &bytes).unwrap();
    let disk = bench.sim.disk();
    let report = crate::doctor::repair_alone(&disk, &Clock::default(), Path::new(DIR)).unwrap();
    assert!(report.is_sound(), "{report}");
    bench.open();
    let kept = offsets().split_off(1);
    assert_eq!(bench.offsets(), kept);
    bench.log().compact().unwrap();
    bench.log.take().unwrap().close().unwrap();
    bench.open();
    assert_eq!(bench.offsets(), kept);
}
