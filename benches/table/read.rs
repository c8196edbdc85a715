//! Reading: in sequence and at random.

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;

use ottla::{Log, LogConfig};
use tempfile::TempDir;

use crate::rows::{Rows, timed};
use crate::tools::{Random, VALUE_BYTES, Values, scratch, width_of};

const CHUNK_BYTES: usize = 256 << 10;
const PAGE_BYTES: usize = 4096;

/// A log that is read, and its segment files in order.
struct Filled {
    _dir: TempDir,
    log: Log,
    files: Vec<(File, u64)>,
    records: u64,
}

impl Filled {
    fn new(records: u64, per_batch: usize) -> Self {
        let dir = scratch();
        let log = Log::open(dir.path(), LogConfig::default()).unwrap();
        let mut values = Values::new(3, VALUE_BYTES);
        for _ in 0..records / width_of(per_batch) {
            if per_batch == 1 {
                log.append(values.next()).unwrap();
            } else {
                log.append_batch(&values.many(per_batch)).unwrap();
            }
        }
        log.flush().unwrap();
        let files = log.segments().into_iter().map(|segment| {
            let path = dir.path().join(format!("{:020}.log", segment.base_offset));
            (File::open(path).unwrap(), segment.size_bytes)
        });
        let files = files.collect();
        Self {
            _dir: dir,
            log,
            files,
            records,
        }
    }

    fn by_batch(&self) -> f64 {
        let mut reader = self.log.reader(0).unwrap();
        timed(self.records, || {
            let mut sum = 0;
            while let Some(batch) = reader.next_batch().unwrap() {
                for record in batch.records() {
                    sum += width_of(record.value().unwrap().len());
                    black_box((record.offset, record.timestamp, record.key()));
                }
            }
            assert_eq!(sum, self.records * width_of(VALUE_BYTES));
        })
    }

    fn by_record(&self) -> f64 {
        let reader = self.log.reader(0).unwrap();
        timed(self.records, || {
            let values = reader.map(|record| width_of(record.unwrap().value().unwrap().len()));
            assert_eq!(values.sum::<u64>(), self.records * width_of(VALUE_BYTES));
        })
    }

    /// The whole file by large reads, each with its checksum.
    fn floor(&self) -> f64 {
        let mut chunk = vec![0; CHUNK_BYTES];
        timed(self.records, || {
            for (file, length) in &self.files {
                let mut at = 0;
                while at < *length {
                    let read = file.read_at(&mut chunk, at).unwrap();
                    black_box(crc_fast::crc32_iscsi(chunk.get(..read).unwrap()));
                    at += width_of(read);
                }
            }
        })
    }

    fn at_random(&self, reads: u64) -> f64 {
        let mut random = Random(4);
        timed(reads, || {
            for _ in 0..reads {
                let offset = random.below(self.records);
                let record = self.log.read(offset).unwrap().unwrap();
                assert_eq!(record.offset, offset);
                black_box(record.value());
            }
        })
    }

    /// One read of so many bytes, and its checksum.
    fn bytes_at_random(&self, reads: u64, bytes: usize) -> f64 {
        let mut random = Random(4);
        let mut page = vec![0; bytes];
        timed(reads, || {
            for _ in 0..reads {
                let (file, length) = self
                    .files
                    .get(usize::try_from(random.below(width_of(self.files.len()))).unwrap())
                    .unwrap();
                let read = file.read_at(&mut page, random.below(*length)).unwrap();
                black_box(crc_fast::crc32_iscsi(page.get(..read).unwrap()));
            }
        })
    }
}

/// One way to read everything.
type Way = fn(&Filled) -> f64;

pub(crate) fn rows(rows: &Rows) {
    let rounds = rows.effort.pick(5, 11);
    for (per_batch, goals) in [(100, ["<= 15 ns", "<= 30 ns"]), (1, ["<= 35 ns", ""])] {
        let filled = Filled::new(rows.effort.pick(1_000_000, 2_000_000), per_batch);
        let ways: [(&str, Way); 2] = [
            ("next_batch", Filled::by_batch),
            ("iterator", Filled::by_record),
        ];
        for ((name, ours), goal) in ways.into_iter().zip(goals) {
            Rows::compare(
                &format!("read, batches of {per_batch}, {name}, ns/record | floor: pread+CRC"),
                goal,
                rounds,
                [Box::new(|| ours(&filled)), Box::new(|| filled.floor())],
            );
        }
    }
    let records = rows.effort.pick(2_000_000, 9_000_000);
    let reads = rows.effort.pick(50_000, 200_000);
    for per_batch in [100, 1] {
        let filled = Filled::new(records / if per_batch == 1 { 2 } else { 1 }, per_batch);
        let bytes: u64 = filled.files.iter().map(|(_, length)| length).sum();
        let batch = bytes * width_of(per_batch) / filled.records;
        let batch = usize::try_from(batch).unwrap();
        for (floor, goal, bytes) in [
            ("floor: pread 4K+CRC", "<= 1.5", PAGE_BYTES),
            ("beside: pread of a batch+CRC", "", batch),
        ] {
            Rows::compare(
                &format!("read at random, batches of {per_batch}, ns | {floor}"),
                goal,
                rounds,
                [
                    Box::new(|| filled.at_random(reads)),
                    Box::new(|| filled.bytes_at_random(reads, bytes)),
                ],
            );
        }
    }
}
