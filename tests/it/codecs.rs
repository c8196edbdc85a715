//! Logs whose batches are packed, by every codec of the build.

use std::collections::BTreeMap;

use ottla::{CleanupPolicy, Compression, Corruption, Error, Log, LogConfig, Record};

use crate::helpers::{scratch, text};

/// The codecs of this build.
pub(crate) fn codecs() -> Vec<Compression> {
    let all = [
        (cfg!(feature = "gzip"), Compression::Gzip),
        (cfg!(feature = "snappy"), Compression::Snappy),
        (cfg!(feature = "lz4"), Compression::Lz4),
        (cfg!(feature = "zstd"), Compression::Zstd),
    ];
    let built = all.into_iter().filter(|(built, _)| *built);
    built.map(|(_, codec)| codec).collect()
}

/// Whether this build reads and writes it.
pub(crate) fn is_built(codec: Compression) -> bool {
    codec == Compression::None || codecs().contains(&codec)
}

fn config(codec: Compression) -> LogConfig {
    LogConfig::default()
        .segment_bytes(4096)
        .compression_type(codec)
        .cleanup_policy(CleanupPolicy::Compact)
}

type Pairs = Vec<(u64, String, String)>;

fn pairs(log: &Log) -> Pairs {
    log.reader(log.start_offset())
        .unwrap()
        .map(|record| record.unwrap())
        .map(|record| (record.offset, text(record.key()), text(record.value())))
        .collect()
}

#[test]
fn batches_of_every_codec_are_appended_read_and_compacted() {
    for codec in codecs() {
        let dir = scratch();
        let log = Log::open(dir.path(), config(codec)).unwrap();
        let mut appended = Pairs::new();
        for batch in 0..40 {
            let rows: Vec<_> = (0..20)
                .map(|row| {
                    let key = format!("key {}", (batch * 7 + row) % 50);
                    (
                        key,
                        format!("batch {batch}, row {row}, and the same words again"),
                    )
                })
                .collect();
            let records = rows.iter().map(|(key, value)| Record::keyed(key, value));
            let offsets = log.append_batch(records).unwrap();
            let rows = offsets.zip(rows).map(|(at, (key, value))| (at, key, value));
            appended.extend(rows);
        }
        assert_eq!(pairs(&log), appended, "{codec:?}");
        let batch = log.reader(0).unwrap().next_batch().unwrap().unwrap();
        assert_eq!(batch.compression(), codec);
        let report = log.compact().unwrap();
        assert_eq!(report.records_dropped, 750, "{codec:?}");
        let newest: BTreeMap<_, _> = appended
            .iter()
            .map(|(at, key, value)| (key.clone(), (*at, key.clone(), value.clone())))
            .collect();
        let mut newest: Pairs = newest.into_values().collect();
        newest.sort();
        assert_eq!(pairs(&log), newest, "{codec:?}");
        let batch = log.reader(0).unwrap().next_batch().unwrap().unwrap();
        assert_eq!(batch.compression(), codec, "compaction keeps the codec");
        log.close().unwrap();
        let log = Log::open(dir.path(), config(codec)).unwrap();
        assert!(log.open_report().clean);
        assert_eq!(pairs(&log), newest, "{codec:?}");
        for (at, key, _) in &newest {
            let record = log.read(*at).unwrap().unwrap();
            assert_eq!(text(record.key()), *key);
        }
    }
}

/// A few kilobytes on disk that are eight megabytes in memory.
#[test]
fn a_bomb_of_any_codec_is_refused_and_read_over() {
    const BOMB_BYTES: usize = 8 << 20;
    for codec in codecs() {
        let dir = scratch();
        let log = Log::open(dir.path(), config(codec)).unwrap();
        log.append(Record::keyed("before", "1")).unwrap();
        let zeros = vec![0; BOMB_BYTES];
        log.append(Record::keyed("bomb", &zeros)).unwrap();
        log.append(Record::keyed("after", "1")).unwrap();
        assert_eq!(pairs_without_values(&log), [0, 1, 2], "{codec:?}");
        log.close().unwrap();
        let small = config(codec).max_decompressed_batch_bytes(1 << 20);
        let log = Log::open(dir.path(), small).unwrap();
        let limit_of = |error: Error| match error {
            Error::Corrupt {
                reason: Corruption::TooLarge { limit, .. },
                ..
            } => limit,
            other => panic!("{codec:?}: {other:?}"),
        };
        assert_eq!(limit_of(log.read(1).unwrap_err()), 1 << 20);
        let mut reader = log.reader(0).unwrap();
        assert_eq!(reader.next().unwrap().unwrap().offset, 0);
        assert_eq!(limit_of(reader.next().unwrap().unwrap_err()), 1 << 20);
        assert!(reader.next().is_none(), "after an error, until a seek");
        reader.seek(2).unwrap();
        assert_eq!(reader.next().unwrap().unwrap().offset, 2);
        // Compaction would have to unpack it: it says so and loses nothing.
        assert_eq!(limit_of(log.compact().unwrap_err()), 1 << 20);
        assert_eq!(text(log.read(0).unwrap().unwrap().value()), "1");
        assert_eq!(text(log.read(2).unwrap().unwrap().value()), "1");
        assert_eq!(log.append(Record::keyed("more", "1")).unwrap(), 3);
        log.close().unwrap();
        let log = Log::open(dir.path(), config(codec)).unwrap();
        log.compact().unwrap();
        assert_eq!(pairs_without_values(&log), [0, 1, 2, 3], "{codec:?}");
        // What readers would refuse is refused by the append.
        let small = config(codec).max_decompressed_batch_bytes(1 << 20);
        log.close().unwrap();
        let log = Log::open(dir.path(), small).unwrap();
        let refused = log.append(Record::keyed("bomb", &zeros));
        assert!(
            matches!(refused, Err(Error::RecordTooLarge { .. })),
            "{codec:?}"
        );
        assert_eq!(log.end_offset(), 4);
    }
}

fn pairs_without_values(log: &Log) -> Vec<u64> {
    let reader = log.reader(log.start_offset()).unwrap();
    reader.map(|record| record.unwrap().offset).collect()
}
