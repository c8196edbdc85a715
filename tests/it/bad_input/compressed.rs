//! Packed batches that are not what they say, each with a right checksum: only the unpacking can
//! tell.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;
use ottla::{CleanupPolicy, Compression, Corruption, Error, Log, LogConfig, Record};

use crate::codecs::codecs;
use crate::helpers::{files_with, scratch, text};

const HEADER: usize = 61;
const CODECS: [Compression; 4] = [
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

fn config() -> LogConfig {
    LogConfig::default()
        .segment_bytes(1024)
        .cleanup_policy(CleanupPolicy::Compact)
}

/// A closed log whose first segment holds one batch, of the offsets 0 to 2, and whose second one
/// the offsets 3 and 4; gives the path of the first.
fn closed(dir: &Path, codec: Compression) -> PathBuf {
    let log = Log::open(dir, config().compression_type(codec)).unwrap();
    let value = "value ".repeat(20);
    let keys = ["a", "b", "c"];
    log.append_batch(keys.map(|key| Record::keyed(key, &value)))
        .unwrap();
    let filler = noise();
    log.append_batch([Record::keyed("d", "1"), Record::keyed("e", &filler)])
        .unwrap();
    log.append(Record::keyed("f", &filler)).unwrap();
    log.close().unwrap();
    let logs = files_with(dir, ".log");
    assert!(logs.len() >= 2, "{logs:?}");
    logs[0].clone()
}

/// Bytes that no codec makes smaller.
fn noise() -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    (0..900)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state.to_le_bytes()[7]
        })
        .collect()
}

/// Puts a right length and checksum into a batch.
fn seal(batch: &mut [u8]) {
    let length = i32::try_from(batch.len() - 12).unwrap();
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc_fast::crc32_iscsi(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// A batch with other packed bytes and codec bits.
fn repacked(batch: &[u8], codec: u8, payload: &[u8]) -> Vec<u8> {
    let mut changed = [&batch[..HEADER], payload].concat();
    changed[22] = changed[22] & !0b111 | codec;
    seal(&mut changed);
    changed
}

/// What reading the first batch gives, when the file holds this instead; everything after it must
/// be readable, and a compaction must lose nothing.
fn read_first(dir: &Path, path: &Path, batch: &[u8]) -> Result<Vec<String>, Error> {
    fs::write(path, batch).unwrap();
    // What stands beside it is about the batch that was there.
    for kind in ["index", "digest"] {
        for beside in files_with(dir, kind) {
            if beside.file_stem() == path.file_stem() {
                fs::remove_file(beside).unwrap();
            }
        }
    }
    let log = Log::open(dir, config()).unwrap();
    let first: Result<Vec<_>, _> = log
        .reader(0)
        .unwrap()
        .take(3)
        .map(|record| record.map(|record| text(record.key())))
        .collect();
    let after = log.reader(3).unwrap();
    let after: Vec<_> = after.map(|record| text(record.unwrap().key())).collect();
    assert_eq!(after, ["d", "e", "f"]);
    if let Err(error) = &first {
        let compacted = log.compact().unwrap_err();
        assert_eq!(compacted.to_string(), error.to_string());
        assert_eq!(fs::read(path).unwrap(), batch, "a compaction that failed");
        let after = log.reader(3).unwrap();
        assert_eq!(after.count(), 3);
    }
    log.close().unwrap();
    first
}

fn reason(read: Result<Vec<String>, Error>) -> Corruption {
    match read {
        Err(Error::Corrupt { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn unknown_codec_bits_are_named() {
    for bits in [5, 6, 7] {
        let dir = scratch();
        let path = closed(dir.path(), Compression::None);
        let batch = fs::read(&path).unwrap();
        let changed = repacked(&batch, bits, &batch[HEADER..]);
        let found = reason(read_first(dir.path(), &path, &changed));
        assert!(
            matches!(found, Corruption::Codec { found, .. } if found == bits),
            "{found:?}"
        );
    }
}

#[test]
fn a_count_that_lies_is_found_in_every_codec() {
    for codec in codecs() {
        for count in [i32::MIN, -1, 0, 1, 2, 4, 1_000_000, i32::MAX] {
            let dir = scratch();
            let path = closed(dir.path(), codec);
            let mut batch = fs::read(&path).unwrap();
            batch[57..61].copy_from_slice(&count.to_be_bytes());
            seal(&mut batch);
            // A batch that says it is empty is passed over by readers: it holds nothing for them.
            if count == 0 {
                continue;
            }
            let found = reason(read_first(dir.path(), &path, &batch));
            let by_name = matches!(
                found,
                Corruption::RecordCount { .. }
                    | Corruption::Record { .. }
                    | Corruption::Malformed { .. }
            );
            assert!(by_name, "{codec:?} {count}: {found:?}");
        }
    }
}

#[test]
fn packed_bytes_that_lie_are_an_error_or_records_and_never_a_panic() {
    let mut refused = 0;
    for codec in codecs() {
        let dir = scratch();
        let path = closed(dir.path(), codec);
        let batch = fs::read(&path).unwrap();
        let payload = &batch[HEADER..];
        let bits = batch[22] & 0b111;
        let mut lies = vec![
            Vec::new(),
            payload[..payload.len() / 2].to_vec(),
            vec![0; 40],
        ];
        lies.push([payload, payload].concat());
        for at in 0..payload.len().min(40) {
            let mut flipped = payload.to_vec();
            flipped[at] ^= 0xFF;
            lies.push(flipped);
        }
        fs::write(&path, &batch).unwrap();
        let log = Log::open(dir.path(), config()).unwrap();
        for lie in lies {
            fs::write(&path, repacked(&batch, bits, &lie)).unwrap();
            // The log was opened with the right file: it finds another one.
            let read = log.reader(0).and_then(|mut reader| reader.next_batch());
            refused += usize::from(read.is_err());
        }
    }
    assert!(refused >= 20 * codecs().len(), "{refused}");
}

/// The plain records of the first batch.
fn plain(dir: &Path) -> (PathBuf, Vec<u8>) {
    let path = closed(dir, Compression::None);
    let batch = fs::read(&path).unwrap();
    (path, batch)
}

#[cfg(feature = "snappy")]
#[test]
fn snappy_without_the_framing_is_read_as_one_block() {
    let dir = scratch();
    let (path, batch) = plain(dir.path());
    let block = snap::raw::Encoder::new()
        .compress_vec(&batch[HEADER..])
        .unwrap();
    let read = read_first(dir.path(), &path, &repacked(&batch, 2, &block));
    assert_eq!(read.unwrap(), ["a", "b", "c"]);
}

#[cfg(feature = "snappy")]
#[test]
fn snappy_blocks_whose_lengths_lie_are_refused() {
    let xerial = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".as_slice();
    let dir = scratch();
    let (path, batch) = plain(dir.path());
    let block = snap::raw::Encoder::new()
        .compress_vec(&batch[HEADER..])
        .unwrap();
    let right = i32::try_from(block.len()).unwrap();
    let framed = |length: i32, block: &[u8]| {
        let payload = [xerial, &length.to_be_bytes(), block].concat();
        repacked(&batch, 2, &payload)
    };
    assert!(read_first(dir.path(), &path, &framed(right, &block)).is_ok());
    for length in [i32::MIN, -1, 0, right - 1, right + 1, i32::MAX] {
        let found = reason(read_first(dir.path(), &path, &framed(length, &block)));
        let codec = Compression::Snappy;
        assert!(
            matches!(found, Corruption::Decompression { codec: c, .. } if c == codec),
            "{length}"
        );
    }
    // The block itself claims to unpack to more than it can, or than it does.
    for claim in [
        &[0xFF, 0xFF, 0xFF, 0xFF, 0x0F][..],
        &[0],
        &[0x80, 0x80, 0x01],
    ] {
        let lying = [claim, &block[2..]].concat();
        let length = i32::try_from(lying.len()).unwrap();
        let found = reason(read_first(dir.path(), &path, &framed(length, &lying)));
        assert!(
            matches!(found, Corruption::Decompression { .. }),
            "{claim:?}: {found:?}"
        );
    }
}

/// In a build with all four codecs there is nothing left to look at.
#[test]
fn a_codec_that_is_not_in_the_build_is_named_and_read_over() {
    let missing = CODECS.into_iter().filter(|codec| !codecs().contains(codec));
    for codec in missing {
        let dir = scratch();
        let (path, batch) = plain(dir.path());
        let bits = 1 + u8::try_from(CODECS.iter().position(|c| *c == codec).unwrap()).unwrap();
        let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(&batch[HEADER..]).unwrap();
        let payload = gzip.finish().unwrap();
        let read = read_first(dir.path(), &path, &repacked(&batch, bits, &payload));
        let Err(Error::Unsupported { what, .. }) = read else {
            panic!("{codec:?}: {read:?}");
        };
        assert!(what.contains("cargo feature"), "{what}");
        let other = scratch();
        let log = Log::open(other.path(), config().compression_type(codec)).unwrap();
        let refused = log.append(Record::keyed("a", "b"));
        assert!(
            matches!(refused, Err(Error::Unsupported { .. })),
            "{refused:?}"
        );
        assert_eq!(log.end_offset(), 0);
    }
}
