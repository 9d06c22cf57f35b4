//! Records that a destination refuses for good: each costs itself alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use super::{
    compare,
    compare::{Position, position},
    setup::{self, await_delivered, create_index, create_tables, delivered, search, sink, with_sinks},
};
use crate::support::{
    self,
    daemon::Daemon,
    events::record,
    kafka::{Input, Record},
    opensearch::OpenSearch,
    postgres::Database,
    random::Random,
    receiver::{Answer, Receiver},
    site::Site,
    wait,
};

const EVENTS: u64 = 10_000;
const OF_EACH: usize = 10;

/// What is wrong with an event, and who refuses it.
const KINDS: [(&str, &str); 5] = [
    ("nul", "warehouse"),
    ("long", "warehouse"),
    ("forbidden", "warehouse"),
    ("conflict", "search"),
    ("unwanted", "hook"),
];

fn event(n: u64, kind: Option<&str>, timestamp: i64) -> Input {
    let is = |wanted| kind == Some(wanted);
    let note = if is("nul") { "a\\u0000b" } else { kind.unwrap_or("good") };
    let region = if is("long") { "longer than eight" } else { "eu-west" };
    let service = if is("forbidden") { "forbidden" } else { "shop" };
    let number = if is("conflict") { "\"none\"".to_owned() } else { n.to_string() };
    let value = format!(
        r#"{{"event_type":"click","n":{n},"timestamp":{timestamp},"note":"{note}","service_name":"{service}","payload":{{"n":{number},"region":"{region}"}}}}"#
    );
    record((n % 4) as i32, &format!("user-{n}"), value, timestamp)
}

/// Ten events of each kind, anywhere among the others.
fn poisonous(random: &mut Random) -> BTreeMap<u64, usize> {
    let mut poisonous = BTreeMap::new();
    while poisonous.len() < KINDS.len() * OF_EACH {
        let kind = poisonous.len() / OF_EACH;
        poisonous.entry(random.below(EVENTS)).or_insert(kind);
    }
    poisonous
}

fn n(record: &Record) -> u64 {
    let value: Value = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
    value["n"].as_u64().unwrap()
}

/// Waits until a sink is through; exactly these are refused, each once, and all others count as delivered.
fn assert_refused(
    site: &Site,
    daemon: &Daemon,
    sink: &str,
    poisonous: &BTreeMap<u64, usize>,
) -> BTreeMap<Position, usize> {
    let topic = &site.topics.processed;
    let records = await_delivered(site, sink, topic);
    assert_eq!(records.len() as u64, EVENTS);
    let refused = compare::refused(site, sink, topic, &records);
    let wanted: BTreeSet<u64> =
        poisonous.iter().filter(|(_, kind)| KINDS[**kind].1 == sink).map(|(n, _)| *n).collect();
    let found: BTreeSet<u64> =
        records.iter().filter(|record| refused.contains_key(&position(record))).map(n).collect();
    assert_eq!(found, wanted, "refused by {sink}");
    assert!(refused.values().all(|times| *times == 1), "dead letters come once: {refused:?}");
    let metrics = daemon.metrics();
    let is_sink = [("sink", sink)];
    assert_eq!(metrics.sum("tidegate_sink_rejected_total", &is_sink), wanted.len() as u64, "{sink}");
    assert_eq!(delivered(&metrics, sink), EVENTS - wanted.len() as u64, "{sink}");
    assert_eq!(metrics.sum("tidegate_sink_up", &is_sink), 1, "{sink}");
    refused
}

#[test]
fn ten_poisonous_records_of_each_kind_among_ten_thousand_cost_themselves_alone() {
    let _turn = support::heavy();
    let (database, opensearch) = (Database::create(), OpenSearch::from_env());
    create_tables(&database);
    database.execute(
        "alter table processed_events add column region varchar(8), add check (service <> 'forbidden')",
    );
    let receiver = Receiver::start(|_, request| {
        let is_unwanted = String::from_utf8_lossy(&request.body).contains("unwanted");
        Answer::status(if is_unwanted { 400 } else { 200 })
    });
    let columns = format!("url = \"{}\", columns = {{region = \"payload.region\"}}", database.url);
    let hook = format!("url = \"{}\", concurrency = 8", receiver.url);
    let site = setup::site("sinks-poison", 4);
    let sinks = [
        sink("warehouse", "postgres", "processed", &columns),
        search(&opensearch.url, &site.name),
        sink("hook", "webhook", "processed", &hook),
    ];
    let site = with_sinks(site, &sinks).create();
    create_index(&opensearch, &site);
    let (poisonous, start) = (poisonous(&mut Random::by_chance()), wait::hours_ago(3));
    let kind = |n: u64| poisonous.get(&n).map(|kind| KINDS[*kind].0);
    let events: Vec<Input> = (0..EVENTS).map(|n| event(n, kind(n), start)).collect();
    site.write(&events);
    let daemon = site.run();
    site.await_caught_up();

    let refused = assert_refused(&site, &daemon, "warehouse", &poisonous);
    let mut records = site.dump(&site.topics.processed);
    let mut requests: HashMap<String, Vec<u8>> = HashMap::new();
    assert_refused(&site, &daemon, "search", &poisonous);
    compare::documents(&site, &opensearch);
    assert_refused(&site, &daemon, "hook", &poisonous);
    daemon.stop();
    for request in receiver.requests() {
        let id = request.header("webhook-id").unwrap().to_owned();
        assert!(requests.insert(id, request.body.into()).is_none(), "nothing went wrong, so all came once");
    }
    for record in &records {
        let id = format!("{}-{}-{}", site.topics.processed, record.partition, record.offset);
        assert_eq!(requests.remove(&id), record.value, "{id}");
    }
    assert!(requests.is_empty());

    records.retain(|record| !refused.contains_key(&position(record)));
    compare::processed_events(&database, &records);
    let wrong =
        "select * from processed_events where region is distinct from event->'payload'->>'region' limit 3";
    assert!(database.rows(wrong).is_empty());
    let letters = site.dump(&site.topics.dead_letters);
    assert_eq!(letters.len(), KINDS.len() * OF_EACH, "and no other dead letters");
}
