//! The record batch, tried: Kafka's own bytes, laws over any records, and bytes that lie.

mod golden;
mod hostile;
mod laws;

use bytes::Bytes;

use super::super::{Corruption, DecodeError};
use super::*;
use crate::types::Timestamp;

/// What tests unpack at most.
const BUDGET: usize = 1 << 20;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// The whole way of a reader: header, size, CRC, records.
fn read(bytes: &[u8]) -> Result<RecordBatch, DecodeError> {
    let header = BatchHeader::parse(bytes)?;
    check_crc(bytes, &header)?;
    if header.size != bytes.len() {
        return Err(Corruption::malformed("bytes are left").into());
    }
    RecordBatch::decode(Bytes::copy_from_slice(bytes), header, BUDGET)
}

/// Makes the CRC right again, so that the checks after it run.
fn reseal(batch: &mut [u8]) {
    super::header::seal(batch);
}
