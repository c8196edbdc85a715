//! A member of a group that reads values of one type.
//!
//! Knows nothing about how bytes become values.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::topic::{Codec, ConsumerRecord, Typing, decode};

use super::Consumer;

/// A [`Consumer`] whose records are values of one type, from [`Consumer::typed`]. It dereferences
/// to the consumer.
pub struct TypedConsumer<T, C = Arc<dyn Codec<T>>> {
    consumer: Consumer,
    typing: Typing<C>,
    values: PhantomData<fn() -> T>,
}

impl Consumer {
    /// The same member, reading values of one type from all its topics.
    ///
    /// # Examples
    ///
    /// See "Typed events with a version" in [the recipes](crate::docs::recipes).
    #[must_use]
    pub fn typed<T>(self, codec: impl Codec<T> + 'static) -> TypedConsumer<T> {
        let codec: Arc<dyn Codec<T>> = Arc::new(codec);
        TypedConsumer {
            consumer: self,
            typing: Typing::new(codec),
            values: PhantomData,
        }
    }
}

impl<T, C: Codec<T>> TypedConsumer<T, C> {
    /// As [`Consumer::poll`]. A record that cannot be decoded is an
    /// [`Error::Undecodable`](crate::Error::Undecodable) with its place: skip it, or append it to a
    /// dead-letter topic. A commit covers it, too.
    ///
    /// # Errors
    ///
    /// As [`Consumer::poll`].
    pub fn poll(&mut self, timeout: Duration) -> Result<Vec<Result<(T, ConsumerRecord)>>> {
        let records = self.consumer.poll(timeout)?.into_iter();
        Ok(records.map(|record| decode(&self.typing, record)).collect())
    }

    /// The consumer without the type.
    #[must_use]
    pub fn into_consumer(self) -> Consumer {
        self.consumer
    }
}

impl<T, C> Deref for TypedConsumer<T, C> {
    type Target = Consumer;

    fn deref(&self) -> &Consumer {
        &self.consumer
    }
}

impl<T, C> DerefMut for TypedConsumer<T, C> {
    fn deref_mut(&mut self) -> &mut Consumer {
        &mut self.consumer
    }
}

impl<T, C> fmt::Debug for TypedConsumer<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TypedConsumer")
            .field(&self.consumer)
            .finish()
    }
}
