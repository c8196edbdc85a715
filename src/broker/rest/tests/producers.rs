//! What a root at rest says of producers, after a broker that had some: killed or stopped, with
//! its files right, wrong or missing.

use crate::format::txn::{AbortedTxn, ProducerState, encode_snapshot};
use crate::format::{
    BatchBuilder, BatchKind, BatchOptions, ControlKind, EndTransaction, FileKind, FileName,
    ProducerStamp, stamp,
};
use crate::types::{Offset, Timestamp};

use super::*;

/// Where the log of partition 0 ends once the broker has written to it.
const END: Offset = RECORDS + 10;
const COORDINATOR_EPOCH: i32 = 3;

/// One batch of two records (or of one marker), as a broker appends it.
pub(super) fn batch(
    at: Offset,
    kind: BatchKind,
    producer: (i64, i16, i32),
    control: ControlKind,
) -> Vec<u8> {
    let (id, epoch, base_sequence) = producer;
    let options = BatchOptions {
        kind,
        now: time_at(at),
        producer: Some(ProducerStamp {
            id,
            epoch,
            base_sequence,
        }),
        ..BatchOptions::default()
    };
    let mut out = Vec::new();
    let mut builder = BatchBuilder::new(&mut out, options);
    if kind == BatchKind::TransactionMarker {
        let end = EndTransaction {
            coordinator_epoch: COORDINATOR_EPOCH,
        };
        let (key, value) = (control.encode(), end.encode());
        builder.push(&Record::keyed(&key, &value)).unwrap();
    } else {
        for _ in 0..2 {
            builder.push(&Record::new("of a producer")).unwrap();
        }
    }
    builder.finish().unwrap();
    stamp(&mut out, at, 0);
    out
}

fn time_at(at: Offset) -> Timestamp {
    Timestamp::from_millis(1_000_000 + i64::try_from(at).unwrap())
}

/// A transaction that commits, one that aborts, one that stays open, and an idempotent producer.
fn batches() -> Vec<u8> {
    use BatchKind::{Data, TransactionMarker, TransactionalData};
    let none = ControlKind::Commit;
    [
        batch(RECORDS, TransactionalData, (100, 0, 0), none),
        batch(
            RECORDS + 2,
            TransactionMarker,
            (100, 0, -1),
            ControlKind::Commit,
        ),
        batch(RECORDS + 3, TransactionalData, (100, 0, 2), none),
        batch(
            RECORDS + 5,
            TransactionMarker,
            (100, 0, -1),
            ControlKind::Abort,
        ),
        batch(RECORDS + 6, TransactionalData, (101, 2, 0), none),
        batch(RECORDS + 8, Data, (102, 0, i32::MAX), none),
    ]
    .concat()
}

/// What a broker's own snapshot at the end says of them.
fn snapshot() -> Vec<u8> {
    let of = |producer_id, epoch, last_sequence, last: Offset| ProducerState {
        producer_id,
        epoch,
        last_sequence,
        last_offset: i64::try_from(last).unwrap(),
        offset_delta: 1,
        timestamp: time_at(last - 1),
        coordinator_epoch: -1,
        transaction_start: None,
    };
    encode_snapshot(&[
        // The markers have the epoch of the data, so the sequence numbers continue.
        ProducerState {
            timestamp: time_at(RECORDS + 5),
            coordinator_epoch: COORDINATOR_EPOCH,
            ..of(100, 0, 3, RECORDS + 4)
        },
        ProducerState {
            transaction_start: Some(RECORDS + 6),
            ..of(101, 2, 1, RECORDS + 7)
        },
        // After the largest sequence number comes 0.
        of(102, 0, 0, RECORDS + 9),
    ])
}

fn txn_index() -> Vec<u8> {
    let aborted = AbortedTxn {
        producer_id: 100,
        first_offset: RECORDS + 3,
        last_offset: RECORDS + 5,
        last_stable_offset: RECORDS + 6,
    };
    let mut bytes = Vec::new();
    aborted.encode(&mut bytes);
    bytes
}

fn name(base: Offset, kind: FileKind) -> String {
    format!("t-0/{}", FileName::segment(base, kind))
}

/// The base of the last segment of partition 0.
fn active(rest: &Rest) -> Offset {
    last_base(rest, Path::new("/data/t-0"))
}

fn read(rest: &Rest, name: &str) -> Option<Vec<u8>> {
    rest.sim.read(path(name)).ok()
}

/// A root that a broker has used and, `clean`ly or not, left, with producers in partition 0.
fn with_producers(clean: bool) -> Rest {
    let rest = Rest::of_a_broker();
    let log = name(active(&rest), FileKind::Log);
    let mut bytes = read(&rest, &log).unwrap();
    bytes.extend(batches());
    rest.write(&log, &bytes);
    if clean {
        let text = read(&rest, file_name::RECOVERY_POINTS).unwrap();
        let text = String::from_utf8(text).unwrap();
        let changed = text.replace("t 0 40\n", "t 0 50\n");
        assert_ne!(text, changed);
        rest.write(file_name::RECOVERY_POINTS, changed.as_bytes());
    } else {
        rest.remove(file_name::CLEAN_SHUTDOWN);
    }
    rest
}

fn pass_through(rest: &Rest, with: impl FnOnce(&Broker)) {
    let broker = open(&rest.sim).unwrap();
    with(&broker);
    broker.close().unwrap();
}

fn is_clean(rest: &Rest) -> bool {
    read(rest, file_name::CLEAN_SHUTDOWN).is_some()
}

#[test]
fn after_a_pass_through_ottla_a_broker_finds_the_state_of_every_producer() {
    let right = (END, snapshot());
    let empty = encode_snapshot(&[]);
    let torn = snapshot()[..20].to_vec();
    let other = encode_snapshot(&[ProducerState::new(7)]);
    let snapshots = [
        None,
        Some(right),
        Some((END, empty.clone())),
        Some((0, empty)),
        Some((END, torn)),
        Some((END + 5, other)),
    ];
    let stale = [txn_index(), txn_index()].concat();
    for clean in [false, true] {
        for snapshot_there in &snapshots {
            for index_there in [
                None,
                Some(txn_index()),
                Some(Vec::new()),
                Some(stale.clone()),
            ] {
                let rest = with_producers(clean);
                let base = active(&rest);
                if let Some((at, bytes)) = snapshot_there {
                    rest.write(&name(*at, FileKind::Snapshot), bytes);
                }
                if let Some(bytes) = &index_there {
                    rest.write(&name(base, FileKind::TxnIndex), bytes);
                }
                pass_through(&rest, |_| {});
                let what = format!("{clean} {snapshot_there:?} {index_there:?}");
                let snapshot_now = read(&rest, &name(END, FileKind::Snapshot));
                assert_eq!(snapshot_now, Some(snapshot()), "{what}");
                let index_now = read(&rest, &name(base, FileKind::TxnIndex));
                assert_eq!(index_now, Some(txn_index()), "{what}");
                let above = read(&rest, &name(END + 5, FileKind::Snapshot));
                assert_eq!(above, None, "{what}");
                assert!(is_clean(&rest), "{what}");
            }
        }
    }
}

#[test]
fn what_ottla_appends_moves_the_snapshot_and_a_truncation_rebuilds_it() {
    let rest = with_producers(false);
    pass_through(&rest, |_| {});
    pass_through(&rest, |broker| {
        let topic = broker.topic(TOPIC).unwrap();
        topic.append_to(0, Record::new("plain")).unwrap();
    });
    let moved = read(&rest, &name(END + 1, FileKind::Snapshot));
    assert_eq!(moved, Some(snapshot()));
    // A broker would delete one that is neither the newest nor at the base of a segment.
    let stray = read(&rest, &name(END, FileKind::Snapshot)).is_some();
    assert_eq!(stray, active(&rest) == END);
    // Below the open transaction, and past the old end again: only producer 100 is left.
    pass_through(&rest, |broker| {
        let topic = broker.topic(TOPIC).unwrap();
        let log = topic.partition(0).unwrap();
        log.truncate(RECORDS + 6).unwrap();
        for _ in 0..20 {
            topic.append_to(0, Record::new("plain")).unwrap();
        }
    });
    assert_eq!(read(&rest, &name(END + 1, FileKind::Snapshot)), None);
    let made = read(&rest, &name(RECORDS + 26, FileKind::Snapshot)).unwrap();
    let left = crate::format::txn::decode_snapshot(&made).unwrap();
    let ids: Vec<_> = left.iter().map(|producer| producer.producer_id).collect();
    assert_eq!(ids, [100]);
    assert!(is_clean(&rest));
}

#[test]
fn a_log_that_cannot_be_scanned_leaves_the_mark_of_a_clean_end_out() {
    for clean in [false, true] {
        let rest = with_producers(clean);
        let log = format!("t-1/{}", FileName::segment(0, FileKind::Log));
        let mut bytes = read(&rest, &log).unwrap();
        bytes[crate::format::HEADER_LEN + 4] ^= 1;
        rest.write(&log, &bytes);
        pass_through(&rest, |_| {});
        assert!(!is_clean(&rest), "{clean}");
        let made = read(&rest, &name(END, FileKind::Snapshot));
        assert_eq!(made, Some(snapshot()), "{clean}");
        // A broker may start: it scans for itself. Mended, the next close is clean again.
        bytes[crate::format::HEADER_LEN + 4] ^= 1;
        rest.write(&log, &bytes);
        pass_through(&rest, |_| {});
        assert!(is_clean(&rest), "{clean}");
    }
}

#[test]
fn a_root_that_no_broker_has_run_on_says_nothing_of_producers() {
    let rest = Rest::new();
    assert_eq!(read(&rest, file_name::PRODUCERS), None);
    assert!(is_clean(&rest));
    rest.run_a_broker();
    pass_through(&rest, |_| {});
    let known = read(&rest, file_name::PRODUCERS).unwrap();
    let known = String::from_utf8(known).unwrap();
    assert!(known.contains("t 0 0\n"), "{known}");
    let snapshots = rest.sim.files().into_iter();
    let mut snapshots = snapshots.filter(|(path, _)| path.extension() == Some("snapshot".as_ref()));
    assert_eq!(snapshots.next(), None);
}
