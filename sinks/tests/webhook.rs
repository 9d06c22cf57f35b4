//! Webhooks, received by a server of the test's own, with TLS too, and by a Prometheus Alertmanager.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    collections::VecDeque,
    env, fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde_json::{Value, json};
use tidegate_config::{Secret, SecretSource, WebhookFormat};
use tidegate_core::{PartitionId, TimestampMs, alert::AlertPhase, record::Topic};
use tidegate_host::wall_time;
use tidegate_log::RecordRef;
use tidegate_sinks::{
    Batch, Destination as _, Failure, Outcome,
    webhook::{Alertmanager, Webhook},
};

const P: PartitionId = PartitionId(0);
const DEADLINE: Duration = Duration::from_secs(30);

/// What a receiver got, and what it answers; without an answer 204.
#[derive(Clone, Default)]
struct Receiver {
    got: Arc<Mutex<Vec<(Uri, HeaderMap, Bytes)>>>,
    answers: Arc<Mutex<VecDeque<(StatusCode, HeaderMap, String)>>>,
}

impl Receiver {
    /// Starts to listen; returns the address too.
    async fn start() -> (Self, String) {
        let receiver = Self::default();
        let app = Router::new().fallback(Self::receive).with_state(receiver.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
        (receiver, url)
    }

    async fn receive(
        State(receiver): State<Self>,
        uri: Uri,
        headers: HeaderMap,
        body: Bytes,
    ) -> (StatusCode, HeaderMap, String) {
        receiver.got.lock().unwrap().push((uri, headers, body));
        let answer = receiver.answers.lock().unwrap().pop_front();
        answer.unwrap_or((StatusCode::NO_CONTENT, HeaderMap::new(), String::new()))
    }

    fn answer(&self, status: u16, headers: &[(&'static str, &'static str)], body: &str) {
        let headers =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let status = StatusCode::from_u16(status).unwrap();
        self.answers.lock().unwrap().push_back((status, headers, body.to_owned()));
    }

    fn ids(&self) -> Vec<String> {
        let got = self.got.lock().unwrap();
        got.iter().map(|(_, headers, _)| headers["webhook-id"].to_str().unwrap().to_owned()).collect()
    }
}

fn settings(url: &str, format: WebhookFormat) -> tidegate_config::Webhook {
    tidegate_config::Webhook {
        url: secret(url),
        format,
        headers: Vec::new(),
        secret: SecretSource::default(),
        timeout: Duration::from_secs(10),
        concurrency: 1,
        phases: AlertPhase::ALL.to_vec(),
        rules: Vec::new(),
        ca: None,
    }
}

fn secret(value: &str) -> SecretSource {
    SecretSource { value: Some(Secret::new(value)), file: None }
}

fn alert(service: &str, phase: &str, window_start: i64) -> String {
    let window_end = window_start + 60_000;
    json!({
        "id": format!("high-error-rate/{service}/{window_start}"), "rule": "high-error-rate", "phase": phase,
        "service": service, "message": "High error rate: 51 errors in 60s", "count": 51, "threshold": 50,
        "window_start": window_start, "window_end": window_end, "first_event_at": window_start + 1,
        "last_event_at": window_end - 1, "evidence": [],
    })
    .to_string()
}

fn batch(values: &[String]) -> Batch {
    let mut batch = Batch::default();
    for (offset, value) in (0..).zip(values) {
        let (key, value) = (Some(&b"checkout"[..]), Some(value.as_bytes()));
        let record =
            RecordRef { partition: P, offset, timestamp: TimestampMs(1_760_000_099_000), key, value };
        batch.push(record, &mut |_| {});
    }
    batch
}

fn three() -> Batch {
    batch(&["a", "b", "c"].map(|service| alert(service, "crossed", 0)))
}

fn cause(outcome: Outcome) -> String {
    match outcome {
        Outcome::Judged { failure: Some(Failure { cause, .. }), .. }
        | Outcome::Failed(Failure { cause, .. }) => cause,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_request_carries_what_its_receiver_needs_to_trust_it_and_to_know_it_again() {
    let (receiver, url) = Receiver::start().await;
    let mut settings = settings(&format!("{url}/hook?room=1"), WebhookFormat::Json);
    settings.headers = vec![("authorization".into(), Secret::new("Bearer abc"))];
    settings.secret = secret("whsec_AAECAwQFBgcICQoLDA0ODw==");
    let mut webhook = Webhook::new(&settings, Topic::Alerts, "alerts");
    let one = batch(&[alert("дом", "closed", 0)]);
    assert_eq!(webhook.deliver(&one, &[0]).await, Outcome::Delivered);
    let (uri, headers, body) = receiver.got.lock().unwrap()[0].clone();
    assert_eq!((uri.to_string(), &body[..]), ("/hook?room=1".into(), alert("дом", "closed", 0).as_bytes()));
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    assert_eq!(header("webhook-id"), "high-error-rate/%D0%B4%D0%BE%D0%BC/0/closed");
    assert_eq!(header("authorization"), "Bearer abc");
    assert_eq!(header("content-type"), "application/json");
    assert!(header("user-agent").starts_with("tidegate/"));
    assert!(header("webhook-timestamp").parse::<i64>().unwrap() > 1_760_000_000);
    assert!(header("webhook-signature").starts_with("v1,"));
}

#[tokio::test]
async fn what_is_refused_is_told_and_passed_and_what_fails_holds_back_those_behind_it() {
    let (receiver, url) = Receiver::start().await;
    let mut webhook = Webhook::new(&settings(&url, WebhookFormat::Json), Topic::Alerts, "alerts");
    receiver.answer(422, &[], "no such room");
    receiver.answer(429, &[("retry-after", "7")], "slow down");
    let outcome = webhook.deliver(&three(), &[0, 1, 2]).await;
    let failure = Failure {
        cause: "the server answered 429 Too Many Requests: slow down".into(),
        retry_after: Some(Duration::from_secs(7)),
    };
    let refused = vec![(0, "the server answered 422 Unprocessable Entity: no such room".to_owned())];
    assert_eq!(outcome, Outcome::Judged { refused, again: vec![1, 2], failure: Some(failure) });
    assert_eq!(webhook.deliver(&three(), &[1, 2]).await, Outcome::Delivered);
    let (a, b, c) =
        ("high-error-rate/a/0/crossed", "high-error-rate/b/0/crossed", "high-error-rate/c/0/crossed");
    assert_eq!(receiver.ids(), [a, b, b, c]);
}

#[tokio::test]
async fn redirects_and_servers_that_are_away_are_told_of_without_the_url() {
    let (receiver, url) = Receiver::start().await;
    let hidden = format!("{url}/services/secret-token");
    let mut webhook = Webhook::new(&settings(&hidden, WebhookFormat::Json), Topic::Alerts, "alerts");
    receiver.answer(307, &[("location", "/elsewhere")], "");
    let outcome = webhook.deliver(&three(), &[0]).await;
    assert!(format!("{outcome:?}").contains("redirects are not followed"), "{outcome:?}");
    assert_eq!(receiver.ids().len(), 1);
    webhook.check().await.unwrap();
    assert_eq!(receiver.ids().len(), 1);
    // A port that nobody listens at.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let away = settings(&format!("http://{free}/secret-token"), WebhookFormat::Json);
    let mut webhook = Webhook::new(&away, Topic::Alerts, "alerts");
    assert!(webhook.check().await.unwrap_err().contains("refused"));
    let told = cause(webhook.deliver(&three(), &[0]).await);
    assert!(told.contains("refused") && !told.contains("secret-token"), "{told}");
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up_in_time_and_can_be_asked_again() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let short = tidegate_config::Webhook {
        timeout: Duration::from_millis(50),
        ..settings(&url, WebhookFormat::Json)
    };
    let mut webhook = Webhook::new(&short, Topic::Alerts, "alerts");
    for _ in 0..2 {
        assert_eq!(cause(webhook.deliver(&three(), &[0]).await), "no answer within 50ms");
    }
}

#[tokio::test]
async fn a_secret_in_a_file_is_the_one_that_is_there_when_a_request_is_made() {
    let (receiver, url) = Receiver::start().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("url");
    let mut settings = settings("", WebhookFormat::Json);
    settings.url = SecretSource { value: None, file: Some(file.clone()) };
    let mut webhook = Webhook::new(&settings, Topic::Alerts, "alerts");
    assert!(cause(webhook.deliver(&three(), &[0]).await).contains("`url`: "));
    for path in ["/one", "/two"] {
        fs::write(&file, format!("{url}{path}\n")).unwrap();
        assert_eq!(webhook.deliver(&three(), &[0]).await, Outcome::Delivered);
    }
    let paths: Vec<_> = receiver.got.lock().unwrap().iter().map(|(uri, ..)| uri.path().to_owned()).collect();
    assert_eq!(paths, ["/one", "/two"]);
}

/// A certificate for 127.0.0.1 by an authority of its own: `ca.pem`, `server.pem`, `server.key`.
fn make_certificates(dir: &Path) {
    let openssl = |arguments: &str| {
        let output = Command::new("openssl").current_dir(dir).args(arguments.split(' ')).output();
        let output = output.expect("these tests need the program openssl");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    fs::write(dir.join("extensions"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority"));
    openssl(&format!("req {key} -keyout server.key -out server.csr -subj /CN=server"));
    openssl(
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out server.pem",
    );
}

/// Answers requests over TLS with 200, one a connection.
fn serve_tls(listener: TcpListener, dir: &Path) {
    let chain = vec![CertificateDer::from_pem_file(dir.join("server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(dir.join("server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let config = Arc::new(config);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut tls = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream.unwrap());
            // The client may refuse the certificate, or only connect: that is what is tested.
            if tls.read(&mut [0; 4096]).is_ok_and(|bytes| bytes > 0) {
                tls.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
            }
        }
    });
}

#[tokio::test]
async fn a_server_is_trusted_by_the_authority_that_is_configured_and_not_without_it() {
    let dir = tempfile::tempdir().unwrap();
    make_certificates(dir.path());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut settings = settings(&format!("https://{}", listener.local_addr().unwrap()), WebhookFormat::Json);
    serve_tls(listener, dir.path());
    settings.ca = Some(dir.path().join("ca.pem"));
    let mut webhook = Webhook::new(&settings, Topic::Alerts, "alerts");
    webhook.check().await.unwrap();
    assert_eq!(webhook.deliver(&three(), &[0, 1]).await, Outcome::Delivered);
    // Another authority, of the same name.
    let other = tempfile::tempdir().unwrap();
    make_certificates(other.path());
    settings.ca = Some(other.path().join("ca.pem"));
    let told = Webhook::new(&settings, Topic::Alerts, "alerts").check().await.unwrap_err();
    assert!(told.contains("certificate"), "{told}");
    settings.ca = Some(dir.path().join("extensions"));
    let told = Webhook::new(&settings, Topic::Alerts, "alerts").check().await.unwrap_err();
    assert!(told.contains("no certificate in it"), "{told}");
}

/// The alerts of a service, as Alertmanager has them, until they are as many as expected.
async fn wait_for_alerts(url: &str, service: &str, expected: usize) -> Vec<Value> {
    let address = format!("{url}/api/v2/alerts?filter=service%3D%22{service}%22");
    let began = Instant::now();
    loop {
        let answer =
            ureq::get(&address).call().and_then(|mut answer| answer.body_mut().read_to_vec()).unwrap();
        let alerts: Vec<Value> = serde_json::from_slice(&answer).unwrap();
        if alerts.len() == expected {
            return alerts;
        }
        assert!(began.elapsed() < DEADLINE, "expected {expected} alerts, there are {alerts:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn alertmanager_shows_an_alert_as_firing_until_its_window_is_closed() {
    let url = env::var("TIDEGATE_TEST_ALERTMANAGER")
        .expect("set TIDEGATE_TEST_ALERTMANAGER=http://HOST:PORT to an Alertmanager that runs");
    let mut sink = Alertmanager::new(&settings(&url, WebhookFormat::Alertmanager));
    sink.check().await.unwrap();
    let now = wall_time().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    let (service, start) = (format!("checkout-{now}"), now - 30_000);
    let crossed = batch(&[alert(&service, "crossed", start), "no alert".into()]);
    let outcome = sink.deliver(&crossed, &[0, 1]).await;
    assert!(
        matches!(&outcome, Outcome::Judged { refused, again, failure: None } if refused.len() == 1 && again.is_empty())
    );
    let fired = wait_for_alerts(&url, &service, 1).await;
    assert_eq!(fired[0]["labels"]["alertname"], "high-error-rate");
    assert_eq!(fired[0]["annotations"]["summary"], "High error rate: 51 errors in 60s");
    sink.tick(&[P]).await.unwrap();
    assert_eq!(wait_for_alerts(&url, &service, 1).await[0]["fingerprint"], fired[0]["fingerprint"]);
    assert_eq!(sink.deliver(&batch(&[alert(&service, "closed", start)]), &[0]).await, Outcome::Delivered);
    wait_for_alerts(&url, &service, 0).await;
}
