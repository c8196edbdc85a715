//! Tests of `transaction_state.rs`.

use super::super::unhex;
use super::*;

/// As 3.9.2 wrote it; the partition `tt-0`.
const ONGOING_0: &str = "0000 00000000000003e8 0000 0000ea60 01 00000001 0002 7474 00000001 \
                         00000000 000001a21efc73f1 000001a21efc73f0";

/// As 4.2.1 writes it: one tag, the version of the client.
const ONGOING_1: &str = "0001 00000000000003e8 0000 0000ea60 01 02 03 7474 02 00000000 00 \
                         000001a21efc73f1 000001a21efc73f0 01 02 02 0002";

fn bytes(hex: &str) -> Vec<u8> {
    unhex(&hex.replace(char::is_whitespace, ""))
}

#[test]
fn a_state_of_either_version_is_read_and_followed_by_the_end_of_its_transaction() {
    for (ongoing, end) in [
        (ONGOING_0, "05 00000000 0000000000000007 000001a21efc73f0"),
        (ONGOING_1, "05 01 0000000000000007 000001a21efc73f0 00"),
    ] {
        let state = TransactionState::decode(&bytes(ongoing)).unwrap();
        assert_eq!(state.producer_id, 1000);
        assert_eq!(state.status, TransactionStatus::Ongoing);
        assert!(state.has("tt", 0) && !state.has("tt", 1) && !state.has("t", 0));
        let next = state.aborted(Timestamp::from_millis(7));
        let front = ongoing.get(..4).unwrap();
        let expected = format!("{front} 00000000000003e8 0001 0000ea60 {end}");
        assert_eq!(next, Some(bytes(&expected)));
    }
}

#[test]
fn a_state_that_is_cut_or_of_another_version_is_refused() {
    for state in [ONGOING_0, ONGOING_1].map(bytes) {
        for cut in 0..state.len() {
            let front = state.get(..cut).unwrap();
            assert!(TransactionState::decode(front).is_err(), "{cut}");
        }
        let mut other = state;
        other[1] = 2;
        assert!(TransactionState::decode(&other).is_err());
    }
}

#[test]
fn a_producer_whose_epochs_are_used_up_gets_none() {
    for (epoch, next) in [("7ffd", Some(i16::MAX - 1)), ("7ffe", None), ("7fff", None)] {
        let used_up = ONGOING_0.replacen("03e8 0000", &format!("03e8 {epoch}"), 1);
        let state = TransactionState::decode(&bytes(&used_up)).unwrap();
        assert_eq!(state.next_epoch(), next, "{epoch}");
        let aborted = state.aborted(Timestamp::from_millis(7));
        assert_eq!(aborted.is_some(), next.is_some(), "{epoch}");
    }
}
