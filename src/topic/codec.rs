//! How values of a type become the bytes of a record, and back.
//!
//! Knows nothing about topics.
//!
//! 1. Each record names its type and version in a header, such as `departure/2`: a reader can
//!    distinguish an older version, another type and damage.

use std::fmt;
use std::sync::Arc;

use crate::types::{Header, Record};

/// Why a value cannot be encoded, or bytes cannot be decoded.
pub type CodecError = Box<dyn std::error::Error + Send + Sync>;

const TYPE_HEADER: &str = "ottla.type";

/// Turns values into the bytes of records, and back.
///
/// [`name`](Self::name) and [`version`](Self::version) are stored with each record, in the header
/// `ottla.type`, as `name/version`. A record with another name or a later version is
/// [`Error::Undecodable`](crate::Error::Undecodable). [`decode`](Self::decode) brings older
/// versions up to date. A record without the header, from another client, counts as the codec's own
/// version.
///
/// # Examples
///
/// ```
/// use ottla::{Broker, Codec, CodecError, Start, TopicConfig};
///
/// struct Text;
///
/// impl Codec<String> for Text {
///     fn name(&self) -> &str {
///         "text"
///     }
///
///     fn encode(&self, value: &String, into: &mut Vec<u8>) -> Result<(), CodecError> {
///         into.extend_from_slice(value.as_bytes());
///         Ok(())
///     }
///
///     fn decode(&self, bytes: &[u8], _version: u32) -> Result<String, CodecError> {
///         Ok(str::from_utf8(bytes)?.to_owned())
///     }
/// }
///
/// let broker = Broker::temporary()?;
/// let topic = broker.create_topic("greetings", TopicConfig::default())?;
/// let greetings = topic.typed::<String>(Text).keyed_by(|text| Some(text.clone().into_bytes()));
/// greetings.append(&"hello".to_owned())?;
/// let (text, record) = greetings.reader(Start::Earliest)?.next().expect("it was appended")?;
/// assert_eq!((text.as_str(), record.offset), ("hello", 0));
/// # Ok::<(), ottla::Error>(())
/// ```
pub trait Codec<T>: Send + Sync {
    /// The name in the header of each record.
    fn name(&self) -> &str;

    /// The version that this codec writes, and the latest that it reads: by default 1.
    fn version(&self) -> u32 {
        1
    }

    /// Appends the bytes of a value to `into`.
    ///
    /// # Errors
    ///
    /// The value cannot be encoded: [`Error::Unencodable`](crate::Error::Unencodable) has this
    /// error, and nothing is appended.
    fn encode(&self, value: &T, into: &mut Vec<u8>) -> Result<(), CodecError>;

    /// Decodes bytes of `version`, which is at most the codec's own. The bytes of a tombstone are
    /// empty.
    ///
    /// # Errors
    ///
    /// The bytes are not such a value: [`Error::Undecodable`](crate::Error::Undecodable) has this
    /// error.
    fn decode(&self, bytes: &[u8], version: u32) -> Result<T, CodecError>;
}

impl<T, C: Codec<T> + ?Sized> Codec<T> for Arc<C> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn version(&self) -> u32 {
        (**self).version()
    }

    fn encode(&self, value: &T, into: &mut Vec<u8>) -> Result<(), CodecError> {
        (**self).encode(value, into)
    }

    fn decode(&self, bytes: &[u8], version: u32) -> Result<T, CodecError> {
        (**self).decode(bytes, version)
    }
}

/// A value with a key, for [`TypedTopic::append`](crate::TypedTopic::append): equal keys go to the
/// same partition, in order.
pub trait Keyed {
    /// The key: a `&str`, a `String`, a `Vec<u8>`, an array.
    fn key(&self) -> impl AsRef<[u8]>;
}

/// JSON: a [`Codec`] for every type of serde, which skips unknown fields and fills in missing ones
/// that are `#[serde(default)]`, so a type can gain fields without a new version.
///
/// Records are named `json/1`; [`Json::named`] chooses another name.
///
/// # Examples
///
/// ```
/// use ottla::{Broker, Json, Keyed, Start, TopicConfig};
///
/// #[derive(serde::Serialize, serde::Deserialize, Debug, PartialEq)]
/// struct Departure {
///     tail: String,
///     minutes_late: i32,
/// }
///
/// impl Keyed for Departure {
///     fn key(&self) -> impl AsRef<[u8]> {
///         &self.tail
///     }
/// }
///
/// let broker = Broker::temporary()?;
/// let topic = broker.create_topic("flights", TopicConfig::default())?;
/// let departures = topic.typed::<Departure>(Json::named("departure", 1));
/// let late = Departure { tail: "N14228".into(), minutes_late: 2 };
/// departures.append(&late)?;
/// let (read, record) = departures.reader(Start::Earliest)?.next().expect("it was appended")?;
/// assert_eq!(read, late);
/// assert_eq!(record.key(), Some(&b"N14228"[..]));
/// # Ok::<(), ottla::Error>(())
/// ```
#[cfg(feature = "json")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json;

/// [`Json`] with a name and a version: see [`Json::named`].
#[cfg(feature = "json")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedJson {
    name: Arc<str>,
    version: u32,
}

#[cfg(feature = "json")]
impl Json {
    /// JSON with this name and version in the header of each record. Every earlier version is read
    /// like this one.
    #[must_use]
    pub fn named(name: &str, version: u32) -> NamedJson {
        NamedJson {
            name: name.into(),
            version,
        }
    }
}

#[cfg(feature = "json")]
impl<T: serde::Serialize + serde::de::DeserializeOwned> Codec<T> for Json {
    fn name(&self) -> &'static str {
        "json"
    }

    fn encode(&self, value: &T, into: &mut Vec<u8>) -> Result<(), CodecError> {
        Ok(serde_json::to_writer(into, value)?)
    }

    fn decode(&self, bytes: &[u8], _version: u32) -> Result<T, CodecError> {
        Ok(serde_json::from_slice(bytes)?)
    }
}

#[cfg(feature = "json")]
impl<T: serde::Serialize + serde::de::DeserializeOwned> Codec<T> for NamedJson {
    fn name(&self) -> &str {
        &self.name
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn encode(&self, value: &T, into: &mut Vec<u8>) -> Result<(), CodecError> {
        Json.encode(value, into)
    }

    fn decode(&self, bytes: &[u8], version: u32) -> Result<T, CodecError> {
        Json.decode(bytes, version)
    }
}

#[derive(Clone)]
pub(crate) struct Typing<C> {
    codec: C,
    header: Arc<str>,
}

impl<C> fmt::Debug for Typing<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Typing").field(&self.header).finish()
    }
}

impl<C> Typing<C> {
    pub(crate) fn new<T>(codec: C) -> Self
    where
        C: Codec<T>,
    {
        let header = format!("{}/{}", codec.name(), codec.version());
        Self {
            codec,
            header: header.into(),
        }
    }

    /// Encodes a value and passes its record to `then`.
    pub(crate) fn encode<T, R>(
        &self,
        value: &T,
        key: Option<&[u8]>,
        then: impl FnOnce(Record<'_>) -> R,
    ) -> Result<R, CodecError>
    where
        C: Codec<T>,
    {
        let mut bytes = Vec::new();
        self.codec.encode(value, &mut bytes)?;
        let headers = [Header::new(TYPE_HEADER, self.header.as_ref())];
        let record = match key {
            Some(key) => Record::keyed(key, &bytes),
            None => Record::new(&bytes),
        };
        Ok(then(record.with_headers(&headers)))
    }

    pub(crate) fn decode<'a, T>(
        &self,
        value: Option<&[u8]>,
        mut headers: impl Iterator<Item = Header<'a>>,
    ) -> Result<T, CodecError>
    where
        C: Codec<T>,
    {
        let (name, own) = (self.codec.name(), self.codec.version());
        let header = headers.find(|header| header.name == TYPE_HEADER.as_bytes());
        let version = match header.and_then(|header| header.value) {
            None => own,
            Some(header) => version_in(&String::from_utf8_lossy(header), name)?,
        };
        if version > own {
            let reason =
                format!("it is version {version} of {name}, and the codec reads up to {own}");
            return Err(reason.into());
        }
        self.codec.decode(value.unwrap_or_default(), version)
    }
}

/// The version in the header; an error if it names another type.
fn version_in(header: &str, name: &str) -> Result<u32, CodecError> {
    let parts = header.rsplit_once('/').filter(|(of, _)| *of == name);
    parts
        .and_then(|(_, version)| version.parse().ok())
        .ok_or_else(|| format!("its type is {header:?}, not {name}").into())
}
