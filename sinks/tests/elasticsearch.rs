//! Documents created in a real OpenSearch, and what cannot be had from a healthy one by a server of the test's own.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    env,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, StatusCode, Uri},
};
use serde_json::{Value, json};
use tidegate_config::{Secret, SecretSource};
use tidegate_core::{PartitionId, TimestampMs, event::FieldPaths, record::Topic};
use tidegate_log::{RecordRef, push_header};
use tidegate_sinks::{
    Batch, Destination as _, Failure, Outcome,
    elasticsearch::{Elasticsearch, Finding},
};

const TIME: TimestampMs = TimestampMs(1_760_000_041_200);

fn server() -> String {
    env::var("TIDEGATE_TEST_OPENSEARCH")
        .expect("set TIDEGATE_TEST_OPENSEARCH=http://HOST:PORT to an OpenSearch that runs")
}

/// A name that no other test and no earlier run has used.
fn unused(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = tidegate_host::wall_time().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    format!("{name}-{now}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn settings(url: &str, index: &str) -> tidegate_config::Elasticsearch {
    tidegate_config::Elasticsearch {
        url: url.into(),
        index: index.into(),
        username: None,
        password: SecretSource::default(),
        api_key: SecretSource::default(),
        compress: true,
        timeout: Duration::from_secs(60),
        ca: None,
    }
}

fn sink(index: &str, topic: Topic) -> Elasticsearch {
    at(&settings(&server(), index), topic)
}

fn at(settings: &tidegate_config::Elasticsearch, topic: Topic) -> Elasticsearch {
    let (name, _) = settings.index.split_once("-{").unwrap_or((&settings.index, ""));
    Elasticsearch::new(settings, name, topic, "the-topic", &FieldPaths::default())
}

fn batch(values: &[&[u8]]) -> Batch {
    let mut batch = Batch::default();
    for (offset, value) in (0..).zip(values) {
        let (partition, value) = (PartitionId(3), Some(*value));
        batch.push(
            RecordRef { partition, offset, timestamp: TIME, key: Some(b"k"), value },
            &mut |headers| {
                push_header(headers, b"tidegate.reason", Some(b"invalid_utf8"));
            },
        );
    }
    batch
}

/// The answer of the server to a request of the test's own.
fn ask(method: &str, path: &str, body: Value) -> Value {
    let request = axum::http::Request::builder()
        .method(method)
        .uri(format!("{}{path}", server()))
        .header("content-type", "application/json")
        .body(if body.is_null() { String::new() } else { body.to_string() })
        .unwrap();
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .allow_non_standard_methods(true)
        .build()
        .into();
    let answer = agent.run(request).unwrap().body_mut().read_to_vec().unwrap();
    serde_json::from_slice(&answer).unwrap_or_default()
}

/// The documents of an index that a query finds, by their ids.
fn found(index: &str, query: Value) -> Vec<(String, Value)> {
    ask("POST", &format!("/{index}/_refresh"), Value::Null);
    let answer = ask("POST", &format!("/{index}/_search?size=100"), json!({ "query": query }));
    let hits = answer["hits"]["hits"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let mut hits: Vec<_> =
        hits.iter().map(|hit| (hit["_id"].as_str().unwrap().to_owned(), hit["_source"].clone())).collect();
    hits.sort_by(|a, b| a.0.cmp(&b.0));
    hits
}

fn all(index: &str) -> Vec<(String, Value)> {
    found(index, json!({"match_all": {}}))
}

#[tokio::test]
async fn a_record_is_one_document_however_often_it_is_delivered() {
    let name = unused("events");
    let mut sink = sink(&format!("{name}-{{yyyy}}.{{MM}}.{{dd}}"), Topic::Processed);
    let values = [
        &br#"{"event_type":"e","timestamp":1760000000000,"geo":{"country":"GB","lat":51.5,"lon":-0.1}}"#[..],
        b"{\n\"event_type\":\"e\",\n\"n\":1.00\n}\n",
        b"{\"event_type\":\"e\",\"timestamp\":1760054400000}",
    ];
    for _ in 0..2 {
        assert_eq!(sink.deliver(&batch(&values), &[0, 1, 2]).await, Outcome::Delivered);
    }
    let first_day = all(&format!("{name}-2025.10.09"));
    let ids: Vec<&str> = first_day.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, ["the-topic-3-0", "the-topic-3-1"]);
    assert_eq!(
        first_day[0].1,
        json!({
            "@timestamp": "2025-10-09T08:53:20.000Z", "event_type": "e", "timestamp": 1_760_000_000_000_i64,
            "geo": {"country": "GB", "lat": 51.5, "lon": -0.1, "location": {"lat": 51.5, "lon": -0.1}},
        })
    );
    assert_eq!(all(&format!("{name}-2025.10.10")).len(), 1);
}

#[tokio::test]
async fn a_document_that_does_not_fit_the_mapping_is_refused_and_its_neighbours_are_not() {
    let name = unused("refused");
    let mut sink = sink(&name, Topic::Processed);
    let values = [&br#"{"a":{"b":1}}"#[..], br#"{"a":1}"#, b"\xff", br#"{"a":{"b":2}}"#];
    let Outcome::Judged { refused, again, failure: None } =
        sink.deliver(&batch(&values), &[0, 1, 2, 3]).await
    else {
        panic!("not judged")
    };
    assert!(again.is_empty());
    let refused: Vec<(usize, &str)> =
        refused.iter().map(|(record, reason)| (*record, &reason[..20])).collect();
    assert_eq!(refused, [(2, "it is not UTF-8: inv"), (1, "400 mapper_parsing_e")]);
    assert_eq!(all(&name).len(), 2);
}

#[tokio::test]
async fn an_index_template_is_created_if_it_is_missing_and_changed_only_when_asked_to() {
    let name = unused("template");
    let template = format!("tidegate-{name}");
    let mut sink = sink(&format!("{name}-{{yyyy}}"), Topic::Processed);
    assert_eq!(sink.plan().await.unwrap(), [Finding::TemplateMissing(template.clone())]);
    assert_eq!(sink.apply(false).await.unwrap(), [Finding::TemplateCreated(template.clone())]);
    assert_eq!(sink.plan().await.unwrap(), [Finding::TemplateReady(template.clone())]);
    let values = [
        &br#"{"event_type":"e","ip":"no address","day":"2025-10-09","geo":{"lat":51.5,"lon":-0.1}}"#[..],
        br#"{"event_type":"e","ip":"192.0.2.1","day":"any text"}"#,
    ];
    assert_eq!(sink.deliver(&batch(&values), &[0, 1]).await, Outcome::Delivered);
    let index = format!("{name}-2025");
    let near = json!({"geo_distance": {"distance": "1km", "geo.location": {"lat": 51.5, "lon": -0.1}}});
    assert_eq!(found(&index, near).len(), 1);
    assert_eq!(found(&index, json!({"term": {"ip": "192.0.2.0/24"}})).len(), 1);
    assert_eq!(
        found(&index, json!({"range": {"@timestamp": {"gte": "2025-10-09", "lt": "2025-10-10"}}})).len(),
        2
    );

    let path = format!("/_index_template/{template}");
    let owners = json!({
        "index_patterns": [format!("{name}-*")], "priority": 200,
        "template": {"settings": {"number_of_replicas": 0}, "mappings": {"properties": {"ip": {"type": "keyword"}}}},
    });
    ask("PUT", &path, owners);
    let Some(Finding::TemplateDiffers(_, paths)) = sink.apply(false).await.unwrap().pop() else { panic!() };
    assert!(paths.contains(&"template.mappings.properties.ip.type".to_owned()), "{paths:?}");
    assert_eq!(sink.apply(true).await.unwrap(), [Finding::TemplateAltered(template.clone())]);
    assert_eq!(sink.plan().await.unwrap(), [Finding::TemplateReady(template)]);
    let kept =
        &ask("GET", &path, Value::Null)["index_templates"][0]["index_template"]["template"]["settings"];
    assert_eq!(kept["index"]["number_of_replicas"], "0");
}

#[tokio::test]
async fn templates_for_alerts_and_dead_letters_take_what_is_written_there() {
    let alerts = unused("alerts");
    let mut sink = sink(&alerts, Topic::Alerts);
    sink.apply(false).await.unwrap();
    let alert = |phase: &str| {
        json!({
            "id": "r/a/1760000040000", "rule": "r", "phase": phase, "service": "a", "message": "m", "count": 51,
            "threshold": 50, "window_start": 1_760_000_040_000_i64, "window_end": 1_760_000_100_000_i64,
            "first_event_at": 1_760_000_041_200_i64, "last_event_at": 1_760_000_098_700_i64,
            "evidence": [{"topic": "raw", "partition": 3, "offset": 1, "user_id": null, "timestamp": 1_760_000_041_200_i64}],
        })
        .to_string()
    };
    let (crossed, closed) = (alert("crossed"), alert("closed"));
    let values = [crossed.as_bytes(), closed.as_bytes(), crossed.as_bytes()];
    assert_eq!(sink.deliver(&batch(&values), &[0, 1, 2]).await, Outcome::Delivered);
    let ids: Vec<String> = all(&alerts).into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, ["r/a/1760000040000/closed", "r/a/1760000040000/crossed"]);

    let dead_letters = unused("dead-letters");
    let mut sink = self::sink(&dead_letters, Topic::DeadLetters);
    sink.apply(false).await.unwrap();
    assert_eq!(sink.deliver(&batch(&[b"\xff\n", b"text\n"]), &[0, 1]).await, Outcome::Delivered);
    let letters = found(&dead_letters, json!({"term": {"reason": "invalid_utf8"}}));
    assert_eq!((&letters[0].1["value_base64"], &letters[1].1["value"]), (&json!("/wo="), &json!("text\n")));
}

#[tokio::test]
async fn a_data_stream_is_filled_as_an_index_is_and_its_template_is_left_alone() {
    let name = unused("stream");
    let template = json!({"index_patterns": [name], "priority": 300, "data_stream": {}});
    ask("PUT", &format!("/_index_template/{name}"), template);
    let mut sink = sink(&name, Topic::Processed);
    for _ in 0..2 {
        assert_eq!(sink.deliver(&batch(&[b"{}", b"{\"a\":1}"]), &[0, 1]).await, Outcome::Delivered);
    }
    assert_eq!(all(&name).len(), 2);
    assert_eq!(sink.apply(true).await.unwrap(), [Finding::DataStream(name)]);
}

#[tokio::test]
async fn an_index_that_takes_nothing_is_not_blamed_on_the_documents() {
    let name = unused("closed");
    ask("PUT", &format!("/{name}"), json!({}));
    ask("POST", &format!("/{name}/_close"), Value::Null);
    let mut sink = sink(&name, Topic::Processed);
    let batch = batch(&[b"{}", b"[]"]);
    let Outcome::Judged { refused, again, failure: Some(failure) } = sink.deliver(&batch, &[0, 1]).await
    else {
        panic!()
    };
    assert_eq!((refused.len(), again), (1, vec![0]));
    assert!(failure.cause.contains("index_closed_exception"), "{failure:?}");
    ask("POST", &format!("/{name}/_open"), Value::Null);
    assert_eq!(sink.deliver(&batch, &[0]).await, Outcome::Delivered);
    let Finding::IndexIsThere(there) = sink.plan().await.unwrap().remove(0) else { panic!() };
    assert_eq!(there, name);
}

#[tokio::test]
async fn a_check_tells_what_answers_and_whether_documents_may_be_created() {
    let found = sink("events", Topic::Processed).check().await.unwrap();
    let [connected, Finding::CannotTell] = &found[..] else { panic!("{found:?}") };
    assert!(connected.to_string().starts_with("connected to opensearch "), "{connected}");
    let url = serve(|path, _, _| match path {
        "/proxied/" => (StatusCode::FORBIDDEN, "{}"),
        _ => (StatusCode::OK, r#"{"has_all_requested":false}"#),
    })
    .await;
    let found = at(&settings(&url, "log-{yyyy}"), Topic::Processed).check().await.unwrap();
    assert_eq!(found, [Finding::Connected(None), Finding::MayNotCreate("log-*".into())]);
    let url = serve(|_, _, _| (StatusCode::OK, "<html>")).await;
    let told = at(&settings(&url, "log"), Topic::Processed).check().await.unwrap_err();
    assert!(told.contains("neither Elasticsearch nor OpenSearch"), "{told}");
}

/// What a server answers to path, headers and body.
type Answer = fn(&str, &HeaderMap, &[u8]) -> (StatusCode, &'static str);

/// A server that answers as `answer` says.
async fn serve(answer: Answer) -> String {
    let app = Router::new().fallback(async move |uri: Uri, headers: HeaderMap, body: Bytes| {
        let (status, body) = answer(uri.path(), &headers, &body);
        (status, [("retry-after", "3")], body)
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/proxied/", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
    url
}

/// What becomes of a delivery that the server answers with this status.
async fn delivered_to(answer: Answer) -> Outcome {
    let mut settings = settings(&serve(answer).await, "log");
    settings.username = Some("user".into());
    settings.password = SecretSource { value: Some(Secret::new("hunter2")), file: None };
    at(&settings, Topic::Processed).deliver(&batch(&[b"{}"]), &[0]).await
}

fn failed(outcome: Outcome) -> Failure {
    match outcome {
        Outcome::Judged { refused, again, failure: Some(failure) } if refused.is_empty() && again == [0] => {
            failure
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_request_is_compressed_and_carries_the_credentials() {
    let delivered = delivered_to(|path, headers, body| {
        assert_eq!(path, "/proxied/log/_bulk");
        assert_eq!(headers["authorization"], "Basic dXNlcjpodW50ZXIy");
        assert_eq!((&body[..2], headers["content-encoding"].as_bytes()), (&b"\x1f\x8b"[..], &b"gzip"[..]));
        assert_eq!(headers["content-type"], "application/x-ndjson");
        (StatusCode::OK, r#"{"items":[{"create":{"status":201}}]}"#)
    });
    assert_eq!(delivered.await, Outcome::Delivered);
    let url = serve(|_, headers, body| {
        assert_eq!((&body[..1], headers["authorization"].as_bytes()), (&b"{"[..], &b"ApiKey abc"[..]));
        (StatusCode::OK, r#"{"items":[{"create":{"status":201}}]}"#)
    });
    let mut settings = settings(&url.await, "log");
    settings.compress = false;
    settings.api_key = SecretSource { value: Some(Secret::new("abc")), file: None };
    assert_eq!(at(&settings, Topic::Processed).deliver(&batch(&[b"{}"]), &[0]).await, Outcome::Delivered);
}

#[tokio::test]
async fn a_request_that_is_refused_as_a_whole_is_no_records_fault_unless_it_is_too_large() {
    let failure = failed(delivered_to(|_, _, _| (StatusCode::UNAUTHORIZED, "not hunter2")).await);
    let expected =
        "the server answered 401 Unauthorized: not ***; look at `username` and `password`, or `api_key`";
    assert_eq!(failure.cause, expected);
    let failure = failed(delivered_to(|_, _, _| (StatusCode::SERVICE_UNAVAILABLE, "")).await);
    assert_eq!(failure.retry_after, Some(Duration::from_secs(3)));
    let misled: [Answer; 4] = [
        |_, _, _| (StatusCode::NOT_FOUND, ""),
        |_, _, _| (StatusCode::BAD_REQUEST, "plain HTTP to an HTTPS port"),
        |_, _, _| (StatusCode::FOUND, ""),
        |_, _, _| (StatusCode::OK, "<html>sign in</html>"),
    ];
    for answer in misled {
        failed(delivered_to(answer).await);
    }
    let outcome = delivered_to(|_, _, _| (StatusCode::PAYLOAD_TOO_LARGE, "")).await;
    assert_eq!(outcome, Outcome::Refused("the server answered 413 Payload Too Large".into()));
}
