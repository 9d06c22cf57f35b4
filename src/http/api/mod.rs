//! The API: what the dashboard and `tidegate top` show, for anybody.

#![allow(unused_qualifications, reason = "utoipa's macros write them")]

mod bodies;
mod render;
mod stream;

use axum::{
    Json, Router,
    extract::{Query, State, rejection::QueryRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;
use utoipa::{IntoParams, OpenApi};

use self::bodies::{
    AlertsBody, CheckpointsBody, DeadLettersBody, ErrorBody, StatusBody, TopologyBody, WindowsBody,
};
use super::HttpState;

/// Windows that are told of unless more are asked for.
const WINDOWS: usize = 20;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tidegate",
        description = "What a running daemon is doing. Everything here is read only; the dashboard at `/` and \
                       `tidegate top` show nothing else. Times are milliseconds since the Unix epoch.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(status, topology, checkpoints, alerts, windows, dead_letters, config, stream::stream)
)]
struct Document;

/// The API's routes.
pub(super) fn router() -> Router<HttpState> {
    Router::new()
        .route("/api/v1/status", get(status))
        .route("/api/v1/topology", get(topology))
        .route("/api/v1/checkpoints", get(checkpoints))
        .route("/api/v1/alerts", get(alerts))
        .route("/api/v1/windows", get(windows))
        .route("/api/v1/dead-letters", get(dead_letters))
        .route("/api/v1/config", get(config))
        .route("/api/v1/stream", get(stream::stream))
        .route("/api/v1/openapi.json", get(async || Json(Document::openapi())))
}

/// How the daemon is doing, in one look.
#[utoipa::path(get, path = "/api/v1/status", responses((status = 200, body = StatusBody)))]
async fn status(State(state): State<HttpState>) -> Json<StatusBody> {
    Json(render::status(&state))
}

/// The pipeline: stages, partitions, sinks, actors.
#[utoipa::path(get, path = "/api/v1/topology", responses((status = 200, body = TopologyBody)))]
async fn topology(State(state): State<HttpState>) -> Json<TopologyBody> {
    Json(render::topology(&state).await)
}

/// The last checkpoints with their phases.
#[utoipa::path(get, path = "/api/v1/checkpoints", responses((status = 200, body = CheckpointsBody)))]
async fn checkpoints(State(state): State<HttpState>) -> Json<CheckpointsBody> {
    Json(render::checkpoints(&state, None))
}

/// The last alerts with their evidence.
#[utoipa::path(get, path = "/api/v1/alerts", responses((status = 200, body = AlertsBody)))]
async fn alerts(State(state): State<HttpState>) -> Json<AlertsBody> {
    Json(render::alerts(&state, 0))
}

#[derive(Debug, Deserialize, IntoParams)]
struct WindowsQuery {
    /// At most so many windows: 20 unless said otherwise, at most 1000.
    limit: Option<usize>,
}

/// Open windows, those nearest to an alert first.
#[utoipa::path(get, path = "/api/v1/windows", params(WindowsQuery), responses(
    (status = 200, body = WindowsBody),
    (status = 400, body = ErrorBody, description = "the limit is not a number"),
))]
async fn windows(
    State(state): State<HttpState>,
    query: Result<Query<WindowsQuery>, QueryRejection>,
) -> Response {
    match query {
        Ok(Query(WindowsQuery { limit })) => {
            Json(render::windows(&state, limit.unwrap_or(WINDOWS)).await).into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, Json(ErrorBody { error: error.body_text() })).into_response(),
    }
}

/// Dead letters by reason, with samples.
#[utoipa::path(get, path = "/api/v1/dead-letters", responses((status = 200, body = DeadLettersBody)))]
async fn dead_letters(State(state): State<HttpState>) -> Json<DeadLettersBody> {
    Json(render::dead_letters(&state))
}

/// The configuration that holds, as TOML, without secrets.
#[utoipa::path(get, path = "/api/v1/config", responses((status = 200, body = String, content_type = "text/plain")))]
async fn config(State(state): State<HttpState>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], state.facts.config.clone()).into_response()
}
