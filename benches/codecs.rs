//! What compression costs and brings, codec by codec, on real flights: a batch of a hundred rows
//! appended to a log, and read from it again with every record looked at.
//!
//! ```text
//! cargo bench --bench codecs
//! ```
//!
//! MB/s count the plain bytes of the rows. The figures of `none` are what the log itself costs: all
//! beyond that is the codec.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench fails by panicking, prints the ratios, and criterion's macros make functions \
              without documentation"
)]

use std::hint::black_box;
use std::io::Read;
use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flate2::read::GzDecoder;
use ottla::{Compression, Log, LogConfig, Record, Start};
use tempfile::TempDir;

const PER_BATCH: usize = 100;

fn scratch() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn slice() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/flights.csv.gz");
    let mut text = String::new();
    GzDecoder::new(std::fs::read(path).unwrap().as_slice())
        .read_to_string(&mut text)
        .unwrap();
    text
}

fn codecs() -> [(&'static str, Compression); 5] {
    [
        ("none", Compression::None),
        ("gzip", Compression::Gzip),
        ("snappy", Compression::Snappy),
        ("lz4", Compression::Lz4),
        ("zstd", Compression::Zstd),
    ]
}

fn config(codec: Compression) -> LogConfig {
    LogConfig::default()
        .compression_type(codec)
        .segment_bytes(16 << 20)
        .retention_bytes(16 << 20)
}

fn append(log: &Log, rows: &[&str]) {
    for batch in rows.chunks(PER_BATCH) {
        let records = batch.iter().map(|row| {
            let tail = row.split(',').nth(11).unwrap_or_default();
            Record::keyed(tail, row)
        });
        log.append_batch(records).unwrap();
    }
}

fn read(log: &Log) -> usize {
    let mut reader = log.reader(Start::Earliest).unwrap();
    let mut bytes = 0;
    while let Some(batch) = reader.next_batch().unwrap() {
        for record in batch.records() {
            bytes += record.value().map_or(0, <[u8]>::len);
        }
    }
    bytes
}

fn bytes_on_disk(log: &Log) -> u64 {
    let segments = log.segments();
    segments.iter().map(|segment| segment.size_bytes).sum()
}

fn flights(criterion: &mut Criterion) {
    let text = slice();
    let rows: Vec<_> = text.lines().skip(1).collect();
    let plain: usize = rows.iter().map(|row| row.len()).sum();
    let throughput = Throughput::Bytes(u64::try_from(plain).unwrap());
    println!("codec   bytes on disk   of the rows");
    for (name, codec) in codecs() {
        let dir = scratch();
        let log = Log::open(dir.path(), config(codec)).unwrap();
        append(&log, &rows);
        let bytes = bytes_on_disk(&log);
        let percent = bytes * 100 / u64::try_from(plain).unwrap();
        println!("{name:<7} {bytes:>13} {percent:>12}%");
        assert_eq!(read(&log), plain);

        let mut group = criterion.benchmark_group("read");
        group.throughput(throughput.clone()).sample_size(20);
        group.bench_function(name, |bencher| bencher.iter(|| black_box(read(&log))));
        group.finish();

        let mut group = criterion.benchmark_group("append");
        group.throughput(throughput.clone()).sample_size(20);
        group.bench_function(name, |bencher| {
            bencher.iter(|| append(&log, black_box(&rows)));
        });
        group.finish();
        log.apply_retention().unwrap();
    }
}

criterion_group!(benches, flights);
criterion_main!(benches);
