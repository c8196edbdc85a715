//! Bytes that lie: lengths, counts, bombs. Each is refused by its name, and with little memory.

#[cfg(any(feature = "snappy", feature = "zstd"))]
use super::super::super::unhex;
use super::super::super::{Corruption, DecodeError, EncodeError};
use super::super::*;
#[cfg(any(
    feature = "gzip",
    feature = "snappy",
    feature = "lz4",
    feature = "zstd"
))]
use super::BUDGET;
use super::{at, read, reseal};
use crate::types::{Compression, Header, Record};

fn plain() -> Vec<u8> {
    let mut out = Vec::new();
    let mut batch = BatchBuilder::new(&mut out, BatchOptions::default());
    for value in ["a", "b", "c"] {
        batch.push(&Record::keyed("k", value)).unwrap();
    }
    batch.finish().unwrap();
    out
}

/// The three records with some bytes put over them and a good CRC.
fn changed(place: usize, bytes: &[u8]) -> Vec<u8> {
    let mut batch = plain();
    batch[place..place + bytes.len()].copy_from_slice(bytes);
    reseal(&mut batch);
    batch
}

fn refused(bytes: &[u8]) -> Corruption {
    match read(bytes) {
        Err(DecodeError::Corrupt(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_field_of_the_header_that_cannot_be_is_refused() {
    assert_eq!(refused(&[0; 60]), Corruption::truncated(HEADER_LEN, 60));
    assert_eq!(refused(&[0; 61]), Corruption::BatchLength { found: 0 });
    assert_eq!(
        refused(&changed(8, &[0, 0, 0, 48])),
        Corruption::BatchLength { found: 48 }
    );
    assert_eq!(
        refused(&changed(8, &[0xff, 0xff, 0xff, 0xff])),
        Corruption::BatchLength { found: -1 }
    );
    assert!(matches!(
        refused(&changed(8, &[0x7f, 0xff, 0xff, 0xff])),
        Corruption::Truncated {
            needed: 2_147_483_659,
            ..
        }
    ));
    for magic in [0, 1, 3, -1_i8] {
        assert_eq!(
            refused(&changed(16, &magic.to_be_bytes())),
            Corruption::Magic { found: magic }
        );
    }
    for codec in 5..8 {
        assert_eq!(
            refused(&changed(22, &[codec])),
            Corruption::Codec { found: codec }
        );
    }
    assert!(matches!(
        refused(&changed(0, &[0x80])),
        Corruption::Malformed { .. }
    ));
    assert!(matches!(
        refused(&changed(23, &[0x80])),
        Corruption::Malformed { .. }
    ));
    // The last offset would fit, the one after it would not.
    let last = i64::MAX - 2;
    assert!(matches!(
        refused(&changed(0, &last.to_be_bytes())),
        Corruption::Malformed { .. }
    ));
    assert!(read(&changed(0, &(last - 1).to_be_bytes())).is_ok());
    for count in [-1, 4, i32::MAX] {
        let expected = Corruption::RecordCount {
            found: count,
            offsets: 3,
        };
        assert_eq!(refused(&changed(57, &count.to_be_bytes())), expected);
    }
}

#[test]
fn unused_attribute_bits_an_unknown_epoch_and_gaps_are_taken() {
    assert_eq!(read(&changed(21, &[0xff, 0x80])).unwrap().len(), 3);
    assert_eq!(read(&changed(12, &[0xff; 4])).unwrap().len(), 3);
    let batch = read(&changed(23, &[0, 0, 0, 9])).unwrap();
    assert_eq!((batch.len(), batch.next_offset()), (3, 10));
}

#[test]
fn a_count_below_or_above_what_is_there_is_refused() {
    assert!(matches!(
        refused(&changed(57, &[0, 0, 0, 2])),
        Corruption::Malformed { .. }
    ));
    let mut batch = changed(23, &[0x7f, 0xff, 0xff, 0xf0]);
    batch[57..61].copy_from_slice(&[0x7f, 0xff, 0xff, 0xf0]);
    reseal(&mut batch);
    assert!(matches!(
        refused(&batch),
        Corruption::Record { index: 3, .. }
    ));
}

#[test]
fn every_field_of_a_record_that_cannot_be_is_refused() {
    // Length, attributes, timestamp delta, offset delta, key length, key, value length, value,
    // header count.
    let first = HEADER_LEN;
    for (place, bytes) in [
        (first, &[0x01][..]),
        (first, &[0x00]),
        (first, &[0x7e]),
        (first, &[0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
        (first + 3, &[0x01]),
        (first + 3, &[0x06]),
        (first + 3, &[0x02]),
        (first + 4, &[0x7e]),
        (first + 6, &[0x7e]),
        (first + 8, &[0x01]),
        (first + 8, &[0x02]),
        (first + 6, &[0x00]),
    ] {
        let found = refused(&changed(place, bytes));
        assert!(
            matches!(found, Corruption::Record { .. }),
            "{place} {bytes:?} {found:?}"
        );
    }
}

#[test]
fn any_negative_length_of_a_key_is_null() {
    // The key's one byte is then read as the value's length, -54; what follows is in the way.
    let mut out = Vec::new();
    encode_one(
        &mut out,
        &Record::from_parts(None, None),
        &BatchOptions::default(),
    )
    .unwrap();
    assert_eq!(out[HEADER_LEN..], [12, 0, 0, 0, 1, 1, 0]);
    out[HEADER_LEN + 4] = 0x7f;
    reseal(&mut out);
    let batch = read(&out).unwrap();
    assert_eq!(batch.records().next().unwrap().key(), None);
}

#[test]
fn a_header_name_may_be_any_bytes_or_null() {
    let headers = [Header::new("ab", "x")];
    let mut out = Vec::new();
    let record = Record::from_parts(None, None).with_headers(&headers);
    encode_one(&mut out, &record, &BatchOptions::default()).unwrap();
    // Count, name length, name, value length, value.
    let at = HEADER_LEN + 6;
    let read_with = |header: [u8; 5]| {
        let mut bytes = out.clone();
        bytes[at + 1..].copy_from_slice(&header);
        reseal(&mut bytes);
        read(&bytes).unwrap()
    };
    let named = |batch: &RecordBatch| {
        let record = batch.records().next().unwrap();
        let header = record.headers().next().unwrap();
        (header.name.to_vec(), header.value.map(<[u8]>::to_vec))
    };
    for name in [*b"\xe9\xff", *b"\0\0", *b"\xc3\xa9"] {
        let header = [4, name[0], name[1], 2, b'x'];
        let expected = (name.to_vec(), Some(b"x".to_vec()));
        assert_eq!(named(&read_with(header)), expected);
    }
    // Null, and a value of three bytes.
    let null = (Vec::new(), Some(b"xyz".to_vec()));
    assert_eq!(named(&read_with([1, 6, b'x', b'y', b'z'])), null);
}

#[test]
fn headers_that_lie_are_refused() {
    let headers = [Header::new("ab", "x")];
    let mut out = Vec::new();
    let record = Record::from_parts(None, None).with_headers(&headers);
    encode_one(&mut out, &record, &BatchOptions::default()).unwrap();
    // Count, key length, key, value length, value.
    let at = HEADER_LEN + 6;
    assert_eq!(out[at..], [2, 4, b'a', b'b', 2, b'x']);
    for (place, byte) in [
        (0, 1),
        (0, 0),
        (0, 4),
        (0, 0x7e),
        (1, 1),
        (1, 0x7e),
        (4, 4),
        (4, 0),
    ] {
        let mut bytes = out.clone();
        bytes[at + place] = byte;
        reseal(&mut bytes);
        let found = refused(&bytes);
        assert!(
            matches!(found, Corruption::Record { index: 0, .. }),
            "{place} {byte} {found:?}"
        );
    }
}

#[test]
fn a_record_that_cannot_be_written_leaves_the_batch_as_it_was() {
    let mut out = vec![7];
    let mut batch = BatchBuilder::new(&mut out, BatchOptions::default());
    batch.push(&Record::new("a")).unwrap();
    let size = batch.size();
    let bad = Record::new("b").with_timestamp(at(-2));
    assert!(matches!(batch.push(&bad), Err(EncodeError::Invalid(_))));
    assert_eq!((batch.count(), batch.size()), (1, size));
    batch.push(&Record::new("c")).unwrap();
    assert_eq!(batch.finish().unwrap().count, 2);
    assert_eq!(read(&out[1..]).unwrap().len(), 2);

    let mut out = vec![7];
    assert!(encode_one(&mut out, &bad, &BatchOptions::default()).is_err());
    drop(BatchBuilder::new(&mut out, BatchOptions::default()));
    let empty = BatchBuilder::new(&mut out, BatchOptions::default());
    assert!(matches!(empty.finish(), Err(EncodeError::Invalid(_))));
    assert_eq!(out, [7]);
}

/// A batch that says it holds `count` records, packed as given.
fn packed(codec: u8, payload: &[u8]) -> Vec<u8> {
    let mut batch = changed(22, &[codec])[..HEADER_LEN].to_vec();
    batch.extend_from_slice(payload);
    let length = u32::try_from(batch.len() - 12).unwrap();
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    reseal(&mut batch);
    batch
}

#[cfg(any(
    feature = "gzip",
    feature = "snappy",
    feature = "lz4",
    feature = "zstd"
))]
const BOMB: Corruption = Corruption::TooLarge { limit: 1 << 20 };

#[test]
fn garbage_instead_of_packed_records_is_refused() {
    for (codec, compression, is_in) in [
        (1, Compression::Gzip, cfg!(feature = "gzip")),
        (2, Compression::Snappy, cfg!(feature = "snappy")),
        (3, Compression::Lz4, cfg!(feature = "lz4")),
        (4, Compression::Zstd, cfg!(feature = "zstd")),
    ] {
        let found = read(&packed(codec, &[0xee; 50]));
        if is_in {
            let expected = Corruption::Decompression { codec: compression };
            assert_eq!(found.unwrap_err(), DecodeError::Corrupt(expected));
        } else {
            assert!(matches!(found, Err(DecodeError::Unsupported(_))));
            let options = BatchOptions {
                compression,
                ..BatchOptions::default()
            };
            let mut out = Vec::new();
            let refused = encode_one(&mut out, &Record::new("a"), &options);
            assert!(matches!(refused, Err(EncodeError::Unsupported(_))));
            assert!(out.is_empty());
        }
    }
}

#[cfg(feature = "gzip")]
#[test]
fn a_gzip_bomb_is_refused_and_a_cut_member_too() {
    use std::io::Write;

    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&vec![0; 16 * BUDGET]).unwrap();
    let bomb = encoder.finish().unwrap();
    assert_eq!(refused(&packed(1, &bomb)), BOMB);
    let cut = &bomb[..bomb.len() / 2];
    assert!(matches!(
        read(&packed(1, cut)),
        Err(DecodeError::Corrupt(_))
    ));
}

#[cfg(feature = "snappy")]
mod snappy {
    use super::*;

    const XERIAL: &str = "82534e41505059000000000100000001";

    fn block(plain: &[u8]) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(plain).unwrap()
    }

    fn framed(blocks: &[Vec<u8>]) -> Vec<u8> {
        let mut stream = unhex(XERIAL);
        for block in blocks {
            stream.extend_from_slice(&u32::try_from(block.len()).unwrap().to_be_bytes());
            stream.extend_from_slice(block);
        }
        stream
    }

    #[test]
    fn bombs_are_refused_bare_and_framed() {
        let bomb = block(&vec![0; 2 * BUDGET]);
        assert_eq!(refused(&packed(2, &bomb)), BOMB);
        let small = block(&vec![0; BUDGET / 2]);
        let framed = framed(&[small.clone(), small.clone(), small]);
        assert_eq!(refused(&packed(2, &framed)), BOMB);
    }

    #[test]
    fn a_block_that_claims_what_it_cannot_hold_is_refused() {
        let malformed = Corruption::Decompression {
            codec: Compression::Snappy,
        };
        // A claim of 512 KiB, within the budget, and then nothing.
        assert_eq!(refused(&packed(2, &unhex("808020 00"))), malformed);
        for stream in [
            format!("{XERIAL} 7fffffff 00"),
            format!("{XERIAL} ffffffff"),
            format!("{XERIAL} 0000"),
            "82534e4150505900 0000".to_owned(),
        ] {
            assert_eq!(refused(&packed(2, &unhex(&stream))), malformed, "{stream}");
        }
    }

    #[test]
    fn a_bare_block_and_a_repeated_header_are_read() {
        let payload = plain()[HEADER_LEN..].to_vec();
        assert_eq!(read(&packed(2, &block(&payload))).unwrap().len(), 3);
        let (head, tail) = payload.split_at(5);
        let mut stream = framed(&[block(head)]);
        stream.extend_from_slice(&framed(&[block(tail)]));
        assert_eq!(read(&packed(2, &stream)).unwrap().len(), 3);
    }
}

#[cfg(feature = "lz4")]
mod lz4 {
    use std::io::Write;

    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

    use super::*;

    fn frame(info: FrameInfo, plain: &[u8]) -> Vec<u8> {
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn frames_of_every_kind_that_kafka_reads_are_read() {
        let payload = plain()[HEADER_LEN..].to_vec();
        for size in [
            BlockSize::Max64KB,
            BlockSize::Max256KB,
            BlockSize::Max1MB,
            BlockSize::Max4MB,
        ] {
            let info = FrameInfo::new()
                .block_size(size)
                .block_checksums(true)
                .content_checksum(true)
                .content_size(Some(payload.len().try_into().unwrap()));
            assert_eq!(read(&packed(3, &frame(info, &payload))).unwrap().len(), 3);
        }
    }

    #[test]
    fn a_bomb_linked_blocks_and_every_cut_are_refused() {
        let bomb = frame(FrameInfo::new(), &vec![0; 16 * BUDGET]);
        assert_eq!(refused(&packed(3, &bomb)), BOMB);
        let malformed = Corruption::Decompression {
            codec: Compression::Lz4,
        };
        let payload = plain()[HEADER_LEN..].to_vec();
        let linked = FrameInfo::new().block_mode(BlockMode::Linked);
        let linked = frame(linked, &payload);
        assert_eq!(refused(&packed(3, &linked)), malformed);
        let whole = frame(FrameInfo::new(), &payload);
        for end in 1..whole.len() {
            assert_eq!(refused(&packed(3, &whole[..end])), malformed);
        }
    }

    #[test]
    fn bytes_that_do_not_shrink_are_stored() {
        let mut state = 0x9e37_79b9_u32;
        let mut noise = vec![0; 200_000];
        for byte in &mut noise {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            *byte = state.to_be_bytes()[0];
        }
        let options = BatchOptions {
            compression: Compression::Lz4,
            ..BatchOptions::default()
        };
        let mut out = Vec::new();
        let summary = encode_one(&mut out, &Record::new(&noise), &options).unwrap();
        assert_eq!(summary.size, out.len());
        // The first block, of 64 KiB: little-endian, the top bit set.
        assert_eq!(out[HEADER_LEN + 7..][..4], [0, 0, 1, 0x80]);
        let batch = read(&out).unwrap();
        assert_eq!(batch.records().next().unwrap().value(), Some(&noise[..]));
    }
}

#[cfg(feature = "zstd")]
#[test]
fn a_zstd_bomb_a_huge_window_and_a_cut_frame_are_refused() {
    let malformed = Corruption::Decompression {
        codec: Compression::Zstd,
    };
    let bomb = zstd::bulk::compress(&vec![0; 64 * BUDGET], 3).unwrap();
    assert_eq!(refused(&packed(4, &bomb)), BOMB);
    // A window of 2 GiB, then one raw block of a byte.
    let huge = unhex("28b52ffd 00 a8 090000 00");
    assert_eq!(refused(&packed(4, &huge)), malformed);
    let payload = plain()[HEADER_LEN..].to_vec();
    let frame = zstd::bulk::compress(&payload, 3).unwrap();
    assert_eq!(read(&packed(4, &frame)).unwrap().len(), 3);
    for end in 1..frame.len() {
        assert_eq!(refused(&packed(4, &frame[..end])), malformed);
    }
    // A content size of 2^60 that the frame does not have.
    let lying = unhex("28b52ffd e0 0000000000000010 010000");
    assert!(matches!(
        read(&packed(4, &lying)),
        Err(DecodeError::Corrupt(_))
    ));
}
