//! Transactions that a broker had left open, in a backup: each is whole there or aborted, none is
//! half, and readers of what is committed wait for none.

use crate::disk::sim::Choice;
use crate::error::Error;
use crate::format::txn::{ProducerState, decode_snapshot as decode_producers};
use crate::format::{
    BatchBuilder, BatchKind, BatchOptions, ControlKind, FileKind, FileName, TransactionState,
    TransactionStatus, stamp,
};
use crate::log::open_alone_on;
use crate::recovery::OpenMode;
use crate::types::LogConfig;
use crate::types::{Offset, TopicId};

use super::producers::batch;
use super::*;

const COPY: &str = "/copy";
const STATES: &str = "__transaction_state";

/// The producers: their epoch is 3. What the coordinator has said of them is in [`states`].
const COMMITTED: i64 = 200;
const ONGOING: i64 = 201;
const UNKNOWN: i64 = 202;
const ABORTED: i64 = 203;
/// Its commit is not of the partition in which it has an open transaction.
const ELSEWHERE: i64 = 204;
const EPOCH: i16 = 3;

/// Where the two partitions end, and where their first open transaction begins.
const ENDS: [Offset; 2] = [RECORDS + 7, RECORDS + 8];
const STABLE: [Offset; 2] = [RECORDS + 3, RECORDS];

/// What is in the two partitions after the records of [`Rest::fill`].
fn batches() -> [Vec<u8>; 2] {
    let data = |at: Offset, producer| {
        let kind = BatchKind::TransactionalData;
        batch(
            RECORDS + at,
            kind,
            (producer, EPOCH, 0),
            ControlKind::Commit,
        )
    };
    let kind = BatchKind::TransactionMarker;
    let marker = (COMMITTED, EPOCH, -1);
    let marker = batch(RECORDS + 2, kind, marker, ControlKind::Commit);
    [
        // The broker was killed when it had marked the commit here, and not in the other.
        [
            data(0, COMMITTED),
            marker,
            data(3, ONGOING),
            data(5, UNKNOWN),
        ]
        .concat(),
        [
            data(0, COMMITTED),
            data(2, ONGOING),
            data(4, ABORTED),
            data(6, ELSEWHERE),
        ]
        .concat(),
    ]
}

/// A state of version 0, as 3.9 writes it.
fn state(producer: i64, status: u8, partitions: &[u8]) -> Vec<u8> {
    let mut value = vec![0, 0];
    value.extend(producer.to_be_bytes());
    value.extend(EPOCH.to_be_bytes());
    value.extend(60_000_u32.to_be_bytes());
    value.push(status);
    value.extend([0, 0, 0, 1, 0, 1, b't', 0, 0, 0]);
    value.push(u8::try_from(partitions.len()).unwrap());
    for partition in partitions {
        value.extend([0, 0, 0, *partition]);
    }
    value.extend([0; 16]);
    value
}

/// What the coordinator's log says.
fn states() -> Vec<u8> {
    let mut out = Vec::new();
    let states = [
        ("committed", state(COMMITTED, 1, &[0, 1])),
        ("committed", state(COMMITTED, 2, &[0, 1])),
        ("ongoing", state(ONGOING, 1, &[0, 1])),
        ("aborted", state(ABORTED, 3, &[1])),
        ("elsewhere", state(ELSEWHERE, 2, &[0])),
    ];
    for (at, (id, value)) in (0..).zip(states) {
        let mut key = vec![0, 0, 0, u8::try_from(id.len()).unwrap()];
        key.extend(id.as_bytes());
        let mut batch = Vec::new();
        let mut builder = BatchBuilder::new(&mut batch, BatchOptions::default());
        builder.push(&Record::keyed(&key, &value)).unwrap();
        builder.finish().unwrap();
        stamp(&mut batch, at, 0);
        out.extend(batch);
    }
    out
}

/// The last segment of a partition.
fn active(rest: &Rest, partition: usize) -> String {
    let dir = path(&format!("{TOPIC}-{partition}"));
    let name = FileName::segment(last_base(rest, &dir), FileKind::Log);
    format!("{TOPIC}-{partition}/{name}")
}

/// A root of a broker that was killed with transactions open, with what its coordinator had noted
/// or without.
fn killed(coordinated: bool) -> Rest {
    let rest = Rest::of_a_broker();
    for (partition, batches) in batches().iter().enumerate() {
        let log = active(&rest, partition);
        let mut bytes = rest.sim.read(path(&log)).unwrap();
        bytes.extend(batches);
        rest.write(&log, &bytes);
    }
    if coordinated {
        let mut records = rest.metadata().into_iter();
        let partition = records.find_map(|record| match record {
            MetadataRecord::Partition(partition) => Some(partition),
            _ => None,
        });
        let id = TopicId([9; 16]);
        rest.say(&[
            MetadataRecord::Topic {
                name: STATES.to_owned(),
                id,
            },
            MetadataRecord::Partition(PartitionRecord {
                topic: id,
                partition: 0,
                ..partition.unwrap()
            }),
        ]);
        rest.make_dir(&format!("{STATES}-0"));
        let log = format!("{STATES}-0/{}", file_name::log(0));
        rest.sim.disk().create(&path(&log)).unwrap();
        rest.write(&log, &states());
    }
    rest.remove(file_name::CLEAN_SHUTDOWN);
    rest
}

fn open_at(sim: &Sim, dir: &str) -> Result<Broker> {
    let config = BrokerConfig::default().manual_upkeep(true);
    Broker::open_on(sim.disk(), Clock::System, Path::new(dir), config)
}

/// The offsets that readers of what is committed get of a partition, and where it ends for them.
fn committed(broker: &Broker, partition: u32) -> (Vec<Offset>, Offset) {
    let log = broker.topic(TOPIC).unwrap().partition(partition).unwrap();
    let reader = log.reader_with(Start::Earliest, ReadIsolation::ReadCommitted);
    let offsets = reader.unwrap().map(|record| record.unwrap().offset);
    let offsets = offsets.collect();
    (
        offsets,
        log.readable_end(ReadIsolation::ReadCommitted).unwrap(),
    )
}

/// The copy's file of the producers at the end of a partition.
fn producers(sim: &Sim, partition: u32, end: Offset) -> Vec<ProducerState> {
    let name = FileName::segment(end, FileKind::Snapshot);
    let path = Path::new(COPY).join(format!("{TOPIC}-{partition}/{name}"));
    decode_producers(&sim.read(path).unwrap()).unwrap()
}

/// Checks a copy of what [`killed`] leaves.
fn check_copy(sim: &Sim, coordinated: bool) {
    let copy = open_at(sim, COPY).unwrap();
    assert!(copy.open_report().clean, "{:?}", copy.open_report());
    let plain: Vec<Offset> = (0..RECORDS).collect();
    let whole: Vec<Offset> = (0..RECORDS + 2).collect();
    // One marker for each open transaction: two, and four.
    let (first, second) = (ENDS[0] + 2, ENDS[1] + 4);
    assert_eq!(committed(&copy, 0), (whole.clone(), first));
    let expected = if coordinated { whole } else { plain };
    assert_eq!(committed(&copy, 1), (expected, second));
    for (partition, end) in [(0, first), (1, second)] {
        let states = producers(sim, partition, end);
        assert!(states.len() >= 3, "{states:?}");
        for state in &states {
            assert_eq!(state.transaction_start, None, "{state:?}");
            // The producer that could continue is refused.
            let fenced = coordinated && state.producer_id == ONGOING;
            assert_eq!(state.epoch, EPOCH + i16::from(fenced), "{state:?}");
        }
    }
    if coordinated {
        check_coordinator(&copy);
    }
    // Nothing waits for what is open no more.
    let topic = copy.topic(TOPIC).unwrap();
    topic.append_to(0, Record::new("behind")).unwrap();
    assert_eq!(committed(&copy, 0).0.last(), Some(&first));
    copy.close().unwrap();
}

/// The coordinator of the copy lets the producer with the ongoing transaction begin another, and
/// finishes what it had decided itself.
fn check_coordinator(copy: &Broker) {
    let log = copy.topic(STATES).unwrap().partition(0).unwrap();
    let mut states = BTreeMap::new();
    for record in log.reader(Start::Earliest).unwrap() {
        let record = record.unwrap();
        let state = TransactionState::decode(record.value().unwrap()).unwrap();
        states.insert(state.producer_id, (state.status, state.producer_epoch));
    }
    let expected = [
        (COMMITTED, (TransactionStatus::PrepareCommit, EPOCH)),
        (ONGOING, (TransactionStatus::Other(5), EPOCH + 1)),
        (ABORTED, (TransactionStatus::PrepareAbort, EPOCH)),
        (ELSEWHERE, (TransactionStatus::PrepareCommit, EPOCH)),
    ];
    assert_eq!(states, BTreeMap::from(expected));
}

#[test]
fn a_copy_ends_open_transactions_as_the_coordinator_had_decided_or_aborts_them() {
    for coordinated in [false, true] {
        let rest = killed(coordinated);
        for round in 0..3 {
            let broker = open(&rest.sim).unwrap();
            broker.backup(COPY).unwrap();
            // The source continues as before: there a broker ends them.
            for partition in 0..PARTITIONS {
                let at = usize::try_from(partition).unwrap();
                let log = broker.topic(TOPIC).unwrap().partition(partition).unwrap();
                assert_eq!(log.end_offset(), ENDS[at], "round {round}");
                assert_eq!(committed(&broker, partition).1, STABLE[at]);
            }
            if round == 1 {
                // What a second backup finds unchanged has its transactions ended all the same.
                broker.backup(COPY).unwrap();
            }
            broker.close().unwrap();
            check_copy(&rest.sim, coordinated);
        }
    }
}

#[test]
fn a_copy_ends_open_transactions_in_segments_that_it_has_from_an_earlier_copy() {
    let rest = killed(false);
    let broker = open(&rest.sim).unwrap();
    let topic = broker.topic(TOPIC).unwrap();
    // So that the transactions are in a segment that is no longer appended to.
    for _ in 0..30 {
        topic.append_to(0, Record::new(&[b'x'; 100])).unwrap();
    }
    for _ in 0..2 {
        broker.backup(COPY).unwrap();
        let copy = open_at(&rest.sim, COPY).unwrap();
        let (offsets, end) = committed(&copy, 0);
        assert_eq!(end, ENDS[0] + 30 + 2);
        assert_eq!(offsets.len(), usize::try_from(RECORDS).unwrap() + 2 + 30);
        copy.close().unwrap();
    }
}

#[test]
fn a_copy_of_one_log_aborts_its_open_transactions() {
    let rest = killed(true);
    for mode in [OpenMode::Read, OpenMode::Write] {
        if mode == OpenMode::Write {
            // A log is written only when the whole root was taken over.
            open(&rest.sim).unwrap().close().unwrap();
        }
        let (disk, dir, config) = (rest.sim.disk(), path("t-1"), LogConfig::default());
        let log = open_alone_on(&disk, &Clock::System, &dir, config.clone(), mode, true).unwrap();
        for _ in 0..2 {
            let dest = Path::new("/alone").join(format!("{mode:?}"));
            log.backup(&dest).unwrap();
            let mode = OpenMode::Write;
            let copy = open_alone_on(&disk, &Clock::System, &dest, config.clone(), mode, true);
            let copy = copy.unwrap();
            let end = copy.readable_end(ReadIsolation::ReadCommitted).unwrap();
            assert_eq!((end, copy.end_offset()), (ENDS[1] + 4, ENDS[1] + 4));
            let seen = copy.reader_with(Start::Earliest, ReadIsolation::ReadCommitted);
            assert_eq!(seen.unwrap().count(), usize::try_from(RECORDS).unwrap());
            copy.close().unwrap();
        }
        let end = log.readable_end(ReadIsolation::ReadCommitted).unwrap();
        assert_eq!(end, STABLE[1], "the log itself is as it was");
    }
}

#[test]
fn a_look_at_what_a_killed_broker_left_makes_no_copy() {
    let rest = killed(true);
    let broker = open_read_only(&rest.sim).unwrap();
    match broker.backup(COPY) {
        Err(Error::Unsupported { what }) => assert!(what.contains("Broker::open once"), "{what}"),
        other => panic!("{other:?}"),
    }
    assert!(!rest.sim.disk().exists(Path::new(COPY)).unwrap());
}

#[test]
fn a_power_cut_while_a_copy_ends_transactions_leaves_none_that_is_taken_for_whole() {
    let rest = killed(true);
    open(&rest.sim).unwrap().close().unwrap();
    let operations = {
        let sim = rest.sim.process_crash();
        let broker = open(&sim).unwrap();
        let before = sim.operations();
        broker.backup(COPY).unwrap();
        sim.operations() - before
    };
    let mut whole = 0;
    for (round, operation) in (0..=operations).rev().step_by(13).enumerate() {
        let sim = rest.sim.process_crash();
        let broker = open(&sim).unwrap();
        sim.cut_power_at(sim.operations() + operation);
        drop(broker.backup(COPY));
        drop(broker);
        let choices = [Choice::None, Choice::All, Choice::DataAlone];
        let next = sim.crash(choices[round % choices.len()]);
        let begun = next.disk().exists(&Path::new(COPY).join(file_name::BACKUP));
        match begun.unwrap().then(|| open_at(&next, COPY)) {
            None => {}
            Some(Err(Error::Unsupported { what })) => {
                assert!(what.contains("not finished"), "{what}");
            }
            Some(Err(error)) => panic!("operation {operation}: {error:?}"),
            Some(Ok(copy)) => {
                copy.close().unwrap();
                check_copy(&next, true);
                whole += 1;
            }
        }
        let broker = open(&next).unwrap();
        broker.backup(COPY).unwrap();
        broker.close().unwrap();
        check_copy(&next, true);
    }
    assert!(
        whole > 0,
        "the last operations of a backup leave a whole one"
    );
}
