//! Tombstones and their horizons, what stays at the end of a group, clocks that jump.

use super::*;
use crate::format::HEADER_LEN;

const GONE: (&str, Option<&str>) = ("a", None);

fn filler(base: Offset) -> Vec<u8> {
    data(base, ANYBODY, &[("filler", Some("x"))])
}

#[test]
fn a_tombstone_gets_its_horizon_in_the_first_pass_and_goes_in_one_after_it() {
    let mut bench = Bench::new();
    let hour = Duration::from_secs(3600);
    bench.config = bench.config.clone().delete_retention(hour);
    bench.put(
        0,
        &[
            data(0, ANYBODY, &[("a", Some("1")), ("b", Some("1"))]),
            data(2, ANYBODY, &[GONE, ("c", Some("1"))]),
        ],
    );
    bench.put(4, &[]);
    bench.open().compact().unwrap();
    assert_eq!(bench.told(), ["0..2 #1", "2..4 #2h"]);
    let header = bench.batches()[1];
    let horizon = Timestamp::from_millis(NOW_MS).plus(hour);
    assert_eq!(header.delete_horizon(), Some(horizon));
    assert_eq!(header.attributes, attributes(ANYBODY).with_delete_horizon());
    assert_eq!(header.max_timestamp.as_millis(), NOW_MS - 1000 + 3);
    let log = bench.log();
    let times: Vec<_> = log
        .reader(2)
        .unwrap()
        .map(|record| record.unwrap().timestamp.as_millis() - NOW_MS)
        .collect();
    assert_eq!(times, [-998, -997], "deltas count from the horizon");
    bench.pass(hour.saturating_sub(Duration::from_millis(1)));
    let before = bench.told();
    bench.log().compact().unwrap();
    assert_eq!(bench.told(), before, "a millisecond is left");
    bench.pass(Duration::from_millis(1));
    bench.log().compact().unwrap();
    assert_eq!(bench.told(), ["0..2 #1", "2..4 #1h"]);
    assert_eq!(bench.offsets(), [1, 3]);
    bench.reopen();
    assert_eq!(bench.offsets(), [1, 3]);
}

#[test]
fn the_end_of_a_group_stays_when_its_last_records_go() {
    let mut bench = Bench::new();
    bench.config = bench.config.clone().segment_bytes(1024);
    let a = |base| data(base, ANYBODY, &[("a", Some("1"))]);
    let big = "x".repeat(700);
    let large = |base| data(base, ANYBODY, &[("big", Some(big.as_str()))]);
    // The first two make one group, all of which goes; the third is one of its own.
    bench.put(0, &[a(0), a(1)]);
    bench.put(2, &[a(2), a(3)]);
    bench.put(4, &[large(4)]);
    bench.put(5, &[a(5), large(6)]);
    bench.put(7, &[]);
    bench.open().compact().unwrap();
    assert_eq!(bench.told(), ["3..4 #0", "4..5 #0", "5..6 #1", "6..7 #1"]);
    assert_eq!(bench.batches()[0].size, HEADER_LEN);
    assert_eq!(bench.offsets(), [5, 6]);
    // The leftovers of the ends are merged away as soon as there is something after them.
    bench.log().compact().unwrap();
    assert_eq!(bench.told(), ["5..6 #1", "6..7 #1"]);
    assert_eq!(bench.files("0000.log").len(), 1);
    let report = bench.log().compact().unwrap();
    assert_eq!((report.segments_before, report.written_bytes), (0, 0));
}

#[test]
fn a_log_of_which_nothing_stays_keeps_its_end() {
    let mut bench = Bench::new();
    bench.config = bench.config.clone().delete_retention(Duration::ZERO);
    bench.put(0, &[data(0, ANYBODY, &[("a", Some("1"))]), filler(1)]);
    bench.put(2, &[data(2, ANYBODY, &[GONE, ("filler", None)])]);
    bench.put(4, &[]);
    bench.open();
    for _ in 0..3 {
        bench.log().compact().unwrap();
    }
    assert_eq!(bench.offsets(), [0; 0]);
    assert_eq!(bench.told(), ["2..4 #0"]);
    bench.reopen();
    assert_eq!(
        (bench.log().start_offset(), bench.log().end_offset()),
        (0, 4)
    );
    let next = bench.log().append(Record::keyed("a", "2")).unwrap();
    assert_eq!(next, 4);
    assert_eq!(bench.offsets(), [4]);
}

#[test]
fn a_clock_that_jumps_back_a_year_keeps_tombstones_and_one_that_jumps_on_loses_no_value() {
    let year = 365 * DAY;
    let mut bench = Bench::new();
    bench.put(
        0,
        &[data(0, ANYBODY, &[("a", Some("1")), ("b", Some("1"))])],
    );
    bench.put(2, &[data(2, ANYBODY, &[GONE]), filler(3)]);
    bench.put(4, &[]);
    bench.open().compact().unwrap();
    assert_eq!(bench.offsets(), [1, 2, 3]);
    let now = Timestamp::from_millis(NOW_MS);
    bench.clock.set_wall(now.minus(year));
    bench.log().compact().unwrap();
    assert_eq!(bench.offsets(), [1, 2, 3], "the tombstone lives on");
    let lag = bench.config.clone().min_compaction_lag(DAY);
    bench.log().reconfigure(lag).unwrap();
    let a = Record::keyed("a", "2").with_timestamp(now);
    bench.log().append(a).unwrap();
    bench.log().append(a).unwrap();
    bench.log().compact().unwrap();
    assert_eq!(
        bench.offsets(),
        [1, 2, 3, 4, 5],
        "younger than the lag, by far"
    );
    bench.clock.set_wall(now.plus(10 * year));
    bench.log().compact().unwrap();
    assert_eq!(bench.offsets(), [1, 3, 5], "its horizon is long past");
    // What a pass writes by a clock that is ten years ahead lives ten years too long, not less.
    bench.log().reconfigure(bench.config.clone()).unwrap();
    bench.log().append(Record::tombstone("b")).unwrap();
    bench.log().compact().unwrap();
    bench.clock.set_wall(now.plus(2 * DAY));
    bench.log().compact().unwrap();
    assert_eq!(bench.offsets(), [3, 5, 6]);
}

#[test]
fn an_output_carries_the_time_of_its_newest_source() {
    let mut bench = Bench::new();
    let long_ago = Timestamp::from_millis(1_000_000_000_000);
    bench.sim.set_now(long_ago);
    bench.put(0, &[data(0, ANYBODY, &[("a", Some("1"))])]);
    bench.sim.set_now(long_ago.plus(DAY));
    bench.put(1, &[filler(1), filler(2)]);
    bench.sim.set_now(Timestamp::from_millis(NOW_MS));
    bench.put(3, &[]);
    bench.open().compact().unwrap();
    let path = Path::new(DIR).join(file_name::log(0));
    let modified = bench.sim.disk().modified(&path).unwrap();
    // Opening rewrites what no mark vouches for, so the sources are as new as that.
    assert!(modified >= long_ago.plus(DAY));
    bench.sim.set_now(Timestamp::from_millis(NOW_MS).plus(DAY));
    bench.log().append(Record::keyed("a", "2")).unwrap();
    bench.log().append(Record::keyed("a", "3")).unwrap();
    bench.log().shared.seal_active().unwrap();
    bench.log().shared.sync_sealed().unwrap();
    bench
        .sim
        .set_now(Timestamp::from_millis(NOW_MS).plus(9 * DAY));
    bench.log().compact().unwrap();
    let modified = bench.sim.disk().modified(&path).unwrap();
    assert_eq!(modified, Timestamp::from_millis(NOW_MS).plus(DAY));
}

#[test]
fn a_log_that_no_one_appends_to_is_compacted_within_its_largest_lag() {
    let mut bench = Bench::new();
    let hour = Duration::from_secs(3600);
    bench.config = bench
        .config
        .clone()
        .min_cleanable_dirty_ratio(1.0)
        .max_compaction_lag(hour);
    bench.open();
    let now = Timestamp::from_millis(NOW_MS);
    for value in ["1", "2", "3"] {
        let record = Record::keyed("a", value).with_timestamp(now);
        bench.log().append(record).unwrap();
    }
    assert_eq!(bench.log().compact_if_worth_it().unwrap(), None);
    bench.pass(hour);
    assert_eq!(bench.log().compact_if_worth_it().unwrap(), None);
    bench.pass(Duration::from_millis(1));
    let report = bench.log().compact_if_worth_it().unwrap().unwrap();
    assert_eq!((report.cleaned_to, report.records_dropped), (3, 2));
    assert_eq!(bench.offsets(), [2]);
    assert_eq!(bench.log().compact_if_worth_it().unwrap(), None);
}
