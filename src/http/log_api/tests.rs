#![allow(clippy::unwrap_used)]

mod encoded;

use std::{net::SocketAddr, sync::mpsc, thread};

use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate_core::TimestampMs;
use tidegate_log::{TopicSpec, embedded::NewRecord, push_header};

use super::*;

const NAMES: [&str; 5] = ["raw-events", "processed-events", "alerts", "dead-letters", "tidegate-state"];

/// The routes on a free port, in a thread of their own.
struct Server {
    address: SocketAddr,
    store: EmbeddedStore,
    _dir: TempDir,
}

impl Server {
    fn start(memory: usize, retention_bytes: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(dir.path(), retention_bytes).unwrap();
        let spec = |name: &str| TopicSpec {
            name: name.to_owned(),
            partitions: 3,
            replication_factor: 1,
            retention_ms: Some(-1),
            compacted: name == NAMES[4],
        };
        store.apply(&NAMES.map(spec), false).unwrap();
        let router = routes(store.clone(), NAMES.map(str::to_owned), memory);
        let (sender, address) = mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                sender.send(listener.local_addr().unwrap()).unwrap();
                axum::serve(listener, router).await.unwrap();
            });
        });
        Self { address: address.recv().unwrap(), store, _dir: dir }
    }

    fn new() -> Self {
        Self::start(MAX_IN_MEMORY, 1 << 40)
    }

    fn send(&self, body: impl ureq::AsSendBody, headers: &[(&str, &str)]) -> (u16, Value) {
        let mut request = agent().post(format!("http://{}/api/v1/events", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request.send(body))
    }

    fn post(&self, body: &str) -> (u16, Value) {
        self.send(body, &[])
    }

    fn get(&self, path: &str) -> (u16, Value) {
        answer(agent().get(format!("http://{}/api/v1/{path}", self.address)).call())
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).build().into()
}

fn answer(answered: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> (u16, Value) {
    let mut answer = answered.unwrap();
    let status = answer.status().as_u16();
    if matches!(status, 429 | 503) {
        assert_eq!(answer.headers()["retry-after"], "1");
    }
    (status, serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap())
}

#[test]
fn events_are_acknowledged_with_their_places_and_read_back_there() {
    let server = Server::new();
    let event = r#"{"user_id":"user-1","event_type":"click","n":1.50}"#;
    let (status, body) = server.send(event, &[("traceparent", "00-abc")]);
    assert_eq!(status, 202);
    let partition = tidegate_core::partitioner::partition_for_key(b"user-1", 3);
    assert_eq!(body, json!({"records": [{"partition": partition, "offset": 0}]}));
    let (status, page) = server.get(&format!("topics/raw-events/records?partition={partition}"));
    assert_eq!(status, 200);
    let record = &page["records"][0];
    assert_eq!((&record["key"], &record["headers"]), (&json!("user-1"), &json!([["traceparent", "00-abc"]])));
    assert_eq!((&page["begin"], &page["end"], &page["next"]), (&json!(0), &json!(1), &json!(1)));
    assert_eq!(record["value"]["event_type"], "click");
    let text = agent()
        .get(format!("http://{}/api/v1/topics/raw-events/records?partition={partition}", server.address));
    let text = text.call().unwrap().body_mut().read_to_string().unwrap();
    assert!(text.contains(event), "as it was sent, to the last digit: {text}");

    // A pretty-printed object is one event, lines are several, and blank ones none.
    let pretty = "{\n \"event_type\": \"view\"\n}";
    assert_eq!(server.post(pretty).1["records"].as_array().unwrap().len(), 1);
    let (status, body) = server.post("{\"a\":1}\r\n\n  {\"user_id\":7}\n{}\n");
    assert_eq!((status, body["records"].as_array().unwrap().len()), (202, 3));
}

#[test]
fn a_body_with_one_bad_line_is_refused_as_a_whole() {
    let server = Server::new();
    for (body, status, line) in [
        ("{\"a\":1}\n{\"a\":\n", 400, Some(2)),
        ("\n\n[1]", 400, Some(3)),
        ("not json", 400, Some(1)),
        ("", 400, None),
        (" \n ", 400, None),
    ] {
        let (answered, told) = server.post(body);
        assert_eq!((answered, told["line"].as_u64()), (status, line), "{body:?} {told}");
        assert!(told["error"].is_string());
    }
    let large = format!("{{}}\n{{\"x\":\"{}\"}}", "y".repeat(1 << 20));
    let (status, told) = server.post(&large);
    assert_eq!((status, &told["line"]), (413, &json!(2)));
    assert_eq!(server.post(&" ".repeat((16 << 20) + 1)).0, 413);
    assert_eq!(server.post(&"{}\n".repeat(50_001)).0, 413);
    let chunked: &mut dyn std::io::Read = &mut std::io::Read::take(std::io::repeat(b'x'), (16 << 20) + 1);
    assert_eq!(server.send(ureq::SendBody::from_reader(chunked), &[]).0, 413);
    let (_, topics) = server.get("topics");
    assert!(topics[0]["partitions"].as_array().unwrap().iter().all(|range| range["end"] == 0), "{topics}");
}

#[test]
fn what_is_too_much_is_refused_for_a_moment() {
    let server = Server::start(8 << 10, 1 << 20);
    assert_eq!(server.post(&format!("{{\"x\":\"{}\"}}", "y".repeat(9 << 10))).0, 429);
    assert_eq!(server.post("{}").0, 202);

    let server = Server::start(MAX_IN_MEMORY, 1 << 20);
    let event = format!("{{\"x\":\"{}\"}}", "y".repeat(500 << 10));
    let log = tidegate_log::embedded::EmbeddedLog::new(
        server.store.clone(),
        tidegate_log::embedded::EmbeddedConfig {
            group_id: "slow".into(),
            writer_id: "slow".into(),
            topics: NAMES.map(str::to_owned),
        },
    );
    let log: &dyn tidegate_log::Log = &log;
    let topics = log.topics(std::time::Duration::ZERO).unwrap();
    let mut writer = log.writer(&topics).unwrap();
    writer.fence().unwrap();
    // A group that stands at the beginning.
    let none = (0..3).map(|partition| tidegate_log::InputProgress {
        partition: tidegate_core::PartitionId(partition),
        next: tidegate_core::NextOffset(0),
        metadata: String::new(),
    });
    writer.commit(&none.collect::<Vec<_>>(), std::time::Duration::ZERO);
    let answers: Vec<u16> = (0..4).map(|_| server.post(&event).0).collect();
    assert_eq!(answers, [202, 202, 202, 429]);
}

#[test]
fn records_are_read_in_pages_from_either_end() {
    let server = Server::new();
    let record = |n: i64, key: Option<&[u8]>, value: Option<&[u8]>| {
        let mut headers = Vec::new();
        push_header(&mut headers, b"h", None);
        push_header(&mut headers, b"n", Some(b"\xff"));
        let (key, value) = (key.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec));
        NewRecord { partition: Some(2), timestamp: TimestampMs(n), key, value, headers }
    };
    let mut records = vec![
        record(1, None, None),
        record(2, Some(b"\x00\xff"), Some(b"text")),
        record(3, Some(b"k"), Some(b"\xfe")),
        record(4, Some(b"k"), Some(br#"{"big":12345678901234567890.10}"#)),
    ];
    records.extend((4..1200).map(|n| record(n, None, Some(b"1"))));
    server.store.append("alerts", records).unwrap();
    let get = |query: &str| server.get(&format!("topics/alerts/records?partition=2&{query}"));
    let (_, page) = get("limit=4");
    let headers = json!([["h", null], ["n", {"hex": "ff"}]]);
    assert_eq!(
        page["records"],
        json!([
            {"offset": 0, "timestamp": 1, "key": null, "value": null, "headers": headers},
            {"offset": 1, "timestamp": 2, "key": {"hex": "00ff"}, "value": "text", "headers": headers},
            {"offset": 2, "timestamp": 3, "key": "k", "value": {"hex": "fe"}, "headers": headers},
            {"offset": 3, "timestamp": 4, "key": "k", "value": {"big": 12345678901234567890.10}, "headers": headers},
        ])
    );
    let count = |query: &str| get(query).1["records"].as_array().unwrap().len();
    assert_eq!((count(""), count("limit=5000"), count("limit=0")), (100, 1000, 0));
    let (_, last) = get("offset=-3");
    assert_eq!((&last["records"][0]["offset"], &last["next"]), (&json!(1197), &json!(1200)));
    assert_eq!((count("offset=-9999&limit=1"), count("offset=1200")), (1, 0));

    assert_eq!(get("offset=1201").0, 416);
    assert_eq!(get("limit=x").0, 400);
    assert_eq!(get("limits=1").0, 400);
    assert_eq!(server.get("topics/alerts/records?partition=3").0, 404);
    assert_eq!(server.get("topics/secrets/records").0, 404);
}
