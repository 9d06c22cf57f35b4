//! `GET /api/v1/topics` and `GET /api/v1/topics/{name}/records`.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidegate_core::NextOffset;
use tidegate_log::{
    Headers, LogError,
    embedded::{Page, ReadRecord},
};

use super::{LogApi, log_problem, problem};

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;
/// About as much as one answer holds.
const MAX_BYTES: usize = 4 << 20;

/// One topic.
#[derive(Serialize)]
struct TopicBody<'a> {
    topic: &'a str,
    partitions: Vec<RangeBody>,
}

#[derive(Serialize)]
struct RangeBody {
    partition: usize,
    begin: i64,
    end: i64,
}

/// The topics and what of them can be read.
pub(super) async fn topics(State(api): State<Arc<LogApi>>) -> Response {
    let body = |topic| {
        let ranges = api.store.ranges(topic)?.into_iter().enumerate();
        let range = |(partition, range): (usize, tidegate_log::OffsetRange)| RangeBody {
            partition,
            begin: range.begin.0,
            end: range.end.0,
        };
        Some(TopicBody { topic, partitions: ranges.map(range).collect() })
    };
    Json(api.topics.iter().filter_map(|topic| body(topic.as_str())).collect::<Vec<_>>()).into_response()
}

/// What to read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    #[serde(default)]
    partition: u32,
    /// From the end if it is negative.
    offset: Option<i64>,
    limit: Option<usize>,
}

#[derive(Serialize)]
struct PageBody<'a> {
    topic: &'a str,
    partition: u32,
    begin: i64,
    end: i64,
    next: i64,
    records: Vec<RecordBody<'a>>,
}

#[derive(Serialize)]
struct RecordBody<'a> {
    offset: i64,
    timestamp: i64,
    key: Option<Text<'a>>,
    value: Option<Shown<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    headers: Vec<(Text<'a>, Option<Text<'a>>)>,
}

/// A value: as it stands if it is JSON.
#[derive(Serialize)]
#[serde(untagged)]
enum Shown<'a> {
    Json(&'a RawValue),
    Text(Text<'a>),
}

/// Bytes that should be text.
#[derive(Serialize)]
#[serde(untagged)]
enum Text<'a> {
    Text(&'a str),
    Bytes { hex: String },
}

impl<'a> Text<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        let hex = || bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        str::from_utf8(bytes).map_or_else(|_| Self::Bytes { hex: hex() }, Self::Text)
    }
}

/// Committed records of one partition.
pub(super) async fn records(
    State(api): State<Arc<LogApi>>,
    Path(name): Path<String>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Response {
    let wanted = match wanted {
        Ok(Query(wanted)) => wanted,
        Err(error) => return problem(StatusCode::BAD_REQUEST, error.body_text()),
    };
    if !api.topics.contains(&name) {
        return problem(StatusCode::NOT_FOUND, format_args!("no topic {name:?}; see /api/v1/topics"));
    }
    // It reads files, and may meet a page of records.
    let read = tokio::task::spawn_blocking(move || {
        let body = page(&api, &name, &wanted)?;
        Ok(([(axum::http::header::CONTENT_TYPE, "application/json")], body).into_response())
    });
    match read.await {
        Ok(Ok(response)) => response,
        Ok(Err(Failed::NoPartition(name))) => {
            problem(StatusCode::NOT_FOUND, format_args!("{name} has no such partition"))
        }
        Ok(Err(Failed::Log(error))) => log_problem(&error),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, error),
    }
}

enum Failed {
    NoPartition(String),
    Log(LogError),
}

impl From<LogError> for Failed {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

fn page(api: &LogApi, name: &str, wanted: &Wanted) -> Result<Vec<u8>, Failed> {
    let ranges = api.store.ranges(name).unwrap_or_default();
    let missing = || Failed::NoPartition(name.to_owned());
    let range = ranges.get(wanted.partition as usize).ok_or_else(missing)?;
    let from = match wanted.offset {
        None => range.begin,
        Some(back @ ..0) => NextOffset(range.end.0.saturating_add(back)).max(range.begin),
        Some(offset) => NextOffset(offset),
    };
    let limit = wanted.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
    let page = api.store.read(name, wanted.partition, from, limit, MAX_BYTES)?.ok_or_else(missing)?;
    Ok(encode(name, wanted.partition, &page))
}

fn encode(topic: &str, partition: u32, page: &Page) -> Vec<u8> {
    let body = PageBody {
        topic,
        partition,
        begin: page.range.begin.0,
        end: page.range.end.0,
        next: page.next.0,
        records: page.records.iter().map(record).collect(),
    };
    // Nothing in it can fail to be written to memory.
    serde_json::to_vec(&body).unwrap_or_default()
}

fn record(record: &ReadRecord) -> RecordBody<'_> {
    let shown =
        |bytes| serde_json::from_slice(bytes).map_or_else(|_| Shown::Text(Text::of(bytes)), Shown::Json);
    let header = |(name, value): (_, Option<_>)| (Text::of(name), value.map(Text::of));
    RecordBody {
        offset: record.offset,
        timestamp: record.timestamp.0,
        key: record.key.as_deref().map(Text::of),
        value: record.value.as_deref().map(shown),
        headers: Headers(&record.headers).into_iter().map(header).collect(),
    }
}
