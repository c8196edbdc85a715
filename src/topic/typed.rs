//! A topic whose records are values of one type.
//!
//! Knows nothing about how values become bytes: the codec does.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::types::{Appended, Offset, PartitionId, Start};

use super::codec::{Codec, Keyed, Typing};
use super::{ConsumerRecord, Topic, TopicReader};

/// Keys of a [`TypedTopic`] from its values, which are [`Keyed`].
#[derive(Clone, Copy, Debug)]
pub struct OwnKeys;

/// Keys of a [`TypedTopic`] from the closure of [`TypedTopic::keyed_by`].
pub struct KeysBy<T>(KeyOf<T>);

type KeyOf<T> = Arc<dyn Fn(&T) -> Option<Vec<u8>> + Send + Sync>;

impl<T> Clone for KeysBy<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for KeysBy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeysBy")
    }
}

/// A topic whose records are values of one type, from [`Topic::typed`] or [`TypedTopic::new`].
/// Cheap to clone.
///
/// A record that cannot be decoded is an error with its place ([`Error::Undecodable`]), and reading
/// continues after it. [`Codec`] says what is stored with each record.
///
/// `C` is the codec, by default any; `K` is where keys come from.
pub struct TypedTopic<T, C = Arc<dyn Codec<T>>, K = OwnKeys> {
    topic: Topic,
    typing: Typing<C>,
    keys: K,
    values: PhantomData<fn(&T) -> T>,
}

impl<T, C: Clone, K: Clone> Clone for TypedTopic<T, C, K> {
    fn clone(&self) -> Self {
        Self {
            topic: self.topic.clone(),
            typing: self.typing.clone(),
            keys: self.keys.clone(),
            values: PhantomData,
        }
    }
}

impl<T, C, K> fmt::Debug for TypedTopic<T, C, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedTopic")
            .field("topic", &self.topic)
            .field("typing", &self.typing)
            .finish_non_exhaustive()
    }
}

impl Topic {
    /// The same topic for values of one type, by your own codec or `Json` (feature `json`).
    /// [`TypedTopic::new`] keeps the type of the codec.
    ///
    /// # Examples
    ///
    /// See [`Codec`] and "Typed events with a version" in [the recipes](crate::docs::recipes).
    #[must_use]
    pub fn typed<T>(&self, codec: impl Codec<T> + 'static) -> TypedTopic<T> {
        TypedTopic::new(self, Arc::new(codec))
    }
}

impl<T, C: Codec<T>> TypedTopic<T, C> {
    /// As [`Topic::typed`], for a codec whose type is known.
    ///
    /// # Examples
    ///
    /// See [`Codec`].
    #[must_use]
    pub fn new(topic: &Topic, codec: C) -> Self {
        Self {
            topic: topic.clone(),
            typing: Typing::new(codec),
            keys: OwnKeys,
            values: PhantomData,
        }
    }
}

impl<T: Keyed, C: Codec<T>> TypedTopic<T, C> {
    /// Appends a value with its own key, as [`Topic::append`].
    ///
    /// # Errors
    ///
    /// As [`Topic::append`]; [`Error::Unencodable`]: the codec refused the value.
    pub fn append(&self, value: &T) -> Result<Appended> {
        self.append_keyed(Some(value.key().as_ref()), value)
    }
}

impl<T, C: Codec<T>> TypedTopic<T, C, KeysBy<T>> {
    /// Appends a value with the key of the closure, as [`Topic::append`].
    ///
    /// # Errors
    ///
    /// As [`Topic::append`]; [`Error::Unencodable`]: the codec refused the value.
    pub fn append(&self, value: &T) -> Result<Appended> {
        self.append_keyed((self.keys.0)(value).as_deref(), value)
    }
}

impl<T, C: Codec<T>, K> TypedTopic<T, C, K> {
    /// The same topic with keys from a closure. `None` is a record without a key.
    #[must_use]
    pub fn keyed_by(
        self,
        key: impl Fn(&T) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> TypedTopic<T, C, KeysBy<T>> {
        TypedTopic {
            topic: self.topic,
            typing: self.typing,
            keys: KeysBy(Arc::new(key)),
            values: PhantomData,
        }
    }

    /// The topic without the type.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// Reads all partitions without a group: see [`Topic::reader`].
    ///
    /// # Errors
    ///
    /// As [`Topic::reader`].
    pub fn reader(&self, from: impl Into<Start>) -> Result<TypedReader<T, C>>
    where
        C: Clone,
    {
        Ok(TypedReader {
            reader: self.topic.reader(from)?,
            typing: self.typing.clone(),
            values: PhantomData,
        })
    }

    fn append_keyed(&self, key: Option<&[u8]>, value: &T) -> Result<Appended> {
        let appended = self
            .typing
            .encode(value, key, |record| self.topic.append(record));
        appended.unwrap_or_else(|source| {
            Err(Error::Unencodable {
                topic: self.topic.name().to_owned(),
                source: source.into(),
            })
        })
    }
}

/// Reads a topic as values, from [`TypedTopic::reader`]. An iterator that ends at the present end,
/// and continues when there is more.
pub struct TypedReader<T, C = Arc<dyn Codec<T>>> {
    reader: TopicReader,
    typing: Typing<C>,
    values: PhantomData<fn() -> T>,
}

impl<T, C> fmt::Debug for TypedReader<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TypedReader").field(&self.reader).finish()
    }
}

impl<T, C> TypedReader<T, C> {
    /// As [`TopicReader::wait`].
    ///
    /// # Errors
    ///
    /// As [`TopicReader::wait`].
    pub fn wait(&mut self, timeout: Duration) -> Result<bool> {
        self.reader.wait(timeout)
    }

    /// As [`TopicReader::positions`].
    #[must_use]
    pub fn positions(&self) -> BTreeMap<PartitionId, Offset> {
        self.reader.positions()
    }

    /// As [`TopicReader::seek`].
    ///
    /// # Errors
    ///
    /// As [`TopicReader::seek`].
    pub fn seek(&mut self, partition: PartitionId, to: impl Into<Start>) -> Result<()> {
        self.reader.seek(partition, to)
    }
}

/// After [`Error::Undecodable`] the next call continues after that record. Other errors are those
/// of [`TopicReader`].
impl<T, C: Codec<T>> Iterator for TypedReader<T, C> {
    type Item = Result<(T, ConsumerRecord)>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.reader.next()?;
        Some(record.and_then(|record| decode(&self.typing, record)))
    }
}

pub(crate) fn decode<T, C: Codec<T>>(
    typing: &Typing<C>,
    record: ConsumerRecord,
) -> Result<(T, ConsumerRecord)> {
    match typing.decode(record.value(), record.headers()) {
        Ok(value) => Ok((value, record)),
        Err(source) => Err(Error::Undecodable {
            topic: record.topic.as_ref().to_owned(),
            partition: record.partition,
            offset: record.offset,
            source: source.into(),
        }),
    }
}
