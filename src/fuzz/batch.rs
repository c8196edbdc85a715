//! Any bytes as a record batch.
//!
//! Knows nothing about files. A right checksum says nothing about the content, so the content is
//! decoded whatever the checksum says.

use bytes::Bytes;

use crate::format::{
    BatchBuilder, BatchHeader, BatchOptions, HEADER_LEN, OwnedRecords, RecordBatch, check_crc,
};
use crate::types::Record;

/// Bytes that a packed batch may unpack to here.
const BUDGET_BYTES: usize = 1 << 20;

/// Decodes the bytes as a batch; a batch that decodes must hold together, and its records must
/// come back the same when they are encoded again.
pub fn decode_batch(data: &[u8]) {
    let Ok(header) = BatchHeader::parse(data) else {
        return;
    };
    let mut written = [0; HEADER_LEN];
    header.write(&mut written);
    assert_eq!(BatchHeader::parse(&written), Ok(header));
    // Whatever it says, it must say it without a panic.
    drop(check_crc(data, &header));
    let Ok(batch) = RecordBatch::decode(Bytes::copy_from_slice(data), header, BUDGET_BYTES) else {
        return;
    };
    check_views(&batch);
    check_owned(&batch);
    check_round_trip(&batch);
}

fn check_views(batch: &RecordBatch) {
    let mut next = batch.base_offset();
    let mut count = 0;
    for record in batch.records() {
        assert!(record.offset >= next, "offsets rise");
        assert_eq!(record.headers().count(), record.headers().len());
        next = record.offset.saturating_add(1);
        count += 1;
    }
    assert!(next <= batch.next_offset(), "offsets stay in the batch");
    assert_eq!(count, batch.len());
}

fn check_owned(batch: &RecordBatch) {
    let owned: Vec<_> = OwnedRecords::new(batch.clone()).collect();
    assert_eq!(owned.len(), batch.len());
    for (owned, view) in owned.iter().zip(batch.records()) {
        assert_eq!(owned.offset, view.offset);
        assert_eq!(owned.timestamp, view.timestamp);
        assert_same(&Record::from(owned), &Record::from(view));
        assert_eq!(*owned, owned.clone().detach());
    }
    let mut skipping = OwnedRecords::new(batch.clone());
    let middle = owned.get(owned.len() / 2).map(|record| record.offset);
    skipping.skip_to(middle.unwrap_or_default());
    assert_eq!(skipping.next().map(|record| record.offset), middle);
}

fn check_round_trip(batch: &RecordBatch) {
    let mut encoded = Vec::new();
    let mut builder = BatchBuilder::new(&mut encoded, BatchOptions::default());
    // What was read is taken, whatever its content is.
    for record in batch.records() {
        assert_eq!(builder.push(&Record::from(record)), Ok(()));
    }
    // A batch that compaction emptied has nothing to encode.
    if builder.finish().is_err() {
        assert_eq!(batch.len(), 0);
        return;
    }
    let header = BatchHeader::parse(&encoded);
    let Ok(header) = header else {
        panic!("what was encoded has no header: {header:?}");
    };
    assert_eq!(check_crc(&encoded, &header), Ok(()));
    let again = RecordBatch::decode(Bytes::from(encoded), header, BUDGET_BYTES);
    let Ok(again) = again else {
        panic!("what was encoded does not decode: {again:?}");
    };
    assert_eq!(again.len(), batch.len());
    for (again, record) in again.records().zip(batch.records()) {
        assert_eq!(again.timestamp, record.timestamp);
        assert_same(&Record::from(again), &Record::from(record));
    }
}

fn assert_same(left: &Record<'_>, right: &Record<'_>) {
    assert_eq!(left.key(), right.key());
    assert_eq!(left.value(), right.value());
    assert!(left.headers().eq(right.headers()));
}
