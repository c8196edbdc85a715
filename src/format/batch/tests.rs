//! Golden bytes of Kafka's own classes, in both directions where we write such bytes.

use super::*;
use crate::types::{Compression, Header, Record, Timestamp, TimestampType};
use bytes::Bytes;

const BUDGET: usize = 1 << 20;

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

const PLAIN: &str = "00000000000000640000005700000007029b1fbcb800000000000200000000000003e800000000000003edffffffffffffffffffffffffffff0000000326000000046b310476310404683102780468320110000a02010476320010001304046b330100";
const EMPTY: &str = "0000000000000064000000310000000702fe9693c5000000000002ffffffffffffffff00000000000003ed000000000000109200030000000a00000000";

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn decode(bytes: &[u8]) -> RecordBatch {
    let header = BatchHeader::parse(bytes).unwrap();
    assert_eq!(header.size, bytes.len());
    check_crc(bytes, &header).unwrap();
    RecordBatch::decode(Bytes::copy_from_slice(bytes), header, BUDGET).unwrap()
}

#[test]
fn three_records_of_kafka_in_both_directions() {
    let golden = unhex(PLAIN);
    let batch = decode(&golden);
    assert_eq!(batch.base_offset(), 100);
    assert_eq!(batch.next_offset(), 103);
    let records: Vec<_> = batch.records().collect();
    assert_eq!(records.len(), 3);
    assert_eq!(records[0].key(), Some(&b"k1"[..]));
    assert_eq!(
        records[0].headers().collect::<Vec<_>>(),
        [Header::new("h1", "x"), Header::null("h2")]
    );
    assert_eq!((records[1].offset, records[1].timestamp), (101, at(1005)));
    assert_eq!(
        (records[1].key(), records[1].value()),
        (None, Some(&b"v2"[..]))
    );
    assert_eq!((records[2].timestamp, records[2].value()), (at(990), None));

    let mut out = vec![1, 2, 3];
    let mut builder = BatchBuilder::new(&mut out, BatchOptions::default());
    let headers = [Header::new("h1", "x"), Header::null("h2")];
    builder
        .push(
            &Record::keyed("k1", "v1")
                .with_timestamp(at(1000))
                .with_headers(&headers),
        )
        .unwrap();
    builder
        .push(&Record::new("v2").with_timestamp(at(1005)))
        .unwrap();
    builder
        .push(&Record::tombstone("k3").with_timestamp(at(990)))
        .unwrap();
    let summary = builder.finish().unwrap();
    assert_eq!(
        summary,
        BatchSummary {
            size: 99,
            count: 3,
            max_timestamp: at(1005)
        }
    );
    stamp(&mut out[3..], 100, 7);
    assert_eq!(out[3..], golden);
    let owned: Vec<_> = OwnedRecords::new(batch).collect();
    assert_eq!(owned.len(), 3);
    assert_eq!(owned[0].key(), Some(&b"k1"[..]));
    assert_eq!(owned[0].headers().len(), 2);
    assert_eq!(
        TimestampType::CreateTime,
        BatchHeader::parse(&golden).unwrap().timestamp_type()
    );
    assert_eq!(
        Compression::None,
        BatchHeader::parse(&golden).unwrap().compression()
    );
    assert!(decode(&unhex(EMPTY)).is_empty());
}

#[test]
fn one_record_alone_is_what_the_builder_makes_of_it() {
    let headers = [Header::new("trace", "7f")];
    let record = Record::keyed("k", &[7_u8; 300]).with_headers(&headers);
    let options = BatchOptions {
        now: at(5),
        ..BatchOptions::default()
    };
    let (mut one, mut built) = (Vec::new(), Vec::new());
    let summary = encode_one(&mut one, &record, &options).unwrap();
    let mut builder = BatchBuilder::new(&mut built, options);
    builder.push(&record).unwrap();
    assert_eq!(builder.finish().unwrap(), summary);
    assert_eq!(one, built);
    assert_eq!(summary.size, one.len());
    assert_eq!(decode(&one).records().next().unwrap().timestamp, at(5));
}
