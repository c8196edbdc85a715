//! A record that owns its bytes, for batches that are built up.
//!
//! Knows nothing about batches. Headers are kept encoded, as a record that was read has them.

use super::record::RecordTime;
use super::{EncodedHeaders, Header, Record, Timestamp, write_varint};

/// A record that owns its bytes, to be kept, sent to another thread, or collected into a batch. A
/// [`Record`] borrows from it.
///
/// # Examples
///
/// ```
/// use ottla::{Header, Log, LogConfig, OwnedRecord, Record};
///
/// # let scratch = tempfile::tempdir()?;
/// let batch: Vec<OwnedRecord> = (0..3)
///     .map(|seat| {
///         OwnedRecord::keyed("UA1545", format!("seat {seat} is sold"))
///             .with_header(Header::new("agent", "web"))
///     })
///     .collect();
/// let log = Log::open(scratch.path().join("sales"), LogConfig::default())?;
/// assert_eq!(log.append_batch(&batch)?, 0..3);
///
/// let read = log.read(2)?.expect("a record");
/// assert_eq!(read.value(), Some(&b"seat 2 is sold"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct OwnedRecord {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    time: RecordTime,
    header_count: usize,
    headers: Vec<u8>,
}

impl OwnedRecord {
    /// A record without a key.
    #[must_use]
    pub fn new(value: impl Into<Vec<u8>>) -> Self {
        Self::from_parts(None, Some(value.into()))
    }

    /// A record with a key.
    #[must_use]
    pub fn keyed(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self::from_parts(Some(key.into()), Some(value.into()))
    }

    /// A record that says that its key is gone.
    #[must_use]
    pub fn tombstone(key: impl Into<Vec<u8>>) -> Self {
        Self::from_parts(Some(key.into()), None)
    }

    /// A record whose key and value may both be missing.
    #[must_use]
    pub fn from_parts(key: Option<Vec<u8>>, value: Option<Vec<u8>>) -> Self {
        Self {
            key,
            value,
            ..Self::default()
        }
    }

    /// The same record with the time that it is about.
    #[must_use]
    pub fn with_timestamp(mut self, timestamp: Timestamp) -> Self {
        self.time = RecordTime::Chosen(timestamp);
        self
    }

    /// The same record with one more header at the end.
    #[must_use]
    pub fn with_header(mut self, header: Header<'_>) -> Self {
        self.push_header(header);
        self
    }

    fn push_header(&mut self, header: Header<'_>) {
        // A length above 31 bits makes the record too large for any batch.
        let length = |bytes: &[u8]| i32::try_from(bytes.len()).unwrap_or(i32::MAX);
        write_varint(&mut self.headers, length(header.name));
        self.headers.extend_from_slice(header.name);
        write_varint(&mut self.headers, header.value.map_or(-1, length));
        self.headers
            .extend_from_slice(header.value.unwrap_or_default());
        self.header_count = self.header_count.saturating_add(1);
    }

    /// The record, borrowed.
    #[must_use]
    pub fn as_record(&self) -> Record<'_> {
        let headers = EncodedHeaders {
            count: self.header_count,
            bytes: &self.headers,
        };
        Record::from_parts(self.key.as_deref(), self.value.as_deref())
            .with_time(self.time)
            .with_encoded_headers(headers)
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        self.key.as_deref()
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        self.value.as_deref()
    }

    /// The timestamp, if the record was given one.
    #[must_use]
    pub const fn timestamp(&self) -> Option<Timestamp> {
        self.time.timestamp()
    }
}

impl<'a> From<&'a OwnedRecord> for Record<'a> {
    fn from(record: &'a OwnedRecord) -> Self {
        record.as_record()
    }
}

impl From<Record<'_>> for OwnedRecord {
    fn from(record: Record<'_>) -> Self {
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        let mut copy = Self::from_parts(owned(record.key()), owned(record.value()));
        copy.time = record.time();
        match record.encoded_headers() {
            Some(EncodedHeaders { count, bytes }) => {
                copy.header_count = count;
                copy.headers = bytes.to_vec();
            }
            None => record.headers().for_each(|header| copy.push_header(header)),
        }
        copy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_everything_that_the_record_has() {
        let headers = [
            Header::new("trace", "7f"),
            Header::null("n"),
            Header {
                name: b"caf\xe9",
                value: Some(b""),
            },
        ];
        for record in [
            Record::keyed("k", "v").with_headers(&headers),
            Record::new("").with_timestamp(Timestamp::from_millis(9)),
            Record::from_parts(None, None),
            Record::tombstone("gone"),
        ] {
            let owned = OwnedRecord::from(record);
            let again = OwnedRecord::from(owned.as_record());
            for copy in [owned.as_record(), again.as_record()] {
                assert_eq!((copy.key(), copy.value()), (record.key(), record.value()));
                assert_eq!(copy.timestamp(), record.timestamp());
                assert!(copy.headers().eq(record.headers()));
            }
        }
    }
}
