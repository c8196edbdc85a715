//! Which error of the log gets which status.
//!
//! Knows nothing about requests. What is the client's fault it is told in full; of the rest, which
//! names files, it learns only whether to try again.

use axum::http::{StatusCode, header::RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use ottla::{Error, ErrorKind};

/// A request that cannot be answered.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    text: String,
}

impl Failure {
    pub(crate) fn bad_request(text: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            text: text.into(),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = status_of(&error);
        let text = if status.is_server_error() {
            // For the operator: a full disk, a failed sync, damage.
            eprintln!("{status}: {error}");
            status.canonical_reason().unwrap_or_default().to_owned()
        } else {
            error.to_string()
        };
        Self { status, text }
    }
}

fn status_of(error: &Error) -> StatusCode {
    match error.kind() {
        ErrorKind::UnknownTopic | ErrorKind::UnknownPartition => StatusCode::NOT_FOUND,
        ErrorKind::InvalidName | ErrorKind::InvalidRecord => StatusCode::BAD_REQUEST,
        // Deleted by retention, or past the end: the text has the bounds.
        ErrorKind::OffsetOutOfRange => StatusCode::RANGE_NOT_SATISFIABLE,
        ErrorKind::RecordTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        // Kafka's own topics.
        ErrorKind::ReadOnly => StatusCode::FORBIDDEN,
        // The disk is full, the service ends, or it must be started again after a failed sync.
        ErrorKind::NoSpace | ErrorKind::Closed | ErrorKind::Poisoned => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        _ if error.is_transient() => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.text).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            let seconds = axum::http::HeaderValue::from_static("1");
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
        response
    }
}
