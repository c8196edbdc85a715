//! Batches of transactions, their markers, and the last batches of producers.

use super::*;
use crate::format::txn::AbortedTxn;
use crate::format::{FileKind, FileName, HEADER_LEN};

const A1: (&str, Option<&str>) = ("a", Some("1"));
const A2: (&str, Option<&str>) = ("a", Some("2"));
const B1: (&str, Option<&str>) = ("b", Some("1"));
const B2: (&str, Option<&str>) = ("b", Some("2"));

#[test]
fn what_was_taken_back_goes_and_supersedes_nothing() {
    let mut bench = Bench::new();
    bench.put(
        0,
        &[
            data(0, ANYBODY, &[A1, B1]),
            data(2, txn(7), &[A2]),
            data(3, txn(8), &[B2]),
            control(4, txn(7), ControlKind::Abort),
            control(5, txn(8), ControlKind::Commit),
            data(6, ANYBODY, &[("c", Some("1"))]),
        ],
    );
    bench.put(7, &[]);
    let report = bench.open().compact().unwrap();
    assert_eq!((report.cleaned_to, report.records_dropped), (7, 2));
    let found: Vec<_> = bench
        .content()
        .into_iter()
        .map(|(at, key, value)| (at, key, value.unwrap()))
        .collect();
    let expected = [(0, "a", "1"), (3, "b", "2"), (6, "c", "1")];
    let expected = expected.map(|(at, key, value)| (at, key.to_owned(), value.to_owned()));
    assert_eq!(found, expected);
    // The aborted batch stays, empty: it is the last one of a producer that is still active.
    let told = [
        "0..2 #1", "2..3 #0", "3..4 #1", "4..5 #1c", "5..6 #1c", "6..7 #1",
    ];
    assert_eq!(bench.told(), told);
    bench.reopen();
    assert_eq!(bench.told(), told);
    assert_eq!(bench.offsets(), [0, 3, 6]);
}

#[test]
fn a_marker_stays_while_it_marks_something_and_then_as_long_as_a_tombstone() {
    let mut bench = Bench::new();
    bench.put(
        0,
        &[
            data(0, txn(7), &[A1]),
            control(1, txn(7), ControlKind::Abort),
            data(2, ANYBODY, &[B1]),
        ],
    );
    bench.put(3, &[]);
    bench.open().compact().unwrap();
    assert_eq!(bench.told(), ["0..1 #0", "1..2 #1c", "2..3 #1"]);
    // The producer is forgotten: its empty batch goes, and the marker is still needed for it.
    bench.pass(DAY);
    bench.log().compact().unwrap();
    assert_eq!(bench.told(), ["1..2 #1c", "2..3 #1"]);
    bench.log().compact().unwrap();
    assert_eq!(bench.told(), ["1..2 #1ch", "2..3 #1"]);
    let horizon = bench.batches()[0].delete_horizon().unwrap();
    let two_days_on = Timestamp::from_millis(NOW_MS).plus(2 * DAY);
    assert_eq!(horizon, two_days_on, "one day has passed, and one to go");
    bench.pass(DAY.saturating_sub(Duration::from_millis(1)));
    bench.log().compact().unwrap();
    assert_eq!(bench.told(), ["1..2 #1ch", "2..3 #1"]);
    bench.pass(Duration::from_millis(1));
    bench.log().compact().unwrap();
    assert_eq!(bench.told(), ["2..3 #1"]);
    assert_eq!(bench.offsets(), [2]);
}

#[test]
fn nothing_from_an_open_transaction_on_is_touched() {
    let mut bench = Bench::new();
    let open = [
        data(3, txn(7), &[A2]),
        data(4, ANYBODY, &[B1]),
        data(5, ANYBODY, &[B2]),
    ];
    let mut batches = vec![
        data(0, ANYBODY, &[A1]),
        data(1, ANYBODY, &[A1]),
        data(2, ANYBODY, &[B1]),
    ];
    batches.extend(open.clone());
    bench.put(0, &batches);
    bench.put(6, &[]);
    let report = bench.open().compact().unwrap();
    assert_eq!((report.cleaned_to, report.records_dropped), (3, 1));
    assert_eq!(bench.offsets(), [1, 2, 3, 4, 5]);
    let files = bench.files("0000.log");
    let bytes = bench.sim.read(&files[0]).unwrap();
    assert!(bytes.ends_with(&open.concat()));
    // Its end lets compaction continue.
    bench.log.take().unwrap().close().unwrap();
    bench.put(6, &[control(6, txn(7), ControlKind::Commit)]);
    bench.open().compact().unwrap();
    assert_eq!(bench.offsets(), [3, 5]);
}

#[test]
fn the_last_batch_of_an_active_producer_is_kept_for_its_numbers() {
    let mut bench = Bench::new();
    bench.put(
        0,
        &[
            data(0, idempotent(5), &[A1, B1]),
            data(2, idempotent(5), &[A1, B1, A1]),
            data(5, ANYBODY, &[A2, B2]),
        ],
    );
    bench.put(7, &[]);
    bench.open().compact().unwrap();
    assert_eq!(bench.told(), ["2..5 #0", "5..7 #2"]);
    let empty = bench.batches()[0];
    assert_eq!(empty.size, HEADER_LEN);
    assert_eq!((empty.producer_id, empty.producer_epoch), (5, 0));
    assert_eq!((empty.base_sequence, empty.last_sequence()), (2, Some(4)));
    assert_eq!(empty.base_timestamp, Timestamp::NONE);
    let newest = Timestamp::from_millis(NOW_MS - 1000 + 4);
    assert_eq!(empty.max_timestamp, newest);
    assert_eq!(empty.attributes, attributes(idempotent(5)));
    bench.pass(DAY);
    bench.log().compact().unwrap();
    assert_eq!(bench.told(), ["5..7 #2"]);
}

#[test]
fn a_marker_that_raised_the_epoch_is_kept_for_it() {
    let raised = By { epoch: 1, ..txn(7) };
    let mut bench = Bench::new();
    bench.put(
        0,
        &[
            data(0, txn(7), &[A1]),
            control(1, raised, ControlKind::Commit),
            data(2, ANYBODY, &[A2, B1]),
        ],
    );
    bench.put(4, &[]);
    bench.config = bench.config.clone().delete_retention(Duration::ZERO);
    bench.open();
    for told in [
        // The data goes at once: the marker knows more of the producer.
        ["1..2 #1c", "2..4 #2"].as_slice(),
        &["1..2 #1ch", "2..4 #2"],
        // Past its horizon the marker is emptied, and then stays so.
        &["1..2 #0c", "2..4 #2"],
        &["1..2 #0c", "2..4 #2"],
    ] {
        bench.log().compact().unwrap();
        assert_eq!(bench.told(), told);
    }
    let emptied = bench.batches()[0];
    assert_eq!((emptied.producer_epoch, emptied.size), (1, HEADER_LEN));
    bench.pass(DAY);
    bench.log().compact().unwrap();
    assert_eq!(bench.told(), ["2..4 #2"]);
}

#[test]
fn control_batches_that_mark_no_transaction_are_left_alone() {
    let mut bench = Bench::new();
    bench.config = bench.config.clone().delete_retention(Duration::ZERO);
    bench.put(
        0,
        &[
            control(0, ANYBODY, ControlKind::LeaderChange),
            data(1, ANYBODY, &[A1]),
            control(2, ANYBODY, ControlKind::Other(99)),
            data(3, ANYBODY, &[A2]),
        ],
    );
    bench.put(4, &[]);
    bench.open();
    for _ in 0..3 {
        bench.log().compact().unwrap();
        assert_eq!(bench.told(), ["0..1 #1c", "2..3 #1c", "3..4 #1"]);
    }
}

#[test]
fn aborted_transactions_that_stay_are_noted_beside_their_markers() {
    let mut bench = Bench::new();
    bench.put(
        0,
        &[
            data(0, ANYBODY, &[A1]),
            data(1, ANYBODY, &[A2]),
            data(2, txn(8), &[B1]),
            data(3, txn(7), &[A1]),
            data(4, txn(9), &[A1]),
            control(5, txn(7), ControlKind::Abort),
            control(6, txn(9), ControlKind::Commit),
        ],
    );
    bench.put(7, &[]);
    bench.open().compact().unwrap();
    assert_eq!(bench.offsets(), [1, 2, 3, 4], "8 is still open");
    let name = FileName::segment(0, FileKind::TxnIndex).to_string();
    let bytes = bench.sim.read(Path::new(DIR).join(name)).unwrap();
    let noted = AbortedTxn {
        producer_id: 7,
        first_offset: 3,
        last_offset: 5,
        last_stable_offset: 2,
    };
    assert_eq!(AbortedTxn::decode_all(&bytes).unwrap(), [noted]);
}

#[test]
fn gaps_and_markers_are_read_over_from_every_offset() {
    let mut bench = Bench::new();
    bench.put(
        0,
        &[
            data(0, txn(7), &[A1, B1, A1]),
            control(3, txn(7), ControlKind::Commit),
            data(4, txn(8), &[A2, B2]),
            control(6, txn(8), ControlKind::Abort),
        ],
    );
    bench.put(7, &[data(7, ANYBODY, &[A2, ("c", Some("1"))])]);
    bench.put(9, &[data(9, ANYBODY, &[("d", Some("1"))])]);
    bench.put(10, &[]);
    bench.open().compact().unwrap();
    let expected = [1, 7, 8, 9];
    assert_eq!(bench.offsets(), expected);
    for from in 0..=10 {
        let found: Vec<_> = bench
            .log()
            .reader(from)
            .unwrap()
            .map(|record| record.unwrap().offset)
            .collect();
        let wanted: Vec<_> = expected.into_iter().filter(|at| *at >= from).collect();
        assert_eq!(found, wanted, "from {from}");
        if from < 10 {
            let read = bench.log().read(from).unwrap().map(|record| record.offset);
            assert_eq!(read, Some(from).filter(|at| expected.contains(at)));
        }
    }
}
