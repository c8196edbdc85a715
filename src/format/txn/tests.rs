//! Tests of `txn.rs`.

use super::super::unhex;
use super::*;

#[test]
fn an_aborted_transaction_of_kafka_in_both_directions() {
    let golden = unhex("0000 0000000000001092 0000000000000064 0000000000000067 0000000000000068");
    let entries = AbortedTxn::decode_all(&golden).unwrap();
    let expected = AbortedTxn {
        producer_id: 4242,
        first_offset: 100,
        last_offset: 103,
        last_stable_offset: 104,
    };
    assert_eq!(entries, [expected]);
    let mut out = Vec::new();
    expected.encode(&mut out);
    assert_eq!(out, golden);
    assert_eq!(out.len(), ABORTED_LEN);
}

#[test]
fn aborted_transactions_cut_repeated_or_of_another_version_are_refused() {
    let mut twice = Vec::new();
    let entry = AbortedTxn {
        producer_id: 1,
        first_offset: 2,
        last_offset: 3,
        last_stable_offset: 4,
    };
    entry.encode(&mut twice);
    assert!(AbortedTxn::decode_all(&twice[..33]).is_err());
    entry.encode(&mut twice);
    assert!(AbortedTxn::decode_all(&twice).is_err());
    assert!(AbortedTxn::decode_all(&[1; ABORTED_LEN]).is_err());
    assert_eq!(AbortedTxn::decode_all(&[]), Ok(Vec::new()));
}

const ONE: &str = "0001 72b311b1 00000001 0000000000001092 0003 0000000c 0000000000000066 00\
    000002 00000000000003ed 00000005 0000000000000064";

#[test]
fn producer_snapshots_of_kafka_in_both_directions() {
    let golden = unhex("0001 48674bc7 00000000");
    assert_eq!(decode_snapshot(&golden), Ok(Vec::new()));
    assert_eq!(encode_snapshot(&[]), golden);
    let golden = unhex(ONE);
    let producers = decode_snapshot(&golden).unwrap();
    let expected = ProducerState {
        producer_id: 4242,
        epoch: 3,
        last_sequence: 12,
        last_offset: 102,
        offset_delta: 2,
        timestamp: Timestamp::from_millis(1005),
        coordinator_epoch: 5,
        transaction_start: Some(100),
    };
    assert_eq!(producers, [expected]);
    assert_eq!(encode_snapshot(&producers), golden);
}

#[test]
fn a_snapshot_with_any_flipped_bit_or_a_lying_count_is_refused() {
    let golden = unhex(ONE);
    for bit in 0..golden.len() * 8 {
        let mut bytes = golden.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(decode_snapshot(&bytes).is_err());
    }
    let mut lying = unhex("0001 00000000 ffffffff");
    let crc = crc32c(&lying[6..]);
    lying[2..6].copy_from_slice(&crc.to_be_bytes());
    assert!(decode_snapshot(&lying).is_err());
    assert!(decode_snapshot(&golden[..5]).is_err());
}
