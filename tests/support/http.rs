//! The smallest HTTP client that can ask for a page, and one that talks JSON.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;
use ureq::http::Request;

use super::wait::PATIENCE;

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

/// `GET path`; `None` if nobody answers (yet).
pub fn get(server: SocketAddr, path: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect_timeout(&server, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n").ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    assert!(!head.to_ascii_lowercase().contains("transfer-encoding: chunked"), "cannot read chunks:\n{head}");
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, body: body.to_owned() })
}

/// Sends a request, with JSON if there is a body, and returns the JSON of the answer.
///
/// # Panics
/// If the answer is not a good one.
pub fn call(method: &str, url: &str, body: Option<&Value>) -> Value {
    let config = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false);
    let agent = ureq::Agent::from(config.allow_non_standard_methods(true).build());
    let request = Request::builder().method(method).uri(url).header("content-type", "application/json");
    let mut answer =
        agent.run(request.body(body.map(Value::to_string).unwrap_or_default()).unwrap()).unwrap();
    let text = answer.body_mut().with_config().limit(1 << 30).read_to_string().unwrap();
    assert!(answer.status().is_success(), "{method} {url}: {} {text}", answer.status());
    if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() }
}
