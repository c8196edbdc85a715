//! A reader as a stream: it waits as a task, in little memory.
//!
//! Knows nothing about the runtime of the task.
//!
//! 1. The waker is entered before the check of the log's end that decides to wait, as with
//!    [`Ticket`](crate::sync::Ticket).
//! 2. A waiting stream keeps a position and none of the memory that was read into.

use std::mem::{replace, take};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::{BatchCursor, Filter, Log, Place, Reader};
use crate::error::{Error, Result};
use crate::format::LogRecord;
use crate::segment::{ReadStart, Segment};
use crate::sync::WakerKey;
use crate::types::{Epoch, Offset};

use std::sync::Arc;

/// A [`Reader`] as a stream of records, from [`Reader::into_stream`].
///
/// At the end of the log it waits, as a task without a thread, for appends. It returns an error
/// once, and then ends; when the log is closed it ends without one. After its end it returns
/// `None`.
///
/// A poll reads the file inline, usually from the page cache, and never yields while there is
/// something to read. If that is too slow for an executor's thread (a cold disk), read on a thread
/// of your own: see the recipe in [`docs::recipes`](crate::docs).
///
/// Waiting takes less than 300 bytes, whatever was read, and keeps the log open. The task that
/// polled last is woken. A drop leaves nothing behind, and another stream can continue at
/// [`position`](Self::position), above every returned record.
///
/// # Examples
///
/// ```
/// use std::pin::Pin;
/// use ottla::{Log, LogConfig, RecordStream};
///
/// // `StreamExt::next` of the crate `futures`, in two lines.
/// async fn next(stream: &mut RecordStream) -> Option<ottla::Result<ottla::LogRecord>> {
///     std::future::poll_fn(|cx| futures_core::Stream::poll_next(Pin::new(&mut *stream), cx)).await
/// }
///
/// # let scratch = tempfile::tempdir()?;
/// # let dir = scratch.path().join("events");
/// let log = Log::open(dir, LogConfig::default())?;
/// let mut stream = log.reader(0)?.into_stream();
/// let appending = log.clone();
/// let thread = std::thread::spawn(move || appending.append("hello").map(|_| ()));
/// # pollster::block_on(async {
/// let record = next(&mut stream).await.expect("the log is open")?;
/// assert_eq!(record.value(), Some(&b"hello"[..]));
/// log.close()?;
/// assert!(next(&mut stream).await.is_none());
/// # Ok::<(), ottla::Error>(())
/// # })?;
/// # thread.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a stream does nothing unless it is polled"]
pub struct RecordStream {
    state: State,
    key: WakerKey,
    position: Offset,
}

#[derive(Debug, Default)]
enum State {
    Reading(Box<Reader>),
    Waiting(Parked),
    #[default]
    Over,
}

/// What a waiting stream keeps of its reader (I2).
#[derive(Debug)]
struct Parked {
    log: Log,
    filter: Filter,
    segment: Arc<Segment>,
    read_start: ReadStart,
    truncations: u64,
    guessed: Option<Offset>,
    position: Offset,
    epoch: Epoch,
}

impl Reader {
    /// The reader as a stream, from its position on; one that has failed first returns its error.
    pub fn into_stream(self) -> RecordStream {
        RecordStream {
            position: self.position,
            state: State::Reading(Box::new(self)),
            key: WakerKey::default(),
        }
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    fn park(self) -> Parked {
        let Place {
            segment,
            cursor,
            truncations,
            epoch,
            guessed,
        } = self.place;
        Parked {
            log: self.log,
            filter: self.filter,
            segment,
            read_start: cursor.into_read_start(),
            truncations,
            guessed,
            position: self.position,
            epoch,
        }
    }
}

impl Parked {
    fn go_on(self) -> Reader {
        Reader {
            owner: self.log.shared.host.owner(),
            log: self.log,
            place: Place {
                segment: self.segment,
                cursor: BatchCursor::at(self.read_start),
                truncations: self.truncations,
                epoch: self.epoch,
                guessed: self.guessed,
            },
            current: None,
            position: self.position,
            filter: self.filter,
            failed: None,
        }
    }

    fn has_news(&self) -> Result<bool> {
        let shared = self.log.here()?;
        shared.has_news(self.position, self.epoch, &self.filter)
    }
}

impl RecordStream {
    /// See [`Reader::position`].
    #[must_use]
    pub fn position(&self) -> Offset {
        self.position
    }

    /// Called before the log is checked: an append that the check does not see wakes the task.
    fn enter(&mut self, cx: &Context<'_>) -> Result<()> {
        if let State::Waiting(parked) = &self.state {
            let shared = parked.log.here()?;
            shared.signal.enter(&mut self.key, cx.waker());
            shared.synchronize_with_appends();
        }
        Ok(())
    }

    fn leave(&mut self) {
        let log = match &self.state {
            State::Reading(reader) => &reader.log,
            State::Waiting(parked) => &parked.log,
            State::Over => return,
        };
        // No task waits in a forked process.
        if let Ok(shared) = log.here() {
            shared.signal.leave(&mut self.key);
        }
    }

    fn end(&mut self, error: Error) -> Poll<Option<Result<LogRecord>>> {
        self.leave();
        self.state = State::Over;
        Poll::Ready(match error {
            Error::Closed => None,
            error => Some(Err(error)),
        })
    }

    fn read(&mut self) -> Option<Result<LogRecord>> {
        let State::Reading(reader) = &mut self.state else {
            return None;
        };
        // A failed iterator returns nothing more.
        let failed = reader.failed.clone();
        let next = failed.map_or_else(|| reader.next(), |error| Some(Err(error)));
        // Also at the end, where a smaller state replaces the reader.
        self.position = reader.position;
        if next.is_none()
            && let State::Reading(reader) = take(&mut self.state)
        {
            self.state = State::Waiting(reader.park());
        }
        next
    }

    fn has_news(&self) -> Result<bool> {
        match &self.state {
            State::Waiting(parked) => parked.has_news(),
            State::Reading(_) => Ok(true),
            State::Over => Err(Error::Closed),
        }
    }

    fn go_on(&mut self) {
        self.leave();
        self.state = match replace(&mut self.state, State::Over) {
            State::Waiting(parked) => State::Reading(Box::new(parked.go_on())),
            other => other,
        };
    }
}

impl Stream for RecordStream {
    type Item = Result<LogRecord>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if matches!(this.state, State::Over) {
                return Poll::Ready(None);
            }
            match this.read() {
                Some(Ok(record)) => return Poll::Ready(Some(Ok(record))),
                Some(Err(error)) => return this.end(error),
                None => {}
            }
            // Most polls of a waiting stream follow an append, which the first check sees.
            let news = match this.has_news() {
                Ok(false) => this.enter(cx).and_then(|()| this.has_news()),
                looked => looked,
            };
            // Checked again: an append after the first check is seen now, or wakes the task
            // (I1).
            match news {
                Ok(true) => this.go_on(),
                Ok(false) => return Poll::Pending,
                Err(error) => return this.end(error),
            }
        }
    }
}

impl Drop for RecordStream {
    fn drop(&mut self) {
        self.leave();
    }
}
