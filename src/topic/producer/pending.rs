//! The records that wait for their batch: copied, one after the other, into one piece of memory
//! that is used again for the next batch.
//!
//! Knows nothing about who waits for them.

use std::sync::Arc;
use std::time::Instant;

use crate::types::{EncodedHeaders, Record, RecordTime, Timestamp, varint_len, write_varint};

use super::delivery::{Batch, Ticket};

/// What a record takes in a batch at most, beside its key, value, headers and their lengths:
/// its own length, attributes, timestamp, offset and number of headers.
const RECORD_OVERHEAD_MAX: usize = 5 + 1 + 10 + 5 + 5;
/// The header of a batch.
const BATCH_OVERHEAD: usize = crate::format::HEADER_LEN;
/// Memory that a lane keeps between batches, at most.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// Records that wait for one partition.
#[derive(Debug, Default)]
pub(super) struct Pending {
    batch: Option<Arc<Batch>>,
    bytes: Vec<u8>,
    parts: Vec<Parts>,
    size: usize,
}

/// Where the pieces of a record stand: key, value, headers, one after the other.
#[derive(Clone, Copy, Debug)]
struct Parts {
    key: Option<usize>,
    value: Option<usize>,
    headers: usize,
    header_count: usize,
    time: RecordTime,
}

impl Pending {
    /// When the batch is to be appended; `None` when none has begun.
    pub(super) fn until(&self) -> Option<Instant> {
        self.batch.as_ref().map(|batch| batch.until())
    }

    /// Whether this is the batch that has begun.
    pub(super) fn is_of(&self, batch: &Arc<Batch>) -> bool {
        self.batch
            .as_ref()
            .is_some_and(|own| Arc::ptr_eq(own, batch))
    }

    /// Bytes that the batch takes at most, before it is packed.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// The same with another record.
    pub(super) fn size_with(&self, record: &Record<'_>) -> usize {
        self.size
            .max(BATCH_OVERHEAD)
            .saturating_add(size_of_record(record))
    }

    /// Adds a record, which may begin a batch; gives its place.
    pub(super) fn push(
        &mut self,
        record: &Record<'_>,
        now: Timestamp,
        begin: impl FnOnce() -> Batch,
    ) -> Ticket {
        let batch = Arc::clone(self.batch.get_or_insert_with(|| Arc::new(begin())));
        self.size = self.size_with(record);
        let key = record.key().map(|key| self.put(key));
        let value = record.value().map(|value| self.put(value));
        let before = self.bytes.len();
        let header_count = record.headers().len();
        self.put_headers(record);
        self.parts.push(Parts {
            key,
            value,
            headers: self.bytes.len().saturating_sub(before),
            header_count,
            time: match record.time() {
                RecordTime::Clock => RecordTime::Chosen(now),
                time => time,
            },
        });
        Ticket {
            batch,
            place: self.parts.len().saturating_sub(1),
        }
    }

    fn put(&mut self, bytes: &[u8]) -> usize {
        self.bytes.extend_from_slice(bytes);
        bytes.len()
    }

    /// Headers are kept encoded, as in a batch.
    fn put_headers(&mut self, record: &Record<'_>) {
        if let Some(encoded) = record.encoded_headers() {
            self.put(encoded.bytes);
            return;
        }
        for header in record.headers() {
            write_varint(&mut self.bytes, length(header.name.len()));
            self.put(header.name);
            write_varint(
                &mut self.bytes,
                header.value.map_or(-1, |value| length(value.len())),
            );
            self.put(header.value.unwrap_or_default());
        }
    }

    /// Ends the batch that has begun; its records are there until they are cleared.
    pub(super) fn end(&mut self) -> Option<Arc<Batch>> {
        self.batch.take()
    }

    /// The records, in order.
    pub(super) fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let mut rest = self.bytes.as_slice();
        let mut take = move |length: usize| {
            let (piece, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            rest = after;
            piece
        };
        self.parts.iter().map(move |parts| {
            let key = parts.key.map(&mut take);
            let value = parts.value.map(&mut take);
            let headers = EncodedHeaders {
                count: parts.header_count,
                bytes: take(parts.headers),
            };
            Record::from_parts(key, value)
                .with_time(parts.time)
                .with_encoded_headers(headers)
        })
    }

    /// Forgets the records, and keeps the memory.
    pub(super) fn clear(&mut self) {
        if self.bytes.capacity() > KEPT_BYTES_MAX {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        self.parts.clear();
        self.size = 0;
    }
}

/// Bytes that a record takes in a batch at most.
fn size_of_record(record: &Record<'_>) -> usize {
    let field = |bytes: Option<&[u8]>| {
        bytes.map_or(1, |bytes| {
            varint_len(length(bytes.len())).saturating_add(bytes.len())
        })
    };
    let headers = match record.encoded_headers() {
        Some(encoded) => encoded.bytes.len(),
        None => record
            .headers()
            .map(|header| field(Some(header.name)).saturating_add(field(header.value)))
            .fold(0, usize::saturating_add),
    };
    RECORD_OVERHEAD_MAX
        .saturating_add(field(record.key()))
        .saturating_add(field(record.value()))
        .saturating_add(headers)
}

/// A length as a batch writes it. One that does not fit makes the batch too large anyway.
fn length(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::types::Header;

    #[test]
    fn records_come_out_as_they_went_in() {
        let headers = [
            Header::new("trace", "7f"),
            Header::null("n"),
            Header::new("trace", ""),
        ];
        let time = Timestamp::from_millis(5);
        let given = [
            Record::keyed("k", "v").with_headers(&headers),
            Record::new("").with_timestamp(Timestamp::from_millis(9)),
            Record::from_parts(None, None),
            Record::tombstone("gone"),
        ];
        let mut pending = Pending::default();
        for _round in 0..2 {
            for (place, record) in given.iter().enumerate() {
                let ticket = pending.push(record, time, || Batch::new(3, Clock::System.instant()));
                assert_eq!(ticket.place, place);
            }
            for (got, record) in pending.records().zip(&given) {
                assert_eq!((got.key(), got.value()), (record.key(), record.value()));
                assert_eq!(got.timestamp(), record.timestamp().or(Some(time)));
                assert!(got.headers().eq(record.headers()));
            }
            assert_eq!(pending.records().count(), given.len());
            assert!(pending.end().is_some() && pending.until().is_none());
            pending.clear();
        }
    }
}
