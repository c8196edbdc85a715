//! (a) Every segment, index and time index that we write is sound in the eyes of DumpLogSegments,
//! and holds the records that were appended.
//!
//! Knows nothing about topics: the logs stand alone.

use std::fs;
use std::path::{Path, PathBuf};

use ottla::{Log, LogRecord, TimestampType};

use crate::driver::Driver;
use crate::dump::{Dumped, dump};
use crate::jars::{tell, with_each_kafka};
use crate::random::{Headed, Made, Random, config};

/// Logs in one run.
const LOGS: u64 = 24;

#[test]
fn what_we_write_is_sound_in_kafkas_eyes() {
    with_each_kafka("what_we_write_is_sound_in_kafkas_eyes", |kafka| {
        let scratch = tempfile::tempdir().unwrap();
        let mut driver = Driver::start(kafka);
        let logs: Vec<_> = (0..LOGS)
            .map(|seed| Written::random(&scratch.path().join(format!("log-{seed}")), seed))
            .collect();
        let files: Vec<_> = logs.iter().flat_map(Written::files).collect();
        let dumped = dump(&mut driver, &files);
        assert_eq!(dumped.complaints, Vec::<String>::new());
        for log in &logs {
            log.check(&dumped.records);
        }
        tell(&format!(
            "kafka: (a) DumpLogSegments {}: {} logs, {} files, {} batches, {} records, {} index \
             entries, 0 complaints",
            kafka.version,
            logs.len(),
            files.len(),
            dumped.batches,
            dumped.records.len(),
            dumped.index_entries,
        ));
    });
}

/// A log that was written and closed, and what it must hold.
struct Written {
    dir: PathBuf,
    seed: u64,
    append_time: bool,
    start: u64,
    records: Vec<Made>,
}

impl Written {
    /// Does a few hundred random things to a log.
    fn random(dir: &Path, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut config = config(&mut random);
        let append_time = config.message_timestamp_type == TimestampType::LogAppendTime;
        let mut log = Log::open(dir, config.clone()).unwrap();
        let mut records: Vec<Made> = Vec::new();
        let longest = random.pick(&[10, 100, 700]);
        for _ in 0..200 + random.below(300) {
            match random.below(60) {
                0 => {
                    log.flush().unwrap();
                }
                1 => {
                    log.close().unwrap();
                    // Other settings from now on, but for the kind of timestamps, which is checked.
                    let kind = config.message_timestamp_type;
                    config = crate::random::config(&mut random).message_timestamp_type(kind);
                    log = Log::open(dir, config.clone()).unwrap();
                }
                2 => {
                    let start = log.start_offset();
                    let kept = log.flush().unwrap() - start;
                    log.truncate_prefix(start + random.below(kept / 4 + 1))
                        .unwrap();
                }
                3 => {
                    let end = log.end_offset();
                    let dropped = random.below(20).min(end - log.start_offset());
                    log.truncate(end - dropped).unwrap();
                    records.truncate(usize::try_from(end - dropped).unwrap());
                }
                4..30 => {
                    let made = Made::random(&mut random, longest);
                    log.append(made.headed().record()).unwrap();
                    records.push(made);
                }
                _ => append_batch(&log, &mut random, longest, &mut records),
            }
        }
        let start = log.start_offset();
        assert_eq!(log.end_offset(), u64::try_from(records.len()).unwrap());
        log.close().unwrap();
        Self {
            dir: dir.to_path_buf(),
            seed,
            append_time,
            start,
            records,
        }
    }

    /// What the tool is to look at.
    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.dir).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let known = ["log", "index", "timeindex"];
        let mut files: Vec<_> = paths
            .filter(|path| {
                let suffix = path.extension().and_then(|suffix| suffix.to_str());
                suffix.is_some_and(|suffix| known.contains(&suffix))
            })
            .collect();
        files.sort();
        files
    }

    /// What was appended is what the tool and what our own reader see.
    fn check(&self, dumped: &[Dumped]) {
        let log = Log::open_read_only(&self.dir).unwrap();
        let ours: Vec<_> = log
            .reader(self.start)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let theirs: Vec<_> = dumped
            .iter()
            .filter(|record| record.file.starts_with(&self.dir) && record.offset >= self.start)
            .collect();
        let expected = &self.records[usize::try_from(self.start).unwrap()..];
        assert_eq!(theirs.len(), expected.len(), "seed {}", self.seed);
        assert_eq!(ours.len(), expected.len(), "seed {}", self.seed);
        for (((made, offset), our), their) in
            expected.iter().zip(self.start..).zip(&ours).zip(theirs)
        {
            let at = format!("seed {} offset {offset}", self.seed);
            assert_eq!((our.offset, their.offset), (offset, offset), "{at}");
            check_record(made, our, their, self.append_time, &at);
        }
    }
}

fn append_batch(log: &Log, random: &mut Random, longest: u64, records: &mut Vec<Made>) {
    let count = random.below(12);
    let batch: Vec<_> = (0..count).map(|_| Made::random(random, longest)).collect();
    let headed: Vec<_> = batch.iter().map(Made::headed).collect();
    let range = log.append_batch(headed.iter().map(Headed::record)).unwrap();
    assert_eq!(range.end - range.start, count);
    records.extend(batch);
}

fn check_record(made: &Made, our: &LogRecord, their: &Dumped, append_time: bool, at: &str) {
    assert_eq!(our.key(), made.key.as_deref(), "{at}");
    assert_eq!(their.key, made.key, "{at}");
    assert_eq!(our.value(), made.value.as_deref(), "{at}");
    assert_eq!(their.value, made.value, "{at}");
    let names: Vec<_> = made.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(their.header_names, names.join(","), "{at}");
    let ours: Vec<_> = our
        .headers()
        .map(|header| (header.key().into_owned(), header.value.map(<[u8]>::to_vec)))
        .collect();
    assert_eq!(ours, made.headers, "{at}");
    assert_eq!(our.timestamp.as_millis(), their.timestamp, "{at}");
    if !append_time && let Some(timestamp) = made.timestamp {
        assert_eq!(their.timestamp, timestamp, "{at}");
    }
}
