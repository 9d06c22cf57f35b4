//! What each address answers.

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use serde::Serialize;

use super::HttpState;

/// All routes, `others` among them.
pub(super) fn router(state: HttpState, others: Router) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/livez", get(async || "ok"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/api/v1/status", get(status))
        .with_state(state)
        .merge(others)
        .fallback(async || (StatusCode::NOT_FOUND, "not found"))
        .method_not_allowed_fallback(async || (StatusCode::METHOD_NOT_ALLOWED, "method not allowed"))
}

const INDEX: &str = "<!doctype html>
<html lang=\"en\">
<head><meta charset=\"utf-8\"><title>Tidegate</title></head>
<body>
<h1>Tidegate</h1>
<ul>
<li><a href=\"livez\">/livez</a>: the process is alive</li>
<li><a href=\"readyz\">/readyz</a>: the pipeline runs and the broker answers</li>
<li><a href=\"metrics\">/metrics</a>: metrics for Prometheus</li>
<li><a href=\"api/v1/status\">/api/v1/status</a>: status as JSON</li>
</ul>
</body>
</html>
";

async fn index() -> Html<&'static str> {
    Html(INDEX)
}

async fn readyz(State(state): State<HttpState>) -> (StatusCode, String) {
    match state.status.borrow().ready() {
        Ok(()) => (StatusCode::OK, "ready".into()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason),
    }
}

async fn metrics(State(state): State<HttpState>) -> Response {
    // collecting takes milliseconds with many partitions, and reads files: not on a thread of the pipeline
    let encoded = tokio::task::spawn_blocking(move || state.metrics.encode()).await;
    let error = match encoded {
        Ok(Ok(text)) => return ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    (StatusCode::INTERNAL_SERVER_ERROR, error).into_response()
}

/// The answer of `/api/v1/status`.
#[derive(Serialize)]
struct StatusBody {
    version: &'static str,
    phase: &'static str,
    reason: Option<String>,
    epoch: u64,
    generation: u64,
    uptime_s: u64,
}

async fn status(State(state): State<HttpState>) -> Json<StatusBody> {
    let status = state.status.borrow();
    Json(StatusBody {
        version: env!("CARGO_PKG_VERSION"),
        phase: status.phase.as_str(),
        reason: status.reason.clone(),
        epoch: status.epoch.0,
        generation: status.generation.0,
        uptime_s: state.started.elapsed().as_secs(),
    })
}
