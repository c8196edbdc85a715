//! The record to append: borrowed, so that an append allocates nothing.
//!
//! Knows nothing about batches; it knows the encoding of headers, so that a record that was read
//! can be appended again with its headers as they are. Invariant: what was read is never refused
//! for its content. Kafka's clients write header names in any encoding and times before 1970.

use std::borrow::Cow;
use std::fmt;

use super::{Timestamp, read_varint, to_usize};

/// A record to append: an optional key, an optional value, a timestamp, headers.
///
/// It borrows everything. Without a timestamp it gets the clock's when it is appended. A record
/// with a key and no value is a tombstone: on a compacted topic it deletes the key.
///
/// # Examples
///
/// ```
/// use ottla::{Header, Record, Timestamp};
///
/// let headers = [Header::new("carrier", "UA")];
/// let record = Record::keyed("N14228", "departed EWR")
///     .with_timestamp(Timestamp::from_millis(1_357_034_400_000))
///     .with_headers(&headers);
/// assert_eq!(record.key(), Some(&b"N14228"[..]));
/// assert_eq!(record.headers().next(), Some(Header::new("carrier", "UA")));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Record<'a> {
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    time: RecordTime,
    headers: HeaderSource<'a>,
}

/// Where the timestamp of a record comes from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum RecordTime {
    /// From the clock, at the append.
    #[default]
    Clock,
    /// From the caller: the append checks it.
    Chosen(Timestamp),
    /// From a record that was read: kept unchecked.
    Read(Timestamp),
}

impl RecordTime {
    pub(crate) const fn timestamp(self) -> Option<Timestamp> {
        match self {
            Self::Clock => None,
            Self::Chosen(timestamp) | Self::Read(timestamp) => Some(timestamp),
        }
    }
}

/// A name and an optional value that travel beside a record. A name may repeat.
///
/// Kafka stores a name as bytes. Most clients write UTF-8, but nothing makes them: reading and
/// copying keep the bytes.
///
/// # Examples
///
/// ```
/// use ottla::Header;
///
/// let header = Header::new("carrier", "UA");
/// assert_eq!(header.name, b"carrier");
/// assert_eq!(header.key(), "carrier");
///
/// // "café" in Latin-1, as a client in C may write it.
/// let header = Header { name: b"caf\xe9", value: None };
/// assert_eq!(header.key(), "caf\u{fffd}");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Header<'a> {
    /// The name, as its bytes. Kafka has no null names; one that was read is empty here.
    pub name: &'a [u8],
    /// The value; `None` is Kafka's null, not the same as empty.
    pub value: Option<&'a [u8]>,
}

impl<'a> Header<'a> {
    /// A header with a value.
    #[must_use]
    pub fn new(key: &'a str, value: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self {
            name: key.as_bytes(),
            value: Some(value.as_ref()),
        }
    }

    /// A header whose value is Kafka's null.
    #[must_use]
    pub const fn null(key: &'a str) -> Self {
        Self {
            name: key.as_bytes(),
            value: None,
        }
    }

    /// The name as text, with `U+FFFD` for bytes that are not UTF-8; compare [`name`](Self::name)
    /// to tell such names apart.
    ///
    /// # Examples
    ///
    /// ```
    /// use ottla::{Header, Record};
    ///
    /// let headers = [Header::new("carrier", "UA")];
    /// let record = Record::new("departed EWR").with_headers(&headers);
    /// assert!(record.headers().any(|header| header.key() == "carrier"));
    /// ```
    #[must_use]
    pub fn key(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.name)
    }
}

impl fmt::Debug for Header<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No two names look the same as byte strings.
        f.debug_struct("Header")
            .field("name", &format_args!("b\"{}\"", self.name.escape_ascii()))
            .field("value", &self.value)
            .finish()
    }
}

#[derive(Clone, Copy, Debug)]
enum HeaderSource<'a> {
    Plain(&'a [Header<'a>]),
    Encoded(EncodedHeaders<'a>),
}

impl Default for HeaderSource<'_> {
    fn default() -> Self {
        Self::Plain(&[])
    }
}

/// Headers as they are in a batch, checked when this value is made.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EncodedHeaders<'a> {
    pub(crate) count: usize,
    /// The headers without the count that precedes them.
    pub(crate) bytes: &'a [u8],
}

impl<'a> Record<'a> {
    /// A record without a key.
    #[must_use]
    pub fn new(value: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self {
            value: Some(value.as_ref()),
            ..Self::default()
        }
    }

    /// A record with a key: records with the same key go to the same partition, in order.
    ///
    /// # Examples
    ///
    /// ```
    /// use ottla::Record;
    ///
    /// let record = Record::keyed("N14228", "departed EWR");
    /// assert_eq!(record.key(), Some(&b"N14228"[..]));
    /// ```
    #[must_use]
    pub fn keyed(
        key: &'a (impl AsRef<[u8]> + ?Sized),
        value: &'a (impl AsRef<[u8]> + ?Sized),
    ) -> Self {
        Self {
            key: Some(key.as_ref()),
            value: Some(value.as_ref()),
            ..Self::default()
        }
    }

    /// A record that says that its key is gone.
    ///
    /// # Examples
    ///
    /// ```
    /// use ottla::Record;
    ///
    /// // Compaction removes the key, and after a day this record too.
    /// assert_eq!(Record::tombstone("N14228").value(), None);
    /// ```
    #[must_use]
    pub fn tombstone(key: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self {
            key: Some(key.as_ref()),
            ..Self::default()
        }
    }

    /// A record whose key and value may both be missing.
    #[must_use]
    pub const fn from_parts(key: Option<&'a [u8]>, value: Option<&'a [u8]>) -> Self {
        Self {
            key,
            value,
            time: RecordTime::Clock,
            headers: HeaderSource::Plain(&[]),
        }
    }

    /// The same record with the time that it is about.
    ///
    /// # Examples
    ///
    /// ```
    /// use ottla::{Record, Timestamp};
    ///
    /// let departed = Timestamp::from_millis(1_370_044_800_000);
    /// let record = Record::new("departed EWR").with_timestamp(departed);
    /// assert_eq!(record.timestamp(), Some(departed));
    /// ```
    #[must_use]
    pub const fn with_timestamp(mut self, timestamp: Timestamp) -> Self {
        self.time = RecordTime::Chosen(timestamp);
        self
    }

    pub(crate) const fn with_time(mut self, time: RecordTime) -> Self {
        self.time = time;
        self
    }

    /// The same record with these headers, in this order.
    #[must_use]
    pub const fn with_headers(mut self, headers: &'a [Header<'a>]) -> Self {
        self.headers = HeaderSource::Plain(headers);
        self
    }

    pub(crate) const fn with_encoded_headers(mut self, headers: EncodedHeaders<'a>) -> Self {
        self.headers = HeaderSource::Encoded(headers);
        self
    }

    /// The key.
    #[must_use]
    pub const fn key(&self) -> Option<&'a [u8]> {
        self.key
    }

    /// The value.
    #[must_use]
    pub const fn value(&self) -> Option<&'a [u8]> {
        self.value
    }

    /// The timestamp, if the record was given one.
    #[must_use]
    pub const fn timestamp(&self) -> Option<Timestamp> {
        self.time.timestamp()
    }

    pub(crate) const fn time(&self) -> RecordTime {
        self.time
    }

    /// The headers in order; its length is known.
    #[must_use]
    pub fn headers(&self) -> HeaderIter<'a> {
        match self.headers {
            HeaderSource::Plain(headers) => HeaderIter(Walk::Plain(headers.iter())),
            HeaderSource::Encoded(encoded) => encoded.iter(),
        }
    }

    pub(crate) const fn encoded_headers(&self) -> Option<EncodedHeaders<'a>> {
        match self.headers {
            HeaderSource::Plain(_) => None,
            HeaderSource::Encoded(encoded) => Some(encoded),
        }
    }
}

impl<'a> EncodedHeaders<'a> {
    pub(crate) const fn iter(self) -> HeaderIter<'a> {
        HeaderIter(Walk::Encoded(self))
    }
}

/// The headers of a record, in order.
#[derive(Clone, Debug)]
pub struct HeaderIter<'a>(Walk<'a>);

#[derive(Clone, Debug)]
enum Walk<'a> {
    Plain(std::slice::Iter<'a, Header<'a>>),
    Encoded(EncodedHeaders<'a>),
}

impl<'a> Iterator for HeaderIter<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        match &mut self.0 {
            Walk::Plain(headers) => headers.next().copied(),
            Walk::Encoded(encoded) => {
                let (header, rest) = decode_header(encoded.bytes)?;
                *encoded = EncodedHeaders {
                    count: encoded.count.saturating_sub(1),
                    bytes: rest,
                };
                Some(header)
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match &self.0 {
            Walk::Plain(headers) => headers.len(),
            Walk::Encoded(encoded) => encoded.count,
        };
        (left, Some(left))
    }
}

impl ExactSizeIterator for HeaderIter<'_> {}

/// Returns the first header and the rest; `None` at the end, or if a length does not fit (never in
/// [`EncodedHeaders`], which are checked).
///
/// Only lengths are checked: a name may be any bytes, or null, which becomes an empty name.
pub(crate) fn decode_header(bytes: &[u8]) -> Option<(Header<'_>, &[u8])> {
    let (name, rest) = decode_nullable(bytes)?;
    let (value, rest) = decode_nullable(rest)?;
    let name = name.unwrap_or_default();
    Some((Header { name, value }, rest))
}

/// Splits off a field behind its varint length; a negative length is null.
fn decode_nullable(bytes: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (length, rest) = read_varint(bytes)?;
    let Ok(length) = u64::try_from(length) else {
        return Some((None, rest));
    };
    let (field, rest) = rest.split_at_checked(to_usize(length))?;
    Some((Some(field), rest))
}

impl<'a> From<&'a str> for Record<'a> {
    fn from(value: &'a str) -> Self {
        Self::new(value)
    }
}

impl<'a> From<&'a [u8]> for Record<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self::new(value)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Record<'a> {
    fn from(value: &'a [u8; N]) -> Self {
        Self::new(value)
    }
}

impl<'a> From<&'a String> for Record<'a> {
    fn from(value: &'a String) -> Self {
        Self::new(value)
    }
}

impl<'a> From<&'a Vec<u8>> for Record<'a> {
    fn from(value: &'a Vec<u8>) -> Self {
        Self::new(value)
    }
}

impl<'a> From<&'a bytes::Bytes> for Record<'a> {
    fn from(value: &'a bytes::Bytes) -> Self {
        Self::new(value)
    }
}

impl<'a> From<&Record<'a>> for Record<'a> {
    fn from(record: &Record<'a>) -> Self {
        *record
    }
}
