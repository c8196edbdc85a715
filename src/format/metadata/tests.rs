//! The sample of a directory that real brokers started on, in both directions.

use bytes::Bytes;

use super::super::{BatchHeader, DecodeError, RecordBatch, check_crc, unhex};
use super::*;
use crate::types::Timestamp;

const TOPIC_ID: &str = "a2a6dfc1f8ae40979fa2b5232c861409";
const DIRECTORY_ID: &str = "ef0aa9ce1e4eebc653143b69fe9cb439";

fn id(text: &str) -> [u8; 16] {
    unhex(text).try_into().unwrap()
}

fn partition() -> PartitionRecord {
    PartitionRecord {
        partition: 0,
        topic: TopicId(id(TOPIC_ID)),
        replicas: vec![1],
        in_sync: vec![1],
        removing: vec![],
        adding: vec![],
        leader: 1,
        leader_epoch: 0,
        partition_epoch: 0,
        directories: vec![id(DIRECTORY_ID)],
    }
}

fn samples() -> Vec<(MetadataRecord, &'static str)> {
    vec![
        (
            MetadataRecord::FeatureLevel {
                name: "metadata.version".to_owned(),
                level: 21,
            },
            "010c00116d657461646174612e76657273696f6e001500",
        ),
        (
            MetadataRecord::Topic {
                name: "t".to_owned(),
                id: TopicId(id(TOPIC_ID)),
            },
            "0102000274a2a6dfc1f8ae40979fa2b5232c86140900",
        ),
        (
            MetadataRecord::Config {
                resource_type: TOPIC_RESOURCE,
                resource: "t".to_owned(),
                key: "retention.ms".to_owned(),
                value: Some("-1".to_owned()),
            },
            "0104000202740d726574656e74696f6e2e6d73032d3100",
        ),
        (
            MetadataRecord::Partition(partition()),
            "01030100000000a2a6dfc1f8ae40979fa2b5232c8614090200000001020000000101010000000100000\
                0000000000002ef0aa9ce1e4eebc653143b69fe9cb43900",
        ),
    ]
}

fn check(record: &MetadataRecord, bytes: &[u8]) {
    assert_eq!(MetadataRecord::decode(bytes).as_ref(), Ok(record));
    let mut out = Vec::new();
    record.encode(&mut out);
    assert_eq!(out, bytes);
}

#[test]
fn the_sample_records_in_both_directions() {
    for (record, hex) in samples() {
        check(&record, &unhex(hex));
    }
}

#[test]
fn the_other_records_in_both_directions() {
    check(
        &MetadataRecord::RemoveTopic {
            id: TopicId(id(TOPIC_ID)),
        },
        &unhex("010900 a2a6dfc1f8ae40979fa2b5232c861409 00"),
    );
    check(
        &MetadataRecord::ProducerIds {
            broker_id: 1,
            broker_epoch: 0,
            next_producer_id: 5000,
        },
        &unhex("010f00 00000001 0000000000000000 0000000000001388 00"),
    );
    check(
        &MetadataRecord::Config {
            resource_type: TOPIC_RESOURCE,
            resource: "t".to_owned(),
            key: "k".to_owned(),
            value: None,
        },
        &unhex("010400 02 0274 026b 00 00"),
    );
}

#[test]
fn a_change_of_a_partition_in_both_directions() {
    let nothing = PartitionChange {
        partition: 3,
        topic: TopicId(id(TOPIC_ID)),
        ..PartitionChange::default()
    };
    let head = format!("010501 00000003 {TOPIC_ID}");
    check(
        &MetadataRecord::PartitionChange(nothing.clone()),
        &unhex(&format!("{head} 00")),
    );
    let moved = PartitionChange {
        replicas: Some(vec![1, 2]),
        in_sync: Some(vec![2]),
        removing: Some(vec![]),
        adding: Some(vec![1]),
        leader: Some(-1),
        directories: Some(vec![id(DIRECTORY_ID)]),
        ..nothing.clone()
    };
    let all = format!(
        "{head} 06 00 05 02 00000002 01 04 ffffffff 02 09 03 00000001 00000002 03 01 01 \
         04 05 02 00000001 08 11 02 {DIRECTORY_ID}"
    );
    check(&MetadataRecord::PartitionChange(moved), &unhex(&all));
    // Null fields, the same leader, and what only version 2 has: nothing that is kept changed.
    let null = format!(
        "010502 00000003 {TOPIC_ID} 06 00 01 00 01 04 fffffffe 02 01 00 05 01 00 06 05 02 00000001 08 01 00"
    );
    assert_eq!(
        MetadataRecord::decode(&unhex(&null)),
        Ok(MetadataRecord::PartitionChange(nothing))
    );
    let bytes = unhex(&all);
    for end in 0..bytes.len() {
        assert!(MetadataRecord::decode(&bytes[..end]).is_err(), "{end}");
    }
}

#[test]
fn a_partition_takes_its_changes_in_order() {
    let mut partition = partition();
    let change = |replicas: Option<Vec<i32>>, leader, directories| PartitionChange {
        replicas,
        leader,
        directories,
        ..PartitionChange::default()
    };
    partition.change(change(None, None, Some(vec![[7; 16]])));
    assert_eq!((partition.leader_epoch, partition.partition_epoch), (0, 1));
    assert_eq!(partition.directories, [[7; 16]]);
    partition.change(change(Some(vec![2, 3]), Some(2), None));
    assert_eq!((partition.leader, partition.leader_epoch), (2, 1));
    assert_eq!(partition.replicas, [2, 3]);
    assert!(partition.directories.is_empty(), "those of other replicas");
}

#[test]
fn the_voters_of_a_quorum_state_are_read() {
    for (text, voters) in [
        (
            r#"{"leaderId":1,"currentVoters":[{"voterId":1}],"data_version":0}"#,
            Some(vec![1]),
        ),
        (
            r#"{ "currentVoters" : [ {"voterId" : 3 }, {"voterId":-2}] }"#,
            Some(vec![3, -2]),
        ),
        (
            r#"{"leaderId":1,"votedDirectoryId":"x","data_version":1}"#,
            None,
        ),
        (r#"{"currentVoters":null}"#, None),
        (r#"{"currentVoters":[]}"#, None),
        ("", None),
    ] {
        assert_eq!(decode_quorum_state(text.as_bytes()), Ok(voters), "{text}");
    }
    for text in [
        r#"{"currentVoters":7}"#,
        r#"{"currentVoters":[{"voterId":1}"#,
        r#"{"currentVoters":[{"voterId":"one"}]}"#,
    ] {
        assert!(decode_quorum_state(text.as_bytes()).is_err(), "{text}");
    }
    assert!(decode_quorum_state(&[0xff]).is_err());
}

#[test]
fn a_record_that_no_one_knows_comes_out_unchanged() {
    for hex in ["011b02ffee", "01020700", "018001000102"] {
        let bytes = unhex(hex);
        let record = MetadataRecord::decode(&bytes).unwrap();
        assert!(matches!(record, MetadataRecord::Unknown { .. }));
        check(&record, &bytes);
    }
}

#[test]
fn partitions_of_other_versions_and_with_tags_are_read() {
    let body =
        "00000000a2a6dfc1f8ae40979fa2b5232c861409020000000102000000010101000000010000000000000000";
    let old = MetadataRecord::decode(&unhex(&format!("010300{body}00"))).unwrap();
    let without = PartitionRecord {
        directories: vec![],
        ..partition()
    };
    assert_eq!(old, MetadataRecord::Partition(without));
    let tagged = format!("010302{body}02{DIRECTORY_ID}01 01 05 0200000001");
    assert_eq!(
        MetadataRecord::decode(&unhex(&tagged)),
        Ok(MetadataRecord::Partition(partition()))
    );
}

#[test]
fn every_cut_and_every_extra_byte_is_refused() {
    for (_, hex) in samples() {
        let bytes = unhex(hex);
        for end in 0..bytes.len() {
            assert!(MetadataRecord::decode(&bytes[..end]).is_err());
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(MetadataRecord::decode(&longer).is_err());
    }
    assert!(MetadataRecord::decode(&unhex("020c00")).is_err());
}

#[test]
fn a_file_of_records_comes_back_and_is_framed_by_header_and_footer() {
    let records: Vec<_> = samples().into_iter().map(|(record, _)| record).collect();
    let file = Bytes::from(encode_snapshot(&records, Timestamp::from_millis(7)).unwrap());
    assert_eq!(decode_snapshot(&file), Ok(records));
    let batches = batches(&file);
    let control: Vec<_> = batches.iter().map(|b| b.header().is_control()).collect();
    assert_eq!(control, [true, false, true]);
    let offsets: Vec<_> = batches.iter().map(RecordBatch::base_offset).collect();
    assert_eq!(offsets, [0, 1, 5]);
    let first = batches[0].records().next().unwrap();
    assert_eq!(first.key(), Some(&unhex("00000003")[..]));
    assert_eq!(first.value(), Some(&unhex("0000 0000000000000000 00")[..]));
    let last = batches[2].records().next().unwrap();
    assert_eq!(last.key(), Some(&unhex("00000004")[..]));
    assert_eq!(last.value(), Some(&unhex("000000")[..]));
}

#[test]
fn many_records_take_several_batches_and_a_cut_file_is_refused() {
    let records: Vec<_> = (0..40_000)
        .map(|_| MetadataRecord::Partition(partition()))
        .collect();
    let file = Bytes::from(encode_snapshot(&records, Timestamp::NONE).unwrap());
    assert!(batches(&file).len() > 3);
    assert_eq!(decode_snapshot(&file).unwrap().len(), 40_000);
    let cut = file.slice(..file.len() - 1);
    assert!(matches!(
        decode_snapshot(&cut),
        Err(DecodeError::Corrupt(Corruption::Truncated { .. }))
    ));
}

#[test]
fn the_quorum_in_both_directions() {
    let voter = Voter {
        node_id: 1,
        directory_id: id(DIRECTORY_ID),
        listener: "CONTROLLER".to_owned(),
        host: "localhost".to_owned(),
        port: 9093,
    };
    let voters = vec![voter];
    let file = Bytes::from(encode_quorum(&voters, Timestamp::from_millis(7)).unwrap());
    let batches = batches(&file);
    let offsets: Vec<_> = batches.iter().map(RecordBatch::base_offset).collect();
    assert_eq!(offsets, [0, 3]);
    let records: Vec<_> = batches[0].records().collect();
    assert_eq!(records[1].key(), Some(&unhex("00000005")[..]));
    assert_eq!(records[1].value(), Some(&unhex("0000000100")[..]));
    assert_eq!(records[2].key(), Some(&unhex("00000006")[..]));
    let value = records[2].value().unwrap();
    assert_eq!(
        value,
        unhex(&format!(
            "0000 02 00000001 {DIRECTORY_ID} 02 0b434f4e54524f4c4c4552 0a6c6f63616c686f7374 2385 \
                00 0000 0001 00 00 00"
        ))
    );
    assert_eq!(super::quorum::decode_voters(value), Ok(voters));
}

fn batches(file: &Bytes) -> Vec<RecordBatch> {
    let mut batches = Vec::new();
    let mut rest = file.clone();
    while !rest.is_empty() {
        let header = BatchHeader::parse(&rest).unwrap();
        check_crc(&rest, &header).unwrap();
        let batch = rest.split_to(header.size);
        batches.push(RecordBatch::decode(batch, header, 1 << 24).unwrap());
    }
    batches
}
