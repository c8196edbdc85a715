//! Four threads append to one log while four read it: a million records, each whole, once, in
//! order.
//!
//! A record says who wrote it, which of that writer's records it is, where it stands in its batch,
//! and is filled with bytes that follow from all that. So a reader can tell a torn, a repeated, a
//! missing and a misplaced record without asking anybody.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use ottla::{Log, LogConfig, Offset, WriteMode};

use crate::helpers::scratch;

const WRITERS: u64 = 4;
const READERS: usize = 4;
const ROUNDS: u64 = 6_250;
/// A round is this many single records and one batch of as many.
const BATCH: u64 = 6;
const PER_WRITER: u64 = ROUNDS * BATCH * 2;
const RECORDS: u64 = WRITERS * PER_WRITER;
const PATIENCE: Duration = Duration::from_secs(600);

/// What a record says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Said {
    writer: u64,
    sequence: u64,
    /// The place in its batch and the size of that.
    place: u64,
    of: u64,
}

impl Said {
    fn encode(self) -> Vec<u8> {
        let fields = [self.writer, self.sequence, self.place, self.of];
        let mut bytes: Vec<u8> = fields
            .iter()
            .flat_map(|field| field.to_le_bytes())
            .collect();
        bytes.extend(self.filling());
        bytes
    }

    /// 0 to 199 bytes that no other record has.
    fn filling(self) -> impl Iterator<Item = u8> {
        let seed = (self.sequence * WRITERS + self.writer).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (0..seed % 200).map(move |at| {
            seed.rotate_left(u32::try_from(at % 64).unwrap())
                .to_le_bytes()[0]
        })
    }

    /// What the bytes say; panics when they are not exactly what a writer wrote.
    fn decode(bytes: &[u8]) -> Self {
        let field = |at: usize| u64::from_le_bytes(bytes[at * 8..at * 8 + 8].try_into().unwrap());
        let said = Self {
            writer: field(0),
            sequence: field(1),
            place: field(2),
            of: field(3),
        };
        assert!(
            bytes[32..].iter().copied().eq(said.filling()),
            "{said:?} is torn"
        );
        said
    }
}

fn write(log: &Log, writer: u64) {
    let mut sequence = 0;
    let mut next = |place, of| {
        let said = Said {
            writer,
            sequence,
            place,
            of,
        };
        sequence += 1;
        said.encode()
    };
    for _ in 0..ROUNDS {
        for _ in 0..BATCH {
            log.append(&next(0, 1)).unwrap();
        }
        let batch: Vec<_> = (0..BATCH).map(|place| next(place, BATCH)).collect();
        log.append_batch(&batch).unwrap();
    }
}

/// Follows the order of a log, record by record.
#[derive(Default)]
struct Follower {
    next: Offset,
    sequences: BTreeMap<u64, u64>,
    open_batch: Option<Said>,
}

impl Follower {
    fn see(&mut self, offset: Offset, bytes: &[u8]) {
        assert_eq!(offset, self.next, "offsets are dense");
        self.next += 1;
        let said = Said::decode(bytes);
        let expected = self.sequences.entry(said.writer).or_default();
        assert_eq!(
            said.sequence, *expected,
            "the order of a writer is kept: {said:?}"
        );
        *expected += 1;
        if let Some(before) = self.open_batch {
            let follows = Said {
                sequence: before.sequence + 1,
                place: before.place + 1,
                ..before
            };
            assert_eq!(said, follows, "a batch is not mixed with others");
        } else {
            assert_eq!(
                said.place, 0,
                "a batch begins at its first record: {said:?}"
            );
        }
        self.open_batch = (said.place + 1 < said.of).then_some(said);
    }

    fn is_between_batches(&self) -> bool {
        self.open_batch.is_none()
    }
}

fn read_records(log: &Log) -> u64 {
    let mut follower = Follower::default();
    let mut reader = log.reader(0).unwrap();
    while follower.next < RECORDS {
        assert!(
            reader.wait(PATIENCE).unwrap(),
            "nothing came after {}",
            follower.next
        );
        for record in reader.by_ref() {
            let record = record.unwrap();
            follower.see(record.offset, record.value().unwrap());
        }
        assert!(follower.is_between_batches(), "half a batch was seen");
    }
    follower.next
}

fn read_batches(log: &Log) -> u64 {
    let mut follower = Follower::default();
    let mut reader = log.reader(0).unwrap();
    while follower.next < RECORDS {
        assert!(
            reader.wait(PATIENCE).unwrap(),
            "nothing came after {}",
            follower.next
        );
        while let Some(batch) = reader.next_batch().unwrap() {
            for record in batch.records() {
                follower.see(record.offset, record.value().unwrap());
            }
            assert!(follower.is_between_batches(), "half a batch was given");
        }
    }
    follower.next
}

fn check(mode: WriteMode) -> u64 {
    let dir = scratch();
    let config = LogConfig::default().segment_bytes(4 << 20).write_mode(mode);
    let log = Log::open(dir.path(), config.clone()).unwrap();
    let read = thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS)
            .map(|reader| {
                let read = if reader % 2 == 0 {
                    read_records
                } else {
                    read_batches
                };
                let log = &log;
                scope.spawn(move || read(log))
            })
            .collect();
        for writer in 0..WRITERS {
            let log = &log;
            scope.spawn(move || write(log, writer));
        }
        readers
            .into_iter()
            .map(|reader| reader.join().unwrap())
            .sum::<u64>()
    });
    assert_eq!(log.end_offset(), RECORDS);
    assert!(log.segments().len() > 5, "it rolled");

    // And once more after a restart.
    log.close().unwrap();
    let log = Log::open(dir.path(), config).unwrap();
    read + read_records(&log)
}

#[test]
fn a_million_records_pass_from_four_writers_to_four_readers() {
    for mode in [WriteMode::Mapped, WriteMode::Pwrite] {
        let read = check(mode);
        println!("{mode:?}: {RECORDS} records appended by {WRITERS} threads, {read} read");
        assert_eq!(read, RECORDS * 5);
        assert!(read >= 1_000_000);
    }
}
