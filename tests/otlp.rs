//! Traces, metrics and logs at a real OTLP receiver, and a pipeline that does not care whether it is there.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use crate::support::{
    self,
    daemon::Daemon,
    daemon_api::{api, await_api, post},
    events::Mix,
    site::Site,
    wait,
};
use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::{
            ExportLogsServiceRequest, ExportLogsServiceResponse,
            logs_service_server::{LogsService, LogsServiceServer},
        },
        metrics::v1::{
            ExportMetricsServiceRequest, ExportMetricsServiceResponse,
            metrics_service_server::{MetricsService, MetricsServiceServer},
        },
        trace::v1::{
            ExportTraceServiceRequest, ExportTraceServiceResponse,
            trace_service_server::{TraceService, TraceServiceServer},
        },
    },
    common::v1::{KeyValue, any_value::Value as Any},
    trace::v1::{Span, span::SpanKind},
};
use prost::Message as _;
use serde_json::{Value, json};
use tonic::{Request, Response, Status, async_trait};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PRODUCER: &str = "b7ad6b7169203331";

/// What a collector was sent.
#[derive(Clone, Default)]
struct Received(Arc<Mutex<Sent>>);

#[derive(Default)]
struct Sent {
    spans: Vec<Span>,
    metrics: BTreeSet<String>,
    logs: Vec<String>,
    services: BTreeSet<String>,
    headers: BTreeSet<String>,
}

impl Received {
    fn traces(&self, request: ExportTraceServiceRequest) {
        let mut sent = self.0.lock().unwrap();
        for resource in request.resource_spans {
            let attributes = resource.resource.unwrap().attributes;
            sent.services.insert(attribute(&attributes, "service.name"));
            sent.spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
    }

    fn metrics(&self, request: ExportMetricsServiceRequest) {
        let scopes = request.resource_metrics.into_iter().flat_map(|resource| resource.scope_metrics);
        let names = scopes.flat_map(|scope| scope.metrics).map(|metric| metric.name);
        self.0.lock().unwrap().metrics.extend(names);
    }

    fn logs(&self, request: ExportLogsServiceRequest) {
        let scopes = request.resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
        let bodies =
            scopes.flat_map(|scope| scope.log_records).filter_map(|record| match record.body?.value? {
                Any::StringValue(text) => Some(text),
                _ => None,
            });
        self.0.lock().unwrap().logs.extend(bodies);
    }

    fn spans(&self, name: &str) -> Vec<Span> {
        self.0.lock().unwrap().spans.iter().filter(|span| span.name == name).cloned().collect()
    }

    /// Waits for a span of this name that is as wanted.
    fn await_span(&self, name: &str, is_wanted: impl Fn(&Span) -> bool) -> Span {
        wait::until(name, || self.spans(name).into_iter().find(|span| is_wanted(span)))
    }

    fn await_all_signals(&self) {
        wait::until_true("metrics and logs", || {
            let sent = self.0.lock().unwrap();
            sent.metrics.contains("tidegate_source_records_total")
                && sent.metrics.contains("tidegate_checkpoint_duration_seconds")
                && sent.logs.iter().any(|line| line == "pipeline running")
        });
    }
}

fn attribute(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|found| found.value.clone()?.value) {
        Some(Any::StringValue(text)) => text,
        Some(Any::IntValue(number)) => number.to_string(),
        other => panic!("{key}: {other:?} in {attributes:?}"),
    }
}

#[async_trait]
impl TraceService for Received {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.traces(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[async_trait]
impl MetricsService for Received {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.metrics(request.into_inner());
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

#[async_trait]
impl LogsService for Received {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        self.logs(request.into_inner());
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}

/// A collector that speaks gRPC; it lives as long as the test.
fn grpc_collector() -> (SocketAddr, Received) {
    let received = Received::default();
    let address = support::site::free_address();
    let (traces, metrics, logs) = (received.clone(), received.clone(), received.clone());
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let server = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(traces))
            .add_service(MetricsServiceServer::new(metrics))
            .add_service(LogsServiceServer::new(logs));
        runtime.block_on(server.serve(address)).unwrap();
    });
    (address, received)
}

/// A collector that speaks HTTP with protobuf.
fn http_collector() -> (SocketAddr, Received) {
    let received = Received::default();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let collector = received.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let collector = collector.clone();
            thread::spawn(move || while take_request(stream.as_ref().unwrap(), &collector).is_some() {});
        }
    });
    (address, received)
}

/// Takes one request of a connection; `None` at its end.
fn take_request(stream: &TcpStream, received: &Received) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(": ") else { break };
        received.0.lock().unwrap().headers.insert(format!("{}: {value}", name.to_lowercase()));
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    match path.as_str() {
        "/v1/traces" => received.traces(ExportTraceServiceRequest::decode(&body[..]).unwrap()),
        "/v1/metrics" => received.metrics(ExportMetricsServiceRequest::decode(&body[..]).unwrap()),
        "/v1/logs" => received.logs(ExportLogsServiceRequest::decode(&body[..]).unwrap()),
        other => panic!("{other}"),
    }
    let mut stream = stream;
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()
}

const OFTEN: [(&str, &str); 3] = [
    ("OTEL_METRIC_EXPORT_INTERVAL", "300"),
    ("OTEL_BSP_SCHEDULE_DELAY", "100"),
    ("OTEL_BLRP_SCHEDULE_DELAY", "100"),
];

fn site(name: &str, collector: SocketAddr) -> Site {
    Site::embedded(name, 1)
        .set("telemetry.otlp_endpoint", &format!("\"http://{collector}\""))
        .set("telemetry.trace_ratio", "1.0")
        .set("telemetry.service_name", "\"of-the-test\"")
        .create()
}

fn started(site: &Site, environment: &[(&str, &str)]) -> Daemon {
    let mut daemon = site.start(&[&OFTEN[..], environment].concat());
    daemon.wait_ready();
    daemon
}

fn send_alerting_events(site: &Site) {
    let traceparent = format!("00-{TRACE}-{PRODUCER}-01");
    let errors = vec![json!({"event_type": "error", "service_name": "checkout", "user_id": "a"}); 51];
    post(site, &[("traceparent", &traceparent)], &errors);
}

fn headers_of_first_record(daemon: &Daemon, topic: &str) -> Value {
    let path = format!("/api/v1/topics/{topic}/records");
    await_api(daemon, &path, "a record", |page| page["next"] != 0)["records"][0]["headers"].clone()
}

/// All 51 traced records come out, 32 at most with spans of ours.
fn every_record_names_an_exported_span_or_its_producers(daemon: &Daemon, received: &Received, site: &Site) {
    let path = format!("/api/v1/topics/{}/records?limit=100", site.topics.processed);
    let page = await_api(daemon, &path, "all records", |page| {
        page["records"].as_array().is_some_and(|records| records.len() == 51)
    });
    let mut ours = 0;
    for record in page["records"].as_array().unwrap() {
        assert_eq!(record["headers"][0][0], "traceparent");
        let handed_on = record["headers"][0][1].as_str().unwrap();
        assert!(handed_on.starts_with(&format!("00-{TRACE}-")) && handed_on.ends_with("-01"), "{handed_on}");
        if &handed_on[36..52] != PRODUCER {
            let process = format!("process {}", site.topics.raw);
            received.await_span(&process, |span| hex(&span.span_id) == handed_on[36..52]);
            ours += 1;
        }
    }
    assert!((1..51).contains(&ours), "{ours}");
}

#[test]
fn batches_epochs_events_and_alerts_are_traced_from_the_producer_on() {
    let (address, received) = grpc_collector();
    let site = site("grpc", address);
    let daemon = started(&site, &[]);
    send_alerting_events(&site);

    let process = format!("process {}", site.topics.raw);
    let batch =
        received.await_span(&process, |span| span.parent_span_id.is_empty() && !span.links.is_empty());
    assert_eq!(batch.kind, SpanKind::Consumer as i32);
    for (key, value) in [
        ("messaging.system", "embedded"),
        ("messaging.operation.type", "process"),
        ("messaging.destination.name", &site.topics.raw),
        ("messaging.destination.partition.id", "0"),
        ("messaging.consumer.group.name", &site.name),
        ("messaging.operation.name", "process"),
        ("messaging.batch.message_count", "51"),
    ] {
        assert_eq!(attribute(&batch.attributes, key), value, "{key}");
    }
    assert!(batch.attributes.iter().all(|attribute| attribute.key != "messaging.kafka.offset"));
    assert_eq!(hex(&batch.links[0].trace_id), TRACE);
    for stage in ["filter", "enrich", "count", "send"] {
        received.await_span(stage, |span| span.parent_span_id == batch.span_id);
    }
    let event = received.await_span(&process, |span| hex(&span.parent_span_id) == PRODUCER);
    assert_eq!((hex(&event.trace_id).as_str(), &event.links[0].span_id), (TRACE, &batch.span_id));
    assert!(!attribute(&event.attributes, "messaging.kafka.offset").is_empty());
    every_record_names_an_exported_span_or_its_producers(&daemon, &received, &site);

    let epoch =
        received.await_span("epoch", |span| span.links.iter().any(|link| link.span_id == batch.span_id));
    for phase in ["cut", "align", "flush", "offsets", "commit", "store"] {
        received.await_span(phase, |span| span.parent_span_id == epoch.span_id);
    }
    let alert = received.await_span(&format!("send {}", site.topics.alerts), |_| true);
    assert_eq!(alert.kind, SpanKind::Producer as i32);
    assert!(alert.links.len() > 10 && alert.links.iter().all(|link| hex(&link.trace_id) == TRACE));
    assert_eq!(attribute(&alert.attributes, "tidegate.alert.phase"), "crossed");
    assert_eq!(attribute(&alert.attributes, "messaging.destination.partition.id"), "0");
    received.await_all_signals();
    let sent = received.0.lock().unwrap();
    assert_eq!(sent.services, BTreeSet::from(["of-the-test".to_owned()]));
    // Nothing that names a user.
    assert!(!format!("{:?}", sent.spans).contains("user_id"));
    drop(sent);
    daemon.stop();
}

#[test]
fn the_same_by_http_with_the_standard_variables() {
    let (address, received) = http_collector();
    let site = Site::embedded("http", 1).create();
    let endpoint = format!("http://{address}");
    let mut daemon = site.start(
        &[
            &OFTEN[..],
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
                ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=of-the-test"),
                ("OTEL_SERVICE_NAME", "by-variable"),
                ("OTEL_TRACES_SAMPLER", "always_on"),
            ],
        ]
        .concat(),
    );
    daemon.wait_ready();
    send_alerting_events(&site);
    received.await_span("epoch", |_| true);
    received.await_all_signals();
    let sent = received.0.lock().unwrap();
    assert_eq!(sent.services, BTreeSet::from(["by-variable".to_owned()]));
    assert!(sent.headers.contains("x-tenant: of-the-test"), "{:?}", sent.headers);
    drop(sent);
    daemon.stop();
}

#[test]
fn without_tracing_headers_stay_as_they_came() {
    let site = Site::embedded("untraced", 1).create();
    let mut daemon = site.start(&[]);
    daemon.wait_ready();
    send_alerting_events(&site);
    let headers = headers_of_first_record(&daemon, &site.topics.processed);
    assert_eq!(headers, json!([["traceparent", format!("00-{TRACE}-{PRODUCER}-01")]]));
    let status = api(&daemon, "/api/v1/status");
    assert_eq!(status["ready"], true);
    daemon.stop();
}

/// Processes all of a mixed input beside this collector; every record must come out as computed.
fn all_comes_out_beside(collector: SocketAddr, name: &str) {
    let site = Site::embedded(name, 4)
        .order_free()
        .set("telemetry.otlp_endpoint", &format!("\"http://{collector}\""))
        .set("telemetry.trace_ratio", "1.0")
        .create();
    let start = wait::hours_ago(3);
    site.write(&Mix::new(7, 4, start, 10 * 60_000).take(20_000));
    let sentinel = start + 60 * 60_000;
    site.write_sentinels(sentinel);
    let total = site.input_ends().iter().sum::<i64>();
    let mut daemon = started(&site, &[]);
    await_processed(&daemon, total);
    // Whatever becomes of the telemetry, more of it than waits for a collector is dropped, and that is counted.
    wait::until_true("dropped telemetry to be counted", || {
        daemon.assert_running();
        for _ in 0..20 {
            let events: Vec<_> = (0..50).map(|n| json!({"event_type": "view", "n": n})).collect();
            post(&site, &[], &events);
        }
        daemon.metrics().sum("tidegate_telemetry_dropped_total", &[("signal", "traces")]) > 0
    });
    daemon.stop();
}

fn await_processed(daemon: &Daemon, total: i64) {
    await_api(daemon, "/api/v1/status", "all to be processed", |status| {
        status["totals"]["source"].as_i64() == Some(total)
    });
}

#[test]
fn a_collector_that_is_down_costs_nothing_but_its_own_data() {
    all_comes_out_beside(support::site::free_address(), "down");
}

#[test]
fn a_collector_that_never_answers_costs_nothing_but_its_own_data() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let held = thread::spawn(move || listener.incoming().take(3).collect::<Vec<_>>());
    all_comes_out_beside(address, "silent");
    drop(held);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
