//! What each address answers.

use super::{HttpState, api, page};
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

/// All routes, `others` among them.
pub(super) fn router(state: HttpState, others: Router) -> Router {
    Router::new()
        .route("/livez", get(async || "ok"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .merge(api::router())
        .with_state(state)
        .merge(page::router())
        .merge(others)
        .fallback(async || (StatusCode::NOT_FOUND, "not found"))
        .method_not_allowed_fallback(async || (StatusCode::METHOD_NOT_ALLOWED, "method not allowed"))
}

async fn readyz(State(state): State<HttpState>) -> (StatusCode, String) {
    match state.status.borrow().ready() {
        Ok(()) => (StatusCode::OK, "ready".into()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason),
    }
}

async fn metrics(State(state): State<HttpState>) -> Response {
    // Collecting takes milliseconds with many partitions, and reads files: not on a thread of the pipeline.
    let encoded = tokio::task::spawn_blocking(move || state.metrics.encode()).await;
    let error = match encoded {
        Ok(Ok(text)) => return ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    (StatusCode::INTERNAL_SERVER_ERROR, error).into_response()
}
