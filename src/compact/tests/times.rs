//! Looking records up by their time, over logs that were compacted and cut from both ends, against
//! a walk over everything.

use proptest::prelude::*;

use super::*;
use crate::types::{TimestampType, WriteMode};

/// A record to come: its key, and its time in milliseconds after the first one there could be.
type Planned = (u8, i64);

#[derive(Clone, Debug)]
enum Change {
    Nothing,
    Compact,
    Forget(usize),
    Truncate(usize),
    Retain(u64),
    Reopen,
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        Just(Change::Nothing),
        Just(Change::Compact),
        (0..100_usize).prop_map(Change::Forget),
        (0..100_usize).prop_map(Change::Truncate),
        (0..3000_u64).prop_map(Change::Retain),
        Just(Change::Reopen),
    ];
    prop::collection::vec(change, 1..5)
}

/// Times that rise, that fall, that stand still, and that jump.
fn batches() -> impl Strategy<Value = Vec<Vec<Planned>>> {
    let time = prop_oneof![0..20_i64, 500..520_i64, 0..2000_i64, Just(7_i64)];
    let batch = prop::collection::vec((0..12_u8, time), 1..6);
    prop::collection::vec(batch, 1..25)
}

fn config(append_time: bool, interval_bytes: u64) -> LogConfig {
    LogConfig::default()
        .segment_bytes(1024)
        .index_interval_bytes(interval_bytes)
        .write_mode(WriteMode::Pwrite)
        .cleanup_policy(CleanupPolicy::Compact)
        .message_timestamp_type(if append_time {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        })
}

fn append(bench: &Bench, batch: &[Planned]) {
    let records = batch.iter().map(|(key, millis)| {
        let time = Timestamp::from_millis(NOW_MS + millis);
        Record::keyed(std::slice::from_ref(key), "some value").with_timestamp(time)
    });
    bench.log().append_batch(records).unwrap();
}

fn change(bench: &mut Bench, change: &Change) {
    let log = bench.log();
    let (start, end) = (log.start_offset(), log.end_offset());
    let part = |percent: usize| start + (end - start) * percent as u64 / 100;
    match change {
        Change::Nothing => {}
        Change::Compact => drop(log.compact().unwrap()),
        Change::Forget(percent) => log.truncate_prefix(part(*percent)).unwrap(),
        Change::Truncate(percent) => log.truncate(part(*percent).max(start)).unwrap(),
        Change::Retain(bytes) => {
            let both = CleanupPolicy::CompactAndDelete;
            let config = log.config().cleanup_policy(both).retention_bytes(*bytes);
            log.reconfigure(config).unwrap();
            log.apply_retention().unwrap();
        }
        Change::Reopen => bench.reopen(),
    }
}

/// Every time that could make a difference, and its neighbours.
fn check(bench: &Bench) {
    let log = bench.log();
    let all: Vec<_> = log
        .reader(log.start_offset())
        .unwrap()
        .map(|record| record.unwrap())
        .map(|record| (record.offset, record.timestamp))
        .collect();
    let mut times: Vec<_> = all.iter().map(|(_, time)| time.as_millis()).collect();
    times.extend([0, -1, i64::MIN, i64::MAX, NOW_MS]);
    for millis in times {
        for near in [millis.saturating_sub(1), millis, millis.saturating_add(1)] {
            let at = Timestamp::from_millis(near);
            let wanted = all.iter().find(|(_, time)| *time >= at);
            let found = log.offset_for_time(at).unwrap();
            assert_eq!(found, wanted.map(|(offset, _)| *offset), "{near}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_first_record_at_or_after_a_time_is_found(
        before in batches(),
        changes in changes(),
        after in batches(),
        append_time in any::<bool>(),
        interval_bytes in prop::sample::select(vec![0_u64, 100, 4096]),
    ) {
        let mut bench = Bench::new();
        bench.config = config(append_time, interval_bytes);
        bench.open();
        for batch in &before {
            append(&bench, batch);
            bench.pass(Duration::from_millis(3));
        }
        check(&bench);
        for (planned, batch) in changes.iter().zip(after.iter().cycle()) {
            change(&mut bench, planned);
            check(&bench);
            append(&bench, batch);
        }
        check(&bench);
    }
}

#[test]
fn the_time_of_the_append_stays_through_compaction_and_reopening() {
    let mut bench = Bench::new();
    bench.config = config(true, 4096);
    bench.open();
    let own_time = Timestamp::from_millis(5);
    for number in 0..30 {
        bench.pass(Duration::from_millis(10));
        let key = [number % 4];
        bench
            .log()
            .append(Record::keyed(&key, "value").with_timestamp(own_time))
            .unwrap();
    }
    let times = |bench: &Bench| -> Vec<_> {
        let reader = bench.log().reader(bench.log().start_offset()).unwrap();
        reader
            .map(|record| record.unwrap())
            .map(|record| (record.offset, record.timestamp.as_millis() - NOW_MS))
            .collect()
    };
    assert_eq!(times(&bench)[0], (0, 10));
    bench.log().compact().unwrap();
    let last_four = [(26, 270), (27, 280), (28, 290), (29, 300)];
    assert_eq!(times(&bench), last_four);
    bench.reopen();
    assert_eq!(times(&bench), last_four);
    let at = Timestamp::from_millis(NOW_MS + 281);
    assert_eq!(bench.log().offset_for_time(at).unwrap(), Some(28));
    check(&bench);
}

#[test]
fn a_time_too_far_before_or_after_the_clock_is_refused() {
    let mut bench = Bench::new();
    let (hour, minute) = (Duration::from_secs(3600), Duration::from_secs(60));
    bench.config = config(false, 4096)
        .timestamp_before_max(hour)
        .timestamp_after_max(minute);
    bench.open();
    let now = Timestamp::from_millis(NOW_MS);
    let millisecond = Duration::from_millis(1);
    let append = |bench: &Bench, time| {
        let record = Record::keyed("a", "b").with_timestamp(time);
        bench.log().append(record)
    };
    for (time, taken) in [
        (now.minus(hour), true),
        (now.minus(hour + millisecond), false),
        (now.plus(minute), true),
        (now.plus(minute + millisecond), false),
        (Timestamp::NONE, true),
        (Timestamp::from_millis(i64::MAX), false),
    ] {
        let end = bench.log().end_offset();
        let appended = append(&bench, time);
        assert_eq!(appended.is_ok(), taken, "{time:?}: {appended:?}");
        assert_eq!(bench.log().end_offset(), end + u64::from(taken));
    }
    // The time of the append is never too far from itself.
    let own = bench.config.clone();
    let own = own.message_timestamp_type(TimestampType::LogAppendTime);
    bench.log().reconfigure(own).unwrap();
    append(&bench, Timestamp::from_millis(5)).unwrap();
    check(&bench);
}
