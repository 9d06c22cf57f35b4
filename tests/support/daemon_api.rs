//! The daemon's API as its users ask it.

use serde_json::Value;

use super::{daemon::Daemon, site::Site, wait};

/// What a path of the API answers.
///
/// # Panics
/// If it is no JSON.
pub fn api(daemon: &Daemon, path: &str) -> Value {
    let answer = daemon.get(path).unwrap();
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{path}: {error} in {}", answer.body))
}

/// Waits until the API says so.
pub fn await_api(daemon: &Daemon, path: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    wait::until(what, || Some(api(daemon, path)).filter(&holds))
}

/// Sends events to the embedded log, with the headers of a request.
pub fn post(site: &Site, headers: &[(&str, &str)], events: &[Value]) {
    let body: Vec<_> = events.iter().map(Value::to_string).collect();
    let mut request = ureq::post(format!("http://{}/api/v1/events", site.http));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send(body.join("\n")).unwrap();
    assert_eq!(answer.status(), 202);
}
