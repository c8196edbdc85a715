//! Digests of segments with and without gaps, and of bytes that are not one.

use super::*;
use crate::format::{BatchOptions, encode_one, stamp};
use crate::types::Record;

/// A segment of batches of one record, a gap before every `gap_every`th.
fn segment(count: u64, gap_every: u64, size: usize) -> Vec<Vec<u8>> {
    let mut next = 100;
    let value = vec![7; size];
    (0..count)
        .map(|index| {
            let mut batch = Vec::new();
            let options = BatchOptions {
                now: Timestamp::from_millis(1000 + i64::try_from(index).unwrap()),
                ..BatchOptions::default()
            };
            encode_one(&mut batch, &Record::new(&value), &options).unwrap();
            next += u64::from(index > 0 && index % gap_every == 0);
            stamp(&mut batch, next, 3);
            next += 1;
            batch
        })
        .collect()
}

fn push(builder: &mut DigestBuilder, batches: &[Vec<u8>]) {
    let from = builder.position();
    let mut at = Position::ZERO;
    for batch in batches {
        if at >= from {
            builder.push(&BatchHeader::parse(batch).unwrap(), batch);
        }
        at = at.plus(batch.len());
    }
}

fn digest(batches: &[Vec<u8>]) -> Digest {
    let mut builder = DigestBuilder::new(100);
    push(&mut builder, batches);
    builder.finish(0, (1, 2))
}

#[cfg(feature = "gzip")]
#[test]
fn a_digest_says_whether_records_have_keys_and_an_older_one_does_not() {
    let batch = |records: &[Record<'_>], compression| {
        let mut bytes = Vec::new();
        let options = BatchOptions {
            compression,
            ..BatchOptions::default()
        };
        let mut builder = crate::format::BatchBuilder::new(&mut bytes, options);
        for record in records {
            builder.push(record).unwrap();
        }
        builder.finish().unwrap();
        bytes
    };
    let keyed = [Record::keyed("k", "v"), Record::keyed("", "w")];
    let one_without = [Record::keyed("k", "v"), Record::new("w")];
    let plain = |records: &[Record<'_>]| batch(records, Compression::None);
    let packed = batch(&keyed, Compression::Gzip);
    let cases = [
        (vec![], Keys::Everywhere),
        (vec![plain(&keyed), plain(&keyed)], Keys::Everywhere),
        (vec![plain(&keyed), plain(&one_without)], Keys::Missing),
        (vec![plain(&keyed), packed.clone()], Keys::Unknown),
        (vec![packed.clone(), plain(&keyed)], Keys::Unknown),
        (
            vec![packed, plain(&one_without), plain(&keyed)],
            Keys::Missing,
        ),
    ];
    for (batches, keys) in cases {
        let bytes = digest(&batches).encode();
        let summary = DigestSummary::decode(&bytes).unwrap();
        assert_eq!((summary.keys, summary.dense), (keys, true));
    }
    // What earlier versions wrote in place of the bits.
    for (number, dense) in [(0, false), (1, true)] {
        let mut bytes = digest(&[]).encode();
        bytes[51] = number;
        let crc = crc32fast::hash(&bytes[CRC_LEN..SUMMARY_LEN]);
        bytes[..CRC_LEN].copy_from_slice(&crc.to_be_bytes());
        let old = DigestSummary::decode(&bytes).unwrap();
        assert_eq!((old.dense, old.keys), (dense, Keys::Unknown));
    }
}

#[test]
fn a_digest_says_what_the_segment_is_and_comes_back() {
    let batches = segment(1500, 1000, 100);
    let whole: Vec<u8> = batches.concat();
    let digest = digest(&batches);
    let summary = digest.summary;
    assert_eq!((summary.base_offset, summary.next_offset), (100, 1601));
    assert_eq!(summary.length, Position::ZERO.plus(whole.len()));
    assert_eq!(summary.newest, Timestamp::from_millis(2499));
    assert_eq!((summary.epochs, summary.dense), ((3, 3), false));
    let blocks: Vec<u32> = whole.chunks(65_536).map(crc32fast::hash).collect();
    assert_eq!(digest.blocks(), blocks);
    for interval in digest.intervals() {
        let bytes = &whole[to_usize(interval.start.0)..to_usize(interval.end.0)];
        let prefixes = bytes.chunks(batches[0].len()).map(|batch| &batch[..17]);
        assert_eq!(
            interval.crc,
            crc32fast::hash(&prefixes.collect::<Vec<_>>().concat())
        );
        for at in [interval.start.0, interval.end.0 - 1] {
            assert_eq!(digest.interval_at(Position(at)), Some(interval));
        }
    }
    assert_eq!(digest.interval_at(summary.length), None);
    let file = digest.encode();
    assert_eq!(file.len(), digest.summary.file_len());
    let again = Digest::decode(&file).unwrap();
    assert_eq!(again.encode(), file);
    assert_eq!(again.intervals, digest.intervals);
    assert_eq!(DigestSummary::decode(&file[..72]), Some(again.summary));
}

#[test]
fn going_on_after_any_front_is_the_same_as_beginning_again() {
    for (count, size) in [(40, 100), (300, 900), (20, 20_000)] {
        let batches = segment(count, 7, size);
        let whole = digest(&batches).encode();
        for front in [0, 1, 2, batches.len() / 2, batches.len() - 1, batches.len()] {
            let known = digest(&batches[..front]);
            let mut builder = DigestBuilder::after(&known);
            assert!(builder.position() <= known.summary.length);
            push(&mut builder, &batches);
            assert_eq!(builder.finish(0, (1, 2)).encode(), whole, "{count} {front}");
        }
    }
}

#[test]
fn every_flipped_bit_and_every_cut_is_seen() {
    let file = digest(&segment(120, 50, 60)).encode();
    for bit in 0..file.len() * 8 {
        let mut file = file.clone();
        file[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(Digest::decode(&file), None, "bit {bit}");
    }
    for cut in 0..file.len() {
        assert_eq!(Digest::decode(&file[..cut]), None);
    }
    let mut longer = file;
    longer.push(0);
    assert_eq!(Digest::decode(&longer), None);
}

#[test]
fn an_empty_segment_has_a_digest_too() {
    let digest = DigestBuilder::new(9).finish(12, (0, 0));
    assert_eq!(digest.summary.next_offset, 12);
    let again = Digest::decode(&digest.encode()).unwrap();
    assert_eq!(again.intervals().count(), 0);
    assert_eq!(DigestBuilder::after(&again).position(), Position::ZERO);
}
