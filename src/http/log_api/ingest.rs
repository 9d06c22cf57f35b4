//! `POST /api/v1/events`.

use std::{future::poll_fn, pin::Pin, sync::Arc};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use serde_json::json;
use tidegate_core::event::Reason;
use tidegate_log::{
    LogError,
    embedded::{NewRecord, Place},
    push_header,
};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    LogApi, MAX_BODY,
    encoding::{self, Encoding, Undecodable},
    log_problem, problem, told,
};

/// Bodies that are in memory at a time, all together.
pub(super) const MAX_IN_MEMORY: usize = 64 << 20;
/// Most events in one request; many small ones take far more memory than their bytes.
const MAX_EVENTS: usize = 50_000;
const TRACE_HEADER: &str = "traceparent";

/// Appends the events of the body to the input, all or none.
pub(super) async fn events(State(api): State<Arc<LogApi>>, request: Request) -> Response {
    let trace = request.headers().get(TRACE_HEADER).map(|value| value.as_bytes().to_vec());
    let encoding = Encoding::of(request.headers());
    let body = request.into_body();
    let Some(encoding) = encoding else { return refuse(body, not_decodable()).await };
    // Without a length it may become as large as is allowed.
    let size = body.size_hint().upper().map_or(MAX_BODY, |size| usize::try_from(size).unwrap_or(usize::MAX));
    if size > MAX_BODY {
        return refuse(body, too_large()).await;
    }
    let permits = size.div_ceil(1 << 10) as u32;
    let Ok(_memory) = Arc::clone(&api.memory).try_acquire_many_owned(permits) else {
        return refuse(body, busy()).await;
    };
    let body = match read(body).await {
        Ok(body) => body,
        Err(response) => return response,
    };
    let (body, _more_memory) = match decoded(&api, encoding, body).await {
        Ok(decoded) => decoded,
        Err(response) => return response,
    };
    let records = match records(&api, &body, trace.as_deref()) {
        Ok(records) => records,
        Err(response) => return *response,
    };
    append(api, records).await
}

/// The whole body, unless it is too large.
async fn read(mut body: Body) -> Result<Vec<u8>, Response> {
    let mut bytes = Vec::new();
    while let Some(piece) = piece(&mut body).await {
        match piece {
            Ok(piece) if bytes.len() + piece.len() <= MAX_BODY => bytes.extend_from_slice(&piece),
            Ok(_) => return Err(refuse(body, too_large()).await),
            Err(error) => {
                let text = format_args!("the body cannot be read: {error}");
                return Err(problem(StatusCode::BAD_REQUEST, text));
            }
        }
    }
    Ok(bytes)
}

/// Answers a request whose body is not wanted. A client that is still writing would not see the answer if the
/// connection were closed on it, so some of it is read and forgotten.
async fn refuse(mut body: Body, response: Response) -> Response {
    let mut left = MAX_BODY;
    while let Some(Ok(piece)) = piece(&mut body).await {
        match left.checked_sub(piece.len()) {
            Some(rest) => left = rest,
            None => break,
        }
    }
    response
}

async fn piece(body: &mut Body) -> Option<Result<Bytes, axum::Error>> {
    loop {
        match poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await? {
            Ok(frame) => {
                // Trailers are of no interest.
                if let Ok(data) = frame.into_data() {
                    return Some(Ok(data));
                }
            }
            Err(error) => return Some(Err(error)),
        }
    }
}

/// What was encoded, and the leave to have it in memory.
async fn decoded(
    api: &Arc<LogApi>,
    encoding: Encoding,
    body: Vec<u8>,
) -> Result<(Vec<u8>, Option<OwnedSemaphorePermit>), Response> {
    if encoding == Encoding::Identity {
        return Ok((body, None));
    }
    // The semaphore is never closed.
    let turn = Arc::clone(&api.decodings).acquire_owned().await.ok();
    let memory = Arc::clone(&api.memory);
    let decoding = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        encoding::decode(encoding, body, &memory)
    });
    match decoding.await {
        Ok(Ok(decoded)) => Ok(decoded),
        Ok(Err(Undecodable::TooLarge)) => Err(too_large()),
        Ok(Err(Undecodable::Busy)) => Err(busy()),
        Ok(Err(Undecodable::Broken(error))) => {
            let name = if encoding == Encoding::Gzip { "gzip" } else { "zstd" };
            let text = format_args!("the body is not {name}, as its Content-Encoding says: {error}");
            Err(problem(StatusCode::BAD_REQUEST, text))
        }
        Err(error) => Err(problem(StatusCode::SERVICE_UNAVAILABLE, format_args!("decoding: {error}"))),
    }
}

fn busy() -> Response {
    problem(StatusCode::TOO_MANY_REQUESTS, "too much is being written at this moment")
}

fn not_decodable() -> Response {
    let text = "this Content-Encoding cannot be decoded here; send gzip or zstd, or no Content-Encoding";
    let mut response = problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, text);
    response.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd"));
    response
}

fn too_large() -> Response {
    problem(StatusCode::PAYLOAD_TOO_LARGE, format_args!("at most {} MiB in one request", MAX_BODY >> 20))
}

/// The events: the body if it is one object as a whole, otherwise each of its lines.
fn records(api: &LogApi, body: &[u8], trace: Option<&[u8]>) -> Result<Vec<NewRecord>, Box<Response>> {
    let mut headers = Vec::new();
    if let Some(trace) = trace {
        push_header(&mut headers, TRACE_HEADER.as_bytes(), Some(trace));
    }
    let timestamp = api.clock.now();
    let record = |value: &[u8], key: Option<Vec<u8>>| NewRecord {
        partition: None,
        timestamp,
        key,
        value: Some(value.to_vec()),
        headers: headers.clone(),
    };
    let whole = body.trim_ascii();
    if whole.is_empty() {
        return Err(Box::new(problem(StatusCode::BAD_REQUEST, "there is no event in the body")));
    }
    if whole.contains(&b'\n')
        && let Ok(key) = key(api, whole)
    {
        return Ok(vec![record(whole, key)]);
    }
    let lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).enumerate();
    let events = lines.filter(|(_, line)| !line.is_empty());
    if events.clone().nth(MAX_EVENTS).is_some() {
        let text = format_args!("at most {MAX_EVENTS} events in one request");
        return Err(Box::new(problem(StatusCode::PAYLOAD_TOO_LARGE, text)));
    }
    events
        .map(|(index, line)| match key(api, line) {
            Ok(key) => Ok(record(line, key)),
            Err((status, text)) => Err(Box::new(told(status, json!({ "error": text, "line": index + 1 })))),
        })
        .collect()
}

/// The key of an event, or why this is none. What else may be wrong with it makes it a dead letter later.
fn key(api: &LogApi, event: &[u8]) -> Result<Option<Vec<u8>>, (StatusCode, String)> {
    match api.keys.parse(event) {
        Ok(found) => Ok(Some(found.event_type.as_bytes().to_vec())),
        Err(rejection) => match rejection.reason {
            Reason::MissingEventType | Reason::InvalidField => Ok(None),
            Reason::TooLarge => Err((StatusCode::PAYLOAD_TOO_LARGE, rejection.detail)),
            _ => Err((StatusCode::BAD_REQUEST, rejection.detail)),
        },
    }
}

/// Answers when the events are on the disk. A client that goes away does not stop it.
async fn append(api: Arc<LogApi>, records: Vec<NewRecord>) -> Response {
    // The semaphore is never closed.
    let Ok(turn) = Arc::clone(&api.appends).acquire_owned().await else {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "stopping");
    };
    let appended = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        api.store.append(&api.topics[0], records)
    });
    let outcome = appended
        .await
        .unwrap_or_else(|error| Err(LogError::Broken { what: "appending", cause: error.to_string() }));
    match outcome {
        Ok(places) => {
            let place = |place: Place| json!({ "partition": place.partition, "offset": place.offset });
            told(
                StatusCode::ACCEPTED,
                json!({ "records": places.into_iter().map(place).collect::<Vec<_>>() }),
            )
        }
        Err(error) => log_problem(&error),
    }
}
