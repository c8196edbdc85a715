//! What the hot paths allocate: nothing.
//!
//! An allocator counts what this thread asks it for. It is a test of its own because an allocator
//! belongs to a whole program.

#![expect(
    unsafe_code,
    reason = "an allocator is an unsafe trait; this one only counts"
)]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints what it counted"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use ottla::{Header, Log, LogConfig, Record, Timestamp, WriteMode};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of this thread while `work` runs.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

const VALUE: [u8; 100] = [7; 100];
const ROUNDS: u64 = 10_000;

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(black_box(Box::new(1)))), 1);
}

/// The most that the sparse indexes may allocate meanwhile. They are kept in lists that double, so
/// a doubling of each may fall into any stretch of appends; the list of times grows with the
/// milliseconds that pass, so on a busy machine it may double more often.
const DOUBLINGS: u64 = 6;

/// Index entries as often as by default, or none at all.
const INDEX_INTERVALS: [(u64, u64); 2] = [(4_096, DOUBLINGS), (1 << 30, 0)];

fn check(mode: WriteMode, rounds: u64, work: impl Fn(&Log)) {
    for (interval, allowed) in INDEX_INTERVALS {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let config = LogConfig::default()
            .write_mode(mode)
            .index_interval_bytes(interval);
        let log = Log::open(dir.path(), config).unwrap();
        let repeat = || (0..rounds).for_each(|_| work(&log));
        repeat();
        let counted = allocations(repeat);
        println!("{mode:?}, an index entry every {interval} bytes: {counted} in {rounds} appends");
        assert!(
            counted <= allowed,
            "{mode:?}: {counted} allocations, {allowed} allowed"
        );
    }
}

#[test]
fn an_append_in_steady_state_allocates_nothing() {
    for mode in [WriteMode::Mapped, WriteMode::Pwrite] {
        let headers = [Header::new("carrier", "UA")];
        let record = Record::keyed("N14228", &VALUE).with_headers(&headers);
        check(mode, ROUNDS, |log| {
            log.append(record).unwrap();
        });
    }
}

#[test]
fn a_batch_in_steady_state_allocates_nothing() {
    for mode in [WriteMode::Mapped, WriteMode::Pwrite] {
        let record = Record::new(&VALUE).with_timestamp(Timestamp::from_millis(1));
        check(mode, ROUNDS / 100, |log| {
            log.append_batch([record; 100]).unwrap();
        });
    }
}

#[test]
fn a_record_read_by_batch_allocates_nothing() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let log = Log::open(dir.path(), LogConfig::default()).unwrap();
    for _ in 0..ROUNDS / 100 {
        log.append_batch([Record::keyed("N14228", &VALUE); 100])
            .unwrap();
    }
    let mut reader = log.reader(0).unwrap();
    let mut records = 0_u64;
    let mut batches = 0_u64;
    let mut in_batches = 0_u64;
    let all = allocations(|| {
        while let Some(batch) = reader.next_batch().unwrap() {
            batches += 1;
            in_batches += allocations(|| {
                for record in batch.records() {
                    assert_eq!(record.value(), Some(&VALUE[..]));
                    records += 1;
                }
            });
        }
    });
    println!("{all} allocations for {batches} batches, {in_batches} for {records} records");
    assert_eq!(records, ROUNDS);
    assert_eq!(in_batches, 0);
    // A batch is a slice of its chunk: what is allocated is chunks, not batches.
    assert!(all <= batches, "{all} allocations for {batches} batches");
}
