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
#[cfg(ottla_repository)]
mod tests;
