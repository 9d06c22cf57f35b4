//! Everything as it changes, by server-sent events.

use std::{collections::VecDeque, convert::Infallible, sync::Arc};

use axum::{
    extract::State,
    http::Extensions,
    response::{Response, Sse, sse::Event},
};
use futures_util::stream::{Stream, unfold};
use serde::Serialize;
use tidegate_core::Epoch;
use tokio::sync::watch;

use super::{WINDOWS, render};
use crate::http::{
    HttpState, admission,
    observed::{Frames, Observed, Seconds},
};

/// Everything as it changes: server-sent events, once a second.
///
/// The events `status`, `topology`, `windows` and `dead-letters` carry each second what the paths of these names
/// answer. `checkpoints` and `alerts` carry what is new since the last event of their kind on this connection, and at
/// the beginning all that is remembered.
#[utoipa::path(get, path = "/api/v1/stream", responses(
    (status = 200, body = String, content_type = "text/event-stream"),
    (status = 503, body = String, content_type = "text/plain", description = "too many streams; again after Retry-After"),
))]
pub(super) async fn stream(
    State(state): State<HttpState>,
    extensions: Extensions,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Response> {
    let leave = admission::stream(&extensions)?;
    // A client that reads slowly holds this up and so misses seconds; nothing piles up for it.
    Ok(Sse::new(unfold((Client::new(state), leave), async |(mut client, leave)| {
        let event = client.next().await?;
        Some((Ok(event), (client, leave)))
    })))
}

/// Renders what clients see this second, or takes what another client has had rendered.
async fn frames(state: &Observed) -> Frames {
    let second = state.seconds.borrow().number();
    let mut rendered = state.frames.lock().await;
    match &*rendered {
        Some((of, frames)) if *of == second => Arc::clone(frames),
        _ => {
            let frames: Frames = Arc::new([
                ("status", json(&render::status(state))),
                ("topology", json(&render::topology(state).await)),
                ("windows", json(&render::windows(state, WINDOWS).await)),
                ("dead-letters", json(&render::dead_letters(state))),
            ]);
            *rendered = Some((second, Arc::clone(&frames)));
            frames
        }
    }
}

fn json(body: &impl Serialize) -> String {
    // The bodies have nothing in them that JSON cannot say.
    serde_json::to_string(body).unwrap_or_default()
}

/// One connection.
struct Client {
    state: HttpState,
    seconds: watch::Receiver<Seconds>,
    begun: bool,
    last_epoch: Option<Epoch>,
    last_alert: u64,
    waiting: VecDeque<Event>,
}

impl Client {
    fn new(state: HttpState) -> Self {
        let seconds = state.seconds.subscribe();
        Self { state, seconds, begun: false, last_epoch: None, last_alert: 0, waiting: VecDeque::new() }
    }

    /// The next event; `None` when there will be no more.
    async fn next(&mut self) -> Option<Event> {
        while self.waiting.is_empty() {
            // The first one does not wait for a second to pass.
            if std::mem::replace(&mut self.begun, true) {
                self.seconds.changed().await.ok()?;
            }
            self.look().await;
        }
        self.waiting.pop_front()
    }

    async fn look(&mut self) {
        for (name, data) in frames(&self.state).await.iter() {
            self.push(name, data.clone());
        }
        let checkpoints = render::checkpoints(&self.state, self.last_epoch);
        self.last_epoch =
            checkpoints.checkpoints.last().map(|checkpoint| Epoch(checkpoint.epoch)).or(self.last_epoch);
        self.push("checkpoints", json(&checkpoints));
        let alerts = render::alerts(&self.state, self.last_alert);
        if let Some(last) = alerts.alerts.last() {
            self.last_alert = last.seq;
            self.push("alerts", json(&alerts));
        }
    }

    fn push(&mut self, name: &str, data: String) {
        self.waiting.push_back(Event::default().event(name).data(data));
    }
}
