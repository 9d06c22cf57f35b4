//! What a request may ask for on its connection: health and metrics always, the rest while there is room.

use std::sync::Arc;

use axum::{
    Router,
    extract::{ConnectInfo, Request, connect_info::Connected},
    http::{Extensions, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    serve::IncomingStream,
};

use super::{
    connection::LimitedListener,
    slots::{Slot, Streaming},
};

/// Answered on every connection, those in reserve among them.
const PROBES: [&str; 3] = ["/livez", "/readyz", "/metrics"];

/// The connection that a request came by.
#[derive(Debug, Clone)]
pub(super) struct Peer(Arc<Slot>);

impl Connected<IncomingStream<'_, LimitedListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, LimitedListener>) -> Self {
        Self(stream.io().slot())
    }
}

/// Puts the check before all routes.
pub(super) fn admitted(router: Router) -> Router {
    router.layer(middleware::from_fn(admit))
}

async fn admit(ConnectInfo(Peer(slot)): ConnectInfo<Peer>, request: Request, next: Next) -> Response {
    if slot.is_in_reserve() && !PROBES.contains(&request.uri().path()) {
        let mut response = busy("too many connections; only health and metrics are answered on this one");
        // The next one may find an ordinary place.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        return response;
    }
    let _busy = slot.busy();
    next.run(request).await
}

/// Leave to stream on the connection of a request.
///
/// # Errors
/// The answer, if there are too many streams.
#[allow(clippy::result_large_err, reason = "the error is the answer, and made once a refused stream")]
pub(super) fn stream(extensions: &Extensions) -> Result<Option<Streaming>, Response> {
    match extensions.get::<ConnectInfo<Peer>>() {
        Some(ConnectInfo(Peer(slot))) => match slot.stream() {
            Some(streaming) => Ok(Some(streaming)),
            None => Err(busy("too many streams at a time; the other paths answer")),
        },
        // Not behind a listener with limits.
        None => Ok(None),
    }
}

fn busy(text: &'static str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "2")], text).into_response()
}
