//! The servers that sinks deliver to, and what tests do to them and to the network before them.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    process::Command,
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::{
    alertmanager::Alertmanager,
    cut::{Cut, Network},
    http::call,
    opensearch::OpenSearch,
    postgres::Database,
    receiver::{Answer, Receiver},
    server::{self, Server, port_of},
    wait::{self, PATIENCE, now_ms},
};

/// A name that nobody else uses.
fn unique(name: &str) -> String {
    format!("{name}-{}-{}", now_ms(), std::process::id())
}

/// What PostgreSQL's own client prints.
fn psql(url: &str, statements: &str) -> Result<String, String> {
    let output = Command::new("psql").args(["--quiet", "-tA", url, "-c", statements]).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

#[test]
fn a_row_goes_into_postgresql_and_out_over_tls_if_the_certificate_and_the_password_are_right() {
    let database = Database::create();
    let verified = format!("sslmode=verify-full&sslrootcert={}", server::address("postgres_ca"));
    let over_tls = format!("{}?{verified}", database.url);
    let insert = "create table seen (a int, b jsonb); insert into seen values (1, '{\"c\": null}'); \
                  select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    assert_eq!(psql(&over_tls, insert).unwrap(), "t\n");
    assert_eq!(database.rows("select * from seen"), [json!({"a": 1, "b": {"c": null}})]);

    let elsewhere = database.url.replace("127.0.0.1", "elsewhere.example");
    let refused = psql(&format!("{elsewhere}?hostaddr=127.0.0.1&{verified}"), "select 1").unwrap_err();
    assert!(refused.contains("does not match host name"), "{refused}");
    let refused = psql(&over_tls.replace('@', "-not@"), "select 1").unwrap_err();
    assert!(refused.contains("password authentication failed"), "{refused}");
}

#[test]
fn a_document_goes_into_opensearch_and_out() {
    let (server, index) = (OpenSearch::from_env(), unique("seen"));
    server.put_template(&index, &json!({"mappings": {"properties": {"at": {"type": "geo_point"}}}}));
    let document = json!({"at": {"lat": 52.5, "lon": 13.4}});
    server.call("PUT", &format!("/{index}-1/_create/one"), Some(&document));
    let [found] = server.documents(&format!("{index}-*")).try_into().unwrap();
    assert_eq!((&found["_id"], &found["_source"]), (&json!("one"), &document));
    let mapping = server.call("GET", &format!("/{index}-1/_mapping/field/at"), None);
    assert!(mapping.to_string().contains("geo_point"), "{mapping}");
}

#[test]
fn an_alert_goes_into_alertmanager_and_out() {
    let (server, service) = (Alertmanager::from_env(), unique("shop"));
    let alert = json!([{"labels": {"alertname": "a", "service": service}}]);
    call("POST", &format!("{}/api/v2/alerts", server.url), Some(&alert));
    let found = wait::until("the alert", || server.alerts("service", &service).pop());
    assert_eq!(found["status"]["state"], json!("active"), "{found}");
}

#[test]
fn servers_that_are_killed_come_back_at_the_same_address_with_what_they_acknowledged() {
    let mut postgres = Server::new("postgres", None, &["synchronous_commit=on"]);
    let mut opensearch = Server::new("opensearch", None, &[]);
    postgres.start();
    opensearch.start();
    let database = Database::create_at(postgres.wait_up());
    let documents = OpenSearch::at(opensearch.wait_up());
    database.execute("create table seen (a int)");
    for round in 1..=2 {
        database.execute(&format!("insert into seen values ({round})"));
        documents.call("PUT", &format!("/seen/_create/{round}"), Some(&json!({})));
        postgres.kill();
        opensearch.kill();
        postgres.start();
        opensearch.start();
        postgres.wait_up();
        opensearch.wait_up();
        assert_eq!(database.rows("select a from seen").len(), round);
        assert_eq!(documents.documents("seen").len(), round);
    }
}

#[test]
fn a_receiver_answers_as_it_is_told_and_remembers_what_it_was_asked() {
    let receiver = Receiver::start(|number, _| match number {
        0 => Answer { headers: vec![("retry-after", "7".into())], ..Answer::status(429) },
        1 => Answer { delay: Duration::from_millis(1), ..Answer::status(503) },
        _ => Answer { body: "thanks".into(), ..Answer::status(200) },
    });
    let agent = ureq::Agent::from(ureq::Agent::config_builder().http_status_as_error(false).build());
    let post =
        || agent.post(format!("{}/hook?a=1", receiver.url)).header("webhook-id", "b").send("c").unwrap();
    let answer = post();
    assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (429, &"7".parse().unwrap()));
    assert_eq!(post().status(), 503);
    assert_eq!(post().body_mut().read_to_string().unwrap(), "thanks");
    let [first, ..] = &receiver.requests()[..] else { panic!("nothing was asked") };
    assert_eq!((first.method.as_str(), first.uri.path()), ("POST", "/hook"));
    assert_eq!((first.header("webhook-id"), &first.body[..]), (Some("b"), &b"c"[..]));
    assert_eq!(receiver.requests().len(), 3);
}

#[test]
fn the_network_before_a_server_passes_delays_hangs_resets_and_refuses() {
    let receiver = Receiver::start(|_, _| Answer { body: "1".into(), ..Answer::status(200) });
    let cut = Cut::before(port_of(&receiver.url));
    let ask = |timeout: Duration| -> std::io::Result<Value> {
        let mut stream = TcpStream::connect(cut.address)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(serde_json::from_str(text.rsplit('\n').next().unwrap()).unwrap())
    };
    assert_eq!(ask(PATIENCE).unwrap(), json!(1));
    cut.set(Network::Delays(Duration::from_millis(5)));
    assert_eq!(ask(PATIENCE).unwrap(), json!(1));

    cut.set(Network::Hangs);
    assert_eq!(ask(Duration::from_millis(100)).unwrap_err().kind(), ErrorKind::WouldBlock);
    let asked = receiver.requests().len();
    let mut waiting = TcpStream::connect(cut.address).unwrap();
    waiting.set_read_timeout(Some(PATIENCE)).unwrap();
    waiting.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    // What hangs comes through in the end, unless it is reset first.
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| waiting.read(&mut [0]).map_err(|error| error.kind()));
        // It may not have got as far as the proxy yet.
        wait::until_true("the reset", || {
            cut.reset();
            answer.is_finished()
        });
        assert_eq!(answer.join().unwrap(), Err(ErrorKind::ConnectionReset));
    });
    assert_eq!(receiver.requests().len(), asked);
    cut.set(Network::Passes);
    assert_eq!(ask(PATIENCE).unwrap(), json!(1));

    cut.set(Network::Refuses);
    assert_eq!(ask(PATIENCE).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    cut.set(Network::Passes);
    assert_eq!(ask(PATIENCE).unwrap(), json!(1));
}
