//! Bytes that Kafka's own classes wrote, read, and written again where we write such bytes.

use super::super::super::control::{ControlKind, EndTransaction};
use super::super::super::unhex;
use super::super::*;
use super::{at, read};
use crate::types::{Compression, Header, Record, TimestampType};

const PLAIN: &str = "00000000000000640000005700000007029b1fbcb800000000000200000000000003e800000\
    000000003edffffffffffffffffffffffffffff0000000326000000046b31047631040468310278046832011000\
    0a02010476320010001304046b330100";
const GZIP: &str = "00000000000000640000006b00000007021e494e4d00010000000200000000000003e8000000\
    00000003edffffffffffffffffffffffffffff000000031f8b08000000000000ff5363606060c9366429336461c\
    93064aa60c930621460e06262642933621060106661c9366664000064e6cfb426000000";
const SNAPPY: &str = "00000000000000640000006d0000000702c9ddd5b000020000000200000000000003e80000\
    0000000003edffffffffffffffffffffffffffff0000000382534e4150505900000000010000000100000028269\
    426000000046b310476310404683102780468320110000a02010476320010001304046b330100";
const LZ4: &str = "0000000000000064000000660000000702854211ca00030000000200000000000003e80000000\
    0000003edffffffffffffffffffffffffffff0000000304224d186040822600008026000000046b310476310404\
    683102780468320110000a02010476320010001304046b33010000000000";
const ZSTD: &str = "0000000000000064000000630000000702a4e0102900040000000200000000000003e8000000\
    00000003edffffffffffffffffffffffffffff0000000328b52ffd005830010026000000046b310476310404683\
    102780468320110000a02010476320010001304046b330100010000";
const TRANSACTIONAL: &str = "0000000000000000000000570000000002a61970a50010000000020000000000000\
    3e800000000000003ed000000000000109200030000000a0000000326000000046b310476310404683102780468\
    320110000a02010476320010001304046b330100";
const COMMIT: &str = "000000000000000300000042000000000233a31dac00300000000000000000000007d00000\
    0000000007d000000000000010920003ffffffff000000012000000008000000010c00000000000500";
const ABORT: &str = "0000000000000003000000420000000002c79dcbe400300000000000000000000007d000000\
    000000007d000000000000010920003ffffffff000000012000000008000000000c00000000000500";
const EMPTY: &str = "0000000000000064000000310000000702fe9693c5000000000002ffffffffffffffff00000\
    000000003ed000000000000109200030000000a00000000";

const PRODUCER: ProducerStamp = ProducerStamp {
    id: 4242,
    epoch: 3,
    base_sequence: 10,
};

/// The three records of every sample.
fn encode(options: BatchOptions) -> (Vec<u8>, BatchSummary) {
    let headers = [Header::new("h1", "x"), Header::null("h2")];
    let mut out = vec![1, 2, 3];
    let mut batch = BatchBuilder::new(&mut out, options);
    for record in [
        Record::keyed("k1", "v1")
            .with_timestamp(at(1000))
            .with_headers(&headers),
        Record::new("v2").with_timestamp(at(1005)),
        Record::tombstone("k3").with_timestamp(at(990)),
    ] {
        batch.push(&record).unwrap();
    }
    assert_eq!(batch.count(), 3);
    assert_eq!(batch.size(), 99);
    let summary = batch.finish().unwrap();
    assert_eq!(out[..3], [1, 2, 3]);
    (out.split_off(3), summary)
}

fn check(bytes: &[u8], base_offset: u64, compression: Compression) {
    let batch = read(bytes).unwrap();
    assert_eq!(batch.base_offset(), base_offset);
    assert_eq!(batch.next_offset(), base_offset + 3);
    assert_eq!(batch.compression(), compression);
    assert_eq!(batch.max_timestamp(), at(1005));
    assert_eq!(batch.header().timestamp_type(), TimestampType::CreateTime);
    let expected = [
        (at(1000), Some("k1"), Some("v1")),
        (at(1005), None, Some("v2")),
        (at(990), Some("k3"), None),
    ];
    assert_eq!(batch.len(), 3);
    let owned: Vec<_> = OwnedRecords::new(batch.clone()).collect();
    assert_eq!(owned.len(), 3);
    for ((offset, (timestamp, key, value)), (view, record)) in (base_offset..)
        .zip(expected)
        .zip(batch.records().zip(&owned))
    {
        assert_eq!(view.offset, offset);
        assert_eq!((view.timestamp, record.timestamp), (timestamp, timestamp));
        assert_eq!(view.key(), key.map(str::as_bytes));
        assert_eq!(view.value(), value.map(str::as_bytes));
        assert_eq!(record.offset, view.offset);
        assert_eq!((record.key(), record.value()), (view.key(), view.value()));
        assert!(record.headers().eq(view.headers()));
    }
    let headers: Vec<_> = owned[0].headers().collect();
    assert_eq!(headers, [Header::new("h1", "x"), Header::null("h2")]);
    assert_eq!(owned[1].headers().len(), 0);
}

#[test]
fn plain_records_in_both_directions() {
    let golden = unhex(PLAIN);
    check(&golden, 100, Compression::None);
    let (mut bytes, summary) = encode(BatchOptions::default());
    let expected = BatchSummary {
        size: 99,
        count: 3,
        max_timestamp: at(1005),
    };
    assert_eq!(summary, expected);
    stamp(&mut bytes, 100, 7);
    assert_eq!(bytes, golden);
}

#[test]
fn transactional_records_in_both_directions() {
    let golden = unhex(TRANSACTIONAL);
    check(&golden, 0, Compression::None);
    let header = BatchHeader::parse(&golden).unwrap();
    assert!(header.is_transactional() && !header.is_control());
    assert_eq!((header.producer_id, header.producer_epoch), (4242, 3));
    assert_eq!(header.last_sequence(), Some(12));
    let (bytes, _) = encode(BatchOptions {
        kind: BatchKind::TransactionalData,
        producer: Some(PRODUCER),
        ..BatchOptions::default()
    });
    assert_eq!(bytes, golden);
}

#[test]
fn packed_records_of_every_codec_are_read() {
    for (compression, hex) in codecs() {
        check(&unhex(hex), 100, compression);
    }
}

#[test]
fn what_we_pack_is_read_by_the_codecs_alone() {
    let plain = unhex(PLAIN)[HEADER_LEN..].to_vec();
    for (compression, _) in codecs() {
        for level in [None, Some(1)] {
            let (mut bytes, summary) = encode(BatchOptions {
                compression,
                compression_level: level,
                ..BatchOptions::default()
            });
            assert_eq!(summary.size, bytes.len());
            assert_eq!(unpack(compression, &bytes[HEADER_LEN..]), plain);
            stamp(&mut bytes, 100, 7);
            check(&bytes, 100, compression);
        }
    }
}

/// The samples of the codecs in this build.
fn codecs() -> Vec<(Compression, &'static str)> {
    let mut codecs = Vec::new();
    if cfg!(feature = "gzip") {
        codecs.push((Compression::Gzip, GZIP));
    }
    if cfg!(feature = "snappy") {
        codecs.push((Compression::Snappy, SNAPPY));
    }
    if cfg!(feature = "lz4") {
        codecs.push((Compression::Lz4, LZ4));
    }
    if cfg!(feature = "zstd") {
        codecs.push((Compression::Zstd, ZSTD));
    }
    codecs
}

/// Unpacks without a line of ours.
fn unpack(compression: Compression, packed: &[u8]) -> Vec<u8> {
    match compression {
        Compression::None => packed.to_vec(),
        #[cfg(feature = "gzip")]
        Compression::Gzip => read_all(flate2::read::GzDecoder::new(packed)),
        #[cfg(feature = "snappy")]
        Compression::Snappy => {
            assert_eq!(packed[..16], unhex("82534e41505059000000000100000001"));
            assert_eq!(
                packed[16..20],
                u32::try_from(packed.len() - 20).unwrap().to_be_bytes()
            );
            snap::raw::Decoder::new()
                .decompress_vec(&packed[20..])
                .unwrap()
        }
        #[cfg(feature = "lz4")]
        Compression::Lz4 => {
            assert_eq!(packed[..7], unhex("04224d18604082"));
            read_all(lz4_flex::frame::FrameDecoder::new(packed))
        }
        #[cfg(feature = "zstd")]
        Compression::Zstd => zstd::stream::decode_all(packed).unwrap(),
        #[cfg(not(all(
            feature = "gzip",
            feature = "snappy",
            feature = "lz4",
            feature = "zstd"
        )))]
        other => panic!("{other:?} is not in this build"),
    }
}

#[cfg(any(feature = "gzip", feature = "lz4"))]
fn read_all(mut source: impl std::io::Read) -> Vec<u8> {
    let mut plain = Vec::new();
    source.read_to_end(&mut plain).unwrap();
    plain
}

fn check_marker(hex: &str, kind: ControlKind) {
    let golden = unhex(hex);
    let batch = read(&golden).unwrap();
    assert!(batch.header().is_control() && batch.header().is_transactional());
    assert_eq!((batch.base_offset(), batch.next_offset()), (3, 4));
    assert_eq!(batch.header().last_sequence(), None);
    let marker = batch.records().next().unwrap();
    assert_eq!(ControlKind::decode(marker.key().unwrap()), Ok(kind));
    let value = EndTransaction::decode(marker.value().unwrap()).unwrap();
    assert_eq!(value.coordinator_epoch, 5);

    let mut out = Vec::new();
    let options = BatchOptions {
        kind: BatchKind::TransactionMarker,
        producer: Some(ProducerStamp {
            base_sequence: -1,
            ..PRODUCER
        }),
        now: at(2000),
        ..BatchOptions::default()
    };
    let (key, value) = (kind.encode(), value.encode());
    encode_one(&mut out, &Record::keyed(&key, &value), &options).unwrap();
    stamp(&mut out, 3, 0);
    assert_eq!(out, golden);
}

#[test]
fn markers_in_both_directions() {
    check_marker(COMMIT, ControlKind::Commit);
    check_marker(ABORT, ControlKind::Abort);
}

#[test]
fn a_batch_that_compaction_emptied_keeps_its_offsets() {
    let batch = read(&unhex(EMPTY)).unwrap();
    assert!(batch.is_empty());
    assert_eq!((batch.base_offset(), batch.next_offset()), (100, 103));
    assert_eq!(batch.max_timestamp(), at(1005));
    assert_eq!(batch.header().last_sequence(), Some(12));
    assert_eq!(batch.records().len(), 0);
    assert_eq!(OwnedRecords::new(batch).next(), None);
}

#[test]
fn log_append_time_is_the_time_of_every_record() {
    let (encoded, summary) = encode(BatchOptions {
        timestamp_type: TimestampType::LogAppendTime,
        now: at(7777),
        ..BatchOptions::default()
    });
    assert_eq!(summary.max_timestamp, at(7777));
    let batch = read(&encoded).unwrap();
    assert_eq!(
        batch.header().timestamp_type(),
        TimestampType::LogAppendTime
    );
    assert!(batch.records().all(|record| record.timestamp == at(7777)));
}

#[test]
fn every_flipped_bit_is_found_but_for_those_of_offset_and_epoch() {
    let golden = unhex(PLAIN);
    let records = |bytes: &[u8]| read(bytes).map(|b| OwnedRecords::new(b).collect::<Vec<_>>());
    let expected = records(&golden).unwrap();
    for bit in 0..golden.len() * 8 {
        let mut bytes = golden.clone();
        bytes[bit / 8] ^= 0x80 >> (bit % 8);
        match (bit / 8, records(&bytes)) {
            // The base offset: other offsets, or negative ones, which are refused.
            (0..8, Ok(found)) => assert_ne!(found[0].offset, 100),
            (0, Err(_)) => assert_eq!(bit, 0),
            (12..16, Ok(found)) => assert_eq!(found, expected),
            (byte, Ok(_)) => panic!("byte {byte} of the batch is not looked at"),
            (byte, Err(_)) => assert!(!(12..16).contains(&byte)),
        }
    }
}
