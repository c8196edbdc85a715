//! Files that lie: decompression bombs, and huge numbers wherever there is a number. A program that
//! opens, reads or verifies them uses little memory.
//!
//! Knows nothing about formats: the files are ones that the crate wrote, with bytes put in place of
//! others. An allocator counts what the whole program holds, so this is a test program of its own,
//! and one test. The bound: 32 MiB and 8 times the input, and what a batch may unpack to where that
//! is asked for.

#![expect(
    unsafe_code,
    reason = "an allocator is an unsafe trait; this one only counts"
)]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints what it counted"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ottla::{
    Broker, Compression, Error, Log, LogConfig, Record, Start, TopicConfig, WriteMode, verify,
};
use tempfile::TempDir;

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn gained(bytes: usize) {
    let held = HELD.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(held, Ordering::Relaxed);
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        gained(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        gained(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // What grows is moved by the system's allocator without being held twice.
        gained(size.saturating_sub(layout.size()));
        HELD.fetch_sub(layout.size().saturating_sub(size), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MIB: usize = 1 << 20;

/// The most that the program held above what it holds now, while `work` ran.
fn peak_of(work: impl FnOnce()) -> usize {
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    work();
    PEAK.load(Ordering::Relaxed) - before
}

/// Holds a peak against what these input bytes allow, besides what may be unpacked.
fn check(told: &str, input: usize, unpacked: usize, work: impl FnOnce()) -> usize {
    let peak = peak_of(work);
    let bound = 32 * MIB + 8 * input + unpacked;
    assert!(
        peak <= bound,
        "{told}: {peak} bytes held, {bound} allowed for {input}"
    );
    peak
}

fn scratch() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

#[test]
fn hostile_files_cost_little_memory() {
    let counted = peak_of(|| drop(std::hint::black_box(vec![1_u8; 5 * MIB])));
    assert!((5 * MIB..6 * MIB).contains(&counted), "the counter counts");
    for compression in [
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ] {
        bomb(compression);
    }
    huge_numbers();
}

/// A batch that unpacks to more than a reader is to take.
fn bomb(compression: Compression) {
    const UNPACKED: usize = 96 * MIB;
    let scratch = scratch();
    let config = LogConfig::default()
        .compression_type(compression)
        .max_message_bytes(64 << 20)
        .max_decompressed_batch_bytes(1 << 30);
    let log = Log::open(scratch.path(), config).unwrap();
    let value = vec![0; MIB];
    match log.append_batch((0..UNPACKED / MIB).map(|_| Record::new(&value))) {
        Ok(_) => {}
        Err(Error::Unsupported { what, .. }) => {
            println!("skipped a bomb: {what}");
            return;
        }
        Err(error) => panic!("{error:?}"),
    }
    log.close().unwrap();
    drop(log);
    let input = size_of_all(scratch.path());
    for budget in [8 * MIB, 64 * MIB] {
        let config = LogConfig::default().max_decompressed_batch_bytes(budget.try_into().unwrap());
        let unpacked = if budget > 8 * MIB { budget } else { 0 };
        let peak = check(&format!("{compression:?}"), input, unpacked, || {
            let log = Log::open(scratch.path(), config).unwrap();
            let refused = log.reader(Start::Earliest).unwrap().next().unwrap();
            assert!(matches!(refused, Err(Error::Corrupt { .. })), "{refused:?}");
            log.read(7).unwrap_err();
        });
        println!(
            "bomb: {compression:?}, {input} bytes for {UNPACKED}, budget {budget}: {peak} held"
        );
    }
    check("verify", input, 64 * MIB, || drop(verify(scratch.path())));
}

/// A closed broker with everything in it that a root may hold.
fn root(dir: &Path) {
    let broker = Broker::open(dir).unwrap();
    let config = TopicConfig::default()
        .partitions(2)
        .segment_bytes(4096)
        .write_mode(WriteMode::Pwrite);
    let topic = broker.create_topic("flights", config).unwrap();
    for number in 0..120_u32 {
        let key = format!("key {number}");
        topic
            .append(Record::keyed(&key, "a value of some bytes, more or less"))
            .unwrap();
    }
    let mut consumer = broker.group("readers").unwrap().join(["flights"]).unwrap();
    drop(consumer.poll(Duration::ZERO).unwrap());
    consumer.commit().unwrap();
    drop(consumer);
    broker.close().unwrap();
}

/// Every file below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn size_of_all(dir: &Path) -> usize {
    let sizes = files(dir)
        .into_iter()
        .map(|path| fs::metadata(path).unwrap().len());
    usize::try_from(sizes.sum::<u64>()).unwrap()
}

/// The same files elsewhere.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, there) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &there);
        } else {
            fs::copy(path, there).unwrap();
        }
    }
}

/// What is put in place of bytes: lengths and counts that are large, negative, or nearly so, as
/// both orders of bytes and as varints; and text.
const LIES: [&[u8]; 6] = [
    &[0x7f, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0x7f],
    &[0x3f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0xfe, 0xff, 0xff, 0xff, 0x0f],
    b"2147483647",
];

/// Opens a root whose one file lies, in every way there is.
fn use_all_of(dir: &Path) {
    drop(verify(dir));
    if let Ok(broker) = Broker::open_read_only(dir) {
        read_everything(&broker);
    }
    if let Ok(broker) = Broker::open(dir) {
        read_everything(&broker);
        broker.close().ok();
    }
}

fn read_everything(broker: &Broker) {
    for name in broker.topic_names() {
        let Ok(topic) = broker.topic(&name) else {
            continue;
        };
        for partition in 0..topic.partition_count().min(4) {
            let Ok(log) = topic.partition(partition) else {
                continue;
            };
            if let Ok(reader) = log.reader(Start::Earliest) {
                std::hint::black_box(reader.map_while(Result::ok).count());
            }
        }
    }
    drop(broker.groups());
}

/// Huge numbers at places all over every kind of file.
fn huge_numbers() {
    let scratch = scratch();
    let whole = scratch.path().join("whole");
    root(&whole);
    let input = size_of_all(&whole);
    let places = if std::env::var("OTTLA_PROOF").is_ok() {
        40
    } else {
        2
    };
    let (mut opened, mut highest) = (0, 0);
    for (number, file) in files(&whole).iter().enumerate() {
        let name = file.strip_prefix(&whole).unwrap();
        let content = fs::read(file).unwrap();
        if content.is_empty() {
            continue;
        }
        for turn in 0..places {
            // The first bytes of a file, where headers are, and then all over it.
            let at = if turn % 2 == 0 {
                turn / 2 * 4
            } else {
                turn * 7919 + number
            } % content.len();
            let lie = LIES[(turn + number) % LIES.len()];
            let mut lying = content.clone();
            for (place, byte) in lying.iter_mut().skip(at).zip(lie) {
                *place = *byte;
            }
            let dir = scratch.path().join("lying");
            copy(&whole, &dir);
            fs::write(dir.join(name), lying).unwrap();
            let told = format!("{} at {at}: {lie:?}", name.display());
            highest = check(&told, input, 0, || use_all_of(&dir)).max(highest);
            opened += 1;
            fs::remove_dir_all(&dir).unwrap();
        }
    }
    println!("huge numbers: {opened} roots, at most {highest} bytes held for {input}");
    assert!(opened >= 20 * places, "{opened}");
}
