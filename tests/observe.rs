//! What the daemon tells of itself: the API keeps to its document, shows what happened, and streams it.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    time::Duration,
};

use crate::support::{
    daemon::Daemon,
    daemon_api::{api, await_api, post},
    receiver::{Answer, Receiver},
    site::{Site, free_address},
    wait,
};
use serde_json::{Value, json};

/// As hostile as a name can be.
const SERVICE: &str = "<img src=x onerror=\"alert(1)\">\u{202e}";

fn errors(count: usize) -> Vec<Value> {
    vec![json!({"event_type": "error", "service_name": SERVICE, "user_id": "user-1"}); count]
}

/// A daemon that has raised an alert and written a dead letter.
fn eventful(site: &Site, environment: &[(&str, &str)]) -> Daemon {
    let mut daemon = site.start(environment);
    daemon.wait_ready();
    post(site, &[], &errors(60));
    post(site, &[], &[json!({"no": "event_type"})]);
    await_api(&daemon, "/api/v1/alerts", "an alert", |alerts| {
        !alerts["alerts"].as_array().unwrap().is_empty()
    });
    await_api(&daemon, "/api/v1/status", "a dead letter", |status| status["totals"]["dead_letters"] == 1);
    daemon
}

/// Whether a value is as the document's schema says, with all properties and no others.
fn check(document: &Value, schema: &Value, value: &Value, at: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        let path = reference.strip_prefix('#').unwrap();
        return check(document, document.pointer(path).unwrap(), value, at);
    }
    if let Some(variants) = schema["oneOf"].as_array() {
        if value.is_null() {
            return assert!(variants.iter().any(|variant| variant["type"] == "null"), "{at}: null");
        }
        let variant = variants.iter().find(|variant| variant["type"] != "null").unwrap();
        return check(document, variant, value, at);
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        several => several.as_array().unwrap().iter().filter_map(Value::as_str).collect(),
    };
    let fits = types.iter().any(|name| match *name {
        "null" => value.is_null(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{at}: {other}"),
    });
    assert!(fits, "{at}: {value} is not {types:?}");
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        check(document, &schema["items"], item, &format!("{at}[{index}]"));
    }
    let (Some(properties), Some(object)) = (schema["properties"].as_object(), value.as_object()) else {
        return;
    };
    let names = |object: &serde_json::Map<String, Value>| object.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(properties), names(object), "{at}");
    for (name, property) in properties {
        check(document, property, &object[name], &format!("{at}.{name}"));
    }
}

#[test]
fn the_api_answers_what_its_document_says_and_shows_what_happened() {
    let hook = Receiver::start(|_, _| Answer::status(204));
    let pager =
        format!(r#"[{{ name = "pager", type = "webhook", topic = "alerts", url = "{}" }}]"#, hook.url);
    let site = Site::embedded("observe", 2).set("sinks", &pager).create();
    let daemon = eventful(&site, &[]);
    let is_delivered = |sink: &Value| sink["delivered"] == 1 && sink["lag"] == 0;
    let status = await_api(&daemon, "/api/v1/status", "a delivery", |of| is_delivered(&of["sinks"][0]));
    assert_eq!(status["sinks"][0]["state"], "running");
    let document = api(&daemon, "/api/v1/openapi.json");
    let mut checked = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let content = &item["get"]["responses"]["200"]["content"];
        if let Some(schema) = content.get("application/json") {
            check(&document, &schema["schema"], &api(&daemon, path), path);
            checked += 1;
        }
    }
    assert_eq!(checked, 6, "{document}");

    let alert = &api(&daemon, "/api/v1/alerts")["alerts"][0];
    assert_eq!((&alert["alert"]["service"], &alert["alert"]["count"]), (&json!(SERVICE), &json!(51)));
    assert_eq!(alert["alert"]["evidence"].as_array().unwrap().len(), 5);
    assert!(alert["latency_ms"].as_f64().unwrap() < 60_000.0);
    let is_complete = |windows: &Value| windows["windows"][0]["count"] == 60;
    let windows = await_api(&daemon, "/api/v1/windows?limit=1", "the window", is_complete);
    assert_eq!((&windows["open"], &windows["windows"][0]["crossed"]), (&json!(1), &json!(true)));
    assert_eq!(daemon.get("/api/v1/windows?limit=many").unwrap().status, 400);
    let reasons = api(&daemon, "/api/v1/dead-letters");
    let missing = reasons["reasons"].as_array().unwrap().iter().find(|r| r["reason"] == "missing_event_type");
    assert_eq!(missing.unwrap()["samples"][0]["value"], r#"{"no":"event_type"}"#);
    for checkpoint in api(&daemon, "/api/v1/checkpoints")["checkpoints"].as_array().unwrap() {
        let phases: f64 =
            checkpoint["phases_ms"].as_object().unwrap().values().filter_map(Value::as_f64).sum();
        assert!((phases - checkpoint["total_ms"].as_f64().unwrap()).abs() < 0.01, "{checkpoint}");
    }
    let is_complete = |topology: &Value| !topology["actors"].as_array().unwrap().is_empty();
    let topology = await_api(&daemon, "/api/v1/topology", "the actors", is_complete);
    let actors = topology["actors"].as_array().unwrap();
    assert_eq!(actors.len(), 1 + 2 + 2 + 2 + 2 + 3, "{topology}");
    assert!(actors.iter().all(|actor| actor["state"] == "running" && actor["restarts"] == 0), "{topology}");
    let positions: i64 =
        topology["partitions"].as_array().unwrap().iter().filter_map(|of| of["position"].as_i64()).sum();
    assert_eq!(positions, 61);
    daemon.stop();
}

#[test]
fn the_configuration_is_shown_without_secrets() {
    let site = Site::embedded("secrets", 1)
        .set("kafka.properties.\"sasl.password\"", "\"${CANARY:-canary-7311}\"")
        .set("kafka.properties.\"sasl.mechanism\"", "\"PLAIN\"")
        .create();
    let mut daemon =
        site.start(&[("CANARY", "canary-7311"), ("OTEL_EXPORTER_OTLP_HEADERS", "key=canary-7311")]);
    daemon.wait_ready();
    let shown = daemon.get("/api/v1/config").unwrap().body;
    assert!(shown.contains(&site.name) && !shown.contains("canary-7311"), "{shown}");
    assert!(!daemon.log().contains("canary-7311"));
    daemon.stop();
}

#[test]
fn a_sink_that_cannot_deliver_is_degraded_the_log_says_so_once_and_the_daemon_stays_ready() {
    let nobody = free_address();
    let pager =
        format!(r#"[{{ name = "pager", type = "webhook", topic = "alerts", url = "http://{nobody}" }}]"#);
    let site = Site::embedded("degraded", 2).set("sinks", &pager).create();
    let daemon = eventful(&site, &[]);
    let has_tried = |sink: &Value| sink["retries"].as_u64() >= Some(3) && sink["lag"] == 1;
    let status = await_api(&daemon, "/api/v1/status", "three tries", |of| has_tried(&of["sinks"][0]));
    let sink = &status["sinks"][0];
    assert_eq!((&sink["state"], &sink["delivered"]), (&json!("degraded"), &json!(0)));
    assert!(sink["last_error"].as_str().unwrap().contains("refused"), "{sink}");
    assert_eq!(daemon.get("/readyz").unwrap().status, 200);
    assert_eq!(daemon.log().matches("the sink cannot deliver").count(), 1, "{}", daemon.log());
    daemon.stop();
}

#[test]
fn a_failed_actor_is_shown_with_its_cause_and_its_restart() {
    let site = Site::embedded("failed", 2).create();
    let mut daemon = site.run_with_failpoints("window=20*off->1*panic(deliberate)->off");
    daemon.wait_ready();
    post(&site, &[], &errors(3));
    let topology = await_api(&daemon, "/api/v1/topology", "a restart", |topology| {
        let actors = topology["actors"].as_array().unwrap();
        actors.iter().any(|actor| actor["restarts"] == 1)
            && actors.iter().all(|actor| actor["state"] == "running")
    });
    let failed: Vec<_> =
        topology["actors"].as_array().unwrap().iter().filter(|actor| actor["restarts"] == 1).collect();
    assert_eq!((failed.len(), &failed[0]["actor"]), (1, &json!("window")), "{topology}");
    assert!(failed[0]["last_failure"]["cause"].as_str().unwrap().contains("window"), "{topology}");
    assert_eq!(api(&daemon, "/api/v1/status")["generation"], 2);
    daemon.stop();
}

/// A connection to the stream of events.
struct Stream(BufReader<TcpStream>);

impl Stream {
    fn open(site: &Site) -> Self {
        let mut stream = TcpStream::connect(site.http).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        write!(stream, "GET /api/v1/stream HTTP/1.1\r\nHost: {}\r\n\r\n", site.http).unwrap();
        Self(BufReader::new(stream))
    }

    /// Name and data of the next event.
    fn next(&mut self) -> (String, Value) {
        let mut name = String::new();
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "the stream ended");
            if let Some(of) = line.strip_prefix("event: ") {
                name = of.trim().to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                return (name, serde_json::from_str(data).unwrap());
            }
        }
    }

    fn next_of(&mut self, wanted: &str) -> Value {
        loop {
            let (name, data) = self.next();
            if name == wanted {
                return data;
            }
        }
    }
}

#[test]
fn the_stream_begins_with_everything_and_goes_on_with_what_is_new() {
    let site = Site::embedded("stream", 2).create();
    let daemon = eventful(&site, &[]);
    let mut stream = Stream::open(&site);
    let names: Vec<_> = (0..6).map(|_| stream.next().0).collect();
    assert_eq!(names, ["status", "topology", "windows", "dead-letters", "checkpoints", "alerts"]);
    // All alerts of before were in the first second; only new ones come.
    post(&site, &[], &vec![json!({"event_type": "error", "service_name": "other"}); 51]);
    let alerts = stream.next_of("alerts");
    let services: Vec<_> =
        alerts["alerts"].as_array().unwrap().iter().map(|a| &a["alert"]["service"]).collect();
    assert_eq!(services, ["other"]);
    let status = stream.next_of("status");
    assert_eq!(status["phase"], "running");
    // Who does not read is no burden.
    let _silent: Vec<_> = (0..20).map(|_| Stream::open(&site)).collect();
    post(&site, &[], &errors(10));
    wait::until_true("all to be processed", || api(&daemon, "/api/v1/status")["totals"]["source"] == 122);
    daemon.stop();
}
