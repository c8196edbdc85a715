//! What happens to a compaction when the log changes under it, and what a compaction must not do
//! to the rest of the log.

use super::*;
use crate::error::Error;
use crate::sync::Mutex;

/// A log of many small segments, the newest record of each of 10 keys in the last ten.
fn rolled() -> Bench {
    let mut bench = Bench::new();
    bench.config = bench.config.clone().segment_bytes(1024);
    bench.open();
    append(&bench, 100);
    bench
}

fn append(bench: &Bench, count: u32) {
    let time = Timestamp::from_millis(NOW_MS);
    for number in 0..count {
        let key = format!("key {}", number % 10);
        let value = format!("{number:060}");
        let record = Record::keyed(&key, &value).with_timestamp(time);
        bench.log().append(record).unwrap();
    }
}

/// Whether compaction is writing an output: then it holds no lock that others wait for.
fn is_writing(sim: &Sim) -> bool {
    let (mut begun, mut complete) = (0, 0);
    for (path, _) in sim.files() {
        let name = path.to_str().unwrap();
        begun += usize::from(name.ends_with(".log.cleaned"));
        complete += usize::from(name.ends_with(".timeindex.cleaned"));
    }
    begun > complete
}

/// Does something once, in the middle of the writing of an output.
fn while_writing(bench: &Bench, what: impl FnOnce(&Log) + Send + 'static) {
    let log = bench.log().clone();
    let what = Mutex::new(Some(what));
    bench.sim.on_change(move |sim| {
        if is_writing(sim)
            && let Some(what) = what.lock().take()
        {
            what(&log);
        }
    });
}

fn nothing_is_left_over(bench: &Bench) {
    for suffix in [".cleaned", ".swap", ".deleted"] {
        assert_eq!(bench.files(suffix), Vec::<PathBuf>::new());
    }
}

#[test]
fn retention_in_the_middle_of_a_compaction_wins() {
    let bench = rolled();
    while_writing(&bench, |log| log.truncate_prefix(40).unwrap());
    let report = bench.log().compact().unwrap();
    bench.sim.stop_watching();
    assert_eq!(report.cleaned_to, 100);
    assert!(report.rounds >= 2, "{report:?}");
    assert_eq!(bench.log().start_offset(), 40);
    assert_eq!(bench.offsets(), (90..100).collect::<Vec<_>>());
    nothing_is_left_over(&bench);
}

#[test]
fn a_truncation_in_the_middle_of_a_compaction_wins() {
    let mut bench = rolled();
    while_writing(&bench, |log| log.truncate(35).unwrap());
    let report = bench.log().compact().unwrap();
    bench.sim.stop_watching();
    assert!(report.cleaned_to <= 35, "{report:?}");
    assert_eq!(bench.log().end_offset(), 35);
    let found = bench.offsets();
    assert!(found.ends_with(&(25..35).collect::<Vec<_>>()), "{found:?}");
    append(&bench, 50);
    bench.log().compact().unwrap();
    assert_eq!(bench.offsets(), (75..85).collect::<Vec<_>>());
    nothing_is_left_over(&bench);
    bench.reopen();
    assert_eq!(bench.offsets(), (75..85).collect::<Vec<_>>());
}

#[test]
fn what_is_appended_after_a_truncation_is_compacted_too() {
    let bench = rolled();
    bench.log().compact().unwrap();
    bench.log().truncate(95).unwrap();
    append(&bench, 40);
    bench.log().compact().unwrap();
    let found = bench.offsets();
    assert_eq!(found, (125..135).collect::<Vec<_>>());
}

#[test]
fn a_compaction_ends_while_the_log_grows() {
    let bench = rolled();
    let keys = bench.config.clone().dedupe_buffer_bytes(1024);
    bench.log().reconfigure(keys).unwrap();
    let time = Timestamp::from_millis(NOW_MS);
    for number in 0..60 {
        let key = format!("{number:08}");
        let record = Record::keyed(&key, &[0; 40]).with_timestamp(time);
        bench.log().append(record).unwrap();
    }
    let log = bench.log().clone();
    let grow = Mutex::new(0_u32);
    bench.sim.on_change(move |sim| {
        if !is_writing(sim) {
            return;
        }
        let mut number = grow.lock();
        *number += 1;
        assert!(*number < 10_000, "it does not end");
        let key = format!("new {number}");
        let record = Record::keyed(&key, &[0; 100]).with_timestamp(time);
        log.append(record).unwrap();
    });
    let report = bench.log().compact().unwrap();
    bench.sim.stop_watching();
    assert!(
        report.cleaned_to >= 160
            && report.rounds > 1
            && report.cleaned_to < bench.log().end_offset()
    );
    let missing = (0..60).find(|number| {
        let key = format!("{number:08}");
        !bench.content().iter().any(|(_, found, _)| *found == key)
    });
    assert_eq!(missing, None);
}

#[test]
fn the_segment_of_the_flushed_mark_is_never_replaced() {
    let mut bench = rolled();
    bench.log().flush().unwrap();
    bench.log().truncate_prefix(5).unwrap();
    // A roll without a sync after it: the mark names the segment that was active before.
    bench.log().shared.seal_active().unwrap();
    bench.log().compact_if_worth_it().unwrap().unwrap();
    let next = bench.sim.process_crash();
    bench.sim.stop_watching();
    bench.log.take().unwrap().abandon();
    bench.sim = next;
    let report = bench.open().open_report().clone();
    assert_eq!(report.quarantined_bytes, 0, "{report:?}");
    assert_eq!(bench.log().start_offset(), 5);
    assert_eq!(bench.offsets(), (90..100).collect::<Vec<_>>());
}

#[test]
fn a_compaction_gives_up_when_the_log_closes() {
    let bench = rolled();
    let closer: Mutex<Option<std::thread::JoinHandle<()>>> = Mutex::new(None);
    let closer = Arc::new(closer);
    let keep = Arc::clone(&closer);
    while_writing(&bench, move |log| {
        let closing = log.clone();
        let thread = std::thread::spawn(move || closing.close().unwrap());
        // The close has begun when appends are refused, and the compaction gives up.
        while !matches!(log.append(Record::keyed("a", "b")), Err(Error::Closed)) {
            std::thread::yield_now();
        }
        *keep.lock() = Some(thread);
    });
    assert!(matches!(bench.log().compact(), Err(Error::Closed)));
    let thread = closer.lock().take().unwrap();
    thread.join().unwrap();
    bench.sim.stop_watching();
    nothing_is_left_over(&bench);
}

#[test]
fn a_failed_pass_leaves_everything_as_it_was_and_the_next_one_succeeds() {
    use crate::disk::sim::{At, Failure, Fault, Repeat};
    for failure in [Failure::Enospc, Failure::Eio] {
        let (mut failed, mut poisoned) = (0, 0);
        for after in 0..400 {
            let mut bench = rolled();
            bench.log().flush().unwrap();
            let before = bench.content();
            bench.sim.fail(Fault {
                at: At::Operation(bench.sim.operations() + after),
                error: failure,
                repeat: Repeat::Once,
            });
            let compacted = bench.log().compact();
            bench.sim.heal();
            let newest: Vec<_> = bench.content().split_off(bench.content().len() - 10);
            assert_eq!(newest, before[90..], "{failure:?} after {after}");
            match compacted {
                Ok(_) => {}
                Err(Error::Poisoned { .. }) => {
                    poisoned += 1;
                    let next = bench.sim.process_crash();
                    bench.log.take().unwrap().abandon();
                    bench.sim = next;
                    bench.open();
                }
                Err(_) => failed += 1,
            }
            bench.log().compact().unwrap();
            assert_eq!(bench.offsets(), (90..100).collect::<Vec<_>>());
            nothing_is_left_over(&bench);
        }
        println!("{failure:?}: {failed} failed passes, {poisoned} poisoned");
        assert!(failed > 10 && poisoned > 2);
    }
}

#[test]
fn a_log_that_was_truncated_inside_a_gap_goes_on_behind_it_after_a_crash() {
    for flushes in [false, true] {
        let mut bench = rolled();
        bench.log().compact().unwrap();
        bench.log().truncate(95).unwrap();
        bench.log().truncate(85).unwrap();
        assert_eq!(bench.log().append(Record::keyed("a", "b")).unwrap(), 85);
        if flushes {
            bench.log().flush().unwrap();
        }
        let next = bench.sim.process_crash();
        bench.log.take().unwrap().abandon();
        bench.sim = next;
        let report = bench.open().open_report().clone();
        assert_eq!(report.quarantined_bytes, 0, "{report:?}");
        assert_eq!(bench.offsets(), [85]);
    }
}

/// Found by the random histories: the segment was taken for one without gaps, and reading what was
/// appended after the gap was called damage.
#[test]
fn a_log_that_ends_in_a_gap_can_be_read_behind_it_after_a_crash() {
    let mut bench = Bench::new();
    bench.open();
    for (key, value) in [("a", "1"), ("b", "1"), ("b", "2")] {
        bench.log().append(Record::keyed(key, value)).unwrap();
    }
    bench.log().compact().unwrap();
    bench.log().truncate(2).unwrap();
    let next = bench.sim.process_crash();
    bench.log.take().unwrap().abandon();
    bench.sim = next;
    bench.open();
    assert_eq!(bench.offsets(), [0]);
    assert_eq!(bench.log().append(Record::keyed("b", "3")).unwrap(), 2);
    assert_eq!(bench.offsets(), [0, 2]);
}

/// A power cut, or a broker that finishes a swap, leaves a digest that the swap had removed.
#[test]
fn a_swap_that_was_begun_is_read_beside_the_digests_of_its_sources() {
    let mut bench = rolled();
    bench.reopen();
    let digests = bench.files(".digest").into_iter();
    let digests: Vec<_> = digests
        .map(|path| (path.clone(), bench.sim.read(&path).unwrap()))
        .collect();
    let states = Arc::new(Mutex::new(Vec::new()));
    let found = Arc::clone(&states);
    let on_change = move |sim: &Sim| found.lock().push(sim.process_crash());
    bench.sim.on_change(on_change);
    bench.log().compact().unwrap();
    bench.sim.stop_watching();
    let newest: Vec<_> = (90..100).collect();
    let mut beside = 0;
    for sim in std::mem::take(&mut *states.lock()) {
        let swapped: Vec<_> = sim.files().into_iter().map(|(path, _)| path).collect();
        let swapped = |digest: &Path| {
            let output = digest.with_extension("log.swap");
            swapped.contains(&output)
        };
        for (path, bytes) in digests.iter().filter(|(path, _)| swapped(path)) {
            sim.write_raw(path, bytes).unwrap();
            beside += 1;
        }
        let (disk, clock) = (sim.disk(), Clock::Manual(Arc::clone(&bench.clock)));
        for mode in [OpenMode::Read, OpenMode::Write] {
            let config = bench.config.clone();
            let log = open_alone_on(&disk, &clock, Path::new(DIR), config, mode, true).unwrap();
            let records = log.reader(log.start_offset()).unwrap();
            let offsets: Vec<_> = records.map(|record| record.unwrap().offset).collect();
            assert!(offsets.ends_with(&newest), "{mode:?}: {offsets:?}");
            log.close().unwrap();
        }
    }
    assert!(beside > 3, "{beside} digests beside outputs");
}
