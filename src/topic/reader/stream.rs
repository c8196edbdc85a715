//! A reader of a topic as a stream.
//!
//! Knows nothing about the runtime of the task.
//!
//! 1. The waker is entered, and everything is watched, before the check that decides to wait.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::{ConsumerRecord, Lane, TopicReader, Waiting};
use crate::error::{Error, Result};
use crate::sync::WakerKey;
use crate::types::{Offset, PartitionId};

use std::collections::BTreeMap;

/// A [`TopicReader`] as a stream of records, from [`TopicReader::into_stream`].
///
/// Its task waits, without a thread, for records of all partitions, added ones too. An error of one
/// partition is returned once, and the others continue; when all have failed the stream ends. It
/// also ends if the topic is deleted, after that error, or the broker is closed, without one.
///
/// It reads inline, as [`RecordStream`](crate::RecordStream) does, and wakes the task that polled
/// it last. Dropping it leaves nothing behind.
///
/// # Examples
///
/// ```
/// use std::pin::Pin;
/// use ottla::{Broker, Start, TopicConfig};
///
/// # let scratch = tempfile::tempdir()?;
/// let broker = Broker::open(scratch.path().join("data"))?;
/// let topic = broker.create_topic("flights", TopicConfig::default().partitions(4))?;
/// let mut stream = topic.reader(Start::Latest)?.into_stream();
/// topic.append("departed EWR")?;
/// # pollster::block_on(async {
/// // `StreamExt::next` of the crate `futures`.
/// let next = std::future::poll_fn(|cx| {
///     futures_core::Stream::poll_next(Pin::new(&mut stream), cx)
/// });
/// assert_eq!(next.await.expect("it is open")?.value(), Some(&b"departed EWR"[..]));
/// # Ok::<(), ottla::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a stream does nothing unless it is polled"]
pub struct TopicStream {
    reader: TopicReader,
    waiting: Option<Waiting>,
    key: WakerKey,
    over: bool,
}

enum News {
    Some,
    None,
    /// All partitions have failed: nothing will come.
    Over,
}

impl TopicReader {
    /// Turns the reader into a stream that waits for what is appended.
    pub fn into_stream(self) -> TopicStream {
        TopicStream {
            reader: self,
            waiting: None,
            key: WakerKey::default(),
            over: false,
        }
    }

    fn news(&mut self) -> Result<News> {
        if let Some(error) = &self.ended {
            return Err(error.clone());
        }
        self.topic.shared.check_alive()?;
        self.add_lanes();
        let (mut first_error, mut going_on) = (None, false);
        for lane in &self.lanes {
            match lane.has_news() {
                Ok(true) => return Ok(News::Some),
                Ok(false) => going_on = true,
                Err(_) if lane.has_reported() => {}
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        match first_error {
            Some(error) => Err(self.topic.shared.explain(error)),
            None if going_on => Ok(News::None),
            None => Ok(News::Over),
        }
    }
}

impl Lane {
    /// Whether the lane's error was returned.
    fn has_reported(&self) -> bool {
        match self {
            Self::Reading(reader) => reader.has_failed(),
            Self::Failed { told, .. } => *told,
        }
    }
}

impl TopicStream {
    /// As [`TopicReader::positions`].
    #[must_use]
    pub fn positions(&self) -> BTreeMap<PartitionId, Offset> {
        self.reader.positions()
    }

    /// Watches everything, then checks (I1).
    fn look(&mut self, cx: &Context<'_>) -> Result<News> {
        let signal = Arc::clone(&self.reader.signal);
        signal.enter(&mut self.key, cx.waker());
        let topic = &self.reader.topic.shared;
        let waiting = self
            .waiting
            .get_or_insert_with(|| Waiting::new(topic, &signal));
        waiting.watch_topic();
        self.reader.add_lanes();
        waiting.watch_lanes(&self.reader.lanes);
        self.reader.news()
    }

    fn end(&mut self, error: Option<Error>) -> Poll<Option<Result<ConsumerRecord>>> {
        self.over = true;
        self.waiting = None;
        self.reader.signal.leave(&mut self.key);
        Poll::Ready(match error {
            None | Some(Error::Closed) => None,
            Some(error) => Some(Err(error)),
        })
    }
}

impl Stream for TopicStream {
    type Item = Result<ConsumerRecord>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.over {
            return Poll::Ready(None);
        }
        loop {
            match this.reader.next() {
                Some(Err(error)) if this.reader.ended.is_some() => return this.end(Some(error)),
                Some(found) => return Poll::Ready(Some(found)),
                None => {}
            }
            match this.look(cx) {
                Ok(News::Some) => {}
                Ok(News::None) => return Poll::Pending,
                Ok(News::Over) => return this.end(None),
                Err(error) => return this.end(Some(error)),
            }
        }
    }
}
