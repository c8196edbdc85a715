//! The indexes in memory while another thread changes the segment.

use std::path::Path;
use std::sync::Arc;

use super::{OpenFiles, Segment};
use crate::disk::Disk;
use crate::disk::sim::Sim;
use crate::format::{BatchBuilder, BatchOptions, stamp};
use crate::types::{Offset, Position, Record, Timestamp};

/// A batch of one record of two thousand bytes; its time is its offset.
fn batch(offset: Offset) -> Vec<u8> {
    let mut bytes = Vec::new();
    let now = Timestamp::from_millis(offset.cast_signed());
    let options = BatchOptions {
        now,
        ..BatchOptions::default()
    };
    let mut builder = BatchBuilder::new(&mut bytes, options);
    builder.push(&Record::new(&[7; 2000])).unwrap();
    builder.finish().unwrap();
    stamp(&mut bytes, offset, 0);
    bytes
}

/// A segment of so many batches, which may be published later.
fn segment(count: u64) -> (Disk, Arc<OpenFiles>, Arc<Segment>, Vec<Position>) {
    let disk = Sim::new().disk();
    let segment = Arc::new(Segment::sealed(Path::new("/").into(), 0, Position::ZERO, 0));
    let file = disk.create(&segment.log_path()).unwrap();
    let mut ends = vec![Position::ZERO];
    for offset in 0..count {
        let bytes = batch(offset);
        let at = ends[ends.len() - 1];
        file.write_at(at.0, &bytes).unwrap();
        ends.push(at.plus(bytes.len()));
    }
    let files = OpenFiles::new(&disk, Some(4));
    (disk, files, segment, ends)
}

fn entries(segment: &Segment) -> (usize, usize) {
    segment.index_lens()
}

#[test]
fn an_index_of_older_bytes_does_not_replace_a_newer_one() {
    let (disk, files, segment, ends) = segment(20);
    segment.publish(ends[20], 20);
    let version = segment.index_version();
    let old = segment.scan_whole(&disk, &files).unwrap();
    assert!(old.index.offset_entries().len() > 3);
    // A truncation cuts the segment, and a reader that began before is late.
    segment.publish(ends[3], 3);
    let new = segment.scan_whole(&disk, &files).unwrap();
    segment.set_index(new.index.clone(), new.newest);
    segment.adopt_index(&old, version);
    let (offsets, times) = (
        new.index.offset_entries().len(),
        new.index.time_entries().len(),
    );
    assert_eq!(entries(&segment), (offsets, times));
    assert_eq!(segment.newest_known(), Some(Timestamp::from_millis(2)));
}

#[test]
fn an_index_that_is_rebuilt_beside_appends_keeps_their_entries() {
    let (disk, files, segment, ends) = segment(20);
    segment.set_grows(true);
    segment.publish(ends[20], 20);
    let all = segment.scan_whole(&disk, &files).unwrap();
    segment.publish(ends[8], 8);
    let version = segment.index_version();
    let first = segment.scan_whole(&disk, &files).unwrap();
    // The entries of the batches that follow, as their appends add them.
    segment.publish(ends[20], 20);
    *segment.index.write() = Some(all.index.clone());
    segment.raise_newest(Timestamp::from_millis(19));
    segment.adopt_index(&first, version);
    let index = segment.index.read().clone().unwrap();
    assert_eq!(index.offset_entries(), all.index.offset_entries());
    assert_eq!(index.last_time_entry(), all.index.last_time_entry());
    assert_eq!(segment.newest_known(), Some(Timestamp::from_millis(19)));
}

#[test]
fn the_newest_time_of_a_segment_never_falls_by_what_another_process_saw() {
    let (_, _, segment, _) = segment(0);
    segment.raise_newest(Timestamp::from_millis(5));
    segment.raise_newest(Timestamp::from_millis(3));
    assert_eq!(segment.newest_known(), Some(Timestamp::from_millis(5)));
}
