//! Eight readers and a writer while segments are compacted and forgotten under them.
//!
//! A writer goes round and round over a few keys, and every value is the number of its append. So a
//! reader can tell without asking anybody: the newest value of every key that was there before it
//! began must be found, or a newer one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ottla::{CleanupPolicy, Error, Log, LogConfig, LogRecord, Record, Start};

use crate::helpers::scratch;

const READERS: usize = 8;
const KEYS: u64 = 50;
const EVERY: Duration = Duration::from_millis(5);
const SWAPS: u64 = 100;
/// Records.
const AT_A_TIME: u64 = 1500;
/// How long a test waits for progress that should come at once.
const PATIENCE: Duration = Duration::from_secs(600);

struct Stage {
    log: Log,
    /// How many values are appended.
    written: AtomicU64,
    /// How often each reader came to the end.
    ends: [AtomicU64; READERS],
    over: AtomicBool,
}

/// Ends the test when its thread does, also by a panic.
struct Curtain<'a>(&'a Stage);

impl Drop for Curtain<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Release);
    }
}

impl Stage {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }
}

/// Appends as many records as it is told, and again, until nobody tells any more.
fn write(stage: &Stage, told: &mpsc::Receiver<u64>) {
    let _curtain = Curtain(stage);
    let mut number = 0_u64;
    for more in told {
        for _ in 0..more {
            let key = number % KEYS;
            let value = format!("{number:012} and some more");
            let key = key.to_be_bytes();
            let record = Record::keyed(&key, &value);
            stage.log.append(record).unwrap();
            number += 1;
            stage.written.store(number, Ordering::Release);
        }
    }
}

fn number_of(record: &LogRecord) -> u64 {
    let value = std::str::from_utf8(record.value().unwrap()).unwrap();
    value[..12].parse().unwrap()
}

/// Reads everything again and again; how often retention was faster.
fn read(stage: &Stage, number: usize) -> u64 {
    let _curtain = Curtain(stage);
    let mut overtaken = 0;
    let mut dice = u64::try_from(number).unwrap();
    while !stage.is_over() {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        if read_through(stage) {
            stage.ends[number].fetch_add(1, Ordering::AcqRel);
        } else {
            overtaken += 1;
        }
        peek(stage, dice);
    }
    overtaken
}

/// True at the end, false when the position fell below the start of the log.
fn read_through(stage: &Stage) -> bool {
    let before = stage.written.load(Ordering::Acquire);
    let mut newest = BTreeMap::new();
    let mut last = None;
    for record in stage.log.reader(Start::Earliest).unwrap() {
        let record = match record {
            Err(Error::OffsetOutOfRange { .. } | Error::Truncated { .. }) => return false,
            record => record.unwrap(),
        };
        assert!(
            last < Some(record.offset),
            "{} after {last:?}",
            record.offset
        );
        last = Some(record.offset);
        let number = number_of(&record);
        assert_eq!(number, record.offset, "each append takes one offset");
        let older = newest.insert(record.key().unwrap().to_vec(), number);
        assert!(older < Some(number), "a key goes back");
    }
    for number in before.saturating_sub(KEYS)..before {
        let found = newest.get((number % KEYS).to_be_bytes().as_slice());
        assert!(
            found >= Some(&number),
            "{number} was there, and {found:?} is found"
        );
    }
    true
}

/// Looks at one place, by offset and by time.
fn peek(stage: &Stage, dice: u64) {
    let (start, end) = (stage.log.start_offset(), stage.log.end_offset());
    let at = start + dice % (end - start).max(1);
    match stage.log.read(at) {
        Ok(found) => assert!(found.is_none_or(|record| number_of(&record) == at)),
        Err(Error::OffsetOutOfRange { .. } | Error::Truncated { .. }) => {}
        Err(other) => panic!("{other:?}"),
    }
    if let Ok(Some(record)) = stage.log.read(end.saturating_sub(1)) {
        let found = stage.log.offset_for_time(record.timestamp).unwrap();
        assert!(found.is_some(), "a time that is there");
    }
}

/// Compacts and forgets until enough segments were swapped, and all that the test looks for was
/// there. The writer is told to write as much as
/// a pass can keep up with, and writes while the pass runs.
fn keep_up(stage: &Stage, writer: &mpsc::Sender<u64>) -> (u64, u64) {
    let _curtain = Curtain(stage);
    // Nobody ever sends anything: waiting for it is waiting for the time to pass.
    let (_nobody, tick) = mpsc::channel::<()>();
    let (mut swaps, mut forgotten) = (0, 0);
    let is_enough = |swaps, forgotten| {
        let ends = |ends: &AtomicU64| ends.load(Ordering::Acquire) > 0;
        swaps >= SWAPS && forgotten > 0 && stage.ends.iter().all(ends)
    };
    let began = Instant::now();
    while !stage.is_over() && !is_enough(swaps, forgotten) {
        assert!(began.elapsed() < PATIENCE, "{swaps} swaps and no more");
        writer.send(AT_A_TIME).unwrap();
        let report = stage.log.compact().unwrap();
        swaps += u64::from(report.segments_after > 0);
        let report = stage.log.apply_retention().unwrap();
        forgotten += report.segments_deleted;
        assert!(tick.recv_timeout(EVERY).is_err());
    }
    (swaps, forgotten)
}

#[test]
fn readers_do_not_notice_that_segments_are_swapped_and_forgotten() {
    let dir = scratch();
    let config = LogConfig::default()
        .segment_bytes(64 << 10)
        .retention_bytes(16 << 10)
        .cleanup_policy(CleanupPolicy::CompactAndDelete);
    let stage = Stage {
        log: Log::open(dir.path(), config).unwrap(),
        written: AtomicU64::new(0),
        ends: Default::default(),
        over: AtomicBool::new(false),
    };
    let (overtaken, swaps, forgotten) = thread::scope(|scope| {
        let stage = &stage;
        let (writer, told) = mpsc::channel();
        scope.spawn(move || write(stage, &told));
        let readers: Vec<_> = (0..READERS)
            .map(|number| scope.spawn(move || read(stage, number)))
            .collect();
        let (swaps, forgotten) = keep_up(stage, &writer);
        drop(writer);
        let overtaken: Vec<_> = readers
            .into_iter()
            .map(|reader| reader.join().unwrap())
            .collect();
        (overtaken, swaps, forgotten)
    });
    let written = stage.written.load(Ordering::Acquire);
    println!(
        "stress: {written} appends, {swaps} swapped compactions, {forgotten} segments forgotten, \
         reads to the end {:?}, overtaken by retention {overtaken:?}",
        stage.ends
    );
    assert!(swaps >= SWAPS && forgotten > 0);
    let ends = |ends: &AtomicU64| ends.load(Ordering::Acquire) > 0;
    assert!(stage.ends.iter().all(ends), "{:?}", stage.ends);
    stage.log.close().unwrap();
}
