//! `demo --sinks`: a receiver of webhooks in the same process, so that a sink can be watched without any server.

use std::net::{Ipv4Addr, SocketAddr};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use tokio::{net::TcpListener, sync::mpsc};

use super::show::alert_line;
use crate::daemon::Failure;

/// Lines that wait to be printed; a receiver that is full lets its sender wait.
const LINES: usize = 1024;
/// The sink's name.
pub(super) const SINK: &str = "receiver";

/// The receiver.
pub(super) struct Receiver {
    address: SocketAddr,
    lines: mpsc::Receiver<String>,
}

impl Receiver {
    /// Listens on a free port of this host.
    pub(super) async fn start() -> Result<Self, Failure> {
        let cannot =
            |error: std::io::Error| Failure::failed(format_args!("the receiver cannot listen: {error}"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        let (told, lines) = mpsc::channel(LINES);
        let router = Router::new().route("/alerts", post(receive)).with_state(told);
        tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the receiver ended");
            }
        });
        Ok(Self { address, lines })
    }

    /// The override of the configuration that adds the sink.
    pub(super) fn configured(&self) -> String {
        let address = self.address;
        format!(
            "sinks=[{{ name = \"{SINK}\", type = \"webhook\", url = \"http://{address}/alerts\", secret = \"demo\" }}]"
        )
    }

    /// What a newcomer sees first.
    pub(super) fn introduction(&self) -> String {
        let address = self.address;
        format!("  alerts are posted to http://{address}/alerts in this process by the sink \"{SINK}\"\n")
    }

    /// The next request, as a line.
    pub(super) async fn line(&mut self) -> Option<String> {
        self.lines.recv().await
    }
}

async fn receive(State(told): State<mpsc::Sender<String>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("none");
    let line =
        format!("posted {}  webhook-id {}", alert_line(&body, None), header("webhook-id").escape_default());
    match told.send(line).await {
        Ok(()) => StatusCode::NO_CONTENT,
        // Nobody looks any more: the demo is ending.
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}
