//! Laws over any records: what is encoded comes back, and no mutation goes unseen.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::super::*;
use super::{BUDGET, at, read, reseal};
use crate::types::{Compression, Header, Record, Timestamp, TimestampType};

#[derive(Clone, Debug)]
struct Model {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    timestamp: Option<Timestamp>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Model {
    fn headers(&self) -> Vec<Header<'_>> {
        self.headers
            .iter()
            .map(|(name, value)| Header {
                name,
                value: value.as_deref(),
            })
            .collect()
    }

    fn record<'a>(&'a self, headers: &'a [Header<'a>]) -> Record<'a> {
        let record = Record::from_parts(self.key.as_deref(), self.value.as_deref());
        match self.timestamp {
            Some(timestamp) => record.with_timestamp(timestamp).with_headers(headers),
            None => record.with_headers(headers),
        }
    }
}

fn field() -> impl Strategy<Value = Option<Vec<u8>>> {
    option::of(prop_oneof![
        8 => vec(any::<u8>(), 0..80),
        1 => vec(any::<u8>(), 100..300),
        1 => (0..70_000_usize).prop_map(|length| vec![0x5a; length]),
    ])
}

fn models() -> impl Strategy<Value = Vec<Model>> {
    let timestamp = option::of(prop_oneof![
        Just(-1_i64),
        0..2_000_000_000_000_i64,
        Just(i64::MAX),
        0..=i64::MAX,
    ]);
    // Few names, so that they repeat.
    let name = prop_oneof![
        "[a-c]{0,2}|\u{e9}+".prop_map(String::into_bytes),
        vec(any::<u8>(), 0..4),
    ];
    let headers = vec((name, field()), 0..4);
    let model =
        (field(), field(), timestamp, headers).prop_map(|(key, value, timestamp, headers)| Model {
            key,
            value,
            timestamp: timestamp.map(at),
            headers,
        });
    vec(model, 1..20)
}

fn options() -> impl Strategy<Value = BatchOptions> {
    let mut codecs = vec![Compression::None];
    for (codec, is_in) in [
        (Compression::Gzip, cfg!(feature = "gzip")),
        (Compression::Snappy, cfg!(feature = "snappy")),
        (Compression::Lz4, cfg!(feature = "lz4")),
        (Compression::Zstd, cfg!(feature = "zstd")),
    ] {
        codecs.extend(is_in.then_some(codec));
    }
    let types = [TimestampType::CreateTime, TimestampType::LogAppendTime];
    let codec = proptest::sample::select(codecs);
    let timestamp_type = proptest::sample::select(types.to_vec());
    (codec, timestamp_type, 0..=i64::MAX).prop_map(|(compression, timestamp_type, now)| {
        BatchOptions {
            compression,
            timestamp_type,
            now: at(now),
            ..BatchOptions::default()
        }
    })
}

fn count(models: &[Model]) -> u64 {
    u64::try_from(models.len()).unwrap()
}

fn encode(models: &[Model], options: BatchOptions) -> (Vec<u8>, BatchSummary) {
    let mut out = Vec::new();
    let mut batch = BatchBuilder::new(&mut out, options);
    for model in models {
        batch.push(&model.record(&model.headers())).unwrap();
    }
    let summary = batch.finish().unwrap();
    (out, summary)
}

/// Reads with room for the large fields above.
fn read_large(bytes: &[u8]) -> RecordBatch {
    let header = BatchHeader::parse(bytes).unwrap();
    check_crc(bytes, &header).unwrap();
    RecordBatch::decode(bytes::Bytes::copy_from_slice(bytes), header, 64 * BUDGET).unwrap()
}

proptest! {
    #[test]
    fn what_is_encoded_comes_back(
        models in models(),
        options in options(),
        base in prop_oneof![Just(0), 0..1_u64 << 40, Just(i64::MAX.cast_unsigned() - 20)],
    ) {
        let (mut bytes, summary) = encode(&models, options);
        stamp(&mut bytes, base, 3);
        prop_assert_eq!(summary.size, bytes.len());
        prop_assert_eq!(usize::try_from(summary.count), Ok(models.len()));
        let batch = read_large(&bytes);
        prop_assert_eq!(batch.header().leader_epoch, 3);
        prop_assert_eq!(batch.next_offset(), base + count(&models));
        prop_assert_eq!(batch.max_timestamp(), summary.max_timestamp);
        prop_assert_eq!(batch.records().len(), models.len());
        let mut max = Timestamp::NONE;
        let mut owned = OwnedRecords::new(batch.clone());
        for (offset, (model, view)) in (base..).zip(models.iter().zip(batch.records())) {
            let expected = match options.timestamp_type {
                TimestampType::CreateTime => model.timestamp.unwrap_or(options.now),
                TimestampType::LogAppendTime => options.now,
            };
            max = max.max(expected);
            prop_assert_eq!(view.offset, offset);
            prop_assert_eq!(view.timestamp, expected);
            prop_assert_eq!(view.key(), model.key.as_deref());
            prop_assert_eq!(view.value(), model.value.as_deref());
            prop_assert_eq!(view.headers().collect::<Vec<_>>(), model.headers());
            let record = owned.next().unwrap();
            prop_assert_eq!(record.offset, view.offset);
            prop_assert_eq!(record.timestamp, view.timestamp);
            prop_assert_eq!(record.key(), view.key());
            prop_assert_eq!(record.value(), view.value());
            let (key, value) = (record.key_bytes(), record.value_bytes());
            prop_assert_eq!((key.as_deref(), value.as_deref()), (view.key(), view.value()));
            prop_assert!(record.headers().eq(view.headers()));
            prop_assert_eq!(record.clone().detach(), record);
        }
        prop_assert_eq!(owned.next(), None);
        prop_assert_eq!(batch.max_timestamp(), max);
    }

    #[test]
    fn a_record_that_was_read_is_encoded_again_to_the_same_bytes(models in models()) {
        let (bytes, _) = encode(&models, BatchOptions::default());
        let batch = read_large(&bytes);
        let (mut views, mut records) = (Vec::new(), Vec::new());
        let mut builder = BatchBuilder::new(&mut views, BatchOptions::default());
        for view in batch.records() {
            builder.push(&Record::from(view)).unwrap();
        }
        builder.finish().unwrap();
        let mut builder = BatchBuilder::new(&mut records, BatchOptions::default());
        for record in OwnedRecords::new(batch) {
            builder.push(&Record::from(&record)).unwrap();
        }
        builder.finish().unwrap();
        prop_assert_eq!(&views, &bytes);
        prop_assert_eq!(&records, &bytes);
    }

    #[test]
    fn one_record_alone_is_what_the_builder_makes_of_it(
        models in models(),
        options in options(),
    ) {
        let model = &models[0];
        let mut one = vec![9; 5];
        let summary = encode_one(&mut one, &model.record(&model.headers()), &options).unwrap();
        let (built, expected) = encode(&models[..1], options);
        prop_assert_eq!(&one[5..], &built);
        prop_assert_eq!(summary, expected);
    }

    #[test]
    fn skipping_gives_what_is_at_or_after_the_offset(models in models(), to in 90..130_u64) {
        let (mut bytes, _) = encode(&models, BatchOptions::default());
        stamp(&mut bytes, 100, 0);
        let mut owned = OwnedRecords::new(read_large(&bytes));
        owned.skip_to(to);
        let offsets: Vec<_> = owned.map(|record| record.offset).collect();
        let expected: Vec<_> = (100..100 + count(&models)).filter(|o| *o >= to).collect();
        prop_assert_eq!(offsets, expected);
    }

    /// The CRC does not cover bytes 0 to 16. Of those, magic and length are found by their own
    /// checks; a change of the epoch (12 to 15) changes no record, one of the base offset (0 to 7)
    /// moves all of them alike. A reader that knows where a batch belongs finds that.
    #[test]
    fn a_mutation_is_found_or_changes_no_record(
        models in models(),
        options in options(),
        flips in vec((any::<prop::sample::Index>(), 1..=255_u8), 1..5),
        cut in option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let (bytes, _) = encode(&models, options);
        let expected: Vec<_> = OwnedRecords::new(read_large(&bytes)).collect();
        let mut mutated = bytes.clone();
        for (place, flip) in flips {
            let place = place.index(mutated.len());
            mutated[place] ^= flip;
        }
        if let Some(cut) = cut {
            mutated.truncate(cut.index(mutated.len()));
        }
        if let Ok(batch) = read(&mutated) {
            let moved = batch.base_offset();
            prop_assert_eq!(&mutated[8..12], &bytes[8..12]);
            prop_assert_eq!(&mutated[16..], &bytes[16..]);
            let found: Vec<_> = OwnedRecords::new(batch).collect();
            prop_assert_eq!(found.len(), expected.len());
            for (mut found, expected) in found.into_iter().zip(expected) {
                found.offset -= moved;
                prop_assert_eq!(found, expected);
            }
        }
    }

    /// A damaged batch with a good CRC, as only a buggy or hostile writer makes it: an error, or
    /// records that can be walked to the end, in order and within the batch.
    #[test]
    fn behind_a_good_crc_nothing_is_believed(
        models in models(),
        options in options(),
        flips in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let (mut bytes, _) = encode(&models, options);
        for (place, byte) in flips {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        reseal(&mut bytes);
        check_walk(&bytes)?;
    }

    #[test]
    fn any_bytes_behind_any_header_are_refused_or_walked(
        mut bytes in vec(any::<u8>(), 61..400),
        count in 0..20_i32,
        delta in 0..40_i32,
        codec in 0..6_u8,
    ) {
        let length = i32::try_from(bytes.len()).unwrap() - 12;
        bytes[0] &= 0x7f;
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[16] = 2;
        bytes[22] = codec;
        bytes[23..27].copy_from_slice(&delta.to_be_bytes());
        bytes[57..61].copy_from_slice(&count.to_be_bytes());
        reseal(&mut bytes);
        check_walk(&bytes)?;
    }
}

fn check_walk(bytes: &[u8]) -> Result<(), TestCaseError> {
    let Ok(batch) = read(bytes) else {
        return Ok(());
    };
    let mut next = batch.base_offset();
    for record in batch.records() {
        prop_assert!(record.offset >= next && record.offset < batch.next_offset());
        next = record.offset + 1;
        prop_assert_eq!(record.headers().count(), record.headers().len());
    }
    prop_assert_eq!(batch.records().count(), batch.len());
    prop_assert_eq!(OwnedRecords::new(batch.clone()).count(), batch.len());
    Ok(())
}
