//! What is told of sinks.

use serde_json::json;
use tidegate_core::{SinkId, TimestampMs};
use tidegate_telemetry::DeadLetterSample;

use super::*;

const ID: SinkId = SinkId(0);

/// A daemon with a sink, in the test's hands.
async fn with_a_sink() -> (Server, Metrics, Journal) {
    let names = ["processed", "alerts", "dead", "state"].map(str::to_owned);
    let labels = Labels { topics: names.to_vec(), sinks: vec!["pager".into()], ..Labels::default() };
    let (metrics, journal) = (Metrics::new(&labels).unwrap(), Journal::default());
    let sink = SinkFacts { id: ID, name: "pager".into(), kind: "webhook", topic: "alerts".into() };
    let facts = Facts { outputs: names.to_vec(), sinks: vec![sink], ..Facts::default() };
    (Server::of(Limits::default(), facts, metrics.clone(), journal.clone()).await, metrics, journal)
}

#[tokio::test]
async fn the_status_tells_of_each_sink_what_it_does_and_what_went_wrong_last() {
    let (server, metrics, _) = with_a_sink().await;
    let meter = metrics.sink(ID);
    let mut expected = json!({
        "name": "pager", "type": "webhook", "topic": "alerts", "state": "starting", "last_error": null,
        "delivered": 0, "rejected": 0, "retries": 0, "lag": null, "rate": 0.0,
    });
    assert_eq!(server.json("/api/v1/status").await["sinks"], json!([expected]));
    meter.delivered.add(7);
    meter.rejected.add(2);
    meter.retries.add(1);
    meter.lag.set(30.0);
    meter.degraded("connection refused");
    for (name, value) in [("delivered", 7), ("rejected", 2), ("retries", 1), ("lag", 30)] {
        expected[name] = value.into();
    }
    expected["state"] = "degraded".into();
    expected["last_error"] = "connection refused".into();
    assert_eq!(server.json("/api/v1/status").await["sinks"], json!([expected]));
    meter.works();
    expected["state"] = "running".into();
    assert_eq!(server.json("/api/v1/status").await["sinks"], json!([expected]));
    let outputs = &server.json("/api/v1/topology").await["sinks"];
    let read_by: Vec<_> = outputs.as_array().unwrap().iter().map(|output| &output["read_by"]).collect();
    assert_eq!(read_by, [&json!([]), &json!(["pager"]), &json!([]), &json!([])]);
}

#[tokio::test]
async fn a_daemon_without_sinks_says_that_there_are_none() {
    let server = Server::start(Limits::default()).await;
    assert_eq!(server.json("/api/v1/status").await["sinks"], json!([]));
}

#[tokio::test]
async fn a_rejected_record_is_a_sample_that_names_its_sink() {
    let (server, _, journal) = with_a_sink().await;
    let sample = DeadLetterSample {
        at: TimestampMs(1),
        sink: Some("pager".into()),
        partition: 2,
        offset: 17,
        detail: "HTTP 400".into(),
        size: 2,
        value: b"{}".to_vec(),
    };
    journal.dead_letter("sink_rejected", sample);
    let reasons = server.json("/api/v1/dead-letters").await["reasons"].clone();
    let rejected = reasons.as_array().unwrap().iter().find(|reason| reason["reason"] == "sink_rejected");
    assert_eq!(
        rejected.unwrap()["samples"],
        json!([{
            "at": 1, "sink": "pager", "partition": 2, "offset": 17, "detail": "HTTP 400", "size": 2, "value": "{}",
        }])
    );
}
