//! Tests of `batch_cursor.rs`.

use std::cell::Cell;

use super::*;
use crate::format::{BatchBuilder, BatchOptions, stamp};
use crate::types::{Record, to_u64};

/// Bytes that count how many of them were read.
struct Counted {
    bytes: Vec<u8>,
    read: Cell<usize>,
}

impl ReadAt for Counted {
    fn read_at(&self, position: u64, buf: &mut [u8]) -> std::io::Result<usize> {
        let from = self.bytes.get(to_usize(position)..).unwrap_or_default();
        let count = from.len().min(buf.len());
        buf[..count].copy_from_slice(&from[..count]);
        self.read.set(self.read.get() + count);
        Ok(count)
    }
}

/// This many batches of one value of this size.
fn file(count: u64, value_bytes: usize) -> Counted {
    let mut bytes = Vec::new();
    for offset in 0..count {
        let mut batch = Vec::new();
        let mut builder = BatchBuilder::new(&mut batch, BatchOptions::default());
        let byte = u8::try_from(offset % 251).unwrap();
        builder
            .push(&Record::new(&vec![byte; value_bytes]))
            .unwrap();
        builder.finish().unwrap();
        stamp(&mut batch, offset, 0);
        bytes.extend(batch);
    }
    let read = Cell::new(0);
    Counted { bytes, read }
}

#[test]
fn a_walk_reads_no_byte_twice_whether_its_batches_are_held_or_not() {
    for value_bytes in [1, 100, 3_000, 65_600, 300_000] {
        for hold in [false, true] {
            let file = file(40, value_bytes);
            let mut cursor = BatchCursor::new(Position::ZERO, 0);
            let (end, mut held) = (Position(to_u64(file.bytes.len())), Vec::new());
            while let Some(batch) = cursor.next(&file, end).unwrap() {
                let at = to_usize(batch.position.0);
                assert!(file.bytes[at..].starts_with(&batch.bytes));
                held.extend(hold.then_some(batch));
            }
            assert_eq!(file.read.get(), file.bytes.len(), "{value_bytes} {hold}");
            // What was returned before is unchanged.
            for batch in held {
                let at = to_usize(batch.position.0);
                assert!(file.bytes[at..].starts_with(&batch.bytes));
            }
        }
    }
}
