//! The HTTP server: the dashboard and the API behind it, metrics, whether the daemon is alive and ready; with an
//! embedded log its input and topics.
//!
//! But for the input of an embedded log it only reads: values that the pipeline leaves behind in passing, and answers that
//! it is asked for once a second at most. A slow, hostile or failing client costs the pipeline nothing.

mod admission;
mod api;
mod connection;
mod guard;
mod limits;
mod log_api;
mod observed;
mod page;
mod routes;
mod slots;

use std::{future::Future, io, net::SocketAddr, time::Duration};

use axum::Router;
use tokio::{net::TcpListener, sync::watch};

use admission::Peer;
use connection::LimitedListener;
use limits::Limits;
pub(crate) use log_api::{log_routes, no_log_routes};
pub(crate) use observed::{Facts, HttpState, SinkFacts};

/// How long answers under way may take once a shutdown was asked for.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// Serves its own routes and `routes` until `shutdown` resolves, and then up to two seconds longer.
///
/// # Errors
/// If the listener has no address. The daemon can go on without the server.
pub(crate) async fn serve(
    listener: TcpListener,
    state: HttpState,
    routes: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    serve_with(listener, state, routes, Limits::default(), shutdown).await
}

async fn serve_with(
    listener: TcpListener,
    state: HttpState,
    routes: Router,
    limits: Limits,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let address = TcpListener::local_addr(&listener)?;
    warn_if_public(address);
    let router = guard::guarded(admission::admitted(routes::router(state, routes)), address);
    let router = router.into_make_service_with_connect_info::<Peer>();
    let (stopping, mut stopped) = watch::channel(false);
    let server =
        axum::serve(LimitedListener::new(listener, limits), router).with_graceful_shutdown(async move {
            shutdown.await;
            stopping.send_replace(true);
        });
    let overdue = async {
        // An error means that the server is gone, and then its own end counts.
        if stopped.wait_for(|stopped| *stopped).await.is_err() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(SHUTDOWN_GRACE).await;
    };
    tokio::select! {
        result = server => result,
        () = overdue => Ok(()),
    }
}

fn warn_if_public(address: SocketAddr) {
    if !address.ip().is_loopback() {
        tracing::warn!(
            %address,
            "metrics and status are open to whoever can reach this address; restrict it in the network, \
             or use a loopback address in `http.listen`"
        );
    }
}

#[cfg(test)]
mod tests;
