//! Tests of `rewrite.rs`.

use bytes::Bytes;

use super::super::{BatchBuilder, BatchOptions, stamp};
use super::*;
use crate::format::check_crc;
use crate::types::Compression;

fn batch(compression: Compression) -> RecordBatch {
    let mut out = Vec::new();
    let options = BatchOptions {
        compression,
        ..BatchOptions::default()
    };
    let mut builder = BatchBuilder::new(&mut out, options);
    for (at, key) in ["a", "b", "c", "d"].into_iter().enumerate() {
        let time = Timestamp::from_millis(1000 + i64::try_from(at).unwrap());
        builder
            .push(&Record::keyed(key, "value").with_timestamp(time))
            .unwrap();
    }
    builder.finish().unwrap();
    stamp(&mut out, 50, 3);
    decode(&out)
}

fn decode(bytes: &[u8]) -> RecordBatch {
    let header = BatchHeader::parse(bytes).unwrap();
    assert_eq!(header.size, bytes.len());
    check_crc(bytes, &header).unwrap();
    RecordBatch::decode(Bytes::copy_from_slice(bytes), header, 1 << 20).unwrap()
}

fn rewritten(
    batch: &RecordBatch,
    change: Rewrite,
    keep: impl FnMut(&RecordView<'_>) -> bool,
) -> RecordBatch {
    let mut out = Vec::new();
    batch.rewrite(&mut out, change, keep).unwrap();
    decode(&out)
}

fn content(batch: &RecordBatch) -> Vec<(Offset, i64, Vec<u8>)> {
    let of = |record: RecordView<'_>| {
        (
            record.offset,
            record.timestamp.as_millis(),
            record.key().unwrap().to_vec(),
        )
    };
    batch.records().map(of).collect()
}

#[test]
fn what_stays_keeps_its_offset_and_time_in_every_codec() {
    for codec in [Compression::None, Compression::Lz4] {
        if codec == Compression::Lz4 && !cfg!(feature = "lz4") {
            continue;
        }
        let kept = rewritten(&batch(codec), Rewrite::default(), |r| r.offset % 2 == 1);
        let expected = [(51, 1001, b"b".to_vec()), (53, 1003, b"d".to_vec())];
        assert_eq!(content(&kept), expected);
        assert_eq!((kept.base_offset(), kept.next_offset()), (50, 54));
        assert_eq!(kept.header().leader_epoch, 3);
        assert_eq!(kept.compression(), codec);
    }
}

#[test]
fn a_horizon_takes_the_place_of_the_base_timestamp() {
    let horizon = Timestamp::from_millis(90_000);
    let change = Rewrite {
        delete_horizon: Some(horizon),
        ..Rewrite::default()
    };
    let kept = rewritten(&batch(Compression::None), change, |r| r.offset < 52);
    assert_eq!(kept.header().delete_horizon(), Some(horizon));
    assert_eq!(content(&kept)[1], (51, 1001, b"b".to_vec()));
    let again = rewritten(&kept, Rewrite::default(), |r| r.offset == 50);
    assert_eq!(again.header().delete_horizon(), Some(horizon));
}

#[test]
fn an_emptied_batch_is_its_header() {
    let kept = rewritten(&batch(Compression::None), Rewrite::default(), |_| false);
    assert_eq!(kept.header().size, HEADER_LEN);
    assert_eq!((kept.len(), kept.next_offset()), (0, 54));
    assert_eq!(kept.header().base_timestamp, Timestamp::NONE);
    assert_eq!(kept.max_timestamp(), Timestamp::from_millis(1003));
}

#[test]
fn a_batch_is_cut_in_two() {
    let change = Rewrite {
        next_offset: Some(52),
        ..Rewrite::default()
    };
    let kept = rewritten(&batch(Compression::None), change, |r| r.offset < 52);
    assert_eq!((kept.len(), kept.next_offset()), (2, 52));
}
