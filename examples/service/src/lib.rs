//! The service: POST appends a record, GET streams a partition by server-sent events.
//!
//! Knows nothing about the command line and signals. Nothing here blocks a thread of the runtime
//! for a sync, and no client costs a thread.
//!
//! 1. A POST is answered when its record is safe. A client that goes away before that changes
//!    nothing about the record.
//! 2. An event's id is the offset of its record, so that a client which has seen an id continues
//!    behind it.
//! 3. After a shutdown everything that was answered is in the directory, which is closed.

mod failure;

use std::borrow::Cow;
use std::error::Error;
use std::future::{Future, IntoFuture as _};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use axum::{Json, Router};
use futures_util::{Stream, StreamExt as _};
use ottla::{Broker, LogRecord, Offset, PartitionId, Record, Start, Topic};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use failure::Failure;

/// The largest body that is read; topics take 1 MiB by default.
const BODY_MAX: usize = 2 << 20;

/// How long a shutdown waits for clients that do not read what they were sent: less than the 30
/// seconds after which process managers kill.
const GRACE: Duration = Duration::from_secs(25);

/// Every so many polls of a task a thread of the runtime looks for what came in. At tokio's own 61
/// a request waits for as many streams to be served.
const POLLS_PER_LOOK: u32 = 16;

/// How long a stream without events is silent, at least, and how much longer at most.
const SILENCE: Duration = Duration::from_secs(10);
const SILENCE_MORE_MILLIS: u32 = 5_000;

/// A runtime for the service.
#[must_use]
pub fn runtime() -> Builder {
    let mut runtime = Builder::new_multi_thread();
    runtime.enable_all().event_interval(POLLS_PER_LOOK);
    runtime
}

/// Serves until it is asked to stop; then everything that was begun is finished, and the broker
/// closed.
pub async fn serve(
    listener: TcpListener,
    broker: Broker,
    stop: impl Future<Output = ()>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (end, ended) = oneshot::channel::<()>();
    let at_end = async move { drop(ended.await) };
    // An event is small and complete: it must not wait for the acknowledgement of the last one.
    let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
    let server = axum::serve(listener, router(broker.clone())).with_graceful_shutdown(at_end);
    let server = tokio::spawn(server.into_future());

    stop.await;
    // No connection is accepted any more.
    drop(end);
    // Streams end and POSTs that wait are answered, by which their connections end.
    let closed = broker.close_async().await;
    match tokio::time::timeout(GRACE, server).await {
        Ok(done) => done??,
        Err(_) => eprintln!("some clients did not read to the end"),
    }
    Ok(closed?)
}

/// The routes.
pub fn router(broker: Broker) -> Router {
    Router::new()
        .route("/topics/{topic}", post(append))
        .route("/topics/{topic}/{partition}", get(stream))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(broker)
}

#[derive(Deserialize)]
struct Placed {
    /// Records of the same key go to the same partition.
    key: Option<String>,
}

#[derive(Serialize)]
struct Appended {
    partition: PartitionId,
    offset: Offset,
}

/// Text, because an event is text.
async fn append(
    State(broker): State<Broker>,
    Path(topic): Path<String>,
    Query(placed): Query<Placed>,
    body: String,
) -> Result<(StatusCode, Json<Appended>), Failure> {
    let topic = find(&broker, &topic)?;
    let record = match &placed.key {
        Some(key) => Record::keyed(key, &body),
        None => Record::new(&body),
    };
    // The append is done by this call, in the order of these calls. What is awaited is the sync,
    // which all POSTs that wait at the same time share.
    let appended = topic.append_async(record)?.await?;
    let (partition, offset) = (appended.partition, appended.offset);
    Ok((StatusCode::CREATED, Json(Appended { partition, offset })))
}

#[derive(Deserialize)]
struct Position {
    from: Option<Offset>,
}

async fn stream(
    State(broker): State<Broker>,
    Path((topic, partition)): Path<(String, PartitionId)>,
    Query(position): Query<Position>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, axum::Error>>>, Failure> {
    let from = match last_event_id(&headers)? {
        Some(seen) => Start::Offset(seen.saturating_add(1)),
        None => position.from.map_or(Start::Latest, Start::Offset),
    };
    let log = find(&broker, &topic)?.partition(partition)?;
    // It reads in the thread that polls it, mostly from memory. For long histories on a slow disk
    // see the recipe "An async service".
    let records = log.reader(from)?.into_stream();
    let events = records.map(|record| match record {
        Ok(record) => Event::default()
            .id(record.offset.to_string())
            .json_data(Line::from(&record)),
        // The last one. A client that connects again gets the error as a status.
        Err(error) => Event::default()
            .event("failed")
            .json_data(error.to_string()),
    });
    // Without comments now and then nobody would notice that a client is gone.
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(silence())))
}

/// How long the next stream may be silent. Each has a time of its own: thousands that have seen the
/// same record would otherwise all send their comment at once, with every POST behind them.
fn silence() -> Duration {
    static STREAMS: AtomicU32 = AtomicU32::new(0);
    let number = STREAMS.fetch_add(1, Ordering::Relaxed);
    // A prime, so that streams which begin one after the other are far apart.
    let more = number.wrapping_mul(617) % SILENCE_MORE_MILLIS;
    SILENCE + Duration::from_millis(more.into())
}

/// A record as an event. JSON, so that a line break in a value is no line break of the event.
#[derive(Serialize)]
struct Line<'a> {
    timestamp: i64,
    key: Option<Cow<'a, str>>,
    value: Option<Cow<'a, str>>,
}

impl<'a> From<&'a LogRecord> for Line<'a> {
    fn from(record: &'a LogRecord) -> Self {
        Self {
            timestamp: record.timestamp.as_millis(),
            key: record.key().map(String::from_utf8_lossy),
            value: record.value().map(String::from_utf8_lossy),
        }
    }
}

/// What an `EventSource` sends when it connects again: the id of the last event that it saw.
fn last_event_id(headers: &HeaderMap) -> Result<Option<Offset>, Failure> {
    let Some(id) = headers.get("last-event-id") else {
        return Ok(None);
    };
    let offset = id.to_str().ok().and_then(|id| id.parse().ok());
    let offset = offset.ok_or_else(|| Failure::bad_request("Last-Event-ID is not an offset"))?;
    Ok(Some(offset))
}

/// A topic; one that cannot exist is another fault than one that does not.
fn find(broker: &Broker, name: &str) -> Result<Topic, Failure> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    if name.len() > 249 || !name.chars().all(allowed) || name == "." || name == ".." {
        return Err(Failure::bad_request(format!(
            "{name:?} is no name of a topic"
        )));
    }
    Ok(broker.topic(name)?)
}
