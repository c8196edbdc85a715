//! What a log costs, each figure beside the raw floor on the same machine: the system calls, the
//! copy and the checksum that no log can do without.
//!
//! ```text
//! cargo bench --bench log                 everything, about a minute
//! cargo bench --bench log -- append       one group
//! ```
//!
//! Values are 100 random bytes. Everything fits in memory: these are the costs of the code and of
//! the page cache, not of a disk.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a bench times by the real clock and fails by panicking"
)]

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ottla::{Log, LogConfig, Record, WriteMode};
use tempfile::TempDir;

const VALUE_BYTES: usize = 100;
/// A batch of one such record without a key: 61 bytes of header and 8 of lengths around the value.
const BATCH_BYTES: usize = 61 + 8 + VALUE_BYTES;
const PER_BATCH: usize = 100;
/// A batch of a hundred: the lengths of most records take one byte more.
const BIG_BATCH_BYTES: usize = 61 + PER_BATCH * (10 + VALUE_BYTES);
/// Appends until a log is thrown away, so that a bench never fills the disk.
const APPENDS_PER_LOG: u64 = 400_000;
/// Records of the log that is read.
const RECORDS: u64 = 1_000_000;
const CHUNK_BYTES: usize = 256 << 10;
const PAGE_BYTES: usize = 4096;

fn scratch() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// A row of random numbers that is the same every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let byte = |number: u64| number.to_le_bytes().into_iter().next_back();
        (0..length).filter_map(|_| byte(self.next())).collect()
    }
}

/// Times `iterations` rounds, a fresh `make` every [`APPENDS_PER_LOG`] of them, untimed.
fn in_fresh_places<T>(
    iterations: u64,
    make: impl Fn(&Path) -> T,
    mut round: impl FnMut(&T, u64),
) -> Duration {
    let mut left = iterations;
    let mut took = Duration::ZERO;
    while left > 0 {
        let dir = scratch();
        let place = make(dir.path());
        let rounds = left.min(APPENDS_PER_LOG);
        let began = Instant::now();
        for number in 0..rounds {
            round(&place, number);
        }
        took += began.elapsed();
        left -= rounds;
    }
    took
}

fn append_one(c: &mut Criterion) {
    let mut group = c.benchmark_group("append_one");
    group.throughput(Throughput::Elements(1));
    let value = Random(1).bytes(VALUE_BYTES);
    for (name, mode) in [("auto", WriteMode::Auto), ("pwrite", WriteMode::Pwrite)] {
        group.bench_function(name, |b| {
            let open = |dir: &Path| Log::open(dir, LogConfig::default().write_mode(mode)).unwrap();
            b.iter_custom(|iterations| {
                in_fresh_places(iterations, open, |log, _| {
                    log.append(&value).unwrap();
                })
            });
        });
    }
    let batch = Random(2).bytes(BATCH_BYTES);
    group.bench_function("floor_pwrite", |b| {
        let file = |dir: &Path| File::create_new(dir.join("raw")).unwrap();
        b.iter_custom(|iterations| {
            in_fresh_places(iterations, file, |file, number| {
                file.write_all_at(&batch, number * width(&batch)).unwrap();
            })
        });
    });
    group.bench_function("floor_copy_and_crc", |b| {
        let mut target = vec![0; BATCH_BYTES];
        b.iter(|| {
            target.copy_from_slice(black_box(&batch));
            crc_fast::crc32_iscsi(&target)
        });
    });
    group.finish();
}

fn append_batch(c: &mut Criterion) {
    let mut group = c.benchmark_group("append_batch_of_100");
    group.throughput(Throughput::Elements(100));
    let values: Vec<_> = (1..=100)
        .map(|seed| Random(seed).bytes(VALUE_BYTES))
        .collect();
    for (name, mode) in [("auto", WriteMode::Auto), ("pwrite", WriteMode::Pwrite)] {
        group.bench_function(name, |b| {
            let open = |dir: &Path| Log::open(dir, LogConfig::default().write_mode(mode)).unwrap();
            b.iter_custom(|iterations| {
                in_fresh_places(iterations, open, |log, _| {
                    log.append_batch(values.iter().map(Record::new)).unwrap();
                })
            });
        });
    }
    let batch = Random(2).bytes(BIG_BATCH_BYTES);
    group.bench_function("floor_pwrite", |b| {
        let file = |dir: &Path| File::create_new(dir.join("raw")).unwrap();
        b.iter_custom(|iterations| {
            in_fresh_places(iterations, file, |file, number| {
                file.write_all_at(&batch, number * width(&batch)).unwrap();
            })
        });
    });
    group.bench_function("floor_copy_and_crc", |b| {
        let mut target = vec![0; BIG_BATCH_BYTES];
        b.iter(|| {
            target.copy_from_slice(black_box(&batch));
            crc_fast::crc32_iscsi(&target)
        });
    });
    group.finish();
}

/// A log of [`RECORDS`] records in batches of a hundred, and its one segment file.
fn filled() -> (TempDir, Log, File) {
    let dir = scratch();
    let log = Log::open(dir.path(), LogConfig::default()).unwrap();
    let mut random = Random(3);
    for _ in 0..RECORDS / 100 {
        let values: Vec<_> = (0..PER_BATCH).map(|_| random.bytes(VALUE_BYTES)).collect();
        log.append_batch(&values).unwrap();
    }
    log.flush().unwrap();
    let file = File::open(dir.path().join(format!("{:020}.log", 0))).unwrap();
    (dir, log, file)
}

fn read(c: &mut Criterion) {
    let (_dir, log, file) = filled();
    let bytes = log.segments().first().unwrap().size_bytes;

    let mut group = c.benchmark_group("read_in_sequence");
    group.throughput(Throughput::Elements(RECORDS));
    group.bench_function("records", |b| {
        b.iter(|| {
            let values = log
                .reader(0)
                .unwrap()
                .map(|record| length(record.unwrap().value()));
            assert_eq!(values.sum::<u64>(), RECORDS * 100);
        });
    });
    group.bench_function("batches", |b| {
        b.iter(|| {
            let mut reader = log.reader(0).unwrap();
            let mut sum = 0;
            while let Some(batch) = reader.next_batch().unwrap() {
                sum += batch
                    .records()
                    .map(|record| length(record.value()))
                    .sum::<u64>();
            }
            assert_eq!(sum, RECORDS * 100);
        });
    });
    group.bench_function("floor_pread_and_crc", |b| {
        let mut chunk = vec![0; CHUNK_BYTES];
        b.iter(|| {
            let mut at = 0;
            while at < bytes {
                let read = file.read_at(&mut chunk, at).unwrap();
                let read = chunk.get(..read).unwrap();
                black_box(crc_fast::crc32_iscsi(read));
                at += width(read);
            }
        });
    });
    group.finish();

    let mut group = c.benchmark_group("read_at_random");
    group.throughput(Throughput::Elements(1));
    let mut random = Random(4);
    group.bench_function("record", |b| {
        b.iter(|| log.read(random.below(RECORDS)).unwrap().unwrap());
    });
    group.bench_function("floor_pread_of_a_page", |b| {
        let mut page = vec![0; PAGE_BYTES];
        b.iter(|| file.read_at(&mut page, random.below(bytes)).unwrap());
    });
    group.finish();
}

fn open(c: &mut Criterion) {
    let mut group = c.benchmark_group("open");
    for segments in [1_u64, 100, 1_000] {
        let dir = scratch();
        let config = LogConfig::default().segment_bytes(64 << 10);
        let log = Log::open(dir.path(), config.clone()).unwrap();
        let value = Random(5).bytes(16 << 10);
        while width(&log.segments()) < segments {
            log.append(&value).unwrap();
        }
        log.close().unwrap();
        group.bench_function(format!("closed_with_{segments}_segments"), |b| {
            b.iter(|| {
                let log = Log::open(dir.path(), config.clone()).unwrap();
                log.close().unwrap();
            });
        });
        group.bench_function(format!("floor_list_{segments}_segments"), |b| {
            b.iter(|| std::fs::read_dir(dir.path()).unwrap().count());
        });
    }
    group.finish();
}

fn length(value: Option<&[u8]>) -> u64 {
    value.map_or(0, width)
}

fn width<T>(items: &[T]) -> u64 {
    u64::try_from(items.len()).unwrap()
}

criterion_group! {
    name = benches;
    // Quick by default; criterion's own options make it slower and finer.
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = append_one, append_batch, read, open
}
criterion_main!(benches);
