//! Back to the sink whose destination refused them.

use serde_json::{Value, json};

use super::{done, fails, listed};
use crate::support::{
    daemon::Daemon,
    events::{event, record},
    kafka::Input,
    opensearch::OpenSearch,
    postgres::Database,
    receiver::{Answer, Receiver},
    site::Site,
    wait,
};

/// An event that a column of type jsonb does not take.
pub(super) fn nul(n: i64, timestamp: i64) -> Input {
    let value = format!(r#"{{"event_type":"click","n":{n},"timestamp":{timestamp},"note":"a\u0000b"}}"#);
    record((n % 2) as i32, &format!("user-{n}"), value, timestamp)
}

/// Gives a site one sink.
fn with_sink(site: Site, name: &str, kind: &str, keys: &str) -> Site {
    let sink =
        format!(r#"{{name = "{name}", type = "{kind}", topic = "processed", linger = "20ms", {keys}}}"#);
    site.set("sinks", &format!("[{sink}]"))
}

/// A site whose processed events go to a database, where the tables are there.
pub(super) fn warehouse_site(name: &str, database: &Database) -> Site {
    let url = format!("url = \"{}\"", database.url);
    let site = with_sink(Site::new(name, 2), "warehouse", "postgres", &url).create();
    let applied = site.command(&["sinks", "apply"]);
    assert_eq!(applied.code, Some(0), "{applied:?}");
    site
}

/// Waits until so many records are refused.
pub(super) fn await_rejected(daemon: &Daemon, sink: &str, count: u64) {
    wait::until_true("the sink to find out what is refused", || {
        daemon.metrics().sum("tidegate_sink_rejected_total", &[("sink", sink)]) == count
    });
}

/// The table holds all processed events, each once.
pub(super) fn assert_table(site: &Site, database: &Database) {
    let rows = database
        .rows("select partition, \"offset\", event::text as event from processed_events order by 1, 2");
    let records = site.dump(&site.topics.processed);
    assert_eq!(rows.len(), records.len());
    for (row, record) in rows.iter().zip(&records) {
        assert_eq!((&row["partition"], &row["offset"]), (&json!(record.partition), &json!(record.offset)));
        let text = |text: &[u8]| -> Value { serde_json::from_slice(text).unwrap() };
        let (found, sent) = (row["event"].as_str().unwrap().as_bytes(), record.value.as_ref().unwrap());
        assert_eq!(text(found), text(sent));
    }
}

fn rejected(sink: &str, count: u64, sent: u64) -> (String, Option<String>, u64, u64) {
    ("sink_rejected".to_owned(), Some(sink.to_owned()), count, sent)
}

#[test]
fn what_postgresql_refused_is_refused_again_until_the_table_takes_it() {
    let database = Database::create();
    let (site, now) = (warehouse_site("letters-postgres", &database), wait::now_ms());
    let good = |n: i64| event((n % 2) as i32, "click", "shop", &format!("user-{n}"), now);
    site.write(&(0..20).map(|n| if n % 4 == 0 { nul(n, now) } else { good(n) }).collect::<Vec<Input>>());
    let daemon = site.run();
    await_rejected(&daemon, "warehouse", 5);
    let said = fails(&site, 1, &["redrive"]);
    assert!(said.contains("5 were refused again and stay\n") && said.contains("22P05"), "{said}");
    assert_eq!(listed(&site, &["--sink", "warehouse"]), [rejected("warehouse", 5, 0)]);

    database.execute("alter table processed_events alter column event type text");
    assert_eq!(done(&site, &["redrive", "--dry-run"]), "5 would be sent to sink warehouse\n");
    assert_eq!(done(&site, &["redrive"]), "5 sent to sink warehouse\n");
    assert_table(&site, &database);
    assert_eq!(done(&site, &["redrive"]), "5 were sent before\n");
    assert_eq!(listed(&site, &[]), [rejected("warehouse", 5, 5)]);
    assert_table(&site, &database);
    daemon.stop();
}

#[test]
fn documents_that_do_not_fit_an_index_go_into_another() {
    let server = OpenSearch::from_env();
    let to = |site: Site, index: &str| {
        let keys = format!("url = \"{}\", index = \"{index}\"", server.url);
        with_sink(site, "search", "elasticsearch", &keys)
    };
    let site = Site::embedded("letters-search", 2);
    let (narrow, wide) = (format!("{}-narrow", site.name), format!("{}-wide", site.name));
    let mapping = json!({"mappings": {"properties": {"n": {"type": "long"}}}});
    server.call("PUT", &format!("/{narrow}"), Some(&mapping));
    let site = to(site, &narrow).create();
    let now = wait::now_ms();
    let numbered = |n: &str| record(0, n, format!(r#"{{"event_type":"click","n":{n}}}"#), now);
    site.write(&[numbered("1"), numbered(r#""one""#), numbered("2"), numbered(r#""two""#)]);
    let daemon = site.run();
    await_rejected(&daemon, "search", 2);
    daemon.stop();
    let said = fails(&site, 1, &["redrive"]);
    assert!(said.contains("2 were refused again and stay") && said.contains("mapper_parsing"), "{said}");

    let site = to(site, &wide);
    site.write_config();
    assert_eq!(done(&site, &["redrive"]), "2 sent to sink search\n");
    assert_eq!(done(&site, &["redrive"]), "2 were sent before\n");
    let mut found: Vec<Value> = server
        .documents(&wide)
        .into_iter()
        .map(|document| json!([document["_id"], document["_source"]["n"]]))
        .collect();
    found.sort_by_key(Value::to_string);
    let id = |offset| format!("{}-0-{offset}", site.topics.processed);
    assert_eq!(found, [json!([id(1), "one"]), json!([id(3), "two"])]);
}

/// A site with six dead letters of a webhook, and the receiver, which then answers to its `n`th request as it is told.
fn six_refused(name: &str, then: fn(usize) -> Answer) -> (Site, Receiver) {
    let receiver = Receiver::start(move |number, _| match number {
        0..6 => Answer::status(400),
        number => then(number - 6),
    });
    let keys = format!("url = \"{}\", concurrency = 1", receiver.url);
    let site = with_sink(Site::embedded(name, 2), "hook", "webhook", &keys).create();
    let now = wait::now_ms();
    site.write(&(0..6).map(|n| event(n % 2, "click", "shop", &format!("user-{n}"), now)).collect::<Vec<_>>());
    let daemon = site.run();
    await_rejected(&daemon, "hook", 6);
    daemon.stop();
    (site, receiver)
}

/// What came with a request is what a record holds, under the id that it had at first.
fn assert_posted(site: &Site, receiver: &Receiver, requests: std::ops::Range<usize>) {
    let mut posted: Vec<_> = receiver.requests()[requests]
        .iter()
        .map(|request| (request.header("webhook-id").unwrap().to_owned(), request.body.to_vec()))
        .collect();
    posted.sort();
    let id = |partition, offset| format!("{}-{partition}-{offset}", site.topics.processed);
    let records = site.dump(&site.topics.processed);
    let wanted: Vec<_> = records
        .into_iter()
        .map(|record| (id(record.partition, record.offset), record.value.unwrap()))
        .collect();
    assert_eq!(posted, wanted);
}

#[test]
fn what_a_webhook_refused_is_posted_again_under_the_same_ids() {
    let (site, receiver) =
        six_refused("letters-hook", |number| Answer::status(if number < 6 { 410 } else { 204 }));
    assert_posted(&site, &receiver, 0..6);
    let said = fails(&site, 1, &["redrive"]);
    assert!(said.contains("6 were refused again and stay") && said.contains("410"), "{said}");
    assert_eq!(done(&site, &["redrive"]), "6 sent to sink hook\n");
    assert_posted(&site, &receiver, 12..18);
    assert_eq!(done(&site, &["redrive"]), "6 were sent before\n");
    assert_eq!(receiver.requests().len(), 18);
}

#[test]
fn a_sink_that_is_away_is_told_and_what_was_done_before_is_not_done_again() {
    let (site, receiver) = six_refused("letters-away", |number| match number {
        // Later than anybody waits.
        2 => Answer { headers: vec![("retry-after", "60".to_owned())], ..Answer::status(503) },
        _ => Answer::status(200),
    });
    site.write(&[record(0, "user", "not json", wait::now_ms())]);
    site.run_until_end();
    let said = fails(&site, 69, &["redrive"]);
    let words = ["1 sent to topic", "2 sent to sink hook\n", "4 stay: sink \"hook\" is away\n"];
    for words in [&words[..], &["error: sink hook: ", "503", "run the command again"]].concat() {
        assert!(said.contains(words), "{words} is missing in {said}");
    }
    assert_eq!(listed(&site, &["--sink", "hook"]), [rejected("hook", 6, 2)]);
    assert_eq!(done(&site, &["redrive"]), "4 sent to sink hook\n3 were sent before\n");
    let mut ids: Vec<_> = receiver.requests()[6..]
        .iter()
        .map(|request| request.header("webhook-id").unwrap().to_owned())
        .collect();
    assert_eq!(ids.len(), 7, "two, one that was not taken, and four");
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 6);
}

#[test]
fn a_dead_letter_of_a_sink_that_is_not_configured_or_reads_another_topic_stays() {
    let (site, receiver) = six_refused("letters-gone", |_| Answer::status(200));
    let renamed = with_sink(site, "another", "webhook", &format!("url = \"{}\"", receiver.url));
    renamed.write_config();
    let said = fails(&renamed, 1, &["redrive"]);
    assert!(said.contains("6 stay: sink \"hook\" is not in this configuration"), "{said}");
    let sink = format!(r#"[{{name = "hook", type = "webhook", url = "{}"}}]"#, receiver.url);
    let alerts = renamed.set("sinks", &sink);
    alerts.write_config();
    let said = fails(&alerts, 1, &["redrive"]);
    assert!(said.contains("6 stay: sink \"hook\" does not read topic"), "{said}");
    assert_eq!(receiver.requests().len(), 6);
    assert_eq!(listed(&alerts, &[]), [rejected("hook", 6, 0)]);
}
