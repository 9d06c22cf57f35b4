//! What an embedded log has instead of Kafka's clients: events come in and records are read back over HTTP.

mod encoding;
mod ingest;
mod records;

use std::sync::Arc;

use axum::{
    Json, Router,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use tidegate_config::Settings;
use tidegate_core::event::{EventParser, FieldPaths};
use tidegate_host::Clock;
use tidegate_log::{LogError, embedded::EmbeddedStore};
use tokio::sync::Semaphore;

use self::ingest::MAX_IN_MEMORY;
use crate::wiring;

/// Largest body, as it comes and decoded.
const MAX_BODY: usize = 16 << 20;
/// Appends that wait for the disk at a time; each takes a thread.
const APPENDS: usize = 64;
/// Bodies that are decoded at a time; each takes a thread, and up to 8 MiB beside what comes out.
const DECODINGS: usize = 2;

/// What the routes work with.
struct LogApi {
    store: EmbeddedStore,
    /// Names of the topics; the first is the input.
    topics: [String; 5],
    /// Finds the key of an event.
    keys: EventParser,
    clock: Clock,
    /// In KiB, for bodies that are in memory.
    memory: Arc<Semaphore>,
    appends: Arc<Semaphore>,
    decodings: Arc<Semaphore>,
}

/// Routes for an embedded log.
pub(crate) fn log_routes(settings: &Settings, store: EmbeddedStore) -> Router {
    routes(store, wiring::topic_names(settings), MAX_IN_MEMORY)
}

fn routes(store: EmbeddedStore, topics: [String; 5], memory: usize) -> Router {
    let api = LogApi {
        store,
        topics,
        // The key is the user, and nothing else of the event matters here.
        keys: EventParser::new(&FieldPaths {
            event_type: vec![vec!["user_id".to_owned()]],
            timestamp: Vec::new(),
            service: Vec::new(),
            ip: Vec::new(),
            user_agent: Vec::new(),
        }),
        clock: Clock::start(),
        memory: Arc::new(Semaphore::new(memory >> 10)),
        appends: Arc::new(Semaphore::new(APPENDS)),
        decodings: Arc::new(Semaphore::new(DECODINGS)),
    };
    Router::new()
        .route("/api/v1/events", post(ingest::events))
        .route("/api/v1/topics", get(records::topics))
        .route("/api/v1/topics/{name}/records", get(records::records))
        .with_state(Arc::new(api))
}

/// The same paths where there is no embedded log.
pub(crate) fn no_log_routes() -> Router {
    let absent =
        async || problem(StatusCode::NOT_FOUND, "only with `log = \"embedded\"`; use Kafka's clients");
    Router::new()
        .route("/api/v1/events", post(absent))
        .route("/api/v1/topics", get(absent))
        .route("/api/v1/topics/{name}/records", get(absent))
}

fn problem(status: StatusCode, text: impl ToString) -> Response {
    told(status, json!({ "error": text.to_string() }))
}

/// With the header that says when to try again, where that makes sense.
fn told(status: StatusCode, body: Value) -> Response {
    let mut response = (status, Json(body)).into_response();
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    }
    response
}

fn log_problem(error: &LogError) -> Response {
    let status = match error {
        LogError::Backlog(_) => StatusCode::TOO_MANY_REQUESTS,
        LogError::NoSpace(_) => StatusCode::INSUFFICIENT_STORAGE,
        LogError::Misconfigured(_) => StatusCode::BAD_REQUEST,
        LogError::Damaged { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        LogError::OffsetOutOfRange { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    problem(status, error)
}

#[cfg(test)]
mod tests;
