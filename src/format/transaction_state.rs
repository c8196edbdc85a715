//! The values in `__transaction_state`: what Kafka's coordinator keeps about a transactional id.
//!
//! Knows nothing about the logs that a transaction wrote to. Big-endian:
//!
//! | field | version 0 | version 1 |
//! | --- | --- | --- |
//! | version | i16 | the same |
//! | producer id, its epoch | i64, i16 | the same |
//! | timeout in ms | i32 | the same |
//! | status | i8 | the same |
//! | partitions, null for none | array of topic, array of i32 | flexible, each with tags |
//! | last update, start in ms | i64, i64 | the same |
//! | tags | | the flexible versions' |
//!
//! The key, an i16 version and the id, is not decoded. The list of partitions is complete from
//! the first `Ongoing` state until the transaction has ended.

use super::Corruption;
use super::cursor::{Cursor, PutBytes};
use super::wire::{Family, PutWire};
use crate::types::{PartitionId, Timestamp};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TransactionStatus {
    Ongoing,
    /// Committed, whichever partitions have their marker yet.
    PrepareCommit,
    /// Aborted, whichever partitions have their marker yet.
    PrepareAbort,
    /// No transaction is open.
    Other(i8),
}

/// The status once an aborted transaction has all its markers.
const COMPLETE_ABORT: i8 = 5;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TransactionState {
    version: i16,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    timeout_ms: i32,
    pub(crate) status: TransactionStatus,
    partitions: Vec<(String, Vec<PartitionId>)>,
    /// Start time in ms.
    start: i64,
}

impl TransactionState {
    /// An unknown version is `Malformed`.
    pub(crate) fn decode(value: &[u8]) -> Result<Self, Corruption> {
        let mut fields = Cursor::new(value);
        let version = fields.i16()?;
        let family = match version {
            0 => Family::Plain,
            1 => Family::Flexible,
            _ => {
                return Err(Corruption::malformed(
                    "the state of a transaction is of a version that is not known",
                ));
            }
        };
        let (producer_id, producer_epoch) = (fields.i64()?, fields.i16()?);
        let timeout_ms = fields.i32()?;
        let status = match fields.i8()? {
            1 => TransactionStatus::Ongoing,
            2 => TransactionStatus::PrepareCommit,
            3 => TransactionStatus::PrepareAbort,
            other => TransactionStatus::Other(other),
        };
        let partitions = fields.list(family, |fields| {
            let topic = fields.string(family)?.to_owned();
            let numbers = fields.list(family, Cursor::u32)?;
            fields.tags(family)?;
            Ok((topic, numbers))
        })?;
        let _last_update = fields.i64()?;
        let start = fields.i64()?;
        fields.tags(family)?;
        Ok(Self {
            version,
            producer_id,
            producer_epoch,
            timeout_ms,
            status,
            partitions,
            start,
        })
    }

    pub(crate) fn has(&self, topic: &str, partition: PartitionId) -> bool {
        let mut partitions = self.partitions.iter();
        partitions.any(|(name, numbers)| name == topic && numbers.contains(&partition))
    }

    /// The producer's epoch after this one; `None` after the last epoch.
    pub(crate) fn next_epoch(&self) -> Option<i16> {
        // Kafka keeps the largest one for itself.
        let next = self.producer_epoch.checked_add(1);
        next.filter(|epoch| *epoch < i16::MAX)
    }

    /// Encodes the state after an ongoing transaction was aborted, but not by its producer. The
    /// next epoch makes the producer's next request fail. `None` after the last epoch.
    pub(crate) fn aborted(&self, now: Timestamp) -> Option<Vec<u8>> {
        let epoch = self.next_epoch()?;
        let mut value = Vec::new();
        value.put_i16(self.version);
        value.put_i64(self.producer_id);
        value.put_i16(epoch);
        value.put_i32(self.timeout_ms);
        value.put_i8(COMPLETE_ABORT);
        if self.version == 0 {
            value.put_i32(0);
        } else {
            value.put_compact_count(0);
        }
        value.put_i64(now.as_millis());
        value.put_i64(self.start);
        if self.version > 0 {
            value.put_no_tags();
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
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
}
