#![allow(clippy::unwrap_used)]

mod load;
mod sinks;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use tidegate_core::{Epoch, Generation};
use tidegate_telemetry::{Journal, Labels, Metrics, Phase, Status};
use tokio::{sync::oneshot, task::JoinHandle};

use super::*;

/// Reads all of a body, and says so.
async fn done(request: axum::extract::Request) -> &'static str {
    axum::body::to_bytes(request.into_body(), usize::MAX).await.map_or("cut off", |_| "done")
}

/// A server on a free port of the loopback address.
struct Server {
    address: SocketAddr,
    status: watch::Sender<Status>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

impl Server {
    async fn start(limits: Limits) -> Self {
        let metrics = Metrics::new(&Labels { partitions: 1, ..Labels::default() }).unwrap();
        Self::of(limits, Facts { partitions: 1, ..Facts::default() }, metrics, Journal::default()).await
    }

    async fn of(limits: Limits, facts: Facts, metrics: Metrics, journal: Journal) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (status, receiver) = watch::channel(Status::default());
        let (stop, stopped) = oneshot::channel();
        let state = HttpState::new(facts, metrics, journal, receiver);
        let others = Router::new().route("/other", axum::routing::post(done));
        let task = tokio::spawn(serve_with(listener, state, others, limits, async {
            let _ = stopped.await;
        }));
        Self { address, status, stop, task }
    }

    /// Sends `request` as it is and returns all that comes back until the server closes.
    async fn raw(&self, request: String) -> String {
        let address = self.address;
        tokio::task::spawn_blocking(move || exchange(address, &request)).await.unwrap()
    }

    async fn get(&self, path: &str, host: &str) -> String {
        self.raw(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await
    }

    async fn json(&self, path: &str) -> serde_json::Value {
        serde_json::from_str(body(&self.get(path, "localhost").await)).unwrap()
    }
}

fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    // Only so that a failing test ends.
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

fn status_code(response: &str) -> &str {
    response.split(' ').nth(1).unwrap_or_default()
}

fn body(response: &str) -> &str {
    response.split_once("\r\n\r\n").unwrap().1
}

#[tokio::test]
async fn ready_follows_the_pipeline_and_the_broker_while_alive_does_not() {
    let server = Server::start(Limits::default()).await;
    let response = server.get("/readyz", "localhost").await;
    assert_eq!((status_code(&response), body(&response)), ("503", "connecting"));
    let running = Status {
        phase: Phase::Running,
        broker_up: true,
        reason: None,
        epoch: Epoch(7),
        generation: Generation(2),
    };
    server.status.send_replace(running.clone());
    assert_eq!(status_code(&server.get("/readyz", "localhost").await), "200");
    server.status.send_replace(Status { broker_up: false, ..running });
    let response = server.get("/readyz", "localhost").await;
    assert_eq!((status_code(&response), body(&response)), ("503", "the broker does not answer"));
    let response = server.get("/livez", "localhost").await;
    assert_eq!((status_code(&response), body(&response)), ("200", "ok"));
    let json = server.json("/api/v1/status").await;
    assert_eq!(json["phase"], "running");
    assert_eq!(json["epoch"], 7);
    assert_eq!(json["generation"], 2);
    assert_eq!(json["reason"], serde_json::Value::Null);
    assert!(json["uptime_s"].is_u64() && json["version"].is_string());
}

#[tokio::test]
async fn metrics_come_in_the_prometheus_text_format() {
    let server = Server::start(Limits::default()).await;
    let response = server.get("/metrics", "127.0.0.1").await;
    assert_eq!(status_code(&response), "200");
    assert!(response.to_lowercase().contains("content-type: text/plain; version=0.0.4\r\n"), "{response}");
    assert!(body(&response).contains("tidegate_source_records_total{partition=\"0\"} 0\n"), "{response}");
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let server = Server::start(Limits::default()).await;
    for (path, host, code) in [
        ("/", "localhost", "200"),
        ("/metrics", "localhost", "200"),
        ("/etc/passwd", "localhost", "404"),
        ("/../../etc/passwd", "localhost", "404"),
        ("/livez", "evil.example", "421"),
    ] {
        let response = server.get(path, host).await;
        assert_eq!(status_code(&response), code, "{path} {response}");
        let headers = response.to_lowercase();
        assert!(headers.contains("x-content-type-options: nosniff\r\n"), "{path} {headers}");
        assert!(headers.contains("content-security-policy: default-src 'self';"), "{path} {headers}");
        assert!(headers.contains("frame-ancestors 'none'"), "{path} {headers}");
    }
    let response = server.raw("POST /livez HTTP/1.0\r\nHost: localhost\r\n\r\n".into()).await;
    assert_eq!((status_code(&response), body(&response)), ("405", "method not allowed"));
}

#[tokio::test]
async fn a_name_pointed_at_the_loopback_address_is_refused() {
    let server = Server::start(Limits::default()).await;
    let port = server.address.port();
    for host in ["localhost", "LOCALHOST", "127.0.0.1", "[::1]", &format!("localhost:{port}"), "127.0.0.1:80"]
    {
        assert_eq!(status_code(&server.get("/livez", host).await), "200", "{host}");
    }
    for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "", "a b"] {
        let code = server.get("/livez", host).await;
        assert!(["421", "400"].contains(&status_code(&code)), "{host:?} {code}");
    }
    for request in [
        "GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n",
        "GET http://evil.example/livez HTTP/1.0\r\n\r\n",
        "GET /livez HTTP/1.0\r\nHost: \r\n\r\n",
        "GET /livez HTTP/1.0\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        "GET http://evil.example/livez HTTP/1.0\r\nHost: localhost\r\n\r\n",
    ] {
        assert_eq!(status_code(&server.raw(request.into()).await), "421", "{request}");
    }
}

#[tokio::test]
async fn a_probe_that_speaks_http_1_0_needs_no_host() {
    let server = Server::start(Limits::default()).await;
    for path in ["/livez", "/metrics", "http://localhost/livez"] {
        let response = server.raw(format!("GET {path} HTTP/1.0\r\n\r\n")).await;
        assert_eq!(status_code(&response), "200", "{path} {response}");
    }
    let page = "POST /other HTTP/1.0\r\nOrigin: http://evil.example\r\n\r\n";
    assert_eq!(status_code(&server.raw(page.into()).await), "403");
}

#[tokio::test]
async fn routes_given_from_outside_stand_behind_the_same_guards() {
    let server = Server::start(Limits::default()).await;
    for (request, code) in [
        ("POST /other HTTP/1.0\r\nHost: localhost\r\n\r\n", "200"),
        ("POST /other HTTP/1.0\r\nHost: evil.example\r\n\r\n", "421"),
        ("GET /other HTTP/1.0\r\nHost: localhost\r\n\r\n", "405"),
    ] {
        let response = server.raw(request.into()).await;
        assert_eq!(status_code(&response), code, "{request}");
        assert!(response.to_lowercase().contains("x-content-type-options: nosniff\r\n"), "{response}");
    }
}

#[tokio::test]
async fn a_page_of_another_origin_may_not_send_anything() {
    let server = Server::start(Limits::default()).await;
    let post = async |headers: &str| {
        let request =
            format!("POST /other HTTP/1.1\r\nHost: localhost:8081\r\nConnection: close\r\n{headers}\r\n");
        status_code(&server.raw(request).await).to_owned()
    };
    for headers in [
        "Origin: http://evil.example\r\n",
        "Origin: null\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
    ] {
        assert_eq!(post(headers).await, "403", "{headers}");
    }
    for headers in
        ["", "Origin: http://localhost:8081\r\nSec-Fetch-Site: same-origin\r\n", "Sec-Fetch-Site: none\r\n"]
    {
        assert_eq!(post(headers).await, "200", "{headers}");
    }
}

#[tokio::test]
async fn a_large_request_that_makes_progress_is_not_cut_off() {
    let server = Server::start(Limits { silence: Duration::from_millis(400), ..Limits::default() }).await;
    let address = server.address;
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        let piece = vec![b' '; 1 << 20];
        let head = format!(
            "POST /other HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            8 << 20
        );
        stream.write_all(head.as_bytes()).unwrap();
        for _ in 0..8 {
            // Slower than the limit for the whole, faster for each piece.
            std::thread::sleep(Duration::from_millis(100));
            stream.write_all(&piece).unwrap();
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    assert_eq!(status_code(&answer.await.unwrap()), "200");
}

#[tokio::test]
async fn a_request_that_never_ends_is_cut_off_and_its_place_given_to_the_next() {
    let limits = Limits { connections: 1, silence: Duration::from_secs(1), ..Limits::default() };
    let server = Server::start(limits).await;
    let address = server.address;
    let cut_off = tokio::task::spawn_blocking(move || exchange(address, "GET /livez HTTP/1.1\r\nHost: loc"));
    assert_eq!(cut_off.await.unwrap(), "");
    assert_eq!(status_code(&server.get("/livez", "localhost").await), "200");
}

#[tokio::test]
async fn a_shutdown_ends_the_server() {
    let server = Server::start(Limits::default()).await;
    server.stop.send(()).unwrap();
    server.task.await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).is_err());
}
